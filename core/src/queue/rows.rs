//! An ordered map for keys that mostly come in ascending order and go in any:
//! rows stand in leaves that are full when they were filled in order, where a
//! `BTreeMap` leaves its nodes half empty. Knows nothing of what the rows mean.
//!
//! No step costs more than a few nodes: a full one is cut, a sparse one is joined to
//! a neighbour, and the others are not touched. There is nothing to rebuild.

use std::fmt;
use std::iter;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::slice;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a node holds at the most: rows a leaf, leaves a branch. More make what is
/// moved when one goes from the middle larger, fewer make more nodes.
const NODE_MAX: usize = 32;
/// A node with fewer looks for a neighbour to be one with.
const NODE_MIN: usize = NODE_MAX / 4;
/// Two nodes become one if it has no more: room is left, so that what comes next
/// does not cut it again.
const JOINED_MAX: usize = NODE_MAX * 3 / 4;

/// Rows by key: a B+ tree of three storeys. The root has a branch for each thousand
/// rows; it is a list, and of ten million rows no longer than what is moved at once.
#[derive(Clone)]
pub(super) struct Rows<K, V> {
    root: Node<K, Branch<K, V>>,
    count: u64,
}

type Branch<K, V> = Node<K, Leaf<K, V>>;
type Leaf<K, V> = Node<K, V>;

/// Items in the order of their keys. A leaf's items are rows, each by its key. Those
/// of the others are nodes, each by a key that is not above its first one, and above
/// all of the node before; none of these is empty. A branch and its first leaf are
/// found by one key.
#[derive(Clone, Debug)]
struct Node<K, T> {
    keys: Vec<K>,
    items: Vec<T>,
}

impl<K, V> Rows<K, V> {
    pub(super) fn new() -> Rows<K, V> {
        Rows {
            root: Node::new(),
            count: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let leaves = self.root.items.iter().flat_map(|branch| &branch.items);
        leaves.flat_map(|leaf| leaf.keys.iter().zip(&leaf.items))
    }

    pub(super) fn keys(&self) -> Keys<'_, K, V> {
        Keys {
            leaf: [].iter(),
            branch: [].iter(),
            root: self.root.items.iter(),
        }
    }

    /// All rows, in order.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (K, V)> {
        let leaves = self.root.items.into_iter().flat_map(|branch| branch.items);
        leaves.flat_map(|leaf| leaf.keys.into_iter().zip(leaf.items))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let branches = self.root.items.iter_mut();
        let leaves = branches.flat_map(|branch| &mut branch.items);
        leaves.flat_map(|leaf| &mut leaf.items)
    }

    pub(super) fn first(&self) -> Option<(&K, &V)> {
        let leaf = self.root.items.first()?.items.first()?;
        leaf.keys.first().zip(leaf.items.first())
    }

    pub(super) fn last(&self) -> Option<(&K, &V)> {
        let leaf = self.root.items.last()?.items.last()?;
        leaf.keys.last().zip(leaf.items.last())
    }
}

