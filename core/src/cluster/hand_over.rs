//! A leadership on its way to another voter (dissertation §3.10): on order, when
//! this node is about to end, or because it is not well. While it lasts nothing
//! is proposed, so that the successor can have everything; it ends with another
//! leader, or after a while with this one.

use super::leader::Leader;
use super::{ClusterCoordinator, Next, Role};
use crate::cx::Cx;
use crate::ids::{LogIndex, NodeId, Term};
use crate::marks::Mark;
use crate::message::Body;
use crate::request::HandOverError;
use crate::status::{Condition, Health};
use crate::time::{Span, Time};

/// A leader that gave way in vain does not try again before so many of the
/// longest election timeouts: what ails it may ail them all.
const GIVE_WAY_AGAIN: u64 = 10;

/// A hand-over under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandOver {
    pub(super) to: NodeId,
    /// An operator named the successor: no other will do.
    named: bool,
    /// How well a successor must be at the least.
    health: Health,
    pub(super) deadline: Time,
    told: bool,
}

impl ClusterCoordinator {
    /// Another leader is wanted: `to`, or the fittest. Says whom it will be.
    ///
    /// # Errors
    /// If this node goes on leading, or never led.
    pub fn on_hand_over(
        &mut self,
        to: Option<NodeId>,
        cx: &mut Cx<'_>,
    ) -> Result<NodeId, HandOverError> {
        match &mut self.role {
            Role::Leader(leader) => leader.on_hand_over(to, cx),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                Err(HandOverError::NotLeader)
            }
        }
    }

    /// This node is about to end: it stands for election no more, and a leader
    /// hands over first. Says whether that is worth waiting for.
    pub fn on_stop(&mut self, cx: &mut Cx<'_>) -> bool {
        self.stopping = true;
        match self.on_hand_over(None, cx) {
            Ok(_) | Err(HandOverError::UnderWay { .. }) => true,
            Err(_) => false,
        }
    }
}

impl Leader {
    /// Is it handing over?
    pub(super) fn is_yielding(&self) -> bool {
        self.hand_over.is_some()
    }

    /// How the last hand-over failed, once.
    pub(super) fn take_hand_over_end(&mut self) -> Option<HandOverError> {
        self.hand_over_end.take()
    }

    fn on_hand_over(
        &mut self,
        to: Option<NodeId>,
        cx: &mut Cx<'_>,
    ) -> Result<NodeId, HandOverError> {
        if let Some(HandOver { to, .. }) = self.hand_over {
            return Err(HandOverError::UnderWay { to });
        }
        let worst = Health::Slow;
        let successor = match to {
            None => self.fittest(worst, cx).ok_or(HandOverError::NobodyFit)?,
            Some(node) => self.check_successor(node, worst, cx)?,
        };
        self.begin_hand_over(successor, to.is_some(), worst, cx);
        Ok(successor)
    }

    /// May this node be the successor?
    fn check_successor(
        &self,
        node: NodeId,
        worst: Health,
        cx: &Cx<'_>,
    ) -> Result<NodeId, HandOverError> {
        if node == cx.config.node {
            return Err(HandOverError::LeadsAlready { node });
        }
        let Some(progress) = self.peers.get(node).filter(|_| self.is_eligible(node, cx)) else {
            return Err(HandOverError::NotVoter { node });
        };
        // Half of its patience: one that is silent for longer may be gone.
        let lately = cx
            .config
            .election_timeout_min()
            .max(Span(progress.patience.0 / 2));
        let heard = progress.incarnation.is_some() && cx.time().since(progress.heard) < lately;
        if progress.down || !heard {
            return Err(HandOverError::NotConnected { node });
        }
        if progress.health > worst {
            return Err(HandOverError::Unwell { node });
        }
        match self.missing(node, cx) {
            Some(missing) => Err(HandOverError::Behind { node, missing }),
            None => Ok(node),
        }
    }

    fn is_eligible(&self, node: NodeId, cx: &Cx<'_>) -> bool {
        #[cfg(feature = "planted-bugs")]
        if cx.config.planted(crate::planted::Bug::LearnerCampaigns) {
            return true;
        }
        cx.log.membership().stays_voter(node)
    }

    /// The best successor: the well ones first, of these the one with the longest
    /// confirmed log, of these the lowest id.
    fn fittest(&self, worst: Health, cx: &Cx<'_>) -> Option<NodeId> {
        let fit = self
            .peers
            .iter()
            .filter(|(peer, _)| self.check_successor(*peer, worst, cx).is_ok());
        fit.min_by_key(|(peer, progress)| {
            (progress.health, std::cmp::Reverse(progress.durable), *peer)
        })
        .map(|(peer, _)| peer)
    }

    fn begin_hand_over(&mut self, to: NodeId, named: bool, health: Health, cx: &mut Cx<'_>) {
        cx.mark(Mark::HandOverStarted);
        self.hand_over_end = None;
        self.hand_over = Some(HandOver {
            to,
            named,
            health,
            deadline: cx.time() + Span::from_ms(cx.config.knobs.election_timeout_ms_max),
            told: false,
        });
    }

