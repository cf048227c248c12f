//! A node's disk: writes become durable in order and after a while; a crash
//! keeps some first records of what was not yet synced and loses the rest. A
//! write is records in a row, as the real log lays them down: hard state, then
//! truncation, then each entry. Knows nothing of what entries mean.

use std::collections::VecDeque;

use precentor_core::action::Write;
use precentor_core::bytes::Bytes;
use precentor_core::driver::Recovered;
use precentor_core::entries::Entries;
use precentor_core::entry::{HardState, LogEntry, WriteBatch};
use precentor_core::ids::{LocalNumber, LogIndex, Term, WriteId};
use precentor_core::snapshot::SnapshotPart;

use self::record_log::{Found, RecordLog, Rotten};
use crate::scenario::DiskOptions;
use crate::tape::{Domain, Tape};

mod local;
mod record_log;
mod shelf;

pub use local::LocalStore;
pub use shelf::Shelf;

/// A write on its way, with what undoes it.
#[derive(Clone, Debug)]
struct Pending {
    id: WriteId,
    since_us: u64,
    done_us: u64,
    hard_state_before: HardState,
    hard_state: Option<HardState>,
    cut: Option<Cut>,
    /// The last entry behind which this write appended.
    after: LogIndex,
    entries: Entries,
}

/// What a write took off the log before it appended.
#[derive(Clone, Debug)]
struct Cut {
    /// The entries that were removed, from the end of the log, or all of it.
    removed: Vec<LogEntry>,
    /// The log's beginning before, if a snapshot took the place of all of it.
    reset_from: Option<LogIndex>,
}

/// One node's disk.
#[derive(Clone, Debug)]
pub struct Disk {
    options: DiskOptions,
    lane: u32,
    /// As the operating system would read it back: all writes applied.
    hard_state: HardState,
    /// The index of the first entry kept.
    first: LogIndex,
    entries: Vec<LogEntry>,
    /// What is durable for certain of term and vote.
    durable_state: HardState,
    /// Entries up to here are durable and as `entries` says.
    durable_last: LogIndex,
    pending: VecDeque<Pending>,
    /// Snapshots and bodies.
    pub shelf: Shelf,
    /// What it keeps for clients.
    pub local: LocalStore,
    /// When the sync under way ends.
    syncing_until_us: u64,
    /// When the one after it ends, if something waits for one.
    busy_until_us: u64,
    /// No sync that begins before this ends before it.
    hung_until_us: u64,
    /// Which disk of this machine it is.
    generation: u32,
    /// The log as bytes, if this disk has them.
    records: Option<RecordLog>,
    /// What was wrong with what a restart read.
    damage: Option<String>,
}

