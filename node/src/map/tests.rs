use precentor_core::context::{LineRange, Provenance, Reference, SliceDigest, Symbol};
use precentor_core::digest::Digest;

use super::*;

fn file(path: &str, declares: &[&str], uses: &[&str]) -> ContextRecord {
    let uri = Address::parse(&format!("ucxl://p/{path}")).expect("good");
    let provenance = Provenance {
        generator: "test".to_owned(),
        version: 1,
    };
    let mut record = ContextRecord::new(uri, ContextKind::File, Digest::ZERO, provenance);
    record.symbols = (1..)
        .zip(declares)
        .map(|(line, name)| Symbol {
            name: (*name).to_owned(),
            kind: SymbolKind::Function,
            visibility: Visibility::Public,
            signature: format!("fn {name}()"),
            doc: String::new(),
            range: LineRange {
                start: line,
                end: line,
            },
            parent: String::new(),
            digest: SliceDigest([0; 8]),
            rank: 30,
        })
        .collect();
    record.references = uses
        .iter()
        .map(|name| Reference {
            name: (*name).to_owned(),
            count: 1,
        })
        .collect();
    record
}

fn names(records: &[ContextRecord], focus: &str) -> Vec<String> {
    let mut builder = MapBuilder::default();
    records.iter().for_each(|record| builder.add(record));
    let focus = Address::parse(focus).expect("good");
    builder
        .rank(&focus)
        .into_iter()
        .map(|entry| entry.name)
        .collect()
}

#[test]
fn what_many_files_use_comes_first() {
    let records = [
        file("a.rs", &["alone"], &["shared"]),
        file("b.rs", &["lonely"], &["shared"]),
        file("z.rs", &["unused", "shared"], &[]),
    ];
    assert_eq!(names(&records, "ucxl://p/")[0], "shared");
}

#[test]
fn an_import_tells_which_of_two_is_meant() {
    let mut user = file("user.py", &["user"], &["run"]);
    user.imports = vec![precentor_core::context::Import {
        target: "pkg.second".to_owned(),
        line: 1,
    }];
    let records = [
        file("first.py", &["run"], &[]),
        file("pkg/second.py", &["run"], &[]),
        user,
    ];
    let mut builder = MapBuilder::default();
    records.iter().for_each(|record| builder.add(record));
    let best = builder
        .rank(&Address::parse("ucxl://p/").expect("good"))
        .remove(0);
    assert_eq!(best.uri.path(), "pkg/second.py");
}

#[test]
fn the_order_of_records_does_not_matter() {
    let mut records = vec![
        file("a.rs", &["a"], &["b", "c"]),
        file("b.rs", &["b"], &["c"]),
        file("c.rs", &["c"], &["a"]),
    ];
    let forward = names(&records, "ucxl://p/");
    records.reverse();
    assert_eq!(names(&records, "ucxl://p/"), forward);
    assert_eq!(forward.len(), 3);
}

#[test]
fn a_focus_leaves_out_what_is_elsewhere() {
    let records = [
        file("x/a.rs", &["inside"], &[]),
        file("y/b.rs", &["outside"], &["inside"]),
    ];
    assert_eq!(names(&records, "ucxl://p/x"), ["inside"]);
}

#[test]
fn a_map_keeps_to_its_budget_and_loses_its_worst_first() {
    let declared: Vec<String> = (0..50).map(|number| format!("function_{number}")).collect();
    let declared: Vec<&str> = declared.iter().map(|name| &**name).collect();
    let mut builder = MapBuilder::default();
    builder.add(&file("a.rs", &declared, &[]));
    builder.add(&file("b.rs", &["user"], &["function_49"]));
    let entries = builder.rank(&Address::parse("ucxl://p/").expect("good"));
    let kept = within(entries.clone(), 100);
    assert!(!kept.is_empty() && kept.len() < entries.len());
    assert_eq!(kept[0].name, "function_49");
    assert_eq!(kept[..], entries[..kept.len()]);
    assert!(tokens_of(&render(&kept)) <= 100, "{}", render(&kept));
    assert!(within(entries, 0).is_empty());
}

#[test]
fn nothing_makes_an_empty_map() {
    let entries = MapBuilder::default().rank(&Address::parse("ucxl://p/").expect("good"));
    assert_eq!(render(&entries), "");
}
