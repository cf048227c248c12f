//! Deliberate violations of the protocol, each of which the simulator must
//! find. Compiled only with the feature `planted-bugs`, which no release build
//! has; chosen at run time, one at a time, by [`crate::config::Config::planted`].

use std::collections::BTreeSet;

use crate::config::Config;
use crate::ids::{LogIndex, NodeId};
use crate::membership::{Membership, Seat};

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
    /// A late write completion confirms rewritten entries. Found by committed never lost.
    LateCompletionCounts,
    /// An append is taken without checking the entry before it. Found by log matching.
    SkipLogCheck,
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
        Bug::ImageSeesLaterChange,
        Bug::ReadBeforeOwnCommit,
        Bug::ReadWithoutQuorum,
        Bug::ReadConfirmedByOldRound,
        Bug::ReadIgnoresApplied,
        Bug::AgeIgnoresApplied,
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
    ];
}

/// The voters of one half, and whoever else a bug counts among them.
fn half(membership: &Membership, is_in: impl Fn(NodeId, Seat) -> bool) -> Vec<NodeId> {
    let members = membership.iter();
    let counted = members.filter(|(node, member)| is_in(*node, member.seat));
    counted.map(|(node, _)| node).collect()
}

fn is_old(seat: Seat) -> bool {
    matches!(seat, Seat::Voter | Seat::Outgoing { .. })
}

fn is_new(seat: Seat) -> bool {
    matches!(seat, Seat::Voter | Seat::Incoming)
}

/// How far a majority has come, if a bug counts it wrongly.
pub(crate) fn reached(
    config: &Config,
    membership: &Membership,
    durable: impl Fn(NodeId) -> LogIndex,
) -> Option<LogIndex> {
    // Of so many voters a majority, among those who are counted.
    let at = |voters: usize, counted: Vec<NodeId>| {
        let mut indexes: Vec<LogIndex> = counted.into_iter().map(&durable).collect();
        indexes.sort_unstable();
        indexes
            .iter()
            .rev()
            .nth(voters / 2)
            .copied()
            .unwrap_or_default()
    };
    let halves = |also: &dyn Fn(NodeId, Seat) -> bool| {
        [is_old, is_new].map(|is_in: fn(Seat) -> bool| {
            let voters = half(membership, |_, seat| is_in(seat)).len();
            at(
                voters,
                half(membership, |node, seat| is_in(seat) || also(node, seat)),
            )
        })
    };
    let [old, new] = match config.planted? {
        Bug::LearnerCounted => halves(&|_, seat| matches!(seat, Seat::Learner(_))),
        Bug::RemovedLeaderCounts => halves(&|node, _| node == config.node),
        Bug::JointOverUnion => {
            let union = half(membership, |_, seat| is_old(seat) || is_new(seat));
            [at(union.len(), union); 2]
        }
        _ => return None,
    };
    Some(old.min(new))
}

/// Is a candidate elected, if a bug counts it wrongly?
pub(crate) fn is_elected(
    config: &Config,
    membership: &Membership,
    granted: &BTreeSet<NodeId>,
) -> Option<bool> {
    let union = half(membership, |_, seat| is_old(seat) || is_new(seat));
    match config.planted? {
        Bug::JointOverUnion => {
            let given = union.iter().filter(|node| granted.contains(node));
            Some(given.count() * 2 > union.len())
        }
        Bug::RemovedVoteCounts => Some(granted.len() * 2 > union.len()),
        _ => None,
    }
}
