use super::*;

const BOUND: Bound = Bound {
    timeout_us: 300_000,
    timeout_us_max: 2_000_000,
    allowance_us: 50_000,
    binding: true,
};

fn follower(term: u64) -> Seen {
    Seen {
        takes_requests: false,
        term: Term(term),
        last: LogPosition {
            term: Term(term),
            index: LogIndex(10),
        },
        commit: LogIndex(10),
        committed_own: false,
    }
}

fn leader(term: u64, commit: u64) -> Seen {
    Seen {
        takes_requests: true,
        commit: LogIndex(commit),
        committed_own: true,
        ..follower(term)
    }
}

/// Node 0 alone is a centre; all begin in term 3.
fn watch() -> Watch {
    Watch::new(1_000_000, BOUND, vec![0], vec![follower(3); 5])
}

fn fails(watch: &Watch, after_us: u64) -> bool {
    let verdict = watch.judge(1_000_000 + after_us, String::new);
    verdict.is_err_and(|failure| failure.checker == Checker::ServingLeader)
}

#[test]
fn a_centre_without_a_leader_fails_when_the_bound_is_over_and_not_before() {
    let watch = watch();
    assert!(!fails(&watch, BOUND.within_us()));
    assert!(fails(&watch, BOUND.within_us() + 1));
}

#[test]
fn a_leader_that_serves_in_time_passes() {
    let mut watch = watch();
    watch.on_seen(1_400_000, 0, leader(4, 11));
    assert!(!fails(&watch, BOUND.watch_us()));
    assert_eq!(watch.serving_after_us(), Some(400_000));
    assert_eq!(watch.dark_us(3_000_000), 400_000);
}

#[test]
fn a_leader_that_no_majority_reaches_does_not_count() {
    let mut watch = watch();
    watch.on_seen(1_400_000, 1, leader(4, 11));
    assert!(fails(&watch, BOUND.within_us() + 1));
}

#[test]
fn a_leader_that_commits_nothing_new_does_not_count() {
    let mut watch = watch();
    // It leads since before the shape, and its last entry is as old.
    watch.on_seen(1_001_000, 0, leader(3, 10));
    assert!(watch.wants_proof(0, leader(3, 10)));
    assert!(fails(&watch, BOUND.within_us() + 1));
    watch.on_seen(1_002_000, 0, leader(3, 11));
    assert!(!watch.wants_proof(0, leader(3, 11)));
    assert!(!fails(&watch, BOUND.watch_us()));
}

#[test]
fn an_elected_leader_behind_its_barrier_does_not_count() {
    let mut watch = watch();
    let barrier = Seen {
        takes_requests: false,
        ..leader(4, 10)
    };
    watch.on_seen(1_100_000, 0, barrier);
    assert!(fails(&watch, BOUND.within_us() + 1));
}

#[test]
fn a_leadership_that_is_lost_again_and_again_fails() {
    let mut watch = watch();
    for round in 0..=u64::from(LOSSES_MAX) {
        let at_us = 1_000_000 + round * 10_000;
        watch.on_seen(at_us, 0, leader(4 + round, 11));
        assert!(!fails(&watch, round * 10_000), "round {round}");
        watch.on_seen(at_us + 5_000, 0, follower(5 + round));
    }
    watch.on_seen(1_100_000, 0, leader(9, 20));
    assert!(fails(&watch, 200_000));
}

#[test]
fn the_times_without_a_leader_add_up() {
    let mut watch = watch();
    let half_us = BOUND.within_us() / 2 + 1;
    watch.on_seen(1_000_000 + half_us, 0, leader(4, 11));
    watch.on_seen(2_000_000 + half_us, 0, follower(5));
    assert!(!fails(&watch, 1_000_000 + half_us));
    assert!(fails(&watch, 1_000_000 + 2 * half_us));
}

#[test]
fn nothing_is_demanded_where_nobody_reaches_a_majority() {
    let watch = Watch::new(0, BOUND, Vec::new(), vec![follower(3); 5]);
    assert_eq!(watch.judge(9_000_000, String::new), Ok(()));
    assert!(!watch.has_centre());
}

#[test]
fn nothing_is_demanded_where_votes_take_longer_than_timeouts() {
    let bound = Bound {
        binding: false,
        ..BOUND
    };
    let watch = Watch::new(0, bound, vec![0], vec![follower(3); 5]);
    assert_eq!(watch.judge(9_000_000, String::new), Ok(()));
}
