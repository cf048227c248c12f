//! Searches the real core exhaustively, plan by plan, and prints how many
//! distinct worlds there were at each depth. A broken rule ends with its
//! shortest story and the line that tells it again.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, str::FromStr};

use anyhow::{Context, Result, bail};
use precentor_tests::explore::{Bounds, End, Level, PLANS, Plan, Report, replay, search};
use serde_json::{Value, json};

const USAGE: &str = "\
usage: explore [--plan NAME]... [--depth N] [--deeper N] [--seconds S] [--memory-mb M]
               [--outcomes] [--json] [--bug NAME]
       explore --plan NAME --path \"N N N...\" [--outcomes] [--bug NAME]
       explore --list
  --plan NAME      search this part of the space [default: all]
  --depth N        so many steps deep [default: each plan's own]
  --deeper N       so many steps deeper than each plan's own depth
  --seconds S      stop after so long, all plans together
  --memory-mb M    stop when worlds fill so much memory [default: 4096]
  --outcomes       judge only what the protocol promises, not how it keeps it
  --json           one JSON object on stdout and nothing else there
  --path NUMBERS   tell the story of one path
  --bug NAME       plant a bug; needs the feature `planted-bugs`
  --list           name the plans
Exit: 0 nothing is broken, 1 usage, 11 a rule is broken.";

/// As the simulator's: safety.
const BROKEN: u8 = 11;

fn main() -> ExitCode {
    match Asked::from_words(env::args().skip(1).collect()).and_then(|asked| run(&asked)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line.
#[derive(Debug, Default)]
struct Asked {
    help: bool,
    list: bool,
    json: bool,
    outcomes: bool,
    plans: Vec<Plan>,
    depth: Option<u32>,
    deeper: u32,
    seconds: Option<u64>,
    memory_mb: Option<u64>,
    path: Option<Vec<usize>>,
    bug: Option<String>,
}

impl Asked {
    fn from_words(words: Vec<String>) -> Result<Asked> {
        let mut asked = Asked::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                "--help" | "-h" => asked.help = true,
                "--list" => asked.list = true,
                "--json" => asked.json = true,
                "--outcomes" => asked.outcomes = true,
                "--plan" => {
                    let name = value()?;
                    let plan = Plan::named(&name);
                    asked.plans.push(
                        plan.with_context(|| format!("there is no plan {name:?}: see --list"))?,
                    );
                }
                "--depth" => asked.depth = Some(number(&value()?)?),
                "--deeper" => asked.deeper = number(&value()?)?,
                "--seconds" => asked.seconds = Some(number(&value()?)?),
                "--memory-mb" => asked.memory_mb = Some(number(&value()?)?),
                "--bug" => asked.bug = Some(value()?),
                "--path" => {
                    let path = value()?;
                    let path: Result<Vec<usize>> = path.split_whitespace().map(number).collect();
                    asked.path = Some(path?);
                }
                other => bail!("{other:?} is not understood\n{USAGE}"),
            }
        }
        if asked.path.is_some() && asked.plans.len() != 1 {
            bail!("--path needs the one --plan that its numbers belong to");
        }
        if asked.plans.is_empty() {
            asked.plans = PLANS.to_vec();
        }
        if let Some(bug) = &asked.bug {
            plant(&mut asked.plans, bug)?;
        }
        Ok(asked)
    }
}

fn number<T: FromStr>(word: &str) -> Result<T> {
    let number = word.parse().ok();
    number.with_context(|| format!("{word:?} is no number that fits here"))
}

#[cfg(feature = "planted-bugs")]
fn plant(plans: &mut [Plan], name: &str) -> Result<()> {
    use precentor_core::planted::Bug;
    let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name);
    let bug = bug.with_context(|| format!("there is no bug {name:?}; there are {:?}", Bug::ALL))?;
    for plan in plans {
        plan.planted = Some(*bug);
    }
    Ok(())
}

#[cfg(not(feature = "planted-bugs"))]
fn plant(_: &mut [Plan], name: &str) -> Result<()> {
    bail!("{name} cannot be planted: build with --features planted-bugs")
}

