use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What is done to a map.
#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u64),
    /// Unless there is one.
    InsertNew(u64, u64),
    /// Many, in order, as new jobs come.
    Append(u64),
    Remove(u64),
    /// All from one key on, below another.
    RemoveAll(u64, u64),
    Change(u64, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..4_000u64;
    let step = prop_oneof![
        4 => (key.clone(), any::<u64>()).prop_map(|(key, row)| Step::Insert(key, row)),
        2 => (key.clone(), any::<u64>()).prop_map(|(key, row)| Step::InsertNew(key, row)),
        2 => (1..1_000u64).prop_map(Step::Append),
        4 => key.clone().prop_map(Step::Remove),
        2 => (key.clone(), 1..1_500u64).prop_map(|(key, count)| Step::RemoveAll(key, key + count)),
        1 => (1..1_500u64).prop_map(|count| Step::RemoveAll(0, count)),
        1 => (key, any::<u64>()).prop_map(|(key, row)| Step::Change(key, row)),
    ];
    prop::collection::vec(step, 0..150)
}

fn bound() -> impl Strategy<Value = Bound<u64>> {
    prop_oneof![
        3 => (0..5_000u64).prop_map(Bound::Included),
        3 => (0..5_000u64).prop_map(Bound::Excluded),
        1 => Just(Bound::Unbounded),
    ]
}

/// No node is empty or too full, and each is found by what is in it.
fn check(rows: &Rows<u64, u64>) {
    let leaf = |leaf: &Leaf<u64, u64>| leaf.keys.clone();
    let branch = |branch: &Branch<u64, u64>| check_node(branch, leaf);
    check_node(&rows.root, branch);
    for (at, branch) in rows.root.keys.iter().zip(&rows.root.items) {
        assert_eq!(*at, branch.keys[0], "a branch is found by another key");
    }
}

/// Says which rows are in it.
fn check_node<T>(
    node: &Node<u64, Node<u64, T>>,
    rows: impl Fn(&Node<u64, T>) -> Vec<u64>,
) -> Vec<u64> {
    assert_eq!(node.keys.len(), node.items.len());
    let mut all: Vec<u64> = Vec::new();
    for (at, item) in node.keys.iter().zip(&node.items) {
        assert!((1..=NODE_MAX).contains(&item.keys.len()));
        let found = rows(item);
        assert!(*at <= found[0], "{at} is above {found:?}");
        assert!(
            all.last().is_none_or(|last| last < at),
            "{at} is below {all:?}"
        );
        all.extend(found);
    }
    assert!(all.is_sorted_by(|one, other| one < other));
    all
}

