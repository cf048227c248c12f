//! Dead letters, and what operators do to the queue.

use super::cancel::{ONE, OTHER, Waiting};
use super::*;
use crate::feature::FeatureLevel;
use crate::limits::{
    ATTEMPTS_KEPT_MAX, DEAD_LETTER_EDGES_MAX, DEAD_LETTERS_MAX, DEPENDENCIES_MAX, ORDERED_JOBS_MAX,
    REDRIVEN_PER_ENTRY_MAX,
};

pub(super) fn operated_under(rules: Rules) -> World {
    let mut world = World::under(rules);
    let to = FeatureLevel::QUEUE_OPERATED;
    world.apply(Command::RaiseLevel { to });
    world
}

pub(super) fn operated() -> World {
    operated_under(rules())
}

impl World {
    /// Runs a job that fails for good.
    pub(super) fn kill(&mut self, job: JobId) {
        let token = self.claim(job);
        let failed = self.fail(job, token, FailureClass::Permanent);
        assert_eq!(failed, Outcome::Failed(AfterFailure::Dead));
    }

    pub(super) fn redrive(&mut self, jobs: &[JobId], dependents: bool) -> Redrive {
        let jobs = jobs.to_vec();
        match self.apply(Command::Redrive { jobs, dependents }) {
            Outcome::Redriven(redrive) => redrive,
            other => panic!("not redriven: {other:?}"),
        }
    }

    /// Redrives one job, which is to be done again.
    pub(super) fn redrive_one(&mut self, job: JobId) -> JobId {
        match self.redrive(&[job], false).jobs[..] {
            [Redriving::Again { job, .. }] => job,
            ref other => panic!("{other:?}"),
        }
    }

    /// Applies without a look at the whole state.
    pub(super) fn apply_unchecked(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let entry = entry(self.t, command);
        self.queue
            .apply(LogIndex(self.index), Term(1), entry)
            .outcome
    }

    /// Goes on until all that follows from what ended is done.
    fn settle(&mut self) {
        while self.queue.cascade_pending() {
            self.apply(Command::Tick);
        }
    }
}

fn id(job: u64) -> JobId {
    JobId(job)
}

/// Jobs that all require one, which has the number `first`; the rest follow.
fn fan(name: &str, count: u64) -> Vec<JobSpec> {
    let leaf = |n| needs(spec(&format!("{name}{n}"), 1), &[name], Policy::Require);
    std::iter::once(spec(name, 1))
        .chain((1..count).map(leaf))
        .collect()
}

#[test]
fn the_last_attempts_are_kept_with_their_ends_and_no_more() {
    let mut world = operated();
    let job = world.submit_one(spec("a", 1));
    let mut last = None;
    for t in 1..=20 {
        world.t = t * 10;
        let token = world.claim(job);
        world.t += 5;
        last = Some(token);
        match t {
            20 => drop(world.fail(job, token, FailureClass::Permanent)),
            _ => drop(world.apply(Command::Release { job, token })),
        }
    }
    let attempts = world.queue.attempts(job);
    assert_eq!(attempts.len() as u32, ATTEMPTS_KEPT_MAX);
    let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (5..=20).collect::<Vec<u32>>());
    assert_eq!(attempts[0].began, Stamp(50));
    let end = AttemptEnd {
        at: Stamp(55),
        class: FailureClass::Drained,
    };
    assert_eq!(attempts[0].ended, Some(end));
    let dead = world.queue.dead_letter(job).unwrap();
    assert_eq!(dead.attempts, attempts);
    let end = attempts[15].ended.unwrap();
    assert_eq!((end.at, end.class), (Stamp(205), FailureClass::Permanent));
    assert_eq!(Some(attempts[15].token), last);
}

#[test]
fn of_what_is_done_no_attempt_is_kept() {
    let mut world = operated();
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    assert_eq!(world.queue.attempts(job).len(), 1);
    world.complete(job, token, "x");
    assert_eq!(world.queue.attempts(job), []);
    assert_eq!(world.queue.dead_letter(job), None);
}

