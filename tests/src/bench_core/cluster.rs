//! A cluster in memory whose nodes may be of either side: carries messages and
//! counts them. Knows nothing of terms, logs or clocks but what a node tells.

use anyhow::{Result, ensure};

/// One step of time: every step an idle leader speaks once.
pub(super) const TICK_MS: u64 = 30;
/// The shortest silence after which a follower stands for election, in steps.
pub(super) const ELECTION_TICKS_MIN: u64 = 5;
/// The longest such silence, in steps.
pub(super) const ELECTION_TICKS_MAX: u64 = 10;
/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 256;

/// Steps of time after which a cluster that does not come to rest is stuck.
const TICKS_PATIENCE: u64 = 10_000;

/// One node of either side.
pub(super) trait Replica {
    /// What nodes say to each other.
    type Message;

    /// The node of this number, from 0, in a cluster of so many.
    fn new(number: usize, voters: usize) -> Self;

    /// What it needs in the log before it takes the measured proposals.
    fn prepare(&mut self) {}

    /// Proposes entries with the numbers from `first` on, as one batch.
    ///
    /// # Errors
    /// If the node did not take them.
    fn propose(&mut self, first: u64, count: u64) -> Result<()>;

    /// Takes in a message.
    fn step(&mut self, from: usize, message: Self::Message);

    /// Its clock moves on by [`TICK_MS`].
    fn pass_time(&mut self);

    /// The connection to a peer opened or closed.
    fn on_link(&mut self, peer: usize, is_up: bool);

    /// Settles: writes, makes durable, reads what is committed, and leaves in
    /// `out` what is to be said to whom.
    fn turn(&mut self, out: &mut Vec<(usize, Self::Message)>);

    /// Does it lead, with an entry of its own term committed?
    fn serves(&self) -> bool;

    /// How many entries it knows to be committed.
    fn commit(&self) -> u64;

    /// The bodies that it has committed, in order, without those that a leader
    /// appends of itself.
    fn committed(&self) -> Box<dyn Iterator<Item = &[u8]> + '_>;
}

/// The body of the entry of this number.
pub(super) fn write_body(number: u64, body: &mut [u8; ENTRY_BYTES]) {
    body[..8].copy_from_slice(&number.to_le_bytes());
}

/// Nodes, and what is on its way between them.
pub(super) struct Cluster<R: Replica> {
    nodes: Vec<R>,
    /// What arrives in this round, by target.
    inboxes: Vec<Vec<(usize, R::Message)>>,
    /// What was said in this round and arrives in the next: whom a round
    /// begins with must not matter.
    outboxes: Vec<Vec<(usize, R::Message)>>,
    out: Vec<(usize, R::Message)>,
    /// The node that is cut off, if one is.
    away: Option<usize>,
    delivered: u64,
    proposed: u64,
}

impl<R: Replica> Cluster<R> {
    /// A cluster with a leader, ready for proposals.
    ///
    /// # Errors
    /// If none is elected.
    pub(super) fn new(voters: usize) -> Result<Cluster<R>> {
        let mut cluster = Cluster {
            nodes: (0..voters).map(|number| R::new(number, voters)).collect(),
            inboxes: (0..voters).map(|_| Vec::new()).collect(),
            outboxes: (0..voters).map(|_| Vec::new()).collect(),
            out: Vec::new(),
            away: None,
            delivered: 0,
            proposed: 0,
        };
        cluster.await_leader()?;
        let leader = cluster.leader()?;
        cluster.nodes[leader].prepare();
        cluster.turn(leader);
        cluster.run();
        cluster.await_agreement()?;
        Ok(cluster)
    }

    /// The node that leads and is not cut off.
    ///
    /// # Errors
    /// If none does.
    pub(super) fn leader(&self) -> Result<usize> {
        let leader = (0..self.nodes.len()).find(|node| self.is_serving(*node));
        leader.ok_or_else(|| anyhow::anyhow!("no node leads"))
    }

