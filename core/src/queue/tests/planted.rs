//! Each planted bug breaks its rule, and only where it is planted.

use super::cache::cached;
use super::cancel::{ONE, OTHER, Waiting};
use super::limits::{limited, rate, running};
use super::operated::operated;
use super::*;
use crate::planted::Bug;

fn planted(bug: Bug) -> World {
    let mut world = World::new();
    world.queue.plant(bug);
    world
}

#[test]
fn ignoring_tokens_takes_a_zombie_s_result() {
    let mut world = planted(Bug::IgnoreToken);
    let job = world.submit_one(spec("a", 1));
    let first = world.claim(job);
    world.expire(job, first);
    world.claim(job);
    assert_eq!(world.complete(job, first, "zombie"), Outcome::Completed);
}

#[test]
fn completing_twice_shows_a_job_twice_in_the_feed() {
    let mut world = planted(Bug::CompleteTwice);
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    world.complete(job, token, "one");
    assert_eq!(world.complete(job, token, "two"), Outcome::Completed);
    assert_eq!(world.queue.last_finish(), FinishNumber(2));
    assert_eq!(world.state(job), done("two"));
}

#[test]
fn forgetting_sessions_gives_a_resend_a_second_effect() {
    let mut world = planted(Bug::ForgetSession);
    world.apply(Command::OpenSession);
    let submit = Command::Submit {
        items: vec![spec("a", 1)],
    };
    let first = world.ask(2, 1, 0, submit.clone());
    assert_ne!(world.ask(2, 1, 0, submit), first);
}

#[test]
fn ignoring_dependencies_starts_a_dependent_at_once() {
    let mut world = planted(Bug::IgnoreDependencies);
    world.submit_one(spec("a", 1));
    let dependent = world.submit_one(needs(spec("b", 1), &["a"], Policy::Require));
    world.claim(dependent);
}

#[test]
fn running_a_context_twice_runs_old_and_new_input_at_once() {
    let mut world = planted(Bug::RunContextTwice);
    let old = world.submit_one(spec("a", 1));
    let old_token = world.claim(old);
    let new = world.submit_one(spec("a", 2));
    let new_token = world.claim(new);
    assert_eq!(world.queue.counts().running, 2);
    world.complete(new, new_token, "new");
    world.complete(old, old_token, "old");
    assert_eq!(world.queue.counts().live(), 0);
}

fn planted_with_waits(bug: Bug) -> Waiting {
    let mut waiting = Waiting::new();
    waiting.world.queue.plant(bug);
    waiting
}

#[test]
fn leaving_twice_leaves_for_another() {
    let mut waiting = planted_with_waits(Bug::LeftTwice);
    let jobs = waiting.submit(ONE, vec![spec("a", 1)]);
    waiting.submit(OTHER, vec![spec("a", 1)]);
    assert_eq!(waiting.leave(ONE, &jobs), [Cancellation::Left]);
    let again = waiting.leave(ONE, &jobs);
    assert_eq!(again, [Cancellation::Ended { stops: None }]);
}

#[test]
fn leaving_for_all_ends_what_another_wants() {
    let mut waiting = planted_with_waits(Bug::LeavingEndsAll);
    let jobs = waiting.submit(ONE, vec![spec("a", 1)]);
    waiting.submit(OTHER, vec![spec("a", 1)]);
    let left = waiting.leave(ONE, &jobs);
    assert_eq!(left, [Cancellation::Ended { stops: None }]);
}

#[test]
fn what_nobody_wants_goes_on() {
    let mut waiting = planted_with_waits(Bug::UnwantedGoesOn);
    let jobs = waiting.submit(ONE, vec![spec("a", 1)]);
    assert_eq!(waiting.leave(ONE, &jobs), [Cancellation::Left]);
    waiting.world.run(jobs[0]);
}

fn planted_where_operated(bug: Bug) -> World {
    let mut world = operated();
    world.queue.plant(bug);
    world
}

#[test]
fn ignoring_pauses_gives_out_what_is_paused() {
    let mut world = planted_where_operated(Bug::PauseIgnored);
    let job = world.submit_one(spec("a", 1));
    let (scope, reason) = (Scope::Cluster, String::new());
    world.apply(Command::Pause { scope, reason });
    world.claim(job);
}

#[test]
fn redriving_twice_makes_two_jobs_of_a_letter() {
    let mut world = planted_where_operated(Bug::RedrivenTwice);
    let dead = world.submit_one(spec("a", 1));
    world.kill(dead);
    let first = world.redrive_one(dead);
    world.kill(first);
    assert_ne!(world.redrive_one(dead), first);
}

#[test]
fn redriving_as_the_newest_undoes_a_newer_input() {
    let mut world = planted_where_operated(Bug::RedriveIsNewest);
    let old = world.submit_one(spec("a", 1));
    world.kill(old);
    let newer = world.submit_one(spec("a", 2));
    world.run(newer);
    let again = world.redrive_one(old);
    world.run(again);
    assert_eq!(world.queue.context(&address("a")).unwrap().job, again);
}

