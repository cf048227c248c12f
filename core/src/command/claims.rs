//! Which jobs a leader gives to which workers, and why that came to nothing.

use serde::{Deserialize, Serialize};

use super::Command;
use crate::ids::{JobId, WorkerId};
use crate::limits::CONTENDERS_NAMED_MAX;

/// One job for one worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The job.
    pub job: JobId,
    /// The worker.
    pub worker: WorkerId,
    /// Why this worker, for the audit.
    pub rule: ClaimRule,
}

/// The rule that chose a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ClaimRule {
    /// It was the only fit one with a free slot.
    OnlyFit,
    /// It had the least share of its slots in use.
    LeastLoaded,
    /// Of those with equal load, it was the least recently used.
    LeastRecentlyUsed,
    /// The job's project is at home there, and it had not much more than the others.
    AtHome,
    /// It gets others of the same queue with it, to run them together.
    WithOthers,
}

/// One job for one worker, and who else was considered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WeighedClaim {
    /// The job and the worker.
    pub claim: Claim,
    /// What the worker had.
    pub load: Load,
    /// How many workers could have taken the job, this one among them.
    pub fit: u32,
    /// The next best of them.
    pub others: [Option<Contender>; CONTENDERS_NAMED_MAX],
}

/// A worker that could have had a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Contender {
    /// Which.
    pub worker: WorkerId,
    /// What it had.
    pub load: Load,
}

/// What workers are compared by. Less is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Thousandths in use of its slots, or of its memory if that is more.
    pub share: u64,
    /// The number of the last claim that it got of this leader, counted from its
    /// take-over; 0 if none.
    pub last_claim: u64,
}

/// Why a claim took no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ClaimRefusal {
    /// No such job, or it is over.
    UnknownJob,
    /// The job may not be claimed as it stands.
    NotReady,
    /// No such worker.
    UnknownWorker,
    /// The worker's slots are all in use.
    NoSlot,
    /// The worker does not offer the job's engine.
    WrongEngine,
    /// Another job of the same context is running.
    ContextRunning,
    /// The cluster, its engine, its tenant or the worker is paused.
    Paused,
    /// Its tenant, engine or project uses as much as it may.
    Limited,
    /// Its engine is held for broken.
    Broken,
    /// The worker is of nobody who may run jobs.
    NotAllowed,
    /// The job may not be run together with the first one of its run.
    NotTogether,
    /// The worker lacks a tag that the job's engine needs.
    LacksTag,
    /// The worker's memory does not suffice for one more such job.
    NoMemory,
}

impl Command {
    /// Which jobs it gives to which workers, in the order of their tokens.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        let (plain, weighed) = match self {
            Command::Claim { claims } => (claims.as_slice(), [].as_slice()),
            Command::ClaimFrom { claims } | Command::ClaimTogether { claims, .. } => {
                ([].as_slice(), claims.as_slice())
            }
            _ => ([].as_slice(), [].as_slice()),
        };
        let weighed = weighed.iter().map(|weighed| &weighed.claim);
        plain.iter().chain(weighed)
    }

    /// The first job of the run in which a claim is, if that is another one.
    #[must_use]
    pub fn first_of_run(&self, position: usize) -> Option<JobId> {
        let Command::ClaimTogether { claims, runs } = self else {
            return None;
        };
        let run = usize::try_from(*runs.get(position)?).ok()?;
        Some(claims.get(run)?.claim.job).filter(|_| run != position)
    }
}
