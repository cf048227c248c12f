//! Replays what the fuzzers found or were given, and keeps the corpus alive:
//! the sound samples in it must still be sound.

// A test that cannot read its corpus has failed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use precentor_core::address::Address;
use precentor_core::command::Command;
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::entry::{ChainHash, EntryKind, HardState, LogEntry, WriteBatch};
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{Incarnation, LogIndex, NodeId, Term};
use precentor_core::job::{Class, Generator, JobSpec};
use precentor_core::message::{Append, Body, LogPosition, Message};
use precentor_core::wire::frame::encode_frame;
use precentor_core::wire::hello::{Hello, WireRange, WireVersion};
use precentor_core::wire::log_writer::{LogWriter, SEGMENT_BYTES_MIN, Step};
use precentor_core::wire::recover::{RecoverError, Recovered, recover};
use precentor_tests::{fuzz, fuzz_http, fuzz_tape};

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn sample(target: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target)
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, bytes).unwrap();
    }
    fs::read(&path).unwrap()
}

/// A small log over two files, as the `recover` target takes it.
fn log() -> Vec<u8> {
    let mut writer = LogWriter::create(fuzz::IDENTITY, SEGMENT_BYTES_MIN);
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut perform = |steps: Vec<Step>| {
        for step in steps {
            match step {
                Step::Begin { header, .. } => files.push(header.encode()),
                Step::Write {
                    segment,
                    offset,
                    bytes,
                } => {
                    let file = &mut files[segment as usize - 1];
                    file.resize(offset as usize, 0);
                    file.extend(bytes);
                }
            }
        }
    };
    let entry = |index| LogEntry {
        index: LogIndex(index),
        term: Term(2),
        chain: ChainHash(0),
        kind: EntryKind::Command,
        body: b"a command"[..].into(),
    };
    let vote = HardState {
        term: Term(2),
        vote: Some(NodeId(1)),
        commit: LogIndex(0),
        repairing: None,
    };
    perform(writer.encode_roll());
    let entries = [entry(1), entry(2)];
    let batch = WriteBatch {
        hard_state: Some(vote),
        entries: &entries,
        ..Default::default()
    };
    perform(writer.encode(&batch).unwrap());
    writer.mark_durable(writer.last_record());
    perform(writer.encode_roll());
    let truncate_from = Some(LogIndex(2));
    let batch = WriteBatch {
        truncate_from,
        entries: &entries[1..],
        ..Default::default()
    };
    perform(writer.encode(&batch).unwrap());
    let mut bytes = Vec::new();
    for file in files {
        bytes.extend((file.len() as u32).to_le_bytes());
        bytes.extend(file);
    }
    bytes
}

fn recovered(mut bytes: &[u8]) -> Result<Recovered, RecoverError> {
    let mut files = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (file, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        let mut file = file.to_vec();
        file.resize(SEGMENT_BYTES_MIN as usize, 0);
        files.push(file);
        bytes = rest;
    }
    let numbered = files
        .iter()
        .zip(1..)
        .map(|(file, number)| (number, &file[..]));
    recover(fuzz::IDENTITY, SEGMENT_BYTES_MIN, numbered)
}

fn a_hello() -> Vec<u8> {
    Hello {
        versions: WireRange::OURS,
        cluster: fuzz::IDENTITY.cluster,
        from: NodeId(2),
        incarnation: Incarnation(5),
        to: NodeId(1),
        supports: FeatureLevel(2),
        requires: FeatureLevel(1),
        nonce: 9,
    }
    .encode()
}

/// Three entries, the last of a later term.
fn an_append(version: WireVersion) -> Vec<u8> {
    let mut chain = ChainHash(7);
    let entries = [(5, 2), (6, 2), (7, 3)].map(|(index, term)| {
        let entry = LogEntry {
            index: LogIndex(index),
            term: Term(term),
            chain,
            kind: EntryKind::Command,
            body: b"a command"[..].into(),
        };
        chain = entry.chain_after();
        entry
    });
    let append = Append {
        previous: LogPosition {
            term: Term(2),
            index: LogIndex(4),
        },
        entries: entries.to_vec().into(),
        commit: LogIndex(4),
        held_by_all: LogIndex(3),
        round: 1,
        state_hash: None,
    };
    let message = Message {
        term: Term(3),
        incarnation: Incarnation(5),
        body: Body::Append(append),
    };
    precentor_core::wire::message::encode(&message, version)
}

#[test]
fn hellos_and_messages_of_the_corpus_hold() {
    for (target, check) in [
        ("hello", fuzz::hello as fn(&[u8])),
        ("message", fuzz::peer_message),
    ] {
        let files = corpus(target);
        assert!(files.len() >= 2, "only {} files of {target}", files.len());
        for (path, bytes) in files {
            println!("{}", path.display());
            check(&bytes);
        }
    }
}

#[test]
fn hellos_and_messages_are_sent_today_as_they_were_when_the_corpus_was_made() {
    let bytes = a_hello();
    assert_eq!(sample("hello", "of-n2", &bytes), bytes);
    let mut later = bytes;
    later.extend([1; 30]);
    sample("hello", "of-a-later-program", &later);
    for (version, name) in [
        (WireVersion::FIRST, "append-1"),
        (WireVersion::SECOND, "append-2"),
    ] {
        let bytes = an_append(version);
        assert_eq!(sample("message", name, &bytes), bytes, "{name}");
    }
}

#[test]
fn frames_of_the_corpus_hold() {
    let files = corpus("frame");
    assert!(files.len() >= 3, "only {} files", files.len());
    for (path, bytes) in files {
        println!("{}", path.display());
        fuzz::frame(&bytes);
    }
}

