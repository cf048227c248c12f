//! The jobs that are not finished, and every index over them. One door,
//! [`Jobs::change`], keeps job, hash and indexes together. Knows no rule of the
//! queue: it does not judge which change is right.

use std::collections::{BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::ContextKind;
use crate::digest::Digest;
use crate::ids::{JobId, Token, WorkerId};
use crate::job::{Class, Generator, JobState, Lease};
use crate::principal::Principal;
use crate::time::Stamp;

use super::contexts::PlaceId;
use super::leases::Leases;
use super::order::Order;
use super::table::Table;
use super::timers::{Timer, Timers};

mod wire;

/// What many jobs have in common: kept once (see [`Origins`]).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) generator: Generator,
    pub(super) tenant: Box<str>,
    pub(super) asked_by: Principal,
}

impl Origin {
    /// Tenant and engine: with the class they say in which queue a job is.
    pub(super) fn queue(&self) -> (&str, &str) {
        (&self.tenant, &self.generator.engine)
    }
}

/// Where a job that is not finished stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Dependencies are open: [`Job::open`] of them.
    Waiting,
    Delayed {
        until: Stamp,
    },
    Ready,
    Running(Lease),
    /// Behind the place's current job.
    Parked,
}

/// A job that is not finished. A million of them wait: what only few have is kept
/// apart, and as a job goes over the wire is a matter of [`WireJob`].
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) place: PlaceId,
    pub(super) origin: Arc<Origin>,
    pub(super) subject: Digest,
    /// When its input was accepted last: a number of the same count as job ids.
    /// Whose is higher, has the newer input, also when an old input came again.
    pub(super) accepted: JobId,
    /// Not to start before.
    pub(super) not_before: Stamp,
    /// The line it answers for: dependents wait for a line, not for a job, so
    /// that a newer input takes them over by taking over the line. A line is
    /// named after its first job.
    pub(super) line: JobId,
    history: Option<Box<History>>,
    /// Requests that wait for it.
    pub(super) waiters: u32,
    pub(super) kind: ContextKind,
    pub(super) class: Class,
    standing: Standing,
}

const _: () = assert!(
    size_of::<Job>() <= 88,
    "a queued job is to take 250 bytes with all its indexes"
);

/// What a job has that has dependencies, was tried, is delayed, or took another's
/// place. Read and written as if it stood in the job: who has none has what it
/// begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct History {
    /// Dependencies that are not resolved.
    pub(super) open: u32,
    /// Claims so far.
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) crashes: u32,
    pub(super) last_token: Option<Token>,
    pub(super) last_worker: Option<WorkerId>,
    pub(super) last_error: Option<Box<str>>,
    /// More lines, taken over from a second job that it superseded.
    pub(super) more_lines: Vec<JobId>,
    /// Until when it is delayed, if it is.
    until: Stamp,
    /// By which right it runs, if it does.
    lease: Option<Lease>,
}

/// The history of a job that has none.
static NO_HISTORY: History = History {
    open: 0,
    attempts: 0,
    failures: 0,
    crashes: 0,
    last_token: None,
    last_worker: None,
    last_error: None,
    more_lines: Vec::new(),
    until: Stamp(0),
    lease: None,
};

impl Deref for Job {
    type Target = History;

    fn deref(&self) -> &History {
        self.history.as_deref().unwrap_or(&NO_HISTORY)
    }
}

impl DerefMut for Job {
    fn deref_mut(&mut self) -> &mut History {
        self.history
            .get_or_insert_with(|| Box::new(NO_HISTORY.clone()))
    }
}

/// A phase without what belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Waiting,
    Delayed,
    Ready,
    Running,
    Parked,
}

/// What a job is made of that was never tried.
#[derive(Debug)]
pub(super) struct FreshJob {
    pub(super) place: PlaceId,
    pub(super) origin: Arc<Origin>,
    pub(super) kind: ContextKind,
    pub(super) class: Class,
    pub(super) subject: Digest,
    pub(super) accepted: JobId,
    pub(super) not_before: Stamp,
    pub(super) open: u32,
    pub(super) line: JobId,
}

