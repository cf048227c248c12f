//! Why a data directory cannot be opened, said so that its owner knows what to do.

use std::io;
use std::path::{Path, PathBuf};

use precentor_core::ids::{ClusterId, LogIndex, NodeId};
use precentor_core::wire::identity::IdentityError;
use precentor_core::wire::recover::RecoverError;
use precentor_core::wire::snapshot::SnapshotError;

/// Why a data directory cannot be opened. Nothing in it was changed, except
/// by [`OpenError::Io`], after which it can be opened again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// What it refused.
        path: PathBuf,
        /// Its word.
        error: io::Error,
    },
    /// There is none.
    #[error("{} holds no data of Precentor; give the directory of an earlier run", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Somebody else has it open.
    #[error("{} is in use by process {}; stop it first, or give another directory", path.display(), pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// Which directory.
        path: PathBuf,
        /// Who, if the lock file says so.
        pid: Option<u32>,
    },
    /// Its identity cannot be read, or is of another version.
    #[error("{}: {error}", path.display())]
    Identity {
        /// The identity file.
        path: PathBuf,
        /// Why.
        error: IdentityError,
    },
    /// There is a log, but nothing says whose.
    #[error("{} is missing, but there is a log beside it; restore it, or remove the voter and add it anew", path.display())]
    IdentityMissing {
        /// The identity file.
        path: PathBuf,
    },
    /// It is another cluster's.
    #[error("{} belongs to cluster {found:?}, not {expected:?}; give another directory", path.display())]
    OtherCluster {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// It is another voter's.
    #[error("{} belongs to node {found}, not {expected}; give that node's own directory", path.display())]
    OtherNode {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// The log is damaged.
    #[error("{}: {error}", path.display())]
    Log {
        /// The file, or the directory of all.
        path: PathBuf,
        /// How.
        error: RecoverError,
    },
    /// A snapshot is another cluster's.
    #[error("{} belongs to cluster {found:?}; somebody put it there: take it away", path.display())]
    SnapshotOfOther {
        /// The snapshot.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
    },
    /// Entries are missing between the snapshot and the log.
    #[error("{} begins after entry {base}, but the newest snapshot ends with {}; start the node again", path.display(), newest.map_or_else(|| "nothing".to_owned(), |index| index.to_string()))]
    LogBeginsLate {
        /// The log.
        path: PathBuf,
        /// The entry before its first.
        base: LogIndex,
        /// The last entry of the newest snapshot.
        newest: Option<LogIndex>,
    },
    /// A snapshot is of another version, or was damaged while the log that it
    /// replaced was already gone.
    #[error("{}: {error}, and there is no other that the log goes back to; start the node again", path.display())]
    Snapshot {
        /// The newest.
        path: PathBuf,
        /// How.
        error: SnapshotError,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, error: io::Error) -> OpenError {
        OpenError::Io {
            path: path.to_owned(),
            error,
        }
    }
}
