//! Requests that wait for a job, and what follows a job that takes another's
//! place: its waiters, its urgency and its lines of dependents.

use std::collections::BTreeSet;

use crate::command::{Rejection, Reprioritisation};
use crate::ids::JobId;
use crate::job::{Class, JobState};

use super::QueueManager;
use super::contexts::PlaceId;
use super::jobs::Job;
use super::redrive::check_ordered_count;

/// Edges that one entry may walk to look for cycles and to hand urgency on.
/// Beyond it a search says "maybe", and urgency stays where it is.
const EDGES_WALKED_PER_ENTRY_MAX: u64 = 10_000;
/// Edges that one search for a cycle may walk (QUEUE D2).
const EDGES_WALKED_PER_SEARCH_MAX: u64 = 1_000;

/// Edges of dependents that are looked at for one job that is reprioritised.
const EDGES_LOOKED_AT_MAX: usize = 1_000;

/// What is left of an entry's walking.
#[derive(Debug)]
pub(super) struct Walk {
    left: u64,
}

impl Walk {
    pub(super) fn new() -> Walk {
        Walk {
            left: EDGES_WALKED_PER_ENTRY_MAX,
        }
    }
}

/// What a job leaves to its successor.
#[derive(Debug)]
pub(super) struct Legacy {
    lines: Vec<JobId>,
    waiters: u32,
    class: Class,
}

impl Legacy {
    /// Without those who wait for the job itself: they are told how it ended. Its
    /// urgency goes on with its dependents, if it has any.
    pub(super) fn without_waiters(self, has_dependents: bool) -> Legacy {
        Legacy {
            waiters: 0,
            class: match has_dependents {
                true => self.class,
                false => Class::Idle,
            },
            ..self
        }
    }

    /// Gives everything to a job that nobody waits for yet: the first line
    /// becomes its own.
    pub(super) fn pass_to(self, id: JobId, successor: &mut Job) {
        successor.waiters = successor.waiters.saturating_add(self.waiters);
        // Ordered from the most urgent.
        successor.class = successor.class.min(self.class);
        for line in self.lines {
            if successor.line == id {
                successor.line = line;
            } else {
                successor.more_lines.push(line);
            }
        }
    }
}

impl QueueManager {
    /// One more request waits for an unfinished job, whose input is by this
    /// the newest again.
    pub(super) fn attach(&mut self, id: JobId, accepted: JobId, class: Class, walk: &mut Walk) {
        self.jobs.change(id, &mut self.timers, |job| {
            job.waiters = job.waiters.saturating_add(1);
            job.accepted = job.accepted.max(accepted);
        });
        self.raise(vec![id], class, walk);
    }

    /// Ends a job for the sake of a newer one.
    pub(super) fn supersede(&mut self, old: JobId, by: JobId) -> Legacy {
        self.retire(old, JobState::Superseded { by })
    }

    /// Ends a job whose lines another one takes over.
    pub(super) fn retire(&mut self, old: JobId, state: JobState) -> Legacy {
        let job = self.finish(old, state, None);
        let lines = job.lines().filter(|line| self.edges.has_waiting(*line));
        Legacy {
            lines: lines.collect(),
            waiters: job.waiters,
            class: job.class,
        }
    }

    /// Gives a job's legacy to a job that is there already.
    pub(super) fn inherit(&mut self, id: JobId, legacy: Legacy, walk: &mut Walk) {
        let class = legacy.class;
        self.jobs.change(id, &mut self.timers, |job| {
            job.waiters = job.waiters.saturating_add(legacy.waiters);
            job.more_lines.extend(legacy.lines);
        });
        self.raise(vec![id], class, walk);
    }

    /// The jobs that an unfinished job waits for.
    pub(super) fn awaited_by(&self, id: JobId) -> BTreeSet<JobId> {
        let open = self.edges.of(id).filter_map(|(_, edge)| {
            let line = edge.line?;
            self.answers_for(edge.place, line)
        });
        open.collect()
    }

    /// The unfinished job of a place that answers for a line; none if the line
    /// ended and its dependents are still to be told.
    pub(super) fn answers_for(&self, place: PlaceId, line: JobId) -> Option<JobId> {
        let slots = self.places.slots(place);
        [slots.current, slots.parked]
            .into_iter()
            .flatten()
            .find(|id| self.jobs.expect(*id).lines().any(|own| own == line))
    }