impl<K: Ord + Clone, V> Rows<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let leaf = self.root.floor(key)?.floor(key)?;
        let at = leaf.keys.binary_search(key).ok()?;
        Some(&leaf.items[at])
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let leaf = self.root.floor_mut(key)?.floor_mut(key)?;
        let at = leaf.keys.binary_search(key).ok()?;
        Some(&mut leaf.items[at])
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The row with this key, or the last one before it.
    pub(super) fn at_or_before(&self, key: &K) -> Option<(&K, &V)> {
        let (mut branch, mut leaf) = self.place_of(key)?;
        loop {
            let node = &self.root.items[branch].items[leaf];
            match node.keys.partition_point(|known| known <= key) {
                // A leaf is found by a key that may be gone.
                0 if leaf > 0 => leaf -= 1,
                0 => {
                    branch = branch.checked_sub(1)?;
                    leaf = self.root.items[branch].items.len() - 1;
                }
                after => return Some((&node.keys[after - 1], &node.items[after - 1])),
            }
        }
    }

    /// Puts a row in, in the place of an older one with its key.
    pub(super) fn insert(&mut self, key: K, row: V) -> Option<V> {
        self.put(key, row, std::mem::replace)
    }

    /// Puts a row in, unless there is one with its key: that one stays, and is returned.
    pub(super) fn insert_new(&mut self, key: K, row: V) -> Option<V>
    where
        V: Copy,
    {
        self.put(key, row, |known, _| *known)
    }

    fn put(&mut self, key: K, row: V, with_known: impl FnOnce(&mut V, V) -> V) -> Option<V> {
        let Some((at_branch, at_leaf)) = self.place_of(&key) else {
            self.insert_first(key, row);
            return None;
        };
        let branch = &mut self.root.items[at_branch];
        let leaf = &mut branch.items[at_leaf];
        let at = match leaf.keys.binary_search(&key) {
            Ok(at) => return Some(with_known(&mut leaf.items[at], row)),
            Err(at) => at,
        };
        self.count += 1;
        if let Some((key, leaf)) = leaf.insert_or_cut(at, key, row)
            && let Some((key, branch)) = branch.insert_or_cut(at_leaf + 1, key, leaf)
        {
            self.root.insert(at_branch + 1, key, branch);
        }
        None
    }

    /// Puts a row in that has no place yet: its key is below all, or there are none.
    fn insert_first(&mut self, key: K, row: V) {
        if self.root.keys.is_empty() {
            self.root.insert(0, key.clone(), Node::new());
            self.root.items[0].insert(0, key.clone(), Node::new());
        } else {
            self.root.keys[0] = key.clone();
            self.root.items[0].keys[0] = key.clone();
        }
        self.insert(key, row);
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (at_branch, at_leaf) = self.place_of(key)?;
        let branch = &mut self.root.items[at_branch];
        let leaf = &mut branch.items[at_leaf];
        let at = leaf.keys.binary_search(key).ok()?;
        let (_, row) = leaf.remove(at);
        self.count -= 1;
        if leaf.keys.len() < NODE_MIN {
            branch.join(at_leaf);
            // What its first leaf was found by is found in the branch still.
            if let Some(first) = branch.keys.first_mut() {
                first.clone_from(&self.root.keys[at_branch]);
            }
            if branch.keys.len() < NODE_MIN {
                self.root.join(at_branch);
            }
        }
        Some(row)
    }

    /// In which branch, and which leaf of it, a key is or would be; none if it is
    /// below all that is found.
    fn place_of(&self, key: &K) -> Option<(usize, usize)> {
        let branch = self.root.floor_at(key)?;
        let leaf = self.root.items[branch].floor_at(key)?;
        Some((branch, leaf))
    }

    pub(super) fn range(&self, range: impl RangeBounds<K>) -> Range<'_, K, V> {
        let (start, end) = (range.start_bound(), range.end_bound().cloned());
        let mut rows = Range {
            leaf: [].iter().zip(&[]),
            branch: [].iter(),
            root: self.root.items.iter(),
            end,
        };
        let (Bound::Included(key) | Bound::Excluded(key)) = start else {
            return rows;
        };
        let Some((branch, leaf)) = self.place_of(key) else {
            return rows;
        };
        let leaves = &self.root.items[branch].items;
        let known = &leaves[leaf].keys;
        let from = match start {
            Bound::Excluded(key) => known.partition_point(|known| known <= key),
            Bound::Included(key) => known.partition_point(|known| known < key),
            Bound::Unbounded => 0,
        };
        rows.leaf = known[from..].iter().zip(&leaves[leaf].items[from..]);
        rows.branch = leaves[leaf + 1..].iter();
        rows.root = self.root.items[branch + 1..].iter();
        rows
    }
}

impl<K, T> Node<K, T> {
    const fn new() -> Node<K, T> {
        Node {
            keys: Vec::new(),
            items: Vec::new(),
        }
    }

    fn insert(&mut self, at: usize, key: K, item: T) {
        self.keys.insert(at, key);
        self.items.insert(at, item);
    }

    fn remove(&mut self, at: usize) -> (K, T) {
        (self.keys.remove(at), self.items.remove(at))
    }
}

impl<K: Ord + Clone, T> Node<K, T> {
    /// Where the last item is whose key is not above another.
    fn floor_at(&self, key: &K) -> Option<usize> {
        self.keys
            .partition_point(|known| known <= key)
            .checked_sub(1)
    }

