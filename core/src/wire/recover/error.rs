//! Why a log cannot be used, said so that its owner knows what to do.

use std::fmt;

use super::Damage;
use crate::ids::{ClusterId, LogIndex, NodeId, Term};
use crate::wire::record::FORMAT_VERSION;

/// In which way records that were durable are damaged or gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A record does not fit its checksum, or is not where it should be.
    Record,
    /// The file that they were in is missing.
    Missing,
    /// The first block of their file cannot be read.
    SegmentHeader,
    /// Their file is shorter than it was made.
    CutOff,
    /// Neither the log nor a whole snapshot holds the beginning.
    Beginning,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Record => "a record that was durable is damaged",
            Fault::Missing => "a file with durable records is missing",
            Fault::SegmentHeader => "the file's header is damaged",
            Fault::CutOff => "the file's end was cut off",
            Fault::Beginning => "no whole snapshot reaches to where the log begins",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            fault,
            segment,
            offset,
            record,
            index,
            term,
            must_cover,
            bytes: _,
        } = self;
        write!(
            f,
            "segment {segment}, offset {offset}: {fault} (record {record}{}); this node neither votes nor leads until its peers have given it again what is committed up to {must_cover}",
            in_words(*index, *term)
        )
    }
}

/// Why a log cannot be used as it is. Nothing has changed on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoverError {
    /// No segment file at all, where there must be one.
    #[error(
        "the log has no segment file, but this voter has one by its identity; restore the files, or remove the voter and add it anew"
    )]
    NoSegments,
    /// Term and vote may be among what is damaged: as good as no disk.
    #[error(
        "segment {segment}, offset {offset}: {fault}, and the last vote may have been there: this node must not go on with this log, as it could vote twice; set the directory aside and let the node join anew with an empty one, under a new incarnation"
    )]
    Lost {
        /// How.
        fault: Fault,
        /// The file.
        segment: u64,
        /// Where the damage begins.
        offset: u32,
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
        (Some(index), Some(term)) => format!(", entry {index} of {term}"),
        (Some(index), None) => format!(", entry {index}"),
        (None, Some(term)) => format!(", of {term}"),
        (None, None) => String::new(),
    }
}
