//! Reads a log back from the bytes of its segments and decides what a bad
//! record means. Most systems take any bad record for a torn tail and cut it
//! there; one bad disk then loses what a majority had acknowledged
//! ("Redundancy does not imply fault tolerance", FAST'17).
//!
//! * Records have consecutive numbers and a chain of checksums. The log ends
//!   where no next record is found, at once or at the next block boundary.
//! * What lies behind that end is searched for records of this log. Each says
//!   which number was durable when it was written. If the missing one was,
//!   that is **damage** and an error: nothing is cut. Else the tail was never
//!   synced, so nobody was told of it: it is **torn**, and is left out.
//! * A hard state found whole in a torn tail is honoured: to keep a promise
//!   that nobody heard is safe, to forget one that somebody heard is not.
//! * The end of a torn tail is not rewritten. The next file's header names the
//!   last record before it, and with that everything behind it is void.
//!   So recovery can be repeated: it changes nothing.
//! * A `Truncate` record removes entries; an entry that does not follow the
//!   last one is an error, never an overwrite.
//!
//! What cannot be told from a torn tail: damage to the very last write before
//! a crash, as nothing was written after it that could vouch for it. A second
//! copy of each new vote, in another block, covers the case that costs safety.

mod chain;
mod error;

use crate::entry::HardState;
use crate::ids::{LogIndex, Term};
use crate::wire::log_map::LogMap;
use crate::wire::log_writer::{LogEnd, LogWriter};
use crate::wire::record::{
    BLOCK_BYTES, HEADER_BYTES, Header, HeaderFault, Kind, LogIdentity, RECORD_MAGIC, SegmentHeader,
    block_up, read_hard_state,
};

use chain::Chain;
pub use error::RecoverError;

/// A tail that was written and never synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Torn {
    /// The file.
    pub segment: u64,
    /// Where the tail begins.
    pub offset: u32,
    /// Up to the last byte that is not zero.
    pub bytes: u32,
    /// The number of the first record that is cut.
    pub record: u64,
}

/// Bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The file.
    pub segment: u64,
    /// Where it begins.
    pub offset: u32,
    /// How long it is.
    pub bytes: u32,
}

/// A log as it was found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Continues the log, and knows its entries and hard state. After a torn
    /// tail it begins a new file with its next step: take that step
    /// ([`LogWriter::encode_roll`]) before anything else is written.
    pub writer: LogWriter,
    /// The tail that was left out, if any.
    pub torn: Option<Torn>,
    /// Read, but not known to be durable: it may be in the page cache only,
    /// after a failed sync. Write these bytes again and sync them, then
    /// [`LogWriter::mark_durable`]`(`[`LogWriter::last_record`]`)`.
    pub unproven: Vec<Extent>,
    /// Files that hold nothing that counts: begun and never used, or written
    /// after a torn tail.
    pub void_segments: Vec<u64>,
}

/// Recovers a log from all its segments, `(number in the file's name, bytes)`,
/// in ascending order.
pub fn recover<'a>(
    identity: LogIdentity,
    segment_bytes: u32,
    segments: impl IntoIterator<Item = (u64, &'a [u8])>,
) -> Result<Recovered, RecoverError> {
    let mut recovery = Recovery::new(identity);
    for (number, bytes) in segments {
        recovery.segment(number, bytes)?;
    }
    recovery.finish(segment_bytes)
}

/// [`recover`], one segment at a time, so that only one is in memory.
#[derive(Clone, Debug)]
pub struct Recovery {
    identity: LogIdentity,
    salt: u32,
    /// Number of the newest file that was seen.
    newest: u64,
    chain: Option<Chain>,
    /// The search behind the end of the log so far, unless it ended cleanly.
    search: Option<Search>,
    void_segments: Vec<u64>,
}

