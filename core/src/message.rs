//! What voters say to each other. Names as in the Raft dissertation (Ongaro, 2014).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bounded::list;
use crate::bytes::Bytes;
use crate::digest::{Digest, StateHash};
use crate::entries::Entries;
use crate::ids::{Incarnation, LogIndex, ReadNumber, RequestId, Term};
use crate::limits::BODIES_FETCH_MAX;
use crate::snapshot::SnapshotMeta;
use crate::status::Health;
use crate::time::Span;

/// A message between voters. The connection proves from whom and to whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// The sender's term; for a pre-vote and its grant, the term the candidate would take.
    pub term: Term,
    /// Which life of its disk the sender has: what an earlier life acknowledged
    /// must not count for this one.
    pub incarnation: Incarnation,
    /// What it says.
    pub body: Body,
}

/// The last entry of a log: what an election compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LogPosition {
    /// The entry's term: compared first. The derived order is not used on purpose:
    /// see [`LogPosition::is_behind`].
    pub term: Term,
    /// The entry's index.
    pub index: LogIndex,
}

impl LogPosition {
    /// Is this log less up to date than `other` (Raft §5.4.1)?
    #[must_use]
    pub fn is_behind(self, other: LogPosition) -> bool {
        (self.term, self.index) < (other.term, other.index)
    }
}

/// The digest of the replicated state after an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StateHashAt {
    /// After which entry.
    pub index: LogIndex,
    /// The state's hash.
    pub hash: StateHash,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Body {
    /// Would you vote for me (dissertation §9.6)? Changes nothing at the receiver.
    PreVote {
        /// The end of the sender's log.
        last: LogPosition,
    },
    /// The answer.
    PreVoteReply {
        /// Yes.
        granted: bool,
    },
    /// Vote for me.
    Vote {
        /// The end of the sender's log.
        last: LogPosition,
        /// The old leader asked for this election: do not wait for its timeout (§3.10).
        transfer: bool,
    },
    /// The answer.
    VoteReply {
        /// Yes.
        granted: bool,
    },
    /// Entries, or none: then a heartbeat.
    Append(Append),
    /// The answer.
    AppendReply(AppendReply),
    /// Stand for election now: the sender hands over (§3.10).
    TimeoutNow,
    /// The follower lacks what the leader's log no longer holds: this snapshot
    /// stands for it. Said again until the follower has caught up.
    SnapshotOffer(SnapshotMeta),
    /// The follower asks for bytes of a snapshot's image.
    SnapshotFetch {
        /// Which snapshot.
        index: LogIndex,
        /// From which byte on.
        offset: u64,
    },
    /// The leader's answer.
    SnapshotPiece {
        /// Which snapshot.
        index: LogIndex,
        /// From which byte on.
        offset: u64,
        /// The bytes; none if the leader has no such snapshot any more.
        piece: Option<Piece>,
    },
    /// The follower asks for bodies that the snapshot's state speaks of.
    BodiesFetch {
        /// Their digests.
        #[serde(deserialize_with = "list::<_, _, BODIES_FETCH_MAX>")]
        digests: Vec<Digest>,
    },
    /// The leader's answer: some of them, as many as fit a message.
    Bodies {
        /// The bodies.
        #[serde(deserialize_with = "list::<_, _, BODIES_FETCH_MAX>")]
        bodies: Vec<Bytes>,
    },
    /// A voter's answer, beside its refusal, to a pre-vote for a log that is
    /// behind: what the candidate lacks. It may be the only node that reaches
    /// a majority, and no other could then be elected.
    Lend(Loan),
    /// The receiver is no member any more.
    Removed {
        /// Since which entry.
        since: LogIndex,
    },
    /// How far must the sender have applied to answer what it was asked so far (§6.4)?
    ReadIndex {
        /// Names the question.
        number: ReadNumber,
    },
    /// The leader's answer, when a majority has confirmed that it led after the question.
    ReadIndexReply {
        /// The question's number.
        number: ReadNumber,
        /// So far.
        index: LogIndex,
    },
    /// A node sends its leader a client's request that it keeps. The entry names
    /// the request, so it takes effect once however often it is sent.
    Forward {
        /// Drawn at random for each sending: an answer to an earlier one says nothing
        /// of this one, unless it is final.
        attempt: u64,
        /// The encoded entry that the client wants. The leader dates it.
        entry: Bytes,
    },
    /// The answer.
    Forwarded {
        /// Which request.
        request: RequestId,
        /// Which sending.
        attempt: u64,
        /// What became of it.
        end: ForwardEnd,
    },
}

/// What became of a request that was sent to the leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ForwardEnd {
    /// It is committed and applied, be it as a resend: it needs not be sent again.
    Settled {
        /// As of which entry of the log.
        index: LogIndex,
    },
    /// It changed nothing and never will.
    Refused {
        /// Why: at most [`crate::limits::MESSAGE_BYTES_MAX`] bytes, for people.
        why: String,
    },
    /// It is not known to have changed anything: send it again.
    Again {
        /// After this time.
        after: Span,
    },
}

/// Some bytes of a snapshot's image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// The bytes.
    pub bytes: Bytes,
    /// The image ends with them.
    pub last: bool,
}

/// A piece of a voter's log for a candidate that is behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Loan {
    /// The entry before the first of `entries`, where the logs may agree.
    pub previous: LogPosition,
    /// What follows it in the sender's log, consecutive; at least one.
    pub entries: Entries,
}

/// The leader's message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Append {
    /// The entry before the first of `entries`.
    pub previous: LogPosition,
    /// New entries, consecutive.
    pub entries: Entries,
    /// What the leader has committed.
    pub commit: LogIndex,
    /// Every voter has all up to here, durably: it may leave the log.
    pub held_by_all: LogIndex,
    /// Counts the leader's heartbeat rounds, so that an answer can be dated.
    pub round: u64,
    /// The leader's state at some applied index, to be compared. Shared by all
    /// appends that carry it, so that they are small.
    pub state_hash: Option<Arc<StateHashAt>>,
}

/// A follower's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AppendReply {
    /// The round of the message that is answered.
    pub round: u64,
    /// What became of it.
    pub result: AppendResult,
    /// How well the follower is: the leader's successor is chosen by it.
    pub health: Health,
    /// The longest that the follower waits from now on for the leader's next word.
    pub patience: Span,
}

/// What became of an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AppendResult {
    /// The follower's log equals the leader's.
    Matched {
        /// Up to here, on disk or not.
        verified: LogIndex,
        /// Up to here on disk for good: only this counts for a quorum.
        durable: LogIndex,
    },
    /// The entry before is missing or another.
    Conflict {
        /// The index that was checked.
        previous: LogIndex,
        /// The leader should try from after here: the last entry of the
        /// follower's log that may agree (Raft §5.3, accelerated back-up).
        hint: LogPosition,
        /// Durable records were damaged: what it confirmed behind `hint` it may
        /// not have any more. Until it has, it does not vote.
        repairing: bool,
    },
}
