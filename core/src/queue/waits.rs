//! Which session waits for which job: what a session needs to take a request
//! back without taking those of others (decision 17). Kept from
//! [`FeatureLevel::JOBS_CANCELLED`] on.
//!
//! A wait stands at the job that the session was told of. Who answers for that
//! one by now is found along [`JobState::Superseded`], so that a newer input costs
//! nothing for those who wait. All waits whose way leads to a job are among its
//! `waiters`; a request from before the level is counted there, and has no wait.

use crate::command::{Admission, Submitted};
use crate::feature::FeatureLevel;
use crate::ids::{JobId, SessionId};
use crate::job::JobState;
use crate::limits::WAITS_MAX;

use super::QueueManager;
use super::table::Table;

/// Are waits kept in a state at a level, and part of its image? Before there are none,
/// and an older program reads the image.
pub(super) fn holds_waits(level: FeatureLevel) -> bool {
    level >= FeatureLevel::JOBS_CANCELLED
}

/// How many items of a session a job answers for, by what the session was told.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    pub(super) rows: Table<(JobId, SessionId), u32>,
}

impl Waits {
    pub(super) fn new(rows: Table<(JobId, SessionId), u32>) -> Waits {
        Waits { rows }
    }

    #[cfg(feature = "planted-bugs")]
    pub(super) fn get(&self, job: JobId, session: SessionId) -> Option<u32> {
        self.rows.get(&(job, session)).copied()
    }

    /// Notes some more. Beyond the bound nothing is noted of a job that the
    /// session does not wait for yet: the request is done, and cannot be left.
    pub(super) fn add(&mut self, job: JobId, session: SessionId, count: u32) {
        let key = (job, session);
        let more = self
            .rows
            .update(&key, |known| *known = known.saturating_add(count));
        if more.is_none() && self.rows.len() < WAITS_MAX {
            self.rows.insert(key, count);
        }
    }

    pub(super) fn take(&mut self, job: JobId, session: SessionId) -> Option<u32> {
        self.rows.remove(&(job, session))
    }

    /// Somebody who waits for a job.
    pub(super) fn first_of(&self, job: JobId) -> Option<SessionId> {
        let all = (job, SessionId(0))..=(job, SessionId(u64::MAX));
        let ((_, session), _) = self.rows.range(all).next()?;
        Some(*session)
    }
}

/// Where the way from a job along newer inputs leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Followed<'a> {
    /// To this unfinished job: the one itself, or a newer input.
    Unfinished(JobId),
    /// To this job, which ended so.
    Over(JobId, &'a JobState),
    /// To this one, which is not known: it never was, or was forgotten.
    Unknown(JobId),
    /// Further than the steps that were left: on from here.
    Further(JobId),
}

impl QueueManager {
    /// Who answers for a job, within so many steps along newer inputs, and how that ended.
    #[must_use]
    pub fn follow(&self, job: JobId, steps: &mut u64) -> Followed<'_> {
        let mut at = job;
        loop {
            if self.jobs.get(at).is_some() {
                return Followed::Unfinished(at);
            }
            match self.finished.get(at).map(|finished| &finished.state) {
                Some(JobState::Superseded { .. }) if *steps == 0 => return Followed::Further(at),
                Some(JobState::Superseded { by }) => at = *by,
                Some(state) => return Followed::Over(at, state),
                None => return Followed::Unknown(at),
            }
            *steps -= 1;
        }
    }

    /// Are waits kept?
    pub(super) fn keeps_waits(&self) -> bool {
        holds_waits(self.level)
    }

    /// A session was told which jobs answer for its items.
    pub(super) fn note_waits(&mut self, session: SessionId, submitted: &[Submitted]) {
        if !self.keeps_waits() {
            return;
        }
        for Submitted { job, how } in submitted {
            // Whatever else is over by now gave way to another item of the batch.
            if !matches!(how, Admission::FromCache | Admission::FailedBefore) {
                self.waits.add(*job, session, 1);
            }
        }
    }

    /// Takes one wait off a finished job, whose row is to go or whose end was the
    /// end of what was waited for: it goes on to the newer input, if there is one
    /// that is known. Says whether there was a wait.
    pub(super) fn move_wait_on(&mut self, job: JobId) -> bool {
        let Some(session) = self.waits.first_of(job) else {
            return false;
        };
        let count = self.waits.take(job, session);
        let count = count.expect("it was found a line ago");
        let finished = self.finished.get(job);
        if let Some(JobState::Superseded { by }) = finished.map(|finished| &finished.state) {
            let by = *by;
            let is_open = self.jobs.get(by).is_some()
                || self
                    .finished
                    .get(by)
                    .is_some_and(|next| matches!(next.state, JobState::Superseded { .. }));
            if is_open {
                self.waits.add(by, session, count);
            }
        }
        true
    }
}
