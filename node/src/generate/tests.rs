use std::fs;
use std::path::Path;

use precentor_core::ids::NodeId;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::reader::Reader;

/// A tree of 2 folders with `count` Rust files each.
fn tree(count: usize) -> TempDir {
    let dir = tempdir().unwrap();
    for folder in ["a", "b"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        for number in 0..count {
            let text = format!("/// Number {number}.\npub fn f{number}() {{}}\n");
            fs::write(dir.path().join(format!("{folder}/f{number}.rs")), text).unwrap();
        }
    }
    dir
}

fn options(root: &Path, data: &Path, nodes: u32, kills: u32) -> GenerateOptions {
    GenerateOptions {
        root: fs::canonicalize(root).unwrap(),
        project: "p".into(),
        data: data.to_path_buf(),
        nodes,
        workers: 2,
        chaos: ChaosPlan { kills },
        quiet: true,
    }
}

fn generate(options: &GenerateOptions) -> Summary {
    run(options, &AtomicBool::new(false)).unwrap()
}

#[test]
fn only_what_changed_is_made_again() {
    let (tree, data) = (tree(20), tempdir().unwrap());
    let options = options(tree.path(), data.path(), 3, 0);
    let first = generate(&options);
    assert!(first.is_complete(), "{first}");
    assert_eq!(
        (first.requested, first.generated, first.failed),
        (43, 43, 0)
    );

    let second = generate(&options);
    assert_eq!(
        (second.generated, second.from_cache),
        (0, 43),
        "nothing changed"
    );

    fs::write(tree.path().join("a/f3.rs"), "pub fn renamed() {}\n").unwrap();
    let third = generate(&options);
    assert!(third.is_complete(), "{third}");
    assert_eq!(
        (third.generated, third.from_cache),
        (3, 40),
        "the file, its folder, the project"
    );

    let reader = Reader::open(data.path(), "").unwrap();
    let address = Address::parse("ucxl://p/a/f3.rs").unwrap();
    let record = reader
        .record(&reader.queue().context(&address).unwrap())
        .unwrap();
    assert_eq!(record.symbols[0].name, "renamed");
    let folder = Address::parse("ucxl://p/a").unwrap();
    let record = reader
        .record(&reader.queue().context(&folder).unwrap())
        .unwrap();
    assert_eq!((record.children.len(), record.incomplete.len()), (20, 0));
}

#[test]
fn killed_leaders_lose_and_duplicate_nothing() {
    let (tree, data) = (tree(60), tempdir().unwrap());
    let summary = generate(&options(tree.path(), data.path(), 3, 2));
    assert!(summary.is_complete(), "{summary}");
    assert_eq!(
        (summary.requested, summary.generated, summary.failed),
        (123, 123, 0)
    );
    assert_eq!(summary.outages_ms.len(), 2);
    assert!(summary.failovers >= 2, "{summary}");
}

#[test]
fn the_only_node_comes_back_from_its_disk() {
    let (tree, data) = (tree(10), tempdir().unwrap());
    let summary = generate(&options(tree.path(), data.path(), 1, 1));
    assert!(summary.is_complete(), "{summary}");
    assert_eq!(summary.generated, 23);
}

#[test]
fn an_empty_tree_has_one_context() {
    let (tree, data) = (tempdir().unwrap(), tempdir().unwrap());
    let summary = generate(&options(tree.path(), data.path(), 1, 0));
    assert!(summary.is_complete(), "{summary}");
    assert_eq!(summary.generated, 1, "the project's own");
}

#[test]
fn an_interrupted_run_is_finished_by_the_next() {
    let (tree, data) = (tree(30), tempdir().unwrap());
    let options = options(tree.path(), data.path(), 1, 0);
    let first = run(&options, &AtomicBool::new(true)).unwrap();
    assert!(first.interrupted && !first.is_complete());
    assert_eq!(first.lost, 0, "what is unfinished is not lost");
    let second = generate(&options);
    assert!(second.is_complete(), "{second}");
    assert_eq!(second.requested, 63);
}

/// Spoils the log of a voter beyond what a torn write could have done.
fn damage(data: &Path, node: u64) {
    let log = data.join(NodeId(node).to_string()).join("voter/log");
    for entry in fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().take(64).for_each(|byte| *byte = !*byte);
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn one_damaged_voter_is_repaired_and_two_of_three_stop_the_run() {
    let (tree, data) = (tree(5), tempdir().unwrap());
    let options = options(tree.path(), data.path(), 3, 0);
    generate(&options);
    damage(data.path(), 2);
    let summary = generate(&options);
    assert!(summary.is_complete(), "{summary}");
    assert_eq!(summary.nodes_left_out.len(), 0, "{summary}");
    Reader::open(data.path(), "").unwrap();

    damage(data.path(), 2);
    damage(data.path(), 3);
    let error = run(&options, &AtomicBool::new(false)).unwrap_err();
    assert!(
        error.to_string().contains("2 of 3 voters cannot start"),
        "{error}"
    );
    assert!(
        Reader::open(data.path(), "")
            .unwrap_err()
            .to_string()
            .contains("only 1 of 3")
    );
}

#[test]
fn a_folder_with_more_children_than_a_request_names_has_a_context_that_says_so() {
    use precentor_core::address::Address;
    use precentor_core::limits::DEPENDENCIES_MAX;

    let (tree, data) = (tempdir().unwrap(), tempdir().unwrap());
    let lots = tree.path().join("lots");
    fs::create_dir(&lots).unwrap();
    let count = DEPENDENCIES_MAX + 5;
    for number in 0..count {
        fs::write(lots.join(format!("f{number:05}.txt")), "x\n").unwrap();
    }
    let summary = generate(&options(tree.path(), data.path(), 1, 0));
    assert!(summary.is_complete(), "{summary}");
    assert_eq!((summary.requested, summary.failed), (count + 2, 0));
    assert_eq!((summary.skipped, summary.warnings.len()), (0, 1));

    let reader = Reader::open(data.path(), "").unwrap();
    let record = |uri: &str| {
        let view = reader.queue().context(&Address::parse(uri).unwrap());
        reader.record(&view.expect(uri)).unwrap()
    };
    let folder = record("ucxl://p/lots");
    assert_eq!(folder.lines, DEPENDENCIES_MAX);
    assert_eq!(folder.incomplete.len(), 1);
    let reason = &folder.incomplete[0].reason;
    assert!(reason.contains("the first 10000 children"), "{reason}");
    // The last of them is beyond what its folder names, and is not lost.
    assert_eq!(record("ucxl://p/lots/f10004.txt").lines, 1);
}
