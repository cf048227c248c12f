//! Is everybody who waits for the end of jobs told it: in the turn in which the node
//! knows it, once, and as it was? What an end is the judge follows itself, along the feed
//! of finished jobs, and holds the answers of all nodes against that one.

use std::collections::BTreeMap;

use precentor_core::action::Action;
use precentor_core::config::Knobs;
use precentor_core::event::Event;
use precentor_core::ids::{JobId, LogIndex, Term, Ticket};
use precentor_core::job::{Finished, JobState};
use precentor_core::limits::AWAIT_JOBS_MAX;
use precentor_core::request::{Ending, Reply, Request};
use precentor_core::time::{Span, Time};
use precentor_core::view::View;

use super::queue::Queue;
use super::{Checker, Moment, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// Somebody who waits at a node.
#[derive(Clone, Debug)]
struct Asked {
    jobs: Vec<JobId>,
    after: LogIndex,
    at: Time,
    term: Term,
}

/// The judge.
#[derive(Clone, Debug)]
pub struct Awaited {
    hold: Span,
    asked: BTreeMap<(Place, Ticket), Asked>,
}

/// Where the way from a job leads, as far as a node can know.
enum Way<'a> {
    Open(JobId),
    Over(&'a Finished),
}

fn way_of<'a>(job: JobId, view: &View<'_>, queue: &'a Queue) -> Way<'a> {
    let mut at = job;
    loop {
        match queue.end_of(at) {
            Some(end) if end.number <= view.queue().last_finish() => match end.state {
                JobState::Superseded { by } => at = by,
                _ => return Way::Over(end),
            },
            _ => return Way::Open(at),
        }
    }
}

/// Has the node forgotten a job on the way from one, or never known it?
fn is_forgotten(job: JobId, view: &View<'_>, queue: &Queue) -> bool {
    let mut at = job;
    loop {
        if view.queue().job(at).is_none() {
            return true;
        }
        match queue.end_of(at).map(|end| &end.state) {
            Some(JobState::Superseded { by }) => at = *by,
            _ => return false,
        }
    }
}

fn claim(holds: bool, text: impl FnOnce() -> String) -> Verdict {
    ensure(holds, Checker::AwaitedJobs, text)
}

impl Awaited {
    pub(super) fn new(knobs: &Knobs) -> Awaited {
        Awaited {
            hold: Span::from_ms(knobs.worker_poll_ms),
            asked: BTreeMap::new(),
        }
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        self.asked.retain(|(at, _), _| *at != place);
    }

    pub(super) fn on_event(&mut self, moment: Moment, event: &Event, view: &View<'_>) {
        let Event::Client {
            ticket,
            request: Request::Await { jobs, after },
            ..
        } = event
        else {
            return;
        };
        if !(1..=AWAIT_JOBS_MAX).contains(&(jobs.len() as u64)) {
            return;
        }
        let asked = Asked {
            jobs: jobs.clone(),
            after: *after,
            at: moment.now.time,
            term: view.term(),
        };
        self.asked.insert((moment.place, *ticket), asked);
    }

    pub(super) fn on_answer(
        &mut self,
        moment: Moment,
        ticket: Ticket,
        reply: &Reply,
        view: &View<'_>,
        queue: &Queue,
        marks: &mut Marks,
    ) -> Verdict {
        let asked = self.asked.remove(&(moment.place, ticket));
        let Reply::Awaited { endings, applied } = reply else {
            return Ok(());
        };
        let node = view.node();
        let Some(asked) = asked else {
            return claim(false, || {
                format!("{node} answers {ticket:?} unasked or twice")
            });
        };
        claim(*applied >= asked.after, || {
            let after = asked.after;
            format!("{node} speaks as of {applied} of what it was told at {after}")
        })?;
        claim(endings.len() == asked.jobs.len(), || {
            format!(
                "{node} was asked for {:?}, and says {endings:?}",
                asked.jobs
            )
        })?;
        let is_late = moment.now.time.since(asked.at) >= self.hold;
        for (job, ending) in asked.jobs.iter().zip(endings) {
            let holds = match (ending, way_of(*job, view, queue)) {
                (Ending::Over { by, state }, Way::Over(end)) => {
                    if by != job {
                        marks.hit(Mark::AwaitedNewer);
                    }
                    (*by, state) == (end.job, &end.state)
                }
                (Ending::Unfinished { by }, Way::Open(at)) => {
                    marks.hit(Mark::AwaitedLaterThanHeld);
                    is_late && *by == at && view.queue().job(at).is_some()
                }
                (Ending::Unknown, _) => is_forgotten(*job, view, queue),
                (Ending::Over { .. } | Ending::Unfinished { .. }, _) => false,
            };
            claim(holds, || {
                let end = queue.end_of(*job);
                format!("{node} says of {job} {ending:?} as of {applied}; it ended as {end:?}")
            })?;
        }
        if endings.iter().all(|it| matches!(it, Ending::Over { .. })) {
            marks.hit(Mark::AwaitedToTheEnd);
            if asked.term != view.term() {
                marks.hit(Mark::AwaitedThroughChange);
            }
        }
        Ok(())
    }

    /// Whoever is still not answered has something to wait for.
    pub(super) fn on_turn(
        &mut self,
        moment: Moment,
        view: &View<'_>,
        actions: &[Action],
        queue: &Queue,
    ) -> Verdict {
        // It says nothing more, and whoever asked must ask another.
        if actions.iter().any(|it| matches!(it, Action::Halt(_))) {
            self.on_recovered(moment.place);
        }
        let all = (moment.place, Ticket(0))..=(moment.place, Ticket(u64::MAX));
        for ((_, ticket), asked) in self.asked.range(all) {
            let waits = moment.now.time.since(asked.at);
            claim(waits < self.hold, || {
                format!("{} lets {ticket:?} wait for {waits:?}", view.node())
            })?;
            let is_open = |job: &JobId| matches!(way_of(*job, view, queue), Way::Open(_));
            let waits = asked.after > view.applied() || asked.jobs.iter().any(is_open);
            claim(waits, || {
                let jobs = &asked.jobs;
                format!("all of {jobs:?} is over, and {} is silent", view.node())
            })?;
        }
        Ok(())
    }
}
