//! What a worker does with jobs that it runs together: one call of an engine, in which some
//! may be done before others, and all that are not may fail at once.

use precentor_core::command::Command;
use precentor_core::ids::Token;
use precentor_core::job::{Assignment, FailureClass};

use super::{Worker, is_hopeless};
use crate::desk::Desk;
use crate::tape::{Domain, Roll};

/// When a job of a run that takes so long is done.
pub(super) fn done_us(run_us: u64, roll: &mut Roll) -> u64 {
    match roll.chance(250_000) {
        true => run_us / 2,
        false => run_us,
    }
}

impl Worker {
    /// A run is over at its latest members, of which this is one. If it fails as a whole,
    /// all of these say so: whose word comes first speaks for them all.
    pub(super) fn fail_run(&mut self, token: Token, desk: &mut Desk<'_>) {
        let held = &self.held[&token];
        let Some(batch) = held.assignment.together.filter(|_| held.verdict.is_none()) else {
            return;
        };
        let now_us = desk.now_us;
        let rest = self
            .held
            .iter()
            .filter(|(_, held)| held.assignment.together == Some(batch) && held.verdict.is_none());
        let rest: Vec<Token> = rest.map(|(token, _)| *token).collect();
        let is_last = rest.iter().all(|token| self.held[token].done_us <= now_us);
        if rest.len() < 2 || !is_last {
            return;
        }
        let lane = self.caller.lane;
        // One bad input spoils a run for the others in it.
        let spoilt = |token: &Token| is_hopeless(&self.held[token].assignment, &self.options);
        let spoilt = rest.iter().any(spoilt) && !desk.tape.is_calm();
        let fault = desk
            .tape
            .fault(Domain::RunFailed, lane, self.options.run_fail_ppm);
        if fault.is_none() && !spoilt {
            return;
        }
        let mut roll = fault.unwrap_or_else(|| {
            desk.tape.count(Domain::RunFailed);
            desk.tape.roll(Domain::Worker, lane)
        });
        let class = *roll.pick(&[
            FailureClass::Retryable,
            FailureClass::Retryable,
            FailureClass::Permanent,
            FailureClass::Busy,
        ]);
        for token in rest {
            let held = self.held.get_mut(&token).expect("it was just listed");
            held.verdict = Some(fail_together(&held.assignment, class));
        }
    }
}

fn fail_together(assignment: &Assignment, class: FailureClass) -> Command {
    Command::FailTogether {
        job: assignment.job,
        token: assignment.token,
        class,
        message: "the run gave up".into(),
        retry_after_ms: None,
    }
}
