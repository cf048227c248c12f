//! Everything that was seen, once each: nodes, messages, memories; and what
//! each stimulus made of each node. The core runs only when a node in a state
//! never seen before is moved: all worlds that hold the same node share the
//! result. That is what makes the search of the real core as fast as one of a
//! model, and needs nothing but that equal names act alike ([`super::portrait`]).

use std::collections::BTreeMap;
use std::rc::Rc;

use precentor_core::digest::Digest;
use precentor_core::ids::{LogIndex, NodeId};

use super::fold::{FoldMap, FoldSet};
use super::known::{Due, Known, facts_of, name_of_flight, name_of_local, place_of};
use super::local::{Effect, Flight, Local, NODES, Setup, Stimulus};
use super::portrait::number_of;
use super::rules::{Broken, Facts, Memory, Rule, check_matching};
use super::state::{Budget, Choice, State};

/// What a stimulus made of a node.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) to: u32,
    pub(super) said: Rc<[u32]>,
    answered: LogIndex,
    broken: Option<Rc<Broken>>,
}

/// What a choice made of a world.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing that could ever matter: a message was spent on a node that does
    /// nothing with it. The world before can do all that this one can.
    Nothing,
    /// Another world.
    To(State),
    /// A broken rule.
    Broken(Broken),
}

/// The tables.
#[derive(Debug)]
pub(super) struct Tables {
    setup: Setup,
    outcomes_only: bool,
    pub(super) locals: Vec<Known>,
    local_names: FoldMap<u128, u32>,
    pub(super) flights: Vec<(Flight, u128)>,
    flight_names: FoldMap<u128, u32>,
    memories: Vec<Memory>,
    memory_numbers: BTreeMap<u128, u32>,
    turns: FoldMap<(u32, Stimulus), Turn>,
    seen: FoldMap<(u32, u32), Result<u32, Rc<Broken>>>,
    held: FoldMap<(u32, u32), u32>,
    matching: FoldSet<(u32, u32)>,
    /// By the digest of what was applied: the state that it gave, and where.
    states: FoldMap<u128, (u128, NodeId)>,
}

impl Tables {
    /// Tables of a world whose nodes are set up like this. For outcomes only,
    /// rules that serve others are not judged.
    pub(super) fn new(setup: Setup, outcomes_only: bool) -> Tables {
        Tables {
            setup,
            outcomes_only,
            locals: Vec::new(),
            local_names: FoldMap::default(),
            flights: Vec::new(),
            flight_names: FoldMap::default(),
            memories: vec![Memory::default()],
            memory_numbers: BTreeMap::new(),
            turns: FoldMap::default(),
            seen: FoldMap::default(),
            held: FoldMap::default(),
            matching: FoldSet::default(),
            states: FoldMap::default(),
        }
    }

    /// How every node is set up.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// How often the core ran.
    pub(super) fn turns(&self) -> usize {
        self.turns.len()
    }

    /// What a stimulus made of a node, if that was ever asked.
    pub(super) fn known_turn(&self, from: u32, stimulus: Stimulus) -> Option<&Turn> {
        self.turns.get(&(from, stimulus))
    }

    /// Three nodes that start for the first time.
    pub(super) fn found(&mut self) -> Result<State, Broken> {
        let mut locals = [0; NODES];
        for (place, number) in locals.iter_mut().enumerate() {
            let local = Local::found(NodeId(place as u64 + 1), &self.setup)?;
            *number = self.local(local)?;
        }
        Ok(State {
            locals,
            memory: 0,
            left: Budget::default(),
            flights: Vec::new(),
        })
    }

    /// All that can be done to a world, in the order of this run's numbers.
    pub(super) fn choices(&self, state: &State, into: &mut Vec<Choice>) {
        into.clear();
        let left = &state.left;
        for local in state.locals {
            let known = &self.locals[local as usize];
            let allowed = |choice: &&Choice| match choice {
                Choice::Timeout(_) => match known.due {
                    Due::Backlog => true,
                    Due::Heartbeat => left.heartbeats > 0,
                    Due::Election => left.timeouts > 0,
                },
                Choice::Lull(_) => left.lulls > 0,
                Choice::Crash { .. } => left.crashes > 0,
                Choice::Propose(_) => left.proposals > 0,
                Choice::HandOver(_) => left.hand_overs > 0,
                Choice::PeerDown { .. } => left.disconnects > 0,
                Choice::Sync(_) | Choice::Restart(_) => true,
                Choice::Deliver(_) | Choice::DeliverCopy(_) | Choice::Drop(_) => false,
            };
            into.extend(known.choices.iter().filter(allowed));
        }
        let mut last = None;
        for flight in &state.flights {
            if last == Some(*flight) {
                continue;
            }
            last = Some(*flight);
            let to = place_of(self.flights[*flight as usize].0.to);
            let up = self.locals[state.locals[to] as usize]
                .local
                .driver
                .is_some();
            if up {
                into.push(Choice::Deliver(*flight));
            }
            if up && left.duplicates > 0 {
                into.push(Choice::DeliverCopy(*flight));
            }
            if left.drops > 0 {
                into.push(Choice::Drop(*flight));
            }
        }
    }