/// What is known of a tail that is bad.
#[derive(Clone, Debug)]
struct Search {
    torn: Torn,
    /// What the bad record says it is.
    entry: Option<(LogIndex, Term)>,
    /// The newest hard state behind the bad record, and its record's number.
    hard_state: Option<(u64, HardState)>,
}

impl Recovery {
    /// Before the first segment.
    #[must_use]
    pub fn new(identity: LogIdentity) -> Recovery {
        Recovery {
            identity,
            salt: identity.salt(),
            newest: 0,
            chain: None,
            search: None,
            void_segments: Vec::new(),
        }
    }

    /// Takes the next segment: the number in its name, and its bytes.
    pub fn segment(&mut self, number: u64, bytes: &[u8]) -> Result<(), RecoverError> {
        if number <= self.newest {
            return Err(RecoverError::Misnamed {
                named: number,
                found: self.newest,
            });
        }
        self.newest = number;
        let header = match SegmentHeader::decode(bytes) {
            Ok(header) => header,
            Err(HeaderFault::OtherVersion(found)) => {
                return Err(RecoverError::OtherVersion {
                    segment: number,
                    found,
                });
            }
            Err(HeaderFault::Short | HeaderFault::Unreadable | HeaderFault::Senseless) => {
                return self.headless(number, bytes);
            }
        };
        self.check_owner(number, &header, bytes.len())?;
        if self.joins(number, &header)? {
            self.search = None;
            return self.read(number, &header, bytes);
        }
        self.void_segments.push(number);
        self.vouched(header.durable)?;
        self.honour(header.record, header.hard_state);
        self.look_behind(number, BLOCK_BYTES, bytes)
    }

    /// The log, after the last segment.
    pub fn finish(self, segment_bytes: u32) -> Result<Recovered, RecoverError> {
        let Some(mut chain) = self.chain else {
            return Err(RecoverError::NoSegments);
        };
        let torn = self.search.as_ref().map(|search| search.torn);
        if let Some((_, promised)) = self.search.and_then(|search| search.hard_state) {
            // The tail's commit may reach entries that are cut.
            let commit = chain.hard_state.commit;
            chain.hard_state = HardState { commit, ..promised };
        }
        let mut unproven: Vec<Extent> = Vec::new();
        for (record, extent) in &chain.recent {
            if *record > chain.durable {
                extend(&mut unproven, *extent);
            }
        }
        // A file number that was used is not used again.
        let goes_on =
            chain.segment == self.newest && chain.segment_bytes == segment_bytes && torn.is_none();
        let (segment, offset) = match goes_on {
            true => (chain.segment, block_up(chain.offset).min(segment_bytes)),
            false => (self.newest, segment_bytes),
        };
        let end = LogEnd {
            segment,
            offset,
            record: chain.record,
            previous: chain.previous,
            durable: chain.durable,
            hard_state: chain.hard_state,
        };
        let writer = LogWriter::resume(self.identity, segment_bytes, end, chain.map);
        Ok(Recovered {
            writer,
            torn,
            unproven,
            void_segments: self.void_segments,
        })
    }

    fn check_owner(
        &self,
        number: u64,
        header: &SegmentHeader,
        bytes: usize,
    ) -> Result<(), RecoverError> {
        let (found, expected) = (header.identity, self.identity);
        let segment = number;
        if found.cluster != expected.cluster {
            let (found, expected) = (found.cluster, expected.cluster);
            return Err(RecoverError::WrongCluster {
                segment,
                found,
                expected,
            });
        }
        if found.node != expected.node {
            let (found, expected) = (found.node, expected.node);
            return Err(RecoverError::WrongNode {
                segment,
                found,
                expected,
            });
        }
        if found.incarnation != expected.incarnation {
            let (found, expected) = (found.incarnation, expected.incarnation);
            return Err(RecoverError::WrongIncarnation {
                segment,
                found,
                expected,
            });
        }
        if header.segment != number {
            return Err(RecoverError::Misnamed {
                named: number,
                found: header.segment,
            });
        }
        let (found, expected) = (bytes as u64, u64::from(header.segment_bytes));
        if found < expected {
            return Err(RecoverError::Shrunk {
                segment,
                found,
                expected,
            });
        }
        Ok(())
    }

