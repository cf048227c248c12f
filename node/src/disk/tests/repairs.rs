//! What a voter starts with when bytes of its directory changed, were cut off
//! or are gone: on real files, and taken up again after a crash anywhere.

use std::path::Path;

use precentor_core::wire::snapshot::{SnapshotEncoder, SnapshotHeader};

use super::snapshots::{reset, save, snapshot, written};
use super::*;

fn state(repairing: Option<u64>) -> HardState {
    HardState {
        term: Term(2),
        vote: Some(NodeId(3)),
        commit: LogIndex(0),
        repairing: repairing.map(LogIndex),
    }
}

/// A voter with a vote and entries 1 to 9 in three files.
fn voter() -> TempDir {
    let (directory, mut store) = new();
    let vote = WriteBatch {
        hard_state: Some(state(None)),
        ..WriteBatch::default()
    };
    store.append(&vote).unwrap();
    for first in [1, 4, 7] {
        append(&mut store, 2, first..=first + 2);
        if first < 7 {
            let steps = store.writer.encode_roll();
            store.perform(&steps).unwrap();
        }
    }
    store.close().unwrap();
    assert_eq!(files(directory.path(), "log").len(), 3);
    directory
}

/// The same again, to be damaged.
fn copy(of: &TempDir) -> TempDir {
    fn copy_all(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&target).unwrap();
                copy_all(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let copy = tempfile::tempdir().unwrap();
    copy_all(of.path(), copy.path());
    copy
}

/// The files of a folder that count, by name.
fn files(directory: &Path, folder: &str) -> Vec<String> {
    let names = fs::read_dir(directory.join(folder)).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("s") && !name.starts_with("spare"))
        .filter(|name| !name.contains("damaged"))
        .collect();
    names.sort_unstable();
    names
}

fn segment(directory: &TempDir, number: u64) -> PathBuf {
    directory.path().join(format!("log/segment-{number:016}"))
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// What an opening ends in: last entry, what is to be repaired, damage reported.
fn outcome(directory: &TempDir) -> (u64, Option<u64>, bool) {
    let mut store = open(directory, OpenMode::Existing).unwrap();
    let found = store.hard_state();
    assert_eq!(found.vote, Some(NodeId(3)), "the vote is kept");
    assert_eq!(found.term, Term(2));
    let entries = last(&store) - store.log().base_index().0;
    if entries > 0 {
        let from = store.log().base_index().next();
        let read = store.read(from, LogIndex(99), u64::MAX).unwrap();
        assert_eq!(
            read.len() as u64,
            entries,
            "what it says it has can be read"
        );
    }
    let damage = store.report().damage.is_some();
    for kept in &store.report().damaged_kept {
        assert!(kept.exists(), "{}", kept.display());
    }
    (last(&store), found.repairing.map(|index| index.0), damage)
}

/// Opens twice: the first time it is found, the second time it is known.
fn check(directory: &TempDir, good: u64, what: &str) {
    assert_eq!(outcome(directory), (good, Some(9), true), "{what}");
    assert_eq!(outcome(directory), (good, Some(9), false), "{what}: again");
}

#[test]
fn a_changed_byte_anywhere_leaves_what_was_before_it_and_a_repair() {
    let whole = voter();
    let block = BLOCK_BYTES as usize;
    // Every field of a record's header and body, in the first, the middle and
    // the last file; the marks of a segment's header.
    let record = (0..64).step_by(4).chain([64, 70, 80]);
    for at in record {
        for (number, offset, good) in [(1, 3 * block, 0), (2, block, 3), (3, block, 6)] {
            let damaged = copy(&whole);
            change(&segment(&damaged, number), |bytes| bytes[offset + at] ^= 4);
            check(
                &damaged,
                good,
                &format!("segment {number}, byte {at} of a record"),
            );
        }
    }
    for at in (0..64 + 71).step_by(5) {
        for (number, good) in [(2, 3), (3, 6)] {
            let damaged = copy(&whole);
            change(&segment(&damaged, number), |bytes| bytes[at] ^= 4);
            check(&damaged, good, &format!("segment {number}, byte {at}"));
        }
    }
}

#[test]
fn a_vote_survives_damage_to_one_of_its_copies_and_is_never_forgotten() {
    let block = BLOCK_BYTES as usize;
    let whole = voter();
    for copy_block in [1, 2] {
        let damaged = copy(&whole);
        change(&segment(&damaged, 1), |bytes| {
            bytes[copy_block * block + 70] ^= 1
        });
        check(&damaged, 0, &format!("copy {copy_block}"));
    }
    // Both copies, but the next file's header says it again.
    let damaged = copy(&whole);
    change(&segment(&damaged, 1), |bytes| {
        bytes[block..3 * block].fill(0)
    });
    check(&damaged, 0, "both copies");
    // The only file, with both copies gone.
    let (directory, mut store) = new();
    let vote = WriteBatch {
        hard_state: Some(state(None)),
        ..WriteBatch::default()
    };
    store.append(&vote).unwrap();
    store.close().unwrap();
    change(&segment(&directory, 1), |bytes| {
        bytes[block..3 * block].fill(0)
    });
    for _ in 0..2 {
        let error = open(&directory, OpenMode::Existing).unwrap_err();
        assert!(error.to_string().contains("could vote twice"), "{error}");
        assert_eq!(
            files(directory.path(), "log").len(),
            1,
            "nothing has changed"
        );
    }
}

#[test]
fn files_that_are_cut_off_or_gone_leave_what_was_before_them_and_a_repair() {
    let whole = voter();
    let block = u64::from(BLOCK_BYTES);
    let cut = |number, len| {
        let damaged = copy(&whole);
        let file = fs::OpenOptions::new()
            .write(true)
            .open(segment(&damaged, number));
        file.unwrap().set_len(len).unwrap();
        damaged
    };
    check(&cut(1, 3 * block + 100), 1, "within the second entry");
    check(&cut(2, 0), 3, "all of the second file");
    check(&cut(2, 100), 3, "within the header of the second file");
    assert_eq!(outcome(&cut(2, 2 * block)), (9, None, false), "only zeros");
    for len in [0, 100, 2 * block] {
        let error = open(&cut(3, len), OpenMode::Existing).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("new incarnation"),
            "the last file, {len}: {text}"
        );
    }
    let damaged = copy(&whole);
    fs::remove_file(segment(&damaged, 2)).unwrap();
    check(&damaged, 3, "the second file is gone");
    let damaged = copy(&whole);
    fs::remove_file(segment(&damaged, 1)).unwrap();
    check(&damaged, 0, "the first file is gone");
    let damaged = copy(&whole);
    fs::remove_file(segment(&damaged, 3)).unwrap();
    let error = open(&damaged, OpenMode::Existing).unwrap_err();
    assert!(error.to_string().contains("new incarnation"), "{error}");
}

