//! Engines that fail are not used for a while, so that an outage burns no attempts
//! (QUEUE R5; decision 20): a circuit breaker for each engine (Nygard, "Release It!",
//! 2007), from [`FeatureLevel::WORK_LIMITED`] on.
//!
//! An engine that has failed lately has a row; its window begins with its first failure.
//! When too many fail, its circuit opens: no job of it is given out until a time has
//! passed. Then one job goes out, and if the engine answers it, two, and four. The
//! failure of one of these opens the circuit again, for twice as long, and its job
//! waits until another one has had a try: it may be the job. While the circuit is not
//! closed no failure counts against a job, until very many were not counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{JobId, LogIndex, Token};
use crate::job::{BreakerView, Circuit, FailureClass};
use crate::limits::{
    BREAKER_ENDED_MIN, BREAKER_FAILED_JOBS_MIN, BREAKER_FAILED_PERCENT_MIN, BREAKER_PROBES_MAX,
    BREAKER_WAIT_MS_MAX, BREAKER_WAIT_MS_MIN, BREAKER_WINDOW_MS, BREAKERS_MAX,
    UNCOUNTED_ATTEMPTS_MAX,
};
use crate::time::Stamp;

use super::QueueManager;
use super::accounts::holds_limits;
use super::attempts::Told;
use super::jobs::Job;
use super::table::Table;

const ENGINE_DOMAIN: &str = "precentor 2026 engine's breaker";

/// Parts of the window: the oldest is forgotten as a whole.
const SLOTS: u64 = 6;
const SLOT_MS: u64 = BREAKER_WINDOW_MS / SLOTS;

/// How attempts ended in one part of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Slot {
    /// Which: cluster time in [`SLOT_MS`].
    number: u64,
    ended: u32,
    failed: u32,
}

/// An engine that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct BreakerRow {
    engine: Box<str>,
    /// The oldest first. At most [`SLOTS`].
    slots: Vec<Slot>,
    /// Different jobs that failed last, and in which slot. As many as matter.
    jobs: Vec<(JobId, u64)>,
    circuit: Circuit,
    /// How often in a row it was opened.
    trips: u32,
    /// When it was opened last: claims after it are probes.
    opened: LogIndex,
}

impl BreakerRow {
    fn new(engine: &str) -> BreakerRow {
        BreakerRow {
            engine: engine.into(),
            slots: Vec::new(),
            jobs: Vec::new(),
            circuit: Circuit::Closed,
            trips: 0,
            opened: LogIndex(0),
        }
    }

    /// Counts an attempt, and forgets what is too old.
    fn count(&mut self, job: JobId, failed: bool, now: Stamp) {
        let number = now.0 / SLOT_MS;
        let oldest = (number + 1).saturating_sub(SLOTS);
        self.slots.retain(|slot| slot.number >= oldest);
        self.jobs.retain(|(_, at)| *at >= oldest);
        if self.slots.last().is_none_or(|slot| slot.number != number) {
            self.slots.push(Slot {
                number,
                ..Slot::default()
            });
        }
        let slot = self
            .slots
            .last_mut()
            .expect("it was pushed if there was none");
        slot.ended = slot.ended.saturating_add(1);
        if failed {
            slot.failed = slot.failed.saturating_add(1);
            self.jobs.retain(|(other, _)| *other != job);
            if self.jobs.len() as u64 == BREAKER_FAILED_JOBS_MIN {
                self.jobs.remove(0);
            }
            self.jobs.push((job, number));
        }
    }

    /// How many ended, and how many of these failed.
    fn sums(&self) -> (u64, u64) {
        let slots = self.slots.iter();
        slots.fold((0, 0), |(ended, failed), slot| {
            (
                ended + u64::from(slot.ended),
                failed + u64::from(slot.failed),
            )
        })
    }

