//! A few nodes, moved by hand: nothing is delivered, synced or timed unless a
//! script says so. Each node has its own clock. No randomness but the core's,
//! which is seeded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result, bail};
use precentor_core::action::Action;
use precentor_core::config::{Config, Knobs};
use precentor_core::driver::{Driver, Host, Recovered};
use precentor_core::event::{Event, Now};
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{ClusterId, Incarnation, LogIndex, NodeId, SessionId, Ticket};
use precentor_core::message::Message;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use precentor_core::restore::{Backup, look_into, restore_state};
use precentor_core::time::{Span, Time};

use crate::disk::Disk;
use crate::trace::{Seen, Trace, words_of_message};

/// Turns that one command may cause: more is a node that spins.
const TURNS_MAX: u32 = 20_000;

/// What a program can do of which a story does not tell: so that no story has an
/// entry that it is not about.
const LEVEL: FeatureLevel = FeatureLevel::FOUNDING;

/// Takes a turn's actions down.
#[derive(Debug, Default)]
struct Notebook(Vec<Action>);

impl Host for Notebook {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

/// One node and what it stands on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The node; none while it is down.
    pub driver: Option<Driver>,
    /// Its disk, which outlives it.
    pub disk: Disk,
    /// Writes wait for the script.
    pub disk_by_hand: bool,
    /// Old entries cannot be read.
    pub disk_unreadable: bool,
    /// Reads of old entries, and the news that a snapshot is in force or a request kept,
    /// wait for the script.
    pub reads_by_hand: bool,
    /// Those that do.
    pub reads: VecDeque<Event>,
    /// Which life of its disk this is.
    pub incarnation: Incarnation,
    clock: Time,
    starts: u64,
    /// What the program that it runs can do.
    supports: FeatureLevel,
    /// It has nothing of the cluster's founding: it came later, or with a new disk.
    joined: bool,
    seen: Option<Seen>,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// What is said.
    pub message: Message,
}

/// Everything that a script moves.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The nodes.
    pub machines: BTreeMap<NodeId, Machine>,
    /// What is on its way, oldest first.
    pub wires: VecDeque<Flight>,
    /// What the programs can do that nodes start next.
    pub programs: BTreeMap<NodeId, FeatureLevel>,
    /// Links that lose everything.
    pub cuts: BTreeSet<(NodeId, NodeId)>,
    /// Messages kept for later.
    pub copies: BTreeMap<String, Flight>,
    /// What disks hold before the first start.
    pub given: BTreeMap<NodeId, Recovered>,
    /// Knobs of all nodes.
    pub knobs: Knobs,
    /// Knobs of one node, set over those of all.
    pub own_knobs: Vec<(NodeId, String, u64)>,
    /// The seed.
    pub seed: u64,
    /// The life of a disk that is new: untold, unless a script wants them known.
    pub first_life: Incarnation,
    /// A rule that every node breaks.
    #[cfg(feature = "planted-bugs")]
    pub planted: Option<precentor_core::planted::Bug>,
    /// Who founded the cluster.
    pub founders: Vec<NodeId>,
    /// How often it was founded anew with a backup.
    pub restored: u8,
    /// Requests that are to reach their node in one turn, while they are gathered.
    pub gathered: Option<Vec<Event>>,
    /// The client's session.
    pub session: Option<SessionId>,
    /// Who asks, if not `client`.
    pub principal: Option<Principal>,
    /// What happened.
    pub trace: Trace,
    next_ticket: u64,
    turns: u32,
}

impl World {
    /// Founds a cluster of `count` nodes and starts them all.
    pub fn found(&mut self, count: u64) -> Result<()> {
        if !self.machines.is_empty() {
            bail!("the nodes are there already");
        }
        self.founders = (1..=count).map(NodeId).collect();
        for node in (1..=count).map(NodeId) {
            let machine = self.machine_of(node, self.first_life, false);
            self.machines.insert(node, machine);
        }
        for node in (1..=count).map(NodeId) {
            self.start(node)?;
        }
        for node in (1..=count).map(NodeId) {
            self.connect(node)?;
        }
        Ok(())
    }

    /// Starts one more node, which knows of no cluster yet.
    pub fn join(&mut self, node: NodeId, life: Incarnation) -> Result<()> {
        if self.machines.contains_key(&node) {
            bail!("{node} is there already");
        }
        let machine = self.machine_of(node, life, true);
        self.machines.insert(node, machine);
        self.start(node)?;
        self.connect(node)
    }