#[test]
fn a_repair_that_was_broken_off_after_any_step_is_taken_up_again() {
    let whole = voter();
    let block = BLOCK_BYTES as usize;
    change(&segment(&whole, 1), |bytes| bytes[3 * block + 70] ^= 1);
    let done = copy(&whole);
    check(&done, 0, "not broken off");
    let new_file = fs::read(segment(&done, 4)).unwrap();
    let kept = |number: u64| format!("segment-{number:016}.damaged-4");
    for number in 1..=3 {
        assert!(
            done.path().join("log").join(kept(number)).exists(),
            "{number}"
        );
    }
    assert_eq!(
        files(done.path(), "log").len(),
        2,
        "one for the beginning, one to go on"
    );
    // A copy was made; the new file was begun, with its records or without; one
    // of two was set aside.
    for step in 0..4 {
        let broken = copy(&whole);
        let log = broken.path().join("log");
        fs::copy(segment(&broken, 1), log.join(kept(1))).unwrap();
        if step > 0 {
            let mut bytes = new_file.clone();
            if step == 1 {
                bytes[block..].fill(0);
            }
            fs::write(segment(&broken, 4), bytes).unwrap();
        }
        if step > 2 {
            fs::rename(segment(&broken, 2), log.join(kept(2))).unwrap();
        }
        let (good, repairing, _) = outcome(&broken);
        assert_eq!((good, repairing), (0, Some(9)), "step {step}");
        assert_eq!(outcome(&broken), (0, Some(9), false), "step {step}: again");
        let left = files(broken.path(), "log");
        assert!(
            !left.contains(&kept(2)) && !segment(&broken, 2).exists(),
            "step {step}"
        );
        assert!(!segment(&broken, 3).exists(), "step {step}");
    }
}

