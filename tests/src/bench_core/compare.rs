//! Both sides in turns, several times over, so that neither the machine's mood
//! nor what ran before decides; what counts is the median.

use anyhow::Result;

use super::consensus::Consensus;
use super::node::Node;
use super::peer::Peer;
use super::scenario::{Cost, CountAllocations, Scenario};
use crate::measuring::median;

/// Sizes and repetitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How often each side does everything.
    pub passes: usize,
    /// Entries that a batch of 1 commits; larger batches commit more.
    pub entries: u64,
    /// Elections.
    pub elections: u64,
    /// Rounds of heartbeats.
    pub rounds: u64,
    /// Entries that a follower lacks.
    pub catch_up_entries: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            passes: 7,
            entries: 20_000,
            elections: 100,
            rounds: 5_000,
            catch_up_entries: 100_000,
        }
    }
}

/// Batches, and how many times more entries they commit than a batch of 1:
/// every measured part should last long enough for the clock.
const BATCHES: &[(u64, u64)] = &[(1, 1), (16, 3), (256, 5)];
/// The whole node does more for each entry.
const NODE_ENTRIES_DIVISOR: u64 = 4;

/// What one operation costs: medians.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figures {
    /// Nanoseconds.
    pub nanoseconds: f64,
    /// Messages.
    pub messages: f64,
    /// Allocations.
    pub allocations: f64,
}

impl Figures {
    /// Operations in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        1e9 / self.nanoseconds
    }
}

/// One scenario on both sides.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Comparison {
    /// What was done.
    pub scenario: Scenario,
    /// Our consensus.
    pub ours: Figures,
    /// The crate's.
    pub peer: Figures,
    /// How many times faster ours is: the median over the passes.
    pub ratio: f64,
    /// The same in the pass that was worst for us.
    pub ratio_worst: f64,
}

/// Everything that was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// How it was measured.
    pub plan: Plan,
    /// Consensus beside consensus.
    pub comparisons: Vec<Comparison>,
    /// A whole node of ours, the queue with it: nothing to compare with.
    pub node: Vec<(Scenario, Figures)>,
}

/// Measures everything.
///
/// # Errors
/// If a side fails at a scenario.
pub fn measure(plan: Plan, count: CountAllocations) -> Result<Measured> {
    let comparisons = scenarios(plan)
        .into_iter()
        .map(|scenario| compare(scenario, plan.passes, count))
        .collect::<Result<_>>()?;
    let node = commits(plan.entries / NODE_ENTRIES_DIVISOR)
        .into_iter()
        .map(|scenario| {
            let costs = (0..plan.passes)
                .map(|_| scenario.measure::<Node>(count))
                .collect::<Result<Vec<_>>>()?;
            Ok((scenario, figures(&costs)))
        })
        .collect::<Result<_>>()?;
    Ok(Measured {
        plan,
        comparisons,
        node,
    })
}

fn commits(entries: u64) -> Vec<Scenario> {
    let mut commits = Vec::new();
    for voters in [3, 5] {
        for (batch, times) in BATCHES {
            commits.push(Scenario::Commit {
                voters,
                batch: *batch,
                entries: entries.max(1) * times,
            });
        }
    }
    commits
}

fn scenarios(plan: Plan) -> Vec<Scenario> {
    let mut scenarios = commits(plan.entries);
    scenarios.extend([3, 5].map(|voters| Scenario::Elect {
        voters,
        elections: plan.elections,
    }));
    scenarios.extend([3, 5, 7].map(|voters| Scenario::Heartbeat {
        voters,
        rounds: plan.rounds,
    }));
    scenarios.extend([3, 5].map(|voters| Scenario::CatchUp {
        voters,
        entries: plan.catch_up_entries,
    }));
    scenarios
}

fn compare(scenario: Scenario, passes: usize, count: CountAllocations) -> Result<Comparison> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for pass in 0..passes {
        // Each side is first in every other pass.
        if pass.is_multiple_of(2) {
            ours.push(scenario.measure::<Consensus>(count)?);
            peer.push(scenario.measure::<Peer>(count)?);
        } else {
            peer.push(scenario.measure::<Peer>(count)?);
            ours.push(scenario.measure::<Consensus>(count)?);
        }
    }
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&peer)
        .map(|(ours, peer)| peer.elapsed.as_secs_f64() / ours.elapsed.as_secs_f64())
        .collect();
    Ok(Comparison {
        scenario,
        ours: figures(&ours),
        peer: figures(&peer),
        ratio: median(ratios.clone()),
        ratio_worst: ratios.into_iter().fold(f64::INFINITY, f64::min),
    })
}

fn figures(costs: &[Cost]) -> Figures {
    let median_of = |value: fn(&Cost) -> f64| {
        let each = |cost: &Cost| value(cost) / cost.operations as f64;
        median(costs.iter().map(each).collect())
    };
    Figures {
        nanoseconds: median_of(|cost| cost.elapsed.as_nanos() as f64),
        messages: median_of(|cost| cost.messages as f64),
        allocations: median_of(|cost| cost.allocations as f64),
    }
}
