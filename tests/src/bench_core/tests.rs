use super::cluster::{Cluster, ENTRY_BYTES, Replica};
use super::compare::{self, Plan};
use super::consensus::Consensus;
use super::node::Node;
use super::peer::Peer;
use super::report;

const BATCHES: [u64; 3] = [1, 16, 256];

/// What each replica has committed.
fn bodies<R: Replica>(cluster: &Cluster<R>) -> Vec<Vec<Vec<u8>>> {
    let of = |node: &R| node.committed().map(<[u8]>::to_vec).collect();
    cluster.nodes().iter().map(of).collect()
}

/// Entries through a cluster of one side; what every replica committed.
fn committed<R: Replica>(voters: usize) -> Vec<Vec<Vec<u8>>> {
    let mut cluster = Cluster::<R>::new(voters).expect("a leader is elected");
    for batch in BATCHES {
        cluster.commit_entries(300, batch).expect("it is committed");
    }
    cluster.await_agreement().expect("all hear of it");
    bodies(&cluster)
}

fn numbered(count: u64) -> Vec<Vec<u8>> {
    let body = |number: u64| {
        let mut body = vec![0; ENTRY_BYTES];
        body[..8].copy_from_slice(&number.to_le_bytes());
        body
    };
    (0..count).map(body).collect()
}

#[test]
fn every_replica_of_either_side_commits_the_same_entries_in_order() {
    let proposed = numbered(900);
    for voters in [3, 5] {
        let (ours, peer) = (committed::<Consensus>(voters), committed::<Peer>(voters));
        assert_eq!((ours.len(), peer.len()), (voters, voters));
        for replica in ours.iter().chain(&peer) {
            assert!(*replica == proposed, "{} entries", replica.len());
        }
    }
}

#[test]
fn every_whole_node_commits_the_same_entries_of_the_measured_size() {
    let replicas = committed::<Node>(3);
    let first = &replicas[0];
    assert!(replicas.iter().all(|replica| replica == first));
    // The leader's barrier and the session are entries too.
    let jobs: Vec<_> = first.iter().filter(|body| body.len() > 200).collect();
    assert_eq!(jobs.len(), 900);
    for job in jobs {
        let difference = job.len().abs_diff(ENTRY_BYTES);
        assert!(difference <= 8, "an entry of {} bytes", job.len());
    }
}

fn after_absence<R: Replica>() -> Vec<Vec<Vec<u8>>> {
    let mut cluster = Cluster::<R>::new(3).expect("a leader is elected");
    let follower = (cluster.leader().expect("one leads") + 1) % 3;
    cluster.cut_off(follower, true);
    cluster.commit_entries(500, 16).expect("two are enough");
    let (missed, leader) = (
        cluster.nodes()[follower].committed().count(),
        cluster.leader().expect("one leads"),
    );
    assert_eq!(missed, 0, "it was away");
    cluster.reconnect();
    cluster.await_agreement().expect("it catches up");
    assert_eq!(cluster.leader().expect("one leads"), leader);
    bodies(&cluster)
}

#[test]
fn a_follower_that_was_away_has_every_entry_in_the_end() {
    let proposed = numbered(500);
    for replica in after_absence::<Consensus>()
        .iter()
        .chain(&after_absence::<Peer>())
    {
        assert!(*replica == proposed, "{} entries", replica.len());
    }
}

#[test]
fn a_report_has_both_sides_and_a_round_of_heartbeats_costs_two_messages_a_peer() {
    let plan = Plan {
        passes: 1,
        entries: 64,
        elections: 2,
        rounds: 10,
        catch_up_entries: 2_000,
    };
    let count = |work: &mut dyn FnMut()| {
        work();
        0
    };
    let measured = compare::measure(plan, count).expect("both sides do everything");
    let report = report::as_json(&measured);
    for (group, count) in [
        ("commit", 6),
        ("elect", 2),
        ("heartbeat", 3),
        ("catch_up", 2),
    ] {
        let rows = report[group].as_array().expect("a list");
        assert_eq!(rows.len(), count, "{group}");
        for row in rows {
            let ratio = row["ratio"]["speed"].as_f64().expect("a number");
            assert!(ratio > 0.0, "{group}: {row}");
        }
    }
    for row in report["heartbeat"].as_array().expect("a list") {
        let peers = row["voters"].as_f64().expect("a number") - 1.0;
        for side in ["precentor", "raft_rs"] {
            assert_eq!(row[side]["messages_per_round"], 2.0 * peers, "{row}");
        }
    }
    let table = report::as_table(&measured);
    assert_eq!(table.lines().count(), 2 + 13 + 6 + 1, "{table}");
}
