//! What the leader knows of one follower's log, and what it may send next.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::config::Knobs;
use crate::ids::{Incarnation, LogIndex, ReadId};
use crate::status::Health;
use crate::time::{Span, Time};

/// An append that is not answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InFlight {
    /// Its last entry.
    pub(super) last: LogIndex,
    /// What its bodies take.
    pub(super) bytes: u64,
}

/// How the leader sends to a follower (dissertation §10.2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// Where the logs agree is not known: one empty append at a time.
    Probe {
        /// One is on its way; the next heartbeat asks again.
        asked: bool,
    },
    /// It lacks what the log no longer holds, and is offered a snapshot.
    Snapshot {
        /// It was offered; the next heartbeat offers again.
        offered: bool,
    },
    /// The logs agree up to `next - 1`, or will when what is on its way arrives.
    Stream {
        /// The appends on their way, in order.
        in_flight: VecDeque<InFlight>,
        /// Old entries are being read for it: nothing else until they came.
        reading: Option<ReadId>,
    },
}

/// The leader's view of one follower.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// When it spoke last in this term.
    pub(super) heard: Time,
    /// Which life of its disk speaks in this term: another's word does not count.
    pub(super) incarnation: Option<Incarnation>,
    /// Its connection closed, and nothing came from it since.
    pub(super) down: bool,
    /// How well it is, by its own word.
    pub(super) health: Health,
    /// How long it waits for this leader at the most, by its own word.
    pub(super) patience: Span,
    /// The follower's durable log equals ours up to here. Never falls in a term.
    /// The latest round that it answered in this term.
    pub(super) round: u64,
    /// The latest round that was sent to it.
    pub(super) round_sent: u64,
    /// The follower's durable log equals ours up to here. Falls only if it says
    /// that its disk is damaged.
    pub(super) durable: LogIndex,
    /// The first entry to send next.
    pub(super) next: LogIndex,
    pub(super) flow: Flow,
}

impl Progress {
    /// A follower of which a new leader knows nothing.
    pub(super) fn new(next: LogIndex, now: Time) -> Progress {
        Progress {
            heard: now,
            incarnation: None,
            down: false,
            health: Health::Well,
            patience: Span::ZERO,
            round: 0,
            round_sent: 0,
            durable: LogIndex(0),
            next,
            flow: Flow::Probe { asked: false },
        }
    }

    /// Has it been sent everything up to `last`, and is nothing known to be amiss?
    pub(super) fn has_been_sent(&self, last: LogIndex) -> bool {
        matches!(self.flow, Flow::Stream { .. }) && self.next > last
    }

    /// May one more append be sent, beside those that are on their way?
    pub(super) fn has_room(in_flight: &VecDeque<InFlight>, knobs: &Knobs) -> bool {
        let bytes: u64 = in_flight.iter().map(|sent| sent.bytes).sum();
        (in_flight.len() as u64) < knobs.appends_in_flight_max
            && bytes < knobs.append_bytes_in_flight_max
    }

    /// The follower confirms that its log equals ours up to `verified`, and that
    /// it will not lose it up to `durable`.
    pub(super) fn on_matched(&mut self, verified: LogIndex, durable: LogIndex) {
        self.durable = self.durable.max(durable);
        match &mut self.flow {
            Flow::Probe { .. } | Flow::Snapshot { .. } => {
                // The answer may be older than what is known: never back behind that.
                self.next = verified.max(self.durable).next();
                self.flow = Flow::Stream {
                    in_flight: VecDeque::new(),
                    reading: None,
                };
            }
            Flow::Stream { in_flight, .. } => {
                self.next = self.next.max(verified.next());
                while in_flight.front().is_some_and(|sent| sent.last <= verified) {
                    in_flight.pop_front();
                }
            }
        }
        assert!(
            self.next > self.durable,
            "what is confirmed is not sent again"
        );
    }

    /// The follower refused an append after `previous`; it may agree at `hint`.
    /// A refusal of something that it confirmed since is late: nothing changes.
    pub(super) fn on_conflict(&mut self, previous: LogIndex, hint: LogIndex) {
        // While it is offered a snapshot, heartbeats ask about the log's beginning.
        let offered = matches!(self.flow, Flow::Snapshot { .. });
        if previous <= self.durable || (previous >= self.next && !offered) {
            return;
        }
        let after_hint = hint.min(previous.prev()).next();
        self.next = after_hint.max(self.durable.next());
        // Whether the log reaches back so far is seen when there is something to send.
        if !matches!(self.flow, Flow::Snapshot { .. }) {
            self.flow = Flow::Probe { asked: false };
        }
    }

    /// The follower's disk lost what it confirmed behind `hint`. It does not vote
    /// until it has it again, so nothing that was committed by its word is in danger.
    pub(super) fn on_damage(&mut self, hint: LogIndex) {
        self.durable = self.durable.min(hint);
        self.next = self.durable.next();
        if !matches!(self.flow, Flow::Snapshot { .. }) {
            self.flow = Flow::Probe { asked: false };
        }
    }

    /// The connection broke or opened: what was on its way is lost.
    pub(super) fn on_reconnect(&mut self) {
        self.flow = Flow::Probe { asked: false };
        self.next = self.next.max(self.durable.next());
    }
}