    fn fails_too_often(&self) -> bool {
        let (ended, failed) = self.sums();
        ended >= BREAKER_ENDED_MIN
            && failed * 100 >= ended * BREAKER_FAILED_PERCENT_MIN
            && self.jobs.len() as u64 >= BREAKER_FAILED_JOBS_MIN
    }

    fn open(&mut self, index: LogIndex, now: Stamp) {
        let doublings = self.trips.min(32);
        let wait_ms = (BREAKER_WAIT_MS_MIN << doublings).min(BREAKER_WAIT_MS_MAX);
        self.trips = self.trips.saturating_add(1);
        self.opened = index;
        self.circuit = Circuit::Open {
            until: now.plus_ms(wait_ms),
        };
        // It is judged anew by what comes after.
        self.slots.clear();
        self.jobs.clear();
    }

    fn due(&self) -> Option<Stamp> {
        match self.circuit {
            Circuit::Open { until } => Some(until),
            Circuit::Closed | Circuit::Probing { .. } => None,
        }
    }

    /// How many more jobs of it may be given out; none if it is used as ever.
    fn room(&self) -> Option<u64> {
        match self.circuit {
            Circuit::Closed => None,
            Circuit::Open { .. } => Some(0),
            Circuit::Probing { left, .. } => Some(u64::from(left)),
        }
    }

    fn view(&self) -> BreakerView {
        let (ended, failed) = self.sums();
        BreakerView {
            engine: self.engine.to_string(),
            circuit: self.circuit,
            trips: self.trips,
            ended,
            failed,
        }
    }
}

/// The breakers of engines that failed.
#[derive(Clone, Debug)]
pub(super) struct Breakers {
    /// By the digest of the engine's name: a name is too long for a key.
    pub(super) rows: Table<Digest, BreakerRow>,
    /// Those that are open, by when they are tried again.
    due: BTreeSet<(Stamp, Digest)>,
}

impl Breakers {
    pub(super) fn new(rows: Table<Digest, BreakerRow>) -> Breakers {
        let due = rows
            .iter()
            .filter_map(|(key, row)| Some((row.due()?, *key)));
        Breakers {
            due: due.collect(),
            rows,
        }
    }

    fn of(&self, engine: &str) -> Option<&BreakerRow> {
        if self.rows.is_empty() {
            return None;
        }
        self.rows.get(&key_of(engine))
    }

    /// The one way to change a row, or to put one in.
    fn put(&mut self, row: BreakerRow) {
        let (key, due) = (key_of(&row.engine), row.due());
        if let Some(before) = self.rows.insert(key, row).and_then(|old| old.due()) {
            self.due.remove(&(before, key));
        }
        self.due.extend(due.map(|due| (due, key)));
    }

    fn remove(&mut self, engine: &str) -> Option<BreakerRow> {
        let key = key_of(engine);
        let row = self.rows.remove(&key)?;
        if let Some(due) = row.due() {
            self.due.remove(&(due, key));
        }
        Some(row)
    }

    pub(super) fn next_due(&self) -> Option<Stamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Is every open one in the index, and every count within its bound?
    pub(super) fn is_sound(&self, now: Stamp) -> bool {
        let due = self
            .rows
            .iter()
            .filter_map(|(key, row)| Some((row.due()?, *key)));
        let mut rows = self.rows.iter();
        let last = now.0 / SLOT_MS;
        due.collect::<BTreeSet<_>>() == self.due
            && rows.all(|(key, row)| {
                *key == key_of(&row.engine)
                    && row.slots.len() as u64 <= SLOTS
                    && row.slots.is_sorted_by_key(|slot| slot.number)
                    && row.slots.iter().all(|slot| slot.number <= last)
                    && row.jobs.len() as u64 <= BREAKER_FAILED_JOBS_MIN
            })
    }

