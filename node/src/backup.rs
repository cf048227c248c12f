//! A backup: one file with all that a cluster holds as of one entry, taken by any of its
//! nodes while it runs, and what a new cluster is founded with. A tar archive under zstd, so
//! that people can look into it with the tools that they have:
//!
//! ```text
//! backup.json        what it is of
//! snapshot           the state, as nodes keep it
//! audit.jsonl        the audit chain, as far as the node has it
//! results/DIGEST     bodies of results
//! sources/DIGEST     texts that are kept for workers
//! end.json           how many there were: without it the backup is not whole
//! ```

use std::io;
use std::path::PathBuf;

use precentor_core::action::BodyOf;
use precentor_core::digest::Digest;
use precentor_core::restore::RestoreError;
use precentor_core::wire::snapshot::SnapshotError;
use serde::{Deserialize, Serialize};

mod look;
mod take;

pub use self::look::{Receive, Seen, look};
pub use self::take::{Backups, NotTaken, Taking};

/// The layout that this program writes and reads.
const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
const SNAPSHOT: &str = "snapshot";
const AUDIT: &str = "audit.jsonl";
const END: &str = "end.json";
/// Where the bodies are, by what they are.
const FOLDERS: [(BodyOf, &str); 2] = [(BodyOf::Result, "results"), (BodyOf::Source, "sources")];

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout's version.
    pub format: u32,
    /// What people call the cluster.
    pub cluster: String,
    /// Its id, in 32 hexadecimal digits.
    pub cluster_id: String,
    /// The node that took it.
    pub node: u64,
    /// The last entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// When, in milliseconds since 1970.
    pub taken_ms: u64,
    /// The program's version.
    pub program: String,
}

/// How much is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct End {
    /// Bodies of results.
    pub results: u64,
    /// Texts that are kept for workers.
    pub sources: u64,
    /// Their bytes.
    pub body_bytes: u64,
    /// Bodies that are damaged at the node which took it, and so are not in it.
    #[serde(default)]
    pub damaged: Vec<String>,
}

impl End {
    fn count(&mut self, of: BodyOf, bytes: u64) {
        match of {
            BodyOf::Result => self.results += 1,
            BodyOf::Source => self.sources += 1,
        }
        self.body_bytes += bytes;
    }
}

/// Why a file is no backup that a cluster can begin with.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read, or is damaged.
    #[error("cannot read the backup {}: {cause}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        cause: io::Error,
    },
    /// It is none.
    #[error("{} is no backup: {reason}", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Of another version of the program.
    #[error(
        "the backup {} has format {found}, and this program knows {FORMAT}; use the program that took it", path.display()
    )]
    OtherFormat {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It ends too early.
    #[error(
        "the backup {} is not whole: {reason}; take it again", path.display()
    )]
    NotWhole {
        /// Which.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Something in it is not what it should be.
    #[error("the backup {} is damaged: {what} {reason}; use another one", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What in it.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Its snapshot is damaged.
    #[error("the backup {} is damaged: {error}; use another one", path.display())]
    Snapshot {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: SnapshotError,
    },
    /// No cluster can begin with its state.
    #[error("the backup {}: {error}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: RestoreError,
    },
    /// The node that took it did not have everything.
    #[error(
        "the backup {} lacks {count} of the bodies that its state speaks of, {digest} among them: node {node} has lost them; take one of another node: --server", path.display()
    )]
    Lacking {
        /// Which.
        path: PathBuf,
        /// How many.
        count: usize,
        /// One of them.
        digest: Digest,
        /// The node.
        node: u64,
    },
}
