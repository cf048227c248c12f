//! What every engine promises: one job in, one record or one reason out. Knows
//! nothing of leases, clusters or how results are stored.

use std::fmt;
use std::io;
use std::path::PathBuf;

use precentor_core::address::Address;
use precentor_core::bytes::Bytes;
use precentor_core::context::ContextRecord;
use precentor_core::digest::Digest;

use crate::source::digest::{Examined, examine, examine_kept};

/// One request for one context.
pub struct Job<'a> {
    /// The place.
    pub uri: Address,
    /// The digest that the request was made for.
    pub content_digest: Digest,
    /// What to read.
    pub subject: Subject<'a>,
}

/// What a record is made of.
pub enum Subject<'a> {
    /// A file or link.
    File {
        /// Its content.
        source: Source,
    },
    /// A folder: the records of what is directly inside.
    Folder {
        /// In the order of their names; read once.
        children: Children<'a>,
    },
    /// The project: the records of what is directly inside.
    Project {
        /// In the order of their names; read once.
        children: Children<'a>,
    },
}

/// Where the content of a file or link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// On this machine's disk.
    Path(PathBuf),
    /// Here, as the cluster keeps it: not longer than what is read of a file.
    Kept(Bytes),
}

impl Source {
    /// Reads it: its text, up to a bound, replaces what is in `text`.
    ///
    /// # Errors
    /// If it is on disk and cannot be read, or is neither file nor link there.
    pub fn examine(&self, text_bytes_max: u64, text: &mut Vec<u8>) -> io::Result<Examined> {
        match self {
            Source::Path(path) => examine(path, text_bytes_max, text),
            Source::Kept(content) => Ok(examine_kept(content, text_bytes_max, text)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path(path) => write!(f, "{}", path.display()),
            Source::Kept(_) => f.write_str("what the cluster keeps"),
        }
    }
}

/// The children of a folder, one at a time, so that a large folder is never in
/// memory as a whole.
pub type Children<'a> = Box<dyn Iterator<Item = ChildInput> + 'a>;

/// The record of a child, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildInput {
    /// The child.
    pub uri: Address,
    /// Its record.
    pub record: Result<Box<ContextRecord>, String>,
}

/// For engines that make a record in milliseconds.
const QUICK_JOBS_PER_THREAD: u64 = 16;
/// For engines that take seconds: the one that is made, and the next.
pub const SLOW_JOBS_PER_THREAD: u64 = 2;

/// Makes records. The same job gives the same record on every machine.
pub trait Engine: Send + Sync {
    /// Its name: a part of every key under which its results are kept.
    fn name(&self) -> &str;

    /// Its version: raised whenever the same bytes would give another record.
    fn version(&self) -> u32;

    /// Makes the record.
    ///
    /// # Errors
    /// Says whether another attempt can help.
    fn generate(&self, job: Job<'_>) -> Result<ContextRecord, EngineError>;

    /// Jobs that are held for each thread. Quick engines hold enough to work through while a
    /// claim commits; slow ones leave to others what these could do meanwhile.
    fn jobs_per_thread(&self) -> u64 {
        QUICK_JOBS_PER_THREAD
    }

    /// Nobody wants any result any more: what is being made is given up, and nothing more
    /// can be made.
    fn stop(&self) {}
}

/// Whether another attempt can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureClass {
    /// The same job may succeed later.
    Retryable,
    /// The same job will fail the same way.
    Permanent,
    /// The source is not what the request was made for: ask again with the new digest.
    SourceChanged,
    /// The source may not be read here: somebody has to see to it.
    Unreadable,
    /// Too much is asked of what makes records: not the job's fault.
    Busy {
        /// When to ask again, in milliseconds.
        retry_after_ms: u64,
    },
}

/// Why there is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    /// Whether another attempt can help.
    pub class: FailureClass,
    /// What happened, for people.
    pub message: String,
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Job({} {:?} {:?})",
            self.uri, self.content_digest, self.subject
        )
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Subject::File { .. } => "File",
            Subject::Folder { .. } => "Folder",
            Subject::Project { .. } => "Project",
        })
    }
}
