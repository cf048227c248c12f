//! Requests that are taken back, and jobs that nobody wants any more (QUEUE X1,
//! W1; decision 17).
//!
//! A job is wanted while a request waits for it, or an unfinished job that
//! depends on it. When neither does, it ends, also in the middle of a run.

use crate::command::{Cancellation, Rejection};
use crate::ids::{JobId, SessionId, WorkerId};
use crate::job::JobState;
use crate::limits::CANCEL_JOBS_MAX;

use super::QueueManager;
use super::contexts::PlaceId;
use super::dependencies::Ended;
use super::jobs::{Job, Phase};
use super::waiters::Walk;
use super::waits::Followed;

/// Steps along newer inputs that one entry may take.
const STEPS_PER_ENTRY_MAX: u64 = 10_000;
/// Edges that are looked at for one of an unfinished job. If there are more, it
/// shows when they are dropped whether the job is wanted.
const STALE_EDGES_LOOKED_AT_MAX: usize = 64;

impl QueueManager {
    /// A session waits for these jobs no longer.
    pub(super) fn leave(
        &mut self,
        jobs: &[JobId],
        session: Option<SessionId>,
    ) -> Result<Vec<Cancellation>, Rejection> {
        check_count(jobs)?;
        let session = session.ok_or(Rejection::NoSession)?;
        let mut steps = STEPS_PER_ENTRY_MAX;
        let left = jobs
            .iter()
            .map(|job| self.leave_one(*job, session, &mut steps));
        Ok(left.collect())
    }

    fn leave_one(&mut self, told: JobId, session: SessionId, steps: &mut u64) -> Cancellation {
        let id = match self.follow(told, steps) {
            Followed::Unfinished(id) => id,
            Followed::Unknown(id) if id == told => return Cancellation::Unknown,
            // Nothing newer is forgotten before it is over.
            Followed::Over(..) | Followed::Unknown(_) => return Cancellation::Over,
            Followed::Further(job) => {
                return match self.waits.take(told, session) {
                    Some(count) => {
                        self.waits.add(job, session, count);
                        Cancellation::Further { job }
                    }
                    None => Cancellation::NotWaitedFor,
                };
            }
        };
        let Some(count) = self.take_wait(told, session) else {
            return Cancellation::NotWaitedFor;
        };
        #[cfg(feature = "planted-bugs")]
        let may_be_fewer = self.is_planted(crate::planted::Bug::LeftTwice);
        self.jobs.change(id, &mut self.timers, |job| {
            let waiters = job.waiters.checked_sub(count);
            #[cfg(feature = "planted-bugs")]
            let waiters = waiters.or(may_be_fewer.then_some(0));
            job.waiters = waiters.unwrap_or_else(|| panic!("{id} is left by more than wait"));
        });
        match self.is_wanted(id) {
            #[cfg(feature = "planted-bugs")]
            true if self.is_planted(crate::planted::Bug::LeavingEndsAll) => {}
            #[cfg(feature = "planted-bugs")]
            false if self.is_planted(crate::planted::Bug::UnwantedGoesOn) => {
                return Cancellation::Left;
            }
            true => return Cancellation::Left,
            false => {}
        }
        Cancellation::Ended {
            stops: self.end_as_cancelled(id),
        }
    }

    /// Ends these jobs, whoever waits.
    pub(super) fn cancel(&mut self, jobs: &[JobId]) -> Result<Vec<Cancellation>, Rejection> {
        check_count(jobs)?;
        let mut walk = Walk::new();
        let ended = jobs.iter().map(|job| self.cancel_one(*job, &mut walk));
        Ok(ended.collect())
    }

    fn cancel_one(&mut self, id: JobId, walk: &mut Walk) -> Cancellation {
        if self.jobs.get(id).is_none() {
            return match self.finished.get(id) {
                Some(_) => Cancellation::Over,
                None => Cancellation::Unknown,
            };
        }
        // A newer input that is parked behind it takes over what depends on it.
        let stops = match self.takes_over(id, walk) {
            None => self.end_as_cancelled(id),
            Some(heir) => {
                let job = self.jobs.expect(id);
                let (place, has_dependents) = (job.place, self.has_dependents(job));
                let stops = self.note_stop(id);
                let legacy = self.retire(id, JobState::Cancelled);
                self.promote(place);
                self.inherit(heir, legacy.without_waiters(has_dependents), walk);
                stops
            }
        };
        Cancellation::Ended { stops }
    }

    /// A session's wait for a job, which thereby ends.
    fn take_wait(&mut self, told: JobId, session: SessionId) -> Option<u32> {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::LeftTwice) {
            return self.waits.get(told, session);
        }
        self.waits.take(told, session)
    }

    /// Ends a job that nobody may want any more; says who was running it.
    fn end_as_cancelled(&mut self, id: JobId) -> Option<WorkerId> {
        let place = self.jobs.expect(id).place;
        let stops = self.note_stop(id);
        self.finish(id, JobState::Cancelled, Some(Ended::Failed(id)));
        self.promote(place);
        stops
    }

    /// Whoever runs a job that is to end must hear of it.
    fn note_stop(&mut self, id: JobId) -> Option<WorkerId> {
        let stops = match self.jobs.expect(id).phase() {
            Phase::Running(lease) => Some(lease.worker),
            Phase::Waiting | Phase::Delayed { .. } | Phase::Ready | Phase::Parked => None,
        };
        self.stopped.extend(stops);
        stops
    }

    /// Ends the unfinished job that answers for a line of which one dependent
    /// less waits, if that was the last one who wanted it. Says whether it did.
    pub(super) fn end_if_unwanted(&mut self, place: PlaceId, line: JobId) -> bool {
        let Some(id) = self.answers_for(place, line) else {
            return false;
        };
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::UnwantedGoesOn) {
            return false;
        }
        let ends = !self.may_be_wanted(self.jobs.expect(id));
        if ends {
            self.end_as_cancelled(id);
        }
        ends
    }

    /// Does a request wait for it, or an edge, be it of a job that is over? That
    /// one is about to be dropped, and then it is asked again.
    pub(super) fn may_be_wanted(&self, job: &Job) -> bool {
        job.waiters > 0 || job.lines().any(|line| self.edges.has_waiting(line))
    }

    /// Does a request or an unfinished dependent wait for it?
    fn is_wanted(&self, id: JobId) -> bool {
        let job = self.jobs.expect(id);
        job.waiters > 0 || self.has_dependents(job)
    }

    /// Does an unfinished job depend on it? Says yes if it cannot tell within its bound.
    fn has_dependents(&self, job: &Job) -> bool {
        let mut edges = job.lines().flat_map(|line| self.edges.waiting_for(line));
        let mut first = edges.by_ref().take(STALE_EDGES_LOOKED_AT_MAX);
        first.any(|key| self.jobs.get(key.dependent).is_some()) || edges.next().is_some()
    }
}

fn check_count(jobs: &[JobId]) -> Result<(), Rejection> {
    let (found, limit) = (jobs.len() as u64, CANCEL_JOBS_MAX);
    if found == 0 || found > limit {
        return Err(Rejection::JobCount { found, limit });
    }
    Ok(())
}
