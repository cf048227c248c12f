//! A leadership on its way to another voter (dissertation §3.10): to whom,
//! until when, and whether the successor was told to stand for election.

use super::leader::Leader;
use crate::cx::Cx;
use crate::ids::{LogIndex, NodeId, Term};
use crate::marks::Mark;
use crate::message::Body;
use crate::time::{Span, Time};

/// A hand-over under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandOver {
    pub(super) to: NodeId,
    pub(super) deadline: Time,
    pub(super) told: bool,
}

impl Leader {
    /// Is it handing over?
    pub(super) fn is_yielding(&self) -> bool {
        self.hand_over.is_some()
    }

    /// Begins to hand over to the voter with the longest confirmed log that was
    /// heard lately, if there is one.
    pub(super) fn start_hand_over(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(to) = self.fittest(cx) else {
            return false;
        };
        cx.mark(Mark::HandOverStarted);
        let deadline = cx.time() + Span::from_ms(cx.config.knobs.election_timeout_ms_max);
        self.hand_over = Some(HandOver {
            to,
            deadline,
            told: false,
        });
        true
    }

    /// The successor has everything: it is told to stand for election.
    pub(super) fn advance_hand_over(&mut self, term: Term, cx: &mut Cx<'_>) {
        let ready = self.hand_over.filter(|hand_over| {
            let caught_up = self
                .peers
                .get(&hand_over.to)
                .is_some_and(|p| p.durable == cx.log.last().index);
            caught_up && !hand_over.told
        });
        if let Some(hand_over) = ready {
            cx.mark(Mark::HandOverSent);
            self.hand_over = Some(HandOver {
                told: true,
                ..hand_over
            });
            let message = cx.message(term, Body::TimeoutNow);
            cx.outbox.say(hand_over.to, message);
        }
    }

    /// A successor that did not take over in time will not.
    pub(super) fn end_late_hand_over(&mut self, cx: &mut Cx<'_>) {
        if let Some(hand_over) = self.hand_over
            && hand_over.deadline <= cx.time()
        {
            cx.mark(Mark::HandOverTimedOut);
            self.hand_over = None;
        }
    }

    /// A successor that has left cannot take over.
    pub(super) fn end_hand_over_to_no_voter(&mut self, cx: &Cx<'_>) {
        let left = |hand_over: HandOver| !cx.log.membership().is_voter(hand_over.to);
        if self.hand_over.is_some_and(left) {
            self.hand_over = None;
        }
    }

    /// The last word of a leader that leaves: what is committed, and that the
    /// fittest shall stand for election.
    pub(super) fn say_farewell(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.send(peer, Vec::new(), term, commit, cx);
        }
        if let Some(successor) = self.fittest(cx) {
            let message = cx.message(term, Body::TimeoutNow);
            cx.outbox.say(successor, message);
        }
    }

    /// The voter with the longest confirmed log among those that were heard lately.
    fn fittest(&self, cx: &Cx<'_>) -> Option<NodeId> {
        let timeout = cx.config.election_timeout_min();
        let fit = self.peers.iter().filter(|(peer, progress)| {
            cx.log.membership().is_voter(**peer) && cx.time().since(progress.heard) < timeout
        });
        fit.max_by_key(|(peer, progress)| (progress.durable, std::cmp::Reverse(**peer)))
            .map(|(peer, _)| *peer)
    }
}
