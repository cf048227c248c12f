//! Does the replicated queue keep its word? Each log index is judged once, at
//! the replica that applies it first; the others must have the same state hash
//! there, so they cannot differ unseen.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::address::Address;
use precentor_core::command::{AuditRecord, Command};
use precentor_core::digest::{Digest, StateHash};
use precentor_core::ids::{FinishNumber, JobId, LogIndex, Token, WorkerId};
use precentor_core::job::{DeadReason, Finished, JobState};
use precentor_core::view::View;

use super::logs::Logs;
use super::{Checker, Failure, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// What is known of the queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// The last index that was judged.
    judged: LogIndex,
    hashes: BTreeMap<LogIndex, StateHash>,
    /// Where each node's state was compared last: it is the same until the
    /// node applies more or starts anew.
    compared: Vec<LogIndex>,
    audit: BTreeMap<LogIndex, Digest>,
    /// Finished jobs in order of number, from 1.
    finished: Vec<Finished>,
    by_job: BTreeMap<JobId, FinishNumber>,
    /// Addresses with a job that ended.
    ended: BTreeSet<Address>,
    /// What each context, by address, needs first.
    needs: BTreeMap<Address, Vec<Address>>,
    /// Claims that were granted.
    granted: BTreeSet<Token>,
    pointers: BTreeMap<Address, JobId>,
}

impl Queue {
    /// Was a claim granted, as far as was seen?
    pub(super) fn was_granted(&self, token: Token) -> bool {
        self.granted.contains(&token)
    }

    /// The jobs that ended, in order.
    pub(super) fn feed(&self) -> &[Finished] {
        &self.finished
    }

    /// How a job ended, if it did.
    pub(super) fn end_of(&self, job: JobId) -> Option<&Finished> {
        let number = self.by_job.get(&job)?;
        self.finished.get(number.0 as usize - 1)
    }

    /// The state's hash at an index, as far as a replica was seen there.
    pub(super) fn hash_at(&self, index: LogIndex) -> Option<StateHash> {
        self.hashes.get(&index).copied()
    }

    /// Does an item of the feed say what was seen before?
    pub(super) fn agrees(&self, finished: &Finished) -> Verdict {
        let known = self
            .finished
            .get((finished.number.0 as usize).wrapping_sub(1));
        ensure(
            known.is_none_or(|known| known == finished),
            Checker::OneTerminalState,
            || format!("the feed says {finished:?}, and said {known:?}"),
        )
    }

    pub(super) fn on_audit(&mut self, record: &AuditRecord) -> Verdict {
        let first = *self.audit.entry(record.index).or_insert(record.digest);
        ensure(first == record.digest, Checker::AuditChain, || {
            format!(
                "two audit records for {}: {first:?} and {:?}",
                record.index, record.digest
            )
        })?;
        let before = self.audit.get(&LogIndex(record.index.0 - 1));
        ensure(
            before.is_none_or(|before| *before == record.previous),
            Checker::AuditChain,
            || {
                format!(
                    "the audit record of {} follows {:?}; the one before is {before:?}",
                    record.index, record.previous
                )
            },
        )
    }

    pub(super) fn new(count: usize) -> Queue {
        Queue {
            compared: vec![LogIndex(0); count],
            ..Queue::default()
        }
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        self.compared[place] = LogIndex(0);
    }

    pub(super) fn on_turn(
        &mut self,
        place: Place,
        view: &View<'_>,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        let applied = view.applied();
        if applied == self.compared[place] {
            return Ok(());
        }
        self.compared[place] = applied;
        if applied <= self.judged {
            let hash = view.state_hash().hash;
            let first = *self.hashes.entry(applied).or_insert(hash);
            return ensure(first == hash, Checker::EqualState, || {
                format!(
                    "{} has another state at {applied} than the first replica there",
                    view.node()
                )
            });
        }
        let from = std::mem::replace(&mut self.judged, applied);
        self.hashes.insert(applied, view.state_hash().hash);
        self.take_feed(view, marks)?;
        let mut claimed = false;
        for index in from.0 + 1..=applied.0 {
            let Some(committed) = logs.get(LogIndex(index)) else {
                return Err(Failure {
                    checker: Checker::CommittedNeverLost,
                    text: format!(
                        "{} applied {applied}; committed is {}",
                        view.node(),
                        logs.committed()
                    ),
                });
            };
            let Some(command) = committed.command() else {
                continue;
            };
            match command {
                Command::Submit { items } | Command::Ask { items, .. } => {
                    for item in items {
                        let needed = item.dependencies.iter().map(|d| d.address.clone());
                        self.needs.insert(item.address.clone(), needed.collect());
                    }
                }
                Command::Claim { .. }
                | Command::ClaimFrom { .. }
                | Command::ClaimTogether { .. } => {
                    claimed = true;
                    for (position, claim) in (0..).zip(command.claims()) {
                        let token = Token {
                            index: LogIndex(index),
                            position,
                        };
                        self.on_claim(view, claim.job, token)?;
                    }
                }
                Command::Complete { job, token, .. } => {
                    self.on_touched(view, *job, *token, marks)?
                }
                Command::Fail { job, token, .. }
                | Command::FailTogether { job, token, .. }
                | Command::Release { job, token } => {
                    self.on_touched(view, *job, *token, marks)?;
                }
                Command::Expire { leases } => {
                    for lease in leases {
                        self.on_touched(view, lease.job, lease.token, marks)?;
                    }
                }
                Command::TakeOver { .. }
                | Command::OpenSession
                | Command::Register { .. }
                | Command::Tick
                | Command::RaiseLevel { .. }
                | Command::Leave { .. }
                | Command::Cancel { .. }
                | Command::Redrive { .. }
                | Command::Purge { .. }
                | Command::Reprioritise { .. }
                | Command::Pause { .. }
                | Command::Resume { .. }
                | Command::Expel { .. }
                | Command::PutLimits { .. }
                | Command::PutNeeds { .. }
                | Command::PutOffer { .. }
                | Command::Invalidate { .. }
                | Command::PutBudget { .. }
                | Command::Evict { .. }
                | Command::PutRoles { .. }
                | Command::NoteDenials { .. }
                | Command::Annotate { .. }
                | Command::Resolve { .. }
                | Command::KeepSources { .. }
                | Command::PutSourceBudget { .. } => {}
            }
        }
        if claimed {
            self.on_leases(view)?;
        }
        Ok(())
    }

