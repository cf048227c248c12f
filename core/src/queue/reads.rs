//! What can be asked of the queue without changing it.

use std::ops::Bound;
use std::sync::Arc;

use crate::address::Address;
use crate::config::Rules;
use crate::digest::Digest;
use crate::ids::{FinishNumber, JobId, LogIndex, Term, Token, WorkerId};
use crate::job::{
    Assignment, Class, ContextView, DependencyResult, Finished, Generator, JobView, WorkerSpec,
};
use crate::limits::CLASS_WEIGHTS;
use crate::status::QueueCounts;
use crate::time::Stamp;

use super::QueueManager;
use super::contexts::PlaceId;
use super::jobs::{Job, Phase};
use super::order::{Opening, QueueKey, ReadyJobs};

/// What a scheduler may know of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unfinished<'a> {
    /// The job.
    pub job: JobId,
    /// How urgent it is by now.
    pub class: Class,
    /// On whose account it runs.
    pub tenant: &'a str,
    /// What a worker must offer.
    pub engine: &'a str,
    /// May it be claimed?
    pub ready: bool,
    /// How many workers were lost with it.
    pub crashes: u32,
}

impl Unfinished<'_> {
    fn of(id: JobId, job: &Job) -> Unfinished<'_> {
        Unfinished {
            job: id,
            class: job.class,
            tenant: &job.origin.tenant,
            engine: &job.origin.generator.engine,
            ready: job.phase() == Phase::Ready,
            crashes: job.crashes,
        }
    }
}

/// How far a walk over the bodies has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyCursor(Walked);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Walked {
    /// Over the results, up to that of a place.
    Results(PlaceId),
    /// Over all of them, and the sources up to one.
    Sources(Digest),
}

impl BodyCursor {
    /// Was the last that it came over a source?
    #[must_use]
    pub fn is_at_source(self) -> bool {
        matches!(self.0, Walked::Sources(_))
    }
}

impl QueueManager {
    /// The rules that it was founded with.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Cluster time, as of the last entry.
    #[must_use]
    pub fn now(&self) -> Stamp {
        self.head.now
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.head.applied
    }

    /// When the leader must propose `Tick` at the latest.
    #[must_use]
    pub fn next_timer(&self) -> Option<Stamp> {
        let others = [self.accounts.next_due(), self.breakers.next_due()];
        self.timers
            .next()
            .into_iter()
            .chain(others.into_iter().flatten())
            .min()
    }

    /// Is work left over from an entry, so that the leader must propose `Tick` now?
    #[must_use]
    pub fn cascade_pending(&self) -> bool {
        !self.edges.ended.is_empty() || !self.edges.dropped.is_empty() || self.cache.is_sweeping()
    }

    /// The term of the last `TakeOver`.
    #[must_use]
    pub fn last_takeover_term(&self) -> Term {
        self.head.takeover
    }

    /// The digest of the last audit record.
    #[must_use]
    pub fn audit_head(&self) -> Digest {
        self.head.audit
    }

    /// The number of the job that finished last.
    #[must_use]
    pub fn last_finish(&self) -> FinishNumber {
        self.head.finished
    }

    /// The digests of the next bodies that the state speaks of, all of one sort, and how far
    /// they reach: none if there are no more.
    #[must_use]
    pub fn bodies_after(
        &self,
        after: Option<BodyCursor>,
        count_max: u64,
    ) -> (Vec<Digest>, Option<BodyCursor>) {
        let count_max = usize::try_from(count_max).unwrap_or(usize::MAX);
        let after = after.map(|BodyCursor(walked)| walked);
        let from = match after {
            None => Some(Bound::Unbounded),
            Some(Walked::Results(place)) => Some(Bound::Excluded(place)),
            Some(Walked::Sources(_)) => None,
        };
        if let Some(from) = from {
            let contexts = self.places.contexts.range((from, Bound::Unbounded));
            let contexts = contexts.take(count_max);
            let (places, digests): (Vec<PlaceId>, Vec<Digest>) = contexts
                .map(|(place, context)| (*place, context.result))
                .unzip();
            if let Some(last) = places.last() {
                return (digests, Some(BodyCursor(Walked::Results(*last))));
            }
        }
        let after = match after {
            Some(Walked::Sources(digest)) => Some(digest),
            Some(Walked::Results(_)) | None => None,
        };
        let digests: Vec<Digest> = self.sources_after(after, count_max).collect();
        let last = digests.last().copied();
        (digests, last.map(|last| BodyCursor(Walked::Sources(last))))
    }

