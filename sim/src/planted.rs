//! Does the simulator find what it is for? Runs each planted bug until a judge
//! notices, and the healthy core over the same seeds, where none may.

use std::time::Duration;

use precentor_core::planted::Bug;

use crate::campaign::{Plan, Scenes, Summary, run, run_seed};
use crate::check::{Checker, Failure};
use crate::core_clock::CoreClock;
use crate::trace::Trace;

/// Which judges a bug's finder may be: what is found by another is found by
/// accident, or shows that a judge is wrong. None where scripts alone tell of it.
#[must_use]
pub fn expected(bug: Bug) -> &'static [Checker] {
    match bug {
        // A log must have a snapshot's last entry, and not know it as committed, just
        // when that is put in force: no world of the first thousands comes to it.
        Bug::InstallDropsTail => &[],
        // It costs a second snapshot, and no world goes on for ever.
        Bug::QuietReader => &[],
        Bug::VoteBeforeDurable => &[Checker::DurableFirst, Checker::ElectionSafety],
        Bug::VoteTwice => &[Checker::ElectionSafety],
        Bug::VoteForStaleLog => &[Checker::ElectionSafety, Checker::CommittedNeverLost],
        Bug::AckBeforeDurable => &[Checker::DurableFirst, Checker::CommittedNeverLost],
        // The record of a truncation tells of commits up to what is durable: where
        // that is too much, it speaks of the very entries that it takes away.
        Bug::LateCompletionCounts => &[
            Checker::DurableFirst,
            Checker::CommittedNeverLost,
            Checker::RecordFormat,
        ],
        Bug::QuorumOffByOne
        | Bug::CommitOldTermByCounting
        | Bug::LoanInSameTerm
        | Bug::LearnerCounted
        | Bug::RemovedLeaderCounts => &[Checker::CommittedNeverLost],
        Bug::TruncateAgreeing => &[
            Checker::CommittedNeverLost,
            Checker::DurableFirst,
            Checker::CoreAssertion,
        ],
        // Or the node itself comes to the gap in its log when it is to apply what is there.
        Bug::SkipLogCheck => &[
            Checker::LogMatching,
            Checker::CommittedNeverLost,
            Checker::CoreAssertion,
        ],
        Bug::DispatchBeforeCommit => &[Checker::DispatchAfterCommit],
        Bug::IgnoreToken => &[Checker::Tokens],
        Bug::CompleteTwice => &[Checker::OneTerminalState],
        Bug::ForgetSession => &[Checker::OneEffectPerRequest],
        Bug::IgnoreDependencies => &[Checker::Dependencies],
        // The state contradicts itself, too, as it does where a job is left twice: that
        // shows as soon as an image of it is read.
        Bug::RunContextTwice => &[Checker::OneRunningPerContext, Checker::SnapshotIsState],
        Bug::DivergeOnNode => &[Checker::EqualState],
        Bug::ExpireAtTakeover => &[Checker::Reattach],
        Bug::StallBlamesWorkers => &[Checker::StoodStill],
        Bug::AnswerBeforeCommit => &[Checker::AcceptedIsCommitted],
        Bug::YieldingLeaderAppends | Bug::HandOverToLaggard => &[Checker::HandOver],
        Bug::SickLeaderStays => &[Checker::SickLeader],
        Bug::PreVoteResetsTimer | Bug::VoteRequestResetsTimer | Bug::LateRoundsCountAsLife => {
            &[Checker::ElectionTimer]
        }
        Bug::LearnerCampaigns => &[Checker::VotersStand],
        Bug::RepairingVotes => &[Checker::RepairBeforeVote],
        Bug::InstallWithoutBodies
        | Bug::InstallWithoutSources
        | Bug::OvertakenInstallForgotten
        | Bug::ImageSeesLaterChange => &[Checker::SnapshotIsState],
        Bug::ReadBeforeOwnCommit
        | Bug::ReadWithoutQuorum
        | Bug::ReadConfirmedByOldRound
        | Bug::ReadIgnoresApplied => &[Checker::FreshReads],
        Bug::AgeIgnoresApplied => &[Checker::HonestAge],
        Bug::StaleIncarnationCounts | Bug::JointOverUnion => {
            &[Checker::CommittedNeverLost, Checker::ElectedByMembers]
        }
        Bug::RecoveryDespiteMajority | Bug::RecoveryHidesLoss => &[Checker::HonestRecovery],
        Bug::FeatureBeforeAll => &[Checker::LevelOfAll],
        Bug::VersionNotAgreed => &[Checker::AgreedWire],
        Bug::ConfigNotUndone | Bug::ConfigOnCommit | Bug::SnapshotConfigAhead => {
            &[Checker::MembershipInLog]
        }
        Bug::RemovedVoteCounts => &[Checker::ElectedByMembers],
        Bug::CorruptTailTreatedAsTorn => &[Checker::RecordFormat],
        Bug::UrgentPaysNothing | Bug::ReturningQueueFloods | Bug::ReturningShapeFloods => {
            &[Checker::WaitBound]
        }
        Bug::RetriedGoesLast => &[Checker::OrderInQueue],
        // Or a snapshot of a job that nobody wants cannot be read.
        Bug::LeftTwice | Bug::UnwantedGoesOn => &[Checker::WantedJobs, Checker::SnapshotIsState],
        Bug::LeavingEndsAll => &[Checker::WantedJobs],
        Bug::PauseIgnored => &[Checker::PausedWork],
        Bug::RedrivenTwice => &[Checker::RedrivenOnce],
        Bug::RedriveIsNewest => &[Checker::PointerForward],
        Bug::LoweredBelowDependents => &[Checker::Urgency],
        Bug::ExpelledHoldsOn => &[Checker::Expelled],
        Bug::SessionUseUnnoticed => &[Checker::SessionLives],
        // Its replies are kept no more, so that a resend is done again; and who waits for a
        // job in a session that is gone, the state's own image denies.
        Bug::ExpiredSessionServes => &[
            Checker::SessionLives,
            Checker::OneEffectPerRequest,
            Checker::SnapshotIsState,
        ],
        Bug::AttemptForgotten | Bug::CrashForgiven => &[Checker::Explained],
        Bug::LimitIgnored | Bug::BucketNeverEmpty => &[Checker::LimitedWork],
        Bug::InvalidatedAnswers | Bug::StaleBeyondAge | Bug::RefreshFindsOld => {
            &[Checker::CacheAsAsked]
        }
        Bug::EvictsDependedOn => &[Checker::Evictions],
        Bug::FailureOfAnotherInput => &[Checker::KnownFailures],
        Bug::BreakerStaysClosed | Bug::FailedProbePasses => &[Checker::BrokenEngine],
        Bug::RolesIgnoredAtApply
        | Bug::ForeignTokenTaken
        | Bug::ForeignSessionUsed
        | Bug::RevokedWorkerServed => &[Checker::Access],
        Bug::DenialPerAttempt => &[Checker::BoundedDenials],
        Bug::ConcurrentEditDropped | Bug::DominatedEditApplied => &[Checker::MergedEdits],
        Bug::UnseenTagRemoved | Bug::RevisionIgnored => &[Checker::MergedEdits],
        Bug::ReplacedForgotten => &[Checker::PastResults],
        Bug::ParkedUnlisted => &[Checker::ListedJobs],
        Bug::BatchOfStrangers | Bug::BatchFailureCounts | Bug::SparedAgain | Bug::MatesRunOn => {
            &[Checker::Batches]
        }
        Bug::TagsIgnored | Bug::MemoryOvercommitted => &[Checker::FittedWork],
        Bug::RestoredInOldEra => &[Checker::Restored],
        Bug::UsedSourceDropped => &[Checker::KeptSources],
        // Or whoever is to install that snapshot waits for the source for ever.
        Bug::SourceDroppedTooSoon => &[Checker::KeptSources, Checker::Liveness],
        Bug::LingersForEver | Bug::WaitsForGoneBodies => &[Checker::Liveness],
        Bug::QueuedBeforeDurable | Bug::LocalQueueReversed | Bug::LocalDroppedWhenSent => {
            &[Checker::LocalQueue]
        }
        Bug::LeaderForgetsOwnQueue => &[Checker::Liveness],
        Bug::AwaitEndsAtSuperseded | Bug::AwaitLooksOnce | Bug::AwaitIgnoresAfter => {
            &[Checker::AwaitedJobs]
        }
        Bug::ConflictForgotten => &[Checker::KeptConflicts],
        Bug::PromotesLaggard | Bug::PromotesToEven | Bug::ReplacesHeardVoter => &[Checker::Unasked],
        Bug::ChangeBeforeOwnCommit | Bug::TwoChangesAtOnce => &[Checker::OneChangeAtATime],
    }
}

