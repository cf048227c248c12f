//! Who belongs to the cluster: a replicated value, in force from the moment its
//! entry is appended (dissertation §4.1). Computes what a change leads to and
//! what a majority is; knows nothing of logs, terms or messages.
//!
//! Voters change through a joint phase (Raft §6): while some are `Incoming` or
//! `Outgoing`, an election and a commit need a majority of the old voters and
//! one of the new ones.

mod change;
mod survivors;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::change::{Change, ChangeError};
pub use self::survivors::{Loss, RecoveryError, RecoveryReport};
use crate::bounded;
use crate::ids::{Incarnation, LogIndex, NodeId};
use crate::limits::{MEMBERS_MAX, VOTERS_MAX};
use crate::principal::Principal;

/// All members, in the order of their ids. They are few and looked at in every
/// turn: one sorted list, no tree; on the wire the map that it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Membership {
    #[serde(serialize_with = "as_map", deserialize_with = "from_map")]
    members: Vec<(NodeId, Member)>,
}

fn as_map<S: Serializer>(members: &[(NodeId, Member)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(members.iter().map(|(node, member)| (node, member)))
}

fn from_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(NodeId, Member)>, D::Error> {
    let members = bounded::map::<_, _, _, MEMBERS_MAX>(deserializer)?;
    Ok(members.into_iter().collect())
}

/// The body of a membership's log entry: who belongs to the cluster from there
/// on, and for the audit who wanted it and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MembershipEntry {
    /// All members.
    pub membership: Membership,
    /// Who asked; the cluster itself for what follows of itself.
    pub principal: Principal,
    /// Wall clock in milliseconds since 1970, for people: no rule reads it.
    pub wall_ms: u64,
    /// What it is for.
    pub why: Why,
}

/// Why a membership was appended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Why {
    /// An operator asked for this change.
    Asked(Change),
    /// A learner that was to be promoted has caught up.
    CaughtUp,
    /// The joint phase was committed.
    JointLeft,
    /// The leader learned which life of its disk a founder has.
    LivesLearned,
    /// An operator gave up all but the survivors, as a last resort.
    UnsafeRecovery {
        /// Those that were given up.
        given_up: Vec<NodeId>,
        /// What that may have cost.
        loss: Loss,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Asked(change) => fmt::Display::fmt(change, f),
            Why::CaughtUp => f.write_str("a learner has caught up"),
            Why::JointLeft => f.write_str("the joint phase ends"),
            Why::LivesLearned => f.write_str("the founders' disks are known"),
            Why::UnsafeRecovery { given_up, loss } => {
                f.write_str("unsafe recovery without")?;
                for node in given_up {
                    write!(f, " {node}")?;
                }
                write!(f, ": {loss}")
            }
        }
    }
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Which life of its disk counts; none until a leader has learned it.
    pub incarnation: Option<Incarnation>,
    /// What it is.
    pub seat: Seat,
}

/// A member's part in majorities.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Seat {
    /// It votes.
    Voter,
    /// Joint phase: it votes among the new voters only.
    Incoming,
    /// Joint phase: it votes among the old voters only.
    Outgoing {
        /// What it is afterwards; none: no member.
        then: Option<Learner>,
    },
    /// It holds a replica and has no vote.
    Learner(Learner),
}

/// What is planned for a learner.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Learner {
    /// The life of its disk.
    pub incarnation: Incarnation,
    /// It becomes a voter as soon as it has caught up.
    pub promotion: Option<Promotion>,
}

/// A promotion that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Promotion {
    /// The voter that leaves in the same step.
    pub replaces: Option<NodeId>,
}

impl Membership {
    /// The first membership of a cluster: its founders vote. Which disks they
    /// have is learned by their first leader.
    #[must_use]
    pub fn founding(voters: impl IntoIterator<Item = NodeId>) -> Membership {
        let founder = Member {
            incarnation: None,
            seat: Seat::Voter,
        };
        let mut members: Vec<_> = voters.into_iter().map(|node| (node, founder)).collect();
        members.sort_unstable_by_key(|(node, _)| *node);
        members.dedup_by_key(|(node, _)| *node);
        Membership { members }
    }

