//! Edges, and how an end spreads along them.

use super::*;

#[test]
fn a_batch_may_name_dependents_before_what_they_need() {
    let mut world = World::new();
    let items = world.submit(vec![
        needs(spec("folder", 1), &["a", "b"], Policy::Require),
        spec("a", 1),
        spec("b", 1),
    ]);
    let [folder, a, b] = [0, 1, 2].map(|n: usize| items[n].job);
    assert_eq!(world.state(folder), JobState::Waiting { open: 2 });
    assert_eq!(world.try_claim(folder, 1), Err(ClaimRefusal::NotReady));
    world.run(a);
    assert_eq!(world.state(folder), JobState::Waiting { open: 1 });
    world.run(b);
    let token = world.claim(folder);
    let assignment = world.queue.assignment(folder).unwrap();
    assert_eq!((assignment.token, assignment.attempt), (token, 1));
    let results: Vec<_> = assignment.dependencies.iter().map(|d| d.result).collect();
    assert_eq!(results, [Some(Digest::of(b"x")); 2]);
}

#[test]
fn a_published_dependency_is_satisfied_and_a_missing_one_is_refused_or_a_gap() {
    let mut world = World::new();
    let a = world.submit_one(spec("a", 1));
    world.run(a);
    let job = world.submit_one(needs(spec("b", 1), &["a"], Policy::Require));
    assert_eq!(world.state(job), JobState::Ready);
    let refused = world.refuse(vec![needs(spec("c", 1), &["nowhere"], Policy::Require)]);
    assert_eq!(
        refused,
        Rejection::UnknownDependency {
            item: 0,
            address: address("nowhere")
        }
    );
    let gap = world.submit_one(needs(spec("c", 1), &["nowhere"], Policy::Optional));
    world.claim(gap);
    let assignment = world.queue.assignment(gap).unwrap();
    assert_eq!(assignment.dependencies[0].address, address("nowhere"));
    assert_eq!(assignment.dependencies[0].result, None);
}

#[test]
fn a_cycle_refuses_the_batch_and_shows_its_path() {
    let mut world = World::new();
    let refused = world.refuse(vec![
        spec("free", 1),
        needs(spec("a", 1), &["b", "free"], Policy::Optional),
        needs(spec("b", 1), &["c"], Policy::Require),
        needs(spec("c", 1), &["a"], Policy::Require),
        needs(spec("outside", 1), &["a"], Policy::Require),
    ]);
    let Rejection::Cycle { path } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(path.len(), 4, "{path:?}");
    assert_eq!(path[0], path[3]);
    let own = world.refuse(vec![needs(spec("a", 1), &["a"], Policy::Optional)]);
    assert_eq!(
        own,
        Rejection::Cycle {
            path: vec![address("a"), address("a")]
        }
    );
}

#[test]
fn a_required_failure_ends_dependents_transitively_and_an_optional_one_does_not() {
    let mut world = World::new();
    let items = world.submit(vec![
        spec("a", 1),
        needs(spec("b", 1), &["a"], Policy::Require),
        needs(spec("c", 1), &["b"], Policy::Require),
        needs(spec("d", 1), &["c"], Policy::Optional),
    ]);
    let [a, b, c, d] = [0, 1, 2, 3].map(|n: usize| items[n].job);
    let token = world.claim(a);
    let outcome = world.fail(a, token, FailureClass::Permanent);
    assert_eq!(outcome, Outcome::Failed(AfterFailure::Dead));
    assert_eq!(world.state(b), JobState::DependencyFailed { dependency: a });
    assert_eq!(world.state(c), JobState::DependencyFailed { dependency: b });
    assert_eq!(world.state(d), JobState::Ready);
}

#[test]
fn dependents_follow_a_superseded_dependency_to_the_newer_job() {
    let mut world = World::new();
    world.submit_one(spec("a", 1));
    let dependent = world.submit_one(needs(spec("b", 1), &["a"], Policy::Require));
    let newer = world.submit_one(spec("a", 2));
    assert_eq!(world.state(dependent), JobState::Waiting { open: 1 });
    world.run(newer);
    assert_eq!(world.state(dependent), JobState::Ready);
}

#[test]
fn a_newer_input_that_needs_its_own_dependent_parks_and_nothing_waits_for_itself() {
    let mut world = World::new();
    let a = world.submit_one(spec("a", 1));
    let b = world.submit_one(needs(spec("b", 1), &["a"], Policy::Require));
    // Now a needs b, which waits for the older a.
    let newer = world.submit(vec![needs(spec("a", 2), &["b"], Policy::Require)])[0];
    assert_eq!(newer.how, Admission::Parked);
    assert_eq!(world.state(a), JobState::Ready, "it may not be superseded");
    world.run(a);
    world.run(b);
    world.run(newer.job);
    assert_eq!(world.state(newer.job), done("x"));
}

#[test]
fn a_circle_through_a_parked_job_is_cut_where_it_closes() {
    let mut world = World::new();
    let a = world.submit_one(spec("a", 1));
    world.claim(a);
    let parked = world.submit_one(spec("a", 2));
    let b = world.submit_one(needs(spec("b", 1), &["a"], Policy::Require));
    let newest = world.submit_one(needs(spec("a", 3), &["b"], Policy::Optional));
    assert_eq!(world.state(parked), JobState::Superseded { by: newest });
    assert_eq!(
        world.state(b),
        JobState::DependencyFailed { dependency: parked }
    );
    assert_eq!(world.state(newest), JobState::Parked);
}

#[test]
fn urgency_is_handed_on_to_what_is_needed() {
    let mut world = World::new();
    let mut a = spec("a", 1);
    a.class = Class::Idle;
    let a = world.submit_one(a);
    let mut b = needs(spec("b", 1), &["a"], Policy::Require);
    b.class = Class::Background;
    world.submit_one(b);
    assert_eq!(world.queue.job(a).unwrap().class, Class::Background);
    let mut c = needs(spec("c", 1), &["b"], Policy::Optional);
    c.class = Class::Urgent;
    world.submit_one(c);
    assert_eq!(world.queue.job(a).unwrap().class, Class::Urgent);
}

#[test]
fn a_long_cascade_is_paced_and_goes_on_by_tick() {
    let mut world = World::new();
    let a = world.submit_one(spec("a", 1));
    let dependents = |from: u32| {
        (from..from + 600).map(|n| needs(spec(&format!("d{n}"), 1), &["a"], Policy::Require))
    };
    world.submit(dependents(0).collect());
    world.submit(dependents(600).collect());
    let token = world.claim(a);
    world.fail(a, token, FailureClass::Permanent);
    assert_eq!(world.queue.counts().dependency_failed, 512);
    assert!(world.queue.cascade_pending());
    world.apply(Command::Tick);
    world.apply(Command::Tick);
    assert_eq!(world.queue.counts().dependency_failed, 1_200);
    assert!(!world.queue.cascade_pending());
}
