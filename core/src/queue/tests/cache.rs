//! What a request takes from the cache, and what makes it invalid.

use super::*;
use crate::feature::FeatureLevel;
use crate::limits::{INVALIDATIONS_MAX, STALE_MS_MAX, SWEPT_PER_ENTRY_MAX};

/// A world where requests choose what they take from the cache.
pub(super) fn cached() -> World {
    let mut world = World::new();
    let to = FeatureLevel::CACHE_CHOSEN;
    assert_eq!(
        world.apply(Command::RaiseLevel { to }),
        Outcome::LevelRaised
    );
    world
}

impl World {
    pub(super) fn ask_for(&mut self, items: Vec<JobSpec>, mode: CacheMode) -> Vec<Asked> {
        match self.apply(Command::Ask { items, mode }) {
            Outcome::Asked(items) => items,
            other => panic!("not asked: {other:?}"),
        }
    }

    pub(super) fn ask_one(&mut self, item: JobSpec, mode: CacheMode) -> Asked {
        self.ask_for(vec![item], mode)[0]
    }

    /// Publishes an input of `a` as a body.
    pub(super) fn publish(&mut self, item: JobSpec, body: &str) -> JobId {
        let job = self.submit_one(item);
        let token = self.claim(job);
        assert_eq!(self.complete(job, token, body), Outcome::Completed);
        job
    }

    pub(super) fn invalidate(&mut self, reach: Reach) -> Outcome {
        self.apply(Command::Invalidate { reach })
    }

    fn is_invalid(&self, name: &str) -> bool {
        self.queue.cached_view(&address(name)).unwrap().invalid
    }

    fn how(&mut self, item: JobSpec) -> Admission {
        self.submit(vec![item])[0].how
    }
}

fn job(how: Admission, job: JobId) -> Asked {
    Asked::Job(Submitted { job, how })
}

fn of(body: &str, by: JobId, age_ms: u64) -> Cached {
    Cached {
        result: Digest::of(body.as_bytes()),
        by,
        age_ms: Some(age_ms),
    }
}

fn prefix(name: &str) -> Reach {
    Reach::Prefix(address(name))
}

fn made_by(version: Option<u32>) -> Reach {
    Reach::Generator {
        engine: "outline".into(),
        version,
    }
}

const STALE: CacheMode = CacheMode::StaleOk { max_age_ms: 100 };

#[test]
fn fresh_is_what_a_submit_does() {
    let mut world = cached();
    let made = world.publish(spec("a", 1), "x");
    let mut twin = world.fork();
    let items = vec![spec("a", 1), spec("b", 1), spec("b", 1)];
    let submitted = twin.submit(items.clone());
    let asked: Vec<Asked> = submitted.iter().copied().map(Asked::Job).collect();
    assert_eq!(world.ask_for(items, CacheMode::Fresh), asked);
    assert_eq!(submitted[0].how, Admission::FromCache);
    assert_eq!(made, JobId(1));
    assert_eq!(world.queue.counts(), twin.queue.counts());
}

#[test]
fn cached_only_makes_no_job() {
    let mut world = cached();
    let made = world.publish(spec("a", 1), "x");
    world.t += 30;
    let (counts, feed) = (world.queue.counts(), world.queue.last_finish());
    let asked = world.ask_for(
        vec![spec("a", 1), spec("a", 2), spec("b", 1)],
        CacheMode::CachedOnly,
    );
    let there = Asked::Cached(of("x", made, 30));
    assert_eq!(asked, [there, Asked::NotCached, Asked::NotCached]);
    assert_eq!(world.queue.counts(), counts);
    assert_eq!(world.queue.last_finish(), feed);
    assert_eq!(world.queue.last_job(), made, "no number is given away");
}

#[test]
fn cached_only_takes_nothing_that_is_only_being_made() {
    let mut world = cached();
    world.submit_one(spec("a", 1));
    assert_eq!(
        world.ask_one(spec("a", 1), CacheMode::CachedOnly),
        Asked::NotCached
    );
}

