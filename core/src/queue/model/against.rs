//! Random commands for the queue and its model, side by side.

use proptest::prelude::*;

use crate::bytes::Bytes;
use crate::feature::FeatureLevel;

use super::super::QueueManager;
use super::super::tests::{World, address, entry, needs, rules, spec, subject, worker};
use super::limited::limited_accounts;
use super::steps::{Item, SESSIONS, Step, scopes, steps, steps_of_an_outage};
use super::*;

/// How many jobs a worker may have.
pub(super) const SLOTS: u32 = 3;

/// The real queue and the model, side by side.
pub(super) struct Pair {
    pub(super) world: World,
    pub(super) model: Model,
    pub(super) tokens: Vec<(u64, Token)>,
    /// The sequence of the last request of all sessions together.
    sequence: u64,
}

impl Pair {
    pub(super) fn new() -> Pair {
        let mut pair = Pair {
            world: World::new(),
            model: Model::default(),
            tokens: Vec::new(),
            sequence: 0,
        };
        pair.model.incarnations.insert(1, 1);
        pair.world.apply(worker(1, 1, SLOTS));
        // The world's first entry registered a worker, and the one above is its second.
        for session in SESSIONS {
            let opened = pair.world.apply(Command::OpenSession);
            assert_eq!(opened, Outcome::SessionOpened(SessionId(session)));
        }
        let to = FeatureLevel::LATEST;
        assert_eq!(
            pair.world.apply(Command::RaiseLevel { to }),
            Outcome::LevelRaised
        );
        pair
    }

    /// A request of a session, which has the replies to all before.
    pub(super) fn ask(&mut self, session: usize, command: Command) -> Outcome {
        self.sequence += 1;
        let sequence = self.sequence;
        self.world
            .ask(SESSIONS[session], sequence, sequence, command)
    }

    /// Jobs of the model by number, and one that never was now and then.
    fn named(&self, numbers: &[usize]) -> Vec<JobId> {
        let ids = 1..=self.model.accepted + 1;
        let count = self.model.accepted as usize + 1;
        let id = |number: &usize| ids.clone().nth(number % count).unwrap();
        numbers.iter().map(|number| JobId(id(number))).collect()
    }

    /// Until when the queue has a job wait.
    pub(super) fn delayed_until(&self, job: u64) -> Option<Stamp> {
        match self.world.state(JobId(job)) {
            JobState::Delayed { until } => Some(until),
            _ => None,
        }
    }

    /// A worker is lost, with the job that it held.
    fn lose(&mut self, job: u64) {
        let at = self.delayed_until(job);
        self.model.end_attempt(job, FailureClass::WorkerLost, at);
    }

    /// A job that ran, or none if none ever did; the latest ones first.
    fn ran(&self, number: usize, back: usize) -> Option<(u64, Token)> {
        let last = self.tokens.len().checked_sub(1)?;
        let at = if back == 0 {
            number % (last + 1)
        } else {
            last.saturating_sub(back - 1)
        };
        Some(self.tokens[at])
    }

    pub(super) fn take(&mut self, step: Step) {
        let held = self.model.held_sources();
        self.take_step(step);
        self.note_released(&held);
    }

