//! One round of claims: ready jobs, in the order in which it is their turn, and workers
//! that wait for work.

use std::collections::BTreeMap;

use crate::command::{Claim, Command, WeighedClaim};
use crate::feature::FeatureLevel;
use crate::ids::{JobId, WorkerId};
use crate::limits::{BATCH_JOBS_MAX, CLAIMS_PER_ENTRY_MAX};
use crate::queue::QueueManager;
use crate::time::Time;

use super::GenerationCoordinator;
use super::placement::{self, Alike, Candidate, Placement, Wanted};
use super::room::Room;

/// `Claim`s of one turn: more would keep other entries waiting behind them.
const CLAIM_ENTRIES_PER_TURN_MAX: u64 = 16;

impl GenerationCoordinator {
    pub(super) fn propose_claims(
        &mut self,
        now: Time,
        queue: &QueueManager,
        commands: &mut Vec<Command>,
    ) {
        let (ready, under_way) = (queue.counts().ready, self.under_way.len() as u64);
        if ready <= under_way && self.all_ready_under_way(queue) {
            self.lingering.forget();
            return;
        }
        let ready = ready.saturating_sub(under_way);
        let level = queue.level();
        let mut placement = Placement::new(level);
        let memory_under_way = self.memory_under_way(queue);
        self.lingering
            .begin(now, |id| self.workers.contains_key(id));
        for (_, id) in &self.holds {
            let known = queue.worker(*id).filter(|_| queue.may_work(*id));
            let worker = &self.workers[id];
            let (Some(known), Some(waiting)) = (known, &worker.waiting) else {
                continue;
            };
            if queue.is_worker_paused(*id) && !self.ignores_pauses() {
                continue;
            }
            let slots = u64::from(known.slots);
            let used = queue.leases_count(*id) + worker.under_way;
            let wanted = waiting.slots_free.saturating_sub(worker.under_way);
            let credits = wanted.min(slots.saturating_sub(used));
            let together = match level >= FeatureLevel::JOBS_BATCHED {
                true => waiting.together.clamp(1, BATCH_JOBS_MAX),
                false => 1,
            };
            let whole = together.min(credits);
            if whole > 1 && ready < whole && self.lingering.waits(now, *id) {
                continue;
            }
            let fitting = known.engines.iter().map(String::as_str);
            let fitting = fitting.filter(|engine| queue.has_tags(*id, engine));
            let candidate = Candidate {
                engines: fitting
                    .map(|engine| (engine, queue.memory_needed(engine)))
                    .collect(),
                credits,
                memory: match queue.memory_of(*id) {
                    // Whatever its jobs need, it has none to give.
                    0 => (0, 0),
                    all => {
                        let under_way = memory_under_way.get(id).unwrap_or(&0);
                        (queue.memory_used(*id) + under_way, all)
                    }
                },
                used,
                slots,
                together,
                last_claim: worker.last_claim,
            };
            placement.add(*id, candidate);
        }
        let mut offered = placement.offered();
        if !self.ignores_pauses() {
            offered.retain(|engine| !queue.is_engine_paused(engine));
        }
        let mut room = match self.ignores_limits() {
            true => Room::without(queue),
            false => Room::of(queue, &self.under_way),
        };
        offered.retain(|engine| room.has_engine(engine));
        if offered.is_empty() || (queue.is_paused() && !self.ignores_pauses()) {
            return;
        }
        let claims_max = CLAIM_ENTRIES_PER_TURN_MAX * CLAIMS_PER_ENTRY_MAX;
        let mut claims = Vec::new();
        let mut stride = std::mem::take(&mut self.stride);
        let mut round = stride.round(queue, &offered, &self.under_way);
        while (claims.len() as u64) < claims_max {
            let offers = |engine: &str| placement.offers(engine) && room.has_engine(engine);
            let next = round.next(offers, &room, &self.under_way);
            let Some(job) = next else { break };
            let wanted = self.wanted(job, queue);
            let placed = placement.place(wanted, self.claims + 1);
            let Some(placed) = placed else {
                round.skipped();
                continue;
            };
            let (worker, rule) = (placed.worker, placed.rule);
            self.claims += 1;
            room.take(job);
            self.under_way.insert(job, worker);
            let known = self.workers.get_mut(&worker).expect("a candidate is known");
            known.under_way += 1;
            known.last_claim = self.claims;
            self.lingering.stop(worker);
            let weighed = WeighedClaim {
                claim: Claim { job, worker, rule },
                load: placed.load,
                fit: placed.fit,
                others: placed.others,
            };
            claims.push((weighed, placed.run));
            round.served(&room, &self.under_way);
        }
        round.end();
        self.stride = stride;
        commands.extend(placement::orders(&claims, level));
    }

    /// Memory that the jobs need which are under way to workers.
    fn memory_under_way(&self, queue: &QueueManager) -> BTreeMap<WorkerId, u64> {
        let mut needed = BTreeMap::new();
        if queue.needs_nothing() {
            return needed;
        }
        for (job, worker) in &self.under_way {
            let engine = queue.engine_of(*job);
            let memory = engine.map_or(0, |engine| queue.memory_needed(engine));
            *needed.entry(*worker).or_default() += memory;
        }
        needed
    }

    /// What a ready job needs, and with which others it may be run.
    fn wanted<'q>(&self, job: JobId, queue: &'q QueueManager) -> Wanted<'q> {
        let unfinished = queue.unfinished_job(job);
        let unfinished = unfinished.expect("a ready job is unfinished");
        let generator = queue.generator_of(job).expect("it is unfinished");
        let address = queue.address_of(job).expect("it is unfinished");
        let (engine, tenant, class) = (unfinished.engine, unfinished.tenant, unfinished.class);
        let avoid = queue.worker_to_avoid(job);
        #[cfg(feature = "planted-bugs")]
        let tenant = match self.planted {
            Some(crate::planted::Bug::BatchOfStrangers) => "",
            _ => tenant,
        };
        let is_alone = queue.is_alone(job) || queue.probes_left(engine).is_some();
        Wanted {
            engine,
            project: address.project(),
            avoid: avoid.filter(|avoid| self.is_another_alive(*avoid, engine, queue)),
            alike: (!is_alone).then_some(Alike {
                class,
                tenant,
                generator,
            }),
        }
    }

    /// Planted: what is paused is given out.
    fn ignores_pauses(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        return self.planted == Some(crate::planted::Bug::PauseIgnored);
        #[cfg(not(feature = "planted-bugs"))]
        false
    }

    /// Planted: limits are no limits.
    fn ignores_limits(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        return self.planted == Some(crate::planted::Bug::LimitIgnored);
        #[cfg(not(feature = "planted-bugs"))]
        false
    }

    /// Is there nothing to give out? Costs at most what is under way.
    fn all_ready_under_way(&self, queue: &QueueManager) -> bool {
        let mut ready = queue.ready();
        ready.all(|job| self.under_way.contains_key(&job))
    }
}
