//! `HealthMonitor`: who was heard when, and how this node's own loop and disk
//! are doing. Turns silences and delays into verdicts. Knows nothing of terms,
//! leaders or messages, and believes only its own clock.
//!
//! A verdict is advice: for people, and for whom a leader would rather hand over
//! to. No vote, commit or election timeout depends on one, so a wrong one costs no
//! safety and no leader. A silence says something only of who owes a word: a leader
//! hears from all, a follower from its leader alone, and what passed while this node
//! itself stood still is nobody's silence.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::NodeId;
use crate::pulse::{Pulse, Rhythm, Suspicion};
use crate::status::{Condition, Health, OwnStatus, PeerStatus, Verdict};
use crate::time::{Span, Time};

/// Who owes this node a word from time to time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owing {
    /// Nobody: there is no leader.
    Nobody,
    /// The leader that it follows.
    One(NodeId),
    /// All: it leads, and they answer.
    All,
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    connected: bool,
    /// When that began, or ended.
    since: Time,
    heard: Option<Time>,
    /// How well it is by its own word, if it has told this leader.
    health: Option<Health>,
    pulse: Pulse,
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
    /// What is expected of a peer that owes a word.
    pub rhythm: Rhythm,
}

/// Who was heard when, and how this node is.
#[derive(Clone, Debug)]
pub struct HealthMonitor {
    thresholds: Thresholds,
    peers: BTreeMap<NodeId, Peer>,
    owing: Owing,
    /// When that began.
    owed_since: Time,
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
            owing: Owing::Nobody,
            owed_since: now,
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
        // It may be another process by now.
        peer.health = None;
    }

    /// Others owe this node a word from now on, if they do. What was heard before
    /// counts no more: neither their silence nor what they said of themselves.
    pub fn on_owing(&mut self, owing: Owing, now: Time) {
        if self.owing == owing {
            return;
        }
        self.owing = owing;
        self.owed_since = now;
        for peer in self.peers.values_mut() {
            peer.health = None;
        }
    }

    /// A peer said something.
    pub fn on_heard(&mut self, node: NodeId, now: Time) {
        let (rhythm, owes) = (self.thresholds.rhythm, self.owes(node));
        let here_since = self.owed_since.max(self.resumed);
        let peer = self.peers.entry(node).or_default();
        // A gap is one of a single connection, in which this node was there to hear.
        if let Some(before) = peer.heard.replace(now)
            && owes
            && before >= here_since.max(peer.since)
        {
            peer.pulse.on_gap(now.since(before), &rhythm);
        }
    }

    /// A peer said how well it is.
    pub fn on_told(&mut self, peer: NodeId, health: Health) {
        self.peers.entry(peer).or_default().health = Some(health);
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

    /// When this node last took a turn.
    #[must_use]
    pub fn last_turn(&self) -> Time {
        self.last_turn
    }

    /// How strange a peer's silence is; none if it owes no word.
    #[must_use]
    pub fn suspicion(&self, node: NodeId, now: Time) -> Option<Suspicion> {
        let peer = self.peers.get(&node).filter(|_| self.owes(node))?;
        let last = peer.heard.map_or(peer.since, |heard| heard.max(peer.since));
        let silence = now.since(last.max(self.owed_since).max(self.resumed));
        Some(peer.pulse.suspicion(silence, &self.thresholds.rhythm))
    }

    /// How a peer seems.
    #[must_use]
    pub fn verdict(&self, node: NodeId, now: Time) -> Verdict {
        let Some(peer) = self.peers.get(&node) else {
            return Verdict::Down;
        };
        // Its first words may be here before the news of its connection.
        let is_there = peer.connected || peer.heard.is_some_and(|heard| heard > peer.since);
        let suspicion = self.suspicion(node, now).unwrap_or_default();
        if !is_there || suspicion >= Suspicion::GONE {
            Verdict::Down
        } else if suspicion >= Suspicion::STRANGE {
            Verdict::Suspect
        } else {
            match peer.health {
                None | Some(Health::Well) => Verdict::Healthy,
                Some(Health::Strained | Health::Slow | Health::Stuck) => Verdict::Slow,
            }
        }
    }

    /// What is known of a peer, for people.
    #[must_use]
    pub fn peer(&self, node: NodeId, now: Time) -> PeerStatus {
        let peer = self.peers.get(&node).copied().unwrap_or_default();
        PeerStatus {
            node,
            verdict: self.verdict(node, now),
            suspicion: self.suspicion(node, now),
            heard_ms: peer.heard.map(|heard| now.since(heard).as_ms()),
            connected: peer.connected,
            health: peer.health,
        }
    }

    /// How this node is, for people: see [`HealthMonitor::own`].
    #[must_use]
    pub fn own_status(&self, now: Time, writing: Option<Time>, backlogged: bool) -> OwnStatus {
        OwnStatus {
            health: self.own(now, writing, backlogged).health,
            write_latency_us: self.write_latency.0,
            write_waits_us: writing.map_or(0, |since| now.since(since).0),
            late_turns: self.stalls.len() as u64,
            late_turns_max: self.thresholds.stalls,
            window_ms: self.thresholds.window.as_ms(),
            backlogged,
        }
    }

    fn owes(&self, node: NodeId) -> bool {
        match self.owing {
            Owing::Nobody => false,
            Owing::One(leader) => leader == node,
            Owing::All => true,
        }
    }
}

#[cfg(test)]
mod tests;
