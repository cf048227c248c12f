//! Does every queue get its turns, and every job of a queue its turn in it? Judged
//! at the leader, in the turn in which it proposes claims: its state is then what
//! it chose from. Counts turns and knows no passes: the bound for two queues
//! (decision 16) is all that it shares with what it judges.

use precentor_core::action::Write;
use precentor_core::command::Claim;
use precentor_core::entry::EntryKind;
use precentor_core::ids::{JobId, LogIndex, Term, WorkerId};
use precentor_core::job::{Account, Class};
use precentor_core::queue::Opening;
use precentor_core::status::RoleName;
use precentor_core::view::View;
use precentor_core::wire::command::decode;

use std::collections::BTreeMap;

use super::fitted::Fits;
use super::limited::Left;
use super::operated::Held;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// A job that was lost with so many workers is kept from the last one: when it
/// may go, is not judged.
const CRASHES_JUDGED_MAX: u32 = 1;

/// Which queue, as a number of this judge's own.
type Number = usize;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Name {
    class: Class,
    tenant: String,
    engine: String,
}

/// How much tenants weigh; one that is not in it weighs 1.
type Weights = BTreeMap<String, u64>;

impl Name {
    fn weight(&self, weights: &Weights) -> u64 {
        let of_class = match self.class {
            Class::Urgent => 512,
            Class::Normal => 64,
            Class::Background => 8,
            Class::Idle => 1,
        };
        of_class * weights.get(&self.tenant).copied().unwrap_or(1)
    }
}

fn weights_of(view: &View<'_>) -> Weights {
    let weights = view.queue().accounts().filter_map(|view| {
        let Account::Tenant(tenant) = view.account else {
            return None;
        };
        Some((tenant, u64::from(view.limits.weight?)))
    });
    weights.collect()
}

/// A leadership, as far as its claims go.
#[derive(Clone, Debug, Default)]
struct Leadership {
    term: Term,
    /// Jobs in a claim that is not applied, in which entry, and for whom.
    under_way: BTreeMap<JobId, (LogIndex, WorkerId)>,
    /// As of its last claim.
    weights: Weights,
    /// Queues that opened up to then are looked at.
    seen: Opening,
    /// How often the first queue was passed over for the second, since its own
    /// last turn, or since it has had jobs without a break.
    passed: BTreeMap<(Number, Number), u64>,
}

/// The judge.
#[derive(Clone, Debug)]
pub struct Order {
    names: Vec<Name>,
    /// By place.
    leaderships: Vec<Leadership>,
}

/// What one queue has to give.
#[derive(Debug)]
struct Ready {
    number: Number,
    /// First accepted first, without those that are not judged.
    jobs: Vec<JobId>,
}

impl Order {
    pub(super) fn new(count: usize) -> Order {
        Order {
            names: Vec::new(),
            leaderships: vec![Leadership::default(); count],
        }
    }

    /// A node writes, at the end of a turn.
    pub(super) fn on_write(
        &mut self,
        place: Place,
        view: &View<'_>,
        write: &Write,
        marks: &mut Marks,
    ) -> Verdict {
        let own = |term| view.role() == RoleName::Leader && term == view.term();
        let mut claims: Vec<(LogIndex, Vec<Claim>)> = Vec::new();
        for entry in &write.entries {
            if entry.kind == EntryKind::Membership || !own(entry.term) {
                continue;
            }
            if let Ok(decoded) = decode(&entry.body) {
                let some: Vec<Claim> = decoded.command.claims().copied().collect();
                if !some.is_empty() {
                    claims.push((entry.index, some));
                }
            }
        }
        if claims.is_empty() {
            return Ok(());
        }
        let leadership = &mut self.leaderships[place];
        if leadership.term != view.term() {
            *leadership = Leadership {
                term: view.term(),
                ..Leadership::default()
            };
        }
        let applied = view.applied();
        leadership
            .under_way
            .retain(|_, (index, _)| *index > applied);
        let weights = weights_of(view);
        if leadership.weights != weights {
            // What was counted was counted by other shares.
            leadership.passed.clear();
            leadership.weights = weights;
        }
        self.note_opened(place, view);
        let leadership = &self.leaderships[place];
        let mut left = Left::of(view);
        let mut fits = Fits::of(view);
        for (job, (_, worker)) in &leadership.under_way {
            left.take(view, *job);
            fits.take(view, *worker, *job);
        }
        let mut ready = self.ready(place, view, &left);
        for (index, claims) in claims {
            for claim in claims {
                self.on_claim(place, view, claim, &mut ready, (&left, &fits), marks)?;
                left.take(view, claim.job);
                fits.take(view, claim.worker, claim.job);
                let leadership = &mut self.leaderships[place];
                leadership
                    .under_way
                    .insert(claim.job, (index, claim.worker));
            }
        }
        Ok(())
    }

    /// A queue that was empty since the last claim, however short, begins anew.
    fn note_opened(&mut self, place: Place, view: &View<'_>) {
        let leadership = &mut self.leaderships[place];
        for (opening, key) in view.queue().opened_after(leadership.seen) {
            leadership.seen = opening;
            let number = number_of(&mut self.names, key.class, &key.tenant, &key.engine);
            leadership.passed.retain(|(passed, _), _| *passed != number);
        }
    }