    /// The same in an order that is the same in every run: what a path counts.
    pub(super) fn choices_in_order(&self, state: &State) -> Vec<Choice> {
        let mut choices = Vec::new();
        self.choices(state, &mut choices);
        choices.sort_by_key(|choice| match choice {
            Choice::Deliver(flight) => (1, self.order_of(*flight), None),
            Choice::DeliverCopy(flight) => (2, self.order_of(*flight), None),
            Choice::Drop(flight) => (3, self.order_of(*flight), None),
            local => (0, None, Some(*local)),
        });
        choices
    }

    fn order_of(&self, flight: u32) -> Option<(NodeId, NodeId, u128)> {
        let (flight, name) = &self.flights[flight as usize];
        Some((flight.from, flight.to, *name))
    }

    /// Which node a choice moves, and how; none if it moves only the wire.
    pub(super) fn stimulus(&self, state: &State, choice: Choice) -> Option<(usize, Stimulus)> {
        let (place, stimulus) = match choice {
            Choice::Timeout(place) => (place, Stimulus::Timeout),
            Choice::Lull(place) => (place, Stimulus::Lull),
            Choice::Sync(place) => (place, Stimulus::Synced),
            Choice::Crash { place, keep } => (place, Stimulus::Crash(keep)),
            Choice::Restart(place) => (place, Stimulus::Restart),
            Choice::Propose(place) => (place, Stimulus::Propose(state.left.proposals)),
            Choice::HandOver(place) => (place, Stimulus::HandOver),
            Choice::PeerDown { place, peer } => (place, Stimulus::PeerDown(peer)),
            Choice::Deliver(flight) | Choice::DeliverCopy(flight) => {
                let to = place_of(self.flights[flight as usize].0.to);
                return Some((to, Stimulus::Hear(flight)));
            }
            Choice::Drop(_) => return None,
        };
        Some((usize::from(place), stimulus))
    }

    /// The world after a choice.
    pub(super) fn apply(&mut self, state: &State, choice: Choice) -> Outcome {
        match self.try_apply(state, choice) {
            Ok(Some(next)) => Outcome::To(next),
            Ok(None) => Outcome::Nothing,
            Err(broken) => Outcome::Broken(broken),
        }
    }

    fn try_apply(&mut self, state: &State, choice: Choice) -> Result<Option<State>, Broken> {
        let Some((place, stimulus)) = self.stimulus(state, choice) else {
            let mut next = state.clone();
            if let Choice::Drop(flight) = choice {
                next.take(flight);
                next.left.drops = next.left.drops.saturating_sub(1);
            }
            return Ok(Some(next));
        };
        let from = state.locals[place];
        let turn = self.turn(from, stimulus)?;
        if let Some(broken) = turn.broken.as_ref().filter(|broken| self.judges(broken)) {
            return Err(Broken::clone(broken));
        }
        if turn.to == from && turn.said.is_empty() {
            return Ok(None);
        }
        let mut next = state.clone();
        next.locals[place] = turn.to;
        if let Choice::Deliver(flight) = choice {
            next.take(flight);
        }
        for flight in turn.said.iter() {
            next.put(*flight);
        }
        self.spend(&mut next.left, from, choice);
        if turn.to != from {
            self.judge(&mut next, place)?;
        }
        let told = Rule::CommittedBeforeAnswer;
        if turn.answered > self.memories[next.memory as usize].committed() {
            let text = format!(
                "a client hears that {} is applied, and it is not committed",
                turn.answered
            );
            let broken = Broken { rule: told, text };
            if self.judges(&broken) {
                return Err(broken);
            }
        }
        Ok(Some(next))
    }

    fn spend(&self, left: &mut Budget, from: u32, choice: Choice) {
        let spent = match choice {
            Choice::Timeout(_) => match self.locals[from as usize].due {
                Due::Backlog => return,
                Due::Heartbeat => &mut left.heartbeats,
                Due::Election => &mut left.timeouts,
            },
            Choice::Lull(_) => &mut left.lulls,
            Choice::Crash { .. } => &mut left.crashes,
            Choice::Propose(_) => &mut left.proposals,
            Choice::HandOver(_) => &mut left.hand_overs,
            Choice::PeerDown { .. } => &mut left.disconnects,
            Choice::DeliverCopy(_) => &mut left.duplicates,
            Choice::Drop(_) => &mut left.drops,
            Choice::Sync(_) | Choice::Restart(_) | Choice::Deliver(_) => return,
        };
        // A start's script spends what is not there.
        *spent = spent.saturating_sub(1);
    }

