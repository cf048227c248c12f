//! What is asked of the cache, and what it answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Submitted;
use crate::address::Address;
use crate::digest::Digest;
use crate::ids::JobId;

/// What a request takes from the cache (QUEUE C2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CacheMode {
    /// What was made of this very input by this very generator; otherwise it is made.
    Fresh,
    /// Something older too, at once, and what is fresh is made meanwhile.
    StaleOk {
        /// Not older than this since it was published, in milliseconds of cluster time.
        max_age_ms: u64,
    },
    /// What is there or nothing: no job is made.
    CachedOnly,
    /// It is made anew. A job for it that is not over may answer, none that is.
    Refresh,
    /// It is made for this request alone, and not kept. Refused: see decision 23.
    NoCache,
}

impl fmt::Display for CacheMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheMode::Fresh => f.write_str("fresh"),
            CacheMode::StaleOk { max_age_ms } => write!(f, "not older than {max_age_ms} ms"),
            CacheMode::CachedOnly => f.write_str("cached only"),
            CacheMode::Refresh => f.write_str("anew"),
            CacheMode::NoCache => f.write_str("not from the cache nor for it"),
        }
    }
}

/// What became of one item of an `Ask`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Asked {
    /// A job answers for it, as for an item of a `Submit`.
    Job(Submitted),
    /// Something older answers now, and a job makes what is fresh.
    Stale {
        /// What is published.
        cached: Cached,
        /// The job, as for an item of a `Submit`: the session may leave it.
        refresh: Submitted,
    },
    /// It was there. No job was made.
    Cached(Cached),
    /// It was not there, or is invalid. No job was made.
    NotCached,
}

/// A published result that answers a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cached {
    /// The digest of its body.
    pub result: Digest,
    /// Which job published it.
    pub by: JobId,
    /// How long ago, in milliseconds of cluster time; none if that was before this was
    /// kept.
    pub age_ms: Option<u64>,
}

/// A result that is to go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Eviction {
    /// Where it is published.
    pub address: Address,
    /// By which job: another one's is left alone.
    pub job: JobId,
}

/// What became of a result that was to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Evicting {
    /// It is not published any more.
    Evicted {
        /// How long its body was.
        bytes: u64,
    },
    /// It was not published there any more.
    Gone,
    /// A job depends on what is there.
    Needed,
    /// No more has to go.
    WithinBudget,
}
