//! What is merged does not depend on the order in which edits come, as long as none
//! comes before what its author had seen.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::edit::*;
use crate::version::{Dot, VersionVector};

use super::edits::{note, tag};
use super::*;

/// An edit, made somewhere.
#[derive(Clone, Debug)]
struct Made {
    dot: Dot,
    version: VersionVector,
    edit: Edit,
}

/// What happens among three who cannot reach the cluster.
#[derive(Clone, Debug)]
enum Happening {
    Edits(usize, Vec<Change>),
    Reads(usize, usize),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let word = || prop::sample::select(vec!["x", "y", "z"]);
    let change = prop_oneof![
        3 => word().prop_map(tag),
        2 => word().prop_map(|word| Change::RemoveTag(word.into())),
        2 => (word(), word()).prop_map(|(name, text)| note(name, text)),
        1 => word().prop_map(|name| Change::WithdrawNote { name: name.into() }),
    ];
    let changes = prop::collection::vec(change, 1..3).prop_map(|mut changes| {
        changes.sort_by_key(Change::part);
        changes.dedup_by_key(|change| change.part());
        changes
    });
    let happening = prop_oneof![
        3 => (0..3usize, changes).prop_map(|(who, changes)| Happening::Edits(who, changes)),
        1 => (0..3usize, 0..3usize).prop_map(|(who, whose)| Happening::Reads(who, whose)),
    ];
    prop::collection::vec(happening, 1..16)
}

fn make(happenings: Vec<Happening>) -> Vec<Made> {
    let mut seen = [
        VersionVector::new(),
        VersionVector::new(),
        VersionVector::new(),
    ];
    let mut made = Vec::new();
    for happening in happenings {
        match happening {
            Happening::Edits(who, changes) => {
                let dot = seen[who].advance(ActorId(who as u64 + 1));
                let author = Author::Person;
                made.push(Made {
                    dot,
                    version: seen[who].clone(),
                    edit: Edit { author, changes },
                });
            }
            Happening::Reads(who, whose) => {
                let theirs = seen[whose].clone();
                seen[who].join(&theirs);
            }
        }
    }
    made
}

/// Sends them in an order that the choices make, none before what its author had seen.
fn send(mut made: Vec<Made>, choices: &[usize]) -> World {
    let mut world = World::edited();
    let mut sent = VersionVector::new();
    let mut choices = choices.iter().cycle();
    while !made.is_empty() {
        let may = |made: &Made| {
            made.version.dots().all(|seen| {
                let own = u64::from(seen.actor == made.dot.actor);
                sent.get(seen.actor) >= seen.counter - own
            })
        };
        let next: Vec<usize> = (0..made.len()).filter(|at| may(&made[*at])).collect();
        let made = made.remove(next[choices.next().unwrap() % next.len()]);
        sent.see(made.dot);
        let outcome = world.apply(Command::Annotate {
            address: address("a"),
            edit: made.edit,
            basis: Basis::Version {
                actor: made.dot.actor,
                version: made.version,
            },
        });
        assert!(matches!(outcome, Outcome::Annotated { .. }), "{outcome:?}");
    }
    world
}

/// The sides of all open conflicts, whatever these are called.
fn sides(world: &World) -> BTreeSet<(Part, BTreeSet<Dot>)> {
    let (conflicts, _) = world.queue.conflicts(ConflictId::default(), u32::MAX);
    let sides = conflicts.into_iter().map(|conflict| {
        let dots = conflict.sides.iter().map(|side| side.dot);
        (conflict.part, dots.collect())
    });
    sides.collect()
}

proptest! {
    #[test]
    fn the_order_in_which_edits_come_makes_no_difference(
        happenings in happenings(),
        one in prop::collection::vec(any::<usize>(), 16),
        two in prop::collection::vec(any::<usize>(), 16),
    ) {
        let made = make(happenings);
        if made.is_empty() {
            return Ok(());
        }
        let (left, right) = (send(made.clone(), &one), send(made, &two));
        prop_assert_eq!(left.view().tags, right.view().tags);
        prop_assert_eq!(left.view().version, right.view().version);
        prop_assert_eq!(sides(&left), sides(&right));
        let names = |world: &World| -> Vec<String> {
            world.view().notes.into_iter().map(|note| note.name).collect()
        };
        prop_assert_eq!(names(&left), names(&right));
    }
}
