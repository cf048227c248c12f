//! A node whose disk lost what it had confirmed ("Protocol-aware recovery",
//! FAST'18). Its word may have committed what it no longer has, so it neither
//! votes nor stands for election until a leader has given it all of that again.

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
        let abstains = self.hard_state.repairing.is_some();
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
