//! What is kept of what was published and said before.

use crate::edit::*;
use crate::limits::*;

use super::edits::{note, person, seen, tag};
use super::*;

#[test]
fn a_result_that_is_replaced_is_in_the_history() {
    let mut world = World::edited();
    let first = world.submit_one(spec("a", 1));
    world.run(first);
    assert_eq!(
        world.queue.history(&address("a")).0,
        [],
        "it is still there"
    );
    world.t = 7;
    let second = world.submit_one(spec("a", 2));
    world.run(second);
    let (results, edits) = world.queue.history(&address("a"));
    let [past] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!((past.job, past.replaced_by), (first, second));
    assert_eq!((past.subject, past.until), (subject(1), Stamp(7)));
    assert_eq!(past.generator, generator());
    assert_eq!(edits, []);
}

#[test]
fn below_the_level_there_is_no_history() {
    let mut world = World::new();
    for input in [1, 2] {
        let job = world.submit_one(spec("a", input));
        world.run(job);
    }
    assert_eq!(world.queue.history(&address("a")).0, []);
}

#[test]
fn the_oldest_results_and_edits_make_way() {
    let mut world = World::edited();
    for input in 0..=(HISTORY_RESULTS_MAX + 2) as u8 {
        let job = world.submit_one(spec("a", input));
        world.run(job);
    }
    for revision in 0..HISTORY_EDITS_MAX + 3 {
        world.online(person(vec![tag(&revision.to_string())]), revision);
    }
    let (results, edits) = world.queue.history(&address("a"));
    assert_eq!(results.len() as u64, HISTORY_RESULTS_MAX);
    assert_eq!(results[0].subject, subject(2), "the first two are gone");
    assert_eq!(edits.len() as u64, HISTORY_EDITS_MAX);
    assert_eq!(edits[0].revision, Revision(4));
    assert!(edits.is_sorted_by_key(|edit| edit.index));
}

#[test]
fn sides_of_a_conflict_outlive_their_history() {
    let mut world = World::edited();
    for actor in [1, 2] {
        world.apply(Command::Annotate {
            address: address("a"),
            edit: person(vec![note("lock", &format!("said by {actor}"))]),
            basis: Basis::Version {
                actor: ActorId(actor),
                version: seen(&[(actor, 1)]),
            },
        });
    }
    for revision in 2..HISTORY_EDITS_MAX + 4 {
        world.online(person(vec![tag(&revision.to_string())]), revision);
    }
    let (_, edits) = world.queue.history(&address("a"));
    assert!(edits.iter().all(|edit| edit.conflicts.is_empty()), "gone");
    let (conflicts, _) = world.queue.conflicts(ConflictId::default(), 10);
    let texts = conflicts[0].sides.iter().map(|side| &side.content);
    let said = |actor: u64| {
        Content::Note(Note {
            text: format!("said by {actor}"),
            anchor: None,
        })
    };
    assert!(texts.eq([&said(1), &said(2)]));
}
