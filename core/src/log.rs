//! The replicated log as this node holds it: all terms, and the bodies of a
//! window at its end. Knows nothing of disks, roles or what commands mean. Every
//! change goes through [`crate::cx::Cx`], which writes it to disk as well.
//!
//! The memberships are here because they are in force from the moment that
//! their entry is appended until it is truncated: kept elsewhere, they could
//! be forgotten to be undone.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::bytes::Bytes;
use crate::entries::Entries;
use crate::entry::{ChainHash, EntryKind, LogEntry};
use crate::ids::{LogIndex, Term};
use crate::membership::Membership;
use crate::message::LogPosition;
use crate::snapshot::SnapshotMeta;
use crate::wire;

/// What the log knows of the term at an index. A compacted index must never
/// read as term 0, which would match another compacted log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TermAt {
    /// The entry's term.
    Known(Term),
    /// The entry was there and is in a snapshot now.
    Compacted,
    /// The log ends before it.
    Beyond,
}

/// Entries asked of the window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Window {
    /// Here they are: at least one.
    Entries(Entries),
    /// They are on disk only, up to `to`.
    OnDisk {
        /// The last one that must be read from disk.
        to: LogIndex,
    },
    /// The log ends before them.
    Beyond,
}

/// A run of consecutive entries of one term.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: LogIndex,
    term: Term,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Never empty; the first run begins at the lowest index whose term is known.
    runs: VecDeque<Run>,
    last: LogIndex,
    /// The hash of everything up to `last`.
    chain: ChainHash,
    /// The last entries, consecutive up to `gathered`, in the batches in which
    /// they came; none of these is empty.
    window: VecDeque<Entries>,
    /// What this node has appended itself since the last batch.
    gathered: Vec<LogEntry>,
    window_bytes: u64,
    /// Never empty; each with the index of its entry, ascending. The first may
    /// be ahead of the log's beginning: then it is that of a snapshot.
    memberships: VecDeque<(LogIndex, Arc<Membership>)>,
    #[cfg(feature = "planted-bugs")]
    pub(crate) in_force_up_to: Option<LogIndex>,
}

/// Where a log begins, and what is known of what was before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogStart {
    /// The entry before its first.
    pub position: LogPosition,
    /// The hash of everything up to there.
    pub chain: ChainHash,
    /// The membership as of `membership_index`.
    pub membership: Arc<Membership>,
    /// At or behind `position`: memberships of entries up to it are in it already.
    pub membership_index: LogIndex,
}

impl LogStart {
    /// The beginning of a new cluster's log.
    #[must_use]
    pub fn founding(membership: Arc<Membership>) -> LogStart {
        LogStart {
            position: LogPosition::default(),
            chain: ChainHash::default(),
            membership,
            membership_index: LogIndex(0),
        }
    }
}

impl LogStart {
    /// The beginning of a log behind a snapshot.
    #[must_use]
    pub fn of(meta: &SnapshotMeta) -> LogStart {
        LogStart {
            position: LogPosition {
                term: meta.term,
                index: meta.index,
            },
            chain: meta.chain,
            membership: meta.membership.clone(),
            membership_index: meta.index,
        }
    }
}

impl Log {
    /// A log without entries.
    #[must_use]
    pub fn new(start: LogStart) -> Log {
        let LogStart {
            position,
            chain,
            membership,
            membership_index,
        } = start;
        let run = Run {
            first: position.index,
            term: position.term,
        };
        Log {
            runs: VecDeque::from([run]),
            last: position.index,
            chain,
            window: VecDeque::new(),
            gathered: Vec::new(),
            window_bytes: 0,
            memberships: VecDeque::from([(membership_index, membership)]),
            #[cfg(feature = "planted-bugs")]
            in_force_up_to: None,
        }
    }

    /// The hash of the whole log.
    #[must_use]
    pub fn chain(&self) -> ChainHash {
        self.chain
    }

    /// The hash of the log before an index; none if that is not in memory.
    #[must_use]
    pub fn chain_before(&self, index: LogIndex) -> Option<ChainHash> {
        if index == self.last.next() {
            return Some(self.chain);
        }
        self.entry_at(index).map(|entry| entry.chain)
    }

