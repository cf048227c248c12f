//! What a submit does.

use super::*;
use crate::queue::QueueKey;

#[test]
fn ready_jobs_stand_by_class_and_then_by_acceptance_and_a_retry_keeps_its_place() {
    let mut world = World::new();
    let mut urgent = spec("c", 1);
    urgent.class = Class::Urgent;
    let items = vec![spec("a", 1), spec("b", 1), urgent];
    let ids: Vec<JobId> = world.submit(items).iter().map(|item| item.job).collect();
    let ready = |world: &World| world.queue.ready().collect::<Vec<_>>();
    assert_eq!(ready(&world), [ids[2], ids[0], ids[1]]);
    let token = world.claim(ids[0]);
    assert_eq!(
        world.apply(Command::Release { job: ids[0], token }),
        Outcome::Released
    );
    assert_eq!(ready(&world), [ids[2], ids[0], ids[1]]);
}

#[test]
fn each_tenant_and_engine_has_a_queue_of_its_own() {
    let mut world = World::new();
    let mut items = vec![spec("a", 1), spec("b", 1), spec("c", 1), spec("d", 1)];
    items[1].generator.engine = "alpha".into();
    items[2].tenant = "other".into();
    let ids: Vec<JobId> = world.submit(items).iter().map(|item| item.job).collect();
    let first = spec("a", 1);
    let of = |world: &World, class, tenant: &str, engine: &str| {
        let key = QueueKey {
            class,
            tenant: tenant.into(),
            engine: engine.into(),
        };
        world.queue.ready_in(&key).collect::<Vec<_>>()
    };
    let (normal, tenant, engine) = (first.class, &*first.tenant, &*first.generator.engine);
    assert_eq!(of(&world, normal, tenant, engine), [ids[0], ids[3]]);
    assert_eq!(of(&world, normal, tenant, "alpha"), [ids[1]]);
    assert_eq!(of(&world, normal, "other", engine), [ids[2]]);
    assert_eq!(of(&world, normal, "other", "alpha"), []);
    // Who is asked for more urgently moves to the queue of that class, to the
    // place that its acceptance gives it there.
    for path in ["d", "a"] {
        let mut again = spec(path, 1);
        again.class = Class::Urgent;
        world.submit(vec![again]);
    }
    assert_eq!(of(&world, normal, tenant, engine), []);
    assert_eq!(of(&world, Class::Urgent, tenant, engine), [ids[0], ids[3]]);
}

#[test]
fn the_same_input_attaches_to_the_live_job_and_may_make_it_urgent() {
    let mut world = World::new();
    let first = world.submit_one(spec("a", 1));
    let mut again = spec("a", 1);
    again.class = Class::Urgent;
    let second = world.submit(vec![again]);
    assert_eq!(
        second,
        [Submitted {
            job: first,
            how: Admission::Attached
        }]
    );
    let view = world.queue.job(first).unwrap();
    assert_eq!((view.waiters, view.class), (2, Class::Urgent));
    assert_eq!(world.queue.counts().live(), 1);
}

#[test]
fn a_result_that_is_there_answers_at_once_and_another_generator_does_not_find_it() {
    let mut world = World::new();
    let first = world.submit_one(spec("a", 1));
    world.run(first);
    let hit = world.submit(vec![spec("a", 1)])[0];
    assert_eq!(hit.how, Admission::FromCache);
    assert_eq!(
        world.state(hit.job),
        JobState::Done {
            result: Digest::of(b"x"),
            from_cache: true
        }
    );
    let mut other = spec("a", 1);
    other.generator.version = 2;
    assert_eq!(world.submit(vec![other])[0].how, Admission::Created);
    let counts = world.queue.counts();
    assert_eq!((counts.done, counts.from_cache, counts.contexts), (2, 1, 1));
}

#[test]
fn a_newer_input_supersedes_one_that_does_not_run_and_takes_its_waiters() {
    let mut world = World::new();
    let mut urgent = spec("a", 1);
    urgent.class = Class::Urgent;
    let old = world.submit_one(urgent);
    let new = world.submit_one(spec("a", 2));
    assert_eq!(world.state(old), JobState::Superseded { by: new });
    let view = world.queue.job(new).unwrap();
    assert_eq!((view.waiters, view.class), (2, Class::Urgent));
}

#[test]
fn a_newer_input_parks_behind_a_running_one_and_the_newest_wins() {
    let mut world = World::new();
    let running = world.submit_one(spec("a", 1));
    let token = world.claim(running);
    let parked = world.submit(vec![spec("a", 2)])[0];
    assert_eq!(parked.how, Admission::Parked);
    assert_eq!(
        world.try_claim(parked.job, 1),
        Err(ClaimRefusal::ContextRunning)
    );
    let newest = world.submit_one(spec("a", 3));
    assert_eq!(world.state(parked.job), JobState::Superseded { by: newest });
    assert_eq!(world.state(newest), JobState::Parked);
    assert_eq!(world.complete(running, token, "one"), Outcome::Completed);
    let context = world.queue.context(&address("a")).unwrap();
    assert_eq!(context.job, running, "published until the newer one is");
    assert_eq!(world.state(newest), JobState::Ready);
    world.run(newest);
    let context = world.queue.context(&address("a")).unwrap();
    assert_eq!(context.job, newest);
}

