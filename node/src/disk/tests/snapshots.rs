//! The snapshots of a directory: its own and a leader's, and the log that one
//! stands for.

use std::sync::Arc;

use precentor_core::digest::StateHash;
use precentor_core::membership::Membership;
use precentor_core::snapshot::{SnapshotMeta, SnapshotPart};
use precentor_core::wire::snapshot::{SnapshotEncoder, SnapshotHeader};

use super::*;

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        index: LogIndex(index),
        term: Term(1),
        chain: ChainHash(3),
        state: StateHash(index.into()),
        membership: Arc::new(Membership::founding([NodeId(1)])),
    }
}

pub(super) fn snapshot(index: u64) -> SnapshotHeader {
    SnapshotHeader {
        cluster: us().cluster,
        meta: meta(index),
    }
}

fn part(index: u64, offset: u64, bytes: &[u8], last: bool) -> SnapshotPart {
    SnapshotPart {
        meta: meta(index),
        offset,
        bytes: bytes.into(),
        last,
    }
}

fn files(store: &Store) -> (SnapshotFiles, Option<Kept>) {
    store.snapshot_files().unwrap()
}

pub(super) fn save(store: &mut Store, index: u64, state: &[u8]) -> io::Result<()> {
    let finished = written(store, index, state)?;
    store.adopt_snapshot(finished)
}

pub(super) fn written(store: &Store, index: u64, state: &[u8]) -> io::Result<FinishedSnapshot> {
    let mut writer = files(store).0.own;
    let (first, second) = state.split_at(state.len() / 2);
    writer.write(&part(index, 0, first, false))?;
    writer.write(&part(index, first.len() as u64, second, true))?;
    writer.finish()
}

pub(super) fn reset(index: u64) -> WriteBatch<'static> {
    WriteBatch {
        reset: Some((LogIndex(index), Term(4))),
        ..WriteBatch::default()
    }
}

fn incoming(directory: &TempDir, index: u64) -> PathBuf {
    directory
        .path()
        .join(format!("snapshots/incoming-{index:020}"))
}

fn loaded(store: &mut Store) -> Vec<u8> {
    store.load_snapshot().unwrap().unwrap().state
}

#[test]
fn a_damaged_newest_snapshot_gives_way_to_the_one_before() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=3);
    assert_eq!(store.load_snapshot().unwrap(), None);
    for index in 1..=3 {
        save(&mut store, index, format!("state {index}").as_bytes()).unwrap();
    }
    drop(store);
    let snapshots = directory.path().join("snapshots");
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 2);
    let mut store = open(&directory, OpenMode::Existing).unwrap();
    let loaded = store.load_snapshot().unwrap().unwrap();
    assert_eq!(
        (loaded.header, &loaded.state[..]),
        (snapshot(3), &b"state 3"[..])
    );
    let newest = snapshots.join(format!("snapshot-{:020}", 3));
    let mut bytes = fs::read(&newest).unwrap();
    bytes[90] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let loaded = store.load_snapshot().unwrap().unwrap();
    assert_eq!(
        (loaded.header, &loaded.state[..]),
        (snapshot(2), &b"state 2"[..])
    );
    drop(store);
    let mut store = open(&directory, OpenMode::Existing).unwrap();
    let report = store.report().clone();
    assert_eq!(
        report.damage, None,
        "the log still goes back to the older one"
    );
    assert_eq!(report.damaged_kept.len(), 1);
    assert!(report.damaged_kept[0].exists() && !newest.exists());
    // A damaged one is none of the two that are kept.
    save(&mut store, 4, b"state 4").unwrap();
    assert!(snapshots.join(format!("snapshot-{:020}", 2)).exists());
}

#[test]
fn a_snapshot_counts_from_when_it_is_adopted_and_not_before() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=3);
    save(&mut store, 1, b"one").unwrap();
    let mut writer = files(&store).0.own;
    let loaded = |store: &mut Store| store.load_snapshot().unwrap().unwrap();
    // Each is as far as the process came before it died.
    writer.write(&part(2, 0, b"the beginning", false)).unwrap();
    drop(store);
    let mut store = open(&directory, OpenMode::Existing).unwrap();
    assert_eq!(loaded(&mut store).state, b"one", "half of two is not two");
    let mut writer = files(&store).0.own;
    writer.write(&part(3, 0, b"three", true)).unwrap();
    let finished = writer.finish().unwrap();
    drop((finished, store));
    let mut store = open(&directory, OpenMode::Existing).unwrap();
    assert_eq!(loaded(&mut store).state, b"one", "nobody adopted three");
    // What is left of them is in nobody's way.
    save(&mut store, 3, b"three again").unwrap();
    assert_eq!(loaded(&mut store).state, b"three again");
    assert_eq!(loaded(&mut store).header, snapshot(3));
}

