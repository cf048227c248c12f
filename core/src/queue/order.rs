//! Which jobs are ready, by queue: one for each class, tenant and shape that
//! has any. Derived from the jobs. Which queue is served next is not said here:
//! that is the leader's matchmaker's, who may forget it (decision 16).
//!
//! A shape is what a worker must offer: for now the engine alone.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::ids::JobId;
use crate::job::Class;

use super::rows::{Keys, Rows};

/// Which queue (QUEUE F1). Ordered from the most urgent class; of two queues
/// with equal claims the lower one goes first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct QueueKey {
    /// How urgent its jobs are.
    pub class: Class,
    /// On whose account they run.
    pub tenant: Box<str>,
    /// What a worker must offer to take them.
    pub engine: Box<str>,
}

/// Counts the queues that got their first job, on this replica alone: no two
/// replicas need agree on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Opening(u64);

/// The ready jobs of a queue, first accepted first. A job that is tried again
/// has the place that it had (QUEUE F3).
#[derive(Clone, Default, Debug)]
pub struct ReadyJobs<'a>(Keys<'a, JobId, ()>);

impl Iterator for ReadyJobs<'_> {
    type Item = JobId;

    fn next(&mut self) -> Option<JobId> {
        self.0.next().copied()
    }
}

/// The queues of a class, by tenant and engine.
type Tenants = BTreeMap<Box<str>, BTreeMap<Box<str>, Queue>>;

#[derive(Clone, Debug)]
struct Queue {
    opening: Opening,
    jobs: Rows<JobId, ()>,
}

/// The queues that are not empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    classes: [Tenants; Class::ALL.len()],
    /// The same queues by when they got their first job.
    opened: BTreeMap<Opening, Arc<QueueKey>>,
    last: Opening,
}

impl Order {
    pub(super) fn insert(&mut self, class: Class, tenant: &str, engine: &str, job: JobId) {
        let tenants = &mut self.classes[class as usize];
        let queue = tenants
            .get_mut(tenant)
            .and_then(|engines| engines.get_mut(engine));
        if let Some(queue) = queue {
            assert!(
                queue.jobs.insert(job, ()).is_none(),
                "{job} was in the order already"
            );
            return;
        }
        self.last.0 += 1;
        let queue = Queue {
            opening: self.last,
            jobs: [(job, ())].into_iter().collect(),
        };
        let engines = tenants.entry(tenant.into()).or_default();
        engines.insert(engine.into(), queue);
        let key = QueueKey {
            class,
            tenant: tenant.into(),
            engine: engine.into(),
        };
        self.opened.insert(self.last, Arc::new(key));
    }

    pub(super) fn remove(&mut self, class: Class, tenant: &str, engine: &str, job: JobId) {
        let tenants = &mut self.classes[class as usize];
        let engines = tenants.get_mut(tenant);
        let engines = engines.unwrap_or_else(|| panic!("{job} is ready, and its tenant has none"));
        let queue = engines.get_mut(engine);
        let queue = queue.unwrap_or_else(|| panic!("{job} is ready, and its queue is empty"));
        assert!(
            queue.jobs.remove(&job).is_some(),
            "{job} is ready and not in order"
        );
        if queue.jobs.is_empty() {
            self.opened.remove(&queue.opening);
            engines.remove(engine);
            if engines.is_empty() {
                tenants.remove(tenant);
            }
        }
    }

