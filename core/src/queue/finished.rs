//! Jobs that reached their terminal state. Nothing here ever changes; the
//! oldest are forgotten when there are too many.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{FinishNumber, JobId, Token};
use crate::job::{Class, JobState};

use super::contexts::PlaceId;
use super::table::Table;

/// A finished job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct FinishedJob {
    pub(super) number: FinishNumber,
    pub(super) place: PlaceId,
    pub(super) subject: Digest,
    pub(super) class: Class,
    pub(super) state: JobState,
    pub(super) waiters: u32,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) crashes: u32,
    pub(super) last_token: Option<Token>,
    pub(super) last_error: Option<Box<str>>,
}

/// The finished jobs, by id and in the order in which they ended.
#[derive(Clone, Debug)]
pub(super) struct FinishedJobs {
    pub(super) rows: Table<JobId, FinishedJob>,
    by_number: BTreeMap<FinishNumber, JobId>,
}

impl FinishedJobs {
    pub(super) fn new(rows: Table<JobId, FinishedJob>) -> FinishedJobs {
        let by_number = rows.iter().map(|(id, job)| (job.number, *id)).collect();
        FinishedJobs { rows, by_number }
    }

    pub(super) fn get(&self, id: JobId) -> Option<&FinishedJob> {
        self.rows.get(&id)
    }

    pub(super) fn insert(&mut self, id: JobId, job: FinishedJob) {
        assert!(job.state.is_terminal(), "{id} ended as {:?}", job.state);
        self.by_number.insert(job.number, id);
        let old = self.rows.insert(id, job);
        assert!(old.is_none(), "{id} ended twice, first as {old:?}");
    }

    /// The job that ended first, if there are more than `count_max`.
    pub(super) fn surplus(&self, count_max: u64) -> Option<JobId> {
        let (_, id) = self.by_number.first_key_value()?;
        (self.rows.len() > count_max).then_some(*id)
    }

    /// Forgets a job.
    pub(super) fn remove(&mut self, id: JobId) -> FinishedJob {
        let job = self.rows.remove(&id);
        let job = job.unwrap_or_else(|| panic!("{id} is to be forgotten and is not there"));
        self.by_number.remove(&job.number);
        job
    }

    pub(super) fn after(&self, after: FinishNumber) -> impl Iterator<Item = (JobId, &FinishedJob)> {
        use std::ops::Bound;
        self.by_number
            .range((Bound::Excluded(after), Bound::Unbounded))
            .filter_map(|(_, id)| Some((*id, self.rows.get(id)?)))
    }

    pub(super) fn numbers(&self) -> &BTreeMap<FinishNumber, JobId> {
        &self.by_number
    }
}
