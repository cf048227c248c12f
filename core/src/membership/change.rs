//! What an operator can ask of a membership, and why it may be refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, NodeId};

/// A change that an operator asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// A new member without a vote.
    AddLearner {
        /// Which node.
        node: NodeId,
        /// Which life of its disk.
        incarnation: Incarnation,
        /// It shall vote as soon as it has caught up.
        promote: bool,
    },
    /// A learner that has caught up gets a vote.
    Promote {
        /// Which.
        node: NodeId,
    },
    /// A member leaves. One that was to be promoted is not.
    Remove {
        /// Which.
        node: NodeId,
    },
    /// A new member takes a voter's place, in one operation: it learns, and when
    /// it has caught up the one comes and the other goes. A voter that lost its
    /// disk is replaced by its own new incarnation: it stops voting at once.
    Replace {
        /// Who goes.
        old: NodeId,
        /// Who comes.
        new: NodeId,
        /// The life of its disk.
        incarnation: Incarnation,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::AddLearner {
                node,
                incarnation,
                promote: false,
            } => write!(f, "add {node} ({incarnation}) as a learner"),
            Change::AddLearner {
                node,
                incarnation,
                promote: true,
            } => write!(f, "add {node} ({incarnation}) as a voter"),
            Change::Promote { node } => write!(f, "promote {node}"),
            Change::Remove { node } => write!(f, "remove {node}"),
            Change::Replace {
                old,
                new,
                incarnation,
            } => write!(f, "replace {old} by {new} ({incarnation})"),
        }
    }
}

/// Why a change is refused: nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum ChangeError {
    /// An earlier one is not finished.
    #[error("another change of the membership is under way; wait for its outcome")]
    InProgress,
    /// It is no member.
    #[error("{node} is no member")]
    NotMember {
        /// Which.
        node: NodeId,
    },
    /// It is one already.
    #[error("{node} is a member already; remove it first, or replace it")]
    IsMember {
        /// Which.
        node: NodeId,
    },
    /// It has a vote already.
    #[error("{node} is a voter already")]
    IsVoter {
        /// Which.
        node: NodeId,
    },
    /// It has no vote.
    #[error("{node} is no voter")]
    NotVoter {
        /// Which.
        node: NodeId,
    },
    /// Nobody would be left.
    #[error("{node} is the last voter; add another before it goes")]
    LastVoter {
        /// Which.
        node: NodeId,
    },
    /// Too many.
    #[error("the cluster would have {found} {what}; the limit is {limit}")]
    TooMany {
        /// Of what.
        what: String,
        /// How many.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// It lacks too much of the log.
    #[error(
        "{node} lacks {missing} entries; wait until it has caught up, or ask for its promotion when it has"
    )]
    NotCaughtUp {
        /// Which.
        node: NodeId,
        /// How many entries.
        missing: u64,
    },
    /// It was begun, and another order ended it.
    #[error("cancelled by another order: {by}")]
    Cancelled {
        /// Which.
        by: Change,
    },
    /// The same life of the same disk cannot take its own place.
    #[error("{node} is a voter with {incarnation} already; a replacement has a new disk")]
    SameIncarnation {
        /// Which.
        node: NodeId,
        /// The life of its disk.
        incarnation: Incarnation,
    },
}
