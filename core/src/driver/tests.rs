use std::collections::{BTreeMap, VecDeque};

use super::{Driver, Host, Recovered};
use crate::action::{Action, Write};
use crate::address::Address;
use crate::command::{Command, Outcome, Submitted};
use crate::config::Config;
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::entry::{ChainHash, EntryKind, HardState, LogEntry};
use crate::event::{Event, Now, Order};
use crate::ids::{
    ClusterId, FinishNumber, JobId, LogIndex, NodeId, RequestId, Sequence, SessionId, Ticket,
    WorkerId, WorkerIncarnation,
};
use crate::job::{Assignment, Class, Generator, JobSpec, JobState, WorkerSpec};
use crate::message::Message;
use crate::principal::Principal;
use crate::request::{Poll, Reply, Request, Work};
use crate::status::{PhaseName, RoleName};
use crate::time::{Span, Time};

/// A node's disk, and what it wants of the world.
#[derive(Default)]
struct Desk {
    hard_state: HardState,
    snapshot: Option<crate::snapshot::Snapshot>,
    parts: crate::snapshot::SnapshotParts,
    entries: Vec<LogEntry>,
    back: Vec<Event>,
    said: Vec<(NodeId, Message)>,
    answers: BTreeMap<Ticket, Reply>,
}

impl Host for Desk {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Write(Write {
                id,
                hard_state,
                truncate_from,
                reset,
                entries,
            }) => {
                self.hard_state = hard_state.unwrap_or(self.hard_state);
                if reset.is_some() {
                    self.entries.clear();
                }
                if let Some(from) = truncate_from {
                    self.entries.retain(|entry| entry.index < from);
                }
                self.entries.extend_from_slice(&entries);
                self.back.push(Event::Durable { write: id });
            }
            Action::Say { to, message } => self.said.push((to, message)),
            Action::Answer { ticket, reply } => {
                assert!(
                    self.answers.insert(ticket, reply).is_none(),
                    "one answer to {ticket}"
                );
            }
            Action::ReadLog { read, from, to, .. } => {
                let asked = |entry: &&LogEntry| entry.index >= from && entry.index <= to;
                let entries = self.entries.iter().filter(asked).cloned().collect();
                self.back.push(Event::LogRead { read, entries });
            }
            Action::SaveSnapshot(part) => {
                if let Some(snapshot) = self.parts.add(part) {
                    self.back.push(Event::SnapshotSaved {
                        index: snapshot.meta.index,
                    });
                    self.snapshot = Some(snapshot);
                }
            }
            Action::CompactLog { up_to } => self.entries.retain(|entry| entry.index > up_to),
            Action::PutBlob { .. } | Action::DropSource { .. } | Action::Audit(_) => {}
            other => panic!("no snapshot is transferred here: {other:?}"),
        }
    }
}

/// Three nodes whose messages and writes arrive at once.
struct World {
    nodes: BTreeMap<NodeId, Driver>,
    desks: BTreeMap<NodeId, Desk>,
    mail: VecDeque<(NodeId, Event)>,
    time: Time,
    next_ticket: u64,
}

const VOTERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

fn config(node: NodeId) -> Config {
    let mut config = Config::new(ClusterId([7; 16]), node, VOTERS.to_vec(), node.0);
    config.knobs.state_hash_every_entries = 1;
    config
}

impl World {
    fn new() -> World {
        let mut world = World {
            nodes: BTreeMap::new(),
            desks: VOTERS.iter().map(|node| (*node, Desk::default())).collect(),
            mail: VecDeque::new(),
            time: Time(0),
            next_ticket: 1,
        };
        VOTERS.iter().for_each(|node| world.start(*node));
        world
    }

    fn now(&self) -> Now {
        Now {
            time: self.time,
            wall_ms: 1_000,
        }
    }

    fn start(&mut self, node: NodeId) {
        let desk = &self.desks[&node];
        let recovered = Recovered {
            hard_state: desk.hard_state,
            snapshot: desk.snapshot.clone(),
            entries: desk.entries.clone(),
            ..Recovered::default()
        };
        let driver =
            Driver::recover(config(node), recovered, self.now()).expect("the disk is whole");
        self.nodes.insert(node, driver);
    }