#[test]
fn a_repaired_log_is_whole_again_at_the_next_opening() {
    let whole = voter();
    change(&segment(&whole, 2), |bytes| {
        bytes[BLOCK_BYTES as usize + 70] ^= 1
    });
    check(&whole, 3, "damaged");
    let mut store = open(&whole, OpenMode::Existing).unwrap();
    append(&mut store, 2, 4..=10);
    let over = WriteBatch {
        hard_state: Some(state(None)),
        ..WriteBatch::default()
    };
    store.append(&over).unwrap();
    drop(store);
    assert_eq!(outcome(&whole), (10, None, false));
}

#[test]
fn a_reader_of_a_damaged_voter_changes_nothing() {
    let whole = voter();
    change(&segment(&whole, 2), |bytes| {
        bytes[BLOCK_BYTES as usize + 70] ^= 1
    });
    for _ in 0..2 {
        let store = open(&whole, OpenMode::ReadOnly).unwrap();
        assert_eq!((last(&store), store.hard_state()), (3, state(Some(9))));
        assert_eq!(files(whole.path(), "log").len(), 3);
    }
}

#[test]
fn a_log_that_no_whole_snapshot_reaches_begins_anew_and_keeps_everything_aside() {
    let (directory, mut store) = new();
    let vote = WriteBatch {
        hard_state: Some(state(None)),
        ..WriteBatch::default()
    };
    store.append(&vote).unwrap();
    for index in 1..=60 {
        append(&mut store, 2, index..=index);
    }
    for index in [30, 60] {
        let saved = format!("state {index}");
        save(&mut store, index, saved.as_bytes()).unwrap();
    }
    store.compact(LogIndex(60)).unwrap();
    drop(store);
    let snapshots = |directory: &TempDir| files(directory.path(), "snapshots");
    let damage = |directory: &TempDir, name: &String| {
        let path = directory.path().join("snapshots").join(name);
        change(&path, |bytes| bytes[90] ^= 1);
    };
    // The newest alone: the older one, and the log behind it.
    let names = snapshots(&directory);
    let older = copy(&directory);
    damage(&older, &names[1]);
    let mut store = open(&older, OpenMode::Existing).unwrap();
    assert_eq!((last(&store), store.report().damage), (60, None));
    assert_eq!(store.load_snapshot().unwrap().unwrap().header, snapshot(30));
    assert_eq!(snapshots(&older), names[..1]);
    drop(store);
    // Both: the state is gone.
    let none = copy(&directory);
    names.iter().for_each(|name| damage(&none, name));
    let error = open(&none, OpenMode::Existing).map(|store| {
        let report = store.report().clone();
        assert_eq!(
            report.damage.map(|damage| damage.must_cover),
            Some(LogIndex(60))
        );
        assert!(report.damaged_kept.len() > 2, "log and snapshots are kept");
        (last(&store), store.hard_state())
    });
    assert_eq!(error.unwrap(), (0, state(Some(60))));
    assert!(snapshots(&none).is_empty());
    let mut store = open(&none, OpenMode::Existing).unwrap();
    assert_eq!(store.load_snapshot().unwrap(), None);
    append(&mut store, 3, 1..=2);
    drop(store);
    assert_eq!(outcome(&none), (2, Some(60), false));
    // Damage within the log before the snapshot: what is behind it is fetched again.
    let cut = copy(&directory);
    let place = *open(&cut, OpenMode::ReadOnly)
        .unwrap()
        .log()
        .get(LogIndex(40))
        .unwrap();
    change(&segment(&cut, place.segment), |bytes| {
        bytes[place.offset as usize + 70] ^= 1
    });
    assert_eq!(outcome(&cut), (60, Some(60), true));
    let mut store = open(&cut, OpenMode::Existing).unwrap();
    assert_eq!(store.load_snapshot().unwrap().unwrap().header, snapshot(60));
    append(&mut store, 3, 61..=61);
}

#[test]
fn a_snapshot_of_another_cluster_is_refused() {
    let (directory, mut store) = new();
    append(&mut store, 1, 1..=3);
    save(&mut store, 3, b"ours").unwrap();
    drop(store);
    // A whole one, but for the cluster that it says.
    let theirs = SnapshotHeader {
        cluster: ClusterId([8; 16]),
        ..snapshot(3)
    };
    let mut bytes = Vec::new();
    let mut encoder = SnapshotEncoder::begin(&theirs, &mut bytes);
    encoder.state(b"theirs", &mut bytes);
    encoder.finish(&mut bytes);
    let file = format!("snapshots/snapshot-{:020}", 3);
    fs::write(directory.path().join(file), bytes).unwrap();
    let error = open(&directory, OpenMode::Existing).unwrap_err();
    assert!(
        matches!(error, OpenError::SnapshotOfOther { .. }),
        "{error}"
    );
}

