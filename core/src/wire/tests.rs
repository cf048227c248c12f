use proptest::prelude::*;

use super::hello::WireVersion;
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

const VERSIONS: [WireVersion; 2] = [WireVersion::FIRST, WireVersion::SECOND];

/// What both versions make of a message: the same.
fn decoded(sent: &Message) -> Result<Message, DecodeError> {
    let [first, second] =
        VERSIONS.map(|version| message::decode(&message::encode(sent, version), version));
    assert_eq!(first, second);
    first
}

#[test]
fn a_message_survives_the_wire() {
    let sent = append(5, 2);
    assert_eq!(decoded(&sent), Ok(sent));
}

/// In version 2 an index cannot even be said that does not follow.
fn decoded_first(sent: &Message) -> Result<Message, DecodeError> {
    message::decode(
        &message::encode(sent, WireVersion::FIRST),
        WireVersion::FIRST,
    )
}

#[test]
fn entries_that_do_not_follow_the_previous_one_are_refused() {
    let error = decoded_first(&append(7, 2)).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
}

#[test]
fn an_entry_of_a_later_term_than_its_message_is_refused() {
    let error = decoded(&append(5, 3)).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
}

#[test]
fn an_entry_of_an_earlier_term_than_the_one_before_is_refused() {
    let error = decoded(&append(5, 0)).unwrap_err();
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
    assert_eq!(decoded(&sent), Ok(sent));
    let error = decoded_first(&loan(7, 2)).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
    for bad in [loan(5, 3), loan(5, 0)] {
        let error = decoded(&bad).unwrap_err();
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
    for version in VERSIONS {
        let mut bytes = message::encode(&append(5, 2), version);
        bytes[0] = 77;
        assert_eq!(
            message::decode(&bytes, version),
            Err(DecodeError::Version {
                found: 77,
                expected: version.0 as u8
            })
        );
    }
}

#[test]
fn bytes_left_over_are_refused() {
    for version in VERSIONS {
        for message in [append(5, 2), timeout_now()] {
            let mut bytes = message::encode(&message, version);
            bytes.push(0);
            assert_eq!(
                message::decode(&bytes, version),
                Err(DecodeError::Trailing(1))
            );
        }
    }
}

fn timeout_now() -> Message {
    Message {
        body: Body::TimeoutNow,
        ..append(5, 2)
    }
}

#[test]
fn entries_where_version_2_has_none_are_refused() {
    let mut bytes = super::encode(2, &append(5, 2));
    bytes.push(0);
    let error = message::decode(&bytes, WireVersion::SECOND).unwrap_err();
    assert!(
        error.to_string().contains("where version 2 has none"),
        "{error}"
    );
}

/// A message whose list has one element more than any may, of one byte each.
#[test]
fn lists_of_many_tiny_elements_are_refused_at_their_bound() {
    let entries = |count| Message {
        body: Body::Bodies {
            bodies: vec![Bytes::default(); count],
        },
        ..append(5, 2)
    };
    assert!(decoded(&entries(256)).is_ok());
    let error = decoded(&entries(257)).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
}

/// An append of entries as a leader in its millionth entry has them.
fn append_of(count: usize, body_bytes: usize) -> Message {
    let previous = LogPosition {
        term: Term(40),
        index: LogIndex(1_000_000),
    };
    let mut chain = ChainHash(0x0123_4567_89ab_cdef);
    let entries = (1..=count as u64).map(|nth| {
        let entry = LogEntry {
            index: LogIndex(previous.index.0 + nth),
            term: previous.term,
            chain,
            kind: EntryKind::Command,
            body: Bytes::from(vec![nth as u8; body_bytes]),
        };
        chain = entry.chain_after();
        entry
    });
    let entries = entries.collect();
    let Body::Append(append) = append(5, 2).body else {
        unreachable!("it was just made");
    };
    Message {
        term: previous.term,
        incarnation: Incarnation(7),
        body: Body::Append(Append {
            previous,
            entries,
            ..append
        }),
    }
}

/// The figures of `docs/decisions/0012-wire-versions.md`, in bytes for 100 entries.
#[test]
fn an_entry_costs_2_bytes_beside_its_body_where_it_did_cost_16() {
    for (body_bytes, first, second) in [(32, 4_760, 3_400), (256, 27_260, 25_800)] {
        let cost = |version| {
            let bytes = |count| message::encode(&append_of(count, body_bytes), version).len();
            bytes(102) - bytes(2)
        };
        let (before, after) = (cost(WireVersion::FIRST), cost(WireVersion::SECOND));
        assert!(before.abs_diff(first) < 50, "{body_bytes}: {before}");
        assert_eq!(after, second, "{body_bytes}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200), second in any::<bool>(),
    ) {
        let version = VERSIONS[usize::from(second)];
        if let Some(first) = bytes.first_mut() {
            *first = version.0 as u8;
        }
        // Whatever decodes must encode to what decodes again.
        if let Ok(found) = message::decode(&bytes, version) {
            prop_assert_eq!(message::decode(&message::encode(&found, version), version), Ok(found));
        }
        if let Ok(found) = command::decode(&bytes) {
            prop_assert_eq!(command::decode(&command::encode(&found)), Ok(found));
        }
    }

    #[test]
    fn messages_changed_anywhere_are_refused_or_mean_something(
        nth in any::<proptest::sample::Index>(), at in any::<proptest::sample::Index>(),
        byte in any::<u8>(), cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let samples = super::golden::samples();
        for version in VERSIONS {
            let mut bytes = message::encode(&samples[nth.index(samples.len())], version);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(found) = message::decode(&bytes, version) {
                let again = message::decode(&message::encode(&found, version), version);
                prop_assert_eq!(again, Ok(found));
            }
        }
    }
}
