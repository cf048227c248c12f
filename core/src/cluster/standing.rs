//! What time asks of each role: who stands for election, when, and whom it asks.
//! A node that is not well lets others go first; a leader that is not well lets go.
//!
//! Votes are written before they are told, and a disk may take longer for that
//! than a timeout lasts. Three rules let an election succeed all the same: nobody
//! stands while its own vote is being written, a candidate does not give up
//! before its own vote could count, and each round that failed makes the next
//! one longer.

use super::candidate::Candidate;
use super::{ClusterCoordinator, Next, Role};
use crate::cx::Cx;
#[cfg(feature = "planted-bugs")]
use crate::ids::LogIndex;
use crate::ids::Term;
use crate::marks::Mark;
use crate::message::Body;
use crate::time::Span;

/// A round lasts at most `1 << ROUND_DOUBLINGS_MAX` times an election timeout.
const ROUND_DOUBLINGS_MAX: u32 = 4;

impl ClusterCoordinator {
    pub(super) fn next_by_time(&mut self, cx: &mut Cx<'_>) -> Next {
        let vote_is_durable = cx.outbox.is_hard_state_durable();
        let (node, due) = (cx.config.node, cx.time() >= self.role_deadline());
        // What most turns find.
        let stays = match &self.role {
            Role::Follower(_) => true,
            Role::PreCandidate(_) | Role::Candidate(_) => false,
            Role::Leader(_) => !self.own.gives_way,
        };
        if stays && !due {
            return Next::Stay;
        }
        let (votes, own, term) = (self.may_campaign(cx), self.own, self.hard_state.term);
        let step = self.step(cx);
        match &mut self.role {
            // Without a vote there is nothing to stand for. While one is being
            // written, whoever got it may win yet, and another could not be told.
            Role::Follower(follower) if due && !(votes && vote_is_durable) => {
                let wait = self.timing.draw(cx);
                follower.miss_leader(cx.time() + wait);
                Next::Stay
            }
            Role::Follower(follower) if due && follower.lets_others_go_first(own) => {
                follower.stand_back(step, cx);
                cx.mark(Mark::CandidacyPostponed);
                Next::Stay
            }
            Role::Follower(_) if due => Next::PreCampaign,
            // Its own vote is not written, so nobody was asked yet.
            Role::Candidate(candidate) if due && !vote_is_durable => {
                candidate.deadline = cx.time() + self.timing.draw(cx);
                cx.mark(Mark::CandidateWaitsForItsVote);
                Next::Stay
            }
            // Nor for one who was told meanwhile that it is removed, or is about to
            // end. And an operator waits to hear that a recovery came to nothing.
            Role::PreCandidate(_) | Role::Candidate(_)
                if due && (own.stays_back || !votes || self.recovery.is_some()) =>
            {
                Next::Follow { term, leader: None }
            }
            Role::PreCandidate(candidate) => {
                candidate.on_granted(node);
                match candidate.has_quorum(cx) {
                    true => Next::Campaign { transfer: false },
                    false if due => Next::PreCampaign,
                    false => Next::Stay,
                }
            }
            Role::Candidate(candidate) => {
                if vote_is_durable {
                    candidate.on_granted(node);
                }
                match candidate.has_quorum(cx) {
                    true => Next::Lead,
                    // The pre-vote again: the world may have changed.
                    false if due => {
                        self.rounds_failed = self.rounds_failed.saturating_add(1);
                        Next::PreCampaign
                    }
                    false => Next::Stay,
                }
            }
            Role::Leader(leader) => {
                let next = match due {
                    true => leader.on_time(term, self.commit, cx),
                    false => Next::Stay,
                };
                match next {
                    Next::Stay => leader.give_way(own, term, cx),
                    other => other,
                }
            }
            Role::Follower(_) => Next::Stay,
        }
    }

    /// How long one degree of unwellness lets others go first: as long as the
    /// well ones need to have stood, whose waits are spread over one such step.
    fn step(&self, cx: &Cx<'_>) -> Span {
        match &self.role {
            Role::Follower(follower) if follower.is_suspicious() => {
                Span::from_ms(cx.config.knobs.suspicion_ms_max.max(1))
            }
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                self.timing.base(&cx.config.knobs)
            }
        }
    }

    /// How long a round of asking lasts that begins now.
    pub(super) fn round_length(&self, cx: &mut Cx<'_>) -> Span {
        // One that is not well asks again later than others do.
        let rest = Span(self.timing.base(&cx.config.knobs).0 * self.own.health as u64);
        // An operator's last resort has time, and no round after this one.
        let doublings = match &self.recovery {
            Some(_) => ROUND_DOUBLINGS_MAX,
            None => self.rounds_failed.min(ROUND_DOUBLINGS_MAX),
        };
        let longer = 1 << doublings;
        Span(self.timing.draw(cx).0 * longer) + rest
    }

    pub(super) fn become_pre_candidate(&mut self, cx: &mut Cx<'_>) {
        assert!(
            !matches!(self.role, Role::Leader(_)),
            "a leader does not stand for election"
        );
        cx.mark(Mark::PreVoteAsked);
        let wait = self.round_length(cx);
        self.role = Role::PreCandidate(Candidate::new(self.survivors(), wait, cx));
        let body = Body::PreVote {
            last: cx.log.last(),
        };
        self.ask_all(self.term_to_stand_in(), &body, cx);
    }

    pub(super) fn become_candidate(&mut self, transfer: bool, cx: &mut Cx<'_>) {
        assert!(
            !matches!(self.role, Role::Leader(_)),
            "a leader does not stand for election"
        );
        cx.mark(Mark::ElectionStarted);
        self.hard_state.term = self.term_to_stand_in();
        self.hard_state.vote = Some(cx.config.node);
        self.save_hard_state(cx);
        let wait = self.round_length(cx);
        self.role = Role::Candidate(Candidate::new(self.survivors(), wait, cx));
        let body = Body::Vote {
            last: cx.log.last(),
            transfer,
        };
        self.ask_all(self.hard_state.term, &body, cx);
    }

    fn ask_all(&self, term: Term, body: &Body, cx: &mut Cx<'_>) {
        let (membership, survivors) = (cx.log.membership().clone(), self.survivors());
        #[cfg(feature = "planted-bugs")]
        if cx.config.planted(crate::planted::Bug::RemovedVoteCounts) {
            let former = cx.log.membership_at(LogIndex(0)).1.clone();
            for peer in former.nodes().filter(|peer| !membership.contains(*peer)) {
                let message = cx.message(term, body.clone());
                cx.outbox.say_durable(peer, message);
            }
        }
        for peer in membership.nodes() {
            let asked = match &survivors {
                Some(survivors) => survivors.contains(&peer),
                None => membership.is_voter(peer),
            };
            if peer != cx.config.node && asked {
                let message = cx.message(term, body.clone());
                cx.outbox.say_durable(peer, message);
            }
        }
    }
}
