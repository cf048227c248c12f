//! Jobs that are run together.

use super::*;
use crate::feature::FeatureLevel;

/// A world that runs jobs together, with worker 1 of 8 slots and worker 2 of 2.
fn batched() -> World {
    let mut world = World::new();
    let to = FeatureLevel::JOBS_BATCHED;
    world.apply(Command::RaiseLevel { to });
    for (id, slots) in [(1, 8), (2, 2)] {
        assert_eq!(world.apply(worker(id, 2, slots)), Outcome::Registered);
    }
    world
}

fn names(count: u8) -> Vec<JobSpec> {
    (0..count).map(|n| spec(&format!("f{n}"), 1)).collect()
}

fn weighed(job: JobId, worker: u64) -> WeighedClaim {
    let load = Load {
        share: 0,
        last_claim: 0,
    };
    WeighedClaim {
        claim: Claim {
            job,
            worker: WorkerId(worker),
            rule: ClaimRule::OnlyFit,
        },
        load,
        fit: 1,
        others: [None; 3],
    }
}

impl World {
    fn submit_all(&mut self, items: Vec<JobSpec>) -> Vec<JobId> {
        let jobs = self.submit(items);
        jobs.into_iter().map(|job| job.job).collect()
    }

    fn claim_runs(&mut self, claims: &[(JobId, u64)], runs: &[u32]) -> Outcome {
        let claims = claims.iter().map(|(job, worker)| weighed(*job, *worker));
        self.apply(Command::ClaimTogether {
            claims: claims.collect(),
            runs: runs.to_vec(),
        })
    }

    /// All in one run of worker 1, or why not.
    fn try_together(&mut self, jobs: &[JobId]) -> Vec<Result<Token, ClaimRefusal>> {
        let claims: Vec<_> = jobs.iter().map(|job| (*job, 1)).collect();
        match self.claim_runs(&claims, &vec![0; jobs.len()]) {
            Outcome::Claimed(results) => results,
            other => panic!("not claimed: {other:?}"),
        }
    }

    fn together(&mut self, jobs: &[JobId]) -> Vec<Token> {
        let results = self.try_together(jobs);
        results.into_iter().map(Result::unwrap).collect()
    }

    fn fail_run(&mut self, job: JobId, token: Token, class: FailureClass) -> Outcome {
        self.apply(Command::FailTogether {
            job,
            token,
            class,
            message: "all of it".into(),
            retry_after_ms: None,
        })
    }

    fn counts(&self, job: JobId) -> (u32, u32, u32) {
        let view = self.queue.job(job).unwrap();
        (view.attempts, view.failures, view.crashes)
    }
}

#[test]
fn each_of_a_batch_has_a_token_and_an_end_of_its_own() {
    let mut world = batched();
    let jobs = world.submit_all(names(3));
    let tokens = world.together(&jobs);
    let batch = Some(tokens[0]);
    for (job, token) in jobs.iter().zip(&tokens) {
        let assignment = world.queue.assignment(*job).unwrap();
        assert_eq!((assignment.token, assignment.together), (*token, batch));
    }
    assert_eq!(world.complete(jobs[0], tokens[0], "x"), Outcome::Completed);
    let failed = world.fail(jobs[1], tokens[1], FailureClass::Retryable);
    assert!(matches!(
        failed,
        Outcome::Failed(AfterFailure::Retry { .. })
    ));
    assert_eq!(world.counts(jobs[1]), (1, 1, 0), "it spoke for itself");
    assert!(!world.queue.is_alone(jobs[1]), "and may be with others");
    assert_eq!(world.queue.batch_of(jobs[2]), batch, "the last one runs on");
    assert_eq!(world.complete(jobs[2], tokens[2], "x"), Outcome::Completed);
    assert_eq!(world.queue.counts().done, 2);
}

