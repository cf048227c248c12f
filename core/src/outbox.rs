//! The one place that enforces "durable first": gathers a turn's writes into
//! one, and holds back what may only be said after them. Knows nothing of what
//! is said.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::action::{Action, Write};
use crate::entries::Entries;
use crate::entry::HardState;
use crate::ids::{LogIndex, NodeId, Ticket, WriteId};
use crate::message::{LogPosition, Message};
use crate::request::Reply;
use crate::time::Time;

/// A write that was handed out and is not yet known to be durable.
#[derive(Clone, Debug)]
struct InFlight {
    id: WriteId,
    /// When it was handed out.
    since: Time,
    /// Of the entries that are still in the log, the last that this write, and
    /// those before it, put on disk.
    last: LogIndex,
    /// What must not be said before.
    gated: Vec<Action>,
}

/// Actions on their way to the host.
#[derive(Clone, Debug)]
pub struct Outbox {
    /// The next write's number.
    next_write: WriteId,
    /// The end of the log, with what is gathered.
    last: LogIndex,
    /// Everything up to here is on disk for good.
    durable: LogIndex,
    /// The last write that changed term or vote.
    hard_state_write: WriteId,
    durable_write: WriteId,
    /// Term and vote changed, and are not handed out yet.
    hard_state: Option<HardState>,
    /// What the disk was told last, with what is committed since: a hint for
    /// recovery that goes along with whatever is written.
    known: HardState,
    commit_moved: bool,
    truncate_from: Option<LogIndex>,
    reset: Option<LogPosition>,
    /// What the turn adds to the log, in order.
    batches: Vec<Entries>,
    ready: Vec<Action>,
    gated: Vec<Action>,
    in_flight: VecDeque<InFlight>,
    #[cfg(feature = "planted-bugs")]
    planted: Option<crate::planted::Bug>,
}

impl Outbox {
    /// An outbox of a node whose disk holds the log up to `durable`, and `known`.
    #[must_use]
    pub fn new(durable: LogIndex, known: HardState) -> Outbox {
        Outbox {
            next_write: WriteId(1),
            last: durable,
            durable,
            hard_state_write: WriteId(0),
            durable_write: WriteId(0),
            hard_state: None,
            known,
            commit_moved: false,
            truncate_from: None,
            reset: None,
            batches: Vec::new(),
            ready: Vec::new(),
            gated: Vec::new(),
            in_flight: VecDeque::new(),
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    /// Breaks a rule on purpose.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: Option<crate::planted::Bug>) {
        self.planted = bug;
    }

    /// The end of what is on disk for good.
    #[must_use]
    pub fn durable(&self) -> LogIndex {
        self.durable
    }

    /// Are the latest term and vote on disk for good?
    #[must_use]
    pub fn is_hard_state_durable(&self) -> bool {
        self.hard_state.is_none() && self.hard_state_write <= self.durable_write
    }

    /// Does anything wait for the disk?
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.has_write() || !self.in_flight.is_empty()
    }

    /// To be handed out whatever the disk does.
    pub fn act(&mut self, action: Action) {
        self.ready.push(action);
    }

    /// Says what depends on no write.
    pub fn say(&mut self, to: NodeId, message: Message) {
        self.ready.push(Action::Say { to, message });
    }

    /// Says what may only be known once everything so far, this turn's writes
    /// included, is on disk.
    pub fn say_durable(&mut self, to: NodeId, message: Message) {
        #[cfg(feature = "planted-bugs")]
        if self.planted == Some(crate::planted::Bug::VoteBeforeDurable) {
            return self.say(to, message);
        }
        self.gated.push(Action::Say { to, message });
    }

    /// Answers a client.
    pub fn answer(&mut self, ticket: Ticket, reply: Reply) {
        self.ready.push(Action::Answer { ticket, reply });
    }

