//! Turns batches into the bytes of a log and says where they go. The host
//! performs the steps, syncs, and reports with [`LogWriter::mark_durable`];
//! the disk thread of a node and the simulated disk do exactly the same.
//!
//! A conflicting suffix is removed by an explicit `Truncate` record; an entry
//! record whose index does not follow the last one is never written and never
//! accepted.

use crate::entry::{HardState, LogEntry, WriteBatch};
use crate::ids::{LogIndex, Term};
use crate::limits::ENTRY_BYTES_MAX;
use crate::wire::log_map::{LogMap, Place};
use crate::wire::record::{
    BLOCK_BYTES, ENTRY_PREFIX_BYTES, HEADER_BYTES, Header, Kind, LogIdentity,
    RECORD_BODY_BYTES_MAX, SegmentHeader, block_up, entry_prefix, hard_state_bytes,
};

/// The usual size of a segment file.
pub const SEGMENT_BYTES: u32 = 8 * 1024 * 1024;
/// The smallest size of a segment file (for tests: rolls over often).
pub const SEGMENT_BYTES_MIN: u32 = 4 * BLOCK_BYTES;

const _: () = assert!(
    SEGMENT_BYTES as u64 > RECORD_BODY_BYTES_MAX + (HEADER_BYTES + BLOCK_BYTES) as u64,
    "the largest entry must fit a segment"
);
const _: () = assert!(
    SEGMENT_BYTES.is_multiple_of(BLOCK_BYTES),
    "a segment is whole blocks"
);

/// What the host has to do, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Make everything before durable; make this file, of the segment size,
    /// with `header` as its first block durable, and only then let it have its
    /// name.
    Begin {
        /// Number of the new file.
        segment: u64,
        /// Its first block; set `recycled` in it if the file held another segment.
        header: SegmentHeader,
    },
    /// Write these bytes (whole blocks).
    Write {
        /// Number of the file.
        segment: u64,
        /// Where in it.
        offset: u32,
        /// What.
        bytes: Vec<u8>,
    },
}

/// Why a batch was refused. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// The entry does not follow the last one.
    #[error("entry {found} does not follow the last entry {last}; entries must be without gap")]
    Gap {
        /// The entry's index.
        found: LogIndex,
        /// The last index before it.
        last: LogIndex,
    },
    /// A term goes back from one entry to the next.
    #[error("entry {index} has {found} after {last}; terms never go back")]
    TermBack {
        /// The entry.
        index: LogIndex,
        /// Its term.
        found: Term,
        /// The term before it.
        last: Term,
    },
    /// The body is too large.
    #[error("entry {index} has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// The entry.
        index: LogIndex,
        /// Its size.
        bytes: u64,
        /// The most that fits.
        limit: u64,
    },
    /// The truncation would remove what is committed, or begins before or behind the log.
    #[error(
        "cannot truncate from {from}: the log holds entries after {base} to {last}, committed to {commit}"
    )]
    Truncation {
        /// The first to remove.
        from: LogIndex,
        /// The entry before the log.
        base: LogIndex,
        /// The last entry.
        last: LogIndex,
        /// What is known to be committed.
        commit: LogIndex,
    },
    /// The hard state would take back a promise.
    #[error("hard state {found:?} cannot follow {last:?}")]
    HardState {
        /// The new one.
        found: HardState,
        /// The one in force.
        last: HardState,
    },
}

/// The end of a log, to which batches are added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogWriter {
    identity: LogIdentity,
    segment_bytes: u32,
    segment: u64,
    /// The block boundary where the next write goes.
    offset: u32,
    /// Number of the last record.
    record: u64,
    /// Its header checksum.
    previous: u32,
    durable: u64,
    hard_state: HardState,
    map: LogMap,
}

/// Where a log ends: what [`super::recover`] found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) record: u64,
    pub(crate) previous: u32,
    pub(crate) durable: u64,
    pub(crate) hard_state: HardState,
}

impl LogWriter {
    /// A log that has nothing yet, not even a file: its first batch begins one.
    #[must_use]
    pub fn create(identity: LogIdentity, segment_bytes: u32) -> LogWriter {
        let end = LogEnd {
            segment: 0,
            offset: segment_bytes,
            record: 0,
            previous: 0,
            durable: 0,
            hard_state: HardState::default(),
        };
        LogWriter::resume(identity, segment_bytes, end, LogMap::default())
    }

    /// # Panics
    /// If the segment size is less than the smallest or not whole blocks.
    pub(crate) fn resume(
        identity: LogIdentity,
        segment_bytes: u32,
        end: LogEnd,
        map: LogMap,
    ) -> LogWriter {
        assert!(
            segment_bytes >= SEGMENT_BYTES_MIN,
            "{segment_bytes} bytes are too few"
        );
        assert!(
            segment_bytes.is_multiple_of(BLOCK_BYTES),
            "{segment_bytes} is not whole blocks"
        );
        let LogEnd {
            segment,
            offset,
            record,
            previous,
            durable,
            hard_state,
        } = end;
        LogWriter {
            identity,
            segment_bytes,
            segment,
            offset,
            record,
            previous,
            durable,
            hard_state,
            map,
        }
    }

