//! Which queue is served next: stride scheduling over (class, tenant, shape)
//! (QUEUE F1 to F4, decision 16). Knows no worker, only which shapes can be
//! taken now; and nothing that a new leader could not do without.
//!
//! Each queue that has jobs to give holds a seat with a `pass`. The least pass is
//! served, which sets the clock to it, and the queue's next pass is one stride
//! later: a stride is in inverse proportion to the queue's weight. A queue that
//! gets something to give takes a seat one stride after the clock. So two turns of
//! one queue are at least a stride apart, whether it stayed or left between them:
//! nothing needs to be known of a queue without a seat.
//!
//! What a job costs here is logarithmic in the number of queues, and does not
//! depend on how many jobs wait in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{JobId, WorkerId};
use crate::queue::{Opening, QueueKey, QueueManager, ReadyJobs};

use super::room::Room;

/// What a queue of weight 1 pays for a turn. So large that no weight's stride is
/// rounded by anything that shows, so small that 2^64 turns fit.
const STRIDE: u128 = 1 << 64;
/// Jobs that the free workers of their shape must not get, and that are passed
/// over in one queue in one turn. They are rare: each has lost two workers.
const UNFIT_SKIPPED_MAX: u64 = 64;
/// Jobs of projects that use as much as they may, and that are passed over in one
/// queue in one turn: those behind them wait, too, if there are more.
const LIMITED_SKIPPED_MAX: u64 = 4_096;
/// So many seats more than twice the queues that have jobs may be there. What empties
/// a queue without a turn (a newer input, a raised class, a late result) is not seen
/// here, and the seats of a shape that nobody offers are not looked at.
const STALE_SEATS_MAX: usize = 1_024;

/// A point of virtual time.
type Pass = u128;

/// Jobs in a claim that is proposed and not applied, and for whom.
pub(super) type UnderWay = BTreeMap<JobId, WorkerId>;

/// The seats of one shape.
#[derive(Clone, Debug, Default)]
struct Shape {
    /// No seat counts as less: while nobody could take the shape, its seats kept
    /// their passes and the clock went on. It does not go back for them.
    floor: Pass,
    seats: BTreeSet<(Pass, Arc<QueueKey>)>,
}

/// The seats of one leadership.
#[derive(Clone, Debug, Default)]
pub(super) struct Stride {
    /// The pass of the queue that was served last: it never goes back.
    clock: Pass,
    /// Queues that opened later are not looked at yet.
    seen: Opening,
    /// By engine. None is empty.
    shapes: BTreeMap<Box<str>, Shape>,
    seated: BTreeSet<Arc<QueueKey>>,
    /// All that they have to give is under way: they have no seat, and get one
    /// without being opened anew.
    spent: BTreeSet<Arc<QueueKey>>,
    /// Their tenants are paused: their seats, by their passes, stand aside until
    /// something is resumed.
    paused: BTreeMap<Arc<QueueKey>, Pass>,
    /// What was resumed up to then is looked at.
    resumed: u64,
    /// Weights as of then are looked at.
    weighed: u64,
    #[cfg(feature = "planted-bugs")]
    planted: Option<crate::planted::Bug>,
    /// Planted: the passes of queues without a seat.
    #[cfg(feature = "planted-bugs")]
    left: BTreeMap<Arc<QueueKey>, Pass>,
}

impl Stride {
    /// Makes it break a rule, for the simulator to notice.
    #[cfg(feature = "planted-bugs")]
    pub(super) fn plant(&mut self, bug: crate::planted::Bug) {
        self.planted = Some(bug);
    }

    #[cfg(feature = "planted-bugs")]
    fn is_planted(&self, bug: crate::planted::Bug) -> bool {
        self.planted == Some(bug)
    }

    /// Planted: what is paused is given out.
    fn ignores_pauses(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        return self.is_planted(crate::planted::Bug::PauseIgnored);
        #[cfg(not(feature = "planted-bugs"))]
        false
    }

    /// A new leadership begins: all passes are equal again.
    pub(super) fn forget(&mut self) {
        *self = Stride {
            #[cfg(feature = "planted-bugs")]
            planted: self.planted,
            ..Stride::default()
        };
    }

