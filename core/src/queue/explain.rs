//! Why a job is where it is, from the replicated state alone: any replica says the
//! same. Looks at a bounded part of it. What only the leader knows, which workers
//! ask for work just now, is not here.

use crate::ids::{JobId, WorkerId};
use crate::job::{Explanation, Hold, JobState, JobView, OpenDependency, Scope, WorkerSpec};
use crate::limits::{EXPLAINED_CAUSES_MAX, EXPLAINED_DEPENDENCIES_MAX};

use super::QueueManager;
use super::jobs::{Job, Origin, Phase};
use super::letters::cause;
use super::order::QueueKey;

/// Ready jobs, queues, dependencies or newer inputs that one explanation looks at.
const LOOKED_AT_MAX: usize = 10_000;

impl QueueManager {
    /// Why a job is where it is; none if it never was or was forgotten.
    #[must_use]
    pub fn explain(&self, id: JobId) -> Option<Explanation> {
        let view = self.job(id)?;
        let unfinished = self.jobs.get(id);
        let letter = self.letters.get(id);
        let origin = unfinished
            .map(|job| &job.origin)
            .or(letter.map(|letter| &letter.origin));
        let redriven = letter.and_then(|letter| letter.redriven);
        Some(Explanation {
            engine: origin.map(|origin| origin.generator.engine.clone()),
            tenant: origin.map(|origin| origin.tenant.to_string()),
            holds: unfinished.map_or_else(Vec::new, |job| self.holds(id, job)),
            causes: self.causes(&view),
            instead: redriven.or_else(|| self.newest_input(&view)),
            job: view,
        })
    }

    fn holds(&self, id: JobId, job: &Job) -> Vec<Hold> {
        let engine = &*job.origin.generator.engine;
        let key = QueueKey {
            class: job.class,
            tenant: job.origin.tenant.clone(),
            engine: engine.into(),
        };
        let mut holds = Vec::new();
        match job.phase() {
            Phase::Running(lease) => {
                let attempt = self.letters.attempts_of(id).last();
                return vec![Hold::Running {
                    lease,
                    attempt: job.attempts,
                    since: attempt.map(|(_, row)| row.began),
                }];
            }
            Phase::Waiting => holds.push(self.open_dependencies(id, job)),
            Phase::Delayed { until } => holds.push(Hold::Delay {
                until,
                now: self.head.now,
            }),
            Phase::Parked => {
                let running = self.places.slots(job.place).current;
                let running = running.expect("a job is parked behind another");
                holds.push(Hold::Behind { job: running });
            }
            Phase::Ready => {}
        }
        let covers = |scope: &Scope| covers(scope, &job.origin);
        holds.extend(
            self.pauses()
                .filter(|pause| covers(&pause.scope))
                .map(Hold::Paused),
        );
        holds.extend(
            self.breaker(engine)
                .filter(|_| self.probes_left(engine) == Some(0))
                .map(Hold::Broken),
        );
        holds.extend(self.full_account(job).map(Hold::Limited));
        let offers = self.workers().filter(|worker| {
            let mut offered = worker.engines.iter();
            offered.any(|offered| offered == engine)
                && !self.is_worker_paused(worker.worker)
                && self.may_work(worker.worker)
        });
        let offers: Vec<&WorkerSpec> = offers.collect();
        let ids: Vec<WorkerId> = offers.iter().map(|worker| worker.worker).collect();
        let lacking = self.lacking(engine, &ids);
        let is_fit = |worker: &&&WorkerSpec| self.is_fit(worker.worker, engine);
        let fit: Vec<WorkerId> = offers
            .iter()
            .filter(is_fit)
            .map(|worker| worker.worker)
            .collect();
        let slots = offers
            .iter()
            .filter(is_fit)
            .map(|worker| u64::from(worker.slots));
        let (workers, slots) = (fit.len() as u64, slots.sum());
        let taken = fit.iter().map(|worker| self.leases_count(*worker)).sum();
        if offers.is_empty() {
            holds.push(Hold::NoWorker);
        } else if let Some(lacking) = lacking {
            holds.push(Hold::Unfit(lacking));
        } else if job.phase() == Phase::Ready {
            let short = self.memory_short(engine, &fit);
            holds.extend(short.map(|(needed_mib, left_mib)| Hold::Memory {
                needed_mib,
                left_mib,
            }));
            let others = self.ready_in(&key).take_while(|other| *other != id);
            let ahead = others.take(LOOKED_AT_MAX).count();
            holds.push(Hold::Turn {
                ahead: ahead as u64,
                ahead_is_least: ahead == LOOKED_AT_MAX,
                queues: self.queues_count() as u64,
                workers,
                slots,
                taken,
                avoids: self.worker_to_avoid(id),
            });
        }
        holds
    }

    fn open_dependencies(&self, id: JobId, job: &Job) -> Hold {
        let edges = self.edges.of(id).take(LOOKED_AT_MAX);
        let open = edges.filter_map(|(_, edge)| {
            let job = self.answers_for(edge.place, edge.line?)?;
            Some(OpenDependency {
                address: self.places.address(edge.place).clone(),
                job,
                state: self.jobs.get(job)?.state(),
            })
        });
        Hold::Dependencies {
            open: job.open,
            first: open.take(EXPLAINED_DEPENDENCIES_MAX).collect(),
        }
    }

    /// The jobs for want of which a job failed.
    fn causes(&self, view: &JobView) -> Vec<JobView> {
        let first = cause(&view.state).and_then(|cause| self.job(cause));
        let causes = std::iter::successors(first, |view| self.job(cause(&view.state)?));
        causes.take(EXPLAINED_CAUSES_MAX).collect()
    }

    /// The job to which superseding leads; none if that is too far, or forgotten.
    fn newest_input(&self, view: &JobView) -> Option<JobId> {
        let JobState::Superseded { by } = view.state else {
            return None;
        };
        let mut newest = by;
        for _ in 0..LOOKED_AT_MAX {
            if self.jobs.get(newest).is_some() {
                return Some(newest);
            }
            match self.finished.get(newest)?.state {
                JobState::Superseded { by } => newest = by,
                _ => return Some(newest),
            }
        }
        None
    }
}

fn covers(scope: &Scope, origin: &Origin) -> bool {
    match scope {
        Scope::Cluster => true,
        Scope::Engine(engine) => *engine == origin.generator.engine,
        Scope::Tenant(tenant) => **tenant == *origin.tenant,
        // Others may take the job.
        Scope::Worker(_) => false,
    }
}