    fn end_hand_over(&mut self, why: HandOverError) {
        self.hand_over = None;
        self.hand_over_end = Some(why);
    }

    /// The successor has everything: it is told to stand for election.
    pub(super) fn advance_hand_over(&mut self, term: Term, cx: &mut Cx<'_>) {
        let last = cx.log.last().index;
        let ready = self.hand_over.filter(|hand_over| {
            let has_all = self.durable_of(hand_over.to) == Some(last);
            #[cfg(feature = "planted-bugs")]
            let has_all = has_all || cx.config.planted(crate::planted::Bug::HandOverToLaggard);
            has_all && !hand_over.told
        });
        if let Some(hand_over) = ready {
            assert!(
                cx.time() <= hand_over.deadline,
                "a hand-over is over by {:?}, and it is {:?}",
                hand_over.deadline,
                cx.time()
            );
            cx.mark(Mark::HandOverSent);
            self.hand_over = Some(HandOver {
                told: true,
                ..hand_over
            });
            let message = cx.message(term, Body::TimeoutNow);
            cx.outbox.say(hand_over.to, message);
        }
    }

    fn durable_of(&self, peer: NodeId) -> Option<LogIndex> {
        self.peers.get(peer).map(|progress| progress.durable)
    }

    /// A successor that did not take over in time will not.
    pub(super) fn end_late_hand_over(&mut self, cx: &mut Cx<'_>) {
        if let Some(hand_over) = self.hand_over
            && hand_over.deadline <= cx.time()
        {
            cx.mark(Mark::HandOverTimedOut);
            self.end_hand_over(HandOverError::TimedOut { node: hand_over.to });
        }
    }

    /// A peer's connection closed.
    pub(super) fn on_peer_down(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if let Some(progress) = self.peers.get_mut(peer) {
            progress.down = true;
        }
        self.on_reconnect(peer);
        if self.hand_over.is_some_and(|hand_over| hand_over.to == peer) {
            self.replace_successor(HandOverError::NotConnected { node: peer }, cx);
        }
    }

    /// A successor that has left cannot take over.
    pub(super) fn end_hand_over_to_no_voter(&mut self, cx: &mut Cx<'_>) {
        if let Some(HandOver { to: node, .. }) = self.hand_over
            && !cx.log.membership().is_voter(node)
        {
            self.replace_successor(HandOverError::NotVoter { node }, cx);
        }
    }

    /// The successor is lost: another takes its place for the time that is left,
    /// unless an operator wanted that one. If the lost one was told to stand and
    /// does, both stand, which is an election like any other.
    fn replace_successor(&mut self, why: HandOverError, cx: &mut Cx<'_>) {
        let Some(lost) = self.hand_over.take() else {
            return;
        };
        match self.fittest(lost.health, cx).filter(|_| !lost.named) {
            None => self.end_hand_over(why),
            Some(to) => {
                cx.mark(Mark::SuccessorReplaced);
                self.hand_over = Some(HandOver {
                    to,
                    told: false,
                    ..lost
                });
            }
        }
    }

    /// A leader that is not well gives way, to one that is better off. If there
    /// is none it goes on: a sick leader serves more than none. One whose disk is
    /// stuck, and that could not hand over, steps down: its followers find
    /// another as soon as they miss it.
    pub(super) fn give_way(&mut self, own: Condition, term: Term, cx: &mut Cx<'_>) -> Next {
        if !own.gives_way || self.is_yielding() {
            return Next::Stay;
        }
        #[cfg(feature = "planted-bugs")]
        if cx.config.planted(crate::planted::Bug::SickLeaderStays) {
            return Next::Stay;
        }
        // Who is as unwell as this one would only hand it back.
        let better = match own.health {
            Health::Well | Health::Strained => Health::Well,
            Health::Slow => Health::Strained,
            Health::Stuck => Health::Slow,
        };
        let Some(to) = self.fittest(better, cx) else {
            return Next::Stay;
        };
        let again = Span::from_ms(cx.config.knobs.election_timeout_ms_max * GIVE_WAY_AGAIN);
        match self.gave_way {
            Some(at) if cx.time().since(at) < again && own.health == Health::Stuck => {
                cx.mark(Mark::SteppedDownStuck);
                Next::Follow { term, leader: None }
            }
            Some(at) if cx.time().since(at) < again => Next::Stay,
            Some(_) | None => {
                cx.mark(Mark::GaveWay);
                self.gave_way = Some(cx.time());
                self.begin_hand_over(to, false, better, cx);
                Next::Stay
            }
        }
    }

    /// The last word of a leader that leaves: what is committed, and that the
    /// fittest shall stand for election.
    pub(super) fn say_farewell(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        self.send_to_all(term, commit, cx);
        if let Some(successor) = self.fittest(Health::Slow, cx) {
            let message = cx.message(term, Body::TimeoutNow);
            cx.outbox.say(successor, message);
        }
    }
}