#[test]
fn segments_of_others_are_refused_and_kept_as_they_are() {
    let (ours, theirs) = (voter(), voter());
    for number in [2, 3] {
        let mixed = copy(&ours);
        fs::copy(segment(&theirs, number), segment(&mixed, number)).unwrap();
        let before = fs::read(segment(&mixed, number)).unwrap();
        let error = open(&mixed, OpenMode::Existing).unwrap_err();
        assert!(error.to_string().contains("incarnation"), "{error}");
        assert_eq!(fs::read(segment(&mixed, number)).unwrap(), before);
    }
}

#[test]
fn a_damaged_identity_is_refused_with_a_word_about_it() {
    let whole = voter();
    let len = fs::read(whole.path().join("identity")).unwrap().len();
    for at in (0..len).step_by(3) {
        let damaged = copy(&whole);
        change(&damaged.path().join("identity"), |bytes| bytes[at] ^= 1);
        for mode in [OpenMode::Create, OpenMode::Existing, OpenMode::ReadOnly] {
            let error = open(&damaged, mode).unwrap_err();
            assert!(
                error.to_string().contains("identity file is damaged"),
                "{at}: {error}"
            );
        }
    }
}

#[test]
fn an_emptied_directory_is_another_incarnation() {
    let (directory, store) = new();
    let before = store.identity();
    drop(store);
    assert_eq!(
        open(&directory, OpenMode::Existing).unwrap().identity(),
        before
    );
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }
    let error = open(&directory, OpenMode::Existing).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    let after = open(&directory, OpenMode::Create).unwrap().identity();
    assert_ne!(after.incarnation, before.incarnation);
    assert_eq!((after.node, after.cluster), (before.node, before.cluster));
}

/// Every call that fails now fails for ever, whatever failed.
fn check_poisoned(directory: &TempDir, mut store: Store, entries_left: u64, what: &str) {
    let batch = WriteBatch::default();
    for error in [
        store.append(&batch).unwrap_err(),
        store.read(LogIndex(1), LogIndex(2), 10).unwrap_err(),
        store.compact(LogIndex(1)).unwrap_err(),
        store.append(&reset(9)).unwrap_err(),
        save(&mut store, 1, b"").unwrap_err(),
        store.close().unwrap_err(),
    ] {
        assert!(
            error.to_string().contains("failed before"),
            "{what}: {error}"
        );
    }
    let store = open(directory, OpenMode::Existing).unwrap();
    assert_eq!(last(&store), entries_left, "{what}");
}

#[test]
fn any_failure_of_the_disk_is_final() {
    let batch = entries(1, 3..=3);
    let batch = WriteBatch {
        entries: &batch,
        ..WriteBatch::default()
    };
    let begin = || {
        let (directory, mut store) = new();
        append(&mut store, 1, 1..=2);
        (directory, store)
    };
    let aside = |directory: &TempDir, folder: &str| {
        let path = directory.path().join(folder);
        (path.clone(), path.with_extension("away"))
    };

    let (directory, mut store) = begin();
    store.segments.break_syncs();
    store.append(&batch).unwrap_err();
    check_poisoned(&directory, store, 2, "sync of a write");

    let (directory, mut store) = begin();
    store.segments.break_syncs();
    store.append(&reset(9)).unwrap_err();
    check_poisoned(&directory, store, 2, "sync of a reset");

    // A new file cannot be made, named, or its name not be made durable.
    let (directory, mut store) = begin();
    let (log, away) = aside(&directory, "log");
    fs::rename(&log, &away).unwrap();
    let steps = store.writer.encode_roll();
    store.perform(&steps).unwrap_err();
    fs::rename(&away, &log).unwrap();
    check_poisoned(&directory, store, 2, "a new file");

    let (directory, mut store) = begin();
    let (snapshots, away) = aside(&directory, "snapshots");
    let finished = written(&store, 2, b"two").unwrap();
    fs::rename(&snapshots, &away).unwrap();
    store.adopt_snapshot(finished).unwrap_err();
    fs::rename(&away, &snapshots).unwrap();
    check_poisoned(&directory, store, 2, "a snapshot");

    let (directory, mut store) = begin();
    let (log, away) = aside(&directory, "log");
    fs::rename(&log, &away).unwrap();
    store.compact(LogIndex(1)).unwrap_err();
    fs::rename(&away, &log).unwrap();
    check_poisoned(&directory, store, 2, "dropping old files");
}