/// How a write will end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteEnd {
    /// It is durable at this time.
    Durable(u64),
    /// It fails at this time.
    Failed(u64),
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(options: DiskOptions, lane: u32) -> Disk {
        Disk {
            options,
            lane,
            hard_state: HardState::default(),
            first: LogIndex(1),
            entries: Vec::new(),
            durable_state: HardState::default(),
            durable_last: LogIndex(0),
            pending: VecDeque::new(),
            shelf: Shelf::default(),
            local: LocalStore::default(),
            syncing_until_us: 0,
            busy_until_us: 0,
            hung_until_us: 0,
            generation: 0,
            records: options
                .records
                .then(|| RecordLog::new(lane, incarnation(lane, 0))),
            damage: None,
        }
    }

    /// The disk is lost, and another one takes its place: empty, and known to
    /// be another one.
    pub fn replace(&mut self) {
        let generation = self.generation + 1;
        let life = incarnation(self.lane, generation);
        *self = Disk {
            generation,
            records: self.records.as_ref().map(|records| records.anew(life)),
            ..Disk::new(self.options, self.lane)
        };
    }

    /// Reads what is durable as a planted bug would.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, planted: crate::stage::Planted) {
        if let Some(records) = &mut self.records {
            records.planted = planted;
        }
    }

    /// Is it the machine's first disk?
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.generation == 0
    }

    /// A number that no other disk of the cluster has, or ever had.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        incarnation(self.lane, self.generation)
    }

    /// Up to which index the log must be repaired before this node votes.
    #[must_use]
    pub fn repairing(&self) -> Option<LogIndex> {
        self.durable_state.repairing
    }

    /// Takes a write. The entries' order is the core's duty and is checked.
    pub fn write(&mut self, write: Write, now_us: u64, tape: &mut Tape) -> WriteEnd {
        let done_us = self.latency(now_us, tape);
        if let Some(records) = &mut self.records {
            records.write(&WriteBatch {
                hard_state: write.hard_state,
                truncate_from: write.truncate_from,
                reset: write.reset.map(|reset| (reset.index, reset.term)),
                entries: &write.entries,
            });
        }
        let hard_state_before = self.hard_state;
        let mut cut = None;
        if let Some(from) = write.truncate_from {
            assert!(
                from >= self.first,
                "truncation at {from} reaches below the log's start {}",
                self.first
            );
            let keep = ((from.0 - self.first.0) as usize).min(self.entries.len());
            cut = Some(Cut {
                removed: self.entries.split_off(keep),
                reset_from: None,
            });
            self.durable_last = self.durable_last.min(LogIndex(from.0 - 1));
        }
        if let Some(reset) = write.reset {
            assert!(
                self.shelf.snapshot_index() >= reset.index && cut.is_none(),
                "the log goes for a snapshot of {}, and there is one of {}",
                reset.index,
                self.shelf.snapshot_index()
            );
            cut = Some(Cut {
                removed: std::mem::take(&mut self.entries),
                reset_from: Some(self.first),
            });
            self.first = reset.index.next();
            self.durable_last = reset.index;
        }
        let pending = Pending {
            id: write.id,
            since_us: now_us,
            done_us,
            hard_state_before,
            hard_state: write.hard_state,
            cut,
            after: self.last(),
            entries: write.entries,
        };
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        for entry in &pending.entries {
            let expected = self.next_index();
            assert!(
                entry.index == expected,
                "a write appends {} where {expected} comes next",
                entry.index
            );
            self.entries.push(entry.clone());
        }
        self.pending.push_back(pending);
        if tape
            .fault(Domain::WriteFailed, self.lane, self.options.fail_ppm)
            .is_some()
        {
            return WriteEnd::Failed(done_us);
        }
        WriteEnd::Durable(done_us)
    }

    /// It answers nothing that it is asked from now on until then.
    pub fn hang(&mut self, until_us: u64) {
        self.hung_until_us = self.hung_until_us.max(until_us);
    }

    /// Until when it does not answer.
    #[must_use]
    pub fn hung_until_us(&self) -> u64 {
        self.hung_until_us
    }

    /// Since when it owes an answer, if it does.
    #[must_use]
    pub fn silent_since_us(&self) -> Option<u64> {
        self.pending.front().map(|write| write.since_us)
    }

    /// The term that was written last, durable or not.
    #[must_use]
    pub fn written_term(&self) -> Term {
        self.hard_state.term
    }

    /// What became durable by now: the latest such write.
    pub fn complete(&mut self, now_us: u64) -> Option<WriteId> {
        let mut latest = None;
        while self.pending.front().is_some_and(|p| p.done_us <= now_us) {
            let done = self.pending.pop_front().expect("there is a first one");
            if let Some(records) = &mut self.records {
                records.sync();
            }
            if let Some(hard_state) = done.hard_state {
                self.durable_state = hard_state;
            }
            // Later cuts have set the end already: never beyond them, and a later
            // reset's is that of its snapshot.
            let end = LogIndex(done.after.0 + done.entries.len() as u64);
            let cuts = || self.pending.iter().filter(|later| later.cut.is_some());
            let is_reset = |later: &Pending| {
                let cut = later.cut.as_ref();
                cut.is_some_and(|cut| cut.reset_from.is_some())
            };
            if !cuts().any(is_reset) && (done.cut.is_some() || !done.entries.is_empty()) {
                let kept_by_later = cuts().map(|later| later.after).min();
                self.durable_last = kept_by_later.map_or(end, |kept| end.min(kept));
            }
            latest = Some(done.id);
        }
        latest
    }

    /// Does a write wait for a stall, longer than writes usually wait, or would one?
    #[must_use]
    pub fn is_stalled(&self, now_us: u64) -> bool {
        let until_us = self.busy_until_us.max(self.hung_until_us);
        until_us > now_us + 2 * self.options.sync_us_max
    }

    /// Takes a part of a snapshot. When it is durable, if this was the last.
    pub fn save(&mut self, part: SnapshotPart, now_us: u64, tape: &mut Tape) -> Option<u64> {
        let is_whole = self.shelf.save(part);
        is_whole.then(|| self.latency(now_us, tape) + 1_000)
    }

    /// Keeps a client's request. When that is durable.
    pub fn keep_request(
        &mut self,
        (number, entry): (LocalNumber, Bytes),
        now_us: u64,
        tape: &mut Tape,
    ) -> u64 {
        self.local.keep(number, entry);
        self.latency(now_us, tape)
    }

    /// Puts a leader's snapshot in force. When that is durable.
    pub fn install(&mut self, index: LogIndex, now_us: u64, tape: &mut Tape) -> u64 {
        self.shelf.install(index);
        let longer_us = match self.options.install_us_max {
            0 => 0,
            most_us => tape.roll(Domain::Install, self.lane).below(most_us),
        };
        self.latency(now_us, tape) + 1_000 + longer_us
    }

    /// Entries up to here go, as far as a durable snapshot has them.
    pub fn compact(&mut self, up_to: LogIndex) {
        let held = self.shelf.snapshot_index();
        assert!(
            up_to <= held,
            "the log is dropped up to {up_to}, the snapshot ends at {held}"
        );
        let last_safe = self.durable_last.min(up_to);
        let count = (last_safe.0 + 1).saturating_sub(self.first.0) as usize;
        self.entries.drain(..count);
        self.first = LogIndex(self.first.0 + count as u64);
        if let Some(records) = &mut self.records {
            records.compact(self.first.prev());
        }
    }

    /// Entries of the log, as a file would give them back.
    #[must_use]
    pub fn read(&self, from: LogIndex, to: LogIndex, bytes_max: u64) -> Vec<LogEntry> {
        let mut bytes = 0;
        let mut read = Vec::new();
        for index in from.0..=to.0 {
            let Some(entry) = self.entry(LogIndex(index)) else {
                break;
            };
            bytes += entry.body.count();
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push(entry.clone());
        }
        read
    }

    /// The entry at an index, durable or not.
    #[must_use]
    pub fn entry(&self, index: LogIndex) -> Option<&LogEntry> {
        let place = index.0.checked_sub(self.first.0)?;
        self.entries.get(place as usize)
    }

    /// The term of a durable entry. What is in a durable snapshot counts as held.
    #[must_use]
    pub fn holds_durably(&self, index: LogIndex, term: Term) -> bool {
        if index > self.durable_last {
            return index <= self.shelf.snapshot_index();
        }
        index < self.first || self.entry(index).is_some_and(|entry| entry.term == term)
    }

    /// Is the entry at an index, as it stands, durable?
    #[must_use]
    pub fn is_durable(&self, index: LogIndex) -> bool {
        index <= self.durable_last || index <= self.shelf.snapshot_index()
    }

    /// Term and vote as they are durable.
    #[must_use]
    pub fn durable_state(&self) -> HardState {
        self.durable_state
    }

    /// The last entry, durable or not.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        LogIndex(self.next_index().0 - 1)
    }

    /// The node is gone: a first part of what was not synced survives. If it
    /// `may_rot`, something that was durable may be damaged.
    pub fn crash(&mut self, may_rot: bool, tape: &mut Tape) {
        let kept = tape.roll(Domain::Sync, self.lane).below(1 << 16) as usize;
        self.shelf.crash(kept);
        self.local.crash(self.lane, tape);
        (self.syncing_until_us, self.busy_until_us) = (0, 0);
        self.hung_until_us = 0;
        if self.records.is_some() {
            self.damage = self.crash_records(may_rot, tape).err();
            return;
        }
        let pending: Vec<Pending> = self.pending.drain(..).collect();
        for undone in pending.iter().rev() {
            self.keep_up_to(undone.after);
            self.hard_state = undone.hard_state_before;
            let Some(cut) = &undone.cut else {
                continue;
            };
            self.first = cut.reset_from.unwrap_or(self.first);
            self.entries.extend_from_slice(&cut.removed);
        }
        let records_of = |p: &Pending| {
            usize::from(p.hard_state.is_some()) + usize::from(p.cut.is_some()) + p.entries.len()
        };
        let total: usize = pending.iter().map(records_of).sum();
        let mut survive = 0;
        if total > 0 {
            if let Some(mut roll) =
                tape.fault(Domain::UnsyncedKept, self.lane, self.options.keep_ppm)
            {
                survive = 1 + roll.below(total as u64) as usize;
            }
            if survive < total {
                tape.count(Domain::UnsyncedLost);
            }
        }
        for kept in pending {
            if survive == 0 {
                break;
            }
            if survive < records_of(&kept) {
                tape.count(Domain::TornWrite);
            }
            survive -= self.redo(kept, survive);
        }
        self.durable_state = self.hard_state;
        self.durable_last = self.last();
    }

    /// The same of a log that is kept as bytes. What was durable must be read
    /// again as it was: only that was promised to anybody.
    fn crash_records(&mut self, may_rot: bool, tape: &mut Tape) -> Result<(), String> {
        let records = self.records.as_mut().expect("the caller found them");
        let has_pending = !self.pending.is_empty();
        let roll = has_pending
            .then(|| tape.fault(Domain::UnsyncedKept, self.lane, self.options.keep_ppm))
            .flatten();
        if records.crash(roll) {
            tape.count(Domain::TornWrite);
        } else if has_pending {
            tape.count(Domain::UnsyncedLost);
        }
        self.pending.clear();
        let snapshot = self
            .shelf
            .snapshot()
            .map_or_else(Default::default, |snapshot| {
                (snapshot.meta.index, snapshot.meta.term)
            });
        let rot = may_rot
            .then(|| tape.fault(Domain::Rot, self.lane, self.options.rot_ppm))
            .flatten();
        match rot.and_then(|roll| records.rot(roll)) {
            None => {}
            Some(Rotten::Bit) => tape.count(Domain::BitFlipped),
            Some(Rotten::Block) => tape.count(Domain::BlockLost),
        }
        let Found {
            hard_state,
            base,
            mut entries,
            damage,
        } = records
            .recover(snapshot)
            .map_err(|error| format!("the log cannot be read back: {error}"))?;
        if records.was_torn {
            tape.count(Domain::TornTail);
        }
        // A log that was begun anew begins after the snapshot.
        let first = self.first.max(base.next());
        entries.retain(|entry| entry.index >= first);
        // What a snapshot has may be damaged in the log: then it begins behind that.
        let skipped = (first.0 - self.first.0) as usize;
        let begins_well = skipped == 0 || first <= snapshot.0.next();
        let kept = (self.durable_last.0 + 1).saturating_sub(self.first.0) as usize;
        let kept = kept.max(skipped);
        let is_kept = match damage {
            None => begins_well && entries.get(..kept - skipped) == self.entries.get(skipped..kept),
            Some(damage) => damage.must_cover >= self.durable_last,
        };
        if !is_kept || !self.durable_state.is_kept_by(&hard_state) {
            return Err(format!(
                "{:?} and the log up to {} were durable; read back were {hard_state:?} and {} entries from {first} on, with {damage:?}",
                self.durable_state,
                self.durable_last,
                entries.len(),
            ));
        }
        (self.first, self.entries) = (first, entries);
        (self.hard_state, self.durable_state) = (hard_state, hard_state);
        self.durable_last = self.last();
        Ok(())
    }

    /// What was wrong with what the last restart read, if anything.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// What a restart finds.
    #[must_use]
    pub fn recover(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            kept: self.shelf.kept(),
            snapshot: self.shelf.snapshot().cloned(),
            entries: self.entries.clone(),
            local: self.local.recovered(),
        }
    }

    /// Puts back the first `budget` records of a write; returns how many it took.
    fn redo(&mut self, write: Pending, budget: usize) -> usize {
        let mut used = 0;
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
            used += 1;
        }
        if let Some(cut) = &write.cut
            && used < budget
        {
            match cut.reset_from {
                None => self.keep_up_to(write.after),
                Some(_) => {
                    self.entries.clear();
                    self.first = write.after.next();
                }
            }
            used += 1;
        }
        let entries = write.entries.len().min(budget - used);
        self.entries.extend_from_slice(&write.entries[..entries]);
        used + entries
    }

    fn keep_up_to(&mut self, last: LogIndex) {
        let count = (last.0 + 1).saturating_sub(self.first.0) as usize;
        self.entries.truncate(count);
    }

    fn next_index(&self) -> LogIndex {
        LogIndex(self.first.0 + self.entries.len() as u64)
    }

    fn latency(&mut self, now_us: u64, tape: &mut Tape) -> u64 {
        let mut latency_us = tape
            .roll(Domain::Sync, self.lane)
            .between(self.options.sync_us_min, self.options.sync_us_max);
        let stall = tape.fault(Domain::SyncSpike, self.lane, self.options.spike_ppm);
        if let Some(mut roll) = stall {
            latency_us += roll.between(10_000, self.options.spike_us_max.max(10_000));
        }
        // A write that comes during a sync waits for the next one, and shares
        // it with all that wait: group commit, as the real disk thread does it.
        if now_us >= self.busy_until_us {
            self.syncing_until_us = now_us + latency_us;
            self.busy_until_us = self.syncing_until_us;
        } else {
            if now_us >= self.syncing_until_us {
                self.syncing_until_us = self.busy_until_us;
            }
            if self.busy_until_us == self.syncing_until_us {
                self.busy_until_us = self.syncing_until_us + latency_us;
            }
        }
        // One that would end while the disk hangs ends after that; all that wait
        // for the next one share it then too.
        if self.busy_until_us <= self.hung_until_us {
            let is_under_way = self.busy_until_us == self.syncing_until_us;
            self.busy_until_us = self.hung_until_us + latency_us;
            if is_under_way {
                self.syncing_until_us = self.busy_until_us;
            }
        }
        self.busy_until_us
    }
}

/// As unlike each other as random ones.
fn incarnation(lane: u32, generation: u32) -> u64 {
    (u64::from(lane) + 1) << 32 | u64::from(generation)
}

#[cfg(test)]
mod tests;