    /// Makes jobs at least as urgent as `class`, and what they wait for.
    pub(super) fn raise(&mut self, mut ids: Vec<JobId>, class: Class, walk: &mut Walk) {
        while let Some(id) = ids.pop() {
            if self.jobs.expect(id).class <= class {
                continue;
            }
            self.jobs
                .change(id, &mut self.timers, |job| job.class = class);
            for (_, edge) in self.edges.of(id) {
                if walk.left == 0 {
                    return;
                }
                walk.left -= 1;
                ids.extend(
                    edge.line
                        .and_then(|line| self.answers_for(edge.place, line)),
                );
            }
        }
    }

    /// Makes jobs as urgent as `class`, or as the most urgent job that depends on each.
    pub(super) fn reprioritise(
        &mut self,
        jobs: &[JobId],
        class: Class,
    ) -> Result<Vec<Reprioritisation>, Rejection> {
        check_ordered_count("a reprioritise", jobs)?;
        let mut walk = Walk::new();
        let changed = jobs
            .iter()
            .map(|id| self.reprioritise_one(*id, class, &mut walk));
        Ok(changed.collect())
    }

    fn reprioritise_one(&mut self, id: JobId, class: Class, walk: &mut Walk) -> Reprioritisation {
        let Some(job) = self.jobs.get(id) else {
            return match self.finished.get(id) {
                Some(_) => Reprioritisation::Over,
                None => Reprioritisation::Unknown,
            };
        };
        let (before, needed) = (job.class, self.class_of_dependents(job));
        #[cfg(feature = "planted-bugs")]
        let needed = match self.is_planted(crate::planted::Bug::LoweredBelowDependents) {
            true => Class::Idle,
            false => needed,
        };
        // Ordered from the most urgent.
        let class = class.min(needed);
        if class < before {
            self.raise(vec![id], class, walk);
        } else if class > before {
            self.jobs
                .change(id, &mut self.timers, |job| job.class = class);
        }
        Reprioritisation::Now { class }
    }

    /// The class of the most urgent unfinished job that depends on this one. What
    /// cannot be told within the bound is as urgent as the job is.
    fn class_of_dependents(&self, job: &Job) -> Class {
        let mut edges = job.lines().flat_map(|line| self.edges.waiting_for(line));
        let first = edges.by_ref().take(EDGES_LOOKED_AT_MAX);
        let classes = first.filter_map(|key| Some(self.jobs.get(key.dependent)?.class));
        let class = classes.min().unwrap_or(Class::Idle);
        match edges.next() {
            Some(_) => class.min(job.class),
            None => class,
        }
    }

    /// Would a job that waits for `targets` wait for itself, if it took the
    /// place of `old`? Walks from the dependents of `old` upwards: in a source
    /// tree that way is as short as the tree is deep. Says yes if it cannot
    /// tell within its bound.
    pub(super) fn would_wait_for_itself(
        &self,
        old: JobId,
        targets: &BTreeSet<JobId>,
        walk: &mut Walk,
    ) -> bool {
        if targets.is_empty() {
            return false;
        }
        let mut left = walk.left.min(EDGES_WALKED_PER_SEARCH_MAX);
        let start = left;
        let mut seen = BTreeSet::from([old]);
        let mut ids = vec![old];
        let found = 'search: {
            while let Some(id) = ids.pop() {
                let job = self.jobs.expect(id);
                let slots = self.places.slots(job.place);
                // A parked job waits for the current one without an edge.
                let parked = slots.parked.filter(|_| slots.current == Some(id));
                let dependents = job
                    .lines()
                    .flat_map(|line| self.edges.waiting_for(line))
                    .map(|key| key.dependent);
                for dependent in dependents.chain(parked) {
                    if left == 0 || targets.contains(&dependent) {
                        break 'search true;
                    }
                    left -= 1;
                    // Finished ones wait for nothing: their edges are about to go.
                    if self.jobs.get(dependent).is_some() && seen.insert(dependent) {
                        ids.push(dependent);
                    }
                }
            }
            false
        };
        walk.left -= start - left;
        found
    }
}
