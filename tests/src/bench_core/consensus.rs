//! Our consensus as the manager drives it, without the queue: the counterpart
//! of the crate's `RawNode`. What is measured is the code that production runs;
//! only the order of the calls is repeated here.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use precentor_core::action::Action;
use precentor_core::bytes::Bytes;
use precentor_core::cluster::{Change, ClusterCoordinator};
use precentor_core::config::Config;
use precentor_core::cx::Cx;
use precentor_core::entry::{HardState, LogEntry};
use precentor_core::event::Now;
use precentor_core::ids::{ClusterId, Incarnation, LogIndex, NodeId, ReadId, WriteId};
use precentor_core::log::{Log, LogStart, TermAt};
use precentor_core::marks::Marks;
use precentor_core::membership::Membership;
use precentor_core::message::Message;
use precentor_core::outbox::Outbox;
use precentor_core::random::Random;
use precentor_core::status::{Condition, RoleName};
use precentor_core::time::Span;

use super::cluster::{
    ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, ENTRY_BYTES, Replica, TICK_MS, write_body,
};
use super::disk::Disk;

/// Lends the node's tools to its consensus.
macro_rules! cx {
    ($node:ident) => {
        Cx {
            now: $node.now,
            config: &$node.config,
            random: &mut $node.random,
            marks: &mut $node.marks,
            log: &mut $node.log,
            outbox: &mut $node.outbox,
        }
    };
}

/// One node's consensus, with a disk in memory.
pub(super) struct Consensus {
    config: Config,
    now: Now,
    random: Random,
    marks: Marks,
    log: Log,
    outbox: Outbox,
    cluster: ClusterCoordinator,
    disk: Disk,
    /// Up to here what is committed was read.
    read: LogIndex,
    read_bytes: u64,
    actions: Vec<Action>,
    /// What the disk has done, and is to report.
    written: Option<WriteId>,
    reads: Vec<(ReadId, Vec<LogEntry>)>,
}

/// The node of a number.
pub(super) fn node_id(number: usize) -> NodeId {
    NodeId(number as u64 + 1)
}

/// The number of a node.
pub(super) fn number_of(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).expect("a handful of nodes")
}

/// The configuration of a node, with the timeouts that both sides have.
pub(super) fn config_of(number: usize, voters: usize) -> Config {
    let node = node_id(number);
    let voters = (0..voters).map(node_id).collect();
    let mut config = Config::new(ClusterId([1; 16]), node, voters, node.0);
    // As a real node's disk, whose life its first leader learns once.
    config.incarnation = Incarnation(node.0);
    config.knobs.heartbeat_ms = TICK_MS;
    config.knobs.election_timeout_ms_min = ELECTION_TICKS_MIN * TICK_MS;
    config.knobs.election_timeout_ms_max = ELECTION_TICKS_MAX * TICK_MS;
    config
}

impl Consensus {
    fn keep_up(&mut self) {
        if !self.cluster.has_changes() {
            return;
        }
        for change in self.cluster.take_changes() {
            match change {
                // The barrier of the new term, as the manager's `TakeOver`.
                Change::Elected { .. } => {
                    self.cluster.append_own(Bytes::default(), &mut cx!(self));
                }
                Change::Deposed
                | Change::HandOverEnded(_)
                | Change::Recovered(_)
                | Change::RecoveryFailed(_)
                | Change::Forward { .. }
                | Change::Forwarded { .. } => {}
                Change::ImageReceived { .. } | Change::BodiesReceived(_) => {
                    unreachable!("no log is compacted here")
                }
                Change::Halt(violation) => panic!("halted: {violation}"),
            }
        }
    }

    /// Reads what is committed, as one who applies it would, and lets go of it.
    fn read_committed(&mut self) {
        while self.read < self.cluster.commit() {
            let batch = self.log.batch_from(self.read.next());
            let batch = batch.expect("bodies stay in the window until they are read");
            let committed = |entry: &&LogEntry| entry.index <= self.cluster.commit();
            for entry in batch.iter().take_while(committed) {
                self.read = entry.index;
                self.read_bytes += entry.body.count();
            }
        }
        self.log.trim(
            self.read.min(self.outbox.durable()),
            self.config.knobs.log_window_bytes_max,
        );
    }