    /// The membership in force: that of the latest such entry, committed or not.
    #[must_use]
    pub fn membership(&self) -> &Arc<Membership> {
        #[cfg(feature = "planted-bugs")]
        if let Some(index) = self.in_force_up_to {
            return self.membership_at(index).1;
        }
        &self
            .memberships
            .back()
            .expect("there is one at all times")
            .1
    }

    /// The index of its entry.
    #[must_use]
    pub fn membership_index(&self) -> LogIndex {
        self.memberships
            .back()
            .expect("there is one at all times")
            .0
    }

    /// The membership as of an entry that is not compacted, and the index of its own entry.
    #[must_use]
    pub fn membership_at(&self, index: LogIndex) -> (LogIndex, &Arc<Membership>) {
        let known = self.memberships.iter().rev().find(|(at, _)| *at <= index);
        let (at, membership) = known.unwrap_or(&self.memberships[0]);
        (*at, membership)
    }

    /// The entry that would come next.
    #[must_use]
    pub fn next_entry(&self, term: Term, kind: EntryKind, body: Bytes) -> LogEntry {
        LogEntry {
            index: self.last.next(),
            term,
            chain: self.chain,
            kind,
            body,
        }
    }

    /// The end of the log.
    #[must_use]
    pub fn last(&self) -> LogPosition {
        let run = self.runs.back().expect("a log has a run at all times");
        LogPosition {
            term: run.term,
            index: self.last,
        }
    }

    /// The lowest index whose term is known.
    #[must_use]
    pub fn first_known(&self) -> LogIndex {
        self.runs
            .front()
            .expect("a log has a run at all times")
            .first
    }

    /// The first index whose body is in memory: one past the end if none is.
    #[must_use]
    pub fn window_first(&self) -> LogIndex {
        let oldest = self.window.front().and_then(|batch| batch.first());
        let oldest = oldest.or(self.gathered.first());
        oldest.map_or(self.last.next(), |entry| entry.index)
    }

