//! A cluster of real processes: what it survives, and what its clients notice.

// Helpers of tests are tests too, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use precentor_node::pki::{renew, show};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::tempdir;

mod rig;

use rig::{Cluster, GOOD_FOR, PATIENCE, Process, batch, precentor, summary, text, tree};

/// How many jobs are over, as a node has seen it.
fn ended(cluster: &Cluster, node: usize) -> u64 {
    let status = cluster.get(node, "/v1/status");
    status.map_or(0, |(_, status)| status["queue"]["done"].as_u64().unwrap())
}

/// Waits until so many jobs are over.
fn wait_for(cluster: &Cluster, node: usize, jobs: u64) {
    let give_up = Instant::now() + PATIENCE;
    while ended(cluster, node) < jobs {
        let shown = || (0..3).map(|node| cluster.get(node, "/v1/status"));
        let shown = || {
            shown()
                .map(|status| format!("{status:?}\n"))
                .collect::<String>()
        };
        assert!(
            Instant::now() < give_up,
            "the work does not go on: {}",
            shown()
        );
    }
}

#[test]
fn nothing_is_lost_or_done_twice_when_leaders_are_killed_and_stopped_in_the_middle() {
    let source = tree(1_500);
    let mut cluster = Cluster::found();
    let worker = cluster.worker(source.path());
    let submit = cluster.submit(source.path()).spawn().unwrap();

    // A leader dies without warning, and comes back.
    let first = cluster.leader();
    wait_for(&cluster, first, 150);
    cluster.nodes[first] = None;
    let second = cluster.leader();
    assert_ne!(first, second);
    cluster.start(first);
    wait_for(&cluster, second, 500);

    // A leader is stopped as by a debugger: the others go on, and it follows when it wakes.
    let stopped = cluster.leader();
    cluster.node(stopped).signal(Signal::STOP);
    let third = cluster.leader();
    assert_ne!(stopped, third);
    wait_for(&cluster, third, 1_000);
    cluster.node(stopped).signal(Signal::CONT);

    let output = submit.wait_with_output().unwrap();
    let made = summary(&output);
    assert_eq!(made["requested"], 1_511, "{made}");
    assert_eq!(made["generated"], 1_511, "{made}");

    // All of them at once, as when the power goes: everything is there again.
    for node in 0..3 {
        cluster.nodes[node] = None;
    }
    for node in 0..3 {
        cluster.start(node);
    }
    let again = cluster.submit(source.path()).output().unwrap();
    assert_eq!(summary(&again)["from_cache"], 1_511);
    assert_eq!(worker.end(), Some(0));
}

#[test]
fn a_leader_that_is_told_to_end_hands_over_and_no_request_is_refused() {
    let mut cluster = Cluster::found();
    let leader = cluster.leader();
    let (over, asked) = (AtomicBool::new(false), (leader + 1) % 3);
    let (shared, over) = (&cluster, &over);
    // One client after the other, as fast as they are answered.
    let (refused, longest) = thread::scope(|scope| {
        let client = scope.spawn(move || {
            let mut refused = Vec::new();
            let (mut longest, mut number) = (Duration::ZERO, 0_u64);
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let began = Instant::now();
                let (status, body) = shared.post(asked, "/v1/requests", None, &batch(number));
                longest = longest.max(began.elapsed());
                if status != StatusCode::OK {
                    refused.push(body);
                }
            }
            (refused, longest)
        });
        let give_up = Instant::now() + PATIENCE;
        let count = || {
            let status = shared.get(asked, "/v1/status").unwrap().1;
            status["queue"]["ready"].as_u64().unwrap()
        };
        while count() < 50 {
            assert!(Instant::now() < give_up, "nothing is accepted");
        }
        shared.node(leader).signal(Signal::TERM);
        let before = count();
        while shared.get(leader, "/v1/status").is_some() || count() < before + 50 {
            assert!(Instant::now() < give_up, "nobody took over");
        }
        over.store(true, Ordering::Relaxed);
        client.join().unwrap()
    });
    assert_eq!(refused, Vec::<Value>::new());
    let status = cluster.nodes[leader].take().unwrap().0.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    println!("the longest request took {longest:?}");
}