    /// A job, finished or not; none if it never was or was purged.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobView> {
        if let Some(job) = self.jobs.get(id) {
            return Some(JobView {
                job: id,
                address: self.places.address(job.place).clone(),
                subject: job.subject,
                class: job.class,
                state: job.state(),
                attempts: job.attempts,
                failures: job.failures,
                crashes: job.crashes,
                last_token: job.last_token,
                last_error: job.last_error.as_deref().map(str::to_owned),
                waiters: job.waiters,
            });
        }
        let job = self.finished.get(id)?;
        Some(JobView {
            job: id,
            address: self.places.address(job.place).clone(),
            subject: job.subject,
            class: job.class,
            state: job.state.clone(),
            attempts: job.attempts,
            failures: job.failures,
            crashes: job.crashes,
            last_token: job.last_token,
            last_error: job.last_error.as_deref().map(str::to_owned),
            waiters: job.waiters,
        })
    }

    /// What a job is for; none if it never was or was purged.
    #[must_use]
    pub fn address_of(&self, id: JobId) -> Option<&Address> {
        let live = self.jobs.get(id).map(|job| job.place);
        let place = live.or_else(|| Some(self.finished.get(id)?.place))?;
        Some(self.places.address(place))
    }

    /// What is published at an address.
    #[must_use]
    pub fn context(&self, address: &Address) -> Option<ContextView> {
        self.places.view(self.places.find(address)?)
    }

    /// What is published, by address, from after one: take as many as a page holds.
    pub fn contexts(&self, after: Option<&Address>) -> impl Iterator<Item = ContextView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let places = self.places.by_address_from(from);
        places.filter_map(|(_, place)| self.places.view(place))
    }

    /// The jobs that finished after another, in order, at most `count_max`.
    #[must_use]
    pub fn finished_after(&self, after: FinishNumber, count_max: u32) -> Vec<Finished> {
        self.finished
            .after(after)
            .take(usize::try_from(count_max).unwrap_or(usize::MAX))
            .map(|(id, job)| Finished {
                number: job.number,
                job: id,
                address: self.places.address(job.place).clone(),
                subject: job.subject,
                state: job.state.clone(),
                attempts: job.attempts,
            })
            .collect()
    }

    /// The jobs that ended after another, in order.
    pub fn ended_after(&self, after: FinishNumber) -> impl Iterator<Item = JobId> {
        let later = (Bound::Excluded(after), Bound::Unbounded);
        self.finished.numbers().range(later).map(|(_, id)| *id)
    }

    /// How many jobs are in which state.
    #[must_use]
    pub fn counts(&self) -> QueueCounts {
        let (live, totals) = (self.jobs.counts, self.head.totals);
        QueueCounts {
            waiting: live.waiting,
            delayed: live.delayed,
            ready: live.ready,
            running: live.running,
            parked: live.parked,
            done: totals.done,
            from_cache: totals.from_cache,
            dead: totals.dead,
            cancelled: totals.cancelled,
            dependency_failed: totals.dependency_failed,
            superseded: totals.superseded,
            contexts: self.places.contexts.len(),
        }
    }

    /// The registered workers.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerSpec> {
        self.workers.iter().map(|(_, worker)| worker)
    }

    /// A registered worker.
    #[must_use]
    pub fn worker(&self, worker: WorkerId) -> Option<&WorkerSpec> {
        self.workers.get(&worker)
    }

    /// All leases.
    pub fn leases(&self) -> impl Iterator<Item = (WorkerId, Token, JobId)> {
        self.jobs.leases.iter()
    }

    /// What a worker holds.
    pub fn leases_of(&self, worker: WorkerId) -> impl Iterator<Item = (Token, JobId)> {
        self.jobs.leases.of(worker)
    }

    /// How many leases a worker holds.
    #[must_use]
    pub fn leases_count(&self, worker: WorkerId) -> u64 {
        self.jobs.leases.count(worker)
    }

    /// All ready jobs, queue by queue.
    pub fn ready(&self) -> impl Iterator<Item = JobId> {
        self.jobs.order.jobs()
    }

    /// The ready jobs of a queue, first accepted first.
    pub fn ready_in(&self, key: &QueueKey) -> ReadyJobs<'_> {
        self.jobs.order.of(key)
    }

    /// The queues that are not empty and got their first job after another one
    /// did: how a leader hears of queues without a look at all of them.
    pub fn opened_after(&self, after: Opening) -> impl Iterator<Item = (Opening, &Arc<QueueKey>)> {
        self.jobs.order.opened_after(after)
    }

    /// How many queues are not empty.
    #[must_use]
    pub fn queues_count(&self) -> usize {
        self.jobs.order.queues_count()
    }

    /// What a queue's share is in proportion to: the weight of its class times that
    /// of its tenant (QUEUE F1).
    #[must_use]
    pub fn weight(&self, key: &QueueKey) -> u64 {
        CLASS_WEIGHTS[key.class as usize] * self.weight_of_tenant(&key.tenant)
    }

    /// The unfinished jobs by their own word, and not by an index.
    pub fn unfinished(&self) -> impl Iterator<Item = Unfinished<'_>> {
        let jobs = self.jobs.rows.iter();
        jobs.map(|(id, job)| Unfinished::of(*id, job))
    }

    /// An unfinished job.
    #[must_use]
    pub fn unfinished_job(&self, id: JobId) -> Option<Unfinished<'_>> {
        let job = self.jobs.get(id)?;
        Some(Unfinished::of(id, job))
    }

    /// The last job that was accepted.
    #[must_use]
    pub fn last_job(&self) -> JobId {
        self.head.accepted
    }

    /// The unfinished jobs that wait for an unfinished one.
    pub fn dependents(&self, id: JobId) -> impl Iterator<Item = JobId> {
        let job = self.jobs.get(id);
        let lines = job.into_iter().flat_map(|job| job.lines());
        let waiting = lines.flat_map(|line| self.edges.waiting_for(line));
        waiting
            .map(|key| key.dependent)
            .filter(|dependent| self.jobs.get(*dependent).is_some())
    }

    /// The engine that an unfinished job needs.
    #[must_use]
    pub fn engine_of(&self, id: JobId) -> Option<&str> {
        Some(&self.jobs.get(id)?.origin.generator.engine)
    }

    /// What is to make the context of an unfinished job.
    #[must_use]
    pub fn generator_of(&self, id: JobId) -> Option<&Generator> {
        Some(&self.jobs.get(id)?.origin.generator)
    }

    /// The worker that an unfinished job should not go to again if another
    /// offers its engine: the last one, if two workers were lost with it (QUEUE R3).
    #[must_use]
    pub fn worker_to_avoid(&self, id: JobId) -> Option<WorkerId> {
        let job = self.jobs.get(id)?;
        if job.crashes >= 2 {
            job.last_worker
        } else {
            None
        }
    }

    /// What the holder of a running job has to do; none if it is not running.
    #[must_use]
    pub fn assignment(&self, id: JobId) -> Option<Assignment> {
        let job = self.jobs.get(id)?;
        let Phase::Running(lease) = job.phase() else {
            return None;
        };
        let dependencies = self.edges.of(id).map(|(_, edge)| DependencyResult {
            address: self.places.address(edge.place).clone(),
            result: self.valid_context(edge.place).map(|context| context.result),
        });
        Some(Assignment {
            job: id,
            token: lease.token,
            together: self.batch_of(id),
            attempt: job.attempts,
            address: self.places.address(job.place).clone(),
            kind: job.kind,
            subject: job.subject,
            generator: job.origin.generator.clone(),
            dependencies: dependencies.collect(),
        })
    }
}
