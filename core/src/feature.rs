//! What a program can do, as one number: how far the replicated rules of a
//! cluster may go with it. The rules that are in force are part of the
//! replicated state; which members could do more is for the leader to watch.
//!
//! | level | since then |
//! |---|---|
//! | 1 | the founding: every cluster begins here |
//! | 2 | a job that lost a second worker waits before it is tried again |
//! | 3 | jobs are left and cancelled; who waits for which is kept |
//! | 4 | dead letters are kept whole, redriven and purged; jobs are reprioritised; queues and workers are paused; workers are expelled |
//! | 5 | tenants, engines and projects are limited, and tenants weighed; engines that fail are not used for a while; what failed for good answers the same request |
//! | 6 | requests choose what they take from the cache; results are kept by a budget, and made invalid |
//! | 7 | who may do what is replicated, and checked where it is applied |
//! | 8 | contexts are edited by people, offline too, and keep a history; edits that contradict each other are kept until resolved |
//! | 9 | jobs are run together; what fails as a whole is tried one by one, and costs nobody an attempt |
//! | 10 | engines need more of workers than a slot, and workers say what they have |
//! | 11 | a leader takes requests that other nodes keep for their clients: nothing new is replicated |
//! | 12 | texts that contexts are made of are kept for workers that have none of their own |
//! | 13 | a cluster that was restored from a backup has numbers of an era of its own |

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rules of the state machine that came together. Each contains all before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FeatureLevel(pub u16);

impl FeatureLevel {
    /// Where every cluster begins, whatever its founders could do: a node that
    /// replays the log from its beginning must do as the founders did.
    pub const FOUNDING: FeatureLevel = FeatureLevel(1);
    /// A job that lost a second worker waits before it is tried again.
    pub const CRASHES_WAIT: FeatureLevel = FeatureLevel(2);
    /// Jobs are left and cancelled; who waits for which is kept (decision 17).
    pub const JOBS_CANCELLED: FeatureLevel = FeatureLevel(3);
    /// Dead letters are kept whole, redriven and purged; jobs are reprioritised, and
    /// paused by scope; workers are expelled (decision 18).
    pub const QUEUE_OPERATED: FeatureLevel = FeatureLevel(4);
    /// Tenants, engines and projects are limited, and tenants weighed; engines that
    /// fail are not used for a while; what failed for good answers the same request
    /// (decision 20).
    pub const WORK_LIMITED: FeatureLevel = FeatureLevel(5);
    /// Requests choose what they take from the cache; results are kept by a budget, and
    /// made invalid (decision 23).
    pub const CACHE_CHOSEN: FeatureLevel = FeatureLevel(6);
    /// Who may do what is replicated, and checked where it is applied (decision 24).
    pub const ACCESS_CHECKED: FeatureLevel = FeatureLevel(7);
    /// Contexts are edited by people, offline too, and keep a history; edits that
    /// contradict each other are kept until resolved (decision 25).
    pub const CONTEXTS_EDITED: FeatureLevel = FeatureLevel(8);
    /// Jobs are run together; what fails as a whole is tried one by one, and costs nobody
    /// an attempt (decision 28).
    pub const JOBS_BATCHED: FeatureLevel = FeatureLevel(9);
    /// Engines need more of workers than a slot, and workers say what they have
    /// (decision 29).
    pub const WORKERS_FITTED: FeatureLevel = FeatureLevel(10);
    /// A leader takes requests that other nodes keep for their clients (decision 30).
    /// Nothing changes where entries are applied: what its program can do is all that
    /// a node must know of its leader.
    pub const REQUESTS_FORWARDED: FeatureLevel = FeatureLevel(11);
    /// Texts that contexts are made of are kept for workers that have none of their own
    /// (decision 39).
    pub const SOURCES_KEPT: FeatureLevel = FeatureLevel(12);
    /// A cluster that was restored from a backup has numbers of an era of its own
    /// (decision 40). Nothing else changes where entries are applied.
    pub const CLUSTERS_RESTORED: FeatureLevel = FeatureLevel(13);
    /// The highest that this program can do.
    pub const LATEST: FeatureLevel = FeatureLevel::CLUSTERS_RESTORED;
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {}", self.0)
    }
}

impl fmt::Debug for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
