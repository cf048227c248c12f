//! In which order ready jobs are given out. Knows no worker: it keeps jobs by
//! class and shape, so that a shape nobody can take costs one check.
//!
//! For now the order is plain: the most urgent class first, and the first
//! accepted first within a class. A retried job keeps its place (QUEUE F3).

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::JobId;
use crate::job::Class;

/// After every job: what an empty shape sorts as.
const NO_JOB: JobId = JobId(u64::MAX);

/// The ready jobs, by class, then by the engine they need. Derived from the jobs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Order {
    classes: [BTreeMap<Box<str>, BTreeSet<JobId>>; Class::ALL.len()],
}

impl Order {
    pub(super) fn insert(&mut self, class: Class, engine: &str, job: JobId) {
        let shapes = &mut self.classes[class as usize];
        let added = match shapes.get_mut(engine) {
            Some(jobs) => jobs.insert(job),
            None => {
                shapes.insert(engine.into(), BTreeSet::from([job]));
                true
            }
        };
        assert!(added, "{job} was in the order already");
    }

    pub(super) fn remove(&mut self, class: Class, engine: &str, job: JobId) {
        let shapes = &mut self.classes[class as usize];
        let jobs = shapes.get_mut(engine);
        let jobs = jobs.unwrap_or_else(|| panic!("{job} is ready and its shape is not in order"));
        assert!(jobs.remove(&job), "{job} is ready and not in order");
        if jobs.is_empty() {
            shapes.remove(engine);
        }
    }

    /// The ready jobs whose engine `offered` says is there, in dispatch order.
    /// An engine is asked about once a class, however many jobs want it.
    pub(super) fn jobs(&self, offered: impl Fn(&str) -> bool) -> impl Iterator<Item = JobId> {
        Class::ALL.into_iter().flat_map(move |class| {
            let shapes = self.classes[class as usize].iter();
            let mut heads: Vec<_> = shapes
                .filter(|(engine, _)| offered(engine))
                .map(|(_, jobs)| jobs.iter().copied())
                .collect();
            std::iter::from_fn(move || {
                // A set's iterator knows its least without moving.
                let heads = heads.iter_mut();
                let first = heads.min_by_key(|jobs| (**jobs).clone().next().unwrap_or(NO_JOB));
                first.and_then(Iterator::next)
            })
        })
    }
}
