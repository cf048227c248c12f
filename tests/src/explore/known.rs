//! What the tables hold of a node, and by what names nodes and messages are
//! known in them.

use precentor_core::digest::Digest;
use precentor_core::driver::Driver;
use precentor_core::entry::LogEntry;
use precentor_core::ids::{LogIndex, NodeId};
use precentor_core::message::{Body, Message};
use precentor_core::status::RoleName;
use serde_json::to_vec;

use super::local::{Flight, Local, NODES};
use super::portrait::{name_of, number_of};
use super::rules::{Broken, Facts, Rule, Spot};
use super::state::Choice;

/// A node, with what is asked of it again and again.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) local: Local,
    pub(super) name: u128,
    pub(super) facts: Facts,
    /// What can be done to it, whatever else the world holds.
    pub(super) choices: Vec<Choice>,
    pub(super) due: Due,
}

/// What a node's deadline is for, and so which budget its coming is taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Entries wait to be applied: a host comes back at once, at no cost.
    Backlog,
    /// A leader's heartbeat.
    Heartbeat,
    /// An election.
    Election,
}

impl Known {
    /// A node that was never seen before.
    pub(super) fn new(local: Local, name: u128, facts: Facts) -> Known {
        Known {
            choices: choices_of(&local),
            due: due_of(&local),
            local,
            name,
            facts,
        }
    }
}

/// Where a node stands in a world.
pub(super) fn place_of(node: NodeId) -> usize {
    usize::try_from(node.0).expect("there are three nodes") - 1
}

/// What a message is known by.
pub(super) fn name_of_flight(flight: &Flight) -> u128 {
    let Flight { from, to, message } = flight;
    let Message {
        term,
        incarnation,
        body,
    } = message;
    let mut bytes = format!("{from} {to} {term} {incarnation}").into_bytes();
    // Debug leaves the bytes of entries out.
    let entries = match body {
        Body::Append(append) => &append.entries[..],
        Body::Lend(loan) => &loan.entries[..],
        _ => &[],
    };
    if !entries.is_empty() {
        bytes.extend(to_vec(entries).expect("entries are plain data"));
    }
    bytes.extend(format!("{body:?}").into_bytes());
    number_of(Digest::of(&bytes))
}

/// What a node is known by.
pub(super) fn name_of_local(local: &Local, facts: &Facts) -> Result<u128, Broken> {
    let mut chains: Vec<u128> = facts.log.iter().map(|spot| spot.chain).collect();
    chains.extend(facts.disk.iter().map(|spot| spot.chain));
    for write in local.disk.waiting() {
        let bytes = to_vec(&write.entries).expect("entries are plain data");
        chains.push(number_of(Digest::of(&bytes)));
    }
    name_of(local, &chains).map_err(|text| Broken {
        rule: Rule::Covered,
        text,
    })
}

/// What judges must see of a node.
pub(super) fn facts_of(local: &Local) -> Result<Facts, Broken> {
    let mut facts = Facts {
        node: local.node,
        leads: None,
        term: local.disk.hard_state().term,
        commit: LogIndex(0),
        log: Vec::new(),
        disk: Vec::new(),
    };
    for entry in local.disk.entries() {
        extend(&mut facts.disk, entry);
    }
    let Some(driver) = &local.driver else {
        return Ok(facts);
    };
    let view = driver.view();
    facts.term = view.term();
    facts.commit = view.commit();
    facts.leads = (view.role() == RoleName::Leader).then(|| view.term());
    for index in 1..=view.last().index.0 {
        let entry = view.entry_at(LogIndex(index)).ok_or_else(|| Broken {
            rule: Rule::Covered,
            text: format!("{} has no body at i{index} in memory", local.node),
        })?;
        extend(&mut facts.log, entry);
    }
    Ok(facts)
}

fn extend(log: &mut Vec<Spot>, entry: &LogEntry) {
    let before = log.last().map_or(0, |spot| spot.chain).to_le_bytes();
    let own = to_vec(entry).expect("entries are plain data");
    let chain = number_of(Digest::of_parts("a chain of a search", &[&before, &own]));
    log.push(Spot {
        term: entry.term,
        chain,
    });
}

fn due_of(local: &Local) -> Due {
    match local.driver.as_ref().map(Driver::view) {
        Some(view) if view.applied() < view.commit() => Due::Backlog,
        Some(view) if view.role() == RoleName::Leader => Due::Heartbeat,
        Some(_) | None => Due::Election,
    }
}

fn choices_of(local: &Local) -> Vec<Choice> {
    let place = place_of(local.node);
    let here = u8::try_from(place).expect("there are three nodes");
    let Some(driver) = &local.driver else {
        return vec![Choice::Restart(here)];
    };
    let view = driver.view();
    let mut choices = Vec::new();
    if driver.deadline().is_some() {
        choices.push(Choice::Timeout(here));
    }
    if local.can_lull() {
        choices.push(Choice::Lull(here));
    }
    if !local.disk.waiting().is_empty() {
        choices.push(Choice::Sync(here));
    }
    let records = u8::try_from(local.disk.records_waiting()).expect("few writes wait here");
    choices.extend((0..=records).map(|keep| Choice::Crash { place: here, keep }));
    if local.can_propose() {
        choices.push(Choice::Propose(here));
    }
    if view.role() == RoleName::Leader {
        choices.push(Choice::HandOver(here));
    }
    for peer in (0..NODES).filter(|peer| *peer != place) {
        let leader = view.leader().map(place_of);
        if view.role() == RoleName::Leader || leader == Some(peer) {
            let peer = u8::try_from(peer).expect("there are three nodes");
            choices.push(Choice::PeerDown { place: here, peer });
        }
    }
    choices
}
