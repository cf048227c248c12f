//! Does the simulator find what it is for? Runs each planted bug until a judge
//! notices, and the healthy core over the same seeds, where none may.

use std::time::Duration;

use precentor_core::planted::Bug;

use crate::campaign::{Plan, Scenes, Summary, run, run_seed};
use crate::check::Failure;
use crate::core_clock::CoreClock;
use crate::trace::Trace;

/// Bugs of what the simulator has not, and why that is: scripts find them.
pub const BEYOND: &[(Bug, &str)] = &[(
    Bug::LearnerCampaigns,
    "for scripts: all nodes of the simulator vote",
)];

/// How a bug was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// How many seeds it took.
    pub seeds: u64,
    /// Core time, with the seeds before.
    pub time: Duration,
    /// Who found it, and what was seen.
    pub failure: Failure,
}

/// Hunts one bug from a seed on; none if it was not found within the bounds.
#[must_use]
pub fn hunt(bug: Bug, from: u64, seeds_max: u64, time_max: Duration) -> Option<Found> {
    let started = CoreClock::start();
    for seed in from..from.saturating_add(seeds_max) {
        let failure = run_seed(seed, Some(bug), Trace::quiet()).failure;
        // What the healthy core does too is not this bug.
        let healthy = |_: &Failure| run_seed(seed, None, Trace::quiet()).failure.is_none();
        if let Some(failure) = failure.filter(healthy) {
            return Some(Found {
                seed,
                seeds: seed - from + 1,
                time: started.elapsed(),
                failure,
            });
        }
        if started.elapsed() >= time_max {
            return None;
        }
    }
    None
}

/// Runs the healthy core over seeds.
#[must_use]
pub fn healthy(from: u64, seeds: u64) -> Summary {
    run(Plan {
        scenes: Scenes::Any,
        from,
        seeds,
        time_max: None,
        threads: 1,
        planted: None,
        stop_at_first: false,
    })
}