#[test]
fn something_older_is_served_and_refreshed_once_in_the_background() {
    let mut world = cached();
    let made = world.publish(spec("a", 1), "x");
    world.t += 100;
    let asked = world.ask_one(spec("a", 2), STALE);
    let refresh = Submitted {
        job: JobId(2),
        how: Admission::Created,
    };
    let cached = of("x", made, 100);
    assert_eq!(asked, Asked::Stale { cached, refresh });
    let again = world.ask_one(spec("a", 2), STALE);
    let refresh = Submitted {
        how: Admission::Attached,
        ..refresh
    };
    assert_eq!(again, Asked::Stale { cached, refresh });
    let view = world.queue.job(JobId(2)).unwrap();
    assert_eq!((view.class, view.waiters), (Class::Background, 2));
    assert_eq!(world.queue.counts().live(), 1);
    world.run(JobId(2));
    let asked = world.ask_one(spec("a", 2), STALE);
    assert_eq!(asked, job(Admission::FromCache, JobId(4)));
}

#[test]
fn what_is_too_old_is_not_served() {
    let mut world = cached();
    world.publish(spec("a", 1), "x");
    world.t += 101;
    let asked = world.ask_one(spec("a", 2), STALE);
    assert_eq!(asked, job(Admission::Created, JobId(2)));
    assert_eq!(world.queue.job(JobId(2)).unwrap().class, Class::Normal);
}

#[test]
fn what_another_engine_made_is_nothing_older() {
    let mut world = cached();
    world.publish(spec("a", 1), "x");
    let mut item = spec("a", 1);
    item.generator.engine = "summary".into();
    let asked = world.ask_one(item, STALE);
    assert_eq!(asked, job(Admission::Created, JobId(2)));
    let mut item = spec("b", 1);
    world.publish(item.clone(), "x");
    item.generator.version = 2;
    let asked = world.ask_one(item, STALE);
    assert!(matches!(asked, Asked::Stale { .. }), "{asked:?}");
}

#[test]
fn what_was_published_before_its_age_was_kept_is_served_only_where_age_does_not_matter() {
    let mut world = World::new();
    let made = world.publish(spec("a", 1), "x");
    let to = FeatureLevel::CACHE_CHOSEN;
    world.apply(Command::RaiseLevel { to });
    let asked = world.ask_one(spec("a", 2), STALE);
    assert!(matches!(asked, Asked::Job(_)), "{asked:?}");
    let cached = Cached {
        age_ms: None,
        ..of("x", made, 0)
    };
    let asked = world.ask_one(spec("a", 1), CacheMode::CachedOnly);
    assert_eq!(asked, Asked::Cached(cached));
}

#[test]
fn a_refresh_is_answered_by_nothing_that_is_over() {
    let mut world = cached();
    world.publish(spec("a", 1), "x");
    let asked = world.ask_one(spec("a", 1), CacheMode::Refresh);
    assert_eq!(asked, job(Admission::Created, JobId(2)));
    let token = world.claim(JobId(2));
    let asked = world.ask_one(spec("a", 1), CacheMode::Refresh);
    assert_eq!(asked, job(Admission::Attached, JobId(2)));
    world.complete(JobId(2), token, "y");
    assert_eq!(world.state(JobId(2)), done("y"));
    let asked = world.ask_one(spec("a", 1), CacheMode::Refresh);
    assert_eq!(asked, job(Admission::Created, JobId(4)));
    let context = world.queue.context(&address("a")).unwrap();
    assert_eq!(context.job, JobId(2));
}

#[test]
fn a_refresh_tries_what_failed_for_good() {
    let mut world = cached();
    let dead = world.submit_one(spec("a", 1));
    world.kill(dead);
    assert_eq!(world.how(spec("a", 1)), Admission::FailedBefore);
    let asked = world.ask_one(spec("a", 1), CacheMode::Refresh);
    assert!(
        matches!(asked, Asked::Job(made) if made.how == Admission::Created),
        "{asked:?}"
    );
}

#[test]
fn a_refresh_goes_on_and_is_published_when_others_take_what_is_there() {
    let mut world = cached();
    world.publish(spec("a", 1), "x");
    world.ask_one(spec("a", 1), CacheMode::Refresh);
    assert_eq!(world.how(spec("a", 1)), Admission::FromCache);
    assert_eq!(world.state(JobId(2)), JobState::Ready);
    let token = world.claim(JobId(2));
    assert_eq!(world.how(spec("a", 1)), Admission::FromCache);
    world.complete(JobId(2), token, "y");
    let context = world.queue.context(&address("a")).unwrap();
    assert_eq!(context.job, JobId(2), "what was asked for anew is shown");
}

