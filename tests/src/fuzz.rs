//! What the fuzzers try, as plain functions, so that ordinary tests replay
//! their corpus. A function panics if what it claims does not hold.

use precentor_core::ids::{ClusterId, NodeId};
use precentor_core::wire::frame::{FrameDecoder, encode_frame};
use precentor_core::wire::log_writer::SEGMENT_BYTES_MIN;
use precentor_core::wire::record::LogIdentity;
use precentor_core::wire::recover::recover;

/// Whose log the `recover` target reads.
pub const IDENTITY: LogIdentity = LogIdentity {
    cluster: ClusterId([7; 16]),
    node: NodeId(1),
    incarnation: 11,
};

/// The bytes are a stream from a peer. The first says how it is cut into pieces.
///
/// # Panics
/// If what comes out depends on the pieces, or is not what was framed.
pub fn frame(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else {
        return;
    };
    let whole = bodies(stream, stream.len().max(1));
    let pieces = bodies(stream, usize::from(*piece).max(1));
    assert_eq!(whole, pieces, "the pieces changed what arrived");
    let mut again = Vec::new();
    for body in &whole {
        encode_frame(body, &mut again).expect("a body that arrived can be sent");
    }
    assert!(
        stream.starts_with(&again),
        "what arrived is not what was sent"
    );
}

fn bodies(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut decoder = FrameDecoder::new();
    let mut bodies = Vec::new();
    for bytes in stream.chunks(piece) {
        decoder.push(bytes);
        while let Ok(Some(body)) = decoder.next_frame() {
            bodies.push(body.to_vec());
        }
        assert!(decoder.pending_bytes() <= stream.len() as u64);
    }
    bodies
}

/// The bytes are the segment files of a voter's log: `[len u32][bytes]` each,
/// filled up with zeros to a segment's size.
///
/// # Panics
/// If recovery panics, reads the same bytes differently twice, or hands out a
/// place that is not within its file.
pub fn recovery(mut data: &[u8]) {
    let mut files = Vec::new();
    // Few files: each is as large as a segment, however little of it is given.
    while let Some((len, rest)) = data.split_first_chunk::<4>()
        && files.len() < 8
    {
        let len = rest.len().min(u32::from_le_bytes(*len) as usize);
        let (bytes, rest) = rest.split_at(len);
        let mut file = bytes.to_vec();
        file.resize(len.max(SEGMENT_BYTES_MIN as usize), 0);
        files.push(file);
        data = rest;
    }
    let read = || {
        let numbered = files
            .iter()
            .zip(1..)
            .map(|(file, number)| (number, &file[..]));
        recover(IDENTITY, SEGMENT_BYTES_MIN, numbered)
    };
    match (read(), read()) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.writer, second.writer, "recovery changed its mind");
            for (index, place) in first.writer.map().iter() {
                let file = &files[place.segment as usize - 1];
                let end = u64::from(place.offset) + 64 + u64::from(place.body_bytes);
                assert!(end <= file.len() as u64, "{index} lies outside its file");
            }
        }
        (first, second) => assert_eq!(first.err(), second.err(), "recovery changed its mind"),
    }
}
