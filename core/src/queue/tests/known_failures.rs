//! What failed for good answers the very same request.

use super::limits::limited;
use super::*;
use crate::feature::FeatureLevel;

/// A world in which a job for the first input of `a` failed for good.
fn with_a_failure() -> (World, JobId) {
    let mut world = limited();
    let job = world.submit_one(spec("a", 1));
    world.kill(job);
    (world, job)
}

fn failed_before(letter: JobId) -> JobState {
    let message = format!("no ({letter} failed so; redrive that one to try it again)");
    JobState::Dead(DeadReason::Permanent { message })
}

#[test]
fn the_same_request_is_answered_by_a_job_that_is_dead_at_once() {
    let (mut world, letter) = with_a_failure();
    let feed = world.queue.last_finish();
    let again = world.submit(vec![spec("a", 1), spec("a", 1)]);
    for submitted in &again {
        assert_eq!(submitted.how, Admission::FailedBefore);
        assert_eq!(world.state(submitted.job), failed_before(letter));
    }
    assert_eq!(world.queue.last_finish(), FinishNumber(feed.0 + 2));
    let counts = world.queue.counts();
    assert_eq!((counts.live(), counts.dead), (0, 3));
    assert_eq!(world.queue.dead_letters_count(), 1, "they are no letters");
}

#[test]
fn another_input_generator_or_address_is_tried() {
    let (mut world, _) = with_a_failure();
    let mut newer = spec("a", 1);
    newer.generator.version = 2;
    for item in [spec("a", 2), newer, spec("b", 1)] {
        let how = world.submit(vec![item])[0].how;
        assert_eq!(how, Admission::Created);
    }
}

#[test]
fn what_depends_on_something_is_tried_again() {
    let mut world = limited();
    let item = || needs(spec("a", 1), &["b"], Policy::Optional);
    let job = world.submit_one(item());
    world.kill(job);
    assert_eq!(world.submit(vec![item()])[0].how, Admission::Created);
    let (mut world, _) = with_a_failure();
    assert_eq!(world.submit(vec![item()])[0].how, Admission::Created);
}

#[test]
fn a_letter_that_is_redriven_or_purged_answers_no_more() {
    let (mut world, letter) = with_a_failure();
    let again = world.redrive_one(letter);
    let submitted = world.submit(vec![spec("a", 1)])[0];
    assert_eq!((submitted.job, submitted.how), (again, Admission::Attached));
    world.kill(again);
    let submitted = world.submit_one(spec("a", 1));
    assert_eq!(world.state(submitted), failed_before(again));
    world.apply(Command::Purge { jobs: vec![again] });
    assert_eq!(world.submit(vec![spec("a", 1)])[0].how, Admission::Created);
}

#[test]
fn a_failure_that_may_pass_answers_nobody() {
    let mut world = limited();
    let job = world.submit_one(spec("a", 1));
    for _ in 0..3 {
        let token = world.claim(job);
        world.expire(job, token);
        if let JobState::Delayed { until } = world.state(job) {
            world.tick_to(until.0);
        }
    }
    assert!(matches!(
        world.state(job),
        JobState::Dead(DeadReason::Crashes { .. })
    ));
    assert_eq!(world.submit(vec![spec("a", 1)])[0].how, Admission::Created);
}

#[test]
fn a_failure_that_is_not_the_input_s_answers_nobody() {
    let mut world = limited();
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    let failed = world.apply(Command::Fail {
        job,
        token,
        class: FailureClass::Permanent,
        message: "it may not be read".into(),
        retry_after_ms: Some(0),
    });
    assert_eq!(failed, Outcome::Failed(AfterFailure::Dead));
    let reason = "was given up: it failed: it may not be read";
    assert_eq!(world.state(job).to_string(), reason);
    assert_eq!(world.submit(vec![spec("a", 1)])[0].how, Admission::Created);
}

#[test]
fn nothing_is_answered_so_before_its_level() {
    let mut world = World::new();
    let to = FeatureLevel::QUEUE_OPERATED;
    world.apply(Command::RaiseLevel { to });
    let job = world.submit_one(spec("a", 1));
    world.kill(job);
    assert_eq!(world.submit(vec![spec("a", 1)])[0].how, Admission::Created);
}
