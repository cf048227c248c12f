//! A table as it was at one moment, given out piece by piece while the table
//! goes on changing: whoever changes a row that is not given out yet keeps the
//! old one aside first. Knows keys and rows, not what they mean.
//!
//! What is kept aside is bounded by what changes while the image is under way,
//! and falls as the image goes on. Rows with keys above the last one of that
//! moment, as new jobs have, are no part of it and cost nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::Serialize;

use super::rows::Rows;
use super::table::hash_of_bytes;

/// What a row costs of a part's budget at the least: one that was added since
/// gives no bytes, and takes its time all the same.
const ROW_BYTES_MIN: u64 = 32;

/// One table of an image under way.
#[derive(Clone, Debug)]
pub(super) struct Frozen<K, V> {
    /// How many rows there were, until that is given out.
    count: Option<u64>,
    /// Rows up to this key are given out.
    after: Option<K>,
    /// The last key that there was.
    last: Option<K>,
    /// Rows that are not given out and have changed, as they were; none where
    /// none was.
    kept: BTreeMap<K, Option<V>>,
    /// The sum of the hashes of the rows that were there and are not given out.
    hash: u128,
    #[cfg(feature = "planted-bugs")]
    pub(super) forgets: bool,
}

impl<K: Ord + Copy + Serialize, V: Clone + Serialize> Frozen<K, V> {
    pub(super) fn new(rows: &Rows<K, V>, hash: u128) -> Frozen<K, V> {
        Frozen {
            count: Some(rows.len()),
            after: None,
            last: rows.last().map(|(key, _)| *key),
            kept: BTreeMap::new(),
            hash,
            #[cfg(feature = "planted-bugs")]
            forgets: false,
        }
    }

    /// A row is about to change: this is what it is until then.
    pub(super) fn keep(&mut self, key: &K, row: Option<&V>) {
        #[cfg(feature = "planted-bugs")]
        if self.forgets {
            return;
        }
        let is_due = self.after.is_none_or(|after| after < *key)
            && self.last.is_some_and(|last| *key <= last);
        if is_due {
            self.kept.entry(*key).or_insert_with(|| row.cloned());
        }
    }

    pub(super) fn kept_count(&self) -> u64 {
        self.kept.len() as u64
    }

    /// Appends the next rows to `out` until the budget is used up. Says whether
    /// these were the last.
    pub(super) fn give_out(
        &mut self,
        rows: &Rows<K, V>,
        tag: u64,
        out: &mut Vec<u8>,
        budget: &mut u64,
    ) -> bool {
        if let Some(count) = self.count.take() {
            write(out, &count);
        }
        let Some(last) = self.last else {
            return true;
        };
        let from = self.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut live = rows.range((from, Bound::Included(last))).peekable();
        while *budget > 0 {
            let kept = self.kept.first_key_value().map(|(key, _)| *key);
            let next = live.peek().map(|(key, _)| **key);
            let Some(key) = kept.into_iter().chain(next).min() else {
                // It is the simulator's turn to notice.
                #[cfg(feature = "planted-bugs")]
                if self.forgets {
                    return true;
                }
                // A wrong snapshot would be noticed at the next start, when
                // the log that could have mended it is dropped.
                assert_eq!(
                    self.hash, 0,
                    "an image holds the rows of the moment when it was begun"
                );
                return true;
            };
            let now = live.next_if(|(live, _)| **live == key).map(|(_, row)| row);
            let start = out.len();
            if kept == Some(key) {
                let (_, row) = self.kept.pop_first().expect("it was just seen");
                if let Some(row) = row {
                    write(out, &(key, row));
                }
            } else if let Some(row) = now {
                write(out, &(key, row));
            }
            let row = &out[start..];
            if !row.is_empty() {
                self.hash = self.hash.wrapping_sub(hash_of_bytes(tag, row));
            }
            *budget = budget.saturating_sub((row.len() as u64).max(ROW_BYTES_MIN));
            self.after = Some(key);
        }
        false
    }
}

/// Appends a value as an image holds it.
pub(super) fn write<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    *out = postcard::to_extend(value, std::mem::take(out)).expect("our own types serialise");
}

#[cfg(test)]
mod tests;
