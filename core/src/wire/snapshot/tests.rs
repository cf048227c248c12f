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

#[test]
fn a_file_that_was_cut_off_anywhere_goes_on_from_its_last_good_chunk() {
    let parts = [&b"first"[..], b"second", b"third"];
    let mut whole = Vec::new();
    let mut encoder = SnapshotEncoder::begin(&header(), &mut whole);
    let mut ends = vec![whole.len()];
    for part in parts {
        encoder.state(part, &mut whole);
        ends.push(whole.len());
    }
    encoder.finish(&mut whole);
    for len in ends[0]..=whole.len() {
        // What is behind the cut is whatever the disk had there.
        let mut torn = whole[..len].to_vec();
        torn.extend([0; 30]);
        let SnapshotBeginning {
            header: found,
            state,
            file_bytes,
            mut encoder,
        } = decode_beginning(&torn).unwrap();
        let count = ends.iter().filter(|end| **end <= len).count() - 1;
        assert_eq!((found, file_bytes), (header(), ends[count] as u64));
        assert_eq!(state, parts[..count].concat(), "cut at {len}");
        torn.truncate(ends[count]);
        for part in &parts[count..] {
            encoder.state(part, &mut torn);
        }
        encoder.finish(&mut torn);
        assert_eq!(torn, whole, "as if it had never been cut");
    }
    assert!(decode_beginning(&whole[..ends[0] - 1]).is_err());
}

#[test]
fn a_reader_finds_every_chunk_without_reading_them_all() {
    let state = vec![9; SNAPSHOT_CHUNK_BYTES_MAX as usize + 5];
    let file = file(&state);
    let (found, mut at) = read_snapshot_header(&file).unwrap();
    assert_eq!(found, header());
    let mut lengths = Vec::new();
    let head = |at: u64| {
        let bytes = &file[at as usize..][..ChunkHead::BYTES as usize];
        ChunkHead::read(bytes.try_into().unwrap())
    };
    while let Some(chunk) = head(at) {
        let start = (at + ChunkHead::BYTES) as usize;
        let bytes = &file[start..start + chunk.chunk_bytes as usize];
        assert!(chunk.fits(bytes) && !chunk.fits(&bytes[1..]));
        lengths.push(u64::from(chunk.chunk_bytes));
        at = (start + bytes.len()) as u64;
    }
    assert_eq!(lengths, [SNAPSHOT_CHUNK_BYTES_MAX, 5]);
    assert_eq!(file.len() as u64 - at, SNAPSHOT_FOOTER_BYTES);
    let (total, _) = read_footer(&file[at as usize..]).unwrap();
    assert_eq!(total, state.len() as u64);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(decode_snapshot(&bytes).is_err());
    }
}