#[test]
fn logs_of_the_corpus_hold() {
    let files = corpus("recover");
    assert!(files.len() >= 3, "only {} files", files.len());
    for (path, bytes) in files {
        println!("{}", path.display());
        fuzz::recovery(&bytes);
    }
}

#[test]
fn a_log_is_written_today_as_it_was_when_the_corpus_was_made() {
    let bytes = log();
    assert!(
        sample("recover", "two-files", &bytes) == bytes,
        "the format moved; see BLESS"
    );
    let found = recovered(&bytes).unwrap();
    assert_eq!(found.writer.map().last_index(), LogIndex(2));
    assert_eq!(found.writer.hard_state().vote, Some(NodeId(1)));
    let mut damaged = bytes.clone();
    damaged[4 + 4_096 + 70] ^= 1;
    let damaged = sample("recover", "damaged-vote", &damaged);
    let found = recovered(&damaged).unwrap();
    assert_eq!(found.damage.map(|damage| damage.record), Some(1));
    assert_eq!(found.writer.hard_state().vote, Some(NodeId(1)));
    let mut torn = bytes;
    let last = torn.len() - 4_096;
    torn[last + 70] ^= 1;
    let torn = sample("recover", "torn-tail", &torn);
    assert_eq!(
        recovered(&torn).unwrap().torn.map(|torn| torn.segment),
        Some(2)
    );
}

#[test]
fn a_frame_is_sent_today_as_it_was_when_the_corpus_was_made() {
    let mut stream = vec![5];
    for body in [&b"one"[..], b"another"] {
        encode_frame(body, &mut stream).unwrap();
    }
    assert_eq!(sample("frame", "two-frames", &stream), stream);
    let mut flipped = stream.clone();
    flipped[10] ^= 1;
    sample("frame", "bad-checksum", &flipped);
    sample("frame", "too-large", &[1, 255, 255, 255, 255, 0, 0, 0, 0]);
}

/// A command of a client, in a session or in none.
fn asked(session: u8, sequence: u8, command: &Command) -> Vec<u8> {
    let bytes = postcard::to_allocvec(command).unwrap();
    let mut thing = vec![2, session, sequence];
    thing.extend((bytes.len() as u16).to_le_bytes());
    thing.extend(bytes);
    thing
}

fn a_batch() -> Command {
    let address: Address = "ucxl://p/a".parse().unwrap();
    let item = JobSpec {
        address,
        kind: ContextKind::File,
        subject: Digest::ZERO,
        generator: Generator {
            engine: "outline".into(),
            version: 1,
            parameters: Digest::ZERO,
        },
        class: Class::Normal,
        tenant: "t".into(),
        dependencies: Vec::new(),
        delay_ms: 0,
    };
    Command::Submit { items: vec![item] }
}

#[test]
fn what_happens_to_a_node_in_the_corpus_holds_and_reaches_its_queue() {
    let mut bytes = asked(0, 0, &Command::OpenSession);
    bytes.extend([0, 5]);
    // One of these is the session: its number is that of its entry.
    for session in 1..32 {
        bytes.extend(asked(session, 1, &a_batch()));
    }
    // Time, a snapshot, a restart, a stranger, an order that cannot be, and the same once more.
    bytes.extend([0, 200, 4, 0, 20, 8, 6, 0, 5, 9]);
    for session in 1..32 {
        bytes.extend(asked(session, 1, &a_batch()));
    }
    let seen = fuzz::turns(&sample("turns", "a-batch-and-a-restart", &bytes));
    assert_eq!(seen.accepted, 1, "{seen:?}");
    assert!(seen.answered > 60, "{seen:?}");
    let mut strange = a_message();
    strange.splice(
        0..0,
        [
            7,
            0,
            (strange.len() % 256) as u8,
            (strange.len() / 256) as u8,
        ],
    );
    sample("turns", "a-stranger-speaks", &strange);
    let files = corpus("turns");
    for (path, bytes) in files {
        println!("{}", path.display());
        fuzz::turns(&bytes);
    }
}

fn a_message() -> Vec<u8> {
    an_append(WireVersion::SECOND)
}

#[test]
fn worlds_of_the_corpus_are_as_they_must_be() {
    let mut often = vec![7, 0];
    often.resize(300, 40);
    sample("tape", "a-fault-in-forty-chances", &often);
    let mut early = vec![3, 0];
    early.resize(40, 0);
    sample("tape", "all-at-once", &early);
    for (path, bytes) in corpus("tape") {
        println!("{}", path.display());
        fuzz_tape::tape(&bytes);
    }
}

#[test]
fn clients_of_the_corpus_are_answered() {
    let patience = Duration::from_secs(30);
    let ask =
        |name: &str, bytes: &[u8]| fuzz_http::http_within(&sample("http", name, bytes), patience);
    let host = "host: localhost\r\n";
    let get = format!("GET /healthz HTTP/1.1\r\n{host}\r\n");
    assert_eq!(ask("health", get.as_bytes()), Some(200));
    let body = r#"{"items": [{"address": "ucxl://p/a", "kind": "file", "subject": "00", "generator": {"engine": "outline", "version": 1}}]}"#;
    let post = format!(
        "POST /v1/requests HTTP/1.1\r\n{host}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(ask("a-digest-too-short", post.as_bytes()), Some(400));
    assert_eq!(ask("no-http", b"\0\0\0"), Some(400));
    let long = format!("POST /v1/requests HTTP/1.1\r\n{host}content-length: 99999999999\r\n\r\n");
    assert_eq!(ask("a-body-too-long", long.as_bytes()), Some(413));
    for (path, bytes) in corpus("http") {
        println!("{}", path.display());
        fuzz_http::http(&bytes);
    }
    assert_eq!(ask("health", get.as_bytes()), Some(200), "it goes on");
}
