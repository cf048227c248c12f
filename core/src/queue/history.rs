//! What was published at addresses before, and who edited them (decision 25). The last
//! ones of each address, and of all together as many as there is room for: the oldest
//! make way. What is published or said now is elsewhere, and so are all sides of open
//! conflicts: nothing is lost with a row here but the memory of it. Kept from
//! [`FeatureLevel::CONTEXTS_EDITED`](crate::feature::FeatureLevel) on; a context that is
//! published once and edited by nobody has no row.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::edit::{PastEdit, PastResult};
use crate::ids::{JobId, LogIndex};
use crate::limits::{
    EDIT_BYTES_MAX, HISTORY_BYTES_MAX, HISTORY_EDITS_MAX, HISTORY_RESULTS_MAX, HISTORY_ROWS_MAX,
    NAME_BYTES_MAX, VERSION_ACTORS_MAX,
};
use crate::time::Stamp;
use crate::version::Dot;

use super::QueueManager;
use super::contexts::{Context, PlaceId};
use super::edits::holds_edits;
use super::table::Table;

/// What a row counts for besides its texts, in bytes.
const ROW_BYTES: u64 = 128;
/// Rows that one event displaces at the most: an edit of [`EDIT_BYTES_MAX`] whose author
/// had seen all actors, and that was merged by somebody with a long name.
const DISPLACED_MAX: u64 = 150;
/// What an actor in a vector counts for, in bytes.
const ACTOR_BYTES: u64 = 16;

const _: () = assert!(
    EDIT_BYTES_MAX + NAME_BYTES_MAX + ACTOR_BYTES * VERSION_ACTORS_MAX + ROW_BYTES
        <= DISPLACED_MAX * ROW_BYTES,
    "the bytes of one event are those of so many rows"
);

/// One event at an address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Past {
    /// Another result took its place.
    Result {
        context: Context,
        until: Stamp,
        until_wall_ms: u64,
        replaced_by: JobId,
    },
    Edit(PastEdit),
}

impl Past {
    fn kind(&self) -> Kind {
        match self {
            Past::Result { .. } => Kind::Result,
            Past::Edit(_) => Kind::Edit,
        }
    }
}

/// Rows of each kind are bounded on their own: many edits are not to displace results.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Result,
    Edit,
}

/// An event, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct PastRow {
    place: PlaceId,
    past: Past,
}

impl PastRow {
    pub(super) fn place(&self) -> PlaceId {
        self.place
    }

    fn bytes(&self) -> u64 {
        match &self.past {
            Past::Result { .. } => ROW_BYTES,
            Past::Edit(past) => {
                ROW_BYTES
                    + past.edit.bytes()
                    + past.by.0.len() as u64
                    + ACTOR_BYTES * past.version.len()
            }
        }
    }
}

/// The histories of all addresses.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// By entry: each adds one event at the most.
    pub(super) rows: Table<LogIndex, PastRow>,
    /// Derived.
    bytes: u64,
    /// Derived.
    of_place: BTreeSet<(PlaceId, Kind, LogIndex)>,
}

impl History {
    pub(super) fn new(rows: Table<LogIndex, PastRow>) -> History {
        let bytes = rows.iter().map(|(_, row)| row.bytes());
        let of_place = rows
            .iter()
            .map(|(index, row)| (row.place, row.past.kind(), *index));
        History {
            bytes: bytes.fold(0, u64::saturating_add),
            of_place: of_place.collect(),
            rows,
        }
    }

    fn of(&self, place: PlaceId, kind: Kind) -> impl DoubleEndedIterator<Item = LogIndex> {
        let all = (place, kind, LogIndex(0))..=(place, kind, LogIndex(u64::MAX));
        self.of_place.range(all).map(|(_, _, index)| *index)
    }

    /// An edit, as it was applied, if that is kept.
    pub(super) fn edit(&self, place: PlaceId, dot: Dot) -> Option<&PastEdit> {
        let edits = self.of(place, Kind::Edit).rev();
        let mut edits = edits.filter_map(|index| match &self.rows.get(&index)?.past {
            Past::Edit(past) => Some(past),
            Past::Result { .. } => None,
        });
        edits.find(|past| past.dot == dot)
    }

    fn insert(&mut self, index: LogIndex, row: PastRow) {
        self.bytes += row.bytes();
        self.of_place.insert((row.place, row.past.kind(), index));
        let old = self.rows.insert(index, row);
        assert!(old.is_none(), "{index} is in the history twice");
    }

