use std::sync::Arc;

use precentor_core::bytes::Bytes;
use precentor_core::digest::StateHash;
use precentor_core::entry::{ChainHash, EntryKind};
use precentor_core::ids::NodeId;
use precentor_core::snapshot::SnapshotMeta;

use super::*;

fn entries(from: u64, to: u64, term: u64) -> Vec<LogEntry> {
    (from..=to)
        .map(|index| LogEntry {
            index: LogIndex(index),
            term: Term(term),
            chain: ChainHash(0),
            kind: EntryKind::Command,
            body: Bytes::default(),
        })
        .collect()
}

fn write(id: u64, truncate_from: Option<u64>, entries: Vec<LogEntry>, term: u64) -> Write {
    Write {
        id: WriteId(id),
        hard_state: Some(HardState {
            term: Term(term),
            vote: Some(NodeId(1)),
            commit: LogIndex(0),
            repairing: None,
        }),
        truncate_from: truncate_from.map(LogIndex),
        reset: None,
        entries: entries.into(),
    }
}

fn disk(keep_ppm: u32) -> Disk {
    let options = DiskOptions {
        sync_us_min: 100,
        sync_us_max: 100,
        keep_ppm,
        ..DiskOptions::default()
    };
    Disk::new(options, 0)
}

fn terms(disk: &Disk) -> Vec<u64> {
    disk.recover()
        .entries
        .iter()
        .map(|entry| entry.term.0)
        .collect()
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let (mut disk, mut tape) = (disk(0), Tape::of_seed(1));
    assert_eq!(
        disk.write(write(1, None, entries(1, 3, 1), 1), 0, &mut tape),
        WriteEnd::Durable(100)
    );
    assert_eq!(disk.complete(100), Some(WriteId(1)));
    disk.write(write(2, Some(2), entries(2, 4, 2), 2), 200, &mut tape);
    assert!(
        !disk.holds_durably(LogIndex(2), Term(1)),
        "it is being overwritten"
    );
    assert_eq!(disk.durable_state().term, Term(1));
    disk.crash(false, &mut tape);
    assert_eq!(terms(&disk), [1, 1, 1]);
    assert_eq!(disk.recover().hard_state.term, Term(1));
    assert!(disk.holds_durably(LogIndex(3), Term(1)));
}

#[test]
fn what_was_synced_survives_every_crash_and_what_was_not_survives_as_a_first_part() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (mut disk, mut tape) = (disk(1_000_000), Tape::of_seed(seed));
        disk.write(write(1, None, entries(1, 2, 1), 1), 0, &mut tape);
        disk.complete(100);
        disk.write(write(2, None, entries(3, 4, 2), 2), 100, &mut tape);
        disk.write(write(3, Some(3), entries(3, 3, 3), 3), 100, &mut tape);
        disk.crash(false, &mut tape);
        seen.insert((disk.recover().hard_state.term.0, terms(&disk)));
    }
    let legal = [
        (2, vec![1, 1]),
        (2, vec![1, 1, 2]),
        (2, vec![1, 1, 2, 2]),
        (3, vec![1, 1, 2, 2]),
        (3, vec![1, 1]),
        (3, vec![1, 1, 3]),
    ];
    assert_eq!(
        seen,
        legal.into_iter().collect(),
        "every first part, and nothing else"
    );
}

#[test]
fn a_completion_does_not_make_durable_what_was_cut_since() {
    let (mut disk, mut tape) = (disk(0), Tape::of_seed(1));
    disk.write(write(1, None, entries(1, 3, 1), 1), 0, &mut tape);
    disk.write(write(2, Some(2), entries(2, 3, 2), 2), 90, &mut tape);
    assert_eq!(disk.complete(100), Some(WriteId(1)));
    assert!(disk.holds_durably(LogIndex(1), Term(1)));
    assert!(!disk.holds_durably(LogIndex(3), Term(2)));
    assert_eq!(disk.complete(10_000), Some(WriteId(2)));
    assert!(disk.holds_durably(LogIndex(3), Term(2)));
}

fn part(index: u64, offset: u64, last: bool) -> SnapshotPart {
    SnapshotPart {
        meta: SnapshotMeta {
            index: LogIndex(index),
            term: Term(1),
            chain: ChainHash(3),
            state: StateHash(0),
            membership: Arc::default(),
        },
        offset,
        bytes: Bytes::from(vec![1; 10]),
        last,
    }
}

