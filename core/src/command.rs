//! What an entry of the log asks the state machine to do, and what came of it.

mod caching;
mod claims;
mod level;
mod rejection;

use serde::{Deserialize, Serialize};

use crate::access::{Denied, Grant, Tally};
use crate::address::Address;
use crate::bytes::Bytes;
use crate::digest::Digest;
use crate::edit::{Author, Basis, ConflictId, Edit, Merge, Resolution};
use crate::feature::FeatureLevel;
use crate::ids::{
    JobId, LogIndex, NodeId, RequestId, Revision, Sequence, SessionId, Term, Token, WorkerId,
    WorkerIncarnation,
};
use crate::job::{
    Account, Class, FailureClass, JobSpec, Limits, Needs, Offer, Reach, Scope, WorkerSpec,
};
use crate::principal::Principal;
use crate::time::Stamp;

pub use self::caching::{Asked, CacheMode, Cached, Evicting, Eviction};
pub use self::claims::{Claim, ClaimRefusal, ClaimRule, Contender, Load, WeighedClaim};
pub use self::rejection::Rejection;

/// A command with its circumstances: the body of a log entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Cluster time, stamped by the leader (QUEUE T1).
    pub t: Stamp,
    /// Wall clock in milliseconds since 1970, for people: no rule reads it.
    pub wall_ms: u64,
    /// Who asked.
    pub principal: Principal,
    /// Which request of which session, if it is one.
    pub request: Option<RequestId>,
    /// The client has the replies to all its requests below this sequence.
    pub acknowledged: Sequence,
    /// What to do.
    pub command: Command,
}

