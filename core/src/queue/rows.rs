//! An ordered map for keys that mostly come in ascending order and go in any:
//! rows stand in leaves that are full when they were filled in order, where a
//! `BTreeMap` leaves its nodes half empty. Knows nothing of what the rows mean.
//!
//! No step costs more than a leaf: a full one is cut, a sparse one is joined to
//! a neighbour, and the others are not touched. There is nothing to rebuild.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Rows of a full leaf. More make the directory smaller, and what is moved when
/// a row goes from the middle larger.
const LEAF_ROWS_MAX: usize = 32;
/// A leaf with fewer looks for a neighbour to be one with.
const LEAF_ROWS_MIN: usize = LEAF_ROWS_MAX / 4;
/// Two leaves become one if it has no more rows: room is left, so that the next
/// rows do not cut it again.
const JOINED_ROWS_MAX: usize = LEAF_ROWS_MAX * 3 / 4;

const _: () = assert!(
    LEAF_ROWS_MIN < LEAF_ROWS_MAX / 2,
    "the halves of a leaf that is cut are not joined at once"
);

/// Rows by key.
#[derive(Clone)]
pub(super) struct Rows<K, V> {
    /// Each by a key that is not above its first one, and above those of the leaf
    /// before. No leaf is empty.
    leaves: BTreeMap<K, Leaf<K, V>>,
    count: u64,
}

/// Some rows, in order.
#[derive(Clone)]
struct Leaf<K, V> {
    keys: Vec<K>,
    rows: Vec<V>,
}

impl<K, V> Rows<K, V> {
    pub(super) fn new() -> Rows<K, V> {
        Rows {
            leaves: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let leaves = self.leaves.values();
        leaves.flat_map(|leaf| leaf.keys.iter().zip(&leaf.rows))
    }

    /// All rows, in order.
    pub(super) fn into_rows(self) -> impl DoubleEndedIterator<Item = (K, V)> {
        let leaves = self.leaves.into_values();
        leaves.flat_map(|leaf| leaf.keys.into_iter().zip(leaf.rows))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.leaves.values_mut().flat_map(|leaf| &mut leaf.rows)
    }
}

impl<K: Ord + Clone, V> Rows<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let (_, leaf) = self.leaves.range(..=key).next_back()?;
        let at = leaf.keys.binary_search(key).ok()?;
        Some(&leaf.rows[at])
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (_, leaf) = self.leaves.range_mut(..=key).next_back()?;
        let at = leaf.keys.binary_search(key).ok()?;
        Some(&mut leaf.rows[at])
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts a row in, in the place of an older one with its key.
    pub(super) fn insert(&mut self, key: K, row: V) -> Option<V> {
        let Some((_, leaf)) = self.leaves.range_mut(..=&key).next_back() else {
            self.insert_first(key, row);
            return None;
        };
        let at = match leaf.keys.binary_search(&key) {
            Ok(at) => return Some(std::mem::replace(&mut leaf.rows[at], row)),
            Err(at) => at,
        };
        self.count += 1;
        if leaf.keys.len() < LEAF_ROWS_MAX {
            leaf.insert(at, key, row);
            return None;
        }
        let mut next = leaf.split_off(match at {
            // Keys come in order: this leaf stays full, and the next one begins.
            LEAF_ROWS_MAX => at,
            _ => LEAF_ROWS_MAX / 2,
        });
        match at.checked_sub(leaf.keys.len()) {
            Some(at) => next.insert(at, key, row),
            None => leaf.insert(at, key, row),
        }
        self.leaves.insert(next.keys[0].clone(), next);
        None
    }

    /// Puts a row in whose key is below all that a leaf is found by.
    fn insert_first(&mut self, key: K, row: V) {
        self.count += 1;
        let first = self.leaves.pop_first();
        let mut leaf = match first {
            Some((_, leaf)) if leaf.keys.len() < LEAF_ROWS_MAX => leaf,
            other => {
                self.leaves.extend(other);
                Leaf::new()
            }
        };
        leaf.insert(0, key.clone(), row);
        self.leaves.insert(key, leaf);
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (_, leaf) = self.leaves.range_mut(..=key).next_back()?;
        let at = leaf.keys.binary_search(key).ok()?;
        leaf.keys.remove(at);
        let row = leaf.rows.remove(at);
        self.count -= 1;
        if leaf.keys.len() < LEAF_ROWS_MIN {
            self.join(key);
        }
        Some(row)
    }

