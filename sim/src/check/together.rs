//! Are only such jobs run together as may be, and does it cost none of them anything when
//! they fail together? The judge follows each run from the audit, and looks at the counts of
//! its jobs before and after. Each log index is judged once, at the replica that applies
//! it first; where a job was given out again within the turn, its counts are not judged.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::command::{AuditRecord, Command};
use precentor_core::ids::{JobId, Token, WorkerId, WorkerIncarnation};
use precentor_core::job::{Class, FailureClass, Generator, JobState};
use precentor_core::view::View;

use super::effects::Effects;
use super::logs::Logs;
use super::runs::{Given, Runs};
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// Jobs that may be run together (QUEUE B1).
const BATCH_MAX: usize = 16;

/// A job that runs with others.
#[derive(Clone, Copy, Debug)]
struct Member {
    given: Given,
    /// Failures and crashes when it was given out, if they were seen.
    counts: Option<(u32, u32)>,
}

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Together {
    effects: Effects,
    runs: Runs,
    members: BTreeMap<JobId, Member>,
    /// They failed with others, and are to be run alone.
    spared: BTreeSet<JobId>,
    /// The newest life of each worker.
    lives: BTreeMap<WorkerId, WorkerIncarnation>,
}

impl Together {
    /// A replica says what came of an entry.
    pub(super) fn on_audit(
        &mut self,
        record: &AuditRecord,
        view: &View<'_>,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        let Some(entry) = self.effects.next(record, logs) else {
            return Ok(());
        };
        match &entry.command {
            command @ (Command::Claim { .. }
            | Command::ClaimFrom { .. }
            | Command::ClaimTogether { .. }) => {
                for given in super::runs::given(command, record) {
                    // Whoever is given out anew is with nobody from before.
                    self.members.remove(&given.job);
                    if self.spared.contains(&given.job) {
                        marks.hit(Mark::SparedTriedAgain);
                    }
                }
                for run in self.runs.on_claims(command, record) {
                    self.check_run(&run, record, view)?;
                    marks.hit(Mark::RunTogether);
                    for given in run {
                        let counts = counts(&given, view);
                        self.members.insert(given.job, Member { given, counts });
                    }
                }
                Ok(())
            }
            Command::Complete { job, token, .. } | Command::Fail { job, token, .. } => {
                if self.is_held(*job, *token) {
                    marks.hit(Mark::EndedBeforeItsRun);
                    self.members.remove(job);
                }
                Ok(())
            }
            Command::Release { job, token } => {
                if self.is_held(*job, *token) {
                    self.members.remove(job);
                }
                Ok(())
            }
            Command::FailTogether {
                job, token, class, ..
            } if self.is_held(*job, *token) => {
                marks.hit(Mark::RunFailed);
                let run: Vec<JobId> = self.runs.of(*token).iter().map(|given| given.job).collect();
                let of_run = |member: &&Member| run.contains(&member.given.job);
                let held = self.members.values().copied();
                let held: Vec<Member> = held
                    .filter(|member| of_run(&member) && member.given.token.index == token.index)
                    .collect();
                let splits = matches!(class, FailureClass::Retryable | FailureClass::Permanent);
                held.iter()
                    .try_for_each(|member| self.on_lost(member, splits, record, view))
            }
            Command::Expire { leases } => {
                for lease in leases {
                    if self.is_held(lease.job, lease.token) {
                        marks.hit(Mark::LostWithItsRun);
                        let member = self.members[&lease.job];
                        self.on_lost(&member, true, record, view)?;
                    }
                }
                Ok(())
            }
            Command::Register { worker } => {
                let life = self.lives.entry(worker.worker).or_default();
                if worker.incarnation <= *life {
                    return Ok(());
                }
                *life = worker.incarnation;
                let held = self.members.values().copied();
                let held: Vec<Member> = held
                    .filter(|member| member.given.worker == worker.worker)
                    .collect();
                held.iter()
                    .try_for_each(|member| self.on_lost(member, true, record, view))
            }
            Command::Expel { worker } => {
                self.members
                    .retain(|_, member| member.given.worker != *worker);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The turn is over: what ended is run with nobody.
    pub(super) fn on_turn(&mut self, view: &View<'_>) {
        if view.applied() == self.effects.last() {
            self.members
                .retain(|job, _| view.queue().unfinished_job(*job).is_some());
        }
    }

    fn is_held(&self, job: JobId, token: Token) -> bool {
        let member = self.members.get(&job);
        member.is_some_and(|member| member.given.token == token)
    }

    /// One worker, one queue, one generator, not too many, and none that is to be alone.
    fn check_run(&self, run: &[Given], record: &AuditRecord, view: &View<'_>) -> Verdict {
        let wrong = |what: &str| format!("{what} are run together at {}: {run:?}", record.index);
        claim(run.len() <= BATCH_MAX, || wrong("too many jobs"))?;
        let spared = run.iter().find(|given| self.spared.contains(&given.job));
        claim(spared.is_none(), || {
            wrong("jobs of which one failed with others before")
        })?;
        let first = run[0].worker;
        claim(run.iter().all(|given| given.worker == first), || {
            wrong("jobs of several workers")
        })?;
        let alike = run.iter().filter_map(|given| alike(given.job, view));
        let alike: Vec<(Class, &str, &Generator)> = alike.collect();
        let same = alike.windows(2).all(|pair| {
            // A class may have changed since within the turn.
            let at_once = view.applied() == record.index;
            pair[0].1 == pair[1].1 && pair[0].2 == pair[1].2 && (!at_once || pair[0].0 == pair[1].0)
        });
        claim(same, || {
            wrong(&format!("jobs that are not alike, {alike:?},"))
        })
    }

    /// A member of a run ended with it.
    fn on_lost(
        &mut self,
        member: &Member,
        splits: bool,
        record: &AuditRecord,
        view: &View<'_>,
    ) -> Verdict {
        let Given { job, token, .. } = member.given;
        self.members.remove(&job);
        if splits {
            self.spared.insert(job);
        }
        let Some(now) = view.queue().job(job) else {
            return Ok(());
        };
        let runs_on = matches!(now.state, JobState::Running(lease) if lease.token == token);
        claim(!runs_on, || {
            format!(
                "{job} runs on by {token}; its run ended at {}",
                record.index
            )
        })?;
        // It may have been given out again.
        let counts = counts(&member.given, view);
        let (Some(before), Some(after)) = (member.counts, counts) else {
            return Ok(());
        };
        let is_dead = matches!(now.state, JobState::Dead(_));
        claim(before == after && !is_dead, || {
            format!(
                "{job} failed with its run at {}: its failures and crashes were {before:?}, and are {after:?}, {}",
                record.index, now.state
            )
        })
    }
}

/// What a job counts, if it was not given out again.
fn counts(given: &Given, view: &View<'_>) -> Option<(u32, u32)> {
    let job = view.queue().job(given.job)?;
    (job.last_token == Some(given.token)).then_some((job.failures, job.crashes))
}

fn alike<'v>(job: JobId, view: &'v View<'_>) -> Option<(Class, &'v str, &'v Generator)> {
    let found = view.queue().unfinished_job(job)?;
    let generator = view.queue().generator_of(job)?;
    Some((found.class, found.tenant, generator))
}

fn claim(holds: bool, text: impl FnOnce() -> String) -> Verdict {
    ensure(holds, Checker::Batches, text)
}