#[test]
fn parts_of_a_snapshot_that_do_not_follow_each_other_are_refused() {
    let (_directory, store) = new();
    let mut writer = files(&store).0.own;
    writer.finish().unwrap_err();
    writer.write(&part(1, 5, b"", false)).unwrap_err();
    writer.write(&part(1, 0, b"12345", false)).unwrap();
    for wrong in [
        part(1, 4, b"", false),
        part(1, 6, b"", false),
        part(2, 5, b"", false),
    ] {
        let error = writer.write(&wrong).unwrap_err();
        assert!(error.to_string().contains("does not follow"), "{error}");
    }
    writer.write(&part(1, 5, b"678", true)).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_log_that_begins_after_every_snapshot_must_be_repaired_from_its_beginning() {
    let (directory, mut store) = new();
    save(&mut store, 90, b"ninety").unwrap();
    store.append(&reset(90)).unwrap();
    append(&mut store, 4, 91..=91);
    drop(store);
    assert_eq!(last(&open(&directory, OpenMode::Existing).unwrap()), 91);
    fs::remove_file(
        directory
            .path()
            .join(format!("snapshots/snapshot-{:020}", 90)),
    )
    .unwrap();
    let store = open(&directory, OpenMode::Existing).unwrap();
    assert_eq!(store.hard_state().repairing, Some(LogIndex(91)));
    assert_eq!(last(&store), 0, "what cannot be applied is of no use");
}

/// Receives what is missing of a snapshot of three parts, as a node that starts would.
fn receive_the_rest(directory: &TempDir, parts: [&[u8]; 3]) -> usize {
    let mut store = open(directory, OpenMode::Existing).unwrap();
    let (SnapshotFiles { mut incoming, .. }, kept) = files(&store);
    let image = kept.map_or(Vec::new(), |kept| {
        assert_eq!(kept.meta, meta(9));
        kept.image
    });
    let mut offset = 0;
    for part in parts {
        if offset >= image.len() {
            let part = self::part(9, offset as u64, part, offset + part.len() == 15);
            incoming.write(&part).unwrap();
        }
        offset += part.len();
    }
    store
        .adopt_snapshot(incoming.finish_as(LogIndex(9)).unwrap())
        .unwrap();
    assert_eq!(loaded(&mut store), parts.concat());
    assert_eq!(store.load_snapshot().unwrap().unwrap().header, snapshot(9));
    image.len()
}

#[test]
fn a_transfer_goes_on_behind_the_last_good_chunk_wherever_its_file_is_torn() {
    let parts = [&b"first"[..], b"after", b"third"];
    let mut whole = Vec::new();
    let mut encoder = SnapshotEncoder::begin(&snapshot(9), &mut whole);
    let header_bytes = whole.len();
    for part in parts {
        encoder.state(part, &mut whole);
    }
    encoder.finish(&mut whole);
    for len in 0..=whole.len() {
        let (directory, store) = new();
        drop(store);
        let mut torn = whole[..len].to_vec();
        torn.resize(whole.len() + 50, 0);
        fs::write(incoming(&directory, 9), torn).unwrap();
        let resumed = receive_the_rest(&directory, parts);
        let chunks = len.saturating_sub(header_bytes) / (8 + 5);
        assert_eq!(resumed, 5 * chunks.min(3), "torn at {len}");
        assert!(!incoming(&directory, 9).exists());
    }
}

#[test]
fn what_was_received_and_is_of_no_use_is_dropped() {
    let image = |index: u64, cluster: ClusterId| {
        let mut bytes = Vec::new();
        let header = SnapshotHeader {
            cluster,
            meta: meta(index),
        };
        let mut encoder = SnapshotEncoder::begin(&header, &mut bytes);
        encoder.state(b"state", &mut bytes);
        bytes
    };
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=5);
    save(&mut store, 5, b"five").unwrap();
    let ours = us().cluster;
    let mut other_version = image(9, ours);
    other_version[4] ^= 1;
    let checked = other_version.len() - (8 + 5) - 4;
    let crc = crc32c(&other_version[..checked]).to_le_bytes();
    other_version[checked..checked + 4].copy_from_slice(&crc);
    for useless in [
        image(9, ClusterId([8; 16])),
        other_version,
        image(5, ours),
        image(4, ours),
    ] {
        fs::write(incoming(&directory, 9), useless).unwrap();
        assert_eq!(files(&store).1, None);
        assert!(!incoming(&directory, 9).exists());
    }
    // Of two the newer one is of use.
    for index in [7, 8] {
        fs::write(incoming(&directory, index), image(index, ours)).unwrap();
    }
    assert_eq!(files(&store).1.unwrap().meta, meta(8));
    assert!(!incoming(&directory, 7).exists());
}

