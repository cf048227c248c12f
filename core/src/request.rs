//! What a node's own clients (gateways, workers, operators) ask of the core,
//! and what they are told.

use serde::{Deserialize, Serialize};

use crate::access::{Denial, Rights};
use crate::address::Address;
use crate::command::{Command, Outcome};
use crate::digest::Digest;
use crate::edit::{Conflict, ConflictId, EditedView, PastEdit, PastResult};
use crate::ids::{
    FinishNumber, JobId, LogIndex, NodeId, RequestId, Sequence, Term, Token, WorkerId,
    WorkerIncarnation,
};
use crate::job::{
    AccountView, Assignment, BreakerView, CacheView, CachedView, ContextView, DeadLetter,
    EngineNeeds, Explanation, Finished, JobState, JobView, Pause, SourcesView, WorkerView,
};
use crate::membership::{Change, ChangeError, Membership, RecoveryError, RecoveryReport};
use crate::principal::Principal;
use crate::status::Status;

/// A question or an order from a client of this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Put a command into the log and say what came of it. Only the leader
    /// does; clients may send all commands but `TakeOver`, `Claim`, `ClaimFrom`,
    /// `ClaimTogether`, `Expire`, `Tick`, `RaiseLevel`, `Evict` and `NoteDenials`: these are
    /// the leader's own.
    Propose {
        /// Makes a resend harmless. Required for `Submit` and `Leave`.
        request: Option<RequestId>,
        /// The client has the replies to all its requests below this sequence.
        acknowledged: Sequence,
        /// What to do.
        command: Command,
    },
    /// A worker asks for work, and renews what it holds. Only the leader answers.
    Poll(Poll),
    /// Which jobs reached a terminal state after `after`? Answered by any node
    /// from what it has applied, which can only be late: the feed is the same on
    /// every node. Held until there is one or the hold time is over.
    FinishedAfter {
        /// The last one known.
        after: FinishNumber,
        /// At most so many.
        count_max: u32,
    },
    /// What does the replicated state say? Answered by any node.
    Read {
        /// What is asked.
        query: Query,
        /// Of which state.
        consistency: Consistency,
    },
    /// How is this node? About the node itself, so never older than its answer.
    Status,
    /// Change who belongs to the cluster. Only the leader does, one change at a
    /// time; answered when nothing of it is left to do.
    ChangeMembership(Change),
    /// Give the leadership to a voter: this one, or the fittest. Only the leader
    /// does; answered when another leads, or when that has come to nothing.
    HandOver {
        /// To whom.
        to: Option<NodeId>,
    },
    /// A majority is gone for good: go on with these members, this node among
    /// them, and without all others. The last resort: what a majority had
    /// confirmed may be lost, and the answer says what. Only a node without a
    /// leader does, and not while a majority is reachable.
    RecoverUnsafely {
        /// Who is left.
        survivors: Vec<NodeId>,
    },
    /// How did these jobs end, or what took their place? Answered by any node, once: when
    /// all are over, or when the hold time is. An end is the same wherever and however
    /// often it is asked for.
    Await {
        /// Which jobs, as a reply named them. At most [`crate::limits::AWAIT_JOBS_MAX`].
        jobs: Vec<JobId>,
        /// The index of that reply: a node that has not applied as much does not know
        /// of them yet.
        after: LogIndex,
    },
    /// Like `Propose`, and never waits for a leader: a node that does not serve keeps the
    /// request durably, says `QueuedLocally`, and sends it to the leader as soon as there
    /// is one. Only that it is accepted by is the leader's word: whoever wants to
    /// hear it sends the request again, in either way, to any node (decision 30).
    QueueLocally {
        /// Makes it harmless that it is sent again.
        request: RequestId,
        /// The client has the replies to all its requests below this sequence.
        acknowledged: Sequence,
        /// What to do: `Submit`, `Ask`, `Leave`, `Cancel`, `Annotate` or `Resolve`.
        command: Command,
    },
}

