//! What is known of an address: the published context, which never moves back,
//! and the jobs that are to replace it. Knows digests of results, never bodies.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::Address;
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::ids::JobId;
use crate::job::ContextView;
use crate::limits::{DEAD_LETTER_EDGES_MAX, DEPENDENCIES_MAX, EDGES_OPEN_MAX};

use super::jobs::Origin;
use super::rows::Rows;
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
    /// Jobs, finished ones too, edges, edits and history that name the place.
    pub(super) uses: u64,
    /// Of these, the edges.
    pub(super) edges: u64,
}

impl Slots {
    /// The job with the newest input.
    pub(super) fn newest(&self) -> Option<JobId> {
        self.parked.or(self.current)
    }
}

/// An address, and what is derived for it from other rows: only the address is
/// replicated.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) address: Address,
    slots: PackedSlots,
}

/// As [`Slots`], in fewer bytes: who is parked stands elsewhere, for few are.
#[derive(Clone, Copy, Debug)]
struct PackedSlots {
    current: JobId,
    uses: u32,
    /// Three bytes hold more edges than there may be.
    edges: [u8; 3],
    has_parked: bool,
}

const _: () = assert!(
    EDGES_OPEN_MAX + DEAD_LETTER_EDGES_MAX + 2 * DEPENDENCIES_MAX < 1 << 24,
    "every edge of a place can be counted"
);

/// Is in no slot: no job has this number.
const NO_JOB: JobId = JobId(u64::MAX);

impl PackedSlots {
    fn of(slots: Slots) -> PackedSlots {
        PackedSlots {
            current: slots.current.unwrap_or(NO_JOB),
            uses: u32::try_from(slots.uses).expect("rows that name a place are fewer"),
            edges: {
                let [low, middle, high, rest @ ..] = slots.edges.to_le_bytes();
                assert_eq!(rest, [0; 5], "edges of all places are fewer");
                [low, middle, high]
            },
            has_parked: slots.parked.is_some(),
        }
    }
}

impl Place {
    fn new(address: Address) -> Place {
        Place {
            address,
            slots: PackedSlots::of(Slots::default()),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.address.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        Address::deserialize(deserializer).map(Place::new)
    }
}

/// What was published last at a place where nothing is any more: it was evicted. Kept
/// while anything could bring an older input, and that has a hold on the place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Trace {
    pub(super) job: JobId,
    pub(super) accepted: JobId,
}

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) addresses: Table<PlaceId, Place>,
    pub(super) contexts: Table<PlaceId, Context>,
    pub(super) traces: Table<PlaceId, Trace>,
    /// The bytes of all contexts' bodies.
    pub(super) bytes: u64,
    by_address: Rows<Address, PlaceId>,
    parked: BTreeMap<PlaceId, JobId>,
}

impl Places {
    pub(super) fn new(
        addresses: Table<PlaceId, Place>,
        contexts: Table<PlaceId, Context>,
        traces: Table<PlaceId, Trace>,
    ) -> Places {
        let by_address = addresses
            .iter()
            .map(|(id, place)| (place.address.clone(), *id))
            .collect();
        let bytes = contexts.iter().map(|(_, context)| context.bytes);
        Places {
            bytes: bytes.fold(0, u64::saturating_add),
            addresses,
            contexts,
            traces,
            by_address,
            parked: BTreeMap::new(),
        }
    }

    pub(super) fn find(&self, address: &Address) -> Option<PlaceId> {
        self.by_address.get(address).copied()
    }

    /// The place of an address, made with the number `next` if it is new, and
    /// whether it was.
    pub(super) fn find_or_add(&mut self, address: &Address, next: PlaceId) -> (PlaceId, bool) {
        if let Some(place) = self.by_address.insert_new(address.clone(), next) {
            return (place, false);
        }
        let old = self.addresses.insert(next, Place::new(address.clone()));
        assert!(old.is_none(), "place {next:?} was given away before");
        (next, true)
    }

    fn place(&self, place: PlaceId) -> &Place {
        self.addresses
            .get(&place)
            .unwrap_or_else(|| panic!("{place:?} is named and not known"))
    }

    pub(super) fn address(&self, place: PlaceId) -> &Address {
        &self.place(place).address
    }

    pub(super) fn context(&self, place: PlaceId) -> Option<&Context> {
        self.contexts.get(&place)
    }

    pub(super) fn slots(&self, place: PlaceId) -> Slots {
        self.unpacked(place, self.place(place).slots)
    }

    fn unpacked(&self, place: PlaceId, packed: PackedSlots) -> Slots {
        Slots {
            current: (packed.current != NO_JOB).then_some(packed.current),
            parked: match packed.has_parked {
                true => self.parked.get(&place).copied(),
                false => None,
            },
            uses: packed.uses.into(),
            edges: {
                let [low, middle, high] = packed.edges;
                u32::from_le_bytes([low, middle, high, 0]).into()
            },
        }
    }

