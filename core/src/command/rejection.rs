//! Why a command changed nothing.

use serde::{Deserialize, Serialize};

use super::caching::CacheMode;
use crate::access::{Denial, Role};
use crate::address::Address;
use crate::edit::{ConflictId, Part};
use crate::feature::FeatureLevel;
use crate::ids::{ActorId, JobId, LogIndex, Revision, Sequence, SessionId, Term, Token, WorkerId};
use crate::job::JobState;
use crate::principal::Principal;
use crate::version::{Dot, VersionVector};

/// Why a command changed nothing. Every variant says what was found and what
/// would be right.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The queue is at its bound.
    #[error(
        "the queue holds {live} jobs; the limit is {limit} (jobs_live_max); try again in {retry_after_ms} ms"
    )]
    QueueFull {
        /// Jobs that are not finished.
        live: u64,
        /// The bound.
        limit: u64,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// A `Submit` with nothing in it, or too much.
    #[error("a submit holds 1 to {limit} items (submit_items_max); this one has {found}")]
    ItemCount {
        /// How many.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// An item names too many dependencies.
    #[error("item {item} names {found} dependencies{}; the limit is {limit}", if *.required { " with policy require" } else { "" })]
    TooManyDependencies {
        /// The item's position in the batch, from 0.
        item: u32,
        /// Only those with policy `require` were counted.
        required: bool,
        /// How many.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// A required dependency is nowhere.
    #[error(
        "item {item} requires {address}, which has no context, no job, and is not in this batch; submit it too"
    )]
    UnknownDependency {
        /// The item's position in the batch, from 0.
        item: u32,
        /// What was not found.
        address: Address,
    },
    /// Items that wait for each other.
    #[error("the batch has a dependency cycle: {}", path.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(" -> "))]
    Cycle {
        /// The cycle's addresses; the first is the last.
        path: Vec<Address>,
    },
    /// A text is longer than its bound.
    #[error("{what} is {found} bytes; the limit is {limit}")]
    TooLong {
        /// Which text.
        what: String,
        /// How long it is, in bytes.
        found: u64,
        /// The bound, in bytes.
        limit: u64,
    },
    /// A number is out of its range.
    #[error("{what} is {found}; it must be {min} to {max}")]
    OutOfRange {
        /// Which number.
        what: String,
        /// What it was.
        found: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// The session is not, or no longer, known.
    #[error(
        "session {session} is unknown or expired; open a new one: what was accepted in it stays accepted"
    )]
    UnknownSession {
        /// Which.
        session: SessionId,
    },
    /// The session's request was answered and its reply forgotten.
    #[error("request {sequence} was answered and acknowledged; its reply is no longer kept")]
    SequenceForgotten {
        /// Which.
        sequence: Sequence,
    },
    /// The session has too many requests without acknowledged replies.
    #[error(
        "the session has {limit} replies that were not acknowledged (session_replies_max); acknowledge some"
    )]
    TooManyOutstanding {
        /// The bound.
        limit: u64,
    },
    /// The same request id came with another command.
    #[error(
        "request {sequence} was sent before with another content; use a new sequence for a new request"
    )]
    IdempotencyMismatch {
        /// Which.
        sequence: Sequence,
    },
    /// No room for another session or worker.
    #[error("there are {limit} {what} already, which is the limit")]
    Full {
        /// Of what.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// No such job.
    #[error("job {job} is not known: it never was, or it ended and was purged")]
    UnknownJob {
        /// Which.
        job: JobId,
    },
    /// The token is not the job's last, or its job went another way.
    #[error("token {token} of {job} is stale: the job is {state:?}")]
    Stale {
        /// The job.
        job: JobId,
        /// The token shown.
        token: Token,
        /// Where the job stands: the winner is in it.
        state: JobState,
    },
    /// The worker's newer life is known already.
    #[error("worker {worker} has registered a later incarnation; this one must stop")]
    OldIncarnation {
        /// Which.
        worker: WorkerId,
    },
    /// The body is not what its digest says.
    #[error("the result's digest does not match its body")]
    DigestMismatch,
    /// The entry was proposed by a leader that was already replaced.
    #[error("proposed in {term} after the take-over of {current}")]
    OldTerm {
        /// The entry's term.
        term: Term,
        /// The term of the last `TakeOver`.
        current: Term,
    },
    /// Levels only rise: what was decided by newer rules stays.
    #[error("the cluster is at {current} already; it cannot go to {to}")]
    LevelNotHigher {
        /// What was asked for.
        to: FeatureLevel,
        /// What is in force.
        current: FeatureLevel,
    },
    /// A `Leave` or `Cancel` with nothing in it, or too much.
    #[error("a leave or cancel names 1 to {limit} jobs (cancel_jobs_max); this one names {found}")]
    JobCount {
        /// How many.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// A `Leave` that is no request of a session.
    #[error("only a session waits for jobs; send it as a request of the one that submitted them")]
    NoSession,
    /// Not every member's program knows the command yet.
    #[error(
        "the command needs {needed}; the cluster is at {current} until all members can do more"
    )]
    LevelTooLow {
        /// From which level on it is known.
        needed: FeatureLevel,
        /// What is in force.
        current: FeatureLevel,
    },
    /// An order about jobs that names none, or too many.
    #[error("{what} names 1 to {limit} jobs (ordered_jobs_max); this one names {found}")]
    OrderedJobCount {
        /// Which order.
        what: String,
        /// How many.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// What an order is about has no name.
    #[error("{what} to pause or resume has no name")]
    NoName {
        /// An engine or a tenant.
        what: String,
    },
    /// A tenant has as many unfinished jobs as it may.
    #[error(
        "tenant {tenant} has {live} unfinished jobs; its limit is {limit} (queued_max); try again in {retry_after_ms} ms"
    )]
    TenantFull {
        /// Which.
        tenant: String,
        /// Its jobs that are not finished.
        live: u64,
        /// The bound.
        limit: u64,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// What only tenants can be limited by.
    #[error("{what} is for tenants; engines and projects have running_max and a rate")]
    OnlyForTenants {
        /// What was to be limited.
        what: String,
    },
    /// What is to be limited has no name.
    #[error("{what} to limit has no name")]
    NoAccount {
        /// A tenant, an engine or a project.
        what: String,
    },
    /// A request that asks for two things of which only one can be.
    #[error("item {item} is to be {mode} and {what}; leave one of them out")]
    ModeContradicted {
        /// The item's position in the batch, from 0.
        item: u32,
        /// What may come from the cache.
        mode: CacheMode,
        /// What goes against that.
        what: String,
    },
    /// A way to use the cache that there is not.
    #[error(
        "a result for one request alone is not made: a context is made once at a time, and for all; ask for it anew instead (refresh)"
    )]
    ModeRefused {
        /// Which.
        mode: CacheMode,
    },
    /// An `Evict` with nothing in it, or too much.
    #[error(
        "an evict names 1 to {limit} results (evictions_per_entry_max); this one names {found}"
    )]
    EvictionCount {
        /// How many.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// What is to be invalidated has no name.
    #[error("the engine whose results are to be invalidated has no name")]
    NoEngine,
    /// As many invalidations as may be are still being carried through.
    #[error(
        "{limit} invalidations are being carried through (invalidations_max); one that contains them takes their place, or try again in {retry_after_ms} ms"
    )]
    InvalidationsFull {
        /// The bound.
        limit: u64,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The principal may not do it. Nothing of the request is kept: it may be sent again
    /// when the principal may.
    #[error("denied: {0}")]
    Denied(Denial),
    /// It would leave nobody who may change who may do what.
    #[error(
        "{principal} would be no admin any more, and nobody else is one; grant the role admin everywhere to somebody first"
    )]
    LastAdmin {
        /// Whose grants were to be put.
        principal: Principal,
    },
    /// No principal can have that name.
    #[error("{principal:?} is no name for a principal: it is empty, or the cluster's own")]
    NoPrincipal {
        /// The name.
        principal: Principal,
    },
    /// The role is only for the whole cluster.
    #[error("grant {grant}: the role {role} is for the whole cluster; grant it everywhere")]
    RoleForAll {
        /// The grant's position, from 0.
        grant: u32,
        /// Its role.
        role: Role,
    },
    /// What its author had seen when it wrote the edit is less than what is there, and
    /// it was here before, or its number was used again.
    #[error(
        "edit {dot} of {address} brings nothing new: {winner} of {index} has taken its place, and {version} is there; read the address, and edit what it says with the next number"
    )]
    EditDominated {
        /// Where.
        address: Address,
        /// The edit.
        dot: Dot,
        /// What has taken its place: the edit of that number, or the last one.
        winner: Dot,
        /// Its entry.
        index: LogIndex,
        /// What is there.
        version: Box<VersionVector>,
    },
    /// Its author had seen what is not here.
    #[error(
        "the author of {dot} of {address} has seen edits of {actor} up to {seen}, and here are those up to {known}; send the others first, in their order"
    )]
    EditAhead {
        /// Where.
        address: Address,
        /// The edit.
        dot: Dot,
        /// Whose edits are missing.
        actor: ActorId,
        /// Up to which of its edits its author had seen, this one not counted.
        seen: u64,
        /// Up to which are here.
        known: u64,
    },
    /// Somebody else was faster.
    #[error(
        "{address} is at {current} and not at {expected} any more; read it again, and edit what it says now"
    )]
    RevisionMoved {
        /// Where.
        address: Address,
        /// What the author had seen.
        expected: Revision,
        /// What is there.
        current: Revision,
    },
    /// An edit that changes a part twice.
    #[error("the edit changes {part} twice; say once what it is to be")]
    ChangedTwice {
        /// Which part.
        part: Part,
    },
    /// The log counts its edits itself.
    #[error("{actor} is the log's own; take another number, or name the revision that was edited")]
    ReservedActor {
        /// Who.
        actor: ActorId,
    },
    /// An address is at a bound of what people may say of it.
    #[error("{address} would have {found} {what}; the limit is {limit}; {advice}")]
    EditedFull {
        /// Where.
        address: Address,
        /// Of what.
        what: Box<str>,
        /// How many there would be.
        found: u64,
        /// The bound.
        limit: u64,
        /// What to do.
        advice: Box<str>,
    },
    /// No room for another conflict.
    #[error(
        "there would be {found} open conflicts; the limit is {limit} (conflicts_max); resolve or dismiss some first, and send this edit again"
    )]
    TooManyConflicts {
        /// How many there would be.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// There is no such conflict.
    #[error("{address} has no open conflict {conflict}: it is resolved, or never was")]
    NoConflict {
        /// Where.
        address: Address,
        /// Which.
        conflict: ConflictId,
    },
    /// A resolution that keeps what is no side, or says something of another part.
    #[error("{conflict} is about {part}, and {found} is no side of it; read it and name one")]
    NoSide {
        /// Which.
        conflict: ConflictId,
        /// What it is about.
        part: Part,
        /// What was named.
        found: Box<str>,
    },
    /// A worker that is not known in this life.
    #[error("worker {worker} has not registered this incarnation; register first")]
    UnknownWorker {
        /// Which.
        worker: WorkerId,
    },
    /// There is no room for more texts.
    #[error(
        "the sources of unfinished jobs count for {held} bytes, and all may count for {limit}; try again in {retry_after_ms} ms, or raise the budget"
    )]
    SourcesFull {
        /// What those count for that unfinished jobs are to be made of, in bytes.
        held: u64,
        /// The budget of all.
        limit: u64,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
}