    fn judges(&self, broken: &Broken) -> bool {
        !self.outcomes_only || broken.rule.is_outcome()
    }

    /// What holds of the whole world, after one node has changed.
    fn judge(&mut self, next: &mut State, place: usize) -> Result<(), Broken> {
        let changed = next.locals[place];
        next.memory = self.see(next.memory, changed)?;
        if !self.outcomes_only {
            let mut held = [0; NODES];
            for (held, local) in held.iter_mut().zip(next.locals) {
                *held = self.held(next.memory, local);
            }
            self.memories[next.memory as usize].check_held(held)?;
        }
        for other in next.locals {
            let pair = (changed.min(other), changed.max(other));
            if !self.matching.contains(&pair) {
                let facts = |number: u32| &self.locals[number as usize].facts;
                check_matching(facts(pair.0), facts(pair.1))?;
                self.matching.insert(pair);
            }
        }
        Ok(())
    }

    fn see(&mut self, memory: u32, local: u32) -> Result<u32, Broken> {
        if let Some(known) = self.seen.get(&(memory, local)) {
            return known.clone().map_err(|broken| Broken::clone(&broken));
        }
        let before = &self.memories[memory as usize];
        let seen = before.see(&self.locals[local as usize].facts);
        let seen = match seen {
            Ok(after) if after == *before => Ok(memory),
            Ok(after) => Ok(self.memory(after)),
            Err(broken) => Err(Rc::new(broken)),
        };
        self.seen.insert((memory, local), seen.clone());
        seen.map_err(|broken| Broken::clone(&broken))
    }

    fn held(&mut self, memory: u32, local: u32) -> u32 {
        let (memories, locals) = (&self.memories, &self.locals);
        *self
            .held
            .entry((memory, local))
            .or_insert_with(|| memories[memory as usize].held(&locals[local as usize].facts))
    }

    fn memory(&mut self, memory: Memory) -> u32 {
        let name = number_of(Digest::of(format!("{memory:?}").as_bytes()));
        let memories = &mut self.memories;
        *self.memory_numbers.entry(name).or_insert_with(|| {
            memories.push(memory);
            number(memories.len() - 1)
        })
    }

    fn turn(&mut self, from: u32, stimulus: Stimulus) -> Result<Turn, Broken> {
        if let Some(known) = self.turns.get(&(from, stimulus)) {
            return Ok(known.clone());
        }
        let heard = match stimulus {
            Stimulus::Hear(flight) => Some(&self.flights[flight as usize].0),
            _ => None,
        };
        let (next, effect) = self.locals[from as usize]
            .local
            .after(stimulus, heard, &self.setup);
        let Effect {
            said,
            answered,
            broken,
        } = effect;
        let turn = Turn {
            to: self.local(next)?,
            said: said.into_iter().map(|flight| self.flight(flight)).collect(),
            answered,
            broken: broken.map(Rc::new),
        };
        self.turns.insert((from, stimulus), turn.clone());
        Ok(turn)
    }

    fn flight(&mut self, flight: Flight) -> u32 {
        let name = name_of_flight(&flight);
        let flights = &mut self.flights;
        *self.flight_names.entry(name).or_insert_with(|| {
            flights.push((flight, name));
            number(flights.len() - 1)
        })
    }

    fn local(&mut self, local: Local) -> Result<u32, Broken> {
        let facts = facts_of(&local)?;
        let name = name_of_local(&local, &facts)?;
        if let Some(known) = self.local_names.get(&name) {
            return Ok(*known);
        }
        self.see_state(&local, &facts)?;
        self.locals.push(Known::new(local, name, facts));
        let number = number(self.locals.len() - 1);
        self.local_names.insert(name, number);
        Ok(number)
    }

    /// Nodes that applied the same entries have the same state, whichever
    /// worlds they live in.
    fn see_state(&mut self, local: &Local, facts: &Facts) -> Result<(), Broken> {
        let Some(driver) = &local.driver else {
            return Ok(());
        };
        let state = driver.view().state_hash();
        let Some(place) = state.index.0.checked_sub(1) else {
            return Ok(());
        };
        let Some(spot) = usize::try_from(place).ok().and_then(|at| facts.log.get(at)) else {
            return Ok(());
        };
        let (hash, first) = *self
            .states
            .entry(spot.chain)
            .or_insert((state.hash.0, local.node));
        if hash == state.hash.0 {
            return Ok(());
        }
        Err(Broken {
            rule: Rule::EqualStates,
            text: format!(
                "the state of {} after {} is {:032x}; on the same entries {first} came to {hash:032x}",
                local.node, state.index, state.hash.0
            ),
        })
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("memory ends before four thousand million of anything")
}
