//! The words of the queue: what is asked for, and what can become of it.

mod account;
mod cached;
mod explanation;
mod fitting;
mod sources;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::ids::{FinishNumber, JobId, Token, WorkerId, WorkerIncarnation};
use crate::principal::Principal;
use crate::time::Stamp;

pub use self::account::{Account, AccountView, BreakerView, Circuit, Limits, Rate};
pub use self::cached::{CacheView, CachedView, InvalidationView, Reach};
pub use self::explanation::{Explanation, Hold, OpenDependency};
pub use self::fitting::{EngineNeeds, Lacking, Needs, Offer, WorkerView};
pub use self::sources::SourcesView;

/// How urgent a request is. Ordered from the most urgent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Class {
    /// Someone waits for it now.
    Urgent,
    /// The default.
    Normal,
    /// Wanted, not awaited.
    Background,
    /// Only when nothing else is to do.
    Idle,
}

impl Class {
    /// All classes, from the most urgent.
    pub const ALL: [Class; 4] = [Class::Urgent, Class::Normal, Class::Background, Class::Idle];
}

/// What a job does when a dependency of it ends without a result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Policy {
    /// End too, as `DependencyFailed`.
    Require,
    /// Run without it; the record lists the gap.
    Optional,
}

/// An edge from a job to a context that it needs first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dependency {
    /// The context that is needed.
    pub address: Address,
    /// What if it fails.
    pub policy: Policy,
}

/// What produces a context: part of the identity of its result.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Generator {
    /// The engine's name, which a worker must offer.
    pub engine: String,
    /// The engine's version: a new one makes cached results stale.
    pub version: u32,
    /// The digest of the engine's parameters.
    pub parameters: Digest,
}

/// One request for one context.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    /// The context asked for.
    pub address: Address,
    /// What stands at the address.
    pub kind: ContextKind,
    /// The digest of what the context describes: a file's content, or the
    /// Merkle digest of a folder's children.
    pub subject: Digest,
    /// What is to generate it.
    pub generator: Generator,
    /// How urgent it is.
    pub class: Class,
    /// On whose account it runs.
    pub tenant: String,
    /// What must be there first.
    pub dependencies: Vec<Dependency>,
    /// Not to start before this much cluster time after acceptance, in milliseconds.
    pub delay_ms: u64,
}

/// Why an attempt failed (QUEUE R1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum FailureClass {
    /// May succeed if tried again.
    Retryable,
    /// Is not to be tried again. With a time to ask again: somebody has to see to it
    /// first. Without: it will fail again on the same input, and whoever asks for the
    /// very same is told so at once.
    Permanent,
    /// The engine is overloaded: not counted against the job.
    Busy,
    /// The worker vanished: counted as a crash.
    WorkerLost,
    /// The worker gave the job back as it stopped: not counted.
    Drained,
}

/// Where a job stands. The last five are terminal: final for ever.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobState {
    /// Dependencies are open.
    Waiting {
        /// How many.
        open: u32,
    },
    /// Not before a stamp: asked for so, or backing off after a failure.
    Delayed {
        /// The earliest start.
        until: Stamp,
    },
    /// May be claimed.
    Ready,
    /// A worker holds it.
    Running(Lease),
    /// A newer input of a context that is running: next in line.
    Parked,
    /// The context was published.
    Done {
        /// The digest of the result's body.
        result: Digest,
        /// Nothing was run: the result was there.
        from_cache: bool,
    },
    /// Given up.
    Dead(DeadReason),
    /// Nobody wants it any more.
    Cancelled,
    /// A required dependency ended without a result.
    DependencyFailed {
        /// Which one.
        dependency: JobId,
    },
    /// A newer input of the same context took its place.
    Superseded {
        /// Which job.
        by: JobId,
    },
}

impl JobState {
    /// Is this final for ever?
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match self {
            JobState::Waiting { .. }
            | JobState::Delayed { .. }
            | JobState::Ready
            | JobState::Running(_)
            | JobState::Parked => false,
            JobState::Done { .. }
            | JobState::Dead(_)
            | JobState::Cancelled
            | JobState::DependencyFailed { .. }
            | JobState::Superseded { .. } => true,
        }
    }

    /// Is it the end of a job that may be redriven?
    #[must_use]
    pub fn is_dead_letter(&self) -> bool {
        matches!(self, JobState::Dead(_) | JobState::DependencyFailed { .. })
    }
}

/// Who holds a running job, and by which right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The holder.
    pub worker: WorkerId,
    /// Which life of the holder.
    pub incarnation: WorkerIncarnation,
    /// The fencing token.
    pub token: Token,
}

