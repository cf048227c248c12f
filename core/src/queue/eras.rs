//! Numbers of an era: what a restored cluster gives out is told from whatever the cluster gave
//! out that the backup is of, after the backup was taken. A job, a session, a lease's token
//! and an event of the feed are each named by a number; the two clusters must not give one
//! name to two things, for clients and workers of the old one turn to the new one.

use crate::command::AuditRecord;
use crate::feature::FeatureLevel;
use crate::ids::{FinishNumber, JobId, LogIndex, Term};
use crate::principal::Principal;

use super::QueueManager;
use super::consistency::NUMBER_MAX;

/// So many numbers are of one era: more than a cluster gives out between a backup and the
/// restoration from it (at 100,000 entries a second, in 115 days). Numbers of some
/// thousands of eras are exact in JSON, too.
pub const ERA_NUMBERS: u64 = 1_000_000_000_000;

/// May a state at this level be of a later era than the first?
fn holds_eras(level: FeatureLevel) -> bool {
    level >= FeatureLevel::CLUSTERS_RESTORED
}

impl QueueManager {
    /// How many jobs have ended, by the number of the last one.
    pub(super) fn finished_by_number(&self) -> u64 {
        let number = self.head.finished.0;
        match holds_eras(self.level) {
            true => number % ERA_NUMBERS,
            false => number,
        }
    }

    /// Goes on in the next era: all numbers that this state gives out from here on are new.
    /// What it holds keeps the names that it has. Leaves a link in the audit chain; none, and
    /// nothing has changed, if there are no more eras.
    pub(crate) fn begin_era(
        &mut self,
        term: Term,
        wall_ms: u64,
        principal: &Principal,
        text: String,
    ) -> Option<AuditRecord> {
        let head = &mut self.head;
        let last = head.applied.0.max(head.accepted.0).max(head.finished.0);
        if last >= NUMBER_MAX - ERA_NUMBERS {
            return None;
        }
        let leap = ERA_NUMBERS;
        #[cfg(feature = "planted-bugs")]
        let leap = match self.planted {
            Some(crate::planted::Bug::RestoredInOldEra) => 0,
            Some(_) | None => leap,
        };
        head.applied = LogIndex(head.applied.0 + leap.max(1));
        head.accepted = JobId(head.accepted.0 + leap);
        head.finished = FinishNumber(head.finished.0 + leap);
        self.level = self.level.max(FeatureLevel::CLUSTERS_RESTORED);
        let index = self.head.applied;
        Some(self.chain(index, term, wall_ms, principal, text))
    }
}
