//! Where nothing is wrong but that disks hang, how soon a leader whose disk is
//! silent must be gone, and how soon another must serve.

use precentor_core::status::{PhaseName, RoleName};
use precentor_core::view::View;

use super::Stage;
use crate::check::{Checker, Verdict, ensure};
use crate::network::Place;

/// What turns, messages and heartbeats add to the core's own times.
const SLACK_MS: u64 = 200;
/// Election timeouts within which somebody must serve: one to miss the leader,
/// some for votes that cross, one for the workers to come back.
const TIMEOUTS_MAX: u64 = 8;

/// When something was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// A leader that serves, or a majority of disks that hang.
    served_us: u64,
    /// A majority of disks that hang.
    most_hung_us: u64,
}

impl Stage {
    pub(super) fn check_hangs(&mut self, place: Place, view: &View<'_>) -> Verdict {
        if !self.scenario.has_hangs_alone() {
            return Ok(());
        }
        let knobs = &self.scenario.knobs;
        let given_way_ms = knobs.abdicate_after_ms + knobs.election_timeout_ms_max + SLACK_MS;
        let silent_us = self.disks[place]
            .silent_since_us()
            .map_or(0, |since_us| self.now_us - since_us);
        let hung = self
            .disks
            .iter()
            .filter(|disk| disk.hung_until_us() > self.now_us);
        let majority_hangs = hung.count() * 2 >= self.disks.len();
        if majority_hangs {
            self.seen.most_hung_us = self.now_us;
        }
        let leads = view.role() == RoleName::Leader;
        // With a majority silent there is nobody that it could give way to, nor was
        // there until just now.
        let silent_us = silent_us.min(self.now_us - self.seen.most_hung_us);
        ensure(
            majority_hangs || !leads || silent_us <= given_way_ms * 1_000,
            Checker::SickLeader,
            || {
                format!(
                    "n{} leads, and its disk is silent for {silent_us} us",
                    place + 1
                )
            },
        )?;
        let serves = matches!(view.phase(), PhaseName::Reclaiming | PhaseName::Serving);
        if serves || majority_hangs {
            self.seen.served_us = self.now_us;
        }
        let found_ms = given_way_ms + TIMEOUTS_MAX * knobs.election_timeout_ms_max;
        let without_us = self.now_us - self.seen.served_us;
        ensure(without_us <= found_ms * 1_000, Checker::SickLeader, || {
            format!("no leader serves for {without_us} us, and most disks answer")
        })
    }
}
