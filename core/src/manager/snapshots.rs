//! When to save the state, and how much of the log may go. A snapshot is this
//! node's own: it is not sent to others, so the log keeps what any voter lacks.
//! The state is given out in parts, over many turns: no turn waits for all of it.

use super::ContextManager;
use crate::action::{Action, SnapshotMeta, SnapshotPart};
use crate::event::Now;
use crate::ids::LogIndex;
use crate::log::TermAt;
use crate::marks::Mark;
use crate::time::{Span, Time};

/// From one part to the next: at least half of the time is left for other
/// work, however many turns there are.
const PART_PAUSE: Span = Span(1_000);

/// A snapshot that is being given out.
#[derive(Clone, Debug)]
struct Taking {
    meta: SnapshotMeta,
    /// How many bytes of it are given out.
    offset: u64,
    /// When the next part is due.
    due: Time,
}

/// Bookkeeping of this node's snapshots.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    saved: LogIndex,
    asked: Option<LogIndex>,
    taking: Option<Taking>,
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
            taking: None,
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

    /// When the next part of a snapshot is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.taking.as_ref().map(|taking| taking.due)
    }
}

impl ContextManager {
    pub(super) fn keep_snapshots(&mut self, now: Now) {
        match self.snapshots.taking.take() {
            Some(taking) if taking.due <= now.time => self.give_part(now, taking),
            Some(taking) => self.snapshots.taking = Some(taking),
            None => self.begin_snapshot(now),
        }
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

    fn begin_snapshot(&mut self, now: Now) {
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
        self.marks.hit(Mark::SnapshotTaken);
        self.snapshots.ordered = false;
        self.snapshots.bytes_since = 0;
        self.snapshots.asked = Some(index);
        let state = self.queue.begin_image();
        // Not in this turn: its bodies may be performed after a part of it, and
        // those that the state speaks of must come before its last.
        self.snapshots.taking = Some(Taking {
            meta: SnapshotMeta { index, term, state },
            offset: 0,
            due: now.time,
        });
    }

    fn give_part(&mut self, now: Now, taking: Taking) {
        let part = self.queue.image_part(self.config.knobs.snapshot_part_bytes);
        let Taking { meta, offset, .. } = taking;
        let end = offset + part.bytes.len() as u64;
        if part.kept_count > 0 {
            self.marks.hit(Mark::SnapshotKeptRows);
        }
        if part.last {
            if offset > 0 {
                self.marks.hit(Mark::SnapshotInParts);
            }
            self.snapshots.image_bytes = end;
        } else {
            self.snapshots.taking = Some(Taking {
                meta: meta.clone(),
                offset: end,
                due: now.time + PART_PAUSE,
            });
        }
        self.outbox.act(Action::SaveSnapshot(SnapshotPart {
            meta,
            offset,
            bytes: part.bytes.into(),
            last: part.last,
        }));
    }
}

#[cfg(test)]
mod tests;
