//! Requests that one client takes back, and jobs that it ends for all. Knows which
//! jobs it was told of, and not what became of them: some are over, or were left
//! before, and are left again.

use std::collections::VecDeque;

use precentor_core::command::Command;
use precentor_core::ids::JobId;

use crate::scenario::ClientOptions;
use crate::tape::{Domain, Roll, Tape};

/// Jobs that a client remembers.
const KNOWN_MAX: usize = 8;
/// Jobs of one request.
const JOBS_MAX: u64 = 3;

/// What one client may take back.
#[derive(Clone, Debug, Default)]
pub(super) struct TakingBack {
    told: VecDeque<JobId>,
    left: VecDeque<JobId>,
}

impl TakingBack {
    /// The client was told of a job.
    pub(super) fn on_job(&mut self, job: JobId) {
        note(&mut self.told, job);
    }

    /// What it takes back now, if it does.
    pub(super) fn next(
        &mut self,
        tape: &mut Tape,
        lane: u32,
        options: &ClientOptions,
    ) -> Option<Command> {
        if !self.left.is_empty()
            && let Some(mut roll) = tape.fault(Domain::LeaveAgain, lane, options.leave_ppm / 2)
        {
            let jobs = some_of(&self.left, &mut roll);
            return Some(Command::Leave { jobs });
        }
        if self.told.is_empty() {
            return None;
        }
        if let Some(mut roll) = tape.fault(Domain::Leave, lane, options.leave_ppm) {
            let jobs = some_of(&self.told, &mut roll);
            for job in &jobs {
                note(&mut self.left, *job);
            }
            return Some(Command::Leave { jobs });
        }
        let mut roll = tape.fault(Domain::Cancel, lane, options.cancel_ppm)?;
        let jobs = some_of(&self.told, &mut roll);
        Some(Command::Cancel { jobs })
    }
}

/// Keeps the last few jobs in mind.
pub(super) fn note(jobs: &mut VecDeque<JobId>, job: JobId) {
    if jobs.len() == KNOWN_MAX {
        jobs.pop_front();
    }
    jobs.push_back(job);
}

/// One job or a few, the latest more often, and at times one twice.
pub(super) fn some_of(jobs: &VecDeque<JobId>, roll: &mut Roll) -> Vec<JobId> {
    let count = roll.between(1, JOBS_MAX);
    let last = jobs.len() as u64 - 1;
    let pick = |_| jobs[(last - roll.below(last + 1).min(roll.below(last + 1))) as usize];
    (0..count).map(pick).collect()
}
