use std::fs::{File, create_dir, create_dir_all, write};
use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;

use super::*;

fn project() -> Address {
    Address::of_project(b"p").expect("good")
}

fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for (path, content) in files {
        let path = root.path().join(path);
        create_dir_all(path.parent().expect("inside the root")).expect("created");
        write(path, content).expect("written");
    }
    root
}

fn items(root: &Path) -> Vec<SourceItem> {
    let walk = walk(WalkOptions::new(root, project())).expect("a walk");
    walk.map(|item| item.expect("no error")).collect()
}

/// One word for each item, in order.
fn told(items: &[SourceItem]) -> Vec<String> {
    let one = |item: &SourceItem| match item {
        SourceItem::File(file) => format!("file {}", file.uri.path()),
        SourceItem::Folder(folder) => format!("folder {}", folder.uri.path()),
        SourceItem::Project(_) => "project".to_owned(),
        SourceItem::Skipped(skipped) => {
            format!(
                "skipped {}",
                skipped.path.file_name().unwrap_or_default().display()
            )
        }
    };
    items.iter().map(one).collect()
}

fn project_digest(root: &Path) -> Digest {
    match items(root).pop() {
        Some(SourceItem::Project(project)) => project.content_digest,
        other => panic!("the project comes last, not {other:?}"),
    }
}

#[test]
fn children_come_before_their_folder_and_names_in_order() {
    let root = tree(&[
        ("b/z.rs", ""),
        ("b/c/d.rs", ""),
        ("a.rs", "fn a() {}"),
        (".github/ci.yml", "on: push"),
    ]);
    let found = items(root.path());
    let expected = [
        "file .github/ci.yml",
        "folder .github",
        "file a.rs",
        "file b/c/d.rs",
        "folder b/c",
        "file b/z.rs",
        "folder b",
        "project",
    ];
    assert_eq!(told(&found), expected);
    let Some(SourceItem::Project(project)) = found.last() else {
        panic!("the project comes last")
    };
    let children: Vec<&str> = project.children.iter().map(Address::path).collect();
    assert_eq!(children, [".github", "a.rs", "b"]);
}

#[test]
fn the_walk_sees_what_git_sees() {
    let root = tree(&[
        (".gitignore", "target/\n*.log\n!keep.log\n"),
        (".git/config", "[core]"),
        ("sub/.git/config", "[core]"),
        ("target/x.o", "x"),
        ("a.log", "x"),
        ("keep.log", "x"),
        ("sub/.gitignore", "inner\n"),
        ("sub/inner", "x"),
    ]);
    create_dir(root.path().join("empty")).expect("created");
    let expected = [
        "file .gitignore",
        "file keep.log",
        "file sub/.gitignore",
        "folder sub",
        "project",
    ];
    assert_eq!(told(&items(root.path())), expected);
}

#[test]
fn an_empty_tree_is_a_project_without_children() {
    let root = tree(&[]);
    assert_eq!(told(&items(root.path())), ["project"]);
}

#[test]
fn links_are_recorded_and_never_followed() {
    let root = tree(&[("a/file", "text")]);
    symlink("..", root.path().join("a/loop")).expect("linked");
    symlink("nowhere", root.path().join("dangling")).expect("linked");
    symlink("/etc", root.path().join("outside")).expect("linked");
    let found = items(root.path());
    assert_eq!(
        told(&found),
        [
            "file a/file",
            "file a/loop",
            "folder a",
            "file dangling",
            "file outside",
            "project"
        ]
    );
    let links = found
        .iter()
        .filter(|item| matches!(item, SourceItem::File(file) if file.class == FileClass::Symlink));
    assert_eq!(links.count(), 3);
}

#[test]
fn a_link_and_a_file_of_its_text_differ() {
    let linked = tree(&[]);
    symlink("target", linked.path().join("a")).expect("linked");
    let plain = tree(&[("a", "target")]);
    assert_ne!(project_digest(linked.path()), project_digest(plain.path()));
}

#[test]
fn a_pipe_is_skipped_with_a_reason_and_the_rest_goes_on() {
    let root = tree(&[("a", "x"), ("z", "x")]);
    let status = Command::new("mkfifo")
        .arg(root.path().join("pipe"))
        .status()
        .expect("mkfifo runs");
    assert!(status.success());
    let found = items(root.path());
    assert_eq!(
        told(&found),
        ["file a", "skipped pipe", "file z", "project"]
    );
    let reason = |item: &SourceItem| match item {
        SourceItem::Skipped(skipped) => Some(skipped.reason.clone()),
        _ => None,
    };
    let reason = found.iter().find_map(reason).expect("one is skipped");
    assert!(reason.contains("named pipe"), "{reason}");
}

