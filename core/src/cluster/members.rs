//! Who belongs to the cluster, as its nodes act on it: whose word counts, what
//! a leader does to bring a change to its end, and how a node learns that it
//! has been removed. What a change leads to is [`Membership`]'s.

use super::leader::Leader;
use super::{ClusterCoordinator, Next, ProposeError, Role};
use crate::cx::Cx;
use crate::entry::EntryKind;
use crate::ids::{Incarnation, LogIndex, NodeId};
use crate::log::TermAt;
use crate::marks::Mark;
use crate::membership::{Change, ChangeError, Membership, MembershipEntry, Why};
use crate::message::Body;
use crate::principal::Principal;
use crate::wire;

/// Why a change of the membership was not begun.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeRefused {
    /// As for any proposal.
    Propose(ProposeError),
    /// This leader has not committed an entry of its own yet: a change before
    /// that could be committed beside another one of its predecessor (Ongaro,
    /// raft-dev, "bug in single-server membership changes", 2015).
    TooEarly,
    /// The change itself is not possible.
    Change(ChangeError),
}

impl ClusterCoordinator {
    /// May this node stand for election? Not without a vote, nor after it was
    /// told that it is removed, nor with a disk that is not the member's, nor with
    /// a log under repair, nor when it is about to end.
    pub(super) fn may_campaign(&self, cx: &Cx<'_>) -> bool {
        let membership = cx.log.membership();
        let votes = membership.is_voter(cx.config.node);
        #[cfg(feature = "planted-bugs")]
        let votes = votes
            || (cx.config.planted(crate::planted::Bug::LearnerCampaigns)
                && membership.contains(cx.config.node));
        votes
            && !self.stopping
            && self.hard_state.repairing.is_none()
            && membership.counts(cx.config.node, cx.config.incarnation)
            && !self.is_removed(cx.log.membership_index())
    }

    /// Was this node told that it is removed, by one who knows a later
    /// membership than `known`, the latest in its own log?
    #[must_use]
    pub fn is_removed(&self, known: LogIndex) -> bool {
        self.removed_since.is_some_and(|since| since > known)
    }

    /// Is this message to be looked at? A request is, whoever makes it: this
    /// node may be the one that does not know the latest members yet. A reply
    /// counts only from a member, by the life of its disk that is one.
    pub(super) fn is_heard(
        &self,
        from: NodeId,
        incarnation: Incarnation,
        body: &Body,
        cx: &mut Cx<'_>,
    ) -> bool {
        match body {
            Body::PreVote { .. } | Body::Vote { .. } => {
                let (since, committed) = cx.log.membership_at(self.commit);
                let known = committed.contains(from) || cx.log.membership().contains(from);
                if !known {
                    cx.mark(Mark::StrangerTold);
                    let message = cx.message(self.hard_state.term, Body::Removed { since });
                    cx.outbox.say_durable(from, message);
                }
                true
            }
            Body::Append(_)
            | Body::TimeoutNow
            | Body::Removed { .. }
            | Body::SnapshotOffer(_)
            | Body::SnapshotPiece { .. }
            | Body::Bodies { .. }
            | Body::ReadIndexReply { .. }
            | Body::Forwarded { .. } => true,
            // A question of reads costs a round, and a forwarded request an entry on the
            // sender's word who asks: members' only.
            Body::PreVoteReply { .. }
            | Body::VoteReply { .. }
            | Body::AppendReply(_)
            | Body::Lend(_)
            | Body::SnapshotFetch { .. }
            | Body::BodiesFetch { .. }
            | Body::ReadIndex { .. }
            | Body::Forward { .. } => {
                let membership = cx.log.membership();
                let counts = membership.counts(from, incarnation);
                let member = counts || membership.contains(from);
                #[cfg(feature = "planted-bugs")]
                let (member, counts) = match cx.config.planted {
                    Some(crate::planted::Bug::StaleIncarnationCounts) => (member, true),
                    Some(crate::planted::Bug::RemovedVoteCounts) => (true, counts || !member),
                    _ => (member, counts),
                };
                if !member {
                    cx.mark(Mark::UnknownPeerIgnored);
                } else if !counts {
                    cx.mark(Mark::StaleIncarnationIgnored);
                }
                member && counts
            }
        }
    }

    /// Another node says that this one is no member.
    pub(super) fn on_removed(&mut self, since: LogIndex, cx: &mut Cx<'_>) {
        if since > cx.log.membership_index() {
            cx.mark(Mark::LearnedOfRemoval);
            self.removed_since = self.removed_since.max(Some(since));
        }
    }

