//! GenerationCoordinator: the leader's matchmaker. Brings ready jobs and
//! waiting workers together by proposing `Claim`, and takes jobs from silent
//! workers by proposing `Expire`.
//!
//! Everything it knows is volatile: who was heard when, who waits for work,
//! what is proposed and not applied. A new leader starts with nothing and owes
//! every lease a full term (QUEUE L3). It reads the queue and never changes
//! it: its proposals go through the log, and the queue checks them again.

mod attendance;
mod claims;
mod linger;
mod placement;
mod room;
mod stride;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Command, ExpiredLease};
use crate::config::Knobs;
use crate::ids::{Term, Ticket, Token, WorkerId, WorkerIncarnation};
use crate::limits::{EXPIRIES_PER_ENTRY_MAX, WORKER_SLOTS_MAX};
use crate::pulse::Rhythm;
use crate::queue::QueueManager;
use crate::request::{Poll, Work};
use crate::status::WorkerHealth;
use crate::time::{Span, Time};

use self::attendance::Attendance;
use self::linger::Lingering;
use self::stride::{Stride, UnderWay};

/// A worker as this leader knows it.
#[derive(Clone, Debug)]
struct Worker {
    /// When its leases end, if it is not heard before.
    deadline: Time,
    attendance: Attendance,
    /// The poll that waits for work.
    waiting: Option<Waiting>,
    /// The number of its last claim.
    last_claim: u64,
    /// Claims for it that are proposed and not applied.
    under_way: u64,
}

/// A poll that is held.
#[derive(Clone, Debug)]
struct Waiting {
    ticket: Ticket,
    incarnation: WorkerIncarnation,
    slots_free: u64,
    /// How many jobs it runs together.
    together: u64,
    held: Vec<Token>,
    /// When it is answered even if there is no work.
    until: Time,
}

/// The leader's matchmaker.
#[derive(Clone, Debug)]
pub struct GenerationCoordinator {
    lease: Span,
    poll: Span,
    reattach: Span,
    /// How often a worker should ask.
    rhythm: Rhythm,
    term: Term,
    workers: BTreeMap<WorkerId, Worker>,
    deadlines: BTreeSet<(Time, WorkerId)>,
    holds: BTreeSet<(Time, WorkerId)>,
    /// Jobs in a claim that is proposed and not applied, and for whom.
    under_way: UnderWay,
    /// Workers whose leases may have changed since their poll was looked at.
    touched: BTreeSet<WorkerId>,
    /// Workers that held leases at the takeover and have not come back.
    missing: BTreeSet<WorkerId>,
    /// Until then, nothing is given out while workers are missing.
    reattach_until: Time,
    claims: u64,
    /// Whose turn it is.
    stride: Stride,
    /// Who waits for more jobs to run together.
    lingering: Lingering,
    #[cfg(feature = "planted-bugs")]
    planted: Option<crate::planted::Bug>,
}

