//! Jobs that are run together (QUEUE B1; decision 28), from
//! [`FeatureLevel::JOBS_BATCHED`] on: one call of an engine makes several contexts.
//!
//! Each of them has its own lease, token and end. What they share is that they may fail
//! as a whole, for a reason that need not be theirs: then no failure counts against any
//! of them, and each is run alone from then on, where what comes of it is its own.
//! A job is spared once that way, so its attempts stay bounded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::command::{Command, Outcome, Rejection};
use crate::feature::FeatureLevel;
use crate::ids::{JobId, Token};
use crate::job::FailureClass;
use crate::limits::BATCH_JOBS_MAX;

use super::QueueManager;
use super::attempts::{Told, check_range};
use super::consistency::ensure;
use super::jobs::Phase;
use super::table::Table;

/// What is kept of a job that is run with others, or was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Together {
    /// It runs with the others of its batch.
    In {
        /// The token that the first claim of its run would have got: it names the batch.
        batch: Token,
    },
    /// It was spared once, and is run alone.
    Alone,
}

/// Who runs with whom.
#[derive(Clone, Debug)]
pub(super) struct Batches {
    /// Of unfinished jobs.
    pub(super) rows: Table<JobId, Together>,
    members: BTreeMap<Token, BTreeSet<JobId>>,
}

impl Batches {
    pub(super) fn new(rows: Table<JobId, Together>) -> Batches {
        let mut members: BTreeMap<Token, BTreeSet<JobId>> = BTreeMap::new();
        for (id, row) in rows.iter() {
            if let Together::In { batch } = row {
                members.entry(*batch).or_default().insert(*id);
            }
        }
        Batches { rows, members }
    }

    fn join(&mut self, batch: Token, jobs: Vec<JobId>) {
        for id in &jobs {
            let before = self.rows.insert(*id, Together::In { batch });
            assert!(before.is_none(), "{id} joins {batch:?} and is {before:?}");
        }
        let before = self.members.insert(batch, jobs.into_iter().collect());
        assert!(before.is_none(), "two batches are called {batch:?}");
    }

    /// A job's attempt ends: it is run with others no more. Says with whom it was.
    pub(super) fn leave(&mut self, id: JobId) -> Option<Token> {
        let batch = self.of(id)?;
        self.rows.remove(&id);
        let members = self.members.get_mut(&batch);
        let members = members.expect("a batch has members as long as one is in it");
        members.remove(&id);
        if members.is_empty() {
            self.members.remove(&batch);
        }
        Some(batch)
    }

    /// A job is over.
    pub(super) fn forget(&mut self, id: JobId) {
        if self.leave(id).is_none() {
            self.rows.remove(&id);
        }
    }

    /// A job was spared: from now on it is run alone.
    pub(super) fn spare(&mut self, id: JobId) {
        let before = self.rows.insert(id, Together::Alone);
        assert!(before.is_none(), "{id} is spared, and is {before:?}");
    }

    fn of(&self, id: JobId) -> Option<Token> {
        match self.rows.get(&id)? {
            Together::In { batch } => Some(*batch),
            Together::Alone => None,
        }
    }

    fn is_alone(&self, id: JobId) -> bool {
        self.rows.get(&id) == Some(&Together::Alone)
    }
}

/// Are jobs run together at this level?
pub(super) fn holds_batches(level: FeatureLevel) -> bool {
    level >= FeatureLevel::JOBS_BATCHED
}

/// Runs that begin at one of their claims, and are as long as one may be.
pub(super) fn check_runs(command: &Command) -> Result<(), Rejection> {
    let Command::ClaimTogether { claims, runs } = command else {
        return Ok(());
    };
    let count = claims.len() as u64;
    check_range("the runs of an entry", runs.len() as u64, count, count)?;
    let mut lengths: BTreeMap<u32, u64> = BTreeMap::new();
    for (position, run) in (0u32..).zip(runs) {
        let first = match lengths.get(run) {
            Some(_) => *run,
            None => position,
        };
        let (found, right) = (u64::from(*run), u64::from(first));
        check_range("where a run begins", found, right, right)?;
        let length = lengths.entry(*run).or_default();
        *length += 1;
        check_range("the jobs of a run", *length, 1, BATCH_JOBS_MAX)?;
    }
    Ok(())
}