#[test]
fn what_is_redriven_has_the_age_of_the_old_input() {
    let mut world = operated();
    let old = world.submit_one(spec("a", 1));
    world.kill(old);
    let again = world.redrive_one(old);
    assert!(again > old);
    assert_eq!(
        world.redrive(&[old], false).jobs,
        [Redriving::Before { job: again }]
    );
    // A later input takes its place, and is not displaced by it.
    let newer = world.submit_one(spec("a", 2));
    assert_eq!(world.state(again), JobState::Superseded { by: newer });
    world.kill(newer);
    let newest = world.submit_one(spec("a", 3));
    world.run(newest);
    let outdated = [Redriving::Outdated { by: newest }];
    assert_eq!(world.redrive(&[newer], false).jobs, outdated);
    assert_eq!(world.queue.context(&address("a")).unwrap().job, newest);
}

#[test]
fn a_redriven_job_waits_behind_an_older_input_that_runs() {
    let mut world = operated();
    let running = world.submit_one(spec("a", 1));
    let token = world.claim(running);
    let cause = world.submit_one(spec("b", 1));
    let parked = world.submit_one(needs(spec("a", 2), &["b"], Policy::Require));
    world.kill(cause);
    let dependency = cause;
    assert_eq!(
        world.state(parked),
        JobState::DependencyFailed { dependency }
    );
    let redrive = world.redrive(&[parked, cause], false);
    let [
        Redriving::Again {
            job,
            how: Admission::Parked,
        },
        Redriving::Again {
            job: cause,
            how: Admission::Created,
        },
    ] = redrive.jobs[..]
    else {
        panic!("{redrive:?}");
    };
    world.complete(running, token, "old");
    world.run(cause);
    world.run(job);
    assert_eq!(world.queue.context(&address("a")).unwrap().job, job);
}

impl World {
    /// Submits a batch, and makes its first job fail for good.
    fn submit_and_kill(&mut self, items: Vec<JobSpec>) -> JobId {
        let job = self.queue.last_job().next();
        self.apply_unchecked(Command::Submit { items });
        let claim = Claim {
            job,
            worker: WorkerId(1),
            rule: ClaimRule::OnlyFit,
        };
        let token = Token {
            index: LogIndex(self.index + 1),
            position: 0,
        };
        self.apply_unchecked(Command::Claim {
            claims: vec![claim],
        });
        let failed = self.apply_unchecked(Command::Fail {
            job,
            token,
            class: FailureClass::Permanent,
            message: String::new(),
            retry_after_ms: None,
        });
        assert_eq!(failed, Outcome::Failed(AfterFailure::Dead));
        job
    }

    /// The oldest letter that is kept is the second one, not the first.
    fn check_first_made_way(&mut self, [first, second]: [JobId; 2]) {
        assert_eq!(self.queue.dead_letter(first), None);
        assert_eq!(self.redrive(&[first], false).jobs, [Redriving::NotKept]);
        let kept = self.queue.dead_letters(JobId(0), 1).0;
        assert_eq!(kept[0].job.job, second);
    }
}

#[test]
fn of_too_many_letters_the_oldest_make_way() {
    let mut world = operated();
    let batches = DEAD_LETTERS_MAX / 1_000 + 1;
    let fans = (0..batches).map(|batch| fan(&format!("b{batch}/r"), 1_000));
    let roots: Vec<JobId> = fans.map(|fan| world.submit_and_kill(fan)).collect();
    world.settle();
    assert_eq!(world.queue.dead_letters_count(), DEAD_LETTERS_MAX);
    world.check_first_made_way([roots[0], roots[1]]);
}

#[test]
fn of_letters_with_too_many_dependencies_the_oldest_make_way() {
    let mut world = operated();
    let names: Vec<String> = (0..DEPENDENCIES_MAX).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let letters = DEAD_LETTER_EDGES_MAX / DEPENDENCIES_MAX + 1;
    let items = (0..letters).map(|n| needs(spec(&format!("l{n}"), 1), &names, Policy::Optional));
    let jobs: Vec<JobId> = items
        .map(|item| world.submit_and_kill(vec![item]))
        .collect();
    world.settle();
    assert_eq!(world.queue.dead_letters_count(), letters - 1);
    world.check_first_made_way([jobs[0], jobs[1]]);
}

