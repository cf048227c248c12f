//! A node whose disk lost what it had confirmed ("Protocol-aware recovery",
//! FAST'18). Its word may have committed what it no longer has, so it neither
//! votes nor stands for election until a leader has given it all of that again.
//! Nor does one whose disk is another than the member's: whatever that one
//! confirmed, this one has not (RethinkDB, aphyr.com/posts/330).

use super::{ClusterCoordinator, Role};
use crate::cx::Cx;
use crate::ids::LogIndex;
use crate::marks::Mark;

impl ClusterCoordinator {
    /// Up to which index the log must be repaired before this node votes.
    #[must_use]
    pub fn repairing(&self) -> Option<LogIndex> {
        self.hard_state.repairing
    }

    /// Must this node keep out of elections?
    pub(super) fn abstains(&self, cx: &mut Cx<'_>) -> bool {
        let abstains = self.hard_state.repairing.is_some() || is_stranger(cx);
        #[cfg(feature = "planted-bugs")]
        let abstains = abstains && !cx.config.planted(crate::planted::Bug::RepairingVotes);
        if abstains {
            cx.mark(Mark::RepairingAbstained);
        }
        abstains
    }

    /// The repair ends when everything that may have been confirmed is in the
    /// log again, as a leader has it, and on the disk for good.
    pub(super) fn end_repair(&mut self, cx: &mut Cx<'_>) {
        let (Some(must_cover), Role::Follower(follower)) = (self.hard_state.repairing, &self.role)
        else {
            return;
        };
        if follower.verified_durable(cx) >= must_cover {
            cx.mark(Mark::RepairEnded);
            self.hard_state.repairing = None;
            self.save_hard_state(cx);
        }
    }
}

/// Is this no life that a membership in the own log speaks of? The others may
/// not know yet that it is another one, so it has to keep out itself. One that
/// was removed votes: that entry may yet be undone.
fn is_stranger(cx: &Cx<'_>) -> bool {
    let membership = cx.log.membership();
    let knows_nobody = membership.nodes().next().is_none();
    let (node, life) = (cx.config.node, cx.config.incarnation);
    knows_nobody || (membership.contains(node) && !membership.counts(node, life))
}
