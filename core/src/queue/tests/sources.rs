//! Texts that are kept for workers.

use super::*;
use crate::feature::FeatureLevel;
use crate::limits::{
    SOURCE_BYTES_MAX, SOURCE_ROW_BYTES, SOURCES_BYTES_DEFAULT, SOURCES_PER_ENTRY_MAX,
};

/// What each text of one byte counts for.
const COST: u64 = SOURCE_ROW_BYTES + 1;

pub(super) fn keeping(texts: u64) -> World {
    let mut world = World::new();
    let to = FeatureLevel::SOURCES_KEPT;
    world.apply(Command::RaiseLevel { to });
    let budget = Command::PutSourceBudget {
        bytes_max: texts * COST,
    };
    let before = SOURCES_BYTES_DEFAULT;
    assert_eq!(world.apply(budget), Outcome::SourceBudgetPut { before });
    world
}

impl World {
    pub(super) fn keep(&mut self, inputs: &[u8]) -> Outcome {
        let sources = inputs.iter().map(|input| text(*input)).collect();
        self.apply(Command::KeepSources { sources })
    }

    fn kept(&self) -> Vec<u8> {
        let all = 0..u8::MAX;
        all.filter(|input| self.queue.has_source(&subject(*input)))
            .collect()
    }
}

fn kept(fresh: u32) -> Outcome {
    Outcome::SourcesKept { fresh }
}

#[test]
fn what_is_kept_is_handed_out_once_and_the_state_knows_its_digest() {
    let mut world = keeping(8);
    let sources = vec![text(1), text(2), text(1)];
    let applied = world.enter(entry(0, Command::KeepSources { sources }));
    assert_eq!(applied.outcome, kept(2));
    let mut bodies = vec![(subject(1), text(1)), (subject(2), text(2))];
    bodies.sort();
    assert_eq!(applied.sources.fresh, bodies);
    let sources = vec![text(2), text(3)];
    let applied = world.enter(entry(0, Command::KeepSources { sources }));
    assert_eq!(applied.sources.fresh, [(subject(3), text(3))]);
    assert_eq!(applied.sources.gone, []);
    let view = world.queue.sources_view(&[subject(9), subject(2)]);
    assert_eq!(view.lacking, [subject(9)]);
    assert_eq!((view.count, view.bytes, view.bytes_held), (3, 3 * COST, 0));
}

#[test]
fn what_was_used_first_makes_way_and_what_a_job_counts_on_stays() {
    let mut world = keeping(3);
    world.keep(&[1]);
    world.keep(&[2]);
    world.keep(&[3]);
    let job = world.submit_one(spec("a", 1));
    // Asked for again, it is used again.
    assert_eq!(world.keep(&[2]), kept(0));
    assert_eq!(world.keep(&[4]), kept(1));
    assert_eq!(
        world.kept(),
        [1, 2, 4],
        "3 was used first of those without a job"
    );
    world.submit_one(spec("b", 2));
    assert_eq!(
        world.keep(&[5, 6]),
        full(2),
        "one can go, and two would have to"
    );
    assert_eq!(world.kept(), [1, 2, 4], "nothing was changed");
    let token = world.claim(job);
    world.complete(job, token, "x");
    assert_eq!(world.keep(&[5]), kept(1));
    assert_eq!(world.kept(), [1, 2, 5], "the end of its job is a use of 1");
    assert_eq!(world.keep(&[6]), kept(1));
    assert_eq!(world.kept(), [2, 5, 6]);
}

fn full(held: u64) -> Outcome {
    Outcome::Rejected(Rejection::SourcesFull {
        held: held * COST,
        limit: 3 * COST,
        retry_after_ms: 1_000,
    })
}

#[test]
fn what_is_kept_after_its_job_was_accepted_is_not_counted_on() {
    let mut world = keeping(1);
    world.submit_one(spec("a", 1));
    world.keep(&[1]);
    assert_eq!(world.queue.sources_view(&[]).bytes_held, 0);
    assert_eq!(world.keep(&[2]), kept(1));
    assert_eq!(world.kept(), [2]);
}

#[test]
fn under_a_lowered_budget_it_only_shrinks() {
    let mut world = keeping(3);
    world.keep(&[1, 2, 3]);
    world.submit_one(spec("a", 1));
    world.submit_one(spec("b", 2));
    let lower = Command::PutSourceBudget { bytes_max: COST };
    let before = 3 * COST;
    assert_eq!(world.apply(lower), Outcome::SourceBudgetPut { before });
    assert_eq!(world.keep(&[4]), kept(1), "in the place of another");
    assert_eq!(world.kept(), [1, 2, 4]);
    let held = 2 * COST;
    assert_eq!(
        world.keep(&[5, 6]),
        Outcome::Rejected(Rejection::SourcesFull {
            held,
            limit: COST,
            retry_after_ms: 1_000
        })
    );
}

#[test]
fn an_image_knows_what_is_kept_and_which_jobs_count_on_it() {
    let mut world = keeping(3);
    world.keep(&[1, 2]);
    world.submit_one(spec("a", 1));
    let mut again = QueueManager::from_image(&world.queue.image()).unwrap();
    assert_eq!(again.state_hash(), world.queue.state_hash());
    assert_eq!(
        again.sources_view(&[subject(3)]),
        world.queue.sources_view(&[subject(3)])
    );
    let next = LogIndex(world.index + 1);
    let sources = vec![text(3), text(4)];
    again.apply(next, Term(1), entry(0, Command::KeepSources { sources }));
    again.check();
    assert!(again.has_source(&subject(1)), "its job counts on it");
    assert!(!again.has_source(&subject(2)));
}

#[test]
fn an_image_with_an_impossible_source_is_no_image() {
    let mut world = keeping(3);
    world.keep(&[1]);
    world.submit_one(spec("a", 1));
    world
        .queue
        .sources
        .rows
        .update(&subject(1), |row| row.bytes = u64::MAX);
    let error = QueueManager::from_image(&world.queue.image()).unwrap_err();
    assert!(error.to_string().contains("is kept as"), "{error}");
}

#[test]
fn too_many_and_too_large_ones_are_refused() {
    let mut world = keeping(1_000);
    let refused = |outcome: Outcome, words: &str| match outcome {
        Outcome::Rejected(rejection) => {
            assert!(rejection.to_string().contains(words), "{rejection}");
        }
        other => panic!("{other:?}"),
    };
    refused(world.keep(&[]), "must be 1 to");
    let most = SOURCES_PER_ENTRY_MAX as usize;
    let sources = vec![text(1); most + 1];
    refused(
        world.apply(Command::KeepSources { sources }),
        "must be 1 to",
    );
    let large = |bytes: u64| Command::KeepSources {
        sources: vec![vec![7; bytes as usize].into()],
    };
    refused(world.apply(large(SOURCE_BYTES_MAX + 1)), "must be 0 to");
    assert_eq!(world.apply(large(SOURCE_BYTES_MAX)), kept(1));
}

#[test]
fn nothing_is_kept_below_the_level() {
    let mut world = World::new();
    assert!(matches!(
        world.keep(&[1]),
        Outcome::Rejected(Rejection::LevelTooLow { .. })
    ));
    assert!(!world.queue.sources_view(&[]).is_kept);
}
