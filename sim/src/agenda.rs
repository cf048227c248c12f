//! What is to happen, in order of virtual time. Time jumps from one thing to
//! the next; two things at one time happen in the order in which they were put
//! down. Knows nothing of what they are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things to come, each at a time in microseconds.
#[derive(Clone, Debug)]
pub struct Agenda<T> {
    // Time in the high 64 bits, then the order of insertion in 40, then the
    // slot: one comparison decides, and moving a key moves 16 bytes.
    heap: BinaryHeap<Reverse<u128>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    inserted: u64,
}

const SLOT_BITS: u32 = 24;
const ORDER_BITS: u32 = 40;

impl<T> Default for Agenda<T> {
    fn default() -> Agenda<T> {
        Agenda {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            inserted: 0,
        }
    }
}

impl<T> Agenda<T> {
    /// Puts down that `thing` happens at `at_us`.
    pub fn put(&mut self, at_us: u64, thing: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(thing);
                slot
            }
            None => {
                self.slots.push(Some(thing));
                (self.slots.len() - 1) as u32
            }
        };
        assert!(
            slot < 1 << SLOT_BITS,
            "more than 2^24 things to come at once"
        );
        assert!(
            self.inserted < 1 << ORDER_BITS,
            "more than 2^40 things in one run"
        );
        let key = u128::from(at_us) << (SLOT_BITS + ORDER_BITS)
            | u128::from(self.inserted) << SLOT_BITS
            | u128::from(slot);
        self.inserted += 1;
        self.heap.push(Reverse(key));
    }

    /// The next thing and its time.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse(key) = self.heap.pop()?;
        let slot = (key & ((1 << SLOT_BITS) - 1)) as u32;
        self.free.push(slot);
        let thing = self.slots[slot as usize]
            .take()
            .expect("a key's slot is filled until it is popped");
        Some(((key >> (SLOT_BITS + ORDER_BITS)) as u64, thing))
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next_at_us(&self) -> Option<u64> {
        self.heap
            .peek()
            .map(|Reverse(key)| (key >> (SLOT_BITS + ORDER_BITS)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_order_of_time_and_then_of_insertion() {
        let mut agenda = Agenda::default();
        for (at_us, thing) in [(5, 'c'), (3, 'a'), (5, 'd'), (4, 'b'), (u64::MAX, 'e')] {
            agenda.put(at_us, thing);
        }
        assert_eq!(agenda.next_at_us(), Some(3));
        let mut order = Vec::new();
        while let Some((at_us, thing)) = agenda.pop() {
            order.push((at_us, thing));
        }
        assert_eq!(
            order,
            [(3, 'a'), (4, 'b'), (5, 'c'), (5, 'd'), (u64::MAX, 'e')]
        );
    }

    #[test]
    fn a_slot_is_used_again() {
        let mut agenda = Agenda::default();
        for round in 0..1_000_u64 {
            agenda.put(round, round);
            assert_eq!(agenda.pop(), Some((round, round)));
        }
        assert_eq!(agenda.slots.len(), 1);
    }
}