    fn take_step(&mut self, step: Step) {
        match step {
            Step::Submit(items, session) => {
                let items = items_of(items);
                let specs = items.iter().map(|item| item.0.clone()).collect();
                let outcome = self.ask(session, Command::Submit { items: specs });
                match self.model.submit(&items, SESSIONS[session], true) {
                    Ok(answers) => assert_eq!(outcome, Outcome::Submitted(answers)),
                    Err(()) => assert!(
                        matches!(
                            outcome,
                            Outcome::Rejected(
                                Rejection::Cycle { .. }
                                    | Rejection::UnknownDependency { .. }
                                    | Rejection::TenantFull { .. }
                            )
                        ),
                        "the model refuses, the queue says {outcome:?}"
                    ),
                }
            }
            Step::Claim(job, worker) => {
                let ids: Vec<u64> = self.model.tasks.keys().copied().collect();
                if !ids.is_empty() {
                    self.claim(ids[job % ids.len()], worker);
                }
            }
            Step::ClaimFirst(worker) => {
                let ready = self.model.tasks.iter();
                let ready = ready.filter(|(_, task)| task.stage == Stage::Ready);
                let first = ready.map(|(id, task)| (task.class, *id)).min();
                // All tasks are of one tenant and engine: the first queue is the
                // most urgent one.
                let queued = self.world.queue.ready().next();
                assert_eq!(queued, first.map(|(_, id)| JobId(id)), "first in order");
                if let Some((_, id)) = first {
                    self.claim(id, worker);
                }
            }
            Step::ClaimTogether(jobs, worker) => {
                let ids: Vec<u64> = self.model.tasks.keys().copied().collect();
                let ready = ids.iter().copied();
                let ready = ready.filter(|id| self.model.tasks[id].stage == Stage::Ready);
                let ready: Vec<u64> = ready.collect();
                if ready.is_empty() {
                    return;
                }
                // One that is not ready now and then.
                let pick = |number: usize| match number % 8 {
                    0 => ids[number / 8 % ids.len()],
                    _ => ready[number / 8 % ready.len()],
                };
                let jobs = jobs.iter().map(|(number, begins)| (pick(*number), *begins));
                self.claim_together(&jobs.collect::<Vec<_>>(), worker);
            }
            Step::FailTogether(job, class) => {
                if let Some((id, token)) = self.ran(job, 1) {
                    self.fail_together(id, token, class);
                }
            }
            Step::Complete(job, back) => {
                let Some((id, token)) = self.ran(job, back) else {
                    return;
                };
                let outcome = self.world.complete(JobId(id), token, "x");
                let taken = self.model.complete(id, token);
                assert_eq!(outcome == Outcome::Completed, taken, "{outcome:?}");
            }
            Step::Fail(job, class) => {
                let Some((id, token)) = self.ran(job, 1) else {
                    return;
                };
                let outcome = self.world.apply(Command::Fail {
                    job: JobId(id),
                    token,
                    class,
                    message: "no".into(),
                    retry_after_ms: None,
                });
                let held = self.model.held_by(id, token);
                assert_eq!(matches!(outcome, Outcome::Failed(_)), held, "{outcome:?}");
                if held {
                    let at = match outcome {
                        Outcome::Failed(AfterFailure::Retry { at }) => Some(at),
                        _ => None,
                    };
                    self.model.end_attempt(id, class, at);
                }
            }
            Step::Release(job) => {
                let Some((id, token)) = self.ran(job, 0) else {
                    return;
                };
                let outcome = self.world.apply(Command::Release {
                    job: JobId(id),
                    token,
                });
                let held = self.model.held_by(id, token);
                assert_eq!(outcome == Outcome::Released, held, "{outcome:?}");
                if held {
                    self.model.end_attempt(id, FailureClass::Drained, None);
                }
            }
            Step::Expire(job, back) => {
                let Some((id, token)) = self.ran(job, back) else {
                    return;
                };
                let lease = ExpiredLease {
                    job: JobId(id),
                    token,
                };
                let outcome = self.world.apply(Command::Expire {
                    leases: vec![lease],
                });
                let held = self.model.held_by(id, token);
                assert_eq!(
                    outcome,
                    Outcome::Expired {
                        count: u32::from(held)
                    }
                );
                if held {
                    self.lose(id);
                }
            }
            Step::Register(id, life) => {
                let outcome = self.world.apply(worker(id, life, SLOTS));
                let known = self.model.incarnations.get(&id).copied().unwrap_or(0);
                assert_eq!(outcome == Outcome::Registered, life >= known);
                if life > known {
                    self.model.incarnations.insert(id, life);
                    self.model.forget_offer(id);
                    let held =
                        |task: &Task| matches!(task.stage, Stage::Running(by, _) if by == id);
                    let tasks = self.model.tasks.iter().filter(|(_, task)| held(task));
                    let mut lost: Vec<(Token, u64)> =
                        tasks.map(|(id, task)| (task.token.unwrap(), *id)).collect();
                    lost.sort();
                    for (_, job) in lost {
                        self.lose(job);
                    }
                }
            }
            Step::Wait(ms) => {
                self.world.t += ms;
                self.model.now = self.world.t;
                self.world.apply(Command::Tick);
                self.model.tick();
            }
            Step::Leave(numbers, session) => {
                let jobs = self.named(&numbers);
                let outcome = self.ask(session, Command::Leave { jobs: jobs.clone() });
                let left = jobs
                    .iter()
                    .map(|job| self.model.leave(job.0, SESSIONS[session]));
                assert_eq!(outcome, Outcome::Cancelled(left.collect()), "{jobs:?}");
            }
            Step::Cancel(numbers) => {
                let jobs = self.named(&numbers);
                let outcome = self.world.apply(Command::Cancel { jobs: jobs.clone() });
                let ended = jobs.iter().map(|job| self.model.cancel(job.0));
                assert_eq!(outcome, Outcome::Cancelled(ended.collect()), "{jobs:?}");
            }
            Step::Redrive(numbers, dependents, session) => {
                let jobs = self.named(&numbers);
                let causes: BTreeMap<u64, u64> = self
                    .model
                    .letters
                    .keys()
                    .filter_map(|id| match self.world.state(JobId(*id)) {
                        JobState::DependencyFailed { dependency } => Some((*id, dependency.0)),
                        _ => None,
                    })
                    .collect();
                let command = Command::Redrive {
                    jobs: jobs.clone(),
                    dependents,
                };
                let outcome = self.ask(session, command);
                let cause = |id| causes.get(&id).copied();
                let redriven = self
                    .model
                    .redrive(&jobs, dependents, SESSIONS[session], cause);
                match redriven {
                    Ok(redrive) => {
                        assert_eq!(outcome, Outcome::Redriven(redrive), "{jobs:?}");
                    }
                    Err(()) => assert!(
                        matches!(outcome, Outcome::Rejected(Rejection::Cycle { .. })),
                        "the model refuses, the queue says {outcome:?}"
                    ),
                }
            }
            Step::Purge(numbers) => {
                let jobs = self.named(&numbers);
                let outcome = self.world.apply(Command::Purge { jobs: jobs.clone() });
                let purged = jobs.iter().map(|job| self.model.purge(job.0));
                assert_eq!(outcome, Outcome::Purged(purged.collect()), "{jobs:?}");
            }
            Step::Reprioritise(numbers, class) => {
                let jobs = self.named(&numbers);
                let command = Command::Reprioritise {
                    jobs: jobs.clone(),
                    class,
                };
                let outcome = self.world.apply(command);
                let changed = jobs.iter().map(|job| self.model.reprioritise(job.0, class));
                assert_eq!(
                    outcome,
                    Outcome::Reprioritised(changed.collect()),
                    "{jobs:?}"
                );
            }
            Step::Pause(scope) => {
                let scope = scopes()[scope].clone();
                let outcome = self.world.apply(Command::Pause {
                    scope: scope.clone(),
                    reason: "for a while".into(),
                });
                let before = !self.model.paused.insert(scope);
                assert_eq!(outcome, Outcome::Paused { before });
            }
            Step::Resume(scope) => {
                let scope = scopes()[scope].clone();
                let outcome = self.world.apply(Command::Resume {
                    scope: scope.clone(),
                });
                let mut before = !self.model.paused.remove(&scope);
                if scope == scopes()[1] {
                    before &= !self.model.trust_engine();
                }
                assert_eq!(outcome, Outcome::Resumed { before });
            }
            Step::Limit(account, mut limits) => {
                let account = limited_accounts()[account].clone();
                if let Account::Tenant(_) = account {
                    limits.queued_max = limits.running_max.map(|most| u64::from(2 * most));
                }
                let before = self.model.put_limits(&account, limits);
                let outcome = self.world.apply(Command::PutLimits { account, limits });
                assert_eq!(outcome, Outcome::LimitsPut { before });
            }
            Step::Caching(step) => self.take_caching(step),
            Step::Keeping(step) => self.take_keeping(step),
            Step::Fitting(step) => self.take_fitting(step),
            Step::Edited(step) => {
                if let Some(planned) = self.model.expect_edit(step.clone(), 0) {
                    let outcome = self.world.apply(planned.command);
                    // Tries of others may have come before it.
                    let expected = self.model.expect_edit(step, self.world.index);
                    let expected = expected.expect("nothing has changed");
                    assert_eq!(outcome, expected.outcome, "{:?}", expected.command);
                    self.model.note_said(expected);
                }
            }
            Step::Expel(id) => {
                let worker = WorkerId(id);
                let outcome = self.world.apply(Command::Expel { worker });
                let known = self.model.incarnations.remove(&id).is_some();
                self.model.forget_offer(id);
                let held = self.model.tasks.iter();
                let held = held.filter(|(_, task)| task.is_run_by(id));
                let held: Vec<u64> = held.map(|(job, _)| *job).collect();
                let jobs = held.len() as u32;
                assert_eq!(outcome, Outcome::Expelled { known, jobs });
                for job in held {
                    self.model.end_attempt(job, FailureClass::Drained, None);
                }
            }
        }
        self.model.settle();
    }

