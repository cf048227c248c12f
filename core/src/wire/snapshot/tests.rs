use proptest::prelude::*;

use super::*;
use std::sync::Arc;

use crate::digest::StateHash;
use crate::entry::ChainHash;
use crate::ids::{LogIndex, NodeId, Term};
use crate::membership::Membership;

fn header() -> SnapshotHeader {
    SnapshotHeader {
        cluster: ClusterId([7; 16]),
        meta: SnapshotMeta {
            index: LogIndex(40),
            term: Term(3),
            chain: ChainHash(5),
            state: StateHash(0x1234 << 100 | 5),
            membership: Arc::new(Membership::founding([1, 2, 3].map(NodeId))),
        },
    }
}

fn file(state: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = SnapshotEncoder::begin(&header(), &mut out);
    encoder.state(state, &mut out);
    encoder.finish(&mut out);
    out
}

#[test]
fn a_state_of_several_chunks_reads_back() {
    let state = vec![5; SNAPSHOT_CHUNK_BYTES_MAX as usize * 2 + 17];
    assert_eq!(decode_snapshot(&file(&state)), Ok((header(), state)));
    assert_eq!(decode_snapshot(&file(&[])), Ok((header(), Vec::new())));
}

#[test]
fn no_flipped_bit_and_no_cut_passes() {
    let bytes = file(b"some state");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            decode_snapshot(&flipped).is_err(),
            "bit {bit} was not noticed"
        );
    }
    for len in 0..bytes.len() {
        assert!(
            decode_snapshot(&bytes[..len]).is_err(),
            "{len} bytes passed for a snapshot"
        );
    }
}

#[test]
fn whole_chunks_in_another_order_are_no_snapshot() {
    let mut out = Vec::new();
    let mut encoder = SnapshotEncoder::begin(&header(), &mut out);
    let start = out.len();
    encoder.state(b"first", &mut out);
    let middle = out.len();
    encoder.state(b"after", &mut out);
    let end = out.len();
    encoder.finish(&mut out);
    let swapped = [
        &out[..start],
        &out[middle..end],
        &out[start..middle],
        &out[end..],
    ]
    .concat();
    let offset = end as u64;
    assert_eq!(
        decode_snapshot(&swapped),
        Err(SnapshotError::Footer { offset })
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(decode_snapshot(&bytes).is_err());
    }
}