#[test]
fn what_is_left_with_a_node_without_a_leader_is_accepted_when_there_is_one() {
    let mut cluster = Cluster::found();
    let (status, session) = cluster.post(0, "/v1/sessions", None, &Value::Null);
    assert_eq!(status, StatusCode::OK);
    let key = format!("{}.1", session["session"]);
    let give_up = Instant::now() + PATIENCE;
    // Older rules know of no such request, and a cluster that is founded begins with them.
    while cluster.get(0, "/v1/status").unwrap().1["level"].as_u64() < Some(11) {
        assert!(Instant::now() < give_up, "the rules are not in force");
    }
    cluster.nodes[1] = None;
    cluster.nodes[2] = None;
    while cluster
        .get(0, "/v1/status")
        .is_some_and(|(_, status)| status["leader"] != Value::Null)
    {
        assert!(
            Instant::now() < give_up,
            "it does not notice that it is alone"
        );
    }
    let local = "/v1/requests?accept=local";
    let (status, _) = cluster.post(0, local, Some(&key), &batch(7));
    assert_eq!(status, StatusCode::ACCEPTED);
    let kept = |cluster: &Cluster| cluster.get(0, "/v1/status").unwrap().1["kept_locally"].clone();
    let until = |cluster: &Cluster, count: u64| {
        while kept(cluster) != count {
            assert!(Instant::now() < give_up, "{} are kept", kept(cluster));
        }
    };
    until(&cluster, 1);
    // It keeps it through its own death, too.
    cluster.nodes[0] = None;
    cluster.start(0);
    until(&cluster, 1);
    cluster.start(1);
    until(&cluster, 0);
    // Sent again under its key through another node, it gets the answer that it would have had.
    let (status, body) = cluster.post(1, "/v1/requests", Some(&key), &batch(7));
    assert_eq!(
        (status, &body["items"][0]["how"]),
        (StatusCode::OK, &json!("created"))
    );
    let page = cluster.get(1, "/v1/jobs?within=ucxl://p/").unwrap().1;
    assert_eq!(page["jobs"].as_array().unwrap().len(), 1, "{page}");
}

