//! Claims, tokens and what a failed attempt means.

use super::*;

#[test]
fn a_claim_is_checked_against_the_state_as_it_is() {
    let mut world = World::new();
    let items = world.submit(vec![spec("a", 1), spec("b", 1), spec("c", 1)]);
    let [a, b, c] = [0, 1, 2].map(|n: usize| items[n].job);
    assert_eq!(world.try_claim(JobId(99), 1), Err(ClaimRefusal::UnknownJob));
    assert_eq!(world.try_claim(a, 9), Err(ClaimRefusal::UnknownWorker));
    world.apply(worker(2, 1, 1));
    world.try_claim(a, 2).unwrap();
    assert_eq!(world.try_claim(a, 1), Err(ClaimRefusal::NotReady));
    assert_eq!(world.try_claim(b, 2), Err(ClaimRefusal::NoSlot));
    let mut other = worker(3, 1, 1);
    if let Command::Register { worker } = &mut other {
        worker.engines = vec!["summary".into()];
    }
    world.apply(other);
    assert_eq!(world.try_claim(c, 3), Err(ClaimRefusal::WrongEngine));
    assert_eq!(world.queue.counts().running, 1);
}

#[test]
fn tokens_of_one_entry_differ_and_rise() {
    let mut world = World::new();
    let items = world.submit(vec![spec("a", 1), spec("b", 1)]);
    let claims = items.iter().map(|item| Claim {
        job: item.job,
        worker: WorkerId(1),
        rule: ClaimRule::OnlyFit,
    });
    let outcome = world.apply(Command::Claim {
        claims: claims.collect(),
    });
    let Outcome::Claimed(tokens) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(tokens[0].unwrap() < tokens[1].unwrap());
    let held: Vec<_> = world.queue.leases_of(WorkerId(1)).collect();
    assert_eq!(held.len(), 2);
}

#[test]
fn stale_token_cannot_complete_a_job() {
    let mut world = World::new();
    let job = world.submit_one(spec("a", 1));
    let first = world.claim(job);
    world.expire(job, first);
    let second = world.claim(job);
    let state = world.state(job);
    let outcome = world.complete(job, first, "late");
    assert_eq!(
        outcome,
        Outcome::Rejected(Rejection::Stale {
            job,
            token: first,
            state
        })
    );
    assert_eq!(world.complete(job, second, "x"), Outcome::Completed);
    assert_eq!(world.state(job), done("x"));
}

#[test]
fn a_late_result_is_taken_while_nobody_else_runs_the_job() {
    let mut world = World::new();
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    world.expire(job, token);
    assert_eq!(world.state(job), JobState::Ready);
    assert_eq!(world.complete(job, token, "late"), Outcome::Completed);
    let other = world.submit_one(spec("b", 1));
    let token = world.claim(other);
    world.fail(other, token, FailureClass::Retryable);
    assert!(matches!(world.state(other), JobState::Delayed { .. }));
    assert_eq!(world.complete(other, token, "late"), Outcome::Completed);
    assert_eq!(world.queue.next_timer(), None, "its timer is gone");
}

#[test]
fn the_same_result_again_is_fine_and_another_one_is_stale() {
    let mut world = World::new();
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    let body = Bytes::from(&b"x"[..]);
    let complete = Command::Complete {
        job,
        token,
        result: Digest::of(b"x"),
        body: body.clone(),
    };
    let first = world.enter(entry(0, complete.clone()));
    assert_eq!(first.publication, Some((Digest::of(b"x"), body)));
    let again = world.enter(entry(0, complete));
    assert_eq!(
        (again.outcome, again.publication),
        (Outcome::Completed, None)
    );
    assert_eq!(world.queue.last_finish(), FinishNumber(1));
    assert!(matches!(
        world.complete(job, token, "y"),
        Outcome::Rejected(Rejection::Stale {
            state: JobState::Done { .. },
            ..
        })
    ));
}

