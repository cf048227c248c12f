//! The bytes of each format as they were when it was made: a change here is a
//! change of format, and needs a new version.
//!
//! Here: frames, files and the hello. `messages` has what voters say, `commands`
//! what log entries hold.

mod commands;
mod messages;

pub(super) use messages::samples;

use std::sync::Arc;

use crate::digest::StateHash;
use crate::entry::{ChainHash, EntryKind, HardState, LogEntry, WriteBatch};
use crate::feature::FeatureLevel;
use crate::ids::{ClusterId, Incarnation, LogIndex, NodeId, Term};
use crate::membership::Membership;
use crate::snapshot::SnapshotMeta;
use crate::wire::frame::{Seal, SealKey, encode_frame, encode_sealed};
use crate::wire::hello::{HELLO_BYTES, Hello, WireRange};
use crate::wire::identity::IdentityFile;
use crate::wire::log_writer::{LogWriter, SEGMENT_BYTES_MIN, Step};
use crate::wire::record::{BLOCK_BYTES, Header, Kind, LogIdentity};
use crate::wire::snapshot::{SnapshotEncoder, SnapshotHeader};

const LOG: LogIdentity = LogIdentity {
    cluster: ClusterId([7; 16]),
    node: NodeId(1),
    incarnation: 11,
};

/// Compares with `golden/NAME.hex`; `BLESS=1` rewrites it.
fn check(name: &str, bytes: &[u8]) {
    let path = format!("{}/src/wire/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let line = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let mut text: String = bytes[..end]
        .chunks(32)
        .map(|bytes| line(bytes) + "\n")
        .collect();
    text += &format!("zeros to {}\n", bytes.len());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        text,
        "{name}: the format moved"
    );
}

#[test]
fn a_frame_looks_as_it_did() {
    let mut frame = Vec::new();
    encode_frame(b"a message", &mut frame).unwrap();
    check("frame", &frame);
}

fn hello(from: u64, to: u64) -> Hello {
    Hello {
        versions: WireRange::OURS,
        cluster: LOG.cluster,
        from: NodeId(from),
        incarnation: Incarnation(11),
        to: NodeId(to),
        supports: FeatureLevel(2),
        requires: FeatureLevel(1),
        nonce: 0x0123_4567_89ab_cdef,
    }
}

#[test]
fn a_hello_looks_as_it_did_and_will_for_ever() {
    let bytes = hello(1, 2).encode();
    check("hello", &bytes);
    assert_eq!(bytes.len() as u64, HELLO_BYTES);
    assert_eq!(Hello::decode(&bytes), Ok(hello(1, 2)));
}

#[test]
fn sealed_frames_look_as_they_did() {
    let mut seal = Seal::new(SealKey::of(&hello(1, 2), &hello(2, 1)));
    let mut frames = Vec::new();
    for body in [b"a message", b"a message"] {
        encode_sealed(body, &mut seal, &mut frames).unwrap();
    }
    check("frames_sealed", &frames);
}

#[test]
fn an_identity_looks_as_it_did() {
    check(
        "identity",
        &IdentityFile {
            log: LOG,
            name: "linux".to_owned(),
        }
        .encode(),
    );
}

#[test]
fn a_segment_and_its_records_look_as_they_did() {
    let mut writer = LogWriter::create(LOG, SEGMENT_BYTES_MIN);
    let Some(Step::Begin { header, .. }) = writer.encode_roll().pop() else {
        panic!("a roll begins a file");
    };
    check("segment", &header.encode());
    for kind in kinds_in(&header.encode()) {
        assert_eq!(golden_of(kind), "segment");
    }
    let vote = HardState {
        term: Term(2),
        vote: Some(NodeId(3)),
        commit: LogIndex(0),
        repairing: None,
    };
    let body = b"a command"[..].into();
    let entries = [LogEntry {
        index: LogIndex(1),
        term: Term(2),
        chain: ChainHash(0),
        kind: EntryKind::Command,
        body,
    }];
    let batch = WriteBatch {
        hard_state: Some(vote),
        truncate_from: None,
        reset: None,
        entries: &entries,
    };
    let Some(Step::Write { bytes, .. }) = writer.encode(&batch).unwrap().pop() else {
        panic!("a batch is a write");
    };
    check("records", &bytes);
    let kinds = [Kind::HardState, Kind::Entry, Kind::HardStateCopy];
    assert_eq!(kinds_in(&bytes), kinds);
    for kind in kinds {
        assert_eq!(golden_of(kind), "records");
    }
}

