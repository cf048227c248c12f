//! What the log holds and what a voter must never forget. The log does not
//! know what its entries mean: a body is bytes.

use std::fmt;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64 as Hasher;

use crate::bytes::Bytes;
use crate::ids::{LogIndex, NodeId, Term};

/// One entry of the replicated log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogEntry {
    /// Where it stands.
    pub index: LogIndex,
    /// The term of the leader that appended it.
    pub term: Term,
    /// The hash of the whole log before it: two logs with an equal hash at an
    /// index are equal up to there.
    pub chain: ChainHash,
    /// Whom the body is for.
    pub kind: EntryKind,
    /// The encoded [`crate::command::Entry`] or [`crate::membership::Membership`].
    pub body: Bytes,
}

impl LogEntry {
    /// The hash of the log up to and with this entry.
    #[must_use]
    pub fn chain_after(&self) -> ChainHash {
        let mut link = [0; 25];
        link[..8].copy_from_slice(&self.index.0.to_le_bytes());
        link[8..16].copy_from_slice(&self.term.0.to_le_bytes());
        link[16..24].copy_from_slice(&Hasher::oneshot(&self.body).to_le_bytes());
        link[24] = self.kind as u8;
        ChainHash(Hasher::oneshot_with_seed(self.chain.0, &link))
    }
}

/// The hash of a log up to an index: XXH3 of each entry, seeded with that of
/// the one before. It finds logs that differ by accident; against a forger
/// stand the connections, and the audit chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct ChainHash(pub u64);

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whom an entry's body is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EntryKind {
    /// The state machine.
    Command,
    /// Consensus itself: who belongs to the cluster from here on.
    Membership,
}

impl EntryKind {
    /// The kind with this number on the wire.
    #[must_use]
    pub fn of(code: u8) -> Option<EntryKind> {
        [EntryKind::Command, EntryKind::Membership]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }
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
    /// Durable entries of this node were damaged: until its log holds again
    /// what is committed up to here, it neither votes nor leads, for it may
    /// have acknowledged entries that it no longer has ("Protocol-aware
    /// recovery", FAST'18). Only the recovery of a log sets it; who clears it
    /// does so in a write after the one that made those entries durable.
    pub repairing: Option<LogIndex>,
}

impl HardState {
    /// Whether `next` may follow this: terms and commit never go back, a vote
    /// once given in a term stays given, and a repair only ends.
    #[must_use]
    pub fn may_become(&self, next: &HardState) -> bool {
        let repair = next.repairing.is_none() || next.repairing == self.repairing;
        repair && next.commit >= self.commit && self.is_kept_by(next)
    }

    /// Whether `next` keeps the term and the vote that this one promised.
    #[must_use]
    pub fn is_kept_by(&self, next: &HardState) -> bool {
        let keeps_vote = self.vote.is_none() || next.vote == self.vote;
        next.term > self.term || next.term == self.term && keeps_vote
    }
}

/// Everything that one turn wants durable: applied in the order of the fields,
/// made durable by one sync.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteBatch<'a> {
    /// A changed term, vote or commit.
    pub hard_state: Option<HardState>,
    /// Forget the entries from here on: a new leader's log has others there.
    pub truncate_from: Option<LogIndex>,
    /// Or forget them all: a snapshot that ends with this entry stands for them.
    pub reset: Option<(LogIndex, Term)>,
    /// Entries that follow the last one.
    pub entries: &'a [LogEntry],
}
