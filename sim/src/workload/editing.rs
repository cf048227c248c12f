//! What one client says of contexts. It is away most of the time: it makes some edits
//! from what it had read, and sends them in order when it is back, one after the other.
//! Now and then it edits online, resolves a conflict, sends an edit again, or uses a
//! number again, as one that was restored from an old copy would.

use std::collections::{BTreeMap, VecDeque};

use precentor_core::address::Address;
use precentor_core::command::{Command, Outcome, Rejection};
use precentor_core::edit::{
    Author, Basis, Change, Conflict, ConflictId, Edit, Note, Part, Resolution,
};
use precentor_core::ids::{ActorId, Revision, Ticket};
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};
use precentor_core::version::VersionVector;

use super::Complaint;
use super::items::address;
use crate::desk::{Caller, Desk};
use crate::scenario::ClientOptions;
use crate::tape::{Domain, Roll, Tape};

/// How long it may be away.
const AWAY_US_MAX: u64 = 600_000;
/// Edits that it makes meanwhile.
const MADE_MAX: u64 = 3;
/// Edits that it remembers to send them again.
const SENT_MAX: usize = 4;
/// A read that is not answered by then is given up.
const PATIENCE_US: u64 = 700_000;

/// What one client knows and says of contexts.
#[derive(Clone, Debug, Default)]
pub(super) struct Editing {
    /// What it has seen of each address, with its own edits.
    seen: BTreeMap<Address, VersionVector>,
    revisions: BTreeMap<Address, Revision>,
    /// As they were listed last.
    conflicts: Vec<Conflict>,
    /// Made and not sent.
    made: VecDeque<Command>,
    back_us: u64,
    /// One is sent and not answered: the next one must not overtake it.
    waits: bool,
    /// Some that were taken, and what they came to.
    sent: VecDeque<(Command, Outcome)>,
    reading: Option<(Ticket, u64)>,
}

impl Editing {
    /// What it sends now, if it sends something.
    pub(super) fn next(
        &mut self,
        tape: &mut Tape,
        lane: u32,
        now_us: u64,
        options: &ClientOptions,
    ) -> Option<Command> {
        if self.waits {
            return None;
        }
        if self.made.is_empty() {
            let mut roll = tape.fault(Domain::Edit, lane, options.edit_ppm)?;
            let lane = u64::from(lane);
            match self.make(lane, &mut roll) {
                Some(command) => self.made.push_back(command),
                None => {
                    self.make_away(lane, &mut roll);
                    self.back_us = now_us + roll.below(AWAY_US_MAX);
                }
            }
        }
        if now_us < self.back_us {
            return None;
        }
        let command = self.made.pop_front();
        self.waits = command.is_some();
        command
    }

    /// Something that is sent at once; none if it is away.
    fn make(&self, lane: u64, roll: &mut Roll) -> Option<Command> {
        match roll.below(12) {
            0 if !self.sent.is_empty() => {
                let (command, _) = &self.sent[roll.below(self.sent.len() as u64) as usize];
                Some(command.clone())
            }
            1 if !self.sent.is_empty() => {
                let (command, _) = &self.sent[roll.below(self.sent.len() as u64) as usize];
                let mut command = command.clone();
                if let Command::Annotate { edit, .. } = &mut command {
                    *edit = some_edit(lane, roll);
                }
                Some(command)
            }
            2 | 3 => {
                let address = some_address(roll);
                let known = self.revisions.get(&address).copied();
                Some(Command::Annotate {
                    address,
                    edit: some_edit(lane, roll),
                    basis: Basis::Revision(known.unwrap_or(Revision(0))),
                })
            }
            4..7 if !self.conflicts.is_empty() => {
                let which = roll.below(self.conflicts.len() as u64) as usize;
                Some(resolve(&self.conflicts[which], lane, roll))
            }
            _ => None,
        }
    }

    /// Edits of one address, each having seen the one before and what was read.
    fn make_away(&mut self, lane: u64, roll: &mut Roll) {
        let actor = ActorId(lane + 1);
        let address = some_address(roll);
        for _ in 0..roll.between(1, MADE_MAX) {
            let seen = self.seen.entry(address.clone()).or_default();
            seen.advance(actor);
            let version = seen.clone();
            self.made.push_back(Command::Annotate {
                address: address.clone(),
                edit: some_edit(lane, roll),
                basis: Basis::Version { actor, version },
            });
        }
        // It lost one of them, and whoever goes on from it has seen what nobody else will.
        if self.made.len() > 1 && roll.chance(100_000) {
            self.made.pop_front();
        }
    }

    /// Reads what it may edit, now and then.
    pub(super) fn maybe_read(
        &mut self,
        caller: &mut Caller,
        desk: &mut Desk<'_>,
        options: &ClientOptions,
    ) {
        let late = |at_us: u64| desk.now_us >= at_us + PATIENCE_US;
        if options.edit_ppm == 0 || self.reading.is_some_and(|(_, at_us)| !late(at_us)) {
            return;
        }
        let mut roll = desk.tape.roll(Domain::Edit, caller.lane);
        if !roll.chance(300_000) {
            return;
        }
        let query = match roll.below(4) {
            0 => Query::Conflicts {
                after: ConflictId::default(),
                count_max: 4,
            },
            _ => Query::Edited(some_address(&mut roll)),
        };
        let consistency = match roll.chance(500_000) {
            true => Consistency::Stale,
            false => Consistency::Linearizable,
        };
        let place = roll.below(desk.nodes as u64) as usize;
        let request = Request::Read { query, consistency };
        let ticket = caller.ask_at(desk, place, request);
        self.reading = Some((ticket, desk.now_us));
    }

