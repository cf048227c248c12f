use std::fs;

use precentor_core::address::Address;
use precentor_core::command::{Command, Outcome};
use precentor_core::context::ContextKind;
use precentor_core::ids::{
    ClusterId, FinishNumber, LogIndex, RequestId, Sequence, SessionId, WorkerId, WorkerIncarnation,
};
use precentor_core::job::{Class, Generator, JobSpec, WorkerSpec};
use precentor_core::principal::Principal;
use precentor_core::request::{Poll, Reply, Request};
use tempfile::tempdir;

use super::*;
use crate::client::Courier;
use crate::disk::{OpenMode, Store};
use crate::pilot::Answers;
use crate::reader::Reader;

fn data(path: &Path, nodes: u32) -> DataDir {
    let wanted = Identity::found(ClusterId([5; 16]), "p", Path::new("/tree"), nodes);
    DataDir::open_or_found(path, &wanted, |node, path| found_node(&wanted, node, path)).unwrap()
}

fn open_session(courier: &mut Courier) -> u64 {
    let request = Request::Propose {
        request: None,
        acknowledged: Sequence(0),
        command: Command::OpenSession,
    };
    match courier.call(request, Duration::from_secs(30)) {
        Some(Reply::Applied {
            outcome: Outcome::SessionOpened(session),
            ..
        }) => session.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cluster_serves_on_while_each_leader_in_turn_is_killed() {
    let dir = tempdir().unwrap();
    let mut cluster = EmbeddedCluster::start(data(dir.path(), 3), Knobs::default()).unwrap();
    let mut courier = Courier::new(cluster.directory(), Principal("test".into()));
    let mut last = open_session(&mut courier);
    for _ in 0..3 {
        let leader = cluster.directory().leader_hint().unwrap();
        cluster.kill(leader);
        assert_eq!(cluster.running().len(), 2);
        let next = open_session(&mut courier);
        assert!(next > last, "the log goes on after {last}, not at {next}");
        last = next;
        assert_ne!(cluster.directory().leader_hint(), Some(leader));
        cluster.restart(leader).unwrap();
    }
}

#[test]
fn a_leader_that_is_stopped_ends_when_another_leads() {
    let dir = tempdir().unwrap();
    // Long enough that no machine is too slow for it, and that the others would
    // not have elected anybody by themselves.
    let knobs = Knobs {
        election_timeout_ms_min: 2_000,
        election_timeout_ms_max: 4_000,
        suspicion_ms_max: 1_000,
        ..Knobs::default()
    };
    let mut cluster = EmbeddedCluster::start(data(dir.path(), 3), knobs).unwrap();
    let mut courier = Courier::new(cluster.directory(), Principal("test".into()));
    let before = open_session(&mut courier);
    let old = cluster.directory().leader_hint().unwrap();
    cluster.stop_node(old);
    let (answers, inbox) = crossbeam_channel::unbounded();
    let answers = Answers::Thread(answers);
    for node in cluster.nodes.values() {
        let mailbox = node.mailbox();
        mailbox.ask(Principal::cluster(), Request::Status, &answers, 1);
    }
    let roles: Vec<RoleName> = (0..2)
        .map(|_| match inbox.recv().unwrap().reply {
            Some(Reply::Status(status)) => status.role,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(roles.contains(&RoleName::Leader), "{roles:?}");
    assert!(open_session(&mut courier) > before);
    cluster.restart(old).unwrap();
    assert_eq!(cluster.running().len(), 3);
}

#[test]
fn what_was_committed_is_there_after_all_nodes_stopped() {
    let dir = tempdir().unwrap();
    let cluster = EmbeddedCluster::start(data(dir.path(), 3), Knobs::default()).unwrap();
    let mut courier = Courier::new(cluster.directory(), Principal("test".into()));
    let before = open_session(&mut courier);
    cluster.stop();
    let cluster = EmbeddedCluster::start(data(dir.path(), 3), Knobs::default()).unwrap();
    let mut courier = Courier::new(cluster.directory(), Principal("test".into()));
    assert!(open_session(&mut courier) > before);
    assert!(cluster.left_out().is_empty());
}

#[test]
fn a_body_is_read_from_whichever_node_has_it_and_no_more_after_its_end() {
    let library = Library::default();
    assert_eq!(library.get(&Digest::of(b"x")), None);
    let dir = tempdir().unwrap();
    let mut cluster = EmbeddedCluster::start(data(dir.path(), 1), Knobs::default()).unwrap();
    assert_eq!(locked(&cluster.library.0).len(), 1);
    cluster.kill(NodeId(1));
    assert_eq!(locked(&cluster.library().0).len(), 0);
    assert!(cluster.running().is_empty());
}

const PATIENCE: Duration = Duration::from_secs(30);

/// A request for the context of that number.
fn item(number: usize) -> JobSpec {
    JobSpec {
        address: Address::parse(&format!("ucxl://p/f{number}")).unwrap(),
        kind: ContextKind::File,
        subject: Digest::of(&number.to_le_bytes()),
        generator: Generator {
            engine: "engine".into(),
            version: 1,
            parameters: Digest::ZERO,
        },
        class: Class::Normal,
        tenant: "t".into(),
        dependencies: Vec::new(),
        delay_ms: 0,
    }
}

/// One who asks for contexts, and makes them.
struct Maker {
    courier: Courier,
    session: u64,
    requests: u64,
    /// The bodies of all that is published, by number from 1.
    bodies: Vec<Digest>,
}

impl Maker {
    fn new(cluster: &EmbeddedCluster) -> Maker {
        let mut courier = Courier::new(cluster.directory(), Principal("test".into()));
        let session = open_session(&mut courier);
        let mut maker = Maker {
            courier,
            session,
            requests: 0,
            bodies: Vec::new(),
        };
        maker.propose(Command::Register {
            worker: WorkerSpec {
                worker: WorkerId(1),
                incarnation: WorkerIncarnation(1),
                slots: 8,
                engines: vec!["engine".into()],
            },
        });
        maker
    }

    fn propose(&mut self, command: Command) -> Outcome {
        self.requests += 1;
        let request = Request::Propose {
            request: Some(RequestId {
                session: SessionId(self.session),
                sequence: Sequence(self.requests),
            }),
            acknowledged: Sequence(self.requests),
            command,
        };
        match self.courier.call(request, PATIENCE) {
            Some(Reply::Applied { outcome, .. }) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Publishes so many contexts more.
    fn publish(&mut self, count: usize) {
        let first = self.bodies.len();
        let items = (first..first + count).map(item).collect();
        let outcome = self.propose(Command::Submit { items });
        assert!(matches!(outcome, Outcome::Submitted(_)), "{outcome:?}");
        self.work(first + count);
    }

    /// Makes what is asked for, until so many are made.
    fn work(&mut self, count: usize) {
        while self.bodies.len() < count {
            let poll = Request::Poll(Poll {
                worker: WorkerId(1),
                incarnation: WorkerIncarnation(1),
                slots_free: 8,
                together_max: 1,
                held: Vec::new(),
            });
            let Some(Reply::Work(work)) = self.courier.call(poll, PATIENCE) else {
                panic!("the leader has no work");
            };
            for assignment in work.assignments {
                let body = Bytes::from(format!("{} ", self.bodies.len()).repeat(500).into_bytes());
                let result = Digest::of(&body);
                let outcome = self.propose(Command::Complete {
                    job: assignment.job,
                    token: assignment.token,
                    result,
                    body,
                });
                assert_eq!(outcome, Outcome::Completed);
                self.bodies.push(result);
            }
        }
    }
}

/// Waits until a node has applied the end of the `count`th job.
fn await_finished(cluster: &EmbeddedCluster, node: NodeId, count: u64) {
    let (to, answers) = crossbeam_channel::unbounded();
    let until = Instant::now() + PATIENCE;
    loop {
        // Held by the node until there is one, or its hold time is over.
        let request = Request::FinishedAfter {
            after: FinishNumber(count - 1),
            count_max: 1,
        };
        let mailbox = cluster.nodes[&node].mailbox();
        mailbox.ask(
            Principal("test".into()),
            request,
            &Answers::Thread(to.clone()),
            0,
        );
        match answers.recv_timeout(PATIENCE).unwrap().reply {
            Some(Reply::Finished { jobs, .. }) if !jobs.is_empty() => return,
            Some(_) => assert!(Instant::now() < until, "{node} has not caught up"),
            None => panic!("{node} ended"),
        }
    }
}

/// The entries that a stopped node has on disk: from after which one, and up to which.
fn log_of(path: &Path, node: NodeId) -> (LogIndex, LogIndex) {
    let identity = Place {
        cluster: ClusterId([5; 16]),
        name: "p".into(),
        node,
        founders: vec![node],
    }
    .identity();
    let voter = path.join(node.to_string()).join("voter");
    let store = Store::open(&voter, &identity, OpenMode::ReadOnly).unwrap();
    (store.log().base_index(), store.log().last_index())
}

#[test]
fn a_node_that_was_away_for_too_long_catches_up_by_a_snapshot_and_has_all_bodies() {
    let dir = tempdir().unwrap();
    let knobs = Knobs {
        snapshot_every_bytes: 8 * 1024,
        log_slack_bytes: 1_024,
        snapshot_part_bytes: 512,
        ..Knobs::default()
    };
    let mut cluster = EmbeddedCluster::start(data(dir.path(), 3), knobs).unwrap();
    let mut maker = Maker::new(&cluster);
    maker.publish(10);
    let leader = cluster.directory().leader_hint();
    let away = cluster.voters().into_iter().find(|n| Some(*n) != leader);
    let away = away.unwrap();
    await_finished(&cluster, away, 10);
    cluster.kill(away);
    let (_, last) = log_of(dir.path(), away);
    maker.publish(150);

    // Killed again, wherever in the transfer it was by then.
    for _ in 0..3 {
        cluster.restart(away).unwrap();
        maker.publish(1);
        cluster.kill(away);
    }
    cluster.restart(away).unwrap();
    await_finished(&cluster, away, 163);
    let reader = locked(&cluster.library.0)[&away].clone();
    for digest in &maker.bodies {
        let body = reader.get(digest).unwrap().expect("it has every body");
        assert_eq!(Digest::of(&body), *digest);
    }
    drop(reader);
    // It goes on by the log, and comes back from its own disk.
    maker.publish(5);
    await_finished(&cluster, away, 168);
    cluster.kill(away);
    let (base, after) = log_of(dir.path(), away);
    assert!(
        base > last,
        "the log begins after {base}, as before at {last}"
    );
    assert!(after > base);
    let snapshots = dir.path().join(away.to_string()).join("voter/snapshots");
    let names = fs::read_dir(snapshots).unwrap();
    for name in names.map(|entry| entry.unwrap().file_name()) {
        let name = name.into_string().unwrap();
        assert!(!name.starts_with("incoming"), "{name} was left behind");
    }
    cluster.restart(away).unwrap();
    maker.publish(5);
    await_finished(&cluster, away, 173);
    assert_eq!(cluster.running().len(), 3);
    cluster.stop();
    // All three logs begin behind a snapshot, whose members are three.
    let stopped = Reader::open(dir.path(), "").unwrap();
    assert_eq!(stopped.queue().contexts(None).count(), 173);
}

#[test]
fn what_is_left_with_a_lone_node_outlives_it_and_is_done_when_there_is_a_leader() {
    let dir = tempdir().unwrap();
    let mut cluster = EmbeddedCluster::start(data(dir.path(), 3), Knobs::default()).unwrap();
    let mut maker = Maker::new(&cluster);
    maker.publish(1);
    let leader = cluster.directory().leader_hint();
    let lone = cluster.voters().into_iter().find(|n| Some(*n) != leader);
    let lone = lone.unwrap();
    let others: Vec<_> = cluster
        .voters()
        .into_iter()
        .filter(|n| *n != lone)
        .collect();
    others.iter().for_each(|other| cluster.kill(*other));

    let (to, answers) = crossbeam_channel::unbounded();
    let item = item(1);
    maker.requests += 1;
    let request = Request::QueueLocally {
        request: RequestId {
            session: SessionId(maker.session),
            sequence: Sequence(maker.requests),
        },
        acknowledged: Sequence(maker.requests),
        command: Command::Submit { items: vec![item] },
    };
    let mailbox = cluster.nodes[&lone].mailbox();
    mailbox.ask(
        Principal("test".into()),
        request,
        &Answers::Thread(to.clone()),
        0,
    );
    let reply = answers.recv_timeout(PATIENCE).unwrap().reply;
    assert_eq!(reply, Some(Reply::QueuedLocally));

    cluster.kill(lone);
    for node in cluster.voters() {
        cluster.restart(node).unwrap();
    }
    // Nobody asks for it again: what there is to do is what was left.
    maker.work(2);
    await_finished(&cluster, lone, 2);
    cluster.stop();
    let stopped = Reader::open(dir.path(), "").unwrap();
    assert_eq!(stopped.queue().contexts(None).count(), 2);
}
