//! An operator's last resort as the operator sees it: refused, or answered when
//! the survivors have committed that they are the cluster.

use super::{ContextManager, cx};
use crate::event::Now;
use crate::ids::{NodeId, Ticket};
use crate::marks::Mark;
use crate::membership::{RecoveryError, RecoveryReport};
use crate::principal::Principal;
use crate::request::Reply;
use crate::time::Span;

/// Without a leader all voters ask for votes again and again, and answer others:
/// whoever is silent for so many of the longest election timeouts is not there.
const SILENT_TIMEOUTS_MAX: u64 = 10;

/// An operator who waits.
#[derive(Clone, Debug)]
pub(super) struct Recovering {
    pub(super) ticket: Ticket,
    /// What was done, as soon as it has begun.
    report: Option<Box<RecoveryReport>>,
}

impl ContextManager {
    pub(super) fn recover_unsafely(
        &mut self,
        now: Now,
        ticket: Ticket,
        principal: Principal,
        survivors: &[NodeId],
    ) {
        let patience =
            Span::from_ms(SILENT_TIMEOUTS_MAX * self.config.knobs.election_timeout_ms_max);
        let reached: Vec<NodeId> = self.health.reached(now.time, patience).collect();
        let begun =
            self.cluster
                .recover_unsafely(survivors, &reached, principal, &mut cx!(self, now));
        match begun {
            Ok(()) => {
                assert!(self.recovering.is_none(), "one recovery at a time");
                let report = None;
                self.recovering = Some(Recovering { ticket, report });
            }
            Err(error) => {
                self.marks.hit(Mark::UnsafeRecoveryRefused);
                self.outbox.answer(ticket, Reply::RecoveryFailed(error));
            }
        }
    }

    pub(super) fn on_recovered(&mut self, report: RecoveryReport) {
        if let Some(recovering) = &mut self.recovering {
            recovering.report = Some(Box::new(report));
        }
    }

    pub(super) fn on_recovery_failed(&mut self, error: RecoveryError) {
        if let Some(recovering) = self.recovering.take() {
            self.outbox
                .answer(recovering.ticket, Reply::RecoveryFailed(error));
        }
    }

    /// The operator is told when the new membership is committed.
    pub(super) fn answer_recovery(&mut self) {
        let commit = self.cluster.commit();
        let done = |recovering: &mut Recovering| {
            let report = recovering.report.take_if(|report| report.index <= commit)?;
            Some((recovering.ticket, report))
        };
        if let Some((ticket, report)) = self.recovering.as_mut().and_then(done) {
            self.recovering = None;
            self.outbox.answer(ticket, Reply::Recovered(report));
        }
    }
}