    /// Where the entries are.
    #[must_use]
    pub fn map(&self) -> &LogMap {
        &self.map
    }

    /// The hard state as last written.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Number of the file that is being written; 0 before the first.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// Size of every segment file.
    #[must_use]
    pub fn segment_bytes(&self) -> u32 {
        self.segment_bytes
    }

    /// Number of the last record: what to pass to [`LogWriter::mark_durable`] once
    /// all steps so far are synced.
    #[must_use]
    pub fn last_record(&self) -> u64 {
        self.record
    }

    /// The largest body that fits a segment of this log.
    #[must_use]
    pub fn body_bytes_max(&self) -> u64 {
        let overhead = BLOCK_BYTES + HEADER_BYTES + ENTRY_PREFIX_BYTES;
        ENTRY_BYTES_MAX.min(u64::from(self.segment_bytes - overhead))
    }

    /// Records up to this number are synced. Later records carry the news.
    pub fn mark_durable(&mut self, record: u64) {
        assert!(record <= self.record, "record {record} is not written yet");
        self.durable = self.durable.max(record);
    }

    /// Forgets where entries up to `up_to` are. Returns the number of the
    /// oldest file that is still needed: those before it may be recycled, the
    /// lowest number first.
    pub fn forget_up_to(&mut self, up_to: LogIndex) -> u64 {
        self.map.forget_up_to(up_to);
        self.map.first_segment().unwrap_or(self.segment)
    }

    /// The steps that put `batch` on disk. On an error nothing has changed.
    pub fn encode(&mut self, batch: &WriteBatch<'_>) -> Result<Vec<Step>, BatchError> {
        self.check(batch)?;
        let bytes: u64 = batch
            .entries
            .iter()
            .map(|entry| entry.body.len() as u64 + u64::from(ENTRY_PREFIX_BYTES + HEADER_BYTES))
            .sum();
        let mut sheet = Sheet::new(bytes.min(u64::from(self.segment_bytes)));
        let mut copy = None;
        if let Some(next) = batch.hard_state {
            let promise = |state: &HardState| (state.term, state.vote, state.repairing);
            copy = (promise(&next) != promise(&self.hard_state)).then_some(next);
            // The end of a repair is told after this batch's entries, by the
            // copy alone: a torn write must not leave it without them.
            let repairing = self.hard_state.repairing;
            self.put_hard_state(&mut sheet, Kind::HardState, HardState { repairing, ..next });
        }
        if let Some(from) = batch.truncate_from {
            let term = self.map.term_at(from.prev()).unwrap_or_default();
            self.put(&mut sheet, Kind::Truncate, term, from, [&[], &[]]);
            self.map.truncate_from(from);
        }
        if let Some((index, term)) = batch.reset {
            self.put(&mut sheet, Kind::Reset, term, index, [&[], &[]]);
            self.map = LogMap::new(index, term);
        }
        for entry in batch.entries {
            self.put_entry(&mut sheet, entry);
        }
        if let Some(hard_state) = copy {
            sheet.pad();
            self.put_hard_state(&mut sheet, Kind::HardStateCopy, hard_state);
        }
        Ok(self.finish(sheet))
    }

    /// The steps that say that all before is durable: makes the last write of a
    /// log that is closed in good order as safe to judge as the others.
    pub fn encode_mark(&mut self) -> Vec<Step> {
        let mut sheet = Sheet::new(0);
        let (term, index) = (self.map.last_term(), self.map.last_index());
        self.put(&mut sheet, Kind::Mark, term, index, [&[], &[]]);
        self.finish(sheet)
    }

    /// The step that leaves the current file and begins the next.
    pub fn encode_roll(&mut self) -> Vec<Step> {
        let mut sheet = Sheet::new(0);
        self.roll(&mut sheet);
        self.finish(sheet)
    }

    /// The steps that go on after what a recovery left out. The new file's
    /// header makes that void, and says what the log now promises; it is said
    /// twice more, each time in a block of its own, because no other record may
    /// be left that says it.
    pub fn encode_restart(&mut self) -> Vec<Step> {
        let mut sheet = Sheet::new(0);
        self.roll(&mut sheet);
        self.put_hard_state(&mut sheet, Kind::HardState, self.hard_state);
        sheet.pad();
        self.put_hard_state(&mut sheet, Kind::HardStateCopy, self.hard_state);
        self.finish(sheet)
    }

    /// The log has nothing that counts: it begins anew after `index`, with
    /// [`LogWriter::encode_restart`]. Its records are numbered from the first
    /// again, by which its header says that no file before it is needed.
    pub(crate) fn begin_anew(&mut self, index: LogIndex, term: Term) {
        assert!(
            self.hard_state.repairing.is_some(),
            "a log is begun anew only to be repaired"
        );
        (self.record, self.previous, self.durable) = (0, 0, 0);
        self.offset = self.segment_bytes;
        self.hard_state.commit = index;
        self.map = LogMap::new(index, term);
    }

    pub(crate) fn set_repairing(&mut self, up_to: LogIndex) {
        self.hard_state.repairing = Some(up_to);
    }

