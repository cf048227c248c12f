//! What a damaged log starts with, and that a repair survives any crash.

use super::tests::{Disk, NODE, SEGMENT, entries, last, voted};
use super::*;
use crate::entry::{HardState, WriteBatch};
use crate::ids::NodeId;

/// Three files: a vote and entries 1 to 3, entries 4 to 6, entries 7 to 9.
fn three_files() -> Disk {
    let mut disk = Disk::new();
    disk.append(&WriteBatch {
        hard_state: Some(voted(2, 1)),
        ..WriteBatch::default()
    });
    for first in [1, 4, 7] {
        if first > 1 {
            let steps = disk.writer.encode_roll();
            disk.perform(steps);
        }
        disk.entries(2, first..=first + 2);
    }
    disk
}

/// What a host does with a damaged log, up to and with its nth step.
fn repair(disk: &mut Disk, steps_done: usize) -> Recovered {
    let mut found = disk.recover().unwrap();
    let numbers = found.damaged_segments.clone();
    found.writer.mark_durable(found.writer.last_record());
    let steps = found.restart();
    disk.writer = found.writer.clone();
    if steps_done > 0 {
        disk.perform(steps);
    }
    for number in numbers.iter().take(steps_done.saturating_sub(1)) {
        disk.files.retain(|(n, _)| n != number);
    }
    found
}

fn repairing(state: HardState, up_to: u64) -> HardState {
    HardState {
        repairing: Some(LogIndex(up_to)),
        ..state
    }
}

fn hard_state(disk: &Disk) -> HardState {
    disk.recover().unwrap().writer.hard_state()
}

/// Flips a bit of the first record of an entry.
fn damage(disk: &mut Disk, index: u64, at: u32) {
    let place = *disk.writer.map().get(LogIndex(index)).unwrap();
    disk.file(place.segment)[(place.offset + at) as usize] ^= 1;
}

#[test]
fn a_damaged_log_keeps_its_good_beginning_its_promises_and_how_far_it_went() {
    for (index, at) in [(1, 70), (1, 3), (2, 70), (5, 20), (7, 64), (8, 63)] {
        let mut disk = three_files();
        let steps = disk.writer.encode_mark();
        disk.perform(steps);
        damage(&mut disk, index, at);
        let found = disk.recover().unwrap();
        assert_eq!(last(&found).0, index - 1, "entry {index}");
        assert_eq!(
            found.damage.unwrap().must_cover,
            LogIndex(9),
            "entry {index}"
        );
        let state = found.writer.hard_state();
        assert_eq!(state, repairing(voted(2, 1), 9), "entry {index}");
    }
}

#[test]
fn a_repair_that_crashes_anywhere_is_taken_up_again() {
    for steps_done in 0..4 {
        let mut disk = three_files();
        damage(&mut disk, 2, 70);
        for _ in 0..2 {
            repair(&mut disk, steps_done);
            assert_eq!(hard_state(&disk), repairing(voted(2, 1), 9), "{steps_done}");
        }
        let found = repair(&mut disk, 9);
        assert_eq!(last(&found).0, 1, "{steps_done}");
        let found = disk.recover().unwrap();
        assert_eq!((found.damage, found.torn), (None, None), "{steps_done}");
        assert!(found.damaged_segments.is_empty() && found.void_segments.is_empty());
        assert_eq!(found.writer.hard_state(), repairing(voted(2, 1), 9));
    }
}

#[test]
fn a_repair_is_over_when_the_log_says_so_and_not_before_its_entries_are_there() {
    let mut disk = three_files();
    damage(&mut disk, 2, 70);
    repair(&mut disk, 9);
    let (again, over) = (entries(3, 2..=10), voted(3, 2));
    let steps = disk.writer.encode(&WriteBatch {
        hard_state: Some(over),
        entries: &again,
        ..WriteBatch::default()
    });
    let steps = steps.unwrap();
    let mut torn = disk.clone();
    torn.write(steps.clone());
    disk.perform(steps);
    assert_eq!(hard_state(&disk), over);
    // One of the entries did not reach the disk before the crash.
    damage(&mut torn, 6, 70);
    let found = torn.recover().unwrap();
    assert!(found.torn.is_some());
    assert_eq!(found.writer.hard_state(), repairing(over, 9));
}

#[test]
fn damage_during_a_repair_does_not_shorten_it() {
    let mut disk = three_files();
    damage(&mut disk, 2, 70);
    repair(&mut disk, 9);
    disk.entries(3, 2..=3);
    disk.entries(3, 4..=4);
    damage(&mut disk, 3, 70);
    let found = disk.recover().unwrap();
    assert_eq!(last(&found).0, 2);
    assert_eq!(found.writer.hard_state(), repairing(voted(2, 1), 9));
}

