//! Where each entry of a log lies on disk. Small and in memory: 24 bytes an
//! entry, no bodies.

use std::collections::VecDeque;

use crate::ids::{LogIndex, Term};

/// Where one entry lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its term.
    pub term: Term,
    /// The file.
    pub segment: u64,
    /// Where its record (the header) begins in it.
    pub offset: u32,
    /// Length of its body.
    pub body_bytes: u32,
}

/// The entries after a base, without gap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogMap {
    base_index: LogIndex,
    base_term: Term,
    places: VecDeque<Place>,
}

impl LogMap {
    /// No entries after `index`.
    #[must_use]
    pub fn new(index: LogIndex, term: Term) -> LogMap {
        LogMap {
            base_index: index,
            base_term: term,
            places: VecDeque::new(),
        }
    }

    /// The entry before the first that is here.
    #[must_use]
    pub fn base_index(&self) -> LogIndex {
        self.base_index
    }

    /// Its term.
    #[must_use]
    pub fn base_term(&self) -> Term {
        self.base_term
    }

    /// The last entry, or the base if there is none.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.base_index.0 + self.places.len() as u64)
    }

    /// The last entry's term.
    #[must_use]
    pub fn last_term(&self) -> Term {
        self.places
            .back()
            .map_or(self.base_term, |place| place.term)
    }

    /// Where an entry lies, if it is here.
    #[must_use]
    pub fn get(&self, index: LogIndex) -> Option<&Place> {
        let position = index.0.checked_sub(self.base_index.0)?.checked_sub(1)?;
        self.places.get(usize::try_from(position).ok()?)
    }

    /// The term of an entry that is here, or of the base.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base_index {
            return Some(self.base_term);
        }
        self.get(index).map(|place| place.term)
    }

    /// The oldest file that an entry lies in.
    #[must_use]
    pub fn first_segment(&self) -> Option<u64> {
        self.places.front().map(|place| place.segment)
    }

    /// All places with their indexes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (LogIndex, &Place)> {
        let first = self.base_index.0 + 1;
        self.places
            .iter()
            .enumerate()
            .map(move |(i, place)| (LogIndex(first + i as u64), place))
    }

    pub(crate) fn push(&mut self, place: Place) {
        self.places.push_back(place);
    }

    /// Forgets the entries from `from` on.
    pub(crate) fn truncate_from(&mut self, from: LogIndex) {
        let kept = from.0.saturating_sub(self.base_index.0 + 1);
        self.places
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    /// Forgets the entries up to and with `up_to`, which becomes the base.
    pub(crate) fn forget_up_to(&mut self, up_to: LogIndex) {
        while self.base_index < up_to {
            let Some(place) = self.places.pop_front() else {
                return;
            };
            self.base_index = self.base_index.next();
            self.base_term = place.term;
        }
    }
}