    /// Begins a change of the membership that an operator wants. It is in force
    /// at once, and is carried to its end without further orders.
    ///
    /// # Errors
    /// If it certainly was not begun.
    pub fn propose_change(
        &mut self,
        change: Change,
        principal: Principal,
        cx: &mut Cx<'_>,
    ) -> Result<LogIndex, ChangeRefused> {
        let Role::Leader(leader) = &self.role else {
            return Err(ChangeRefused::Propose(ProposeError::NotLeader));
        };
        if leader.is_yielding() {
            let refusal = crate::request::Refusal::Yielding;
            return Err(ChangeRefused::Propose(ProposeError::Refused(refusal)));
        }
        if !self.may_follow_own(cx) {
            return Err(ChangeRefused::TooEarly);
        }
        let is_busy = cx.log.membership_index() > self.commit;
        #[cfg(feature = "planted-bugs")]
        let is_busy = is_busy && !cx.config.planted(crate::planted::Bug::TwoChangesAtOnce);
        if is_busy {
            return Err(ChangeRefused::Change(ChangeError::InProgress));
        }
        let next = cx.log.membership().after(change);
        let next = next.map_err(ChangeRefused::Change)?;
        if let Change::Promote { node } = change
            && let Some(missing) = lacking(leader, node, cx)
        {
            return Err(ChangeRefused::Change(ChangeError::NotCaughtUp {
                node,
                missing,
            }));
        }
        Ok(self.append_membership(next, principal, Why::Asked(change), cx))
    }

    /// Is the last change at its end: committed, with nothing to follow?
    #[must_use]
    pub fn is_membership_settled(&self, cx: &Cx<'_>) -> bool {
        let membership = cx.log.membership();
        cx.log.membership_index() <= self.commit
            && !membership.is_joint()
            && membership.to_promote().is_none()
    }

    /// What follows of itself from the membership that is committed.
    pub(super) fn advance_membership(&mut self, cx: &mut Cx<'_>) {
        let Role::Leader(leader) = &self.role else {
            unreachable!("only a leader changes the membership");
        };
        // A successor is told to stand when it has everything: nothing may follow.
        if leader.is_at_rest(cx) || leader.is_yielding() {
            return;
        }
        // One at a time, and none beside a predecessor's that may be committed yet.
        if cx.log.membership_index() > self.commit || !self.may_follow_own(cx) {
            return;
        }
        let membership = cx.log.membership().clone();
        if !membership.is_voter(cx.config.node) {
            return self.leave_leadership(cx);
        }
        let next = if membership.is_joint() {
            cx.mark(Mark::JointPhaseLeft);
            Some((membership.with_joint_left(), Why::JointLeft))
        } else if membership
            .to_promote()
            .is_some_and(|learner| lacking(leader, learner, cx).is_none())
        {
            cx.mark(Mark::LearnerPromoted);
            Some((membership.with_promotion_begun(), Why::CaughtUp))
        } else {
            let own = (cx.config.node, cx.config.incarnation);
            let life_of = |node| match node == own.0 {
                true => Some(own.1),
                false => leader.incarnation_of(node),
            };
            membership
                .with_lives(life_of)
                .map(|next| (next, Why::LivesLearned))
        };
        if let Some((next, why)) = next {
            self.append_membership(next, Principal::cluster(), why, cx);
        } else if membership.is_at_rest() {
            self.rest_membership(cx.log.membership_index());
        }
    }

    fn rest_membership(&mut self, index: LogIndex) {
        if let Role::Leader(leader) = &mut self.role {
            leader.at_rest = Some(index);
        }
    }

    pub(super) fn append_membership(
        &mut self,
        membership: Membership,
        principal: Principal,
        why: Why,
        cx: &mut Cx<'_>,
    ) -> LogIndex {
        cx.mark(Mark::MembershipAppended);
        let entry = MembershipEntry {
            membership,
            principal,
            wall_ms: cx.now.wall_ms,
            why,
        };
        let body = wire::membership::encode(&entry);
        let index = self.append_as_leader(EntryKind::Membership, body, cx);
        if let Role::Leader(leader) = &mut self.role {
            leader.on_membership(cx);
        }
        index
    }

    /// A leader that has removed itself has done its duty when that is
    /// committed (dissertation §4.2.2). The others learn of the commit, and the
    /// fittest stands for election at once.
    fn leave_leadership(&mut self, cx: &mut Cx<'_>) {
        cx.mark(Mark::RemovedLeaderLeft);
        let term = self.hard_state.term;
        if let Role::Leader(leader) = &mut self.role {
            leader.say_farewell(term, self.commit, cx);
        }
        self.perform(Next::Follow { term, leader: None }, cx);
    }

    /// May a change follow, as far as this leader's own entries are concerned?
    fn may_follow_own(&self, cx: &Cx<'_>) -> bool {
        let own = self.has_committed_own(cx);
        #[cfg(feature = "planted-bugs")]
        let own = own
            || cx
                .config
                .planted(crate::planted::Bug::ChangeBeforeOwnCommit);
        own
    }

    pub(super) fn has_committed_own(&self, cx: &Cx<'_>) -> bool {
        cx.log.term_at(self.commit) == TermAt::Known(self.hard_state.term)
    }
}

/// How many entries a learner lacks, if too many for it to vote. Without the
/// membership that names it, it would not vote either.
pub(super) fn lacking(leader: &Leader, learner: NodeId, cx: &Cx<'_>) -> Option<u64> {
    let durable = leader.matched().find(|(peer, _)| *peer == learner);
    let durable = durable.map_or(LogIndex(0), |(_, durable)| durable);
    let missing = cx.log.last().index.0 - durable.0.min(cx.log.last().index.0);
    let knows_itself = durable >= cx.log.membership_index();
    leader
        .missing(learner, cx)
        .or((!knows_itself).then_some(missing))
}
