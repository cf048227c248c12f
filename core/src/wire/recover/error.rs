//! Why a log cannot be used, said so that its owner knows what to do.

use crate::ids::{ClusterId, LogIndex, NodeId, Term};
use crate::wire::record::FORMAT_VERSION;

/// Why a log cannot be used as it is. Nothing has changed on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoverError {
    /// No segment file at all, where there must be one.
    #[error(
        "the log has no segment file, but this voter has one by its identity; restore the files, or remove the voter and add it anew"
    )]
    NoSegments,
    /// The first block of a file that is needed cannot be read.
    #[error(
        "segment {segment}: its header is damaged, so term and vote are unknown; restore the file, or remove the voter and add it anew"
    )]
    SegmentHeader {
        /// The file.
        segment: u64,
    },
    /// A record that was durable is bad or gone.
    #[error(
        "segment {segment}, offset {offset}: record {record} was durable and is damaged or gone{}; this voter must not vote or lead until its log is repaired from its peers",
        in_words(*.index, *.term)
    )]
    Damaged {
        /// The file.
        segment: u64,
        /// Where the record should begin.
        offset: u32,
        /// Its number.
        record: u64,
        /// The entry, if the record's header can be read and it is one.
        index: Option<LogIndex>,
        /// Its term, likewise.
        term: Option<Term>,
    },
    /// The log continues in a file, but not from where the file before it ends.
    #[error(
        "segment {segment} begins after record {found}, but the log before it ends with record {last}: a file is missing or from another time"
    )]
    Gap {
        /// The file.
        segment: u64,
        /// The record it claims to follow.
        found: u64,
        /// The last record before it.
        last: u64,
    },
    /// The file's header has another number than its name, or files are out of order.
    #[error("the file named segment {named} holds segment {found}: files were swapped or copied")]
    Misnamed {
        /// By its name.
        named: u64,
        /// By its header.
        found: u64,
    },
    /// Another cluster's file.
    #[error("segment {segment} belongs to cluster {found:?}, not {expected:?}")]
    WrongCluster {
        /// The file.
        segment: u64,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// Another voter's file.
    #[error("segment {segment} belongs to node {found}, not {expected}")]
    WrongNode {
        /// The file.
        segment: u64,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// A file of another life of this directory.
    #[error("segment {segment} is from incarnation {found:016x} of this node, not {expected:016x}")]
    WrongIncarnation {
        /// The file.
        segment: u64,
        /// Which it is from.
        found: u64,
        /// Which it should be from.
        expected: u64,
    },
    /// The file is shorter than it was made, which no crash can do.
    #[error(
        "segment {segment} has {found} bytes; it was made with {expected}: its end was cut off, with whatever was in it; restore the file"
    )]
    Shrunk {
        /// The file.
        segment: u64,
        /// Its length.
        found: u64,
        /// Its length when it was made.
        expected: u64,
    },
    /// Written by another version of the program.
    #[error(
        "segment {segment} has format version {found}; this program knows {FORMAT_VERSION}: use the version that wrote it"
    )]
    OtherVersion {
        /// The file.
        segment: u64,
        /// Its version.
        found: u16,
    },
    /// A whole record that says what cannot be: a bug, or a forgery.
    #[error(
        "segment {segment}, offset {offset}: record {record} is whole but impossible here ({what})"
    )]
    Impossible {
        /// The file.
        segment: u64,
        /// Where the record begins.
        offset: u32,
        /// Its number.
        record: u64,
        /// Which rule it breaks.
        what: &'static str,
    },
}

/// Which entry a damaged record holds, as far as its header tells.
fn in_words(index: Option<LogIndex>, term: Option<Term>) -> String {
    match (index, term) {
        (Some(index), Some(term)) => format!(" (entry {index} of {term})"),
        (Some(index), None) => format!(" (entry {index})"),
        (None, Some(term)) => format!(" (of {term})"),
        (None, None) => String::new(),
    }
}
