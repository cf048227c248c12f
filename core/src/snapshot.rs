//! The replicated state as of one entry, whole or in parts: what a node saves,
//! and what a leader gives to a follower that lacks the log before it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::digest::StateHash;
use crate::entry::ChainHash;
use crate::ids::{LogIndex, Term};
use crate::membership::Membership;

/// What a snapshot stands for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry in it.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// The hash of the log up to there.
    pub chain: ChainHash,
    /// The hash of the state.
    pub state: StateHash,
    /// Who belonged to the cluster as of that entry.
    pub membership: Arc<Membership>,
}

/// The replicated state as of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// What it stands for.
    pub meta: SnapshotMeta,
    /// The state.
    pub image: Bytes,
}

/// Some bytes of a snapshot. Parts follow each other without a gap; one at
/// offset 0 begins a snapshot, and whatever was begun before is void.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotPart {
    /// What the snapshot stands for: the same in all its parts.
    pub meta: SnapshotMeta,
    /// How many bytes of the image come before these.
    pub offset: u64,
    /// The next bytes of the image.
    pub bytes: Bytes,
    /// With these the image is whole.
    pub last: bool,
}

/// Puts the parts of a snapshot together in memory, for hosts without files.
#[derive(Clone, Debug, Default)]
pub struct SnapshotParts {
    meta: Option<SnapshotMeta>,
    image: Vec<u8>,
}

impl SnapshotParts {
    /// Adds a part; returns the snapshot once it is whole.
    ///
    /// # Panics
    /// If the part does not follow the one before: the core hands them out in
    /// order, and a host must perform them so.
    pub fn add(&mut self, part: SnapshotPart) -> Option<Snapshot> {
        if part.offset == 0 {
            self.image.clear();
            self.meta = Some(part.meta.clone());
        }
        assert!(
            self.meta.as_ref() == Some(&part.meta) && self.image.len() as u64 == part.offset,
            "a part of {:?} at {} follows {} bytes of {:?}",
            part.meta,
            part.offset,
            self.image.len(),
            self.meta
        );
        self.image.extend_from_slice(&part.bytes);
        if !part.last {
            return None;
        }
        self.meta = None;
        Some(Snapshot {
            meta: part.meta,
            image: std::mem::take(&mut self.image).into(),
        })
    }
}
