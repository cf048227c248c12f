//! A client's run against a cluster, wherever that is: what it is told, the book in which
//! it notes that, and what it asks the cluster at the beginning and at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use precentor_core::command::{Command, Outcome};
use precentor_core::ids::{FinishNumber, JobId, LogIndex, Sequence, SessionId};
use precentor_core::job::{Finished, JobState, JobView};
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};
use precentor_core::status::{QueueCounts, Status};

use super::ledger::{Accepted, Ledger};
use super::progress::Standing;
use super::summary::SkippedFile;
use super::uploads::Uploaded;
use crate::client::Courier;
use crate::source::walk::Skipped;

/// How long the cluster may take to answer at the start and at the end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Finished jobs of one page of the feed.
const FEED_PAGE: u32 = 1_000;
/// Jobs that the final state is asked about at a time.
const FINAL_OPEN_MAX: usize = 512;

/// How often a thread that waits looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The run cannot go on, and why.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) String);

/// What reaches the run's own thread.
#[derive(Debug)]
pub(crate) enum News {
    /// Requests were accepted.
    Accepted(Vec<Accepted>),
    /// Something of the tree has no context.
    Skipped(Skipped),
    /// A context will lack something, and why.
    Warned(String),
    /// So much was uploaded in all.
    Uploaded(Uploaded),
    /// The walk is over and everything was accepted.
    Walked,
    /// Jobs ended.
    Finished(Vec<Finished>),
    /// The run cannot go on.
    Failed(String),
}

/// What the run has been told.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) ledger: Ledger,
    pub(crate) skipped: Vec<SkippedFile>,
    pub(crate) warnings: Vec<String>,
    pub(crate) uploaded: Uploaded,
    walked: bool,
    failed: u64,
    stopped: Option<String>,
}

impl Book {
    /// An empty book, of a run that begins after `last` in the feed.
    pub(crate) fn after(last: FinishNumber) -> Book {
        Book {
            ledger: Ledger::after(last),
            skipped: Vec::new(),
            warnings: Vec::new(),
            uploaded: Uploaded::default(),
            walked: false,
            failed: 0,
            stopped: None,
        }
    }

    /// Why the run cannot go on, if it was told.
    pub(crate) fn stopped(&mut self) -> Result<(), Stopped> {
        self.stopped
            .take()
            .map_or(Ok(()), |reason| Err(Stopped(reason)))
    }

    pub(crate) fn note(&mut self, news: News) {
        match news {
            News::Accepted(accepted) => {
                accepted
                    .into_iter()
                    .for_each(|accepted| self.ledger.accept(accepted));
            }
            News::Skipped(Skipped { path, reason }) => {
                self.skipped.push(SkippedFile {
                    path: path.display().to_string(),
                    reason,
                });
            }
            News::Warned(warning) => self.warnings.push(warning),
            News::Uploaded(uploaded) => self.uploaded = uploaded,
            News::Walked => self.walked = true,
            News::Failed(reason) => self.stopped = Some(reason),
            News::Finished(jobs) => {
                for finished in jobs {
                    self.failed += u64::from(!matches!(finished.state, JobState::Done { .. }));
                    self.ledger.finish(finished);
                }
            }
        }
    }

    /// Is everything that was asked for over?
    pub(crate) fn is_complete(&self) -> bool {
        self.walked && self.ledger.open_count() == 0
    }

    /// How far the run is.
    pub(crate) fn standing(&self) -> Standing {
        let known = self.ledger.accepted_count();
        Standing {
            known,
            done: known.saturating_sub(self.ledger.open_count()),
            failed: self.failed,
            walked: self.walked,
        }
    }
}

/// Tells which jobs ended, in order, from whichever node leads.
pub(crate) struct Feed {
    pub(crate) courier: Courier,
    pub(crate) after: FinishNumber,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) news: Sender<News>,
}

impl Feed {
    pub(crate) fn run(mut self) {
        let mut asked = None;
        while !self.stop.load(Ordering::Relaxed) {
            let after = self.after;
            let question = || Request::FinishedAfter {
                after,
                count_max: FEED_PAGE,
            };
            let tag = *asked.get_or_insert_with(|| self.courier.send(question()));
            let Some((answered, reply)) = self.courier.receive(Instant::now() + LOOK_EVERY) else {
                continue;
            };
            if answered != tag {
                continue;
            }
            asked = None;
            let Reply::Finished { jobs, .. } = reply else {
                continue;
            };
            let Some(last) = jobs.last() else { continue };
            self.after = last.number;
            if self.news.send(News::Finished(jobs)).is_err() {
                return;
            }
        }
    }
}

fn no_answer(what: &str) -> Stopped {
    Stopped(format!(
        "no leader answered within {} s: {what}",
        PATIENCE.as_secs()
    ))
}

pub(crate) fn open_session(courier: &mut Courier) -> Result<(SessionId, LogIndex), Stopped> {
    let request = Request::Propose {
        request: None,
        acknowledged: Sequence(0),
        command: Command::OpenSession,
    };
    match courier.call(request, PATIENCE) {
        Some(Reply::Applied {
            index,
            outcome: Outcome::SessionOpened(session),
        }) => Ok((session, index)),
        Some(other) => Err(Stopped(format!("no session was opened: {other:?}"))),
        None => Err(no_answer("no session was opened")),
    }
}

/// The status of the node that has just committed something for this client.
pub(crate) fn leader_status(courier: &mut Courier) -> Result<Status, Stopped> {
    match courier.call(Request::Status, PATIENCE) {
        Some(Reply::Status(status)) => Ok(*status),
        Some(_) | None => Err(no_answer("its status is not known")),
    }
}

/// The end of the feed: every job that ended has one number, from 1.
pub(crate) fn last_finish(courier: &mut Courier) -> Result<FinishNumber, Stopped> {
    let Status { queue, .. } = leader_status(courier)?;
    let QueueCounts {
        done,
        dead,
        cancelled,
        dependency_failed,
        superseded,
        ..
    } = queue;
    Ok(FinishNumber(
        done + dead + cancelled + dependency_failed + superseded,
    ))
}

/// What the cluster says of each job, a bounded number of questions at a time.
pub(crate) fn final_state(
    courier: &mut Courier,
    jobs: &[JobId],
) -> Result<BTreeMap<JobId, Option<JobView>>, Stopped> {
    let mut state = BTreeMap::new();
    let mut asked = BTreeMap::new();
    let mut left = jobs.iter();
    loop {
        while asked.len() < FINAL_OPEN_MAX
            && let Some(job) = left.next()
        {
            let question = Request::Read {
                query: Query::Job(*job),
                consistency: Consistency::Linearizable,
            };
            asked.insert(courier.send(question), *job);
        }
        if asked.is_empty() {
            return Ok(state);
        }
        let Some((tag, reply)) = courier.receive(Instant::now() + PATIENCE) else {
            return Err(no_answer("the final state is not known"));
        };
        if let (
            Some(job),
            Reply::Read {
                answer: Answer::Job(view),
                ..
            },
        ) = (asked.remove(&tag), reply)
        {
            state.insert(job, view.map(|view| *view));
        }
    }
}