    /// Whether this file continues the log from where it was read to. The
    /// first file begins it.
    fn joins(&mut self, number: u64, header: &SegmentHeader) -> Result<bool, RecoverError> {
        let Some(chain) = &mut self.chain else {
            self.chain = Some(Chain {
                map: LogMap::new(header.base_index, header.base_term),
                hard_state: header.hard_state,
                record: header.record,
                previous: header.previous,
                durable: header.durable.min(header.record),
                segment: number,
                segment_bytes: header.segment_bytes,
                offset: BLOCK_BYTES,
                recent: Vec::new(),
            });
            return Ok(true);
        };
        let gap = RecoverError::Gap {
            segment: number,
            found: header.record,
            last: chain.record,
        };
        if header.record < chain.record {
            return Err(gap);
        }
        if header.record == chain.record {
            if header.previous != chain.previous {
                return Err(gap);
            }
            if !chain.hard_state.may_become(&header.hard_state) {
                return Err(RecoverError::Impossible {
                    segment: number,
                    offset: 0,
                    record: header.record,
                    what: "a segment header that takes back a promise",
                });
            }
            // The promises of a torn tail are in the header that closed it.
            chain.hard_state = header.hard_state;
            return Ok(true);
        }
        if self.search.is_none() {
            // The tail before it left no trace. If this header vouches for the
            // missing record, it is damage; that is judged by the caller.
            let torn = Torn {
                segment: chain.segment,
                offset: chain.offset,
                bytes: 0,
                record: chain.record + 1,
            };
            self.search = Some(Search {
                torn,
                entry: None,
                hard_state: None,
            });
        }
        Ok(false)
    }

    /// A file whose header cannot be read.
    fn headless(&mut self, number: u64, bytes: &[u8]) -> Result<(), RecoverError> {
        let used = self.records(number, 0, bytes).next().is_some();
        if used || self.chain.is_none() {
            return Err(RecoverError::SegmentHeader { segment: number });
        }
        // Begun and never used. If it was used after all and is damaged
        // throughout, the next file's header will miss its records.
        self.void_segments.push(number);
        Ok(())
    }

    /// Reads the records of a file that continues the log.
    fn read(
        &mut self,
        number: u64,
        segment: &SegmentHeader,
        bytes: &[u8],
    ) -> Result<(), RecoverError> {
        let Some(chain) = &mut self.chain else {
            return Ok(());
        };
        chain.segment = number;
        chain.segment_bytes = segment.segment_bytes;
        chain.offset = BLOCK_BYTES;
        chain.durable = chain.durable.max(segment.durable.min(chain.record));
        while let Some(next) = chain.next(self.salt, bytes) {
            chain.accept(&next)?;
        }
        self.judge_end(number, segment.recycled, bytes)
    }

    /// Decides whether the log ended cleanly in this file, or in a bad record.
    fn judge_end(&mut self, number: u64, recycled: bool, bytes: &[u8]) -> Result<(), RecoverError> {
        let Some(chain) = &self.chain else {
            return Ok(());
        };
        let (end, record) = (chain.offset, chain.record + 1);
        let rest = bytes.get(end as usize..).unwrap_or_default();
        let zeros = rest.iter().rev().take_while(|byte| **byte == 0).count();
        if zeros == rest.len() {
            return Ok(());
        }
        let bad = [end, block_up(end)].into_iter().find_map(|at| {
            chain
                .resembles(self.salt, number, bytes, at)
                .map(|entry| (at, entry))
        });
        let later = self
            .records(number, end, bytes)
            .any(|(header, _)| header.record >= record);
        // In a file that began as zeros, whatever is not zero was written.
        if bad.is_none() && !later && recycled {
            return Ok(());
        }
        let offset = bad.map_or(end, |(at, _)| at);
        // What the last write was padded with is no part of the next one.
        let padding = rest.len().min((block_up(end) - end) as usize);
        let padded = rest[..padding].iter().all(|byte| *byte == 0);
        let begin = if padded { block_up(end) } else { end };
        let torn = Torn {
            segment: number,
            offset: begin,
            bytes: (rest.len() - zeros) as u32 - (begin - end),
            record,
        };
        self.search = Some(Search {
            torn,
            entry: bad.and_then(|(_, entry)| entry),
            hard_state: None,
        });
        self.look_behind(number, offset, bytes)
    }