    /// Forgets a row; says where it was.
    fn remove(&mut self, index: LogIndex) -> PlaceId {
        let row = self.rows.remove(&index);
        let row = row.unwrap_or_else(|| panic!("{index} is in no history"));
        self.bytes -= row.bytes();
        self.of_place.remove(&(row.place, row.past.kind(), index));
        row.place
    }

    /// The row that is to make way for a newer one of its address, or of all.
    fn surplus(&self, place: PlaceId, kind: Kind) -> Option<LogIndex> {
        let count_max = match kind {
            Kind::Result => HISTORY_RESULTS_MAX,
            Kind::Edit => HISTORY_EDITS_MAX,
        };
        let mut own = self.of(place, kind);
        let first = own.next();
        if own.count() as u64 >= count_max {
            return first;
        }
        let surplus = self.rows.len() > HISTORY_ROWS_MAX || self.bytes > HISTORY_BYTES_MAX;
        let (index, _) = self.rows.first()?;
        surplus.then_some(*index)
    }

    /// Is every index right, and every bound kept?
    pub(super) fn is_sound(&self, applied: LogIndex) -> bool {
        let anew = History::new(self.rows.clone());
        anew.bytes == self.bytes
            && anew.of_place == self.of_place
            && self.rows.len() <= HISTORY_ROWS_MAX
            && self.bytes <= HISTORY_BYTES_MAX
            && self.rows.iter().all(|(index, _)| *index <= applied)
    }

    /// The addresses of all rows, each as often as it has rows.
    pub(super) fn places(&self) -> impl Iterator<Item = PlaceId> {
        self.rows.iter().map(|(_, row)| row.place)
    }
}

impl QueueManager {
    /// A result took the place of another one.
    pub(super) fn note_replaced(
        &mut self,
        place: PlaceId,
        before: Context,
        by: JobId,
        wall_ms: u64,
    ) {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::ReplacedForgotten)
            && self.history.of(place, Kind::Result).next().is_some()
        {
            return;
        }
        let past = Past::Result {
            context: before,
            until: self.head.now,
            until_wall_ms: wall_ms,
            replaced_by: by,
        };
        self.note_past(place, past);
    }

    /// An edit was applied.
    pub(super) fn note_edit(&mut self, place: PlaceId, past: PastEdit) {
        self.note_past(place, Past::Edit(past));
    }

    /// A row counts for [`ROW_BYTES`] at the least, and an edit for a bounded number of
    /// these: so many rows make way for one, and no more ([`DISPLACED_MAX`]).
    fn note_past(&mut self, place: PlaceId, past: Past) {
        if !holds_edits(self.level) {
            return;
        }
        let kind = past.kind();
        self.history
            .insert(self.head.applied, PastRow { place, past });
        self.places.hold(place);
        let before = self.history.rows.len();
        while let Some(index) = self.history.surplus(place, kind) {
            let place = self.history.remove(index);
            self.places.release(place);
        }
        let displaced = before - self.history.rows.len();
        assert!(
            displaced <= DISPLACED_MAX,
            "one event made {displaced} rows of the history go"
        );
    }

    /// The history of an address, the oldest first: results that were replaced, and
    /// edits.
    #[must_use]
    pub fn history(&self, address: &Address) -> (Vec<PastResult>, Vec<PastEdit>) {
        let (mut results, mut edits) = (Vec::new(), Vec::new());
        let Some(place) = self.places.find(address) else {
            return (results, edits);
        };
        let indexes = [Kind::Result, Kind::Edit]
            .into_iter()
            .flat_map(|kind| self.history.of(place, kind));
        for index in indexes {
            let row = self.history.rows.get(&index);
            match &row.expect("the index is of rows").past {
                Past::Edit(past) => edits.push(past.clone()),
                Past::Result {
                    context,
                    until,
                    until_wall_ms,
                    replaced_by,
                } => results.push(PastResult {
                    result: context.result,
                    bytes: context.bytes,
                    subject: context.subject,
                    generator: context.origin.generator.clone(),
                    job: context.job,
                    accepted: context.accepted,
                    index,
                    until: *until,
                    until_wall_ms: *until_wall_ms,
                    replaced_by: *replaced_by,
                }),
            }
        }
        (results, edits)
    }
}
