use proptest::prelude::*;

use super::*;
use crate::ids::NodeId;
use crate::membership::{MembershipEntry, Why};
use crate::principal::Principal;

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition {
        term: Term(term),
        index: LogIndex(index),
    }
}

/// Adds an entry as a leader does that sends each at once.
fn append(log: &mut Log, entry: LogEntry) {
    log.gather(entry);
    let batch = log.seal().expect("it is in a batch now");
    assert_eq!(batch.last().map(|last| last.index), Some(log.last().index));
}

/// The next entry of a log, or one that stands at another index.
fn entry_of(log: &Log, term: u64, index: u64) -> LogEntry {
    LogEntry {
        index: LogIndex(index),
        ..log.next_entry(Term(term), EntryKind::Command, vec![0; 10].into())
    }
}

fn founding() -> Arc<Membership> {
    Arc::new(Membership::founding([1, 2, 3].map(NodeId)))
}

/// A log without entries that begins after `position`.
fn empty(position: LogPosition) -> Log {
    Log::new(LogStart {
        position,
        membership_index: position.index,
        ..LogStart::founding(founding())
    })
}

/// A log from index 1 on with these terms.
fn log(terms: &[u64]) -> Log {
    let mut log = empty(LogPosition::default());
    for (index, term) in (1..).zip(terms) {
        let entry = entry_of(&log, *term, index);
        append(&mut log, entry);
    }
    log
}

fn indexes(window: Window) -> Vec<u64> {
    match window {
        Window::Entries(entries) => entries.iter().map(|entry| entry.index.0).collect(),
        other => panic!("entries were asked for, and there are {other:?}"),
    }
}

#[test]
fn an_empty_log_ends_before_its_first_entry() {
    let log = log(&[]);
    assert_eq!(log.last(), LogPosition::default());
    assert_eq!(log.term_at(LogIndex(0)), TermAt::Known(Term(0)));
    assert_eq!(log.term_at(LogIndex(1)), TermAt::Beyond);
    assert_eq!(log.window_first(), LogIndex(1));
    assert_eq!(log.entries(LogIndex(1), 10, 100), Window::Beyond);
}

#[test]
fn terms_are_known_after_bodies_are_gone() {
    let mut log = log(&[1, 1, 2]);
    log.trim(LogIndex(2), 0);
    assert_eq!(log.window_first(), LogIndex(3));
    assert_eq!(log.entry_at(LogIndex(2)), None);
    assert_eq!(log.term_at(LogIndex(2)), TermAt::Known(Term(1)));
    let on_disk = Window::OnDisk { to: LogIndex(2) };
    assert_eq!(log.entries(LogIndex(1), 10, 100), on_disk);
}

#[test]
fn what_is_not_yet_applied_stays_in_memory() {
    let mut log = log(&[1, 1, 1]);
    log.trim(LogIndex(1), 0);
    assert_eq!(log.window_first(), LogIndex(2));
}

#[test]
fn trimming_stops_at_the_bound() {
    let mut log = log(&[1, 1, 1]);
    log.trim(LogIndex(3), 20);
    assert_eq!(log.window_first(), LogIndex(2));
    log.trim(LogIndex(3), 20);
    assert_eq!(log.window_first(), LogIndex(2), "20 bytes are within 20");
}

// etcd:76f1249: a compacted index that reads as term 0 matches another one.
#[test]
fn a_compacted_index_has_no_term() {
    let mut log = log(&[1, 1, 2, 2]);
    log.compact(LogIndex(3));
    assert_eq!(log.term_at(LogIndex(2)), TermAt::Compacted);
    assert_eq!(log.term_at(LogIndex(0)), TermAt::Compacted);
    assert_eq!(log.term_at(LogIndex(3)), TermAt::Known(Term(2)));
    assert_eq!(log.first_known(), LogIndex(3));
    assert_eq!(log.entry_at(LogIndex(3)), None, "its body went");
    assert_eq!(indexes(log.entries(LogIndex(4), 10, 100)), [4]);
}

#[test]
fn compacting_everything_keeps_the_end() {
    let mut log = log(&[1, 2]);
    log.compact(LogIndex(9));
    assert_eq!(log.last(), at(2, 2));
    let entry = entry_of(&log, 2, 3);
    append(&mut log, entry);
    assert_eq!(log.last(), at(2, 3));
}

#[test]
fn truncation_brings_the_earlier_term_back() {
    let mut log = log(&[1, 1, 3, 3]);
    log.truncate(LogIndex(3));
    assert_eq!(log.last(), at(1, 2));
    assert_eq!(log.term_at(LogIndex(3)), TermAt::Beyond);
    let entry = entry_of(&log, 2, 3);
    append(&mut log, entry);
    assert_eq!(log.last(), at(2, 3));
}

#[test]
#[should_panic(expected = "the log begins at")]
fn what_only_a_snapshot_has_cannot_be_cut() {
    let mut log = log(&[1, 1, 1]);
    log.compact(LogIndex(2));
    log.truncate(LogIndex(2));
}

#[test]
#[should_panic(expected = "must follow the last one")]
fn a_gap_is_refused() {
    let mut log = log(&[1]);
    let entry = entry_of(&log, 1, 3);
    append(&mut log, entry);
}

#[test]
#[should_panic(expected = "terms never fall")]
fn a_falling_term_is_refused() {
    let mut log = log(&[2]);
    let entry = entry_of(&log, 1, 2);
    append(&mut log, entry);
}

#[test]
fn windows_are_bounded_by_count_and_by_bytes() {
    let log = log(&[1; 6]);
    assert_eq!(indexes(log.entries(LogIndex(2), 3, 1_000)), [2, 3, 4]);
    assert_eq!(indexes(log.entries(LogIndex(2), 100, 25)), [2, 3]);
}

