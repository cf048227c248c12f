//! Interesting moments, counted: metrics of a node, goals of a simulation,
//! evidence of a test.

macro_rules! marks {
    ($($name:ident: $what:literal,)*) => {
        /// An interesting moment.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Mark {
            $(#[doc = $what] $name,)*
        }

        impl Mark {
            /// All of them, in order.
            pub const ALL: &[Mark] = &[$(Mark::$name,)*];

            /// What happened.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Mark::$name => $what,)* }
            }
        }
    };
}

marks! {
    PreVoteAsked: "a node asked for pre-votes",
    PreVoteRefused: "a pre-vote was refused",
    PreVoteGrantedToSuspicious: "a pre-vote was granted early because both lost the leader's connection",
    ElectionStarted: "a node asked for votes",
    ElectionWon: "a node became leader",
    VoteRefusedLogBehind: "a vote was refused to a log that is behind",
    VoteRefusedLeaderAlive: "a vote was ignored because the leader was heard lately",
    EntriesLent: "a voter lent a candidate what its log lacked",
    EntriesBorrowed: "a candidate took what its log lacked from a voter",
    LoanRefused: "a candidate could not use what a voter lent",
    SteppedDownHigherTerm: "a leader saw a higher term",
    SteppedDownNoQuorum: "a leader no longer heard a quorum",
    TailTruncated: "a follower dropped entries of a deposed leader",
    AppendConflict: "a follower refused an append for what stands before it",
    ReadFromDisk: "a leader read old entries from disk for a follower",
    ReadFailed: "old entries could not be read from disk",
    UnsafeRecoveryBegun: "an operator wanted a node to lead without a majority",
    UnsafeRecoveryRefused: "an unsafe recovery was refused",
    UnsafeRecoveryMade: "a node led the survivors of a lost majority",
    CandidateWaitsForItsVote: "a candidate's round was over before its own vote was written",
    CandidacyPostponed: "a node that was not well let others stand for election first",
    RepairingAbstained: "a node with a damaged log abstained from an election",
    FollowerRepaired: "a leader began to send a damaged follower again what it had confirmed",
    RepairEnded: "a damaged log was whole again",
    SnapshotOffered: "a leader offered a snapshot to a follower that lacks what its log no longer holds",
    OfferRefused: "a follower refused the offer of a snapshot with members that cannot be",
    SnapshotGone: "a follower asked for a snapshot that its leader no longer has",
    SnapshotReceived: "a follower has the whole image of its leader's snapshot",
    SnapshotRefused: "a follower began a transfer anew: what it got was no snapshot",
    SnapshotAbandoned: "a follower caught up by the log before its snapshot was whole",
    SnapshotInstalled: "a follower took a snapshot in place of its log",
    SnapshotKeptLog: "a follower had the snapshot's last entry already and kept its log",
    TransferResumed: "a follower went on with a transfer that a restart had cut short",
    LogCutBySlack: "the log's beginning was dropped although a member lacks it",
    StaleTermIgnored: "a message of an older term was answered or ignored",
    StaleRoundIgnored: "a candidate ignored a late copy of a leader's word",
    UnknownPeerIgnored: "a message from no voter was ignored",
    StaleIncarnationIgnored: "a reply of another life of a member's disk was ignored",
    StrangerTold: "a node that is no member asked for votes and was told so",
    LearnedOfRemoval: "a node learned that it is no member any more",
    MembershipAppended: "a leader appended a membership",
    MembershipUndone: "a membership was undone with its entry",
    JointPhaseLeft: "a leader ended a joint phase",
    LearnerPromoted: "a learner that had caught up began to get a vote",
    RemovedLeaderLeft: "a leader that had removed itself gave up its leadership",
    ChainMismatch: "entries of one message did not follow each other and were left out",
    HandOverStarted: "a leader began to hand over",
    HandOverSent: "a leader told its successor to stand for election",
    SuccessorReplaced: "a successor was lost and another took its place",
    GaveWay: "a leader that was not well began to hand over",
    SteppedDownStuck: "a leader whose disk did not answer stepped down",
    CatchUpWaits: "a follower waited for its turn to be read old entries",
    HandOverTimedOut: "a successor did not take over in time",
    ProposalRefused: "a proposal was refused for its bytes",
    ProposalUnknown: "a proposal's outcome was lost with the leadership",
    RequestWaited: "a request waited for a leader",
    RequestRedirected: "a request was sent to the leader's node",
    ResendAnswered: "a request that was done already was answered without an entry",
    RequestTimedOut: "a request waited too long",
    ReadsConfirmed: "a majority confirmed a leader's batch of reads",
    ReadForwarded: "a node asked its leader how far it must have applied to answer reads",
    ReadAskedAgain: "a node asked again for reads that were not confirmed in time",
    ReadExpired: "a read was refused because no leader confirmed it in time",
    TookOver: "a leader's first entry was applied",
    Reclaimed: "a new leader finished waiting for workers",
    LeaseExpired: "a lease of a silent worker was taken back",
    LoopStalled: "the host let much time pass between two turns",
    StateHashCompared: "a replica compared its state with the leader's",
    StateHashForgotten: "a state hash of a former leader was forgotten before it could be compared",
    SnapshotTaken: "a snapshot was asked for",
    SnapshotInParts: "a snapshot took more than one turn",
    SnapshotKeptRows: "rows changed while a snapshot was being taken, and were kept for it as they were",
    LogCompacted: "the log's beginning was dropped",
    LevelRaised: "the cluster's feature level was raised",
    WorkerStopped: "a job was cancelled while a worker ran it",
    AppliedBehind: "a turn left committed entries to the next",
    PromotedUnasked: "a leader promoted a learner that nobody had ordered it to promote",
    EvictionProposed: "a leader chose results to let go of",
    RequestDenied: "a request was denied, and only counted",
    DenialsNoted: "a leader told in one entry what was denied",
    AwaitAnswered: "a client that waited for the end of jobs was answered",
    AwaitBehind: "a client waited for jobs at a node that was not told of them in time",
    RequestQueuedLocally: "a node kept a request until there is a leader",
    LocalQueueFull: "a node could keep no more requests",
    LocalForwarded: "a node sent its leader a request that it kept",
    LocalForwardedAgain: "a node sent such a request again",
    LocalProposed: "a node that came to lead took up a request that it had kept",
    LocalSettled: "a leader accepted a request that a node had kept",
    LocalRefused: "a leader refused such a request for good",
    ForwardSenseless: "a member sent as a request what is none",
    ForwardTaken: "a leader took a request that another node kept",
}

/// How often each mark was hit.
#[derive(Clone, Debug)]
pub struct Marks([u64; Mark::ALL.len()]);

impl Default for Marks {
    fn default() -> Marks {
        Marks([0; Mark::ALL.len()])
    }
}

impl Marks {
    /// It happened.
    pub fn hit(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// How often it happened.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }
}
