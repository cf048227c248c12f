//! Clients that wait for the end of jobs: whoever was told of a job by a leader may
//! wait for its end at any node, through any number of changes of leader. Each is
//! answered once, when all that it waits for is over, or with what is known by then when
//! the hold time is (decision 26).
//!
//! A wait is for the request, not for the job that was named: where a newer input took
//! that one's place, it goes on to the newer one. What has ended is kept for the answer
//! at once, so nothing that is forgotten while somebody waits is unknown to them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::ContextManager;
use crate::event::Now;
use crate::ids::{FinishNumber, JobId, LogIndex, Ticket};
use crate::limits::{AWAIT_JOBS_MAX, AWAITED_JOBS_MAX, WAITING_REQUESTS_MAX};
use crate::marks::Mark;
use crate::principal::Principal;
use crate::queue::{Followed, QueueManager};
use crate::request::{Ending, Query, Refusal, Reply};
use crate::time::{Span, Time};

/// Steps along newer inputs that one turn takes for what was just asked.
const STEPS_PER_TURN_MAX: u64 = 10_000;

/// Names somebody who waits, in order of arrival.
type Number = u64;

/// One job that somebody waits for: whose it is, and its place among theirs.
type Item = (Number, usize);

/// A job as the one who waits named it, and what is known of it.
#[derive(Clone, Debug)]
struct Awaited {
    named: JobId,
    ending: Ending,
}

/// Somebody who waits.
#[derive(Clone, Debug)]
struct Waiter {
    ticket: Ticket,
    principal: Principal,
    /// A state before this index does not know what was named.
    after: LogIndex,
    deadline: Time,
    awaited: Vec<Awaited>,
    /// How many of those are not over, or were not looked at yet.
    open: usize,
}

/// Those who wait, all equally long.
#[derive(Clone, Debug, Default)]
pub(super) struct Awaits {
    waiters: BTreeMap<Number, Waiter>,
    /// Who waits for a job, by who answers for it by now.
    by_job: BTreeSet<(JobId, Item)>,
    /// What must be looked at, once the state is far enough.
    unseen: BTreeSet<(LogIndex, Item)>,
    /// Those with nothing open.
    complete: BTreeSet<Number>,
    /// Jobs of all who wait.
    jobs: u64,
    next: Number,
    /// Whatever ended up to here was looked at.
    seen: FinishNumber,
}

impl Awaits {
    /// Is there room for somebody who waits for so many jobs?
    fn has_room(&self, jobs: u64) -> bool {
        (self.waiters.len() as u64) < WAITING_REQUESTS_MAX && self.jobs + jobs <= AWAITED_JOBS_MAX
    }

    fn hold(&mut self, waiter: Waiter) {
        let number = self.next;
        self.next += 1;
        self.jobs += waiter.awaited.len() as u64;
        let items = (0..waiter.awaited.len()).map(|place| (waiter.after, (number, place)));
        self.unseen.extend(items);
        self.waiters.insert(number, waiter);
    }

    fn take(&mut self, number: Number) -> Waiter {
        let waiter = self.waiters.remove(&number);
        let waiter = waiter.expect("whoever is answered waits");
        self.complete.remove(&number);
        for (place, awaited) in waiter.awaited.iter().enumerate() {
            let item = (number, place);
            if let Ending::Unfinished { by } = awaited.ending {
                self.by_job.remove(&(by, item));
                self.unseen.remove(&(waiter.after, item));
            }
        }
        self.jobs -= waiter.awaited.len() as u64;
        waiter
    }

    /// When it wants a turn at the latest, if this is what is applied.
    pub(super) fn deadline(&self, applied: LogIndex) -> Option<Time> {
        let is_behind = self.unseen.first().is_some_and(|(at, _)| *at <= applied);
        let first = self.waiters.first_key_value();
        let first = first.map(|(_, waiter)| waiter.deadline);
        first.map(|deadline| if is_behind { Time(0) } else { deadline })
    }

    /// Looks at what ended since it looked last.
    fn on_applied(&mut self, queue: &QueueManager) {
        let last = queue.last_finish();
        let before = std::mem::replace(&mut self.seen, last);
        if self.by_job.is_empty() || before == last {
            return;
        }
        for job in queue.ended_after(before) {
            self.look_at_all(job, queue);
        }
    }

    /// The state is another one, further on.
    pub(super) fn on_replaced(&mut self, queue: &QueueManager) {
        self.seen = queue.last_finish();
        let jobs: BTreeSet<JobId> = self.by_job.iter().map(|(job, _)| *job).collect();
        for job in jobs {
            self.look_at_all(job, queue);
        }
    }

    /// Looks again at what all who wait for a job wait for.
    fn look_at_all(&mut self, job: JobId, queue: &QueueManager) {
        let all = (job, (0, 0))..=(job, (Number::MAX, usize::MAX));
        let items: Vec<Item> = self.by_job.range(all).map(|(_, item)| *item).collect();
        for item in items {
            // It was just put where it stands: the way from there is short.
            self.look(item, &mut { STEPS_PER_TURN_MAX }, queue);
        }
    }