#[test]
fn a_crash_between_any_two_steps_of_an_installation_leaves_the_old_or_the_new() {
    for steps in 0..=4 {
        let (directory, mut store) = new();
        append(&mut store, 1, 1..=40);
        save(&mut store, 3, b"own").unwrap();
        let mut writer = files(&store).0.incoming;
        writer.write(&part(90, 0, b"the leader's", true)).unwrap();
        if steps >= 1 {
            let finished = writer.finish_as(LogIndex(90)).unwrap();
            if steps >= 2 {
                store.adopt_snapshot(finished).unwrap();
            }
        }
        if steps >= 3 {
            store.append(&reset(90)).unwrap();
        }
        if steps >= 4 {
            append(&mut store, 4, 91..=92);
        }
        drop(store);
        let mut store = open(&directory, OpenMode::Existing).unwrap();
        let kept = files(&store).1;
        if steps < 2 {
            assert_eq!(loaded(&mut store), b"own");
            assert_eq!(
                kept.unwrap().image,
                b"the leader's",
                "not to be fetched again"
            );
        } else {
            assert_eq!(loaded(&mut store), b"the leader's");
            assert_eq!(kept, None);
        }
        let ends = match steps {
            0..=2 => (0, 40),
            3 => (90, 90),
            _ => (90, 92),
        };
        assert_eq!((store.log().base_index().0, last(&store)), ends);
    }
}

#[test]
fn a_reset_gives_up_the_files_of_the_old_log_and_nothing_of_it_comes_back() {
    let (directory, mut store) = new();
    let segments = || {
        let names = fs::read_dir(directory.path().join("log")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("segment-")).count()
    };
    append(&mut store, 1, 1..=300);
    assert!(segments() > 2, "{} files", segments());
    let mut writer = files(&store).0.incoming;
    writer.write(&part(200, 0, b"state", true)).unwrap();
    store
        .adopt_snapshot(writer.finish_as(LogIndex(200)).unwrap())
        .unwrap();
    store.append(&reset(200)).unwrap();
    assert!(segments() <= 2, "{} files", segments());
    append(&mut store, 4, 201..=203);
    drop(store);
    let mut store = open(&directory, OpenMode::Existing).unwrap();
    assert_eq!((store.log().base_index().0, last(&store)), (200, 203));
    let read = store.read(LogIndex(201), LogIndex(204), 1 << 20).unwrap();
    assert_eq!(read, entries(4, 201..=203));
}

#[test]
fn a_finished_snapshot_stays_whole_when_the_next_one_begins_before_it_is_adopted() {
    let (_directory, mut store) = new();
    append(&mut store, 1, 1..=9);
    let SnapshotFiles {
        mut own,
        mut incoming,
        ..
    } = files(&store).0;
    for writer in [&mut own, &mut incoming] {
        writer.write(&part(4, 0, b"void", false)).unwrap();
        writer.write(&part(5, 0, b"five", true)).unwrap();
        let five = writer.finish_as(LogIndex(5)).unwrap();
        writer.write(&part(6, 0, b"six", false)).unwrap();
        store.adopt_snapshot(five).unwrap();
        assert_eq!(loaded(&mut store), b"five");
        let error = writer.finish_as(LogIndex(7)).unwrap_err();
        assert!(error.to_string().contains("is under way"), "{error}");
    }
}

#[test]
fn an_image_is_read_piece_by_piece_and_a_damaged_one_not_at_all() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=3);
    let state: Vec<u8> = (0..=249).collect();
    let SnapshotFiles {
        mut own, mut saved, ..
    } = files(&store).0;
    for (number, chunk) in state.chunks(50).enumerate() {
        own.write(&part(3, 50 * number as u64, chunk, number == 4))
            .unwrap();
    }
    store.adopt_snapshot(own.finish().unwrap()).unwrap();
    let mut read = |index: u64, offset: usize, bytes_max: u64| {
        saved.read(LogIndex(index), offset as u64, bytes_max)
    };
    for length in [1, 49, 50, 51, 120, 250, 1_000] {
        let mut image = Vec::new();
        loop {
            let piece = read(3, image.len(), length as u64).unwrap();
            assert!(piece.bytes.len() <= length);
            image.extend_from_slice(&piece.bytes);
            assert_eq!(piece.last, image.len() == state.len());
            if piece.last {
                break;
            }
        }
        assert_eq!(image, state, "in pieces of {length}");
    }
    let end = read(3, 250, 100).unwrap();
    assert!(end.last && end.bytes.is_empty(), "one that has all of it");
    read(3, 251, 100).unwrap_err();
    read(2, 0, 100).unwrap_err();

    let path = directory
        .path()
        .join(format!("snapshots/snapshot-{:020}", 3));
    let good = fs::read(&path).unwrap();
    let mut bytes = good.clone();
    let in_last_chunk = bytes.len() - 60;
    bytes[in_last_chunk] ^= 1;
    fs::write(&path, &bytes).unwrap();
    read(3, 0, 100).unwrap();
    read(3, 200, 100).unwrap_err();
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    read(3, 0, 100).unwrap_err();
}
