//! Edits of contexts: online by revision, offline by version vectors.

use crate::edit::*;
use crate::feature::FeatureLevel;
use crate::limits::*;
use crate::version::{Dot, VersionVector};

use super::*;

impl World {
    pub(in crate::queue) fn edited() -> World {
        let mut world = World::new();
        let to = FeatureLevel::CONTEXTS_EDITED;
        assert_eq!(
            world.apply(Command::RaiseLevel { to }),
            Outcome::LevelRaised
        );
        world
    }

    fn annotate(&mut self, name: &str, edit: Edit, basis: Basis) -> Outcome {
        self.apply(Command::Annotate {
            address: address(name),
            edit,
            basis,
        })
    }

    /// An edit by a vector.
    fn offline(&mut self, edit: Edit, actor: u64, seen: &[(u64, u64)]) -> Outcome {
        self.annotate("a", edit, by(actor, seen))
    }

    pub(in crate::queue) fn online(&mut self, edit: Edit, revision: u64) -> Outcome {
        self.annotate("a", edit, Basis::Revision(Revision(revision)))
    }

    pub(in crate::queue) fn view(&self) -> EditedView {
        self.queue.edited(&address("a")).unwrap()
    }

    fn resolve(&mut self, conflict: ConflictId, revision: u64, how: Resolution) -> Outcome {
        self.apply(Command::Resolve {
            address: address("a"),
            conflict,
            revision: Revision(revision),
            author: Author::Person,
            resolution: Box::new(how),
        })
    }

    fn texts(&self) -> Vec<(String, String)> {
        let notes = self.view().notes.into_iter();
        notes.map(|note| (note.name, note.note.text)).collect()
    }
}

pub(in crate::queue) fn seen(pairs: &[(u64, u64)]) -> VersionVector {
    let dots = pairs.iter().map(|(actor, counter)| dot(*actor, *counter));
    dots.collect()
}

fn dot(actor: u64, counter: u64) -> Dot {
    Dot {
        actor: ActorId(actor),
        counter,
    }
}

fn by(actor: u64, pairs: &[(u64, u64)]) -> Basis {
    Basis::Version {
        actor: ActorId(actor),
        version: seen(pairs),
    }
}

pub(in crate::queue) fn note(name: &str, text: &str) -> Change {
    Change::PutNote {
        name: name.into(),
        note: Note {
            text: text.into(),
            anchor: None,
        },
    }
}

pub(in crate::queue) fn tag(name: &str) -> Change {
    Change::AddTag(name.into())
}

fn untag(name: &str) -> Change {
    Change::RemoveTag(name.into())
}

pub(in crate::queue) fn person(changes: Vec<Change>) -> Edit {
    let author = Author::Person;
    Edit { author, changes }
}

fn agent(changes: Vec<Change>) -> Edit {
    let author = Author::Agent;
    Edit { author, changes }
}

fn annotated(revision: u64, merge: Merge, conflicts: Vec<ConflictId>) -> Outcome {
    Outcome::Annotated {
        revision: Revision(revision),
        merge,
        conflicts,
    }
}

fn after(revision: u64) -> Outcome {
    annotated(revision, Merge::After, Vec::new())
}

fn merged(revision: u64) -> Outcome {
    annotated(revision, Merge::Concurrent, Vec::new())
}

