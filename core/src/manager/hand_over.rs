//! Leadership that an operator wants elsewhere, and a node that is to end: who
//! asked, until when, and what became of it.

use super::{ContextManager, cx};
use crate::event::Now;
use crate::ids::{NodeId, Ticket};
use crate::request::{HandOverError, Refusal, Reply};
use crate::time::{Span, Time};

/// A caller who waits for another leader.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ticket: Ticket,
    /// After this nothing can be said of the outcome.
    deadline: Time,
}

/// Who waits for the end of a leadership.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HandingOver {
    asked: Option<Asked>,
    /// This node is to end, at the latest then.
    stop: Option<Time>,
}

impl HandingOver {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.asked.map(|asked| asked.deadline)
    }
}

impl ContextManager {
    /// An operator wants another leader.
    pub(super) fn hand_over(&mut self, now: Now, ticket: Ticket, to: Option<NodeId>) {
        if self.handing_over.asked.is_some() {
            return self.refuse(ticket, Refusal::Yielding);
        }
        match self.cluster.on_hand_over(to, &mut cx!(self, now)) {
            Ok(_) => {
                // As long again for the word of the new leader to arrive.
                let patience = Span::from_ms(2 * self.config.knobs.election_timeout_ms_max);
                let deadline = now.time + patience;
                self.handing_over.asked = Some(Asked { ticket, deadline });
            }
            Err(HandOverError::NotLeader) => {
                let reply = Reply::NotLeader { leader: None };
                self.outbox.answer(ticket, reply);
            }
            Err(error) => self.outbox.answer(ticket, Reply::HandOverFailed(error)),
        }
    }

    /// This node goes on leading.
    pub(super) fn on_hand_over_ended(&mut self, error: HandOverError) {
        if let Some(asked) = self.handing_over.asked.take() {
            self.outbox
                .answer(asked.ticket, Reply::HandOverFailed(error));
        }
    }

    /// Whoever asked is told who leads instead, as soon as that is known here.
    pub(super) fn answer_hand_over(&mut self, now: Now) {
        let Some(Asked { ticket, deadline }) = self.handing_over.asked else {
            return;
        };
        let leader = self.cluster.leader(self.config.node);
        let reply = match leader.filter(|leader| *leader != self.config.node) {
            Some(to) => Reply::HandedOver {
                to,
                term: self.cluster.term(),
            },
            // It stepped down, and the next leader is not known in time.
            None if deadline <= now.time => Reply::Unknown,
            None => return,
        };
        self.handing_over.asked = None;
        self.outbox.answer(ticket, reply);
    }

    /// This node is to end: a leader hands over first, within the time that an
    /// election takes.
    pub(super) fn on_stop(&mut self, now: Now) {
        let waits = self.cluster.on_stop(&mut cx!(self, now));
        let patience = match waits {
            true => Span::from_ms(self.config.knobs.election_timeout_ms_max),
            false => Span::ZERO,
        };
        self.handing_over.stop.get_or_insert(now.time + patience);
    }

    /// Was this node told to end, and has nothing left to wait for? One that
    /// handed over waits until it hears its successor: its vote may be needed.
    pub(crate) fn may_end(&self, now: Time) -> bool {
        let follows = self
            .cluster
            .leader(self.config.node)
            .is_some_and(|leader| leader != self.config.node);
        let leads_on = self.failover.is_leading() && !self.cluster.is_yielding();
        self.handing_over
            .stop
            .is_some_and(|deadline| deadline <= now || follows || leads_on)
    }

    /// When that is at the latest.
    pub(crate) fn ends_by(&self) -> Option<Time> {
        self.handing_over.stop
    }
}
