//! Is a job given only to a worker that has what its engine needs? Needs and offers the judge
//! reads from the entries; what workers hold it looks at when a turn is over. Each log index
//! is judged once, at the replica that applies it first.

use std::collections::BTreeMap;

use precentor_core::command::{AuditRecord, Command};
use precentor_core::ids::{JobId, WorkerId, WorkerIncarnation};
use precentor_core::job::{Needs, Offer};
use precentor_core::view::View;

use super::effects::Effects;
use super::logs::Logs;
use super::runs::given;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// What engines need, and what workers have and use.
#[derive(Clone, Debug, Default)]
pub(super) struct Fits {
    needs: BTreeMap<String, Needs>,
    offers: BTreeMap<WorkerId, Offer>,
    used: BTreeMap<WorkerId, u64>,
}

impl Fits {
    /// As a replica says, with the jobs that workers hold there.
    pub(super) fn of(view: &View<'_>) -> Fits {
        let needs = view.queue().needs();
        let mut fits = Fits {
            needs: needs.map(|one| (one.engine, one.needs)).collect(),
            ..Fits::default()
        };
        if fits.needs.is_empty() {
            return fits;
        }
        for worker in view.queue().workers() {
            let offer = view.queue().worker_view(worker.worker);
            let offer = offer.expect("it is registered").offer;
            fits.offers.insert(worker.worker, offer);
        }
        fits.hold(view);
        fits
    }

    /// Workers use what they hold.
    fn hold(&mut self, view: &View<'_>) {
        self.used.clear();
        for (worker, _, job) in view.queue().leases() {
            self.take(view, worker, job);
        }
    }

    /// A job goes to a worker.
    pub(super) fn take(&mut self, view: &View<'_>, worker: WorkerId, job: JobId) {
        let engine = view.queue().engine_of(job);
        let needs = engine.and_then(|engine| self.needs.get(engine));
        *self.used.entry(worker).or_default() += needs.map_or(0, |needs| needs.memory_mib);
    }

    fn has_tags(&self, worker: WorkerId, engine: &str) -> bool {
        let offer = self.offers.get(&worker);
        let has = |tag: &String| offer.is_some_and(|offer| offer.tags.contains(tag));
        let needs = self.needs.get(engine);
        needs.is_none_or(|needs| needs.tags.iter().all(has))
    }

    fn memory_of(&self, worker: WorkerId) -> u64 {
        self.offers.get(&worker).map_or(0, |offer| offer.memory_mib)
    }

    /// Can a worker take one more job of an engine?
    pub(super) fn can_take(&self, worker: WorkerId, engine: &str) -> bool {
        let needed = self.needs.get(engine).map_or(0, |needs| needs.memory_mib);
        let used = self.used.get(&worker).copied().unwrap_or(0);
        self.has_tags(worker, engine) && (needed == 0 || used + needed <= self.memory_of(worker))
    }
}

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Fitted {
    effects: Effects,
    fits: Fits,
    lives: BTreeMap<WorkerId, WorkerIncarnation>,
    /// Needs or offers changed since the last look: what is held may be too much by that.
    changed: bool,
}

impl Fitted {
    /// A replica says what came of an entry.
    pub(super) fn on_audit(
        &mut self,
        record: &AuditRecord,
        view: &View<'_>,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        let Some(entry) = self.effects.next(record, logs) else {
            return Ok(());
        };
        match &entry.command {
            Command::PutNeeds { engine, needs } => {
                self.changed = true;
                if *needs == Needs::default() {
                    self.fits.needs.remove(engine);
                    return Ok(());
                }
                marks.hit(Mark::EngineNeeds);
                self.fits.needs.insert(engine.clone(), needs.clone());
            }
            Command::PutOffer { worker, offer, .. } => {
                self.changed = true;
                self.fits.offers.insert(*worker, offer.clone());
            }
            Command::Register { worker } => {
                let life = self.lives.entry(worker.worker).or_default();
                if worker.incarnation > *life {
                    *life = worker.incarnation;
                    self.changed = true;
                    self.fits.offers.remove(&worker.worker);
                }
            }
            Command::Expel { worker } => {
                self.changed = true;
                self.lives.remove(worker);
                self.fits.offers.remove(worker);
            }
            command @ (Command::Claim { .. }
            | Command::ClaimFrom { .. }
            | Command::ClaimTogether { .. }) => {
                for given in given(command, record) {
                    let Some(engine) = view.queue().engine_of(given.job) else {
                        continue;
                    };
                    let (worker, fits) = (given.worker, &self.fits);
                    ensure(fits.has_tags(worker, engine), Checker::FittedWork, || {
                        format!(
                            "{} goes to {worker} at {}; {engine} needs {:?}, and it has {:?}",
                            given.job,
                            record.index,
                            fits.needs.get(engine),
                            fits.offers.get(&worker)
                        )
                    })?;
                }
                let refused = |why: &str| record.text.contains(&format!(", {why};"));
                if refused("LacksTag") || refused("NoMemory") {
                    marks.hit(Mark::UnfitRefused);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The turn is over: nobody has more than it has memory for, or had before.
    pub(super) fn on_turn(&mut self, view: &View<'_>, marks: &mut Marks) -> Verdict {
        if view.applied() != self.effects.last() || self.fits.needs.is_empty() {
            return Ok(());
        }
        let before = std::mem::take(&mut self.fits.used);
        self.fits.hold(view);
        if std::mem::take(&mut self.changed) {
            return Ok(());
        }
        for (worker, used) in &self.fits.used {
            let before = before.get(worker).copied().unwrap_or(0);
            let most = self.fits.memory_of(*worker);
            ensure(*used <= most.max(before), Checker::FittedWork, || {
                format!("{worker} has {most} MiB, and its jobs need {used}, {before} before")
            })?;
            if *used > 0 && *used == most {
                marks.hit(Mark::MemoryFull);
            }
        }
        Ok(())
    }
}
