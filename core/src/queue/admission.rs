//! What a `Submit` does: it is checked whole, then each item is admitted,
//! dependencies first. After the check nothing can fail: all items or none.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::address::Address;
use crate::command::{Admission, Rejection, Submitted};
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::ids::{JobId, RequestId, SessionId};
use crate::job::{Class, JobSpec, JobState, Policy};
use crate::limits::{
    ADDRESS_BYTES_MAX, DELAY_MS_MAX, DEPENDENCIES_MAX, EDGES_OPEN_MAX, NAME_BYTES_MAX,
    NAMED_DEPENDENCIES_MAX, SUBMIT_ITEMS_MAX,
};
use crate::principal::Principal;
use crate::time::Stamp;

use super::QueueManager;
use super::contexts::PlaceId;
use super::dependencies::{Edge, EdgeKey, Ended, admission_order};
use super::finished::FinishedJob;
use super::invalidation::holds_cache;
use super::jobs::{FreshJob, Job, Origin};
use super::waiters::Walk;

/// When a client may try again that met a full queue, in milliseconds.
pub(super) const QUEUE_FULL_RETRY_AFTER_MS: u64 = 1_000;

/// A job that is to be made.
#[derive(Debug)]
pub(super) struct NewJob {
    pub(super) place: PlaceId,
    pub(super) origin: Arc<Origin>,
    pub(super) kind: ContextKind,
    pub(super) class: Class,
    pub(super) subject: Digest,
    /// How old its input is.
    pub(super) accepted: JobId,
    pub(super) not_before: Stamp,
    /// What it depends on. Nothing is known of these places but this.
    pub(super) needed: Vec<(PlaceId, Policy)>,
}

/// May what is known answer?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lookup {
    Cache,
    /// No: only what a job makes that is not over yet.
    Skip,
}

impl QueueManager {
    pub(super) fn submit(
        &mut self,
        items: &[JobSpec],
        principal: &Principal,
        session: Option<SessionId>,
    ) -> Result<Vec<Submitted>, Rejection> {
        self.admit_all(items, Lookup::Cache, principal, session)
    }

    /// Admits a batch whole, or not.
    pub(super) fn admit_all(
        &mut self,
        items: &[JobSpec],
        lookup: Lookup,
        principal: &Principal,
        session: Option<SessionId>,
    ) -> Result<Vec<Submitted>, Rejection> {
        check_shape(items)?;
        let nodes: Vec<_> = items.iter().map(node_of_item).collect();
        let order = admission_order(&nodes).map_err(|path| Rejection::Cycle {
            path: path.into_iter().cloned().collect(),
        })?;
        self.check_dependencies(items)?;
        self.check_room(items, lookup)?;
        let base = self.head.accepted;
        self.head.accepted = JobId(base.0 + items.len() as u64);
        let mut walk = Walk::new();
        let mut submitted: Vec<(u32, Submitted)> = Vec::with_capacity(items.len());
        for position in order {
            let item = &items[usize::try_from(position).expect("a position in a slice")];
            let id = JobId(base.0 + 1 + u64::from(position));
            submitted.push((position, self.admit(id, item, lookup, principal, &mut walk)));
        }
        submitted.sort_unstable_by_key(|(position, _)| *position);
        let submitted: Vec<Submitted> = submitted.into_iter().map(|(_, how)| how).collect();
        if let Some(session) = session {
            self.note_waits(session, &submitted);
        }
        Ok(submitted)
    }