/// A question to the replicated state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Query {
    /// Where does a job stand?
    Job(JobId),
    /// What is published at an address?
    Context(Address),
    /// What is kept of a job that was given up?
    DeadLetter(JobId),
    /// Which dead letters were not redriven? The oldest jobs first.
    DeadLetters {
        /// Those after this one.
        after: JobId,
        /// At most so many.
        count_max: u32,
    },
    /// What is paused?
    Pauses,
    /// Why is a job where it is?
    Explain(JobId),
    /// What is limited, and which engines failed lately?
    Limits,
    /// What is published at an address, and how good is it?
    Cached(Address),
    /// What do all published contexts take?
    Cache,
    /// Who may do what? By name.
    Roles {
        /// Those after this one.
        after: Option<Principal>,
        /// At most so many.
        count_max: u32,
    },
    /// What is published at an address, and what do people say of it?
    Edited(Address),
    /// What was published at an address, and who edited it?
    History(Address),
    /// Which conflicts are open? The oldest first.
    Conflicts {
        /// Those after this one.
        after: ConflictId,
        /// At most so many.
        count_max: u32,
    },
    /// Which jobs are not over at an address and everywhere inside? By address.
    Unfinished {
        /// Where.
        within: Address,
        /// Those at addresses after this one.
        after: Option<Address>,
        /// At most so many, or one more.
        count_max: u32,
    },
    /// Which engines need more of a worker than a slot?
    Needs,
    /// What has a worker, and what is it given?
    Worker(WorkerId),
    /// Which of these texts are not kept, and what do those take that are? Of more than
    /// [`crate::limits::SOURCES_ASKED_MAX`], the first so many are looked for.
    Sources(Vec<Digest>),
}

/// Which state a read must be answered from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Consistency {
    /// One that has everything that was committed before the read was asked, on
    /// whichever node: the leader confirms that with a majority. Without a leader
    /// the read waits, and is refused when its time is over.
    Linearizable,
    /// Whatever the node has applied, at once; the answer says how old that is.
    Stale,
}

/// What the replicated state says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// A job; none if it is not known.
    Job(Option<Box<JobView>>),
    /// A context; none if there is none.
    Context(Option<Box<ContextView>>),
    /// A dead letter; none if it is not kept, or never was one.
    DeadLetter(Option<Box<DeadLetter>>),
    /// Some dead letters.
    DeadLetters {
        /// The letters, by job.
        letters: Vec<DeadLetter>,
        /// To ask for more, ask for those after this one; none if there are none.
        next: Option<JobId>,
    },
    /// Everything that is paused.
    Pauses(Vec<Pause>),
    /// Why a job is where it is; none if there is none.
    Explained {
        /// Why.
        explanation: Option<Box<Explanation>>,
        /// How many workers that offer its engine ask for work just now, if this node
        /// leads and gives work out.
        asking: Option<u64>,
    },
    /// Everything that is limited.
    Limits {
        /// The tenants, engines and projects with limits.
        accounts: Vec<AccountView>,
        /// The engines that failed lately.
        breakers: Vec<BreakerView>,
    },
    /// A context with what is known of it; none if there is none.
    Cached(Option<Box<CachedView>>),
    /// What all of them take.
    Cache(Box<CacheView>),
    /// Some of those who may do something.
    Roles {
        /// Who and what, by name. Where nobody has a grant, everybody may do everything.
        rights: Vec<Rights>,
        /// To ask for more, ask for those after this one; none if there are none.
        next: Option<Principal>,
    },
    /// A context with what people say of it; none if the address is not known.
    Edited(Option<Box<EditedView>>),
    /// The history of an address, the oldest first.
    History {
        /// Of which.
        address: Address,
        /// Results that were replaced.
        results: Vec<PastResult>,
        /// Edits and resolutions.
        edits: Vec<PastEdit>,
    },
    /// Some open conflicts.
    Conflicts {
        /// The conflicts.
        conflicts: Vec<Conflict>,
        /// To ask for more, ask for those after this one; none if there are none.
        next: Option<ConflictId>,
    },
    /// Some unfinished jobs.
    Unfinished {
        /// The jobs, by address.
        jobs: Vec<JobView>,
        /// To ask for more, ask for those after this one; none if there are none. A page
        /// may be short, or empty, and there are more all the same.
        next: Option<Address>,
    },
    /// The engines that need something.
    Needs(Vec<EngineNeeds>),
    /// A worker; none if it is not registered.
    Worker(Option<Box<WorkerView>>),
    /// The texts that are kept.
    Sources(Box<SourcesView>),
}

