//! What a new leader does before its first claims are proposed: it applies its
//! barrier, learns who holds leases, hears one worker and chooses jobs for it.
//! Must not depend on how many jobs wait.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use precentor_core::command::{Claim, ClaimRule, Command, Outcome};
use precentor_core::config::Knobs;
use precentor_core::generation::GenerationCoordinator;
use precentor_core::ids::{NodeId, Term, Ticket, WorkerId, WorkerIncarnation};
use precentor_core::limits::WORKER_SLOTS_MAX;
use precentor_core::request::Poll;
use precentor_core::time::Time;

use super::rig::Rig;
use crate::measuring::processor_time;

/// How often a leader takes over.
const TAKEOVERS: u64 = 101;
/// The worker that polls, and nobody else does.
pub(super) const POLLING: WorkerId = WorkerId(1);
/// Leases that it holds already: half its slots.
const HELD: u64 = WORKER_SLOTS_MAX / 2;

/// How long a takeover took.
pub(super) struct Takeover {
    /// The barrier, who holds leases, and a poll.
    pub(super) begin: Duration,
    /// Jobs chosen for the worker that polled: one entry of claims.
    pub(super) choose: Duration,
}

/// Lets a leader take over many times. The queue is left with some jobs running.
pub(super) fn measure(rig: &mut Rig) -> Result<Vec<Takeover>> {
    let held = usize::try_from(HELD)?;
    let claims = rig.queue.ready().take(held).map(|job| Claim {
        job,
        worker: POLLING,
        rule: ClaimRule::OnlyFit,
    });
    let claims = claims.collect();
    let Outcome::Claimed(tokens) = rig.apply(Command::Claim { claims }) else {
        bail!("jobs are not claimed");
    };
    let tokens = tokens.into_iter().collect::<Result<Vec<_>, _>>();
    let Ok(tokens) = tokens else {
        bail!("a job is not claimed: {tokens:?}");
    };
    let mut took = Vec::new();
    for _ in 0..TAKEOVERS {
        rig.term = Term(rig.term.0 + 1);
        let term = rig.term;
        let barrier = Command::TakeOver {
            term,
            node: NodeId(1),
        };
        let (index, barrier) = rig.entry(barrier);
        let poll = Poll {
            worker: POLLING,
            incarnation: WorkerIncarnation(1),
            slots_free: u32::try_from(WORKER_SLOTS_MAX - HELD)?,
            together_max: 1,
            held: tokens.clone(),
        };
        let mut generation = GenerationCoordinator::new(&Knobs::default());
        let now = Time(1_000_000);
        let start = processor_time();
        let applied = rig.queue.apply(index, term, barrier);
        generation.on_takeover(now, term, &rig.queue);
        let answers = generation.on_poll(now, Ticket(1), poll, &rig.queue);
        let begun = processor_time();
        let commands = generation.propose(now, &rig.queue);
        took.push(Takeover {
            begin: begun - start,
            choose: processor_time() - begun,
        });
        ensure!(applied.outcome == Outcome::TookOver, "{applied:?}");
        ensure!(answers.is_empty(), "there is no news for the worker");
        let given = commands
            .iter()
            .map(|command| command.claims().count() as u64);
        let given: u64 = given.sum();
        ensure!(
            given == WORKER_SLOTS_MAX - HELD,
            "{given} jobs for the free slots of a worker: {commands:?}"
        );
    }
    Ok(took)
}