#[test]
fn a_damaged_header_of_a_repair_does_not_end_it() {
    let mut disk = three_files();
    damage(&mut disk, 2, 70);
    repair(&mut disk, 9);
    let newest = disk.writer.segment();
    disk.file(newest)[20] ^= 1;
    let found = disk.recover().unwrap();
    assert_eq!(found.writer.hard_state(), repairing(voted(2, 1), 9));
    // If its copies are gone too, nothing says what was promised.
    disk.file(newest)[BLOCK_BYTES as usize..][..2 * BLOCK_BYTES as usize].fill(0);
    let error = disk.recover().unwrap_err();
    assert!(matches!(error, RecoverError::Lost { .. }), "{error}");
}

#[test]
fn a_vote_that_may_be_among_the_damage_makes_the_log_lost() {
    let mut disk = Disk::new();
    disk.append(&WriteBatch {
        hard_state: Some(voted(5, 2)),
        ..WriteBatch::default()
    });
    let steps = disk.writer.encode_mark();
    disk.perform(steps);
    let block = BLOCK_BYTES as usize;
    for (blocks, is_lost) in [(1..2, false), (2..3, false), (1..3, true)] {
        let mut damaged = disk.clone();
        damaged.file(1)[blocks.start * block..blocks.end * block].fill(0xee);
        match damaged.recover() {
            Ok(found) => {
                assert!(!is_lost, "{blocks:?}");
                assert_eq!(found.writer.hard_state(), repairing(voted(5, 2), 0));
            }
            Err(error) => {
                assert!(is_lost, "{blocks:?}: {error}");
                assert!(error.to_string().contains("could vote twice"), "{error}");
            }
        }
    }
    // A later hard state says what they said.
    disk.append(&WriteBatch {
        hard_state: Some(voted(5, 2)),
        ..WriteBatch::default()
    });
    let mut roomier = disk.clone();
    roomier.file(1)[block..3 * block].fill(0xee);
    assert_eq!(hard_state(&roomier), repairing(voted(5, 2), 0));
}

#[test]
fn many_small_records_in_one_damaged_block_cannot_hide_a_vote() {
    let mut disk = Disk::new();
    disk.append(&WriteBatch {
        hard_state: Some(voted(2, 1)),
        ..WriteBatch::default()
    });
    let steps = disk.writer.encode_roll();
    disk.perform(steps);
    disk.entries(2, 1..=30);
    disk.entries(2, 31..=31);
    let block = BLOCK_BYTES as usize;
    disk.file(2)[block..2 * block].fill(0);
    let found = disk.recover().unwrap();
    assert_eq!((last(&found).0, found.damage.unwrap().record), (0, 3));
    assert_eq!(found.writer.hard_state(), repairing(voted(2, 1), 31));
}

#[test]
fn unreadable_records_count_as_entries_when_nothing_tells_better() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=30);
    disk.append(&WriteBatch {
        hard_state: Some(voted(1, 1)),
        ..WriteBatch::default()
    });
    let block = BLOCK_BYTES as usize;
    disk.file(1)[block..block + 40 * 20].fill(0);
    let found = disk.recover().unwrap();
    assert_eq!(found.damage.unwrap().must_cover, LogIndex(30));
    disk.file(1)[block..2 * block].fill(0);
    let found = disk.recover().unwrap();
    assert_eq!(found.damage.unwrap().must_cover, LogIndex(30));
    assert_eq!(found.writer.hard_state(), repairing(voted(1, 1), 30));
}

#[test]
fn a_file_without_a_readable_header_is_damage_and_the_others_say_what_was_promised() {
    for number in [2, 3] {
        let mut disk = three_files();
        disk.file(number)[20] ^= 1;
        let found = disk.recover().unwrap();
        let damage = found.damage.unwrap();
        assert_eq!(
            (damage.fault, damage.segment),
            (Fault::SegmentHeader, number)
        );
        assert_eq!((last(&found).0, damage.must_cover.0), (3 * (number - 1), 9));
        assert_eq!(found.writer.hard_state(), repairing(voted(2, 1), 9));
        assert_eq!(found.damaged_segments, (number..=3).collect::<Vec<_>>());
    }
    // One that is bad throughout may have held anything, if it is the last.
    let mut disk = three_files();
    disk.file(3).fill(0);
    assert!(matches!(
        disk.recover(),
        Err(RecoverError::Lost { segment: 3, .. })
    ));
    let mut disk = three_files();
    disk.file(2).fill(0);
    assert_eq!(hard_state(&disk), repairing(voted(2, 1), 9));
}

