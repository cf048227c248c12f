//! What the replicated queue costs with few and with many jobs in it: brings the
//! counting allocator and the command line; what is measured is in `bench_queue`.

use std::env;
use std::process::ExitCode;

use alloc_tracker::{Allocator, Session};
use precentor_core::feature::FeatureLevel;
use precentor_tests::bench_queue::measure::{Plan, measure};
use precentor_tests::bench_queue::report;

/// Counts without locks, so that the side that allocates more pays for little
/// else than its allocations.
#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

const USAGE: &str = "\
usage: bench-queue [--jobs N,...] [--passes N] [--level N] [--json]
  Commands, memory, snapshots and takeovers of the replicated queue while jobs
  wait in it, beside containers that keep an order of small jobs and nothing
  else, in the same run.
  --jobs N,...  how many jobs wait, each number on its own, from 100 on
                [default: 1000,100000,1000000,10000000, which
                need 8 GB and ten minutes]
  --passes N    how often everything is done, from 1 to 99 [default: 3]
  --level N     the feature level [default: the highest]
  --json        one JSON object on stdout and nothing else there
  --help        this text";

/// A command line that is none.
const EXIT_USAGE: u8 = 2;
/// Fewer jobs would not outlive the measuring.
const JOBS_MIN: u64 = 100;
/// More than any machine has memory for.
const JOBS_MAX: u64 = 1_000_000_000;

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
    match measure(asked.plan, peak_bytes) {
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
    plan: Plan,
    json: bool,
}

impl Asked {
    /// None if help is asked for.
    fn from_words(words: &[String]) -> Result<Option<Asked>, String> {
        let mut asked = Asked {
            plan: Plan::default(),
            json: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().map_or("nothing", String::as_str);
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--json" => asked.json = true,
                "--jobs" => {
                    let each = value().split(',');
                    let jobs = each.map(|found| number(word, found, JOBS_MIN, JOBS_MAX));
                    asked.plan.jobs = jobs.collect::<Result<_, _>>()?;
                }
                "--passes" => asked.plan.passes = number(word, value(), 1, 99)? as usize,
                "--level" => {
                    let (least, most) = (FeatureLevel::FOUNDING.0, FeatureLevel::LATEST.0);
                    let level = number(word, value(), least.into(), most.into())?;
                    asked.plan.level = FeatureLevel(level as u16);
                }
                other => return Err(format!("{other} is no option")),
            }
        }
        Ok(Some(asked))
    }
}

fn number(option: &str, found: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = found.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{option} takes a number from {least} to {most}, not {found}"))
}

fn peak_bytes(work: &mut dyn FnMut()) -> u64 {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("measured");
    {
        let _span = operation.measure_thread().iterations(1);
        work();
    }
    let report = session.to_report();
    let peaks = report
        .operations()
        .filter_map(|(_, measured)| measured.peak_outstanding_bytes());
    peaks.fold(0.0, f64::max) as u64
}
