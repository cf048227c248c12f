//! Why a job is where it is, as claims.

use super::operated::operated;
use super::*;
use crate::limits::{EXPLAINED_CAUSES_MAX, EXPLAINED_DEPENDENCIES_MAX};

fn holds(world: &World, job: JobId) -> Vec<Hold> {
    world.queue.explain(job).unwrap().holds
}

#[test]
fn a_ready_job_has_its_turn_counted_by_queue_and_slots() {
    let mut world = operated();
    let jobs = world.submit(vec![spec("a", 1), spec("b", 1), spec("c", 1)]);
    world.claim(jobs[0].job);
    let turn = |ahead| Hold::Turn {
        ahead,
        ahead_is_least: false,
        queues: 1,
        workers: 1,
        slots: 8,
        taken: 1,
        avoids: None,
    };
    assert_eq!(holds(&world, jobs[1].job), [turn(0)]);
    assert_eq!(holds(&world, jobs[2].job), [turn(1)]);
    assert!(matches!(
        holds(&world, jobs[0].job)[..],
        [Hold::Running {
            attempt: 1,
            since: Some(Stamp(0)),
            ..
        }]
    ));
}

#[test]
fn dependencies_are_named_up_to_a_bound_and_counted_beyond() {
    let mut world = operated();
    let names: Vec<String> = (0..40).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut items: Vec<JobSpec> = names.iter().map(|name| spec(name, 1)).collect();
    items.push(needs(spec("top", 1), &names, Policy::Require));
    let jobs = world.submit(items);
    world.run(jobs[0].job);
    let top = holds(&world, jobs[40].job);
    let [Hold::Dependencies { open: 39, first }] = &top[..] else {
        panic!("{top:?}");
    };
    assert_eq!(first.len(), EXPLAINED_DEPENDENCIES_MAX);
    assert_eq!(first[0].job, jobs[1].job, "the first is over");
    assert_eq!(first[0].state, JobState::Ready);
}

#[test]
fn a_chain_of_failures_leads_to_the_one_that_failed_of_itself() {
    let mut world = operated();
    let mut items = vec![spec("n0", 1)];
    for n in 1..100 {
        let below = format!("n{}", n - 1);
        let item = needs(spec(&format!("n{n}"), 1), &[&below], Policy::Require);
        items.push(item);
    }
    let jobs = world.submit(items);
    world.kill(jobs[0].job);
    while world.queue.cascade_pending() {
        world.apply(Command::Tick);
    }
    let said = world.queue.explain(jobs[10].job).unwrap();
    let causes: Vec<JobId> = said.causes.iter().map(|cause| cause.job).collect();
    let below: Vec<JobId> = (0..10).rev().map(|n| jobs[n].job).collect();
    assert_eq!(causes, below);
    assert_eq!(said.holds, []);
    let said = world.queue.explain(jobs[99].job).unwrap();
    assert_eq!(said.causes.len(), EXPLAINED_CAUSES_MAX);
    let again = world.redrive_one(jobs[0].job);
    let said = world.queue.explain(jobs[0].job).unwrap();
    assert_eq!(said.instead, Some(again));
}

#[test]
fn superseding_leads_to_the_newest_input() {
    let mut world = operated();
    let first = world.submit_one(spec("a", 1));
    world.submit_one(spec("a", 2));
    let last = world.submit_one(spec("a", 3));
    assert_eq!(world.queue.explain(first).unwrap().instead, Some(last));
    world.run(last);
    assert_eq!(world.queue.explain(first).unwrap().instead, Some(last));
    assert_eq!(world.queue.explain(last).unwrap().instead, None);
    assert_eq!(world.queue.explain(JobId(99)), None);
}

#[test]
fn all_pauses_that_cover_a_job_are_named_and_that_nobody_offers_its_engine() {
    let mut world = operated();
    let mut item = spec("a", 1);
    item.generator.engine = "summary".into();
    let job = world.submit_one(item);
    let other = Scope::Engine("outline".into());
    let covering = [
        Scope::Cluster,
        Scope::Engine("summary".into()),
        Scope::Tenant("team".into()),
    ];
    for scope in covering.iter().cloned().chain([other]) {
        let reason = String::new();
        world.apply(Command::Pause { scope, reason });
    }
    let holds = holds(&world, job);
    let mut paused: Vec<Scope> = Vec::new();
    for hold in &holds {
        match hold {
            Hold::Paused(pause) => paused.push(pause.scope.clone()),
            other => assert_eq!(*other, Hold::NoWorker),
        }
    }
    paused.sort();
    assert_eq!((paused.as_slice(), holds.len()), (&covering[..], 4));
}

#[test]
fn an_explanation_is_told_in_lines() {
    let mut world = operated();
    let top = needs(spec("top", 1), &["a"], Policy::Require);
    let jobs = world.submit(vec![spec("a", 1), top]);
    let told = world.queue.explain(jobs[1].job).unwrap().to_string();
    assert_eq!(
        told,
        "j2 ucxl://p/top waits for other jobs: 1\n  dependencies that are not over: 1, of which ucxl://p/a (j1 is ready); it goes on when the last of them is over"
    );
    world.kill(jobs[0].job);
    let told = world.queue.explain(jobs[1].job).unwrap().to_string();
    assert_eq!(
        told,
        "j2 ucxl://p/top failed for want of j1\n  it needed j1 ucxl://p/a was given up: it cannot be done: no"
    );
}
