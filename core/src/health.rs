//! `HealthMonitor`: who was heard when, and how this node's own loop and disk
//! are doing. Turns silences and delays into verdicts. Knows nothing of terms,
//! leaders or messages, and believes only its own clock.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::NodeId;
use crate::status::{Condition, Health};
use crate::time::{Span, Time};

/// What a silence means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// Heard lately.
    Healthy,
    /// Heard lately, and not well by its own word.
    Slow,
    /// Silent for longer than it should be.
    Suspect,
    /// Not connected, or never heard.
    Down,
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    connected: bool,
    /// When that began, or ended.
    since: Time,
    heard: Option<Time>,
    health: Health,
}

/// What is late, and what is too late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// A turn or a write that takes longer is late: a leader's beat was missed.
    pub beat: Span,
    /// A write that takes longer is what others would take for a silence.
    pub timeout: Span,
    /// A disk that does not answer for longer is dead.
    pub stuck: Span,
    /// So many late turns within the window are too many.
    pub stalls: u64,
    /// That window.
    pub window: Span,
}

/// Who was heard when, and how this node is.
#[derive(Clone, Debug)]
pub struct HealthMonitor {
    thresholds: Thresholds,
    peers: BTreeMap<NodeId, Peer>,
    last_turn: Time,
    /// When turns were late, of late.
    stalls: VecDeque<Time>,
    /// When this node last came back from standing still.
    resumed: Time,
    /// How long writes take, smoothed.
    write_latency: Span,
}

/// A write's share in the smoothed latency, as in a TCP's round-trip time
/// (RFC 6298): one slow write among many is no slow disk.
const LATENCY_SHARE: u64 = 8;

impl HealthMonitor {
    /// A monitor that has heard nobody yet.
    #[must_use]
    pub fn new(thresholds: Thresholds, now: Time) -> HealthMonitor {
        HealthMonitor {
            thresholds,
            peers: BTreeMap::new(),
            last_turn: now,
            stalls: VecDeque::new(),
            resumed: now,
            write_latency: Span::ZERO,
        }
    }

    /// A peer's connection opened or closed.
    pub fn on_connection(&mut self, peer: NodeId, connected: bool, now: Time) {
        let peer = self.peers.entry(peer).or_default();
        peer.connected = connected;
        peer.since = now;
    }

    /// A peer said something.
    pub fn on_heard(&mut self, peer: NodeId, now: Time) {
        self.peers.entry(peer).or_default().heard = Some(now);
    }

    /// A peer said how well it is.
    pub fn on_told(&mut self, peer: NodeId, health: Health) {
        self.peers.entry(peer).or_default().health = health;
    }

    /// A turn begins. Returns by how much it is later than `due`, when the host
    /// should have woken this node: its own silence is not its workers'.
    pub fn on_turn(&mut self, now: Time, due: Time) -> Span {
        let expected = due.max(self.last_turn);
        self.last_turn = now;
        let late = now.since(expected);
        if late > self.thresholds.beat {
            self.resumed = now;
            if self.stalls.len() as u64 == self.thresholds.stalls {
                self.stalls.pop_front();
            }
            self.stalls.push_back(now);
        }
        let window = self.thresholds.window;
        while self
            .stalls
            .front()
            .is_some_and(|at| now.since(*at) > window)
        {
            self.stalls.pop_front();
        }
        late
    }

    /// The disk confirmed a write that was handed out at `since`.
    pub fn on_written(&mut self, since: Time, now: Time) {
        let (old, new) = (self.write_latency.0, now.since(since).0);
        self.write_latency = Span((old * (LATENCY_SHARE - 1) + new) / LATENCY_SHARE);
    }

    /// How well this node is, if its disk owes an answer since `writing` and
    /// there is much to apply. A disk's silence counts from when this node itself
    /// was there to hear it.
    #[must_use]
    pub fn own(&self, now: Time, writing: Option<Time>, backlogged: bool) -> Condition {
        let limits = &self.thresholds;
        let silence = writing.map_or(Span::ZERO, |since| now.since(since.max(self.resumed)));
        let delay = silence.max(self.write_latency);
        let stalls = self.stalls.len() as u64;
        let stuck = silence > limits.stuck;
        let stalling = stalls >= limits.stalls;
        let health = if stuck {
            Health::Stuck
        } else if delay > limits.timeout || stalling || backlogged {
            Health::Slow
        } else if delay > limits.beat || stalls * 2 > limits.stalls {
            Health::Strained
        } else {
            Health::Well
        };
        Condition {
            health,
            stays_back: stuck || backlogged,
            gives_way: stuck || stalling,
        }
    }

    /// The peers to which a connection is open, and that were not silent on it for
    /// longer than `patience`: one that died behind a partition closed nothing.
    pub fn reached(&self, now: Time, patience: Span) -> impl Iterator<Item = NodeId> {
        let is_reached = move |peer: &Peer| {
            let last = peer.heard.map_or(peer.since, |heard| heard.max(peer.since));
            peer.connected && now.since(last) <= patience
        };
        let peers = self.peers.iter();
        peers.filter_map(move |(node, peer)| is_reached(peer).then_some(*node))
    }

    /// Is a peer well, if a silence of `patience` is too long?
    #[must_use]
    pub fn verdict(&self, peer: NodeId, now: Time, patience: Span) -> Verdict {
        match self.peers.get(&peer) {
            Some(Peer {
                heard: Some(heard),
                health,
                ..
            }) if now.since(*heard) <= patience => match health {
                Health::Well => Verdict::Healthy,
                Health::Strained | Health::Slow | Health::Stuck => Verdict::Slow,
            },
            Some(Peer {
                connected: true,
                heard: Some(_),
                ..
            }) => Verdict::Suspect,
            Some(_) | None => Verdict::Down,
        }
    }
}

#[cfg(test)]
mod tests;
