use proptest::prelude::*;

use super::{DecodeError, command, message};
use crate::bytes::Bytes;
use crate::command::{Command, Entry};
use crate::entry::{ChainHash, EntryKind, LogEntry};
use crate::ids::{Incarnation, LogIndex, NodeId, Sequence, Term};
use crate::message::{Append, Body, Loan, LogPosition, Message};
use crate::principal::Principal;
use crate::time::Stamp;

fn append(first: u64, entry_term: u64) -> Message {
    let entry = LogEntry {
        index: LogIndex(first),
        term: Term(entry_term),
        chain: ChainHash(0),
        kind: EntryKind::Command,
        body: Bytes::from(vec![1, 2, 3]),
    };
    let append = Append {
        previous: LogPosition {
            term: Term(1),
            index: LogIndex(4),
        },
        entries: entry.into(),
        commit: LogIndex(3),
        held_by_all: LogIndex(2),
        round: 9,
        state_hash: None,
    };
    Message {
        term: Term(2),
        incarnation: Incarnation(7),
        body: Body::Append(append),
    }
}

#[test]
fn a_message_survives_the_wire() {
    let sent = append(5, 2);
    assert_eq!(message::decode(&message::encode(&sent)), Ok(sent));
}

#[test]
fn entries_that_do_not_follow_the_previous_one_are_refused() {
    let error = message::decode(&message::encode(&append(7, 2))).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
}

#[test]
fn an_entry_of_a_later_term_than_its_message_is_refused() {
    let error = message::decode(&message::encode(&append(5, 3))).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
}

#[test]
fn an_entry_of_an_earlier_term_than_the_one_before_is_refused() {
    let error = message::decode(&message::encode(&append(5, 0))).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
}

fn loan(first: u64, entry_term: u64) -> Message {
    let Body::Append(append) = append(first, entry_term).body else {
        unreachable!("it was just made");
    };
    Message {
        term: Term(2),
        incarnation: Incarnation(7),
        body: Body::Lend(Loan {
            previous: append.previous,
            entries: append.entries,
        }),
    }
}

#[test]
fn a_loan_is_held_to_what_an_append_is_held_to() {
    let sent = loan(5, 2);
    assert_eq!(message::decode(&message::encode(&sent)), Ok(sent));
    for bad in [loan(7, 2), loan(5, 3), loan(5, 0)] {
        let error = message::decode(&message::encode(&bad)).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
    }
}

#[test]
fn an_entry_survives_the_log() {
    let entry = Entry {
        t: Stamp(7),
        wall_ms: 8,
        principal: Principal("alice".into()),
        request: None,
        acknowledged: Sequence(0),
        command: Command::TakeOver {
            term: Term(3),
            node: NodeId(1),
        },
    };
    assert_eq!(command::decode(&command::encode(&entry)), Ok(entry));
}

#[test]
fn another_version_is_named_in_the_error() {
    let mut bytes = message::encode(&append(5, 2));
    bytes[0] = 77;
    assert_eq!(
        message::decode(&bytes),
        Err(DecodeError::Version {
            found: 77,
            expected: message::VERSION
        })
    );
}

#[test]
fn bytes_left_over_are_refused() {
    let mut bytes = message::encode(&append(5, 2));
    bytes.push(0);
    assert_eq!(message::decode(&bytes), Err(DecodeError::Trailing(1)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = message::VERSION;
        }
        // Whatever decodes must encode to what decodes again.
        if let Ok(found) = message::decode(&bytes) {
            prop_assert_eq!(message::decode(&message::encode(&found)), Ok(found));
        }
        if let Ok(found) = command::decode(&bytes) {
            prop_assert_eq!(command::decode(&command::encode(&found)), Ok(found));
        }
    }
}