#[test]
fn a_result_must_be_what_its_digest_says_and_not_too_large() {
    let mut world = World::new();
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    let complete = |result, body: Vec<u8>| Command::Complete {
        job,
        token,
        result,
        body: body.into(),
    };
    assert_eq!(
        world.apply(complete(Digest::of(b"y"), b"x".to_vec())),
        Outcome::Rejected(Rejection::DigestMismatch)
    );
    let large = vec![0; 256 * 1024 + 1];
    assert!(matches!(
        world.apply(complete(Digest::of(&large), large)),
        Outcome::Rejected(Rejection::TooLong { .. })
    ));
    assert!(matches!(world.state(job), JobState::Running(_)));
    assert_eq!(
        world.complete(JobId(77), token, "x"),
        Outcome::Rejected(Rejection::UnknownJob { job: JobId(77) })
    );
}

#[test]
fn a_new_incarnation_ends_the_leases_of_the_old_one_and_the_old_one_is_refused() {
    let mut world = World::new();
    let job = world.submit_one(spec("a", 1));
    world.claim(job);
    world.apply(worker(1, 1, 8));
    assert!(
        matches!(world.state(job), JobState::Running(_)),
        "the same again changes nothing"
    );
    assert_eq!(world.apply(worker(1, 2, 8)), Outcome::Registered);
    assert_eq!(world.state(job), JobState::Ready);
    assert_eq!(world.queue.job(job).unwrap().crashes, 1);
    assert_eq!(
        world.apply(worker(1, 1, 8)),
        Outcome::Rejected(Rejection::OldIncarnation {
            worker: WorkerId(1)
        })
    );
    assert!(matches!(
        world.apply(worker(2, 1, 0)),
        Outcome::Rejected(Rejection::OutOfRange { .. })
    ));
}

#[test]
fn a_job_dies_of_five_failures_with_growing_waits() {
    let mut world = World::new();
    let job = world.submit_one(spec("a", 1));
    let mut waits = Vec::new();
    for _ in 0..4 {
        let token = world.claim(job);
        let outcome = world.fail(job, token, FailureClass::Retryable);
        let Outcome::Failed(AfterFailure::Retry { at }) = outcome else {
            panic!("{outcome:?}");
        };
        waits.push(at.0 - world.t);
        world.tick_to(at.0);
    }
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    let token = world.claim(job);
    let outcome = world.fail(job, token, FailureClass::Retryable);
    assert_eq!(outcome, Outcome::Failed(AfterFailure::Dead));
    assert_eq!(
        world.state(job),
        JobState::Dead(DeadReason::Failures {
            count: 5,
            message: "no".into()
        })
    );
}

#[test]
fn a_job_dies_of_three_crashes_and_the_second_points_to_another_worker() {
    let mut world = World::new();
    let job = world.submit_one(spec("a", 1));
    for crashes in 1..3u64 {
        let token = world.claim(job);
        assert_eq!(world.expire(job, token), Outcome::Expired { count: 1 });
        assert_eq!(world.state(job), JobState::Ready);
        let avoid = (crashes == 2).then_some(WorkerId(1));
        assert_eq!(world.queue.worker_to_avoid(job), avoid);
    }
    let token = world.claim(job);
    assert_eq!(world.expire(job, token), Outcome::Expired { count: 1 });
    assert_eq!(
        world.state(job),
        JobState::Dead(DeadReason::Crashes { count: 3 })
    );
    assert_eq!(world.expire(job, token), Outcome::Expired { count: 0 });
}

#[test]
fn being_busy_or_drained_costs_nothing_and_a_longer_wait_asked_for_wins() {
    let mut world = World::new();
    let job = world.submit_one(spec("a", 1));
    for _ in 0..7 {
        let token = world.claim(job);
        assert_eq!(
            world.apply(Command::Release { job, token }),
            Outcome::Released
        );
    }
    let token = world.claim(job);
    let outcome = world.apply(Command::Fail {
        job,
        token,
        class: FailureClass::Busy,
        message: "é".repeat(2_000),
        retry_after_ms: Some(60_000),
    });
    assert_eq!(
        outcome,
        Outcome::Failed(AfterFailure::Retry { at: Stamp(60_000) })
    );
    let view = world.queue.job(job).unwrap();
    assert_eq!((view.failures, view.crashes, view.attempts), (0, 0, 8));
    assert_eq!(view.last_error.unwrap().len(), 1_024, "cut between letters");
    assert!(matches!(
        world.fail(job, token, FailureClass::Permanent),
        Outcome::Rejected(Rejection::Stale { .. })
    ));
}