    pub(super) fn compare(&self) {
        self.compare_cache();
        self.compare_sources();
        self.model.compare_edits(&self.world.queue);
        for (id, task) in &self.model.tasks {
            let view = self.world.queue.job(JobId(*id)).unwrap();
            let same = match (&task.stage, &view.state) {
                (Stage::Waiting, JobState::Waiting { .. }) => true,
                (Stage::Delayed(until), JobState::Delayed { until: at }) => *until == at.0,
                (Stage::Ready, JobState::Ready) | (Stage::Parked, JobState::Parked) => true,
                (Stage::Running(worker, token), JobState::Running(lease)) => {
                    *worker == lease.worker.0 && *token == lease.token
                }
                // With several failed ones, either may be named as the cause.
                (
                    Stage::Over(JobState::DependencyFailed { .. }),
                    JobState::DependencyFailed { dependency },
                ) => {
                    let cause = &self.model.tasks[&dependency.0].stage;
                    matches!(cause, Stage::Over(state) if !matches!(state, JobState::Done { .. }))
                }
                (Stage::Over(state), other) => state == other,
                _ => false,
            };
            assert!(same, "{id}: the model says {task:?}, the queue {view:?}");
            assert_eq!(
                (view.waiters, view.failures, view.crashes),
                (task.waiters, task.failures, task.crashes),
                "counts of {id}"
            );
            if !task.is_over() {
                assert_eq!(view.class, task.class, "class of {id}");
            }
        }
        for (id, redriven) in &self.model.letters {
            let letter = self.world.queue.dead_letter(JobId(*id));
            assert_eq!(
                letter.map(|letter| letter.redriven.map(|job| job.0)),
                Some(*redriven),
                "the letter {id}"
            );
        }
        assert_eq!(
            self.world.queue.dead_letters_count(),
            self.model.letters.len() as u64
        );
        for (name, text) in NAMES.iter().enumerate() {
            let context = self.world.queue.context(&address(text));
            let shown = self.model.shown.get(&name);
            assert_eq!(
                context.map(|context| (context.job.0, context.subject)),
                shown.map(|shown| (shown.job, subject(shown.input))),
                "what is published at {text}"
            );
        }
    }
}