impl GenerationCoordinator {
    /// A matchmaker that knows nobody.
    #[must_use]
    pub fn new(knobs: &Knobs) -> GenerationCoordinator {
        GenerationCoordinator {
            lease: Span::from_ms(knobs.lease_ms),
            poll: Span::from_ms(knobs.worker_poll_ms),
            reattach: Span::from_ms(knobs.reattach_ms),
            rhythm: Rhythm::new(
                Span::from_ms(knobs.worker_poll_ms),
                Span::from_ms(knobs.lease_ms),
            ),
            term: Term(0),
            workers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            holds: BTreeSet::new(),
            under_way: BTreeMap::new(),
            touched: BTreeSet::new(),
            missing: BTreeSet::new(),
            reattach_until: Time(0),
            claims: 0,
            stride: Stride::default(),
            lingering: Lingering::new(Span::from_ms(knobs.batch_linger_ms)),
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    /// Makes it break a rule, for the simulator to notice.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: crate::planted::Bug) {
        self.planted = Some(bug);
        self.stride.plant(bug);
        self.lingering.plant(bug);
    }

    /// This node leads now, and its take-over is applied. Every lease gets a
    /// full term and the reattach window: the silence was the leader's.
    ///
    /// # Panics
    /// If polls of an earlier leadership were not handed back by
    /// [`GenerationCoordinator::on_step_down`].
    pub fn on_takeover(&mut self, now: Time, term: Term, queue: &QueueManager) {
        assert!(
            self.holds.is_empty(),
            "polls are held from an earlier leadership"
        );
        self.forget();
        self.term = term;
        self.reattach_until = now + self.reattach;
        let deadline = self.reattach_until + self.lease;
        #[cfg(feature = "planted-bugs")]
        let deadline = match self.planted {
            Some(crate::planted::Bug::ExpireAtTakeover) => now,
            _ => deadline,
        };
        for (worker, _, _) in queue.leases() {
            if self.missing.insert(worker) {
                self.note(worker, now, deadline);
            }
        }
    }

    /// This node no longer leads: these polls are to be answered with `NotLeader`.
    #[must_use]
    pub fn on_step_down(&mut self) -> Vec<Ticket> {
        let waiting = self.workers.values().filter_map(|worker| {
            let waiting = worker.waiting.as_ref()?;
            Some(waiting.ticket)
        });
        let tickets = waiting.collect();
        self.forget();
        tickets
    }

    /// A worker asks for work, and thereby renews what it holds. Answers what
    /// can be answered: this poll, or an older one of the same worker.
    #[must_use]
    pub fn on_poll(
        &mut self,
        now: Time,
        ticket: Ticket,
        poll: Poll,
        queue: &QueueManager,
    ) -> Vec<(Ticket, Work)> {
        let id = poll.worker;
        let mut answers = Vec::new();
        let known = queue.worker(id).map(|worker| worker.incarnation);
        if known != Some(poll.incarnation) {
            // A life that is not, or no longer, the one in the log renews nothing.
            let work = Work {
                revoked: poll.held,
                unknown: true,
                ..self.no_work()
            };
            return vec![(ticket, work)];
        }
        let older = self.take_waiting(id);
        let was_held = older.is_some();
        answers.extend(older.map(|older| (older.ticket, self.nothing_for(id, queue))));
        self.note(id, now, now + self.lease);
        let worker = self.workers.get_mut(&id).expect("it was just noted");
        worker.attendance.on_poll(now, was_held, &self.rhythm);
        self.missing.remove(&id);
        let waiting = Waiting {
            ticket,
            incarnation: poll.incarnation,
            slots_free: u64::from(poll.slots_free),
            together: u64::from(poll.together_max),
            held: poll.held,
            until: now + self.poll,
        };
        match self.news(id, &waiting, queue) {
            Some(work) => answers.push((ticket, work)),
            None => {
                self.holds.insert((waiting.until, id));
                let worker = self.workers.get_mut(&id);
                worker.expect("it was noted above").waiting = Some(waiting);
            }
        }
        answers
    }

    /// What a worker is told that must register again before it is given anything. What it
    /// works on stays its own.
    #[must_use]
    pub fn unknown_worker(&self) -> Work {
        Work {
            unknown: true,
            ..self.no_work()
        }
    }

    /// A command was applied, or will never be: what it kept under way is free
    /// again. To be called for every entry applied while leading, and for
    /// proposals that were refused.
    pub fn on_settled(&mut self, command: &Command) {
        match command {
            Command::Claim { .. } | Command::ClaimFrom { .. } | Command::ClaimTogether { .. } => {
                for claim in command.claims() {
                    self.touched.insert(claim.worker);
                    if self.under_way.remove(&claim.job) == Some(claim.worker)
                        && let Some(worker) = self.workers.get_mut(&claim.worker)
                    {
                        worker.under_way -= 1;
                    }
                }
            }
            Command::Register { worker } => {
                self.touched.insert(worker.worker);
                self.missing.remove(&worker.worker);
            }
            Command::TakeOver { .. }
            | Command::OpenSession
            | Command::Submit { .. }
            | Command::Complete { .. }
            | Command::Fail { .. }
            | Command::FailTogether { .. }
            | Command::Release { .. }
            | Command::Expire { .. }
            | Command::Tick
            | Command::RaiseLevel { .. }
            | Command::Leave { .. }
            | Command::Cancel { .. }
            | Command::Redrive { .. }
            | Command::Purge { .. }
            | Command::Reprioritise { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::PutLimits { .. }
            | Command::Ask { .. }
            | Command::Invalidate { .. }
            | Command::PutBudget { .. }
            | Command::Evict { .. }
            | Command::PutRoles { .. }
            | Command::PutNeeds { .. }
            | Command::PutOffer { .. }
            | Command::NoteDenials { .. }
            | Command::Annotate { .. }
            | Command::Resolve { .. }
            | Command::KeepSources { .. }
            | Command::PutSourceBudget { .. } => {}
            Command::Expel { worker } => {
                self.touched.insert(*worker);
                self.missing.remove(worker);
            }
        }
    }

    /// Jobs were cancelled that these workers run: they are to hear of it at once.
    pub fn on_stopped(&mut self, workers: &[WorkerId]) {
        self.touched.extend(workers);
    }

    /// Entries were applied, or time has passed: answers the polls for which
    /// there is work now, and those that were held long enough.
    #[must_use]
    pub fn on_applied(&mut self, now: Time, queue: &QueueManager) -> Vec<(Ticket, Work)> {
        let mut answers = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let waiting = self
                .workers
                .get(&id)
                .and_then(|worker| worker.waiting.as_ref());
            let Some(waiting) = waiting else { continue };
            if let Some(work) = self.news(id, waiting, queue) {
                answers.push((waiting.ticket, work));
                self.take_waiting(id);
                self.await_word(id, now);
            }
        }
        while let Some((until, id)) = self.holds.first().copied() {
            if until > now {
                break;
            }
            let waiting = self.take_waiting(id).expect("a hold is for a waiting poll");
            answers.push((waiting.ticket, self.nothing_for(id, queue)));
            self.await_word(id, now);
        }
        answers
    }

    /// This node's own loop stood still for longer than a heartbeat: it did
    /// not hear its workers, so it may not blame them (QUEUE L8).
    pub fn on_stalled(&mut self, now: Time) {
        let deadline = now + self.lease;
        let late: Vec<WorkerId> = self
            .deadlines
            .range(..(deadline, WorkerId(0)))
            .map(|(_, id)| *id)
            .collect();
        for id in late {
            self.note(id, now, deadline);
        }
        for worker in self.workers.values_mut() {
            worker.attendance.on_its_turn(now);
        }
        // Whoever is still awaited could not be heard either.
        if !self.missing.is_empty() {
            self.reattach_until = self.reattach_until.max(now + self.reattach);
        }
        assert!(
            self.deadlines.first().is_none_or(|(at, _)| *at >= deadline),
            "after a standstill every lease has its full term: {:?} is before {deadline:?}",
            self.deadlines.first()
        );
    }

    /// How a registered worker seems, if this node leads.
    #[must_use]
    pub fn health(&self, id: WorkerId, now: Time) -> WorkerHealth {
        match self.workers.get(&id) {
            None => Attendance::UNKNOWN,
            Some(worker) => {
                let held = worker.waiting.is_some();
                worker.attendance.health(now, held, &self.rhythm)
            }
        }
    }

    /// What the leader should put into the log now.
    #[must_use]
    pub fn propose(&mut self, now: Time, queue: &QueueManager) -> Vec<Command> {
        let mut commands = Vec::new();
        commands.extend(self.propose_expire(now, queue));
        if !self.is_reattaching(now) {
            // Whoever is missing still has its lease, but is not waited for.
            self.missing.clear();
            self.propose_claims(now, queue, &mut commands);
        }
        commands
    }

    /// Does it wait for workers that held leases at the takeover?
    #[must_use]
    pub fn is_reattaching(&self, now: Time) -> bool {
        now < self.reattach_until && !self.missing.is_empty()
    }

    /// When it wants to be asked again at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let hold = self.holds.first().map(|(at, _)| *at);
        let lease = self.deadlines.first().map(|(at, _)| *at);
        let reattach = (!self.missing.is_empty()).then_some(self.reattach_until);
        let linger = self.lingering.deadline();
        let all = [hold, lease, reattach, linger];
        all.into_iter().flatten().min()
    }

