//! Which jobs are not over at an address and everywhere inside, page by page (decision 27).

use std::ops::Bound;

use crate::address::Address;
use crate::job::JobView;

use super::QueueManager;
use super::contexts::Slots;

/// Addresses that one page looks at: most may have no job that is not over.
const LOOKED_AT_MAX: usize = 4_096;

impl QueueManager {
    /// The unfinished jobs within a place, by address and each address whole, from after
    /// one: as many as `count_max` or one more. And from after which address to go on, if
    /// there may be more.
    #[must_use]
    pub fn jobs_within(
        &self,
        within: &Address,
        after: Option<&Address>,
        count_max: u32,
    ) -> (Vec<JobView>, Option<Address>) {
        let from = match after {
            Some(after) if after >= within => Bound::Excluded(after),
            Some(_) | None => Bound::Included(within),
        };
        let begin = within.as_str();
        let places = self.places.by_address_from(from);
        let mut places = places.take_while(|(address, _)| address.as_str().starts_with(begin));
        let mut jobs = Vec::new();
        let mut last = None;
        for (address, place) in places.by_ref().take(LOOKED_AT_MAX) {
            last = Some(address);
            // `a.rs` begins as `a` does, and is not inside.
            if !within.contains(address) {
                continue;
            }
            let Slots {
                current, parked, ..
            } = self.places.slots(place);
            let unfinished = current.into_iter().chain(parked);
            #[cfg(feature = "planted-bugs")]
            let unfinished = unfinished.filter(|job| {
                Some(*job) != parked || !self.is_planted(crate::planted::Bug::ParkedUnlisted)
            });
            jobs.extend(unfinished.filter_map(|job| self.job(job)));
            if jobs.len() as u64 >= u64::from(count_max) {
                break;
            }
        }
        let next = last.filter(|_| places.next().is_some());
        (jobs, next.cloned())
    }
}
