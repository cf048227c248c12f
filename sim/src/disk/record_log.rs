//! The log as the bytes that production lays down: every write goes through
//! the real record format, a crash tears it in sectors of 512 bytes, and a
//! restart reads it with the real recovery. What was durable may rot. Knows
//! nothing of time.

use std::collections::{BTreeMap, VecDeque};

use precentor_core::entry::{HardState, LogEntry, WriteBatch};
use precentor_core::ids::{ClusterId, LogIndex, NodeId, Term};
use precentor_core::wire::log_writer::{LogWriter, SEGMENT_BYTES_MIN, Step};
use precentor_core::wire::record::{BLOCK_BYTES, Header, LogIdentity, read_entry};
use precentor_core::wire::recover::{Damage, RecoverError, Recovered, Recovery};

use crate::tape::Roll;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What became of something durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rotten {
    /// One bit is another.
    Bit,
    /// A block is zeros, or another block.
    Block,
}

/// What a restart reads.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) hard_state: HardState,
    /// The entry before the first.
    pub(super) base: LogIndex,
    pub(super) entries: Vec<LogEntry>,
    /// What was durable and is gone.
    pub(super) damage: Option<Damage>,
}

/// A node's log files.
#[derive(Clone, Debug)]
pub(super) struct RecordLog {
    identity: LogIdentity,
    writer: LogWriter,
    /// What is durable, by the number of the file.
    files: BTreeMap<u64, Vec<u8>>,
    /// Writes that are not synced, each with the number of its last record.
    pending: VecDeque<(u64, Vec<Step>)>,
    /// Did the last recovery leave out a torn tail?
    pub(super) was_torn: bool,
    #[cfg(feature = "planted-bugs")]
    pub(super) planted: crate::stage::Planted,
}