/// Every kind of record by the golden file that has one: for the compiler to
/// find a kind that is in none.
fn golden_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Segment => "segment",
        Kind::Entry | Kind::HardState | Kind::HardStateCopy => "records",
        Kind::Truncate | Kind::Reset | Kind::Mark => "records_that_remove",
    }
}

/// The kinds of the records in some bytes of a log.
fn kinds_in(bytes: &[u8]) -> Vec<Kind> {
    let read = |at| Header::read(LOG.salt(), &bytes[at..]).ok();
    (0..bytes.len())
        .filter_map(|at| Some(read(at)?.0.kind))
        .collect()
}

#[test]
fn records_that_remove_and_that_mark_look_as_they_did() {
    let entry = |index| LogEntry {
        index: LogIndex(index),
        term: Term(2),
        chain: ChainHash(0),
        kind: EntryKind::Membership,
        body: b"a membership"[..].into(),
    };
    let mut writer = LogWriter::create(LOG, SEGMENT_BYTES_MIN);
    writer.encode_roll();
    let entries = [entry(1), entry(2)];
    let batch = WriteBatch {
        entries: &entries,
        ..WriteBatch::default()
    };
    writer.encode(&batch).unwrap();
    let batches = [
        WriteBatch {
            truncate_from: Some(LogIndex(2)),
            ..WriteBatch::default()
        },
        WriteBatch {
            reset: Some((LogIndex(9), Term(2))),
            ..WriteBatch::default()
        },
    ];
    let mut bytes = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    for batch in &batches {
        steps.extend(writer.encode(batch).unwrap());
    }
    steps.extend(writer.encode_mark());
    for step in steps {
        match step {
            Step::Begin { .. } => {}
            Step::Write { bytes: block, .. } => bytes.extend_from_slice(&block[..96]),
        }
    }
    check("records_that_remove", &bytes);
    let kinds = kinds_in(&bytes);
    assert_eq!(kinds, [Kind::Truncate, Kind::Reset, Kind::Mark]);
    for kind in kinds {
        assert_eq!(golden_of(kind), "records_that_remove");
    }
}

#[test]
fn the_beginning_of_a_repair_looks_as_it_did() {
    let mut writer = LogWriter::create(LOG, SEGMENT_BYTES_MIN);
    writer.set_repairing(LogIndex(5));
    writer.begin_anew(LogIndex(3), Term(2));
    let mut bytes = Vec::new();
    for step in writer.encode_restart() {
        match step {
            Step::Begin { header, .. } => bytes.extend(&header.encode()[..160]),
            Step::Write { bytes: blocks, .. } => {
                let blocks = blocks.chunks(BLOCK_BYTES as usize);
                bytes.extend(blocks.flat_map(|block| &block[..96]));
            }
        }
    }
    let over = HardState {
        repairing: None,
        ..writer.hard_state()
    };
    let batch = WriteBatch {
        hard_state: Some(over),
        ..WriteBatch::default()
    };
    let Some(Step::Write { bytes: records, .. }) = writer.encode(&batch).unwrap().pop() else {
        panic!("a batch is a write");
    };
    let blocks = records.chunks(BLOCK_BYTES as usize);
    bytes.extend(blocks.flat_map(|block| &block[..96]));
    check("repair", &bytes);
}

#[test]
fn a_snapshot_looks_as_it_did() {
    let header = SnapshotHeader {
        cluster: LOG.cluster,
        meta: SnapshotMeta {
            index: LogIndex(40),
            term: Term(3),
            chain: ChainHash(5),
            state: StateHash::default(),
            membership: Arc::new(Membership::founding([1, 2, 3].map(NodeId))),
        },
    };
    let mut bytes = Vec::new();
    let mut encoder = SnapshotEncoder::begin(&header, &mut bytes);
    encoder.state(b"the state", &mut bytes);
    encoder.finish(&mut bytes);
    check("snapshot", &bytes);
}
