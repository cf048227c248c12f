//! The log as it is read, record by record: what the next one must be, and
//! what it changes. Knows nothing of what comes after the end.

use super::{Extent, RecoverError};
use crate::entry::HardState;
use crate::ids::{LogIndex, Term};
use crate::wire::log_map::{LogMap, Place};
use crate::wire::record::{
    BLOCK_BYTES, HEADER_BYTES, Header, Kind, RECORD_MAGIC, SegmentHeader, block_up, read_hard_state,
};

/// The log so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) map: LogMap,
    pub(super) hard_state: HardState,
    pub(super) record: u64,
    pub(super) previous: u32,
    /// The highest number that any record vouched for.
    pub(super) durable: u64,
    pub(super) segment: u64,
    pub(super) segment_bytes: u32,
    /// Where the last record ends.
    pub(super) offset: u32,
    /// Records that may turn out not to be durable: number and place.
    pub(super) recent: Vec<(u64, Extent)>,
    /// Whether the last file's header made void what was before it, and alone
    /// says what was promised there.
    pub(super) bare: bool,
}

/// The next record of the chain, whole.
pub(super) struct Next<'a> {
    pub(super) header: Header,
    pub(super) crc: u32,
    pub(super) offset: u32,
    pub(super) body: &'a [u8],
}

impl Chain {
    /// A log that begins with this file.
    pub(super) fn begin(segment: u64, header: &SegmentHeader) -> Chain {
        Chain {
            map: LogMap::new(header.base_index, header.base_term),
            hard_state: header.hard_state,
            record: header.record,
            previous: header.previous,
            durable: header.durable.min(header.record),
            segment,
            segment_bytes: header.segment_bytes,
            offset: BLOCK_BYTES,
            recent: Vec::new(),
            bare: false,
        }
    }

    /// The record with the next number, where the last one ends or at the next block.
    pub(super) fn next<'a>(&self, salt: u32, bytes: &'a [u8]) -> Option<Next<'a>> {
        let here = self.offset;
        self.next_at(salt, bytes, here).or_else(|| {
            let boundary = block_up(here);
            (boundary != here).then(|| self.next_at(salt, bytes, boundary))?
        })
    }

    fn next_at<'a>(&self, salt: u32, bytes: &'a [u8], offset: u32) -> Option<Next<'a>> {
        let rest = bytes.get(offset as usize..)?;
        let (header, crc) = Header::read(salt, rest).ok()?;
        let follows = header.record == self.record + 1
            && header.previous == self.previous
            && header.segment == self.segment;
        let body = header.body(rest)?;
        follows.then_some(Next {
            header,
            crc,
            offset,
            body,
        })
    }

    /// Whether a bad record seems to begin here, and which entry it says it is.
    pub(super) fn resembles(
        &self,
        salt: u32,
        segment: u64,
        bytes: &[u8],
        offset: u32,
    ) -> Option<Option<(LogIndex, Term)>> {
        let rest = bytes.get(offset as usize..)?;
        let field = |at: usize| {
            rest.get(at..at + 8)
                .and_then(|b| b.try_into().ok())
                .map(u64::from_le_bytes)
        };
        let signs = [
            rest.starts_with(&RECORD_MAGIC.to_le_bytes()),
            field(16) == Some(segment),
            field(24) == Some(self.record + 1),
        ];
        if signs.iter().filter(|sign| **sign).count() < 2 {
            return None;
        }
        let header = Header::read(salt, rest).ok().map(|(header, _)| header);
        Some(
            header
                .filter(|h| h.kind == Kind::Entry)
                .map(|h| (h.index, h.term)),
        )
    }

    pub(super) fn accept(&mut self, next: &Next<'_>) -> Result<(), RecoverError> {
        let Next {
            header,
            crc,
            offset,
            body,
        } = next;
        let impossible = |what| RecoverError::Impossible {
            segment: header.segment,
            offset: *offset,
            record: header.record,
            what,
        };
        if header.durable >= header.record {
            return Err(impossible("durable before it was written"));
        }
        match header.kind {
            Kind::Entry => {
                if header.index != self.map.last_index().next() {
                    return Err(impossible("an entry that does not follow the last one"));
                }
                if header.term < self.map.last_term() {
                    return Err(impossible(
                        "an entry of an earlier term than the one before it",
                    ));
                }
                let (term, segment, body_bytes) = (header.term, header.segment, header.body_bytes);
                self.map.push(Place {
                    term,
                    segment,
                    offset: *offset,
                    body_bytes,
                });
            }
            Kind::HardState | Kind::HardStateCopy => {
                let state = read_hard_state(header, body)
                    .ok_or_else(|| impossible("a hard state without a vote field"))?;
                if !self.hard_state.may_become(&state) {
                    return Err(impossible("a hard state that takes back a promise"));
                }
                self.hard_state = state;
                // The copy is the last that a restart writes.
                self.bare &= header.kind == Kind::HardState;
            }
            Kind::Truncate => {
                if header.index > self.map.last_index() {
                    return Err(impossible("a truncation behind the log"));
                }
                if header.index <= self.hard_state.commit {
                    return Err(impossible("a truncation of what is committed"));
                }
                if header.index > self.map.base_index() {
                    self.map.truncate_from(header.index);
                } else {
                    // The files with the entries before it are gone, and this
                    // file began when the log was longer than it is now.
                    self.map = LogMap::new(header.index.prev(), header.term);
                }
            }
            Kind::Reset => self.map = LogMap::new(header.index, header.term),
            Kind::Mark => {}
            Kind::Segment => return Err(impossible("a segment header inside a segment")),
        }
        self.record = header.record;
        self.previous = *crc;
        self.durable = self.durable.max(header.durable);
        let bytes = HEADER_BYTES + header.body_bytes;
        self.offset = offset + bytes;
        self.recent.push((
            header.record,
            Extent {
                segment: header.segment,
                offset: *offset,
                bytes,
            },
        ));
        // What is vouched for needs no second look; amortised, so that each
        // record is moved at most once.
        if self
            .recent
            .first()
            .is_some_and(|(record, _)| *record <= header.durable)
        {
            let durable = self.durable;
            self.recent.retain(|(record, _)| *record > durable);
        }
        Ok(())
    }
}