    /// The disk of a node that is down is lost, and an empty one takes its place:
    /// another life of it, which knows of no cluster.
    pub fn erase(&mut self, node: NodeId) -> Result<Incarnation> {
        let machine = self.machine(node)?;
        if machine.driver.is_some() {
            bail!("{node} runs: a disk is changed while its node is down");
        }
        machine.disk = Disk::default();
        machine.incarnation = machine.incarnation.next();
        machine.joined = true;
        Ok(machine.incarnation)
    }

    /// Which cluster it is by now.
    fn cluster(&self) -> ClusterId {
        ClusterId([7 + self.restored; 16])
    }

    /// All nodes are down: what one of them has saved is a backup, and its founders get
    /// new disks with a cluster on them that is founded with it.
    pub fn restore(&mut self, from: NodeId) -> Result<LogIndex> {
        if self
            .machines
            .values()
            .any(|machine| machine.driver.is_some())
        {
            bail!("a node runs: a cluster is restored when the one before is lost");
        }
        let shelf = &self.machine(from)?.disk.shelf;
        let snapshot = shelf.snapshot().context("it has no snapshot")?.clone();
        let backup = Backup {
            of: self.cluster(),
            wall_ms: 0,
            snapshot: &snapshot,
        };
        self.restored += 1;
        #[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut))]
        let mut state = look_into(&snapshot, FeatureLevel::LATEST)?;
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = self.planted {
            state.plant(bug);
        }
        let founders = self.founders.iter().copied();
        let restored = restore_state(&backup, state, self.cluster(), founders)?;
        for node in self.founders.clone() {
            self.erase(node)?;
            let machine = self.machine(node)?;
            machine.joined = false;
            machine.disk = Disk::holding(Recovered {
                hard_state: restored.hard_state,
                snapshot: Some(restored.snapshot.clone()),
                ..Recovered::default()
            });
        }
        Ok(restored.record.index)
    }

    fn machine_of(&mut self, node: NodeId, incarnation: Incarnation, joined: bool) -> Machine {
        Machine {
            driver: None,
            disk: Disk::holding(self.given.remove(&node).unwrap_or_default()),
            disk_by_hand: false,
            disk_unreadable: false,
            reads_by_hand: false,
            reads: VecDeque::new(),
            incarnation,
            clock: Time(0),
            starts: 0,
            supports: LEVEL,
            joined,
            seen: None,
        }
    }

    /// Starts a node with what its disk holds.
    pub fn start(&mut self, node: NodeId) -> Result<()> {
        let founders = self.founders.clone();
        let mut knobs = self.knobs;
        for (owner, name, value) in &self.own_knobs {
            if *owner == node {
                knobs.set(name, *value)?;
            }
        }
        #[cfg(feature = "planted-bugs")]
        let planted = self.planted;
        let (seed, cluster) = (self.seed, self.cluster());
        let supports = self.programs.get(&node).copied().unwrap_or(LEVEL);
        let machine = self.machine(node)?;
        if machine.driver.is_some() {
            bail!("{node} runs already");
        }
        machine.starts += 1;
        let seed = seed * 1_000 + node.0 * 100 + machine.starts;
        let joined = machine.joined;
        let founders = if joined { Vec::new() } else { founders };
        let mut config = Config::new(cluster, node, founders, seed);
        config.knobs = knobs;
        config.incarnation = machine.incarnation;
        config.supports = supports;
        machine.supports = supports;
        #[cfg(feature = "planted-bugs")]
        {
            config.planted = planted;
        }
        let now = machine.now();
        let driver = Driver::recover(config, machine.disk.recovered(), now)?;
        machine.seen = Some(Seen::of(&driver));
        machine.driver = Some(driver);
        Ok(())
    }

    /// The connection to a peer opens, and its hello says what its program can do.
    #[must_use]
    pub fn peer_up(&self, peer: NodeId) -> Event {
        let machine = self.machines.get(&peer);
        let supports = machine.map_or(LEVEL, |machine| machine.supports);
        Event::PeerUp { peer, supports }
    }

    /// Opens the connections of a node to all others that run.
    pub fn connect(&mut self, node: NodeId) -> Result<()> {
        let peers: Vec<_> = self
            .machines
            .iter()
            .filter(|(peer, machine)| **peer != node && machine.driver.is_some())
            .map(|(peer, _)| *peer)
            .collect();
        for peer in peers {
            if !self.cuts.contains(&(node, peer)) {
                self.turn(node, vec![self.peer_up(peer)])?;
                self.turn(peer, vec![self.peer_up(node)])?;
            }
        }
        Ok(())
    }