    /// Everything that is required must be somewhere.
    fn check_dependencies(&self, items: &[JobSpec]) -> Result<(), Rejection> {
        if items.iter().all(|item| item.dependencies.is_empty()) {
            return Ok(());
        }
        let batch: BTreeSet<_> = items.iter().map(|item| &item.address).collect();
        for (position, item) in (0u32..).zip(items) {
            for dependency in &item.dependencies {
                let known = || {
                    let place = self.places.find(&dependency.address)?;
                    let live = self.places.slots(place).newest().is_some();
                    (live || self.is_there(place)).then_some(place)
                };
                if dependency.policy == Policy::Require
                    && !batch.contains(&dependency.address)
                    && known().is_none()
                {
                    return Err(Rejection::UnknownDependency {
                        item: position,
                        address: dependency.address.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Would a new request for these be refused for want of room, and not if it came when
    /// others are done?
    #[must_use]
    pub fn can_wait_for_room(&self, request: RequestId, items: &[JobSpec]) -> bool {
        let limit = match self.check_room(items, Lookup::Cache) {
            Err(Rejection::QueueFull { limit, .. } | Rejection::TenantFull { limit, .. }) => limit,
            Ok(()) | Err(_) => return false,
        };
        self.sessions.is_new(request) && items.len() as u64 <= limit
    }

    /// The queue must hold what the batch may add. Items that find their
    /// result or their job add nothing.
    fn check_room(&self, items: &[JobSpec], lookup: Lookup) -> Result<(), Rejection> {
        // Nearly always there is room, whatever they find.
        let edges = items.iter().map(|item| item.dependencies.len() as u64);
        let fits = self.check_room_for(items.len() as u64, edges.sum()).is_ok();
        if fits && !self.limits_tenants() {
            return Ok(());
        }
        let new = items.iter().filter(|item| !self.is_answered(item, lookup));
        let added = new.clone().count() as u64;
        let edges = new.clone().map(|item| item.dependencies.len() as u64).sum();
        self.check_room_for(added, edges)?;
        self.check_tenants(new)
    }

    /// The queue must hold so many jobs more, with so many dependencies.
    pub(super) fn check_room_for(&self, jobs: u64, edges: u64) -> Result<(), Rejection> {
        let (live, limit) = (self.jobs.rows.len(), self.rules.jobs_live_max);
        if live + jobs > limit {
            return Err(Rejection::QueueFull {
                live,
                limit,
                retry_after_ms: QUEUE_FULL_RETRY_AFTER_MS,
            });
        }
        // Dead letters have a bound of their own.
        let kept = self.edges.rows.len() - self.letters.edges_count();
        if kept + edges > EDGES_OPEN_MAX {
            return Err(Rejection::Full {
                what: "dependencies of unfinished jobs".into(),
                limit: EDGES_OPEN_MAX,
            });
        }
        Ok(())
    }

    fn is_answered(&self, item: &JobSpec, lookup: Lookup) -> bool {
        let Some(place) = self.places.find(&item.address) else {
            return false;
        };
        let slots = self.places.slots(place);
        let is_for = |id: JobId| self.may_answer(id, item);
        let is_known = || {
            self.hit(place, item.subject, &item.generator).is_some()
                || self.failed_before(place, item).is_some()
        };
        lookup == Lookup::Cache && is_known()
            || slots.current.is_some_and(is_for)
            || slots.parked.is_some_and(is_for)
    }

    /// Is an unfinished job for what is asked for? What it makes must count as well as
    /// what a new one would make.
    fn may_answer(&self, id: JobId, item: &JobSpec) -> bool {
        self.jobs.expect(id).is_for(item.subject, &item.generator) && !self.is_outdated(id)
    }

    fn admit(
        &mut self,
        id: JobId,
        item: &JobSpec,
        lookup: Lookup,
        principal: &Principal,
        walk: &mut Walk,
    ) -> Submitted {
        let place = self.place_of(&item.address);
        let looks = lookup == Lookup::Cache;
        if looks && self.hit(place, item.subject, &item.generator).is_some() {
            self.answer_from_cache(id, item, place);
            return Submitted {
                job: id,
                how: Admission::FromCache,
            };
        }
        let slots = self.places.slots(place);
        for live in [slots.parked, slots.current].into_iter().flatten() {
            if !self.may_answer(live, item) {
                continue;
            }
            self.attach(live, id, item.class, walk);
            if let Some(parked) = slots.parked.filter(|parked| *parked != live) {
                self.take_parked_back(live, parked, walk);
            }
            return Submitted {
                job: live,
                how: Admission::Attached,
            };
        }
        if let Some(reason) = self.failed_before(place, item).filter(|_| looks) {
            self.answer_with_failure(id, item, place, reason);
            return Submitted {
                job: id,
                how: Admission::FailedBefore,
            };
        }
        let new = NewJob {
            place,
            origin: self
                .jobs
                .origin_of(&item.generator, &item.tenant, principal),
            kind: item.kind,
            class: item.class,
            subject: item.subject,
            accepted: id,
            not_before: self.head.now.plus_ms(item.delay_ms),
            needed: self.needed_by_item(item),
        };
        let how = self.create(id, new, walk);
        Submitted { job: id, how }
    }

    pub(super) fn place_of(&mut self, address: &Address) -> PlaceId {
        let next = self.head.next_place;
        let (place, is_new) = self.places.find_or_add(address, next);
        if is_new {
            self.head.next_place = PlaceId(next.0 + 1);
        }
        place
    }

    /// The result is there: the job is born finished. It has the newest input,
    /// so nothing at its address may still wait to run for an older one.
    fn answer_from_cache(&mut self, id: JobId, item: &JobSpec, place: PlaceId) {
        let result = self
            .places
            .contexts
            .update(&place, |context| {
                context.accepted = id;
                context.result
            })
            .expect("a hit has a context");
        let slots = self.places.slots(place);
        for old in [slots.parked, slots.current].into_iter().flatten() {
            if holds_cache(self.level) && self.may_answer(old, item) {
                // Somebody asked for it anew: what it makes is as new as what is there.
                self.jobs
                    .change(old, &mut self.timers, |job| job.accepted = id);
                continue;
            }
            if !self.jobs.expect(old).is_running() {
                let state = JobState::Superseded { by: id };
                self.finish(old, state, Some(Ended::Published));
            }
        }
        let state = JobState::Done {
            result,
            from_cache: true,
        };
        self.be_born_finished(id, item, place, state);
    }

    /// A job that nobody has to run.
    pub(super) fn be_born_finished(
        &mut self,
        id: JobId,
        item: &JobSpec,
        place: PlaceId,
        state: JobState,
    ) {
        self.places.hold(place);
        let finished = FinishedJob {
            number: self.head.finished.next(),
            place,
            subject: item.subject,
            class: item.class,
            state,
            waiters: 1,
            attempts: 0,
            failures: 0,
            crashes: 0,
            last_token: None,
            last_error: None,
        };
        self.note_finished(id, finished);
    }

    /// The current job's input is the newest again: the parked one is not
    /// wanted any more, unless its dependents are what the current one needs.
    fn take_parked_back(&mut self, current: JobId, parked: JobId, walk: &mut Walk) {
        let targets = self.awaited_by(current);
        if self.would_wait_for_itself(parked, &targets, walk) {
            return;
        }
        let legacy = self.supersede(parked, current);
        self.inherit(current, legacy, walk);
    }

    /// Makes a job for an input that no unfinished job is for.
    pub(super) fn create(&mut self, id: JobId, new: NewJob, walk: &mut Walk) -> Admission {
        let place = new.place;
        let edges = self.edges_to(&new.needed);
        let targets: BTreeSet<JobId> = edges
            .iter()
            .filter(|edge| edge.line.is_some())
            .filter_map(|edge| self.places.slots(edge.place).newest())
            .collect();
        let mut job = Job::new(FreshJob {
            place,
            origin: new.origin,
            kind: new.kind,
            class: new.class,
            subject: new.subject,
            accepted: new.accepted,
            not_before: new.not_before,
            open: u32::try_from(edges.iter().filter(|edge| edge.line.is_some()).count())
                .expect("edges are limited"),
            line: id,
        });
        let slots = self.places.slots(place);
        let takes_current = slots.current.is_some_and(|current| {
            !self.jobs.expect(current).is_running()
                && !self.would_wait_for_itself(current, &targets, walk)
        });
        if let Some(parked) = slots.parked {
            if self.would_wait_for_itself(parked, &targets, walk) {
                // What the new job needs waits for the job that it replaces.
                // The circle is cut where it closes: there is no context to wait for.
                let state = JobState::Superseded { by: id };
                let old = self.finish(parked, state, Some(Ended::Failed(parked)));
                if self.keeps_waits() {
                    job.waiters = job.waiters.saturating_add(old.waiters);
                }
            } else {
                self.supersede(parked, id).pass_to(id, &mut job);
            }
        }
        if let (true, Some(current)) = (takes_current, slots.current) {
            self.supersede(current, id).pass_to(id, &mut job);
        }
        let takes_turn = self.places.change_slots(place, |slots| {
            slots.uses += 1;
            match slots.current {
                None => slots.current = Some(id),
                Some(_) => slots.parked = Some(id),
            }
            slots.current == Some(id)
        });
        #[cfg(feature = "planted-bugs")]
        let may_run = takes_turn || self.is_planted(crate::planted::Bug::RunContextTwice);
        #[cfg(not(feature = "planted-bugs"))]
        let may_run = takes_turn;
        if may_run {
            job.set_phase(job.phase_at_rest(self.head.now));
        }
        let how = match takes_turn {
            true => Admission::Created,
            false => Admission::Parked,
        };
        for (position, edge) in (0u32..).zip(edges) {
            self.places.hold_edge(edge.place);
            let key = EdgeKey {
                dependent: id,
                position,
            };
            self.edges.insert(key, edge);
        }
        let class = job.class;
        self.accounts.used.queue(&job.origin.tenant);
        self.sources.hold(&job.subject, id);
        self.jobs.insert(id, job, &mut self.timers);
        self.raise(targets.into_iter().collect(), class, walk);
        how
    }

    fn needed_by_item(&mut self, item: &JobSpec) -> Vec<(PlaceId, Policy)> {
        let needed = item.dependencies.iter();
        needed
            .map(|dependency| (self.place_of(&dependency.address), dependency.policy))
            .collect()
    }

    /// What each dependency has to wait for: the newest job at its address; if
    /// there is none, for nothing: there is a context, or there is a gap.
    fn edges_to(&self, needed: &[(PlaceId, Policy)]) -> Vec<Edge> {
        let edges = needed.iter().map(|(place, policy)| {
            let newest = self.places.slots(*place).newest();
            #[cfg(feature = "planted-bugs")]
            let newest =
                newest.filter(|_| !self.is_planted(crate::planted::Bug::IgnoreDependencies));
            Edge {
                place: *place,
                policy: *policy,
                line: newest.map(|newest| self.jobs.expect(newest).line),
            }
        });
        edges.collect()
    }
}

/// An item of a batch, for the order of admission.
fn node_of_item(item: &JobSpec) -> (&Address, Vec<&Address>) {
    let needed = item.dependencies.iter();
    let needed = needed.map(|dependency| &dependency.address);
    (&item.address, needed.collect())
}

pub(super) fn check_shape(items: &[JobSpec]) -> Result<(), Rejection> {
    let found = items.len() as u64;
    if found == 0 || found > SUBMIT_ITEMS_MAX {
        return Err(Rejection::ItemCount {
            found,
            limit: SUBMIT_ITEMS_MAX,
        });
    }
    for (position, item) in (0u32..).zip(items) {
        let texts = [
            ("the address", item.address.as_str(), ADDRESS_BYTES_MAX),
            (
                "the engine's name",
                item.generator.engine.as_str(),
                NAME_BYTES_MAX,
            ),
            ("the tenant's name", item.tenant.as_str(), NAME_BYTES_MAX),
        ];
        let needed = item.dependencies.iter().map(|dependency| {
            let text = dependency.address.as_str();
            ("a dependency's address", text, ADDRESS_BYTES_MAX)
        });
        for (what, text, limit) in texts.into_iter().chain(needed) {
            check_length(what, text, limit)?;
        }
        let all = item.dependencies.len() as u64;
        let required = |policy| policy == Policy::Require;
        let named = item.dependencies.iter().map(|edge| edge.policy);
        let named = named.filter(|policy| required(*policy)).count() as u64;
        for (required, found, limit) in [
            (true, named, NAMED_DEPENDENCIES_MAX),
            (false, all, DEPENDENCIES_MAX),
        ] {
            if found > limit {
                return Err(Rejection::TooManyDependencies {
                    item: position,
                    required,
                    found,
                    limit,
                });
            }
        }
        if item.delay_ms > DELAY_MS_MAX {
            return Err(Rejection::OutOfRange {
                what: format!("the delay_ms of item {position}"),
                found: item.delay_ms,
                min: 0,
                max: DELAY_MS_MAX,
            });
        }
    }
    Ok(())
}

/// Is a text within its bound?
pub(super) fn check_length(what: &str, text: &str, limit: u64) -> Result<(), Rejection> {
    let found = text.len() as u64;
    if found <= limit {
        return Ok(());
    }
    Err(Rejection::TooLong {
        what: what.to_owned(),
        found,
        limit,
    })
}