    /// Changes the slots of a place.
    pub(super) fn change_slots<R>(
        &mut self,
        place: PlaceId,
        change: impl FnOnce(&mut Slots) -> R,
    ) -> R {
        let before = self.slots(place);
        let mut slots = before;
        let answer = change(&mut slots);
        if slots.parked != before.parked {
            match slots.parked {
                Some(job) => drop(self.parked.insert(place, job)),
                None => drop(self.parked.remove(&place)),
            }
        }
        let known = self.addresses.derived_mut(&place);
        known.expect("it was there a line ago").slots = PackedSlots::of(slots);
        answer
    }

    pub(super) fn hold(&mut self, place: PlaceId) {
        self.change_slots(place, |slots| slots.uses += 1);
    }

    pub(super) fn hold_edge(&mut self, place: PlaceId) {
        self.change_slots(place, |slots| {
            slots.uses += 1;
            slots.edges += 1;
        });
    }

    pub(super) fn release_edge(&mut self, place: PlaceId) {
        self.change_slots(place, |slots| {
            let edges = slots.edges.checked_sub(1);
            slots.edges = edges.unwrap_or_else(|| panic!("no edge leads to {place:?}"));
        });
        self.release(place);
    }

    /// One use less; a place that nobody uses and nothing is published at is
    /// forgotten.
    pub(super) fn release(&mut self, place: PlaceId) {
        self.change_slots(place, |slots| {
            let uses = slots.uses.checked_sub(1);
            slots.uses = uses.unwrap_or_else(|| panic!("{place:?} is released once too often"));
        });
        self.forget_if_unused(place);
    }

    pub(super) fn forget_if_unused(&mut self, place: PlaceId) {
        if self.slots(place).uses > 0 || self.contexts.contains(&place) {
            return;
        }
        let known = self.addresses.remove(&place);
        let known = known.expect("its slots were just looked at");
        self.by_address.remove(&known.address);
        if !self.traces.is_empty() {
            self.traces.remove(&place);
        }
    }

    /// Nothing is published at a place any more. What was there last still goes before
    /// anything older.
    pub(super) fn evict(&mut self, place: PlaceId) -> Context {
        let context = self.contexts.remove(&place);
        let context = context.expect("only what is published is evicted");
        self.bytes -= context.bytes;
        let (job, accepted) = (context.job, context.accepted);
        self.traces.insert(place, Trace { job, accepted });
        self.forget_if_unused(place);
        context
    }

    /// Which job published the newest input, also where that was evicted, and when the
    /// input was accepted.
    pub(super) fn newest_published(&self, place: PlaceId) -> Option<(JobId, JobId)> {
        if let Some(context) = self.context(place) {
            return Some((context.job, context.accepted));
        }
        if self.traces.is_empty() {
            return None;
        }
        let trace = self.traces.get(&place)?;
        Some((trace.job, trace.accepted))
    }

    pub(super) fn clear_slot(&mut self, place: PlaceId, job: JobId) {
        self.change_slots(place, |slots| {
            if slots.current == Some(job) {
                slots.current = None;
            } else if slots.parked == Some(job) {
                slots.parked = None;
            } else {
                panic!("{job} is in no slot of {place:?}: {slots:?}");
            }
        });
    }

    /// Publishes, unless a newer input was published before (QUEUE C3).
    pub(super) fn publish(&mut self, place: PlaceId, context: Context) -> bool {
        let newest = self.newest_published(place);
        if newest.is_some_and(|(_, accepted)| accepted > context.accepted) {
            return false;
        }
        self.bytes += context.bytes;
        if let Some(old) = self.contexts.insert(place, context) {
            self.bytes -= old.bytes;
        } else if !self.traces.is_empty() {
            self.traces.remove(&place);
        }
        true
    }

    pub(super) fn view(&self, place: PlaceId) -> Option<ContextView> {
        let context = self.context(place)?;
        Some(ContextView {
            address: self.address(place).clone(),
            subject: context.subject,
            generator: context.origin.generator.clone(),
            result: context.result,
            bytes: context.bytes,
            job: context.job,
            asked_by: context.origin.asked_by.clone(),
        })
    }

    /// The places in the order of their addresses, from after one.
    pub(super) fn by_address_from(
        &self,
        from: Bound<&Address>,
    ) -> impl Iterator<Item = (&Address, PlaceId)> {
        self.by_address
            .range((from.cloned(), Bound::Unbounded))
            .map(|(address, place)| (address, *place))
    }
}