#[test]
fn the_end_of_a_file_may_be_cut_off_if_the_next_one_misses_nothing() {
    let mut disk = three_files();
    disk.file(1).truncate(3 * BLOCK_BYTES as usize);
    let found = disk.recover().unwrap();
    let damage = found.damage.unwrap();
    assert_eq!((damage.record, damage.must_cover.0), (3, 9));
    let mut disk = three_files();
    disk.file(2).truncate(2 * BLOCK_BYTES as usize);
    let found = disk.recover().unwrap();
    assert_eq!((found.damage, last(&found).0), (None, 9));
}

#[test]
fn entries_that_were_truncated_for_good_need_no_repair() {
    let mut disk = three_files();
    disk.append(&WriteBatch {
        truncate_from: Some(LogIndex(3)),
        entries: &entries(3, 3..=4),
        ..WriteBatch::default()
    });
    let steps = disk.writer.encode_mark();
    disk.perform(steps);
    disk.file(1)[3 * BLOCK_BYTES as usize + 70] ^= 1;
    let found = disk.recover().unwrap();
    assert_eq!((last(&found).0, found.damage.unwrap().must_cover.0), (0, 4));
}

#[test]
fn a_log_that_no_snapshot_reaches_begins_anew_and_again_and_again() {
    // The first file is gone, or its header, or the snapshot that replaced it.
    let cut = |disk: &mut Disk, how: u8| match how {
        0 => drop(disk.files.remove(0)),
        1 => disk.file(1)[20] ^= 1,
        _ => disk.files.drain(..2).for_each(drop),
    };
    for how in 0..3 {
        let mut disk = three_files();
        cut(&mut disk, how);
        let found = disk.recover().unwrap();
        let base = found.writer.map().base_index();
        assert!(base.0 > 0 && found.damage.is_none());
        let whole = found.clone().beside_snapshot(base, Term(2));
        assert_eq!(
            (last(&whole).0, whole.damage),
            (9, None),
            "nothing is missing"
        );
        for steps_done in 0..2 {
            let mut disk = disk.clone();
            for _ in 0..3 {
                let mut found = disk
                    .recover()
                    .unwrap()
                    .beside_snapshot(LogIndex(2), Term(2));
                assert_eq!(last(&found), (2, 2));
                let state = found.writer.hard_state();
                let commit = LogIndex(2);
                assert_eq!(HardState { commit, ..state }, state);
                assert_eq!(
                    (state.vote, state.repairing),
                    (Some(NodeId(1)), Some(LogIndex(9)))
                );
                let steps = found.restart();
                disk.writer = found.writer;
                disk.perform(steps);
                if steps_done > 0 {
                    disk.files
                        .retain(|(n, _)| !found.damaged_segments.contains(n));
                }
            }
            disk.entries(3, 3..=4);
            assert_eq!(last(&disk.recover().unwrap()), (4, 3));
        }
    }
}

#[test]
fn a_log_cut_before_its_snapshot_begins_anew_after_it() {
    let mut disk = three_files();
    damage(&mut disk, 2, 70);
    let found = disk
        .recover()
        .unwrap()
        .beside_snapshot(LogIndex(5), Term(2));
    assert_eq!(last(&found), (5, 2));
    assert_eq!(found.damaged_segments, [1, 2, 3]);
    assert_eq!(found.damage.unwrap().must_cover, LogIndex(9));
    assert_eq!(found.writer.hard_state().commit, LogIndex(5));
}

#[test]
fn a_promise_from_a_torn_tail_survives_the_header_that_closed_it() {
    let mut disk = Disk::new();
    disk.append(&WriteBatch {
        hard_state: Some(voted(5, 2)),
        ..WriteBatch::default()
    });
    disk.file(1)[BLOCK_BYTES as usize] ^= 1;
    for is_written in [false, true] {
        let mut found = disk.recover().unwrap();
        let mut steps = found.restart();
        assert!(steps.len() > 1, "the header alone is not enough");
        if !is_written {
            steps.truncate(1);
        }
        disk.writer = found.writer;
        disk.perform(steps);
    }
    let newest = disk.writer.segment();
    disk.file(newest)[20] ^= 1;
    let found = disk.recover().unwrap();
    assert_eq!(found.writer.hard_state().vote, Some(NodeId(2)));
    assert_eq!(found.writer.hard_state().term, Term(5));
}

#[test]
fn the_file_of_another_incarnation_is_refused_behind_damage_too() {
    let mut disk = three_files();
    damage(&mut disk, 2, 70);
    let other = LogIdentity {
        incarnation: 12,
        ..NODE
    };
    let mut header = SegmentHeader::decode(&disk.files[2].1).unwrap();
    header.identity = other;
    let block = header.encode();
    disk.files[2].1[..block.len()].copy_from_slice(&block);
    assert!(matches!(
        disk.recover(),
        Err(RecoverError::WrongIncarnation { segment: 3, .. })
    ));
    assert_eq!(disk.files[2].1.len(), SEGMENT as usize);
}
