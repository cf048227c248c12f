//! Who waits a little for more jobs than are ready, to run them together (QUEUE B1). It
//! waits once for each time that it is short of jobs, and then takes what there is.

use std::collections::BTreeMap;

use crate::ids::WorkerId;
use crate::time::{Span, Time};

/// The workers that wait for more, or have waited.
#[derive(Clone, Debug)]
pub(super) struct Lingering {
    longest: Span,
    /// Until when. None: it has waited, and takes what there is.
    until: BTreeMap<WorkerId, Option<Time>>,
    #[cfg(feature = "planted-bugs")]
    planted: Option<crate::planted::Bug>,
}

impl Lingering {
    pub(super) fn new(longest: Span) -> Lingering {
        Lingering {
            longest,
            until: BTreeMap::new(),
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    /// Makes it break a rule, for the simulator to notice.
    #[cfg(feature = "planted-bugs")]
    pub(super) fn plant(&mut self, bug: crate::planted::Bug) {
        self.planted = Some(bug);
    }

    /// Nothing is ready, or another leads.
    pub(super) fn forget(&mut self) {
        self.until.clear();
    }

    /// A round of claims begins. `is_known` says who is still there: one that asks anew
    /// does not begin anew to wait.
    pub(super) fn begin(&mut self, now: Time, is_known: impl Fn(&WorkerId) -> bool) {
        self.until.retain(|id, _| is_known(id));
        for until in self.until.values_mut() {
            *until = until.filter(|until| *until > now);
        }
    }

    /// There is less than a worker would take: does it wait for more?
    pub(super) fn waits(&mut self, now: Time, id: WorkerId) -> bool {
        if self.longest == Span::ZERO {
            return false;
        }
        let until = self.until.entry(id).or_insert(Some(now + self.longest));
        #[cfg(feature = "planted-bugs")]
        if self.planted == Some(crate::planted::Bug::LingersForEver) {
            return true;
        }
        until.is_some()
    }

    /// It was given something.
    pub(super) fn stop(&mut self, id: WorkerId) {
        self.until.remove(&id);
    }

    /// When the first one has waited long enough.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.until.values().flatten().min().copied()
    }
}
