//! Reads a log back from the bytes of its segments and decides what a bad
//! record means. Most systems take any bad record for a torn tail and cut it
//! there; one bad disk then loses what a majority had acknowledged
//! ("Redundancy does not imply fault tolerance", FAST'17).
//!
//! * Records have consecutive numbers and a chain of checksums. The log ends
//!   where no next record is found, at once or at the next block boundary.
//! * What lies behind that end is searched for records of this log. Each says
//!   which number was durable when it was written. If the missing one was not,
//!   nobody was told of the tail: it is **torn**, and is left out.
//! * If it was, that is **damage**: the log ends before it, and its hard state
//!   says up to which index the node must be repaired from its peers before it
//!   may vote or lead ([`repairing`](crate::entry::HardState::repairing)). A file without a readable
//!   header, or a shorter one than was made, is damage as well: no crash leaves
//!   one.
//! * A hard state found whole behind the end is honoured: to keep a promise
//!   that nobody heard is safe, to forget one that somebody heard is not. If a
//!   newer one may be among what is damaged, the log is **lost** and refused:
//!   it is never read as an older term, or as no vote.
//! * Nothing is rewritten. The next file's header names the last record before
//!   the end, and with that everything behind it is void. So recovery can be
//!   repeated: it changes nothing.
//! * A `Truncate` record removes entries; an entry that does not follow the
//!   last one is an error, never an overwrite.
//!
//! What cannot be told from a torn tail: damage to the very last write before
//! a crash, as nothing was written after it that could vouch for it. A second
//! copy of each new vote, in another block, covers the case that costs safety.

mod behind;
mod chain;
mod error;

use crate::ids::{LogIndex, Term};
use crate::wire::log_writer::{LogEnd, LogWriter, Step};
use crate::wire::record::{
    BLOCK_BYTES, HEADER_BYTES, Header, HeaderFault, Kind, LogIdentity, RECORD_MAGIC, SegmentHeader,
    block_up, read_hard_state,
};

use behind::Behind;
use chain::Chain;
pub use error::{Fault, RecoverError};

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

/// Durable records that are damaged or gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// How.
    pub fault: Fault,
    /// The file.
    pub segment: u64,
    /// Where the first of them should begin.
    pub offset: u32,
    /// Up to the last byte of the file that is not zero.
    pub bytes: u32,
    /// Its number.
    pub record: u64,
    /// The entry, if the record's header can be read and it is one.
    pub index: Option<LogIndex>,
    /// Its term, likewise.
    pub term: Option<Term>,
    /// No entry behind this one was ever acknowledged by this node: it may
    /// vote and lead again when its log holds what is committed up to here.
    pub must_cover: LogIndex,
}

/// A log as it was found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Continues the log, and knows its entries and hard state.
    pub writer: LogWriter,
    /// The tail that was left out, if any.
    pub torn: Option<Torn>,
    /// What was durable and is gone, if anything: found now, and not yet
    /// followed by a file that says so. The writer's hard state says so already.
    pub damage: Option<Damage>,
    /// Read, but not known to be durable: it may be in the page cache only,
    /// after a failed sync. Write these bytes again and sync them, then
    /// [`LogWriter::mark_durable`]`(`[`LogWriter::last_record`]`)`, before
    /// anything else is written.
    pub unproven: Vec<Extent>,
    /// Files that hold nothing that counts: written after a torn tail.
    /// Remove them after [`Recovered::restart`].
    pub void_segments: Vec<u64>,
    /// Files that hold what was durable, and are of no use. Set them aside
    /// after [`Recovered::restart`].
    pub damaged_segments: Vec<u64>,
    /// Whether only the header of the last file says what was promised before it.
    bare: bool,
    /// All other files.
    segments: Vec<u64>,
}

