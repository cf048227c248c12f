//! Dead letters: what is kept of jobs that were given up, or failed for want of
//! one that was, so that they can be looked into and redriven (QUEUE R4, R6, D4;
//! decision 18). Kept from [`FeatureLevel::QUEUE_OPERATED`] on.
//!
//! A terminal state is final: a redriven job is a new one, for the same input and
//! with the age of the old one, so that it cannot displace what came after it. The
//! edges of a dead letter stay among the others, resolved.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::ContextKind;
use crate::feature::FeatureLevel;
use crate::ids::JobId;
use crate::job::{Attempt, AttemptEnd, DeadLetter, FailureClass, JobState, Lease};
use crate::limits::{ATTEMPTS_KEPT_MAX, DEAD_LETTER_EDGES_MAX, DEAD_LETTERS_MAX};
use crate::time::Stamp;

use super::QueueManager;
use super::jobs::{Job, Origin};
use super::table::Table;

/// Dead letters that one entry may forget: more than one entry can add.
const FORGOTTEN_PER_ENTRY_MAX: u64 = 4_096;

/// Letters that one question looks at.
const LOOKED_AT_MAX: u64 = 4_096;

/// Are dead letters kept in a state at a level, and part of its image?
pub(super) fn holds_letters(level: FeatureLevel) -> bool {
    level >= FeatureLevel::QUEUE_OPERATED
}

/// What a finished job's row does not say and a job like it needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Letter {
    pub(super) origin: Arc<Origin>,
    pub(super) kind: ContextKind,
    /// How old its input is (see [`Job::accepted`]).
    pub(super) accepted: JobId,
    /// Its edges, which are kept until it is redriven.
    pub(super) edges: u32,
    /// The job that does it again, or what took its place.
    pub(super) redriven: Option<JobId>,
}

/// One attempt at a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct AttemptRow {
    pub(super) lease: Lease,
    pub(super) began: Stamp,
    pub(super) ended: Option<(Stamp, FailureClass)>,
}

/// The dead letters, and the attempts at them and at unfinished jobs.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    pub(super) rows: Table<JobId, Letter>,
    /// By job and number of the attempt, from 1.
    pub(super) attempts: Table<(JobId, u32), AttemptRow>,
    /// Edges of all letters. Derived.
    edges: u64,
    /// Letters that were not redriven, by the job whose end was theirs. Derived.
    failed: BTreeSet<(JobId, JobId)>,
}

