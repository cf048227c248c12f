//! The bytes of each format as they were when it was made: a change here is a
//! change of format, and needs a new version.

use std::sync::Arc;

use crate::digest::StateHash;
use crate::entry::{ChainHash, EntryKind, HardState, LogEntry, WriteBatch};
use crate::ids::{ClusterId, Incarnation, LogIndex, NodeId, ReadNumber, Term};
use crate::membership::Membership;
use crate::message::{Body, Message};
use crate::snapshot::SnapshotMeta;
use crate::wire::frame::encode_frame;
use crate::wire::identity::IdentityFile;
use crate::wire::log_writer::{LogWriter, SEGMENT_BYTES_MIN, Step};
use crate::wire::record::{BLOCK_BYTES, LogIdentity};
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

#[test]
fn a_question_of_reads_and_its_answer_look_as_they_did() {
    let number = ReadNumber {
        life: 0x0123_4567_89ab_cdef,
        count: 300,
    };
    let index = LogIndex(70_000);
    let bytes = |body| {
        let message = Message {
            term: Term(5),
            incarnation: Incarnation(9),
            body,
        };
        let bytes = crate::wire::message::encode(&message);
        assert_eq!(crate::wire::message::decode(&bytes), Ok(message));
        bytes
    };
    check("read_index", &bytes(Body::ReadIndex { number }));
    check(
        "read_index_reply",
        &bytes(Body::ReadIndexReply { number, index }),
    );
}
