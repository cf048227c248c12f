use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What is done to a map.
#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u64),
    /// Many, in order, as new jobs come.
    Append(u64),
    Remove(u64),
    /// The oldest go, as jobs that are done do.
    RemoveFirst(u64),
    Change(u64, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..400u64;
    let step = prop_oneof![
        4 => (key.clone(), any::<u64>()).prop_map(|(key, row)| Step::Insert(key, row)),
        2 => (1..100u64).prop_map(Step::Append),
        4 => key.clone().prop_map(Step::Remove),
        1 => (1..60u64).prop_map(Step::RemoveFirst),
        1 => (key, any::<u64>()).prop_map(|(key, row)| Step::Change(key, row)),
    ];
    prop::collection::vec(step, 0..150)
}

fn bound() -> impl Strategy<Value = Bound<u64>> {
    prop_oneof![
        3 => (0..500u64).prop_map(Bound::Included),
        3 => (0..500u64).prop_map(Bound::Excluded),
        1 => Just(Bound::Unbounded),
    ]
}

/// No leaf is empty or too full, and each is found by what is in it.
fn check(rows: &Rows<u64, u64>) {
    let mut last = None;
    for (at, leaf) in &rows.leaves {
        assert!((1..=LEAF_ROWS_MAX).contains(&leaf.keys.len()));
        assert_eq!(leaf.keys.len(), leaf.rows.len());
        assert!(*at <= leaf.keys[0], "{at} is above {:?}", leaf.keys);
        assert!(last.is_none_or(|last| last < *at), "{last:?} is in another");
        assert!(leaf.keys.is_sorted_by(|one, other| one < other));
        last = leaf.keys.last().copied();
    }
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
                Step::RemoveFirst(count) => {
                    for _ in 0..count {
                        let first = map.pop_first();
                        if let Some((key, row)) = first {
                            prop_assert_eq!(rows.remove(&key), Some(row));
                        }
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
        prop_assert!(rows.iter().rev().eq(map.iter().rev()));
        for key in 0..500 {
            prop_assert_eq!(rows.get(&key), map.get(&key));
            prop_assert_eq!(rows.contains(&key), map.contains_key(&key));
        }
        for (start, end) in ranges {
            // An empty range is one, where a BTreeMap would panic.
            let inside = |key: &u64| (start, end).contains(key);
            let expected = || map.iter().filter(|(key, _)| inside(key));
            prop_assert!(rows.range((start, end)).eq(expected()));
            prop_assert!(rows.range((start, end)).rev().eq(expected().rev()));
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
    assert_eq!(rows.leaves.len(), 1_000usize.div_ceil(LEAF_ROWS_MAX));
}

#[test]
fn few_rows_of_many_stand_in_few_leaves() {
    let mut rows: Rows<u64, u64> = (0..32_000).map(|key| (key, key)).collect();
    for key in (0..32_000).filter(|key| key % 50 > 0) {
        rows.remove(&key);
    }
    assert_eq!(rows.len(), 640);
    assert!(rows.leaves.len() <= 640 / LEAF_ROWS_MIN * 2);
    let room: usize = rows.leaves.values().map(|leaf| leaf.rows.capacity()).sum();
    assert!(room <= 4 * 640, "there is room for {room}");
}

#[test]
fn of_rows_with_one_key_the_last_one_counts() {
    let bytes = postcard::to_allocvec(&(3u8, [(2u64, 1u64), (1, 2), (2, 3)])).unwrap();
    let rows: Rows<u64, u64> = postcard::from_bytes(&bytes).unwrap();
    assert!(rows.iter().eq([(&1, &2), (&2, &3)]));
}
