//! What a peer sends may cost its receiver only so much memory, whatever it
//! announces: measured by counting what decoding allocates. Alone in its
//! program, because the count is of the whole process.

// A test that cannot make its bytes has failed.
#![allow(clippy::unwrap_used)]

use alloc_tracker::{Allocator, Session};
use precentor_core::digest::Digest;
use precentor_core::entry::{ChainHash, EntryKind, LogEntry};
use precentor_core::ids::{Incarnation, LogIndex, NodeId, Term};
use precentor_core::limits::FRAME_BYTES_MAX;
use precentor_core::membership::Membership;
use precentor_core::message::{Append, Body, LogPosition, Message};
use precentor_core::random::Random;
use precentor_core::snapshot::SnapshotMeta;
use precentor_core::wire::hello::{Hello, WireVersion};
use precentor_core::wire::message::{decode, encode};

#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

/// What lists of small things may take, whatever was sent: the largest is 1,024
/// entries, and a list that grows is copied.
const SMALL_THINGS_BYTES: u64 = 512 * 1024;

/// Bytes that were allocated by `act`, all together.
fn allocated(act: impl FnOnce()) -> u64 {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("decoding");
    {
        let _span = operation.measure_thread().iterations(1);
        act();
    }
    let report = session.to_report();
    report
        .operations()
        .map(|(_, measured)| measured.total_bytes_allocated())
        .sum()
}

fn samples() -> Vec<Message> {
    let index = LogIndex(9);
    let mut chain = ChainHash(7);
    let entries: Vec<_> = (5..9)
        .map(|index| {
            let entry = LogEntry {
                index: LogIndex(index),
                term: Term(2),
                chain,
                kind: EntryKind::Command,
                body: vec![7; 20].into(),
            };
            chain = entry.chain_after();
            entry
        })
        .collect();
    let bodies = [
        Body::Append(Append {
            previous: LogPosition {
                term: Term(2),
                index: LogIndex(4),
            },
            entries: entries.into(),
            commit: LogIndex(4),
            held_by_all: LogIndex(3),
            round: 1,
            state_hash: None,
        }),
        Body::BodiesFetch {
            digests: vec![Digest([7; 32]); 3],
        },
        Body::Bodies {
            bodies: vec![vec![1, 2, 3].into(), Vec::new().into()],
        },
        Body::SnapshotOffer(SnapshotMeta {
            index,
            term: Term(2),
            chain: ChainHash(1),
            state: Default::default(),
            membership: Membership::founding([1, 2, 3].map(NodeId)).into(),
        }),
        Body::SnapshotFetch { index, offset: 3 },
    ];
    let message = |body| Message {
        term: Term(3),
        incarnation: Incarnation(5),
        body,
    };
    bodies.map(message).to_vec()
}

/// All that is decoded from `bytes` may take so much.
fn is_bounded(bytes: &[u8], version: WireVersion) {
    let took = allocated(|| {
        let _ = decode(bytes, version);
    });
    // Bodies are copied once; a refusal's words may quote a little.
    let bound = 2 * bytes.len() as u64 + SMALL_THINGS_BYTES;
    assert!(
        took <= bound,
        "{} bytes of version {version} took {took}; the bound is {bound}; they begin with {:02x?}",
        bytes.len(),
        &bytes[..bytes.len().min(32)]
    );
}

/// One test: others beside it would be counted too.
#[test]
fn decoding_allocates_no_more_than_its_bound_whatever_comes() {
    let some = allocated(|| drop(vec![0u8; 1_000]));
    assert!(some >= 1_000, "the allocator does not count: {some}");
    let mut random = Random::new(7);
    for version in [WireVersion::FIRST, WireVersion::SECOND] {
        for message in samples() {
            let valid = encode(&message, version);
            is_bounded(&valid, version);
            // Any byte becomes the beginning of a huge number, and as many tiny
            // elements follow as fit a frame.
            for at in 1..valid.len() {
                for filler in [0, 1] {
                    let mut bytes = valid[..at].to_vec();
                    bytes.extend([0xff, 0xff, 0xff, 0x7f]);
                    bytes.resize(64 * 1024, filler);
                    is_bounded(&bytes, version);
                }
            }
            for _ in 0..2_000 {
                let mut bytes = valid.clone();
                for _ in 0..random.between(1, 4) {
                    let at = random.between(0, bytes.len() as u64 - 1) as usize;
                    bytes[at] = random.between(0, 255) as u8;
                }
                is_bounded(&bytes, version);
            }
        }
        let mut largest = encode(&samples()[2], version);
        let count_at = largest.len() - 6;
        largest.truncate(count_at);
        largest.extend([0xff, 0xff, 0xff, 0x7f]);
        largest.resize(FRAME_BYTES_MAX as usize, 0);
        is_bounded(&largest, version);
    }
    let endless = vec![7; FRAME_BYTES_MAX as usize];
    let took = allocated(|| {
        let _ = Hello::decode(&endless);
    });
    assert_eq!(took, 0, "a hello is refused before anything is held for it");
}
