//! Elections as a voter sees them: whose word counts, who gets a vote, and what
//! a grant is worth. Term and vote change here and in the parent only.

use super::{ClusterCoordinator, Next, Role};
use crate::cx::Cx;
use crate::ids::{NodeId, Term};
use crate::marks::Mark;
use crate::message::{Body, LogPosition};

impl ClusterCoordinator {
    /// Does a higher term in this message count? A pre-vote and its grant speak
    /// of a term that nobody may ever enter, and a vote must not depose a leader
    /// whom this node hears (dissertation §4.2.3, §9.6).
    pub(super) fn adopts(&self, body: &Body, cx: &Cx<'_>) -> bool {
        match body {
            Body::PreVote { .. } | Body::PreVoteReply { granted: true } => false,
            Body::Vote { transfer, .. } => *transfer || !self.trusts_leader(cx),
            Body::PreVoteReply { granted: false }
            | Body::VoteReply { .. }
            | Body::Append(_)
            | Body::AppendReply(_)
            | Body::TimeoutNow
            | Body::Removed { .. }
            | Body::Lend(_)
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Forward { .. }
            | Body::Forwarded { .. }
            | Body::SnapshotOffer(_)
            | Body::SnapshotFetch { .. }
            | Body::SnapshotPiece { .. }
            | Body::BodiesFetch { .. }
            | Body::Bodies { .. } => true,
        }
    }

    fn trusts_leader(&self, cx: &Cx<'_>) -> bool {
        match &self.role {
            Role::Follower(follower) => {
                follower.trusts_leader(self.timing.base(&cx.config.knobs), cx)
            }
            Role::PreCandidate(_) | Role::Candidate(_) => false,
            Role::Leader(_) => true,
        }
    }

    pub(super) fn on_pre_vote(
        &mut self,
        from: NodeId,
        term: Term,
        last: LogPosition,
        cx: &mut Cx<'_>,
    ) -> Next {
        let (behind, trusts) = (last.is_behind(cx.log.last()), self.trusts_leader(cx));
        let abstains = self.abstains(cx);
        let granted = term > self.hard_state.term && !behind && !trusts && !abstains;
        if granted && matches!(&self.role, Role::Follower(follower) if follower.is_suspicious()) {
            cx.mark(Mark::PreVoteGrantedToSuspicious);
        }
        if !granted {
            cx.mark(Mark::PreVoteRefused);
        }
        #[cfg(feature = "planted-bugs")]
        if cx.config.planted(crate::planted::Bug::PreVoteResetsTimer) {
            let wait = self.timing.draw(cx);
            if let Role::Follower(follower) = &mut self.role {
                follower.wait_until(cx.time() + wait);
            }
        }
        let reply_term = if granted { term } else { self.hard_state.term };
        let reply = cx.message(reply_term, Body::PreVoteReply { granted });
        cx.outbox.say_durable(from, reply);
        if behind && !trusts && !abstains && !matches!(self.role, Role::Leader(_)) {
            self.lend(from, last, cx);
        }
        Next::Stay
    }

    pub(super) fn on_vote(
        &mut self,
        from: NodeId,
        term: Term,
        last: LogPosition,
        transfer: bool,
        cx: &mut Cx<'_>,
    ) -> Next {
        if term > self.hard_state.term {
            // Not adopted: the leader lives. No answer, so that no term spreads.
            assert!(!transfer, "a transfer's term is adopted");
            cx.mark(Mark::VoteRefusedLeaderAlive);
            return Next::Stay;
        }
        let behind = last.is_behind(cx.log.last());
        #[cfg(feature = "planted-bugs")]
        let behind = behind && !cx.config.planted(crate::planted::Bug::VoteForStaleLog);
        let free = self.hard_state.vote.is_none_or(|vote| vote == from);
        #[cfg(feature = "planted-bugs")]
        let free = free || cx.config.planted(crate::planted::Bug::VoteTwice);
        let granted = term == self.hard_state.term && free && !behind && !self.abstains(cx);
        if term == self.hard_state.term && behind {
            cx.mark(Mark::VoteRefusedLogBehind);
        }
        if granted && self.hard_state.vote.is_none() {
            self.hard_state.vote = Some(from);
            self.save_hard_state(cx);
        }
        // A refused candidate must not keep this node from standing itself.
        let waits = granted;
        #[cfg(feature = "planted-bugs")]
        let waits = waits
            || cx
                .config
                .planted(crate::planted::Bug::VoteRequestResetsTimer);
        if waits {
            let wait = self.timing.draw(cx);
            if let Role::Follower(follower) = &mut self.role {
                follower.wait_until(cx.time() + wait);
            }
        }
        let reply = cx.message(self.hard_state.term, Body::VoteReply { granted });
        cx.outbox.say_durable(from, reply);
        Next::Stay
    }

    pub(super) fn on_pre_vote_reply(
        &mut self,
        from: NodeId,
        term: Term,
        granted: bool,
        cx: &mut Cx<'_>,
    ) -> Next {
        let stands_in = self.term_to_stand_in();
        match &mut self.role {
            Role::PreCandidate(candidate) if granted && term == stands_in => {
                candidate.on_granted(from);
                if candidate.has_quorum(cx) {
                    Next::Campaign { transfer: false }
                } else {
                    Next::Stay
                }
            }
            Role::PreCandidate(_) | Role::Follower(_) | Role::Candidate(_) | Role::Leader(_) => {
                Next::Stay
            }
        }
    }

    pub(super) fn on_vote_reply(
        &mut self,
        from: NodeId,
        term: Term,
        granted: bool,
        cx: &mut Cx<'_>,
    ) -> Next {
        match &mut self.role {
            Role::Candidate(candidate) if granted && term == self.hard_state.term => {
                candidate.on_granted(from);
                if candidate.has_quorum(cx) {
                    Next::Lead
                } else {
                    Next::Stay
                }
            }
            Role::Candidate(_) | Role::Follower(_) | Role::PreCandidate(_) | Role::Leader(_) => {
                Next::Stay
            }
        }
    }
}
