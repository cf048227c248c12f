//! A disk in memory for our side. It keeps what it is handed as it is handed
//! over, as the crate's does.

use precentor_core::action::Write;
use precentor_core::entries::Entries;
use precentor_core::entry::{EntryKind, LogEntry};
use precentor_core::ids::{LogIndex, WriteId};

/// The batches that were written, in order; none is empty.
#[derive(Default)]
pub(super) struct Disk(Vec<Entries>);

impl Disk {
    /// Carries out a write.
    pub(super) fn write(&mut self, write: Write) -> WriteId {
        if let Some(from) = write.truncate_from {
            while let Some(batch) = self.0.last_mut() {
                batch.truncate_before(from);
                if !batch.is_empty() {
                    break;
                }
                self.0.pop();
            }
        }
        if !write.entries.is_empty() {
            self.0.push(write.entries);
        }
        write.id
    }

    /// Reads entries.
    pub(super) fn read(&self, from: LogIndex, to: LogIndex, bytes_max: u64) -> Vec<LogEntry> {
        let mut bytes = 0;
        let fits = |entry: &&LogEntry| {
            bytes += entry.body.count();
            bytes <= bytes_max || entry.index == from
        };
        let batch = self.0.partition_point(|batch| batch[0].index <= from) - 1;
        let asked = self.0[batch..].iter().flatten();
        asked
            .skip_while(|entry| entry.index < from)
            .take_while(|entry| entry.index <= to)
            .take_while(fits)
            .cloned()
            .collect()
    }

    /// The bodies up to an index, without those that a leader appends of itself.
    pub(super) fn bodies(&self, commit: LogIndex) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        let committed = self.0.iter().flatten();
        Box::new(
            committed
                .take_while(move |entry| entry.index <= commit)
                .filter(|entry| entry.kind == EntryKind::Command && entry.body.count() > 0)
                .map(|entry| &entry.body[..]),
        )
    }
}