impl Recovered {
    /// The log beside the newest whole snapshot, which ends with `index` of
    /// `term` (0 if there is none). If they do not meet, the entries between
    /// them are gone: the log begins anew after the snapshot, to be repaired.
    #[must_use]
    pub fn beside_snapshot(mut self, index: LogIndex, term: Term) -> Recovered {
        let map = self.writer.map();
        let (base, last) = (map.base_index(), map.last_index());
        let too_short = self.damage.is_some() && last < index;
        if base <= index && !too_short {
            return self;
        }
        let state = self.writer.hard_state();
        let known = last
            .max(state.commit)
            .max(state.repairing.unwrap_or_default());
        let must_cover = self
            .damage
            .map_or(known, |damage| damage.must_cover.max(known))
            .max(index);
        let damage = self.damage.unwrap_or(Damage {
            fault: Fault::Beginning,
            segment: self.writer.segment(),
            offset: 0,
            bytes: 0,
            record: 0,
            index: Some(index.next()),
            term: None,
            must_cover,
        });
        self.damage = Some(Damage {
            must_cover,
            ..damage
        });
        self.writer.set_repairing(must_cover);
        self.writer.begin_anew(index, term);
        (self.torn, self.unproven) = (None, Vec::new());
        self.damaged_segments.append(&mut self.segments);
        self.damaged_segments.append(&mut self.void_segments);
        self.damaged_segments.sort_unstable();
        self
    }

    /// What has to be written before anything else: nothing after a log that
    /// ended well.
    #[must_use]
    pub fn restart(&mut self) -> Vec<Step> {
        if self.torn.is_some() || self.damage.is_some() || self.bare {
            return self.writer.encode_restart();
        }
        Vec::new()
    }
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
    /// The log up to its end; nothing before the first good file header.
    chain: Chain,
    /// Whether a good header was seen.
    begun: bool,
    /// The search behind the end of the log so far, unless it ended cleanly.
    behind: Option<Behind>,
    /// Files behind the end.
    behind_segments: Vec<u64>,
    segments: Vec<u64>,
    void_segments: Vec<u64>,
    damaged_segments: Vec<u64>,
    /// Which rule it breaks.
    #[cfg(feature = "planted-bugs")]
    pub planted: Option<crate::planted::Bug>,
}