fn run(asked: &Asked) -> Result<ExitCode> {
    if asked.help {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    if asked.list {
        for plan in &asked.plans {
            println!("{:<12} depth {:>2}  {}", plan.name, plan.depth, plan.why);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(path), Some(plan)) = (&asked.path, asked.plans.first()) {
        for line in replay(plan, path, asked.outcomes).map_err(anyhow::Error::msg)? {
            println!("{line}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let started = Instant::now();
    let end = asked
        .seconds
        .map(|seconds| started + Duration::from_secs(seconds));
    let mut told = Vec::new();
    let (mut distinct, mut transitions, mut broken) = (0, 0, false);
    let count = u32::try_from(asked.plans.len()).expect("there are a handful of plans");
    for (done, plan) in (0..count).zip(&asked.plans) {
        // What one plan leaves is for those after it.
        let time_max =
            end.map(|end| end.saturating_duration_since(Instant::now()) / (count - done));
        let bounds = Bounds {
            depth: asked.depth.unwrap_or(plan.depth) + asked.deeper,
            time_max,
            memory_bytes_max: asked.memory_mb.unwrap_or(4096) << 20,
            outcomes_only: asked.outcomes,
        };
        if !asked.json {
            println!("\n{}: {} ({})", plan.name, plan.why, plan.start.words());
            println!("   {:?}", plan.budget);
        }
        let report = search(plan, &bounds, |level| {
            if !asked.json {
                println!("{}", line_of(level));
            }
        });
        let report = match report {
            Ok(report) => report,
            Err(rule) => {
                // Such a core is too broken to be brought to where the search begins.
                broken = true;
                let text = format!("{}: BROKEN on the way to its start: {rule}", plan.name);
                match asked.json {
                    true => told.push(json!({ "plan": plan.name, "broken_at_start": text })),
                    false => println!("{text}"),
                }
                continue;
            }
        };
        distinct += report.distinct();
        transitions += report.transitions();
        broken |= report.end == End::Broken;
        if asked.json {
            told.push(json_of(plan, &report));
        } else {
            tell(plan, asked, &report)?;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    if asked.json {
        let whole = json!({
            "plans": told,
            "distinct": distinct,
            "transitions": transitions,
            "seconds": seconds,
            "broken": broken,
        });
        println!("{whole}");
    } else {
        println!(
            "\nall: {distinct} distinct worlds, {transitions} transitions, {seconds:.1} s: {}",
            if broken { "BROKEN" } else { "every rule holds" }
        );
    }
    Ok(match broken {
        true => ExitCode::from(BROKEN),
        false => ExitCode::SUCCESS,
    })
}

fn line_of(level: &Level) -> String {
    let seconds = level.time.as_secs_f64();
    format!(
        "   depth {:>2}: {:>10} transitions, {:>9} new worlds, {:>9} distinct, {:>8.0} worlds/s{}",
        level.depth,
        level.transitions,
        level.new,
        level.distinct,
        level.new as f64 / seconds.max(1e-6),
        if level.complete { "" } else { " (not whole)" }
    )
}

fn tell(plan: &Plan, asked: &Asked, report: &Report) -> Result<()> {
    println!(
        "   ends by {:?}, whole to depth {}; {} distinct nodes, {} messages, the core ran {} turns",
        report.end,
        report.depth(),
        report.nodes,
        report.messages,
        report.turns
    );
    let Some(finding) = &report.finding else {
        return Ok(());
    };
    println!(
        "\n{}: BROKEN after {} steps: {}",
        plan.name,
        finding.path.len(),
        finding.broken
    );
    for line in replay(plan, &finding.path, asked.outcomes).map_err(anyhow::Error::msg)? {
        println!("{line}");
    }
    let outcomes = if asked.outcomes { " --outcomes" } else { "" };
    let numbers: Vec<_> = finding.path.iter().map(usize::to_string).collect();
    let (features, bug) = match &asked.bug {
        None => ("", String::new()),
        Some(bug) => (" --features planted-bugs", format!(" --bug {bug}")),
    };
    println!(
        "again: cargo run --release -p precentor-tests{features} --bin explore -- --plan {}{bug}{outcomes} --path \"{}\"",
        plan.name,
        numbers.join(" ")
    );
    Ok(())
}

fn json_of(plan: &Plan, report: &Report) -> Value {
    let levels: Vec<_> = report
        .levels
        .iter()
        .map(|level| {
            json!({
                "depth": level.depth,
                "transitions": level.transitions,
                "new": level.new,
                "distinct": level.distinct,
                "seconds": level.time.as_secs_f64(),
                "whole": level.complete,
            })
        })
        .collect();
    let finding = report.finding.as_ref().map(|finding| {
        json!({
            "rule": format!("{:?}", finding.broken.rule),
            "text": finding.broken.text,
            "path": finding.path,
        })
    });
    json!({
        "plan": plan.name,
        "end": format!("{:?}", report.end),
        "depth": report.depth(),
        "distinct": report.distinct(),
        "transitions": report.transitions(),
        "nodes": report.nodes,
        "messages": report.messages,
        "turns": report.turns,
        "levels": levels,
        "finding": finding,
    })
}