    /// The process ends: its peers see its connections close.
    fn kill(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        for peer in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.mail.push_back((peer, Event::PeerDown { peer: node }));
        }
        self.run();
    }

    fn turn(&mut self, node: NodeId, event: Option<Event>) {
        let now = self.now();
        let Some(driver) = self.nodes.get_mut(&node) else {
            return;
        };
        let desk = self.desks.get_mut(&node).expect("every node has a desk");
        driver.turn(now, event, desk);
        self.mail
            .extend(desk.back.drain(..).map(|event| (node, event)));
        for (to, message) in desk.said.drain(..) {
            self.mail.push_back((
                to,
                Event::Peer {
                    from: node,
                    message,
                },
            ));
        }
    }

    /// Until nothing more happens without time.
    fn run(&mut self) {
        while let Some((node, event)) = self.mail.pop_front() {
            self.turn(node, Some(event));
        }
    }

    fn elapse(&mut self, span: Span) {
        let end = self.time + span;
        loop {
            self.run();
            let due = self
                .nodes
                .iter()
                .filter_map(|(node, driver)| Some((driver.deadline()?, *node)))
                .min();
            match due {
                Some((at, node)) if at <= end => {
                    self.time = self.time.max(at);
                    self.turn(node, None);
                }
                Some(_) | None => break,
            }
        }
        self.time = end;
    }

    fn leader(&self) -> NodeId {
        let leads = |(_, driver): &(&NodeId, &Driver)| driver.view().role() == RoleName::Leader;
        let leaders: Vec<_> = self
            .nodes
            .iter()
            .filter(leads)
            .map(|(node, _)| *node)
            .collect();
        assert_eq!(leaders.len(), 1, "one leader: {leaders:?}");
        leaders[0]
    }

    fn ask(&mut self, node: NodeId, request: Request) -> Reply {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let event = Event::Client {
            ticket,
            principal: Principal("alice".into()),
            request,
        };
        self.mail.push_back((node, event));
        self.run();
        for _ in 0..100 {
            if let Some(reply) = self
                .desks
                .get_mut(&node)
                .expect("a desk")
                .answers
                .remove(&ticket)
            {
                return reply;
            }
            self.elapse(Span::from_ms(20));
        }
        panic!("no answer to {ticket} in two seconds");
    }

    fn propose(&mut self, request: Option<RequestId>, command: Command) -> Outcome {
        let leader = self.leader();
        match self.ask(
            leader,
            Request::Propose {
                request,
                acknowledged: Sequence(0),
                command,
            },
        ) {
            Reply::Applied { outcome, .. } => outcome,
            other => panic!("not applied: {other:?}"),
        }
    }

    fn open_session(&mut self) -> SessionId {
        match self.propose(None, Command::OpenSession) {
            Outcome::SessionOpened(session) => session,
            other => panic!("no session: {other:?}"),
        }
    }

    fn poll(&mut self, held: Vec<crate::ids::Token>) -> Work {
        let leader = self.leader();
        let poll = Poll {
            worker: WorkerId(1),
            incarnation: WorkerIncarnation(1),
            slots_free: 2,
            together_max: 1,
            held,
        };
        match self.ask(leader, Request::Poll(poll)) {
            Reply::Work(work) => work,
            other => panic!("no work: {other:?}"),
        }
    }
}

fn submit(name: &str) -> Command {
    let item = JobSpec {
        address: format!("ucxl://p/{name}")
            .parse::<Address>()
            .expect("an address"),
        kind: ContextKind::File,
        subject: Digest::of(name.as_bytes()),
        generator: Generator {
            engine: "outline".into(),
            version: 1,
            parameters: Digest::ZERO,
        },
        class: Class::Normal,
        tenant: "t".into(),
        dependencies: Vec::new(),
        delay_ms: 0,
    };
    Command::Submit { items: vec![item] }
}

fn register() -> Command {
    let engines = vec!["outline".into()];
    let worker = WorkerSpec {
        worker: WorkerId(1),
        incarnation: WorkerIncarnation(1),
        slots: 2,
        engines,
    };
    Command::Register { worker }
}

fn complete(assignment: &Assignment) -> Command {
    let body = crate::bytes::Bytes::from(vec![1, 2, 3]);
    Command::Complete {
        job: assignment.job,
        token: assignment.token,
        result: Digest::of(&body),
        body,
    }
}