    /// Takes a node down; of its writes on their way the first `keep` are on disk.
    pub fn stop(&mut self, node: NodeId, keep: usize) -> Result<()> {
        let machine = self.machine(node)?;
        machine.driver.take().context("it is down already")?;
        machine.disk.crash(keep);
        machine.reads.clear();
        machine.seen = None;
        Ok(())
    }

    /// One turn of a node, and those that follow from it without anyone else.
    pub fn turn(&mut self, node: NodeId, events: Vec<Event>) -> Result<()> {
        let mut events = events;
        loop {
            self.turns += 1;
            if self.turns > TURNS_MAX {
                bail!("{node} spins: over {TURNS_MAX} turns in one command");
            }
            let machine = self.machine(node)?;
            let now = machine.now();
            let driver = machine
                .driver
                .as_mut()
                .with_context(|| format!("{node} is down"))?;
            let mut notebook = Notebook::default();
            driver.turn(now, events, &mut notebook);
            let seen = Seen::of(driver);
            let due = driver.deadline().is_some_and(|due| due <= now.time);
            let before = machine.seen.replace(seen);
            self.trace.node(node, before, seen);
            events = Vec::new();
            for action in notebook.0 {
                events.extend(self.perform(node, action)?);
            }
            if events.is_empty() && !due {
                return Ok(());
            }
        }
    }

    /// Performs an action; returns what the disk has to say at once.
    fn perform(&mut self, node: NodeId, action: Action) -> Result<Option<Event>> {
        let mut suffix = "";
        if let Action::Say { to, .. } = &action
            && self.cuts.contains(&(node, *to))
        {
            suffix = " (cut)";
        }
        self.trace.action(node, &action, suffix);
        let machine = self.machine(node)?;
        let by_hand = machine.disk_by_hand;
        Ok(match action {
            Action::Write(write) => {
                machine.disk.write(write);
                if by_hand {
                    return Ok(None);
                }
                let write = machine.disk.sync_one();
                write.map(|write| Event::Durable { write })
            }
            Action::Say { to, message } => {
                if suffix.is_empty() {
                    self.wires.push_back(Flight {
                        from: node,
                        to,
                        message,
                    });
                }
                None
            }
            Action::Answer { reply, .. } => {
                if let Reply::Applied {
                    outcome: precentor_core::command::Outcome::SessionOpened(session),
                    ..
                } = reply
                {
                    self.session = Some(session);
                }
                None
            }
            Action::ReadLog {
                read,
                from,
                to,
                bytes_max,
            } => {
                let entries = match machine.disk_unreadable {
                    true => Vec::new(),
                    false => machine.disk.read(from, to, bytes_max),
                };
                let event = Event::LogRead { read, entries };
                if machine.reads_by_hand {
                    machine.reads.push_back(event);
                    return Ok(None);
                }
                Some(event)
            }
            Action::SaveSnapshot(part) => {
                let saved = machine.disk.save(part);
                saved.map(|index| Event::SnapshotSaved { index })
            }
            Action::CompactLog { up_to } => {
                machine.disk.compact(up_to);
                None
            }
            Action::PutBlob { digest, body, of } => {
                machine.disk.shelf.put(digest, body, of);
                None
            }
            Action::DropSource { digest, index } => {
                machine.disk.shelf.drop_source(digest, index);
                None
            }
            Action::KeepPiece(part) => {
                machine.disk.shelf.keep_piece(part);
                None
            }
            Action::InstallSnapshot { index } => {
                let installed = machine.disk.install(index);
                let event = installed.map(|index| Event::SnapshotInstalled { index });
                if machine.reads_by_hand {
                    machine.reads.extend(event);
                    return Ok(None);
                }
                event
            }
            Action::ReadSnapshot {
                read,
                index,
                offset,
                bytes_max,
            } => Some(Event::SnapshotRead {
                read,
                piece: machine.disk.shelf.read_image(index, offset, bytes_max),
            }),
            Action::ReadBodies {
                read,
                digests,
                bytes_max,
            } => Some(Event::BodiesRead {
                read,
                bodies: machine.disk.shelf.read_bodies(&digests, bytes_max),
            }),
            Action::FindLacking { digests, of } => Some(Event::BodiesLacking {
                digests: machine.disk.shelf.lacking(digests, of),
            }),
            Action::Work(work) => {
                let event = Event::WorkDone(work.run());
                if machine.reads_by_hand {
                    machine.reads.push_back(event);
                    return Ok(None);
                }
                Some(event)
            }
            Action::KeepRequest { number, entry } => {
                machine.disk.keep_request(number, entry);
                let event = Event::RequestKept { number };
                if machine.reads_by_hand {
                    machine.reads.push_back(event);
                    return Ok(None);
                }
                machine.disk.request_kept(number);
                Some(event)
            }
            Action::DropRequest { number } => {
                machine.disk.drop_request(number);
                None
            }
            Action::Audit(_) | Action::Halt(_) => None,
        })
    }