    /// Looks for records behind the bad one: what they vouch for, and what they promise.
    fn look_behind(&mut self, number: u64, from: u32, bytes: &[u8]) -> Result<(), RecoverError> {
        let last = self.chain.as_ref().map_or(0, |chain| chain.record);
        let mut durable = 0;
        let mut promises = Vec::new();
        for (header, at) in self.records(number, from, bytes) {
            if header.record <= last {
                continue;
            }
            durable = durable.max(header.durable);
            if !matches!(header.kind, Kind::HardState | Kind::HardStateCopy) {
                continue;
            }
            let body = bytes
                .get(at as usize..)
                .and_then(|bytes| header.body(bytes));
            if let Some(state) = body.and_then(|body| read_hard_state(&header, body)) {
                promises.push((header.record, state));
            }
        }
        for (record, state) in promises {
            self.honour(record, state);
        }
        self.vouched(durable)
    }

    /// A record behind the bad one was written when `durable` was durable.
    fn vouched(&self, durable: u64) -> Result<(), RecoverError> {
        let Some(search) = &self.search else {
            return Ok(());
        };
        if durable < search.torn.record {
            return Ok(());
        }
        Err(RecoverError::Damaged {
            segment: search.torn.segment,
            offset: search.torn.offset,
            record: search.torn.record,
            index: search.entry.map(|(index, _)| index),
            term: search.entry.map(|(_, term)| term),
        })
    }

    fn honour(&mut self, record: u64, state: HardState) {
        let (Some(chain), Some(search)) = (&self.chain, &mut self.search) else {
            return;
        };
        let newer = search.hard_state.is_none_or(|(known, _)| known < record);
        let later = state.term > chain.hard_state.term
            || state.term == chain.hard_state.term && state.vote.is_some();
        if newer && later {
            search.hard_state = Some((record, state));
        }
    }

    /// All records of this file with a whole header from `from` on, at any
    /// offset: after damage nothing says where the next one begins.
    fn records<'a>(
        &self,
        number: u64,
        from: u32,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (Header, u32)> + use<'a> {
        let salt = self.salt;
        let rest = bytes.get(from as usize..).unwrap_or_default();
        let magic = RECORD_MAGIC.to_le_bytes();
        rest.windows(HEADER_BYTES as usize)
            .enumerate()
            .filter_map(move |(at, window)| {
                if !window.starts_with(&magic) {
                    return None;
                }
                let (header, _) = Header::read(salt, window).ok()?;
                let ours = header.segment == number && header.kind != Kind::Segment;
                ours.then_some((header, from + at as u32))
            })
    }
}

/// Adds an extent, as whole blocks, to those before it.
fn extend(extents: &mut Vec<Extent>, next: Extent) {
    let start = next.offset / BLOCK_BYTES * BLOCK_BYTES;
    let end = block_up(next.offset + next.bytes);
    if let Some(last) = extents.last_mut()
        && last.segment == next.segment
        && last.offset + last.bytes >= start
    {
        last.bytes = last.bytes.max(end - last.offset);
        return;
    }
    extents.push(Extent {
        segment: next.segment,
        offset: start,
        bytes: end - start,
    });
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