/// How old the state is that a read was answered from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Freshness {
    /// It has all that was committed before the read was asked.
    Linearizable,
    /// It has all that a leader had told this node, or had confirmed as its
    /// leader, up to so long ago.
    Stale {
        /// By this node's clock, rounded down. A lower bound of the true age: what the
        /// leader told was on its way for a time that the node cannot know. None
        /// if the node has never caught up with a leader since it started.
        age_ms: Option<u64>,
    },
}

/// A worker's heartbeat, renewal and question for work in one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Poll {
    /// Who.
    pub worker: WorkerId,
    /// Which life of it.
    pub incarnation: WorkerIncarnation,
    /// How many more jobs it can take.
    pub slots_free: u32,
    /// How many jobs it runs together, in one go: each takes a slot. 0 and 1 for one by one.
    pub together_max: u32,
    /// The tokens of all jobs that it works on, or whose result is not yet accepted.
    pub held: Vec<Token>,
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The command is committed and applied; this came of it.
    Applied {
        /// Where its entry stands; of a resend that was answered by what the state
        /// keeps of the request, the index as of which that state is.
        index: LogIndex,
        /// What came of it.
        outcome: Outcome,
    },
    /// Nothing was done: another node leads, or none.
    NotLeader {
        /// Whom to ask, if known.
        leader: Option<NodeId>,
    },
    /// Nothing was done, for a passing reason: ask again.
    Refused {
        /// Why.
        reason: Refusal,
        /// When, in milliseconds.
        retry_after_ms: u64,
    },
    /// This node lost its leadership before the outcome was known: it may or
    /// may not take effect. Ask the new leader again with the same request id.
    Unknown,
    /// The request itself is wrong.
    Invalid {
        /// What is wrong and what would be right.
        message: String,
    },
    /// Work for a worker, and what it must stop.
    Work(Work),
    /// The feed of finished jobs, in order.
    Finished {
        /// The next ones.
        jobs: Vec<Finished>,
        /// As of which applied index.
        applied: LogIndex,
    },
    /// What was read.
    Read {
        /// What the state says.
        answer: Answer,
        /// As of which applied index.
        applied: LogIndex,
        /// How old that is.
        freshness: Freshness,
    },
    /// How this node is.
    Status(Box<Status>),
    /// A change of the membership is committed and at its end.
    Membership {
        /// Where the last entry of it stands.
        index: LogIndex,
        /// Who belongs to the cluster now.
        membership: Membership,
    },
    /// A change of the membership was not made.
    ChangeRefused(ChangeError),
    /// Another node leads.
    HandedOver {
        /// Which.
        to: NodeId,
        /// In which term.
        term: Term,
    },
    /// The leadership was not handed over: this node goes on leading.
    HandOverFailed(HandOverError),
    /// The survivors are the cluster, and have a leader.
    Recovered(Box<RecoveryReport>),
    /// An unsafe recovery was not made.
    RecoveryFailed(RecoveryError),
    /// Nothing was done, and no entry made: the principal may not do it.
    Denied(Denial),
    /// What became of jobs that were awaited.
    Awaited {
        /// Of each, in order.
        endings: Vec<Ending>,
        /// As of which applied index.
        applied: LogIndex,
    },
    /// The node keeps the request, durably, and nobody has accepted it yet.
    QueuedLocally,
}

