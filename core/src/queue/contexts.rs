//! What is known of an address: the published context, which never moves back,
//! and the jobs that are to replace it. Knows digests of results, never bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::ids::JobId;
use crate::job::ContextView;

use super::jobs::Origin;
use super::table::Table;

/// An address by a short number: edges and jobs by the thousand name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct PlaceId(pub(super) u64);

/// The published context of a place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Context {
    pub(super) subject: Digest,
    pub(super) origin: Arc<Origin>,
    pub(super) kind: ContextKind,
    pub(super) result: Digest,
    pub(super) bytes: u64,
    /// Which job published it.
    pub(super) job: JobId,
    /// When this input was accepted last: an older one may not replace it.
    pub(super) accepted: JobId,
}

/// The unfinished jobs of a place, and who needs the place to be remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Slots {
    /// The job whose turn it is: the only one that may run.
    pub(super) current: Option<JobId>,
    /// A newer input that waits for the current job's end.
    pub(super) parked: Option<JobId>,
    /// Jobs, finished ones too, and edges that name the place.
    pub(super) uses: u64,
}

impl Slots {
    /// The job with the newest input.
    pub(super) fn newest(&self) -> Option<JobId> {
        self.parked.or(self.current)
    }
}

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) addresses: Table<PlaceId, Arc<Address>>,
    pub(super) contexts: Table<PlaceId, Context>,
    by_address: BTreeMap<Arc<Address>, PlaceId>,
    slots: BTreeMap<PlaceId, Slots>,
}

impl Places {
    pub(super) fn new(
        addresses: Table<PlaceId, Arc<Address>>,
        contexts: Table<PlaceId, Context>,
    ) -> Places {
        let by_address = addresses
            .iter()
            .map(|(place, address)| (Arc::clone(address), *place))
            .collect();
        let slots = addresses
            .iter()
            .map(|(place, _)| (*place, Slots::default()))
            .collect();
        Places {
            addresses,
            contexts,
            by_address,
            slots,
        }
    }

    pub(super) fn find(&self, address: &Address) -> Option<PlaceId> {
        self.by_address.get(address).copied()
    }

    /// The place of an address, made with the number `next` if it is new, and
    /// whether it was.
    pub(super) fn find_or_add(&mut self, address: &Address, next: PlaceId) -> (PlaceId, bool) {
        if let Some(place) = self.find(address) {
            return (place, false);
        }
        let address = Arc::new(address.clone());
        self.by_address.insert(Arc::clone(&address), next);
        self.slots.insert(next, Slots::default());
        let old = self.addresses.insert(next, address);
        assert!(old.is_none(), "place {next:?} was given away before");
        (next, true)
    }

    pub(super) fn address(&self, place: PlaceId) -> &Arc<Address> {
        self.addresses
            .get(&place)
            .unwrap_or_else(|| panic!("{place:?} is named and not known"))
    }

    pub(super) fn context(&self, place: PlaceId) -> Option<&Context> {
        self.contexts.get(&place)
    }

    pub(super) fn slots(&self, place: PlaceId) -> Slots {
        *self
            .slots
            .get(&place)
            .unwrap_or_else(|| panic!("{place:?} is named and not known"))
    }

    pub(super) fn slots_mut(&mut self, place: PlaceId) -> &mut Slots {
        self.slots
            .get_mut(&place)
            .unwrap_or_else(|| panic!("{place:?} is named and not known"))
    }

    pub(super) fn hold(&mut self, place: PlaceId) {
        self.slots_mut(place).uses += 1;
    }

    /// One use less; a place that nobody uses and nothing is published at is
    /// forgotten.
    pub(super) fn release(&mut self, place: PlaceId) {
        let slots = self.slots_mut(place);
        let uses = slots.uses.checked_sub(1);
        slots.uses = uses.unwrap_or_else(|| panic!("{place:?} is released once too often"));
        self.forget_if_unused(place);
    }

    pub(super) fn forget_if_unused(&mut self, place: PlaceId) {
        if self.slots(place).uses > 0 || self.contexts.contains(&place) {
            return;
        }
        self.slots.remove(&place);
        let address = self.addresses.remove(&place);
        let address = address.expect("a place with slots has an address");
        self.by_address.remove(&*address);
    }

    pub(super) fn clear_slot(&mut self, place: PlaceId, job: JobId) {
        let slots = self.slots_mut(place);
        if slots.current == Some(job) {
            slots.current = None;
        } else if slots.parked == Some(job) {
            slots.parked = None;
        } else {
            panic!("{job} is in no slot of {place:?}: {slots:?}");
        }
    }

    /// Publishes, unless a newer input was published before (QUEUE C3).
    pub(super) fn publish(&mut self, place: PlaceId, context: Context) -> bool {
        let newer = |old: &Context| old.accepted > context.accepted;
        if self.context(place).is_some_and(newer) {
            return false;
        }
        self.contexts.insert(place, context);
        true
    }

    pub(super) fn view(&self, place: PlaceId) -> Option<ContextView> {
        let context = self.context(place)?;
        Some(ContextView {
            address: (**self.address(place)).clone(),
            subject: context.subject,
            generator: context.origin.generator.clone(),
            result: context.result,
            bytes: context.bytes,
            job: context.job,
            asked_by: context.origin.asked_by.clone(),
        })
    }

    /// The places in the order of their addresses, from after one.
    pub(super) fn after(&self, after: Option<&Address>) -> impl Iterator<Item = PlaceId> {
        use std::ops::Bound;
        let from = match after {
            Some(address) => Bound::Excluded(address),
            None => Bound::Unbounded,
        };
        self.by_address
            .range::<Address, _>((from, Bound::Unbounded))
            .map(|(_, place)| *place)
    }
}