    fn take_feed(&mut self, view: &View<'_>, marks: &mut Marks) -> Verdict {
        let known = FinishNumber(self.finished.len() as u64);
        if view.queue().last_finish() == known {
            return Ok(());
        }
        for finished in view.queue().finished_after(known, u32::MAX) {
            let number = FinishNumber(self.finished.len() as u64 + 1);
            ensure(finished.number == number, Checker::OneTerminalState, || {
                format!(
                    "{} finished as {}; {number} is next",
                    finished.job, finished.number
                )
            })?;
            ensure(
                finished.state.is_terminal(),
                Checker::OneTerminalState,
                || format!("{} finished as {:?}", finished.job, finished.state),
            )?;
            let before = self.by_job.insert(finished.job, number);
            ensure(before.is_none(), Checker::OneTerminalState, || {
                format!("{} finished as {before:?} and as {number}", finished.job)
            })?;
            self.ended.insert(finished.address.clone());
            mark_end(&finished.state, marks);
            self.finished.push(finished);
        }
        Ok(())
    }

    fn on_claim(&mut self, view: &View<'_>, job: JobId, token: Token) -> Verdict {
        let Some(found) = view.queue().job(job) else {
            return Ok(());
        };
        if found.last_token == Some(token) {
            self.granted.insert(token);
        } else if let Some(last) = found.last_token
            && last > token
        {
            // Overtaken within one turn: it may have been granted or not.
            self.granted.insert(token);
        }
        if found.state.is_terminal() || found.last_token != Some(token) {
            return Ok(());
        }
        for needed in self.needs.get(&found.address).into_iter().flatten() {
            let ended = self.ended.contains(needed) || view.queue().context(needed).is_some();
            ensure(ended, Checker::Dependencies, || {
                format!(
                    "{job} ({}) was claimed at {}, and {needed} never ended",
                    found.address, token.index
                )
            })?;
        }
        Ok(())
    }

    /// An entry spoke of a job: what ended stays as it ended, and what is
    /// published does not go back.
    fn on_touched(
        &mut self,
        view: &View<'_>,
        job: JobId,
        token: Token,
        marks: &mut Marks,
    ) -> Verdict {
        let Some(found) = view.queue().job(job) else {
            return Ok(());
        };
        if let Some(ended) = self.end_of(job) {
            ensure(
                ended.state == found.state,
                Checker::OneTerminalState,
                || {
                    format!(
                        "{job} ended as {:?} and is {:?} now",
                        ended.state, found.state
                    )
                },
            )?;
        }
        if let JobState::Done { .. } = found.state
            && found.last_token == Some(token)
            && found.crashes > 0
        {
            marks.hit(Mark::LateAccepted);
        }
        let Some(context) = view.queue().context(&found.address) else {
            return Ok(());
        };
        let before = self.pointers.insert(found.address.clone(), context.job);
        ensure(
            before.is_none_or(|before| before <= context.job),
            Checker::PointerForward,
            || {
                format!(
                    "{} went from the result of {before:?} back to that of {}",
                    found.address, context.job
                )
            },
        )
    }

    fn on_leases(&self, view: &View<'_>) -> Verdict {
        let mut running: BTreeMap<Address, JobId> = BTreeMap::new();
        let mut held: BTreeMap<WorkerId, u32> = BTreeMap::new();
        for (worker, _, job) in view.queue().leases() {
            *held.entry(worker).or_default() += 1;
            let Some(found) = view.queue().job(job) else {
                continue;
            };
            if let Some(other) = running.insert(found.address.clone(), job) {
                return ensure(false, Checker::OneRunningPerContext, || {
                    format!("{other} and {job} both run for {}", found.address)
                });
            }
        }
        for (worker, count) in held {
            let slots = view.queue().worker(worker).map_or(0, |spec| spec.slots);
            ensure(count <= slots, Checker::Slots, || {
                format!("{worker} holds {count} jobs in {slots} slots")
            })?;
        }
        Ok(())
    }
}

fn mark_end(state: &JobState, marks: &mut Marks) {
    match state {
        JobState::Done {
            from_cache: true, ..
        } => marks.hit(Mark::FromCache),
        JobState::Done { .. } => marks.hit(Mark::JobDone),
        JobState::Dead(DeadReason::Permanent { .. }) => marks.hit(Mark::DeadPermanent),
        JobState::Dead(DeadReason::Failures { .. }) => marks.hit(Mark::DeadFailures),
        JobState::Dead(DeadReason::Crashes { .. }) => marks.hit(Mark::DeadCrashes),
        JobState::DependencyFailed { .. } => marks.hit(Mark::DependencyFailed),
        JobState::Superseded { .. } => marks.hit(Mark::Superseded),
        JobState::Cancelled => marks.hit(Mark::JobCancelled),
        JobState::Waiting { .. }
        | JobState::Delayed { .. }
        | JobState::Ready
        | JobState::Running(_)
        | JobState::Parked => {}
    }
}
