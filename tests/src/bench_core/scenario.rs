//! What is measured: each scenario brings a cluster to where it begins, and
//! then counts time, messages and allocations of its own part alone.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::cluster::{Cluster, Replica};
use crate::measuring::processor_time;

/// Runs something, and tells how many allocations it made.
pub type CountAllocations = fn(&mut dyn FnMut()) -> u64;

/// Entries that are committed before the measured ones.
const WARM_UP_ENTRIES: u64 = 2_000;
/// Entries of one proposal while a follower is away.
const CATCH_UP_BATCH: u64 = 256;
/// Steps of time in which a follower must have caught up.
const CATCH_UP_TICKS_MAX: u64 = 1_000;

/// Something whose cost is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// Committing entries, a batch when the one before is committed.
    Commit {
        /// Nodes.
        voters: usize,
        /// Entries of one proposal.
        batch: u64,
        /// How many entries in all.
        entries: u64,
    },
    /// From the silence of a leader to the first entry of the next one.
    Elect {
        /// Nodes.
        voters: usize,
        /// How many elections.
        elections: u64,
    },
    /// One round of heartbeats of an idle leader, with its answers.
    Heartbeat {
        /// Nodes.
        voters: usize,
        /// How many rounds.
        rounds: u64,
    },
    /// Entries for a follower that was away while they were committed.
    CatchUp {
        /// Nodes.
        voters: usize,
        /// How many entries it lacks.
        entries: u64,
    },
}

/// What something cost.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cost {
    /// How often it was done.
    pub operations: u64,
    /// In this time of one processor, all nodes together.
    pub elapsed: Duration,
    /// With so many messages.
    pub messages: u64,
    /// With so many allocations, on all nodes together.
    pub allocations: u64,
}

impl Scenario {
    /// Its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Commit { .. } => "commit",
            Scenario::Elect { .. } => "elect",
            Scenario::Heartbeat { .. } => "heartbeat",
            Scenario::CatchUp { .. } => "catch_up",
        }
    }

    /// What one operation of it is.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Scenario::Commit { .. } | Scenario::CatchUp { .. } => "entry",
            Scenario::Elect { .. } => "election",
            Scenario::Heartbeat { .. } => "round",
        }
    }

    /// How many nodes it has.
    #[must_use]
    pub fn voters(self) -> usize {
        match self {
            Scenario::Commit { voters, .. }
            | Scenario::Elect { voters, .. }
            | Scenario::Heartbeat { voters, .. }
            | Scenario::CatchUp { voters, .. } => voters,
        }
    }

    /// How many entries are proposed at once, if it proposes any.
    #[must_use]
    pub fn batch(self) -> Option<u64> {
        match self {
            Scenario::Commit { batch, .. } => Some(batch),
            Scenario::Elect { .. } | Scenario::Heartbeat { .. } | Scenario::CatchUp { .. } => None,
        }
    }

    /// What it costs one side.
    ///
    /// # Errors
    /// If that side does not do it.
    pub(super) fn measure<R: Replica>(self, count: CountAllocations) -> Result<Cost> {
        match self {
            Scenario::Commit {
                voters,
                batch,
                entries,
            } => commit::<R>(voters, batch, entries, count),
            Scenario::Elect { voters, elections } => elect::<R>(voters, elections, count),
            Scenario::Heartbeat { voters, rounds } => heartbeat::<R>(voters, rounds, count),
            Scenario::CatchUp { voters, entries } => catch_up::<R>(voters, entries, count),
        }
    }
}

/// Measures one piece of work on a cluster, and adds it to `cost`.
fn add<R: Replica>(
    cost: &mut Cost,
    count: CountAllocations,
    cluster: &mut Cluster<R>,
    mut work: impl FnMut(&mut Cluster<R>) -> Result<()>,
) -> Result<()> {
    let before = cluster.delivered();
    let mut result = Ok(());
    let mut elapsed = Duration::ZERO;
    cost.allocations += count(&mut || {
        let start = processor_time();
        result = work(cluster);
        elapsed = processor_time() - start;
    });
    cost.elapsed += elapsed;
    cost.messages += cluster.delivered() - before;
    result
}

fn commit<R: Replica>(
    voters: usize,
    batch: u64,
    entries: u64,
    count: CountAllocations,
) -> Result<Cost> {
    let mut cluster = Cluster::<R>::new(voters)?;
    cluster.commit_entries(WARM_UP_ENTRIES, batch)?;
    let mut cost = Cost {
        operations: entries,
        ..Cost::default()
    };
    add(&mut cost, count, &mut cluster, |cluster| {
        cluster.commit_entries(entries, batch)
    })?;
    cluster.await_agreement()?;
    cluster.check_replicas()?;
    Ok(cost)
}

fn elect<R: Replica>(voters: usize, elections: u64, count: CountAllocations) -> Result<Cost> {
    let mut cluster = Cluster::<R>::new(voters)?;
    let mut cost = Cost {
        operations: elections,
        ..Cost::default()
    };
    for _ in 0..elections {
        cluster.cut_off(cluster.leader()?, false);
        add(&mut cost, count, &mut cluster, Cluster::await_leader)?;
        cluster.reconnect();
        cluster.await_agreement()?;
    }
    Ok(cost)
}

fn heartbeat<R: Replica>(voters: usize, rounds: u64, count: CountAllocations) -> Result<Cost> {
    let mut cluster = Cluster::<R>::new(voters)?;
    let mut cost = Cost {
        operations: rounds,
        ..Cost::default()
    };
    add(&mut cost, count, &mut cluster, |cluster| {
        for _ in 0..rounds {
            cluster.tick();
        }
        Ok(())
    })?;
    Ok(cost)
}

fn catch_up<R: Replica>(voters: usize, entries: u64, count: CountAllocations) -> Result<Cost> {
    let mut cluster = Cluster::<R>::new(voters)?;
    let follower = (cluster.leader()? + 1) % voters;
    cluster.cut_off(follower, true);
    cluster.commit_entries(entries, CATCH_UP_BATCH)?;
    let commit = cluster.nodes()[cluster.leader()?].commit();
    cluster.reconnect();
    let mut cost = Cost {
        operations: entries,
        ..Cost::default()
    };
    add(&mut cost, count, &mut cluster, |cluster| {
        for _ in 0..CATCH_UP_TICKS_MAX {
            if cluster.nodes()[follower].commit() >= commit {
                break;
            }
            cluster.tick();
        }
        Ok(())
    })?;
    let reached = cluster.nodes()[follower].commit();
    ensure!(
        reached >= commit,
        "a follower that was away has {reached} of {commit} entries after {CATCH_UP_TICKS_MAX} steps of time"
    );
    cluster.await_agreement()?;
    cluster.check_replicas()?;
    Ok(cost)
}