#[test]
fn a_snapshot_that_a_crash_interrupts_leaves_the_one_before() {
    let (mut disk, mut tape) = (disk(0), Tape::of_seed(1));
    assert_eq!(disk.save(part(3, 0, false), 0, &mut tape), None);
    assert!(disk.save(part(3, 10, true), 0, &mut tape).is_some());
    assert_eq!(disk.shelf.saved(), Some(LogIndex(3)));
    let found = |disk: &Disk| {
        let snapshot = disk.recover().snapshot.unwrap();
        (snapshot.meta.index, snapshot.image.count())
    };
    disk.save(part(5, 0, false), 0, &mut tape);
    disk.crash(false, &mut tape);
    assert_eq!(found(&disk), (LogIndex(3), 20), "half of five is not five");
    disk.save(part(6, 0, true), 0, &mut tape);
    disk.crash(false, &mut tape);
    assert_eq!(disk.shelf.saved(), None);
    assert_eq!(found(&disk), (LogIndex(3), 20), "six was not durable");
}

#[test]
fn compaction_drops_only_what_a_durable_snapshot_has() {
    let (mut disk, mut tape) = (disk(0), Tape::of_seed(1));
    disk.write(write(1, None, entries(1, 9, 1), 1), 0, &mut tape);
    disk.complete(100);
    disk.save(part(5, 0, true), 100, &mut tape);
    assert_eq!(disk.shelf.saved(), Some(LogIndex(5)));
    disk.compact(LogIndex(4));
    assert_eq!(disk.entry(LogIndex(4)), None);
    assert_eq!(disk.read(LogIndex(5), LogIndex(20), 1_000).len(), 5);
    assert!(disk.holds_durably(LogIndex(2), Term(1)));
}

#[test]
fn a_durable_record_rots_only_if_asked_and_the_disk_says_what_is_missing() {
    let options = DiskOptions {
        records: true,
        rot_ppm: 1_000_000,
        ..DiskOptions::default()
    };
    let (mut repairs, mut rotten) = (0_u64, 0_u64);
    for seed in 0..100 {
        for may_rot in [false, true] {
            let (mut disk, mut tape) = (Disk::new(options, 0), Tape::of_seed(seed));
            for id in 1..=5 {
                disk.write(write(id, None, entries(id, id, 1), 1), 0, &mut tape);
            }
            disk.complete(u64::MAX);
            disk.crash(may_rot, &mut tape);
            assert_eq!(disk.damage(), None, "seed {seed}");
            let found = disk.recover();
            let is_short = found.entries.len() < 5;
            assert_eq!(is_short, disk.repairing().is_some(), "seed {seed}");
            assert_eq!(found.hard_state.repairing, disk.repairing());
            assert!(may_rot || !is_short, "seed {seed}");
            repairs += u64::from(is_short);
            let count = |domain| tape.counters()[domain as usize];
            let fired = count(Domain::BitFlipped) + count(Domain::BlockLost);
            assert!(may_rot || fired == 0, "seed {seed}");
            rotten += fired;
        }
    }
    assert!(repairs > 10 && repairs <= rotten, "{repairs} of {rotten}");
}

#[test]
fn another_disk_is_empty_and_has_a_number_of_its_own() {
    let (mut disk, mut tape) = (disk(0), Tape::of_seed(1));
    disk.write(write(1, None, entries(1, 2, 1), 1), 0, &mut tape);
    disk.complete(u64::MAX);
    let before = disk.incarnation();
    disk.crash(false, &mut tape);
    assert_eq!(disk.incarnation(), before, "a crash changes nothing");
    disk.replace();
    assert_ne!(disk.incarnation(), before);
    assert_ne!(Disk::new(DiskOptions::default(), 1).incarnation(), before);
    assert_eq!(disk.recover().entries, []);
    assert_eq!(disk.recover().hard_state, HardState::default());
}

#[test]
fn all_that_is_written_while_the_disk_hangs_shares_two_syncs() {
    let (mut disk, mut tape) = (disk(0), Tape::of_seed(1));
    disk.hang(1_000);
    let ends: Vec<WriteEnd> = (1..=5)
        .map(|nth| {
            disk.write(
                write(nth, None, entries(nth, nth, 1), 1),
                nth * 10,
                &mut tape,
            )
        })
        .collect();
    // The sync that began with the first, and the next one with all others.
    assert_eq!(ends[0], WriteEnd::Durable(1_100));
    assert!(
        ends[1..].iter().all(|end| *end == WriteEnd::Durable(1_200)),
        "{ends:?}"
    );
}
