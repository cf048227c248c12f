//! What is found behind the end of a log: whether the missing record was
//! durable, what was promised there, and how far the log may have gone. Knows
//! nothing of the records before the end.
//!
//! Of the entries behind damage nothing is used: they only tell how far the
//! log went. Of the hard states the newest counts, if it is **certain** that
//! there was none after it. A new promise is written twice: at the beginning
//! of a write, and at its end in a block of its own. So two records that begin
//! at block boundaries must be missing before a promise can be.

use super::{Chain, Damage, Fault, Torn};
use crate::entry::HardState;
use crate::ids::{LogIndex, Term};
use crate::wire::record::{BLOCK_BYTES, HEADER_BYTES, Header, Kind, SegmentHeader};

/// What is known of a tail that is bad.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    pub(super) torn: Torn,
    /// What the bad record says it is.
    pub(super) entry: Option<(LogIndex, Term)>,
    /// How it is bad.
    fault: Fault,
    /// Whether it is bad in a way that no crash can cause.
    certain: bool,
    /// The highest record number that any record behind vouches for.
    durable: u64,
    /// The newest hard state behind.
    promise: Option<HardState>,
    /// The highest index that was being repaired.
    repairing: Option<LogIndex>,
    /// The last record that was seen, or is known to be missing.
    record: u64,
    /// The last entry as of then, or a bound of it.
    last: LogIndex,
    /// The file and the offset where that record ends.
    end: (u64, u32),
    /// Missing records since the newest hard state.
    gaps: Vec<Gap>,
    /// Whether records may be missing since the newest hard state that left no trace at all.
    blind: bool,
}

/// Records that are missing between two that are there.
#[derive(Clone, Copy, Debug)]
struct Gap {
    first: u64,
    last: u64,
    /// How many of them can have begun at a block boundary.
    boundaries: u64,
}

impl Behind {
    /// Nothing is known yet of what is behind `chain`.
    pub(super) fn new(chain: &Chain, torn: Torn, fault: Fault) -> Behind {
        Behind {
            torn,
            entry: None,
            fault,
            certain: false,
            durable: 0,
            promise: None,
            repairing: None,
            record: chain.record,
            last: chain.map.last_index(),
            end: (chain.segment, chain.offset),
            gaps: Vec::new(),
            blind: false,
        }
    }

    /// No crash can have caused this; records may have gone without a trace.
    pub(super) fn lose_sight(&mut self) {
        (self.certain, self.blind) = (true, true);
    }

    /// No crash can have caused this.
    pub(super) fn be_certain(&mut self) {
        self.certain = true;
    }

    /// The header of a file behind the end: restates all that was before it.
    pub(super) fn on_segment(&mut self, header: &SegmentHeader) {
        self.durable = self.durable.max(header.durable);
        self.record = header.record;
        self.last = header.base_index;
        self.end = (header.segment, BLOCK_BYTES);
        self.on_promise(header.hard_state);
    }

    /// A record behind the end, with the hard state in it if it is one.
    pub(super) fn on_record(&mut self, header: &Header, at: u32, state: Option<HardState>) {
        let (first, last) = (self.record + 1, header.record.saturating_sub(1));
        if first <= last {
            let missing = last - first + 1;
            let boundaries = boundaries_between(self.end, (header.segment, at)).min(missing);
            self.gaps.push(Gap {
                first,
                last,
                boundaries,
            });
            // Each may have been an entry.
            self.last = LogIndex(self.last.0.saturating_add(missing));
        }
        self.record = header.record;
        self.durable = self.durable.max(header.durable);
        self.end = (header.segment, at + HEADER_BYTES + header.body_bytes);
        match header.kind {
            Kind::Entry | Kind::Reset | Kind::Mark => self.last = header.index,
            Kind::Truncate => self.last = header.index.prev(),
            Kind::HardState | Kind::HardStateCopy => match state {
                Some(state) => self.on_promise(state),
                None => self.gaps.push(Gap {
                    first: header.record,
                    last: header.record,
                    boundaries: 1,
                }),
            },
            Kind::Segment => {}
        }
    }

    /// A whole hard state: those before it matter no more.
    fn on_promise(&mut self, state: HardState) {
        self.gaps.clear();
        self.blind = false;
        self.repairing = self.repairing.max(state.repairing);
        // Numbers begin again after a torn tail; promises only ever grow.
        let newer = |known: HardState| known.is_kept_by(&state);
        if self.promise.is_none_or(newer) {
            self.promise = Some(state);
        }
    }

    /// Whether the missing record was durable, or cannot have gone in a crash.
    pub(super) fn is_damage(&self) -> bool {
        self.certain || self.durable >= self.torn.record
    }

    /// Whether a promise may be among what is missing. What was not vouched
    /// for does not count: it was never spoken of.
    pub(super) fn is_promise_lost(&self) -> bool {
        let missing = |gap: &Gap| {
            let last = gap.last.min(self.durable);
            (last + 1).saturating_sub(gap.first).min(gap.boundaries)
        };
        self.blind || self.gaps.iter().map(missing).sum::<u64>() >= 2
    }

    /// `known` with what was promised behind the end. Its commit stays: one
    /// from behind may be of entries that are missing.
    pub(super) fn honour(&self, known: HardState) -> HardState {
        match self.promise.filter(|state| known.is_kept_by(state)) {
            None => known,
            Some(promise) => HardState {
                commit: known.commit,
                repairing: known.repairing,
                ..promise
            },
        }
    }

    /// The damage, when there was `known` before the end.
    pub(super) fn damage(&self, known: HardState) -> Damage {
        let behind = self.promise.map_or(LogIndex(0), |state| state.commit);
        let repairing = self.repairing.max(known.repairing).unwrap_or_default();
        Damage {
            fault: self.fault,
            segment: self.torn.segment,
            offset: self.torn.offset,
            bytes: self.torn.bytes,
            record: self.torn.record,
            index: self.entry.map(|(index, _)| index),
            term: self.entry.map(|(_, term)| term),
            must_cover: self.last.max(known.commit).max(behind).max(repairing),
        }
    }
}

/// At how many places between two records a write can have begun.
fn boundaries_between(end: (u64, u32), next: (u64, u32)) -> u64 {
    if end.0 != next.0 {
        return u64::MAX;
    }
    let blocks = |at: u32| u64::from(at.div_ceil(BLOCK_BYTES));
    blocks(next.1).saturating_sub(blocks(end.1))
}