#[test]
fn a_redrive_goes_on_where_the_entry_before_stopped() {
    let mut world = operated();
    let jobs: Vec<JobId> = world
        .submit(fan("r", 1_000))
        .iter()
        .map(|s| s.job)
        .collect();
    world.kill(jobs[0]);
    world.settle();
    assert_eq!(world.queue.dead_letters_count(), 1_000);
    let mut named = vec![jobs[0]];
    let mut done = 0;
    while !named.is_empty() {
        let redrive = world.redrive(&named, true);
        let again = |result: &&Redriving| matches!(result, Redriving::Again { .. });
        let named_again = redrive.jobs.iter().filter(again).count() as u64;
        let here = named_again + u64::from(redrive.dependents);
        assert!(0 < here && here <= REDRIVEN_PER_ENTRY_MAX);
        done += here;
        named = redrive.next;
    }
    assert_eq!(done, 1_000);
    assert_eq!(world.queue.counts().live(), 1_000);
    assert!(world.queue.dead_letters(JobId(0), 9).0.is_empty());
}

#[test]
fn what_lacks_something_else_is_counted_and_ends_the_going_on() {
    let mut world = operated();
    let mut items = fan("r", 600);
    for item in &mut items[1..] {
        *item = needs(item.clone(), &["other"], Policy::Require);
    }
    items.push(spec("other", 1));
    let jobs = world.submit(items);
    world.kill(jobs[0].job);
    world.settle();
    world.kill(jobs[600].job);
    world.redrive_one(jobs[0].job);
    let redrive = world.redrive(&[jobs[0].job], true);
    assert_eq!(u64::from(redrive.lacking), REDRIVEN_PER_ENTRY_MAX);
    assert_eq!((redrive.dependents, redrive.next), (0, vec![]));
    world.redrive_one(jobs[600].job);
    let redrive = world.redrive(&[jobs[0].job], true);
    assert_eq!(u64::from(redrive.dependents), REDRIVEN_PER_ENTRY_MAX);
    assert_eq!(redrive.next, [jobs[0].job]);
    let redrive = world.redrive(&redrive.next, true);
    assert_eq!((redrive.dependents, redrive.lacking), (599 - 512, 0));
    assert_eq!(redrive.next, []);
}

#[test]
fn whoever_redrives_may_leave_what_was_named() {
    let mut waiting = Waiting::new();
    let to = FeatureLevel::QUEUE_OPERATED;
    waiting.world.apply(Command::RaiseLevel { to });
    let jobs = waiting.submit(
        OTHER,
        vec![spec("a", 1), needs(spec("b", 1), &["a"], Policy::Require)],
    );
    waiting.world.kill(jobs[0]);
    waiting.world.settle();
    let redrive = Command::Redrive {
        jobs: vec![jobs[0]],
        dependents: true,
    };
    let Outcome::Redriven(redrive) = waiting.ask(ONE, redrive) else {
        panic!("it is redriven");
    };
    let [Redriving::Again { job, .. }] = redrive.jobs[..] else {
        panic!("{redrive:?}");
    };
    assert_eq!(redrive.dependents, 1);
    // Its dependent still needs it.
    assert_eq!(waiting.leave(ONE, &[job]), [Cancellation::Left]);
    let dependent = JobId(job.0 + 1);
    let left = waiting.leave(ONE, &[dependent]);
    assert_eq!(left, [Cancellation::NotWaitedFor]);
    waiting.world.run(job);
    waiting.world.run(dependent);
}

#[test]
fn a_letter_goes_with_its_finished_job() {
    let mut rules = rules();
    rules.jobs_finished_max = 3;
    let mut world = operated_under(rules);
    let dead = world.submit_one(spec("a", 1));
    world.kill(dead);
    for n in 0..3 {
        assert!(world.queue.dead_letter(dead).is_some());
        let job = world.submit_one(spec(&format!("b{n}"), 1));
        world.run(job);
    }
    assert_eq!(world.queue.job(dead), None);
    assert_eq!(world.queue.dead_letter(dead), None);
    assert_eq!(world.queue.dead_letters_count(), 0);
    assert_eq!(world.redrive(&[dead], true).jobs, [Redriving::Unknown]);
}