#[test]
fn a_refresh_of_an_older_input_makes_it_the_newest() {
    let mut world = cached();
    world.publish(spec("a", 1), "x");
    let newer = world.submit_one(spec("a", 2));
    world.ask_one(spec("a", 1), CacheMode::Refresh);
    let by = JobId(3);
    assert_eq!(world.state(newer), JobState::Superseded { by });
}

#[test]
fn what_contradicts_itself_is_refused() {
    let mut world = cached();
    let mut refuse = |items: Vec<JobSpec>, mode| {
        let before = world.queue.counts();
        let outcome = world.apply(Command::Ask { items, mode });
        assert_eq!(world.queue.counts(), before);
        let Outcome::Rejected(rejection) = outcome else {
            panic!("not refused: {outcome:?}");
        };
        rejection.to_string()
    };
    let item = || vec![spec("a", 1)];
    let mut delayed = spec("b", 1);
    delayed.delay_ms = 1;
    assert_eq!(
        refuse(vec![spec("a", 1), delayed], CacheMode::CachedOnly),
        "item 1 is to be cached only and not to start before a time; leave one of them out"
    );
    for max_age_ms in [0, STALE_MS_MAX + 1] {
        assert_eq!(
            refuse(item(), CacheMode::StaleOk { max_age_ms }),
            format!("the greatest age in ms is {max_age_ms}; it must be 1 to {STALE_MS_MAX}")
        );
    }
    assert!(refuse(item(), CacheMode::NoCache).contains("for one request alone"));
    for mode in [
        CacheMode::Fresh,
        CacheMode::CachedOnly,
        STALE,
        CacheMode::Refresh,
    ] {
        assert!(refuse(vec![], mode).contains("this one has 0"), "{mode}");
    }
}

#[test]
fn what_is_invalid_answers_nothing_and_is_shown_until_something_takes_its_place() {
    let mut world = cached();
    let made = world.publish(spec("a", 1), "x");
    let reach = Reach::Address(address("a"));
    let published = Some(true);
    assert_eq!(
        world.invalidate(reach.clone()),
        Outcome::Invalidated { published }
    );
    assert!(world.is_invalid("a"));
    assert_eq!(world.queue.context(&address("a")).unwrap().job, made);
    let asked = world.ask_one(spec("a", 1), CacheMode::CachedOnly);
    assert_eq!(asked, Asked::NotCached);
    let asked = world.ask_one(spec("a", 2), STALE);
    assert!(matches!(asked, Asked::Job(_)), "{asked:?}");
    assert_eq!(world.how(spec("a", 1)), Admission::Created);
    let job = world.queue.last_job();
    world.run(job);
    assert!(!world.is_invalid("a"));
    assert_eq!(world.how(spec("a", 1)), Admission::FromCache);
    let other = Reach::Address(address("b"));
    let published = Some(false);
    assert_eq!(world.invalidate(other), Outcome::Invalidated { published });
}

#[test]
fn an_attempt_that_began_before_is_shared_by_nobody_who_asks_later() {
    for reach in [Reach::Address(address("a")), prefix("a"), made_by(None)] {
        for sweeps in [false, true] {
            let mut world = cached();
            let before = world.submit_one(spec("a", 1));
            let token = world.claim(before);
            world.invalidate(reach.clone());
            if sweeps {
                world.apply(Command::Tick);
                assert!(!world.queue.cascade_pending());
            }
            assert_eq!(world.how(spec("a", 1)), Admission::Parked);
            let after = world.queue.last_job();
            assert_eq!(world.how(spec("a", 1)), Admission::Attached);
            assert_eq!(world.complete(before, token, "old"), Outcome::Completed);
            assert_eq!(world.state(before), done("old"), "its waiters are answered");
            assert!(world.is_invalid("a"));
            let asked = world.ask_one(spec("a", 1), CacheMode::CachedOnly);
            assert_eq!(asked, Asked::NotCached);
            world.run(after);
            assert!(!world.is_invalid("a"));
        }
    }
}

