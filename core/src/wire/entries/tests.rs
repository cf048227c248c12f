use proptest::prelude::*;

use super::*;
use crate::ids::LogIndex;

const PREVIOUS: LogPosition = LogPosition {
    term: Term(3),
    index: LogIndex(1_000_000),
};

/// Entries as a leader has them: each behind the one before.
fn chained(bodies: &[Vec<u8>]) -> Vec<LogEntry> {
    let mut chain = ChainHash(0x0123_4567_89ab_cdef);
    let mut entries = Vec::new();
    for (index, body) in (PREVIOUS.index.0 + 1..).zip(bodies) {
        let entry = LogEntry {
            index: LogIndex(index),
            // A new leader in the middle.
            term: Term(if index > PREVIOUS.index.0 + 2 { 5 } else { 3 }),
            chain,
            kind: match body.len() {
                3 => EntryKind::Membership,
                _ => EntryKind::Command,
            },
            body: Bytes::from(&body[..]),
        };
        chain = entry.chain_after();
        entries.push(entry);
    }
    entries
}

fn encoded(entries: &[LogEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(PREVIOUS, entries, &mut bytes);
    bytes
}

#[test]
fn an_entry_costs_two_bytes_beside_its_body() {
    for body_bytes in [32, 256] {
        let bodies = vec![vec![7; body_bytes]; 102];
        let cost = |count| encoded(&chained(&bodies[..count])).len();
        let each = (cost(102) - cost(2)) / 100;
        assert_eq!(each, body_bytes + 2);
    }
}

#[test]
fn a_link_that_does_not_follow_arrives_as_it_was_sent() {
    let mut entries = chained(&[vec![1], vec![2], vec![4]]);
    entries[1].chain = ChainHash(77);
    assert_eq!(decode(PREVIOUS, &encoded(&entries)), Ok(entries));
}

#[test]
fn a_body_changed_on_its_way_is_noticed_even_in_the_last_entry() {
    let entries = chained(&[vec![1; 9], vec![2; 9]]);
    let bytes = encoded(&entries);
    for changed in [bytes.len() - 9, bytes.len() - 9 - 10] {
        let mut bytes = bytes.clone();
        bytes[changed] ^= 1;
        let error = decode(PREVIOUS, &bytes).unwrap_err();
        assert!(error.to_string().contains("end with hash"), "{error}");
    }
}

#[test]
fn too_many_entries_and_too_large_ones_are_refused_before_they_are_read() {
    let mut bytes = Vec::new();
    put_varint(APPEND_ENTRIES_MAX + 1, &mut bytes);
    assert!(matches!(
        decode(PREVIOUS, &bytes),
        Err(DecodeError::TooLarge { .. })
    ));
    let mut bytes = Vec::new();
    put_varint(1, &mut bytes);
    put_varint((ENTRY_BYTES_MAX + 1) << FLAG_BITS, &mut bytes);
    assert!(matches!(
        decode(PREVIOUS, &bytes),
        Err(DecodeError::TooLarge { .. })
    ));
}

#[test]
fn an_entry_behind_the_last_index_is_refused() {
    let mut bytes = encoded(&chained(&[vec![1]]));
    let last = LogPosition {
        index: LogIndex(u64::MAX),
        ..PREVIOUS
    };
    assert!(decode(last, &bytes).is_err());
    bytes.push(0);
    assert_eq!(decode(PREVIOUS, &bytes), Err(DecodeError::Trailing(1)));
}

proptest! {
    #[test]
    fn numbers_have_one_spelling(value in any::<u64>(), extra in any::<u8>()) {
        let mut bytes = Vec::new();
        put_varint(value, &mut bytes);
        let mut rest = &bytes[..];
        prop_assert_eq!(varint(&mut rest), Ok(value));
        prop_assert!(rest.is_empty());
        let last = bytes.len() - 1;
        bytes[last] |= 0x80;
        bytes.push(0);
        prop_assert!(varint(&mut &bytes[..]).is_err());
        bytes[last + 1] = extra;
        // Whatever follows: a number or a refusal.
        let _ = varint(&mut &bytes[..]);
    }

    #[test]
    fn entries_survive_whatever_is_in_them(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        broken in proptest::option::of(0usize..20),
    ) {
        let mut entries = chained(&bodies);
        if let Some(entry) = broken.and_then(|at| entries.get_mut(at)) {
            entry.chain = ChainHash(5);
        }
        prop_assert_eq!(decode(PREVIOUS, &encoded(&entries)), Ok(entries));
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_never_taken_for_what_was_sent(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8),
        bit in any::<proptest::sample::Index>(), cut in any::<proptest::sample::Index>(),
    ) {
        let entries = chained(&bodies);
        let bytes = encoded(&entries);
        let mut flipped = bytes.clone();
        let bit = bit.index(bytes.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode(PREVIOUS, &flipped) != Ok(entries));
        prop_assert!(decode(PREVIOUS, &bytes[..cut.index(bytes.len())]).is_err());
    }
}
