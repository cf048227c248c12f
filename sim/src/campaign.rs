//! Many seeds on many threads. A seed's result does not depend on the thread
//! that ran it, and the sum does not depend on the order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::check::Failure;
use crate::core_clock::CoreClock;
use crate::marks::Mark;
use crate::scenario::Scenario;
use crate::sightings::Sightings;
use crate::stage::{Ending, Planted, Stage};
use crate::tape::{Domain, Tape};
use crate::topology::Row;
use crate::trace::Trace;

/// Which scenario a seed stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scenes {
    /// Anything.
    #[default]
    Any,
    /// Founders who stay among themselves, with their disks.
    Settled,
    /// Five nodes in a shape.
    Topology(Row),
    /// Five nodes, 200 workers and 50 tenants.
    Crowd,
}

impl Scenes {
    /// A seed's scenario.
    #[must_use]
    pub fn of_seed(self, seed: u64) -> Scenario {
        match self {
            Scenes::Any => Scenario::of_seed(seed),
            Scenes::Settled => Scenario::settled(seed),
            Scenes::Topology(row) => Scenario::of_topology(row, seed),
            Scenes::Crowd => Scenario::crowd(seed),
        }
    }

    /// Runs one seed.
    #[must_use]
    pub fn run(self, seed: u64, planted: Planted, trace: Trace) -> Ending {
        Stage::new(self.of_seed(seed), Tape::of_seed(seed), planted, trace).run()
    }
}

/// Runs one seed.
#[must_use]
pub fn run_seed(seed: u64, planted: Planted, trace: Trace) -> Ending {
    Scenes::Any.run(seed, planted, trace)
}

/// What went wrong with a seed.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// A judge found something.
    Failed(Failure),
    /// The simulator itself broke.
    Crashed,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of which scenarios.
    pub scenes: Scenes,
    /// The first seed.
    pub from: u64,
    /// How many, at most.
    pub seeds: u64,
    /// No seed is begun after so long.
    pub time_max: Option<Duration>,
    /// On how many threads.
    pub threads: usize,
    /// With which bug.
    pub planted: Planted,
    /// Stop after the first seed that fails.
    pub stop_at_first: bool,
}

/// The sum over all seeds.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Events that the cores took.
    pub events: u64,
    /// Virtual time.
    pub virtual_us: u64,
    /// Entries committed.
    pub committed: u64,
    /// Thread time spent.
    pub core_time: Duration,
    /// By fault, in the order of [`Domain::ALL`].
    pub faults: Vec<u64>,
    /// By mark, in the order of [`Mark::ALL`].
    pub marks: Vec<u64>,
    /// Leaders in the shapes that were put up.
    pub sightings: Sightings,
    /// What went wrong, by seed.
    pub troubles: Vec<(u64, Trouble)>,
}

impl Summary {
    fn new() -> Summary {
        Summary {
            seeds: 0,
            events: 0,
            virtual_us: 0,
            committed: 0,
            core_time: Duration::ZERO,
            faults: vec![0; Domain::ALL.len()],
            marks: vec![0; Mark::ALL.len()],
            sightings: Sightings::default(),
            troubles: Vec::new(),
        }
    }

    fn add(&mut self, other: Summary) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.virtual_us += other.virtual_us;
        self.committed += other.committed;
        self.core_time += other.core_time;
        let sum = |sums: &mut Vec<u64>, more: Vec<u64>| {
            sums.iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += more);
        };
        sum(&mut self.faults, other.faults);
        sum(&mut self.marks, other.marks);
        self.sightings.merge(other.sightings);
        self.troubles.extend(other.troubles);
    }

    /// Faults that never happened.
    #[must_use]
    pub fn silent_faults(&self) -> Vec<&'static str> {
        Domain::ALL
            .iter()
            .filter(|domain| domain.is_fault() && self.faults[**domain as usize] == 0)
            .map(|domain| domain.name())
            .collect()
    }

    /// What a campaign of this size must have seen, and this one did not:
    /// faults that never happened, and states that were never reached. What it
    /// did not see it says nothing about.
    #[must_use]
    pub fn unseen(&self) -> Vec<&'static str> {
        if self.seeds < SEEDS_TO_SEE_ALL {
            return Vec::new();
        }
        let marks = Mark::ALL.iter();
        let unhit = marks.filter(|mark| self.marks[**mark as usize] == 0);
        let mut unseen = self.silent_faults();
        unseen.extend(unhit.map(|mark| mark.name()));
        unseen
    }

    /// The exit code that the worst trouble asks for, or what was not seen.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.troubles_code() {
            0 if !self.unseen().is_empty() => UNSEEN,
            code => code,
        }
    }

    /// The exit code that the worst trouble asks for.
    #[must_use]
    pub fn troubles_code(&self) -> u8 {
        let code = |trouble: &Trouble| match trouble {
            Trouble::Crashed => CRASH,
            Trouble::Failed(failure) if failure.checker.is_liveness() => LIVENESS,
            Trouble::Failed(_) => SAFETY,
        };
        // Safety first, then a crash, then liveness.
        let codes: Vec<u8> = self
            .troubles
            .iter()
            .map(|(_, trouble)| code(trouble))
            .collect();
        [SAFETY, CRASH, LIVENESS]
            .into_iter()
            .find(|code| codes.contains(code))
            .unwrap_or(0)
    }
}

