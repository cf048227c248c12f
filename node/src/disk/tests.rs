use std::fs;

use precentor_core::entry::{ChainHash, EntryKind};
use precentor_core::ids::Term;
use precentor_core::wire::log_writer::SEGMENT_BYTES_MIN;
use precentor_core::wire::record::{ENTRY_PREFIX_BYTES, HEADER_BYTES};
use precentor_core::wire::recover::RecoverError;
use tempfile::TempDir;

use super::*;

mod repairs;
mod snapshots;
use snapshots::save;

const SEGMENT: u32 = SEGMENT_BYTES_MIN;

fn us() -> Identity {
    Identity {
        cluster: ClusterId([7; 16]),
        node: NodeId(1),
        name: "ours".to_owned(),
    }
}

fn open(directory: &TempDir, mode: OpenMode) -> Result<Store, OpenError> {
    Store::open_with(directory.path(), &us(), mode, SEGMENT)
}

fn new() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, OpenMode::Create).unwrap();
    (directory, store)
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
    let entry = |index: u64| LogEntry {
        index: LogIndex(index),
        term: Term(term),
        chain: ChainHash(0),
        kind: EntryKind::Command,
        body: format!("entry {index} of term {term}").into_bytes().into(),
    };
    indexes.map(entry).collect()
}

fn append(store: &mut Store, term: u64, indexes: std::ops::RangeInclusive<u64>) {
    let entries = entries(term, indexes);
    store
        .append(&WriteBatch {
            entries: &entries,
            ..WriteBatch::default()
        })
        .unwrap();
}

fn last(store: &Store) -> u64 {
    store.log().last_index().0
}

/// Changes one byte of a record of an entry, `at` bytes from its beginning.
fn damage(directory: &TempDir, place: &Place, at: u32) {
    let path = directory
        .path()
        .join(format!("log/segment-{:016}", place.segment));
    let mut bytes = fs::read(&path).unwrap();
    bytes[(place.offset + at) as usize] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn what_was_appended_is_there_after_a_restart_in_any_order_of_ending() {
    let (directory, mut store) = new();
    assert!(store.report().created);
    let hard_state = HardState {
        term: Term(3),
        vote: Some(NodeId(2)),
        commit: LogIndex(0),
        repairing: None,
    };
    let first = entries(3, 1..=200);
    store
        .append(&WriteBatch {
            hard_state: Some(hard_state),
            entries: &first,
            ..Default::default()
        })
        .unwrap();
    drop(store);
    let mut store = open(&directory, OpenMode::Existing).unwrap();
    assert_eq!(
        store.read(LogIndex(1), LogIndex(201), u64::MAX).unwrap(),
        first
    );
    assert_eq!(store.hard_state(), hard_state);
    append(&mut store, 3, 201..=202);
    store.close().unwrap();
    let mut store = open(&directory, OpenMode::Existing).unwrap();
    assert_eq!(last(&store), 202);
    assert_eq!(
        store.read(LogIndex(201), LogIndex(203), 1).unwrap(),
        entries(3, 201..=201)
    );
    assert_eq!(store.report(), &OpenReport::default());
}

#[test]
fn a_truncated_suffix_stays_truncated() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=5);
    let batch = entries(2, 3..=3);
    let truncate_from = Some(LogIndex(3));
    store
        .append(&WriteBatch {
            truncate_from,
            entries: &batch,
            ..Default::default()
        })
        .unwrap();
    drop(store);
    let mut store = open(&directory, OpenMode::Existing).unwrap();
    let expected = [entries(1, 1..=2), entries(2, 3..=3)].concat();
    assert_eq!(
        store.read(LogIndex(1), LogIndex(9), u64::MAX).unwrap(),
        expected
    );
}

