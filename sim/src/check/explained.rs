//! Does a dead letter tell the truth? Its attempts must be those that were given out,
//! by the audit, in order and each with its end; and the reason must be what these ends
//! come to, within what a job may be tried. Each log index is judged once, at the
//! replica that applies it first.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::command::{AuditRecord, Command};
use precentor_core::config::Knobs;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{JobId, LogIndex, Token, WorkerId, WorkerIncarnation};
use precentor_core::job::{
    Attempt, AttemptEnd, DeadLetter, DeadReason, FailureClass, Finished, JobState,
};
use precentor_core::limits::ATTEMPTS_KEPT_MAX;
use precentor_core::view::View;

use super::effects::Effects;
use super::logs::Logs;
use super::queue::Queue;
use super::runs::{Given, Runs, given};
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// How a worker said that an attempt ended.
#[derive(Clone, Debug)]
struct Word {
    class: FailureClass,
    message: String,
    asks_again: bool,
    /// With all that was run together with it: it counts against none.
    with_run: bool,
}

/// The judge.
#[derive(Clone, Debug)]
pub struct Explained {
    failures_max: u64,
    crashes_max: u64,
    effects: Effects,
    /// From the entry after this one on, attempts are kept.
    kept_since: Option<LogIndex>,
    /// Items of the feed that were judged.
    feed_read: usize,
    /// Who was given each job, one after another.
    granted: BTreeMap<JobId, Vec<(Token, WorkerId)>>,
    runs: Runs,
    /// What workers said of attempts. Only the first word of each had an effect.
    said: BTreeMap<(JobId, Token), Word>,
    released: BTreeSet<(JobId, Token)>,
    expired: BTreeSet<(JobId, Token)>,
    expelled: BTreeSet<WorkerId>,
    /// The newest life of each worker.
    lives: BTreeMap<WorkerId, WorkerIncarnation>,
}

impl Explained {
    pub(super) fn new(knobs: &Knobs) -> Explained {
        Explained {
            failures_max: knobs.failures_max,
            crashes_max: knobs.crashes_max,
            effects: Effects::default(),
            kept_since: None,
            feed_read: 0,
            granted: BTreeMap::new(),
            runs: Runs::default(),
            said: BTreeMap::new(),
            released: BTreeSet::new(),
            expired: BTreeSet::new(),
            expelled: BTreeSet::new(),
            lives: BTreeMap::new(),
        }
    }

    /// A replica says what came of an entry.
    pub(super) fn on_audit(&mut self, record: &AuditRecord, logs: &Logs) {
        if let Some(entry) = self.effects.next(record, logs) {
            self.on_command(&entry.command, record);
        }
    }

    fn on_command(&mut self, command: &Command, record: &AuditRecord) {
        match command {
            Command::Claim { .. } | Command::ClaimFrom { .. } | Command::ClaimTogether { .. } => {
                for Given { job, token, worker } in given(command, record) {
                    let of_job = self.granted.entry(job).or_default();
                    of_job.push((token, worker));
                }
                self.runs.on_claims(command, record);
            }
            Command::Fail {
                job,
                token,
                class,
                message,
                retry_after_ms,
            }
            | Command::FailTogether {
                job,
                token,
                class,
                message,
                retry_after_ms,
            } => {
                let whole = matches!(command, Command::FailTogether { .. });
                let mates = if whole { self.runs.of(*token) } else { &[] };
                let word = Word {
                    class: *class,
                    message: message.clone(),
                    asks_again: retry_after_ms.is_some(),
                    with_run: !mates.is_empty(),
                };
                let mates = mates.iter().map(|mate| (mate.job, mate.token));
                for name in mates.chain([(*job, *token)]) {
                    self.said.entry(name).or_insert_with(|| word.clone());
                }
            }
            Command::Release { job, token } => drop(self.released.insert((*job, *token))),
            Command::Expire { leases } => {
                let leases = leases.iter().map(|lease| (lease.job, lease.token));
                self.expired.extend(leases);
            }
            Command::RaiseLevel { to } if *to >= FeatureLevel::QUEUE_OPERATED => {
                self.kept_since.get_or_insert(record.index);
            }
            Command::Expel { worker } => drop(self.expelled.insert(*worker)),
            Command::Register { worker } => {
                // One that was expelled may come back in an older life.
                let newest = self.lives.entry(worker.worker).or_default();
                *newest = worker.incarnation.max(*newest);
            }
            _ => {}
        }
    }

    /// Jobs ended.
    pub(super) fn on_turn(&mut self, view: &View<'_>, queue: &Queue, marks: &mut Marks) -> Verdict {
        let feed = queue.feed();
        let ended = &feed[self.feed_read..];
        self.feed_read = feed.len();
        for finished in ended {
            let granted = self.granted.remove(&finished.job).unwrap_or_default();
            let JobState::Dead(reason) = &finished.state else {
                continue;
            };
            self.check_reason(finished, reason)?;
            let Some(letter) = view.queue().dead_letter(finished.job) else {
                continue;
            };
            // A replica that comes to it by a snapshot tells nothing of the attempts.
            let all_seen = granted.len() as u64 == u64::from(finished.attempts);
            if all_seen && !granted.is_empty() {
                self.check_letter(&letter, reason, &granted)?;
                marks.hit(Mark::LetterExplained);
            }
        }
        Ok(())
    }

