//! What makes published results invalid, and what else is kept of them (QUEUE C2, C4;
//! decision 23), from [`FeatureLevel::CACHE_CHOSEN`] on.
//!
//! A result counts as of the attempt that made it: one that was given out before an
//! invalidation is invalid, whenever it comes in, and whoever asks later does not share
//! its job. So an attempt's token, which is an index of the log, is compared with the
//! index of the invalidation.
//!
//! An invalidation of a prefix or a generator holds at once, by a mark that every
//! look-up consults; `Tick` by `Tick` it is written to the contexts and jobs that it is
//! of, and then the mark goes.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::command::{Outcome, Rejection};
use crate::feature::FeatureLevel;
use crate::ids::{JobId, LogIndex, Token};
use crate::job::{CacheView, CachedView, InvalidationView, Reach};
use crate::limits::{INVALIDATIONS_MAX, NAME_BYTES_MAX, SWEPT_PER_ENTRY_MAX};
use crate::time::Stamp;

use super::admission::{QUEUE_FULL_RETRY_AFTER_MS, check_length};
use super::consistency::{ensure, is_right};
use super::contexts::{Context, PlaceId};
use super::eviction::BudgetRow;
use super::table::Table;
use super::{QueueManager, tag};

/// Is it kept in a state at a level how the cache is used, and part of its image?
pub(super) fn holds_cache(level: FeatureLevel) -> bool {
    level >= FeatureLevel::CACHE_CHOSEN
}

/// What is kept of a published result, besides itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Publication {
    pub(super) at: Stamp,
    /// When the attempt that made it was given out.
    pub(super) began: LogIndex,
}

/// An invalidation that is being carried through.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) reach: Reach,
    pub(super) since: Stamp,
    /// Contexts up to here were looked at, and are to be up to there.
    places: PlaceId,
    places_end: PlaceId,
    /// The same for jobs.
    jobs: JobId,
    jobs_end: JobId,
}

/// How the cache is used.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    /// Of contexts that were published since this is kept.
    pub(super) published: Table<PlaceId, Publication>,
    /// Contexts that are invalid, and by which entry.
    pub(super) invalid: Table<PlaceId, LogIndex>,
    /// Unfinished jobs whose last attempt began before such an entry.
    pub(super) outdated: Table<JobId, LogIndex>,
    /// What is not written there yet, by its entry.
    pub(super) marks: Table<LogIndex, Mark>,
    /// One row, since there was a budget.
    pub(super) budget: Table<u8, BudgetRow>,
}

impl Cache {
    pub(super) fn new() -> Cache {
        Cache {
            published: Table::new(tag::PUBLISHED),
            invalid: Table::new(tag::INVALID),
            outdated: Table::new(tag::OUTDATED),
            marks: Table::new(tag::MARKS),
            budget: Table::new(tag::BUDGET),
        }
    }

    /// Is an invalidation to be carried through by `Tick`?
    pub(super) fn is_sweeping(&self) -> bool {
        !self.marks.is_empty()
    }

    /// A job gets a new attempt.
    pub(super) fn note_claim(&mut self, id: JobId) {
        if !self.outdated.is_empty() {
            self.outdated.remove(&id);
        }
    }

    /// A job is over.
    pub(super) fn note_end(&mut self, id: JobId) {
        if !self.outdated.is_empty() {
            self.outdated.remove(&id);
        }
    }

    /// Nothing is published at a place any more.
    pub(super) fn forget(&mut self, place: PlaceId) {
        self.published.remove(&place);
        self.invalid.remove(&place);
    }

    /// The entry that makes invalid what began at an index, among those that are not
    /// carried through.
    fn marked(&self, began: LogIndex, covers: impl Fn(&Reach) -> bool) -> Option<LogIndex> {
        let later = self.marks.range((Bound::Included(began), Bound::Unbounded));
        let mut covering = later.filter(|(_, mark)| covers(&mark.reach));
        covering.next().map(|(index, _)| *index)
    }

    fn began(&self, place: PlaceId) -> LogIndex {
        let known = self.published.get(&place);
        known.map_or(LogIndex(0), |known| known.began)
    }
}

impl QueueManager {
    /// Does a published context answer no request any more?
    pub(super) fn is_invalid(&self, place: PlaceId, context: &Context) -> bool {
        let cache = &self.cache;
        if !cache.invalid.is_empty() && cache.invalid.contains(&place) {
            return true;
        }
        !cache.marks.is_empty() && self.marked_context(place, context).is_some()
    }

    fn marked_context(&self, place: PlaceId, context: &Context) -> Option<LogIndex> {
        let address = self.places.address(place);
        let covers = |reach: &Reach| reach.covers(address, &context.origin.generator);
        self.cache.marked(self.cache.began(place), covers)
    }

