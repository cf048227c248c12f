//! The numbers with a meaning. Each is a type of its own, so that a term can
//! never stand where an index is asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub fn next(self) -> $name {
                $name(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_number(f, $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// The most digits of a number.
const DIGITS_MAX: usize = 20;

/// Writes a prefix and a number: every entry's record names some, by the thousand.
fn write_number(f: &mut fmt::Formatter<'_>, prefix: &str, number: u64) -> fmt::Result {
    let mut digits = [b'0'; DIGITS_MAX];
    let (mut at, mut left) = (DIGITS_MAX, number);
    while at == DIGITS_MAX || left > 0 {
        at -= 1;
        digits[at] += (left % 10) as u8;
        left /= 10;
    }
    let digits = str::from_utf8(&digits[at..]).expect("digits are ASCII");
    f.write_str(prefix)?;
    f.write_str(digits)
}

id!(/// A voter of the cluster. Given by the operator, from 1.
    NodeId, "n");
id!(/// One life of a node's data directory, drawn at random when it is made: what
    /// an earlier life acknowledged says nothing about this one's disk.
    Incarnation, "life");
id!(/// A Raft term. 0 is before the first election.
    Term, "t");
id!(/// A position in the replicated log, from 1; 0 is before the first entry.
    LogIndex, "i");
id!(/// A request for one context. Ordered by acceptance.
    JobId, "j");
id!(/// A worker, chosen by the worker itself.
    WorkerId, "w");
id!(/// One life of a worker's process: a restart takes a higher one.
    WorkerIncarnation, "inc");
id!(/// A client's session: the log index of the entry that opened it.
    SessionId, "s");
id!(/// A request's number within its session, from 1.
    Sequence, "q");
id!(/// Names a caller of this node who awaits an answer. Never leaves the node.
    Ticket, "ticket");
id!(/// Names a write to the log, in order of issue. Never leaves the node.
    WriteId, "write");
id!(/// Names a read of old log entries. Never leaves the node.
    ReadId, "read");
id!(/// Names work that is done beside the turns. Never leaves the node.
    WorkId, "work");
id!(/// Counts the requests that a node keeps for its clients. Never leaves the node.
    LocalNumber, "kept");
id!(/// Counts jobs as they reach a terminal state: the cursor of the feed of finished jobs.
    FinishNumber, "f");

id!(/// Who edits contexts, in version vectors: a node or a client, by a number that
    /// nobody else uses and that it keeps as long as its counter. 0 is the log.
    ActorId, "a");
id!(/// Counts what changed of what people say of a context; 0 where nobody said anything.
    Revision, "rev");

impl ActorId {
    /// The author of edits that say which revision they were made of: the log
    /// counts them.
    pub const LOG: ActorId = ActorId(0);
}

impl Incarnation {
    /// Of a host that does not tell lives apart: it is never held against a member.
    pub const UNTOLD: Incarnation = Incarnation(0);
}

impl LogIndex {
    /// The index before this one.
    ///
    /// # Panics
    /// At index 0, which has none before it.
    #[must_use]
    pub fn prev(self) -> LogIndex {
        LogIndex(
            self.0
                .checked_sub(1)
                .expect("only index 0 has no index before it"),
        )
    }
}

/// The fencing token of a lease: where in the log its claim stands. Strictly
/// increasing, per job and over the cluster (Kleppmann, "How to do distributed
/// locking", 2016).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The entry that claimed.
    pub index: LogIndex,
    /// The claim's position within that entry.
    pub position: u32,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index.0, self.position)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {self}")
    }
}

/// Names one request of one session: a resend through any node takes effect once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId {
    /// The session.
    pub session: SessionId,
    /// The number within it.
    pub sequence: Sequence,
}

/// Names a node's question of how far it must have applied, and covers all reads
/// that the node wanted to answer until then. Each question takes a fresh one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadNumber {
    /// Drawn at random by the node's process: an answer to a former process of
    /// the same node is no answer to this one.
    pub life: u64,
    /// Counts the questions of that process, from 1.
    pub count: u64,
}

impl fmt::Display for ReadNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.count)
    }
}

impl fmt::Debug for ReadNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} of {:016x}", self.life)
    }
}

/// Which cluster: chosen at its founding, checked at every border.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);
