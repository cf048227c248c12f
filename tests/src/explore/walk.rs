//! One path through the space, taken by real nodes that are never swapped for
//! others of their name, beside the tables that predict it. Tells the story of
//! a path, and proves the tables right or wrong.

use precentor_core::log::TermAt;

use super::known::{facts_of, name_of_flight, name_of_local};
use super::local::{Local, NODES, Setup};
use super::plan::Plan;
use super::rules::Broken;
use super::state::{Choice, State};
use super::tables::{Outcome, Tables};
use crate::trace::words_of_message;

/// A walk.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) tables: Tables,
    pub(super) state: State,
    nodes: [Local; NODES],
    /// How it came to its beginning, in words.
    pub(super) prologue: Vec<String>,
}

impl Walk {
    /// Begins where a plan begins, with tables that may know much already.
    ///
    /// # Errors
    /// If a rule breaks on the way there, or the tables are wrong.
    pub(super) fn begin(plan: &Plan, mut tables: Tables) -> Result<Walk, String> {
        let words = |broken: Broken| broken.to_string();
        let setup: Setup = *tables.setup();
        let (_, script) = plan.start.reach(&mut tables).map_err(words)?;
        let state = tables.found().map_err(words)?;
        let nodes = state
            .locals
            .map(|number| tables.locals[number as usize].local.node)
            .map(|node| Local::found(node, &setup));
        let [one, two, three] = nodes;
        let nodes = [
            one.map_err(words)?,
            two.map_err(words)?,
            three.map_err(words)?,
        ];
        let mut walk = Walk {
            tables,
            state,
            nodes,
            prologue: Vec::new(),
        };
        for choice in script {
            let words = walk.words(choice);
            walk.prologue.push(words);
            if let Some(broken) = walk.step(choice)? {
                return Err(broken.to_string());
            }
        }
        walk.state.left = plan.budget;
        Ok(walk)
    }

    /// One step; says what was broken.
    ///
    /// # Errors
    /// If a real node did not do what the tables say.
    pub(super) fn step(&mut self, choice: Choice) -> Result<Option<Broken>, String> {
        let moved = self.tables.stimulus(&self.state, choice);
        let from = self.state.clone();
        let outcome = self.tables.apply(&self.state, choice);
        match outcome {
            Outcome::Nothing => {}
            Outcome::Broken(broken) => return Ok(Some(broken)),
            Outcome::To(next) => self.state = next,
        }
        let Some((place, stimulus)) = moved else {
            return Ok(None);
        };
        let heard = match choice {
            Choice::Deliver(flight) | Choice::DeliverCopy(flight) => {
                Some(self.tables.flights[flight as usize].0.clone())
            }
            _ => None,
        };
        let setup = *self.tables.setup();
        let (next, effect) = self.nodes[place].after(stimulus, heard.as_ref(), &setup);
        let words = |broken: Broken| broken.to_string();
        let name = facts_of(&next)
            .and_then(|facts| name_of_local(&next, &facts))
            .map_err(words)?;
        let turn = self
            .tables
            .known_turn(from.locals[place], stimulus)
            .ok_or("the tables do not know a turn that they took")?;
        let said: Vec<u128> = turn
            .said
            .iter()
            .map(|flight| self.tables.flights[*flight as usize].1)
            .collect();
        let really: Vec<u128> = effect.said.iter().map(name_of_flight).collect();
        let predicted = self.tables.locals[turn.to as usize].name;
        if predicted != name || said != really {
            return Err(format!(
                "{} at {stimulus:?} did not do what another node of its name did: their names \
                 leave out something that matters\nreal: {next:?}\ntable: {:?}",
                next.node, self.tables.locals[turn.to as usize].local
            ));
        }
        self.nodes[place] = next;
        Ok(None)
    }

    /// What a choice is, in words.
    pub(super) fn words(&self, choice: Choice) -> String {
        let node = |place: u8| format!("n{}", place + 1);
        let message = |flight: u32| {
            let flight = &self.tables.flights[flight as usize].0;
            let words = words_of_message(&flight.message);
            format!("{}->{} {words}", flight.from, flight.to)
        };
        match choice {
            Choice::Timeout(place) => format!("{}'s deadline comes", node(place)),
            Choice::Lull(place) => format!("{} has not heard its leader for a while", node(place)),
            Choice::Sync(place) => format!("{}'s oldest write is durable", node(place)),
            Choice::Crash { place, keep } => {
                let waiting = self.nodes[usize::from(place)].disk.records_waiting();
                match waiting {
                    0 => format!("{} crashes", node(place)),
                    _ => format!(
                        "{} crashes; of {waiting} records on their way {keep} are on its disk",
                        node(place)
                    ),
                }
            }
            Choice::Restart(place) => format!("{} starts", node(place)),
            Choice::Propose(place) => format!("a client proposes at {}", node(place)),
            Choice::HandOver(place) => format!("{} is to hand over", node(place)),
            Choice::PeerDown { place, peer } => {
                format!("{} loses its connection to {}", node(place), node(peer))
            }
            Choice::Deliver(flight) => format!("arrives: {}", message(flight)),
            Choice::DeliverCopy(flight) => format!("arrives, and will again: {}", message(flight)),
            Choice::Drop(flight) => format!("is lost: {}", message(flight)),
        }
    }

    /// All nodes, a line each.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.nodes.iter().map(words_of_node).collect()
    }

    /// The node that a choice moves, in words.
    pub(super) fn moved(&self, before: &State, choice: Choice) -> Option<String> {
        let (place, _) = self.tables.stimulus(before, choice)?;
        Some(words_of_node(&self.nodes[place]))
    }

    /// What is on its way, and was not before.
    pub(super) fn news(&self, before: &State) -> Vec<String> {
        let count =
            |state: &State, flight: u32| state.flights.iter().filter(|f| **f == flight).count();
        let mut news: Vec<u32> = self.state.flights.clone();
        news.dedup();
        news.retain(|flight| count(&self.state, *flight) > count(before, *flight));
        news.into_iter()
            .map(|flight| &self.tables.flights[flight as usize].0)
            .map(|f| format!("{}->{} {}", f.from, f.to, words_of_message(&f.message)))
            .collect()
    }
}

fn words_of_node(local: &Local) -> String {
    let held = local.disk.hard_state();
    let vote = held.vote.map_or("none".into(), |vote| vote.to_string());
    let log: Vec<_> = local
        .disk
        .entries()
        .iter()
        .map(|entry| format!("{}@{}", entry.index, entry.term))
        .collect();
    let disk = format!(
        "disk: {} vote {vote} [{}]{}",
        held.term,
        log.join(" "),
        match local.disk.waiting().len() {
            0 => String::new(),
            count => format!(", {count} writes on their way"),
        }
    );
    let Some(driver) = &local.driver else {
        return format!("{} is down; {disk}", local.node);
    };
    let view = driver.view();
    let log: Vec<_> = (1..=view.last().index.0)
        .map(precentor_core::ids::LogIndex)
        .map(|index| match view.term_at(index) {
            TermAt::Known(term) => format!("{index}@{term}"),
            TermAt::Compacted | TermAt::Beyond => format!("{index}@?"),
        })
        .collect();
    let leader = match view.leader() {
        Some(leader) if leader != local.node => format!(" of {leader}"),
        Some(_) | None => String::new(),
    };
    format!(
        "{} is {:?}{leader} in {}, log [{}] commit {}; {disk}",
        local.node,
        view.role(),
        view.term(),
        log.join(" "),
        view.commit()
    )
}
