//! The whole state against its own rules: what tests and the simulator ask
//! after every step, and what an image must pass. Costs as much as the state
//! is large; the cheap assertions stand where the changes are.

use std::collections::BTreeMap;

use crate::ids::JobId;
use crate::job::JobState;
use crate::limits::SESSION_REPLIES_MAX;

use super::QueueManager;
use super::accounts::holds_limits;
use super::contexts::{PlaceId, Slots};
use super::edits::holds_edits;
use super::jobs::{Job, Phase, PhaseCounts};
use super::letters::cause;
use super::order::Order;
use super::table::Table;

/// Numbers above are no state of ours: a counter must be able to go on.
pub(super) const NUMBER_MAX: u64 = 1 << 60;

macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}
pub(super) use ensure;

impl QueueManager {
    /// Checks every rule that the state must keep, and every index against
    /// what it is an index of.
    ///
    /// # Panics
    /// If one is broken.
    pub fn check(&self) {
        if let Err(broken) = self.consistency() {
            panic!("the queue broke a rule at {}: {broken}", self.head.applied);
        }
    }

    pub(super) fn consistency(&self) -> Result<(), String> {
        self.check_numbers()?;
        self.check_jobs()?;
        self.check_places()?;
        self.check_edges()?;
        self.check_no_cycle()?;
        self.check_finished()?;
        self.check_wanted()?;
        self.check_waits()?;
        self.check_letters()?;
        self.check_limits()?;
        self.check_cache()?;
        self.check_access()?;
        self.check_edits()?;
        self.check_batches()?;
        self.check_fitting()?;
        self.check_sources()?;
        self.check_sessions()?;
        self.check_hashes()
    }

    fn check_numbers(&self) -> Result<(), String> {
        let head = &self.head;
        let totals = &head.totals;
        for number in [
            head.applied.0,
            head.now.0,
            head.takeover.0,
            head.accepted.0,
            head.next_place.0,
            head.finished.0,
            totals.done,
            totals.from_cache,
            totals.dead,
            totals.cancelled,
            totals.dependency_failed,
            totals.superseded,
        ] {
            ensure!(number < NUMBER_MAX, "{number} is beyond every count");
        }
        let ended = totals.done
            + totals.dead
            + totals.cancelled
            + totals.dependency_failed
            + totals.superseded;
        // A replica that lets jobs end twice counts them twice.
        ensure!(
            ended == self.finished_by_number(),
            "{ended} jobs ended by state, {} by number",
            head.finished
        );
        Ok(())
    }

    fn check_jobs(&self) -> Result<(), String> {
        let (mut counts, mut order, mut leases) = (PhaseCounts::default(), Order::default(), 0u64);
        let mut lines: BTreeMap<JobId, JobId> = BTreeMap::new();
        for (id, job) in self.jobs.rows.iter() {
            ensure!(*id <= self.head.accepted, "{id} was never given");
            ensure!(
                (job.accepted >= *id || self.keeps_letters()) && job.accepted <= self.head.accepted,
                "{id} was accepted last as {}",
                job.accepted
            );
            ensure!(
                self.finished.get(*id).is_none(),
                "{id} is finished and is not"
            );
            for number in [job.attempts, job.failures, job.crashes, job.waiters] {
                ensure!(number < u32::MAX / 2, "{id} counts {number}");
            }
            for line in job.lines() {
                let other = lines.insert(line, *id);
                ensure!(other.is_none(), "{id} and {other:?} answer for {line}");
            }
            let open = self.edges.of(*id).filter(|(_, edge)| edge.line.is_some());
            ensure!(
                open.count() as u64 == u64::from(job.open),
                "{id} counts {} open dependencies",
                job.open
            );
            self.check_phase(*id, job, &mut counts, &mut order, &mut leases)?;
        }
        ensure!(counts == self.jobs.counts, "phases are {counts:?}");
        ensure!(order == self.jobs.order, "the order is {order:?}");
        ensure!(
            self.jobs.order.is_sound(),
            "a queue is not found by when it opened: {:?}",
            self.jobs.order
        );
        ensure!(
            leases == self.jobs.leases.iter().count() as u64,
            "{leases} jobs are running"
        );
        for (worker, _, _) in self.jobs.leases.iter() {
            ensure!(
                self.workers.contains(&worker),
                "{worker} holds a lease and is unknown"
            );
        }
        Ok(())
    }