fn job_of(outcome: &Outcome) -> JobId {
    match outcome {
        Outcome::Submitted(items) => {
            let [Submitted { job, .. }] = items[..] else {
                panic!("one item: {items:?}")
            };
            job
        }
        other => panic!("not submitted: {other:?}"),
    }
}

#[test]
fn three_nodes_elect_one_leader_and_serve() {
    let mut world = World::new();
    world.elapse(Span::from_ms(1_000));
    let leader = world.leader();
    assert_eq!(world.nodes[&leader].view().phase(), PhaseName::Serving);
    for driver in world.nodes.values() {
        assert_eq!(driver.view().leader(), Some(leader));
    }
}

#[test]
fn a_job_is_submitted_claimed_completed_and_known_to_every_replica() {
    let mut world = World::new();
    world.elapse(Span::from_ms(1_000));
    let session = world.open_session();
    let request = RequestId {
        session,
        sequence: Sequence(1),
    };
    let job = job_of(&world.propose(Some(request), submit("a")));
    assert_eq!(world.propose(None, register()), Outcome::Registered);
    let work = world.poll(Vec::new());
    assert_eq!(work.assignments.len(), 1, "{work:?}");
    assert_eq!(work.assignments[0].job, job);
    assert_eq!(
        world.propose(None, complete(&work.assignments[0])),
        Outcome::Completed
    );
    world.elapse(Span::from_ms(200));
    for (node, driver) in &world.nodes {
        let state = driver.view().queue().job(job).expect("known").state;
        assert!(
            matches!(
                state,
                JobState::Done {
                    from_cache: false,
                    ..
                }
            ),
            "{node}: {state:?}"
        );
    }
    let hashes: Vec<_> = world
        .nodes
        .values()
        .map(|driver| driver.view().state_hash())
        .collect();
    assert!(
        hashes.windows(2).all(|pair| pair[0] == pair[1]),
        "{hashes:?}"
    );
}

#[test]
fn a_request_resent_to_the_next_leader_takes_effect_once_and_its_lease_lives_on() {
    let mut world = World::new();
    world.elapse(Span::from_ms(1_000));
    let session = world.open_session();
    let request = RequestId {
        session,
        sequence: Sequence(1),
    };
    let first = world.propose(Some(request), submit("a"));
    world.propose(None, register());
    let work = world.poll(Vec::new());
    let token = work.assignments[0].token;

    let killed = world.leader();
    let at = world.time;
    world.kill(killed);
    world.elapse(Span::from_ms(100));
    let next = world.leader();
    assert_ne!(next, killed);
    assert!(
        world.time.since(at) <= Span::from_ms(100),
        "closed connections are noticed at once"
    );

    assert_eq!(
        world.propose(Some(request), submit("a")),
        first,
        "the same reply again"
    );
    let again = world.poll(vec![token]);
    assert_eq!(
        (again.assignments.len(), again.revoked.len()),
        (0, 0),
        "{again:?}"
    );
    assert_eq!(
        world.propose(None, complete(&work.assignments[0])),
        Outcome::Completed
    );

    world.start(killed);
    world.elapse(Span::from_ms(500));
    let reply = world.ask(
        killed,
        Request::FinishedAfter {
            after: FinishNumber(0),
            count_max: 9,
        },
    );
    let Reply::Finished { jobs, .. } = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(
        jobs.iter().map(|finished| finished.job).collect::<Vec<_>>(),
        [job_of(&first)]
    );
}

#[test]
fn a_leader_hands_over_when_ordered() {
    let mut world = World::new();
    world.elapse(Span::from_ms(1_000));
    let old = world.leader();
    let term = world.nodes[&old].view().term();
    world
        .mail
        .push_back((old, Event::Order(Order::HandOver { to: None })));
    world.run();
    assert_ne!(world.leader(), old);
    assert_eq!(
        world.nodes[&old].view().term(),
        term.next(),
        "one election, no pre-vote round lost"
    );
}