    /// Term or vote changed.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = Some(hard_state);
        self.known = HardState {
            commit: self.known.commit,
            ..hard_state
        };
    }

    /// More is committed. No reason to write, but worth telling the disk by the
    /// way: only what is durable already, so that a torn write can never leave
    /// the word of a commit without its entries.
    pub fn set_commit(&mut self, commit: LogIndex) {
        let commit = commit.min(self.durable);
        if commit > self.known.commit {
            self.known.commit = commit;
            self.commit_moved = true;
        }
    }

    /// The log has new last entries.
    ///
    /// # Panics
    /// If there are none, or they do not follow the last one: our own error.
    pub fn append(&mut self, batch: Entries) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            unreachable!("a batch has an entry");
        };
        assert_eq!(first.index, self.last.next(), "writes are consecutive");
        self.last = last.index;
        self.batches.push(batch);
    }

    /// The log lost everything from `from` on. A write that is on its way may
    /// still complete: it must not confirm what will stand there instead.
    pub fn truncate(&mut self, from: LogIndex) {
        // What this turn has added and takes away again never reached the disk,
        // which cannot cut what it does not have.
        let first = self.batches.first().and_then(|batch| batch.first());
        let written = first.map_or(self.last, |first| first.index.prev());
        if from <= written {
            self.truncate_from = Some(self.truncate_from.map_or(from, |earlier| earlier.min(from)));
        }
        self.batches.retain_mut(|batch| {
            batch.truncate_before(from);
            !batch.is_empty()
        });
        self.last = from.prev();
        #[cfg(feature = "planted-bugs")]
        if self.planted == Some(crate::planted::Bug::LateCompletionCounts) {
            return;
        }
        self.durable = self.durable.min(from.prev());
        for write in &mut self.in_flight {
            write.last = write.last.min(from.prev());
        }
    }

    /// When the oldest write was handed out that is not known to be durable.
    #[must_use]
    pub fn oldest_unconfirmed(&self) -> Option<Time> {
        self.in_flight.front().map(|write| write.since)
    }

    /// A snapshot that is on disk for good stands for the whole log: what it holds
    /// is durable, and no write before this confirms more.
    pub fn reset(&mut self, position: LogPosition) {
        self.batches.clear();
        self.truncate_from = None;
        self.reset = Some(position);
        self.last = position.index;
        self.durable = position.index;
        for write in &mut self.in_flight {
            write.last = write.last.min(position.index);
        }
    }

    /// Everything up to this write is on disk for good. Ids that were never
    /// handed out, or were confirmed before, change nothing. Says when the first
    /// of those that are confirmed now was handed out.
    pub fn on_durable(&mut self, write: WriteId) -> Option<Time> {
        let oldest = self.oldest_unconfirmed();
        let before = self.durable_write;
        while self
            .in_flight
            .front()
            .is_some_and(|first| first.id <= write)
        {
            let mut done = self.in_flight.pop_front().expect("just seen");
            self.durable = self.durable.max(done.last);
            self.durable_write = done.id;
            self.ready.append(&mut done.gated);
        }
        oldest.filter(|_| self.durable_write > before)
    }

    /// Hands out what may leave now: this turn's write, and whatever waits for nothing.
    pub fn settle(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.has_write() {
            let id = self.next_write;
            self.next_write = id.next();
            let changed = self.hard_state.take().is_some();
            if changed {
                self.hard_state_write = id;
            }
            let told = changed || std::mem::take(&mut self.commit_moved);
            self.commit_moved = false;
            actions.push(Action::Write(Write {
                id,
                hard_state: told.then_some(self.known),
                truncate_from: self.truncate_from.take(),
                reset: self.reset.take(),
                entries: self.take_entries(),
            }));
            self.in_flight.push_back(InFlight {
                id,
                since: now,
                last: self.last,
                gated: Vec::new(),
            });
        }
        match self.in_flight.back_mut() {
            _ if self.gated.is_empty() => {}
            Some(write) => write.gated.append(&mut self.gated),
            None => self.ready.append(&mut self.gated),
        }
        if actions.is_empty() {
            std::mem::swap(actions, &mut self.ready);
        } else {
            actions.append(&mut self.ready);
        }
    }

    /// One batch is handed on as it is.
    fn take_entries(&mut self) -> Entries {
        if let [_, _, ..] = &self.batches[..] {
            let joined = self.batches.iter().flatten().cloned().collect();
            self.batches.clear();
            return joined;
        }
        self.batches.pop().unwrap_or_default()
    }

    fn has_write(&self) -> bool {
        self.hard_state.is_some()
            || self.truncate_from.is_some()
            || self.reset.is_some()
            || !self.batches.is_empty()
    }
}
