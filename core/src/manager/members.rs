//! Changes of the membership as an operator sees them: asked for, refused or
//! begun, and answered when they are at their end.

use super::{ContextManager, cx};
use crate::cluster::{ChangeRefused, ProposeError};
use crate::event::Now;
use crate::ids::Ticket;
use crate::membership::{Change, ChangeError};
use crate::principal::Principal;
use crate::request::{Refusal, Reply};

impl ContextManager {
    pub(super) fn change_membership(
        &mut self,
        now: Now,
        ticket: Ticket,
        principal: Principal,
        change: Change,
    ) {
        let begun = self
            .cluster
            .propose_change(change, principal, &mut cx!(self, now));
        let reason = match begun {
            Ok(_) => {
                // It may have cancelled a promotion that somebody waits for.
                if let Some(earlier) = self.changing.replace(ticket) {
                    let cancelled = Reply::ChangeRefused(ChangeError::Cancelled { by: change });
                    self.outbox.answer(earlier, cancelled);
                }
                return;
            }
            Err(ChangeRefused::Propose(ProposeError::NotLeader)) => {
                let reply = Reply::NotLeader { leader: None };
                return self.outbox.answer(ticket, reply);
            }
            Err(ChangeRefused::Propose(ProposeError::Refused(reason))) => reason,
            Err(ChangeRefused::TooEarly) => Refusal::NoLeader,
            Err(ChangeRefused::Change(error)) => {
                return self.outbox.answer(ticket, Reply::ChangeRefused(error));
            }
        };
        self.refuse(ticket, reason);
    }

    /// Whoever asked for a change is told when nothing of it is left to do.
    pub(super) fn answer_change(&mut self, now: Now) {
        if self.changing.is_none() || !self.cluster.is_membership_settled(&cx!(self, now)) {
            return;
        }
        let reply = Reply::Membership {
            index: self.log.membership_index(),
            membership: (**self.log.membership()).clone(),
        };
        if let Some(ticket) = self.changing.take() {
            self.outbox.answer(ticket, reply);
        }
    }
}