impl RecordLog {
    pub(super) fn new(node: u32, incarnation: u64) -> RecordLog {
        let identity = LogIdentity {
            cluster: ClusterId([7; 16]),
            node: NodeId(u64::from(node) + 1),
            incarnation,
        };
        RecordLog {
            identity,
            writer: LogWriter::create(identity, SEGMENT_BYTES_MIN),
            files: BTreeMap::new(),
            pending: VecDeque::new(),
            was_torn: false,
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    /// That of another disk in this one's place.
    pub(super) fn anew(&self, incarnation: u64) -> RecordLog {
        RecordLog {
            #[cfg(feature = "planted-bugs")]
            planted: self.planted,
            ..RecordLog::new(self.identity.node.0 as u32 - 1, incarnation)
        }
    }

    pub(super) fn write(&mut self, batch: &WriteBatch<'_>) {
        let steps = self
            .writer
            .encode(batch)
            .expect("the core writes what a log can take");
        self.pending.push_back((self.writer.last_record(), steps));
    }

    /// The oldest write is synced.
    pub(super) fn sync(&mut self) {
        let (record, steps) = self
            .pending
            .pop_front()
            .expect("what is synced was written");
        for step in &steps {
            self.perform(step);
        }
        self.writer.mark_durable(record);
    }

    /// Files that hold only what a snapshot has go.
    pub(super) fn compact(&mut self, up_to: LogIndex) {
        if self.pending.is_empty() {
            let oldest = self.writer.forget_up_to(up_to);
            self.files.retain(|number, _| *number >= oldest);
        }
    }

    /// Loses power. With a roll, some sectors of what was not synced survive;
    /// without one, none does. Says whether any did.
    pub(super) fn crash(&mut self, roll: Option<Roll>) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let steps: Vec<Step> = pending.into_iter().flat_map(|(_, steps)| steps).collect();
        let Some(mut roll) = roll else {
            return false;
        };
        let reached = roll.below(steps.len() as u64 + 1) as usize;
        // Before a file is begun, all before it is synced.
        let synced = steps[..reached]
            .iter()
            .rposition(|step| matches!(step, Step::Begin { .. }))
            .map_or(0, |begun| begun + 1);
        for step in &steps[..synced] {
            self.perform(step);
        }
        let sectors_ppm = *roll.pick(&[100_000, 500_000, 900_000, 1_000_000]);
        for step in &steps[synced..reached] {
            self.tear(step, sectors_ppm, &mut roll);
        }
        reached > 0
    }

    /// Damages what is durable: flips a bit, or writes zeros or another block
    /// over one. Says what it was. It spares what no log can tell
    /// from a torn tail, and does not take the node all that it has: if the
    /// damage would be either, nothing happens to the files.
    pub(super) fn rot(&mut self, mut roll: Roll) -> Option<Rotten> {
        let block = BLOCK_BYTES as usize;
        let used: Vec<(u64, usize)> = self
            .files
            .iter()
            .flat_map(|(number, bytes)| {
                let blocks = bytes.chunks(block).enumerate();
                blocks
                    .filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0))
                    .map(move |(at, _)| (*number, at * block))
            })
            .collect();
        if used.is_empty() {
            return None;
        }
        let before = self.clone();
        let last_record = self.read().ok().map(|found| found.writer.last_record());
        let (number, at) = *roll.pick(&used);
        let (other, other_at) = *roll.pick(&used);
        let (how, place) = (roll.below(3), roll.below(u64::from(BLOCK_BYTES)) as usize);
        let bit = 1 << roll.below(8);
        let misdirected = self.files[&other][other_at..][..block].to_vec();
        let bytes = &mut self.file(number)[at..][..block];
        match how {
            0 => {
                // Where something is: padding says nothing.
                let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
                bytes[place % (end + 1)] ^= bit;
            }
            1 => bytes.fill(0),
            _ => bytes.copy_from_slice(&misdirected),
        }
        let is_fair = self.read().is_ok_and(|found| {
            found.damage.is_some() || Some(found.writer.last_record()) == last_record
        });
        if !is_fair {
            *self = before;
            return None;
        }
        let changed = self.files != before.files;
        changed.then_some(if how == 0 { Rotten::Bit } else { Rotten::Block })
    }

    fn read(&self) -> Result<Recovered, RecoverError> {
        self.read_with(Recovery::new(self.identity))
    }

    /// As the restart of a core with a planted bug does.
    fn read_as_planted(&self) -> Result<Recovered, RecoverError> {
        #[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut))]
        let mut recovery = Recovery::new(self.identity);
        #[cfg(feature = "planted-bugs")]
        {
            recovery.planted = self.planted;
        }
        self.read_with(recovery)
    }

    fn read_with(&self, mut recovery: Recovery) -> Result<Recovered, RecoverError> {
        for (&number, bytes) in &self.files {
            recovery.segment(number, bytes)?;
        }
        recovery.finish(SEGMENT_BYTES_MIN)
    }

    /// Reads the files back, and goes on from there.
    pub(super) fn recover(&mut self, snapshot: (LogIndex, Term)) -> Result<Found, RecoverError> {
        let found = match self.read_as_planted() {
            Ok(found) => found,
            Err(RecoverError::NoSegments) => {
                self.writer = LogWriter::create(self.identity, SEGMENT_BYTES_MIN);
                return Ok(Found::default());
            }
            Err(error) => return Err(error),
        };
        let mut found = found.beside_snapshot(snapshot.0, snapshot.1);
        self.was_torn = found.torn.is_some();
        found.writer.mark_durable(found.writer.last_record());
        let steps = found.restart();
        self.writer = found.writer;
        for step in &steps {
            self.perform(step);
        }
        self.writer.mark_durable(self.writer.last_record());
        let useless = [found.void_segments, found.damaged_segments].concat();
        self.files.retain(|number, _| !useless.contains(number));
        let map = self.writer.map();
        let (base, last) = (map.base_index(), map.last_index());
        let entries = (base.0 + 1..=last.0).filter_map(|index| {
            let place = map.get(LogIndex(index))?;
            let bytes = &self.files.get(&place.segment)?[place.offset as usize..];
            let (header, _) = Header::read(self.identity.salt(), bytes).ok()?;
            read_entry(&header, header.body(bytes)?)
        });
        Ok(Found {
            hard_state: self.writer.hard_state(),
            base,
            entries: entries.collect(),
            damage: found.damage,
        })
    }

    fn perform(&mut self, step: &Step) {
        match step {
            Step::Begin { segment, header } => {
                let mut bytes = header.encode();
                bytes.resize(SEGMENT_BYTES_MIN as usize, 0);
                self.files.insert(*segment, bytes);
            }
            Step::Write {
                segment,
                offset,
                bytes,
            } => self.file(*segment)[*offset as usize..][..bytes.len()].copy_from_slice(bytes),
        }
    }

    /// Each sector is old, new, or (rarely) garbage.
    fn tear(&mut self, step: &Step, sectors_ppm: u32, roll: &mut Roll) {
        let Step::Write {
            segment,
            offset,
            bytes,
        } = step
        else {
            return;
        };
        let file = &mut self.file(*segment)[*offset as usize..][..bytes.len()];
        let sectors = file
            .chunks_mut(SECTOR_BYTES)
            .zip(bytes.chunks(SECTOR_BYTES));
        for (old, new) in sectors {
            if roll.chance(sectors_ppm) {
                old.copy_from_slice(new);
            } else if roll.chance(50_000) {
                old.fill_with(|| roll.below(256) as u8);
            }
        }
    }

    fn file(&mut self, segment: u64) -> &mut Vec<u8> {
        self.files
            .get_mut(&segment)
            .expect("a file is begun before it is written")
    }
}

