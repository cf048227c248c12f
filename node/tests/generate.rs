//! The binary as a user runs it: what it survives, and what it says.

// Helpers of tests are tests too, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;

mod rig;

use rig::{precentor, text, tree};

fn output(arguments: &[&str]) -> Output {
    precentor(arguments).output().unwrap()
}

fn generate(tree: &Path, data: &Path, more: &[&str]) -> Output {
    let mut arguments = vec![
        "generate",
        tree.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ];
    arguments.extend(["--project", "p", "--json", "--quiet"]);
    arguments.extend(more);
    output(&arguments)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr))
    })
}

#[test]
fn a_run_killed_in_the_middle_goes_on_where_it_was() {
    let (tree, home) = (tree(800), tempdir().unwrap());
    let data = home.path().join("data");
    let mut child = precentor(&[
        "generate",
        tree.path().to_str().unwrap(),
        "--project",
        "p",
        "--quiet",
    ])
    .args(["--data", data.to_str().unwrap()])
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    // The audit grows with the work: some of it is done, and much is left.
    let audit = data.join("n1/audit.jsonl");
    let give_up = Instant::now() + Duration::from_secs(60);
    while fs::metadata(&audit).map_or(0, |file| file.len()) < 20_000 {
        assert!(Instant::now() < give_up, "no work was done");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let second = generate(tree.path(), &data, &[]);
    assert_eq!(second.status.code(), Some(0), "{}", text(&second.stderr));
    let summary = json(&second);
    assert_eq!(summary["requested"], 811);
    assert_eq!(
        (&summary["lost"], &summary["duplicated"]),
        (&0.into(), &0.into())
    );
    let third = json(&generate(tree.path(), &data, &[]));
    assert_eq!(
        (&third["generated"], &third["from_cache"]),
        (&0.into(), &811.into())
    );
}

#[test]
fn a_name_with_a_newline_bytes_that_are_no_text_and_a_loop_of_links_do_no_harm() {
    let (tree, home) = (tempdir().unwrap(), tempdir().unwrap());
    fs::write(tree.path().join("a\nb.txt"), "x\n").unwrap();
    fs::write(tree.path().join("latin.txt"), [0xe9, b'\n']).unwrap();
    fs::write(tree.path().join("binary"), [0, 1, 2]).unwrap();
    std::os::unix::fs::symlink(".", tree.path().join("loop")).unwrap();
    let deep = (0..20).fold(tree.path().to_path_buf(), |path, number| {
        path.join(format!("l{number}"))
    });
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("end.md"), "# End\n").unwrap();
    // Sparse: it takes no room, and has 500 MB all the same.
    let large = fs::File::create(tree.path().join("large.log")).unwrap();
    large.set_len(500_000_000).unwrap();
    let done = generate(tree.path(), &home.path().join("data"), &["--nodes", "1"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let summary = json(&done);
    assert_eq!(
        (&summary["failed"], &summary["lost"]),
        (&0.into(), &0.into()),
        "{summary}"
    );
    assert_eq!(summary["requested"], 6 + 20 + 1);
    let data = home.path().join("data");
    let got = output(&[
        "get",
        "ucxl://p/a%0Ab.txt",
        "--json",
        "--data",
        data.to_str().unwrap(),
    ]);
    let record: Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(
        (&record["uri"], &record["kind"]),
        (&"ucxl://p/a%0Ab.txt".into(), &"file".into())
    );
}

#[test]
fn what_cannot_be_used_is_refused_with_its_reason_and_its_exit_code() {
    let (tree, home) = (tree(3), tempdir().unwrap());
    let data = home.path().join("data");
    assert_eq!(
        generate(tree.path(), &data, &["--nodes", "1"])
            .status
            .code(),
        Some(0)
    );

    let refused = |arguments: &[&str], code: i32, reason: &str| {
        let output = output(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    };
    let (tree, data) = (tree.path().to_str().unwrap(), data.to_str().unwrap());
    let home = home.path().to_str().unwrap();
    refused(
        &[
            "generate",
            tree,
            "--data",
            data,
            "--nodes",
            "1",
            "--project",
            "q",
        ],
        3,
        "the project p, not to q",
    );
    refused(
        &[
            "generate",
            home,
            "--data",
            data,
            "--nodes",
            "1",
            "--project",
            "p",
        ],
        3,
        "belongs to the folder",
    );
    refused(
        &["generate", tree, "--data", data, "--project", "p"],
        3,
        "--nodes 1",
    );
    refused(
        &["generate", tree, "--data", tree, "--project", "p"],
        3,
        "not empty",
    );
    refused(&["generate", "/nowhere/at/all"], 2, "/nowhere/at/all");
    refused(&["get", "ucxl://p//x", "--data", data], 2, "at byte 9");
    refused(
        &["get", "ucxl://p/none", "--data", data],
        4,
        "no context of ucxl://p/none",
    );
    refused(
        &["status", "--data", &format!("{home}/empty")],
        3,
        "precentor generate",
    );
    let lock = fs::File::open(format!("{data}/lock")).unwrap();
    lock.lock().unwrap();
    refused(
        &[
            "generate",
            tree,
            "--data",
            data,
            "--nodes",
            "1",
            "--project",
            "p",
        ],
        3,
        "in use by process",
    );
    refused(&["status", "--data", data], 3, "in use by process");
    drop(lock);
    fs::write(format!("{data}/precentor.json"), r#"{"version": 7}"#).unwrap();
    refused(&["status", "--data", data], 3, "layout version 7");
}

#[test]
fn status_map_and_get_read_what_generate_left_under_the_users_home() {
    let (tree, home) = (tree(5), tempdir().unwrap());
    let at_home = |arguments: &[&str]| {
        precentor(arguments)
            .env("XDG_DATA_HOME", home.path())
            .current_dir(tree.path())
            .output()
            .unwrap()
    };
    let done = at_home(&["generate", ".", "--project", "mine"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(
        text(&done.stdout).contains("mine: generated 11 of 11 contexts"),
        "{}",
        text(&done.stdout)
    );
    let status: Value = serde_json::from_slice(&at_home(&["status", "--json"]).stdout).unwrap();
    assert_eq!(
        (&status["contexts"], &status["project"]),
        (&11.into(), &"mine".into())
    );
    let map = at_home(&["map", "d1"]);
    assert!(
        text(&map.stdout).contains("f1"),
        "{} {}",
        text(&map.stdout),
        text(&map.stderr)
    );
    let got = at_home(&["get", "ucxl://mine/d1/f1.py"]);
    assert!(
        text(&got.stdout).contains("def f1()"),
        "{} {}",
        text(&got.stdout),
        text(&got.stderr)
    );
}
