//! Dead letters that are done again, and those that nobody needs any more (QUEUE
//! D4, R6; decision 18).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{Admission, Purging, Redrive, Redriving, Rejection, Submitted};
use crate::ids::{JobId, SessionId};
use crate::job::Policy;
use crate::limits::{ORDERED_JOBS_MAX, REDRIVEN_EDGES_PER_ENTRY_MAX, REDRIVEN_PER_ENTRY_MAX};

use super::QueueManager;
use super::admission::NewJob;
use super::contexts::PlaceId;
use super::dependencies::admission_order;
use super::letters::cause;
use super::waiters::Walk;

/// What one entry redrives.
#[derive(Debug, Default)]
struct Plan {
    chosen: Vec<JobId>,
    seen: BTreeSet<JobId>,
    edges: u64,
    /// Where the next entry is to go on; empty if all was chosen.
    next: BTreeSet<JobId>,
}

impl QueueManager {
    /// Does dead letters again, and with `dependents` those that failed for want of
    /// them: what fits one entry.
    pub(super) fn redrive(
        &mut self,
        jobs: &[JobId],
        dependents: bool,
        session: Option<SessionId>,
    ) -> Result<Redrive, Rejection> {
        check_ordered_count("a redrive", jobs)?;
        let plan = self.plan_redrive(jobs, dependents);
        let nodes: Vec<_> = plan
            .chosen
            .iter()
            .map(|id| self.node_of_letter(*id))
            .collect();
        let order = admission_order(&nodes).map_err(|path| {
            let path = path.into_iter().map(|place| self.places.address(place));
            Rejection::Cycle {
                path: path.cloned().collect(),
            }
        })?;
        self.check_room_for(plan.chosen.len() as u64, plan.edges)?;
        let mut walk = Walk::new();
        let mut results: BTreeMap<JobId, Redriving> = BTreeMap::new();
        let mut told = Vec::new();
        let named: BTreeSet<JobId> = jobs.iter().copied().collect();
        let (is_cut, mut next) = (!plan.next.is_empty(), plan.next);
        let (mut more, mut lacking) = (0, 0);
        for position in order {
            let id = plan.chosen[usize::try_from(position).expect("a position in a slice")];
            let result = self.redrive_one(id, &mut walk);
            match (&result, named.contains(&id)) {
                (Redriving::Again { job, how }, true) => told.push(Submitted {
                    job: *job,
                    how: *how,
                }),
                // Nobody is told of these jobs, so that nobody can leave them.
                (Redriving::Again { .. }, false) => more += 1,
                (Redriving::Needs { .. }, false) => {
                    lacking += 1;
                    // What was cut off may be what it needs.
                    next.extend(self.cause_of(id).filter(|_| is_cut));
                }
                _ => {}
            }
            results.insert(id, result);
        }
        // Every entry before the last redrives something, so there is a last one.
        if told.is_empty() && more == 0 {
            next.clear();
        }
        if let Some(session) = session {
            self.note_waits(session, &told);
        }
        let of_named = jobs.iter().map(|id| match results.get(id) {
            Some(result) => result.clone(),
            None => self.why_not_redriven(*id),
        });
        let next_max = usize::try_from(ORDERED_JOBS_MAX).expect("a small number");
        Ok(Redrive {
            jobs: of_named.collect(),
            dependents: more,
            lacking,
            next: next.into_iter().take(next_max).collect(),
        })
    }

    /// Chooses what one entry redrives: what is named, and then the dependents of
    /// each, depth first, so that few jobs say where to go on.
    fn plan_redrive(&self, jobs: &[JobId], dependents: bool) -> Plan {
        let mut plan = Plan::default();
        for id in jobs {
            if self.is_open_letter(*id) && !self.choose(&mut plan, *id) {
                plan.next.insert(*id);
            }
        }
        if !dependents {
            return plan;
        }
        for id in jobs {
            // Each job on the way, and up to where its dependents were looked at.
            let mut way = vec![(*id, JobId(0))];
            while let Some((cause, looked_at)) = way.last_mut() {
                let Some(dependent) = self.letters.failed_after(*cause, *looked_at) else {
                    way.pop();
                    continue;
                };
                *looked_at = dependent;
                if plan.seen.contains(&dependent) {
                    continue;
                }
                if !self.choose(&mut plan, dependent) {
                    plan.next.extend(way.iter().map(|(cause, _)| *cause));
                    break;
                }
                way.push((dependent, JobId(0)));
            }
        }
        plan
    }

    fn is_open_letter(&self, id: JobId) -> bool {
        let letter = self.letters.get(id);
        letter.is_some_and(|letter| letter.redriven.is_none())
    }

    /// Takes a letter into a plan, if it is not there and fits one entry.
    fn choose(&self, plan: &mut Plan, id: JobId) -> bool {
        if plan.seen.contains(&id) {
            return true;
        }
        let letter = self.letters.get(id).expect("only dead letters are chosen");
        let edges = plan.edges + u64::from(letter.edges);
        let fits = (plan.chosen.len() as u64) < REDRIVEN_PER_ENTRY_MAX
            && (edges <= REDRIVEN_EDGES_PER_ENTRY_MAX || plan.chosen.is_empty());
        if fits {
            plan.seen.insert(id);
            plan.chosen.push(id);
            plan.edges = edges;
        }
        fits
    }

