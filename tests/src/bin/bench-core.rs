//! What consensus costs beside the `raft` crate: brings the counting allocator
//! and the command line; what is measured is in `bench_core`.

use std::env;
use std::process::ExitCode;

use alloc_tracker::{Allocator, Session};
use precentor_tests::bench_core::{compare, report};

/// Counts without locks, so that the side that allocates more pays for little
/// else than its allocations.
#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

const USAGE: &str = "\
usage: bench-core [--passes N] [--json]
  Commits, elections, idle heartbeats and catching up of our consensus, beside
  the raft crate (raft-rs) in the same harness, in memory, in the same run.
  --passes N  how often each side does everything, from 1 to 99 [default: 7]
  --json      one JSON object on stdout and nothing else there
  --help      this text";

/// A command line that is none.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let asked = match Asked::from_words(&words) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("error: {wrong}\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let plan = compare::Plan {
        passes: asked.passes,
        ..compare::Plan::default()
    };
    match compare::measure(plan, count_allocations) {
        Ok(measured) if asked.json => println!("{}", report::as_json(&measured)),
        Ok(measured) => println!("{}", report::as_table(&measured)),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The command line.
struct Asked {
    passes: usize,
    json: bool,
}

impl Asked {
    /// None if help is asked for.
    fn from_words(words: &[String]) -> Result<Option<Asked>, String> {
        let mut asked = Asked {
            passes: compare::Plan::default().passes,
            json: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--json" => asked.json = true,
                "--passes" => {
                    let found = words.next().map_or("nothing", String::as_str);
                    asked.passes = found
                        .parse()
                        .ok()
                        .filter(|passes| (1..=99).contains(passes))
                        .ok_or_else(|| {
                            format!("--passes takes a number from 1 to 99, not {found}")
                        })?;
                }
                other => return Err(format!("{other} is no option")),
            }
        }
        Ok(Some(asked))
    }
}

fn count_allocations(work: &mut dyn FnMut()) -> u64 {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("measured");
    {
        let _span = operation.measure_thread().iterations(1);
        work();
    }
    let report = session.to_report();
    report
        .operations()
        .map(|(_, measured)| measured.total_allocations_count())
        .sum()
}
