//! Deliberate violations of the protocol, each of which the simulator must
//! find. Compiled only with the feature `planted-bugs`, which no release build
//! has; chosen at run time, one at a time, by [`crate::config::Config::planted`].

/// One way to break a rule. The comment names the checker that must notice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
    /// A vote leaves before it is durable. Found by election safety.
    VoteBeforeDurable,
    /// A second vote in the same term. Found by election safety.
    VoteTwice,
    /// A vote for a log that is behind. Found by committed never lost.
    VoteForStaleLog,
    /// A follower acknowledges entries before they are durable. Found by committed never lost.
    AckBeforeDurable,
    /// The leader commits with one vote too few. Found by committed never lost.
    QuorumOffByOne,
    /// A leader commits an older term's entry by counting (Raft figure 8). Found by committed never lost.
    CommitOldTermByCounting,
    /// An append truncates although its entries agree. Found by committed never lost.
    TruncateAgreeing,
    /// A late write completion confirms rewritten entries. Found by committed never lost, or record format.
    LateCompletionCounts,
    /// An append is taken without checking the entry before it. Found by log matching.
    SkipLogCheck,
    /// A candidate gives entries up for a loan in the term in which it may have confirmed them. Found by committed never lost.
    LoanInSameTerm,
    /// A job is dispatched before its claim is committed. Found by dispatch implies a committed claim.
    DispatchBeforeCommit,
    /// Any token completes a job. Found by the token checker.
    IgnoreToken,
    /// A terminal job can be completed again. Found by one terminal state.
    CompleteTwice,
    /// A resent request takes effect again. Found by one effect per request.
    ForgetSession,
    /// A job starts before its dependencies are done. Found by dependencies before dependents.
    IgnoreDependencies,
    /// Two jobs of one context run at once. Found by one running per context.
    RunContextTwice,
    /// A replica's state depends on which node it is. Found by equal state hash.
    DivergeOnNode,
    /// A new leader expires every lease at once. Found by the reattach checker.
    ExpireAtTakeover,
    /// A request is answered before its entry is committed. Found by accepted never lost.
    AnswerBeforeCommit,
    /// A leader takes proposals while it hands over. Found by the hand-over checker.
    YieldingLeaderAppends,
    /// A successor is told to stand before it has everything. Found by the hand-over checker.
    HandOverToLaggard,
    /// A leader whose disk is silent does not give way. Found by the sick leader checker.
    SickLeaderStays,
    /// A question for a pre-vote delays the asked node's own candidacy. Found by the timer checker.
    PreVoteResetsTimer,
    /// A refused vote delays the voter's own candidacy. Found by the timer checker.
    VoteRequestResetsTimer,
    /// A learner is told to stand, and does. Found by voters stand.
    LearnerCampaigns,
    /// A node with a damaged log votes. Found by repair before vote.
    RepairingVotes,
    /// A snapshot is put in force without the bodies that it speaks of. Found by snapshot is the state.
    InstallWithoutBodies,
    /// A snapshot is put in force without the sources that it speaks of. Found by snapshot is the state.
    InstallWithoutSources,
    /// Who installs a snapshot asks for ever for bodies that its leader has no more. Found by liveness.
    WaitsForGoneBodies,
    /// A restored cluster goes on with the numbers of the one that it was restored from. Found by numbers of a restored cluster.
    RestoredInOldEra,
    /// A source that an unfinished job is to be made of makes way for others. Found by kept sources.
    UsedSourceDropped,
    /// A source goes from the disk although the snapshot there speaks of it. Found by kept sources.
    SourceDroppedTooSoon,
    /// A snapshot drops the log behind it although that follows it. Told by scripts.
    InstallDropsTail,
    /// A follower that reads a snapshot for long says nothing of it. Told by scripts.
    QuietReader,
    /// A snapshot that was put in force after the log was faster is not known here. Found by snapshot is the state.
    OvertakenInstallForgotten,
    /// A snapshot under way sees what changes meanwhile. Found by snapshot is the state.
    ImageSeesLaterChange,
    /// A leader confirms reads before an entry of its own term is committed. Found by fresh reads.
    ReadBeforeOwnCommit,
    /// A leader confirms reads without asking anybody. Found by fresh reads.
    ReadWithoutQuorum,
    /// Answers to an earlier round confirm a later read. Found by fresh reads.
    ReadConfirmedByOldRound,
    /// A node answers a confirmed read before it has applied as far. Found by fresh reads.
    ReadIgnoresApplied,
    /// A stale answer's age counts from the leader's last word, whatever that was. Found by honest age.
    AgeIgnoresApplied,
    /// An unsafe recovery is made although a majority is reachable. Found by honest recovery.
    RecoveryDespiteMajority,
    /// The report of an unsafe recovery says that nothing is lost. Found by honest recovery.
    RecoveryHidesLoss,
    /// The word of another life of a disk counts. Found by committed never lost.
    StaleIncarnationCounts,
    /// A learner's confirmation counts for a commit. Found by committed never lost.
    LearnerCounted,
    /// A membership stays in force when its entry is truncated. Found by membership in log.
    ConfigNotUndone,
    /// A joint phase needs a majority of all its voters together. Found by committed never lost.
    JointOverUnion,
    /// A membership is in force when its entry is committed, and not before. Found by membership in log.
    ConfigOnCommit,
    /// A leader that removes itself counts itself among those who stay. Found by committed never lost.
    RemovedLeaderCounts,
    /// A snapshot has the membership of the log's end. Found by membership in log.
    SnapshotConfigAhead,
    /// Votes of those who were removed count. Found by elected by members.
    RemovedVoteCounts,
    /// Damage at a log's end is taken for a tail that nobody was told of. Found by record format.
    CorruptTailTreatedAsTorn,
    /// A late copy of a leader's word proves that it lives. Found by the timer checker.
    LateRoundsCountAsLife,
    /// A leader changes the membership before an entry of its own is committed. Found by one change at a time.
    ChangeBeforeOwnCommit,
    /// A leader begins a change before the one before is committed. Found by one change at a time.
    TwoChangesAtOnce,
    /// A leader raises the feature level as soon as its own program can do it. Found by level of all.
    FeatureBeforeAll,
    /// A node speaks its highest wire version whatever was agreed on. Found by agreed wire.
    VersionNotAgreed,
    /// A queue of the most urgent class pays nothing for a turn. Found by the wait bound.
    UrgentPaysNothing,
    /// A queue that was empty comes back with the pass that it left with. Found by the wait bound.
    ReturningQueueFloods,
    /// A shape that nobody could take makes up for it when somebody can. Found by the wait bound.
    ReturningShapeFloods,
    /// A job that is tried again goes behind all others of its queue. Found by order in a queue.
    RetriedGoesLast,
    /// A session that leaves a job again leaves it in place of another. Found by wanted jobs.
    LeftTwice,
    /// A job ends when one of those who wait for it leaves. Found by wanted jobs.
    LeavingEndsAll,
    /// A job that nobody wants any more goes on. Found by wanted jobs.
    UnwantedGoesOn,
    /// A claim of a paused job is granted. Found by nothing paused is given out.
    PauseIgnored,
    /// A dead letter that was redriven can be redriven again. Found by redriven once.
    RedrivenTwice,
    /// A redriven job counts as the newest input of its context. Found by pointer forward.
    RedriveIsNewest,
    /// A job is made less urgent than one that depends on it. Found by urgency.
    LoweredBelowDependents,
    /// A worker that is expelled keeps its jobs. Found by expelled workers hold nothing.
    ExpelledHoldsOn,
    /// Jobs are given out beyond what their accounts may use. Found by limited work.
    LimitIgnored,
    /// A job that is given out takes no token. Found by limited work.
    BucketNeverEmpty,
    /// An engine that fails is used all the same. Found by broken engines.
    BreakerStaysClosed,
    /// A broken engine that fails again counts as working. Found by broken engines.
    FailedProbePasses,
    /// A failure for good answers requests for other inputs. Found by known failures.
    FailureOfAnotherInput,
    /// What is invalid answers requests all the same. Found by cache as asked.
    InvalidatedAnswers,
    /// Something older answers, however old it is. Found by cache as asked.
    StaleBeyondAge,
    /// A request for something anew is answered by what is there. Found by cache as asked.
    RefreshFindsOld,
    /// Results are evicted that jobs depend on. Found by evictions.
    EvictsDependedOn,
    /// A leader that stood still takes that for its workers' silence. Found by leaders that stood still.
    StallBlamesWorkers,
    /// A learner that lacks much is promoted unasked. Found by unasked promotions.
    PromotesLaggard,
    /// A learner is promoted unasked although that makes the voters even. Found by unasked promotions.
    PromotesToEven,
    /// A voter that is heard is replaced unasked. Found by unasked promotions.
    ReplacesHeardVoter,
    /// A job's second attempt is not written down. Found by explained letters.
    AttemptForgotten,
    /// A job is tried once more than its crashes allow. Found by explained letters.
    CrashForgiven,
    /// A session's time is counted from its opening. Found by living sessions.
    SessionUseUnnoticed,
    /// What is asked in an expired session is done. Found by living sessions.
    ExpiredSessionServes,
    /// Who may do what is looked at by the leader alone, and not where it is applied.
    RolesIgnoredAtApply,
    /// A worker may speak for another's token.
    ForeignTokenTaken,
    /// Whoever knows its number may use a session.
    ForeignSessionUsed,
    /// Each denial has an entry of its own.
    DenialPerAttempt,
    /// Workers whose owner may not run jobs any more are given some.
    RevokedWorkerServed,
    /// An edit whose author had not seen everything has no effect. Found by merged edits.
    ConcurrentEditDropped,
    /// An edit that was merged long ago is merged again. Found by merged edits.
    DominatedEditApplied,
    /// Of edits that contradict each other only what the rule chose is kept. Found by kept conflicts.
    ConflictForgotten,
    /// A tag is removed that whoever removed it had not seen. Found by merged edits.
    UnseenTagRemoved,
    /// An edit of an older revision is taken. Found by merged edits.
    RevisionIgnored,
    /// Who waits for a job is told that it was superseded, and not how the newer input ended. Found by awaited jobs.
    AwaitEndsAtSuperseded,
    /// Who waits is not told when the last job ends. Found by awaited jobs.
    AwaitLooksOnce,
    /// A node says of jobs that it was not told of yet that there are none. Found by awaited jobs.
    AwaitIgnoresAfter,
    /// A job that is parked is not among those that are not over. Found by listed jobs.
    ParkedUnlisted,
    /// The second result that is replaced at an address is in no history. Found by past results.
    ReplacedForgotten,
    /// Jobs of different tenants are run together. Found by batches.
    BatchOfStrangers,
    /// A run that fails as a whole costs each of its jobs an attempt. Found by batches.
    BatchFailureCounts,
    /// A job that failed with others is run with others again. Found by batches.
    SparedAgain,
    /// Of a run that failed as a whole, only one job is taken back. Found by batches.
    MatesRunOn,
    /// Whoever runs jobs together waits for more without an end. Found by liveness.
    LingersForEver,
    /// A worker gets jobs whose engine needs what it has not. Found by fitted work.
    TagsIgnored,
    /// A worker gets jobs that together need more memory than it has. Found by fitted work.
    MemoryOvercommitted,
    /// Says that a request is kept before it is on disk. Found by the local queue.
    QueuedBeforeDurable,
    /// Sends the leader the last request that it keeps first. Found by the local queue.
    LocalQueueReversed,
    /// Lets a kept request go when it has sent it. Found by the local queue.
    LocalDroppedWhenSent,
    /// Never proposes what it kept itself when it comes to lead. Found by liveness.
    LeaderForgetsOwnQueue,
}

