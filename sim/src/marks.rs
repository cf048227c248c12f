//! Interesting states that a campaign must reach: a simulator that never sees
//! a deposed leader with an unacknowledged tail proves nothing about it.

macro_rules! marks {
    ($($name:ident $text:literal,)*) => {
        /// A state worth reaching.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Mark {
            $(#[doc = $text] $name,)*
        }

        impl Mark {
            /// All of them, in order.
            pub const ALL: &[Mark] = &[$(Mark::$name,)*];

            /// What it is called in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Mark::$name => $text,)*
                }
            }
        }
    };
}

marks! {
    Elected "a leader was elected",
    SplitVote "a candidacy ended without a leader",
    LeaderDeposed "a leader stepped down",
    TailCut "entries were overwritten by another leader's",
    BarrierOfOldEntries "a new leader committed entries of an older term",
    Yielding "a leader handed over",
    HastyRecoveryRefused "an operator who wanted to give up a majority in sight was refused",
    RecoveredWhole "the survivors of a lost majority went on, and nothing was lost",
    RecoveredWithLoss "the survivors of a lost majority went on, and said what was lost",
    SnapshotTaken "a snapshot was saved",
    SnapshotInParts "a snapshot was taken over several turns",
    LogCompacted "the log was compacted",
    OldEntriesRead "old entries were read from disk for a follower",
    RecoveredFromSnapshot "a node restarted from a snapshot",
    SnapshotInstalled "a leader's snapshot took the place of a follower's log",
    JobDone "a job was done",
    FromCache "a request was answered from the cache",
    Attached "a request joined a live job",
    Parked "a newer input waited behind a running one",
    Superseded "a job was superseded by a newer input",
    DependencyFailed "a dependency failed",
    DeadPermanent "a job died of a permanent failure",
    DeadFailures "a job died of too many failures",
    DeadCrashes "a job died of too many lost workers",
    LateAccepted "a late completion was accepted",
    StaleRefused "a stale completion was refused",
    LeaseExpired "a lease expired",
    LeaseSurvivedTakeover "a job was done under a lease that an older leader gave",
    TenantsCompete "queues of three tenants and one class waited for one slot",
    AllClassesWait "jobs of all classes waited for one slot",
    IdleBesideUrgent "an idle job went while an urgent one waited",
    WaitedToTheBound "a queue was passed over as often as its share allows",
    ShapeWithoutSlot "a slot was given away that a queue with jobs could not use",
    CycleRejected "a dependency cycle was rejected",
    MismatchRejected "a request id with another body was rejected",
    QueueFull "the queue was full",
    ReplyRepeated "a resent request got its first reply again",
    ResendAnswered "a resent request was answered without an entry",
    WorkerKnown "a worker that registered again was answered without an entry",
    OldIncarnation "an old life of a worker was turned away",
    ReadAtLeader "a linearizable read was answered by the leader",
    ReadElsewhere "a linearizable read was answered by a node that does not lead",
    ReadAcrossTerms "a linearizable read was answered in a later term than it was asked",
    ReadRefused "a linearizable read was refused",
    ReadStale "a stale read was answered from a state that was behind",
    ProgramsMixed "an old program and a new one were connected",
    RolledBack "a node went back to the old program",
    UpgradeReachedLevel "the level was raised when all programs were new",
    OldProgramHalted "an old program met a level beyond it and halted",
    HelloRefused "a node hung up on a program that cannot do what is in force",
    FrameRefused "a frame that was damaged, astray or old was refused",
    FrameCut "a frame that ended too early was refused",
    RequestUnknown "a request's outcome was unknown",
    JointElection "a leader was elected in a joint phase",
    MembershipUndone "a membership was undone with its entry",
    RemovedLeaderLeft "a leader that was removed stepped down",
    LearnerPromoted "a learner that had caught up got its vote",
    ReplacedAfterLoss "a voter that lost its disk was replaced by its new life",
    LearnerInstalled "a snapshot brought a learner up",
    OldDiskIgnored "the word of another life of a disk was ignored",
    ChangeRepeated "a change of the membership was found done when it was ordered again",
    ChangeCancelled "a change of the membership was cancelled",
    ChangeRefused "a change of the membership was refused beside another",
    MemberAgain "a removed node belonged to the cluster again",
    JobCancelled "a job was cancelled",
    LeftToOthers "a job was left, and went on for others",
    RunCancelled "a job was cancelled while a worker ran it",
    LeftBefore "a job was left by who did not wait for it",
    Redriven "a dead letter was redriven",
    DependentsRedriven "what had failed for want of a dead letter was redriven with it",
    RedrivenBefore "a dead letter that was redriven was not redriven again",
    RedriveOutdated "a dead letter was outdated when it was to be redriven",
    RedriveNeeds "a dead letter was not redriven for want of what it needs",
    LetterPurged "a dead letter was purged",
    LetterNotKept "a dead letter that was purged was not redriven",
    KeptUrgent "a job stayed as urgent as one that depends on it",
    QueuePaused "a queue was paused",
    PausedRefused "a claim of a paused job was refused",
    WorkerExpelled "a worker was expelled",
    KnownFailure "a request was answered by an earlier failure for good",
    AccountFull "as many jobs ran as may",
    LimitedRefused "a claim was refused because its account had no room",
    TenantFull "a tenant had as many unfinished jobs as it may",
    EngineBroken "an engine was held for broken",
    BrokenRefused "a claim was refused because its engine was held for broken",
    EngineProbed "a broken engine was tried",
    EngineMended "a broken engine was found to work",
    PromotedUnasked "a learner was promoted without an order",
    ReplacedUnasked "a silent voter was replaced by a learner without an order",
    StoodStill "a leader came back from standing still and led on",
    LetterExplained "a dead letter named every attempt at its job",
    SessionExpired "a session expired, and a request in it was refused",
    CacheAnswered "what came from the cache was held against what was made",
    StaleServed "something older answered at once",
    NotCached "a request that takes only what is there got nothing",
    Refreshed "something was asked for anew",
    Invalidated "results were made invalid",
    Evicted "a result was evicted",
    EvictionRefused "a result was not evicted for a job depends on it",
    RolesPut "it was said who may do what",
    Denied "a request was denied before it was an entry",
    DeniedAtApply "an entry was denied where it was applied",
    DenialsTold "an entry told what was denied",
    ClaimWeighed "several workers were considered for a job and did not get it",
    EditMerged "an edit was merged with what its author had not seen",
    EditsContradict "edits contradicted each other",
    ConflictResolved "a conflict between edits was resolved",
    EditKnown "an edit came again",
    EditDominated "an edit that brought nothing new was dropped",
    EditAhead "an edit came before what its author had seen",
    RevisionMoved "an edit of an older revision was refused",
    AwaitedToTheEnd "somebody waited for jobs until the last was over",
    AwaitedNewer "somebody who waited for a job was told how a newer input ended",
    AwaitedThroughChange "somebody waited for jobs at a node through a change of leader",
    ResultReplaced "a result was in the history of its address",
    ListedInPages "the jobs that are not over were more than a page",
    AwaitedLaterThanHeld "somebody was told that a job is not over, when the hold time was",
    RunTogether "jobs were given out to be run together",
    EndedBeforeItsRun "a job that ran with others had an end of its own",
    RunFailed "a run of several jobs failed as a whole",
    LostWithItsRun "a worker was lost with jobs that it ran together",
    SparedTriedAgain "a job that failed with others was tried alone",
    EngineNeeds "an engine needed more of a worker than a slot",
    UnfitRefused "a worker was not given a job for what it lacked",
    MemoryFull "a worker's memory was all in use",
    QueuedLocally "a client was told that a node keeps its request",
    LocalQueueFull "a node could keep no more requests",
    KeptThroughRestart "a node came back with a request that it had promised to keep",
    LocalSettled "a leader had done what another node kept",
    LocalRefused "a leader refused for good what another node kept",
    SourceHeld "a job counted on a text that is kept",
    SourceDropped "a text that was kept made way for others",
    SourcesFull "there was no room for texts beside those that jobs count on",
    BackupRestored "a cluster was founded with what another one had saved",
    RestoredWithLeases "jobs were run when what a cluster was founded with was saved",
    RestoredGoesOn "a cluster that was founded with a backup took a request",
}

/// How often each mark was reached, in the order of [`Mark::ALL`].
#[derive(Clone, Debug)]
pub struct Marks(Vec<u64>);

impl Default for Marks {
    fn default() -> Marks {
        Marks(vec![0; Mark::ALL.len()])
    }
}

impl Marks {
    /// It was reached.
    pub fn hit(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// The counts.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.0
    }
}