    /// How many probes of each engine that is tried are out by its row, and since when.
    pub(super) fn probes(&self) -> impl Iterator<Item = (&str, LogIndex, Option<u64>)> {
        self.rows.iter().filter_map(|(_, row)| {
            let Circuit::Probing { jobs, left, passed } = row.circuit else {
                return None;
            };
            let out = jobs
                .checked_sub(left)
                .and_then(|out| out.checked_sub(passed));
            let out = out.filter(|_| (1..=BREAKER_PROBES_MAX).contains(&jobs));
            Some((&*row.engine, row.opened, out.map(u64::from)))
        })
    }
}

fn key_of(engine: &str) -> Digest {
    Digest::of_parts(ENGINE_DOMAIN, &[engine.as_bytes()])
}

/// What the end of an attempt says of its engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    /// It works: it made the context, or found that it cannot be made.
    Works,
    /// It does not.
    Fails,
    /// Nothing: it was not heard.
    Nothing,
}

impl QueueManager {
    /// An attempt at a running job ended without a result: what is that to be for the
    /// job, and how long has it to wait at least? What failed together failed once.
    pub(super) fn note_failure(
        &mut self,
        id: JobId,
        class: FailureClass,
        told: Told,
    ) -> (FailureClass, u64) {
        let word = match class {
            _ if told == Told::WholeBefore => Word::Nothing,
            FailureClass::Retryable | FailureClass::Busy => Word::Fails,
            FailureClass::Permanent => Word::Works,
            FailureClass::WorkerLost | FailureClass::Drained => Word::Nothing,
        };
        let job = self.jobs.expect(id);
        let (origin, token) = (Arc::clone(&job.origin), job.last_token);
        let uncounted = u64::from(job.attempts) <= UNCOUNTED_ATTEMPTS_MAX;
        let engine = &origin.generator.engine;
        let trips = |queue: &QueueManager| queue.breakers.of(engine).map_or(0, |row| row.trips);
        let before = trips(self);
        self.note_word(id, engine, token, word);
        let Some(row) = self.breakers.of(engine) else {
            return (class, 0);
        };
        let class = match class {
            // It was the engine's, as everybody knows by now.
            FailureClass::Retryable if row.room().is_some() && uncounted => FailureClass::Busy,
            other => other,
        };
        let wait_ms = match row.circuit {
            // Its probe failed: the next one is for another job, if there is one.
            Circuit::Open { until } if before > 0 && row.trips > before => {
                2 * (until.0 - self.head.now.0)
            }
            _ => 0,
        };
        (class, wait_ms)
    }

    /// A job that ran is over: its engine made the context, or was not heard.
    pub(super) fn note_end(&mut self, id: JobId, job: &Job, made: bool) {
        let word = if made { Word::Works } else { Word::Nothing };
        self.note_word(id, &job.origin.generator.engine, job.last_token, word);
    }

    fn note_word(&mut self, id: JobId, engine: &str, token: Option<Token>, word: Word) {
        if !holds_limits(self.level) {
            return;
        }
        let (index, now) = (self.head.applied, self.head.now);
        let mut row = match self.breakers.of(engine) {
            Some(row) => row.clone(),
            // As long as an engine does not fail nothing is kept of it.
            None if word != Word::Fails || self.breakers.rows.len() >= BREAKERS_MAX => return,
            None => BreakerRow::new(engine),
        };
        #[cfg(feature = "planted-bugs")]
        let word = match word {
            Word::Fails if self.is_planted(crate::planted::Bug::FailedProbePasses) => {
                match row.circuit {
                    Circuit::Probing { .. } => Word::Works,
                    _ => word,
                }
            }
            _ => word,
        };
        let is_probe = token.is_some_and(|token| token.index > row.opened);
        match (row.circuit, word) {
            (Circuit::Closed, Word::Nothing) | (Circuit::Open { .. }, _) => return,
            (Circuit::Closed, Word::Works | Word::Fails) => {
                row.count(id, word == Word::Fails, now);
                if row.sums().1 == 0 {
                    self.breakers.remove(engine);
                    return;
                }
                if row.fails_too_often() && !self.breaks_never() {
                    row.open(index, now);
                }
            }
            // It was given out before the circuit opened.
            (Circuit::Probing { .. }, _) if !is_probe => return,
            (Circuit::Probing { .. }, Word::Fails) => row.open(index, now),
            (Circuit::Probing { jobs, left, passed }, Word::Nothing) => {
                let left = left + 1;
                assert!(
                    left + passed <= jobs,
                    "{engine} has more probes than {jobs}"
                );
                row.circuit = Circuit::Probing { jobs, left, passed };
            }
            (Circuit::Probing { jobs, left, passed }, Word::Works) => {
                let passed = passed + 1;
                assert!(
                    left + passed <= jobs,
                    "{engine} has more probes than {jobs}"
                );
                row.circuit = match passed < jobs {
                    true => Circuit::Probing { jobs, left, passed },
                    false if jobs >= BREAKER_PROBES_MAX => {
                        self.breakers.remove(engine);
                        return;
                    }
                    false => probing(2 * jobs),
                };
            }
        }
        self.breakers.put(row);
    }