    /// The term at an index.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> TermAt {
        if index > self.last {
            return TermAt::Beyond;
        }
        // The newest runs are asked for most.
        match self.runs.iter().rev().find(|run| run.first <= index) {
            Some(run) => TermAt::Known(run.term),
            None => TermAt::Compacted,
        }
    }

    /// The entry at an index, if its body is in memory.
    #[must_use]
    pub fn entry_at(&self, index: LogIndex) -> Option<&LogEntry> {
        match self.gathered.first() {
            Some(first) if first.index <= index => {
                let place = usize::try_from(index.0 - first.index.0).ok()?;
                self.gathered.get(place)
            }
            Some(_) | None => self.window[self.batch_of(index)?].at(index),
        }
    }

    /// An entry, if its body is in memory, and those that follow it in its batch:
    /// for whoever reads one after the other. At least one.
    #[must_use]
    pub fn batch_from(&self, index: LogIndex) -> Option<Entries> {
        let batch = &self.window[self.batch_of(index)?];
        let skipped = usize::try_from(index.0 - batch[0].index.0).ok()?;
        let rest = batch.clone().behind(skipped);
        (!rest.is_empty()).then_some(rest)
    }

    /// Which batch an index would be in: the last that begins at or before it.
    /// Looks back from the end in growing steps: the newest are asked for most.
    fn batch_of(&self, index: LogIndex) -> Option<usize> {
        let last = self.window.len().checked_sub(1)?;
        let begins = |place: usize| self.window[place][0].index <= index;
        if begins(last) {
            return Some(last);
        }
        let mut back = 1;
        while back < last && !begins(last - back) {
            back *= 2;
        }
        let (mut low, mut high) = (last.saturating_sub(back), last - back / 2);
        while high - low > 1 {
            let middle = low.midpoint(high);
            match begins(middle) {
                true => low = middle,
                false => high = middle,
            }
        }
        (low < high && begins(low)).then_some(low)
    }

    /// Bytes of the bodies behind `from`, up to and with `to`, as far as they
    /// are in memory.
    #[must_use]
    pub fn bytes_between(&self, from: LogIndex, to: LogIndex) -> u64 {
        let first = self.batch_of(from.next()).unwrap_or(0);
        let entries = self.window.range(first..).flatten().chain(&self.gathered);
        entries
            .skip_while(|entry| entry.index <= from)
            .take_while(|entry| entry.index <= to)
            .map(|entry| entry.body.count())
            .sum()
    }

    /// Entries from `from` on, within both bounds, but at least one. They are
    /// shared, not copied, if they came in one batch.
    ///
    /// # Panics
    /// If some are gathered, and not yet in a batch: our own error.
    #[must_use]
    pub fn entries(&self, from: LogIndex, count_max: u64, bytes_max: u64) -> Window {
        assert!(
            self.gathered.is_empty(),
            "a batch is sealed before it is sent"
        );
        if from > self.last {
            return Window::Beyond;
        }
        if from < self.window_first() {
            return Window::OnDisk {
                to: self.window_first().prev(),
            };
        }
        let place = self
            .batch_of(from)
            .expect("the window reaches from before it to the end of the log");
        let batch = &self.window[place];
        let skipped = usize::try_from(from.0 - batch[0].index.0).expect("it is in memory");
        let (mut count, mut bytes) = (0u64, 0);
        let mut fits = |entry: &&LogEntry| {
            bytes += entry.body.count();
            count += 1;
            count == 1 || (count <= count_max && bytes <= bytes_max)
        };
        let shared = batch[skipped..].iter().take_while(&mut fits).count();
        let is_full = skipped + shared < batch.len();
        if is_full || place + 1 == self.window.len() {
            let mut shared_part = batch.clone().behind(skipped);
            shared_part.truncate(shared);
            return Window::Entries(shared_part);
        }
        let more = self
            .window
            .range(place + 1..)
            .flatten()
            .take_while(&mut fits);
        let joined: Vec<_> = batch[skipped..].iter().chain(more).cloned().collect();
        Window::Entries(joined.into())
    }

    /// Adds the next entry, of this node's own, to those that are not in a batch yet.
    ///
    /// # Panics
    /// If it does not follow the last one: whoever makes it took it from
    /// [`Log::next_entry`].
    pub fn gather(&mut self, entry: LogEntry) {
        assert_eq!(
            entry.chain, self.chain,
            "the chain of hashes goes on at {}",
            entry.index
        );
        self.admit(&entry);
        self.gathered.push(entry);
    }

    /// Makes a batch of what is gathered, if anything is.
    #[must_use = "what is in the log must be written as well"]
    pub fn seal(&mut self) -> Option<Entries> {
        if self.gathered.is_empty() {
            return None;
        }
        let batch: Entries = self.gathered.drain(..).collect();
        self.window.push_back(batch.clone());
        Some(batch)
    }

    /// Adds the next entries, as many as are linked to what is before them: each
    /// carries the hash of it. Says how many.
    ///
    /// # Panics
    /// If one does not follow the one before it, its term is lower, or it is a
    /// membership that cannot be decoded: whoever takes it in checks that.
    pub fn extend(&mut self, batch: &Entries) -> usize {
        assert!(
            self.gathered.is_empty(),
            "a batch is sealed before another comes"
        );
        let mut taken = 0;
        for entry in batch {
            if entry.chain != self.chain {
                break;
            }
            self.admit(entry);
            taken += 1;
        }
        if taken > 0 {
            self.window.push_back(batch.beginning(..taken));
        }
        taken
    }

    /// The end of the log moves on to this entry.
    fn admit(&mut self, entry: &LogEntry) {
        let last = self.last();
        assert_eq!(
            entry.index,
            last.index.next(),
            "an entry must follow the last one"
        );
        assert!(
            entry.term >= last.term,
            "terms never fall along the log: {} after {}",
            entry.term,
            last.term
        );
        if entry.term > last.term {
            self.runs.push_back(Run {
                first: entry.index,
                term: entry.term,
            });
        }
        if entry.kind == EntryKind::Membership && entry.index > self.membership_index() {
            let decoded = wire::membership::decode(&entry.body)
                .expect("a membership is checked before it is taken into the log");
            self.memberships
                .push_back((entry.index, Arc::new(decoded.membership)));
        }
        self.last = entry.index;
        self.chain = entry.chain_after();
        self.window_bytes += entry.body.count();
    }

    /// Removes every entry from `from` on.
    ///
    /// # Panics
    /// If that would remove what is known only by a snapshot, or whose body is
    /// not in memory and so was applied: our own error.
    pub fn truncate(&mut self, from: LogIndex) {
        assert!(
            from > self.first_known(),
            "{from} cannot be removed: the log begins at {}",
            self.first_known()
        );
        if from > self.last {
            return;
        }
        self.chain = self
            .chain_before(from)
            .expect("bodies stay in the window until they are applied");
        // The config in force is undone with its entry (dissertation §4.1).
        while self.membership_index() >= from {
            self.memberships.pop_back();
            assert!(
                !self.memberships.is_empty(),
                "the membership before {from} is known"
            );
        }
        assert!(
            self.gathered.is_empty(),
            "a batch is sealed before it is cut"
        );
        self.window_bytes -= self.bytes_between(from.prev(), self.last);
        self.last = from.prev();
        while let Some(batch) = self.window.back_mut() {
            batch.truncate_before(from);
            if !batch.is_empty() {
                break;
            }
            self.window.pop_back();
        }
        while self.runs.back().is_some_and(|run| run.first >= from) {
            self.runs.pop_back();
        }
        assert!(!self.runs.is_empty(), "the first run begins before {from}");
    }

    #[cfg(feature = "planted-bugs")]
    pub(crate) fn keep_undone(&mut self, undone: (LogIndex, Arc<Membership>)) {
        self.memberships.push_back(undone);
    }

    /// Lets go of bodies up to `up_to` until at most `bytes_max` are in memory.
    pub fn trim(&mut self, up_to: LogIndex, bytes_max: u64) {
        while self.window_bytes > bytes_max && self.forget_first(up_to) {}
    }

    /// Lets go of the oldest body, if it is at or before `up_to`. Its memory goes
    /// with the last of its batch.
    fn forget_first(&mut self, up_to: LogIndex) -> bool {
        let Some(batch) = self
            .window
            .front_mut()
            .filter(|batch| batch[0].index <= up_to)
        else {
            return false;
        };
        self.window_bytes -= batch[0].body.count();
        batch.forget_first();
        if batch.is_empty() {
            self.window.pop_front();
        }
        true
    }

    /// Forgets everything before `up_to`, and its body; its term stays known.
    pub fn compact(&mut self, up_to: LogIndex) {
        let up_to = up_to.min(self.last);
        while self.forget_first(up_to) {}
        while self.runs.get(1).is_some_and(|run| run.first <= up_to) {
            self.runs.pop_front();
        }
        let front = self.runs.front_mut().expect("a log has a run at all times");
        front.first = front.first.max(up_to);
        while self.memberships.get(1).is_some_and(|(at, _)| *at <= up_to) {
            self.memberships.pop_front();
        }
    }

    /// Where a leader that sent `previous` should look for agreement: the last
    /// entry at or before it whose term is not above `previous`'s. Skips a
    /// whole term of conflicting entries at once (Raft §5.3).
    #[must_use]
    pub fn conflict_hint(&self, previous: LogPosition) -> LogPosition {
        let mut end = previous.index.min(self.last);
        if end == previous.index && end > self.first_known() {
            end = end.prev();
        }
        for (position, run) in self.runs.iter().enumerate().rev() {
            if run.first > end {
                continue;
            }
            if run.term <= previous.term || position == 0 {
                return LogPosition {
                    term: run.term,
                    index: end,
                };
            }
            end = run.first.prev();
        }
        LogPosition {
            term: self.runs.front().map_or(Term(0), |run| run.term),
            index: self.first_known(),
        }
    }
}