    /// Looks at what was asked, as far as the state knows of it and the turn's work allows.
    fn look_at_unseen(&mut self, applied: LogIndex, queue: &QueueManager) {
        if self.by_job.is_empty() {
            // Nobody waits for what ended before, be it before a restart.
            self.seen = queue.last_finish();
        }
        let mut steps = STEPS_PER_TURN_MAX;
        while steps > 0
            && let Some((after, item)) = self.unseen.first().copied()
            && after <= applied
        {
            steps -= 1;
            if self.look(item, &mut steps, queue) {
                self.unseen.remove(&(after, item));
            }
        }
    }

    /// Looks at one job; says whether it got to the end of its way.
    fn look(&mut self, item: Item, steps: &mut u64, queue: &QueueManager) -> bool {
        let (number, place) = item;
        let waiter = self.waiters.get_mut(&number);
        let waiter = waiter.expect("what is looked at is waited for");
        let awaited = &mut waiter.awaited[place];
        let Ending::Unfinished { by: before } = awaited.ending else {
            return true;
        };
        self.by_job.remove(&(before, item));
        let (ending, is_end) = match queue.follow(before, steps) {
            Followed::Unfinished(by) => (Ending::Unfinished { by }, true),
            Followed::Over(by, state) => (
                Ending::Over {
                    by,
                    state: state.clone(),
                },
                true,
            ),
            Followed::Unknown(_) => (Ending::Unknown, true),
            Followed::Further(by) => (Ending::Unfinished { by }, false),
        };
        if let Ending::Unfinished { by } = ending {
            if is_end {
                self.by_job.insert((by, item));
            }
        } else {
            waiter.open -= 1;
            if waiter.open == 0 {
                self.complete.insert(number);
            }
        }
        awaited.ending = ending;
        is_end
    }

    /// Whoever is to be answered now, complete or not.
    fn due(&mut self, now: Time) -> Option<Waiter> {
        let complete = self.complete.first().copied();
        let number = complete.or_else(|| {
            let (number, waiter) = self.waiters.first_key_value()?;
            (waiter.deadline <= now).then_some(*number)
        })?;
        Some(self.take(number))
    }
}

impl ContextManager {
    pub(super) fn await_jobs(
        &mut self,
        now: Now,
        ticket: Ticket,
        principal: Principal,
        jobs: &[JobId],
        after: LogIndex,
    ) {
        let count = jobs.len() as u64;
        if count == 0 || count > AWAIT_JOBS_MAX {
            let message =
                format!("{count} jobs are awaited at once; from 1 to {AWAIT_JOBS_MAX} can be");
            return self.outbox.answer(ticket, Reply::Invalid { message });
        }
        if !self.awaits.has_room(count) {
            return self.refuse(ticket, Refusal::WaitingRequests);
        }
        let awaited = jobs.iter().map(|job| Awaited {
            named: *job,
            ending: Ending::Unfinished { by: *job },
        });
        self.awaits.hold(Waiter {
            ticket,
            principal,
            after,
            deadline: now.time + Span::from_ms(self.config.knobs.worker_poll_ms),
            awaited: awaited.collect(),
            open: jobs.len(),
        });
    }

    /// An entry was applied: what it ended is seen before it can be forgotten.
    pub(super) fn see_endings(&mut self) {
        #[cfg(feature = "planted-bugs")]
        if self.config.planted(crate::planted::Bug::AwaitLooksOnce) {
            return;
        }
        self.awaits.on_applied(&self.queue);
    }

    /// Planted: the way to newer inputs is not gone.
    #[cfg(feature = "planted-bugs")]
    fn end_at_superseded(&self, mut waiter: Waiter) -> Waiter {
        let is_planted = self
            .config
            .planted(crate::planted::Bug::AwaitEndsAtSuperseded);
        for awaited in waiter.awaited.iter_mut().filter(|_| is_planted) {
            let by = awaited.named;
            if let Some(job) = self.queue.job(by)
                && matches!(job.state, crate::job::JobState::Superseded { .. })
            {
                let state = job.state;
                awaited.ending = Ending::Over { by, state };
            }
        }
        waiter
    }

    /// Answers those for whom all is over, and those who waited long enough.
    pub(super) fn answer_awaits(&mut self, now: Now) {
        let applied = self.applied;
        #[cfg(feature = "planted-bugs")]
        let applied = match self.config.planted(crate::planted::Bug::AwaitIgnoresAfter) {
            true => LogIndex(u64::MAX),
            false => applied,
        };
        self.awaits.look_at_unseen(applied, &self.queue);
        while let Some(waiter) = self.awaits.due(now.time) {
            if waiter.after > applied {
                self.marks.hit(Mark::AwaitBehind);
                self.refuse(waiter.ticket, Refusal::Behind);
                continue;
            }
            // It may have lost the right while it waited.
            let queries = waiter.awaited.iter().map(|it| Query::Job(it.named));
            let denial = { queries }.find_map(|query| self.query_denial(&waiter.principal, &query));
            if let Some(denial) = denial {
                self.deny(now, waiter.ticket, &waiter.principal, denial);
                continue;
            }
            self.marks.hit(Mark::AwaitAnswered);
            #[cfg(feature = "planted-bugs")]
            let waiter = self.end_at_superseded(waiter);
            let endings = waiter.awaited.into_iter().map(|awaited| awaited.ending);
            let reply = Reply::Awaited {
                endings: endings.collect(),
                applied: self.applied,
            };
            self.outbox.answer(waiter.ticket, reply);
        }
    }
}
