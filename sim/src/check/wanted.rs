//! Is a job taken from nobody who waits for it, and none done for nobody? What a
//! session waits for is what it was told, until an entry says that it leaves just
//! that; who answers for it by now is where newer inputs lead. Simulated states
//! purge nothing, so a job is left by the name that it was told by.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::address::Address;
use precentor_core::command::Command;
use precentor_core::ids::{JobId, LogIndex, SessionId};
use precentor_core::job::{Finished, JobState};
use precentor_core::view::View;

use super::history::Told;
use super::logs::Logs;
use super::queue::Queue;
use super::{Checker, Verdict, ensure};

/// Who waits for what.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Where a session was told last that a job answers for it.
    told: BTreeMap<(JobId, SessionId), LogIndex>,
    /// Where it left that job last.
    left: BTreeMap<(JobId, SessionId), LogIndex>,
    /// Jobs that an entry cancels for all.
    cancelled: BTreeSet<JobId>,
    /// Addresses that some request depends on.
    needed: BTreeSet<Address>,
    /// Which jobs a job took the place of.
    older: BTreeMap<JobId, Vec<JobId>>,
    /// Which job took the place of a job.
    newer: BTreeMap<JobId, JobId>,
    /// Jobs that ended as cancelled.
    ended: BTreeSet<JobId>,
    /// Items of the feed that were judged.
    judged: usize,
}

impl Wanted {
    pub(super) fn on_committed(&mut self, index: LogIndex, logs: &Logs) {
        let entry = logs.get(index).and_then(|c| c.command.as_ref());
        let Some(entry) = entry else { return };
        match (&entry.command, entry.request) {
            (Command::Leave { jobs }, Some(request)) => {
                let left = jobs.iter().map(|job| ((*job, request.session), index));
                self.left.extend(left);
            }
            (Command::Cancel { jobs }, _) => self.cancelled.extend(jobs),
            (Command::Submit { items } | Command::Ask { items, .. }, _) => {
                let needed = items.iter().flat_map(|item| &item.dependencies);
                self.needed
                    .extend(needed.map(|dependency| dependency.address.clone()));
            }
            _ => {}
        }
    }

    /// What ended since, judged at the replica that showed it first.
    pub(super) fn on_turn(&mut self, view: &View<'_>, queue: &Queue) -> Verdict {
        for finished in &queue.feed()[self.judged..] {
            self.judged += 1;
            self.on_finished(finished, view)?;
        }
        Ok(())
    }

    fn on_finished(&mut self, finished: &Finished, view: &View<'_>) -> Verdict {
        let job = finished.job;
        match finished.state {
            JobState::Superseded { by } => {
                self.older.entry(by).or_default().push(job);
                self.newer.insert(job, by);
                return Ok(());
            }
            JobState::Cancelled => {
                self.ended.insert(job);
                return self.check_cancelled(job);
            }
            JobState::DependencyFailed { dependency } => {
                // Whoever is depended on is wanted: only an order for all ends it.
                ensure(
                    !self.ended.contains(&dependency) || self.cancelled.contains(&dependency),
                    Checker::WantedJobs,
                    || format!("{dependency} was cancelled by leaving it, and {job} needed it"),
                )?;
            }
            _ => {}
        }
        let waiters = view.queue().job(job).map_or(1, |job| job.waiters);
        ensure(
            waiters > 0 || self.needed.contains(&finished.address),
            Checker::WantedJobs,
            || {
                format!(
                    "{job} ended as {:?}: nobody waited for it, and nothing ever needed {}",
                    finished.state, finished.address
                )
            },
        )
    }

    /// A session was told of jobs: they may have ended before the answer got out.
    pub(super) fn on_told(&mut self, told: &Told) -> Verdict {
        for job in &told.jobs {
            let at = self.told.entry((*job, told.session)).or_insert(told.at);
            *at = told.at.max(*at);
            let mut answers = *job;
            while let Some(newer) = self.newer.get(&answers) {
                answers = *newer;
            }
            if self.ended.contains(&answers) {
                self.check_left(answers, *job)?;
            }
        }
        Ok(())
    }

    /// Everybody whom this job answered for has left it, unless it was ended for all.
    fn check_cancelled(&self, job: JobId) -> Verdict {
        let mut names = vec![job];
        while let Some(name) = names.pop() {
            self.check_left(job, name)?;
            names.extend(self.older.get(&name).into_iter().flatten());
        }
        Ok(())
    }

    fn check_left(&self, job: JobId, name: JobId) -> Verdict {
        if self.cancelled.contains(&job) {
            return Ok(());
        }
        let all = (name, SessionId(0))..=(name, SessionId(u64::MAX));
        for ((_, session), told) in self.told.range(all) {
            let left = self.left.get(&(name, *session));
            ensure(
                left.is_some_and(|left| left > told),
                Checker::WantedJobs,
                || {
                    format!(
                        "{job} was cancelled; {session} was told of {name} at {told}, and left it at {left:?}"
                    )
                },
            )?;
        }
        Ok(())
    }
}