    /// Begins a round of claims for workers that offer these shapes.
    pub(super) fn round<'a, 'q>(
        &'a mut self,
        queue: &'q QueueManager,
        offered: &BTreeSet<&str>,
        under_way: &UnderWay,
    ) -> Round<'a, 'q> {
        self.seat_newcomers(queue, under_way);
        let clock = self.clock;
        for engine in offered {
            if let Some(shape) = self.shapes.get_mut(*engine) {
                // Nothing changes by this for a shape that could be taken all
                // along: the least pass was served.
                shape.floor = clock;
                // A queue that comes back with too low a pass would be stopped
                // here, too.
                #[cfg(feature = "planted-bugs")]
                if matches!(
                    self.planted,
                    Some(
                        crate::planted::Bug::ReturningShapeFloods
                            | crate::planted::Bug::ReturningQueueFloods
                    )
                ) {
                    shape.floor = 0;
                }
            }
        }
        let mut round = Round {
            stride: self,
            queue,
            heads: BTreeSet::new(),
            cursors: BTreeMap::new(),
            aside: Vec::new(),
        };
        for engine in offered {
            round.call(engine);
        }
        round
    }

    fn seat_newcomers(&mut self, queue: &QueueManager, under_way: &UnderWay) {
        for key in std::mem::take(&mut self.spent) {
            let mut jobs = queue.ready_in(&key).peekable();
            if jobs.peek().is_none() {
                continue;
            }
            if jobs.any(|job| !under_way.contains_key(&job)) {
                self.take_seat(queue, key);
            } else {
                self.spent.insert(key);
            }
        }
        if self.resumed != queue.resumed_count() {
            self.resumed = queue.resumed_count();
            for (key, pass) in std::mem::take(&mut self.paused) {
                if queue.is_tenant_paused(&key.tenant) {
                    self.paused.insert(key, pass);
                } else {
                    self.seat(pass, key);
                }
            }
        }
        if self.weighed != queue.weighed_count() {
            self.weighed = queue.weighed_count();
            self.weigh(queue);
        }
        let mut opened = Vec::new();
        for (opening, key) in queue.opened_after(self.seen) {
            self.seen = opening;
            if !self.seated.contains(key) && !self.spent.contains(key) {
                opened.push(Arc::clone(key));
            }
        }
        for key in opened {
            self.take_seat(queue, key);
        }
        if self.seated.len() > 2 * queue.queues_count() + STALE_SEATS_MAX {
            self.sweep(queue);
        }
    }

    /// Tenants weigh more or less than before: nobody waits longer than its stride is
    /// now. Who has waited for less keeps that.
    fn weigh(&mut self, queue: &QueueManager) {
        let clock = self.clock;
        for shape in self.shapes.values_mut() {
            let seats = std::mem::take(&mut shape.seats);
            let seats = seats.into_iter().map(|(pass, key)| {
                let most = clock + stride(queue, &key);
                (pass.min(most), key)
            });
            shape.seats = seats.collect();
        }
        for (key, pass) in &mut self.paused {
            *pass = (*pass).min(clock + stride(queue, key));
        }
    }

    /// Takes the seats of all empty queues away. So many came since the last time
    /// that each pays for a constant share of this.
    fn sweep(&mut self, queue: &QueueManager) {
        let has_jobs = |key: &Arc<QueueKey>| queue.ready_in(key).next().is_some();
        self.seated.retain(has_jobs);
        self.paused.retain(|key, _| has_jobs(key));
        self.shapes.retain(|_, shape| {
            shape.seats.retain(|(_, key)| has_jobs(key));
            !shape.seats.is_empty()
        });
    }

    /// A queue has something to give again: its turn comes one stride from now.
    fn take_seat(&mut self, queue: &QueueManager, key: Arc<QueueKey>) {
        let pass = self.clock + stride(queue, &key);
        #[cfg(feature = "planted-bugs")]
        let pass = match self.left.remove(&key) {
            Some(old) if self.is_planted(crate::planted::Bug::ReturningQueueFloods) => old,
            _ => pass,
        };
        let is_new = self.seated.insert(Arc::clone(&key));
        assert!(is_new, "{key:?} takes a second seat");
        self.seat(pass, key);
    }