impl Job {
    /// A job that one request waits for: it is parked until it has its turn.
    pub(super) fn new(fresh: FreshJob) -> Job {
        let mut job = Job {
            place: fresh.place,
            origin: fresh.origin,
            subject: fresh.subject,
            accepted: fresh.accepted,
            not_before: fresh.not_before,
            line: fresh.line,
            history: None,
            waiters: 1,
            kind: fresh.kind,
            class: fresh.class,
            standing: Standing::Parked,
        };
        if fresh.open > 0 {
            job.open = fresh.open;
        }
        job
    }

    /// Where it stands.
    pub(super) fn phase(&self) -> Phase {
        match self.standing {
            Standing::Waiting => Phase::Waiting,
            Standing::Delayed => Phase::Delayed { until: self.until },
            Standing::Ready => Phase::Ready,
            Standing::Running => Phase::Running(self.lease.expect("a running job has a lease")),
            Standing::Parked => Phase::Parked,
        }
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        if let Some(history) = &mut self.history {
            (history.until, history.lease) = (Stamp(0), None);
        }
        self.standing = match phase {
            Phase::Waiting => Standing::Waiting,
            Phase::Delayed { until } => {
                self.until = until;
                Standing::Delayed
            }
            Phase::Ready => Standing::Ready,
            Phase::Running(lease) => {
                self.lease = Some(lease);
                Standing::Running
            }
            Phase::Parked => Standing::Parked,
        };
    }

    /// All lines that it answers for.
    pub(super) fn lines(&self) -> impl Iterator<Item = JobId> {
        std::iter::once(self.line).chain(self.more_lines.iter().copied())
    }

    pub(super) fn is_running(&self) -> bool {
        self.standing == Standing::Running
    }

    /// Is it for this very input, made by this very generator?
    pub(super) fn is_for(&self, subject: Digest, generator: &Generator) -> bool {
        self.subject == subject && self.origin.generator == *generator
    }

    /// Where it stands once it is not running and not parked.
    pub(super) fn phase_at_rest(&self, now: Stamp) -> Phase {
        if self.open > 0 {
            Phase::Waiting
        } else if self.not_before > now {
            Phase::Delayed {
                until: self.not_before,
            }
        } else {
            Phase::Ready
        }
    }

    pub(super) fn state(&self) -> JobState {
        match self.phase() {
            Phase::Waiting => JobState::Waiting { open: self.open },
            Phase::Delayed { until } => JobState::Delayed { until },
            Phase::Ready => JobState::Ready,
            Phase::Running(lease) => JobState::Running(lease),
            Phase::Parked => JobState::Parked,
        }
    }
}

/// How many jobs are in which phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct PhaseCounts {
    pub(super) waiting: u64,
    pub(super) delayed: u64,
    pub(super) ready: u64,
    pub(super) running: u64,
    pub(super) parked: u64,
}

impl PhaseCounts {
    fn of(&mut self, phase: Phase) -> &mut u64 {
        match phase {
            Phase::Waiting => &mut self.waiting,
            Phase::Delayed { .. } => &mut self.delayed,
            Phase::Ready => &mut self.ready,
            Phase::Running(_) => &mut self.running,
            Phase::Parked => &mut self.parked,
        }
    }
}

/// The unfinished jobs with their indexes.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    pub(super) rows: Table<JobId, Job>,
    pub(super) order: Order,
    pub(super) leases: Leases,
    pub(super) counts: PhaseCounts,
    origins: Origins,
}

impl Jobs {
    pub(super) fn new(tag: u64) -> Jobs {
        Jobs {
            rows: Table::new(tag),
            order: Order::default(),
            leases: Leases::default(),
            counts: PhaseCounts::default(),
            origins: Origins::default(),
        }
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.rows.get(&id)
    }

    /// A job that an index or a slot names: it must be there.
    pub(super) fn expect(&self, id: JobId) -> &Job {
        self.rows
            .get(&id)
            .unwrap_or_else(|| panic!("{id} is named and not among the unfinished jobs"))
    }

    pub(super) fn origin(&mut self, origin: Origin) -> Arc<Origin> {
        self.origins.intern(origin)
    }

    pub(super) fn origin_of(
        &mut self,
        generator: &Generator,
        tenant: &str,
        asked_by: &Principal,
    ) -> Arc<Origin> {
        self.origins.find_or_add(generator, tenant, asked_by)
    }

    pub(super) fn insert(&mut self, id: JobId, job: Job, timers: &mut Timers) {
        self.index(id, &job, timers);
        let old = self.rows.insert(id, job);
        assert!(old.is_none(), "{id} was there already");
    }

