//! Claims, and what becomes of them: the fencing rules. A token is the right
//! to speak for a job; the last one issued is the only one that counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bytes::Bytes;
use crate::command::{
    AfterFailure, Claim, ClaimRefusal, Command, ExpiredLease, Outcome, Rejection,
};
use crate::digest::Digest;
use crate::ids::{JobId, LogIndex, Token, WorkerId};
use crate::job::{FailureClass, JobState, Lease, WorkerSpec};
use crate::limits::{
    CLAIMS_PER_ENTRY_MAX, EXPIRIES_PER_ENTRY_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX,
    RESULT_BYTES_MAX, WORKER_ENGINES_MAX, WORKER_SLOTS_MAX, WORKERS_MAX,
};

use super::QueueManager;
use super::admission::check_length;
use super::batches::check_runs;
use super::contexts::Context;
use super::dependencies::Ended;
use super::jobs::Phase;
use super::retry::{Verdict, judge};
use super::waiters::Walk;

/// What is told of a job whose attempt brought no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// How its own attempt ended.
    Own,
    /// How all ended that was run together with it.
    Whole,
    /// The same once more: it was told of another job of the run.
    WholeBefore,
}

impl QueueManager {
    /// A worker lives. Its former life ends with all its leases.
    pub(super) fn register(&mut self, worker: &WorkerSpec) -> Result<(), Rejection> {
        let slots = u64::from(worker.slots);
        check_range("the worker's slots", slots, 1, WORKER_SLOTS_MAX)?;
        let engines = worker.engines.len() as u64;
        check_range("the worker's engines", engines, 1, WORKER_ENGINES_MAX)?;
        for engine in &worker.engines {
            check_length("an engine's name", engine, NAME_BYTES_MAX)?;
        }
        let id = worker.worker;
        match self.workers.get(&id) {
            None if self.workers.len() >= WORKERS_MAX => {
                return Err(Rejection::Full {
                    what: "workers".into(),
                    limit: WORKERS_MAX,
                });
            }
            None => {}
            Some(known) if known.incarnation > worker.incarnation => {
                return Err(Rejection::OldIncarnation { worker: id });
            }
            Some(known) if known.incarnation < worker.incarnation => {
                let held: Vec<JobId> = self.jobs.leases.of(id).map(|(_, job)| job).collect();
                for job in held {
                    self.lose(job, FailureClass::WorkerLost);
                }
                self.forget_offer(id);
            }
            Some(_) => {}
        }
        if self.workers.get(&id) != Some(worker) {
            self.workers.insert(id, worker.clone());
        }
        Ok(())
    }

