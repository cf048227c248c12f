//! A world as the search holds it: numbers of nodes, of messages and of what
//! judges remember, in the tables of [`super::tables`]. And what can be done to it.

use super::fold::Fold;
use super::local::NODES;

/// How often each kind of choice may be taken: what bounds a space that has no
/// end. What is not listed (arrivals, completed writes, restarts) is free.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    /// Election timeouts.
    pub timeouts: u8,
    /// Heartbeats of leaders.
    pub heartbeats: u8,
    /// Times that a follower loses trust in its leader and does not stand yet.
    pub lulls: u8,
    /// Losses of power.
    pub crashes: u8,
    /// Messages that arrive and are still on their way.
    pub duplicates: u8,
    /// Messages taken off the wire. None are needed: what never arrives is lost,
    /// and no node can tell. With it stories are longer and say the same.
    pub drops: u8,
    /// Proposals of clients.
    pub proposals: u8,
    /// Orders to hand over.
    pub hand_overs: u8,
    /// Closed connections.
    pub disconnects: u8,
}

impl Budget {
    /// As numbers, in a fixed order.
    fn numbers(self) -> [u8; 9] {
        [
            self.timeouts,
            self.heartbeats,
            self.lulls,
            self.crashes,
            self.duplicates,
            self.drops,
            self.proposals,
            self.hand_overs,
            self.disconnects,
        ]
    }
}

/// Something that can be done to a world. Nodes are counted from 0 here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Choice {
    Timeout(u8),
    Lull(u8),
    Sync(u8),
    Crash { place: u8, keep: u8 },
    Restart(u8),
    Propose(u8),
    HandOver(u8),
    PeerDown { place: u8, peer: u8 },
    Deliver(u32),
    DeliverCopy(u32),
    Drop(u32),
}

/// A world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) locals: [u32; NODES],
    pub(super) memory: u32,
    /// How much of the budget is left.
    pub(super) left: Budget,
    /// What is on its way, in order of number; what is there twice is there twice.
    pub(super) flights: Vec<u32>,
}

impl State {
    /// The name by which it is known to have been visited. The numbers stand
    /// for contents that were compared by 128-bit names themselves.
    pub(super) fn name(&self) -> u128 {
        let mut fold = Fold::default();
        for local in self.locals {
            fold.add(u64::from(local));
        }
        fold.add(u64::from(self.memory));
        let left = self.left.numbers();
        for part in left.chunks(8) {
            let number = part
                .iter()
                .fold(0, |sum, count| sum << 8 | u64::from(*count));
            fold.add(number);
        }
        for flight in &self.flights {
            fold.add(u64::from(*flight));
        }
        fold.wide()
    }

    /// Puts a message on the wire.
    pub(super) fn put(&mut self, flight: u32) {
        let at = self.flights.partition_point(|known| *known <= flight);
        self.flights.insert(at, flight);
    }

    /// Takes one such message off the wire.
    pub(super) fn take(&mut self, flight: u32) {
        let at = self
            .flights
            .binary_search(&flight)
            .expect("only what is on its way is taken");
        self.flights.remove(at);
    }
}
