//! One client's waiting for the end of jobs that it was told of, at any node and again
//! at another until all is over. Knows nothing of how they end: that is for the judge.

use precentor_core::command::Outcome;
use precentor_core::ids::{JobId, LogIndex, Ticket};
use precentor_core::request::{Ending, Reply, Request};

use crate::check::history::job_of;
use crate::desk::{Caller, Desk};
use crate::scenario::ClientOptions;
use crate::tape::Domain;

/// A wait that is not answered by then is asked for again.
const PATIENCE_US: u64 = 700_000;
/// So long after a refusal.
const AGAIN_US: u64 = 20_000;
/// Waits of one client at a time.
const OPEN_MAX: usize = 6;

/// A wait for some jobs.
#[derive(Clone, Debug)]
struct Wait {
    jobs: Vec<JobId>,
    after: LogIndex,
    ticket: Option<Ticket>,
    /// When it is asked again.
    due_us: u64,
}

/// What one client waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Awaiting {
    open: Vec<Wait>,
}

impl Awaiting {
    /// The client was told of jobs: it may wait for them.
    pub(super) fn on_jobs(
        &mut self,
        jobs: Vec<JobId>,
        after: LogIndex,
        lane: u32,
        desk: &mut Desk<'_>,
        options: &ClientOptions,
    ) {
        if jobs.is_empty() || self.open.len() >= OPEN_MAX {
            return;
        }
        if desk
            .tape
            .fault(Domain::Await, lane, options.await_ppm)
            .is_some()
        {
            self.open.push(Wait {
                jobs,
                after,
                ticket: None,
                due_us: desk.now_us,
            });
        }
    }

    /// Time passes.
    pub(super) fn on_alarm(&mut self, caller: &mut Caller, desk: &mut Desk<'_>) {
        let now_us = desk.now_us;
        for wait in self.open.iter_mut().filter(|wait| wait.due_us <= now_us) {
            let mut roll = desk.tape.roll(Domain::AwaitWhere, caller.lane);
            let place = roll.below(desk.nodes as u64) as usize;
            let request = Request::Await {
                jobs: wait.jobs.clone(),
                after: wait.after,
            };
            wait.ticket = Some(caller.ask_at(desk, place, request));
            wait.due_us = now_us + PATIENCE_US;
        }
    }

    /// An answer; false if it is to no wait.
    pub(super) fn on_reply(&mut self, ticket: Ticket, reply: &Reply, now_us: u64) -> bool {
        let is_it = |wait: &Wait| wait.ticket == Some(ticket);
        let Some(place) = self.open.iter().position(is_it) else {
            return false;
        };
        let wait = &mut self.open[place];
        match reply {
            Reply::Awaited { endings, applied } => {
                let open = endings.iter().filter_map(|ending| match ending {
                    Ending::Unfinished { by } => Some(*by),
                    Ending::Over { .. } | Ending::Unknown => None,
                });
                wait.jobs = open.collect();
                wait.after = *applied;
            }
            Reply::Denied(_) => wait.jobs.clear(),
            _ => {}
        }
        wait.ticket = None;
        wait.due_us = now_us + AGAIN_US;
        if wait.jobs.is_empty() {
            self.open.remove(place);
        }
        true
    }

    /// Does it wait for nothing any more?
    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty()
    }
}

/// The jobs that answer for what was asked.
pub(super) fn jobs_of(outcome: &Outcome) -> Vec<JobId> {
    match outcome {
        Outcome::Submitted(items) => items.iter().map(|item| item.job).collect(),
        Outcome::Asked(items) => items.iter().filter_map(job_of).collect(),
        _ => Vec::new(),
    }
}
