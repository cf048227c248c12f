//! What coordination costs: `generate` with three durable voters against the
//! same walk, digests and grammars in one plain process with two threads.
//! Each side runs in a process of its own, in turns, so that neither the
//! machine's mood nor the other's memory decides.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::AtomicBool;
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use precentor_node::generate::chaos::ChaosPlan;
use precentor_node::generate::{self, GenerateOptions};
use precentor_node::source::baseline;
use precentor_tests::measuring::median;
use serde_json::{Value, json};

const USAGE: &str = "\
usage: bench-generate DIR [--runs N] [--json]
  DIR        the tree to measure on
  --runs N   how often each side runs, from 1 to 100 [default: 3]
  --json     one JSON object on stdout and nothing else there";

/// Threads of the plain process; the figure is for two.
const BASELINE_THREADS: usize = 2;
const VOTERS: u32 = 3;

/// The verbs by which a side starts in its own process.
const SIDE_BASELINE: &str = "--side-baseline";
const SIDE_GENERATE: &str = "--side-generate";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [SIDE_BASELINE, dir] => side_baseline(Path::new(dir)),
        [SIDE_GENERATE, dir] => side_generate(Path::new(dir)),
        words => Asked::from_words(words).and_then(|asked| compare(&asked)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line.
struct Asked {
    dir: PathBuf,
    runs: usize,
    json: bool,
}

impl Asked {
    fn from_words(words: &[&str]) -> Result<Asked> {
        let (mut dir, mut runs, mut json) = (None, 3, false);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--json" => json = true,
                "--runs" => {
                    runs = words
                        .next()
                        .and_then(|count| count.parse().ok())
                        .filter(|count| (1..=100).contains(count))
                        .with_context(|| format!("--runs takes a number from 1 to 100\n{USAGE}"))?;
                }
                word if word.starts_with('-') || dir.is_some() => {
                    bail!("{word} is one word too many\n{USAGE}")
                }
                word => dir = Some(word),
            }
        }
        let dir = dir.with_context(|| format!("name a folder\n{USAGE}"))?;
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot open {dir}"))?;
        ensure!(dir.is_dir(), "{} is not a folder", dir.display());
        Ok(Asked { dir, runs, json })
    }
}

/// Runs both sides in turns and tells the medians.
fn compare(asked: &Asked) -> Result<()> {
    let (mut plain, mut whole) = (Vec::new(), Vec::new());
    for run in 1..=asked.runs {
        plain.push(start_side(SIDE_BASELINE, &asked.dir)?);
        whole.push(start_side(SIDE_GENERATE, &asked.dir)?);
        if !asked.json {
            let (plain, whole) = (&plain[run - 1], &whole[run - 1]);
            println!(
                "run {run}: baseline {:.2} s, generate {:.2} s",
                number(plain, "seconds")?,
                number(whole, "seconds")?
            );
        }
    }
    let median_of = |runs: &[Value], field: &str| -> Result<f64> {
        let values: Result<Vec<f64>> = runs.iter().map(|run| number(run, field)).collect();
        Ok(median(values?))
    };
    let worst_of = |runs: &[Value], field: &str| -> Result<f64> {
        runs.iter()
            .map(|run| number(run, field))
            .try_fold(0.0, |worst: f64, value| Ok(worst.max(value?)))
    };
    let baseline = median_of(&plain, "seconds")?;
    let generate = median_of(&whole, "seconds")?;
    let ratio = generate / baseline;
    let report = json!({
        "dir": asked.dir,
        "runs": asked.runs,
        "files": whole_number(median_of(&plain, "files")?),
        "parsed": whole_number(median_of(&plain, "parsed")?),
        "bytes": whole_number(median_of(&plain, "bytes")?),
        "contexts": whole_number(median_of(&whole, "contexts")?),
        "failed": whole_number(worst_of(&whole, "failed")?),
        "lost": whole_number(worst_of(&whole, "lost")?),
        "duplicated": whole_number(worst_of(&whole, "duplicated")?),
        "baseline_seconds": baseline,
        "generate_seconds": generate,
        "ratio": ratio,
        "baseline_memory_peak_bytes": whole_number(worst_of(&plain, "memory_peak_bytes")?),
        "generate_memory_peak_bytes": whole_number(worst_of(&whole, "memory_peak_bytes")?),
    });
    if asked.json {
        println!("{report}");
        return Ok(());
    }
    let shown = |field: &str| number(&report, field);
    let mebibytes = |field: &str| -> Result<f64> { Ok(shown(field)? / (1024.0 * 1024.0)) };
    println!(
        "{} files ({:.0} MiB, {} parsed), {} contexts; lost: {}, duplicated: {}, failed: {}",
        shown("files")?,
        mebibytes("bytes")?,
        shown("parsed")?,
        shown("contexts")?,
        shown("lost")?,
        shown("duplicated")?,
        shown("failed")?
    );
    println!(
        "baseline {baseline:.2} s and {:.0} MiB, {BASELINE_THREADS} threads; \
         generate {generate:.2} s and {:.0} MiB, {VOTERS} voters (medians; memory: worst)",
        mebibytes("baseline_memory_peak_bytes")?,
        mebibytes("generate_memory_peak_bytes")?
    );
    println!("generate / baseline: {ratio:.2} (goal: at most 2)");
    Ok(())
}

/// One side in a process of its own; what it prints is its result.
fn start_side(side: &str, dir: &Path) -> Result<Value> {
    let program = env::current_exe().context("this program does not know where it is")?;
    let output = Command::new(program)
        .arg(side)
        .arg(dir)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {side}"))?;
    ensure!(output.status.success(), "{side} ended: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{side} printed no result"))
}

fn side_baseline(dir: &Path) -> Result<()> {
    let done = baseline::measure(dir, BASELINE_THREADS);
    let result = json!({
        "seconds": done.elapsed.as_secs_f64(),
        "files": done.files,
        "parsed": done.parsed,
        "bytes": done.bytes,
        "memory_peak_bytes": memory_peak_bytes()?,
    });
    println!("{result}");
    Ok(())
}

fn side_generate(dir: &Path) -> Result<()> {
    let fresh = tempfile::Builder::new()
        .prefix("precentor-bench-")
        .tempdir()
        .context("cannot make a data directory")?;
    let options = GenerateOptions {
        root: dir.to_path_buf(),
        project: "bench".to_owned(),
        data: fresh.path().join("data"),
        nodes: VOTERS,
        workers: thread::available_parallelism().map_or(2, usize::from),
        chaos: ChaosPlan { kills: 0 },
        quiet: true,
    };
    let summary = generate::run(&options, &AtomicBool::new(false))?;
    ensure!(
        summary.from_cache == 0,
        "{} contexts were there before the run",
        summary.from_cache
    );
    let result = json!({
        "seconds": summary.seconds,
        "contexts": summary.generated,
        "failed": summary.failed,
        "lost": summary.lost,
        "duplicated": summary.duplicated,
        "memory_peak_bytes": memory_peak_bytes()?,
    });
    println!("{result}");
    Ok(())
}

/// The most memory that this process has held.
fn memory_peak_bytes() -> Result<u64> {
    let status =
        fs::read_to_string("/proc/self/status").context("the system does not tell its memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: u64 = line
        .and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|count| count.trim().parse().ok())
        .context("/proc/self/status has no VmHWM line")?;
    Ok(kibibytes * 1024)
}

fn number(run: &Value, field: &str) -> Result<f64> {
    run[field]
        .as_f64()
        .with_context(|| format!("a result without {field}: {run}"))
}

/// A count, without the point that a median brings.
fn whole_number(value: f64) -> u64 {
    value.round() as u64
}
