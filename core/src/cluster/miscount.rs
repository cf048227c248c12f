//! Majorities as planted bugs count them. Compiled with these only.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::ids::{LogIndex, NodeId};
use crate::membership::{Membership, Seat};
use crate::planted::Bug;

/// The voters of one half, and whoever else a bug counts among them.
fn half(membership: &Membership, is_in: impl Fn(NodeId, Seat) -> bool) -> Vec<NodeId> {
    let members = membership.iter();
    let counted = members.filter(|(node, member)| is_in(*node, member.seat));
    counted.map(|(node, _)| node).collect()
}

fn is_old(seat: Seat) -> bool {
    matches!(seat, Seat::Voter | Seat::Outgoing { .. })
}

fn is_new(seat: Seat) -> bool {
    matches!(seat, Seat::Voter | Seat::Incoming)
}

/// How far a majority has come, if a bug counts it wrongly.
pub(super) fn reached(
    config: &Config,
    membership: &Membership,
    durable: impl Fn(NodeId) -> LogIndex,
) -> Option<LogIndex> {
    // Of so many voters a majority, among those who are counted.
    let at = |voters: usize, counted: Vec<NodeId>| {
        let mut indexes: Vec<LogIndex> = counted.into_iter().map(&durable).collect();
        indexes.sort_unstable();
        indexes
            .iter()
            .rev()
            .nth(voters / 2)
            .copied()
            .unwrap_or_default()
    };
    let halves = |also: &dyn Fn(NodeId, Seat) -> bool| {
        [is_old, is_new].map(|is_in: fn(Seat) -> bool| {
            let voters = half(membership, |_, seat| is_in(seat)).len();
            at(
                voters,
                half(membership, |node, seat| is_in(seat) || also(node, seat)),
            )
        })
    };
    let [old, new] = match config.planted? {
        Bug::LearnerCounted => halves(&|_, seat| matches!(seat, Seat::Learner(_))),
        Bug::RemovedLeaderCounts => halves(&|node, _| node == config.node),
        Bug::JointOverUnion => {
            let union = half(membership, |_, seat| is_old(seat) || is_new(seat));
            [at(union.len(), union); 2]
        }
        _ => return None,
    };
    Some(old.min(new))
}

/// Is a candidate elected, if a bug counts it wrongly?
pub(super) fn is_elected(
    config: &Config,
    membership: &Membership,
    granted: &BTreeSet<NodeId>,
) -> Option<bool> {
    let union = half(membership, |_, seat| is_old(seat) || is_new(seat));
    match config.planted? {
        Bug::JointOverUnion => {
            let given = union.iter().filter(|node| granted.contains(node));
            Some(given.count() * 2 > union.len())
        }
        Bug::RemovedVoteCounts => Some(granted.len() * 2 > union.len()),
        _ => None,
    }
}