#[test]
fn lowering_below_dependents_makes_them_wait_for_less_urgent_work() {
    let mut world = planted_where_operated(Bug::LoweredBelowDependents);
    let top = needs(spec("top", 1), &["a"], Policy::Require);
    let jobs = world.submit(vec![spec("a", 1), top]);
    let lowered = world.apply(Command::Reprioritise {
        jobs: vec![jobs[0].job],
        class: Class::Idle,
    });
    let class = Class::Idle;
    assert_eq!(
        lowered,
        Outcome::Reprioritised(vec![Reprioritisation::Now { class }])
    );
}

#[test]
fn who_holds_on_keeps_its_jobs_though_it_is_expelled() {
    let mut world = planted_where_operated(Bug::ExpelledHoldsOn);
    let job = world.submit_one(spec("a", 1));
    world.claim(job);
    let worker = WorkerId(1);
    world.apply(Command::Expel { worker });
    assert_eq!(world.queue.leases_count(worker), 1);
}

#[test]
fn ignoring_limits_gives_out_more_than_there_may_be() {
    let mut world = limited();
    world.queue.plant(Bug::LimitIgnored);
    let jobs = world.submit(vec![spec("a", 1), spec("b", 1)]);
    world.limit(Account::Tenant("team".into()), running(1));
    world.claim(jobs[0].job);
    world.claim(jobs[1].job);
}

#[test]
fn a_bucket_that_is_never_empty_gives_out_more_than_its_rate() {
    let mut world = limited();
    world.queue.plant(Bug::BucketNeverEmpty);
    let jobs = world.submit(vec![spec("a", 1), spec("b", 1)]);
    world.limit(Account::Tenant("team".into()), rate(1, 1));
    world.run(jobs[0].job);
    world.run(jobs[1].job);
}

#[test]
fn a_breaker_that_stays_closed_lets_an_outage_burn_attempts() {
    let mut world = limited();
    world.queue.plant(Bug::BreakerStaysClosed);
    for n in 0..20 {
        let job = world.submit_one(spec(&format!("f{n}"), 1));
        let token = world.claim(job);
        world.fail(job, token, FailureClass::Retryable);
        assert_eq!(world.queue.job(job).unwrap().failures, 1);
    }
}

#[test]
fn a_failure_of_another_input_answers_a_new_one() {
    let mut world = limited();
    world.queue.plant(Bug::FailureOfAnotherInput);
    let job = world.submit_one(spec("a", 1));
    world.kill(job);
    let how = world.submit(vec![spec("a", 2)])[0].how;
    assert_eq!(how, Admission::FailedBefore);
}

#[test]
fn a_probe_whose_failure_passes_lets_more_go_out() {
    let mut world = limited();
    world.queue.plant(Bug::FailedProbePasses);
    let items = (0..12).map(|n| spec(&format!("f{n}"), 1)).collect();
    let jobs = world.submit(items);
    for job in &jobs[..10] {
        let token = world.claim(job.job);
        world.fail(job.job, token, FailureClass::Retryable);
    }
    world.tick_to(1_000);
    let token = world.claim(jobs[10].job);
    world.fail(jobs[10].job, token, FailureClass::Retryable);
    assert_eq!(world.queue.probes_left("outline"), Some(2));
}

fn planted_with_cache(bug: Bug) -> World {
    let mut world = cached();
    world.queue.plant(bug);
    world
}

#[test]
fn what_is_invalid_answers_all_the_same() {
    let mut world = planted_with_cache(Bug::InvalidatedAnswers);
    world.publish(spec("a", 1), "x");
    world.invalidate(Reach::Address(address("a")));
    let how = world.submit(vec![spec("a", 1)])[0].how;
    assert_eq!(how, Admission::FromCache);
}

#[test]
fn something_older_answers_at_any_age() {
    let mut world = planted_with_cache(Bug::StaleBeyondAge);
    world.publish(spec("a", 1), "x");
    world.t += 10;
    let asked = world.ask_one(spec("a", 2), CacheMode::StaleOk { max_age_ms: 1 });
    assert!(matches!(asked, Asked::Stale { .. }), "{asked:?}");
}

#[test]
fn a_refresh_finds_what_is_there() {
    let mut world = planted_with_cache(Bug::RefreshFindsOld);
    world.publish(spec("a", 1), "x");
    let asked = world.ask_one(spec("a", 1), CacheMode::Refresh);
    assert!(
        matches!(asked, Asked::Job(found) if found.how == Admission::FromCache),
        "{asked:?}"
    );
}

#[test]
fn what_a_job_depends_on_is_evicted() {
    let mut world = planted_with_cache(Bug::EvictsDependedOn);
    let job = world.publish(spec("a", 1), "xx");
    world.put_budget(Some(1));
    world.submit_one(needs(spec("b", 1), &["a"], Policy::Optional));
    let address = address("a");
    let evictions = vec![Eviction { address, job }];
    let evicted = world.apply(Command::Evict { evictions });
    assert_eq!(
        evicted,
        Outcome::Evicted(vec![Evicting::Evicted { bytes: 2 }])
    );
}