#[test]
fn a_write_that_was_cut_off_anywhere_costs_only_itself_and_its_bytes_are_kept_aside() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=2);
    append(&mut store, 1, 3..=4);
    let place = *store.log().get(LogIndex(3)).unwrap();
    drop(store);
    let segment = format!("log/segment-{:016}", place.segment);
    let whole = fs::read(directory.path().join(&segment)).unwrap();
    let record = (HEADER_BYTES + ENTRY_PREFIX_BYTES) as usize + 17;
    for cut in (0..2 * record).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place.offset as usize + cut..].fill(0);
        let crashed = tempfile::tempdir().unwrap();
        for name in ["log", "snapshots"] {
            fs::create_dir(crashed.path().join(name)).unwrap();
        }
        for name in ["identity", "lock"] {
            fs::copy(directory.path().join(name), crashed.path().join(name)).unwrap();
        }
        fs::write(crashed.path().join(&segment), bytes).unwrap();
        let mut store = open(&crashed, OpenMode::Existing).unwrap();
        assert_eq!(last(&store), 2 + (cut / record) as u64, "cut at {cut}");
        let report = store.report().clone();
        assert_eq!(report.torn.is_some(), cut % record != 0, "cut at {cut}");
        if let Some(kept) = report.torn_kept {
            // Zeros at the end of the cut tail cannot be told from what was never written.
            let kept = fs::read(kept).unwrap();
            let start = place.offset as usize + cut / record * record;
            assert!(kept == whole[start..start + kept.len()], "cut at {cut}");
            assert!(
                !kept.is_empty() && kept.len() <= cut % record,
                "cut at {cut}"
            );
        }
        let next = last(&store) + 1;
        append(&mut store, 2, next..=next);
        drop(store);
        let store = open(&crashed, OpenMode::Existing).unwrap();
        assert_eq!(
            (last(&store), store.report().torn),
            (next, None),
            "cut at {cut}"
        );
    }
}

#[test]
fn damage_while_running_is_found_by_the_read() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=1);
    let place = *store.log().get(LogIndex(1)).unwrap();
    damage(&directory, &place, 70);
    let error = store.read(LogIndex(1), LogIndex(2), 100).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn entries_that_are_not_in_the_log_are_not_found() {
    let (_directory, mut store) = new();
    append(&mut store, 1, 1..=1);
    let error = store.read(LogIndex(2), LogIndex(3), 100).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(
        store
            .read(LogIndex(1), LogIndex(1), 100)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn after_a_failed_write_nothing_works_any_more_but_opening_again() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=1);
    store.segments.break_writes();
    let batch = entries(1, 2..=2);
    let batch = WriteBatch {
        entries: &batch,
        ..Default::default()
    };
    store.append(&batch).unwrap_err();
    for error in [
        store.append(&batch).unwrap_err(),
        store.append(&WriteBatch::default()).unwrap_err(),
        store.read(LogIndex(1), LogIndex(2), 10).unwrap_err(),
        store.compact(LogIndex(1)).unwrap_err(),
        save(&mut store, 1, b"").unwrap_err(),
    ] {
        assert!(error.to_string().contains("failed before"), "{error}");
    }
    store.close().unwrap_err();
    assert_eq!(last(&open(&directory, OpenMode::Existing).unwrap()), 1);
}

#[test]
fn a_batch_that_contradicts_the_log_is_refused_without_harm() {
    let (_directory, mut store) = new();
    let batch = entries(1, 2..=2);
    let error = store
        .append(&WriteBatch {
            entries: &batch,
            ..WriteBatch::default()
        })
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    append(&mut store, 1, 1..=1);
}

#[test]
fn a_directory_in_use_names_who_uses_it() {
    let (directory, store) = new();
    let pid = Some(std::process::id());
    for mode in [OpenMode::Create, OpenMode::Existing, OpenMode::ReadOnly] {
        let error = open(&directory, mode).unwrap_err();
        assert!(
            matches!(&error, OpenError::Locked { pid: p, .. } if *p == pid),
            "{error}"
        );
    }
    drop(store);
    let reader = open(&directory, OpenMode::ReadOnly).unwrap();
    let second = open(&directory, OpenMode::ReadOnly).unwrap();
    assert_eq!((last(&reader), last(&second)), (0, 0));
    assert!(open(&directory, OpenMode::Existing).is_err());
}

