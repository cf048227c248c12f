//! Which part of the space is searched: where it begins, what may happen how
//! often, and how deep. No one search is deep in everything, so there are
//! several, each with the budget that its question needs.

use super::local::Setup;
use super::starts::Start;
use super::state::Budget;

/// A search to make.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// What it asks.
    pub why: &'static str,
    /// Where it begins.
    pub start: Start,
    /// Writes are durable at once: fewer orders, more depth.
    pub fast_disk: bool,
    /// An append takes one entry only.
    pub short_appends: bool,
    /// What may happen how often.
    pub budget: Budget,
    /// How many steps deep a change is checked.
    pub depth: u32,
    /// A rule that every node breaks.
    #[cfg(feature = "planted-bugs")]
    pub planted: Option<precentor_core::planted::Bug>,
}

impl Plan {
    const fn new(name: &'static str, why: &'static str, start: Start, budget: Budget) -> Plan {
        Plan {
            name,
            why,
            start,
            fast_disk: false,
            short_appends: false,
            budget,
            depth: 0,
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    const fn to(self, depth: u32) -> Plan {
        Plan { depth, ..self }
    }

    const fn fast(self) -> Plan {
        Plan {
            fast_disk: true,
            ..self
        }
    }

    pub(super) fn setup(&self) -> Setup {
        Setup {
            fast_disk: self.fast_disk,
            short_appends: self.short_appends,
            #[cfg(feature = "planted-bugs")]
            planted: self.planted,
        }
    }

    /// The plan of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Plan> {
        PLANS.iter().copied().find(|plan| plan.name == name)
    }
}

const NONE: Budget = Budget {
    timeouts: 0,
    heartbeats: 0,
    lulls: 0,
    crashes: 0,
    duplicates: 0,
    drops: 0,
    proposals: 0,
    hand_overs: 0,
    disconnects: 0,
};

/// All plans.
pub const PLANS: &[Plan] = &[
    Plan::new(
        "election",
        "first elections, with every order of writes and a crash",
        Start::Fresh,
        Budget {
            timeouts: 2,
            crashes: 1,
            ..NONE
        },
    )
    .to(13),
    Plan::new(
        "contest",
        "three candidacies against each other",
        Start::Fresh,
        Budget {
            timeouts: 3,
            duplicates: 1,
            ..NONE
        },
    )
    .fast()
    .to(10),
    Plan::new(
        "replication",
        "a proposal under a leader, with every order of writes, a crash and a duplicate",
        Start::Led,
        Budget {
            timeouts: 1,
            heartbeats: 1,
            lulls: 1,
            crashes: 1,
            duplicates: 1,
            proposals: 1,
            ..NONE
        },
    )
    .to(9),
    Plan::new(
        "forgotten",
        "a voter forgets what was not durable, and is asked for its vote",
        Start::Led,
        Budget {
            timeouts: 1,
            crashes: 1,
            proposals: 1,
            ..NONE
        },
    )
    .to(18),
    Plan::new(
        "succession",
        "a leader is followed by another while a proposal is on its way",
        Start::Led,
        Budget {
            timeouts: 2,
            lulls: 2,
            crashes: 1,
            proposals: 2,
            disconnects: 1,
            ..NONE
        },
    )
    .fast()
    .to(9),
    Plan::new(
        "late-vote",
        "a vote is asked for before an entry is committed, and given or not after",
        Start::Led,
        Budget {
            timeouts: 1,
            lulls: 2,
            proposals: 1,
            ..NONE
        },
    )
    .fast()
    .to(18),
    Plan::new(
        "stale-tail",
        "a deposed leader's tail is in the way of committed entries",
        Start::StaleTail,
        Budget {
            timeouts: 1,
            heartbeats: 1,
            lulls: 1,
            crashes: 1,
            duplicates: 1,
            proposals: 1,
            ..NONE
        },
    )
    .to(10),
    Plan {
        short_appends: true,
        ..Plan::new(
            "figure-8",
            "an entry of an older term is on a majority and not committed",
            Start::Figure8,
            Budget {
                timeouts: 1,
                lulls: 1,
                ..NONE
            },
        )
        .fast()
        .to(14)
    },
    Plan::new(
        "hand-over",
        "a leader gives its leadership away",
        Start::Led,
        Budget {
            timeouts: 1,
            heartbeats: 2,
            crashes: 1,
            duplicates: 1,
            proposals: 1,
            hand_overs: 1,
            ..NONE
        },
    )
    .fast()
    .to(8),
];
