//! Results that have to go, and those that may not.

use super::cache::cached;
use super::*;
use crate::limits::{BUDGET_BYTES_MAX, BUDGET_BYTES_MIN, EVICTIONS_PER_ENTRY_MAX};

const BUDGET: u64 = 4_000;
/// A quarter of it.
const QUARTER: u64 = BUDGET / 4;

fn body(letter: char) -> String {
    std::iter::repeat_n(letter, QUARTER as usize).collect()
}

impl World {
    /// Publishes a quarter of the budget at an address.
    fn fill(&mut self, name: &str) -> JobId {
        self.publish(spec(name, 1), &body('x'))
    }

    pub(super) fn put_budget(&mut self, bytes_max: Option<u64>) -> Outcome {
        self.apply(Command::PutBudget { bytes_max })
    }

    fn evict(&mut self, evictions: &[(&str, JobId)]) -> Vec<Evicting> {
        let evictions = evictions.iter().map(|(name, job)| Eviction {
            address: address(name),
            job: *job,
        });
        let evictions = evictions.collect();
        match self.apply(Command::Evict { evictions }) {
            Outcome::Evicted(results) => results,
            other => panic!("not evicted: {other:?}"),
        }
    }
}

/// Five quarters of the budget, and who made them.
fn over_budget() -> (World, Vec<JobId>) {
    let mut world = cached();
    world.put_budget(Some(BUDGET));
    let made = ["a", "b", "c", "d", "e"].map(|name| world.fill(name));
    assert_eq!(world.queue.excess_bytes(), QUARTER);
    (world, made.into())
}

const GONE: Evicting = Evicting::Evicted { bytes: QUARTER };

#[test]
fn no_more_goes_than_has_to() {
    let (mut world, made) = over_budget();
    let results = world.evict(&[("b", made[1]), ("c", made[2])]);
    assert_eq!(results, [GONE, Evicting::WithinBudget]);
    assert_eq!(world.queue.context(&address("b")), None);
    assert!(world.queue.context(&address("c")).is_some());
    let view = world.queue.cache_view();
    assert_eq!((view.contexts, view.bytes), (4, BUDGET));
    assert_eq!((view.evicted, view.evicted_bytes), (1, QUARTER));
    let how = world.submit(vec![spec("b", 1)])[0].how;
    assert_eq!(how, Admission::Created, "it is made again");
}

#[test]
fn without_a_budget_nothing_goes() {
    let mut world = cached();
    let made = world.fill("a");
    assert_eq!(world.evict(&[("a", made)]), [Evicting::WithinBudget]);
    let (mut world, made) = over_budget();
    let before = Some(BUDGET);
    assert_eq!(world.put_budget(None), Outcome::BudgetPut { before });
    assert_eq!(world.queue.excess_bytes(), 0);
    assert_eq!(world.evict(&[("a", made[0])]), [Evicting::WithinBudget]);
}

#[test]
fn what_took_its_place_stays() {
    let (mut world, made) = over_budget();
    world.publish(spec("a", 2), &body('y'));
    let results = world.evict(&[("a", made[0]), ("nowhere", made[1])]);
    assert_eq!(results, [Evicting::Gone, Evicting::Gone]);
}

#[test]
fn what_a_job_depends_on_stays_until_that_is_over() {
    let (mut world, made) = over_budget();
    let dependent = world.submit_one(needs(spec("f", 1), &["a"], Policy::Optional));
    assert_eq!(world.evict(&[("a", made[0])]), [Evicting::Needed]);
    assert!(world.queue.cached_view(&address("a")).unwrap().needed);
    world.claim(dependent);
    let assignment = world.queue.assignment(dependent).unwrap();
    assert!(assignment.dependencies[0].result.is_some());
    world.apply(Command::Cancel {
        jobs: vec![dependent],
    });
    assert_eq!(world.evict(&[("a", made[0])]), [GONE]);
}

#[test]
fn an_older_input_that_comes_late_is_not_published_where_a_newer_was_evicted() {
    let (mut world, _) = over_budget();
    let older = world.submit_one(spec("a", 2));
    let token = world.claim(older);
    // The first input is asked for again: what is there is by that the newest.
    let made = world.submit(vec![spec("a", 1)]);
    assert_eq!(made[0].how, Admission::FromCache);
    let first = world.queue.context(&address("a")).unwrap().job;
    assert_eq!(world.evict(&[("a", first)]), [GONE]);
    let image = world.queue.image();
    world.twin = Some(QueueManager::from_image(&image).unwrap());
    assert_eq!(world.complete(older, token, "late"), Outcome::Completed);
    assert_eq!(world.state(older), done("late"));
    assert_eq!(world.queue.context(&address("a")), None);
    world.publish(spec("a", 3), "new");
    assert!(world.queue.context(&address("a")).is_some());
}

#[test]
fn a_letter_of_an_older_input_is_outdated_where_a_newer_was_evicted() {
    let mut world = cached();
    let dead = world.submit_one(spec("a", 2));
    world.kill(dead);
    world.put_budget(Some(BUDGET));
    let made = ["a", "b", "c", "d", "e"].map(|name| world.fill(name));
    assert_eq!(world.evict(&[("a", made[0])]), [GONE]);
    let command = Command::Redrive {
        jobs: vec![dead],
        dependents: false,
    };
    let Outcome::Redriven(redrive) = world.apply(command) else {
        panic!("not redriven");
    };
    assert_eq!(redrive.jobs, [Redriving::Outdated { by: made[0] }]);
}

#[test]
fn a_place_that_nobody_uses_is_forgotten_with_all_that_is_kept_of_it() {
    let mut rules = rules();
    rules.jobs_finished_max = 1;
    let mut world = World::under(rules);
    let to = crate::feature::FeatureLevel::CACHE_CHOSEN;
    world.apply(Command::RaiseLevel { to });
    world.put_budget(Some(BUDGET));
    let made = ["a", "b", "c", "d", "e"].map(|name| world.fill(name));
    world.apply(Command::Invalidate {
        reach: Reach::Address(address("a")),
    });
    let twin = world.fork();
    assert_eq!(world.evict(&[("a", made[0])]), [GONE]);
    assert!(world.queue.image().len() < twin.queue.image().len());
    assert_eq!(world.queue.cache_view().invalid, 0);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let mut world = cached();
    for bytes in [0, BUDGET_BYTES_MAX + 1] {
        let outcome = world.put_budget(Some(bytes));
        let Outcome::Rejected(rejection) = outcome else {
            panic!("not refused: {outcome:?}");
        };
        assert_eq!(
            rejection.to_string(),
            format!("the budget is {bytes}; it must be {BUDGET_BYTES_MIN} to {BUDGET_BYTES_MAX}")
        );
    }
    let eviction = Eviction {
        address: address("a"),
        job: JobId(1),
    };
    for found in [0, EVICTIONS_PER_ENTRY_MAX + 1] {
        let evictions = vec![eviction.clone(); found as usize];
        let limit = EVICTIONS_PER_ENTRY_MAX;
        assert_eq!(
            world.apply(Command::Evict { evictions }),
            Outcome::Rejected(Rejection::EvictionCount { found, limit })
        );
    }
}
