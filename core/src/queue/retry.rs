//! What a failed attempt means for its job (QUEUE §8). Pure rules: knows no
//! queue, only counts.

use crate::config::Rules;
use crate::feature::FeatureLevel;
use crate::ids::JobId;
use crate::job::{DeadReason, FailureClass};

use super::jobs::Job;
use super::table::hash_of;

/// The longest wait that an engine may ask for, in milliseconds. A longer one
/// is cut: the job must not be held for ever by one bad answer.
pub(super) const RETRY_AFTER_MS_MAX: u64 = 86_400_000;

/// What to do with a job after an attempt that brought no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Try again after so many milliseconds.
    Retry { delay_ms: u64 },
    /// Give up.
    Dead(DeadReason),
}

/// Counts a failure against a job, if it counts, and judges. `message` is kept
/// as the job's last error.
pub(super) fn judge(
    level: FeatureLevel,
    rules: &Rules,
    id: JobId,
    job: &mut Job,
    class: FailureClass,
    message: Option<&str>,
    retry_after_ms: Option<u64>,
) -> Verdict {
    if let Some(message) = message {
        job.last_error = Some(message.into());
    }
    let last_error = |job: &Job| job.last_error.as_deref().unwrap_or_default().to_owned();
    // Whoever says when to ask again says that it is not the input which is bad.
    let may_ask_again = level >= FeatureLevel::WORK_LIMITED && retry_after_ms.is_some();
    let retry_after_ms = retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX);
    match class {
        FailureClass::Permanent => {
            job.failures += 1;
            let (count, message) = (job.failures, last_error(job));
            Verdict::Dead(match may_ask_again {
                true => DeadReason::Failures { count, message },
                false => DeadReason::Permanent { message },
            })
        }
        FailureClass::Retryable => {
            job.failures += 1;
            if u64::from(job.failures) >= rules.failures_max {
                return Verdict::Dead(DeadReason::Failures {
                    count: job.failures,
                    message: last_error(job),
                });
            }
            let delay_ms = backoff_ms(rules, id, job, job.failures).max(retry_after_ms);
            Verdict::Retry { delay_ms }
        }
        FailureClass::Busy => Verdict::Retry {
            delay_ms: backoff_ms(rules, id, job, job.failures).max(retry_after_ms),
        },
        FailureClass::WorkerLost => {
            job.crashes += 1;
            if u64::from(job.crashes) >= rules.crashes_max {
                return Verdict::Dead(DeadReason::Crashes { count: job.crashes });
            }
            // Another worker may take it at once: the worker was lost, not the input.
            // A second loss speaks against the input: it must not take a worker
            // down whenever one comes back (before this level it did).
            let suspect = level >= FeatureLevel::CRASHES_WAIT && job.crashes > 1;
            let wait_ms = match suspect {
                true => backoff_ms(rules, id, job, job.crashes - 1),
                false => 0,
            };
            Verdict::Retry {
                delay_ms: wait_ms.max(retry_after_ms),
            }
        }
        FailureClass::Drained => Verdict::Retry {
            delay_ms: retry_after_ms,
        },
    }
}

/// base · 2^(count − 1), at most the cap, and a quarter more or less by a
/// hash of job and attempt: jobs that failed together do not come back together.
fn backoff_ms(rules: &Rules, id: JobId, job: &Job, count: u32) -> u64 {
    let doublings = count.saturating_sub(1).min(63);
    let full = u128::from(rules.retry_base_ms) << doublings;
    let delay = full.min(u128::from(rules.retry_cap_ms));
    let spread = delay / 2 + 1;
    let jitter = hash_of(0, &(id, job.attempts)) % spread;
    u64::try_from(delay - delay / 4 + jitter).expect("the cap is far below 2^63")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{a_job, rules};
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_cap_with_a_quarter_of_jitter() {
        let rules = rules();
        let job = a_job();
        for (failures, expected) in [(1, 1_000), (2, 2_000), (4, 8_000), (40, 300_000)] {
            let delay = backoff_ms(&rules, JobId(9), &job, failures);
            assert!(
                delay >= expected - expected / 4 && delay <= expected + expected / 4,
                "{failures} failures wait {delay} ms"
            );
        }
    }

    #[test]
    fn jobs_that_failed_together_do_not_come_back_together() {
        let job = a_job();
        let one = backoff_ms(&rules(), JobId(1), &job, 1);
        let two = backoff_ms(&rules(), JobId(2), &job, 1);
        assert_ne!(one, two);
    }

    #[test]
    fn a_wait_without_bound_is_cut() {
        let mut job = a_job();
        let verdict = judge(
            FeatureLevel::FOUNDING,
            &rules(),
            JobId(1),
            &mut job,
            FailureClass::Busy,
            None,
            Some(u64::MAX),
        );
        assert_eq!(
            verdict,
            Verdict::Retry {
                delay_ms: RETRY_AFTER_MS_MAX
            }
        );
        assert_eq!((job.failures, job.crashes), (0, 0), "busy is not counted");
    }

    #[test]
    fn a_second_lost_worker_delays_a_job_since_level_2_and_the_first_never() {
        for (level, second_waits) in [(FeatureLevel(1), false), (FeatureLevel(2), true)] {
            let mut job = a_job();
            let mut lose = || {
                let lost = FailureClass::WorkerLost;
                match judge(level, &rules(), JobId(1), &mut job, lost, None, None) {
                    Verdict::Retry { delay_ms } => delay_ms,
                    Verdict::Dead(reason) => panic!("dead too early: {reason:?}"),
                }
            };
            assert_eq!(lose(), 0, "{level}: the first loss is the worker's");
            let waited_ms = lose();
            let (least, most) = if second_waits { (750, 1_250) } else { (0, 0) };
            assert!(
                (least..=most).contains(&waited_ms),
                "{level}: {waited_ms} ms"
            );
        }
    }
}