/// What the state machine can be asked to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// A new leader's first entry: the barrier of its term.
    TakeOver {
        /// Its term.
        term: Term,
        /// Who leads.
        node: NodeId,
    },
    /// Opens a session whose id is this entry's index.
    OpenSession,
    /// Asks for contexts: all of them, or none.
    Submit {
        /// The requests, dependencies before dependents or not.
        items: Vec<JobSpec>,
    },
    /// A worker introduces itself, or says that it lives again.
    Register {
        /// The worker.
        worker: WorkerSpec,
    },
    /// The leader gives jobs to workers. Dispatched after commit only.
    Claim {
        /// Who gets what.
        claims: Vec<Claim>,
    },
    /// A worker hands in a result.
    Complete {
        /// The job.
        job: JobId,
        /// The right to complete it.
        token: Token,
        /// The digest of the body.
        result: Digest,
        /// The result itself.
        body: Bytes,
    },
    /// A worker gives up an attempt.
    Fail {
        /// The job.
        job: JobId,
        /// The right to speak for it.
        token: Token,
        /// What kind of failure.
        class: FailureClass,
        /// What happened, for people.
        message: String,
        /// When to try again at the earliest, in milliseconds; of a permanent failure,
        /// when to ask again.
        retry_after_ms: Option<u64>,
    },
    /// A worker gives a job back untouched.
    Release {
        /// The job.
        job: JobId,
        /// The right to speak for it.
        token: Token,
    },
    /// The leader takes leases back from workers that fell silent.
    Expire {
        /// Which leases.
        leases: Vec<ExpiredLease>,
    },
    /// Cluster time has reached a timer, or a cascade has work left.
    Tick,
    /// Every member's program can do more: from the next entry on, more is done.
    RaiseLevel {
        /// The level that is in force from then on.
        to: FeatureLevel,
    },
    /// The request's session waits for these jobs no longer. One that nobody else
    /// wants ends.
    Leave {
        /// The jobs, as the session was told when it submitted.
        jobs: Vec<JobId>,
    },
    /// These jobs end, whoever waits for them.
    Cancel {
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// Jobs that were given up are done again, under new numbers.
    Redrive {
        /// Dead letters.
        jobs: Vec<JobId>,
        /// Those that failed for want of them, too, and so on.
        dependents: bool,
    },
    /// These dead letters are not needed any more: they can be redriven no longer.
    Purge {
        /// Dead letters.
        jobs: Vec<JobId>,
    },
    /// These jobs are as urgent as this from now on.
    Reprioritise {
        /// The jobs.
        jobs: Vec<JobId>,
        /// How urgent.
        class: Class,
    },
    /// No job of these is given to a worker until they are resumed.
    Pause {
        /// Which jobs.
        scope: Scope,
        /// Why, for people.
        reason: String,
    },
    /// Jobs of these are given out again.
    Resume {
        /// Which jobs.
        scope: Scope,
    },
    /// A worker is gone for good, or must go: its jobs are given to others, and it is
    /// forgotten until it registers again.
    Expel {
        /// Which.
        worker: WorkerId,
    },
    /// This is what a tenant, engine or project may use from now on.
    PutLimits {
        /// Who.
        account: Account,
        /// How much; nothing limited ends all limits.
        limits: Limits,
    },
    /// Asks for contexts as `Submit` does, and says what may come from the cache.
    Ask {
        /// The requests, dependencies before dependents or not.
        items: Vec<JobSpec>,
        /// What may answer them.
        mode: CacheMode,
    },
    /// What is published there answers no request any more, and is shown until something
    /// takes its place. Nor does what is made by attempts that began before.
    Invalidate {
        /// Of what.
        reach: Reach,
    },
    /// The results that are published are not to take more than this.
    PutBudget {
        /// So many bytes; none for as many as there are.
        bytes_max: Option<u64>,
    },
    /// The leader lets go of results that nobody used lately.
    Evict {
        /// Which.
        evictions: Vec<Eviction>,
    },
    /// This is all that a principal may do from the next entry on. While nobody has a
    /// grant, everybody may do everything.
    PutRoles {
        /// Who.
        principal: Principal,
        /// What; nothing if it may do nothing any more.
        grants: Vec<Grant>,
    },
    /// The leader tells what was denied of late: none of that has an entry of its own.
    NoteDenials {
        /// By principal and reason.
        denied: Vec<Denied>,
        /// What was denied to others, or for other reasons.
        others: Option<Tally>,
    },
    /// The leader gives jobs to workers, and says who else could have had them: what
    /// `Claim` is from [`FeatureLevel::ACCESS_CHECKED`] on.
    ClaimFrom {
        /// Who gets what, and why.
        claims: Vec<WeighedClaim>,
    },
    /// Somebody says something of a context.
    Annotate {
        /// Of which; it need not be generated yet.
        address: Address,
        /// What.
        edit: Edit,
        /// Having seen what.
        basis: Basis,
    },
    /// Somebody has looked at a conflict.
    Resolve {
        /// At which address.
        address: Address,
        /// Which.
        conflict: ConflictId,
        /// Having seen it in this revision. Refused if there is another one by now.
        revision: Revision,
        /// Is it a person?
        author: Author,
        /// What is right.
        resolution: Box<Resolution>,
    },
    /// The leader gives jobs to workers, and says which are to be run together: what
    /// `ClaimFrom` is from [`FeatureLevel::JOBS_BATCHED`] on.
    ClaimTogether {
        /// Who gets what, and why.
        claims: Vec<WeighedClaim>,
        /// Of each claim the position of the first one of its run; of one that is run
        /// alone, and of a first one, its own.
        runs: Vec<u32>,
    },
    /// A worker gives up an attempt at all that it runs together with a job: it failed
    /// as a whole. Of a job that is run alone, what `Fail` is.
    FailTogether {
        /// Any one of the jobs.
        job: JobId,
        /// The right to speak for it.
        token: Token,
        /// What kind of failure.
        class: FailureClass,
        /// What happened, for people.
        message: String,
        /// When to try again at the earliest, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// This is what each job of an engine needs of a worker from now on.
    PutNeeds {
        /// Which engine.
        engine: String,
        /// What; nothing if a slot and the engine are enough.
        needs: Needs,
    },
    /// A worker says what it has besides slots and engines. Of a life that begins nothing
    /// is known until it says so.
    PutOffer {
        /// Which worker.
        worker: WorkerId,
        /// In which life.
        incarnation: WorkerIncarnation,
        /// What it has, in place of what it said before.
        offer: Offer,
    },
    /// These are texts of which contexts are to be made: the cluster keeps them for workers
    /// that have none of their own. Those that are kept already count as just used.
    KeepSources {
        /// The texts.
        sources: Vec<Bytes>,
    },
    /// This is what the texts that are kept may take from now on.
    PutSourceBudget {
        /// So many bytes.
        bytes_max: u64,
    },
}

/// A lease to take back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExpiredLease {
    /// The job.
    pub job: JobId,
    /// The lease's token: a newer one is untouched.
    pub token: Token,
}

