//! When the cluster's feature level may rise: as soon as every member's program
//! can do more than is in force. What a program can do its hello says, so what is
//! known of a member ends with its connection: it may come back with an older one.
//!
//! A level once in force stays. A program that cannot do it is refused at the
//! hello, and halts if it meets the level in its log or in a snapshot.

use std::collections::BTreeMap;

use super::ContextManager;
use crate::command::Command;
use crate::event::Now;
use crate::feature::FeatureLevel;
use crate::ids::{LogIndex, NodeId};

/// What the programs of connected peers can do.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    peers: BTreeMap<NodeId, FeatureLevel>,
    /// A `RaiseLevel` of this leadership that is proposed and not applied.
    raising: Option<LogIndex>,
}

impl Levels {
    pub(super) fn on_peer_up(&mut self, peer: NodeId, supports: FeatureLevel) {
        self.peers.insert(peer, supports);
    }

    pub(super) fn on_peer_down(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
    }

    /// Is a peer connected, and can its program do this?
    pub(super) fn supports(&self, peer: NodeId, level: FeatureLevel) -> bool {
        self.peers.get(&peer).is_some_and(|can| *can >= level)
    }

    pub(super) fn on_deposed(&mut self) {
        self.raising = None;
    }

    pub(super) fn on_applied(&mut self, index: LogIndex) {
        self.raising.take_if(|raising| *raising <= index);
    }

    /// The highest level that the programs of `own` and of all members can do;
    /// none if some member's is not known.
    fn of_all(
        &self,
        (node, own): (NodeId, FeatureLevel),
        members: impl Iterator<Item = NodeId>,
    ) -> Option<FeatureLevel> {
        members
            .filter(|member| *member != node)
            .map(|member| self.peers.get(&member).copied())
            .try_fold(own, |least, level| Some(least.min(level?)))
    }
}

impl ContextManager {
    /// A serving leader raises the level when all can do more, learners too:
    /// they apply what voters apply.
    pub(super) fn raise_level(&mut self, now: Now) {
        let (current, own) = (self.queue.level(), self.config.supports);
        if own <= current || self.levels.raising.is_some() {
            return;
        }
        let members = self.log.membership().nodes();
        let of_all = self.levels.of_all((self.config.node, own), members);
        #[cfg(feature = "planted-bugs")]
        let of_all = match self.config.planted(crate::planted::Bug::FeatureBeforeAll) {
            true => Some(own),
            false => of_all,
        };
        if let Some(to) = of_all.filter(|level| *level > current) {
            let index = self.append_own(now, Command::RaiseLevel { to });
            self.levels.raising = Some(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_all(levels: &Levels) -> Option<FeatureLevel> {
        levels.of_all(
            (NodeId(1), FeatureLevel(3)),
            [1, 2, 3].map(NodeId).into_iter(),
        )
    }

    #[test]
    fn the_least_of_all_members_counts_and_who_is_not_heard_of_holds_it_up() {
        let mut levels = Levels::default();
        levels.on_peer_up(NodeId(2), FeatureLevel(3));
        assert_eq!(of_all(&levels), None, "of n3 nothing is known");
        levels.on_peer_up(NodeId(3), FeatureLevel(2));
        levels.on_peer_up(NodeId(4), FeatureLevel(1));
        assert_eq!(of_all(&levels), Some(FeatureLevel(2)), "n4 is no member");
    }

    #[test]
    fn what_is_known_of_a_member_ends_with_its_connection() {
        let mut levels = Levels::default();
        levels.on_peer_up(NodeId(2), FeatureLevel(2));
        levels.on_peer_up(NodeId(3), FeatureLevel(2));
        levels.on_peer_down(NodeId(3));
        assert_eq!(of_all(&levels), None);
        levels.on_peer_up(NodeId(3), FeatureLevel(1));
        assert_eq!(of_all(&levels), Some(FeatureLevel(1)), "it came back older");
    }
}
