//! A leader's word at this node, whatever its role: whether it counts, what
//! role it asks for, and what it moves.

use super::{ClusterCoordinator, Next, Role};
use crate::action::Violation;
use crate::cx::Cx;
use crate::ids::{LogIndex, NodeId, Term};
use crate::marks::Mark;
use crate::message::{Append, Body, StateHashAt};

impl ClusterCoordinator {
    /// The latest state hash of this term's leader, once all up to its index is
    /// applied here. What a former leader said is forgotten: what it had applied
    /// is committed, but an unsafe recovery may have lost it, and then the
    /// entries at its index are others.
    pub fn take_peer_state_hash(
        &mut self,
        applied: LogIndex,
        cx: &mut Cx<'_>,
    ) -> Option<StateHashAt> {
        let (said_in, hash) = self.peer_state_hash?;
        if said_in != self.hard_state.term {
            cx.mark(Mark::StateHashForgotten);
            self.peer_state_hash = None;
            return None;
        }
        if hash.index > applied {
            return None;
        }
        self.peer_state_hash = None;
        Some(hash)
    }

    pub(super) fn on_append(
        &mut self,
        from: NodeId,
        term: Term,
        append: &Append,
        cx: &mut Cx<'_>,
    ) -> Next {
        if term < self.hard_state.term {
            // An answer, so that the deposed leader learns of the term. It is
            // no acknowledgement: its term is not the sender's.
            cx.mark(Mark::StaleTermIgnored);
            let refusal = cx.message(self.hard_state.term, Body::VoteReply { granted: false });
            cx.outbox.say_durable(from, refusal);
            return Next::Stay;
        }
        let fresh = self.heard_round < Some((term, append.round));
        #[cfg(feature = "planted-bugs")]
        let fresh = fresh
            || cx
                .config
                .planted(crate::planted::Bug::LateRoundsCountAsLife);
        match &self.role {
            Role::PreCandidate(_) | Role::Candidate(_) if !fresh => {
                cx.mark(Mark::StaleRoundIgnored);
                self.heard.on_late_commit(append.commit);
                return Next::Stay;
            }
            Role::Leader(_) => {
                let first = cx.config.node;
                return Next::Halt(Box::new(Violation::TwoLeaders {
                    term,
                    first,
                    second: from,
                }));
            }
            Role::PreCandidate(_) | Role::Candidate(_) => {
                self.perform(
                    Next::Follow {
                        term,
                        leader: Some(from),
                    },
                    cx,
                );
            }
            Role::Follower(_) => {}
        }
        self.heard_round = self.heard_round.max(Some((term, append.round)));
        self.held_by_all = self.held_by_all.max(append.held_by_all);
        if let Some(hash) = &append.state_hash {
            self.peer_state_hash = Some((term, **hash));
        }
        let commit = self.commit;
        self.heard.on_commit(append.commit, term, cx.time());
        #[cfg(feature = "planted-bugs")]
        if cx.config.planted(crate::planted::Bug::AgeIgnoresApplied) {
            self.heard.pretend_to_have_caught_up(cx.time());
        }
        let next = match &mut self.role {
            Role::Follower(follower) => {
                if fresh {
                    self.timing.on_heard(term, from, cx);
                    follower.on_heard(&self.timing, cx);
                    self.rounds_failed = 0;
                }
                follower.on_append(from, term, append, &mut self.commit, cx)
            }
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                unreachable!("it follows by now")
            }
        };
        assert!(
            self.commit >= commit,
            "commit never falls: {} after {commit}",
            self.commit
        );
        assert!(
            self.commit <= cx.log.last().index,
            "only what is in the log is committed"
        );
        next
    }
}