    /// Planted: the circuit never opens.
    fn breaks_never(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        return self.is_planted(crate::planted::Bug::BreakerStaysClosed);
        #[cfg(not(feature = "planted-bugs"))]
        false
    }

    /// A job of the engine is given out: it may be a probe.
    pub(super) fn note_probe(&mut self, id: JobId) {
        let engine = &self.jobs.expect(id).origin.generator.engine;
        let Some(row) = self.breakers.of(engine) else {
            return;
        };
        if let Circuit::Probing { jobs, left, passed } = row.circuit {
            let left = left.checked_sub(1);
            let left = left.unwrap_or_else(|| panic!("{id} is one probe of {engine} too many"));
            let circuit = Circuit::Probing { jobs, left, passed };
            let row = BreakerRow {
                circuit,
                ..row.clone()
            };
            self.breakers.put(row);
        }
    }

    /// Open circuits whose time is over are tried, up to the limit; says how many.
    pub(super) fn look_at_breakers(&mut self, count_max: u64) -> u32 {
        let now = self.head.now;
        let mut count = 0;
        while u64::from(count) < count_max {
            let first = self.breakers.due.first().copied();
            let Some((_, key)) = first.filter(|(due, _)| *due <= now) else {
                break;
            };
            let row = self.breakers.rows.get(&key);
            let mut row = row.expect("what is due has a row").clone();
            row.circuit = probing(1);
            self.breakers.put(row);
            count += 1;
        }
        count
    }

    /// Somebody knows that an engine works. Says whether it was held for broken.
    pub(super) fn close_breaker(&mut self, engine: &str) -> bool {
        let broken = self
            .breakers
            .of(engine)
            .and_then(BreakerRow::room)
            .is_some();
        if broken {
            self.breakers.remove(engine);
        }
        broken
    }

    /// How many more jobs of an engine may be given out while it is held for broken;
    /// none if it is not.
    #[must_use]
    pub fn probes_left(&self, engine: &str) -> Option<u64> {
        self.breakers.of(engine)?.room()
    }

    /// The engines that are held for broken, and how many more jobs of each may be
    /// given out.
    pub fn broken_engines(&self) -> impl Iterator<Item = (&str, u64)> {
        let rows = self.breakers.rows.iter();
        rows.filter_map(|(_, row)| Some((&*row.engine, row.room()?)))
    }

    /// The breaker of an engine that failed lately.
    pub(super) fn breaker(&self, engine: &str) -> Option<BreakerView> {
        self.breakers.of(engine).map(BreakerRow::view)
    }

    /// The breakers of all engines that failed lately.
    pub fn breakers(&self) -> impl Iterator<Item = BreakerView> {
        self.breakers.rows.iter().map(|(_, row)| row.view())
    }
}

/// A round of so many probes.
fn probing(jobs: u32) -> Circuit {
    Circuit::Probing {
        jobs,
        left: jobs,
        passed: 0,
    }
}
