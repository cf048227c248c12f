//! The last thing that is tried in a world: what its nodes have saved is a backup.

use std::panic::{AssertUnwindSafe, catch_unwind};

use precentor_core::queue::QueueManager;

use super::{Stage, panic_text};
use crate::check::{Checker, Failure, Verdict, restored};

impl Stage {
    /// Has a cluster founded with the newest snapshot that is on a disk, beside this world.
    pub(super) fn rehearse(&mut self) -> Verdict {
        let saved = self.disks.iter().filter_map(|disk| disk.shelf.snapshot());
        let Some(newest) = saved.max_by_key(|snapshot| snapshot.meta.index) else {
            return Ok(());
        };
        let (knobs, marks) = (&self.scenario.knobs, &mut self.marks);
        #[cfg(feature = "planted-bugs")]
        let planted = self.planted;
        let plant = |_state: &mut QueueManager| {
            #[cfg(feature = "planted-bugs")]
            if let Some(bug) = planted {
                _state.plant(bug);
            }
        };
        let judged = AssertUnwindSafe(|| restored::judge(newest, knobs, marks, plant));
        catch_unwind(judged).unwrap_or_else(|panic| {
            Err(Failure {
                checker: Checker::CoreAssertion,
                text: format!("a restored node panicked: {}", panic_text(&*panic)),
            })
        })
    }
}