    /// Would what an unfinished job makes by its last token be invalid?
    pub(super) fn is_outdated(&self, id: JobId) -> bool {
        let cache = &self.cache;
        if !cache.outdated.is_empty() && cache.outdated.contains(&id) {
            return true;
        }
        !cache.marks.is_empty() && self.marked_job(id).is_some()
    }

    fn marked_job(&self, id: JobId) -> Option<LogIndex> {
        let job = self.jobs.get(id)?;
        let began = job.last_token?.index;
        let address = self.places.address(job.place);
        let covers = |reach: &Reach| reach.covers(address, &job.origin.generator);
        self.cache.marked(began, covers)
    }

    /// An unfinished job's result is published, by a token.
    pub(super) fn note_published(&mut self, place: PlaceId, id: JobId, token: Token) {
        if !holds_cache(self.level) {
            return;
        }
        let noted = self.cache.outdated.get(&id).copied();
        let invalid = noted.or_else(|| self.marked_job(id));
        let publication = Publication {
            at: self.head.now,
            began: token.index,
        };
        self.cache.published.insert(place, publication);
        match invalid {
            Some(by) => drop(self.cache.invalid.insert(place, by)),
            None => drop(self.cache.invalid.remove(&place)),
        }
    }

    /// How long ago a context was published, if that is kept.
    pub(super) fn age_ms(&self, place: PlaceId) -> Option<u64> {
        let at = self.cache.published.get(&place)?.at;
        Some(self.head.now.0.saturating_sub(at.0))
    }

    /// From this entry on, what is covered is invalid.
    pub(super) fn invalidate(&mut self, reach: &Reach) -> Result<Outcome, Rejection> {
        if let Reach::Generator { engine, .. } = reach {
            check_length("the engine's name", engine, NAME_BYTES_MAX)?;
            if engine.is_empty() {
                return Err(Rejection::NoEngine);
            }
        }
        let index = self.head.applied;
        if let Reach::Address(address) = reach {
            let published = self.places.find(address).is_some_and(|place| {
                let slots = self.places.slots(place);
                for id in [slots.current, slots.parked].into_iter().flatten() {
                    self.note_outdated(id, index);
                }
                let published = self.places.context(place).is_some();
                if published {
                    self.cache.invalid.insert(place, index);
                }
                published
            });
            let published = Some(published);
            return Ok(Outcome::Invalidated { published });
        }
        let marks = self.cache.marks.iter();
        let contained: Vec<LogIndex> = marks
            .filter(|(_, mark)| reach.contains(&mark.reach))
            .map(|(index, _)| *index)
            .collect();
        let limit = INVALIDATIONS_MAX;
        if contained.is_empty() && self.cache.marks.len() >= limit {
            return Err(Rejection::InvalidationsFull {
                limit,
                retry_after_ms: QUEUE_FULL_RETRY_AFTER_MS,
            });
        }
        for index in contained {
            self.cache.marks.remove(&index);
        }
        let mark = Mark {
            reach: reach.clone(),
            since: self.head.now,
            places: PlaceId(0),
            places_end: self.head.next_place,
            jobs: JobId(0),
            jobs_end: self.head.accepted,
        };
        self.cache.marks.insert(index, mark);
        Ok(Outcome::Invalidated { published: None })
    }

    fn note_outdated(&mut self, id: JobId, index: LogIndex) {
        if self.jobs.expect(id).last_token.is_some() {
            self.cache.outdated.insert(id, index);
        }
    }

    /// Carries invalidations through, up to the bound, the oldest first; says how many
    /// contexts and jobs it looked at.
    pub(super) fn sweep(&mut self) -> u32 {
        let mut left = SWEPT_PER_ENTRY_MAX;
        while left > 0 {
            let Some((index, mark)) = self.cache.marks.first() else {
                break;
            };
            let (index, mut mark) = (*index, mark.clone());
            let before = left;
            if self.sweep_contexts(index, &mut mark, &mut left)
                && self.sweep_jobs(index, &mut mark, &mut left)
            {
                self.cache.marks.remove(&index);
                // What is to go costs, too.
                left = left.min(before - 1);
            } else {
                self.cache.marks.insert(index, mark);
            }
        }
        u32::try_from(SWEPT_PER_ENTRY_MAX - left).expect("a small bound")
    }

    /// Says whether there is no context left to look at.
    fn sweep_contexts(&mut self, index: LogIndex, mark: &mut Mark, left: &mut u64) -> bool {
        let range = (
            Bound::Excluded(mark.places),
            Bound::Excluded(mark.places_end),
        );
        if mark.places >= mark.places_end {
            return true;
        }
        let mut found = Vec::new();
        let mut is_done = true;
        for (place, context) in self.places.contexts.range(range) {
            if *left == 0 {
                is_done = false;
                break;
            }
            *left -= 1;
            mark.places = *place;
            let address = self.places.address(*place);
            let is_old = self.cache.began(*place) <= index;
            if is_old && mark.reach.covers(address, &context.origin.generator) {
                found.push(*place);
            }
        }
        for place in found {
            self.cache.invalid.insert(place, index);
        }
        if is_done {
            mark.places = mark.places_end;
        }
        is_done
    }

