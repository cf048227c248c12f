//! Does a leader serve soon, once a shape of the network stands and all else is
//! quiet, and does it keep its leadership? Believes what nodes show of
//! themselves; what can be demanded, and of whom, it is told by the stage.

use std::collections::BTreeSet;

use precentor_core::ids::{LogIndex, Term};
use precentor_core::log::TermAt;
use precentor_core::message::LogPosition;
use precentor_core::status::{PhaseName, RoleName};
use precentor_core::view::View;

use super::{Checker, Verdict, ensure};
use crate::network::Place;
use crate::topology::Bound;

#[cfg(test)]
mod tests;

/// A leadership that ends more often than this while nothing changes is no
/// accident of one election.
pub const LOSSES_MAX: u32 = 3;

/// What a node shows of its leadership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// It leads, and takes requests.
    pub takes_requests: bool,
    /// Its term.
    pub term: Term,
    /// The end of its log.
    pub last: LogPosition,
    /// What it has committed.
    pub commit: LogIndex,
    /// The entry there is of its own term.
    pub committed_own: bool,
}

impl Seen {
    /// What a node shows that is down.
    #[must_use]
    pub fn nothing() -> Seen {
        Seen {
            takes_requests: false,
            term: Term(0),
            last: LogPosition {
                term: Term(0),
                index: LogIndex(0),
            },
            commit: LogIndex(0),
            committed_own: false,
        }
    }

    /// What a view shows.
    #[must_use]
    pub fn of(view: &View<'_>) -> Seen {
        let takes = matches!(view.phase(), PhaseName::Reclaiming | PhaseName::Serving);
        Seen {
            takes_requests: takes && view.role() == RoleName::Leader,
            term: view.term(),
            last: view.last(),
            commit: view.commit(),
            committed_own: view.term_at(view.commit()) == TermAt::Known(view.term()),
        }
    }
}

/// Watches one shape from the moment at which it stands.
#[derive(Clone, Debug)]
pub struct Watch {
    from_us: u64,
    bound: Bound,
    /// Who reaches a majority both ways.
    centres: Vec<Place>,
    /// Terms and logs as they were in the beginning.
    before: Vec<Seen>,
    serving: BTreeSet<Place>,
    /// Since when no leader serves.
    dark_from_us: Option<u64>,
    /// How long none served, up to then.
    dark_us: u64,
    first_us: Option<u64>,
    losses: u32,
}

impl Watch {
    /// Begins to watch; `before` is what each node shows now, in order of place.
    #[must_use]
    pub fn new(now_us: u64, bound: Bound, centres: Vec<Place>, before: Vec<Seen>) -> Watch {
        Watch {
            from_us: now_us,
            bound,
            centres,
            before,
            serving: BTreeSet::new(),
            dark_from_us: Some(now_us),
            dark_us: 0,
            first_us: None,
            losses: 0,
        }
    }

    /// A node took a turn. It serves if it reaches a majority, leads, takes
    /// requests, and has committed an entry of its term that is newer than the
    /// shape: that a majority follows is proved by nothing less.
    pub fn on_seen(&mut self, now_us: u64, place: Place, seen: Seen) {
        let before = &self.before[place];
        let new = seen.term > before.term || seen.commit > before.last.index;
        let serves = self.centres.contains(&place)
            && seen.takes_requests
            && seen.committed_own
            && (new || self.serving.contains(&place));
        if serves {
            self.serving.insert(place);
            self.first_us.get_or_insert(now_us);
            if let Some(from_us) = self.dark_from_us.take() {
                self.dark_us += now_us - from_us;
            }
        } else if self.serving.remove(&place) && self.serving.is_empty() {
            self.losses += 1;
            self.dark_from_us = Some(now_us);
        }
    }

    /// Should this node be asked something, so that it has an entry to commit?
    #[must_use]
    pub fn wants_proof(&self, place: Place, seen: Seen) -> bool {
        seen.takes_requests && self.centres.contains(&place) && !self.serving.contains(&place)
    }

    /// Is it known by now? Fails when the time without a serving leader, in one
    /// piece or in several, is longer than the bound, and when leadership is
    /// lost again and again although the bound holds. `nodes` tells, for the
    /// report, how they all are.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge(&self, now_us: u64, nodes: impl FnOnce() -> String) -> Verdict {
        if !self.is_binding() {
            return Ok(());
        }
        let (dark_us, within_us) = (self.dark_us(now_us), self.bound.within_us());
        let holds = dark_us <= within_us && self.losses <= LOSSES_MAX;
        ensure(holds, Checker::ServingLeader, || {
            let centres: Vec<String> = self.centres.iter().map(|c| format!("n{}", c + 1)).collect();
            format!(
                "{} ms after the shape stood there was no serving leader for {} ms ({} ms are allowed) and leadership was lost {} times, although {} reach a majority both ways: {}",
                (now_us - self.from_us) / 1_000,
                dark_us / 1_000,
                within_us / 1_000,
                self.losses,
                centres.join(", "),
                nodes()
            )
        })
    }

    /// Is anything demanded?
    #[must_use]
    pub fn is_binding(&self) -> bool {
        self.bound.binding && !self.centres.is_empty()
    }

    /// Does any node reach a majority both ways?
    #[must_use]
    pub fn has_centre(&self) -> bool {
        !self.centres.is_empty()
    }

    /// How soon a leader must serve.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// When the watch ends.
    #[must_use]
    pub fn until_us(&self) -> u64 {
        self.from_us + self.bound.watch_us()
    }

    /// How long it took until a leader served, if one did.
    #[must_use]
    pub fn serving_after_us(&self) -> Option<u64> {
        self.first_us.map(|first_us| first_us - self.from_us)
    }

    /// How long no leader served, in all.
    #[must_use]
    pub fn dark_us(&self, now_us: u64) -> u64 {
        self.dark_us + self.dark_from_us.map_or(0, |from_us| now_us - from_us)
    }

    /// How often leadership was lost.
    #[must_use]
    pub fn losses(&self) -> u32 {
        self.losses
    }
}