    /// An answer; false if it is to no read.
    pub(super) fn on_reply(&mut self, ticket: Ticket, reply: &Reply) -> bool {
        if self.reading.is_none_or(|(open, _)| open != ticket) {
            return false;
        }
        self.reading = None;
        let Reply::Read { answer, .. } = reply else {
            return true;
        };
        match answer {
            Answer::Edited(Some(edited)) => {
                let seen = self.seen.entry(edited.address.clone()).or_default();
                seen.join(&edited.version);
                self.revisions
                    .insert(edited.address.clone(), edited.revision);
            }
            Answer::Conflicts { conflicts, .. } => self.conflicts.clone_from(conflicts),
            _ => {}
        }
        true
    }

    /// What was asked for came to this.
    pub(super) fn on_outcome(
        &mut self,
        command: &Command,
        outcome: &Outcome,
    ) -> Result<(), Complaint> {
        let address = match (command, outcome) {
            (Command::Annotate { address, .. }, Outcome::Annotated { .. })
            | (Command::Resolve { address, .. }, Outcome::Resolved { .. })
            | (Command::Annotate { address, .. }, Outcome::Rejected(_))
            | (Command::Resolve { address, .. }, Outcome::Rejected(_)) => address,
            (Command::Annotate { .. } | Command::Resolve { .. }, _)
            | (_, Outcome::Annotated { .. } | Outcome::Resolved { .. }) => {
                return Err(format!("{command:?} came to {outcome:?}"));
            }
            _ => return Ok(()),
        };
        self.waits = false;
        match outcome {
            Outcome::Rejected(Rejection::RevisionMoved { current, .. }) => {
                self.revisions.insert(address.clone(), *current);
            }
            Outcome::Rejected(_) if is_by_version(command) => {
                // Its count is not that of the others: it begins again from what it reads.
                self.seen.remove(address);
                self.made.clear();
            }
            Outcome::Annotated { revision, .. } if is_by_version(command) => {
                let before = self.sent.iter().find(|(sent, _)| sent == command);
                if let Some((_, before)) = before.filter(|(_, before)| before != outcome) {
                    return Err(format!(
                        "{command:?} came to {before:?}, and at {revision} to {outcome:?}"
                    ));
                }
                if before.is_none() {
                    self.sent.push_back((command.clone(), outcome.clone()));
                    if self.sent.len() > SENT_MAX {
                        self.sent.pop_front();
                    }
                }
            }
            Outcome::Annotated { revision, .. } | Outcome::Resolved { revision } => {
                self.revisions.insert(address.clone(), *revision);
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing came of it: some program is too old.
    pub(super) fn on_refused(&mut self, command: &Command) {
        if matches!(command, Command::Annotate { .. } | Command::Resolve { .. }) {
            *self = Editing::default();
        }
    }
}

fn is_by_version(command: &Command) -> bool {
    let by_version = |basis: &Basis| matches!(basis, Basis::Version { .. });
    matches!(command, Command::Annotate { basis, .. } if by_version(basis))
}

/// Few, so that clients meet.
fn some_address(roll: &mut Roll) -> Address {
    let paths = ["f0/a0", "f0", "said/of/nothing"];
    address(roll.pick::<&str>(&paths))
}

fn some_edit(lane: u64, roll: &mut Roll) -> Edit {
    let author = match roll.chance(500_000) {
        true => Author::Person,
        false => Author::Agent,
    };
    let first = roll.below(6);
    let count = roll.between(1, 3);
    let changes = (0..count).map(|step| some_change((first + step) % 6, lane, roll));
    Edit {
        author,
        changes: changes.collect(),
    }
}

/// Of another part for each number.
fn some_change(number: u64, lane: u64, roll: &mut Roll) -> Change {
    let removes = roll.chance(250_000);
    let text = format!("said by {lane} for the {}th time", roll.below(1_000));
    match number {
        0 if removes => Change::WithdrawSummary,
        0 => Change::PutSummary(text),
        1 | 2 => some_note(&format!("note{number}"), text, removes),
        _ if removes => Change::RemoveTag(format!("tag{number}")),
        _ => Change::AddTag(format!("tag{number}")),
    }
}

fn some_note(name: &str, text: String, removes: bool) -> Change {
    let name = name.to_owned();
    match removes {
        true => Change::WithdrawNote { name },
        false => Change::PutNote {
            name,
            note: Note { text, anchor: None },
        },
    }
}

fn resolve(conflict: &Conflict, lane: u64, roll: &mut Roll) -> Command {
    let text = format!("settled by {lane}");
    let resolution = match (roll.below(4), &conflict.part) {
        (0, Part::Note(name)) => Resolution::Merge(some_note(name, text, false)),
        (0, Part::Summary) => Resolution::Merge(Change::PutSummary(text)),
        (1, _) => Resolution::Dismiss,
        _ => {
            let which = roll.below(conflict.sides.len() as u64) as usize;
            let side = conflict.sides[which].dot;
            Resolution::Keep { side }
        }
    };
    Command::Resolve {
        address: conflict.address.clone(),
        conflict: conflict.id,
        revision: conflict.revision,
        author: Author::Person,
        resolution: Box::new(resolution),
    }
}
