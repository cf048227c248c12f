//! Audit files, as nodes keep them: whether one is whole, and what is in it. Each record has the
//! digest of the one before it, so whoever changes, drops or moves one has to change all that
//! follow; and the chain is the same on all nodes, so who can change one file only is found by
//! holding it to another.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use precentor_core::command::AuditRecord;
use precentor_core::digest::Digest;
use precentor_core::ids::LogIndex;
use precentor_core::queue::digest_of_record;
use serde::Serialize;

#[cfg(test)]
mod tests;

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A record of a file, or why a line is none.
pub type Line = Result<AuditRecord, String>;

/// The lines of a file, in order. One that is being written is left out.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
}

/// Opens an audit file.
///
/// # Errors
/// If it cannot be opened.
pub fn open(path: &Path) -> Result<Lines, AuditError> {
    let file = File::open(path).map_err(|cause| AuditError::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    Ok(Lines {
        path: path.to_owned(),
        reader: BufReader::new(file),
        number: 0,
    })
}

impl Iterator for Lines {
    /// A line's number, from 1, and what it holds.
    type Item = Result<(u64, Line), AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        if let Err(cause) = self.reader.read_until(b'\n', &mut line) {
            let path = self.path.clone();
            return Some(Err(AuditError::Unreadable { path, cause }));
        }
        if !line.ends_with(b"\n") {
            return None;
        }
        self.number += 1;
        let record = serde_json::from_slice(&line).map_err(|error| error.to_string());
        Some(Ok((self.number, record)))
    }
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// In which line, from 1.
    pub line: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "flaw", rename_all = "snake_case")]
pub enum What {
    /// A line that holds no record.
    NoRecord {
        /// Why not.
        reason: String,
    },
    /// A record whose digest is not that of what it says.
    Changed {
        /// Of which entry.
        index: u64,
    },
    /// A record that does not follow the one before it, though none can be between them.
    NotNext {
        /// Of which entry.
        index: u64,
        /// Of which entry the one before is.
        before: u64,
    },
    /// Records are not there: the node was given a snapshot in their place, or somebody has
    /// taken them out.
    Gap {
        /// The last entry before them.
        after: u64,
        /// The first one behind them.
        until: u64,
    },
    /// Another file has another record of the same entry.
    Contradicted {
        /// Of which entry.
        index: u64,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.what {
            What::NoRecord { reason } => write!(f, "no record ({reason})"),
            What::Changed { index } => {
                write!(
                    f,
                    "the record of i{index} was changed: its digest is not that of what it says"
                )
            }
            What::NotNext { index, before } => write!(
                f,
                "the record of i{index} does not follow that of i{before}: one was dropped, moved or put in"
            ),
            What::Gap { after, until } => write!(
                f,
                "nothing between i{after} and i{until}: a snapshot took the place of these entries, or somebody has taken them out; another node's file can tell"
            ),
            What::Contradicted { index } => {
                write!(
                    f,
                    "the record of i{index} is another one than in the first file"
                )
            }
        }
    }
}

/// What a file came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Which.
    pub file: PathBuf,
    /// Its records.
    pub records: u64,
    /// The first and the last entry of them.
    pub entries: Option<(u64, u64)>,
    /// What is not as it was written; at most so many as anybody reads.
    pub flaws: Vec<Flaw>,
    /// The digest of the last record: whoever keeps it elsewhere can prove later that all up
    /// to there is as it was.
    pub head: Option<Digest>,
}

impl Verdict {
    /// Has it all entries from one to another, as they were written?
    fn covers(&self, after: u64, until: u64) -> bool {
        self.flaws.is_empty()
            && self
                .entries
                .is_some_and(|(first, last)| first <= after + 1 && until <= last + 1)
    }

    /// Drops the gaps that another file fills: nothing is lost with them.
    pub fn forgive(&mut self, others: &[Verdict]) {
        self.flaws.retain(|flaw| match flaw.what {
            What::Gap { after, until } => !others.iter().any(|other| other.covers(after, until)),
            What::NoRecord { .. }
            | What::Changed { .. }
            | What::NotNext { .. }
            | What::Contradicted { .. } => true,
        });
    }
}

/// Flaws of one file that are told.
const FLAWS_MAX: usize = 100;

/// Follows the chain of one file.
///
/// # Errors
/// If it cannot be read.
pub fn verify(path: &Path) -> Result<Verdict, AuditError> {
    let mut verdict = Verdict {
        file: path.to_owned(),
        records: 0,
        entries: None,
        flaws: Vec::new(),
        head: None,
    };
    let mut before: Option<(LogIndex, Digest)> = None;
    for line in open(path)? {
        let (line, record) = line?;
        let mut flaw = |what: What| {
            if verdict.flaws.len() < FLAWS_MAX {
                verdict.flaws.push(Flaw { line, what });
            }
        };
        let record = match record {
            Ok(record) => record,
            Err(reason) => {
                flaw(What::NoRecord { reason });
                continue;
            }
        };
        let index = record.index.0;
        if digest_of_record(&record) != record.digest {
            flaw(What::Changed { index });
        }
        if let Some((last, digest)) = before
            && digest != record.previous
        {
            flaw(if record.index.0 > last.0 + 1 {
                What::Gap {
                    after: last.0,
                    until: index,
                }
            } else {
                What::NotNext {
                    index,
                    before: last.0,
                }
            });
        }
        before = Some((record.index, record.digest));
        verdict.records += 1;
        let (first, _) = verdict.entries.unwrap_or((index, index));
        verdict.entries = Some((first, index));
        verdict.head = Some(record.digest);
    }
    Ok(verdict)
}

/// Holds a file to another one, which has been followed: where both have an entry, its records
/// must be the same.
///
/// # Errors
/// If one of them cannot be read.
pub fn compare(first: &Path, other: &Path) -> Result<Vec<Flaw>, AuditError> {
    let mut flaws = Vec::new();
    let records = |lines: Lines| {
        lines.filter_map(|line| match line {
            Ok((number, Ok(record))) => Some(Ok((number, record))),
            Ok((_, Err(_))) => None,
            Err(error) => Some(Err(error)),
        })
    };
    let mut theirs = records(open(first)?).peekable();
    for ours in records(open(other)?) {
        let (line, ours) = ours?;
        // Those of entries that only the first has.
        while let Some(Ok((_, record))) = theirs.peek()
            && record.index < ours.index
        {
            theirs.next();
        }
        match theirs.peek() {
            None => break,
            Some(Err(_)) => {
                if let Some(Err(error)) = theirs.next() {
                    return Err(error);
                }
            }
            Some(Ok((_, record))) if record.index > ours.index => {}
            Some(Ok((_, record))) => {
                if *record != ours && flaws.len() < FLAWS_MAX {
                    let index = ours.index.0;
                    let what = What::Contradicted { index };
                    flaws.push(Flaw { line, what });
                }
                theirs.next();
            }
        }
    }
    Ok(flaws)
}