    /// The ready jobs of a queue.
    pub(super) fn of(&self, key: &QueueKey) -> ReadyJobs<'_> {
        let queue = self.classes[key.class as usize]
            .get(&key.tenant)
            .and_then(|engines| engines.get(&key.engine));
        ReadyJobs(queue.map_or_else(Keys::default, |queue| queue.jobs.keys()))
    }

    /// The queues that got their first job after another one did.
    pub(super) fn opened_after(
        &self,
        after: Opening,
    ) -> impl Iterator<Item = (Opening, &Arc<QueueKey>)> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.opened
            .range(range)
            .map(|(opening, key)| (*opening, key))
    }

    /// How many queues have jobs.
    pub(super) fn queues_count(&self) -> usize {
        self.opened.len()
    }

    /// All ready jobs, queue by queue.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.queues()
            .flat_map(|(_, _, _, queue)| queue.jobs.keys().copied())
    }

    fn queues(&self) -> impl Iterator<Item = (Class, &str, &str, &Queue)> {
        Class::ALL.into_iter().flat_map(|class| {
            let tenants = self.classes[class as usize].iter();
            tenants.flat_map(move |(tenant, engines)| {
                let engines = engines.iter();
                engines.map(move |(engine, queue)| (class, &**tenant, &**engine, queue))
            })
        })
    }

    /// Is every queue found by when it opened, and nothing else?
    pub(super) fn is_sound(&self) -> bool {
        let mut queues = self.queues();
        queues.all(|(class, tenant, engine, queue)| {
            let key = self.opened.get(&queue.opening);
            !queue.jobs.is_empty()
                && key.is_some_and(|key| {
                    (key.class, &*key.tenant, &*key.engine) == (class, tenant, engine)
                })
        }) && self.queues().count() == self.opened.len()
    }
}

/// Equal queues with equal jobs: when each opened is no part of it.
impl PartialEq for Order {
    fn eq(&self, other: &Order) -> bool {
        let parts = |(class, tenant, engine, queue)| {
            let queue: &Queue = queue;
            (class, tenant, engine, &queue.jobs)
        };
        self.queues().map(parts).eq(other.queues().map(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(class: Class, tenant: &str, engine: &str) -> QueueKey {
        QueueKey {
            class,
            tenant: tenant.into(),
            engine: engine.into(),
        }
    }

    fn opened(order: &Order, after: Opening) -> Vec<QueueKey> {
        let opened = order.opened_after(after);
        opened.map(|(_, key)| (**key).clone()).collect()
    }

    #[test]
    fn a_queue_is_class_tenant_and_engine_and_keeps_the_order_of_acceptance() {
        let mut order = Order::default();
        for job in [3, 1, 2] {
            order.insert(Class::Normal, "a", "outline", JobId(job));
        }
        order.insert(Class::Normal, "b", "outline", JobId(4));
        order.insert(Class::Urgent, "a", "outline", JobId(5));
        order.insert(Class::Normal, "a", "summary", JobId(6));
        let normal = key(Class::Normal, "a", "outline");
        assert!(order.of(&normal).eq([1, 2, 3].map(JobId)));
        order.remove(Class::Normal, "a", "outline", JobId(1));
        order.insert(Class::Normal, "a", "outline", JobId(1));
        assert!(order.of(&normal).eq([1, 2, 3].map(JobId)), "tried again");
        assert!(order.of(&key(Class::Idle, "a", "outline")).eq([]));
        assert!(order.jobs().eq([5, 1, 2, 3, 6, 4].map(JobId)), "by key");
        assert!(order.is_sound());
    }

    #[test]
    fn a_queue_opens_with_its_first_job_and_again_after_it_was_empty() {
        let mut order = Order::default();
        order.insert(Class::Idle, "a", "outline", JobId(1));
        order.insert(Class::Idle, "b", "outline", JobId(2));
        order.insert(Class::Idle, "a", "outline", JobId(3));
        let (a, b) = (
            key(Class::Idle, "a", "outline"),
            key(Class::Idle, "b", "outline"),
        );
        assert_eq!(opened(&order, Opening(0)), [a.clone(), b.clone()]);
        let seen = order.last;
        order.remove(Class::Idle, "a", "outline", JobId(1));
        assert_eq!(opened(&order, seen), [], "it has another job");
        order.remove(Class::Idle, "a", "outline", JobId(3));
        assert_eq!(opened(&order, Opening(0)), [b]);
        order.insert(Class::Idle, "a", "outline", JobId(3));
        assert_eq!(opened(&order, seen), [a]);
        assert!(order.is_sound());
    }
}
