//! When to save the state, and how much of the log may go. A snapshot is this
//! node's own: it is not sent to others, so the log keeps what any voter lacks.

use super::ContextManager;
use crate::action::{Action, Snapshot};
use crate::bytes::Bytes;
use crate::ids::LogIndex;
use crate::log::TermAt;
use crate::marks::Mark;

/// Bookkeeping of this node's snapshots.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    saved: LogIndex,
    asked: Option<LogIndex>,
    ordered: bool,
    bytes_since: u64,
    image_bytes: u64,
    compacted: LogIndex,
}

impl Snapshots {
    pub(super) fn new(saved: LogIndex) -> Snapshots {
        Snapshots {
            saved,
            asked: None,
            ordered: false,
            bytes_since: 0,
            image_bytes: 0,
            compacted: LogIndex(0),
        }
    }

    pub(super) fn order(&mut self) {
        self.ordered = true;
    }

    pub(super) fn on_applied(&mut self, bytes: u64) {
        self.bytes_since += bytes;
    }

    pub(super) fn on_saved(&mut self, index: LogIndex) {
        if self.asked == Some(index) {
            self.asked = None;
            self.saved = index;
        }
    }
}

impl ContextManager {
    pub(super) fn keep_snapshots(&mut self) {
        self.save_snapshot();
        let up_to = self
            .snapshots
            .saved
            .min(self.cluster.held_by_all())
            .min(self.applied);
        if up_to > self.snapshots.compacted && up_to > self.log.first_known() {
            self.marks.hit(Mark::LogCompacted);
            self.snapshots.compacted = up_to;
            self.log.compact(up_to);
            // The disk keeps that last entry: after a restart its term is what
            // the next append to the slowest voter is checked against.
            self.outbox.act(Action::CompactLog {
                up_to: up_to.prev(),
            });
        }
    }

    fn save_snapshot(&mut self) {
        // A large state is not written more often than its like of log is.
        let enough = self
            .config
            .knobs
            .snapshot_every_bytes
            .max(2 * self.snapshots.image_bytes);
        let due = self.snapshots.ordered || self.snapshots.bytes_since >= enough;
        // What is applied and not yet on this disk must not be in a snapshot of it.
        let whole = self.applied <= self.outbox.durable() && self.applied > self.snapshots.saved;
        if !due || !whole || self.snapshots.asked.is_some() {
            return;
        }
        let index = self.applied;
        let TermAt::Known(term) = self.log.term_at(index) else {
            unreachable!("the log is compacted up to a snapshot at the most");
        };
        let chain = self
            .log
            .chain_before(index.next())
            .expect("the last applied entry stays in the window");
        let membership = self.log.membership_at(index).1.clone();
        self.marks.hit(Mark::SnapshotTaken);
        self.snapshots.ordered = false;
        self.snapshots.bytes_since = 0;
        self.snapshots.asked = Some(index);
        let image: Bytes = self.queue.image().into();
        self.snapshots.image_bytes = image.count();
        self.outbox.act(Action::SaveSnapshot(Snapshot {
            index,
            term,
            chain,
            membership,
            image,
        }));
    }
}