#[test]
fn a_job_that_did_not_begin_is_shared_and_what_it_makes_is_valid() {
    for reach in [Reach::Address(address("a")), prefix("a"), made_by(Some(1))] {
        let mut world = cached();
        let job = world.submit_one(spec("a", 1));
        world.invalidate(reach);
        assert_eq!(world.how(spec("a", 1)), Admission::Attached);
        world.run(job);
        assert!(!world.is_invalid("a"));
    }
}

#[test]
fn a_job_that_is_given_out_again_is_valid_again() {
    let mut world = cached();
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    world.apply(Command::Release { job, token });
    world.invalidate(Reach::Address(address("a")));
    let token = world.claim(job);
    assert_eq!(world.how(spec("a", 1)), Admission::Attached);
    world.complete(job, token, "x");
    assert!(!world.is_invalid("a"));
}

#[test]
fn a_late_result_of_before_is_invalid_and_the_job_is_shared_by_nobody() {
    let mut world = cached();
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    world.apply(Command::Release { job, token });
    world.invalidate(Reach::Address(address("a")));
    let mut other = world.fork();
    assert_eq!(world.complete(job, token, "late"), Outcome::Completed);
    assert!(world.is_invalid("a"));
    assert_eq!(other.how(spec("a", 1)), Admission::Created);
    let by = other.queue.last_job();
    assert_eq!(other.state(job), JobState::Superseded { by });
}

#[test]
fn a_prefix_and_a_generator_reach_what_they_name_and_nothing_else() {
    let mut world = cached();
    for name in ["d", "d/x", "d/y/z", "dd", "e"] {
        world.publish(spec(name, 1), name);
    }
    let mut newer = spec("d/n", 1);
    newer.generator.version = 2;
    world.publish(newer, "n");
    world.invalidate(prefix("d"));
    let invalid = |world: &World| -> Vec<bool> {
        let names = ["d", "d/x", "d/y/z", "dd", "e", "d/n"];
        names.iter().map(|name| world.is_invalid(name)).collect()
    };
    let expected = [true, true, true, false, false, true];
    assert_eq!(invalid(&world), expected);
    world.apply(Command::Tick);
    assert_eq!(invalid(&world), expected, "after it was carried through");
    world.invalidate(made_by(Some(1)));
    assert_eq!(invalid(&world), [true; 6]);
    let mut other = cached();
    other.publish(spec("a", 1), "x");
    other.invalidate(made_by(Some(2)));
    assert!(!other.is_invalid("a"));
    other.invalidate(made_by(None));
    assert!(other.is_invalid("a"));
}

#[test]
fn an_invalidation_is_carried_through_within_the_bound_of_an_entry() {
    let mut world = cached();
    let count = 3u64;
    for number in 0..count {
        world.publish(spec(&format!("d/{number}"), 1), "x");
    }
    assert_eq!(world.queue.cache_view().invalid, 0);
    world.invalidate(prefix("d"));
    assert!(world.queue.cascade_pending());
    assert_eq!(world.queue.cache_view().invalidations.len(), 1);
    world.apply(Command::Tick);
    let view = world.queue.cache_view();
    assert_eq!((view.invalid, view.invalidations.len()), (count, 0));
    assert!(!world.queue.cascade_pending());
    assert!(count < SWEPT_PER_ENTRY_MAX);
}

#[test]
fn what_is_published_after_an_invalidation_was_begun_is_valid() {
    let mut world = cached();
    world.publish(spec("d/a", 1), "x");
    world.invalidate(prefix("d"));
    world.publish(spec("d/a", 2), "y");
    assert!(!world.is_invalid("d/a"));
    world.apply(Command::Tick);
    assert!(!world.is_invalid("d/a"));
}