/// How a bug was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// How many seeds it took.
    pub seeds: u64,
    /// Core time, with the seeds before.
    pub time: Duration,
    /// Who found it, and what was seen.
    pub failure: Failure,
}

impl Found {
    /// Did a judge find it whose matter it is?
    #[must_use]
    pub fn is_by_expected(&self, bug: Bug) -> bool {
        expected(bug).contains(&self.failure.checker)
    }
}

/// Hunts one bug from a seed on; none if it was not found within the bounds.
#[must_use]
pub fn hunt(bug: Bug, from: u64, seeds_max: u64, time_max: Duration) -> Option<Found> {
    let started = CoreClock::start();
    for seed in from..from.saturating_add(seeds_max) {
        let failure = run_seed(seed, Some(bug), Trace::quiet()).failure;
        // What the healthy core does too is not this bug.
        let healthy = |_: &Failure| run_seed(seed, None, Trace::quiet()).failure.is_none();
        if let Some(failure) = failure.filter(healthy) {
            return Some(Found {
                seed,
                seeds: seed - from + 1,
                time: started.elapsed(),
                failure,
            });
        }
        if started.elapsed() >= time_max {
            return None;
        }
    }
    None
}

/// Runs the healthy core over seeds.
#[must_use]
pub fn healthy(from: u64, seeds: u64) -> Summary {
    run(Plan {
        scenes: Scenes::Any,
        from,
        seeds,
        time_max: None,
        threads: 1,
        planted: None,
        stop_at_first: false,
    })
}
