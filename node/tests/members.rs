//! Who belongs to a cluster of real processes: nodes join it, lose their disk, leave it, and are
//! given up.

// Helpers of tests are tests too, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;
use std::time::Instant;

use reqwest::StatusCode;
use serde_json::Value;

mod rig;

use rig::{Cluster, GOOD_FOR, PATIENCE, batch, precentor, text};

/// What a command says that ends as it should.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command says that does not.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", text(&output.stdout));
    text(&output.stderr)
}

/// Waits until a node says this of itself.
fn wait_for(cluster: &Cluster, node: usize, what: &str, is: impl Fn(&Value) -> bool) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let status = cluster.get(node, "/v1/status");
        if status.as_ref().is_some_and(|(_, status)| is(status)) {
            return;
        }
        assert!(Instant::now() < give_up, "{what}: {status:?}");
    }
}

fn wait_for_voters(cluster: &Cluster, node: usize, voters: &[u64]) {
    let what = format!("{voters:?} vote");
    wait_for(cluster, node, &what, |status| {
        status["voters"] == Value::from(voters)
    });
}

/// The job of a request that was accepted.
fn accepted(cluster: &Cluster, node: usize, number: u64) -> u64 {
    let (status, body) = cluster.post(node, "/v1/requests", None, &batch(number));
    assert_eq!(status, StatusCode::OK, "{number}: {body}");
    body["items"][0]["job"].as_u64().unwrap()
}

fn has(cluster: &Cluster, node: usize, job: u64) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let found = cluster.get(node, &format!("/v1/jobs/{job}"));
        if found
            .as_ref()
            .is_some_and(|(status, _)| *status == StatusCode::OK)
        {
            return;
        }
        assert!(Instant::now() < give_up, "j{job}: {found:?}");
    }
}

#[test]
fn nodes_join_lose_their_disk_and_leave() {
    let mut cluster = Cluster::found();
    let first = accepted(&cluster, 0, 1);

    // A fourth.
    let fourth = cluster.name(GOOD_FOR);
    let config = cluster.config(fourth);
    let unmade = refused(&mut precentor(&["server", "--config", &config]));
    assert!(unmade.contains("there is no node at"), "{unmade}");
    let joined = said(&mut cluster.precentor(&["join", "--config", &config]));
    assert!(joined.contains("n4 has a seat in test"), "{joined}");
    assert_eq!(
        said(&mut cluster.precentor(&["join", "--config", &config])),
        joined
    );
    let shown = said(&mut cluster.precentor(&["cluster", "status"]));
    assert!(shown.contains("n4 is learner"), "{shown}");
    assert!(shown.contains("votes when it has caught up"), "{shown}");
    cluster.start(fourth);
    wait_for_voters(&cluster, fourth, &[1, 2, 3, 4]);
    has(&cluster, fourth, first);
    let second = accepted(&cluster, fourth, 2);

    // The leader loses its disk, and comes back with another.
    let lost = cluster.leader();
    let number = lost as u64 + 1;
    cluster.nodes[lost] = None;
    fs::remove_dir_all(cluster.home.path().join(format!("n{number}"))).unwrap();
    let config = cluster.config(lost);
    let as_learner = ["join", "--config", &config, "--learner"];
    let votes = refused(&mut cluster.precentor(&as_learner));
    assert!(votes.contains("take it out first"), "{votes}");
    said(&mut cluster.precentor(&["join", "--config", &config]));
    let others: Vec<u64> = (1..=4).filter(|node| *node != number).collect();
    let one = (lost + 1) % 3;
    wait_for_voters(&cluster, one, &others);
    cluster.start(lost);
    wait_for_voters(&cluster, lost, &[1, 2, 3, 4]);
    for job in [first, second] {
        has(&cluster, lost, job);
    }

    // And one leaves.
    let removed = said(&mut cluster.precentor(&["cluster", "remove", "4"]));
    assert!(!removed.contains("n4"), "{removed}");
    let give_up = Instant::now() + PATIENCE;
    loop {
        let ready = cluster.get(fourth, "/readyz");
        let code = ready.as_ref().map(|(_, body)| body["code"].clone());
        // It was told so, or has read it itself.
        if code == Some("removed".into()) || code == Some("no_member".into()) {
            break;
        }
        assert!(Instant::now() < give_up, "{ready:?}");
    }
    let again = refused(&mut cluster.precentor(&["cluster", "remove", "4"]));
    assert!(again.contains("n4 is no member"), "{again}");
    // The others go on, through which a client of it is served as well.
    let third = accepted(&cluster, fourth, 3);
    for node in 0..3 {
        has(&cluster, node, third);
    }
}

#[test]
fn a_voter_is_replaced_and_a_majority_that_is_gone_is_given_up() {
    let mut cluster = Cluster::found();
    let job = accepted(&cluster, 0, 1);
    let fourth = cluster.name(GOOD_FOR);
    let config = cluster.config(fourth);
    let replace = ["join", "--config", &config, "--replace", "2"];
    said(&mut cluster.precentor(&replace));
    cluster.start(fourth);
    wait_for_voters(&cluster, fourth, &[1, 3, 4]);
    has(&cluster, fourth, job);
    cluster.nodes[1] = None;

    // The majority goes for good.
    let left = cluster.urls[fourth].clone();
    let recover = ["cluster", "unsafe-recover", "4", "--server", &left];
    let led = refused(&mut cluster.precentor(&recover));
    assert!(led.contains("so a majority lives"), "{led}");
    cluster.nodes[0] = None;
    cluster.nodes[2] = None;
    // Until it has not heard them for long enough.
    let give_up = Instant::now() + PATIENCE;
    let report = loop {
        let output = cluster.precentor(&recover).output().unwrap();
        if output.status.success() {
            break text(&output.stdout);
        }
        assert!(Instant::now() < give_up, "{}", text(&output.stderr));
    };
    assert!(report.contains("these go on: n4"), "{report}");
    assert!(
        report.contains("given up, to be wiped before they join again: n1 n3"),
        "{report}"
    );
    wait_for_voters(&cluster, fourth, &[4]);
    has(&cluster, fourth, job);
    let after = accepted(&cluster, fourth, 2);
    // One of those comes back with an empty disk.
    fs::remove_dir_all(cluster.home.path().join("n1")).unwrap();
    let config = cluster.config(0);
    said(&mut cluster.precentor(&["join", "--config", &config, "--server", &left]));
    cluster.start(0);
    wait_for_voters(&cluster, 0, &[1, 4]);
    has(&cluster, 0, after);
}

#[test]
fn a_node_of_another_cluster_does_not_join() {
    let cluster = Cluster::found();
    let path = cluster.home.path().join("n5.toml");
    let text = fs::read_to_string(cluster.config(0)).unwrap();
    let other = text
        .replace("\"test\"", "\"team\"")
        .replace("node = 1", "node = 5");
    fs::write(
        &path,
        other.replace("[nodes]", "[nodes]\n5 = \"127.0.0.1:1\""),
    )
    .unwrap();
    let config = path.to_str().unwrap();
    let refused = refused(&mut cluster.precentor(&["join", "--config", config]));
    assert!(
        refused.contains("the cluster team, and that one is test"),
        "{refused}"
    );
    assert!(!cluster.home.path().join("n5").exists());
    assert_eq!(
        cluster.get(0, "/v1/status").unwrap().1["members"],
        Value::from(vec![1, 2, 3])
    );
}
