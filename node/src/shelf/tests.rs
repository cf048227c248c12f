use std::fs;

use precentor_core::ids::Term;
use precentor_core::principal::Principal;
use precentor_core::time::Stamp;
use tempfile::tempdir;

use super::*;

fn record(index: u64, text: &str) -> AuditRecord {
    AuditRecord {
        index: LogIndex(index),
        term: Term(1),
        t: Stamp(0),
        wall_ms: 0,
        principal: Principal::cluster(),
        text: text.into(),
        previous: Digest::ZERO,
        digest: Digest::ZERO,
    }
}

fn texts(path: &Path) -> Vec<String> {
    let line = |line: &str| serde_json::from_str::<AuditRecord>(line).unwrap().text;
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(line)
        .collect()
}

#[test]
fn records_that_come_again_after_a_restart_are_kept_once() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let mut file = AuditFile::open(&path, LogIndex(0)).unwrap();
    for (index, text) in [(1, "a"), (2, "b"), (2, "c")] {
        file.add(&record(index, text)).unwrap();
    }
    file.sync().unwrap();
    drop(file);
    // The process died in the middle of a line.
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"index\": 3, \"te");
    fs::write(&path, torn).unwrap();

    let mut file = AuditFile::open(&path, LogIndex(1)).unwrap();
    for (index, text) in [(1, "a"), (2, "b"), (2, "c"), (3, "d")] {
        file.add(&record(index, text)).unwrap();
    }
    file.sync().unwrap();
    assert_eq!(texts(&path), ["a", "b", "c", "d"]);
}

#[test]
fn records_that_a_snapshot_speaks_of_stay_for_they_do_not_come_again() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let mut file = AuditFile::open(&path, LogIndex(0)).unwrap();
    for (index, text) in [(1, "a"), (2, "b"), (2, "c")] {
        file.add(&record(index, text)).unwrap();
    }
    file.sync().unwrap();
    drop(file);
    // The snapshot of entry 2 is whole, and nothing has come since.
    for text in ["d", "e"] {
        let mut file = AuditFile::open(&path, LogIndex(2)).unwrap();
        file.add(&record(3, text)).unwrap();
        file.sync().unwrap();
    }
    assert_eq!(texts(&path), ["a", "b", "c", "e"]);
}