/// Why a job was given up (QUEUE R3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DeadReason {
    /// A failure that cannot be mended by trying again.
    Permanent {
        /// What the engine said.
        message: String,
    },
    /// It failed too often, or so that somebody has to see to it first.
    Failures {
        /// How often.
        count: u32,
        /// What the engine said last.
        message: String,
    },
    /// Its workers vanished too often: it may be what kills them.
    Crashes {
        /// How often.
        count: u32,
    },
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobState::Waiting { open } => write!(f, "waits for other jobs: {open}"),
            JobState::Delayed { until } => write!(f, "is delayed until {until:?}"),
            JobState::Ready => f.write_str("is ready"),
            JobState::Running(lease) => write!(f, "runs at {}", lease.worker),
            JobState::Parked => f.write_str("is parked"),
            JobState::Done { .. } => f.write_str("is done"),
            JobState::Dead(reason) => write!(f, "was given up: {reason}"),
            JobState::Cancelled => f.write_str("was cancelled"),
            JobState::DependencyFailed { dependency } => {
                write!(f, "failed for want of {dependency}")
            }
            JobState::Superseded { by } => write!(f, "was superseded by {by}"),
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeadReason::Permanent { message } => write!(f, "it cannot be done: {message}"),
            DeadReason::Failures { count: 1, message } => write!(f, "it failed: {message}"),
            DeadReason::Failures { count, message } => {
                write!(f, "it failed {count} times, last: {message}")
            }
            DeadReason::Crashes { count } => write!(f, "{count} workers were lost with it"),
        }
    }
}

/// A worker, as it introduces itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerSpec {
    /// Its id.
    pub worker: WorkerId,
    /// Which life of it.
    pub incarnation: WorkerIncarnation,
    /// How many jobs it holds at a time.
    pub slots: u32,
    /// The engines it offers.
    pub engines: Vec<String>,
}

/// A job that a worker is to run: sent only after its claim was committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// The fencing token to complete it with.
    pub token: Token,
    /// The batch that it is to be run in, with all others of it; none if it is run alone.
    pub together: Option<Token>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The context to generate.
    pub address: Address,
    /// What stands there.
    pub kind: ContextKind,
    /// The digest of what must be described.
    pub subject: Digest,
    /// What is to generate it.
    pub generator: Generator,
    /// What it depends on, in the order it was asked for.
    pub dependencies: Vec<DependencyResult>,
}

/// What became of a dependency, for the one who needs it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DependencyResult {
    /// The context.
    pub address: Address,
    /// The digest of its current result's body; none if there is a gap.
    pub result: Option<Digest>,
}

/// A job as a reader sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobView {
    /// The job.
    pub job: JobId,
    /// The context it is for.
    pub address: Address,
    /// The input it is for.
    pub subject: Digest,
    /// Its class by now.
    pub class: Class,
    /// Where it stands.
    pub state: JobState,
    /// Attempts so far.
    pub attempts: u32,
    /// Of these, how many failed.
    pub failures: u32,
    /// Of these, how many lost their worker.
    pub crashes: u32,
    /// The last token issued for it.
    pub last_token: Option<Token>,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// How many requests wait for it.
    pub waiters: u32,
}

/// One attempt at a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Which, from 1.
    pub number: u32,
    /// Who held it.
    pub worker: WorkerId,
    /// In which life.
    pub incarnation: WorkerIncarnation,
    /// By which token.
    pub token: Token,
    /// Since when, in cluster time.
    pub began: Stamp,
    /// How it ended; none while it is under way.
    pub ended: Option<AttemptEnd>,
}

/// The end of an attempt that brought no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// When, in cluster time.
    pub at: Stamp,
    /// How.
    pub class: FailureClass,
}

/// A job that was given up, or failed for want of one that was, with what is needed
/// to look into it and to do it again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The job.
    pub job: JobView,
    /// What was to generate it.
    pub generator: Generator,
    /// On whose account.
    pub tenant: String,
    /// Who asked for it first.
    pub asked_by: Principal,
    /// The last attempts at it, in order.
    pub attempts: Vec<Attempt>,
    /// The job that does it again, or what made that needless; none if it was not
    /// redriven.
    pub redriven: Option<JobId>,
}

/// Jobs that are paused and resumed together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// Those that need an engine.
    Engine(String),
    /// Those on a tenant's account.
    Tenant(String),
    /// Those that a worker would get: it is drained.
    Worker(WorkerId),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Cluster => f.write_str("the cluster"),
            Scope::Engine(engine) => write!(f, "engine {engine}"),
            Scope::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Scope::Worker(worker) => write!(f, "worker {worker}"),
        }
    }
}

/// Something that is paused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pause {
    /// Which jobs.
    pub scope: Scope,
    /// Since when, in cluster time.
    pub since: Stamp,
    /// Who paused it last.
    pub by: Principal,
    /// Why, for people.
    pub reason: String,
}

/// A job that reached its terminal state: an item of the feed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finished {
    /// Its place in the feed.
    pub number: FinishNumber,
    /// The job.
    pub job: JobId,
    /// The context it was for.
    pub address: Address,
    /// The input it was for.
    pub subject: Digest,
    /// How it ended.
    pub state: JobState,
    /// Attempts it took.
    pub attempts: u32,
}

/// A published context as the state machine knows it: the body is elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContextView {
    /// Where.
    pub address: Address,
    /// The input that the current result describes.
    pub subject: Digest,
    /// What made it.
    pub generator: Generator,
    /// The digest of the result's body.
    pub result: Digest,
    /// The body's length in bytes.
    pub bytes: u64,
    /// The job that published it.
    pub job: JobId,
    /// Who asked for that job first.
    pub asked_by: Principal,
}
