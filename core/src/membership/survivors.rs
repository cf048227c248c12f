//! What an operator may do when a majority of the voters is gone for good: go
//! on with those that are left. What a majority had confirmed may be gone with
//! the others, so this is the last resort, and says what it may have cost.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Member, Membership, Seat};
use crate::ids::{LogIndex, NodeId, Term};
use crate::limits::VOTERS_MAX;

/// What an unsafe recovery did, and what it may have cost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecoveryReport {
    /// Where the membership of the survivors stands in the log.
    pub index: LogIndex,
    /// The term in which their leader appended it.
    pub term: Term,
    /// The members that are left: all vote now.
    pub survivors: Vec<NodeId>,
    /// Those that were given up. Their disks must not come back as they were:
    /// wipe them, and add them as learners.
    pub given_up: Vec<NodeId>,
    /// The end of the longest log among the survivors: all up to here is kept,
    /// committed or not.
    pub kept: LogIndex,
    /// What is gone.
    pub loss: Loss,
}

/// What of the committed entries may be gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Loss {
    /// Nothing: every majority of the voters has a survivor in it.
    Nothing,
    /// Those that were given up were a majority without the survivors, and may
    /// have committed more than these ever saw.
    Possible {
        /// The first index that may be gone: up to the one before, the survivor knew
        /// of the commit. Its log may go on with others than were committed
        /// there, and how far those went nobody knows.
        from: LogIndex,
        /// Up to here what lies behind the log's end is gone for certain: a
        /// leader had told that it was committed.
        certain: Option<LogIndex>,
    },
}

/// Why an unsafe recovery was not made. Nothing was changed but, after
/// [`RecoveryError::NotGranted`], the survivors' terms.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum RecoveryError {
    /// There is a leader.
    #[error(
        "{leader} leads, so a majority lives; replace what is lost by a change of the membership"
    )]
    Led {
        /// Who.
        leader: NodeId,
    },
    /// A majority could elect a leader.
    #[error(
        "{} and this node reach each other and are a majority: they elect a leader by themselves; replace what is lost by a change of the membership",
        names(.nodes)
    )]
    MajorityReachable {
        /// The others of it.
        nodes: Vec<NodeId>,
    },
    /// A node that is to be given up lives.
    #[error(
        "{node} was heard lately by this node, and is not among the survivors: name it, or stop it for good first, and wait some seconds"
    )]
    Reachable {
        /// Which.
        node: NodeId,
    },
    /// A survivor does not answer.
    #[error(
        "{node} is to survive, and was not heard lately by this node: start it, or leave it out"
    )]
    Unreachable {
        /// Which.
        node: NodeId,
    },
    /// Whoever is asked leads afterwards.
    #[error("{node}, which was asked, is not among the survivors: ask one of them")]
    NotAmongSurvivors {
        /// The node that was asked.
        node: NodeId,
    },
    /// A survivor holds no replica.
    #[error("{node} is no member of the cluster, which is {members}")]
    NotMember {
        /// Which.
        node: NodeId,
        /// The members.
        members: String,
    },
    /// More than there may be voters.
    #[error("{found} survivors would vote; the limit is {limit} (voters_max); leave learners out")]
    TooMany {
        /// How many.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The node's disk lost what it had confirmed, or it is about to end.
    #[error(
        "{node} may not lead: its log is damaged, or its disk is not the member's, or it is about to stop; ask another"
    )]
    Unfit {
        /// Which.
        node: NodeId,
    },
    /// One at a time.
    #[error("a recovery is under way at this node already; wait for its end")]
    UnderWay,
    /// Not all survivors gave their votes in time.
    #[error(
        "{} did not agree in time: it is silent, has more of the log (compare `last` in the status of each), has a damaged log, or hears a leader; ask the survivor with the longest log",
        names(.nodes)
    )]
    NotGranted {
        /// Who.
        nodes: Vec<NodeId>,
    },
}

fn names(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
    names.join(", ")
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Nothing => f.write_str("nothing committed is gone"),
            Loss::Possible {
                from,
                certain: None,
            } => {
                write!(f, "committed entries from {from} on may be gone")
            }
            Loss::Possible {
                from,
                certain: Some(certain),
            } => write!(
                f,
                "committed entries from {from} on may be gone, and for certain those behind the log's end up to {certain}"
            ),
        }
    }
}

impl Membership {
    /// The voters that an operator leaves of this, as a last resort: all others
    /// are gone, and no majority of them was asked.
    ///
    /// # Errors
    /// If one of them is no member, or they are too many.
    pub fn with_survivors_only(&self, survivors: &[NodeId]) -> Result<Membership, RecoveryError> {
        if let Some(node) = survivors.iter().find(|node| !self.contains(**node)) {
            return Err(RecoveryError::NotMember {
                node: *node,
                members: self.to_string(),
            });
        }
        let members = self.iter().filter(|(node, _)| survivors.contains(node));
        let found = members.clone().count() as u64;
        if found > VOTERS_MAX {
            return Err(RecoveryError::TooMany {
                found,
                limit: VOTERS_MAX,
            });
        }
        let voter = |(node, member): (NodeId, &Member)| {
            let incarnation = match member.seat {
                // It is on its new disk already.
                Seat::Outgoing {
                    then: Some(learner),
                } => Some(learner.incarnation),
                Seat::Voter | Seat::Incoming | Seat::Outgoing { then: None } | Seat::Learner(_) => {
                    member.incarnation
                }
            };
            let seat = Seat::Voter;
            (node, Member { incarnation, seat })
        };
        Ok(Membership {
            members: members.map(voter).collect(),
        })
    }

    /// What may be gone when only these survive. The one with the longest log has it
    /// up to `kept`, knows that its own entries up to `committed` are, and heard
    /// from leaders that all up to `told` is.
    #[must_use]
    pub fn loss_with(
        &self,
        survivors: &[NodeId],
        committed: LogIndex,
        kept: LogIndex,
        told: LogIndex,
    ) -> Loss {
        let without = self.has_quorum(|node| !survivors.contains(&node));
        if !without {
            return Loss::Nothing;
        }
        Loss::Possible {
            from: committed.next(),
            certain: (told > kept).then_some(told),
        }
    }
}
