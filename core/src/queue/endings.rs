//! How a job ends, and how its end spreads: to the next in its place at once,
//! to its dependents within a bound per entry, the rest by `Tick`.

use crate::ids::JobId;
use crate::job::{JobState, Policy};
use crate::limits::{CASCADE_PER_ENTRY_MAX, DEPENDENCIES_MAX};

use super::QueueManager;
use super::contexts::{PlaceId, Slots};
use super::dependencies::{EdgeKey, Ended};
use super::finished::FinishedJob;
use super::jobs::{Job, Phase};

/// Edges and waits of finished jobs that one entry may drop.
const ROWS_DROPPED_PER_ENTRY_MAX: u64 = 2 * DEPENDENCIES_MAX;
/// Finished jobs, and waits for them, that one entry may forget. More jobs than
/// one entry can finish, so that the bound on finished jobs holds.
const PURGED_PER_ENTRY_MAX: u64 = 4_096;

impl QueueManager {
    /// Moves a job to its terminal state and out of its slot. With `ended`,
    /// its dependents are told; without, another job takes over its lines.
    pub(super) fn finish(&mut self, id: JobId, state: JobState, ended: Option<Ended>) -> Job {
        let job = self.jobs.remove(id, &mut self.timers);
        self.accounts.used.end(&job.origin.tenant);
        self.sources.release(&job.subject, id, self.head.applied);
        if job.is_running() {
            self.discharge(&job.origin, job.place);
            self.note_end(id, &job, matches!(state, JobState::Done { .. }));
        }
        self.places.clear_slot(job.place, id);
        self.cache.note_end(id);
        self.batches.forget(id);
        let is_superseded = matches!(state, JobState::Superseded { .. });
        let has_waits = !is_superseded && self.waits.first_of(id).is_some();
        let is_letter = self.note_letter(id, &job, &state);
        let has_edges = match is_letter {
            // A dead letter keeps its edges, but waits for nothing.
            true => job.open > 0,
            false => self.edges.of(id).next().is_some(),
        };
        if has_waits || has_edges {
            self.edges.dropped.insert(id, ());
        }
        if let Some(ended) = ended {
            for line in job.lines() {
                if self.edges.has_waiting(line) {
                    self.edges.ended.insert(line, ended);
                }
            }
        }
        let finished = FinishedJob {
            number: self.head.finished.next(),
            place: job.place,
            subject: job.subject,
            class: job.class,
            state,
            waiters: job.waiters,
            attempts: job.attempts,
            failures: job.failures,
            crashes: job.crashes,
            last_token: job.last_token,
            last_error: job.last_error.clone(),
        };
        self.note_finished(id, finished);
        if is_letter {
            self.note_hopeless(id, job.place);
        }
        job
    }

    /// Counts and keeps a finished job, which has a hold on its place already.
    pub(super) fn note_finished(&mut self, id: JobId, job: FinishedJob) {
        self.head.finished = job.number;
        let totals = &mut self.head.totals;
        match &job.state {
            JobState::Done { from_cache, .. } => {
                totals.done += 1;
                totals.from_cache += u64::from(*from_cache);
            }
            JobState::Dead(_) => totals.dead += 1,
            JobState::Cancelled => totals.cancelled += 1,
            JobState::DependencyFailed { .. } => totals.dependency_failed += 1,
            JobState::Superseded { .. } => totals.superseded += 1,
            JobState::Waiting { .. }
            | JobState::Delayed { .. }
            | JobState::Ready
            | JobState::Running(_)
            | JobState::Parked => panic!("{id} ended as {:?}", job.state),
        }
        self.finished.insert(id, job);
    }

    /// Gives the turn to the parked job of a place whose current job ended.
    pub(super) fn promote(&mut self, place: PlaceId) {
        let Slots {
            current: None,
            parked: Some(next),
            ..
        } = self.places.slots(place)
        else {
            return;
        };
        self.places.change_slots(place, |slots| {
            (slots.current, slots.parked) = (Some(next), None);
        });
        let now = self.head.now;
        self.jobs.change(next, &mut self.timers, |job| {
            if job.phase() == Phase::Parked {
                job.set_phase(job.phase_at_rest(now));
            }
        });
    }