impl Recovery {
    /// Before the first segment.
    #[must_use]
    pub fn new(identity: LogIdentity) -> Recovery {
        Recovery {
            identity,
            salt: identity.salt(),
            newest: 0,
            chain: Chain::default(),
            begun: false,
            behind: None,
            behind_segments: Vec::new(),
            segments: Vec::new(),
            void_segments: Vec::new(),
            damaged_segments: Vec::new(),
            #[cfg(feature = "planted-bugs")]
            planted: None,
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
                self.headless(number, bytes);
                return Ok(());
            }
        };
        self.check_owner(number, &header)?;
        if self.joins(number, &header)? {
            let anew = header.record == 0 && header.hard_state.repairing.is_some();
            self.chain.bare = anew || self.behind.is_some();
            self.settle_behind();
            self.segments.push(number);
            return self.read(number, &header, bytes);
        }
        self.behind_segments.push(number);
        if let Some(behind) = &mut self.behind {
            behind.on_segment(&header);
        }
        self.look_behind(number, BLOCK_BYTES, bytes);
        self.check_length(number, &header, bytes);
        Ok(())
    }

    /// The log, after the last segment.
    pub fn finish(mut self, segment_bytes: u32) -> Result<Recovered, RecoverError> {
        if self.newest == 0 {
            return Err(RecoverError::NoSegments);
        }
        let bare = self.chain.bare && self.chain.segment == self.newest;
        let (mut torn, mut damage) = (None, None);
        if let Some(behind) = self.behind.take() {
            let known = self.chain.hard_state;
            self.chain.hard_state = behind.honour(known);
            let is_damage = behind.is_damage();
            #[cfg(feature = "planted-bugs")]
            let is_damage =
                is_damage && self.planted != Some(crate::planted::Bug::CorruptTailTreatedAsTorn);
            if is_damage {
                let found = behind.damage(known);
                if behind.is_promise_lost() {
                    return Err(RecoverError::Lost {
                        fault: found.fault,
                        segment: found.segment,
                        offset: found.offset,
                    });
                }
                let last = self.chain.map.last_index();
                self.chain.hard_state.commit = known.commit.min(last);
                self.chain.hard_state.repairing = Some(found.must_cover);
                self.damaged_segments.append(&mut self.behind_segments);
                damage = Some(found);
            } else {
                self.void_segments.append(&mut self.behind_segments);
                torn = Some(behind.torn);
            }
        }
        let chain = self.chain;
        let mut unproven: Vec<Extent> = Vec::new();
        for (record, extent) in &chain.recent {
            if *record > chain.durable {
                extend(&mut unproven, *extent);
            }
        }
        // A file number that was used is not used again.
        let goes_on = chain.segment == self.newest
            && chain.segment_bytes == segment_bytes
            && torn.is_none()
            && damage.is_none();
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
        let mut writer = LogWriter::resume(self.identity, segment_bytes, end, chain.map);
        if !self.begun {
            // No header is left: there is no record that a next one could follow.
            writer.begin_anew(LogIndex(0), Term(0));
        }
        Ok(Recovered {
            writer,
            torn,
            damage,
            unproven,
            void_segments: self.void_segments,
            damaged_segments: self.damaged_segments,
            bare,
            segments: self.segments,
        })
    }

    fn check_owner(&self, number: u64, header: &SegmentHeader) -> Result<(), RecoverError> {
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
        Ok(())
    }

    /// A shorter file than was made has lost its end, with whatever was in it.
    fn check_length(&mut self, number: u64, header: &SegmentHeader, bytes: &[u8]) {
        if bytes.len() as u64 >= u64::from(header.segment_bytes) {
            return;
        }
        let torn = self.end_of_log(number, self.chain.offset);
        let behind = self
            .behind
            .get_or_insert_with(|| Behind::new(&self.chain, torn, Fault::CutOff));
        behind.lose_sight();
    }

    /// A tail without a trace.
    fn end_of_log(&self, segment: u64, offset: u32) -> Torn {
        Torn {
            segment,
            offset,
            bytes: 0,
            record: self.chain.record + 1,
        }
    }

    /// What was behind the end is void: the log went on before it.
    fn settle_behind(&mut self) {
        let is_damage = self.behind.take().is_some_and(|behind| behind.is_damage());
        let files = match is_damage {
            true => &mut self.damaged_segments,
            false => &mut self.void_segments,
        };
        files.append(&mut self.behind_segments);
    }

    /// Whether this file continues the log from where it was read to. The
    /// first file begins it.
    fn joins(&mut self, number: u64, header: &SegmentHeader) -> Result<bool, RecoverError> {
        let impossible = |what| RecoverError::Impossible {
            segment: number,
            offset: 0,
            record: header.record,
            what,
        };
        let chain = &mut self.chain;
        let repairs = header.hard_state.repairing.is_some();
        let follows = header.record == chain.record && header.base_index == chain.map.last_index();
        if !self.begun || header.record == 0 && repairs && !follows {
            // The log begins here: the files before it are unreadable, or it
            // was begun anew when nothing in them was of use.
            if !chain.hard_state.is_kept_by(&header.hard_state) {
                return Err(impossible("a segment header that takes back a promise"));
            }
            self.damaged_segments.append(&mut self.segments);
            self.begun = true;
            *chain = Chain::begin(number, header);
            return Ok(true);
        }
        if header.record > chain.record {
            if self.behind.is_none() {
                // The tail before it left no trace. If this header vouches for
                // the missing record, it is damage.
                let torn = self.end_of_log(self.chain.segment, self.chain.offset);
                self.behind = Some(Behind::new(&self.chain, torn, Fault::Missing));
            }
            return Ok(false);
        }
        if !follows || header.previous != chain.previous {
            return Err(RecoverError::Gap {
                segment: number,
                found: header.record,
                last: chain.record,
            });
        }
        // A repair may have cut off what was known to be committed.
        let sound = match repairs {
            true => chain.hard_state.is_kept_by(&header.hard_state),
            false => chain.hard_state.may_become(&header.hard_state),
        };
        if !sound {
            return Err(impossible("a segment header that takes back a promise"));
        }
        // The promises of what is void are in the header that closed it.
        chain.hard_state = header.hard_state;
        Ok(true)
    }

    /// A file whose header cannot be read. It had one before it had its name.
    fn headless(&mut self, number: u64, bytes: &[u8]) {
        let torn = self.end_of_log(number, 0);
        // Its header may have made void what is behind the end, and said so alone.
        let blind = self.behind.is_some() || !self.begun;
        let behind = self
            .behind
            .get_or_insert_with(|| Behind::new(&self.chain, torn, Fault::SegmentHeader));
        behind.be_certain();
        if blind || records(self.salt, number, 0, bytes).next().is_none() {
            behind.lose_sight();
        }
        self.behind_segments.push(number);
        self.look_behind(number, 0, bytes);
    }

    /// Reads the records of a file that continues the log.
    fn read(
        &mut self,
        number: u64,
        segment: &SegmentHeader,
        bytes: &[u8],
    ) -> Result<(), RecoverError> {
        let chain = &mut self.chain;
        chain.segment = number;
        chain.segment_bytes = segment.segment_bytes;
        chain.offset = BLOCK_BYTES;
        chain.durable = chain.durable.max(segment.durable.min(chain.record));
        while let Some(next) = chain.next(self.salt, bytes) {
            chain.accept(&next)?;
        }
        self.judge_end(number, segment.recycled, bytes);
        self.check_length(number, segment, bytes);
        Ok(())
    }

    /// Decides whether the log ended cleanly in this file, or in a bad record.
    fn judge_end(&mut self, number: u64, recycled: bool, bytes: &[u8]) {
        let chain = &self.chain;
        let (end, record) = (chain.offset, chain.record + 1);
        let rest = bytes.get(end as usize..).unwrap_or_default();
        let zeros = rest.iter().rev().take_while(|byte| **byte == 0).count();
        if zeros == rest.len() {
            return;
        }
        let bad = [end, block_up(end)].into_iter().find_map(|at| {
            chain
                .resembles(self.salt, number, bytes, at)
                .map(|entry| (at, entry))
        });
        let later =
            records(self.salt, number, end, bytes).any(|(header, _)| header.record >= record);
        // In a file that began as zeros, whatever is not zero was written.
        if bad.is_none() && !later && recycled {
            return;
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
        let mut behind = Behind::new(chain, torn, Fault::Record);
        behind.entry = bad.and_then(|(_, entry)| entry);
        self.behind = Some(behind);
        self.look_behind(number, offset, bytes);
    }

    /// Looks for records behind the bad one.
    fn look_behind(&mut self, number: u64, from: u32, bytes: &[u8]) {
        let Some(behind) = &mut self.behind else {
            return;
        };
        for (header, at) in records(self.salt, number, from, bytes) {
            if header.record <= self.chain.record {
                continue;
            }
            let body = bytes
                .get(at as usize..)
                .and_then(|bytes| header.body(bytes));
            let state = body.and_then(|body| read_hard_state(&header, body));
            behind.on_record(&header, at, state);
        }
    }
}

/// All records of this file with a whole header from `from` on, at any offset:
/// after damage nothing says where the next one begins.
fn records(
    salt: u32,
    number: u64,
    from: u32,
    bytes: &[u8],
) -> impl Iterator<Item = (Header, u32)> + use<'_> {
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
mod repairs;
#[cfg(test)]
mod tests;
