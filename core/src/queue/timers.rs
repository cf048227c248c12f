//! What is due when, in cluster time. Derived from the rows that have a time;
//! fires nothing by itself: only a `Tick` does (QUEUE T3).

use std::collections::BTreeSet;

use crate::ids::{JobId, SessionId};
use crate::time::Stamp;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// A delayed job may start.
    Job(JobId),
    /// An unused session expires.
    Session(SessionId),
}

/// All timers, the earliest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Stamp, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Stamp, timer: Timer) {
        let added = self.due.insert((at, timer));
        assert!(added, "{timer:?} was set for {at:?} already");
    }

    pub(super) fn clear(&mut self, at: Stamp, timer: Timer) {
        let removed = self.due.remove(&(at, timer));
        assert!(removed, "{timer:?} was not set for {at:?}");
    }

    pub(super) fn next(&self) -> Option<Stamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The earliest timer, if it is due by `now`. It stays until it is cleared.
    pub(super) fn first_due(&self, now: Stamp) -> Option<Timer> {
        let (at, timer) = self.due.first()?;
        (*at <= now).then_some(*timer)
    }
}