    /// Says whether there is no job left to look at.
    fn sweep_jobs(&mut self, index: LogIndex, mark: &mut Mark, left: &mut u64) -> bool {
        let range = (Bound::Excluded(mark.jobs), Bound::Included(mark.jobs_end));
        if mark.jobs >= mark.jobs_end {
            return true;
        }
        let mut found = Vec::new();
        let mut is_done = true;
        for (id, job) in self.jobs.rows.range(range) {
            if *left == 0 {
                is_done = false;
                break;
            }
            *left -= 1;
            mark.jobs = *id;
            let address = self.places.address(job.place);
            let is_old = job.last_token.is_some_and(|token| token.index <= index);
            if is_old && mark.reach.covers(address, &job.origin.generator) {
                found.push(*id);
            }
        }
        for id in found {
            self.cache.outdated.insert(id, index);
        }
        if is_done {
            mark.jobs = mark.jobs_end;
        }
        is_done
    }
}

/// Against its own rules.
impl QueueManager {
    pub(super) fn check_cache(&self) -> Result<(), String> {
        let (cache, places) = (&self.cache, &self.places);
        let kept = [
            cache.published.len(),
            cache.invalid.len(),
            cache.outdated.len(),
            cache.marks.len(),
            cache.budget.len(),
            places.traces.len(),
        ];
        ensure!(
            holds_cache(self.level) || kept == [0; 6],
            "the cache is used before its time: {kept:?}"
        );
        for (place, publication) in cache.published.iter() {
            ensure!(
                places.context(*place).is_some()
                    && publication.at <= self.head.now
                    && publication.began < self.head.applied,
                "{place:?} has {publication:?}"
            );
        }
        for (place, by) in cache.invalid.iter() {
            ensure!(
                places.context(*place).is_some() && *by <= self.head.applied,
                "{place:?} is invalid by {by}"
            );
        }
        for (id, by) in cache.outdated.iter() {
            let last = self.jobs.get(*id).and_then(|job| job.last_token);
            ensure!(
                last.is_some_and(|last| last.index < *by),
                "{id} is outdated by {by}, and has {last:?}"
            );
        }
        for (index, mark) in cache.marks.iter() {
            ensure!(
                *index <= self.head.applied
                    && mark.since <= self.head.now
                    && mark.places <= mark.places_end
                    && mark.jobs <= mark.jobs_end,
                "{index} is carried through as {mark:?}"
            );
        }
        ensure!(
            cache.marks.len() <= INVALIDATIONS_MAX && self.is_budget_sound(),
            "there are {} marks, or the budget is another's",
            cache.marks.len()
        );
        for (place, trace) in places.traces.iter() {
            ensure!(
                places.context(*place).is_none() && trace.accepted <= self.head.accepted,
                "{place:?} has a trace of {}",
                trace.job
            );
        }
        let bytes = places.contexts.iter().map(|(_, context)| context.bytes);
        let bytes = bytes.fold(0, u64::saturating_add);
        ensure!(
            bytes == places.bytes && bytes < 1 << 60,
            "results take {bytes} bytes, and {} are counted",
            places.bytes
        );
        Ok(())
    }

    pub(super) fn are_cache_hashes_right(&self) -> bool {
        is_right(&self.places.traces)
            && is_right(&self.cache.published)
            && is_right(&self.cache.invalid)
            && is_right(&self.cache.outdated)
            && is_right(&self.cache.marks)
            && is_right(&self.cache.budget)
    }

    /// A published context with what is known of it.
    #[must_use]
    pub fn cached_view(&self, address: &Address) -> Option<CachedView> {
        let place = self.places.find(address)?;
        let context = self.places.context(place)?;
        Some(CachedView {
            invalid: self.is_invalid(place, context),
            age_ms: self.age_ms(place),
            needed: self.is_needed(place),
            context: self.places.view(place)?,
        })
    }

    /// What all published contexts take.
    #[must_use]
    pub fn cache_view(&self) -> CacheView {
        let budget = self.budget();
        let marks = self.cache.marks.iter();
        CacheView {
            contexts: self.places.contexts.len(),
            bytes: self.places.bytes,
            bytes_max: budget.bytes_max,
            invalid: self.cache.invalid.len(),
            evicted: budget.evicted,
            evicted_bytes: budget.evicted_bytes,
            invalidations: marks
                .map(|(index, mark)| InvalidationView {
                    index: *index,
                    reach: mark.reach.clone(),
                    since: mark.since,
                })
                .collect(),
        }
    }
}
