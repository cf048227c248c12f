//! What an order of small jobs costs that does nothing else: the least that a
//! queue in memory could cost. Knows nothing of ours but what a job is called.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use precentor_core::limits::SUBMIT_ITEMS_MAX;
use priority_queue::PriorityQueue;

use super::rig::{address, class, subject};
use crate::measuring::{PeakBytes, bytes_left, processor_time};

/// A job of which only the place in the order is known, and what is to be done.
/// The most urgent class first, then the first accepted.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SmallJob {
    class: u8,
    sequence: u64,
    digest: [u8; 32],
    address: String,
}

impl SmallJob {
    fn new(number: u64) -> SmallJob {
        SmallJob {
            class: class(number) as u8,
            sequence: number,
            digest: subject(number).0,
            address: address(number),
        }
    }
}

/// Something that keeps jobs in order.
pub(super) trait Container: Default {
    fn push(&mut self, job: SmallJob);
    fn pop(&mut self) -> Option<SmallJob>;
}

/// A binary heap: an order, and nothing can be found in it.
#[derive(Default)]
pub(super) struct Heap(BinaryHeap<Reverse<SmallJob>>);

impl Container for Heap {
    fn push(&mut self, job: SmallJob) {
        self.0.push(Reverse(job));
    }

    fn pop(&mut self) -> Option<SmallJob> {
        self.0.pop().map(|Reverse(job)| job)
    }
}

/// A job that is found by its digest.
#[derive(PartialEq, Eq)]
struct ByDigest(SmallJob);

impl Hash for ByDigest {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.digest.hash(hasher);
    }
}

/// The priority-queue crate: a heap in which a job can be found again, and taken out
/// of the middle.
#[derive(Default)]
pub(super) struct Keyed(PriorityQueue<ByDigest, Reverse<(u8, u64)>>);

impl Container for Keyed {
    fn push(&mut self, job: SmallJob) {
        let place = Reverse((job.class, job.sequence));
        self.0.push(ByDigest(job), place);
    }

    fn pop(&mut self) -> Option<SmallJob> {
        self.0.pop().map(|(job, _)| job.0)
    }
}

/// What a container costs.
pub(super) struct Floor {
    /// Putting all jobs in, from the empty one to the full one.
    pub(super) push: Duration,
    /// Taking all out again, in order.
    pub(super) pop: Duration,
    /// What it holds when it is full.
    pub(super) bytes: u64,
}

/// Puts so many jobs into a container, and takes them out.
pub(super) fn measure<C: Container>(jobs: u64, peak: PeakBytes) -> Result<Floor> {
    let mut container = C::default();
    let mut push = Duration::ZERO;
    let bytes = bytes_left(peak, || {
        let mut next = 0;
        while next < jobs {
            let until = jobs.min(next + SUBMIT_ITEMS_MAX);
            let batch: Vec<SmallJob> = (next..until).map(SmallJob::new).collect();
            let start = processor_time();
            for job in batch {
                container.push(job);
            }
            push += processor_time() - start;
            next = until;
        }
    });
    let mut popped = 0;
    let start = processor_time();
    while let Some(job) = container.pop() {
        black_box(job);
        popped += 1;
    }
    let pop = processor_time() - start;
    ensure!(popped == jobs, "{popped} of {jobs} jobs came out");
    Ok(Floor { push, pop, bytes })
}

#[cfg(test)]
mod tests {
    use super::{Container, Heap, Keyed, SmallJob};

    fn order<C: Container>() -> Vec<(u8, u64)> {
        let mut container = C::default();
        for number in 0..9 {
            container.push(SmallJob::new(number));
        }
        let mut order = Vec::new();
        while let Some(job) = container.pop() {
            order.push((job.class, job.sequence));
        }
        order
    }

    #[test]
    fn both_give_the_most_urgent_first_and_of_those_the_oldest() {
        let expected = [
            (0, 0),
            (0, 4),
            (0, 8),
            (1, 1),
            (1, 5),
            (2, 2),
            (2, 6),
            (3, 3),
            (3, 7),
        ];
        assert_eq!(order::<Heap>(), expected);
        assert_eq!(order::<Keyed>(), expected);
    }
}