    fn seat(&mut self, pass: Pass, key: Arc<QueueKey>) {
        let seats = match self.shapes.get_mut(&key.engine) {
            Some(shape) => &mut shape.seats,
            None => &mut self.shapes.entry(key.engine.clone()).or_default().seats,
        };
        seats.insert((pass, key));
    }

    fn unseat(&mut self, pass: Pass, key: &Arc<QueueKey>) {
        let shape = self.shapes.get_mut(&key.engine);
        let shape = shape.expect("a seat belongs to a shape");
        let had = shape.seats.remove(&(pass, Arc::clone(key)));
        assert!(had, "{key:?} has no seat at {pass}");
        if shape.seats.is_empty() {
            self.shapes.remove(&key.engine);
        }
    }

    /// It has nothing to give that is not under way.
    fn leave(&mut self, key: Arc<QueueKey>, _pass: Pass) {
        #[cfg(feature = "planted-bugs")]
        self.left.insert(Arc::clone(&key), _pass);
        self.seated.remove(&key);
        self.spent.insert(key);
    }
}

/// What a queue pays for a turn.
fn stride(queue: &QueueManager, key: &QueueKey) -> Pass {
    STRIDE / Pass::from(queue.weight(key))
}

/// The least seat of a shape: what it counts as in this round, what it is, whose.
type Head = (Pass, Pass, Arc<QueueKey>);

/// How far a round has come in a queue.
#[derive(Debug)]
struct Cursor<'q> {
    jobs: ReadyJobs<'q>,
    /// The next job to give, once it is looked up.
    next: Option<JobId>,
    unfit_count: u64,
    limited_count: u64,
}

impl Cursor<'_> {
    /// The first job that is not under way, may go out, and was not passed over.
    fn peek(&mut self, room: &Room<'_>, under_way: &UnderWay) -> Option<JobId> {
        let limited = self.next.take_if(|job| !room.has_project_of(*job));
        self.limited_count += u64::from(limited.is_some());
        while self.next.is_none() && self.limited_count < LIMITED_SKIPPED_MAX {
            let job = self.jobs.find(|job| !under_way.contains_key(job))?;
            match room.has_project_of(job) {
                true => self.next = Some(job),
                false => self.limited_count += 1,
            }
        }
        self.next
    }

    /// Were jobs passed over that may go out later?
    fn has_skipped(&self) -> bool {
        self.unfit_count > 0 || self.limited_count > 0
    }
}

/// One round of claims: the state does not change, and fewer and fewer shapes
/// can be taken. What is under way grows by what is served.
#[derive(Debug)]
pub(super) struct Round<'a, 'q> {
    stride: &'a mut Stride,
    queue: &'q QueueManager,
    /// Of each shape that can be taken.
    heads: BTreeSet<Head>,
    cursors: BTreeMap<Arc<QueueKey>, Cursor<'q>>,
    /// Queues of which no job may go out, or the free workers must not get them: they
    /// keep their seats.
    aside: Vec<(Pass, Arc<QueueKey>)>,
}