#[test]
fn a_run_that_fails_as_a_whole_counts_against_none_and_each_is_tried_alone() {
    let mut world = batched();
    let jobs = world.submit_all(names(4));
    let tokens = world.together(&jobs);
    assert_eq!(world.complete(jobs[3], tokens[3], "x"), Outcome::Completed);
    let outcome = world.fail_run(jobs[1], tokens[1], FailureClass::Permanent);
    let Outcome::FailedTogether {
        jobs: 3,
        after: AfterFailure::Retry { at },
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert!((750..=1_250).contains(&(at.0 - world.t)), "{at:?}");
    for job in &jobs[..3] {
        assert_eq!(world.counts(*job), (1, 0, 0));
        assert!(world.queue.is_alone(*job));
        assert_eq!(world.queue.batch_of(*job), None);
    }
    world.tick_to(world.t + 2_000);
    // Not with each other, and not with anybody else.
    let other = world.submit_one(spec("other", 1));
    let refused = Err(ClaimRefusal::NotTogether);
    let results = world.try_together(&[jobs[0], jobs[1], other]);
    let token = results[0].unwrap();
    assert_eq!(results[1..], [refused, refused]);
    assert_eq!(world.queue.batch_of(jobs[0]), None, "it is no batch");
    // What comes of it now is its own.
    let outcome = world.fail_run(jobs[0], token, FailureClass::Permanent);
    let after = AfterFailure::Dead;
    assert_eq!(outcome, Outcome::FailedTogether { jobs: 1, after });
    assert_eq!(world.counts(jobs[0]), (2, 1, 0));
}

#[test]
fn a_worker_that_is_lost_with_a_batch_costs_none_of_it_a_crash_but_the_next_one_does() {
    let lose: [fn(&mut World, JobId, Token); 2] = [
        |world, job, token| drop(world.expire(job, token)),
        |world, _, _| drop(world.apply(worker(1, world.index + 2, 8))),
    ];
    for lose in lose {
        let mut world = batched();
        let jobs = world.submit_all(names(2));
        let tokens = world.together(&jobs);
        lose(&mut world, jobs[0], tokens[0]);
        assert_eq!(world.counts(jobs[0]), (1, 0, 0));
        assert_eq!(world.state(jobs[0]), JobState::Ready, "it need not wait");
        let token = world.claim(jobs[0]);
        lose(&mut world, jobs[0], token);
        assert_eq!(world.counts(jobs[0]), (2, 0, 1));
    }
}

#[test]
fn who_is_busy_or_stops_splits_nothing() {
    for class in [FailureClass::Busy, FailureClass::Drained] {
        let mut world = batched();
        let jobs = world.submit_all(names(2));
        let tokens = world.together(&jobs);
        let outcome = world.fail_run(jobs[0], tokens[0], class);
        assert!(matches!(outcome, Outcome::FailedTogether { jobs: 2, .. }));
        world.tick_to(world.t + 2_000);
        assert!(!world.queue.is_alone(jobs[0]));
        world.together(&jobs);
    }
}

#[test]
fn only_jobs_of_one_queue_one_generator_and_one_worker_are_together() {
    let mut world = batched();
    let mut items = names(6);
    items[1].tenant = "others".into();
    items[2].class = Class::Urgent;
    items[3].generator.version += 1;
    let jobs = world.submit_all(items);
    let refused = Err(ClaimRefusal::NotTogether);
    let results = world.try_together(&jobs[..4]);
    assert!(results[0].is_ok());
    assert_eq!(results[1..], [refused, refused, refused]);
    assert_eq!(world.queue.batch_of(jobs[0]), None, "nobody joined it");
    let outcome = world.claim_runs(&[(jobs[4], 1), (jobs[5], 2)], &[0, 0]);
    let Outcome::Claimed(results) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(results[1], refused, "another worker");
}

#[test]
fn a_run_whose_first_was_refused_begins_with_the_next_one() {
    let mut world = batched();
    let jobs = world.submit_all(names(3));
    let gone = world.claim(jobs[0]);
    let results = world.try_together(&jobs);
    assert_eq!(results[0], Err(ClaimRefusal::NotReady));
    let batch = Token {
        index: LogIndex(world.index),
        position: 0,
    };
    for job in &jobs[1..] {
        assert_eq!(world.queue.batch_of(*job), Some(batch));
    }
    assert_eq!(world.complete(jobs[0], gone, "x"), Outcome::Completed);
}

#[test]
fn a_batch_fails_once_for_its_engine_and_a_probe_is_alone() {
    let mut world = batched();
    let jobs = world.submit_all(names(20));
    for chunk in jobs[..16].chunks(8) {
        let tokens = world.together(chunk);
        world.fail_run(chunk[0], tokens[0], FailureClass::Retryable);
    }
    let failed = world.queue.breakers().next().unwrap();
    assert_eq!((failed.failed, failed.circuit), (2, Circuit::Closed));
    // Alone they fail too: it is the engine.
    world.tick_to(world.t + 2_000);
    for job in &jobs[..8] {
        let token = world.claim(*job);
        world.fail(*job, token, FailureClass::Retryable);
    }
    let Circuit::Open { until } = world.queue.breakers().next().unwrap().circuit else {
        panic!("it is used");
    };
    world.tick_to(until.0);
    let token = world.claim(jobs[16]);
    world.complete(jobs[16], token, "x");
    // Two are to be tried by now: one by one.
    let results = world.try_together(&jobs[17..19]);
    assert_eq!(results[1], Err(ClaimRefusal::NotTogether), "{results:?}");
}

#[test]
fn runs_that_are_none_are_rejected_with_what_would_be_right() {
    let mut world = batched();
    let jobs = world.submit_all(names(3));
    let claims: Vec<_> = jobs.iter().map(|job| (*job, 1)).collect();
    for (runs, what, found, right) in [
        (&[0, 0][..], "the runs of an entry", 2, 3),
        (&[1, 1, 1], "where a run begins", 1, 0),
        (&[0, 0, 1], "where a run begins", 1, 2),
    ] {
        let what = what.to_owned();
        let (min, max) = (right, right);
        assert_eq!(
            world.claim_runs(&claims, runs),
            Outcome::Rejected(Rejection::OutOfRange {
                what,
                found,
                min,
                max
            })
        );
    }
    let many = vec![(jobs[0], 1); 17];
    assert!(matches!(
        world.claim_runs(&many, &[0; 17]),
        Outcome::Rejected(Rejection::OutOfRange {
            found: 17,
            max: 16,
            ..
        })
    ));
}

#[test]
fn a_batch_is_in_the_image_and_its_words_in_the_audit() {
    let mut world = batched();
    let jobs = world.submit_all(names(3));
    let claims = jobs.iter().map(|job| weighed(*job, 1)).collect();
    let command = Command::ClaimTogether {
        claims,
        runs: vec![0, 0, 2],
    };
    let applied = world.enter(entry(world.t, command));
    let text = applied.audit.text;
    assert_eq!(text.matches(", run with j1;").count(), 1, "{text}");
    let twin = QueueManager::from_image(&world.queue.image()).unwrap();
    assert_eq!(twin.state_hash(), world.queue.state_hash());
    let batch = world.queue.batch_of(jobs[1]);
    assert!(batch.is_some());
    assert_eq!(twin.batch_of(jobs[1]), batch);
    assert_eq!(twin.batch_of(jobs[2]), None, "a run of one is no batch");
}

#[test]
fn below_the_level_nothing_is_run_together() {
    let mut world = World::new();
    let jobs = world.submit_all(names(2));
    let claims: Vec<_> = jobs.iter().map(|job| (*job, 1)).collect();
    assert!(matches!(
        world.claim_runs(&claims, &[0, 0]),
        Outcome::Rejected(Rejection::LevelTooLow { .. })
    ));
}
