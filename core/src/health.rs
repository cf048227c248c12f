//! `HealthMonitor`: who was heard when, and whether this node itself stalled.
//! Turns silences into verdicts. Knows nothing of terms, leaders or messages,
//! and believes only its own clock.

use std::collections::BTreeMap;

use crate::ids::NodeId;
use crate::time::{Span, Time};

/// What a silence means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// Heard lately.
    Healthy,
    /// Silent for longer than it should be.
    Suspect,
    /// Not connected, or never heard.
    Down,
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    connected: bool,
    heard: Option<Time>,
}

/// Who was heard when.
#[derive(Clone, Debug)]
pub struct HealthMonitor {
    peers: BTreeMap<NodeId, Peer>,
    last_turn: Time,
}

impl HealthMonitor {
    /// A monitor that has heard nobody yet.
    #[must_use]
    pub fn new(now: Time) -> HealthMonitor {
        HealthMonitor {
            peers: BTreeMap::new(),
            last_turn: now,
        }
    }

    /// A peer's connection opened or closed.
    pub fn on_connection(&mut self, peer: NodeId, connected: bool) {
        self.peers.entry(peer).or_default().connected = connected;
    }

    /// A peer said something.
    pub fn on_heard(&mut self, peer: NodeId, now: Time) {
        self.peers.entry(peer).or_default().heard = Some(now);
    }

    /// A turn begins. Returns by how much it is later than `due`, when the host
    /// should have woken this node: its own silence is not its workers'.
    pub fn on_turn(&mut self, now: Time, due: Time) -> Span {
        let expected = due.max(self.last_turn);
        self.last_turn = now;
        now.since(expected)
    }

    /// Is a peer well, if a silence of `patience` is too long?
    #[must_use]
    pub fn verdict(&self, peer: NodeId, now: Time, patience: Span) -> Verdict {
        match self.peers.get(&peer) {
            Some(Peer {
                heard: Some(heard), ..
            }) if now.since(*heard) <= patience => Verdict::Healthy,
            Some(Peer {
                connected: true,
                heard: Some(_),
            }) => Verdict::Suspect,
            Some(_) | None => Verdict::Down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Span = Span::from_ms(100);
    const PEER: NodeId = NodeId(2);

    #[test]
    fn silence_makes_a_connected_peer_suspect_and_a_lost_one_down() {
        let mut health = HealthMonitor::new(Time(0));
        assert_eq!(health.verdict(PEER, Time(0), PATIENCE), Verdict::Down);
        health.on_connection(PEER, true);
        health.on_heard(PEER, Time(0));
        assert_eq!(
            health.verdict(PEER, Time(100_000), PATIENCE),
            Verdict::Healthy
        );
        assert_eq!(
            health.verdict(PEER, Time(100_001), PATIENCE),
            Verdict::Suspect
        );
        health.on_connection(PEER, false);
        assert_eq!(health.verdict(PEER, Time(100_001), PATIENCE), Verdict::Down);
    }

    #[test]
    fn a_stall_is_what_passes_beyond_the_deadline() {
        let mut health = HealthMonitor::new(Time(0));
        assert_eq!(health.on_turn(Time(50), Time(40)), Span(10));
        assert_eq!(health.on_turn(Time(60), Time(90)), Span::ZERO);
    }
}
