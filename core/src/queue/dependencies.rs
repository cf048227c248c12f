//! Who waits for whom. An edge leads from a job to a place; while it is open
//! it waits for a *line* there (see [`super::jobs::Job::line`]). Knows how to
//! find dependents, and that no cycle may arise; not what an end means to them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::job::Policy;

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

    /// How many edges a job has: they are numbered from 0 on, and none goes before all do.
    pub(super) fn count_of(&self, dependent: JobId) -> u32 {
        let last = self.rows.at_or_before(&EdgeKey {
            dependent,
            position: u32::MAX,
        });
        match last {
            Some((key, _)) if key.dependent == dependent => key.position + 1,
            _ => 0,
        }
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

/// Is no node there twice?
fn are_distinct<N: Copy + Ord>(items: &[(N, Vec<N>)]) -> bool {
    let mut nodes: Vec<N> = items.iter().map(|(node, _)| *node).collect();
    // A walk over a tree comes in order, or nearly so: that is quick to sort.
    nodes.sort();
    nodes.is_sorted_by(|one, other| one < other)
}

/// The order in which the items of a batch can be admitted, dependencies first, or
/// the nodes of a cycle. An item is its node and the nodes that it needs; those that
/// are not in the batch do not count. Items of one node keep their order and stand
/// together (Kahn, 1962).
pub(super) fn admission_order<N: Copy + Ord>(items: &[(N, Vec<N>)]) -> Result<Vec<u32>, Vec<N>> {
    if items.iter().all(|(_, needed)| needed.is_empty()) && are_distinct(items) {
        return Ok((0u32..).zip(items).map(|(position, _)| position).collect());
    }
    let mut nodes: BTreeMap<N, Vec<u32>> = BTreeMap::new();
    for (position, (node, _)) in (0u32..).zip(items) {
        nodes.entry(*node).or_default().push(position);
    }
    let mut needs: BTreeMap<N, BTreeSet<N>> = BTreeMap::new();
    let mut needed_by: BTreeMap<N, Vec<N>> = BTreeMap::new();
    for (node, needed) in items {
        for needed in needed {
            if nodes.contains_key(needed) && needs.entry(*node).or_default().insert(*needed) {
                needed_by.entry(*needed).or_default().push(*node);
            }
        }
    }
    let mut open: BTreeMap<N, u64> = needs
        .iter()
        .map(|(node, needs)| (*node, needs.len() as u64))
        .collect();
    let mut free: BTreeSet<(u32, N)> = nodes
        .iter()
        .filter(|(node, _)| !open.contains_key(*node))
        .map(|(node, positions)| (positions[0], *node))
        .collect();
    let mut order = Vec::with_capacity(items.len());
    while let Some((_, node)) = free.pop_first() {
        order.extend(&nodes[&node]);
        for dependent in needed_by.remove(&node).unwrap_or_default() {
            let count = open
                .get_mut(&dependent)
                .expect("a node that needs another has a count");
            *count -= 1;
            if *count == 0 {
                open.remove(&dependent);
                free.insert((nodes[&dependent][0], dependent));
            }
        }
    }
    if open.is_empty() {
        return Ok(order);
    }
    // What is left needs something that is left: following needs must close a circle.
    let mut path: Vec<N> = Vec::new();
    let mut at = *open.keys().next().expect("it is not empty");
    let mut seen: BTreeMap<N, u64> = BTreeMap::new();
    while !seen.contains_key(&at) {
        seen.insert(at, path.len() as u64);
        path.push(at);
        at = needs[&at]
            .iter()
            .copied()
            .find(|needed| open.contains_key(needed))
            .expect("a node that is left needs another that is left");
    }
    let start = usize::try_from(seen[&at]).expect("a path is no longer than the batch");
    Err(path[start..].iter().copied().chain([at]).collect())
}
