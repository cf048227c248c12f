//! Texts that contexts are made of, kept by the cluster for workers that have none of their
//! own (decision 39), from [`FeatureLevel::SOURCES_KEPT`] on. The state knows which, not what
//! they say. What an unfinished job is to be made of stays; of the rest, what was used last
//! stays longest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::command::{Outcome, Rejection};
use crate::digest::Digest;
use crate::feature::FeatureLevel;
use crate::ids::{JobId, LogIndex};
use crate::job::SourcesView;
use crate::limits::{
    BUDGET_BYTES_MAX, SOURCE_BYTES_MAX, SOURCE_ROW_BYTES, SOURCES_BYTES_DEFAULT,
    SOURCES_DROPPED_PER_ENTRY_MAX, SOURCES_PER_ENTRY_MAX,
};

use super::QueueManager;
use super::admission::QUEUE_FULL_RETRY_AFTER_MS;
use super::attempts::check_range;
use super::consistency::ensure;
use super::table::Table;

/// The only key of the table of the budget.
const THE_BUDGET: u8 = 0;

/// A text that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct SourceRow {
    /// Its length.
    pub(super) bytes: u64,
    /// When it was kept, or a job that it was kept for ended: the last time.
    used: LogIndex,
    /// The last job that was accepted before it was kept: none up to there counts on it.
    since: JobId,
}

impl SourceRow {
    /// Can it be? What it counts for is added up.
    pub(super) fn check(self, digest: &Digest) -> Result<(), String> {
        ensure!(
            self.bytes <= SOURCE_BYTES_MAX,
            "{digest} is kept as {self:?}"
        );
        Ok(())
    }

    /// What it counts for.
    fn cost(self) -> u64 {
        self.bytes + SOURCE_ROW_BYTES
    }
}

/// All that are kept.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) rows: Table<Digest, SourceRow>,
    pub(super) budget: Table<u8, u64>,
    /// How many unfinished jobs count on which. No row without one.
    held: BTreeMap<Digest, u64>,
    /// The others, those that were used first in front.
    idle: BTreeSet<(LogIndex, Digest)>,
    /// What all of them count for, in bytes.
    cost: u64,
    /// What those count for that jobs count on.
    cost_held: u64,
    /// What the entry that is being applied changes. No part of the replicated state.
    pub(super) changes: SourceChanges,
}

/// What an entry changes of the texts that are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceChanges {
    /// Those that are new.
    pub fresh: Vec<(Digest, Bytes)>,
    /// Those that nobody speaks of any more.
    pub gone: Vec<Digest>,
}

impl Sources {
    /// Of rows; jobs that count on them come after.
    pub(super) fn new(rows: Table<Digest, SourceRow>, budget: Table<u8, u64>) -> Sources {
        let idle = rows.iter().map(|(digest, row)| (row.used, *digest));
        Sources {
            idle: idle.collect(),
            cost: rows.iter().map(|(_, row)| row.cost()).sum(),
            cost_held: 0,
            held: BTreeMap::new(),
            changes: SourceChanges::default(),
            rows,
            budget,
        }
    }

    /// What all of them may count for.
    fn cost_max(&self) -> u64 {
        let most = self.budget.get(&THE_BUDGET);
        most.copied().unwrap_or(SOURCES_BYTES_DEFAULT)
    }

    /// The row of a text that a job counts on, if it does.
    fn counted_on(&self, subject: &Digest, job: JobId) -> Option<SourceRow> {
        let row = self.rows.get(subject)?;
        (row.since < job).then_some(*row)
    }

    /// A job is unfinished that is to be made of a text.
    pub(super) fn hold(&mut self, subject: &Digest, job: JobId) {
        let Some(row) = self.counted_on(subject, job) else {
            return;
        };
        let jobs = self.held.entry(*subject).or_default();
        *jobs += 1;
        if *jobs == 1 {
            self.idle.remove(&(row.used, *subject));
            self.cost_held += row.cost();
        }
    }

    /// A job is over that was to be made of a text.
    pub(super) fn release(&mut self, subject: &Digest, job: JobId, at: LogIndex) {
        let Some(row) = self.counted_on(subject, job) else {
            return;
        };
        let jobs = self.held.get_mut(subject);
        let jobs = jobs.expect("a job that counts on a text is counted");
        *jobs -= 1;
        if *jobs == 0 {
            self.held.remove(subject);
            self.cost_held -= row.cost();
            self.touch(*subject, row, at);
        }
    }

    /// It is used; no job counts on it.
    fn touch(&mut self, digest: Digest, row: SourceRow, at: LogIndex) {
        self.idle.remove(&(row.used, digest));
        self.idle.insert((at, digest));
        self.rows.insert(digest, SourceRow { used: at, ..row });
    }

    fn add(&mut self, digest: Digest, row: SourceRow) {
        self.cost += row.cost();
        self.idle.insert((row.used, digest));
        self.rows.insert(digest, row);
    }

    fn drop(&mut self, digest: &Digest) {
        let row = self.rows.remove(digest).expect("what is to go is there");
        self.cost -= row.cost();
        self.idle.remove(&(row.used, *digest));
        if self.held.remove(digest).is_some() {
            self.cost_held -= row.cost();
        }
    }
}

/// Are sources kept at this level?
pub(super) fn holds_sources(level: FeatureLevel) -> bool {
    level >= FeatureLevel::SOURCES_KEPT
}

