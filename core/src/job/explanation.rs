//! Why a job is where it is, in words and in parts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::ids::{JobId, WorkerId};
use crate::time::Stamp;

use super::{AccountView, BreakerView, JobState, JobView, Lacking, Lease, Pause};

/// Why a job is where it is, and what would move it (QUEUE F6).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The job.
    pub job: JobView,
    /// What a worker must offer; none if that is not kept any more.
    pub engine: Option<String>,
    /// On whose account it runs; none if that is not kept any more.
    pub tenant: Option<String>,
    /// What keeps it from its end, the nearest first. Empty if it is over.
    pub holds: Vec<Hold>,
    /// If it failed for want of another job: that one, and the one for want of which
    /// that failed, and so on to the one that failed of itself, as far as they are
    /// kept. At most [`EXPLAINED_CAUSES_MAX`](crate::limits::EXPLAINED_CAUSES_MAX).
    pub causes: Vec<JobView>,
    /// The job that answers for it by now: of a newer input that took its place, or
    /// one that does it again.
    pub instead: Option<JobId>,
}

/// One thing that keeps a job from its end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Hold {
    /// It waits for other jobs.
    Dependencies {
        /// How many are not over.
        open: u32,
        /// The first of these, in the order in which they were asked for. At most
        /// [`EXPLAINED_DEPENDENCIES_MAX`](crate::limits::EXPLAINED_DEPENDENCIES_MAX).
        first: Vec<OpenDependency>,
    },
    /// It is not to start yet: as it was asked for, or because an attempt failed.
    Delay {
        /// Until then, in cluster time.
        until: Stamp,
        /// The cluster's time now.
        now: Stamp,
    },
    /// An older input of its context is running.
    Behind {
        /// As this job.
        job: JobId,
    },
    /// It is paused.
    Paused(Pause),
    /// No registered worker offers its engine that is not paused and may run jobs.
    NoWorker,
    /// It is ready, and its turn has not come.
    Turn {
        /// Ready jobs of its queue that go first.
        ahead: u64,
        /// There are more of them than were counted.
        ahead_is_least: bool,
        /// Queues that take turns: of each class and tenant one for each engine.
        queues: u64,
        /// Workers that offer its engine, are not paused and may run jobs.
        workers: u64,
        /// Jobs that they can run at a time, together.
        slots: u64,
        /// Jobs that they run.
        taken: u64,
        /// A worker that it does not go to while another offers its engine: it was
        /// lost with the job, after another one was.
        avoids: Option<WorkerId>,
    },
    /// A worker runs it.
    Running {
        /// By which right.
        lease: Lease,
        /// Which attempt it is, from 1.
        attempt: u32,
        /// Since when, in cluster time; none if that is not kept.
        since: Option<Stamp>,
    },
    /// Its tenant, engine or project uses as much as it may.
    Limited(AccountView),
    /// Its engine is held for broken.
    Broken(BreakerView),
    /// No worker that offers its engine has what that needs.
    Unfit(Lacking),
    /// The jobs that fit workers have leave none of them the memory for one more.
    Memory {
        /// What it needs, in MiB.
        needed_mib: u64,
        /// The most that one of them has left, in MiB.
        left_mib: u64,
    },
}

/// A dependency that is not over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenDependency {
    /// The context.
    pub address: Address,
    /// The job that is to make it.
    pub job: JobId,
    /// Where that stands.
    pub state: JobState,
}

impl fmt::Display for Explanation {
    /// One line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = &self.job;
        write!(f, "{} {} {}", job.job, job.address, job.state)?;
        for hold in &self.holds {
            write!(f, "\n  {hold}")?;
        }
        for cause in &self.causes {
            let (id, address, state) = (cause.job, &cause.address, &cause.state);
            write!(f, "\n  it needed {id} {address} {state}")?;
        }
        match self.instead {
            Some(instead) => write!(f, "\n  {instead} answers for it now"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Dependencies { open, first } => {
                write!(f, "dependencies that are not over: {open}, of which")?;
                for (position, needed) in first.iter().enumerate() {
                    let separator = if position > 0 { "," } else { "" };
                    let (address, job) = (&needed.address, needed.job);
                    write!(f, "{separator} {address} ({job} {})", needed.state)?;
                }
                f.write_str("; it goes on when the last of them is over")
            }
            Hold::Delay { until, now } => {
                write!(
                    f,
                    "it is not to start before {until:?}, and now it is {now:?}"
                )
            }
            Hold::Behind { job } => write!(
                f,
                "an older input of its context is running as {job}; it goes on when that is over"
            ),
            Hold::Paused(pause) => write!(
                f,
                "{} is paused since {:?} by {} ({}); it goes on when that is resumed",
                pause.scope, pause.since, pause.by, pause.reason
            ),
            Hold::NoWorker => f.write_str(
                "no registered worker offers its engine that is not paused and may run jobs; it goes on when there is one",
            ),
            Hold::Turn {
                ahead,
                ahead_is_least,
                queues,
                workers,
                slots,
                taken,
                avoids,
            } => {
                let least = if *ahead_is_least { "at least " } else { "" };
                write!(
                    f,
                    "before it in its queue: {least}{ahead}; queues that take turns: {queues}; slots taken: {taken} of {slots}; workers that offer its engine: {workers}"
                )?;
                if let Some(worker) = avoids {
                    write!(f, "; it does not go to {worker} again if it can be helped")?;
                }
                if taken >= slots {
                    f.write_str("; it goes on when a job ends or a worker comes")?;
                }
                Ok(())
            }
            Hold::Running {
                lease,
                attempt,
                since,
            } => {
                write!(f, "{} runs it, attempt {attempt}", lease.worker)?;
                match since {
                    Some(since) => write!(f, ", since {since:?}"),
                    None => Ok(()),
                }
            }
            Hold::Limited(account) => write!(
                f,
                "{account}; it goes on when a job of it ends, or a token comes"
            ),
            Hold::Broken(breaker) => write!(f, "{breaker}"),
            Hold::Unfit(lacking) => write!(f, "{lacking}"),
            Hold::Memory {
                needed_mib,
                left_mib,
            } => write!(
                f,
                "it needs {needed_mib} MiB, and no worker that is fit has more than {left_mib} left; it goes on when a job ends or a worker comes"
            ),
        }
    }
}
