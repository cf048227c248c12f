use super::*;
use crate::entry::{ChainHash, EntryKind, LogEntry};
use crate::ids::{Incarnation, Term};
use crate::message::Body;

fn entry(term: u64, index: u64) -> LogEntry {
    LogEntry {
        index: LogIndex(index),
        term: Term(term),
        chain: ChainHash(0),
        kind: EntryKind::Command,
        body: Vec::new().into(),
    }
}

fn vote(granted: bool) -> Message {
    Message {
        term: Term(1),
        incarnation: Incarnation(0),
        body: Body::VoteReply { granted },
    }
}

fn hard_state(term: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: Some(NodeId(2)),
        commit: LogIndex(0),
        repairing: None,
    }
}

fn outbox() -> Outbox {
    Outbox::new(LogIndex(0), HardState::default())
}

fn settle(outbox: &mut Outbox) -> Vec<Action> {
    let mut actions = Vec::new();
    outbox.settle(Time(0), &mut actions);
    actions
}

/// The write of a turn that has nothing else.
fn write(outbox: &mut Outbox) -> Write {
    match settle(outbox).as_slice() {
        [Action::Write(write)] => write.clone(),
        other => panic!("one write was expected, not {other:?}"),
    }
}

fn says(actions: &[Action]) -> usize {
    let say = |action: &&Action| matches!(action, Action::Say { .. });
    actions.iter().filter(say).count()
}

#[test]
fn what_a_turn_adds_and_takes_away_again_is_not_cut_from_the_disk() {
    let mut outbox = outbox();
    outbox.append(entry(1, 1).into());
    write(&mut outbox);
    // Two leaders' entries for one place, in one turn.
    outbox.append(entry(2, 2).into());
    outbox.truncate(LogIndex(2));
    outbox.append(entry(3, 2).into());
    let second = write(&mut outbox);
    assert_eq!(second.truncate_from, None);
    assert_eq!(second.entries[..], [entry(3, 2)]);
    outbox.append(entry(3, 3).into());
    outbox.truncate(LogIndex(2));
    outbox.append(entry(4, 2).into());
    outbox.append(entry(4, 3).into());
    outbox.truncate(LogIndex(3));
    let third = write(&mut outbox);
    assert_eq!(third.truncate_from, Some(LogIndex(2)));
    assert_eq!(third.entries[..], [entry(4, 2)]);
}

#[test]
fn a_turn_is_one_write() {
    let mut outbox = outbox();
    outbox.set_hard_state(hard_state(1));
    outbox.append(entry(1, 1).into());
    outbox.append(entry(1, 2).into());
    let write = write(&mut outbox);
    assert_eq!(write.id, WriteId(1));
    assert_eq!(write.hard_state, Some(hard_state(1)));
    assert_eq!(write.entries[..], [entry(1, 1), entry(1, 2)]);
    assert_eq!(settle(&mut outbox), [], "nothing is written twice");
}

#[test]
fn a_vote_waits_for_its_own_write() {
    let mut outbox = outbox();
    outbox.set_hard_state(hard_state(1));
    outbox.say_durable(NodeId(2), vote(true));
    assert_eq!(says(&settle(&mut outbox)), 0);
    assert!(!outbox.is_hard_state_durable());
    outbox.on_durable(WriteId(1));
    assert!(outbox.is_hard_state_durable());
    assert_eq!(says(&settle(&mut outbox)), 1);
}

#[test]
fn a_promise_waits_for_earlier_writes_too() {
    let mut outbox = outbox();
    outbox.append(entry(1, 1).into());
    settle(&mut outbox);
    // This turn writes nothing, but an earlier write is on its way.
    outbox.say_durable(NodeId(2), vote(false));
    assert_eq!(says(&settle(&mut outbox)), 0);
    outbox.on_durable(WriteId(1));
    assert_eq!(says(&settle(&mut outbox)), 1);
}

#[test]
fn what_depends_on_nothing_leaves_at_once() {
    let mut outbox = outbox();
    outbox.append(entry(1, 1).into());
    outbox.say(NodeId(2), vote(false));
    assert_eq!(says(&settle(&mut outbox)), 1);
    outbox.on_durable(WriteId(1));
    outbox.say_durable(NodeId(2), vote(true));
    assert_eq!(says(&settle(&mut outbox)), 1, "nothing is on its way");
}

#[test]
fn completions_are_cumulative() {
    let mut outbox = outbox();
    for index in 1..=3 {
        outbox.append(entry(1, index).into());
        outbox.say_durable(NodeId(2), vote(true));
        settle(&mut outbox);
    }
    outbox.on_durable(WriteId(2));
    assert_eq!(outbox.durable(), LogIndex(2));
    assert_eq!(says(&settle(&mut outbox)), 2);
    assert!(outbox.is_writing());
}

#[test]
fn unknown_and_repeated_completions_change_nothing() {
    let mut outbox = outbox();
    outbox.on_durable(WriteId(7));
    outbox.append(entry(1, 1).into());
    assert_eq!(outbox.durable(), LogIndex(0));
    settle(&mut outbox);
    outbox.on_durable(WriteId(0));
    assert_eq!(outbox.durable(), LogIndex(0));
    outbox.on_durable(WriteId(1));
    outbox.on_durable(WriteId(1));
    assert_eq!(outbox.durable(), LogIndex(1));
}

