//! What a cluster that is founded from a backup begins with: the state of another cluster as
//! of one entry, with founders, an id and numbers of its own. The same on every founder that
//! restores the same backup. Knows not where the snapshot comes from, nor where it goes.
//!
//! The old cluster may live: nothing that it says counts here, for it has another id, and
//! nothing is called by a name here that it may have given away since the backup was taken
//! (see [`crate::queue::ERA_NUMBERS`]).

use std::sync::Arc;

use crate::command::AuditRecord;
use crate::digest::Digest;
use crate::entry::{ChainHash, HardState};
use crate::feature::FeatureLevel;
use crate::ids::{ClusterId, NodeId};
use crate::manager::{RecoverError, state_of};
use crate::membership::{ChangeError, Membership};
use crate::principal::Principal;
use crate::queue::QueueManager;
use crate::snapshot::{Snapshot, SnapshotMeta};

const CHAIN_DOMAIN: &str = "precentor 2026 log of a restored cluster";

/// A backup, and what is to become of it.
#[derive(Clone, Debug)]
pub struct Backup<'a> {
    /// The cluster that it is of.
    pub of: ClusterId,
    /// When it was taken: wall clock in milliseconds since 1970, for people.
    pub wall_ms: u64,
    /// The state.
    pub snapshot: &'a Snapshot,
}

/// What a founder begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The state.
    pub snapshot: Snapshot,
    /// What its disk must say before it starts.
    pub hard_state: HardState,
    /// The link of the audit chain that tells of it, after all those of the backup.
    pub record: AuditRecord,
}

/// Why a cluster cannot begin with a backup.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// Its state is none, or a newer program's.
    #[error(transparent)]
    State(#[from] RecoverError),
    /// These cannot be founders.
    #[error(transparent)]
    Founders(#[from] ChangeError),
    /// The backup's own id was chosen: its members would take each other for their own.
    #[error(
        "the backup is of cluster {} itself; a restored cluster needs an id of its own", hex(*cluster)
    )]
    SameCluster {
        /// Which.
        cluster: ClusterId,
    },
    /// It was restored so often that there are no numbers left.
    #[error("the state of this backup was restored too often: there are no more numbers")]
    NoMoreEras,
}

/// The state of a backup, by a program that can do `supports`.
///
/// # Errors
/// If it is none, or a newer program's.
pub fn look_into(
    snapshot: &Snapshot,
    supports: FeatureLevel,
) -> Result<QueueManager, RestoreError> {
    Ok(state_of(&snapshot.meta, &snapshot.image, supports)?)
}

/// What every founder of `cluster` begins with.
///
/// # Errors
/// If the backup or the founders cannot be a cluster's.
pub fn restore(
    backup: &Backup<'_>,
    cluster: ClusterId,
    founders: impl IntoIterator<Item = NodeId>,
    supports: FeatureLevel,
) -> Result<Restored, RestoreError> {
    let queue = look_into(backup.snapshot, supports)?;
    restore_state(backup, queue, cluster, founders)
}

/// [`restore`], with the state that [`look_into`] has read.
///
/// # Errors
/// If the founders cannot be a cluster's.
pub fn restore_state(
    backup: &Backup<'_>,
    mut queue: QueueManager,
    cluster: ClusterId,
    founders: impl IntoIterator<Item = NodeId>,
) -> Result<Restored, RestoreError> {
    let Backup {
        of,
        wall_ms,
        snapshot,
    } = backup;
    if cluster == *of {
        return Err(RestoreError::SameCluster { cluster });
    }
    let membership = Membership::founding(founders);
    membership.check()?;
    let SnapshotMeta {
        index, term, chain, ..
    } = snapshot.meta;
    let text = format!(
        "restore cluster {} with {membership} from a backup of {} as of {index}",
        hex(cluster),
        hex(*of)
    );
    let record = queue
        .begin_era(term, *wall_ms, &Principal::cluster(), text)
        .ok_or(RestoreError::NoMoreEras)?;
    let image = queue.image();
    let parts: [&[u8]; 3] = [&cluster.0, &of.0, &chain.0.to_le_bytes()];
    let Digest(bytes) = Digest::of_parts(CHAIN_DOMAIN, &parts);
    let (chain, _) = bytes.split_first_chunk().expect("a digest is longer");
    Ok(Restored {
        snapshot: Snapshot {
            meta: SnapshotMeta {
                index: record.index,
                term,
                chain: ChainHash(u64::from_le_bytes(*chain)),
                state: queue.state_hash(),
                membership: Arc::new(membership),
            },
            image: image.into(),
        },
        hard_state: HardState {
            term,
            commit: record.index,
            ..HardState::default()
        },
        record,
    })
}

fn hex(cluster: ClusterId) -> String {
    format!("{:032x}", u128::from_be_bytes(cluster.0))
}

#[cfg(test)]
mod tests;
