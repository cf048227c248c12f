//! What an entry does: one rule for each command, and what is left over from before.

use super::QueueManager;
use super::attempts::check_range;
use super::jobs::Phase;
use super::timers::Timer;
use crate::bytes::Bytes;
use crate::command::{Command, Entry, Outcome, Rejection};
use crate::digest::Digest;
use crate::feature::FeatureLevel;
use crate::ids::{LogIndex, SessionId, Term};
use crate::limits::{DENIALS_NAMED_MAX, TIMERS_PER_ENTRY_MAX};

impl QueueManager {
    /// Does what the entry asks, and then what is left from before.
    pub(super) fn execute(
        &mut self,
        index: LogIndex,
        term: Term,
        entry: &Entry,
    ) -> (Outcome, Option<(Digest, Bytes)>) {
        let mut publication = None;
        let (needed, current) = (entry.command.level(), self.level);
        if needed > current {
            let rejection = Rejection::LevelTooLow { needed, current };
            return (Outcome::Rejected(rejection), None);
        }
        let session = entry.request.map(|request| request.session);
        let done = match &entry.command {
            // A take-over stands for the term of its entry and for no other.
            Command::TakeOver { term: named, .. } if *named != term => Err(Rejection::OldTerm {
                term: *named,
                current: term,
            }),
            Command::TakeOver { .. } => {
                self.head.takeover = term;
                Ok(Outcome::TookOver)
            }
            Command::OpenSession => {
                let id = SessionId(index.0);
                let ttl_ms = self.rules.session_ttl_ms;
                self.sessions
                    .open(id, self.head.now, ttl_ms, &mut self.timers)
                    .map(|()| {
                        self.note_session(id, &entry.principal);
                        Outcome::SessionOpened(id)
                    })
            }
            Command::Submit { items } => self
                .submit(items, &entry.principal, session)
                .map(Outcome::Submitted),
            Command::Register { worker } => self.register(worker).map(|()| {
                self.note_worker(worker.worker, &entry.principal);
                Outcome::Registered
            }),
            Command::PutOffer {
                worker,
                incarnation,
                offer,
            } => self.put_offer(*worker, *incarnation, offer),
            Command::PutNeeds { engine, needs } => self.put_needs(engine, needs),
            Command::Claim { .. } | Command::ClaimFrom { .. } | Command::ClaimTogether { .. } => {
                self.claim(index, &entry.command).map(Outcome::Claimed)
            }
            Command::Complete {
                job,
                token,
                result,
                body,
            } => self
                .complete(*job, *token, *result, body, entry.wall_ms)
                .map(|effect| {
                    publication = effect.then(|| (*result, body.clone()));
                    Outcome::Completed
                }),
            Command::Fail {
                job,
                token,
                class,
                message,
                retry_after_ms,
            } => self
                .fail(*job, *token, *class, message, *retry_after_ms)
                .map(Outcome::Failed),
            Command::FailTogether {
                job,
                token,
                class,
                message,
                retry_after_ms,
            } => self.fail_together(*job, *token, *class, message, *retry_after_ms),
            Command::Release { job, token } => {
                self.give_up(*job, *token).map(|()| Outcome::Released)
            }
            Command::Expire { leases } => {
                self.expire(leases).map(|count| Outcome::Expired { count })
            }
            Command::Tick => Ok(Outcome::Ticked { count: self.tick() }),
            Command::RaiseLevel { to } => self.raise_level(*to).map(|()| Outcome::LevelRaised),
            Command::Leave { jobs } => self.leave(jobs, session).map(Outcome::Cancelled),
            Command::Cancel { jobs } => self.cancel(jobs).map(Outcome::Cancelled),
            Command::Redrive { jobs, dependents } => self
                .redrive(jobs, *dependents, session)
                .map(Outcome::Redriven),
            Command::Purge { jobs } => self.purge_letters(jobs).map(Outcome::Purged),
            Command::Reprioritise { jobs, class } => {
                self.reprioritise(jobs, *class).map(Outcome::Reprioritised)
            }
            Command::Pause { scope, reason } => self.pause(scope, reason, &entry.principal),
            Command::Resume { scope } => self.resume(scope),
            Command::Expel { worker } => Ok(self.expel(*worker)),
            Command::PutLimits { account, limits } => self.put_limits(account, limits),
            Command::Ask { items, mode } => self
                .ask(items, *mode, &entry.principal, session)
                .map(Outcome::Asked),
            Command::Invalidate { reach } => self.invalidate(reach),
            Command::PutBudget { bytes_max } => self.put_budget(*bytes_max),
            Command::KeepSources { sources } => self.keep_sources(sources),
            Command::PutSourceBudget { bytes_max } => self.put_source_budget(*bytes_max),
            Command::Evict { evictions } => self.evict(evictions).map(Outcome::Evicted),
            Command::PutRoles { principal, grants } => self.put_roles(principal, grants),
            Command::NoteDenials { denied, .. } => check_range(
                "the denials of an entry",
                denied.len() as u64,
                0,
                DENIALS_NAMED_MAX,
            )
            .map(|()| Outcome::DenialsNoted),
            Command::Annotate {
                address,
                edit,
                basis,
            } => self.annotate(address, edit, basis, entry),
            Command::Resolve {
                address,
                conflict,
                revision,
                author,
                resolution,
            } => {
                let how = (*author, &**resolution);
                self.resolve_conflict(address, *conflict, *revision, how, entry)
            }
        };
        match done {
            Ok(Outcome::Ticked { count }) => {
                let count = count + self.settle();
                (Outcome::Ticked { count }, publication)
            }
            Ok(outcome) => {
                self.settle();
                (outcome, publication)
            }
            Err(rejection) => (Outcome::Rejected(rejection), None),
        }
    }

    /// The rules of a level hold from the next entry on. They never go back.
    fn raise_level(&mut self, to: FeatureLevel) -> Result<(), Rejection> {
        let current = self.level;
        if to <= current {
            return Err(Rejection::LevelNotHigher { to, current });
        }
        self.level = to;
        Ok(())
    }

    /// Fires the timers that are due, up to the limit; says how many.
    fn tick(&mut self) -> u32 {
        let now = self.head.now;
        let mut count = 0;
        let mut budget = TIMERS_PER_ENTRY_MAX;
        while budget > 0 {
            let Some(timer) = self.timers.first_due(now) else {
                break;
            };
            count += 1;
            let cost = match timer {
                Timer::Job(id) => {
                    self.jobs.change(id, &mut self.timers, |job| {
                        job.set_phase(Phase::Ready);
                    });
                    1
                }
                Timer::Session(id) => {
                    let ttl_ms = self.rules.session_ttl_ms;
                    self.forget_session(id);
                    self.sessions.expire(id, ttl_ms, &mut self.timers)
                }
            };
            budget = budget.saturating_sub(cost);
        }
        count += self.sweep();
        count += self.look_at_buckets(budget);
        count + self.look_at_breakers(budget)
    }
}