    fn check_phase(
        &self,
        id: JobId,
        job: &Job,
        counts: &mut PhaseCounts,
        order: &mut Order,
        leases: &mut u64,
    ) -> Result<(), String> {
        match job.phase() {
            Phase::Waiting => {
                counts.waiting += 1;
                ensure!(job.open > 0, "{id} waits for nothing");
            }
            Phase::Delayed { .. } => counts.delayed += 1,
            Phase::Ready => {
                counts.ready += 1;
                let (tenant, engine) = job.origin.queue();
                order.insert(job.class, tenant, engine, id);
            }
            Phase::Running(lease) => {
                counts.running += 1;
                *leases += 1;
                ensure!(
                    job.last_token == Some(lease.token) && job.attempts > 0,
                    "{id} runs by a token that is not its last"
                );
                ensure!(
                    self.jobs
                        .leases
                        .of(lease.worker)
                        .any(|held| held == (lease.token, id)),
                    "{id} runs and no lease says so"
                );
                ensure!(
                    lease.token.index <= self.head.applied,
                    "{id} runs by a token of the future"
                );
            }
            Phase::Parked => counts.parked += 1,
        }
        let at_rest = matches!(job.phase(), Phase::Waiting | Phase::Parked);
        ensure!(
            at_rest || job.open == 0,
            "{id} is {:?} with open dependencies",
            job.phase()
        );
        Ok(())
    }

    fn check_places(&self) -> Result<(), String> {
        let mut slots: BTreeMap<PlaceId, Slots> = BTreeMap::new();
        for (id, job) in self.jobs.rows.iter() {
            let own = self.places.slots(job.place);
            ensure!(
                own.current == Some(*id) || own.parked == Some(*id),
                "{id} is in no slot of its place"
            );
            ensure!(
                job.phase() != Phase::Parked || (own.parked == Some(*id) && own.current.is_some()),
                "{id} is parked behind nothing"
            );
            #[cfg(feature = "planted-bugs")]
            let may_run_twice = self.is_planted(crate::planted::Bug::RunContextTwice);
            #[cfg(not(feature = "planted-bugs"))]
            let may_run_twice = false;
            ensure!(
                may_run_twice || job.phase() == Phase::Parked || own.current == Some(*id),
                "{id} is {:?} and not the current job of its place",
                job.phase()
            );
            slots.entry(job.place).or_default().uses += 1;
        }
        let finished = self.finished.rows.iter().map(|(_, job)| job.place);
        let edges = self.edges.rows.iter().map(|(_, edge)| edge.place);
        let said = self.edits.places().chain(self.history.places());
        for place in finished.chain(said) {
            slots.entry(place).or_default().uses += 1;
        }
        for place in edges {
            let slots = slots.entry(place).or_default();
            (slots.uses, slots.edges) = (slots.uses + 1, slots.edges + 1);
        }
        for (place, known) in self.places.addresses.iter() {
            let address = &known.address;
            ensure!(*place < self.head.next_place, "{place:?} was never given");
            ensure!(
                self.places.find(address) == Some(*place),
                "{address} is found elsewhere"
            );
            let slots = slots.get(place).copied().unwrap_or_default();
            let (uses, edges) = (slots.uses, slots.edges);
            let known = self.places.slots(*place);
            ensure!(
                (uses, edges) == (known.uses, known.edges),
                "{address} has {uses} uses, {edges} of them edges"
            );
            ensure!(
                uses > 0 || self.places.context(*place).is_some(),
                "{address} is kept for nothing"
            );
        }
        for (_, context) in self.places.contexts.iter() {
            ensure!(
                (context.accepted >= context.job || self.keeps_letters())
                    && context.accepted <= self.head.accepted,
                "{} published what was accepted as {}",
                context.job,
                context.accepted
            );
        }
        Ok(())
    }

