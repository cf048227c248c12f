//! Whose workers, tokens and sessions are, and that nobody else uses them.

use super::*;

#[test]
fn a_worker_speaks_for_its_own_tokens_only() {
    let mut world = closed();
    let other = vec![Grant::everywhere(Role::Worker)];
    world.put("admin", "other", other);
    let foreign = Denial::ForeignWorker {
        worker: WorkerId(1),
    };
    assert_eq!(world.denied("other", worker(1, 3, 8)), foreign);
    assert_eq!(world.by("other", worker(2, 1, 8)), Outcome::Registered);
    let job = world.submit_for("agent", spec("a", 1));
    let token = world.given(job, 1);
    let foreign = Denial::ForeignToken { job, token };
    let class = FailureClass::Permanent;
    let fail = Command::Fail {
        job,
        token,
        class,
        message: "no".into(),
        retry_after_ms: None,
    };
    for command in [
        completion(job, token),
        Command::Release { job, token },
        fail,
    ] {
        assert_eq!(world.denied("other", command), foreign);
    }
    assert_eq!(
        world.by("worker", completion(job, token)),
        Outcome::Completed
    );
    // Nothing comes of it any more, whoever says it.
    assert_eq!(
        world.by("other", completion(job, token)),
        Outcome::Completed
    );
}

#[test]
fn a_late_result_is_its_workers_too_and_a_worker_that_is_expelled_is_nobodys() {
    let mut world = closed();
    world.put("admin", "other", vec![Grant::everywhere(Role::Worker)]);
    let job = world.submit_for("agent", spec("a", 1));
    let token = world.given(job, 1);
    let leases = vec![ExpiredLease { job, token }];
    world.by_cluster(Command::Expire { leases });
    let foreign = Denial::ForeignToken { job, token };
    assert_eq!(world.denied("other", completion(job, token)), foreign);
    let worker_1 = WorkerId(1);
    world.by("operator", Command::Expel { worker: worker_1 });
    assert_eq!(world.queue.owner_of_worker(worker_1), None);
    assert_eq!(world.denied("worker", completion(job, token)), foreign);
    assert_eq!(world.by("worker", worker(1, 2, 8)), Outcome::Registered);
    assert_eq!(
        world.by("worker", completion(job, token)),
        Outcome::Completed
    );
}

#[test]
fn a_session_is_used_only_by_whoever_opened_it_and_stays_as_it_was() {
    let mut world = closed();
    world.put("admin", "other", vec![Grant::everywhere(Role::Agent)]);
    let session = world.session_of("agent");
    let items = vec![spec("a", 1)];
    let first = world.asks("agent", session, 1, submit(items.clone()));
    assert!(matches!(first, Outcome::Submitted(_)));
    let state = world.queue.state_hash();
    let foreign = Outcome::Rejected(Rejection::Denied(Denial::ForeignSession { session }));
    // Neither does it learn what was answered, nor acknowledge that.
    let mut same = entry(world.t + 5, submit(items.clone()));
    same.principal = who("other");
    same.acknowledged = Sequence(9);
    same.request = Some(RequestId {
        session,
        sequence: Sequence(1),
    });
    assert_eq!(world.enter(same).outcome, foreign);
    assert_ne!(world.queue.state_hash(), state, "the audit has it");
    world.t += 5;
    assert_eq!(world.asks("agent", session, 1, submit(items)), first);
}

#[test]
fn what_was_done_keeps_its_answer_and_what_was_denied_may_be_sent_again() {
    let mut world = closed();
    let session = world.session_of("agent");
    let one = submit(vec![spec("a", 1)]);
    let two = submit(vec![spec("b", 1)]);
    let done = world.asks("agent", session, 1, one.clone());
    world.put("admin", "agent", vec![]);
    assert_eq!(world.asks("agent", session, 1, one), done);
    let (needed, held) = (Role::Agent, vec![]);
    let denied = Outcome::Rejected(Rejection::Denied(Denial::Role { needed, held }));
    assert_eq!(world.asks("agent", session, 2, two.clone()), denied);
    world.put("admin", "agent", vec![Grant::everywhere(Role::Agent)]);
    let again = world.asks("agent", session, 2, two);
    assert!(matches!(again, Outcome::Submitted(_)), "{again:?}");
}

#[test]
fn what_was_there_before_the_level_is_whose_it_is_by_use_while_all_may() {
    let mut world = World::new();
    let session = world.session_of("agent");
    let idle = world.session_of("agent");
    let to = FeatureLevel::ACCESS_CHECKED;
    world.apply(Command::RaiseLevel { to });
    world.asks("agent", session, 1, submit(vec![spec("a", 1)]));
    assert_eq!(world.queue.owner_of_session(session), Some(&who("agent")));
    let job = world.submit_for("agent", spec("b", 1));
    let token = world.given(job, 1);
    for role in [Role::Admin, Role::Agent, Role::Worker] {
        world.put("admin", &role.to_string(), vec![Grant::everywhere(role)]);
    }
    let foreign = Denial::ForeignSession { session: idle };
    let outcome = world.asks("agent", idle, 1, submit(vec![spec("c", 1)]));
    assert_eq!(outcome, Outcome::Rejected(Rejection::Denied(foreign)));
    // Worker 1 must say whose it is.
    assert!(world.queue.is_nobodys(WorkerId(1)));
    let foreign = Denial::ForeignToken { job, token };
    assert_eq!(world.denied("worker", completion(job, token)), foreign);
    assert_eq!(world.by("worker", worker(1, 1, 8)), Outcome::Registered);
    assert!(!world.queue.is_nobodys(WorkerId(1)));
    assert_eq!(
        world.by("worker", completion(job, token)),
        Outcome::Completed
    );
}

#[test]
fn whose_a_session_is_ends_with_it() {
    let mut world = open();
    let session = world.session_of("agent");
    let ttl_ms = rules().session_ttl_ms;
    world.tick_to(ttl_ms);
    assert_eq!(world.queue.owner_of_session(session), None);
}

#[test]
fn a_worker_whose_owner_may_not_work_any_more_is_given_nothing_and_hands_in_nothing() {
    let mut world = closed();
    let first = world.submit_for("agent", spec("a", 1));
    let second = world.submit_for("agent", spec("b", 1));
    let token = world.given(first, 1);
    assert!(world.queue.may_work(WorkerId(1)));
    world.put("admin", "worker", vec![Grant::everywhere(Role::Agent)]);
    assert!(!world.queue.may_work(WorkerId(1)));
    let (needed, held) = (Role::Worker, vec![Role::Agent]);
    let denied = world.denied("worker", completion(first, token));
    assert_eq!(denied, Denial::Role { needed, held });
    assert_eq!(world.try_given(second, 1), Err(ClaimRefusal::NotAllowed));
    world.put("admin", "worker", vec![Grant::everywhere(Role::Worker)]);
    let completed = world.by("worker", completion(first, token));
    assert_eq!(completed, Outcome::Completed);
    assert!(world.try_given(second, 1).is_ok());
}