#[test]
fn an_entry_larger_than_the_bound_is_still_sent() {
    assert_eq!(indexes(log(&[1, 1]).entries(LogIndex(1), 10, 1)), [1]);
}

#[test]
fn a_conflict_skips_a_whole_term() {
    // Raft §5.3: the leader has nothing of terms 4 and 5.
    let log = log(&[1, 4, 4, 5, 5]);
    assert_eq!(log.conflict_hint(at(3, 5)), at(1, 1));
    assert_eq!(log.conflict_hint(at(4, 4)), at(4, 3));
}

#[test]
fn a_conflict_beyond_the_end_points_at_the_end() {
    assert_eq!(log(&[1, 1]).conflict_hint(at(1, 9)), at(1, 2));
}

#[test]
fn a_conflict_never_points_before_what_is_known() {
    let mut log = log(&[2, 2, 2]);
    log.compact(LogIndex(2));
    assert_eq!(log.conflict_hint(at(1, 3)), at(2, 2));
}

proptest! {
    /// The leader and a follower find the end of what their logs share by
    /// hints alone, and never step below it.
    #[test]
    fn hints_find_where_two_logs_part(
        shared in proptest::collection::vec(0u64..3, 0..8),
        ours in proptest::collection::vec(0u64..3, 0..8),
        theirs in proptest::collection::vec(0u64..3, 0..8),
    ) {
        // Steps become terms; the two tails never have a term in common.
        let grow = |steps: &[u64], from: u64, odd: u64| -> Vec<u64> {
            let mut term = from;
            steps.iter().map(|step| { term += step; term * 2 + odd }).collect()
        };
        let base = grow(&shared, 1, 0);
        let top = shared.iter().sum::<u64>() + 2;
        let leader = log(&[base.clone(), grow(&ours, top, 0)].concat());
        let follower = log(&[base.clone(), grow(&theirs, top, 1)].concat());
        let mut previous = leader.last();
        let mut rounds = 0;
        while follower.term_at(previous.index) != TermAt::Known(previous.term) {
            prop_assert!(previous.index.0 > base.len() as u64);
            let hint = follower.conflict_hint(previous);
            let after = LogPosition { term: hint.term, index: hint.index.next() };
            let agreed = leader.conflict_hint(after).index.min(hint.index);
            let next = agreed.min(previous.index.prev());
            let TermAt::Known(term) = leader.term_at(next) else {
                return Err(TestCaseError::fail("a hint points out of the log"));
            };
            previous = LogPosition { term, index: next };
            rounds += 1;
            prop_assert!(rounds <= 20, "it does not end");
        }
        prop_assert_eq!(previous.index.0, base.len() as u64);
    }
}

fn append_membership(log: &mut Log, voters: &[u64]) {
    let entry = MembershipEntry {
        membership: Membership::founding(voters.iter().copied().map(NodeId)),
        principal: Principal::cluster(),
        wall_ms: 0,
        why: Why::JointLeft,
    };
    let body = wire::membership::encode(&entry);
    let entry = log.next_entry(Term(1), EntryKind::Membership, body);
    append(log, entry);
}

#[test]
fn a_membership_is_in_force_when_appended_and_undone_when_truncated() {
    let mut log = log(&[1]);
    append_membership(&mut log, &[1, 2]);
    append_membership(&mut log, &[1, 2, 3, 4]);
    assert_eq!(log.membership_index(), LogIndex(3));
    assert_eq!(log.membership().to_string(), "n1 n2 n3 n4");
    assert_eq!(log.membership_at(LogIndex(2)).1.to_string(), "n1 n2");
    assert_eq!(log.membership_at(LogIndex(1)).1, &founding());
    log.truncate(LogIndex(3));
    assert_eq!(log.membership().to_string(), "n1 n2");
    log.truncate(LogIndex(2));
    assert_eq!(log.membership(), &founding());
    assert_eq!(log.membership_index(), LogIndex(0));
}

#[test]
fn compaction_keeps_the_membership_in_force_at_its_end() {
    let mut log = log(&[1]);
    append_membership(&mut log, &[1, 2]);
    append_membership(&mut log, &[1, 2, 3, 4]);
    log.compact(LogIndex(2));
    assert_eq!(log.membership_at(LogIndex(2)).1.to_string(), "n1 n2");
    assert_eq!(log.membership().to_string(), "n1 n2 n3 n4");
}

#[test]
fn the_chain_depends_on_every_field_before_and_comes_back_after_a_truncation() {
    let one = log(&[1, 1, 2]);
    let mut other = log(&[1, 1, 1]);
    assert_ne!(one.chain(), other.chain(), "the last term differs");
    assert_eq!(
        one.chain_before(LogIndex(3)),
        other.chain_before(LogIndex(3))
    );
    other.truncate(LogIndex(3));
    let entry = entry_of(&other, 2, 3);
    append(&mut other, entry);
    assert_eq!(one.chain(), other.chain());
    let mut longer_body = other.clone();
    longer_body.truncate(LogIndex(3));
    let entry = longer_body.next_entry(Term(2), EntryKind::Command, vec![0; 11].into());
    append(&mut longer_body, entry);
    assert_ne!(one.chain(), longer_body.chain(), "the last body differs");
}

#[test]
#[should_panic(expected = "the chain of hashes goes on")]
fn an_entry_that_was_written_behind_another_log_is_no_entry_of_this_one() {
    let other = log(&[1, 1]);
    let mut log = log(&[1, 2]);
    let entry = other.next_entry(Term(2), EntryKind::Command, Vec::new().into());
    append(&mut log, entry);
}
