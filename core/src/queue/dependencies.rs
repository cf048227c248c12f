//! Who waits for whom. An edge leads from a job to a place; while it is open
//! it waits for a *line* there (see [`super::jobs::Job::line`]). Knows how to
//! find dependents, and that no cycle may arise; not what an end means to them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::ids::JobId;
use crate::job::{JobSpec, Policy};

use super::contexts::PlaceId;
use super::table::Table;

/// An edge by its job and its position among the job's edges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct EdgeKey {
    pub(super) dependent: JobId,
    pub(super) position: u32,
}

/// An edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Edge {
    pub(super) place: PlaceId,
    pub(super) policy: Policy,
    /// The line it waits for; none if it is resolved.
    pub(super) line: Option<JobId>,
}

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Ended {
    /// There is a context now.
    Published,
    /// This job ended without one.
    Failed(JobId),
}

/// All edges, and what is left to do for them.
#[derive(Clone, Debug)]
pub(super) struct Edges {
    pub(super) rows: Table<EdgeKey, Edge>,
    /// Lines that ended and whose dependents have not all been told.
    pub(super) ended: Table<JobId, Ended>,
    /// Finished jobs whose edges, or waits, have not all been dropped.
    pub(super) dropped: Table<JobId, ()>,
    /// Open edges by the line they wait for.
    open: BTreeSet<(JobId, EdgeKey)>,
}

impl Edges {
    pub(super) fn new(
        rows: Table<EdgeKey, Edge>,
        ended: Table<JobId, Ended>,
        dropped: Table<JobId, ()>,
    ) -> Edges {
        let open = rows
            .iter()
            .filter_map(|(key, edge)| Some((edge.line?, *key)))
            .collect();
        Edges {
            rows,
            ended,
            dropped,
            open,
        }
    }

    pub(super) fn insert(&mut self, key: EdgeKey, edge: Edge) {
        if let Some(line) = edge.line {
            self.open.insert((line, key));
        }
        let old = self.rows.insert(key, edge);
        assert!(old.is_none(), "{key:?} was there already: {old:?}");
    }

    pub(super) fn remove(&mut self, key: EdgeKey) -> Edge {
        let edge = self.rows.remove(&key);
        let edge = edge.unwrap_or_else(|| panic!("{key:?} is to be dropped and is not there"));
        if let Some(line) = edge.line {
            self.open.remove(&(line, key));
        }
        edge
    }

    /// Marks an edge as resolved.
    pub(super) fn resolve(&mut self, key: EdgeKey) -> Edge {
        let resolved = self.rows.update(&key, |edge| {
            let before = *edge;
            edge.line = None;
            before
        });
        let edge = resolved.unwrap_or_else(|| panic!("{key:?} is open and is not there"));
        let line = edge.line.unwrap_or_else(|| panic!("{key:?} is not open"));
        self.open.remove(&(line, key));
        edge
    }

    /// The edges of a job, in the order it named them.
    pub(super) fn of(&self, dependent: JobId) -> impl Iterator<Item = (EdgeKey, Edge)> {
        let key = move |position| EdgeKey {
            dependent,
            position,
        };
        self.rows
            .range(key(0)..=key(u32::MAX))
            .map(|(key, edge)| (*key, *edge))
    }

    /// The open edges that wait for a line.
    pub(super) fn waiting_for(&self, line: JobId) -> impl Iterator<Item = EdgeKey> {
        let first = EdgeKey {
            dependent: JobId(0),
            position: 0,
        };
        let last = EdgeKey {
            dependent: JobId(u64::MAX),
            position: u32::MAX,
        };
        self.open
            .range((line, first)..=(line, last))
            .map(|(_, key)| *key)
    }

    pub(super) fn has_waiting(&self, line: JobId) -> bool {
        self.waiting_for(line).next().is_some()
    }

    pub(super) fn open_count(&self) -> u64 {
        self.open.len() as u64
    }
}

/// The order in which a batch's items can be admitted, dependencies first, or
/// the addresses of a cycle. Items of one address keep their order and stand
/// together: the address is the node (Kahn, 1962).
pub(super) fn admission_order(items: &[JobSpec]) -> Result<Vec<u32>, Vec<Address>> {
    let mut nodes: BTreeMap<&Address, Vec<u32>> = BTreeMap::new();
    for (position, item) in (0u32..).zip(items) {
        nodes.entry(&item.address).or_default().push(position);
    }
    let mut needs: BTreeMap<&Address, BTreeSet<&Address>> = BTreeMap::new();
    let mut needed_by: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for item in items {
        for dependency in &item.dependencies {
            let Some((needed, _)) = nodes.get_key_value(&dependency.address) else {
                continue;
            };
            if needs.entry(&item.address).or_default().insert(needed) {
                needed_by.entry(needed).or_default().push(&item.address);
            }
        }
    }
    let mut open: BTreeMap<&Address, u64> = needs
        .iter()
        .map(|(address, needs)| (*address, needs.len() as u64))
        .collect();
    let mut free: BTreeSet<(u32, &Address)> = nodes
        .iter()
        .filter(|(address, _)| !open.contains_key(*address))
        .map(|(address, positions)| (positions[0], *address))
        .collect();
    let mut order = Vec::with_capacity(items.len());
    while let Some((_, address)) = free.pop_first() {
        order.extend(&nodes[address]);
        for dependent in needed_by.remove(address).unwrap_or_default() {
            let count = open
                .get_mut(dependent)
                .expect("a node that needs another has a count");
            *count -= 1;
            if *count == 0 {
                open.remove(dependent);
                free.insert((nodes[dependent][0], dependent));
            }
        }
    }
    if open.is_empty() {
        return Ok(order);
    }
    // What is left needs something that is left: following needs must close a circle.
    let mut path: Vec<&Address> = Vec::new();
    let mut at = *open.keys().next().expect("it is not empty");
    let mut seen: BTreeMap<&Address, u64> = BTreeMap::new();
    while !seen.contains_key(at) {
        seen.insert(at, path.len() as u64);
        path.push(at);
        at = needs[at]
            .iter()
            .copied()
            .find(|needed| open.contains_key(needed))
            .expect("a node that is left needs another that is left");
    }
    let start = usize::try_from(seen[at]).expect("a path is no longer than the batch");
    let cycle = path[start..].iter().chain([&at]);
    Err(cycle.map(|address| (*address).clone()).collect())
}