#[test]
fn names_that_are_no_text_are_found_and_lead_back() {
    use std::ffi::OsStr;
    let root = tree(&[]);
    for name in [&b"new\nline"[..], b"not\xffutf8", b"100%", b"a b"] {
        write(root.path().join(OsStr::from_bytes(name)), "x").expect("written");
    }
    let mut seen = 0;
    for item in items(root.path()) {
        if let SourceItem::File(file) = item {
            assert!(
                super::super::path_of(root.path(), &file.uri).exists(),
                "{}",
                file.uri
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

#[test]
fn a_huge_sparse_file_is_digested_and_called_what_it_is() {
    let root = tree(&[]);
    let file = File::create(root.path().join("huge")).expect("created");
    file.set_len(500 * 1024 * 1024).expect("sparse");
    write(root.path().join("large.txt"), "line\n".repeat(500_000)).expect("written");
    let class = |item: &SourceItem| match item {
        SourceItem::File(file) => Some((file.bytes, file.class)),
        _ => None,
    };
    let found: Vec<_> = items(root.path()).iter().filter_map(class).collect();
    assert_eq!(
        found,
        [
            (500 * 1024 * 1024, FileClass::Binary),
            (2_500_000, FileClass::Oversize)
        ]
    );
}

#[test]
fn twenty_levels_are_walked_and_too_many_are_skipped() {
    let root = tree(&[(&format!("{}file", "d/".repeat(20)), "x")]);
    let found = items(root.path());
    assert_eq!(found.len(), 22);
    let root = tree(&[(&format!("{}file", "d/".repeat(130)), "x"), ("z", "x")]);
    let found = items(root.path());
    let skipped = |item: &&SourceItem| matches!(item, SourceItem::Skipped(it) if it.reason.contains("more than 128 names"));
    assert_eq!(found.iter().filter(skipped).count(), 1);
    assert!(told(&found).contains(&"file z".to_owned()));
}

#[test]
fn any_change_below_changes_the_project_and_nothing_else_does() {
    let files = [("a/b/c", "1"), ("d", "2")];
    let first = project_digest(tree(&files).path());
    assert_eq!(project_digest(tree(&files).path()), first);
    assert_ne!(
        project_digest(tree(&[("a/b/c", "9"), ("d", "2")]).path()),
        first
    );
    assert_ne!(
        project_digest(tree(&[("a/b/x", "1"), ("d", "2")]).path()),
        first
    );
    assert_ne!(
        project_digest(tree(&[("a/c", "1"), ("d", "2")]).path()),
        first
    );
}

#[test]
fn too_many_places_end_the_walk_with_the_limit() {
    let root = tree(&[("a", ""), ("b", ""), ("c", "")]);
    let mut options = WalkOptions::new(root.path(), project());
    options.places_max = 2;
    let last = walk(options).expect("a walk").last().expect("an item");
    assert!(
        matches!(last, Err(WalkError::TooManyPlaces { limit: 2, .. })),
        "{last:?}"
    );
}

#[test]
fn a_root_that_is_no_folder_is_refused() {
    let root = tree(&[("a", "")]);
    for path in [root.path().join("a"), root.path().join("missing")] {
        let error = walk(WalkOptions::new(&path, project())).expect_err("refused");
        assert!(error.to_string().starts_with("cannot walk"), "{error}");
    }
}

#[test]
fn an_excluded_folder_is_no_part_of_the_tree() {
    let root = tree(&[("data/log", "x"), ("a", "x")]);
    let mut options = WalkOptions::new(root.path(), project());
    options.exclude.push(root.path().join("data"));
    let found: Vec<SourceItem> = walk(options)
        .expect("a walk")
        .map(|item| item.expect("fine"))
        .collect();
    assert_eq!(told(&found), ["file a", "project"]);
}

#[test]
fn a_walk_that_is_dropped_early_ends() {
    let names: Vec<String> = (0..200).map(|number| format!("f{number}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "x")).collect();
    let root = tree(&files);
    let mut walk = walk(WalkOptions::new(root.path(), project())).expect("a walk");
    assert!(walk.next().is_some());
    drop(walk);
}
