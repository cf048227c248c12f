//! The requests that a disk keeps for clients of its node. Each is durable when its write
//! is done; one that is let go may come back with a crash.

use std::collections::BTreeMap;

use precentor_core::bytes::Bytes;
use precentor_core::ids::LocalNumber;

use crate::tape::{Domain, Tape};

/// Kept requests of one disk.
#[derive(Clone, Debug, Default)]
pub struct LocalStore {
    durable: BTreeMap<LocalNumber, Bytes>,
    /// Written, and perhaps not durable.
    pending: BTreeMap<LocalNumber, Bytes>,
    /// Let go since something became durable last.
    dropped: BTreeMap<LocalNumber, Bytes>,
}

impl LocalStore {
    /// Writes a request.
    ///
    /// # Panics
    /// If it takes the place of another.
    pub fn keep(&mut self, number: LocalNumber, entry: Bytes) {
        let before = self.pending.insert(number, entry);
        let is_free = before.is_none() && !self.durable.contains_key(&number);
        assert!(is_free, "{number} takes the place of another");
    }

    /// A request is durable.
    pub fn done(&mut self, number: LocalNumber) {
        let entry = self.pending.remove(&number);
        // It may have been let go before.
        self.durable.extend(entry.map(|entry| (number, entry)));
        self.dropped.clear();
    }

    /// Lets a request go.
    pub fn let_go(&mut self, number: LocalNumber) {
        let entry = self.pending.remove(&number);
        let entry = entry.or_else(|| self.durable.remove(&number));
        self.dropped.extend(entry.map(|entry| (number, entry)));
    }

    /// The node is gone: any of what was not durable survives.
    pub fn crash(&mut self, lane: u32, tape: &mut Tape) {
        if self.pending.is_empty() && self.dropped.is_empty() {
            return;
        }
        let mut roll = tape.roll(Domain::LocalDisk, lane);
        let unsure = std::mem::take(&mut self.pending);
        let unsure = unsure.into_iter().chain(std::mem::take(&mut self.dropped));
        self.durable.extend(unsure.filter(|_| roll.chance(500_000)));
    }

    /// What a restart finds.
    #[must_use]
    pub fn recovered(&self) -> Vec<(LocalNumber, Bytes)> {
        let durable = self.durable.iter();
        durable
            .map(|(number, entry)| (*number, entry.clone()))
            .collect()
    }
}
