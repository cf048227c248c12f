//! What time asks of each role: who stands for election, and when. A node that
//! is not well lets others go first; a leader that is not well lets go.

use super::{ClusterCoordinator, Next, Role};
use crate::cx::Cx;
use crate::marks::Mark;
use crate::time::Span;

impl ClusterCoordinator {
    pub(super) fn next_by_time(&mut self, cx: &mut Cx<'_>) -> Next {
        let own_vote_counts = cx.outbox.is_hard_state_durable();
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
            // Without a vote there is nothing to stand for.
            Role::Follower(follower) if due && !votes => {
                let wait = self.timing.draw(cx);
                follower.wait_until(cx.time() + wait);
                Next::Stay
            }
            Role::Follower(follower) if due && follower.lets_others_go_first(own) => {
                follower.stand_back(step, cx);
                cx.mark(Mark::CandidacyPostponed);
                Next::Stay
            }
            Role::Follower(_) if due => Next::PreCampaign,
            Role::PreCandidate(_) | Role::Candidate(_) if due && own.stays_back => {
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
                if own_vote_counts {
                    candidate.on_granted(node);
                }
                match candidate.has_quorum(cx) {
                    true => Next::Lead,
                    // The pre-vote again: the world may have changed.
                    false if due => Next::PreCampaign,
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
        self.timing.draw(cx) + rest
    }
}