#[cfg(test)]
mod tests {
    use precentor_core::ids::Term;

    use precentor_core::bytes::Bytes;
    use precentor_core::entry::{ChainHash, EntryKind};

    use super::*;

    const NO_SNAPSHOT: (LogIndex, Term) = (LogIndex(0), Term(0));

    fn entries(from: u64, to: u64) -> Vec<LogEntry> {
        let entry = |index| LogEntry {
            index: LogIndex(index),
            term: Term(1),
            chain: ChainHash(0),
            kind: EntryKind::Command,
            body: Bytes::from(vec![index as u8; 700]),
        };
        (from..=to).map(entry).collect()
    }

    fn state(commit: u64) -> HardState {
        HardState {
            term: Term(1),
            vote: Some(NodeId(1)),
            commit: LogIndex(commit),
            repairing: None,
        }
    }

    /// Three writes, of which two are synced.
    fn written() -> RecordLog {
        let mut log = RecordLog::new(0, 1);
        log.write(&WriteBatch {
            hard_state: Some(state(0)),
            entries: &entries(1, 3),
            ..WriteBatch::default()
        });
        log.sync();
        log.write(&WriteBatch {
            hard_state: Some(state(3)),
            entries: &entries(4, 4),
            ..WriteBatch::default()
        });
        log.sync();
        log.write(&WriteBatch {
            hard_state: None,
            entries: &entries(5, 9),
            ..WriteBatch::default()
        });
        log
    }

    #[test]
    fn what_was_synced_is_read_back_whatever_a_crash_tears() {
        let mut torn = 0;
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut log = written();
            log.crash(Some(Roll::new(seed)));
            let found = log.recover(NO_SNAPSHOT).expect("a torn tail is no damage");
            assert_eq!(
                (found.hard_state, found.damage),
                (state(3), None),
                "seed {seed}"
            );
            let found = found.entries;
            assert!(found.len() >= 4 && entries(1, 9).starts_with(&found));
            torn += u32::from(log.was_torn);
            lengths.insert(found.len());
            log.write(&WriteBatch {
                hard_state: None,
                entries: &entries(found.len() as u64 + 1, 12),
                ..WriteBatch::default()
            });
            log.sync();
            let again = log.recover(NO_SNAPSHOT);
            let again = again.expect("the log goes on behind a torn tail");
            assert_eq!(again.entries, entries(1, 12), "seed {seed}");
        }
        assert!(torn > 20, "{torn} of 200");
        assert!(lengths.len() > 2, "{lengths:?}");
    }

    #[test]
    fn damage_to_what_was_synced_is_not_taken_for_a_torn_tail() {
        let mut log = written();
        log.crash(None);
        let file = log.file(1);
        let body = file
            .windows(700)
            .position(|window| window == [2; 700])
            .expect("the second entry is there");
        file[body + 300] ^= 1;
        let found = log.recover(NO_SNAPSHOT).expect("the vote is whole");
        assert_eq!(found.entries, entries(1, 1));
        assert_eq!(
            found.damage.map(|damage| damage.must_cover),
            Some(LogIndex(4))
        );
        let again = log.recover(NO_SNAPSHOT).expect("the repair was begun");
        assert_eq!(again.entries, entries(1, 1));
        assert_eq!(again.hard_state.repairing, Some(LogIndex(4)));
    }

    #[test]
    fn rot_is_reported_or_costs_nothing_and_is_never_taken_for_a_torn_tail() {
        let (mut damaged, mut bits, mut blocks) = (0, 0, 0);
        for seed in 0..300 {
            let mut log = written();
            log.crash(None);
            match log.rot(Roll::new(seed)) {
                None => {}
                Some(Rotten::Bit) => bits += 1,
                Some(Rotten::Block) => blocks += 1,
            }
            let found = log.recover(NO_SNAPSHOT).expect("rot never takes all");
            assert!(!log.was_torn, "seed {seed}");
            match found.damage {
                None => assert_eq!(found.entries, entries(1, 4), "seed {seed}"),
                Some(damage) => {
                    damaged += 1;
                    assert!(damage.must_cover >= LogIndex(4), "seed {seed}");
                    let repairing = Some(damage.must_cover);
                    assert_eq!(found.hard_state.repairing, repairing, "seed {seed}");
                    assert!(entries(1, 4).starts_with(&found.entries), "seed {seed}");
                }
            }
        }
        assert!(
            damaged > 60 && bits > 30 && blocks > 30,
            "{damaged} damaged, {bits} bits, {blocks} blocks"
        );
    }
}
