//! An operator's last resort: a majority is gone for good, and those that are
//! left elect one of themselves without it.
//!
//! Nothing of the protocol is bent but who is asked: the candidate needs the
//! votes of *all* survivors, so its log has whatever any of them has, and it
//! stands in a term far beyond that of any leader whom it might not see. Who
//! belongs to the cluster changes with the first entry of that leader, in force
//! from there on like any other membership.

use super::{Change, ClusterCoordinator, Next, Role};
use crate::cx::Cx;
use crate::ids::{NodeId, Term};
use crate::marks::Mark;
use crate::membership::{RecoveryError, RecoveryReport, Why};
use crate::principal::Principal;

/// So many terms are left out: should a majority live after all, unseen, then
/// no leader of it has the term of the survivors' leader.
const TERMS_LEFT_OUT: u64 = 1 << 32;

/// A recovery that is under way.
#[derive(Clone, Debug)]
pub(super) struct UnsafeRecovery {
    /// Who must agree, all of them.
    survivors: Vec<NodeId>,
    principal: Principal,
}

impl UnsafeRecovery {
    pub(super) fn survivors(&self) -> Vec<NodeId> {
        self.survivors.clone()
    }
}

impl ClusterCoordinator {
    /// Begins to go on with the survivors only. `reached` are the peers that
    /// were heard lately.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    pub fn recover_unsafely(
        &mut self,
        survivors: &[NodeId],
        reached: &[NodeId],
        principal: Principal,
        cx: &mut Cx<'_>,
    ) -> Result<(), RecoveryError> {
        let node = cx.config.node;
        if self.recovery.is_some() {
            return Err(RecoveryError::UnderWay);
        }
        if let Some(leader) = self.leader(node) {
            return Err(RecoveryError::Led { leader });
        }
        let membership = cx.log.membership();
        let wanted = membership.with_survivors_only(survivors)?;
        if !survivors.contains(&node) {
            return Err(RecoveryError::NotAmongSurvivors { node });
        }
        let is_reached = |other: NodeId| other == node || reached.contains(&other);
        let majority = membership.has_quorum(is_reached);
        #[cfg(feature = "planted-bugs")]
        let majority = majority
            && !cx
                .config
                .planted(crate::planted::Bug::RecoveryDespiteMajority);
        if majority {
            let nodes = reached.iter().copied();
            let nodes = nodes.filter(|node| membership.is_voter(*node)).collect();
            return Err(RecoveryError::MajorityReachable { nodes });
        }
        let given_up = |other: &NodeId| membership.contains(*other) && !wanted.contains(*other);
        let lives = reached.iter().copied().find(given_up);
        #[cfg(feature = "planted-bugs")]
        let lives = lives.filter(|_| {
            !cx.config
                .planted(crate::planted::Bug::RecoveryDespiteMajority)
        });
        if let Some(node) = lives {
            return Err(RecoveryError::Reachable { node });
        }
        if let Some(node) = wanted.nodes().find(|other| !is_reached(*other)) {
            return Err(RecoveryError::Unreachable { node });
        }
        let fit = membership.counts(node, cx.config.incarnation)
            && self.hard_state.repairing.is_none()
            && !self.stopping;
        if !fit {
            return Err(RecoveryError::Unfit { node });
        }
        cx.mark(Mark::UnsafeRecoveryBegun);
        self.recovery = Some(UnsafeRecovery {
            survivors: wanted.nodes().collect(),
            principal,
        });
        self.perform(Next::PreCampaign, cx);
        Ok(())
    }

    /// The term in which this node would stand.
    pub(super) fn term_to_stand_in(&self) -> Term {
        let next = self.hard_state.term.next();
        match &self.recovery {
            Some(_) => Term(next.0.saturating_add(TERMS_LEFT_OUT)),
            None => next,
        }
    }

    /// The recovery came to nothing: somebody leads, or has more of the log, or
    /// is silent.
    pub(super) fn give_recovery_up(&mut self) {
        let Some(recovery) = self.recovery.take() else {
            return;
        };
        let granted = match &self.role {
            Role::PreCandidate(candidate) | Role::Candidate(candidate) => Some(candidate),
            Role::Follower(_) | Role::Leader(_) => None,
        };
        let refused = |node: &NodeId| !granted.is_some_and(|round| round.was_granted_by(*node));
        let nodes = recovery.survivors().into_iter().filter(refused).collect();
        let error = RecoveryError::NotGranted { nodes };
        self.changes.push(Change::RecoveryFailed(error));
    }

    /// A loan may have brought a later membership, without one of the survivors.
    pub(super) fn is_recovery_possible(&self, cx: &Cx<'_>) -> bool {
        self.recovery.as_ref().is_none_or(|recovery| {
            let membership = cx.log.membership();
            membership.with_survivors_only(&recovery.survivors).is_ok()
        })
    }

    /// All survivors voted for this node: the cluster is theirs.
    pub(super) fn found_anew(&mut self, cx: &mut Cx<'_>) {
        let Some(UnsafeRecovery {
            survivors,
            principal,
        }) = self.recovery.take()
        else {
            return;
        };
        cx.mark(Mark::UnsafeRecoveryMade);
        let old = cx.log.membership().clone();
        let membership = old
            .with_survivors_only(&survivors)
            .expect("looked at before it led");
        let given_up = old.nodes().filter(|node| !membership.contains(*node));
        let given_up: Vec<NodeId> = given_up.collect();
        let kept = cx.log.last().index;
        let loss = old.loss_with(&survivors, self.commit, kept, self.heard.commit());
        #[cfg(feature = "planted-bugs")]
        let loss = match cx.config.planted(crate::planted::Bug::RecoveryHidesLoss) {
            true => crate::membership::Loss::Nothing,
            false => loss,
        };
        let why = Why::UnsafeRecovery {
            given_up: given_up.clone(),
            loss,
        };
        let index = self.append_membership(membership, principal, why, cx);
        self.changes.push(Change::Recovered(RecoveryReport {
            index,
            term: self.hard_state.term,
            survivors,
            given_up,
            kept,
            loss,
        }));
    }
}