    fn is_serving(&self, node: usize) -> bool {
        self.away != Some(node) && self.nodes[node].serves()
    }

    /// The nodes.
    #[must_use]
    pub(super) fn nodes(&self) -> &[R] {
        &self.nodes
    }

    /// How many messages have reached their targets.
    #[must_use]
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Has `count` entries committed, a batch when the one before it is.
    ///
    /// # Errors
    /// If a batch is not committed when nothing is on its way any more.
    pub(super) fn commit_entries(&mut self, count: u64, batch: u64) -> Result<()> {
        let leader = self.leader()?;
        let end = self.proposed + count;
        while self.proposed < end {
            let batch = batch.min(end - self.proposed);
            let commit = self.nodes[leader].commit();
            self.nodes[leader].propose(self.proposed, batch)?;
            self.proposed += batch;
            self.turn(leader);
            self.run();
            ensure!(
                self.nodes[leader].commit() == commit + batch,
                "of a batch of {batch}, {} are committed",
                self.nodes[leader].commit() - commit
            );
        }
        Ok(())
    }

    /// One step of time for everybody, and all that follows from it.
    pub(super) fn tick(&mut self) {
        for node in &mut self.nodes {
            node.pass_time();
        }
        for node in 0..self.nodes.len() {
            self.turn(node);
        }
        self.run();
    }

    /// Cuts a node off. `is_noticed`: both ends see their connections close.
    pub(super) fn cut_off(&mut self, node: usize, is_noticed: bool) {
        assert!(self.away.is_none(), "one node at a time is away");
        self.away = Some(node);
        if is_noticed {
            self.link(node, false);
        }
    }

    /// The node that was cut off is connected again.
    pub(super) fn reconnect(&mut self) {
        if let Some(node) = self.away.take() {
            self.link(node, true);
        }
    }

    fn link(&mut self, node: usize, is_up: bool) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.nodes[other].on_link(node, is_up);
            self.nodes[node].on_link(other, is_up);
        }
    }

    /// Lets time pass until a node leads.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) fn await_leader(&mut self) -> Result<()> {
        for _ in 0..TICKS_PATIENCE {
            if self.leader().is_ok() {
                return Ok(());
            }
            self.tick();
        }
        anyhow::bail!("no leader after {TICKS_PATIENCE} steps of time")
    }

    /// Lets time pass until every node knows the same to be committed.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) fn await_agreement(&mut self) -> Result<()> {
        for _ in 0..TICKS_PATIENCE {
            let commit = self.nodes[self.leader()?].commit();
            if self.nodes.iter().all(|node| node.commit() == commit) {
                return Ok(());
            }
            self.tick();
        }
        anyhow::bail!("no agreement after {TICKS_PATIENCE} steps of time")
    }

    /// Every replica must have committed the same: a side that loses entries
    /// would be fast.
    ///
    /// # Errors
    /// If one differs from the first.
    pub(super) fn check_replicas(&self) -> Result<()> {
        for (number, node) in self.nodes.iter().enumerate() {
            ensure!(
                node.committed().eq(self.nodes[0].committed()),
                "node {number} has committed other entries than node 0"
            );
        }
        Ok(())
    }

    /// Rounds until nothing is on its way.
    fn run(&mut self) {
        while self.outboxes.iter().any(|outbox| !outbox.is_empty()) {
            std::mem::swap(&mut self.inboxes, &mut self.outboxes);
            for node in 0..self.nodes.len() {
                if self.inboxes[node].is_empty() {
                    continue;
                }
                self.delivered += self.inboxes[node].len() as u64;
                for (from, message) in self.inboxes[node].drain(..) {
                    self.nodes[node].step(from, message);
                }
                self.turn(node);
            }
        }
    }

    fn turn(&mut self, node: usize) {
        self.nodes[node].turn(&mut self.out);
        for (to, message) in self.out.drain(..) {
            if self.away != Some(node) && self.away != Some(to) {
                self.outboxes[to].push((node, message));
            }
        }
    }
}
