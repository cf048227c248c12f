//! What engines need of workers, and what workers have, in words and in parts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::WorkerSpec;

/// What each job of an engine needs of its worker, besides a slot and the engine itself
/// (QUEUE F4, P1).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Needs {
    /// The worker has all of these.
    pub tags: Vec<String>,
    /// So much of its memory is for this job alone, in MiB.
    pub memory_mib: u64,
}

/// What a worker has, besides slots and engines.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Offer {
    /// What it is, or has: a GPU, a checkout of a project, a place.
    pub tags: Vec<String>,
    /// Memory that it has for all its jobs together, in MiB.
    pub memory_mib: u64,
}

/// What an engine needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EngineNeeds {
    /// Which.
    pub engine: String,
    /// What.
    pub needs: Needs,
}

/// A worker as a reader sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerView {
    /// As it introduced itself.
    pub spec: WorkerSpec,
    /// What else it has.
    pub offer: Offer,
    /// How many jobs it has.
    pub held: u64,
    /// Memory that they need, in MiB.
    pub memory_used_mib: u64,
    /// Is it given nothing more?
    pub drained: bool,
}

/// What workers that offer an engine lack of what it needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lacking {
    /// What is needed.
    pub needs: Needs,
    /// How many offer the engine, are not paused and may run jobs.
    pub workers: u64,
    /// How many of these lack which tag.
    pub tags: Vec<(String, u64)>,
    /// How many have less memory than one job needs.
    pub memory: u64,
}

fn words(f: &mut fmt::Formatter<'_>, tags: &[String], memory_mib: u64) -> fmt::Result {
    let mut separator = "";
    for tag in tags {
        write!(f, "{separator}{tag}")?;
        separator = ", ";
    }
    match (memory_mib, tags.is_empty()) {
        (0, true) => f.write_str("nothing"),
        (0, false) => Ok(()),
        (_, _) => write!(f, "{separator}{memory_mib} MiB"),
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words(f, &self.tags, self.memory_mib)
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words(f, &self.tags, self.memory_mib)
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "its engine needs {}; of {} workers that offer it",
            self.needs, self.workers
        )?;
        for (tag, count) in &self.tags {
            write!(f, ", {count} lack {tag}")?;
        }
        if self.memory > 0 {
            write!(f, ", {} have too little memory", self.memory)?;
        }
        f.write_str("; it goes on when one comes that has all, or the engine needs less")
    }
}
