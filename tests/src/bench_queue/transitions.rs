//! What single commands cost while a number of jobs waits: whatever is put in is
//! taken out again, so that at most a chunk more is there. Jobs that are over stay
//! in the state, as they do in a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use precentor_core::bytes::Bytes;
use precentor_core::command::{
    AfterFailure, Cancellation, Claim, ClaimRule, Command, Load, Outcome, Redrive, Redriving,
    WeighedClaim,
};
use precentor_core::digest::Digest;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{JobId, Token, WorkerId};
use precentor_core::job::{FailureClass, Scope};
use precentor_core::limits::{
    BATCH_JOBS_MAX, CANCEL_JOBS_MAX, CLAIMS_PER_ENTRY_MAX, ORDERED_JOBS_MAX, SUBMIT_ITEMS_MAX,
    WAITS_MAX, WORKER_SLOTS_MAX,
};

use super::measure::Measure;
use super::rig::{ENGINE, Rig};
use super::takeover::POLLING;
use crate::measuring::{median, processor_time};

/// Jobs of a chunk.
const CHUNK: u64 = 1_000;
/// Claims of an entry, where it is many.
const CLAIMS: u64 = 50;
/// How often something is paused and resumed, and the state's hash is asked for,
/// in a chunk.
const REPEATS: u32 = 200;
/// Bytes of a result.
const RESULT_BYTES: usize = 256;

/// What was measured, chunk by chunk.
#[derive(Default)]
pub(super) struct Chunks(BTreeMap<Measure, Vec<f64>>);

impl Chunks {
    fn add(&mut self, measure: Measure, took: Duration, count: u64) {
        let each = took.as_nanos() as f64 / count as f64;
        self.0.entry(measure).or_default().push(each);
    }

    /// Of each measure the median.
    pub(super) fn medians(self) -> impl Iterator<Item = (Measure, f64)> {
        let chunks = self.0.into_iter();
        chunks.map(|(measure, each)| (measure, median(each)))
    }
}

/// Measures every command that the level knows, so many times.
pub(super) fn measure(rig: &mut Rig, count: u64) -> Result<Chunks> {
    let mut chunks = Chunks::default();
    for _ in 0..count {
        work(rig, &mut chunks)?;
        if rig.level >= FeatureLevel::JOBS_BATCHED {
            run_together(rig, &mut chunks)?;
        }
        if rig.level >= FeatureLevel::JOBS_CANCELLED && notes_waits(rig) {
            leave(rig, &mut chunks)?;
        }
        if rig.level >= FeatureLevel::QUEUE_OPERATED {
            pause(rig, &mut chunks)?;
        }
        state_hash(rig, &mut chunks);
    }
    // Last, for it leaves dead letters behind.
    if rig.level >= FeatureLevel::QUEUE_OPERATED {
        for _ in 0..count {
            redrive(rig, &mut chunks)?;
        }
    }
    Ok(chunks)
}

/// Is there room for the waits of a chunk? What is not noted cannot be left.
fn notes_waits(rig: &Rig) -> bool {
    let counts = rig.queue.counts();
    let live = counts.waiting + counts.delayed + counts.ready + counts.running + counts.parked;
    live + CHUNK <= WAITS_MAX
}

/// Jobs that come, are claimed and end, or fail and end by a late result.
fn work(rig: &mut Rig, chunks: &mut Chunks) -> Result<()> {
    let (took, _) = rig.submit(CHUNK, 1)?;
    chunks.add(Measure::SubmitOne, took, CHUNK);
    let jobs = first(rig);
    let (took, tokens) = claim(rig, &jobs, 1, one_by_one)?;
    chunks.add(Measure::ClaimOne, took, CHUNK);
    let took = complete(rig, &jobs, &tokens)?;
    chunks.add(Measure::Complete, took, CHUNK);

    let (took, _) = rig.submit(CHUNK, SUBMIT_ITEMS_MAX)?;
    chunks.add(Measure::SubmitMany, took, CHUNK);
    let jobs = first(rig);
    let (took, tokens) = claim(rig, &jobs, CLAIMS, one_by_one)?;
    chunks.add(Measure::ClaimMany, took, CHUNK);
    let (took, outcomes) = fail(rig, &jobs, &tokens, FailureClass::Retryable);
    chunks.add(Measure::Fail, took, CHUNK);
    for outcome in outcomes {
        ensure!(
            matches!(outcome, Outcome::Failed(AfterFailure::Retry { .. })),
            "a job is not tried again: {outcome:?}"
        );
    }
    complete(rig, &jobs, &tokens)?;
    mend(rig)
}

