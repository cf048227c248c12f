//! What the fuzzers try, as plain functions, so that ordinary tests replay
//! their corpus. A function panics if what it claims does not hold.

use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{ClusterId, Incarnation, NodeId};
use precentor_core::wire::frame::{FrameDecoder, encode_frame};
use precentor_core::wire::hello::{HELLO_BYTES, Hello, WireRange, WireVersion};
use precentor_core::wire::log_writer::SEGMENT_BYTES_MIN;
use precentor_core::wire::message;
use precentor_core::wire::record::LogIdentity;
use precentor_core::wire::recover::recover;

#[path = "fuzz/turns.rs"]
mod turns;

pub use self::turns::{Seen, turns};

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

/// The bytes are what a peer says first.
///
/// # Panics
/// If they are taken for a hello that they are not, or answering them panics.
pub fn hello(data: &[u8]) {
    let Ok(theirs) = Hello::decode(data) else {
        return;
    };
    assert_eq!(
        theirs.encode(),
        data[..HELLO_BYTES as usize],
        "a hello was misread"
    );
    let ours = Hello {
        versions: WireRange::OURS,
        cluster: IDENTITY.cluster,
        from: IDENTITY.node,
        incarnation: Incarnation(IDENTITY.incarnation),
        to: NodeId(2),
        supports: FeatureLevel::LATEST,
        requires: FeatureLevel::FOUNDING,
        nonce: 1,
    };
    if let Ok(agreement) = ours.agree(&theirs, |node| node == NodeId(2)) {
        assert_eq!(agreement.peer, NodeId(2));
        let version = agreement.version;
        assert!(version >= ours.versions.min && version <= ours.versions.max);
        assert!(version >= theirs.versions.min && version <= theirs.versions.max);
    }
}

/// The bytes are a message of either version, as their first byte says.
///
/// # Panics
/// If what decodes does not encode to what decodes to the same.
pub fn peer_message(data: &[u8]) {
    for version in [WireVersion::FIRST, WireVersion::SECOND] {
        if let Ok(found) = message::decode(data, version) {
            let again = message::decode(&message::encode(&found, version), version);
            assert_eq!(again.as_ref(), Ok(&found), "a message changed on its way");
        }
    }
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