/// What became of a command. The reply of a request, equal on every replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The new leader's barrier stands.
    TookOver,
    /// The session is open.
    SessionOpened(SessionId),
    /// Every item was accepted; in order.
    Submitted(Vec<Submitted>),
    /// The worker is known.
    Registered,
    /// What became of each claim, in order.
    Claimed(Vec<Result<Token, ClaimRefusal>>),
    /// The result was taken and published.
    Completed,
    /// The failure was noted.
    Failed(AfterFailure),
    /// The job is ready again.
    Released,
    /// How many of the leases were still held.
    Expired {
        /// The count.
        count: u32,
    },
    /// How many timers fired or cascaded jobs moved.
    Ticked {
        /// The count.
        count: u32,
    },
    /// Nothing was changed, and why.
    Rejected(Rejection),
    /// The level is in force.
    LevelRaised,
    /// What became of each job that was to be left or cancelled, in order.
    Cancelled(Vec<Cancellation>),
    /// What became of the dead letters that were to be redriven.
    Redriven(Redrive),
    /// What became of each dead letter that was to be purged, in order.
    Purged(Vec<Purging>),
    /// What became of each job that was to be made more or less urgent, in order.
    Reprioritised(Vec<Reprioritisation>),
    /// They are paused.
    Paused {
        /// They were before: it changed nothing but the reason.
        before: bool,
    },
    /// They are not paused any more, by this scope.
    Resumed {
        /// They were not paused: it changed nothing.
        before: bool,
    },
    /// The worker is not known any more.
    Expelled {
        /// It was known before.
        known: bool,
        /// How many jobs it ran: they are not counted as tried.
        jobs: u32,
    },
    /// The limits are in force.
    LimitsPut {
        /// What they were.
        before: Limits,
    },
    /// What became of each item of an `Ask`, in order.
    Asked(Vec<Asked>),
    /// It is invalid from this entry on.
    Invalidated {
        /// Something was published at the address; of a prefix or a generator that is
        /// found out bit by bit, and not said.
        published: Option<bool>,
    },
    /// The budget is in force.
    BudgetPut {
        /// What it was.
        before: Option<u64>,
    },
    /// What became of each result that was to go, in order.
    Evicted(Vec<Evicting>),
    /// The grants are in force.
    RolesPut {
        /// How many the principal had.
        before: u32,
    },
    /// It is in the audit.
    DenialsNoted,
    /// The edit is merged with what was there.
    Annotated {
        /// The revision that it made.
        revision: Revision,
        /// Had its author seen everything?
        merge: Merge,
        /// Conflicts of which it is a side: the rule chose, until somebody looks.
        conflicts: Vec<ConflictId>,
    },
    /// The conflict is over.
    Resolved {
        /// The revision that this made.
        revision: Revision,
    },
    /// The failure of a run was noted.
    FailedTogether {
        /// Of so many jobs.
        jobs: u32,
        /// What is to become of the one that was named.
        after: AfterFailure,
    },
    /// The needs are in force; before, these were.
    NeedsPut(Needs),
    /// The offer is known; before, this was.
    OfferPut(Offer),
    /// All of the texts are kept.
    SourcesKept {
        /// How many were not before.
        fresh: u32,
    },
    /// The budget of the texts is in force.
    SourceBudgetPut {
        /// What it was.
        before: u64,
    },
}

