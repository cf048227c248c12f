//! What a snapshot of the queue costs: its begin, its parts as a node takes them,
//! and the start from it.

use std::time::Duration;

use anyhow::Result;
use precentor_core::digest::StateHash;
use precentor_core::queue::QueueManager;

use super::install::{self, Install};
use crate::measuring::processor_time;

/// A snapshot that was taken.
pub(super) struct Snapshot {
    pub(super) begin: Duration,
    /// How long each part takes: so long a node stands still.
    pub(super) took: Vec<Duration>,
    hash: StateHash,
    parts: Vec<Vec<u8>>,
}

impl Snapshot {
    /// Takes an image in parts of so many bytes.
    pub(super) fn take(queue: &mut QueueManager, part_bytes: u64) -> Snapshot {
        let start = processor_time();
        let hash = queue.begin_image();
        let mut snapshot = Snapshot {
            begin: processor_time() - start,
            took: Vec::new(),
            hash,
            parts: Vec::new(),
        };
        while queue.is_imaging() {
            let start = processor_time();
            let part = queue.image_part(part_bytes);
            snapshot.took.push(processor_time() - start);
            snapshot.parts.push(part.bytes);
        }
        snapshot
    }

    pub(super) fn parts(&self) -> u64 {
        self.parts.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// What it costs a follower to stand on it.
    pub(super) fn install(self, jobs: u64) -> Result<Install> {
        install::measure(self.parts, self.hash, jobs)
    }
}