    fn check_edges(&self) -> Result<(), String> {
        let mut open = 0u64;
        for (key, edge) in self.edges.rows.iter() {
            let id = key.dependent;
            ensure!(
                self.jobs.get(id).is_some()
                    || self.edges.dropped.contains(&id)
                    || (edge.line.is_none() && self.keeps_edges_of(id)),
                "{id} has edges and is not there"
            );
            let Some(line) = edge.line else { continue };
            open += 1;
            ensure!(
                self.edges.waiting_for(line).any(|other| other == *key),
                "{key:?} waits and is in no index"
            );
            ensure!(
                self.edges.ended.contains(&line) != self.answers_for(edge.place, line).is_some(),
                "{key:?} waits for {line}, for which not exactly one answers"
            );
        }
        ensure!(
            open == self.edges.open_count(),
            "{open} edges are open, the index has {}",
            self.edges.open_count()
        );
        for (id, ()) in self.edges.dropped.iter() {
            ensure!(
                self.jobs.get(*id).is_none(),
                "{id} loses its edges and lives"
            );
        }
        Ok(())
    }

    /// Every unfinished job can come to run: waits lead to jobs that do not wait (I7).
    fn check_no_cycle(&self) -> Result<(), String> {
        let mut waits: BTreeMap<JobId, Vec<JobId>> = BTreeMap::new();
        let mut open: BTreeMap<JobId, u64> = BTreeMap::new();
        for (id, job) in self.jobs.rows.iter() {
            let behind = self.places.slots(job.place).current;
            let behind = behind.filter(|_| job.phase() == Phase::Parked);
            let awaited = self.awaited_by(*id);
            let awaited = awaited.into_iter().chain(behind);
            for target in awaited {
                *open.entry(*id).or_default() += 1;
                waits.entry(target).or_default().push(*id);
            }
        }
        let mut free: Vec<JobId> = self
            .jobs
            .rows
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| !open.contains_key(id))
            .collect();
        while let Some(id) = free.pop() {
            for dependent in waits.remove(&id).unwrap_or_default() {
                let count = open.get_mut(&dependent).ok_or("an edge without count")?;
                *count -= 1;
                if *count == 0 {
                    open.remove(&dependent);
                    free.push(dependent);
                }
            }
        }
        ensure!(open.is_empty(), "jobs wait for themselves: {open:?}");
        Ok(())
    }

    fn check_finished(&self) -> Result<(), String> {
        for (id, job) in self.finished.rows.iter() {
            ensure!(job.state.is_terminal(), "{id} ended as {:?}", job.state);
            ensure!(*id <= self.head.accepted, "{id} was never given");
            ensure!(
                job.number <= self.head.finished
                    && self.finished.numbers().get(&job.number) == Some(id),
                "{id} has the finish number {}",
                job.number
            );
            // So the ways along newer inputs end, and waits can be summed up.
            if let JobState::Superseded { by } = job.state {
                let newer = self.finished.get(by);
                ensure!(
                    newer.is_none_or(|newer| newer.number > job.number),
                    "{id} gave way to {by}, which had ended before"
                );
            }
        }
        ensure!(
            self.finished.numbers().len() as u64 == self.finished.rows.len(),
            "there are {} finish numbers",
            self.finished.numbers().len()
        );
        Ok(())
    }

    /// Somebody wants every unfinished job (decision 17).
    fn check_wanted(&self) -> Result<(), String> {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::UnwantedGoesOn) {
            return Ok(());
        }
        for (id, job) in self.jobs.rows.iter() {
            ensure!(
                self.may_be_wanted(job),
                "nobody wants {id}, and it is not over"
            );
        }
        Ok(())
    }

    /// Waits stand where a session was told, and all that lead to a job are
    /// among those who wait for it.
    fn check_waits(&self) -> Result<(), String> {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::LeftTwice) {
            return Ok(());
        }
        // Whoever takes another's place ends later: from the last end on, every
        // way is known when it is asked for.
        let mut answerers: BTreeMap<JobId, JobId> = BTreeMap::new();
        for id in self.finished.numbers().values().rev() {
            let job = self.finished.get(*id).ok_or("a finish number of nothing")?;
            if let JobState::Superseded { by } = job.state {
                let is_open = self.jobs.get(by).is_some();
                let answerer = is_open.then_some(by).or(answerers.get(&by).copied());
                answerers.extend(answerer.map(|answerer| (*id, answerer)));
            }
        }
        let mut waits: BTreeMap<JobId, u64> = BTreeMap::new();
        for ((id, session), count) in self.waits.rows.iter() {
            ensure!(
                self.keeps_waits(),
                "{session} waits for {id} before its time"
            );
            ensure!(*count > 0, "{session} waits for {id} not at all");
            let finished = self.finished.get(*id).map(|job| &job.state);
            let is_superseded = matches!(finished, Some(JobState::Superseded { .. }));
            ensure!(
                self.jobs.get(*id).is_some() || is_superseded || self.edges.dropped.contains(id),
                "{session} waits for {id}, which is over"
            );
            let is_open = self.jobs.get(*id).is_some();
            let answerer = is_open.then_some(*id).or(answerers.get(id).copied());
            if let Some(answerer) = answerer {
                *waits.entry(answerer).or_default() += u64::from(*count);
            }
        }
        for (id, count) in waits {
            let waiters = self.jobs.get(id).map_or(0, |job| u64::from(job.waiters));
            ensure!(
                count <= waiters,
                "{count} waits lead to {id}, which has {waiters}"
            );
        }
        Ok(())
    }

    fn check_access(&self) -> Result<(), String> {
        ensure!(self.access.is_sound(), "the roles are not as indexed");
        ensure!(
            self.owns_what_is(),
            "a worker or session that is not there is somebody's, or one before its time"
        );
        Ok(())
    }

    /// A dead letter is a finished job with all that is needed to do it again.
    fn check_limits(&self) -> Result<(), String> {
        let (accounts, breakers) = (&self.accounts, &self.breakers);
        let kept = !accounts.limits.is_empty() || !breakers.rows.is_empty();
        ensure!(
            holds_limits(self.level) || !kept,
            "something is limited before its time"
        );
        ensure!(accounts.is_sound(), "the limits are not as indexed");
        ensure!(
            breakers.is_sound(self.head.now),
            "the breakers are not as indexed"
        );
        for (engine, opened, out) in breakers.probes() {
            let running = self.jobs.leases.iter().filter(|(_, token, job)| {
                token.index > opened && self.engine_of(*job) == Some(engine)
            });
            let running = running.count() as u64;
            ensure!(
                out == Some(running),
                "{running} probes of {engine} run, and {out:?} are counted"
            );
        }
        ensure!(
            self.find_hopeless() == self.hopeless,
            "the dead letters that answer requests are not as indexed"
        );
        let used = self.count_used();
        ensure!(
            used == accounts.used,
            "the accounts use {used:?}, and {:?} is counted",
            accounts.used
        );
        Ok(())
    }

    fn check_letters(&self) -> Result<(), String> {
        let (mut edges, mut causes) = (0u64, 0);
        for (id, letter) in self.letters.rows.iter() {
            ensure!(self.keeps_letters(), "{id} is a letter before its time");
            let finished = self.finished.get(*id).map(|finished| &finished.state);
            let state = finished.ok_or_else(|| format!("the letter {id} is no finished job"))?;
            ensure!(state.is_dead_letter(), "the letter {id} ended as {state:?}");
            ensure!(
                letter.accepted <= self.head.accepted,
                "{id} was accepted last as {}",
                letter.accepted
            );
            edges += u64::from(letter.edges);
            let count = match letter.redriven {
                None => self.edges.of(*id).count() as u64,
                Some(_) => 0,
            };
            ensure!(
                u64::from(letter.edges) == count,
                "the letter {id} counts {} edges and has {count}",
                letter.edges
            );
            if let Some(cause) = cause(state).filter(|_| letter.redriven.is_none()) {
                causes += 1;
                ensure!(
                    self.letters.is_noted(cause, *id),
                    "{id} failed for {cause}, and no index says so"
                );
            }
        }
        ensure!(
            edges == self.letters.edges_count() && causes == self.letters.causes_count(),
            "letters have {edges} edges and {causes} causes"
        );
        for ((id, number), _) in self.letters.attempts.iter() {
            let attempts = match self.jobs.get(*id) {
                Some(job) => Some(job.attempts),
                None => self
                    .letters
                    .get(*id)
                    .and_then(|_| Some(self.finished.get(*id)?.attempts)),
            };
            ensure!(
                self.keeps_letters() && attempts.is_some_and(|count| (1..=count).contains(number)),
                "attempt {number} at {id} is kept, which had {attempts:?}"
            );
        }
        ensure!(
            self.pauses.is_sound() && (self.keeps_letters() || self.pauses.rows.is_empty()),
            "what is paused is not what the rows say"
        );
        Ok(())
    }

    fn check_edits(&self) -> Result<(), String> {
        let (edits, history) = (&self.edits, &self.history);
        ensure!(
            holds_edits(self.level)
                || (edits.rows.is_empty() && edits.parts.is_empty() && history.rows.is_empty()),
            "edits are kept below their level"
        );
        ensure!(
            edits.is_sound() && history.is_sound(self.head.applied),
            "what people say is not what the rows say"
        );
        Ok(())
    }

    fn check_sessions(&self) -> Result<(), String> {
        let mut replies: BTreeMap<_, u64> = BTreeMap::new();
        for ((session, sequence), _) in self.sessions.replies.iter() {
            *replies.entry(*session).or_default() += 1;
            let floor = self.sessions.sessions.get(session).map(|known| known.floor);
            ensure!(
                floor.is_some_and(|floor| floor <= *sequence),
                "the reply to {session} {sequence} is kept for nobody"
            );
        }
        for (id, session) in self.sessions.sessions.iter() {
            let count = replies.get(id).copied().unwrap_or(0);
            ensure!(
                count == session.replies && count <= SESSION_REPLIES_MAX,
                "{id} has {count} replies and counts {}",
                session.replies
            );
            ensure!(session.used <= self.head.now, "{id} was used in the future");
        }
        Ok(())
    }

    fn check_hashes(&self) -> Result<(), String> {
        let right = is_right(&self.jobs.rows)
            && is_right(&self.finished.rows)
            && is_right(&self.places.addresses)
            && is_right(&self.places.contexts)
            && is_right(&self.edges.rows)
            && is_right(&self.edges.ended)
            && is_right(&self.edges.dropped)
            && is_right(&self.sessions.sessions)
            && is_right(&self.sessions.replies)
            && is_right(&self.workers)
            && is_right(&self.waits.rows)
            && is_right(&self.letters.rows)
            && is_right(&self.letters.attempts)
            && is_right(&self.pauses.rows)
            && self.are_cache_hashes_right()
            && is_right(&self.access.roles)
            && is_right(&self.access.workers)
            && is_right(&self.access.sessions)
            && is_right(&self.edits.rows)
            && is_right(&self.edits.parts)
            && is_right(&self.history.rows)
            && is_right(&self.batches.rows)
            && is_right(&self.fitting.needs)
            && is_right(&self.fitting.offers);
        ensure!(right, "a table's hash is not that of its rows");
        Ok(())
    }
}

/// Is a table's hash that of its rows?
pub(super) fn is_right<K: Ord + Copy + serde::Serialize, V: Clone + serde::Serialize>(
    table: &Table<K, V>,
) -> bool {
    table.hash_anew() == table.hash()
}
