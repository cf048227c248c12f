//! A disk that a script moves by hand: what is written is durable when the
//! script says so, and a crash keeps only that. Knows nothing of what entries
//! mean.

use std::collections::{BTreeMap, VecDeque};

use precentor_core::action::Write;
use precentor_core::bytes::Bytes;
use precentor_core::driver::Recovered;
use precentor_core::entry::{HardState, LogEntry};
use precentor_core::ids::{LocalNumber, LogIndex, WriteId};
use precentor_core::snapshot::SnapshotPart;
use precentor_sim::disk::Shelf;

/// One node's disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    hard_state: HardState,
    /// Snapshots and bodies: durable as soon as they are here.
    pub shelf: Shelf,
    entries: Vec<LogEntry>,
    /// What is kept for clients: durable if true.
    requests: BTreeMap<LocalNumber, (Bytes, bool)>,
    /// Handed out and not durable, in order.
    waiting: VecDeque<Write>,
}

impl Disk {
    /// A disk that holds this already.
    #[must_use]
    pub fn holding(recovered: Recovered) -> Disk {
        Disk {
            hard_state: recovered.hard_state,
            shelf: Shelf::holding(recovered.snapshot),
            entries: recovered.entries,
            requests: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Takes a write; it is not durable yet.
    pub fn write(&mut self, write: Write) {
        self.waiting.push_back(write);
    }

    /// Makes the next write durable.
    pub fn sync_one(&mut self) -> Option<WriteId> {
        let write = self.waiting.pop_front()?;
        if let Some(hard_state) = write.hard_state {
            assert!(
                self.hard_state.may_become(&hard_state),
                "term, vote and commit never go back: {:?} then {hard_state:?}",
                self.hard_state
            );
            self.hard_state = hard_state;
        }
        if let Some(from) = write.truncate_from {
            self.entries.retain(|entry| entry.index < from);
        }
        if write.reset.is_some() {
            self.entries.clear();
        }
        for entry in &write.entries {
            if let Some(last) = self.entries.last() {
                assert_eq!(entry.index, last.index.next(), "a disk's log has no gap");
            }
            self.entries.push(entry.clone());
        }
        Some(write.id)
    }

    /// Takes a client's request; it is not durable yet.
    pub fn keep_request(&mut self, number: LocalNumber, entry: Bytes) {
        self.requests.insert(number, (entry, false));
    }

    /// A client's request is durable.
    pub fn request_kept(&mut self, number: LocalNumber) {
        let kept = self.requests.get_mut(&number);
        kept.expect("it was written before").1 = true;
    }

    /// A client's request is over.
    pub fn drop_request(&mut self, number: LocalNumber) {
        self.requests.remove(&number);
    }

    /// Writes that are not durable.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// The next write that is not durable, taken off the disk as failed.
    pub fn fail_one(&mut self) -> Option<WriteId> {
        self.waiting.pop_front().map(|write| write.id)
    }

    /// Power is lost: of what is not durable, the first `keep` writes happen to
    /// have reached the disk.
    pub fn crash(&mut self, keep: usize) {
        for _ in 0..keep {
            self.sync_one();
        }
        self.waiting.clear();
        self.requests.retain(|_, (_, durable)| *durable);
        self.shelf.crash(usize::MAX);
    }

    /// Damage: entries that were durable are gone.
    pub fn lose(&mut self, from: LogIndex) {
        self.entries.retain(|entry| entry.index < from);
    }

    /// Takes a part of a snapshot; says which one it was the last of.
    pub fn save(&mut self, part: SnapshotPart) -> Option<LogIndex> {
        self.shelf.save(part);
        self.shelf.saved()
    }

    /// Puts a leader's snapshot in force.
    pub fn install(&mut self, index: LogIndex) -> Option<LogIndex> {
        self.shelf.install(index);
        self.shelf.installed()
    }

    /// Drops old entries.
    pub fn compact(&mut self, up_to: LogIndex) {
        let kept = self.shelf.snapshot_index();
        assert!(up_to <= kept, "{up_to} is dropped, and no snapshot has it");
        self.entries.retain(|entry| entry.index > up_to);
    }

    /// Entries, durable or not, as an operating system reads them back.
    #[must_use]
    pub fn read(&self, from: LogIndex, to: LogIndex, bytes_max: u64) -> Vec<LogEntry> {
        let mut all = self.entries.clone();
        for write in &self.waiting {
            if let Some(from) = write.truncate_from {
                all.retain(|entry| entry.index < from);
            }
            if write.reset.is_some() {
                all.clear();
            }
            all.extend(write.entries.iter().cloned());
        }
        let mut bytes = 0;
        all.into_iter()
            .filter(|entry| entry.index >= from && entry.index <= to)
            .enumerate()
            .take_while(|(position, entry)| {
                bytes += entry.body.count();
                *position == 0 || bytes <= bytes_max
            })
            .map(|(_, entry)| entry)
            .collect()
    }

    /// What a restart finds.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            kept: self.shelf.kept(),
            snapshot: self.shelf.snapshot().cloned(),
            entries: self.entries.clone(),
            local: {
                let requests = self.requests.iter();
                let requests = requests.map(|(number, (entry, _))| (*number, entry.clone()));
                requests.collect()
            },
        }
    }
}
