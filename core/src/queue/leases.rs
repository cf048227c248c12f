//! Who holds what, by the log. Derived from the running jobs. Knows no time:
//! how long a lease lasts is the leader's business, not the state's.

use std::collections::BTreeMap;

use crate::ids::{JobId, Token, WorkerId};

/// All leases, by holder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Leases {
    by_worker: BTreeMap<WorkerId, BTreeMap<Token, JobId>>,
}

impl Leases {
    pub(super) fn insert(&mut self, worker: WorkerId, token: Token, job: JobId) {
        let old = self.by_worker.entry(worker).or_default().insert(token, job);
        assert!(old.is_none(), "{token} was issued before, for {old:?}");
    }

    pub(super) fn remove(&mut self, worker: WorkerId, token: Token) {
        let held = self.by_worker.get_mut(&worker);
        let held = held.unwrap_or_else(|| panic!("{worker} holds a lease and is not in the index"));
        let job = held.remove(&token);
        assert!(job.is_some(), "{token} of {worker} is not in the index");
        if held.is_empty() {
            self.by_worker.remove(&worker);
        }
    }

    pub(super) fn count(&self, worker: WorkerId) -> u64 {
        self.by_worker
            .get(&worker)
            .map_or(0, |held| held.len() as u64)
    }

    pub(super) fn of(&self, worker: WorkerId) -> impl Iterator<Item = (Token, JobId)> {
        self.by_worker
            .get(&worker)
            .into_iter()
            .flatten()
            .map(|(token, job)| (*token, *job))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, Token, JobId)> {
        self.by_worker
            .iter()
            .flat_map(|(worker, held)| held.iter().map(move |(token, job)| (*worker, *token, *job)))
    }
}
