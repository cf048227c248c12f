//! Which worker is fit for which engine's jobs (QUEUE F4, P1; decision 29), from
//! [`FeatureLevel::WORKERS_FITTED`] on. What an engine needs is said once, for all its jobs:
//! so a shape is still an engine, and a job that waits carries nothing of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::{ClaimRefusal, Outcome, Rejection};
use crate::digest::Digest;
use crate::feature::FeatureLevel;
use crate::ids::{WorkerId, WorkerIncarnation};
use crate::job::{EngineNeeds, Lacking, Needs, Offer, WorkerView};
use crate::limits::{ENGINES_NEEDING_MAX, MEMORY_MIB_MAX, NAME_BYTES_MAX, WORKER_TAGS_MAX};

use super::QueueManager;
use super::admission::check_length;
use super::attempts::check_range;
use super::consistency::ensure;
use super::table::Table;

const ENGINE_DOMAIN: &str = "precentor 2026 engine's needs";

/// What an engine needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct NeedsRow {
    engine: Box<str>,
    needs: Needs,
}

/// What is needed, and what is there. Who needs or has nothing has no row.
#[derive(Clone, Debug)]
pub(super) struct Fitting {
    /// By the digest of the engine's name: a name is too long for a key.
    pub(super) needs: Table<Digest, NeedsRow>,
    /// The same by name: it is asked for with every claim and every lease.
    by_name: BTreeMap<Box<str>, Needs>,
    pub(super) offers: Table<WorkerId, Offer>,
}

impl Fitting {
    pub(super) fn new(needs: Table<Digest, NeedsRow>, offers: Table<WorkerId, Offer>) -> Fitting {
        let by_name = needs
            .iter()
            .map(|(_, row)| (row.engine.clone(), row.needs.clone()));
        Fitting {
            by_name: by_name.collect(),
            needs,
            offers,
        }
    }
}

/// Is there more than slots and engines at this level?
pub(super) fn holds_fitting(level: FeatureLevel) -> bool {
    level >= FeatureLevel::WORKERS_FITTED
}

fn key_of(engine: &str) -> Digest {
    Digest::of_parts(ENGINE_DOMAIN, &[engine.as_bytes()])
}

fn check_tags(tags: &[String], memory_mib: u64) -> Result<(), Rejection> {
    check_range("the tags", tags.len() as u64, 0, WORKER_TAGS_MAX)?;
    for tag in tags {
        if tag.is_empty() {
            return Err(Rejection::NoName {
                what: "a tag".into(),
            });
        }
        check_length("a tag", tag, NAME_BYTES_MAX)?;
    }
    check_range("the memory in MiB", memory_mib, 0, MEMORY_MIB_MAX)
}

impl QueueManager {
    /// Sets what each job of an engine needs from now on. What runs goes on.
    pub(super) fn put_needs(&mut self, engine: &str, needs: &Needs) -> Result<Outcome, Rejection> {
        if engine.is_empty() {
            return Err(Rejection::NoName {
                what: "the engine".into(),
            });
        }
        check_length("the engine", engine, NAME_BYTES_MAX)?;
        check_tags(&needs.tags, needs.memory_mib)?;
        let key = key_of(engine);
        let known = self.fitting.needs.get(&key);
        let before = known.map_or_else(Needs::default, |row| row.needs.clone());
        if *needs == Needs::default() {
            self.fitting.needs.remove(&key);
            self.fitting.by_name.remove(engine);
            return Ok(Outcome::NeedsPut(before));
        }
        if known.is_none() && self.fitting.needs.len() >= ENGINES_NEEDING_MAX {
            return Err(Rejection::Full {
                what: "engines that need something".into(),
                limit: ENGINES_NEEDING_MAX,
            });
        }
        let row = NeedsRow {
            engine: engine.into(),
            needs: needs.clone(),
        };
        self.fitting.needs.insert(key, row);
        self.fitting.by_name.insert(engine.into(), needs.clone());
        Ok(Outcome::NeedsPut(before))
    }

    /// A worker says what it has.
    pub(super) fn put_offer(
        &mut self,
        worker: WorkerId,
        incarnation: WorkerIncarnation,
        offer: &Offer,
    ) -> Result<Outcome, Rejection> {
        check_tags(&offer.tags, offer.memory_mib)?;
        match self.worker(worker).map(|known| known.incarnation) {
            Some(known) if known == incarnation => {}
            Some(known) if known > incarnation => {
                return Err(Rejection::OldIncarnation { worker });
            }
            Some(_) | None => return Err(Rejection::UnknownWorker { worker }),
        }
        let before = match *offer == Offer::default() {
            true => self.fitting.offers.remove(&worker),
            false => self.fitting.offers.insert(worker, offer.clone()),
        };
        Ok(Outcome::OfferPut(before.unwrap_or_default()))
    }

    /// What a worker said that it has does not count any more.
    pub(super) fn forget_offer(&mut self, worker: WorkerId) {
        self.fitting.offers.remove(&worker);
    }

    fn needs_of(&self, engine: &str) -> Option<&Needs> {
        self.fitting.by_name.get(engine)
    }

    /// Does no engine need anything?
    #[must_use]
    pub fn needs_nothing(&self) -> bool {
        self.fitting.needs.is_empty()
    }

    /// Can a worker take a job of an engine when it has no other?
    #[must_use]
    pub fn is_fit(&self, worker: WorkerId, engine: &str) -> bool {
        let needed = self.memory_needed(engine);
        self.has_tags(worker, engine) && (needed == 0 || needed <= self.memory_of(worker))
    }

