//! How a node is, for people and programs.

use serde::{Deserialize, Serialize};

use crate::feature::FeatureLevel;
use crate::ids::{LogIndex, NodeId, Term, WorkerId};
use crate::membership::Membership;
use crate::time::Stamp;

/// A node's part in consensus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks whether an election could succeed.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// How well a node is, by its own word. Less is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing is known against it.
    #[default]
    Well,
    /// Its disk or its loop is late now and then.
    Strained,
    /// Its disk or its loop is late often, or it has much to apply.
    Slow,
    /// Its disk has not answered for so long that it must be taken for dead.
    Stuck,
}

/// A node's judgement on itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    /// How well it is.
    pub health: Health,
    /// It does not stand for election before this has passed.
    pub stays_back: bool,
    /// If it leads, it should not.
    pub gives_way: bool,
}

/// How far a node's leadership is established.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Another leads, or nobody.
    Following,
    /// Elected; the first entry of the term is not yet committed.
    Barrier,
    /// It takes requests and results, and waits for workers to reattach.
    Reclaiming,
    /// It does everything.
    Serving,
    /// It hands over.
    Yielding,
}

/// How many jobs are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Dependencies open.
    pub waiting: u64,
    /// Not before a stamp.
    pub delayed: u64,
    /// May be claimed.
    pub ready: u64,
    /// Held by a worker.
    pub running: u64,
    /// Newer input behind a running one.
    pub parked: u64,
    /// Published, since the cluster's founding.
    pub done: u64,
    /// Of these, answered without running anything.
    pub from_cache: u64,
    /// Given up.
    pub dead: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// A required dependency failed.
    pub dependency_failed: u64,
    /// A newer input took the place.
    pub superseded: u64,
    /// Addresses with a published context.
    pub contexts: u64,
}

impl QueueCounts {
    /// Jobs that are not in a terminal state.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.waiting + self.delayed + self.ready + self.running + self.parked
    }

    /// Jobs that ever came into one.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let failed = self.dead + self.dependency_failed;
        self.done + failed + self.cancelled + self.superseded
    }
}

/// A worker, as the leader sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Who.
    pub worker: WorkerId,
    /// Jobs it may hold.
    pub slots: u32,
    /// Jobs it holds.
    pub running: u32,
}

/// How a node is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Which node.
    pub node: NodeId,
    /// Its part.
    pub role: RoleName,
    /// How far its leadership is established.
    pub phase: PhaseName,
    /// Its term.
    pub term: Term,
    /// Who leads, if it knows.
    pub leader: Option<NodeId>,
    /// Its last entry.
    pub last: LogIndex,
    /// Committed, as far as it knows.
    pub commit: LogIndex,
    /// Applied.
    pub applied: LogIndex,
    /// The feature level in force.
    pub level: FeatureLevel,
    /// The highest that this node's program can do.
    pub supports: FeatureLevel,
    /// Cluster time.
    pub t: Stamp,
    /// Who belongs to the cluster, as far as this node's log says.
    pub membership: Membership,
    /// It was told that it is no member any more.
    pub removed: bool,
    /// Its log was damaged: until its peers have given it again everything up to
    /// here, it does not vote.
    pub repairing: Option<LogIndex>,
    /// The queue.
    pub queue: QueueCounts,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
}