#[test]
fn letters_attempts_and_pauses_are_in_the_image() {
    let mut world = operated();
    let jobs = world.submit(fan("a", 3));
    world.kill(jobs[0].job);
    world.settle();
    world.redrive(&[jobs[1].job], false);
    world.redrive(&[jobs[0].job], false);
    let running = world.submit_one(spec("c", 1));
    world.claim(running);
    for scope in scopes() {
        let reason = "to see it again".to_owned();
        world.apply(Command::Pause { scope, reason });
    }
    let twin = QueueManager::from_image(&world.queue.image()).unwrap();
    assert_eq!(twin.state_hash(), world.queue.state_hash());
    for job in &jobs {
        assert!(twin.dead_letter(job.job).is_some());
        assert_eq!(twin.dead_letter(job.job), world.queue.dead_letter(job.job));
    }
    assert_eq!(twin.attempts(running), world.queue.attempts(running));
    assert!(twin.pauses().eq(world.queue.pauses()));
    assert_eq!(twin.pauses().count(), 3);
    // They go on alike.
    world.twin = Some(twin);
    for scope in scopes() {
        assert_eq!(
            world.apply(Command::Resume { scope }),
            Outcome::Resumed { before: false }
        );
    }
    world.redrive(&[jobs[2].job, jobs[0].job], true);
    world.apply(Command::Purge {
        jobs: jobs.iter().map(|job| job.job).collect(),
    });
}

pub(super) fn scopes() -> [Scope; 3] {
    [
        Scope::Cluster,
        Scope::Engine("outline".into()),
        Scope::Tenant("team".into()),
    ]
}

#[test]
fn an_order_names_some_jobs_and_not_too_many() {
    let mut world = operated();
    let orders = |jobs: Vec<JobId>| {
        [
            Command::Redrive {
                jobs: jobs.clone(),
                dependents: false,
            },
            Command::Purge { jobs: jobs.clone() },
            Command::Reprioritise {
                jobs,
                class: Class::Urgent,
            },
        ]
    };
    for found in [0, ORDERED_JOBS_MAX + 1] {
        for order in orders((1..=found).map(id).collect()) {
            let outcome = world.apply(order);
            let Outcome::Rejected(Rejection::OrderedJobCount {
                found: told, limit, ..
            }) = outcome
            else {
                panic!("{outcome:?}");
            };
            assert_eq!((told, limit), (found, ORDERED_JOBS_MAX));
        }
    }
    for order in orders((1..=ORDERED_JOBS_MAX).map(id).collect()) {
        assert!(!matches!(world.apply(order), Outcome::Rejected(_)));
    }
}

#[test]
fn a_job_is_no_less_urgent_than_what_waits_for_it() {
    let mut world = operated();
    let mut top = needs(spec("top", 1), &["a"], Policy::Optional);
    top.class = Class::Background;
    let jobs = world.submit(vec![spec("a", 1), top]);
    let (a, top) = (jobs[0].job, jobs[1].job);
    let mut make = |jobs: &[JobId], class| {
        let jobs = jobs.to_vec();
        match world.apply(Command::Reprioritise { jobs, class }) {
            Outcome::Reprioritised(results) => results,
            other => panic!("{other:?}"),
        }
    };
    let now = |class| Reprioritisation::Now { class };
    assert_eq!(make(&[a], Class::Idle), [now(Class::Background)]);
    assert_eq!(make(&[top], Class::Urgent), [now(Class::Urgent)]);
    // It took along what it waits for, and holds it there.
    assert_eq!(make(&[a], Class::Normal), [now(Class::Urgent)]);
    let both = make(&[top, a], Class::Idle);
    assert_eq!(both, [now(Class::Idle), now(Class::Idle)], "in order");
    assert_eq!(make(&[id(9)], Class::Idle), [Reprioritisation::Unknown]);
    world.run(a);
    let outcome = world.apply(Command::Reprioritise {
        jobs: vec![a],
        class: Class::Urgent,
    });
    assert_eq!(
        outcome,
        Outcome::Reprioritised(vec![Reprioritisation::Over])
    );
}

#[test]
fn with_too_many_dependents_to_look_at_a_job_stays_as_urgent() {
    let mut world = operated();
    let items = fan("a", 1_000);
    let a = world.submit(items)[0].job;
    let more = (0..2).map(|n| {
        let mut item = needs(spec(&format!("m{n}"), 1), &["a"], Policy::Require);
        item.class = Class::Idle;
        item
    });
    world.submit(more.collect());
    let lower = Command::Reprioritise {
        jobs: vec![a],
        class: Class::Idle,
    };
    let outcome = world.apply(lower);
    let class = Class::Normal;
    assert_eq!(
        outcome,
        Outcome::Reprioritised(vec![Reprioritisation::Now { class }])
    );
}