#[test]
fn a_restart_from_snapshot_and_log_gives_the_same_state() {
    let mut world = World::new();
    world.elapse(Span::from_ms(1_000));
    let session = world.open_session();
    let submit_one = |world: &mut World, sequence: u64, name: &str| {
        let request = RequestId {
            session,
            sequence: Sequence(sequence),
        };
        world.propose(Some(request), submit(name))
    };
    submit_one(&mut world, 1, "a");
    let node = world.leader();
    world.mail.push_back((node, Event::Order(Order::Snapshot)));
    world.run();
    submit_one(&mut world, 2, "b");
    world.elapse(Span::from_ms(200));
    let saved = world.desks[&node]
        .snapshot
        .as_ref()
        .expect("ordered")
        .meta
        .index;
    let before = world.nodes[&node].view().state_hash();
    assert!(saved < before.index && saved > LogIndex(0));
    world.kill(node);
    world.start(node);
    world.elapse(Span::from_ms(500));
    submit_one(&mut world, 3, "c");
    world.elapse(Span::from_ms(200));
    let hashes: Vec<_> = world
        .nodes
        .values()
        .map(|driver| driver.view().state_hash())
        .collect();
    assert!(hashes[0].index > before.index);
    assert!(
        hashes.windows(2).all(|pair| pair[0] == pair[1]),
        "{hashes:?}"
    );
}

#[test]
fn a_lone_voter_leads_after_one_timeout() {
    let node = NodeId(1);
    let config = Config::new(ClusterId([7; 16]), node, vec![node], 1);
    let mut driver =
        Driver::recover(config, Recovered::default(), Now::default()).expect("a new disk");
    let mut desk = Desk::default();
    let due = driver.deadline().expect("it runs");
    let now = Now {
        time: due,
        wall_ms: 0,
    };
    driver.turn(now, None, &mut desk);
    assert_eq!(
        driver.view().role(),
        RoleName::Candidate,
        "its own vote is not durable yet"
    );
    for _ in 0..2 {
        let events: Vec<_> = desk.back.drain(..).collect();
        driver.turn(now, events, &mut desk);
    }
    assert_eq!(
        driver.view().phase(),
        PhaseName::Serving,
        "no worker to wait for"
    );
}

/// Found on a tree of 54,000 files: a new leader that applied everything in one
/// turn sent no heartbeats, and the next one had the same before it.
#[test]
fn a_long_backlog_is_applied_in_bounded_turns_by_a_node_that_stands_back_meanwhile() {
    let entry = |index: u64| {
        let body = crate::bytes::Bytes::from(vec![0; 200 * 1024]);
        let token = crate::ids::Token {
            index: LogIndex(1),
            position: 0,
        };
        let complete = Command::Complete {
            job: JobId(1),
            token,
            result: Digest::of(&body),
            body,
        };
        let entry = crate::command::Entry {
            t: crate::time::Stamp(0),
            wall_ms: 0,
            principal: Principal("worker".into()),
            request: None,
            acknowledged: Sequence(0),
            command: complete,
        };
        LogEntry {
            index: LogIndex(index),
            term: crate::ids::Term(1),
            chain: ChainHash(0),
            kind: EntryKind::Command,
            body: crate::wire::command::encode(&entry),
        }
    };
    let recovered = Recovered {
        hard_state: HardState {
            term: crate::ids::Term(1),
            vote: None,
            commit: LogIndex(10),
            repairing: None,
        },
        entries: chained((1..=10).map(entry)),
        ..Recovered::default()
    };
    let mut driver =
        Driver::recover(config(NodeId(1)), recovered, Now::default()).expect("it is whole");
    let mut desk = Desk::default();
    // Later than any election timeout, at every turn.
    let mut turn = |driver: &mut Driver, ms: u64| {
        let now = Now {
            time: Time(ms * 1_000),
            wall_ms: 0,
        };
        driver.turn(now, None, &mut desk);
    };
    turn(&mut driver, 1);
    for round in 1..5 {
        assert_eq!(driver.view().applied(), LogIndex(2 * round));
        assert_eq!(driver.deadline(), Some(Time(0)), "it goes on at once");
        turn(&mut driver, 1_000 * round);
        assert_eq!(driver.view().role(), RoleName::Follower, "it stands back");
    }
    assert_eq!(driver.view().applied(), LogIndex(10));
    turn(&mut driver, 10_000);
    assert_eq!(
        driver.view().role(),
        RoleName::PreCandidate,
        "now it may lead"
    );
}

/// Entries as they stand behind each other in a log.
fn chained(entries: impl Iterator<Item = LogEntry>) -> Vec<LogEntry> {
    let link = |chain: &mut ChainHash, entry: LogEntry| {
        let entry = LogEntry {
            chain: *chain,
            ..entry
        };
        *chain = entry.chain_after();
        Some(entry)
    };
    entries.scan(ChainHash(0), link).collect()
}