impl QueueManager {
    /// May a ready job be run together with one that was just given to a worker? Jobs of
    /// one queue and one generator may, unless one of them is to be run alone, or their
    /// engine is only tried.
    pub(super) fn may_join(&self, id: JobId, first: JobId) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::BatchOfStrangers) {
            return true;
        }
        let (job, other) = (self.jobs.expect(id), self.jobs.expect(first));
        let (origin, others) = (&job.origin, &other.origin);
        job.class == other.class
            && origin.tenant == others.tenant
            && origin.generator == others.generator
            && !self.is_alone(id)
            && !self.is_alone(first)
            && self.probes_left(&origin.generator.engine).is_none()
    }

    /// Is a job not to be run with others, for a run of it with others failed?
    #[must_use]
    pub fn is_alone(&self, id: JobId) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::SparedAgain) {
            return false;
        }
        self.batches.is_alone(id)
    }

    /// The batch that a running job is part of.
    #[must_use]
    pub fn batch_of(&self, id: JobId) -> Option<Token> {
        self.batches.of(id)
    }

    /// Jobs were given out in one run: if these are more than one, they are together.
    pub(super) fn begin_batch(&mut self, batch: Token, jobs: Vec<JobId>) {
        if jobs.len() > 1 {
            // One that was spared is among them only by a bug.
            #[cfg(feature = "planted-bugs")]
            for id in &jobs {
                self.batches.forget(*id);
            }
            self.batches.join(batch, jobs);
        }
    }

    /// A run failed as a whole, as whoever holds one of its jobs says.
    pub(super) fn fail_together(
        &mut self,
        id: JobId,
        token: Token,
        class: FailureClass,
        message: &str,
        retry_after_ms: Option<u64>,
    ) -> Result<Outcome, Rejection> {
        self.check_holds(id, token)?;
        let batch = self.batches.of(id);
        let members = batch.and_then(|batch| self.batches.members.get(&batch));
        let mates: Vec<JobId> = members
            .into_iter()
            .flatten()
            .copied()
            .filter(|mate| *mate != id)
            .collect();
        let after = self.fail_told(id, class, message, retry_after_ms, Told::Whole);
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::MatesRunOn) {
            return Ok(Outcome::FailedTogether { jobs: 1, after });
        }
        for mate in &mates {
            self.fail_told(*mate, class, message, retry_after_ms, Told::WholeBefore);
        }
        let jobs = 1 + u32::try_from(mates.len()).expect("a batch is small");
        Ok(Outcome::FailedTogether { jobs, after })
    }

    pub(super) fn check_batches(&self) -> Result<(), String> {
        let batches = &self.batches;
        ensure!(
            holds_batches(self.level) || batches.rows.is_empty(),
            "batches are kept below their level"
        );
        let mut members: BTreeMap<Token, BTreeSet<JobId>> = BTreeMap::new();
        for (id, row) in batches.rows.iter() {
            let Some(job) = self.jobs.get(*id) else {
                return Err(format!("{id} is {row:?}, and is over"));
            };
            let Together::In { batch } = *row else {
                continue;
            };
            let Phase::Running(lease) = job.phase() else {
                return Err(format!("{id} is in {batch:?}, and does not run"));
            };
            ensure!(
                lease.token.index == batch.index && lease.token >= batch,
                "{id} runs by {:?}, and is in {batch:?}",
                lease.token
            );
            let mates = members.entry(batch).or_default();
            if let Some(mate) = mates.first() {
                let other = self.jobs.expect(*mate);
                ensure!(
                    matches!(other.phase(), Phase::Running(held) if held.worker == lease.worker)
                        && other.origin.generator == job.origin.generator
                        && other.origin.tenant == job.origin.tenant,
                    "{mate} and {id} are in {batch:?}"
                );
            }
            mates.insert(*id);
            ensure!(
                mates.len() as u64 <= BATCH_JOBS_MAX,
                "{batch:?} is too large"
            );
        }
        ensure!(members == batches.members, "the index of batches is wrong");
        Ok(())
    }
}
