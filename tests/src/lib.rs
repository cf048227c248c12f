//! Golden scripts over the real core: a small cluster in one process, whose
//! clocks, wires and disks a script moves by hand, and whose every action
//! leaves one line. The scripts are documentation of the protocol as much as
//! tests of it.

pub mod bench_core;
pub mod bench_queue;
pub mod contract;
pub mod disk;
pub mod explore;
pub mod fuzz;
pub mod fuzz_http;
pub mod fuzz_tape;
pub mod measuring;
pub mod script;
pub mod sources;
pub mod trace;
pub mod verbs;
pub mod words;
pub mod world;

use std::path::PathBuf;

/// The root of the project's tree.
#[must_use]
pub fn project_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is a folder of the project")
        .to_path_buf()
}