#[test]
fn so_many_invalidations_are_carried_through_at_a_time_and_one_may_take_others_in() {
    let mut world = cached();
    let one = |number: u64| prefix(&format!("d/{number}"));
    for number in 0..INVALIDATIONS_MAX {
        world.invalidate(one(number));
    }
    let refused = world.invalidate(prefix("e"));
    let retry_after_ms = 1_000;
    let limit = INVALIDATIONS_MAX;
    assert_eq!(
        refused,
        Outcome::Rejected(Rejection::InvalidationsFull {
            limit,
            retry_after_ms
        })
    );
    let begun = Outcome::Invalidated { published: None };
    assert_eq!(world.invalidate(one(3)), begun, "the same again");
    assert_eq!(
        world.invalidate(prefix("d")),
        begun,
        "and one that contains all"
    );
    assert_eq!(world.queue.cache_view().invalidations.len(), 1);
    assert_eq!(world.invalidate(prefix("e")), begun);
    let nameless = Reach::Generator {
        engine: String::new(),
        version: None,
    };
    assert_eq!(
        world.invalidate(nameless),
        Outcome::Rejected(Rejection::NoEngine)
    );
}

#[test]
fn nothing_depends_on_what_is_invalid() {
    let mut world = cached();
    world.publish(spec("a", 1), "x");
    let dependent = world.submit_one(needs(spec("b", 1), &["a"], Policy::Require));
    world.invalidate(Reach::Address(address("a")));
    let rejection = world.refuse(vec![needs(spec("c", 1), &["a"], Policy::Require)]);
    assert_eq!(
        rejection,
        Rejection::UnknownDependency {
            item: 0,
            address: address("a")
        }
    );
    let optional = world.submit_one(needs(spec("c", 1), &["a"], Policy::Optional));
    for job in [dependent, optional] {
        world.claim(job);
        let assignment = world.queue.assignment(job).unwrap();
        assert_eq!(assignment.dependencies[0].result, None, "a gap");
    }
}

#[test]
fn a_letter_is_redriven_although_what_it_was_to_make_is_there_if_that_is_invalid() {
    let mut world = cached();
    let dead = world.submit_one(spec("a", 1));
    world.kill(dead);
    let made = match world.ask_one(spec("a", 1), CacheMode::Refresh) {
        Asked::Job(submitted) => submitted.job,
        other => panic!("{other:?}"),
    };
    world.run(made);
    world.invalidate(Reach::Address(address("a")));
    let command = Command::Redrive {
        jobs: vec![dead],
        dependents: false,
    };
    let Outcome::Redriven(redrive) = world.apply(command) else {
        panic!("not redriven");
    };
    assert_eq!(redrive.jobs, [Redriving::Outdated { by: made }]);
}

#[test]
fn before_its_level_nothing_of_it_is_kept_or_done() {
    let mut world = World::new();
    world.apply(Command::RaiseLevel {
        to: FeatureLevel::WORK_LIMITED,
    });
    world.publish(spec("a", 1), "x");
    let view = world.queue.cache_view();
    for command in [
        Command::Ask {
            items: vec![spec("a", 1)],
            mode: CacheMode::CachedOnly,
        },
        Command::Invalidate { reach: prefix("a") },
        Command::PutBudget {
            bytes_max: Some(1 << 20),
        },
        Command::Evict { evictions: vec![] },
    ] {
        let outcome = world.apply(command);
        assert_eq!(
            outcome,
            Outcome::Rejected(Rejection::LevelTooLow {
                needed: FeatureLevel::CACHE_CHOSEN,
                current: FeatureLevel::WORK_LIMITED
            })
        );
    }
    assert_eq!(world.queue.cache_view(), view);
    assert_eq!(world.queue.cached_view(&address("a")).unwrap().age_ms, None);
}

#[test]
fn an_image_keeps_how_the_cache_is_used() {
    let mut world = cached();
    world.publish(spec("a", 1), "x");
    world.publish(spec("b", 1), "x");
    let running = world.submit_one(spec("c", 1));
    world.claim(running);
    world.apply(Command::PutBudget {
        bytes_max: Some(1 << 20),
    });
    world.invalidate(Reach::Address(address("a")));
    world.invalidate(Reach::Address(address("c")));
    world.invalidate(prefix("b"));
    let twin = QueueManager::from_image(&world.queue.image()).unwrap();
    assert_eq!(twin.state_hash(), world.queue.state_hash());
    assert_eq!(twin.cache_view(), world.queue.cache_view());
    world.twin = Some(twin);
    for name in ["a", "b", "c"] {
        assert!(matches!(
            world.how(spec(name, 1)),
            Admission::Created | Admission::Parked
        ));
    }
    world.apply(Command::Tick);
}