impl QueueManager {
    /// Keeps texts, and gives those that are new to whoever keeps bodies.
    pub(super) fn keep_sources(&mut self, texts: &[Bytes]) -> Result<Outcome, Rejection> {
        let count = texts.len() as u64;
        check_range("the sources of an entry", count, 1, SOURCES_PER_ENTRY_MAX)?;
        let at = self.head.applied;
        let mut fresh: BTreeMap<Digest, Bytes> = BTreeMap::new();
        let mut known = BTreeSet::new();
        for text in texts {
            check_range("a source in bytes", text.count(), 0, SOURCE_BYTES_MAX)?;
            let digest = Digest::of(text);
            match self.sources.rows.contains(&digest) {
                true => _ = known.insert(digest),
                false => _ = fresh.insert(digest, text.clone()),
            }
        }
        let needed = fresh.values().map(|text| text.count() + SOURCE_ROW_BYTES);
        let gone = self.sources_to_drop(needed.sum(), &known)?;
        for digest in &gone {
            self.sources.drop(digest);
        }
        for digest in known {
            if !self.sources.held.contains_key(&digest) {
                let row = *self.sources.rows.get(&digest).expect("it is known");
                self.sources.touch(digest, row, at);
            }
        }
        for (digest, text) in &fresh {
            let row = SourceRow {
                bytes: text.count(),
                used: at,
                since: self.head.accepted,
            };
            self.sources.add(*digest, row);
        }
        let count = u32::try_from(fresh.len()).expect("sources of an entry are limited");
        self.sources.changes = SourceChanges {
            fresh: fresh.into_iter().collect(),
            gone,
        };
        Ok(Outcome::SourcesKept { fresh: count })
    }

    /// What must go for so much more: what was used first, and nothing that is wanted. There
    /// may be more than there is room for since the budget was lowered; it does not grow then.
    fn sources_to_drop(
        &self,
        needed: u64,
        wanted: &BTreeSet<Digest>,
    ) -> Result<Vec<Digest>, Rejection> {
        let sources = &self.sources;
        let most = sources.cost_max();
        let mut cost = sources.cost + needed;
        let mut gone = Vec::new();
        let idle = sources.idle.iter().map(|(_, digest)| digest);
        #[cfg(feature = "planted-bugs")]
        let all: Vec<Digest> = match self.is_planted(crate::planted::Bug::UsedSourceDropped) {
            true => sources.held.keys().copied().collect(),
            false => Vec::new(),
        };
        #[cfg(feature = "planted-bugs")]
        let idle = all.iter().chain(idle);
        for digest in idle.filter(|digest| !wanted.contains(digest)) {
            if cost <= most || gone.len() as u64 == SOURCES_DROPPED_PER_ENTRY_MAX {
                break;
            }
            cost -= sources.rows.get(digest).expect("it is indexed").cost();
            gone.push(*digest);
        }
        if cost > most.max(sources.cost) {
            return Err(Rejection::SourcesFull {
                held: sources.cost_held,
                limit: most,
                retry_after_ms: QUEUE_FULL_RETRY_AFTER_MS,
            });
        }
        Ok(gone)
    }

    pub(super) fn put_source_budget(&mut self, bytes_max: u64) -> Result<Outcome, Rejection> {
        check_range("the budget", bytes_max, 0, BUDGET_BYTES_MAX)?;
        let before = self.sources.cost_max();
        self.sources.budget.insert(THE_BUDGET, bytes_max);
        Ok(Outcome::SourceBudgetPut { before })
    }

    /// What is kept, and which of these are not.
    #[must_use]
    pub fn sources_view(&self, asked: &[Digest]) -> SourcesView {
        let sources = &self.sources;
        let lacking = asked.iter().filter(|it| !sources.rows.contains(it));
        SourcesView {
            lacking: lacking.copied().collect(),
            count: sources.rows.len(),
            bytes: sources.cost,
            bytes_held: sources.cost_held,
            bytes_max: sources.cost_max(),
            is_kept: holds_sources(self.level),
        }
    }

    /// Is a text kept?
    #[must_use]
    pub fn has_source(&self, digest: &Digest) -> bool {
        self.sources.rows.contains(digest)
    }

    /// The next texts that are kept, by digest, from after one.
    pub(super) fn sources_after(
        &self,
        after: Option<Digest>,
        count_max: usize,
    ) -> impl Iterator<Item = Digest> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.sources.rows.range((from, Bound::Unbounded));
        rows.map(|(digest, _)| *digest).take(count_max)
    }

    pub(super) fn check_sources(&self) -> Result<(), String> {
        let sources = &self.sources;
        let is_empty = sources.rows.is_empty() && sources.budget.is_empty();
        ensure!(
            holds_sources(self.level) || is_empty,
            "sources are kept below their level"
        );
        let mut budgets = sources.budget.iter();
        ensure!(
            budgets.all(|(key, most)| *key == THE_BUDGET && *most <= BUDGET_BYTES_MAX),
            "there is a budget of sources that cannot be"
        );
        let (mut held, mut idle) = (BTreeMap::new(), BTreeSet::new());
        let (mut cost, mut cost_held) = (0u64, 0);
        for (id, job) in self.jobs.rows.iter() {
            if sources.counted_on(&job.subject, *id).is_some() {
                *held.entry(job.subject).or_default() += 1u64;
            }
        }
        for (digest, row) in sources.rows.iter() {
            row.check(digest)?;
            ensure!(
                row.used <= self.head.applied && row.since <= self.head.accepted,
                "{digest} is kept as {row:?}"
            );
            cost += row.cost();
            match held.contains_key(digest) {
                true => cost_held += row.cost(),
                false => _ = idle.insert((row.used, *digest)),
            }
        }
        ensure!(
            (cost, cost_held) == (sources.cost, sources.cost_held),
            "sources count for {cost}, {cost_held} of it held, and {sources:?} is what is kept"
        );
        ensure!(
            held == sources.held && idle == sources.idle,
            "jobs count on {held:?}, and {sources:?} is what is kept"
        );
        Ok(())
    }
}
