//! A run of consecutive entries that never changes and that all share who hold
//! it: the log, the write to the disk, the messages to every peer. A copy costs
//! one reference count, however long it is. Knows nothing of what entries mean.

use std::fmt;
use std::ops::{Deref, RangeTo};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounded::list;
use crate::entry::LogEntry;
use crate::ids::LogIndex;
use crate::limits::APPEND_ENTRIES_MAX;

/// Shared entries. Serialised as the list that they are, of
/// at most [`APPEND_ENTRIES_MAX`].
#[derive(Clone, Default)]
pub struct Entries {
    all: Arc<[LogEntry]>,
    /// Of these, what belongs to this run. Small: messages are moved often.
    begin: u32,
    end: u32,
}

impl Entries {
    /// The beginning of this run: so many of its entries.
    #[must_use]
    pub fn beginning(&self, range: RangeTo<usize>) -> Entries {
        let mut beginning = self.clone();
        beginning.truncate(range.end);
        beginning
    }

    /// This run without its first `count` entries.
    #[must_use]
    pub fn behind(mut self, count: usize) -> Entries {
        self.begin = self.place_of(count);
        self
    }

    /// Leaves the first `count` entries.
    pub fn truncate(&mut self, count: usize) {
        self.end = self.place_of(count);
    }

    /// Where the entry with this number in the run stands, or the run's end.
    fn place_of(&self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.end.min(self.begin.saturating_add(count))
    }

    /// Forgets the first entry.
    pub fn forget_first(&mut self) {
        self.begin = self.place_of(1);
    }

    /// Leaves what comes before an index.
    pub fn truncate_before(&mut self, from: LogIndex) {
        let first = self.first().map_or(from, |first| first.index);
        let kept = from.0.saturating_sub(first.0);
        self.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    /// The entry of an index, if it is in this run.
    #[must_use]
    pub fn at(&self, index: LogIndex) -> Option<&LogEntry> {
        let place = index.0.checked_sub(self.first()?.index.0)?;
        self.get(usize::try_from(place).ok()?)
    }
}

impl Deref for Entries {
    type Target = [LogEntry];
    fn deref(&self) -> &[LogEntry] {
        &self.all[self.begin as usize..self.end as usize]
    }
}

impl From<Vec<LogEntry>> for Entries {
    fn from(entries: Vec<LogEntry>) -> Entries {
        entries.into_iter().collect()
    }
}

impl From<LogEntry> for Entries {
    fn from(entry: LogEntry) -> Entries {
        [entry].into_iter().collect()
    }
}

impl FromIterator<LogEntry> for Entries {
    fn from_iter<I: IntoIterator<Item = LogEntry>>(entries: I) -> Entries {
        let all: Arc<[LogEntry]> = entries.into_iter().collect();
        let end = u32::try_from(all.len()).expect("a batch is bounded by the bytes in it");
        Entries { all, begin: 0, end }
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a LogEntry;
    type IntoIter = std::slice::Iter<'a, LogEntry>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Entries) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Entries {}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self[..].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        list::<_, _, APPEND_ENTRIES_MAX>(deserializer).map(Entries::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ChainHash, EntryKind};
    use crate::ids::Term;

    fn entry(index: u64) -> LogEntry {
        LogEntry {
            index: LogIndex(index),
            term: Term(1),
            chain: ChainHash(index),
            kind: EntryKind::Command,
            body: vec![7; 3].into(),
        }
    }

    fn indexes(entries: &Entries) -> Vec<u64> {
        entries.iter().map(|entry| entry.index.0).collect()
    }

    #[test]
    fn a_part_of_a_run_is_the_same_entries_and_no_others() {
        let all: Entries = (3..=6).map(entry).collect();
        assert_eq!(indexes(&all.beginning(..2)), [3, 4]);
        assert_eq!(indexes(&all.clone().behind(3)), [6]);
        assert!(all.clone().behind(9).is_empty());
        let mut part = all.clone().behind(1);
        part.truncate_before(LogIndex(6));
        assert_eq!(indexes(&part), [4, 5]);
        assert_eq!(part.at(LogIndex(3)), None, "it was left out");
        assert_eq!(part.at(LogIndex(5)), Some(&entry(5)));
        assert_eq!(part.at(LogIndex(6)), None, "it was cut off");
        part.truncate_before(LogIndex(2));
        assert!(part.is_empty());
        assert_eq!(indexes(&all), [3, 4, 5, 6], "whoever shares it keeps it");
    }

    #[test]
    fn a_run_is_on_the_wire_what_a_list_is() {
        let list: Vec<_> = (3..=6).map(entry).collect();
        let run = Entries::from(list.clone()).behind(1);
        let bytes = postcard::to_allocvec(&run).expect("entries are plain data");
        assert_eq!(Ok(&bytes), postcard::to_allocvec(&list[1..]).as_ref());
        assert_eq!(postcard::from_bytes::<Entries>(&bytes).as_ref(), Ok(&run));
    }
}