    /// Memory that each job of an engine needs, in MiB.
    #[must_use]
    pub fn memory_needed(&self, engine: &str) -> u64 {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::MemoryOvercommitted) {
            return 0;
        }
        self.needs_of(engine).map_or(0, |needs| needs.memory_mib)
    }

    /// Memory that a worker has for all its jobs together, in MiB.
    #[must_use]
    pub fn memory_of(&self, worker: WorkerId) -> u64 {
        let offer = self.fitting.offers.get(&worker);
        offer.map_or(0, |offer| offer.memory_mib)
    }

    /// Memory that the jobs of a worker need by what their engines need now, in MiB.
    #[must_use]
    pub fn memory_used(&self, worker: WorkerId) -> u64 {
        if self.fitting.needs.is_empty() {
            return 0;
        }
        let held = self.leases_of(worker).map(|(_, job)| {
            let engine = self.engine_of(job).expect("what runs is unfinished");
            self.memory_needed(engine)
        });
        held.sum()
    }

    /// Has a worker all tags that an engine needs?
    #[must_use]
    pub fn has_tags(&self, worker: WorkerId, engine: &str) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::TagsIgnored) {
            return true;
        }
        let Some(needs) = self.needs_of(engine) else {
            return true;
        };
        let offer = self.fitting.offers.get(&worker);
        let has = |tag| offer.is_some_and(|offer| offer.tags.contains(tag));
        needs.tags.iter().all(has)
    }

    /// Why a worker is not fit for one more job of an engine, if it is not.
    pub(super) fn misfit(&self, worker: WorkerId, engine: &str) -> Option<ClaimRefusal> {
        if !self.has_tags(worker, engine) {
            return Some(ClaimRefusal::LacksTag);
        }
        let needed = self.memory_needed(engine);
        let is_too_much = needed > 0 && self.memory_used(worker) + needed > self.memory_of(worker);
        is_too_much.then_some(ClaimRefusal::NoMemory)
    }

    /// The engines that need something.
    pub fn needs(&self) -> impl Iterator<Item = EngineNeeds> {
        self.fitting.needs.iter().map(|(_, row)| EngineNeeds {
            engine: row.engine.to_string(),
            needs: row.needs.clone(),
        })
    }

    /// A registered worker.
    #[must_use]
    pub fn worker_view(&self, worker: WorkerId) -> Option<WorkerView> {
        let offer = self.fitting.offers.get(&worker);
        Some(WorkerView {
            spec: self.worker(worker)?.clone(),
            offer: offer.cloned().unwrap_or_default(),
            held: self.leases_count(worker),
            memory_used_mib: self.memory_used(worker),
            drained: self.is_worker_paused(worker),
        })
    }

    /// What workers lack that offer an engine, if none of them is fit.
    pub(super) fn lacking(&self, engine: &str, offering: &[WorkerId]) -> Option<Lacking> {
        let needs = self.needs_of(engine)?;
        if offering.iter().any(|worker| self.is_fit(*worker, engine)) {
            return None;
        }
        let count = |has: &dyn Fn(&WorkerId) -> bool| {
            offering.iter().filter(|worker| !has(worker)).count() as u64
        };
        let offer = |worker: &WorkerId| self.fitting.offers.get(worker);
        let lack = needs.tags.iter().map(|tag| {
            let has =
                |worker: &WorkerId| offer(worker).is_some_and(|offer| offer.tags.contains(tag));
            (tag.clone(), count(&has))
        });
        Some(Lacking {
            needs: needs.clone(),
            workers: offering.len() as u64,
            tags: lack.filter(|(_, count)| *count > 0).collect(),
            memory: count(&|worker| self.memory_of(*worker) >= needs.memory_mib),
        })
    }

    /// The memory that a job of an engine needs, and the most that any of these workers has
    /// left, if that is not enough.
    pub(super) fn memory_short(&self, engine: &str, fit: &[WorkerId]) -> Option<(u64, u64)> {
        let needed = self.memory_needed(engine);
        let left = |worker| {
            self.memory_of(worker)
                .saturating_sub(self.memory_used(worker))
        };
        let most = fit.iter().map(|worker| left(*worker)).max()?;
        (most < needed).then_some((needed, most))
    }

    pub(super) fn check_fitting(&self) -> Result<(), String> {
        let fitting = &self.fitting;
        let is_empty = fitting.needs.is_empty() && fitting.offers.is_empty();
        ensure!(
            holds_fitting(self.level) || is_empty,
            "needs are kept below their level"
        );
        for (key, row) in fitting.needs.iter() {
            ensure!(
                *key == key_of(&row.engine)
                    && row.needs != Needs::default()
                    && fitting.by_name.get(&row.engine) == Some(&row.needs),
                "the needs of {} are {}",
                row.engine,
                row.needs
            );
        }
        ensure!(
            fitting.by_name.len() as u64 == fitting.needs.len(),
            "the index of needs has engines that need nothing"
        );
        for (worker, offer) in fitting.offers.iter() {
            ensure!(
                self.workers.contains(worker) && offer.memory_mib <= MEMORY_MIB_MAX,
                "{worker} offers {offer}"
            );
        }
        let needs = fitting.needs.iter().map(|(_, row)| row.needs.memory_mib);
        ensure!(
            needs.max().is_none_or(|most| most <= MEMORY_MIB_MAX),
            "an engine needs more memory than there may be"
        );
        Ok(())
    }
}
