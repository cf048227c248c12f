//! Workers that have no tree: a cluster of real processes keeps what they read.

// Helpers of tests are tests too, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;

mod rig;

use rig::{Cluster, Process, summary, tree};

fn run(mut command: Command) -> Value {
    summary(&command.output().unwrap())
}

#[test]
fn only_what_is_missing_is_uploaded_and_a_leader_that_dies_loses_none_of_it() {
    let source = tree(600);
    symlink("d0", source.path().join("link")).unwrap();
    let mut cluster = Cluster::found();
    let worker = Process::start(cluster.precentor(&["worker"]));
    let submit = cluster.submit(source.path()).spawn().unwrap();
    let first = cluster.leader();
    cluster.nodes[first] = None;
    assert_ne!(cluster.leader(), first);
    cluster.start(first);
    let made = summary(&submit.wait_with_output().unwrap());
    assert_eq!(made["generated"], 612, "{made}");
    assert_eq!(made["uploaded"], 601, "{made}");

    // All of them at once: what was kept is there again, and so is nothing to be uploaded.
    for node in 0..3 {
        cluster.nodes[node] = None;
    }
    for node in 0..3 {
        cluster.start(node);
    }
    let again = run(cluster.submit(source.path()));
    assert_eq!(
        (&again["from_cache"], &again["uploaded"]),
        (&612.into(), &0.into())
    );

    // One file changed: it alone is uploaded, and made with what is above it.
    fs::write(source.path().join("d3/f3.py"), "def g(): pass\n").unwrap();
    let changed = run(cluster.submit(source.path()));
    assert_eq!(
        (&changed["generated"], &changed["uploaded"]),
        (&3.into(), &1.into())
    );
    assert_eq!(worker.end(), Some(0));
}

#[test]
fn a_tree_larger_than_the_budget_goes_through_it_in_pieces() {
    let source = tree(300);
    let cluster = Cluster::found();
    let _worker = Process::start(cluster.precentor(&["worker"]));
    let leader = cluster.leader();
    // Room for about forty of them.
    let put = cluster
        .client
        .put(format!("{}/v1/sources/budget", cluster.urls[leader]))
        .body(r#"{"bytes_max": 170000}"#);
    let status = cluster
        .runtime
        .block_on(async { put.send().await.unwrap().status() });
    assert_eq!(status, 200);
    let made = run(cluster.submit(source.path()));
    assert_eq!(
        (&made["generated"], &made["uploaded"]),
        (&311.into(), &300.into())
    );
    let (_, kept) = cluster.get(leader, "/v1/sources").unwrap();
    assert!(kept["bytes"].as_u64().unwrap() <= 170_000, "{kept}");
    assert!(kept["count"].as_u64().unwrap() < 42, "{kept}");
}