    fn floor(&self, key: &K) -> Option<&T> {
        Some(&self.items[self.floor_at(key)?])
    }

    fn floor_mut(&mut self, key: &K) -> Option<&mut T> {
        let at = self.floor_at(key)?;
        Some(&mut self.items[at])
    }

    /// Puts an item in. If there is no room, the node is cut there, so that it is full
    /// where keys come in order, in whatever part of the tree; the rest is returned.
    fn insert_or_cut(&mut self, at: usize, key: K, item: T) -> Option<(K, Node<K, T>)> {
        if self.keys.len() < NODE_MAX {
            self.insert(at, key, item);
            return None;
        }
        let cut = at.max(NODE_MIN);
        let mut rest = Node {
            keys: self.keys.split_off(cut),
            items: self.items.split_off(cut),
        };
        match at {
            NODE_MAX => rest.insert(0, key, item),
            _ => self.insert(at, key, item),
        }
        Some((rest.keys[0].clone(), rest))
    }
}

impl<K: Ord + Clone, T> Node<K, Node<K, T>> {
    /// Joins an item to the next one, or the one before to it, if that makes one with
    /// room left; an empty one goes.
    fn join(&mut self, at: usize) {
        let count = |at: usize| self.items.get(at).map_or(NODE_MAX, |item| item.keys.len());
        let own = count(at);
        let left = match at.checked_sub(1) {
            _ if own == 0 => {
                self.remove(at);
                return;
            }
            _ if own + count(at + 1) <= JOINED_MAX => at,
            Some(before) if own + count(before) <= JOINED_MAX => before,
            _ => {
                self.items[at].keys.shrink_to(2 * NODE_MIN);
                self.items[at].items.shrink_to(2 * NODE_MIN);
                return;
            }
        };
        let (_, mut right) = self.remove(left + 1);
        self.items[left].keys.append(&mut right.keys);
        self.items[left].items.append(&mut right.items);
    }
}

/// Rows of a range, in order.
#[derive(Debug)]
pub(super) struct Range<'a, K, V> {
    leaf: iter::Zip<slice::Iter<'a, K>, slice::Iter<'a, V>>,
    branch: slice::Iter<'a, Leaf<K, V>>,
    root: slice::Iter<'a, Branch<K, V>>,
    end: Bound<K>,
}

impl<'a, K: Ord, V> Iterator for Range<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        loop {
            if let Some((key, row)) = self.leaf.next() {
                let is_inside = match &self.end {
                    Bound::Included(end) => key <= end,
                    Bound::Excluded(end) => key < end,
                    Bound::Unbounded => true,
                };
                return is_inside.then_some((key, row));
            }
            match self.branch.next() {
                Some(leaf) => self.leaf = leaf.keys.iter().zip(&leaf.items),
                None => self.branch = self.root.next()?.items.iter(),
            }
        }
    }
}

/// The keys, in order.
#[derive(Debug)]
pub(super) struct Keys<'a, K, V> {
    leaf: slice::Iter<'a, K>,
    branch: slice::Iter<'a, Leaf<K, V>>,
    root: slice::Iter<'a, Branch<K, V>>,
}

impl<'a, K, V> Iterator for Keys<'a, K, V> {
    type Item = &'a K;

    fn next(&mut self) -> Option<&'a K> {
        loop {
            if let Some(key) = self.leaf.next() {
                return Some(key);
            }
            match self.branch.next() {
                Some(leaf) => self.leaf = leaf.keys.iter(),
                None => self.branch = self.root.next()?.items.iter(),
            }
        }
    }
}

impl<K, V> Clone for Keys<'_, K, V> {
    fn clone(&self) -> Self {
        Keys {
            leaf: self.leaf.clone(),
            branch: self.branch.clone(),
            root: self.root.clone(),
        }
    }
}

/// None.
impl<K, V> Default for Keys<'_, K, V> {
    fn default() -> Self {
        Keys {
            leaf: [].iter(),
            branch: [].iter(),
            root: [].iter(),
        }
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

impl<K, V> Default for Rows<K, V> {
    fn default() -> Rows<K, V> {
        Rows::new()
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