impl Letters {
    pub(super) fn new(
        rows: Table<JobId, Letter>,
        attempts: Table<(JobId, u32), AttemptRow>,
    ) -> Letters {
        let edges = rows.iter().map(|(_, letter)| u64::from(letter.edges)).sum();
        Letters {
            rows,
            attempts,
            edges,
            failed: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Letter> {
        self.rows.get(&id)
    }

    /// Edges that belong to dead letters.
    pub(super) fn edges_count(&self) -> u64 {
        self.edges
    }

    /// Notes for want of which job a letter is one.
    pub(super) fn note_cause(&mut self, cause: JobId, id: JobId) {
        self.failed.insert((cause, id));
    }

    /// The first letter after one that failed for want of a job, and was not redriven.
    pub(super) fn failed_after(&self, cause: JobId, after: JobId) -> Option<JobId> {
        let rest = (cause, after.next())..=(cause, JobId(u64::MAX));
        self.failed.range(rest).next().map(|(_, id)| *id)
    }

    /// Is it noted that a letter failed for want of a job?
    pub(super) fn is_noted(&self, cause: JobId, id: JobId) -> bool {
        self.failed.contains(&(cause, id))
    }

    pub(super) fn causes_count(&self) -> usize {
        self.failed.len()
    }

    fn insert(&mut self, id: JobId, letter: Letter) {
        self.edges += u64::from(letter.edges);
        let old = self.rows.insert(id, letter);
        assert!(old.is_none(), "{id} became a dead letter twice");
    }

    fn remove(&mut self, id: JobId, cause: Option<JobId>) {
        let letter = self.rows.remove(&id);
        let letter = letter.unwrap_or_else(|| panic!("{id} is no dead letter"));
        self.edges -= u64::from(letter.edges);
        if let Some(cause) = cause {
            self.failed.remove(&(cause, id));
        }
    }

    /// It is done again: what it needed is that one's from now on.
    pub(super) fn note_redriven(&mut self, id: JobId, again: JobId, cause: Option<JobId>) {
        let edges = self.rows.update(&id, |letter| {
            letter.redriven = Some(again);
            std::mem::take(&mut letter.edges)
        });
        self.edges -= u64::from(edges.unwrap_or_else(|| panic!("{id} is no dead letter")));
        if let Some(cause) = cause {
            self.failed.remove(&(cause, id));
        }
    }

    /// A worker begins a job.
    pub(super) fn begin_attempt(&mut self, id: JobId, number: u32, lease: Lease, now: Stamp) {
        let row = AttemptRow {
            lease,
            began: now,
            ended: None,
        };
        self.attempts.insert((id, number), row);
        if let Some(oldest) = number.checked_sub(ATTEMPTS_KEPT_MAX) {
            self.attempts.remove(&(id, oldest));
        }
    }

    /// An attempt brought no result. None is known of before the level.
    pub(super) fn end_attempt(&mut self, id: JobId, number: u32, now: Stamp, class: FailureClass) {
        self.attempts
            .update(&(id, number), |row| row.ended = Some((now, class)));
    }

    pub(super) fn attempts_of(&self, id: JobId) -> impl Iterator<Item = (u32, &AttemptRow)> {
        self.attempts
            .range((id, 0)..=(id, u32::MAX))
            .map(|((_, number), row)| (*number, row))
    }

    pub(super) fn forget_attempts(&mut self, id: JobId) {
        let numbers: Vec<u32> = self.attempts_of(id).map(|(number, _)| number).collect();
        for number in numbers {
            self.attempts.remove(&(id, number));
        }
    }

    /// The oldest job among the letters, if there are more than may be kept.
    fn surplus(&self) -> Option<JobId> {
        let surplus = self.rows.len() > DEAD_LETTERS_MAX || self.edges > DEAD_LETTER_EDGES_MAX;
        let (id, _) = self.rows.first()?;
        surplus.then_some(*id)
    }
}

/// The job whose end a job failed for.
pub(super) fn cause(state: &JobState) -> Option<JobId> {
    match state {
        JobState::DependencyFailed { dependency } => Some(*dependency),
        _ => None,
    }
}

impl QueueManager {
    /// Are dead letters kept?
    pub(super) fn keeps_letters(&self) -> bool {
        holds_letters(self.level)
    }

    /// Finds anew for want of which jobs letters are some.
    pub(super) fn note_causes(&mut self) {
        let rows = self.letters.rows.iter();
        let open = rows.filter(|(_, letter)| letter.redriven.is_none());
        let causes: Vec<(JobId, JobId)> = open
            .filter_map(|(id, _)| Some((cause(&self.finished.get(*id)?.state)?, *id)))
            .collect();
        for (cause, id) in causes {
            self.letters.note_cause(cause, id);
        }
    }

    /// A job is about to end: it becomes a dead letter, or what was kept of its
    /// attempts goes. Says whether it became one.
    pub(super) fn note_letter(&mut self, id: JobId, job: &Job, state: &JobState) -> bool {
        if !self.keeps_letters() || !state.is_dead_letter() {
            self.letters.forget_attempts(id);
            return false;
        }
        let letter = Letter {
            origin: Arc::clone(&job.origin),
            kind: job.kind,
            accepted: job.accepted,
            edges: self.edges.count_of(id),
            redriven: None,
        };
        self.letters.insert(id, letter);
        if let Some(cause) = cause(state) {
            self.letters.note_cause(cause, id);
        }
        true
    }

    /// Forgets the letter of a finished job, if it is one; its edges are dropped
    /// by and by.
    pub(super) fn forget_letter(&mut self, id: JobId) -> bool {
        if self.letters.get(id).is_none() {
            return false;
        }
        let finished = self.finished.get(id);
        let finished = finished.map(|finished| (finished.place, cause(&finished.state)));
        self.letters
            .remove(id, finished.and_then(|(_, cause)| cause));
        if let Some((place, _)) = finished {
            self.note_hopeless(id, place);
        }
        self.letters.forget_attempts(id);
        self.drop_edges_of(id);
        true
    }

    /// Are the edges of a finished job kept, for it to be redriven?
    pub(super) fn keeps_edges_of(&self, id: JobId) -> bool {
        let letter = self.letters.get(id);
        letter.is_some_and(|letter| letter.redriven.is_none())
    }

    /// The edges of a finished job are not needed any more.
    pub(super) fn drop_edges_of(&mut self, id: JobId) {
        if self.edges.count_of(id) > 0 && !self.edges.dropped.contains(&id) {
            self.edges.dropped.insert(id, ());
        }
    }

    /// Keeps the bounds on dead letters: the oldest jobs make way.
    pub(super) fn forget_letters(&mut self) {
        for _ in 0..FORGOTTEN_PER_ENTRY_MAX {
            let Some(id) = self.letters.surplus() else {
                return;
            };
            self.forget_letter(id);
        }
    }

    /// How many dead letters are kept, of which some were redriven.
    #[must_use]
    pub fn dead_letters_count(&self) -> u64 {
        self.letters.rows.len()
    }

    /// The dead letters that were redriven, each with the job that does it again, or
    /// what made that needless.
    pub fn redriven(&self) -> impl Iterator<Item = (JobId, JobId)> {
        let letters = self.letters.rows.iter();
        letters.filter_map(|(id, letter)| Some((*id, letter.redriven?)))
    }

    /// A dead letter.
    #[must_use]
    pub fn dead_letter(&self, id: JobId) -> Option<DeadLetter> {
        let letter = self.letters.get(id)?;
        Some(DeadLetter {
            job: self.job(id)?,
            generator: letter.origin.generator.clone(),
            tenant: letter.origin.tenant.to_string(),
            asked_by: letter.origin.asked_by.clone(),
            attempts: self.attempts(id),
            redriven: letter.redriven,
        })
    }

    /// Some dead letters that were not redriven, the oldest job first, from after
    /// one on; and after which the next ones come, if there may be more.
    #[must_use]
    pub fn dead_letters(&self, after: JobId, count_max: u32) -> (Vec<DeadLetter>, Option<JobId>) {
        use std::ops::Bound;
        let mut letters = Vec::new();
        let mut looked_at = 0;
        let range = (Bound::Excluded(after), Bound::Unbounded);
        for (id, letter) in self.letters.rows.range(range) {
            looked_at += 1;
            if letter.redriven.is_none() {
                letters.extend(self.dead_letter(*id));
            }
            if letters.len() as u64 == u64::from(count_max) || looked_at == LOOKED_AT_MAX {
                return (letters, Some(*id));
            }
        }
        (letters, None)
    }

    /// The last attempts at a job that is unfinished or a dead letter.
    #[must_use]
    pub fn attempts(&self, id: JobId) -> Vec<Attempt> {
        let attempts = self.letters.attempts_of(id);
        attempts
            .map(|(number, row)| Attempt {
                number,
                worker: row.lease.worker,
                incarnation: row.lease.incarnation,
                token: row.lease.token,
                began: row.began,
                ended: row.ended.map(|(at, class)| AttemptEnd { at, class }),
            })
            .collect()
    }
}
