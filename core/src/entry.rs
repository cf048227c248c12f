//! What the log holds and what a voter must never forget. The log does not
//! know what its entries mean: a body is bytes.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::ids::{LogIndex, NodeId, Term};

/// One entry of the replicated log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogEntry {
    /// Where it stands.
    pub index: LogIndex,
    /// The term of the leader that appended it.
    pub term: Term,
    /// The encoded [`crate::command::Entry`].
    pub body: Bytes,
}

/// What a voter must have on disk before it speaks of it: term and vote are
/// one atomic record (Raft §5.2, "Persistent state on all servers").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Who got this node's vote in that term.
    pub vote: Option<NodeId>,
    /// The highest index known to be committed when this was written. A hint
    /// for recovery: an entry at or below it may never be taken for a torn tail.
    pub commit: LogIndex,
}