fn rejection(outcome: Outcome) -> Rejection {
    match outcome {
        Outcome::Rejected(rejection) => rejection,
        other => panic!("not refused: {other:?}"),
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// Two people wrote the same note, neither having seen the other's.
fn quarrel() -> (World, ConflictId) {
    let mut world = World::edited();
    world.offline(person(vec![note("lock", "a before b")]), 1, &[(1, 1)]);
    let outcome = world.offline(person(vec![note("lock", "b before a")]), 2, &[(2, 1)]);
    let Outcome::Annotated { conflicts, .. } = outcome else {
        panic!("{outcome:?}");
    };
    (world, conflicts[0])
}

#[test]
fn an_edit_of_the_current_revision_is_taken() {
    let mut world = World::edited();
    let edit = person(vec![
        note("lock", "a before b"),
        tag("core"),
        Change::PutSummary("locks".into()),
    ]);
    assert_eq!(world.online(edit, 0), after(1));
    assert_eq!(world.online(person(vec![tag("io")]), 1), after(2));
    let view = world.view();
    assert_eq!(view.revision, Revision(2));
    assert_eq!(view.version, seen(&[(0, 2)]));
    assert_eq!(view.tags, words(&["core", "io"]));
    assert_eq!(view.summary.unwrap().text, "locks");
    assert_eq!(view.notes[0].by, Principal("client".into()));
    assert_eq!(view.context, None, "it was never generated");
}

#[test]
fn an_edit_of_an_older_revision_is_refused_with_the_current_one() {
    let mut world = World::edited();
    world.online(person(vec![tag("core")]), 0);
    let before = world.queue.image();
    let refused = rejection(world.online(person(vec![tag("io")]), 0));
    let moved = Rejection::RevisionMoved {
        address: address("a"),
        expected: Revision(0),
        current: Revision(1),
    };
    assert_eq!(refused, moved);
    assert_eq!(world.view().tags, words(&["core"]));
    assert_ne!(before, world.queue.image(), "only the audit chain went on");
}

#[test]
fn an_edit_by_one_who_has_seen_all_takes_the_place_of_what_was() {
    let mut world = World::edited();
    world.offline(agent(vec![note("lock", "a"), tag("x")]), 1, &[(1, 1)]);
    let edit = agent(vec![note("lock", "b"), untag("x"), tag("y")]);
    assert_eq!(world.offline(edit, 2, &[(1, 1), (2, 1)]), after(2));
    assert_eq!(world.texts(), [("lock".into(), "b".into())]);
    assert_eq!(world.view().tags, words(&["y"]));
    assert_eq!(world.view().conflicts, []);
}

#[test]
fn tags_of_those_who_have_not_seen_each_other_are_united() {
    let mut world = World::edited();
    world.offline(person(vec![tag("base"), tag("old")]), 1, &[(1, 1)]);
    let left = person(vec![tag("left"), untag("old")]);
    assert_eq!(world.offline(left, 1, &[(1, 2)]), after(2));
    let right = agent(vec![tag("right"), untag("base")]);
    assert_eq!(world.offline(right, 2, &[(1, 1), (2, 1)]), merged(3));
    assert_eq!(world.view().tags, words(&["left", "right"]));
    assert_eq!(world.queue.conflicts_count(), 0);
}

#[test]
fn a_tag_that_was_not_seen_is_not_removed() {
    let mut world = World::edited();
    world.offline(person(vec![tag("x")]), 1, &[(1, 1)]);
    world.offline(person(vec![tag("x")]), 2, &[(2, 1)]);
    assert_eq!(
        world.offline(person(vec![untag("x")]), 1, &[(1, 2)]),
        merged(3)
    );
    assert_eq!(world.view().tags, words(&["x"]), "a2's stands");
    world.offline(person(vec![untag("x")]), 1, &[(1, 3), (2, 1)]);
    assert_eq!(world.view().tags, words(&[]));
}

#[test]
fn different_notes_do_not_contradict_each_other() {
    let mut world = World::edited();
    world.offline(person(vec![note("lock", "a")]), 1, &[(1, 1)]);
    assert_eq!(
        world.offline(person(vec![note("io", "b")]), 2, &[(2, 1)]),
        merged(2)
    );
    assert_eq!(world.texts().len(), 2);
    assert_eq!(world.queue.conflicts_count(), 0);
}

#[test]
fn the_later_of_two_people_is_shown_and_both_sides_are_kept() {
    let (world, id) = quarrel();
    assert_eq!(world.texts(), [("lock".into(), "b before a".into())]);
    assert_eq!(world.view().conflicts, [id]);
    let (conflicts, next) = world.queue.conflicts(ConflictId::default(), 10);
    assert_eq!(next, None);
    let [conflict] = &conflicts[..] else {
        panic!("{conflicts:?}")
    };
    assert_eq!(conflict.part, Part::Note("lock".into()));
    let dots: Vec<Dot> = conflict.sides.iter().map(|side| side.dot).collect();
    assert_eq!(dots, [dot(1, 1), dot(2, 1)]);
    assert_eq!(conflict.chosen, dot(2, 1));
}

#[test]
fn a_person_outranks_an_agent_whoever_came_first() {
    for person_first in [true, false] {
        let mut world = World::edited();
        let (one, two) = (
            person(vec![note("lock", "by a person")]),
            agent(vec![note("lock", "by an agent")]),
        );
        let [(first, a), (second, b)] = match person_first {
            true => [(one, 1), (two, 2)],
            false => [(two, 2), (one, 1)],
        };
        world.offline(first, a, &[(a, 1)]);
        world.offline(second, b, &[(b, 1)]);
        assert_eq!(world.texts(), [("lock".into(), "by a person".into())]);
        assert_eq!(world.queue.conflicts_count(), 1);
    }
}

#[test]
fn notes_of_people_stand_before_those_of_agents() {
    let mut world = World::edited();
    world.online(agent(vec![note("a", "1"), note("b", "2")]), 0);
    world.online(person(vec![note("z", "3"), note("c", "4")]), 1);
    let names: Vec<String> = world.texts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["c", "z", "a", "b"]);
}

#[test]
fn an_edit_that_was_merged_long_ago_is_dropped_and_its_winner_named() {
    let mut world = World::edited();
    world.offline(person(vec![tag("x")]), 1, &[(1, 1)]);
    world.offline(person(vec![untag("x")]), 2, &[(1, 1), (2, 1)]);
    let other = rejection(world.offline(person(vec![tag("y")]), 1, &[(1, 1)]));
    let Rejection::EditDominated {
        winner, version, ..
    } = &other
    else {
        panic!("{other:?}")
    };
    assert_eq!(*winner, dot(1, 1), "that number was used for another edit");
    assert_eq!(**version, seen(&[(1, 1), (2, 1)]));
    assert_eq!(world.view().tags, words(&[]));
}

#[test]
fn the_very_same_edit_has_the_very_same_reply_and_no_effect() {
    let (mut world, id) = quarrel();
    let revision = world.view().revision;
    let again = person(vec![note("lock", "b before a")]);
    let reply = annotated(2, Merge::Concurrent, vec![id]);
    world.online(person(vec![tag("later")]), 2);
    assert_eq!(world.offline(again, 2, &[(2, 1)]), reply);
    assert_eq!(world.view().revision, Revision(revision.0 + 1));
}

#[test]
fn an_edit_waits_for_what_its_author_had_seen() {
    let mut world = World::edited();
    let second = person(vec![note("lock", "2")]);
    let ahead = Rejection::EditAhead {
        address: address("a"),
        dot: dot(1, 2),
        actor: ActorId(1),
        seen: 1,
        known: 0,
    };
    assert_eq!(
        rejection(world.offline(second.clone(), 1, &[(1, 2)])),
        ahead
    );
    let relayed = person(vec![untag("x")]);
    let refused = rejection(world.offline(relayed.clone(), 2, &[(1, 1), (2, 1)]));
    assert!(matches!(refused, Rejection::EditAhead { actor, .. } if actor == ActorId(1)));
    world.offline(person(vec![tag("x")]), 1, &[(1, 1)]);
    assert_eq!(world.offline(second, 1, &[(1, 2)]), after(2));
    assert_eq!(world.offline(relayed, 2, &[(1, 1), (2, 1)]), merged(3));
    assert_eq!(world.view().tags, words(&[]));
}

#[test]
fn a_conflict_is_resolved_by_keeping_a_side() {
    let (mut world, id) = quarrel();
    let keep = Resolution::Keep { side: dot(1, 1) };
    let done = Outcome::Resolved {
        revision: Revision(3),
    };
    assert_eq!(world.resolve(id, 2, keep.clone()), done);
    assert_eq!(world.texts(), [("lock".into(), "a before b".into())]);
    assert_eq!(world.queue.conflicts_count(), 0);
    let gone = rejection(world.resolve(id, 3, keep));
    assert!(matches!(gone, Rejection::NoConflict { .. }));
}

#[test]
fn a_conflict_is_dismissed_as_the_rule_chose() {
    let (mut world, id) = quarrel();
    world.resolve(id, 2, Resolution::Dismiss);
    assert_eq!(world.texts(), [("lock".into(), "b before a".into())]);
    assert_eq!(world.view().conflicts, []);
}

#[test]
fn a_conflict_is_resolved_by_what_dominates_both_sides() {
    let (mut world, id) = quarrel();
    let other = Resolution::Merge(note("io", "elsewhere"));
    let refused = rejection(world.resolve(id, 2, other));
    assert!(matches!(refused, Rejection::NoSide { .. }));
    world.resolve(id, 2, Resolution::Merge(note("lock", "either")));
    assert_eq!(world.texts(), [("lock".into(), "either".into())]);
    let version = world.view().version;
    assert!(version.covers_all(&seen(&[(1, 1), (2, 1)])));
    // An edit of one who has seen a side, and not the resolution, is concurrent to it.
    let outcome = world.offline(agent(vec![note("lock", "mine")]), 3, &[(1, 1), (3, 1)]);
    assert!(
        matches!(&outcome, Outcome::Annotated { conflicts, .. } if conflicts.len() == 1),
        "{outcome:?}"
    );
    assert_eq!(world.texts(), [("lock".into(), "either".into())]);
}

#[test]
fn nobody_resolves_what_they_have_not_seen() {
    let (mut world, id) = quarrel();
    world.offline(person(vec![note("lock", "no order")]), 3, &[(3, 1)]);
    let refused = rejection(world.resolve(id, 2, Resolution::Dismiss));
    assert!(matches!(refused, Rejection::RevisionMoved { current, .. } if current == Revision(3)));
    let (conflicts, _) = world.queue.conflicts(ConflictId::default(), 10);
    assert_eq!(conflicts[0].sides.len(), 3, "one conflict, and a side more");
    assert_eq!(conflicts[0].id, id);
}

#[test]
fn an_edit_by_one_who_has_seen_all_sides_ends_the_conflict() {
    let (mut world, id) = quarrel();
    let edit = person(vec![note("lock", "agreed")]);
    world.offline(edit, 3, &[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(world.queue.conflicts_count(), 0);
    let (_, edits) = world.queue.history(&address("a"));
    assert_eq!(edits.last().unwrap().resolved, [id]);
}

#[test]
fn an_edit_by_one_who_has_seen_one_side_is_a_side_in_its_place() {
    let (mut world, id) = quarrel();
    world.offline(person(vec![note("lock", "a, then b")]), 1, &[(1, 2)]);
    let (conflicts, _) = world.queue.conflicts(ConflictId::default(), 10);
    let dots: Vec<Dot> = conflicts[0].sides.iter().map(|side| side.dot).collect();
    assert_eq!(dots, [dot(2, 1), dot(1, 2)]);
    assert_eq!(conflicts[0].id, id);
}

#[test]
fn notes_and_tags_stay_when_a_context_is_made_anew() {
    let mut world = World::edited();
    let job = world.submit_one(spec("a", 1));
    world.run(job);
    world.online(person(vec![note("lock", "a"), tag("x")]), 0);
    let before = world.view();
    let job = world.submit_one(spec("a", 2));
    world.run(job);
    let view = world.view();
    assert_eq!(view.context.unwrap().job, job);
    assert_eq!((view.notes, view.tags), (before.notes, before.tags));
    assert_eq!(view.revision, before.revision, "nobody edited it");
}

#[test]
fn conflicts_are_listed_in_pages() {
    let mut world = World::edited();
    for name in ["a", "b", "c"] {
        for actor in [1, 2] {
            let text = format!("{name}{actor}");
            let edit = person(vec![note("n", &text), Change::PutSummary(text.clone())]);
            world.annotate(name, edit, by(actor, &[(actor, 1)]));
        }
    }
    let mut listed = Vec::new();
    let mut after = Some(ConflictId::default());
    while let Some(from) = after {
        let (page, next) = world.queue.conflicts(from, 4);
        listed.extend(page.into_iter().map(|conflict| conflict.id));
        after = next;
    }
    assert_eq!(listed.len(), 6);
    assert!(listed.is_sorted());
}

#[test]
fn a_vector_must_be_one_of_its_actor() {
    let mut world = World::edited();
    let edit = || person(vec![tag("x")]);
    let reserved = rejection(world.offline(edit(), 0, &[(0, 1)]));
    assert!(matches!(reserved, Rejection::ReservedActor { .. }));
    let of_others = rejection(world.offline(edit(), 1, &[(2, 1)]));
    assert!(matches!(of_others, Rejection::OutOfRange { found: 0, .. }));
    let zero = rejection(world.offline(edit(), 1, &[(1, 1), (2, 0)]));
    assert!(matches!(zero, Rejection::OutOfRange { found: 0, .. }));
    let beyond = rejection(world.offline(edit(), 1, &[(1, u64::MAX)]));
    assert!(matches!(beyond, Rejection::OutOfRange { .. }));
    let many: Vec<(u64, u64)> = (1..=VERSION_ACTORS_MAX + 1)
        .map(|actor| (actor, 1))
        .collect();
    let many = rejection(world.offline(edit(), 1, &many));
    assert!(matches!(many, Rejection::OutOfRange { .. }));
    assert_eq!(world.queue.edited(&address("a")), None, "nothing changed");
}

#[test]
fn an_edit_must_say_something_once_and_shortly() {
    let mut world = World::edited();
    for changes in [
        vec![],
        vec![tag("")],
        vec![tag(&"x".repeat(TAG_BYTES_MAX as usize + 1))],
        vec![note("lock", &"x".repeat(NOTE_BYTES_MAX as usize + 1))],
        vec![note("", "x")],
        vec![Change::PutSummary(String::new())],
        (0..=EDIT_CHANGES_MAX)
            .map(|n| tag(&n.to_string()))
            .collect(),
        (0..9)
            .map(|n| note(&n.to_string(), &"x".repeat(2_000)))
            .collect(),
    ] {
        let refused = rejection(world.online(person(changes), 0));
        assert!(matches!(refused, Rejection::OutOfRange { .. }), "{refused}");
    }
    let twice = rejection(world.online(person(vec![tag("x"), untag("x")]), 0));
    assert_eq!(
        twice,
        Rejection::ChangedTwice {
            part: Part::Tag("x".into())
        }
    );
}

#[test]
fn what_is_said_of_an_address_is_bounded() {
    let mut world = World::edited();
    let mut revision = 0;
    for n in 0..TAGS_PER_ADDRESS_MAX {
        world.online(person(vec![tag(&n.to_string())]), revision);
        revision += 1;
    }
    let full = rejection(world.online(person(vec![tag("more")]), revision));
    assert!(matches!(
        full,
        Rejection::EditedFull {
            limit: TAGS_PER_ADDRESS_MAX,
            ..
        }
    ));
    world.online(person(vec![untag("0"), tag("more")]), revision);
    assert_eq!(world.view().tags.len() as u64, TAGS_PER_ADDRESS_MAX);
}

#[test]
fn a_conflict_has_a_bounded_number_of_sides() {
    let mut world = World::edited();
    for actor in 1..=SIDES_MAX {
        let outcome = world.offline(person(vec![note("n", "x")]), actor, &[(actor, 1)]);
        assert!(matches!(outcome, Outcome::Annotated { .. }));
    }
    let more = rejection(world.offline(person(vec![note("n", "x")]), 99, &[(99, 1)]));
    assert!(more.to_string().contains("resolve it first"), "{more}");
    assert!(matches!(
        more,
        Rejection::EditedFull {
            limit: SIDES_MAX,
            ..
        }
    ));
}

#[test]
fn there_is_always_room_for_who_edits_online() {
    let mut world = World::edited();
    for actor in 1..VERSION_ACTORS_MAX {
        world.offline(person(vec![tag("x")]), actor, &[(actor, 1)]);
    }
    let stranger = rejection(world.offline(person(vec![tag("x")]), 999, &[(999, 1)]));
    assert!(
        stranger.to_string().contains("edit it online"),
        "{stranger}"
    );
    let revision = world.view().revision.0;
    assert_eq!(
        world.online(person(vec![tag("y")]), revision),
        after(revision + 1)
    );
    // And for who has seen that.
    let mut version = world.view().version;
    version.advance(ActorId(1));
    let basis = Basis::Version {
        actor: ActorId(1),
        version,
    };
    let outcome = world.annotate("a", person(vec![tag("z")]), basis);
    assert_eq!(outcome, after(revision + 2));
}

#[test]
fn nothing_is_edited_below_the_level() {
    let mut world = World::new();
    let refused = rejection(world.online(person(vec![tag("x")]), 0));
    assert!(matches!(refused, Rejection::LevelTooLow { .. }));
    assert_eq!(world.queue.edited(&address("a")), None);
}

#[test]
fn an_edited_world_comes_back_from_its_image() {
    let (mut world, _) = quarrel();
    let job = world.submit_one(spec("a", 1));
    world.run(job);
    let job = world.submit_one(spec("a", 2));
    world.run(job);
    let twin = QueueManager::from_image(&world.queue.image()).unwrap();
    assert_eq!(twin.state_hash(), world.queue.state_hash());
    assert_eq!(
        twin.edited(&address("a")),
        world.queue.edited(&address("a"))
    );
    assert_eq!(
        twin.history(&address("a")),
        world.queue.history(&address("a"))
    );
    world.twin = Some(twin);
    world.offline(
        person(vec![note("lock", "agreed")]),
        3,
        &[(1, 1), (2, 1), (3, 1)],
    );
}