    fn cause_of(&self, id: JobId) -> Option<JobId> {
        cause(&self.finished.get(id)?.state)
    }

    /// A dead letter's place and what it needs, for the order of admission.
    fn node_of_letter(&self, id: JobId) -> (PlaceId, Vec<PlaceId>) {
        let needed = self.edges.of(id).map(|(_, edge)| edge.place);
        (self.place_of_letter(id), needed.collect())
    }

    fn place_of_letter(&self, id: JobId) -> PlaceId {
        let finished = self.finished.get(id);
        finished.expect("a dead letter is a finished job").place
    }

    /// Makes a job that is what a dead letter was, if it is still wanted and can be.
    fn redrive_one(&mut self, id: JobId, walk: &mut Walk) -> Redriving {
        let letter = self.letters.get(id).expect("only dead letters are chosen");
        let finished = self.finished.get(id).expect("a dead letter is finished");
        let (place, subject, class) = (finished.place, finished.subject, finished.class);
        let (kind, accepted, origin) = (letter.kind, letter.accepted, Arc::clone(&letter.origin));
        if let Some(context) = self.hit(place, subject, &origin.generator) {
            let by = context.job;
            self.end_letter(id, by);
            return Redriving::Published { by };
        }
        let slots = self.places.slots(place);
        let live = [slots.parked, slots.current];
        for live in live.into_iter().flatten() {
            if self.jobs.expect(live).is_for(subject, &origin.generator) {
                self.attach(live, accepted, class, walk);
                self.end_letter(id, live);
                return Redriving::Again {
                    job: live,
                    how: Admission::Attached,
                };
            }
        }
        let newer = |by: &JobId| self.jobs.expect(*by).accepted > accepted;
        let newer = live.into_iter().flatten().find(newer).or_else(|| {
            let (by, newest) = self.places.newest_published(place)?;
            (newest > accepted).then_some(by)
        });
        #[cfg(feature = "planted-bugs")]
        let newer = newer.filter(|_| !self.is_planted(crate::planted::Bug::RedriveIsNewest));
        if let Some(by) = newer {
            return Redriving::Outdated { by };
        }
        let needed: Vec<(PlaceId, Policy)> = self
            .edges
            .of(id)
            .map(|(_, edge)| (edge.place, edge.policy))
            .collect();
        let lacks = |(place, policy): &&(PlaceId, Policy)| {
            *policy == Policy::Require
                && self.places.slots(*place).newest().is_none()
                && !self.is_there(*place)
        };
        if let Some((place, _)) = needed.iter().find(lacks) {
            return Redriving::Needs {
                address: self.places.address(*place).clone(),
            };
        }
        let job = self.head.accepted.next();
        self.head.accepted = job;
        #[cfg(feature = "planted-bugs")]
        let accepted = match self.is_planted(crate::planted::Bug::RedriveIsNewest) {
            true => job,
            false => accepted,
        };
        assert!(
            accepted < job || cfg!(feature = "planted-bugs"),
            "{job} does {id} again, and is no older"
        );
        let new = NewJob {
            place,
            origin,
            kind,
            class,
            subject,
            accepted,
            not_before: self.head.now,
            needed,
        };
        let how = self.create(job, new, walk);
        self.end_letter(id, job);
        Redriving::Again { job, how }
    }

    /// A dead letter is done with: it is not redriven again.
    fn end_letter(&mut self, id: JobId, by: JobId) {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::RedrivenTwice) {
            return;
        }
        let finished = self.finished.get(id);
        let finished = finished.map(|finished| (finished.place, cause(&finished.state)));
        self.letters
            .note_redriven(id, by, finished.and_then(|(_, cause)| cause));
        if let Some((place, _)) = finished {
            self.note_hopeless(id, place);
        }
        self.drop_edges_of(id);
    }

    /// Why a named job was not among those that were chosen.
    fn why_not_redriven(&self, id: JobId) -> Redriving {
        if let Some(letter) = self.letters.get(id) {
            return match letter.redriven {
                Some(job) => Redriving::Before { job },
                None => Redriving::Later,
            };
        }
        if self.jobs.get(id).is_some() {
            return Redriving::NotDead;
        }
        match self.finished.get(id) {
            Some(finished) if finished.state.is_dead_letter() => Redriving::NotKept,
            Some(_) => Redriving::NotDead,
            None => Redriving::Unknown,
        }
    }

    /// Forgets what is needed to do dead letters again. How they ended stays.
    pub(super) fn purge_letters(&mut self, jobs: &[JobId]) -> Result<Vec<Purging>, Rejection> {
        check_ordered_count("a purge", jobs)?;
        let purged = jobs.iter().map(|id| match self.forget_letter(*id) {
            true => Purging::Purged,
            false => Purging::NotKept,
        });
        Ok(purged.collect())
    }
}

/// Does an order name as many jobs as it may?
pub(super) fn check_ordered_count(what: &str, jobs: &[JobId]) -> Result<(), Rejection> {
    let (found, limit) = (jobs.len() as u64, ORDERED_JOBS_MAX);
    if found == 0 || found > limit {
        return Err(Rejection::OrderedJobCount {
            what: what.to_owned(),
            found,
            limit,
        });
    }
    Ok(())
}
