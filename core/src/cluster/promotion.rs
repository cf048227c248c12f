//! Learners that get a vote without an order: where an operator said how many
//! voters there should be (`voters_target`) and fewer are heard, a leader sees to
//! it as far as it can. Off unless it was asked for.
//!
//! Every such step is one change of the membership like any other, with a joint
//! phase, and at rest before and after it. Four rules, each with a judge in the
//! simulator (`check/unasked.rs`):
//!
//! 1. Only a learner that has caught up gets a vote, and only one that is there.
//! 2. No step leads to an even number of voters that was not asked for: with one
//!    more voter than an odd number, more must be there, and no more may fail. So
//!    two come together, or one comes in the place of one that is silent.
//! 3. Who is replaced has been silent for `voter_silence_ms`; it stays as a
//!    learner, and may be promoted in its turn.
//! 4. Never two changes at once.

use super::leader::Leader;
use super::members::lacking;
use super::{ClusterCoordinator, Role};
use crate::cx::Cx;
use crate::ids::NodeId;
use crate::marks::Mark;
use crate::membership::{Membership, Seat, Why};
use crate::principal::Principal;
use crate::status::Health;
use crate::time::Span;

/// A step that nobody ordered.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Step {
    /// Who gets a vote.
    promoted: Vec<NodeId>,
    /// In whose place.
    instead_of: Option<NodeId>,
    /// How many voters are heard.
    heard: u64,
}

impl ClusterCoordinator {
    /// Promotes learners if too few voters are heard. To be called when a leader's
    /// turn ends, before it looks at what follows of itself: whoever waits for the
    /// end of an ordered change was told of it in an earlier turn.
    pub(super) fn promote_unasked(&mut self, cx: &mut Cx<'_>) {
        let Role::Leader(leader) = &self.role else {
            unreachable!("only a leader changes the membership");
        };
        let target = cx.config.knobs.voters_target;
        if target == 0 || leader.is_yielding() || !leader.is_at_rest(cx) {
            return;
        }
        let before = cx.log.membership().clone();
        let Some(step) = next_step(leader, &before, target, cx) else {
            return;
        };
        let next = before.with_promoted(&step.promoted, step.instead_of);
        if next.check().is_err() {
            return;
        }
        assert!(
            !before.is_joint() && before.to_promote().is_none(),
            "one change at a time: [{before}] is not at rest"
        );
        assert!(
            cx.log.membership_index() <= self.commit && self.has_committed_own(cx),
            "[{before}] is at rest: it is committed, and so is an entry of {}",
            self.hard_state.term
        );
        cx.mark(Mark::PromotedUnasked);
        let who = Principal::cluster_because(&reason(&step, target));
        self.append_membership(next, who, Why::CaughtUp, cx);
    }
}

/// Why, for the audit: it follows the cluster's name there.
fn reason(step: &Step, target: u64) -> String {
    let heard = step.heard;
    match step.instead_of {
        None => format!("{target} voters are wanted, {heard} are heard"),
        Some(silent) => format!("{target} voters are wanted, {heard} are heard, {silent} is not"),
    }
}

fn next_step(leader: &Leader, members: &Membership, target: u64, cx: &Cx<'_>) -> Option<Step> {
    let is_voter = |node: &NodeId| members.is_voter(*node);
    let voters: Vec<NodeId> = members.nodes().filter(is_voter).collect();
    let mut silent = voters.iter().filter(|voter| is_silent(leader, **voter, cx));
    let first_silent = silent.next().copied();
    let silent_count = silent.count() as u64 + u64::from(first_silent.is_some());
    let count = voters.len() as u64;
    let heard = count - silent_count;
    if heard >= target {
        return None;
    }
    let mut ready = members.iter().filter_map(|(node, member)| {
        let is_learner =
            matches!(member.seat, Seat::Learner(learner) if learner.promotion.is_none());
        (is_learner && is_ready(leader, node, cx)).then_some(node)
    });
    let first = ready.next()?;
    let second = ready.next();
    let step = |promoted, instead_of| Step {
        promoted,
        instead_of,
        heard,
    };
    #[cfg(feature = "planted-bugs")]
    if cx.config.planted(crate::planted::Bug::PromotesToEven) && count < target {
        return Some(step(vec![first], None));
    }
    #[cfg(feature = "planted-bugs")]
    if cx.config.planted(crate::planted::Bug::ReplacesHeardVoter) {
        let other = voters.iter().find(|voter| **voter != cx.config.node);
        return Some(step(vec![first], other.copied()));
    }
    let becomes_odd = count.is_multiple_of(2) && count < target;
    let is_wanted_even = count + 1 == target;
    match (second, first_silent) {
        _ if becomes_odd => Some(step(vec![first], None)),
        (Some(second), _) if count + 2 <= target => Some(step(vec![first, second], None)),
        _ if is_wanted_even => Some(step(vec![first], None)),
        (_, Some(silent)) => Some(step(vec![first], Some(silent))),
        (_, None) => None,
    }
}

/// Was a voter silent for so long that another may take its place?
fn is_silent(leader: &Leader, voter: NodeId, cx: &Cx<'_>) -> bool {
    let patience = Span::from_ms(cx.config.knobs.voter_silence_ms);
    let silent = |heard| cx.time().since(heard) >= patience;
    voter != cx.config.node
        && leader
            .peers
            .get(voter)
            .is_none_or(|progress| silent(progress.heard))
}

/// Could a learner vote well at once?
fn is_ready(leader: &Leader, learner: NodeId, cx: &Cx<'_>) -> bool {
    let lately = cx.config.election_timeout_min();
    let Some(progress) = leader.peers.get(learner) else {
        return false;
    };
    let is_there = !progress.down && cx.time().since(progress.heard) < lately;
    let is_caught_up = lacking(leader, learner, cx).is_none();
    #[cfg(feature = "planted-bugs")]
    let is_caught_up = is_caught_up || cx.config.planted(crate::planted::Bug::PromotesLaggard);
    is_there && is_caught_up && progress.health <= Health::Strained
}
