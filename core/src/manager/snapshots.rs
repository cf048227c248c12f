//! When to save the state, and how much of the log may go: what every member
//! has, and of the rest all but a slack for those that are slow. Whoever lacks
//! more than that gets a snapshot. The state is given out in parts, over many
//! turns: no turn waits for all of it.

use std::collections::VecDeque;

use super::{ContextManager, cx};
use crate::action::Action;
use crate::event::Now;
use crate::ids::LogIndex;
use crate::log::TermAt;
use crate::marks::Mark;
use crate::snapshot::{SnapshotMeta, SnapshotPart};
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

/// How far back the log is kept for members that lack it.
#[derive(Clone, Debug, Default)]
struct Slack {
    /// Applied bytes since the start, and up to some indexes.
    bytes: u64,
    marks: VecDeque<(LogIndex, u64)>,
    /// More than the slack was applied behind this index.
    dispensable: LogIndex,
}

/// Marks that fit into the slack: its granularity.
const SLACK_MARKS: u64 = 64;

impl Slack {
    fn on_applied(&mut self, index: LogIndex, bytes: u64, slack_bytes: u64) {
        self.bytes += bytes;
        let last = self.marks.back().map_or(0, |(_, bytes)| *bytes);
        if self.bytes - last >= slack_bytes / SLACK_MARKS {
            self.marks.push_back((index, self.bytes));
        }
        while let Some((index, bytes)) = self.marks.front()
            && self.bytes - bytes > slack_bytes
        {
            self.dispensable = *index;
            self.marks.pop_front();
        }
    }
}

/// Bookkeeping of this node's snapshots.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    saved: Option<SnapshotMeta>,
    asked: Option<SnapshotMeta>,
    taking: Option<Taking>,
    ordered: bool,
    bytes_since: u64,
    image_bytes: u64,
    compacted: LogIndex,
    slack: Slack,
}

impl Snapshots {
    pub(super) fn new(saved: Option<SnapshotMeta>) -> Snapshots {
        Snapshots {
            saved,
            asked: None,
            taking: None,
            ordered: false,
            bytes_since: 0,
            image_bytes: 0,
            compacted: LogIndex(0),
            slack: Slack::default(),
        }
    }

    /// The latest that is on disk for good.
    pub(super) fn saved(&self) -> Option<&SnapshotMeta> {
        self.saved.as_ref()
    }

    pub(super) fn saved_index(&self) -> LogIndex {
        self.saved.as_ref().map_or(LogIndex(0), |saved| saved.index)
    }

    /// A leader's snapshot took the place of this node's own, and of one that was
    /// being given out.
    pub(super) fn on_installed(&mut self, meta: SnapshotMeta) {
        // None is begun from the order to install until this, and then the node
        // had not applied what the leader's holds.
        let own = self.asked.as_ref().or(self.saved.as_ref());
        assert!(
            own.is_none_or(|own| own.index < meta.index),
            "a leader's snapshot of {} follows this node's own of {}",
            meta.index,
            own.map_or(LogIndex(0), |own| own.index)
        );
        *self = Snapshots::new(Some(meta));
    }

    pub(super) fn order(&mut self) {
        self.ordered = true;
    }

    pub(super) fn on_applied(&mut self, index: LogIndex, bytes: u64, slack_bytes: u64) {
        self.bytes_since += bytes;
        self.slack.on_applied(index, bytes, slack_bytes);
    }

    /// When the next part of a snapshot is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.taking.as_ref().map(|taking| taking.due)
    }
}

impl ContextManager {
    pub(super) fn on_snapshot_saved(&mut self, index: LogIndex) {
        let Some(saved) = self.snapshots.asked.take_if(|asked| asked.index == index) else {
            return;
        };
        self.cluster.set_snapshot(saved.clone());
        self.snapshots.saved = Some(saved);
    }

    pub(super) fn keep_snapshots(&mut self, now: Now) {
        match self.snapshots.taking.take() {
            Some(taking) if taking.due <= now.time => self.give_part(now, taking),
            Some(taking) => self.snapshots.taking = Some(taking),
            None => self.begin_snapshot(now),
        }
        let held_by_all = self.cluster.held_by_all();
        let dispensable = held_by_all.max(self.snapshots.slack.dispensable);
        let mut up_to = self
            .snapshots
            .saved_index()
            .min(dispensable)
            .min(self.applied);
        // Whoever installs a snapshot needs the log behind it.
        if let Some(in_use) = self.cluster.snapshot_in_use(&cx!(self, now)) {
            up_to = up_to.min(in_use);
        }
        if up_to > self.snapshots.compacted && up_to > self.log.first_known() {
            self.marks.hit(Mark::LogCompacted);
            if up_to > held_by_all {
                self.marks.hit(Mark::LogCutBySlack);
            }
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
        let whole =
            self.applied <= self.outbox.durable() && self.applied > self.snapshots.saved_index();
        if !due || !whole || self.snapshots.asked.is_some() {
            return;
        }
        // A node that has joined and not yet applied the first membership of its log
        // has no founders to name: its snapshot could start nobody.
        let members = self.log.membership_at(self.applied).1;
        if members.nodes().next().is_none() {
            return;
        }
        // Whatever is being put in force takes the place of one that is begun.
        if self.installing.as_ref().is_some_and(|i| i.is_ordered()) {
            return;
        }
        // A newer one would take the place of one that a follower is fetching,
        // and might never be fetched itself.
        if self.cluster.snapshot_in_use(&cx!(self, now)).is_some() {
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
        #[cfg(feature = "planted-bugs")]
        let membership = match self
            .config
            .planted(crate::planted::Bug::SnapshotConfigAhead)
        {
            true => self.log.membership().clone(),
            false => membership,
        };
        assert_eq!(
            membership.check(),
            Ok(()),
            "whoever stands on a snapshot knows the members by it: [{membership}] at {index}"
        );
        self.marks.hit(Mark::SnapshotTaken);
        self.snapshots.ordered = false;
        self.snapshots.bytes_since = 0;
        let state = self.queue.begin_image();
        // Not in this turn: its bodies may be performed after a part of it, and
        // those that the state speaks of must come before its last.
        let meta = SnapshotMeta {
            index,
            term,
            chain,
            state,
            membership,
        };
        self.snapshots.asked = Some(meta.clone());
        self.snapshots.taking = Some(Taking {
            meta,
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