    /// One settling. What a disk would do is done at once, and to be reported.
    fn settle(&mut self, out: &mut Vec<(usize, Message)>) {
        self.cluster.on_turn(Condition::default(), &mut cx!(self));
        self.keep_up();
        self.read_committed();
        self.cluster.settle(&mut cx!(self));
        self.outbox.set_commit(self.cluster.commit());
        self.outbox.settle(self.now.time, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Write(write) => self.written = Some(self.disk.write(write)),
                Action::Say { to, message } => out.push((number_of(to), message)),
                Action::ReadLog {
                    read,
                    from,
                    to,
                    bytes_max,
                } => {
                    let entries = self.disk.read(from, to, bytes_max);
                    self.reads.push((read, entries));
                }
                Action::Answer { .. }
                | Action::PutBlob { .. }
                | Action::DropSource { .. }
                | Action::SaveSnapshot(_)
                | Action::CompactLog { .. }
                | Action::KeepPiece(_)
                | Action::InstallSnapshot { .. }
                | Action::ReadSnapshot { .. }
                | Action::ReadBodies { .. }
                | Action::FindLacking { .. }
                | Action::Work(_)
                | Action::KeepRequest { .. }
                | Action::DropRequest { .. }
                | Action::Audit(_)
                | Action::Halt(_) => unreachable!("consensus alone asks for none of these"),
            }
        }
    }
}

impl Replica for Consensus {
    type Message = Message;

    fn new(number: usize, voters: usize) -> Consensus {
        let config = config_of(number, voters);
        let now = Now::default();
        let mut random = Random::new(config.seed);
        let mut marks = Marks::default();
        let mut log = Log::new(LogStart::founding(Arc::new(Membership::founding(
            config.founders.iter().copied(),
        ))));
        let mut outbox = Outbox::new(LogIndex(0), HardState::default());
        let mut cx = Cx {
            now,
            config: &config,
            random: &mut random,
            marks: &mut marks,
            log: &mut log,
            outbox: &mut outbox,
        };
        let cluster = ClusterCoordinator::new(HardState::default(), LogIndex(0), &mut cx);
        Consensus {
            config,
            now,
            random,
            marks,
            log,
            outbox,
            cluster,
            disk: Disk::default(),
            read: LogIndex(0),
            read_bytes: 0,
            actions: Vec::new(),
            written: None,
            reads: Vec::new(),
        }
    }

    fn propose(&mut self, first: u64, count: u64) -> Result<()> {
        let mut body = [0; ENTRY_BYTES];
        for number in first..first + count {
            write_body(number, &mut body);
            self.cluster
                .propose(Bytes::from(&body[..]), &mut cx!(self))
                .map_err(|error| anyhow!("entry {number} is not taken: {error:?}"))?;
        }
        Ok(())
    }

    fn step(&mut self, from: usize, message: Message) {
        self.cluster
            .on_message(node_id(from), message, &mut cx!(self));
        self.keep_up();
    }

    fn pass_time(&mut self) {
        self.now.time = self.now.time + Span::from_ms(TICK_MS);
    }

    fn on_link(&mut self, peer: usize, is_up: bool) {
        if is_up {
            self.cluster.on_peer_up(node_id(peer));
        } else {
            self.cluster.on_peer_down(node_id(peer), &mut cx!(self));
        }
    }

    fn turn(&mut self, out: &mut Vec<(usize, Message)>) {
        self.settle(out);
        while self.written.is_some() || !self.reads.is_empty() {
            if let Some(write) = self.written.take() {
                self.outbox.on_durable(write);
            }
            for (read, entries) in std::mem::take(&mut self.reads) {
                self.cluster.on_log_read(read, entries, &mut cx!(self));
            }
            self.settle(out);
        }
    }

    fn serves(&self) -> bool {
        self.cluster.role() == RoleName::Leader
            && self.log.term_at(self.cluster.commit()) == TermAt::Known(self.cluster.term())
    }

    fn commit(&self) -> u64 {
        self.cluster.commit().0
    }

    fn committed(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        self.disk.bodies(self.cluster.commit())
    }
}