/// What became of dead letters that were to be redriven.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Redrive {
    /// Of each that was named, in order.
    pub jobs: Vec<Redriving>,
    /// How many more were redriven that failed for want of these.
    pub dependents: u32,
    /// How many of those were not, for they require something else that is not there
    /// and has no job.
    pub lacking: u32,
    /// One entry does only so much. To redrive the rest, name these, until none are
    /// left: each time something was redriven. At most as many as can be named.
    pub next: Vec<JobId>,
}

/// What became of a dead letter that was to be redriven.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Redriving {
    /// It is done again.
    Again {
        /// As this job.
        job: JobId,
        /// Next, or behind an older input that is running; or there was a job for
        /// its input already, and the caller waits for that one now.
        how: Admission,
    },
    /// It was redriven before.
    Before {
        /// As this job.
        job: JobId,
    },
    /// What it was to make is published by now.
    Published {
        /// Which job made it.
        by: JobId,
    },
    /// Its address has a newer input by now.
    Outdated {
        /// Of which job.
        by: JobId,
    },
    /// It requires a context that is not there and has no job: redrive or submit
    /// that one first, or together with this one.
    Needs {
        /// Where.
        address: Address,
    },
    /// One entry does only so much: name it again.
    Later,
    /// It is not over, or it ended otherwise: there is nothing to redrive.
    NotDead,
    /// What it needed is not kept any more: it was purged, made way for newer dead
    /// letters, or was given up before they were kept. Submit it anew.
    NotKept,
    /// It never was, or ended and was forgotten.
    Unknown,
}

/// What became of a dead letter that was to be purged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Purging {
    /// How it ended can still be read; it can be redriven no longer.
    Purged,
    /// There is no such dead letter, or there was.
    NotKept,
}

/// What became of a job that was to be made more or less urgent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reprioritisation {
    /// It is of this class now: the one asked for, or that of a job which depends
    /// on it and is more urgent.
    Now {
        /// Which.
        class: Class,
    },
    /// It is over.
    Over,
    /// It never was, or ended and was forgotten.
    Unknown,
}

/// What became of a job that was to be left or cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Cancellation {
    /// It ended, as [`JobState::Cancelled`].
    Ended {
        /// Who was running it and is to stop.
        stops: Option<WorkerId>,
    },
    /// The session waits for it no longer; others do.
    Left,
    /// It was over already.
    Over,
    /// The session does not wait for it: it never did, or has left it before.
    NotWaitedFor,
    /// It never was, or ended and was purged.
    Unknown,
    /// Many newer inputs took its place, one after the other. The session waits
    /// for this one of them now: leave this one.
    Further {
        /// Which job.
        job: JobId,
    },
}

/// What became of one item of a `Submit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Submitted {
    /// The job that answers for it.
    pub job: JobId,
    /// How.
    pub how: Admission,
}

/// How a request was admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Admission {
    /// A new job.
    Created,
    /// The same job was live already.
    Attached,
    /// The result was there.
    FromCache,
    /// An older input is running: this one is next.
    Parked,
    /// The very same failed for good before: nothing is run, and the job is dead. Its
    /// reason names the dead letter to redrive if it is to be tried all the same.
    FailedBefore,
}

/// What a failed attempt means for its job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AfterFailure {
    /// It will be tried again.
    Retry {
        /// Not before.
        at: Stamp,
    },
    /// It was given up.
    Dead,
    /// A newer input waited for its end and takes its place.
    Superseded {
        /// Which job.
        by: JobId,
    },
}

/// One decision, as the audit keeps it: a link of a chain that is equal on
/// every replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The entry.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Cluster time after it.
    pub t: Stamp,
    /// Wall clock as the leader had it, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Who asked.
    pub principal: Principal,
    /// What was asked and what came of it, in words.
    pub text: String,
    /// The digest of the record before this one.
    pub previous: Digest,
    /// The digest over all of the above.
    pub digest: Digest,
}