/// Exit code: the simulator itself broke.
pub const CRASH: u8 = 10;
/// Exit code: something that must never happen did.
pub const SAFETY: u8 = 11;
/// Exit code: something that must happen at last did not.
pub const LIVENESS: u8 = 12;
/// Exit code: two runs of one seed differed.
pub const NONDETERMINISM: u8 = 13;
/// Exit code: a large campaign never saw a fault or a state that it must see.
pub const UNSEEN: u8 = 14;
/// A campaign of so many seeds must see every fault and reach every mark.
pub const SEEDS_TO_SEE_ALL: u64 = 1_000;

/// Runs a plan.
#[must_use]
pub fn run(plan: Plan) -> Summary {
    let started = Instant::now();
    let (next, stop) = (AtomicU64::new(plan.from), AtomicBool::new(false));
    let end = plan.from.saturating_add(plan.seeds);
    let work = || {
        let mut sum = Summary::new();
        let begun = CoreClock::start();
        loop {
            let over = plan.time_max.is_some_and(|max| started.elapsed() >= max);
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if over || seed >= end || stop.load(Ordering::Relaxed) {
                break;
            }
            sum.seeds += 1;
            let Ok(ending) = catch_unwind(AssertUnwindSafe(|| {
                plan.scenes.run(seed, plan.planted, Trace::quiet())
            })) else {
                sum.troubles.push((seed, Trouble::Crashed));
                continue;
            };
            sum.events += ending.events;
            sum.virtual_us += ending.virtual_us;
            sum.committed += ending.committed;
            sum.faults
                .iter_mut()
                .zip(ending.tape.counters())
                .for_each(|(sum, n)| *sum += n);
            sum.marks
                .iter_mut()
                .zip(ending.marks.counts())
                .for_each(|(sum, n)| *sum += n);
            ending
                .sighting
                .into_iter()
                .for_each(|seen| sum.sightings.add(seen));
            if let Some(failure) = ending.failure {
                sum.troubles.push((seed, Trouble::Failed(failure)));
                stop.fetch_or(plan.stop_at_first, Ordering::Relaxed);
            }
        }
        sum.core_time = begun.elapsed();
        sum
    };
    let mut total = Summary::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        for thread in threads {
            total.add(thread.join().expect("a worker thread catches its panics"));
        }
    });
    total.troubles.sort_by_key(|(seed, _)| *seed);
    total
}

/// Where two runs of one seed part.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The seed.
    pub seed: u64,
    /// The first step that differs.
    pub step: usize,
    /// The last lines of each run's story up to there.
    pub stories: [Vec<String>; 2],
}

/// Runs a seed twice and compares every step.
///
/// # Errors
/// The first step that differs.
pub fn compare(seed: u64) -> Result<u64, Box<Difference>> {
    let runs = [(); 2].map(|()| run_seed(seed, None, Trace::stepwise()).trace);
    let [one, two] = [runs[0].steps(), runs[1].steps()];
    if one == two && runs[0].hash() == runs[1].hash() {
        return Ok(runs[0].hash());
    }
    let step = one
        .iter()
        .zip(two)
        .position(|(a, b)| a != b)
        .unwrap_or(one.len().min(two.len()));
    let told = [(); 2].map(|()| run_seed(seed, None, Trace::telling()).trace);
    let pairs = told[0].lines().iter().zip(told[1].lines());
    let parting = pairs.take_while(|(a, b)| a == b).count();
    let stories = [0, 1].map(|run| {
        let lines = told[run].lines();
        lines[parting.saturating_sub(5).min(lines.len())..(parting + 1).min(lines.len())].to_vec()
    });
    Err(Box::new(Difference {
        seed,
        step,
        stories,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(seeds: u64) -> Summary {
        Summary {
            seeds,
            faults: vec![1; Domain::ALL.len()],
            marks: vec![1; Mark::ALL.len()],
            ..Summary::new()
        }
    }

    #[test]
    fn a_large_campaign_fails_for_one_mark_that_was_never_hit() {
        let mut summary = campaign(SEEDS_TO_SEE_ALL);
        assert_eq!(summary.exit_code(), 0);
        summary.marks[Mark::DeadFailures as usize] = 0;
        assert_eq!(summary.unseen(), [Mark::DeadFailures.name()]);
        assert_eq!(summary.exit_code(), UNSEEN);
    }

    #[test]
    fn a_large_campaign_fails_for_one_fault_that_never_happened() {
        let mut summary = campaign(SEEDS_TO_SEE_ALL);
        summary.faults[Domain::TornWrite as usize] = 0;
        assert_eq!(summary.unseen(), [Domain::TornWrite.name()]);
        assert_eq!(summary.exit_code(), UNSEEN);
    }

    #[test]
    fn a_small_campaign_need_not_see_everything() {
        let mut summary = campaign(SEEDS_TO_SEE_ALL - 1);
        summary.marks.fill(0);
        assert_eq!(summary.exit_code(), 0);
    }
}
