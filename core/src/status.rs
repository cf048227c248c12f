//! How a node is, for people and programs. Of no use to a rule: it is a glance at
//! one moment. Fields are added at the end, and no two programs exchange it in
//! bytes without names; whoever makes them do so gives it a version.

mod words;

use serde::{Deserialize, Serialize};

use crate::feature::FeatureLevel;
use crate::ids::{JobId, LogIndex, NodeId, RequestId, Term, WorkerId};
use crate::membership::Membership;
use crate::pulse::Suspicion;
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

/// How a peer or a worker seems. Less is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is known against it.
    Healthy,
    /// It is there, and not well by its own word.
    Slow,
    /// Silent for longer than its regularity explains.
    Suspect,
    /// Not connected, or silent for so long that it is taken for gone.
    Down,
}

/// A peer, as a node sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Who.
    pub node: NodeId,
    /// How it seems.
    pub verdict: Verdict,
    /// How strange its silence is, if it owes this node a word: all owe one to the
    /// leader, and only the leader to its followers.
    pub suspicion: Option<Suspicion>,
    /// How long ago it said anything.
    pub heard_ms: Option<u64>,
    /// A connection to it is open.
    pub connected: bool,
    /// How well it is by its own word, which only the leader is told.
    pub health: Option<Health>,
}

/// What a node knows of its own disk and loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnStatus {
    /// How well it is.
    pub health: Health,
    /// How long a write takes, smoothed.
    pub write_latency_us: u64,
    /// How long the oldest write has been waiting for the disk's answer; 0 if none is.
    pub write_waits_us: u64,
    /// Turns that came late by over a heartbeat, of late; counted up to the number
    /// at which a leader gives way.
    pub late_turns: u64,
    /// That number.
    pub late_turns_max: u64,
    /// How long a late turn is remembered.
    pub window_ms: u64,
    /// There is more to apply than a turn can do.
    pub backlogged: bool,
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
    /// It is paused: it gets no more jobs.
    #[serde(default)]
    pub paused: bool,
    /// How it seems to the leader; none at other nodes.
    #[serde(default)]
    pub health: Option<WorkerHealth>,
}

/// How a worker seems to the leader that it asks for work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerHealth {
    /// Suspect after a missed poll, down when its deadline has passed.
    pub verdict: Verdict,
    /// How strange its silence is; none while its poll is held here.
    pub suspicion: Option<Suspicion>,
    /// How long ago it asked this leader; none if it did not, or is forgotten.
    pub heard_ms: Option<u64>,
}

/// What the cluster did of itself to go on, as far as a node has seen it since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RecoveryStatus {
    /// Leases that were taken back from silent workers.
    pub leases_reclaimed: u64,
    /// The last of them.
    pub last_reclaimed: Option<Reclaimed>,
    /// Learners that became voters without an order.
    pub promotions: u64,
    /// The last of them, and the entry with which that began.
    pub last_promoted: Option<(NodeId, LogIndex)>,
}

/// A lease that was taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reclaimed {
    /// From whom.
    pub worker: WorkerId,
    /// Of which job.
    pub job: JobId,
    /// When, in the cluster's time.
    pub t: Stamp,
}

/// The requests that a node keeps for its clients until there is a leader.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LocalQueueStatus {
    /// How many are kept.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many a leader accepted, since this node's start.
    pub settled: u64,
    /// How many a leader refused for good.
    pub refused: u64,
    /// The last of those, and why.
    pub last_refused: Option<(RequestId, String)>,
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
    /// Its own disk and loop.
    pub own: OwnStatus,
    /// The other members, as it sees them.
    pub peers: Vec<PeerStatus>,
    /// What the cluster did of itself to go on.
    pub recovery: RecoveryStatus,
    /// What it keeps for its clients until there is a leader.
    #[serde(default)]
    pub local: LocalQueueStatus,
}