    /// A job is tried so often, and no more, whoever led meanwhile.
    fn check_reason(&self, finished: &Finished, reason: &DeadReason) -> Verdict {
        let (count, most) = match reason {
            DeadReason::Permanent { .. } => return Ok(()),
            DeadReason::Failures { count, .. } => (*count, self.failures_max),
            DeadReason::Crashes { count } => (*count, self.crashes_max),
        };
        ensure(
            u64::from(count) <= most && count <= finished.attempts,
            Checker::Explained,
            || {
                format!(
                    "{} was given up after {} attempts: {reason}; {most} are borne",
                    finished.job, finished.attempts
                )
            },
        )
    }

    fn check_letter(
        &self,
        letter: &DeadLetter,
        reason: &DeadReason,
        granted: &[(Token, WorkerId)],
    ) -> Verdict {
        let job = letter.job.job;
        let wrong = |what: &str| format!("the dead letter of {job} {what}: {letter:?}");
        let kept = letter.attempts.iter();
        let kept: Vec<(Token, WorkerId)> = kept.map(|kept| (kept.token, kept.worker)).collect();
        let since = |token: Token| self.kept_since.is_some_and(|since| token.index > since);
        let from = granted.len().saturating_sub(ATTEMPTS_KEPT_MAX as usize);
        let expected = granted[from..].iter().filter(|(token, _)| since(*token));
        ensure(expected.eq(&kept), Checker::Explained, || {
            format!("{}; it was given out as {granted:?}", wrong("has attempts"))
        })?;
        for attempt in &letter.attempts {
            let Some(end) = attempt.ended else {
                return ensure(false, Checker::Explained, || wrong("has an open attempt"));
            };
            ensure(self.is_so(job, attempt, end), Checker::Explained, || {
                format!("{}: {attempt:?} did not end so", wrong("is wrong"))
            })?;
        }
        // What failed with others counts against none.
        let counts = |attempt: &Attempt, class: FailureClass| match class {
            FailureClass::WorkerLost => self.runs.of(attempt.token).is_empty(),
            _ => {
                let word = self.said.get(&(job, attempt.token));
                !word.is_some_and(|word| word.with_run)
            }
        };
        let of_class = |class: FailureClass| {
            let ended = letter.attempts.iter().filter(|attempt| {
                let end = attempt.ended.map(|end| end.class);
                end == Some(class) && counts(attempt, class)
            });
            ended.count() as u64
        };
        if letter.attempts.len() < granted.len() {
            // How the others ended was not kept.
            return Ok(());
        }
        let last = letter.attempts.last().map(|last| (job, last.token));
        let word = last.and_then(|last| self.said.get(&last));
        let said = |message: &str| {
            let word = word.is_some_and(|word| word.message.starts_with(message));
            word && !message.is_empty()
        };
        let holds = match reason {
            DeadReason::Permanent { message } => {
                said(message) && of_class(FailureClass::Permanent) == 1
            }
            DeadReason::Failures { count, message } => {
                let failed = of_class(FailureClass::Retryable) + of_class(FailureClass::Permanent);
                let at_once = word
                    .is_some_and(|word| word.class == FailureClass::Permanent && word.asks_again);
                let enough = u64::from(*count) == self.failures_max;
                said(message) && failed >= u64::from(*count) && (enough || at_once)
            }
            DeadReason::Crashes { count } => {
                u64::from(*count) == self.crashes_max
                    && of_class(FailureClass::WorkerLost) >= u64::from(*count)
            }
        };
        ensure(holds, Checker::Explained, || {
            format!(
                "{}; what was said last is {word:?}",
                wrong("has a reason that does not hold")
            )
        })
    }

    /// Did an attempt end as the letter says?
    fn is_so(&self, job: JobId, attempt: &Attempt, end: AttemptEnd) -> bool {
        let name = (job, attempt.token);
        match end.class {
            FailureClass::WorkerLost => {
                let lives = self.lives.get(&attempt.worker);
                let reborn = lives.is_some_and(|life| *life > attempt.incarnation);
                self.expired.contains(&name) || reborn || self.says(name, end.class)
            }
            FailureClass::Drained => {
                let expelled = self.expelled.contains(&attempt.worker);
                self.released.contains(&name) || expelled || self.says(name, end.class)
            }
            FailureClass::Retryable | FailureClass::Permanent | FailureClass::Busy => {
                self.says(name, end.class)
            }
        }
    }

    fn says(&self, name: (JobId, Token), class: FailureClass) -> bool {
        self.said.get(&name).is_some_and(|word| word.class == class)
    }
}
