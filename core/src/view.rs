//! A node as an observer sees it: reads only.

use crate::entry::{ChainHash, LogEntry};
use crate::ids::{LocalNumber, LogIndex, NodeId, RequestId, Term};
use crate::log::TermAt;
use crate::manager::ContextManager;
use crate::marks::Marks;
use crate::membership::Membership;
use crate::message::{LogPosition, StateHashAt};
use crate::queue::QueueManager;
use crate::status::{PhaseName, RoleName, Status, Verdict};
use crate::time::{Span, Time};

/// A node, to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(pub(crate) &'a ContextManager);

impl<'a> View<'a> {
    /// Which node.
    #[must_use]
    pub fn node(self) -> NodeId {
        self.0.config().node
    }

    /// Its part in consensus.
    #[must_use]
    pub fn role(self) -> RoleName {
        self.0.cluster().role()
    }

    /// For how long this node waits for its leader: the least, and the most.
    #[must_use]
    pub fn election_timeout(self) -> (Span, Span) {
        self.0.cluster().election_timeout(&self.0.config().knobs)
    }

    /// When its time to stand for election comes; none unless it follows.
    #[must_use]
    pub fn stands_at(self) -> Option<Time> {
        self.0.cluster().stands_at()
    }

    /// How far its leadership is established.
    #[must_use]
    pub fn phase(self) -> PhaseName {
        self.0.failover().phase(self.0.cluster().is_yielding())
    }

    /// Its term.
    #[must_use]
    pub fn term(self) -> Term {
        self.0.cluster().term()
    }

    /// Its vote in that term.
    #[must_use]
    pub fn vote(self) -> Option<NodeId> {
        self.0.cluster().vote()
    }

    /// Who leads, as far as it knows.
    #[must_use]
    pub fn leader(self) -> Option<NodeId> {
        self.0.cluster().leader(self.node())
    }

    /// The end of its log.
    #[must_use]
    pub fn last(self) -> LogPosition {
        self.0.log().last()
    }

    /// The end of what its disk is known to hold for good.
    #[must_use]
    pub fn durable(self) -> LogIndex {
        self.0.durable()
    }

    /// The end of the snapshot that it takes its disk to hold.
    #[must_use]
    pub fn snapshot(self) -> LogIndex {
        self.0.snapshot()
    }

    /// What it knows to be committed.
    #[must_use]
    pub fn commit(self) -> LogIndex {
        self.0.cluster().commit()
    }

    /// What it has applied.
    #[must_use]
    pub fn applied(self) -> LogIndex {
        self.0.applied()
    }

    /// The term at an index.
    #[must_use]
    pub fn term_at(self, index: LogIndex) -> TermAt {
        self.0.log().term_at(index)
    }

    /// The entry at an index, if its body is in memory.
    #[must_use]
    pub fn entry_at(self, index: LogIndex) -> Option<&'a LogEntry> {
        self.0.log().entry_at(index)
    }

    /// The first index whose body is in memory.
    #[must_use]
    pub fn window_first(self) -> LogIndex {
        self.0.log().window_first()
    }

    /// A leader's knowledge of each follower's durable log; empty elsewhere.
    #[must_use]
    pub fn matched(self) -> Vec<(NodeId, LogIndex)> {
        self.0.cluster().matched()
    }

    /// How a peer seems.
    #[must_use]
    pub fn verdict(self, peer: NodeId, now: Time) -> Verdict {
        self.0.health().verdict(peer, now)
    }

    /// Up to which index its damaged log must be repaired before it votes.
    #[must_use]
    pub fn repairing(self) -> Option<LogIndex> {
        self.0.cluster().repairing()
    }

    /// Who belongs to the cluster, by its log.
    #[must_use]
    pub fn membership(self) -> &'a Membership {
        self.0.log().membership()
    }

    /// The index of that membership's entry.
    #[must_use]
    pub fn membership_index(self) -> LogIndex {
        self.0.log().membership_index()
    }

    /// The hash of its whole log.
    #[must_use]
    pub fn chain(self) -> ChainHash {
        self.0.log().chain()
    }

    /// The replicated state.
    #[must_use]
    pub fn queue(self) -> &'a QueueManager {
        self.0.queue()
    }

    /// The hash of the replicated state.
    #[must_use]
    pub fn state_hash(self) -> StateHashAt {
        StateHashAt {
            index: self.applied(),
            hash: self.queue().state_hash(),
        }
    }

    /// Everything that people ask for, as of its last turn.
    #[must_use]
    pub fn status(self) -> Status {
        self.0.status()
    }

    /// The requests that it keeps for its clients, in order, and whether its disk has them.
    pub fn queued_locally(self) -> impl Iterator<Item = (LocalNumber, RequestId, bool)> {
        self.0.queued_locally()
    }

    /// How often what happened.
    #[must_use]
    pub fn marks(self) -> &'a Marks {
        self.0.marks()
    }
}
