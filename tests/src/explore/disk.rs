//! A node's disk as the search sees it: what is there for good, and the writes
//! on their way. A loss of power keeps any prefix of what was on its way, down
//! to single records: that is all that a host may do to a core.

use std::collections::VecDeque;

use precentor_core::action::Write;
use precentor_core::driver::Recovered;
use precentor_core::entry::{HardState, LogEntry};
use precentor_core::ids::{LogIndex, WriteId};

/// The smallest thing that a loss of power keeps or takes.
#[derive(Clone, Debug)]
enum Record {
    HardState(HardState),
    Truncate(LogIndex),
    Entry(LogEntry),
}

/// One node's disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    hard_state: HardState,
    entries: Vec<LogEntry>,
    waiting: VecDeque<Write>,
    /// The last write that was reported durable to the node that runs.
    reported: WriteId,
}

impl Disk {
    /// Term and vote, for good.
    pub(super) fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The log, for good.
    pub(super) fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    /// What is on its way, oldest first.
    pub(super) fn waiting(&self) -> &VecDeque<Write> {
        &self.waiting
    }

    /// The last write that was reported durable.
    pub(super) fn reported(&self) -> WriteId {
        self.reported
    }

    /// Takes a write; it is not durable yet.
    pub(super) fn write(&mut self, write: Write) {
        self.waiting.push_back(write);
    }

    /// Makes the oldest write durable. The error is a rule of disks that the
    /// write breaks.
    pub(super) fn sync_one(&mut self) -> Result<Option<WriteId>, String> {
        let Some(write) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let id = write.id;
        for record in records(write) {
            self.keep(record)?;
        }
        self.reported = id;
        Ok(Some(id))
    }

    /// How many records are on their way: a loss of power keeps from none to all.
    pub(super) fn records_waiting(&self) -> usize {
        let count = |write: &Write| {
            usize::from(write.hard_state.is_some())
                + usize::from(write.truncate_from.is_some())
                + write.entries.len()
        };
        self.waiting.iter().map(count).sum()
    }

    /// Power is lost: of what was on its way the first `keep` records are there.
    pub(super) fn crash(&mut self, keep: usize) -> Result<(), String> {
        let waiting = std::mem::take(&mut self.waiting);
        for record in waiting.into_iter().flat_map(records).take(keep) {
            self.keep(record)?;
        }
        self.reported = WriteId(0);
        Ok(())
    }

    /// What a start finds.
    pub(super) fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            kept: None,
            local: Vec::new(),
            snapshot: None,
            entries: self.entries.clone(),
        }
    }

    fn keep(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::HardState(next) => {
                if !self.hard_state.may_become(&next) {
                    return Err(format!(
                        "the disk holds {:?}, and {next:?} is written over it",
                        self.hard_state
                    ));
                }
                self.hard_state = next;
            }
            Record::Truncate(from) => self.entries.retain(|entry| entry.index < from),
            Record::Entry(entry) => {
                let expected = LogIndex(self.entries.len() as u64 + 1);
                if entry.index != expected {
                    return Err(format!(
                        "entry {} is written where {expected} is next",
                        entry.index
                    ));
                }
                self.entries.push(entry);
            }
        }
        Ok(())
    }
}

/// A write's records, in the order in which a host applies them.
fn records(write: Write) -> impl Iterator<Item = Record> {
    let state = write.hard_state.map(Record::HardState);
    let cut = write.truncate_from.map(Record::Truncate);
    let entries = write.entries.to_vec();
    state
        .into_iter()
        .chain(cut)
        .chain(entries.into_iter().map(Record::Entry))
}
