//! Engines that fail, and are let alone for a while.

use super::limits::{End, limited};
use super::*;
use crate::feature::FeatureLevel;

/// A world in which so many jobs are ready.
fn with_jobs(count: usize) -> (World, Vec<JobId>) {
    let mut world = limited();
    let items = (0..count).map(|n| spec(&format!("f{n}"), 1)).collect();
    let jobs = world.submit(items);
    let jobs = jobs.into_iter().map(|job| job.job).collect();
    (world, jobs)
}

impl World {
    fn circuit(&self) -> Option<Circuit> {
        self.queue.breakers().next().map(|breaker| breaker.circuit)
    }

    fn fail_one(&mut self, job: JobId, class: FailureClass) -> Outcome {
        let token = self.claim(job);
        self.fail(job, token, class)
    }

    /// Fails these, until the circuit opens.
    fn break_engine(&mut self, jobs: &[JobId]) {
        for job in &jobs[..9] {
            self.fail_one(*job, FailureClass::Retryable);
            assert_eq!(self.circuit(), Some(Circuit::Closed));
        }
        self.fail_one(jobs[9], FailureClass::Busy);
        let until = Stamp(self.t + 1_000);
        assert_eq!(self.circuit(), Some(Circuit::Open { until }));
    }

    /// Lets the time pass until the engine is tried.
    fn try_again(&mut self) {
        let Some(Circuit::Open { until }) = self.circuit() else {
            panic!("it is not open");
        };
        self.tick_to(until.0);
    }
}

#[test]
fn an_engine_that_fails_ten_jobs_is_let_alone() {
    let (mut world, jobs) = with_jobs(12);
    world.break_engine(&jobs);
    let refused = world.try_claim(jobs[10], 1);
    assert_eq!(refused, Err(ClaimRefusal::Broken));
    assert_eq!(world.queue.probes_left("outline"), Some(0));
    let explanation = world.queue.explain(jobs[10]).unwrap();
    let words = explanation.holds[0].to_string();
    assert!(
        words.starts_with("engine outline failed too often"),
        "{words}"
    );
}

#[test]
fn the_failure_that_breaks_it_and_all_after_burn_no_attempt() {
    let (mut world, jobs) = with_jobs(12);
    let late = world.claim(jobs[10]);
    for job in &jobs[..10] {
        world.fail_one(*job, FailureClass::Retryable);
    }
    world.fail(jobs[10], late, FailureClass::Retryable);
    let failures = |job| world.queue.job(job).unwrap().failures;
    assert_eq!((failures(jobs[8]), failures(jobs[9])), (1, 0));
    assert_eq!(failures(jobs[10]), 0, "it was given out before");
    let all: u32 = jobs.iter().map(|job| failures(*job)).sum();
    assert_eq!(all, 9);
}

#[test]
fn it_is_tried_with_one_job_then_two_then_four() {
    let (mut world, jobs) = with_jobs(20);
    world.break_engine(&jobs);
    world.try_again();
    let mut next = jobs[10..].iter();
    for round in [1, 2, 4] {
        let jobs: Vec<JobId> = next.by_ref().take(round).copied().collect();
        let tokens: Vec<Token> = jobs.iter().map(|job| world.claim(*job)).collect();
        let another = next.clone().next().unwrap();
        assert_eq!(world.try_claim(*another, 1), Err(ClaimRefusal::Broken));
        for (job, token) in jobs.iter().zip(tokens) {
            assert!(world.circuit().is_some(), "it is still on trial");
            world.complete(*job, token, "x");
        }
    }
    assert_eq!(world.circuit(), None, "it works");
    let rest: Vec<Token> = next.map(|job| world.claim(*job)).collect();
    assert_eq!(rest.len(), 3);
}

#[test]
fn a_probe_that_fails_lets_it_alone_for_twice_as_long() {
    let (mut world, jobs) = with_jobs(12);
    world.break_engine(&jobs);
    world.try_again();
    for wait_ms in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        let failed = world.fail_one(jobs[10], FailureClass::Retryable);
        let until = Stamp(world.t + wait_ms);
        assert_eq!(world.circuit(), Some(Circuit::Open { until }));
        let Outcome::Failed(AfterFailure::Retry { at }) = failed else {
            panic!("given up: {failed:?}");
        };
        // Another job is to be tried first, if there is one.
        assert_eq!(at, Stamp(world.t + 2 * wait_ms));
        world.tick_to(at.0);
    }
    assert_eq!(world.queue.job(jobs[10]).unwrap().failures, 0);
    let breaker = world.queue.breakers().next().unwrap();
    assert_eq!(breaker.trips, 8);
}