    fn check(&self, batch: &WriteBatch<'_>) -> Result<(), BatchError> {
        let hard_state = batch.hard_state.unwrap_or(self.hard_state);
        if !self.hard_state.may_become(&hard_state) {
            return Err(BatchError::HardState {
                found: hard_state,
                last: self.hard_state,
            });
        }
        let (mut last, mut last_term) = (self.map.last_index(), self.map.last_term());
        if let Some(from) = batch.truncate_from {
            let (base, commit) = (self.map.base_index(), self.hard_state.commit);
            if from <= base || from > last || from <= commit {
                return Err(BatchError::Truncation {
                    from,
                    base,
                    last,
                    commit,
                });
            }
            last = from.prev();
            last_term = self.map.term_at(last).unwrap_or(last_term);
        }
        if let Some((index, term)) = batch.reset {
            (last, last_term) = (index, term);
        }
        for entry in batch.entries {
            let (index, bytes, limit) =
                (entry.index, entry.body.len() as u64, self.body_bytes_max());
            if index != last.next() {
                return Err(BatchError::Gap { found: index, last });
            }
            if entry.term < last_term {
                return Err(BatchError::TermBack {
                    index,
                    found: entry.term,
                    last: last_term,
                });
            }
            if bytes > limit {
                return Err(BatchError::TooLarge {
                    index,
                    bytes,
                    limit,
                });
            }
            (last, last_term) = (index, entry.term);
        }
        Ok(())
    }

    fn put_hard_state(&mut self, sheet: &mut Sheet, kind: Kind, state: HardState) {
        let body = hard_state_bytes(&state);
        self.put(sheet, kind, state.term, state.commit, [&body, &[]]);
        self.hard_state = state;
    }

    fn put_entry(&mut self, sheet: &mut Sheet, entry: &LogEntry) {
        let parts = [&entry_prefix(entry)[..], &entry.body];
        let offset = self.put(sheet, Kind::Entry, entry.term, entry.index, parts);
        let body_bytes = entry.body.len() as u32 + ENTRY_PREFIX_BYTES;
        self.map.push(Place {
            term: entry.term,
            segment: self.segment,
            offset,
            body_bytes,
        });
    }

    /// Adds a record and returns where in the file it begins.
    fn put(
        &mut self,
        sheet: &mut Sheet,
        kind: Kind,
        term: Term,
        index: LogIndex,
        body: [&[u8]; 2],
    ) -> u32 {
        let body_bytes = body[0].len() + body[1].len();
        let room = self.segment_bytes - self.offset;
        if sheet.len() as u64 + u64::from(HEADER_BYTES) + body_bytes as u64 > u64::from(room) {
            self.roll(sheet);
        }
        let at = self.offset + sheet.len();
        self.record += 1;
        let header = Header {
            kind,
            body_bytes: body_bytes as u32,
            body_crc: crc32c::crc32c_append(crc32c::crc32c(body[0]), body[1]),
            segment: self.segment,
            record: self.record,
            durable: self.durable,
            term,
            index,
            previous: self.previous,
        };
        self.previous = header.write(self.identity.salt(), &mut sheet.bytes);
        sheet.bytes.extend_from_slice(body[0]);
        sheet.bytes.extend_from_slice(body[1]);
        at
    }

    fn roll(&mut self, sheet: &mut Sheet) {
        self.flush(sheet);
        self.segment += 1;
        self.offset = BLOCK_BYTES;
        let header = SegmentHeader {
            identity: self.identity,
            segment: self.segment,
            record: self.record,
            previous: self.previous,
            durable: self.durable,
            base_index: self.map.last_index(),
            base_term: self.map.last_term(),
            hard_state: self.hard_state,
            segment_bytes: self.segment_bytes,
            recycled: false,
        };
        sheet.steps.push(Step::Begin {
            segment: self.segment,
            header,
        });
    }

    /// Ends a write: whole blocks, so that the next one shares none with it.
    fn flush(&mut self, sheet: &mut Sheet) {
        if sheet.bytes.is_empty() {
            return;
        }
        sheet.pad();
        let bytes = std::mem::take(&mut sheet.bytes);
        let (segment, offset) = (self.segment, self.offset);
        self.offset += bytes.len() as u32;
        sheet.steps.push(Step::Write {
            segment,
            offset,
            bytes,
        });
    }

    fn finish(&mut self, mut sheet: Sheet) -> Vec<Step> {
        self.flush(&mut sheet);
        sheet.steps
    }
}

/// The steps so far, and the write that is being put together.
struct Sheet {
    steps: Vec<Step>,
    bytes: Vec<u8>,
}

impl Sheet {
    fn new(bytes: u64) -> Sheet {
        let capacity = bytes.next_multiple_of(u64::from(BLOCK_BYTES)) as usize;
        Sheet {
            steps: Vec::with_capacity(1),
            bytes: Vec::with_capacity(capacity),
        }
    }

    /// Less than a segment, so it fits.
    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn pad(&mut self) {
        let len = block_up(self.len()) as usize;
        self.bytes.resize(len, 0);
    }
}