    /// A worker is known no more, and its jobs go to others.
    pub(super) fn expel(&mut self, worker: WorkerId) -> Outcome {
        let known = self.workers.get(&worker).is_some();
        let held: Vec<JobId> = self.jobs.leases.of(worker).map(|(_, job)| job).collect();
        let jobs = u32::try_from(held.len()).expect("slots are limited");
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::ExpelledHoldsOn) {
            return Outcome::Expelled { known, jobs };
        }
        for job in held {
            self.lose(job, FailureClass::Drained);
        }
        if known {
            self.workers.remove(&worker);
            self.forget_worker(worker);
            self.forget_offer(worker);
        }
        Outcome::Expelled { known, jobs }
    }

    pub(super) fn claim(
        &mut self,
        index: LogIndex,
        command: &Command,
    ) -> Result<Vec<Result<Token, ClaimRefusal>>, Rejection> {
        check_range(
            "the claims of an entry",
            command.claims().count() as u64,
            1,
            CLAIMS_PER_ENTRY_MAX,
        )?;
        check_runs(command)?;
        let runs = match command {
            Command::ClaimTogether { runs, .. } => runs.as_slice(),
            _ => &[],
        };
        let mut given: BTreeMap<u32, Vec<JobId>> = BTreeMap::new();
        let mut results = Vec::new();
        for (position, claim) in (0u32..).zip(command.claims()) {
            let token = Token { index, position };
            let run = runs
                .get(results.len())
                .map(|run| given.entry(*run).or_default());
            let first = run.as_ref().and_then(|run| run.first().copied());
            let result = self.claim_one(claim, token, first);
            if let (Some(run), Ok(())) = (run, result) {
                run.push(claim.job);
            }
            results.push(result.map(|()| token));
        }
        for (position, jobs) in given {
            self.begin_batch(Token { index, position }, jobs);
        }
        Ok(results)
    }

    /// Checks everything again: the leader decided on an older state. `first` was given
    /// out before to be run together with this one.
    fn claim_one(
        &mut self,
        claim: &Claim,
        token: Token,
        first: Option<JobId>,
    ) -> Result<(), ClaimRefusal> {
        let Claim {
            job: id, worker, ..
        } = *claim;
        let job = self.jobs.get(id).ok_or(ClaimRefusal::UnknownJob)?;
        match job.phase() {
            Phase::Ready => {}
            Phase::Parked => return Err(ClaimRefusal::ContextRunning),
            Phase::Waiting | Phase::Delayed { .. } | Phase::Running(_) => {
                return Err(ClaimRefusal::NotReady);
            }
        }
        let known = self
            .workers
            .get(&worker)
            .ok_or(ClaimRefusal::UnknownWorker)?;
        if !self.may_work(worker) {
            return Err(ClaimRefusal::NotAllowed);
        }
        if self.jobs.leases.count(worker) >= u64::from(known.slots) {
            return Err(ClaimRefusal::NoSlot);
        }
        let engine = &job.origin.generator.engine;
        if !known.engines.iter().any(|offered| offered == engine) {
            return Err(ClaimRefusal::WrongEngine);
        }
        if let Some(refusal) = self.misfit(worker, engine) {
            return Err(refusal);
        }
        let lease = Lease {
            worker,
            incarnation: known.incarnation,
            token,
        };
        if self.is_held_back(&job.origin.tenant, engine, worker) {
            return Err(ClaimRefusal::Paused);
        }
        if self.probes_left(engine) == Some(0) {
            return Err(ClaimRefusal::Broken);
        }
        if self.is_limited(id) {
            return Err(ClaimRefusal::Limited);
        }
        if let Some(first) = first {
            let is_there = self.jobs.expect(first).last_worker == Some(worker);
            if !is_there || !self.may_join(id, first) {
                return Err(ClaimRefusal::NotTogether);
            }
        }
        self.assert_may_run(id);
        assert!(
            job.last_token.is_none_or(|last| last < token),
            "{id} gets {token} after {:?}",
            job.last_token
        );
        self.jobs.change(id, &mut self.timers, |job| {
            job.set_phase(Phase::Running(lease));
            job.attempts += 1;
            job.last_token = Some(token);
            job.last_worker = Some(worker);
        });
        self.charge(id);
        self.note_probe(id);
        self.cache.note_claim(id);
        if self.keeps_letters() {
            let number = self.jobs.expect(id).attempts;
            #[cfg(feature = "planted-bugs")]
            if number == 2 && self.is_planted(crate::planted::Bug::AttemptForgotten) {
                return Ok(());
            }
            self.letters.begin_attempt(id, number, lease, self.head.now);
        }
        Ok(())
    }

    /// One running job per context, and none before its dependencies (I2, I6).
    fn assert_may_run(&self, id: JobId) {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::RunContextTwice) {
            return;
        }
        let job = self.jobs.expect(id);
        let slots = self.places.slots(job.place);
        assert_eq!(
            slots.current,
            Some(id),
            "a ready job is the current one of its place: {slots:?}"
        );
        assert_eq!(job.open, 0, "{id} is ready and has open dependencies");
    }

    /// Takes a result. Says whether it had an effect: a resend has none.
    pub(super) fn complete(
        &mut self,
        id: JobId,
        token: Token,
        result: Digest,
        body: &Bytes,
        wall_ms: u64,
    ) -> Result<bool, Rejection> {
        let bytes = body.count();
        if bytes > RESULT_BYTES_MAX {
            return Err(Rejection::TooLong {
                what: "the result".into(),
                found: bytes,
                limit: RESULT_BYTES_MAX,
            });
        }
        let Some(job) = self.jobs.get(id) else {
            return self.complete_again(id, token, result, body);
        };
        let is_last = job.last_token == Some(token);
        #[cfg(feature = "planted-bugs")]
        let is_last = is_last || self.is_planted(crate::planted::Bug::IgnoreToken);
        let may_end = match job.phase() {
            // With the last token, a result may come late, as long as nobody else runs it.
            Phase::Running(_) | Phase::Ready | Phase::Delayed { .. } => true,
            Phase::Waiting | Phase::Parked => false,
        };
        if !is_last || !may_end {
            let state = job.state();
            return Err(Rejection::Stale {
                job: id,
                token,
                state,
            });
        }
        if Digest::of(body) != result {
            return Err(Rejection::DigestMismatch);
        }
        let place = job.place;
        let context = Context {
            subject: job.subject,
            origin: Arc::clone(&job.origin),
            kind: job.kind,
            result,
            bytes,
            job: id,
            accepted: job.accepted,
        };
        let before = self.places.context(place).cloned();
        if self.places.publish(place, context) {
            self.note_published(place, id, token);
            if let Some(before) = before {
                self.note_replaced(place, before, id, wall_ms);
            }
        }
        let state = JobState::Done {
            result,
            from_cache: false,
        };
        self.finish(id, state, Some(Ended::Published));
        self.promote(place);
        Ok(true)
    }

    /// A result for a job that is finished: fine if it is the very one that
    /// finished it.
    fn complete_again(
        &mut self,
        id: JobId,
        token: Token,
        result: Digest,
        body: &Bytes,
    ) -> Result<bool, Rejection> {
        let job = self.finished.get(id);
        let job = job.ok_or(Rejection::UnknownJob { job: id })?;
        let same = JobState::Done {
            result,
            from_cache: false,
        };
        if Digest::of(body) != result {
            return Err(Rejection::DigestMismatch);
        }
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::CompleteTwice)
            && matches!(job.state, JobState::Done { .. })
        {
            let mut job = self.finished.remove(id);
            job.number = self.head.finished.next();
            job.state = same;
            self.note_finished(id, job);
            return Ok(true);
        }
        if job.last_token == Some(token) && job.state == same {
            return Ok(false);
        }
        Err(Rejection::Stale {
            job: id,
            token,
            state: job.state.clone(),
        })
    }

    pub(super) fn fail(
        &mut self,
        id: JobId,
        token: Token,
        class: FailureClass,
        message: &str,
        retry_after_ms: Option<u64>,
    ) -> Result<AfterFailure, Rejection> {
        self.check_holds(id, token)?;
        Ok(self.fail_told(id, class, message, retry_after_ms, Told::Own))
    }

    /// A worker says that a job which it holds failed.
    pub(super) fn fail_told(
        &mut self,
        id: JobId,
        class: FailureClass,
        message: &str,
        retry_after_ms: Option<u64>,
        told: Told,
    ) -> AfterFailure {
        let message = cut(message, MESSAGE_BYTES_MAX);
        self.end_attempt(id, class, Some(message), retry_after_ms, told)
    }

    /// A job's lease ends, and nothing was said of the job.
    fn lose(&mut self, id: JobId, class: FailureClass) {
        self.end_attempt(id, class, None, None, Told::Own);
    }

    pub(super) fn give_up(&mut self, id: JobId, token: Token) -> Result<(), Rejection> {
        self.check_holds(id, token)?;
        self.lose(id, FailureClass::Drained);
        Ok(())
    }

    /// Takes leases back; a lease that is no longer the current one is left alone.
    pub(super) fn expire(&mut self, leases: &[ExpiredLease]) -> Result<u32, Rejection> {
        check_range(
            "the expiries of an entry",
            leases.len() as u64,
            1,
            EXPIRIES_PER_ENTRY_MAX,
        )?;
        let mut count = 0;
        for lease in leases {
            if self.check_holds(lease.job, lease.token).is_ok() {
                self.lose(lease.job, FailureClass::WorkerLost);
                count += 1;
            }
        }
        Ok(count)
    }

    pub(super) fn check_holds(&self, id: JobId, token: Token) -> Result<(), Rejection> {
        let state = match (self.jobs.get(id), self.finished.get(id)) {
            (Some(job), _) if job.is_running() && job.last_token == Some(token) => return Ok(()),
            (Some(job), _) => job.state(),
            (None, Some(job)) => job.state.clone(),
            (None, None) => return Err(Rejection::UnknownJob { job: id }),
        };
        Err(Rejection::Stale {
            job: id,
            token,
            state,
        })
    }

    /// An attempt ended without a result. A newer input that waited for this
    /// end takes over; else the rules of retry say what next.
    fn end_attempt(
        &mut self,
        id: JobId,
        class: FailureClass,
        message: Option<&str>,
        retry_after_ms: Option<u64>,
        told: Told,
    ) -> AfterFailure {
        let (level, rules, now) = (self.level, self.rules, self.head.now);
        #[cfg(feature = "planted-bugs")]
        let rules = match self.is_planted(crate::planted::Bug::CrashForgiven) {
            true => crate::config::Rules {
                crashes_max: rules.crashes_max + 1,
                ..rules
            },
            false => rules,
        };
        let number = self.jobs.expect(id).attempts;
        self.letters.end_attempt(id, number, now, class);
        let (counted, wait_ms) = self.note_failure(id, class, told);
        let spared = self.is_spared(id, class, told);
        let class = spared.unwrap_or(counted);
        let retry_after_ms = match wait_ms {
            0 => retry_after_ms,
            wait_ms => Some(retry_after_ms.unwrap_or(0).max(wait_ms)),
        };
        let job = self.jobs.expect(id);
        let (origin, place) = (Arc::clone(&job.origin), job.place);
        self.discharge(&origin, place);
        // At rest first: a job that ends must not be running in any index.
        let (place, verdict) = self.jobs.change(id, &mut self.timers, |job| {
            let verdict = judge(level, &rules, id, job, class, message, retry_after_ms);
            job.set_phase(match verdict {
                Verdict::Retry { delay_ms } if delay_ms > 0 => Phase::Delayed {
                    until: now.plus_ms(delay_ms),
                },
                Verdict::Retry { .. } | Verdict::Dead(_) => Phase::Ready,
            });
            (job.place, verdict)
        });
        if spared.is_some() {
            assert!(
                matches!(verdict, Verdict::Retry { .. }),
                "{id} is spared, and ends: {verdict:?}"
            );
            self.batches.spare(id);
        }
        if let Some(by) = self.takes_over(id, &mut Walk::new()) {
            let legacy = self.supersede(id, by);
            self.promote(place);
            self.inherit(by, legacy, &mut Walk::new());
            return AfterFailure::Superseded { by };
        }
        match verdict {
            Verdict::Retry { delay_ms } => AfterFailure::Retry {
                at: now.plus_ms(delay_ms),
            },
            Verdict::Dead(reason) => {
                self.finish(id, JobState::Dead(reason), Some(Ended::Failed(id)));
                self.promote(place);
                AfterFailure::Dead
            }
        }
    }

    /// As what an attempt counts that failed with all that were run together with it: not
    /// against the job, for it need not be the one that they failed for. None if it counts
    /// as what it is.
    fn is_spared(&mut self, id: JobId, class: FailureClass, told: Told) -> Option<FailureClass> {
        self.batches.leave(id)?;
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::BatchFailureCounts) {
            return None;
        }
        match (class, told) {
            (FailureClass::WorkerLost, _) => Some(FailureClass::Drained),
            (
                FailureClass::Retryable | FailureClass::Permanent,
                Told::Whole | Told::WholeBefore,
            ) => Some(FailureClass::Busy),
            (FailureClass::Retryable | FailureClass::Permanent, Told::Own)
            | (FailureClass::Busy | FailureClass::Drained, _) => None,
        }
    }

    /// The parked job that takes the place of one that goes on no longer, unless
    /// by that it would wait for itself.
    pub(super) fn takes_over(&self, id: JobId, walk: &mut Walk) -> Option<JobId> {
        let slots = self.places.slots(self.jobs.expect(id).place);
        let parked = slots.parked.filter(|_| slots.current == Some(id))?;
        if self.jobs.expect(parked).is_running() {
            return None;
        }
        let targets = self.awaited_by(parked);
        (!self.would_wait_for_itself(id, &targets, walk)).then_some(parked)
    }
}

pub(super) fn check_range(what: &str, found: u64, min: u64, max: u64) -> Result<(), Rejection> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(Rejection::OutOfRange {
        what: what.to_owned(),
        found,
        min,
        max,
    })
}

/// A text cut to a bound. A failure's message is for people: losing its end is
/// better than refusing the failure and keeping the lease.
pub(super) fn cut(text: &str, bytes_max: u64) -> &str {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max)
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