impl Bug {
    /// Every bug, in order.
    pub const ALL: &[Bug] = &[
        Bug::VoteBeforeDurable,
        Bug::VoteTwice,
        Bug::VoteForStaleLog,
        Bug::AckBeforeDurable,
        Bug::QuorumOffByOne,
        Bug::CommitOldTermByCounting,
        Bug::TruncateAgreeing,
        Bug::LateCompletionCounts,
        Bug::SkipLogCheck,
        Bug::LoanInSameTerm,
        Bug::DispatchBeforeCommit,
        Bug::IgnoreToken,
        Bug::CompleteTwice,
        Bug::ForgetSession,
        Bug::IgnoreDependencies,
        Bug::RunContextTwice,
        Bug::DivergeOnNode,
        Bug::ExpireAtTakeover,
        Bug::AnswerBeforeCommit,
        Bug::YieldingLeaderAppends,
        Bug::HandOverToLaggard,
        Bug::SickLeaderStays,
        Bug::PreVoteResetsTimer,
        Bug::VoteRequestResetsTimer,
        Bug::LearnerCampaigns,
        Bug::RepairingVotes,
        Bug::InstallWithoutBodies,
        Bug::InstallWithoutSources,
        Bug::WaitsForGoneBodies,
        Bug::RestoredInOldEra,
        Bug::UsedSourceDropped,
        Bug::SourceDroppedTooSoon,
        Bug::InstallDropsTail,
        Bug::QuietReader,
        Bug::OvertakenInstallForgotten,
        Bug::ImageSeesLaterChange,
        Bug::ReadBeforeOwnCommit,
        Bug::ReadWithoutQuorum,
        Bug::ReadConfirmedByOldRound,
        Bug::ReadIgnoresApplied,
        Bug::AgeIgnoresApplied,
        Bug::RecoveryDespiteMajority,
        Bug::RecoveryHidesLoss,
        Bug::StaleIncarnationCounts,
        Bug::LearnerCounted,
        Bug::ConfigNotUndone,
        Bug::JointOverUnion,
        Bug::ConfigOnCommit,
        Bug::RemovedLeaderCounts,
        Bug::SnapshotConfigAhead,
        Bug::RemovedVoteCounts,
        Bug::CorruptTailTreatedAsTorn,
        Bug::LateRoundsCountAsLife,
        Bug::ChangeBeforeOwnCommit,
        Bug::TwoChangesAtOnce,
        Bug::FeatureBeforeAll,
        Bug::VersionNotAgreed,
        Bug::UrgentPaysNothing,
        Bug::ReturningQueueFloods,
        Bug::ReturningShapeFloods,
        Bug::RetriedGoesLast,
        Bug::LeftTwice,
        Bug::LeavingEndsAll,
        Bug::UnwantedGoesOn,
        Bug::PauseIgnored,
        Bug::RedrivenTwice,
        Bug::RedriveIsNewest,
        Bug::LoweredBelowDependents,
        Bug::ExpelledHoldsOn,
        Bug::LimitIgnored,
        Bug::BucketNeverEmpty,
        Bug::BreakerStaysClosed,
        Bug::FailedProbePasses,
        Bug::FailureOfAnotherInput,
        Bug::InvalidatedAnswers,
        Bug::StaleBeyondAge,
        Bug::RefreshFindsOld,
        Bug::EvictsDependedOn,
        Bug::StallBlamesWorkers,
        Bug::PromotesLaggard,
        Bug::PromotesToEven,
        Bug::ReplacesHeardVoter,
        Bug::AttemptForgotten,
        Bug::CrashForgiven,
        Bug::SessionUseUnnoticed,
        Bug::ExpiredSessionServes,
        Bug::RolesIgnoredAtApply,
        Bug::ForeignTokenTaken,
        Bug::ForeignSessionUsed,
        Bug::DenialPerAttempt,
        Bug::RevokedWorkerServed,
        Bug::ConcurrentEditDropped,
        Bug::DominatedEditApplied,
        Bug::ConflictForgotten,
        Bug::UnseenTagRemoved,
        Bug::RevisionIgnored,
        Bug::AwaitEndsAtSuperseded,
        Bug::AwaitLooksOnce,
        Bug::AwaitIgnoresAfter,
        Bug::ParkedUnlisted,
        Bug::ReplacedForgotten,
        Bug::BatchOfStrangers,
        Bug::BatchFailureCounts,
        Bug::SparedAgain,
        Bug::MatesRunOn,
        Bug::LingersForEver,
        Bug::TagsIgnored,
        Bug::MemoryOvercommitted,
        Bug::QueuedBeforeDurable,
        Bug::LocalQueueReversed,
        Bug::LocalDroppedWhenSent,
        Bug::LeaderForgetsOwnQueue,
    ];
}
