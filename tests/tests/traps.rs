//! Every trap of the protocol that is known has its place: `docs/TRAPS.md` names
//! a story, a planted bug, or why it cannot exist here. What it names is there,
//! and no row is lost.

use std::fs;

use precentor_tests::project_root;

/// What each row of the list begins with, in order.
const LIST: &[&str] = &[
    "nats:53c85c2cd",
    "nats:bf8ebe7dd",
    "hashicorp/raft `persistVote`",
    "little-raft#44",
    "camunda#5356",
    "hashicorp:441bd09",
    "hashicorp:38cb186",
    "etcd:db54973",
    "raft-rs#57",
    "CCF#3948",
    "hydro PR#3192",
    "RethinkDB#5289",
    "raft-rs:37ad3a1",
    "etcd#8501",
    "nats:5fe8be82d",
    "openraft#2080",
    "logcabin#44",
    "openraft:9540c904",
    "nats:f871570fb",
    "ra:3aa50f29",
    "ra:39490978",
    "ra:324d9bc5",
    "CCF PR#6016",
    "openraft#1802",
    "openraft:cecb5de8",
    "etcd:76f1249",
    "etcd:8ecce32",
    "etcd/raft#124",
    "openraft#1828",
    "nats:b4506ec4a",
    "etcd#7331",
    "etcd#20418",
    "raft-rs#234",
    "raft-rs:40157d8",
    "hashicorp#666",
    "nats#7564",
    "crdb PR#37102",
    "openraft:ee460f37",
    "openraft#1808",
    "(design; etcd/raft",
    "nats:69aebe8de",
    "nats:d88e9e868",
    "nats:2f60ea8fe",
    "rabbitmq#14136",
    "(design)",
];

/// The same of the further classes.
const FURTHER: &[&str] = &[
    "Jepsen Redis-Raft 2020, membership",
    "Jepsen Redis-Raft 2020, snapshots",
    "Jepsen Redis-Raft 2020, reads",
    "Jepsen Redis-Raft 2020, proxy",
    "Jepsen Redis-Raft 2020, failover",
    "Jepsen NATS 2.12.1, corruption",
    "FAST 2018, protocol-aware recovery",
    "etcd#13766 (v3.5)",
    "etcd#741; Jepsen etcd 2014",
    "Jepsen etcd 3.4.3, locks",
    "Cloudflare 2020 (etcd)",
    "Omni-Paxos (EuroSys 2023), partial partitions",
    "etcd/raft, automatic leave",
    "dissertation §4.2.1, availability",
    "dissertation §4.2.3, disruptive servers",
    "hashicorp/raft, leadership transfer",
    "etcd, uncommitted entries",
    "openraft, change to no voters",
    "found here, 2026",
    "found here, 2026; Raft, figure 13",
    "etcd#11651, etcd#14571",
    "rabbitmq-website#2207",
];

/// The tables of the document: each row's cells.
fn tables() -> Vec<Vec<Vec<String>>> {
    let path = project_root().join("docs/TRAPS.md");
    let text = fs::read_to_string(path).expect("the document is there");
    let sections = text.split("\n## ").skip(1);
    let rows = |section: &str| {
        let rows = section.lines().filter(|line| line.starts_with("| "));
        let cells = |row: &str| {
            row.trim_matches('|')
                .split('|')
                .map(|c| c.trim().into())
                .collect()
        };
        rows.skip(1).map(cells).collect()
    };
    sections.map(rows).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_known_trap_has_its_row() {
    let tables = tables();
    assert_eq!(tables.len(), 2, "the list, and the further classes");
    for (table, sources) in tables.iter().zip([LIST, FURTHER]) {
        for (row, source) in table.iter().zip(sources) {
            assert!(
                row[0].starts_with(source),
                "the row of {source:?} begins with {:?}: rows keep their order, new ones come last",
                row[0]
            );
        }
        assert_eq!(
            table.len(),
            sources.len(),
            "rows and sources differ in number: add a new trap to both"
        );
    }
}

#[test]
fn every_trap_is_held_by_something_that_is_there() {
    let scripts = project_root().join("tests/scripts");
    let planted = project_root().join("core/src/planted.rs");
    let planted = fs::read_to_string(planted).expect("the planted bugs are there");
    for row in tables().into_iter().flatten() {
        let [source, _, _, here] = &row[..] else {
            panic!("a row has four cells: {row:?}");
        };
        let mut held = here.contains("cannot exist here, because");
        for name in quoted(here) {
            held = true;
            match name.strip_prefix("Bug::") {
                Some(_) => assert!(
                    planted.contains(&format!("        {name},\n")),
                    "{source}: {name} is no planted bug"
                ),
                None => assert!(
                    scripts.join(name).is_file(),
                    "{source}: there is no story {name}"
                ),
            }
        }
        assert!(held, "{source}: nothing is named that holds it");
    }
}