fn leaves(rows: &Rows<u64, u64>) -> Vec<&Leaf<u64, u64>> {
    let leaves = rows.root.items.iter().flat_map(|branch| &branch.items);
    leaves.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_what_a_btreemap_would_hold(
        steps in steps(),
        ranges in prop::collection::vec((bound(), bound()), 0..20),
    ) {
        let mut rows = Rows::new();
        let mut map = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(key, row) => {
                    prop_assert_eq!(rows.insert(key, row), map.insert(key, row));
                }
                Step::InsertNew(key, row) => {
                    let known = map.get(&key).copied();
                    prop_assert_eq!(rows.insert_new(key, row), known);
                    map.entry(key).or_insert(row);
                }
                Step::Append(count) => {
                    let next = map.last_key_value().map_or(0, |(key, _)| key + 1);
                    for key in next..next + count {
                        rows.insert(key, key);
                        map.insert(key, key);
                    }
                }
                Step::Remove(key) => {
                    prop_assert_eq!(rows.remove(&key), map.remove(&key));
                }
                Step::RemoveAll(from, to) => {
                    for key in from..to {
                        prop_assert_eq!(rows.remove(&key), map.remove(&key));
                    }
                }
                Step::Change(key, new) => {
                    prop_assert_eq!(rows.get_mut(&key).is_some(), map.contains_key(&key));
                    if let (Some(row), Some(other)) = (rows.get_mut(&key), map.get_mut(&key)) {
                        (*row, *other) = (new, new);
                    }
                }
            }
            check(&rows);
            prop_assert_eq!(rows.len(), map.len() as u64);
            prop_assert_eq!(rows.is_empty(), map.is_empty());
            prop_assert_eq!(rows.first(), map.first_key_value());
            prop_assert_eq!(rows.last(), map.last_key_value());
        }
        prop_assert!(rows.iter().eq(map.iter()));
        prop_assert!(rows.keys().eq(map.keys()));
        for key in 0..5_000 {
            prop_assert_eq!(rows.get(&key), map.get(&key));
            prop_assert_eq!(rows.contains(&key), map.contains_key(&key));
            prop_assert_eq!(rows.at_or_before(&key), map.range(..=key).next_back());
        }
        for (start, end) in ranges {
            // An empty range is one, where a BTreeMap would panic.
            let inside = |key: &u64| (start, end).contains(key);
            let expected = || map.iter().filter(|(key, _)| inside(key));
            prop_assert!(rows.range((start, end)).eq(expected()));
        }
        let bytes = postcard::to_allocvec(&rows).unwrap();
        prop_assert_eq!(&bytes, &postcard::to_allocvec(&map).unwrap());
        prop_assert_eq!(&postcard::from_bytes::<Rows<u64, u64>>(&bytes).unwrap(), &rows);
        let collected: Rows<u64, u64> = map.clone().into_iter().collect();
        prop_assert_eq!(&collected, &rows);
        prop_assert!(rows.into_rows().eq(map));
    }
}

#[test]
fn rows_that_come_in_order_fill_their_leaves() {
    let rows: Rows<u64, u64> = (0..1_000).map(|key| (key, key)).collect();
    assert_eq!(leaves(&rows).len(), 1_000usize.div_ceil(NODE_MAX));
}

#[test]
fn rows_that_come_in_order_between_others_fill_their_leaves() {
    let mut rows: Rows<u64, u64> = (0..100).map(|key| (10_000 * key, key)).collect();
    for folder in 0..100 {
        for file in 1..=640 {
            rows.insert(10_000 * folder + file, file);
        }
    }
    check(&rows);
    let least = 64_100usize.div_ceil(NODE_MAX);
    let found = leaves(&rows).len();
    assert!(
        found <= least + least / 8,
        "{found} leaves, where {least} would do"
    );
}

#[test]
fn a_row_is_found_that_came_where_a_leaf_was() {
    let mut rows: Rows<u64, u64> = (0..4_000).map(|key| (key, key)).collect();
    // The first leaf of the second branch.
    let first = (NODE_MAX * NODE_MAX) as u64;
    for key in first..first + NODE_MAX as u64 {
        rows.remove(&key);
    }
    check(&rows);
    rows.insert(first + 3, 7);
    check(&rows);
    assert_eq!(rows.get(&(first + 3)), Some(&7));
    assert_eq!(rows.range(first..).next(), Some((&(first + 3), &7)));
    assert_eq!(rows.at_or_before(&(first + 4)), Some((&(first + 3), &7)));
    assert_eq!(rows.remove(&(first + 3)), Some(7));
}

#[test]
fn few_rows_of_many_stand_in_few_leaves() {
    let mut rows: Rows<u64, u64> = (0..32_000).map(|key| (key, key)).collect();
    for key in (0..32_000).filter(|key| key % 50 > 0) {
        rows.remove(&key);
    }
    assert_eq!(rows.len(), 640);
    assert!(leaves(&rows).len() <= 640 / NODE_MIN * 2);
    let room: usize = leaves(&rows).iter().map(|leaf| leaf.items.capacity()).sum();
    assert!(room <= 4 * 640, "there is room for {room}");
}

#[test]
fn of_rows_with_one_key_the_last_one_counts() {
    let bytes = postcard::to_allocvec(&(3u8, [(2u64, 1u64), (1, 2), (2, 3)])).unwrap();
    let rows: Rows<u64, u64> = postcard::from_bytes(&bytes).unwrap();
    assert!(rows.iter().eq([(&1, &2), (&2, &3)]));
}