#[test]
fn a_failed_attempt_gives_way_to_the_parked_input() {
    let mut world = World::new();
    let running = world.submit_one(spec("a", 1));
    let token = world.claim(running);
    let dependent = world.submit_one(needs(spec("d", 1), &["a"], Policy::Require));
    let by = world.submit_one(spec("a", 2));
    let outcome = world.fail(running, token, FailureClass::Permanent);
    assert_eq!(outcome, Outcome::Failed(AfterFailure::Superseded { by }));
    assert_eq!(world.state(running), JobState::Superseded { by });
    assert_eq!(world.state(by), JobState::Ready);
    assert_eq!(world.state(dependent), JobState::Waiting { open: 1 });
    world.run(by);
    assert_eq!(world.state(dependent), JobState::Ready);
}

#[test]
fn an_old_input_that_comes_again_is_the_newest_and_the_pointer_does_not_move_back() {
    let mut world = World::new();
    let first = world.submit_one(spec("a", 1));
    world.run(first);
    let second = world.submit_one(spec("a", 2));
    let token = world.claim(second);
    assert_eq!(
        world.submit(vec![spec("a", 1)])[0].how,
        Admission::FromCache
    );
    let applied = world.complete(second, token, "two");
    assert_eq!(applied, Outcome::Completed, "it ends, but is not shown");
    let context = world.queue.context(&address("a")).unwrap();
    assert_eq!((context.job, context.subject), (first, subject(1)));
}

#[test]
fn a_running_input_that_comes_again_takes_the_parked_one_back() {
    let mut world = World::new();
    let running = world.submit_one(spec("a", 1));
    world.claim(running);
    let parked = world.submit_one(spec("a", 2));
    let dependent = world.submit_one(needs(spec("d", 1), &["a"], Policy::Require));
    let again = world.submit(vec![spec("a", 1)])[0];
    assert_eq!((again.job, again.how), (running, Admission::Attached));
    assert_eq!(world.state(parked), JobState::Superseded { by: running });
    let token = world.queue.job(running).unwrap().last_token.unwrap();
    world.complete(running, token, "x");
    assert_eq!(world.state(dependent), JobState::Ready);
}

#[test]
fn a_cache_hit_supersedes_what_waits_for_an_older_input() {
    let mut world = World::new();
    let first = world.submit_one(spec("a", 1));
    world.run(first);
    let stale = world.submit_one(spec("a", 2));
    let dependent = world.submit_one(needs(spec("d", 1), &["a"], Policy::Require));
    let hit = world.submit_one(spec("a", 1));
    assert_eq!(world.state(stale), JobState::Superseded { by: hit });
    assert_eq!(world.state(dependent), JobState::Ready);
}

#[test]
fn items_of_one_address_in_one_batch_count_in_their_order() {
    let mut world = World::new();
    let items = world.submit(vec![spec("a", 1), spec("a", 2), spec("a", 2)]);
    assert_eq!(
        world.state(items[0].job),
        JobState::Superseded { by: items[1].job }
    );
    assert_eq!(items[2].job, items[1].job);
    assert_eq!(items[2].how, Admission::Attached);
}

#[test]
fn a_delayed_item_waits_for_its_time_and_not_less() {
    let mut world = World::new();
    let mut item = spec("a", 1);
    item.delay_ms = 500;
    let job = world.submit_one(item);
    assert_eq!(world.queue.next_timer(), Some(Stamp(500)));
    assert_eq!(world.tick_to(499), Outcome::Ticked { count: 0 });
    assert_eq!(world.try_claim(job, 1), Err(ClaimRefusal::NotReady));
    assert_eq!(world.tick_to(500), Outcome::Ticked { count: 1 });
    assert_eq!(world.state(job), JobState::Ready);
}

#[test]
fn a_full_queue_refuses_what_it_would_have_to_add_and_nothing_else() {
    let mut world = World::under(Rules {
        jobs_live_max: 2,
        ..rules()
    });
    world.submit(vec![spec("a", 1), spec("b", 1)]);
    let refused = world.refuse(vec![spec("c", 1)]);
    assert!(
        matches!(
            refused,
            Rejection::QueueFull {
                live: 2,
                limit: 2,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(world.submit(vec![spec("a", 1)])[0].how, Admission::Attached);
}

#[test]
fn what_is_out_of_bounds_is_refused_with_its_bound() {
    let mut world = World::new();
    let found = world.refuse(Vec::new());
    assert!(matches!(found, Rejection::ItemCount { found: 0, .. }));
    let many = (0..1_001).map(|n| spec(&format!("{n}"), 1)).collect();
    let found = world.refuse(many);
    assert!(matches!(found, Rejection::ItemCount { found: 1_001, .. }));
    let mut long = spec("a", 1);
    long.tenant = "t".repeat(129);
    let found = world.refuse(vec![long]);
    assert!(matches!(
        found,
        Rejection::TooLong {
            found: 129,
            limit: 128,
            ..
        }
    ));
    let mut late = spec("a", 1);
    late.delay_ms = u64::MAX;
    let found = world.refuse(vec![late]);
    assert!(matches!(found, Rejection::OutOfRange { .. }));
    let names: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = world.refuse(vec![needs(spec("a", 1), &names, Policy::Require)]);
    assert!(matches!(
        found,
        Rejection::TooManyDependencies {
            required: true,
            found: 65,
            ..
        }
    ));
    assert_eq!(
        world.submit(vec![needs(spec("a", 1), &names, Policy::Optional)])[0].how,
        Admission::Created,
        "optional ones have a higher bound"
    );
}
