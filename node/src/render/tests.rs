use std::fs;

use precentor_core::address::Address;

use super::*;
use crate::worker::engine::{Engine, Job, Source, Subject};
use crate::worker::outline::OutlineEngine;

const SOURCE: &str =
    "//! Adds.\n\nuse std::fmt;\n\n/// Adds two.\npub fn add(a: u8) -> u8 {\n    a + 2\n}\n";

fn world() -> (tempfile::TempDir, ContextRecord) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lib.rs");
    fs::write(&path, SOURCE).expect("written");
    let content_digest = examine(&path, TEXT_BYTES_MAX, &mut Vec::new())
        .expect("readable")
        .content_digest;
    let uri = Address::parse("ucxl://p/lib.rs").expect("good");
    let job = Job {
        uri,
        content_digest,
        subject: Subject::File {
            source: Source::Path(path),
        },
    };
    let record = OutlineEngine::default().generate(job).expect("a record");
    (folder, record)
}

#[test]
fn each_level_shows_all_of_the_one_before_and_more() {
    let (folder, record) = world();
    let levels = [Level::Line, Level::Summary, Level::Outline, Level::Bodies];
    let texts = levels.map(|level| text(&record, level, Some(folder.path())));
    for pair in texts.windows(2) {
        assert!(
            pair[1].starts_with(&*pair[0]) && pair[1].len() > pair[0].len(),
            "{pair:?}"
        );
    }
    assert_eq!(texts[0], "ucxl://p/lib.rs: Adds.\n");
    assert!(texts[1].contains("imports: std::fmt"), "{}", texts[1]);
    assert!(
        texts[2].contains("pub fn add(a: u8) -> u8  - Adds two."),
        "{}",
        texts[2]
    );
    assert!(texts[3].contains("    a + 2\n"), "{}", texts[3]);
}

#[test]
fn bodies_of_a_changed_file_are_not_shown() {
    let (folder, record) = world();
    fs::write(folder.path().join("lib.rs"), "pub fn other() {}\n").expect("written");
    let shown = text(&record, Level::Bodies, Some(folder.path()));
    assert!(
        shown.contains("has changed since this record was made"),
        "{shown}"
    );
    assert!(!shown.contains("other"), "{shown}");
    assert!(text(&record, Level::Bodies, None).contains("not at hand"));
}

#[test]
fn json_has_the_documented_names_and_no_empty_fields() {
    let (folder, record) = world();
    let value = json(&record, Level::Outline, Some(folder.path()));
    assert_eq!(value["uri"], "ucxl://p/lib.rs");
    assert_eq!(value["kind"], "file");
    assert_eq!(value["content_digest"], record.content_digest.to_string());
    assert_eq!(value["symbols"][0]["name"], "add");
    assert_eq!(value["symbols"][0]["range"], json!({"start": 6, "end": 8}));
    assert_eq!(
        value["symbols"][0]["digest"].as_str().map(str::len),
        Some(16)
    );
    assert!(value.get("children").is_none());
    let line = json(&record, Level::Line, None);
    assert_eq!(
        line,
        json!({"uri": "ucxl://p/lib.rs", "kind": "file", "one_line": "Adds."})
    );
    let bodies = json(&record, Level::Bodies, Some(folder.path()));
    assert_eq!(
        bodies["bodies"][0]["text"],
        "pub fn add(a: u8) -> u8 {\n    a + 2\n}\n"
    );
}

#[test]
fn json_of_a_record_reads_back() {
    let (_folder, record) = world();
    let text = serde_json::to_string(&record).expect("writes");
    assert_eq!(
        serde_json::from_str::<ContextRecord>(&text).expect("reads"),
        record
    );
}

#[test]
fn a_program_finds_its_fields_even_when_nothing_is_in_them() {
    let (folder, mut record) = world();
    record.symbols.clear();
    record.imports.clear();
    record.summary.clear();
    let shown = json(&record, Level::Outline, Some(folder.path()));
    for list in ["symbols", "imports"] {
        assert_eq!(shown[list], json!([]), "{list}");
    }
    assert_eq!(shown["summary"], "");
    assert_eq!(shown.get("entry_points"), None, "the rest stays short");
    record.kind = ContextKind::Folder;
    let shown = json(&record, Level::Outline, Some(folder.path()));
    assert_eq!(shown["children"], json!([]));
    assert_eq!(shown.get("symbols"), None, "a folder has none");
}