    /// Does what earlier ends left to do, up to the bounds; says how many
    /// dependents it told, and jobs it ended that nobody wants any more.
    pub(super) fn settle(&mut self) -> u32 {
        let mut told: u32 = 0;
        while u64::from(told) < CASCADE_PER_ENTRY_MAX {
            let Some((line, ended)) = self.edges.ended.first() else {
                break;
            };
            let (line, ended) = (*line, *ended);
            let next = self.edges.waiting_for(line).next();
            match next {
                Some(key) => {
                    self.tell(key, ended);
                    told += 1;
                }
                None => {
                    self.edges.ended.remove(&line);
                }
            }
        }
        let ended = self.drop_rows();
        self.purge();
        self.forget_letters();
        told + ended
    }

    /// Tells one dependent that what it waited for ended.
    fn tell(&mut self, key: EdgeKey, ended: Ended) {
        let edge = self.edges.resolve(key);
        let id = key.dependent;
        let Some(job) = self.jobs.get(id) else {
            return;
        };
        let place = job.place;
        match (ended, edge.policy) {
            (Ended::Failed(dependency), Policy::Require) => {
                let state = JobState::DependencyFailed { dependency };
                self.finish(id, state, Some(Ended::Failed(id)));
                self.promote(place);
            }
            (Ended::Failed(_), Policy::Optional) | (Ended::Published, _) => {
                let now = self.head.now;
                self.jobs.change(id, &mut self.timers, |job| {
                    let open = job.open.checked_sub(1);
                    job.open = open.unwrap_or_else(|| panic!("{id} has an open edge too many"));
                    if job.phase() == Phase::Waiting {
                        job.set_phase(job.phase_at_rest(now));
                    }
                });
            }
        }
    }

    /// Drops the edges of finished jobs, and the waits of those that none took the
    /// place of. A job that is wanted by nobody without such an edge ends; says
    /// how many did.
    fn drop_rows(&mut self) -> u32 {
        let mut left = ROWS_DROPPED_PER_ENTRY_MAX;
        let mut ended: u32 = 0;
        while left > 0 && u64::from(ended) < CASCADE_PER_ENTRY_MAX {
            let Some((id, ())) = self.edges.dropped.first() else {
                break;
            };
            let id = *id;
            let next = self.edges.of(id).next();
            if self.keeps_edges_of(id) {
                let (looked_at, unwanted) = self.resolve_edges_of(id);
                left = left.saturating_sub(looked_at);
                ended += unwanted;
                if u64::from(ended) >= CASCADE_PER_ENTRY_MAX {
                    break;
                }
            } else if let Some((key, _)) = next {
                let edge = self.edges.remove(key);
                left -= 1;
                if let Some(line) = edge.line {
                    ended += u32::from(self.end_if_unwanted(edge.place, line));
                }
                self.places.release_edge(edge.place);
                continue;
            }
            let finished = self.finished.get(id).map(|finished| &finished.state);
            let is_superseded = matches!(finished, Some(JobState::Superseded { .. }));
            while left > 0 {
                if is_superseded || !self.move_wait_on(id) {
                    self.edges.dropped.remove(&id);
                    break;
                }
                left -= 1;
            }
        }
        ended
    }

    /// Ends the waiting of a dead letter, unless too many jobs end by that for one
    /// entry; says how many edges it looked at, and how many jobs ended. One job's
    /// edges are few enough to look at all.
    fn resolve_edges_of(&mut self, id: JobId) -> (u64, u32) {
        let edges = self.edges.of(id);
        let open: Vec<EdgeKey> = edges
            .filter(|(_, edge)| edge.line.is_some())
            .map(|(key, _)| key)
            .collect();
        let looked_at = u64::from(self.edges.count_of(id));
        let mut ended: u32 = 0;
        for key in open {
            if u64::from(ended) >= CASCADE_PER_ENTRY_MAX {
                break;
            }
            let edge = self.edges.resolve(key);
            let line = edge.line.expect("it was open a line ago");
            ended += u32::from(self.end_if_unwanted(edge.place, line));
        }
        (looked_at, ended)
    }

    fn purge(&mut self) {
        let count_max = self.rules.jobs_finished_max;
        for _ in 0..PURGED_PER_ENTRY_MAX {
            let Some(id) = self.finished.surplus(count_max) else {
                return;
            };
            // Its waits go on to the newer input first.
            if !self.move_wait_on(id) {
                self.forget_letter(id);
                let job = self.finished.remove(id);
                self.places.release(job.place);
            }
        }
    }
}