    /// What can be given, queue by queue. A queue that has nothing starts anew.
    fn ready(&mut self, place: Place, view: &View<'_>, left: &Left) -> Vec<Ready> {
        let under_way = &self.leaderships[place].under_way;
        let held = Held::of(view);
        let mut ready: Vec<Ready> = Vec::new();
        let mut last = 0;
        for job in view.queue().unfinished() {
            let judged = job.ready && job.crashes <= CRASHES_JUDGED_MAX;
            let held_back = held.covers(job.tenant, job.engine);
            if !judged || held_back || under_way.contains_key(&job.job) {
                continue;
            }
            if !left.has_room_for(view, job.job) {
                continue;
            }
            let is_of = |ready: &Ready| {
                let name = &self.names[ready.number];
                (name.class, &*name.tenant, &*name.engine) == (job.class, job.tenant, job.engine)
            };
            // Jobs that were accepted together are mostly of one queue.
            if !ready.get(last).is_some_and(is_of) {
                last = match ready.iter().position(is_of) {
                    Some(position) => position,
                    None => {
                        let number = number_of(&mut self.names, job.class, job.tenant, job.engine);
                        let jobs = Vec::new();
                        ready.push(Ready { number, jobs });
                        ready.len() - 1
                    }
                };
            }
            ready[last].jobs.push(job.job);
        }
        let has_jobs = |number| ready.iter().any(|ready| ready.number == number);
        self.leaderships[place]
            .passed
            .retain(|(passed, _), _| has_jobs(*passed));
        ready
    }

    fn on_claim(
        &mut self,
        place: Place,
        view: &View<'_>,
        claim: Claim,
        ready: &mut Vec<Ready>,
        (left, fits): (&Left, &Fits),
        marks: &mut Marks,
    ) -> Verdict {
        let Some(served) = self.queue_of(view, claim.job) else {
            // What is not there, apply refuses.
            return Ok(());
        };
        let worker = view.queue().worker(claim.worker);
        let engines = worker.map_or(&[][..], |worker| &worker.engines[..]);
        let leadership = &mut self.leaderships[place];
        let mut taken = None;
        let mut waiting = [0u32; Class::ALL.len()];
        for (at, other) in ready.iter().enumerate() {
            let mut jobs = other.jobs.iter();
            let Some(first) = jobs.find(|job| left.has_room_for(view, **job)) else {
                continue;
            };
            let name = &self.names[other.number];
            // Whether it may have what it gets, others judge.
            let can_take =
                engines.contains(&name.engine) && fits.can_take(claim.worker, &name.engine);
            if other.number != served && !can_take {
                marks.hit(Mark::ShapeWithoutSlot);
                continue;
            }
            waiting[name.class as usize] += 1;
            if other.number == served {
                ensure(claim.job <= *first, Checker::OrderInQueue, || {
                    format!(
                        "{} goes to {} in {}, and {first} of the same queue, accepted before, waits: {name:?}",
                        claim.job, claim.worker, leadership.term
                    )
                })?;
                taken = (claim.job == *first).then_some(at);
                continue;
            }
            let count = leadership.passed.entry((other.number, served)).or_default();
            *count += 1;
            let winner = &self.names[served];
            let weights = &leadership.weights;
            let bound = 1 + winner.weight(weights) / name.weight(weights);
            ensure(*count <= bound, Checker::WaitBound, || {
                format!(
                    "{name:?} has jobs and was passed over {count} times in {} for {winner:?}, to which {} goes now; the bound is {bound}",
                    leadership.term, claim.job
                )
            })?;
            if *count == bound && bound > 2 {
                marks.hit(Mark::WaitedToTheBound);
            }
        }
        leadership.passed.retain(|(passed, _), _| *passed != served);
        if waiting.iter().all(|count| *count > 0) {
            marks.hit(Mark::AllClassesWait);
        }
        if waiting.iter().any(|count| *count > 2) {
            marks.hit(Mark::TenantsCompete);
        }
        if self.names[served].class == Class::Idle && waiting[Class::Urgent as usize] > 0 {
            marks.hit(Mark::IdleBesideUrgent);
        }
        if let Some(at) = taken {
            ready[at].jobs.retain(|job| *job != claim.job);
            if ready[at].jobs.is_empty() {
                ready.remove(at);
            }
        }
        Ok(())
    }

    fn queue_of(&mut self, view: &View<'_>, job: JobId) -> Option<Number> {
        let found = view.queue().unfinished_job(job)?;
        Some(number_of(
            &mut self.names,
            found.class,
            found.tenant,
            found.engine,
        ))
    }
}

fn number_of(names: &mut Vec<Name>, class: Class, tenant: &str, engine: &str) -> Number {
    let known = names
        .iter()
        .position(|name| (name.class, &*name.tenant, &*name.engine) == (class, tenant, engine));
    known.unwrap_or_else(|| {
        names.push(Name {
            class,
            tenant: tenant.to_owned(),
            engine: engine.to_owned(),
        });
        names.len() - 1
    })
}
