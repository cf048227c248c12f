use precentor_core::command::{Command, Outcome};
use precentor_core::ids::{ClusterId, Sequence};
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use tempfile::tempdir;

use super::*;
use crate::client::Courier;

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
    for node in cluster.nodes.values() {
        let mailbox = &node.mailbox;
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
