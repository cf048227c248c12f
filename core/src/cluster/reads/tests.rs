use std::sync::Arc;

use super::*;
use crate::entry::EntryKind;
use crate::log::LogStart;
use crate::membership::Membership;

fn number(life: u64, count: u64) -> ReadNumber {
    ReadNumber { life, count }
}

fn asked(last: u64, wanted: u64) -> Asked {
    Asked {
        last: Some(number(7, last)),
        wanted: Some(number(7, wanted)),
        ..Asked::default()
    }
}

fn round(round: u64, commit: u64) -> Round {
    Round {
        round,
        begun: Time(round),
        commit: LogIndex(commit),
        readers: BTreeMap::new(),
    }
}

#[test]
fn the_later_of_two_questions_of_a_node_covers_both_in_any_order() {
    let mut rounds = Rounds::default();
    for count in [2, 5, 3] {
        rounds.wait(NodeId(1), number(7, count));
    }
    let waiting = rounds.take_waiting();
    assert_eq!(waiting, BTreeMap::from([(NodeId(1), number(7, 5))]));
    assert!(!rounds.is_waited_for(), "a round took them");
}

#[test]
fn a_question_of_a_new_process_takes_the_place_of_its_former_one() {
    let mut rounds = Rounds::default();
    rounds.wait(NodeId(1), number(7, 90));
    rounds.wait(NodeId(1), number(8, 1));
    assert_eq!(rounds.take_waiting()[&NodeId(1)], number(8, 1));
}

#[test]
fn answers_to_a_round_confirm_it_and_those_before_and_none_after() {
    let mut rounds = Rounds::default();
    for (nth, commit) in [(3, 10), (4, 10), (6, 12)] {
        rounds.begin(round(nth, commit));
    }
    let confirmed = rounds.take_confirmed(|round| round <= 5);
    let numbers: Vec<_> = confirmed.iter().map(|round| round.round).collect();
    assert_eq!(numbers, [3, 4]);
    assert!(rounds.take_confirmed(|round| round <= 5).is_empty());
    assert_eq!(rounds.take_confirmed(|_| true).len(), 1);
}

#[test]
fn rounds_under_way_are_bounded() {
    let mut rounds = Rounds::default();
    for nth in 1..=ROUNDS_UNDER_WAY_MAX {
        assert!(rounds.has_room());
        rounds.begin(round(nth, 1));
    }
    assert!(!rounds.has_room());
}

#[test]
#[should_panic(expected = "a round has a fresh number")]
fn a_round_never_has_the_number_of_another() {
    let mut rounds = Rounds::default();
    rounds.begin(round(3, 10));
    rounds.begin(round(3, 10));
}

#[test]
fn an_answer_to_another_process_or_to_a_question_never_asked_confirms_nothing() {
    let mut reads = asked(5, 5);
    reads.on_answer(number(8, 5), LogIndex(9));
    reads.on_answer(number(7, 6), LogIndex(9));
    assert!(reads.confirmed.is_empty());
    assert!(reads.wanted.is_some(), "it still asks");
}

#[test]
fn an_answer_to_an_earlier_question_leaves_the_later_ones_open() {
    let mut reads = asked(5, 4);
    reads.on_answer(number(7, 3), LogIndex(9));
    assert_eq!(reads.confirmed, [(number(7, 3), LogIndex(9))]);
    assert!(reads.wanted.is_some());
    reads.on_answer(number(7, 4), LogIndex(9));
    assert!(reads.wanted.is_none());
    reads.on_answer(number(7, 5), LogIndex(9));
    assert_eq!(reads.confirmed.len(), 2, "nobody waited for a third");
}

/// A log of `count` entries, the last `new` of term 2 and those before of term 1.
fn log(count: u64, new: u64) -> Log {
    let founders = Arc::new(Membership::founding([1, 2, 3].map(NodeId)));
    let mut log = Log::new(LogStart::founding(founders));
    for index in 1..=count {
        let term = Term(if index + new > count { 2 } else { 1 });
        log.gather(log.next_entry(term, EntryKind::Command, Vec::new().into()));
    }
    let _ = log.seal();
    log
}

#[test]
fn a_node_is_as_old_as_the_last_moment_at_which_it_had_all_it_was_told() {
    let (mut heard, log) = (Heard::default(), log(8, 0));
    heard.on_commit(LogIndex(5), Term(1), Time(10));
    heard.on_commit(LogIndex(5), Term(1), Time(20));
    heard.on_commit(LogIndex(8), Term(1), Time(30));
    heard.on_applied(LogIndex(7), &log);
    assert_eq!(heard.caught_up, Some(Time(20)));
    // A late copy does not make it younger than it is.
    heard.on_commit(LogIndex(6), Term(1), Time(40));
    heard.on_applied(LogIndex(7), &log);
    assert_eq!(heard.caught_up, Some(Time(20)));
    heard.on_applied(LogIndex(8), &log);
    assert_eq!(heard.caught_up, Some(Time(30)));
}

#[test]
fn a_new_leader_that_has_committed_nothing_of_its_own_makes_nobody_younger() {
    let (mut heard, log) = (Heard::default(), log(6, 1));
    heard.on_commit(LogIndex(5), Term(1), Time(10));
    heard.on_commit(LogIndex(5), Term(2), Time(20));
    heard.on_applied(LogIndex(5), &log);
    assert_eq!(heard.caught_up, None, "the predecessor may have had more");
    heard.on_commit(LogIndex(6), Term(2), Time(30));
    heard.on_applied(LogIndex(6), &log);
    assert_eq!(heard.caught_up, Some(Time(30)));
}

#[test]
fn a_node_that_lags_for_long_remembers_a_bounded_part_of_what_it_heard() {
    let (mut heard, log) = (Heard::default(), log(10 * HEARD_COMMITS_MAX, 0));
    for moment in 1..=10 * HEARD_COMMITS_MAX {
        heard.on_commit(LogIndex(moment), Term(1), Time(moment));
    }
    assert_eq!(heard.ahead.len() as u64, HEARD_COMMITS_MAX);
    heard.on_applied(LogIndex(10 * HEARD_COMMITS_MAX - 1), &log);
    assert_eq!(heard.caught_up, Some(Time(HEARD_COMMITS_MAX - 1)));
    heard.on_applied(LogIndex(10 * HEARD_COMMITS_MAX), &log);
    assert_eq!(heard.caught_up, Some(Time(10 * HEARD_COMMITS_MAX)));
}