#[test]
fn what_is_gathered_and_not_handed_out_is_not_durable() {
    let mut outbox = outbox();
    outbox.append(entry(1, 1).into());
    settle(&mut outbox);
    outbox.append(entry(1, 2).into());
    outbox.on_durable(WriteId(1));
    assert_eq!(outbox.durable(), LogIndex(1));
}

// ra:324d9bc5, raft-rs:7e7322b: a late completion confirmed rewritten entries.
#[test]
fn a_late_completion_does_not_confirm_rewritten_entries() {
    let mut outbox = outbox();
    outbox.append(entry(1, 1).into());
    outbox.append(entry(1, 2).into());
    settle(&mut outbox);
    outbox.truncate(LogIndex(2));
    outbox.append(entry(2, 2).into());
    let second = write(&mut outbox);
    assert_eq!(second.truncate_from, Some(LogIndex(2)));
    outbox.on_durable(WriteId(1));
    assert_eq!(outbox.durable(), LogIndex(1), "i2 is another one now");
    outbox.on_durable(WriteId(2));
    assert_eq!(outbox.durable(), LogIndex(2));
}

// ra:39490978: the persisted index was not lowered on truncation.
#[test]
fn truncation_lowers_what_is_durable() {
    let mut outbox = Outbox::new(LogIndex(5), HardState::default());
    outbox.truncate(LogIndex(3));
    assert_eq!(outbox.durable(), LogIndex(2));
    assert_eq!(write(&mut outbox).truncate_from, Some(LogIndex(3)));
}

#[test]
fn truncation_takes_back_what_was_gathered() {
    let mut outbox = outbox();
    outbox.append(entry(1, 1).into());
    outbox.append(entry(1, 2).into());
    outbox.truncate(LogIndex(2));
    outbox.append(entry(3, 2).into());
    assert_eq!(write(&mut outbox).entries[..], [entry(1, 1), entry(3, 2)]);
}

#[test]
fn two_truncations_of_a_turn_are_the_deeper_one() {
    let mut outbox = Outbox::new(LogIndex(9), HardState::default());
    outbox.truncate(LogIndex(4));
    outbox.append(entry(2, 4).into());
    outbox.truncate(LogIndex(3));
    outbox.append(entry(3, 3).into());
    let write = write(&mut outbox);
    assert_eq!(write.truncate_from, Some(LogIndex(3)));
    assert_eq!(write.entries[..], [entry(3, 3)]);
}

#[test]
fn a_commit_alone_is_no_reason_to_write() {
    let mut outbox = Outbox::new(LogIndex(2), HardState::default());
    outbox.set_commit(LogIndex(2));
    assert_eq!(settle(&mut outbox), []);
    outbox.append(entry(1, 3).into());
    let told = write(&mut outbox).hard_state.expect("it goes along");
    assert_eq!(told.commit, LogIndex(2));
    outbox.append(entry(1, 4).into());
    assert_eq!(write(&mut outbox).hard_state, None, "told once");
}

#[test]
fn the_disk_never_hears_of_a_commit_that_it_does_not_hold() {
    let mut outbox = outbox();
    outbox.append(entry(1, 1).into());
    outbox.set_commit(LogIndex(1));
    assert_eq!(write(&mut outbox).hard_state, None);
    outbox.on_durable(WriteId(1));
    outbox.set_commit(LogIndex(1));
    outbox.append(entry(1, 2).into());
    let told = write(&mut outbox).hard_state.expect("it goes along");
    assert_eq!(told.commit, LogIndex(1));
}

#[test]
fn a_new_vote_keeps_the_commit() {
    let mut outbox = Outbox::new(LogIndex(2), HardState::default());
    outbox.set_commit(LogIndex(2));
    outbox.set_hard_state(hard_state(3));
    let told = write(&mut outbox).hard_state.expect("it changed");
    assert_eq!((told.term, told.commit), (Term(3), LogIndex(2)));
}

#[test]
#[should_panic(expected = "writes are consecutive")]
fn a_gap_is_refused() {
    outbox().append(entry(1, 2).into());
}

#[test]
fn the_oldest_write_without_an_answer_is_known_with_its_time() {
    let mut outbox = outbox();
    let written_at = |outbox: &mut Outbox, time, index| {
        outbox.append(entry(1, index).into());
        outbox.settle(Time(time), &mut Vec::new());
    };
    assert_eq!(outbox.oldest_unconfirmed(), None);
    written_at(&mut outbox, 10, 1);
    written_at(&mut outbox, 20, 2);
    written_at(&mut outbox, 30, 3);
    assert_eq!(outbox.oldest_unconfirmed(), Some(Time(10)));
    assert_eq!(outbox.on_durable(WriteId(2)), Some(Time(10)));
    assert_eq!(outbox.oldest_unconfirmed(), Some(Time(30)));
    assert_eq!(outbox.on_durable(WriteId(1)), None, "that is no news");
    assert_eq!(outbox.on_durable(WriteId(3)), Some(Time(30)));
    assert_eq!(outbox.oldest_unconfirmed(), None);
}