/// Jobs that are run together, and fail together.
fn run_together(rig: &mut Rig, chunks: &mut Chunks) -> Result<()> {
    rig.submit(CHUNK, SUBMIT_ITEMS_MAX)?;
    let jobs = first(rig);
    // By class and tenant, as the leader gives them out.
    let kind = |job: JobId| {
        let job = rig.queue.unfinished_job(job);
        job.map(|job| (job.class, job.tenant.to_owned()))
    };
    let kinds: BTreeMap<JobId, _> = jobs.iter().map(|job| (*job, kind(*job))).collect();
    let (took, tokens) = claim(rig, &jobs, CLAIMS_PER_ENTRY_MAX, |claims| {
        let mut runs: Vec<u32> = Vec::new();
        for (position, claim) in (0u32..).zip(claims) {
            let joins = |first: &&u32| {
                let other = &claims[**first as usize];
                u64::from(position - **first) < BATCH_JOBS_MAX
                    && kinds[&claim.job] == kinds[&other.job]
            };
            let first = runs.last().filter(joins);
            runs.push(*first.unwrap_or(&position));
        }
        let load = Load {
            share: 0,
            last_claim: 0,
        };
        let weighed = claims.iter().map(|claim| WeighedClaim {
            claim: *claim,
            load,
            fit: 1,
            others: [None; 3],
        });
        Command::ClaimTogether {
            claims: weighed.collect(),
            runs,
        }
    })?;
    chunks.add(Measure::ClaimTogether, took, CHUNK);
    let mut runs: BTreeMap<Token, JobId> = BTreeMap::new();
    let mut together = 0;
    for job in &jobs {
        if let Some(batch) = rig.queue.batch_of(*job) {
            runs.entry(batch).or_insert(*job);
            together += 1;
        }
    }
    ensure!(together > 0, "no job is run with another one");
    // A batch is called by its first claim, which may be another job's than the first here.
    let token = |job: JobId| rig.queue.job(job).and_then(|job| job.last_token);
    let commands = runs.values().map(|job| Command::FailTogether {
        job: *job,
        token: token(*job).expect("it was just given out"),
        class: FailureClass::Retryable,
        message: "the run was too long".into(),
        retry_after_ms: None,
    });
    let commands = commands.collect();
    let (took, outcomes) = rig.time(commands);
    chunks.add(Measure::FailTogether, took, together);
    for outcome in outcomes {
        ensure!(
            matches!(outcome, Outcome::FailedTogether { .. }),
            "a run does not fail: {outcome:?}"
        );
    }
    complete(rig, &jobs, &tokens)?;
    mend(rig)
}

/// So many failures are an outage: somebody has to say that it is over.
fn mend(rig: &mut Rig) -> Result<()> {
    if rig.level >= FeatureLevel::WORK_LIMITED {
        let scope = Scope::Engine(ENGINE.into());
        let resumed = rig.apply(Command::Resume { scope });
        ensure!(resumed == Outcome::Resumed { before: false }, "{resumed:?}");
    }
    Ok(())
}

/// The jobs that are ready first.
fn first(rig: &Rig) -> Vec<JobId> {
    rig.queue.ready().take(CHUNK as usize).collect()
}

/// Claims jobs for all workers but the one that holds some already.
fn claim(
    rig: &mut Rig,
    jobs: &[JobId],
    at_a_time: u64,
    command: impl Fn(&[Claim]) -> Command,
) -> Result<(Duration, Vec<Token>)> {
    let claims: Vec<Claim> = (0u64..)
        .zip(jobs)
        .map(|(position, job)| Claim {
            job: *job,
            worker: WorkerId(POLLING.0 + 1 + position / WORKER_SLOTS_MAX),
            rule: ClaimRule::LeastLoaded,
        })
        .collect();
    let commands = claims.chunks(usize::try_from(at_a_time)?);
    let (took, outcomes) = rig.time(commands.map(command).collect());
    let mut tokens = Vec::new();
    for outcome in outcomes {
        let Outcome::Claimed(claimed) = outcome else {
            bail!("jobs are not claimed: {outcome:?}");
        };
        for token in claimed {
            let Ok(token) = token else {
                bail!("a job is not claimed: {token:?}");
            };
            tokens.push(token);
        }
    }
    Ok((took, tokens))
}

fn one_by_one(claims: &[Claim]) -> Command {
    let claims = claims.to_vec();
    Command::Claim { claims }
}

fn complete(rig: &mut Rig, jobs: &[JobId], tokens: &[Token]) -> Result<Duration> {
    let body = Bytes::from(&[7; RESULT_BYTES][..]);
    let result = Digest::of(&body);
    let commands = jobs
        .iter()
        .zip(tokens)
        .map(|(job, token)| Command::Complete {
            job: *job,
            token: *token,
            result,
            body: body.clone(),
        });
    let (took, outcomes) = rig.time(commands.collect());
    for outcome in outcomes {
        ensure!(outcome == Outcome::Completed, "no result: {outcome:?}");
    }
    Ok(took)
}

