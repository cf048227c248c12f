//! What an `Ask` does: what may come from the cache is looked up as the request wants
//! it, and what must be made is admitted as by a `Submit` (QUEUE C2; decision 23).

use crate::command::{Asked, CacheMode, Cached, Rejection, Submitted};
use crate::ids::SessionId;
use crate::job::{Class, JobSpec};
use crate::limits::STALE_MS_MAX;
use crate::principal::Principal;

use super::QueueManager;
use super::admission::{Lookup, check_shape};
use super::attempts::check_range;
use super::contexts::{Context, PlaceId};

impl QueueManager {
    pub(super) fn ask(
        &mut self,
        items: &[JobSpec],
        mode: CacheMode,
        principal: &Principal,
        session: Option<SessionId>,
    ) -> Result<Vec<Asked>, Rejection> {
        let admitted = |submitted: Vec<Submitted>| submitted.into_iter().map(Asked::Job).collect();
        match mode {
            CacheMode::Fresh => self
                .admit_all(items, Lookup::Cache, principal, session)
                .map(admitted),
            CacheMode::Refresh => {
                #[cfg(feature = "planted-bugs")]
                let lookup = match self.is_planted(crate::planted::Bug::RefreshFindsOld) {
                    true => Lookup::Cache,
                    false => Lookup::Skip,
                };
                #[cfg(not(feature = "planted-bugs"))]
                let lookup = Lookup::Skip;
                self.admit_all(items, lookup, principal, session)
                    .map(admitted)
            }
            CacheMode::CachedOnly => {
                check_shape(items)?;
                check_not_delayed(items, mode)?;
                Ok(items.iter().map(|item| self.look_up(item)).collect())
            }
            CacheMode::StaleOk { max_age_ms } => {
                check_range("the greatest age in ms", max_age_ms, 1, STALE_MS_MAX)?;
                self.ask_stale(items, max_age_ms, principal, session)
            }
            CacheMode::NoCache => Err(Rejection::ModeRefused { mode }),
        }
    }

    fn look_up(&self, item: &JobSpec) -> Asked {
        let place = self.places.find(&item.address);
        let hit = place.and_then(|place| {
            let context = self.hit(place, item.subject, &item.generator)?;
            Some(self.cached(place, context))
        });
        hit.map_or(Asked::NotCached, Asked::Cached)
    }

    fn cached(&self, place: PlaceId, context: &Context) -> Cached {
        Cached {
            result: context.result,
            by: context.job,
            age_ms: self.age_ms(place),
        }
    }

    /// Whoever has something older is not waiting: what is fresh is made in the
    /// background.
    fn ask_stale(
        &mut self,
        items: &[JobSpec],
        max_age_ms: u64,
        principal: &Principal,
        session: Option<SessionId>,
    ) -> Result<Vec<Asked>, Rejection> {
        let older: Vec<Option<Cached>> = items
            .iter()
            .map(|item| self.older(item, max_age_ms))
            .collect();
        let items = items.iter().zip(&older).map(|(item, older)| {
            let mut item = item.clone();
            if older.is_some() {
                // Ordered from the most urgent.
                item.class = item.class.max(Class::Background);
            }
            item
        });
        let items: Vec<JobSpec> = items.collect();
        let submitted = self.admit_all(&items, Lookup::Cache, principal, session)?;
        let asked = submitted
            .into_iter()
            .zip(older)
            .map(|(refresh, older)| match older {
                Some(cached) => Asked::Stale { cached, refresh },
                None => Asked::Job(refresh),
            });
        Ok(asked.collect())
    }

    /// What may be served instead of what is fresh: what the same engine made at this
    /// address of another input, or in another version, not too long ago.
    fn older(&self, item: &JobSpec, max_age_ms: u64) -> Option<Cached> {
        let place = self.places.find(&item.address)?;
        if self.hit(place, item.subject, &item.generator).is_some() {
            return None;
        }
        let context = self.valid_context(place)?;
        let cached = self.cached(place, context);
        let is_young = cached.age_ms.is_some_and(|age_ms| age_ms <= max_age_ms);
        #[cfg(feature = "planted-bugs")]
        let is_young = is_young || self.is_planted(crate::planted::Bug::StaleBeyondAge);
        let same_family = context.origin.generator.engine == item.generator.engine;
        (is_young && same_family).then_some(cached)
    }
}

/// Who takes only what is there cannot say when to make it.
fn check_not_delayed(items: &[JobSpec], mode: CacheMode) -> Result<(), Rejection> {
    let mut items = (0u32..).zip(items);
    match items.find(|(_, item)| item.delay_ms > 0) {
        None => Ok(()),
        Some((position, _)) => Err(Rejection::ModeContradicted {
            item: position,
            mode,
            what: "not to start before a time".to_owned(),
        }),
    }
}