#[test]
fn a_probe_that_says_nothing_is_followed_by_another() {
    let silent: [&End; 3] = [
        &|world, job, token| drop(world.expire(job, token)),
        &|world, job, token| drop(world.apply(Command::Release { job, token })),
        &|world, job, _| drop(world.apply(Command::Cancel { jobs: vec![job] })),
    ];
    for end in silent {
        let (mut world, jobs) = with_jobs(12);
        world.break_engine(&jobs);
        world.try_again();
        let token = world.claim(jobs[10]);
        end(&mut world, jobs[10], token);
        assert_eq!(world.queue.probes_left("outline"), Some(1));
        let token = world.claim(jobs[11]);
        // That it cannot be done is an answer, too.
        world.fail(jobs[11], token, FailureClass::Permanent);
        assert_eq!(world.queue.probes_left("outline"), Some(2));
    }
}

#[test]
fn what_went_out_before_says_nothing_of_whether_it_works_again() {
    let (mut world, jobs) = with_jobs(13);
    let old = [world.claim(jobs[10]), world.claim(jobs[11])];
    world.break_engine(&jobs);
    world.complete(jobs[10], old[0], "x");
    assert!(matches!(world.circuit(), Some(Circuit::Open { .. })));
    world.try_again();
    world.fail(jobs[11], old[1], FailureClass::Retryable);
    assert_eq!(world.queue.probes_left("outline"), Some(1));
}

#[test]
fn one_bad_job_is_no_outage_and_nor_is_every_other_one() {
    let (mut world, jobs) = with_jobs(1);
    for _ in 0..30 {
        world.fail_one(jobs[0], FailureClass::Busy);
        let JobState::Delayed { until } = world.state(jobs[0]) else {
            panic!("{}", world.state(jobs[0]));
        };
        world.tick_to(until.0);
        assert_eq!(world.circuit(), Some(Circuit::Closed));
    }
    let (mut world, jobs) = with_jobs(60);
    for pair in jobs.chunks(2) {
        world.fail_one(pair[0], FailureClass::Retryable);
        world.run(pair[1]);
    }
    assert_eq!(world.circuit(), Some(Circuit::Closed));
}

#[test]
fn what_failed_long_ago_is_forgotten() {
    let (mut world, jobs) = with_jobs(30);
    for job in &jobs[..9] {
        world.fail_one(*job, FailureClass::Busy);
    }
    world.tick_to(30_001);
    for job in &jobs[10..19] {
        world.fail_one(*job, FailureClass::Busy);
    }
    let breaker = world.queue.breakers().next().unwrap();
    assert_eq!((breaker.ended, breaker.failed), (9, 9));
    world.tick_to(70_000);
    world.run(jobs[19]);
    assert_eq!(world.circuit(), None, "it has not failed of late");
}

#[test]
fn an_operator_who_knows_that_it_works_says_so() {
    let (mut world, jobs) = with_jobs(12);
    world.break_engine(&jobs);
    let scope = Scope::Engine("outline".into());
    let resume = Command::Resume { scope };
    assert_eq!(
        world.apply(resume.clone()),
        Outcome::Resumed { before: false }
    );
    assert_eq!(world.apply(resume), Outcome::Resumed { before: true });
    world.run(jobs[10]);
    world.run(jobs[11]);
}

#[test]
fn nothing_is_counted_before_its_level() {
    let mut world = World::new();
    let to = FeatureLevel::QUEUE_OPERATED;
    world.apply(Command::RaiseLevel { to });
    for n in 0..20 {
        let job = world.submit_one(spec(&format!("f{n}"), 1));
        world.fail_one(job, FailureClass::Retryable);
    }
    assert_eq!(world.circuit(), None);
}

#[test]
fn what_never_works_comes_to_an_end_at_last() {
    let (mut world, jobs) = with_jobs(11);
    world.break_engine(&jobs);
    world.try_again();
    let mut attempts = 0;
    while !world.state(jobs[10]).is_terminal() {
        attempts += 1;
        world.fail_one(jobs[10], FailureClass::Retryable);
        if let JobState::Delayed { until } = world.state(jobs[10]) {
            world.tick_to(until.0);
        }
    }
    assert_eq!(attempts, 105, "a hundred that did not count, and five");
}
