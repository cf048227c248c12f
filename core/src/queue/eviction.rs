//! What published results may take, and which go (QUEUE C4; decision 23). The leader
//! chooses by what was used lately, which no replica but it knows; here is what may go
//! at all: only over the budget, and nothing that a job depends on.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::command::{Evicting, Eviction, Outcome, Rejection};
use crate::ids::JobId;
use crate::limits::{BUDGET_BYTES_MAX, BUDGET_BYTES_MIN, EVICTIONS_PER_ENTRY_MAX};

use super::QueueManager;
use super::attempts::check_range;
use super::contexts::PlaceId;

/// The key of the one row.
const THE_BUDGET: u8 = 0;

/// What results may take, and what was let go of for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct BudgetRow {
    pub(super) bytes_max: Option<u64>,
    /// Results evicted since there was a budget, and their bytes.
    pub(super) evicted: u64,
    pub(super) evicted_bytes: u64,
}

/// Where something is published, in the order in which a leader goes through it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CachedAt(PlaceId);

/// Something published that may have to go.
#[derive(Clone, Copy, Debug)]
pub struct Evictable<'a> {
    /// Where it is.
    pub at: CachedAt,
    /// The same, by name.
    pub address: &'a Address,
    /// Which job published it.
    pub job: JobId,
    /// How long its body is.
    pub bytes: u64,
    /// A job depends on it: it stays.
    pub needed: bool,
}

impl QueueManager {
    pub(super) fn put_budget(&mut self, bytes_max: Option<u64>) -> Result<Outcome, Rejection> {
        if let Some(bytes) = bytes_max {
            check_range("the budget", bytes, BUDGET_BYTES_MIN, BUDGET_BYTES_MAX)?;
        }
        let row = self.budget();
        let before = row.bytes_max;
        let row = BudgetRow { bytes_max, ..row };
        self.cache.budget.insert(THE_BUDGET, row);
        Ok(Outcome::BudgetPut { before })
    }

    pub(super) fn budget(&self) -> BudgetRow {
        let row = self.cache.budget.get(&THE_BUDGET);
        row.copied().unwrap_or_default()
    }

    /// May nothing but the one row be there?
    pub(super) fn is_budget_sound(&self) -> bool {
        let mut rows = self.cache.budget.iter();
        rows.all(|(key, row)| *key == THE_BUDGET && row.evicted < 1 << 60)
    }

    /// By how much the published results are over their budget, in bytes.
    #[must_use]
    pub fn excess_bytes(&self) -> u64 {
        match self.cache.budget.first() {
            None => 0,
            Some((_, row)) => {
                let most = row.bytes_max.unwrap_or(u64::MAX);
                self.places.bytes.saturating_sub(most)
            }
        }
    }

    /// Is there a budget?
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.budget().bytes_max.is_some()
    }

    /// What is published, in a fixed order from after one.
    pub fn cached_after(&self, after: Option<CachedAt>) -> impl Iterator<Item = Evictable<'_>> {
        let from = after.map_or(Bound::Unbounded, |CachedAt(place)| Bound::Excluded(place));
        let contexts = self.places.contexts.range((from, Bound::Unbounded));
        contexts.map(|(place, context)| Evictable {
            at: CachedAt(*place),
            address: self.places.address(*place),
            job: context.job,
            bytes: context.bytes,
            needed: self.is_needed(*place),
        })
    }

    /// Where something is published, if it is.
    #[must_use]
    pub fn cached_at(&self, address: &Address) -> Option<CachedAt> {
        let place = self.places.find(address)?;
        self.places.context(place).map(|_| CachedAt(place))
    }

    /// Does a job depend on what is at a place, or a dead letter that may be redriven?
    pub(super) fn is_needed(&self, place: PlaceId) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::EvictsDependedOn) {
            return false;
        }
        self.places.slots(place).edges > 0
    }

    /// Lets go of what the leader chose, as far as that may go.
    pub(super) fn evict(&mut self, evictions: &[Eviction]) -> Result<Vec<Evicting>, Rejection> {
        let (found, limit) = (evictions.len() as u64, EVICTIONS_PER_ENTRY_MAX);
        if found == 0 || found > limit {
            return Err(Rejection::EvictionCount { found, limit });
        }
        let gone = evictions.iter().map(|eviction| self.evict_one(eviction));
        Ok(gone.collect())
    }

    fn evict_one(&mut self, eviction: &Eviction) -> Evicting {
        let place = self.places.find(&eviction.address);
        let published = place.filter(|place| {
            let context = self.places.context(*place);
            context.is_some_and(|context| context.job == eviction.job)
        });
        let Some(place) = published else {
            return Evicting::Gone;
        };
        if self.is_needed(place) {
            return Evicting::Needed;
        }
        if self.excess_bytes() == 0 {
            return Evicting::WithinBudget;
        }
        self.cache.forget(place);
        let bytes = self.places.evict(place).bytes;
        let mut row = self.budget();
        row.evicted += 1;
        row.evicted_bytes = row.evicted_bytes.saturating_add(bytes);
        self.cache.budget.insert(THE_BUDGET, row);
        Evicting::Evicted { bytes }
    }
}
