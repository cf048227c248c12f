//! What was turned away at the border, counted by link and reason. Nothing of it
//! has reached the node. Knows no socket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use precentor_core::ids::NodeId;
use precentor_core::wire::DecodeError;
use precentor_core::wire::frame::FrameError;
use precentor_core::wire::hello::HelloError;

use super::locked;

/// Why bytes, or a whole connection, were turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// What came was no hello.
    Stranger,
    /// A hello that is longer than any may be.
    HelloTooLong,
    /// No hello came in time.
    Silent,
    /// More connections than may be greeted at a time.
    Crowded,
    /// A hello of another cluster.
    OtherCluster,
    /// A hello of this very node.
    Itself,
    /// A hello that was meant for another node.
    OtherNode,
    /// A hello of a node that is no peer, or should not have dialled.
    Unexpected,
    /// No wire version in common, or none at all.
    WireVersion,
    /// The peer's program cannot do what the cluster's level asks for.
    TheirLevel,
    /// This program cannot do what the peer's cluster asks for.
    OurLevel,
    /// A hello that nobody stood behind: one that was recorded and came again.
    Unconfirmed,
    /// A frame larger than any may be, or of nothing.
    FrameSize,
    /// A frame that is damaged, or was meant for another connection.
    Checksum,
    /// A frame that this connection has carried before.
    Replayed,
    /// A message of another version than was agreed on.
    MessageVersion,
    /// A message that is none.
    Undecodable,
    /// A message with a part beyond its bound.
    MessageTooLarge,
    /// A message of another life of the peer's disk than its hello.
    OtherLife,
    /// A message of a connection whose place another one took.
    StaleConnection,
    /// No certificate that this node believes, or no encryption at all.
    Untrusted,
    /// A hello of another node than the certificate is of.
    Impersonation,
    /// A certificate that is not good any more.
    Expired,
}

impl From<&HelloError> for Refusal {
    fn from(error: &HelloError) -> Refusal {
        match error {
            HelloError::Stranger => Refusal::Stranger,
            HelloError::TooLong { .. } => Refusal::HelloTooLong,
            HelloError::NoCommonVersion { .. } | HelloError::NoRange { .. } => Refusal::WireVersion,
            HelloError::OtherCluster { .. } => Refusal::OtherCluster,
            HelloError::Itself { .. } => Refusal::Itself,
            HelloError::OtherNode { .. } => Refusal::OtherNode,
            HelloError::Unexpected { .. } => Refusal::Unexpected,
            HelloError::TheirLevel { .. } => Refusal::TheirLevel,
            HelloError::OurLevel { .. } => Refusal::OurLevel,
        }
    }
}

impl From<&FrameError> for Refusal {
    fn from(error: &FrameError) -> Refusal {
        match error {
            FrameError::TooLarge { .. } | FrameError::Empty => Refusal::FrameSize,
            FrameError::Checksum { .. } => Refusal::Checksum,
            FrameError::Replayed { .. } => Refusal::Replayed,
        }
    }
}

impl From<&DecodeError> for Refusal {
    fn from(error: &DecodeError) -> Refusal {
        match error {
            DecodeError::Version { .. } => Refusal::MessageVersion,
            DecodeError::TooLarge { .. } => Refusal::MessageTooLarge,
            DecodeError::Empty | DecodeError::Malformed(_) | DecodeError::Trailing(_) => {
                Refusal::Undecodable
            }
        }
    }
}

type Counts = BTreeMap<(Option<NodeId>, Refusal), u64>;

/// The counts of one node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<Counts>>);

impl Refusals {
    /// It happened: on the link to a peer, or at the door, where nobody knows who
    /// it was. (So that strangers cannot fill the table, whatever they claim.)
    pub(super) fn note(&self, peer: Option<NodeId>, refusal: Refusal) {
        let mut counts = locked(&self.0);
        let count = counts.entry((peer, refusal)).or_default();
        *count = count.saturating_add(1);
    }

    /// How often on a link, or at the door.
    #[must_use]
    pub fn count(&self, peer: Option<NodeId>, refusal: Refusal) -> u64 {
        locked(&self.0)
            .get(&(peer, refusal))
            .copied()
            .unwrap_or_default()
    }

    /// All that is not zero.
    #[must_use]
    pub fn all(&self) -> Vec<(Option<NodeId>, Refusal, u64)> {
        locked(&self.0)
            .iter()
            .map(|((peer, refusal), count)| (*peer, *refusal, *count))
            .collect()
    }
}
