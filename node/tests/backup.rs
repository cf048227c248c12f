//! A cluster of real processes that is lost, and founded anew with a backup.

// Helpers of tests are tests too, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

mod rig;

use rig::{Cluster, Process, batch, summary, text, tree};

/// Numbers of the second era begin there.
const ERA: u64 = 1_000_000_000_000;

fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let code = output.status.code();
    (code, text(&output.stdout), text(&output.stderr))
}

/// Asks for something, as a client who knows the session.
fn accept(cluster: &Cluster, node: usize, session: &str, number: u64) -> u64 {
    let key = format!("{session}.{}", number + 1);
    let (status, answer) = cluster.post(node, "/v1/requests", Some(&key), &batch(number));
    assert!(status.is_success(), "{answer}");
    answer["items"][0]["job"].as_u64().unwrap()
}

fn data(cluster: &Cluster, node: usize) -> PathBuf {
    cluster.home.path().join(format!("n{}", node + 1))
}

fn restore(cluster: &Cluster, file: &str, node: usize) -> (Option<i32>, String, String) {
    let config = cluster.config(node);
    run(cluster.precentor(&["restore", file, "--config", &config]))
}

#[test]
fn a_lost_cluster_goes_on_in_one_that_is_founded_with_a_backup() {
    let source = tree(60);
    let mut cluster = Cluster::found();
    let worker = Process::start(cluster.precentor(&["worker"]));
    let made = summary(&cluster.submit(source.path()).output().unwrap());
    assert_eq!(made["generated"], 71, "{made}");
    let (_, opened) = cluster.post(0, "/v1/sessions", None, &json!({}));
    let session = opened["session"].to_string();
    let waiting: Vec<u64> = (0..20)
        .map(|number| accept(&cluster, 0, &session, number))
        .collect();

    // Taken by one that does not lead, while more is asked for.
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    let file = cluster.home.path().join("a.backup");
    let file = file.to_str().unwrap();
    let backup = || {
        let mut command = cluster.precentor(&["backup", file]);
        command.args(["--json", "--server", &cluster.urls[follower]]);
        command
    };
    let taking = backup().stdout(Stdio::piped()).spawn().unwrap();
    (20..40).for_each(|number| _ = accept(&cluster, leader, &session, number));
    let output = taking.wait_with_output().unwrap();
    assert!(output.status.success());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["node"], follower as u64 + 1);
    assert!(told["results"].as_u64().unwrap() >= 71, "{told}");
    assert_eq!(told["sources"], 60, "{told}");
    let mode = fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    let (code, _, error) = run(backup());
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("is there already"), "{error}");
    let (code, words, _) = run(cluster.precentor(&["restore", file, "--check"]));
    assert_eq!(code, Some(0));
    assert!(words.contains("is whole: test ("), "{words}");

    // After the backup the old cluster gives more numbers away; then it is lost.
    let last = accept(&cluster, leader, &session, 40);
    let old_id = cluster.get(leader, "/v1/status").unwrap().1["cluster_id"].clone();
    assert_eq!(worker.end(), Some(0));
    cluster.nodes.iter_mut().for_each(|node| *node = None);
    for node in 0..2 {
        fs::remove_dir_all(data(&cluster, node)).unwrap();
    }
    for node in 0..2 {
        let (code, words, error) = restore(&cluster, file, node);
        assert_eq!(code, Some(0), "{error}");
        assert!(words.contains("give"), "{words}");
    }
    let (code, _, error) = restore(&cluster, file, 2);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("there is a node at"), "{error}");

    // The third is still of the old cluster: it has no say in the new one.
    (0..3).for_each(|node| cluster.start(node));
    let leader = cluster.leader();
    assert_ne!(leader, 2);
    let status = |node: usize| cluster.get(node, "/v1/status").unwrap().1;
    assert_ne!(status(leader)["cluster_id"], old_id);
    assert_eq!(status(2)["cluster_id"], old_id);
    assert_eq!(status(2)["leader"], Value::Null);

    for job in &waiting {
        let (_, found) = cluster.get(leader, &format!("/v1/jobs/{job}")).unwrap();
        assert_eq!(found["state"], "ready", "{found}");
    }
    // Who asks again is answered as before, and who asks for something new gets a new number.
    for (number, job) in waiting.iter().enumerate() {
        assert_eq!(accept(&cluster, leader, &session, number as u64), *job);
    }
    let fresh = accept(&cluster, leader, &session, 50);
    assert!(last < ERA && fresh > ERA, "{last} and then {fresh}");

    cluster.nodes[2] = None;
    fs::rename(data(&cluster, 2), cluster.home.path().join("old")).unwrap();
    let (code, _, error) = restore(&cluster, file, 2);
    assert_eq!(code, Some(0), "{error}");
    cluster.start(2);
    // All that was made is there, on whichever node: nothing is uploaded or made again.
    let worker = Process::start(cluster.precentor(&["worker"]));
    let first = cluster.leader();
    cluster.nodes[first] = None;
    let again = summary(&cluster.submit(source.path()).output().unwrap());
    assert_eq!(
        (&again["from_cache"], &again["uploaded"]),
        (&71.into(), &0.into()),
        "{again}"
    );
    assert_eq!(worker.end(), Some(0));

    // The audit goes on where that of the backup ends, on all of them.
    cluster.nodes.iter_mut().for_each(|node| *node = None);
    let files: Vec<String> = (1..=3)
        .map(|node| format!("{}/n{node}/audit.jsonl", cluster.home.path().display()))
        .collect();
    let mut verify = cluster.precentor(&["audit", "verify"]);
    verify.args(&files);
    let (code, words, _) = run(verify);
    assert_eq!(code, Some(0), "{words}");
    let log = fs::read_to_string(&files[0]).unwrap();
    assert!(log.contains("restore cluster "), "it is told");
    assert!(log.contains("\"index\":1,"), "from the beginning");
}
