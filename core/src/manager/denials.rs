//! What was denied here, counted until the leader tells of it in one entry. Volatile and
//! bounded: whoever is denied a million times costs one row, and one entry in an
//! interval (decision 24). What a node counted is lost when it ends.

use std::collections::BTreeMap;

use super::ContextManager;
use crate::access::{Denial, DenialReason, Denied, Role, Tally};
use crate::address::Address;
use crate::command::Command;
use crate::event::Now;
use crate::ids::Ticket;
use crate::limits::DENIALS_NAMED_MAX;
use crate::marks::Mark;
use crate::principal::Principal;
use crate::request::{Query, Reply, Request};
use crate::time::{Span, Stamp, Time};

/// What was denied since it was told last.
#[derive(Clone, Debug, Default)]
pub(super) struct Denials {
    rows: BTreeMap<(Principal, DenialReason), Tally>,
    /// What has no row: there were too many.
    others: Option<Tally>,
    /// When the first of these was.
    since: Option<Time>,
}

impl Denials {
    fn note(&mut self, now: Time, at: Stamp, who: &Principal, reason: DenialReason) {
        self.since.get_or_insert(now);
        let is_full = self.rows.len() as u64 >= DENIALS_NAMED_MAX;
        let key = (who.clone(), reason);
        let tally = match self.rows.get_mut(&key) {
            Some(tally) => tally,
            None if is_full => match &mut self.others {
                Some(others) => others,
                none => {
                    *none = Some(Tally::once(at));
                    return;
                }
            },
            None => {
                self.rows.insert(key, Tally::once(at));
                return;
            }
        };
        tally.again(at);
    }

    /// When an entry is to tell of them.
    pub(super) fn due(&self, every: Span) -> Option<Time> {
        self.since.map(|since| since + every)
    }

    fn take(&mut self) -> Command {
        let Denials { rows, others, .. } = std::mem::take(self);
        let denied = rows.into_iter().map(|((principal, reason), tally)| Denied {
            principal,
            reason,
            tally,
        });
        Command::NoteDenials {
            denied: denied.collect(),
            others,
        }
    }
}

impl ContextManager {
    /// Nothing is done, and no entry is made: it is only counted.
    pub(super) fn deny(&mut self, now: Now, ticket: Ticket, who: &Principal, denial: Denial) {
        let reply = self.note_denied(now, who, denial);
        self.outbox.answer(ticket, reply);
    }

    /// Counts a denial; what whoever asked is to be told.
    pub(super) fn note_denied(&mut self, now: Now, who: &Principal, denial: Denial) -> Reply {
        self.marks.hit(Mark::RequestDenied);
        let at = self.stamp(now);
        self.denials.note(now.time, at, who, denial.reason());
        #[cfg(feature = "planted-bugs")]
        if self.config.planted(crate::planted::Bug::DenialPerAttempt)
            && self.failover.may_serve()
            && !self.cluster.is_yielding()
        {
            let command = self.denials.take();
            self.append_own(now, command);
        }
        Reply::Denied(denial)
    }

    /// A serving leader tells what was denied here for an interval.
    pub(super) fn note_denials(&mut self, now: Now) {
        let every = Span::from_ms(self.config.knobs.denials_note_ms);
        if self.denials.due(every).is_none_or(|due| due > now.time) {
            return;
        }
        assert!(
            self.queue.level() >= crate::feature::FeatureLevel::ACCESS_CHECKED,
            "nothing is denied at {}",
            self.queue.level()
        );
        self.marks.hit(Mark::DenialsNoted);
        let command = self.denials.take();
        self.append_own(now, command);
    }

    /// Why a request that any node answers is denied, by what is applied here.
    pub(super) fn request_denial(&self, who: &Principal, request: &Request) -> Option<Denial> {
        let queue = &self.queue;
        match request {
            Request::Read { query, .. } => self.query_denial(who, query),
            Request::Status => queue.role_denial_anywhere(who, Role::Viewer),
            Request::FinishedAfter { .. } => self.feed_denial(who),
            // Of each job when that is known here: see `answer_awaits`.
            Request::Await { .. } => queue.role_denial_anywhere(who, Role::Viewer),
            Request::ChangeMembership(_)
            | Request::HandOver { .. }
            | Request::RecoverUnsafely { .. } => queue.role_denial(who, Role::Admin, None),
            Request::Poll(poll) => queue.worker_denial(who, poll.worker),
            // What is kept of it comes first: see `try_propose` and `queue_locally`.
            Request::Propose { .. } | Request::QueueLocally { .. } => None,
        }
    }

    /// Why somebody may not follow the feed, which names whatever is made.
    pub(super) fn feed_denial(&self, who: &Principal) -> Option<Denial> {
        self.queue.role_denial(who, Role::Viewer, None)
    }

    /// Why somebody may not read something, by what is applied here.
    pub(super) fn query_denial(&self, who: &Principal, query: &Query) -> Option<Denial> {
        let queue = &self.queue;
        let at = |place: Option<&Address>| match place {
            Some(place) => queue.role_denial(who, Role::Viewer, Some(place)),
            // Of what is not there, whoever reads anything may know that much.
            None => queue.role_denial_anywhere(who, Role::Viewer),
        };
        match query {
            Query::Job(job) | Query::DeadLetter(job) | Query::Explain(job) => {
                at(queue.address_of(*job))
            }
            Query::Context(address)
            | Query::Cached(address)
            | Query::Edited(address)
            | Query::History(address) => at(Some(address)),
            Query::DeadLetters { .. }
            | Query::Pauses
            | Query::Limits
            | Query::Needs
            | Query::Worker(_)
            | Query::Cache
            | Query::Conflicts { .. } => queue.role_denial(who, Role::Viewer, None),
            // Whoever knows a digest had the text.
            Query::Sources(_) => queue.role_denial_anywhere(who, Role::Viewer),
            Query::Roles { .. } => queue.role_denial(who, Role::Admin, None),
            Query::Unfinished { within, .. } => queue.role_denial_within(who, Role::Viewer, within),
        }
    }
}

#[cfg(test)]
mod tests;
