//! The last thing that is tried in a world: what its nodes have saved is a backup.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Stage, panic_text};
use crate::check::{Checker, Failure, Verdict, restored};

impl Stage {
    /// Has a cluster founded with the newest snapshot that is on a disk, beside this world.
    pub(super) fn rehearse(&mut self) -> Verdict {
        let saved = self.disks.iter().filter_map(|disk| disk.shelf.snapshot());
        let Some(newest) = saved.max_by_key(|snapshot| snapshot.meta.index) else {
            return Ok(());
        };
        let knobs = &self.scenario.knobs;
        let (planted, marks) = (self.planted, &mut self.marks);
        let judged = AssertUnwindSafe(|| restored::judge(newest, knobs, planted, marks));
        catch_unwind(judged).unwrap_or_else(|panic| {
            Err(Failure {
                checker: Checker::CoreAssertion,
                text: format!("a restored node panicked: {}", panic_text(&*panic)),
            })
        })
    }
}
