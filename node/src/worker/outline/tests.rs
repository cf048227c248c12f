use std::fs;
use std::path::PathBuf;

use precentor_core::address::Address;
use precentor_core::context::{CommandPurpose, SymbolKind, Visibility};
use precentor_core::digest::Digest;

use super::*;
use crate::source::digest::examine;
use crate::worker::engine::{ChildInput, FailureClass, Source};

mod languages;

/// The record of a file with this name and content.
fn outline(name: &str, content: impl AsRef<[u8]>) -> ContextRecord {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    fs::write(&path, content).expect("written");
    generate(name, path).expect("a record")
}

fn generate(name: &str, path: PathBuf) -> Result<ContextRecord, EngineError> {
    let digest = examine(&path, TEXT_BYTES_MAX, &mut Vec::new())
        .map_or(Digest::ZERO, |it| it.content_digest);
    generate_for(name, path, digest)
}

fn generate_for(
    name: &str,
    path: PathBuf,
    content_digest: Digest,
) -> Result<ContextRecord, EngineError> {
    let uri = Address::parse(&format!("ucxl://p/{name}")).expect("good");
    OutlineEngine::default().generate(Job {
        uri,
        content_digest,
        subject: Subject::File {
            source: Source::Path(path),
        },
    })
}

/// Kind, parent, name and lines of every symbol.
fn symbols(record: &ContextRecord) -> Vec<String> {
    let one = |symbol: &precentor_core::context::Symbol| {
        let kind = format!("{:?}", symbol.kind).to_lowercase();
        let separator = if symbol.parent.is_empty() { "" } else { "/" };
        let (start, end) = (symbol.range.start, symbol.range.end);
        format!(
            "{kind} {}{separator}{} {start}-{end}",
            symbol.parent, symbol.name
        )
    };
    record.symbols.iter().map(one).collect()
}

#[test]
fn markdown_gives_headings_and_the_first_sentence() {
    let source = "# Title\n\n[badge](x)\nWhat it is. More.\n\n## One\n```\n# no heading\n```\n### Deep\nTwo\n---\ntext\n";
    let record = outline("README.md", source);
    assert_eq!(
        symbols(&record),
        [
            "heading Title 1-13",
            "heading Title/One 6-10",
            "heading Title / One/Deep 10-10",
            "heading Title/Two 11-13"
        ]
    );
    assert_eq!(record.one_line, "Title: What it is.");
}

#[test]
fn keys_of_configuration_are_found() {
    let toml = outline(
        "Cargo.toml",
        "# Settings.\n\nname = \"x\"\nlist = [\n  \"a = b\",\n]\n[dependencies]\nserde = \"1\"\n[[bin]]\nname = \"y\"\n",
    );
    assert_eq!(
        symbols(&toml),
        [
            "key name 3-3",
            "key list 4-6",
            "key dependencies 7-8",
            "key bin 9-10"
        ]
    );
    assert_eq!(
        toml.commands
            .iter()
            .map(|it| &*it.command)
            .collect::<Vec<_>>(),
        ["cargo build", "cargo test", "cargo run"]
    );
    let json = outline(
        "package.json",
        "{\n  \"name\": \"x\",\n  \"scripts\": {\n    \"test\": \"a: b\"\n  },\n  \"n\": [1]\n}\n",
    );
    assert_eq!(
        symbols(&json),
        ["key name 2-2", "key scripts 3-5", "key n 6-7"]
    );
    assert_eq!(
        (json.commands[0].purpose, &*json.commands[0].command),
        (CommandPurpose::Test, "npm run test")
    );
    let yaml = outline("ci.yml", "# CI.\nname: x\non:\n  push: y\njobs:\n");
    assert_eq!(
        symbols(&yaml),
        ["key name 2-2", "key on 3-4", "key jobs 5-5"]
    );
    assert_eq!(yaml.one_line, "CI.");
}

#[test]
fn plain_text_shows_its_first_words() {
    let record = outline("NOTES", "\nFirst line. Second.\nThird.\n\nOther.\n");
    assert_eq!(
        (&*record.language, &*record.summary),
        ("text", "First line. Second. Third.")
    );
    assert_eq!(
        outline("script", "#!/bin/sh\n# Does it.\nrm x\n").summary,
        "Does it."
    );
    assert_eq!(outline("empty.py", "").one_line, "empty file");
}

#[test]
fn a_licence_is_no_summary() {
    let record = outline(
        "a.c",
        "/* Copyright 2020 */\n\n/* Adds numbers. */\n\n#include <a.h>\nint x;\n",
    );
    assert_eq!(record.summary, "Adds numbers.");
}

#[test]
fn a_binary_is_recorded_with_its_reason() {
    let record = outline("a.png", b"\x89PNG\r\n\0\0");
    assert_eq!(
        (&*record.language, &*record.one_line),
        ("binary", "PNG image, 8 bytes")
    );
    assert!(
        record.warnings[0].contains("NUL byte"),
        "{:?}",
        record.warnings
    );
}

#[test]
fn an_oversize_text_is_recorded_with_the_limit() {
    let record = outline("a.py", "x = 1\n".repeat(400_000));
    assert_eq!((record.bytes, record.lines), (2_400_000, 400_000));
    assert!(
        record.warnings[0].contains("2400000 bytes; the limit for outlines is 2097152"),
        "{:?}",
        record.warnings
    );
}