    fn propose_expire(&mut self, now: Time, queue: &QueueManager) -> Option<Command> {
        let mut leases = Vec::new();
        while (leases.len() as u64) + WORKER_SLOTS_MAX <= EXPIRIES_PER_ENTRY_MAX {
            let Some((deadline, id)) = self.deadlines.first().copied() else {
                break;
            };
            if deadline > now {
                break;
            }
            if self.workers[&id].waiting.is_some() {
                // A poll is held for less than a lease: this loop was late, not the worker.
                self.note(id, now, now + self.lease);
                continue;
            }
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.attendance.on_lapsed();
            }
            self.missing.remove(&id);
            let held = queue.leases_of(id);
            let before = leases.len();
            leases.extend(held.map(|(token, job)| ExpiredLease { job, token }));
            if leases.len() == before && self.workers[&id].under_way == 0 {
                self.workers.remove(&id);
                self.deadlines.remove(&(deadline, id));
            } else {
                // Asked again if the proposal is lost; a second time does no harm.
                self.note(id, now, now + self.poll);
            }
        }
        (!leases.is_empty()).then_some(Command::Expire { leases })
    }

    /// How many workers that offer an engine wait for work.
    #[must_use]
    pub fn asking_for(&self, engine: &str, queue: &QueueManager) -> u64 {
        let asking = self.holds.iter().filter(|(_, id)| {
            let engines = queue.worker(*id).map(|worker| &worker.engines);
            let engines = engines.filter(|_| !queue.is_worker_paused(*id) && queue.may_work(*id));
            engines.is_some_and(|engines| engines.iter().any(|offered| offered == engine))
                && queue.is_fit(*id, engine)
        });
        asking.count() as u64
    }

    /// Is a worker alive that offers the engine, other than this one?
    fn is_another_alive(&self, but: WorkerId, engine: &str, queue: &QueueManager) -> bool {
        self.workers
            .keys()
            .filter(|id| **id != but)
            .filter(|id| queue.is_fit(**id, engine))
            .filter_map(|id| queue.worker(*id))
            .any(|worker| worker.engines.iter().any(|offered| offered == engine))
    }

    /// What the log says that a worker's poll did not; none if they agree.
    fn news(&self, id: WorkerId, waiting: &Waiting, queue: &QueueManager) -> Option<Work> {
        let known = queue.worker(id).map(|worker| worker.incarnation);
        if known != Some(waiting.incarnation) {
            return Some(Work {
                revoked: waiting.held.clone(),
                unknown: true,
                ..self.no_work()
            });
        }
        let held = BTreeSet::from_iter(waiting.held.iter().copied());
        let leases = BTreeMap::from_iter(queue.leases_of(id));
        let new = leases.iter().filter(|(token, _)| !held.contains(token));
        let assignments: Vec<_> = new.filter_map(|(_, job)| queue.assignment(*job)).collect();
        let revoked: Vec<_> = held
            .into_iter()
            .filter(|token| !leases.contains_key(token))
            .collect();
        if assignments.is_empty() && revoked.is_empty() {
            return None;
        }
        Some(Work {
            assignments,
            revoked,
            ..self.nothing_for(id, queue)
        })
    }

    /// Nothing new for a worker that is known.
    fn nothing_for(&self, id: WorkerId, queue: &QueueManager) -> Work {
        Work {
            drained: queue.is_worker_paused(id),
            ..self.no_work()
        }
    }

    fn no_work(&self) -> Work {
        Work {
            lease_ms: self.lease.as_ms(),
            term: self.term,
            ..Work::default()
        }
    }

    /// Sets a worker's deadline, and remembers the worker.
    fn note(&mut self, id: WorkerId, now: Time, deadline: Time) {
        let worker = self.workers.entry(id).or_insert(Worker {
            deadline,
            attendance: Attendance::new(now),
            waiting: None,
            last_claim: 0,
            under_way: 0,
        });
        self.deadlines.remove(&(worker.deadline, id));
        worker.deadline = deadline;
        self.deadlines.insert((deadline, id));
    }

    /// A worker's question is answered.
    fn await_word(&mut self, id: WorkerId, now: Time) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.attendance.on_its_turn(now);
        }
    }

    fn take_waiting(&mut self, id: WorkerId) -> Option<Waiting> {
        let waiting = self.workers.get_mut(&id)?.waiting.take()?;
        self.holds.remove(&(waiting.until, id));
        Some(waiting)
    }

    fn forget(&mut self) {
        self.workers.clear();
        self.deadlines.clear();
        self.holds.clear();
        self.under_way.clear();
        self.touched.clear();
        self.missing.clear();
        self.stride.forget();
        self.lingering.forget();
        self.reattach_until = Time(0);
    }
}
