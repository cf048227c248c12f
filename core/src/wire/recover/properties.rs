use proptest::prelude::*;

use super::tests::{Disk, NODE, SEGMENT, voted};
use super::*;
use crate::entry::{ChainHash, EntryKind, LogEntry, WriteBatch};
use crate::wire::log_map::LogMap;

/// A log of a few writes, the last of which was never synced.
fn any_log() -> impl Strategy<Value = (Disk, Disk)> {
    let write = (1..6_u64, 0..900_usize, any::<bool>(), any::<bool>());
    prop::collection::vec(write, 1..12).prop_map(|writes| {
        let mut disk = Disk::new();
        let mut before = disk.clone();
        for (number, (count, body_bytes, truncate, vote)) in writes.into_iter().enumerate() {
            before = disk.clone();
            let term = number as u64 + 1;
            let last = disk.writer.map().last_index();
            let from = (truncate && last.0 > 1).then(|| LogIndex(last.0 / 2 + 1));
            let first = from.unwrap_or(last.next()).0;
            let batch: Vec<LogEntry> = (first..first + count)
                .map(|index| LogEntry {
                    index: LogIndex(index),
                    term: Term(term),
                    chain: ChainHash(0),
                    kind: EntryKind::Command,
                    body: vec![index as u8 | 1; body_bytes].into(),
                })
                .collect();
            disk.append(&WriteBatch {
                hard_state: vote.then(|| voted(term, 1)),
                truncate_from: from,
                reset: None,
                entries: &batch,
            });
        }
        (before, disk)
    })
}

/// What stood in the log durably and still does.
fn durable_last(before: &Disk, after: &Disk) -> LogIndex {
    let (old, new) = (before.writer.map(), after.writer.map());
    let kept = old
        .iter()
        .take_while(|(i, place)| new.get(*i) == Some(*place));
    LogIndex(kept.count() as u64)
}

proptest! {
    #[test]
    fn any_log_reads_back((_, disk) in any_log()) {
        let recovered = disk.recover().unwrap();
        prop_assert_eq!(recovered.writer.map(), disk.writer.map());
        prop_assert_eq!(recovered.writer.hard_state(), disk.writer.hard_state());
    }

    /// Any subset of the sectors of the last write reached the disk.
    #[test]
    fn a_crash_in_a_write_never_costs_what_was_synced_before(
        (before, after) in any_log(),
        lost in prop::collection::vec(any::<bool>(), SEGMENT as usize / 512),
    ) {
        let mut crashed = after.clone();
        crashed.files.truncate(before.files.len());
        for (file, (_, old)) in crashed.files.iter_mut().zip(&before.files) {
            for (sector, _) in lost.iter().enumerate().filter(|(_, lost)| **lost) {
                let range = sector * 512..(sector + 1) * 512;
                file.1[range.clone()].copy_from_slice(&old[range]);
            }
        }
        let recovered = crashed.recover().unwrap();
        // All is there up to what the lost write itself removed.
        let (old, new) = (before.writer.map(), after.writer.map());
        let map = recovered.writer.map();
        let same = |a: &LogMap, i| a.get(i) == map.get(i);
        let shared = (1..=map.last_index().0).map(LogIndex);
        prop_assert!(shared.clone().all(|i| same(old, i)) || shared.clone().all(|i| same(new, i)));
        let kept = old.iter().take_while(|(i, place)| new.get(*i) == Some(*place)).count();
        prop_assert!(map.last_index().0 >= kept as u64);
        prop_assert!(before.writer.hard_state().may_become(&recovered.writer.hard_state()));
    }

    #[test]
    fn arbitrary_damage_never_panics_and_never_invents(
        (before, disk) in any_log(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut damaged = disk.clone();
        for (file, at, byte) in hits {
            let file = file.index(damaged.files.len());
            let at = at.index(SEGMENT as usize);
            damaged.files[file].1[at] = byte;
        }
        if let Ok(recovered) = damaged.recover() {
            let term = recovered.writer.hard_state().term;
            prop_assert!(term <= disk.writer.hard_state().term);
            prop_assert!(recovered.writer.last_record() <= disk.writer.last_record());
            // Whatever is missing of what was durable must be repaired first.
            let (found, whole) = (recovered.writer.map(), disk.writer.map());
            let is_short = found.last_index() < durable_last(&before, &disk);
            prop_assert!(!is_short || recovered.torn.is_some() || recovered.damage.is_some());
            if let Some(damage) = recovered.damage {
                prop_assert_eq!(recovered.writer.hard_state().repairing, Some(damage.must_cover));
                prop_assert!(damage.must_cover.0 <= whole.last_index().0 + disk.writer.last_record());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9_000), 0..3),
    ) {
        let files = files.iter().zip(1..).map(|(bytes, number)| (number, &bytes[..]));
        prop_assert!(recover(NODE, SEGMENT, files).is_err());
    }
}