impl Round<'_, '_> {
    /// The next job to give, if `offers` says that its shape can still be taken;
    /// none if there is none. It is to be [`Round::served`] or [`Round::skipped`].
    pub(super) fn next(
        &mut self,
        offers: impl Fn(&str) -> bool,
        room: &Room<'_>,
        under_way: &UnderWay,
    ) -> Option<JobId> {
        loop {
            let (_, pass, key) = self.heads.first()?;
            if !offers(&key.engine) {
                // One check for all its queues, and they keep their passes (F4).
                self.heads.pop_first();
                continue;
            }
            let (pass, key) = (*pass, Arc::clone(key));
            let queue = self.queue;
            if queue.is_tenant_paused(&key.tenant) && !self.stride.ignores_pauses() {
                self.heads.pop_first();
                self.stride.unseat(pass, &key);
                self.call(&key.engine);
                self.stride.paused.insert(key, pass);
                continue;
            }
            if !room.has_tenant(&key.tenant) {
                self.heads.pop_first();
                self.stride.unseat(pass, &key);
                self.call(&key.engine);
                self.aside.push((pass, key));
                continue;
            }
            let cursor = self.cursors.entry(key).or_insert_with_key(|key| Cursor {
                jobs: queue.ready_in(key),
                next: None,
                unfit_count: 0,
                limited_count: 0,
            });
            let is_open = cursor.unfit_count < UNFIT_SKIPPED_MAX;
            if is_open && let Some(job) = cursor.peek(room, under_way) {
                #[cfg(feature = "planted-bugs")]
                let job = self.go_last(job, under_way);
                return Some(job);
            }
            let has_skipped = cursor.has_skipped();
            let (_, _, key) = self.heads.pop_first().expect("it was just looked at");
            self.stride.unseat(pass, &key);
            self.call(&key.engine);
            match has_skipped {
                true => self.aside.push((pass, key)),
                false => self.stride.leave(key, pass),
            }
        }
    }

    /// The job was given to a worker, and is under way.
    pub(super) fn served(&mut self, room: &Room<'_>, under_way: &UnderWay) {
        let (turn, pass, key) = self.heads.pop_first().expect("a job of it was given");
        assert!(
            turn >= self.stride.clock || cfg!(feature = "planted-bugs"),
            "{key:?} is served at {turn}, after {}",
            self.stride.clock
        );
        self.stride.clock = turn;
        self.stride.unseat(pass, &key);
        let next = turn + stride(self.queue, &key);
        #[cfg(feature = "planted-bugs")]
        let next = match key.class as u8 {
            0 if self
                .stride
                .is_planted(crate::planted::Bug::UrgentPaysNothing) =>
            {
                turn
            }
            _ => next,
        };
        let cursor = self.cursors.get_mut(&key).expect("a job of it was given");
        cursor.next = None;
        let has_more = cursor.peek(room, under_way).is_some() || cursor.has_skipped();
        match has_more {
            true => self.stride.seat(next, Arc::clone(&key)),
            false => self.stride.leave(Arc::clone(&key), next),
        }
        self.call(&key.engine);
    }

    /// No free worker may get the job, though some offer its shape: it stays
    /// where it is, and the next one of its queue is looked at.
    pub(super) fn skipped(&mut self) {
        let (_, _, key) = self.heads.first().expect("a job of it was given");
        let cursor = self.cursors.get_mut(key).expect("a job of it was given");
        cursor.next = None;
        cursor.unfit_count += 1;
    }

    /// Ends the round.
    pub(super) fn end(self) {
        for (pass, key) in self.aside {
            self.stride.seat(pass, key);
        }
    }

    /// The least seat of a shape takes part.
    fn call(&mut self, engine: &str) {
        let Some(shape) = self.stride.shapes.get(engine) else {
            return;
        };
        let first = shape.seats.first().expect("no shape is without seats");
        let (pass, key) = first;
        let head = (*pass.max(&shape.floor), *pass, Arc::clone(key));
        self.heads.insert(head);
    }

    /// Planted: a job that was tried before lets all others of its queue go first.
    #[cfg(feature = "planted-bugs")]
    fn go_last(&mut self, job: JobId, under_way: &UnderWay) -> JobId {
        if !self.stride.is_planted(crate::planted::Bug::RetriedGoesLast) {
            return job;
        }
        let tried = |job| self.queue.job(job).is_some_and(|job| job.attempts > 0);
        let (_, _, key) = self.heads.first().expect("a job of it was given");
        let mut others = self.queue.ready_in(key);
        let fresh = others.find(|job| !under_way.contains_key(job) && !tried(*job));
        match fresh {
            Some(fresh) if tried(job) => {
                let cursor = self.cursors.get_mut(key).expect("a job of it was given");
                // The one that was passed over is looked at again.
                cursor.jobs = self.queue.ready_in(key);
                fresh
            }
            _ => job,
        }
    }
}

#[cfg(test)]
mod tests;
