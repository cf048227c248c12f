use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::table::{Imaged, Table};
use super::*;

const TAG: u64 = 7;

/// A change of a table of a few rows.
#[derive(Clone, Debug)]
enum Change {
    Insert(u64, u64),
    Remove(u64),
    Update(u64, u64),
    /// Some more of the image.
    Part(u64),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        2 => (0..50u64, any::<u64>()).prop_map(|(key, row)| Change::Insert(key, row)),
        2 => (0..50u64).prop_map(Change::Remove),
        2 => (0..50u64, any::<u64>()).prop_map(|(key, row)| Change::Update(key, row)),
        1 => (1..200u64).prop_map(Change::Part),
    ];
    prop::collection::vec(change, 0..80)
}

fn part(table: &mut Table<u64, u64>, out: &mut Vec<u8>, mut budget: u64) -> bool {
    table.give_out(out, &mut budget)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_changes_meanwhile_the_rows_are_those_of_the_moment(
        before in prop::collection::btree_map(0..40u64, any::<u64>(), 0..40),
        changes in changes(),
    ) {
        let expected = postcard::to_allocvec(&before).unwrap();
        let mut table = Table::from_rows(TAG, before.clone().into_iter().collect());
        let mut plain = Table::from_rows(TAG, before.into_iter().collect());
        table.freeze();
        let (mut out, mut done) = (Vec::new(), false);
        for change in changes {
            match change {
                Change::Insert(key, row) => {
                    prop_assert_eq!(table.insert(key, row), plain.insert(key, row));
                }
                Change::Remove(key) => {
                    prop_assert_eq!(table.remove(&key), plain.remove(&key));
                }
                Change::Update(key, new) => {
                    let change = |row: &mut u64| std::mem::replace(row, new);
                    prop_assert_eq!(table.update(&key, change), plain.update(&key, change));
                }
                Change::Part(budget) if !done => done = part(&mut table, &mut out, budget),
                Change::Part(_) => {}
            }
            prop_assert_eq!(table.rows(), plain.rows());
            prop_assert_eq!(table.hash(), plain.hash());
        }
        while !done {
            done = part(&mut table, &mut out, 100);
        }
        prop_assert_eq!(out, expected);
    }
}

fn table(count: u64) -> Table<u64, u64> {
    let mut table = Table::from_rows(TAG, (0..count).map(|key| (key, key)).collect());
    table.freeze();
    table
}

#[test]
fn only_rows_that_are_still_to_be_given_out_are_kept_aside() {
    let mut table = table(100);
    let mut out = Vec::new();
    assert!(!part(&mut table, &mut out, 10 * ROW_BYTES_MIN));
    for key in 0..10 {
        table.remove(&key);
    }
    assert_eq!(table.kept_count(), 0, "they are given out already");
    for key in 100..200 {
        table.insert(key, key);
    }
    assert_eq!(table.kept_count(), 0, "they are no part of the image");
    for _ in 0..5 {
        table.update(&50, |row| *row += 1);
        table.remove(&60);
        table.insert(60, 0);
    }
    assert_eq!(table.kept_count(), 2, "each once");
    while !part(&mut table, &mut out, 1_000) {}
    assert_eq!(table.kept_count(), 0);
    let rows: BTreeMap<u64, u64> = postcard::from_bytes(&out).unwrap();
    assert_eq!(rows, (0..100).map(|key| (key, key)).collect());
}

#[test]
fn a_part_ends_when_its_budget_is_used_up_even_if_there_was_nothing_to_give() {
    let mut table = Table::from_rows(TAG, [(0u64, 0u64), (1_000, 0)].into_iter().collect());
    table.freeze();
    for key in 1..1_000 {
        table.insert(key, key);
    }
    let mut out = Vec::new();
    let mut parts = 1;
    while !part(&mut table, &mut out, 10 * ROW_BYTES_MIN) {
        parts += 1;
    }
    assert!(parts > 100, "{parts} parts for 1,001 steps of ten a part");
}
