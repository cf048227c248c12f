//! Worlds to begin with. A search from the very beginning spends its depth on
//! the first election; these begin where something is at stake. Each is come to
//! by a script of ordinary choices of real nodes, so that it can be.

use super::known::place_of;
use super::rules::Broken;
use super::state::{Choice, State};
use super::tables::{Outcome, Tables};

/// Where a search begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Three nodes that start for the first time.
    Fresh,
    /// n1 leads, its first entry is committed and applied everywhere, and
    /// nothing is on its way.
    Led,
    /// n1 leads a later term. n2, a deposed leader that slept meanwhile, holds
    /// another entry where n1 and n3 have a committed one.
    StaleTail,
    /// Raft's figure 8 with three nodes. n1 leads term 3 with entry 2 of term 1,
    /// n3 is back with another entry 2 of term 2, n2 has neither. n1's first
    /// heartbeat is on its way.
    Figure8,
}

/// What a script does. Nodes are counted from 1, as people do.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A node's deadline comes.
    Timeout(u8),
    /// Everything on its way among these nodes and their disks comes to an end.
    Settle(&'static [u8]),
    /// The same, but only until the first of them leads.
    Elect(&'static [u8]),
    /// Everything that is on its way is lost.
    Lose,
    /// A node's oldest write is durable, if it writes.
    Sync(u8),
    /// A client proposes something at a node.
    Propose(u8),
    /// A node loses power.
    Crash(u8),
    /// A node starts.
    Restart(u8),
}

impl Start {
    /// Which it is, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Start::Fresh => "three nodes start for the first time",
            Start::Led => "n1 leads t1, its first entry is applied everywhere",
            Start::StaleTail => {
                "n1 leads t2 with n3; n2 is back with a tail of t1 that is in the way"
            }
            Start::Figure8 => "n1 leads t3 with i2@t1; n3 is back with i2@t2; n2 has no i2",
        }
    }

    fn script(self) -> &'static [Act] {
        use Act::{Crash, Elect, Lose, Propose, Restart, Settle, Sync, Timeout};
        match self {
            Start::Fresh => &[],
            Start::Led => &[
                Timeout(1),
                Settle(&[1, 2, 3]),
                Timeout(1),
                Settle(&[1, 2, 3]),
                Lose,
            ],
            Start::StaleTail => &[
                Timeout(2),
                Settle(&[1, 2, 3]),
                Timeout(2),
                Settle(&[1, 2, 3]),
                Propose(2),
                Sync(2),
                Lose,
                Crash(2),
                // n3 gives its leader up, or it would not vote.
                Timeout(3),
                Lose,
                Timeout(1),
                Settle(&[1, 3]),
                Restart(2),
                Timeout(2),
                Lose,
            ],
            Start::Figure8 => &[
                Timeout(1),
                Settle(&[1, 2, 3]),
                Timeout(1),
                Settle(&[1, 2, 3]),
                Propose(1),
                Sync(1),
                Lose,
                Crash(1),
                Timeout(2),
                Lose,
                Timeout(3),
                Elect(&[3, 2]),
                Sync(3),
                Lose,
                Crash(3),
                Restart(1),
                // Once to apply, once to learn of the term, once to stand in the next.
                Timeout(1),
                Timeout(1),
                Settle(&[1, 2]),
                Timeout(1),
                Elect(&[1, 2]),
                Sync(1),
                Restart(3),
                Timeout(3),
                // n3 learns of the term as well: it could stand at any time.
                Timeout(3),
                Settle(&[2, 3]),
                Lose,
                Timeout(1),
            ],
        }
    }

    /// The world to begin with, with the choices that lead to it from a
    /// founding. An error is a rule that was broken on the way.
    pub(super) fn reach(self, tables: &mut Tables) -> Result<(State, Vec<Choice>), Broken> {
        let mut play = Play {
            state: tables.found()?,
            tables,
            taken: Vec::new(),
        };
        for act in self.script() {
            play.act(*act)?;
        }
        Ok((play.state, play.taken))
    }
}

struct Play<'a> {
    tables: &'a mut Tables,
    state: State,
    taken: Vec<Choice>,
}

impl Play<'_> {
    fn act(&mut self, act: Act) -> Result<(), Broken> {
        match act {
            Act::Timeout(node) => self.take(Choice::Timeout(node - 1)),
            Act::Propose(node) => self.take(Choice::Propose(node - 1)),
            Act::Restart(node) => self.take(Choice::Restart(node - 1)),
            Act::Crash(node) => self.take(Choice::Crash {
                place: node - 1,
                keep: 0,
            }),
            Act::Sync(node) => match self.writes(node - 1) {
                true => self.take(Choice::Sync(node - 1)),
                false => Ok(()),
            },
            Act::Lose => {
                for flight in self.state.flights.clone() {
                    self.take(Choice::Drop(flight))?;
                }
                Ok(())
            }
            Act::Settle(nodes) => self.settle(nodes, false),
            Act::Elect(nodes) => self.settle(nodes, true),
        }
    }

    fn settle(&mut self, nodes: &[u8], until_led: bool) -> Result<(), Broken> {
        loop {
            let first = self.state.locals[usize::from(nodes[0] - 1)];
            if until_led && self.tables.locals[first as usize].facts.leads.is_some() {
                return Ok(());
            }
            let of_these = |place: usize| nodes.iter().any(|node| usize::from(node - 1) == place);
            let next = self
                .tables
                .choices_in_order(&self.state)
                .into_iter()
                .find(|choice| match choice {
                    Choice::Sync(place) => of_these(usize::from(*place)),
                    Choice::Deliver(flight) => {
                        let flight = &self.tables.flights[*flight as usize].0;
                        of_these(place_of(flight.from)) && of_these(place_of(flight.to))
                    }
                    _ => false,
                });
            match next {
                None => return Ok(()),
                Some(choice) => self.take(choice)?,
            }
        }
    }

    fn take(&mut self, choice: Choice) -> Result<(), Broken> {
        match self.tables.apply(&self.state, choice) {
            Outcome::To(next) => {
                self.taken.push(choice);
                self.state = next;
            }
            // A message that does nothing is off the wire all the same.
            Outcome::Nothing => {
                if let Choice::Deliver(flight) = choice {
                    return self.take(Choice::Drop(flight));
                }
            }
            Outcome::Broken(broken) => return Err(broken),
        }
        Ok(())
    }

    fn writes(&self, place: u8) -> bool {
        let local = self.state.locals[usize::from(place)];
        let disk = &self.tables.locals[local as usize].local.disk;
        !disk.waiting().is_empty()
    }
}