    /// Joins the leaf where a key would be to the next one, or the one before to
    /// it, if that makes one with room left.
    fn join(&mut self, key: &K) {
        let mut before = self.leaves.range(..=key).rev();
        let (at, leaf) = before.next().expect("a row was taken from it");
        let (at, count) = (at.clone(), leaf.keys.len());
        let previous = before.next();
        if count == 0 {
            self.leaves.remove(&at);
            return;
        }
        let fits = |other: &Leaf<K, V>| count + other.keys.len() <= JOINED_ROWS_MAX;
        let after = (Bound::Excluded(&at), Bound::Unbounded);
        let next = self.leaves.range(after).next();
        let pair = match (next, previous) {
            (Some((next, other)), _) if fits(other) => Some((at.clone(), next.clone())),
            (_, Some((previous, other))) if fits(other) => Some((previous.clone(), at.clone())),
            _ => None,
        };
        match pair {
            Some((left, right)) => {
                let right = self.leaves.remove(&right);
                let right = right.expect("it was just seen");
                let left = self.leaves.get_mut(&left);
                left.expect("it was just seen").append(right);
            }
            None => {
                let leaf = self.leaves.get_mut(&at);
                leaf.expect("it was just seen").shrink();
            }
        }
    }

    pub(super) fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let start = range.start_bound().cloned();
        let end = range.end_bound().cloned();
        // The leaf where the range begins may be found by a key below it.
        let from = match &start {
            Bound::Included(key) | Bound::Excluded(key) => {
                let leaf = self.leaves.range(..=key).next_back();
                leaf.map_or(Bound::Unbounded, |(at, _)| Bound::Included(at))
            }
            Bound::Unbounded => Bound::Unbounded,
        };
        let leaves = self.leaves.range::<K, _>((from, upper(from, end.as_ref())));
        leaves.flat_map(move |(_, leaf)| leaf.between(&start, &end))
    }

    pub(super) fn first(&self) -> Option<(&K, &V)> {
        let (_, leaf) = self.leaves.first_key_value()?;
        Some((&leaf.keys[0], &leaf.rows[0]))
    }

    pub(super) fn last(&self) -> Option<(&K, &V)> {
        let (_, leaf) = self.leaves.last_key_value()?;
        leaf.keys.last().zip(leaf.rows.last())
    }
}

/// The upper bound, or the lower one where that is above it: such a range is
/// empty, and a `BTreeMap` takes none.
fn upper<'a, K: Ord>(from: Bound<&'a K>, end: Bound<&'a K>) -> Bound<&'a K> {
    match (from, end) {
        (Bound::Included(from), Bound::Included(end) | Bound::Excluded(end)) if end <= from => {
            Bound::Included(from)
        }
        _ => end,
    }
}

impl<K: Ord, V> Leaf<K, V> {
    fn new() -> Leaf<K, V> {
        Leaf {
            keys: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn insert(&mut self, at: usize, key: K, row: V) {
        self.keys.insert(at, key);
        self.rows.insert(at, row);
    }

    fn split_off(&mut self, at: usize) -> Leaf<K, V> {
        Leaf {
            keys: self.keys.split_off(at),
            rows: self.rows.split_off(at),
        }
    }

    fn append(&mut self, mut other: Leaf<K, V>) {
        self.keys.append(&mut other.keys);
        self.rows.append(&mut other.rows);
    }

    fn shrink(&mut self) {
        self.keys.shrink_to(LEAF_ROWS_MIN);
        self.rows.shrink_to(LEAF_ROWS_MIN);
    }

    fn between(
        &self,
        start: &Bound<K>,
        end: &Bound<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> + use<'_, K, V> {
        let keys = &self.keys;
        let from = match start {
            Bound::Included(start) => keys.partition_point(|key| key < start),
            Bound::Excluded(start) => keys.partition_point(|key| key <= start),
            Bound::Unbounded => 0,
        };
        let to = match end {
            Bound::Included(end) => keys.partition_point(|key| key <= end),
            Bound::Excluded(end) => keys.partition_point(|key| key < end),
            Bound::Unbounded => keys.len(),
        };
        let to = to.max(from);
        keys[from..to].iter().zip(&self.rows[from..to])
    }
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Rows<K, V> {
        Rows::new()
    }
}

/// Equal rows: in which leaves they stand is no part of it.
impl<K: PartialEq, V: PartialEq> PartialEq for Rows<K, V> {
    fn eq(&self, other: &Rows<K, V>) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Rows<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, V)> for Rows<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Rows<K, V> {
        let mut all = Rows::new();
        for (key, row) in rows {
            all.insert(key, row);
        }
        all
    }
}

/// As a map.
impl<K: Serialize, V: Serialize> Serialize for Rows<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let count = usize::try_from(self.count).ok();
        let mut map = serializer.serialize_map(count)?;
        for (key, row) in self.iter() {
            map.serialize_entry(key, row)?;
        }
        map.end()
    }
}

/// From a map in any order; of rows with one key the last one counts.
impl<'de, K: Ord + Clone + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Rows<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rows<K, V>, D::Error> {
        deserializer.deserialize_map(RowsVisitor(PhantomData))
    }
}

struct RowsVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: Ord + Clone + Deserialize<'de>, V: Deserialize<'de>> Visitor<'de>
    for RowsVisitor<K, V>
{
    type Value = Rows<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows by key")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Rows<K, V>, M::Error> {
        let mut rows = Rows::new();
        while let Some((key, row)) = map.next_entry()? {
            rows.insert(key, row);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests;