fn fail(
    rig: &mut Rig,
    jobs: &[JobId],
    tokens: &[Token],
    class: FailureClass,
) -> (Duration, Vec<Outcome>) {
    let commands = jobs.iter().zip(tokens).map(|(job, token)| Command::Fail {
        job: *job,
        token: *token,
        class,
        message: "the engine gave up".into(),
        retry_after_ms: None,
    });
    rig.time(commands.collect())
}

/// Jobs that come, and that nobody wants any more.
fn leave(rig: &mut Rig, chunks: &mut Chunks) -> Result<()> {
    for (measure, at_a_time) in [
        (Measure::LeaveOne, 1),
        (Measure::LeaveMany, CANCEL_JOBS_MAX),
    ] {
        let (_, jobs) = rig.submit(CHUNK, SUBMIT_ITEMS_MAX)?;
        let commands = jobs.chunks(usize::try_from(at_a_time)?);
        let commands = commands.map(|jobs| Command::Leave {
            jobs: jobs.to_vec(),
        });
        let (took, outcomes) = rig.time(commands.collect());
        chunks.add(measure, took, CHUNK);
        for outcome in outcomes {
            let Outcome::Cancelled(left) = outcome else {
                bail!("jobs are not left: {outcome:?}");
            };
            let ended = Cancellation::Ended { stops: None };
            ensure!(left.iter().all(|left| *left == ended), "{left:?}");
        }
    }
    Ok(())
}

/// A tenant whose jobs wait is paused and goes on.
fn pause(rig: &mut Rig, chunks: &mut Chunks) -> Result<()> {
    let (mut paused, mut resumed) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..REPEATS {
        let scope = Scope::Tenant("team1".into());
        let (took, outcomes) = rig.time(vec![Command::Pause {
            scope: scope.clone(),
            reason: "its budget is spent".into(),
        }]);
        ensure!(
            outcomes == [Outcome::Paused { before: false }],
            "{outcomes:?}"
        );
        paused += took;
        let (took, outcomes) = rig.time(vec![Command::Resume { scope }]);
        ensure!(
            outcomes == [Outcome::Resumed { before: false }],
            "{outcomes:?}"
        );
        resumed += took;
    }
    chunks.add(Measure::Pause, paused, u64::from(REPEATS));
    chunks.add(Measure::Resume, resumed, u64::from(REPEATS));
    Ok(())
}

fn state_hash(rig: &Rig, chunks: &mut Chunks) {
    let start = processor_time();
    for _ in 0..REPEATS {
        std::hint::black_box(std::hint::black_box(&rig.queue).state_hash());
    }
    let took = processor_time() - start;
    chunks.add(Measure::StateHash, took, u64::from(REPEATS));
}

/// Jobs that cannot be done, and one more for each that needs it: all are done
/// again by one command, as many as it takes, and then cancelled.
fn redrive(rig: &mut Rig, chunks: &mut Chunks) -> Result<()> {
    let named = ORDERED_JOBS_MAX;
    let jobs = rig.submit_pairs(named)?;
    let (roots, dependents) = jobs.split_at(usize::try_from(named)?);
    let (_, tokens) = claim(rig, roots, CLAIMS, one_by_one)?;
    let (_, outcomes) = fail(rig, roots, &tokens, FailureClass::Permanent);
    for outcome in outcomes {
        let dead = Outcome::Failed(AfterFailure::Dead);
        ensure!(outcome == dead, "a job is not dead: {outcome:?}");
    }
    let (took, outcomes) = rig.time(vec![Command::Redrive {
        jobs: roots.to_vec(),
        dependents: true,
    }]);
    chunks.add(Measure::Redrive, took, jobs.len() as u64);
    let [Outcome::Redriven(redrive)] = &outcomes[..] else {
        bail!("dead letters are not redriven: {outcomes:?}");
    };
    let again = roots_again(redrive);
    ensure!(
        again.len() == roots.len() && redrive.dependents as usize == dependents.len(),
        "not all are redriven: {redrive:?}"
    );
    // The dependents fail with what they need.
    rig.apply(Command::Cancel { jobs: again });
    Ok(())
}

fn roots_again(redrive: &Redrive) -> Vec<JobId> {
    let again = redrive.jobs.iter().filter_map(|redriven| match redriven {
        Redriving::Again { job, .. } => Some(*job),
        _ => None,
    });
    again.collect()
}
