//! What the cluster did of itself to go on, counted where it is applied: every
//! node counts, whoever led. Since the node's start, and for people alone.

use crate::command::{Command, ExpiredLease};
use crate::ids::{JobId, LogIndex, WorkerId};
use crate::job::JobState;
use crate::membership::{MembershipEntry, Seat, Why};
use crate::queue::QueueManager;
use crate::status::{Reclaimed, RecoveryStatus};
use crate::time::Stamp;

/// The counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recoveries(RecoveryStatus);

impl Recoveries {
    pub(super) fn status(&self) -> RecoveryStatus {
        self.0
    }

    /// So many leases were taken back at `t`, this one last.
    pub(super) fn on_reclaimed(&mut self, count: u32, last: Option<(WorkerId, JobId)>, t: Stamp) {
        self.0.leases_reclaimed += u64::from(count);
        if let Some((worker, job)) = last {
            self.0.last_reclaimed = Some(Reclaimed { worker, job, t });
        }
    }

    /// A membership was applied: perhaps one that promotes somebody unasked.
    pub(super) fn on_membership(&mut self, index: LogIndex, entry: &MembershipEntry) {
        if entry.why != Why::CaughtUp || entry.principal.cluster_reason().is_none() {
            return;
        }
        for (node, member) in entry.membership.iter() {
            if member.seat == Seat::Incoming {
                self.0.promotions += 1;
                self.0.last_promoted = Some((node, index));
            }
        }
    }
}

/// Whose lease a command takes back last, if any: to be asked before it is applied.
pub(super) fn last_to_reclaim(
    command: &Command,
    queue: &QueueManager,
) -> Option<(WorkerId, JobId)> {
    let Command::Expire { leases } = command else {
        return None;
    };
    let holder = |lease: &ExpiredLease| match queue.job(lease.job)?.state {
        JobState::Running(held) => (held.token == lease.token).then_some((held.worker, lease.job)),
        JobState::Waiting { .. }
        | JobState::Delayed { .. }
        | JobState::Ready
        | JobState::Parked
        | JobState::Done { .. }
        | JobState::Dead(_)
        | JobState::Cancelled
        | JobState::DependencyFailed { .. }
        | JobState::Superseded { .. } => None,
    };
    leases.iter().rev().find_map(holder)
}