    pub(super) fn remove(&mut self, id: JobId, timers: &mut Timers) -> Job {
        let job = self.rows.remove(&id);
        let job = job.unwrap_or_else(|| panic!("{id} is to be removed and is not there"));
        self.unindex(id, &job, timers);
        job
    }

    /// The one way to change a job.
    pub(super) fn change<R>(
        &mut self,
        id: JobId,
        timers: &mut Timers,
        change: impl FnOnce(&mut Job) -> R,
    ) -> R {
        let changed = self.rows.update(&id, |job| {
            let before = (job.phase(), job.class);
            let answer = change(job);
            let after = (job.phase(), job.class);
            let moved = (before != after).then(|| (before, after, Arc::clone(&job.origin)));
            (answer, moved)
        });
        let (answer, moved) =
            changed.unwrap_or_else(|| panic!("{id} is named and not among the unfinished jobs"));
        if let Some(((phase, class), (new_phase, new_class), origin)) = moved {
            self.unindex_phase(id, phase, class, &origin, timers);
            self.index_phase(id, new_phase, new_class, &origin, timers);
        }
        answer
    }

    fn index(&mut self, id: JobId, job: &Job, timers: &mut Timers) {
        self.index_phase(id, job.phase(), job.class, &job.origin, timers);
    }

    fn unindex(&mut self, id: JobId, job: &Job, timers: &mut Timers) {
        self.unindex_phase(id, job.phase(), job.class, &job.origin, timers);
    }

    fn index_phase(
        &mut self,
        id: JobId,
        phase: Phase,
        class: Class,
        origin: &Origin,
        timers: &mut Timers,
    ) {
        let (tenant, engine) = origin.queue();
        *self.counts.of(phase) += 1;
        match phase {
            Phase::Waiting | Phase::Parked => {}
            Phase::Delayed { until } => timers.set(until, Timer::Job(id)),
            Phase::Ready => self.order.insert(class, tenant, engine, id),
            Phase::Running(lease) => self.leases.insert(lease.worker, lease.token, id),
        }
    }

    fn unindex_phase(
        &mut self,
        id: JobId,
        phase: Phase,
        class: Class,
        origin: &Origin,
        timers: &mut Timers,
    ) {
        let (tenant, engine) = origin.queue();
        *self.counts.of(phase) -= 1;
        match phase {
            Phase::Waiting | Phase::Parked => {}
            Phase::Delayed { until } => timers.clear(until, Timer::Job(id)),
            Phase::Ready => self.order.remove(class, tenant, engine, id),
            Phase::Running(lease) => self.leases.remove(lease.worker, lease.token),
        }
    }
}

/// Keeps equal origins once: a million jobs have a handful of them. No part of
/// the replicated state, only of its size.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    known: BTreeSet<Arc<Origin>>,
    sweep_above: u64,
    /// Those that were asked for last: the next job has most often one of them.
    recent: VecDeque<Arc<Origin>>,
}

/// How many origins are tried before one is looked for among all.
const ORIGINS_RECENT_MAX: usize = 8;

impl Origins {
    fn find_or_add(
        &mut self,
        generator: &Generator,
        tenant: &str,
        asked_by: &Principal,
    ) -> Arc<Origin> {
        let recent = self.recent.iter().find(|origin| {
            origin.generator == *generator
                && *origin.tenant == *tenant
                && origin.asked_by == *asked_by
        });
        if let Some(origin) = recent {
            return Arc::clone(origin);
        }
        let origin = self.intern(Origin {
            generator: generator.clone(),
            tenant: tenant.into(),
            asked_by: asked_by.clone(),
        });
        self.recent.truncate(ORIGINS_RECENT_MAX - 1);
        self.recent.push_front(Arc::clone(&origin));
        origin
    }

    pub(super) fn intern(&mut self, origin: Origin) -> Arc<Origin> {
        if let Some(known) = self.known.get(&origin) {
            return Arc::clone(known);
        }
        // Forget what nobody uses whenever the set has doubled: constant work
        // an origin, and no count to keep.
        if self.known.len() as u64 > self.sweep_above {
            self.known.retain(|origin| Arc::strong_count(origin) > 1);
            self.sweep_above = 2 * self.known.len() as u64 + 16;
        }
        let origin = Arc::new(origin);
        self.known.insert(Arc::clone(&origin));
        origin
    }
}