#[test]
fn invalid_utf8_is_outlined_with_a_warning() {
    let record = outline("a.py", b"# caf\xe9\ndef f():\n    pass\n");
    assert_eq!(symbols(&record), ["function f 2-3"]);
    assert!(
        record.warnings[0].contains("not valid UTF-8 at byte 5"),
        "{:?}",
        record.warnings
    );
}

#[test]
fn syntax_errors_are_counted_and_the_rest_is_outlined() {
    let record = outline(
        "a.py",
        "def good():\n    pass\n\n)))\n\ndef also():\n    pass\n",
    );
    assert!(
        symbols(&record)
            .iter()
            .any(|it| it.starts_with("function good")),
        "{:?}",
        symbols(&record)
    );
    assert!(
        record.warnings[0].contains("syntax errors, the first at line 4"),
        "{:?}",
        record.warnings
    );
}

#[test]
fn no_garbage_panics_or_takes_for_ever() {
    let garbage: [Vec<u8>; 5] = [
        (1..=255).cycle().take(20_000).collect(),
        b"(".repeat(60_000),
        b"{[<".repeat(20_000),
        b"class A { ".repeat(2_000),
        b"def f():\n ".repeat(1_000),
    ];
    for name in [
        "a.rs", "a.py", "a.go", "a.js", "a.ts", "a.tsx", "a.java", "a.c", "a.cpp", "a.md",
        "a.json", "a.toml", "a.yml", "a",
    ] {
        for content in &garbage {
            let record = outline(name, content);
            assert_eq!(record.bytes, content.len() as u64);
        }
    }
}

#[test]
fn the_same_bytes_give_the_same_record() {
    let source = include_str!("tree.rs");
    assert_eq!(outline("tree.rs", source), outline("tree.rs", source));
}

#[test]
fn a_file_that_changed_is_refused_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.py");
    fs::write(&path, "x = 1\n").expect("written");
    let error = generate_for("a.py", path.clone(), Digest::of(b"before")).expect_err("changed");
    assert_eq!(error.class, FailureClass::SourceChanged);
    assert!(
        error.message.contains("changed while the run went on"),
        "{error}"
    );
    fs::remove_file(&path).expect("removed");
    let error = generate("a.py", path.clone()).expect_err("gone");
    assert_eq!(error.class, FailureClass::SourceChanged);
    fs::create_dir(&path).expect("created");
    let error = generate("a.py", path).expect_err("a folder");
    assert!(error.message.contains("it is a folder now"), "{error}");
}

#[test]
fn a_link_is_recorded_with_its_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("link");
    std::os::unix::fs::symlink("no/where", &path).expect("linked");
    let record = generate("link", path).expect("a record");
    assert_eq!(record.one_line, "symbolic link to no/where");
}

fn child(record: ContextRecord) -> ChildInput {
    ChildInput {
        uri: record.uri.clone(),
        record: Ok(Box::new(record)),
    }
}

fn folder(address: &str, children: Vec<ChildInput>, kind: ContextKind) -> ContextRecord {
    let uri = Address::parse(address).expect("good");
    folder::describe(uri, kind, Digest::ZERO, Box::new(children.into_iter()))
}

#[test]
fn a_project_knows_the_best_of_what_is_below() {
    let used = outline(
        "src/lib.rs",
        "/// Adds.\npub fn add() {}\npub fn unused() {}\nfn private() {}\n",
    );
    let user = outline(
        "src/main.rs",
        "use std::fmt;\nfn main() { p::add(); add(); add() }\n",
    );
    let missing = ChildInput {
        uri: Address::parse("ucxl://p/src/x.rs").expect("good"),
        record: Err("failed".to_owned()),
    };
    let source = folder(
        "ucxl://p/src",
        vec![child(used), child(user), missing],
        ContextKind::Folder,
    );
    assert_eq!(
        source
            .surface
            .iter()
            .map(|it| &*it.name)
            .collect::<Vec<_>>(),
        ["add", "unused"]
    );
    assert_eq!(
        (source.incomplete.len(), &*source.incomplete[0].reason),
        (1, "failed")
    );
    assert_eq!(
        (&*source.depends_on[0].name, source.depends_on[0].count),
        ("std", 1)
    );
    let readme = outline("README.md", "# P\n\nA project. More.\n");
    let manifest = outline("Cargo.toml", "[package]\nname = \"p\"\n");
    let project = folder(
        "ucxl://p/",
        vec![child(manifest), child(readme), child(source)],
        ContextKind::Project,
    );
    assert_eq!(project.one_line, "P: A project.");
    assert_eq!(project.surface[0].uri.as_str(), "ucxl://p/src/lib.rs");
    assert_eq!(project.commands[0].command, "cargo build");
    assert_eq!(project.entry_points[0].uri.as_str(), "ucxl://p/src/main.rs");
    let rust = project
        .languages
        .iter()
        .find(|it| it.language == "rust")
        .expect("rust");
    assert_eq!((rust.files, rust.lines), (2, 6));
    assert_eq!(project.children.len(), 3);
}

#[test]
fn an_empty_project_has_a_record() {
    let record = folder("ucxl://p/", Vec::new(), ContextKind::Project);
    assert_eq!(record.one_line, "0 files");
}

#[test]
fn visibility_follows_the_declaration() {
    let record = outline(
        "a.rs",
        "pub fn a() {}\npub(crate) fn b() {}\nfn c() {}\npub trait T { fn d(); }\n",
    );
    let found: Vec<Visibility> = record.symbols.iter().map(|it| it.visibility).collect();
    use Visibility::*;
    assert_eq!(found, [Public, Restricted, Private, Public, Public]);
    assert_eq!(record.symbols[4].kind, SymbolKind::Method);
}