    /// A client of a node asks; `asked` is how the trace calls it.
    pub fn ask(&mut self, node: NodeId, asked: String, request: Request) -> Result<()> {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.trace.asked.insert(ticket, asked);
        let event = Event::Client {
            ticket,
            principal: self
                .principal
                .clone()
                .unwrap_or_else(|| Principal("client".into())),
            request,
        };
        match &mut self.gathered {
            Some(gathered) => gathered.push(event),
            None => self.turn(node, vec![event])?,
        }
        Ok(())
    }

    /// Delivers one message, if its receiver is up.
    pub fn deliver(&mut self, flight: Flight) -> Result<()> {
        let Flight { from, to, message } = flight;
        if self.machine(to)?.driver.is_none() {
            if !self.trace.show.answers_only {
                let words = words_of_message(&message);
                self.trace
                    .line(format!("{to} is down, and never hears {from}: {words}"));
            }
            return Ok(());
        }
        self.turn(to, vec![Event::Peer { from, message }])
    }

    /// Delivers everything, and what comes of it, until it is quiet.
    pub fn deliver_all(&mut self) -> Result<()> {
        while let Some(flight) = self.wires.pop_front() {
            self.deliver(flight)?;
        }
        Ok(())
    }

    /// Takes messages off the wires: those that `which` wants, at most `count`.
    pub fn take(&mut self, which: impl Fn(&Flight) -> bool, count: usize) -> Vec<Flight> {
        let mut taken = Vec::new();
        let wires = std::mem::take(&mut self.wires);
        for flight in wires {
            if taken.len() < count && which(&flight) {
                taken.push(flight);
            } else {
                self.wires.push_back(flight);
            }
        }
        taken
    }

    /// Time passes at one node: it wakes when it wants to.
    pub fn tick(&mut self, node: NodeId, span: Span) -> Result<()> {
        let target = self.machine(node)?.clock + span;
        while let Some(due) = self.due(node, target) {
            self.machine(node)?.clock = due;
            self.turn(node, Vec::new())?;
        }
        self.machine(node)?.clock = target;
        Ok(())
    }

    /// Time passes at one node while its process stands still.
    pub fn stall(&mut self, node: NodeId, span: Span) -> Result<()> {
        let machine = self.machine(node)?;
        machine.clock = machine.clock + span;
        self.turn(node, Vec::new())
    }

    /// Time passes everywhere, and messages take none.
    pub fn elapse(&mut self, span: Span) -> Result<()> {
        let mut left = span;
        loop {
            self.deliver_all()?;
            let next = self
                .machines
                .iter()
                .filter_map(|(node, machine)| {
                    let due = machine.driver.as_ref()?.deadline()?;
                    Some((due.since(machine.clock), *node))
                })
                .min();
            let step = next.map_or(left, |(wait, _)| wait.min(left));
            for machine in self.machines.values_mut() {
                machine.clock = machine.clock + step;
            }
            left = Span(left.0 - step.0);
            match next {
                Some((wait, node)) if wait <= step => self.turn(node, Vec::new())?,
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// A new command begins.
    pub fn begin_command(&mut self) {
        self.turns = 0;
    }

    /// A machine, which must be there.
    pub fn machine(&mut self, node: NodeId) -> Result<&mut Machine> {
        self.machines
            .get_mut(&node)
            .with_context(|| format!("there is no {node}"))
    }

    fn due(&self, node: NodeId, target: Time) -> Option<Time> {
        let machine = self.machines.get(&node)?;
        let due = machine.driver.as_ref()?.deadline()?;
        (due <= target).then(|| due.max(machine.clock))
    }
}

impl Machine {
    fn now(&self) -> Now {
        Now {
            time: self.clock,
            wall_ms: self.clock.0 / 1_000,
        }
    }
}