/// What became of a job that was awaited.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ending {
    /// It is over, for ever.
    Over {
        /// The job that answered for it at last: itself, or a newer input.
        by: JobId,
        /// How that one ended.
        state: JobState,
    },
    /// It is not over. Ask again.
    Unfinished {
        /// For the job that answers for it by now: itself, or a newer input.
        by: JobId,
    },
    /// It never was, or ended and was forgotten.
    Unknown,
}

/// Why a leader goes on leading although another was wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum HandOverError {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader,
    /// One hand-over at a time.
    #[error("the leader is handing over to {to} already; wait for its end")]
    UnderWay {
        /// To whom.
        to: NodeId,
    },
    /// It is the leader.
    #[error("{node} leads already")]
    LeadsAlready {
        /// Which.
        node: NodeId,
    },
    /// It has no vote, or has left.
    #[error("{node} is no voter; name one that is")]
    NotVoter {
        /// Which.
        node: NodeId,
    },
    /// The leader does not hear it.
    #[error("{node} is not connected to the leader, or silent; start it or name another")]
    NotConnected {
        /// Which.
        node: NodeId,
    },
    /// Its disk does not answer.
    #[error("{node} says that its disk does not answer; name another")]
    Unwell {
        /// Which.
        node: NodeId,
    },
    /// It lacks so much that it would not have it in time.
    #[error("{node} lacks {missing} entries; wait until it has caught up, or name another")]
    Behind {
        /// Which.
        node: NodeId,
        /// How many.
        missing: u64,
    },
    /// No voter could take over now.
    #[error("no other voter is connected, well and caught up")]
    NobodyFit,
    /// It did not take over.
    #[error("{node} did not take over in time")]
    TimedOut {
        /// Which.
        node: NodeId,
    },
}

/// The answer to a worker's poll.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Work {
    /// Jobs that the worker holds by the log and did not name in its poll.
    /// It may get one twice: it knows them by token.
    pub assignments: Vec<Assignment>,
    /// Of the tokens it named, those that are no longer valid.
    pub revoked: Vec<Token>,
    /// The worker must register (again) before it gets work.
    pub unknown: bool,
    /// The worker is drained: what it has it may finish, and it is given nothing more until
    /// that is ended. Whoever holds nothing may stop.
    pub drained: bool,
    /// How long its leases last from now without another poll, in milliseconds.
    pub lease_ms: u64,
    /// Who answered, for which term.
    pub term: Term,
}

/// Why a request was not taken up, though nothing is wrong with it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, thiserror::Error,
)]
pub enum Refusal {
    /// Too much is appended and not committed.
    #[error("too many bytes are appended and not committed")]
    UncommittedBytes,
    /// Too many requests wait for a leader.
    #[error("too many requests wait at this node")]
    WaitingRequests,
    /// There was no serving leader for the whole waiting time.
    #[error("no leader served within the waiting time")]
    NoLeader,
    /// The leader is handing over.
    #[error("the leader is handing over")]
    Yielding,
    /// Too many linearizable reads wait at this node.
    #[error("too many reads wait at this node")]
    WaitingReads,
    /// No leader confirmed within the waiting time that nothing newer is committed.
    #[error("no leader confirmed the read within the waiting time; a stale read needs none")]
    ReadUnconfirmed,
    /// Some member's program does not know the command yet.
    #[error("the command is known from a level on that is not yet in force")]
    LevelTooLow,
    /// The node has not applied what the request speaks of.
    #[error("this node was not told in time of what is awaited; ask again, or another node")]
    Behind,
    /// The node keeps as many requests for its clients as it may.
    #[error(
        "this node keeps as many requests as it may until there is a leader; ask another node, or later"
    )]
    LocalQueueFull,
    /// There is little room on the disk of the node that would have to keep it. Said by
    /// what is around the core.
    #[error(
        "the disk of the node that has to keep it is almost full; nothing new is accepted until there is room"
    )]
    DiskFull,
}