#[test]
fn a_node_is_founded_once_and_never_by_itself() {
    let mut cluster = Cluster::found();
    let config = cluster.config(0);
    let run = |arguments: &[&str]| precentor(arguments).output().unwrap();
    let again = run(&["init", "--config", &config]);
    assert_eq!(again.status.code(), Some(3));
    assert!(
        text(&again.stderr).contains("already; it is left as it is"),
        "{}",
        text(&again.stderr)
    );
    let twice = run(&["server", "--config", &config]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(
        text(&twice.stderr).contains("cannot listen on"),
        "{}",
        text(&twice.stderr)
    );
    // A directory of a program that did not write down what it was made for learns it.
    cluster.nodes[0] = None;
    let founding = cluster.home.path().join("n1/founding.json");
    let before = fs::read(&founding).unwrap();
    fs::remove_file(&founding).unwrap();
    cluster.start(0);
    assert_eq!(fs::read(&founding).unwrap(), before);
    // A disk that is lost is not taken for a new one.
    cluster.nodes[0] = None;
    fs::remove_dir_all(cluster.home.path().join("n1")).unwrap();
    let lost = run(&["server", "--config", &config]);
    assert_eq!(lost.status.code(), Some(3));
    let said = text(&lost.stderr);
    assert!(
        said.contains("its disk is lost: do not make it anew"),
        "{said}"
    );
}

#[test]
fn an_operator_looks_into_a_cluster_and_moves_it_from_the_command_line() {
    let cluster = Cluster::found();
    let run = |arguments: &[&str]| {
        let output = cluster.precentor(arguments).output().unwrap();
        (
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let says = |arguments: &[&str], code: i32, words: &str| {
        let (exit, out, err) = run(arguments);
        assert_eq!(exit, code, "{arguments:?}: {out}{err}");
        assert!(
            out.contains(words) || err.contains(words),
            "{arguments:?}: {out}{err}"
        );
    };
    let (_, accepted) = cluster.post(0, "/v1/requests", None, &batch(1));
    let job = format!("j{}", accepted["items"][0]["job"]);
    says(
        &["jobs", "ucxl://p/"],
        0,
        &format!("{job} ucxl://p/1 is ready"),
    );
    says(
        &["explain", &job],
        0,
        "no registered worker offers its engine",
    );
    says(&["explain", "999"], 4, "j999 is not known");
    says(
        &["pause", "tenant", "default", "--reason", "lunch"],
        0,
        "tenant default is paused",
    );
    says(&["pause"], 0, "tenant default, by tester: lunch");
    says(&["explain", &job], 0, "lunch");
    says(
        &["resume", "tenant", "default"],
        0,
        "tenant default goes on",
    );
    says(
        &["resume", "tenant", "default"],
        0,
        "tenant default was not paused",
    );
    says(
        &["limits", "tenant", "default", "--queued-max", "1"],
        0,
        "before: ",
    );
    says(&["limits"], 0, "tenant default");
    says(
        &["limits", "engine", "e", "--weight", "2"],
        1,
        "is for tenants",
    );
    says(&["expel", "7"], 4, "w7 is not known");
    says(&["dead", "--redrive", &job], 1, "is not over");
    says(&["cancel", &job, "999"], 4, &format!("{job} is cancelled"));
    says(&["get", "ucxl://p/1"], 4, "there is no context");
    says(
        &["roles", "ada", "--grant", "king"],
        2,
        "write viewer, agent, worker",
    );
    says(
        &["roles", "tester", "--grant", "admin"],
        0,
        "tester has 1 grants, and had 0",
    );
    says(
        &["roles", "ada", "--grant", "agent@ucxl://p/src"],
        0,
        "ada has 1 grants",
    );
    says(
        &["roles"],
        0,
        "ada: agent within ucxl://p/src\ntester: admin everywhere\n",
    );
    let leader = cluster.leader();
    let next = (leader + 1) % 3 + 1;
    says(&["lead", &next.to_string()], 0, &format!("n{next} leads"));
    says(&["status"], 0, &format!("n{next} leads in"));
    let nowhere = precentor(&["jobs", "ucxl://p/"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(
        text(&nowhere.stderr).contains("PRECENTOR_SERVER"),
        "{}",
        text(&nowhere.stderr)
    );
}

#[test]
fn of_two_workers_with_one_number_the_earlier_is_told_and_ends() {
    let cluster = Cluster::found();
    let source = tree(1);
    let place = format!("p={}", source.path().display());
    let start = || {
        let mut command = cluster.precentor(&["worker", "--source", &place, "--threads", "1"]);
        command.stderr(Stdio::piped());
        Process::start(command)
    };
    let mut earlier = start();
    let later = start();
    assert_eq!(earlier.0.wait().unwrap().code(), Some(1));
    let mut told = String::new();
    let mut stderr = earlier.0.stderr.take().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert!(told.contains("is there another with its number?"), "{told}");
    assert_eq!(later.end(), Some(0));
}

#[test]
fn a_program_in_another_language_makes_contexts() {
    let cluster = Cluster::found();
    let source = tree(12);
    // Beside a worker with the same sources, which goes on.
    let other = cluster.worker(source.path());
    let place = format!("p={}", source.path().display());
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/engines/words.py");
    let engine = ["--engine", "words", "--engine-version", "4"];
    let mut command = cluster.precentor(&["worker", "--source", &place, "--threads", "2"]);
    let worker = Process::start({
        command.args(engine).args(["--", "python3", program]);
        command
    });
    let made = summary(&cluster.submit(source.path()).args(engine).output().unwrap());
    assert_eq!(made["generated"], made["requested"], "{made}");
    let shown = said(&mut cluster.precentor(&["get", "ucxl://p/d3/f3.py"]));
    assert!(shown.contains("1 symbols in python"), "{shown}");
    assert!(shown.contains("It declares f3."), "{shown}");
    let shown = said(&mut cluster.precentor(&["get", "ucxl://p/d1"]));
    assert!(shown.contains("2 places"), "{shown}");
    let outlined = summary(&cluster.submit(source.path()).output().unwrap());
    assert_eq!(outlined["generated"], outlined["requested"], "{outlined}");
    assert_eq!((worker.end(), other.end()), (Some(0), Some(0)));
}

/// What a command says that ends as it should.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn certificates_are_made_shown_and_renewed_from_the_command_line() {
    let home = tempdir().unwrap();
    let pki = |arguments: &[&str]| {
        let mut command = precentor(&["pki"]);
        command.args(arguments).current_dir(home.path());
        command
    };
    let made = said(&mut pki(&["init", "--name", "team"]));
    assert!(made.contains("pki/ca.pem and pki/ca.key"), "{made}");
    let hosts = ["--host", "10.0.0.1", "--host", "n1.example.org"];
    let made = said(pki(&["issue", "node", "1"]).args(hosts));
    let whose =
        "n1 at 10.0.0.1, n1.example.org, good for 365 days, signed by CN=precentor CA of team";
    assert_eq!(made.trim_end(), format!("made n1.pem: {whose}"));
    let made = said(&mut pki(&["issue", "client", "ada", "--days", "7"]));
    assert!(
        made.starts_with("made ada.pem: the client ada, good for 7 days"),
        "{made}"
    );
    let before = fs::read(home.path().join("ada.pem")).unwrap();
    said(&mut pki(&["renew", "ada.pem", "n1.pem"]));
    assert_ne!(fs::read(home.path().join("ada.pem")).unwrap(), before);
    let shown = said(&mut pki(&["show", "ada.pem", "n1.pem", "--json"]));
    let shown: Vec<Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&shown[0]["client"], &shown[1]["node"]),
        (&json!("ada"), &json!(1))
    );
    assert_eq!(shown[1]["hosts"], json!(["10.0.0.1", "n1.example.org"]));
    for (arguments, code, says) in [
        (vec!["issue", "client", "ada"], 3, "is there already"),
        (vec!["init", "--name", "team"], 3, "is there already"),
        (vec!["issue", "client", "a/b"], 2, "--out FILE"),
        (
            vec!["issue", "client", "bob", "--pki", "nowhere"],
            2,
            "cannot read nowhere/ca.pem",
        ),
        (
            vec!["show", "pki/ca.key"],
            2,
            "there is no certificate in it",
        ),
    ] {
        let output = pki(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(says),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn certificates_are_renewed_under_load_and_no_request_is_refused() {
    let cluster = Cluster::found_for(Duration::from_secs(15));
    let papers = cluster.papers.as_ref().unwrap();
    let leader = cluster.leader();
    let (mut refused, mut number, mut over) = (Vec::new(), 0, SystemTime::UNIX_EPOCH);
    for node in 1..=3 {
        let path = papers.folder.join(format!("n{node}.pem"));
        over = over.max(show(&path).unwrap().identity.until);
        renew(&papers.authority, &path, GOOD_FOR).unwrap();
    }
    // Through one that does not lead, so that nodes have to ask each other.
    while SystemTime::now() < over + Duration::from_secs(1) {
        number += 1;
        let asked = (leader + 1 + number as usize % 2) % 3;
        let (status, body) = cluster.post(asked, "/v1/requests", None, &batch(number));
        if status != StatusCode::OK {
            refused.push(body);
        }
    }
    assert!(refused.is_empty(), "{refused:?}");
    assert!(number > 100, "{number} requests were answered");
    // Whoever comes now is shown the new ones.
    let status = said(&mut cluster.precentor(&["status"]));
    assert!(status.contains("leads in"), "{status}");
}

#[test]
fn the_audit_of_three_nodes_is_the_same_and_whoever_changes_one_is_found() {
    let cluster = Cluster::found();
    for number in 0..5 {
        let (status, _) = cluster.post(0, "/v1/requests", None, &batch(number));
        assert_eq!(status, StatusCode::OK);
    }
    let file = |node: usize| cluster.home.path().join(format!("n{node}/audit.jsonl"));
    let files = [1, 2, 3].map(file);
    let verify = |files: &[PathBuf]| {
        let mut command = precentor(&["audit", "verify"]);
        command.args(files).output().unwrap()
    };
    let whole = verify(&files);
    assert!(whole.status.success(), "{}", text(&whole.stdout));
    // What was asked for is in it, as soon as it is written.
    let give_up = Instant::now() + PATIENCE;
    loop {
        let tail = said(precentor(&["audit", "tail", "-n", "5"]).arg(&files[0]));
        if tail.contains("tester: ask for ucxl://p/4") {
            break;
        }
        assert!(Instant::now() < give_up, "{tail}");
    }
    let forged = fs::read_to_string(&files[1])
        .unwrap()
        .replacen("tester", "nobody", 1);
    let path = cluster.home.path().join("forged.jsonl");
    fs::write(&path, forged).unwrap();
    let found = verify(&[files[0].clone(), path]);
    assert_eq!(found.status.code(), Some(1));
    let told = text(&found.stdout);
    assert!(told.contains("was changed"), "{told}");
    assert!(
        told.contains("is another one than in the first file"),
        "{told}"
    );
}

#[test]
fn shells_and_man_are_told_of_every_verb() {
    let dir = tempdir().unwrap();
    said(precentor(&["man"]).arg(dir.path()));
    let help = said(&mut precentor(&["--help"]));
    for verb in ["generate", "server", "join", "worker", "pki", "audit"] {
        assert!(help.contains(verb), "{verb}");
        let page = fs::read_to_string(dir.path().join(format!("precentor-{verb}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&mut precentor(&["completions", shell]));
        assert!(script.contains("redrive"), "{shell}");
    }
}

#[test]
fn a_token_is_made_with_the_line_that_lets_it_in() {
    let made = precentor(&["token", "ada \"the\" first"]).output().unwrap();
    let made = text(&made.stdout);
    let token = made.lines().nth(1).unwrap();
    assert_eq!(token.len(), 64, "{made}");
    let digest = blake3::hash(token.as_bytes()).to_hex();
    assert!(made.contains(&format!("blake3 = \"{digest}\"")), "{made}");
    assert!(
        made.contains(r#"principal = "ada \"the\" first""#),
        "{made}"
    );
    let other = precentor(&["token", "ada"]).output().unwrap();
    assert_ne!(text(&other.stdout).lines().nth(1), Some(token));
}
