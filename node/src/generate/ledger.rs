//! The client's own book of what it asked for and what came of it. It believes
//! nothing but the answers it got; at the end it is held against the cluster's
//! state, and that is where `lost` and `duplicated` come from.

use std::collections::{BTreeMap, HashMap, HashSet};

use precentor_core::address::Address;
use precentor_core::command::Admission;
use precentor_core::digest::Digest;
use precentor_core::ids::{FinishNumber, JobId};
use precentor_core::job::{DeadReason, Finished, JobState, JobView};

#[cfg(test)]
mod tests;

/// One accepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What was asked for.
    pub address: Address,
    /// The input it was asked for.
    pub subject: Digest,
    /// The job that answers for it.
    pub job: JobId,
    /// How it was admitted.
    pub admission: Admission,
}

/// A request that ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// What was asked for.
    pub uri: String,
    /// Why there is nothing.
    pub reason: String,
}

/// The totals of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Requests that were accepted.
    pub requested: u64,
    /// Of these, results made in this run.
    pub generated: u64,
    /// Of these, results that were there.
    pub from_cache: u64,
    /// Of these, ended without a result.
    pub failed: u64,
    /// Of these, without a terminal state.
    pub lost: u64,
    /// Effects beyond the one that each request may have.
    pub duplicated: u64,
}

/// The book.
#[derive(Debug, Default)]
pub struct Ledger {
    accepted: Vec<Accepted>,
    /// How each job of the run ended, as the feed told it.
    ended: HashMap<JobId, JobState>,
    /// Jobs that the book asks about and that have not ended.
    open: HashSet<JobId>,
    /// Results made for one input of one address in this run.
    made: HashMap<(Address, Digest), JobId>,
    last: FinishNumber,
    duplicated: u64,
}

impl Ledger {
    /// An empty book, for a run that begins after `last` in the feed.
    #[must_use]
    pub fn after(last: FinishNumber) -> Ledger {
        Ledger {
            last,
            ..Ledger::default()
        }
    }

    /// A request was accepted.
    pub fn accept(&mut self, accepted: Accepted) {
        let done = matches!(accepted.admission, Admission::FromCache);
        if !done && !self.ended.contains_key(&accepted.job) {
            self.open.insert(accepted.job);
        }
        self.accepted.push(accepted);
    }

    /// The feed tells how a job ended.
    pub fn finish(&mut self, finished: Finished) {
        let Finished {
            number,
            job,
            address,
            subject,
            state,
            attempts: _,
        } = finished;
        if number <= self.last {
            // Told again after a failover: no second effect.
            return;
        }
        self.last = number;
        if matches!(
            state,
            JobState::Done {
                from_cache: false,
                ..
            }
        ) && self.made.insert((address, subject), job).is_some()
        {
            self.duplicated += 1;
        }
        if self.ended.insert(job, state).is_some() {
            self.duplicated += 1;
        }
        self.open.remove(&job);
    }

    /// The last number of the feed that is in the book.
    #[must_use]
    pub fn last(&self) -> FinishNumber {
        self.last
    }

    /// Requests accepted so far.
    #[must_use]
    pub fn accepted_count(&self) -> u64 {
        self.accepted.len() as u64
    }

    /// Jobs that have not ended.
    #[must_use]
    pub fn open_count(&self) -> u64 {
        self.open.len() as u64
    }

    /// Jobs that the final state must be asked about, each once.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobId> {
        let all: HashSet<JobId> = self.accepted.iter().map(|accepted| accepted.job).collect();
        let mut all: Vec<JobId> = all.into_iter().collect();
        all.sort_unstable();
        all
    }

    /// Holds the book against the cluster's final state: what `state` says of
    /// each job of [`Ledger::jobs`]. The state's word counts for what is lost;
    /// where both speak, a difference is an effect too many.
    #[must_use]
    pub fn close(&self, state: &BTreeMap<JobId, Option<JobView>>) -> (Totals, Vec<Failure>) {
        let mut totals = Totals {
            requested: self.accepted_count(),
            duplicated: self.duplicated,
            ..Totals::default()
        };
        let mut failures = Vec::new();
        for accepted in &self.accepted {
            let told = self.ended.get(&accepted.job);
            let found = state.get(&accepted.job).and_then(Option::as_ref);
            if found.is_some_and(|view| view.address != accepted.address) {
                // Another job answers under this one's name.
                totals.lost += 1;
                continue;
            }
            let ended = match (found.map(|view| &view.state), told) {
                (Some(found), Some(told)) if found.is_terminal() && found != told => {
                    totals.duplicated += 1;
                    Some(found)
                }
                (Some(found), _) => Some(found),
                // Purged from the state as one of very many; the feed told its end.
                (None, told) => told,
            };
            match ended {
                Some(JobState::Done { from_cache, .. }) => {
                    if *from_cache || accepted.admission == Admission::FromCache {
                        totals.from_cache += 1;
                    } else {
                        totals.generated += 1;
                    }
                }
                Some(state) if state.is_terminal() => {
                    totals.failed += 1;
                    failures.push(Failure {
                        uri: accepted.address.to_string(),
                        reason: reason(state),
                    });
                }
                Some(_) | None => totals.lost += 1,
            }
        }
        failures.sort();
        (totals, failures)
    }
}

/// Why a job that ended has no result, in words.
fn reason(state: &JobState) -> String {
    match state {
        JobState::Dead(
            DeadReason::Permanent { message } | DeadReason::Failures { count: 1, message },
        ) => message.clone(),
        JobState::Dead(DeadReason::Failures { count, message }) => {
            format!("failed {count} times, the last time: {message}")
        }
        JobState::Dead(DeadReason::Crashes { count }) => {
            format!("lost its worker {count} times: it may be what kills them")
        }
        JobState::Cancelled => "cancelled".to_owned(),
        JobState::DependencyFailed { dependency } => {
            format!("needs {dependency}, which ended without a result")
        }
        JobState::Superseded { by } => format!("replaced by the newer request {by}"),
        JobState::Waiting { .. }
        | JobState::Delayed { .. }
        | JobState::Ready
        | JobState::Running(_)
        | JobState::Parked
        | JobState::Done { .. } => format!("{state:?}"),
    }
}