    /// All members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> + Clone {
        self.members.iter().map(|(node, member)| (*node, member))
    }

    /// All members' ids, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().map(|(node, _)| *node)
    }

    /// A member.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&Member> {
        let found = self.members.iter().find(|(other, _)| *other == node);
        found.map(|(_, member)| member)
    }

    fn get_mut(&mut self, node: NodeId) -> Option<&mut Member> {
        let found = self.members.iter_mut().find(|(other, _)| *other == node);
        found.map(|(_, member)| member)
    }

    /// Does it belong to the cluster?
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.get(node).is_some()
    }

    /// May it stand for election, and does its word count for a majority?
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.get(node)
            .is_some_and(|member| member.votes_in(Half::Old) || member.votes_in(Half::New))
    }

    /// Does it vote when the joint phase is over too? One that goes would have to
    /// give an office back at once.
    #[must_use]
    pub fn stays_voter(&self, node: NodeId) -> bool {
        self.get(node)
            .is_some_and(|member| member.votes_in(Half::New))
    }

    /// Are two majorities needed?
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.iter()
            .any(|(_, member)| matches!(member.seat, Seat::Incoming | Seat::Outgoing { .. }))
    }

    /// Does nothing follow of itself? All lives are known, and no member comes or goes.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_known = |(_, member): (NodeId, &Member)| member.incarnation.is_some();
        !self.is_joint() && self.to_promote().is_none() && self.iter().all(is_known)
    }

    /// Does what a node says count, if this life of its disk says it? A life
    /// that is not known yet is believed.
    #[must_use]
    pub fn counts(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.get(node)
            .is_some_and(|member| member.incarnation.is_none_or(|known| known == incarnation))
    }

    /// Is a majority of every half among those for whom `has` is true?
    pub fn has_quorum(&self, mut has: impl FnMut(NodeId) -> bool) -> bool {
        let halves: &[Half] = match self.is_joint() {
            true => &[Half::Old, Half::New],
            false => &[Half::New],
        };
        halves.iter().all(|half| {
            let (mut voters, mut having) = (0u64, 0u64);
            for (node, _) in self.iter().filter(|(_, member)| member.votes_in(*half)) {
                voters += 1;
                having += u64::from(has(node));
            }
            having > voters / 2
        })
    }

    /// The highest index that a majority of every half has reached. Each half
    /// counts for itself: never the union of both.
    ///
    /// # Panics
    /// If there are no voters: our own error.
    pub fn reached_by_quorum(&self, mut reached: impl FnMut(NodeId) -> LogIndex) -> LogIndex {
        let mut half_reached = |half: Half| {
            let mut indexes = [LogIndex(0); MEMBERS_MAX as usize];
            let mut voters = 0;
            for (node, _) in self.iter().filter(|(_, member)| member.votes_in(half)) {
                indexes[voters] = reached(node);
                voters += 1;
            }
            let indexes = &mut indexes[..voters];
            indexes.sort_unstable();
            // With the index in ascending order, this one and all above it are a majority.
            indexes[(voters - 1) / 2]
        };
        let new = half_reached(Half::New);
        match self.is_joint() {
            true => new.min(half_reached(Half::Old)),
            false => new,
        }
    }

    /// The learner that is to be promoted, if there is one.
    #[must_use]
    pub fn to_promote(&self) -> Option<NodeId> {
        self.iter()
            .find(|(_, member)| {
                matches!(
                    member.seat,
                    Seat::Learner(Learner {
                        promotion: Some(_),
                        ..
                    })
                )
            })
            .map(|(node, _)| node)
    }

    /// What a change makes of this.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn after(&self, change: Change) -> Result<Membership, ChangeError> {
        let cancels = matches!(change, Change::Remove { node } if Some(node) == self.to_promote());
        if self.is_joint() || (self.to_promote().is_some() && !cancels) {
            return Err(ChangeError::InProgress);
        }
        let mut next = self.clone();
        match change {
            Change::AddLearner {
                node,
                incarnation,
                promote,
            } => {
                if self.contains(node) {
                    return Err(ChangeError::IsMember { node });
                }
                let promotion = promote.then_some(Promotion { replaces: None });
                next.seat_learner(node, incarnation, promotion);
            }
            Change::Promote { node } => match self.member(node)?.seat {
                Seat::Learner(_) => next.promote(node, None),
                Seat::Voter | Seat::Incoming | Seat::Outgoing { .. } => {
                    return Err(ChangeError::IsVoter { node });
                }
            },
            Change::Remove { node } => match self.member(node)?.seat {
                Seat::Learner(_) => {
                    next.members.retain(|(other, _)| *other != node);
                }
                Seat::Voter | Seat::Incoming | Seat::Outgoing { .. } => {
                    next.dismiss(node, None)?;
                }
            },
            Change::Replace {
                old,
                new,
                incarnation,
            } => next.replace(old, new, incarnation)?,
        }
        next.check()?;
        // What follows of itself must be possible too: nobody is there to refuse it.
        if next.to_promote().is_some() {
            next.with_promotion_begun().check()?;
        }
        Ok(next)
    }

    fn replace(
        &mut self,
        old: NodeId,
        new: NodeId,
        incarnation: Incarnation,
    ) -> Result<(), ChangeError> {
        let leaving = *self.member(old)?;
        if leaving.seat != Seat::Voter {
            return Err(ChangeError::NotVoter { node: old });
        }
        if old == new {
            if leaving.incarnation == Some(incarnation) {
                return Err(ChangeError::SameIncarnation {
                    node: old,
                    incarnation,
                });
            }
            // Its vote went with its disk, so there is nothing to wait for.
            let promotion = Some(Promotion { replaces: None });
            return self.dismiss(
                old,
                Some(Learner {
                    incarnation,
                    promotion,
                }),
            );
        }
        if self.contains(new) {
            return Err(ChangeError::IsMember { node: new });
        }
        let promotion = Promotion {
            replaces: Some(old),
        };
        self.seat_learner(new, incarnation, Some(promotion));
        Ok(())
    }

    /// The promotion that was asked for begins.
    ///
    /// # Panics
    /// If none was: our own error.
    #[must_use]
    pub fn with_promotion_begun(&self) -> Membership {
        let node = self
            .to_promote()
            .expect("only a promotion that was asked for begins");
        let Some(Member {
            seat:
                Seat::Learner(Learner {
                    promotion: Some(promotion),
                    ..
                }),
            ..
        }) = self.get(node)
        else {
            unreachable!("it was just found");
        };
        let mut next = self.clone();
        next.promote(node, promotion.replaces);
        next
    }

    /// Learners get their votes, and a voter goes on as a learner, in one step that
    /// nobody ordered.
    #[must_use]
    pub fn with_promoted(&self, learners: &[NodeId], instead_of: Option<NodeId>) -> Membership {
        let mut next = self.clone();
        for learner in learners {
            next.promote(*learner, None);
        }
        if let Some(voter) = instead_of.and_then(|voter| next.get_mut(voter)) {
            let learner = |incarnation| Learner {
                incarnation,
                promotion: None,
            };
            let then = voter.incarnation.map(learner);
            voter.seat = Seat::Outgoing { then };
        }
        next
    }

    /// The joint phase ends: only the new voters are left.
    #[must_use]
    pub fn with_joint_left(&self) -> Membership {
        let members = self.iter().filter_map(|(node, member)| {
            let (incarnation, seat) = match member.seat {
                Seat::Voter | Seat::Incoming => (member.incarnation, Seat::Voter),
                Seat::Learner(_) => (member.incarnation, member.seat),
                Seat::Outgoing { then } => {
                    let learner = then?;
                    (Some(learner.incarnation), Seat::Learner(learner))
                }
            };
            Some((node, Member { incarnation, seat }))
        });
        Membership {
            members: members.collect(),
        }
    }

    /// Lives that a leader has learned, for members of whom none is known.
    /// None if that is no news.
    #[must_use]
    pub fn with_lives(
        &self,
        mut life_of: impl FnMut(NodeId) -> Option<Incarnation>,
    ) -> Option<Membership> {
        let mut told = |node| life_of(node).filter(|life| *life != Incarnation::UNTOLD);
        let is_unknown = |(node, member): (NodeId, &Member)| {
            member.incarnation.is_none() && told(node).is_some()
        };
        if !self.iter().any(is_unknown) {
            return None;
        }
        let mut next = self.clone();
        for (node, member) in &mut next.members {
            member.incarnation = member.incarnation.or_else(|| told(*node));
        }
        Some(next)
    }

    /// Could this have come about? What comes from outside is checked by this.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), ChangeError> {
        for half in [Half::Old, Half::New] {
            let voters = self.iter().filter(|(_, member)| member.votes_in(half));
            let voters = voters.count() as u64;
            if voters > VOTERS_MAX {
                return Err(ChangeError::TooMany {
                    what: "voters".into(),
                    found: voters,
                    limit: VOTERS_MAX,
                });
            }
            if voters == 0 {
                let node = self.nodes().next().unwrap_or_default();
                return Err(ChangeError::LastVoter { node });
            }
        }
        let found = self.members.len() as u64;
        if found > MEMBERS_MAX {
            return Err(ChangeError::TooMany {
                what: "members".into(),
                found,
                limit: MEMBERS_MAX,
            });
        }
        Ok(())
    }

    fn member(&self, node: NodeId) -> Result<&Member, ChangeError> {
        self.get(node).ok_or(ChangeError::NotMember { node })
    }

    fn seat_learner(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        promotion: Option<Promotion>,
    ) {
        let seat = Seat::Learner(Learner {
            incarnation,
            promotion,
        });
        let member = Member {
            incarnation: Some(incarnation),
            seat,
        };
        match self
            .members
            .binary_search_by_key(&node, |(other, _)| *other)
        {
            Ok(place) => self.members[place].1 = member,
            Err(place) => self.members.insert(place, (node, member)),
        }
    }

    /// Into the joint phase: a learner comes, and a voter may go.
    fn promote(&mut self, node: NodeId, replaces: Option<NodeId>) {
        if let Some(member) = self.get_mut(node) {
            member.seat = Seat::Incoming;
        }
        // The one to be replaced may have been removed meanwhile.
        if let Some(old) = replaces.and_then(|old| self.get_mut(old))
            && old.seat == Seat::Voter
        {
            old.seat = Seat::Outgoing { then: None };
        }
    }

    /// Into the joint phase: a voter goes, for good or to learn anew.
    fn dismiss(&mut self, node: NodeId, then: Option<Learner>) -> Result<(), ChangeError> {
        if let Some(member) = self.get_mut(node) {
            member.seat = Seat::Outgoing { then };
        }
        if self.iter().any(|(_, member)| member.votes_in(Half::New)) {
            Ok(())
        } else {
            Err(ChangeError::LastVoter { node })
        }
    }
}

/// Of the two majorities of a joint phase.
#[derive(Clone, Copy)]
enum Half {
    Old,
    New,
}

impl Member {
    fn votes_in(&self, half: Half) -> bool {
        match (self.seat, half) {
            (Seat::Voter, Half::Old | Half::New)
            | (Seat::Incoming, Half::New)
            | (Seat::Outgoing { .. }, Half::Old) => true,
            (Seat::Incoming, Half::Old)
            | (Seat::Outgoing { .. }, Half::New)
            | (Seat::Learner(_), Half::Old | Half::New) => false,
        }
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (node, member) in self.iter() {
            let sign = match member.seat {
                Seat::Voter => "",
                Seat::Incoming => "+",
                Seat::Outgoing { then: None } => "-",
                Seat::Outgoing { then: Some(_) } => "~",
                Seat::Learner(Learner {
                    promotion: None, ..
                }) => "?",
                Seat::Learner(Learner {
                    promotion: Some(_), ..
                }) => "!",
            };
            write!(f, "{space}{node}{sign}")?;
            space = " ";
        }
        Ok(())
    }
}