/// The items of a step as they are submitted, with name and input.
pub(super) fn items_of(items: Vec<Item>) -> Vec<(JobSpec, usize, u8)> {
    let item = |(name, input, class, edges, delay_ms): Item| {
        let mut spec = spec(NAMES[name], input);
        spec.class = class;
        spec.delay_ms = delay_ms;
        for (need, required) in edges {
            let policy = match required {
                true => Policy::Require,
                false => Policy::Optional,
            };
            spec = needs(spec, &[NAMES[need]], policy);
        }
        (spec, name, input)
    };
    items.into_iter().map(item).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        // What a failure shrinks to is printed; a file of seeds would not survive a new strategy.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_queue_does_what_the_slow_model_does(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
            pair.compare();
        }
    }

    #[test]
    fn an_engine_that_is_down_is_let_alone_as_the_model_does(steps in steps_of_an_outage()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
            pair.compare();
        }
    }

    #[test]
    fn a_queue_from_an_image_goes_on_as_the_one_it_was_taken_of(
        steps in steps(),
        cut in 0..60usize,
    ) {
        let mut pair = Pair::new();
        for (number, step) in steps.into_iter().enumerate() {
            if number == cut {
                let twin = QueueManager::from_image(&pair.world.queue.image()).unwrap();
                prop_assert_eq!(twin.state_hash(), pair.world.queue.state_hash());
                // From here on the world compares the two after every entry.
                pair.world.twin = Some(twin);
            }
            pair.take(step);
        }
    }

    #[test]
    fn an_image_in_parts_is_the_whole_one_of_the_moment_when_it_was_begun(
        steps in steps(),
        begin in 0..40usize,
        budget in 1..400u64,
    ) {
        let mut pair = Pair::new();
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        let mut hash = None;
        for (number, step) in steps.into_iter().enumerate() {
            if number == begin {
                // One that takes no image: the world compares the two after every entry.
                pair.world.twin = Some(pair.world.queue.clone());
                whole = pair.world.queue.image();
                hash = Some(pair.world.queue.begin_image());
            }
            pair.take(step);
            if pair.world.queue.is_imaging() {
                parts.push(pair.world.queue.image_part(budget));
            }
        }
        while pair.world.queue.is_imaging() {
            parts.push(pair.world.queue.image_part(budget));
        }
        let Some(hash) = hash else { return Ok(()) };
        let (last, before) = parts.split_last().unwrap();
        prop_assert!(last.last && before.iter().all(|part| !part.last));
        prop_assert_eq!(last.kept_count, 0, "nothing stays behind");
        let bytes: Vec<u8> = parts.into_iter().flat_map(|part| part.bytes).collect();
        prop_assert!(bytes == whole, "the bytes differ");
        prop_assert_eq!(QueueManager::from_image(&bytes).unwrap().state_hash(), hash);
    }

    #[test]
    fn arbitrary_bytes_are_no_image_and_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if bytes.len() >= 4 {
            bytes[..4].copy_from_slice(&1u32.to_le_bytes());
        }
        if let Ok(queue) = QueueManager::from_image(&bytes) {
            queue.check();
        }
    }
}

#[test]
fn bytes_of_a_body_are_only_handed_out() {
    let mut queue = QueueManager::new(rules());
    let mut apply = |index, command| queue.apply(LogIndex(index), Term(1), entry(0, command));
    apply(1, worker(1, 1, 1));
    apply(
        2,
        Command::Submit {
            items: vec![spec("a", 1)],
        },
    );
    let claim = Claim {
        job: JobId(1),
        worker: WorkerId(1),
        rule: ClaimRule::OnlyFit,
    };
    apply(
        3,
        Command::Claim {
            claims: vec![claim],
        },
    );
    let body = Bytes::from(vec![0xab; 5_000]);
    let applied = apply(
        4,
        Command::Complete {
            job: JobId(1),
            token: Token {
                index: LogIndex(3),
                position: 0,
            },
            result: Digest::of(&body),
            body: body.clone(),
        },
    );
    assert_eq!(applied.publication, Some((Digest::of(&body), body)));
    assert!(queue.image().len() < 2_000, "the state keeps no body");
}
