use super::*;

fn reached(matched: &[u64]) -> u64 {
    let mut matched: Vec<_> = matched.iter().copied().map(LogIndex).collect();
    let needed = majority(matched.len() as u64);
    committed(&mut matched, needed).0
}

#[test]
fn a_majority_is_more_than_half() {
    let majorities: Vec<_> = (1..=7).map(majority).collect();
    assert_eq!(majorities, [1, 2, 2, 3, 3, 4, 4]);
}

#[test]
fn two_majorities_always_share_a_voter() {
    for voters in 1..=7 {
        assert!(majority(voters) * 2 > voters, "of {voters}");
    }
}

#[test]
fn what_a_majority_has_is_committed() {
    assert_eq!(reached(&[7]), 7);
    assert_eq!(reached(&[7, 3]), 3, "of two both are needed");
    assert_eq!(reached(&[9, 3, 5]), 5);
    assert_eq!(reached(&[9, 9, 1, 2]), 2);
    assert_eq!(reached(&[1, 9, 2, 8, 3]), 3);
}

#[test]
fn the_committed_index_is_the_highest_that_enough_voters_have() {
    // All logs of up to five voters and five entries, against counting.
    for voters in 1..=5u32 {
        for code in 0..5u64.pow(voters) {
            let matched: Vec<_> = (0..voters).map(|v| code / 5u64.pow(v) % 5).collect();
            let has = |index: &u64| {
                let count = matched.iter().filter(|m| *m >= index).count();
                count as u64 >= majority(u64::from(voters))
            };
            let counted = (0..5).rev().find(has).unwrap_or(0);
            assert_eq!(reached(&matched), counted, "{matched:?}");
        }
    }
}

#[test]
#[should_panic(expected = "a cluster has voters")]
fn nobody_is_no_majority() {
    let _ = committed(&mut [], 1);
}
