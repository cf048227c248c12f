//! Queues and workers that are held back, and workers that are sent away.

use super::operated::{operated, scopes};
use super::*;
use crate::limits::{NAME_BYTES_MAX, PAUSES_MAX};

#[test]
fn a_claim_of_what_is_paused_is_refused_and_what_runs_goes_on() {
    for scope in scopes() {
        let mut world = operated();
        let (running, waiting) = (spec("a", 1), spec("b", 1));
        let jobs = world.submit(vec![running, waiting]);
        let token = world.claim(jobs[0].job);
        let pause = Command::Pause {
            scope: scope.clone(),
            reason: String::new(),
        };
        assert_eq!(
            world.apply(pause.clone()),
            Outcome::Paused { before: false }
        );
        assert_eq!(world.apply(pause), Outcome::Paused { before: true });
        let refused = world.try_claim(jobs[1].job, 1);
        assert_eq!(refused, Err(ClaimRefusal::Paused), "{scope}");
        let completed = world.complete(jobs[0].job, token, "x");
        assert_eq!(completed, Outcome::Completed);
        let resume = Command::Resume { scope };
        let resumed = world.apply(resume.clone());
        assert_eq!(resumed, Outcome::Resumed { before: false });
        assert_eq!(world.apply(resume), Outcome::Resumed { before: true });
        world.run(jobs[1].job);
    }
}

#[test]
fn so_many_names_are_paused_and_no_longer_ones() {
    let mut world = operated();
    let pause = |scope| Command::Pause {
        scope,
        reason: "r".repeat(5_000),
    };
    for n in 0..PAUSES_MAX {
        let outcome = world.apply_unchecked(pause(Scope::Tenant(format!("t{n}"))));
        assert_eq!(outcome, Outcome::Paused { before: false });
    }
    let full = world.apply(pause(Scope::Cluster));
    assert!(
        matches!(full, Outcome::Rejected(Rejection::Full { .. })),
        "{full:?}"
    );
    let again = world.apply(pause(Scope::Tenant("t0".into())));
    assert_eq!(again, Outcome::Paused { before: true });
    assert!(
        world
            .queue
            .pauses()
            .all(|pause| pause.reason.len() <= 1_024)
    );
    let resumed = world.apply(Command::Resume {
        scope: Scope::Tenant("t0".into()),
    });
    assert_eq!(resumed, Outcome::Resumed { before: false });
    let long = "n".repeat(usize::try_from(NAME_BYTES_MAX).unwrap() + 1);
    for name in [String::new(), long] {
        for scope in [Scope::Tenant(name.clone()), Scope::Engine(name)] {
            let outcome = world.apply(pause(scope.clone()));
            assert!(
                matches!(outcome, Outcome::Rejected(_)),
                "{scope} {outcome:?}"
            );
            let outcome = world.apply(Command::Resume { scope });
            assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
        }
    }
}

#[test]
fn a_drained_worker_gets_nothing_more_and_keeps_what_it_runs() {
    let mut world = operated();
    world.apply(worker(2, 1, 8));
    let jobs = world.submit(vec![spec("a", 1), spec("b", 1)]);
    let token = world.claim(jobs[0].job);
    let scope = Scope::Worker(WorkerId(1));
    let reason = "it is to be restarted".to_owned();
    let pause = Command::Pause {
        scope: scope.clone(),
        reason,
    };
    assert_eq!(world.apply(pause), Outcome::Paused { before: false });
    let refused = world.try_claim(jobs[1].job, 1);
    assert_eq!(refused, Err(ClaimRefusal::Paused));
    let completed = world.complete(jobs[0].job, token, "x");
    assert_eq!(completed, Outcome::Completed);
    world.try_claim(jobs[1].job, 2).unwrap();
    let resumed = world.apply(Command::Resume { scope });
    assert_eq!(resumed, Outcome::Resumed { before: false });
    let third = world.submit_one(spec("c", 1));
    world.run(third);
}

#[test]
fn an_expelled_worker_is_forgotten_and_its_jobs_go_to_others_uncounted() {
    let mut world = operated();
    world.apply(worker(2, 1, 8));
    let jobs = world.submit(vec![spec("a", 1), spec("b", 1)]);
    let token = world.claim(jobs[0].job);
    let second = world.claim(jobs[1].job);
    let expel = Command::Expel {
        worker: WorkerId(1),
    };
    let expelled = world.apply(expel.clone());
    let (known, jobs_count) = (true, 2);
    assert_eq!(
        expelled,
        Outcome::Expelled {
            known,
            jobs: jobs_count
        }
    );
    assert_eq!(world.queue.worker(WorkerId(1)), None);
    let view = world.queue.job(jobs[0].job).unwrap();
    assert_eq!(
        (view.failures, view.crashes, view.state),
        (0, 0, JobState::Ready)
    );
    let refused = world.try_claim(jobs[0].job, 1);
    assert_eq!(refused, Err(ClaimRefusal::UnknownWorker));
    world.try_claim(jobs[0].job, 2).unwrap();
    let late = world.complete(jobs[0].job, token, "late");
    assert!(
        matches!(late, Outcome::Rejected(Rejection::Stale { .. })),
        "{late:?}"
    );
    // As long as nobody else runs it, a late result is one.
    let late = world.complete(jobs[1].job, second, "late");
    assert_eq!(late, Outcome::Completed);
    let known = false;
    assert_eq!(world.apply(expel), Outcome::Expelled { known, jobs: 0 });
    // It may come back, in the same life.
    assert_eq!(world.apply(worker(1, 1, 8)), Outcome::Registered);
    let third = world.submit_one(spec("c", 1));
    world.run(third);
}