#[test]
fn a_reader_changes_nothing() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=1);
    drop(store);
    let mut reader = open(&directory, OpenMode::ReadOnly).unwrap();
    assert_eq!(
        reader.read(LogIndex(1), LogIndex(2), 100).unwrap(),
        entries(1, 1..=1)
    );
    let error = reader.append(&WriteBatch::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    reader.close().unwrap();
    assert_eq!(Store::identify(directory.path()).unwrap().name, "ours");
}

#[test]
fn a_directory_of_others_is_refused_with_their_name() {
    let (directory, store) = new();
    drop(store);
    let open = |identity: &Identity| {
        Store::open_with(directory.path(), identity, OpenMode::Create, SEGMENT).unwrap_err()
    };
    let cluster = ClusterId([8; 16]);
    let error = open(&Identity {
        cluster,
        name: "theirs".to_owned(),
        ..us()
    });
    let text = error.to_string();
    assert!(
        text.contains("\"ours\"") && text.contains("\"theirs\""),
        "{text}"
    );
    let error = open(&Identity {
        node: NodeId(2),
        ..us()
    });
    assert!(
        matches!(
            error,
            OpenError::OtherNode {
                found: NodeId(1),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn another_format_version_is_named() {
    let (directory, store) = new();
    drop(store);
    let path = directory.path().join("identity");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4] = 9;
    let end = bytes.len() - 4;
    let crc = crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = open(&directory, OpenMode::Existing).unwrap_err();
    assert!(error.to_string().contains("format version 9"), "{error}");
}

/// CRC-32C bit by bit: enough for one small file.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn a_missing_directory_is_not_made_unless_asked() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("absent");
    for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
        let error = Store::open(&path, &us(), mode).unwrap_err();
        assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    }
    assert!(!path.exists());
}

#[test]
fn a_log_without_identity_and_an_identity_without_log_are_no_new_voters() {
    let (directory, store) = new();
    drop(store);
    let identity = directory.path().join("identity");
    let aside = directory.path().join("aside");
    fs::rename(&identity, &aside).unwrap();
    let error = open(&directory, OpenMode::Create).unwrap_err();
    assert!(
        matches!(error, OpenError::IdentityMissing { .. }),
        "{error}"
    );
    fs::rename(&aside, &identity).unwrap();
    fs::remove_file(directory.path().join(format!("log/segment-{:016}", 1))).unwrap();
    let error = open(&directory, OpenMode::Create).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Log {
                error: RecoverError::NoSegments,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_directory_whose_making_was_interrupted_is_made_anew() {
    let (directory, store) = new();
    drop(store);
    let path = directory.path();
    fs::rename(path.join("identity"), path.join("identity.unfinished")).unwrap();
    let mut store = open(&directory, OpenMode::Create).unwrap();
    assert!(store.report().created);
    append(&mut store, 1, 1..=1);
}

#[test]
fn recycled_files_never_bring_old_entries_back() {
    let (directory, mut store) = new();
    for index in 1..=60 {
        append(&mut store, 1, index..=index);
    }
    save(&mut store, 30, b"thirty").unwrap();
    store.compact(LogIndex(60)).unwrap();
    assert_eq!(
        store.log().base_index(),
        LogIndex(0),
        "one snapshot alone frees nothing"
    );
    save(&mut store, 60, b"sixty").unwrap();
    store.compact(LogIndex(60)).unwrap();
    assert_eq!(
        store.log().base_index(),
        LogIndex(30),
        "the older snapshot still needs the rest"
    );
    for index in 61..=70 {
        append(&mut store, 1, index..=index);
        drop(store);
        store = open(&directory, OpenMode::Existing).unwrap();
        assert_eq!((last(&store), store.report().torn), (index, None));
        let base = store.log().base_index();
        assert!(base > LogIndex(0) && base <= LogIndex(30), "base {base}");
    }
    let read = store.read(LogIndex(31), LogIndex(71), u64::MAX).unwrap();
    assert_eq!(read, entries(1, 31..=70));
}
