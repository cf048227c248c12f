use precentor_core::ids::Term;
use precentor_core::principal::Principal;
use precentor_core::time::Stamp;
use tempfile::{TempDir, tempdir};

use super::*;

/// A chain of records, as a node writes it.
fn chain(count: u64) -> Vec<AuditRecord> {
    let mut previous = Digest::ZERO;
    let record = |index| {
        let mut record = AuditRecord {
            index: LogIndex(index),
            term: Term(1),
            t: Stamp(index),
            wall_ms: 7,
            principal: Principal("ada".to_owned()),
            text: format!("did {index}"),
            previous,
            digest: Digest::ZERO,
        };
        record.digest = digest_of_record(&record);
        previous = record.digest;
        record
    };
    (1..=count).map(record).collect()
}

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempdir().unwrap())
    }

    fn write(&self, name: &str, records: &[AuditRecord]) -> PathBuf {
        let path = self.0.path().join(name);
        let lines: String = records
            .iter()
            .map(|record| serde_json::to_string(record).unwrap() + "\n")
            .collect();
        std::fs::write(&path, lines).unwrap();
        path
    }

    fn flaws(&self, records: &[AuditRecord]) -> Vec<Flaw> {
        verify(&self.write("a", records)).unwrap().flaws
    }
}

fn flaw(line: u64, what: What) -> Flaw {
    Flaw { line, what }
}

#[test]
fn a_whole_chain_is_found_whole_even_while_it_is_written() {
    let files = Files::new();
    let records = chain(5);
    let path = files.write("a", &records);
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"index\": 6, \"te");
    std::fs::write(&path, text).unwrap();
    let verdict = verify(&path).unwrap();
    assert_eq!(verdict.flaws, []);
    assert_eq!((verdict.records, verdict.entries), (5, Some((1, 5))));
    assert_eq!(verdict.head, Some(records[4].digest));
}

#[test]
fn what_was_changed_dropped_moved_or_put_in_is_found() {
    let files = Files::new();
    let whole = chain(5);
    let with = |change: &dyn Fn(&mut Vec<AuditRecord>)| {
        let mut records = whole.clone();
        change(&mut records);
        files.flaws(&records)
    };
    let not_next = |line, index, before| flaw(line, What::NotNext { index, before });
    assert_eq!(
        with(&|records| records[2].text = "did nothing".into()),
        [flaw(3, What::Changed { index: 3 })]
    );
    // Whoever gives it the right digest has broken the link behind it.
    let forged = with(&|records| {
        records[2].principal = Principal("eve".into());
        records[2].digest = digest_of_record(&records[2]);
    });
    assert_eq!(forged, [not_next(4, 4, 3)]);
    assert_eq!(
        with(&|records| drop(records.remove(2))),
        [flaw(3, What::Gap { after: 2, until: 4 })]
    );
    assert_eq!(
        with(&|records| records.swap(1, 2)),
        [
            flaw(2, What::Gap { after: 1, until: 3 }),
            not_next(3, 2, 3),
            flaw(4, What::Gap { after: 2, until: 4 }),
        ]
    );
    let put_in = with(&|records| records.insert(3, records[3].clone()));
    assert_eq!(put_in, [not_next(5, 4, 4)]);
    let path = files.write("b", &whole[..1]);
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("nothing\n");
    std::fs::write(&path, text).unwrap();
    let verdict = verify(&path).unwrap();
    assert!(
        matches!(verdict.flaws[0].what, What::NoRecord { .. }),
        "{verdict:?}"
    );
}

#[test]
fn two_files_are_held_to_each_other() {
    let files = Files::new();
    let whole = chain(6);
    let first = files.write("first", &whole);
    // One that was given a snapshot has a gap, and nothing is lost with it.
    let mut short = whole.clone();
    short.drain(1..3);
    let other = files.write("other", &short);
    assert_eq!(compare(&first, &other).unwrap(), []);
    let mut verdict = verify(&other).unwrap();
    let gap = What::Gap { after: 1, until: 4 };
    assert_eq!(verdict.flaws, [flaw(2, gap)]);
    verdict.forgive(&[verify(&files.write("cut", &whole[..2])).unwrap()]);
    assert_eq!(verdict.flaws.len(), 1, "that one has not all of it");
    verdict.forgive(&[verify(&first).unwrap()]);
    assert_eq!(verdict.flaws, []);
    // A chain that was made anew as a whole is found by the other one alone.
    let mut forged = whole.clone();
    forged[3].text = "did nothing".into();
    let mut previous = forged[2].digest;
    for record in &mut forged[3..] {
        record.previous = previous;
        record.digest = digest_of_record(record);
        previous = record.digest;
    }
    assert_eq!(files.flaws(&forged), []);
    let other = files.write("other", &forged);
    let contradicted = |line| flaw(line, What::Contradicted { index: line });
    assert_eq!(
        compare(&first, &other).unwrap(),
        [4, 5, 6].map(contradicted)
    );
}
