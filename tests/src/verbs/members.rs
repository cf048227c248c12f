//! The words for members and for the lives of their disks: what an operator
//! changes, and what a node believes of who belongs to the cluster.

use anyhow::{Result, bail};
use precentor_core::ids::{Incarnation, NodeId};
use precentor_core::membership::Change;
use precentor_core::view::View;

use crate::words::Words;
use crate::world::World;

/// The change that the words after `member n1` ask for.
pub(super) fn change(world: &World, words: &mut Words<'_>) -> Result<Change> {
    let verb = words.need("learner, voter, promote, remove or replace")?;
    let node = words.node()?;
    Ok(match verb {
        "learner" | "voter" => Change::AddLearner {
            node,
            incarnation: life_of(world, node, words)?,
            promote: verb == "voter",
        },
        "promote" => Change::Promote { node },
        "remove" => Change::Remove { node },
        "replace" => {
            let new = words.node()?;
            Change::Replace {
                old: node,
                new,
                incarnation: life_of(world, new, words)?,
            }
        }
        other => bail!("{other:?} is no change of the membership"),
    })
}

/// `life 2`, or the life that the node's disk has: an operator reads it there.
pub(super) fn life_of(world: &World, node: NodeId, words: &mut Words<'_>) -> Result<Incarnation> {
    if words.has("life") {
        return Ok(Incarnation(words.number("")?));
    }
    let machine = world.machines.get(&node);
    Ok(machine.map_or(world.first_life, |machine| machine.incarnation))
}

/// Who belongs to the cluster as a node sees it, since when, and whether that
/// may still be undone; and whose disks are known.
pub(super) fn words_of_members(view: View<'_>) -> String {
    let (members, since) = (view.membership(), view.membership_index());
    let open = match since > view.commit() {
        true => ", not known as committed",
        false => "",
    };
    let lives: Vec<_> = members
        .iter()
        .filter_map(|(node, member)| {
            let life = member
                .incarnation
                .filter(|life| *life != Incarnation::UNTOLD);
            life.map(|life| format!("{node} {life}"))
        })
        .collect();
    let disks = match lives.is_empty() {
        true => String::new(),
        false => format!("; disks {}", lives.join(", ")),
    };
    let node = view.node();
    match members.iter().next() {
        Some(_) => format!("{node} members {members} since {since}{open}{disks}"),
        None => format!("{node} knows of no members"),
    }
}
