//! The simulator's command line. Its last line is the command that reproduces;
//! its exit code says what was found: 0 nothing, 2 usage, 10 a crash of the
//! simulator, 11 safety, 12 liveness, 13 two runs that differ, 14 a fault or a
//! mark that a large campaign never saw.

mod artefacts;
mod explain;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use precentor_sim::campaign::{self, NONDETERMINISM, Plan, SAFETY, Scenes, Summary};
use precentor_sim::core_clock::CoreClock;
use precentor_sim::report;
use precentor_sim::scenario::Scenario;
use precentor_sim::sightings::Sightings;
use precentor_sim::stage::{Ending, Planted, Stage};
use precentor_sim::tape::Tape;
use precentor_sim::topology::Row;
use precentor_sim::trace::Trace;
use serde_json::json;

/// Drives the Precentor core through partitions, crashes and disk faults.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Run one seed.
    Run {
        #[command(flatten)]
        world: World,
        /// Tell every event and action.
        #[arg(long)]
        trace: bool,
    },
    /// Run many seeds.
    Swarm {
        /// How many.
        #[arg(long, required_unless_present = "seconds")]
        seeds: Option<u64>,
        /// For how long.
        #[arg(long, conflicts_with = "seeds")]
        seconds: Option<u64>,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// On how many threads; by default one per core.
        #[arg(long)]
        threads: Option<usize>,
        /// With 200 workers and 50 tenants, and leaders that do not last.
        #[arg(long)]
        crowd: bool,
    },
    /// Find every planted bug (needs the feature planted-bugs).
    Planted {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Seeds for each bug, at most.
        #[arg(long, default_value_t = 5_000)]
        seeds: u64,
        /// Core-seconds for each bug, at most.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only bugs whose name has this in it.
        #[arg(long)]
        only: Option<String>,
    },
    /// Time to a serving leader of five nodes in each shape of the network.
    Topology {
        /// Seeds for each shape.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Only this shape.
        #[arg(long)]
        shape: Option<String>,
        /// On how many threads; by default one per core.
        #[arg(long)]
        threads: Option<usize>,
        /// Tell every event and action of the first seed.
        #[arg(long, requires = "shape")]
        trace: bool,
    },
    /// Run seeds twice and compare every step.
    Determinism {
        /// How many.
        #[arg(long)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Make the world of a seed that fails smaller, as long as the same judge finds something.
    Shrink {
        #[command(flatten)]
        world: World,
        /// Events that are spent on it, at most: half a minute for the default.
        #[arg(long, default_value_t = 5_000_000)]
        events: u64,
        /// Where to write what is left, to be run by `replay`.
        #[arg(long, default_value = "artefact.json")]
        out: PathBuf,
    },
    /// Run a world that `shrink` has written.
    Replay {
        /// Which file.
        file: PathBuf,
        /// Tell every event and action.
        #[arg(long)]
        trace: bool,
    },
    /// Tell the story of a world, a line for each transition, or draw it.
    #[command(after_help = "\
Examples:
  explain --seed 7
  explain --seed 7 --html timeline.html      one page, to be opened in a browser
  explain --artefact artefact.json --html timeline.html")]
    Explain {
        #[command(flatten)]
        which: Which,
        /// Write a page with a timeline instead: lanes, messages, terms, state at any moment.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Measure the speed on the reference cluster.
    Bench,
}

/// The world of a seed.
#[derive(Args)]
struct World {
    /// The seed.
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    kind: Kind,
}

/// What sort of world a seed stands for.
#[derive(Args)]
struct Kind {
    /// With a membership that stays as it was founded.
    #[arg(long)]
    settled: bool,
    /// With 200 workers and 50 tenants, and leaders that do not last.
    #[arg(long, conflicts_with = "settled")]
    crowd: bool,
    /// With this planted bug (needs the feature planted-bugs).
    #[arg(long)]
    planted: Option<String>,
}

/// The world of a seed, or one that was written.
#[derive(Args)]
struct Which {
    /// The seed.
    #[arg(long, required_unless_present = "artefact")]
    seed: Option<u64>,
    #[command(flatten)]
    kind: Kind,
    /// A world that `shrink` has written.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "settled", "crowd", "planted"])]
    artefact: Option<PathBuf>,
}

impl Kind {
    fn scenes(&self) -> Scenes {
        match (self.settled, self.crowd) {
            (true, _) => Scenes::Settled,
            (_, true) => Scenes::Crowd,
            _ => Scenes::Any,
        }
    }
}

const COMMAND: &str = "cargo run --release -p precentor-sim --";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The judges report panics of the core; the default hook would only add noise.
    std::panic::set_hook(Box::new(|panic| {
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            eprintln!("{panic}");
        }
    }));
    let json = arguments.json;
    let code = match arguments.verb {
        Verb::Run { world, trace } => or_usage(run(&world, trace, json)),
        Verb::Swarm {
            seeds,
            seconds,
            from,
            threads,
            crowd,
        } => swarm(
            Plan {
                scenes: if crowd { Scenes::Crowd } else { Scenes::Any },
                from,
                seeds: seeds.unwrap_or(u64::MAX),
                time_max: seconds.map(Duration::from_secs),
                threads: threads.unwrap_or_else(cores),
                planted: None,
                stop_at_first: false,
            },
            json,
        ),
        Verb::Planted {
            from,
            seeds,
            seconds,
            only,
        } => planted(from, seeds, seconds, only.as_deref(), json),
        Verb::Topology {
            seeds,
            from,
            shape,
            threads,
            trace,
        } => {
            let rows = shape.map_or(Ok(Row::all()), |name| Row::of_name(&name).map(|r| vec![r]));
            match rows {
                Ok(rows) if trace => tell_topology(rows[0], from, json),
                Ok(rows) => topology(&rows, from, seeds, threads.unwrap_or_else(cores), json),
                Err(message) => {
                    eprintln!("{message}");
                    2
                }
            }
        }
        Verb::Determinism { seeds, from } => determinism(from, seeds, json),
        Verb::Shrink { world, events, out } => {
            or_usage(artefacts::shrink(world, events, &out, json))
        }
        Verb::Replay { file, trace } => or_usage(artefacts::replay(&file, trace, json)),
        Verb::Explain { which, html } => or_usage(explain::explain(&which, html.as_deref(), json)),
        Verb::Bench => bench(json),
    };
    ExitCode::from(code)
}

/// An exit code, or what is wrong with what was asked for.
fn or_usage(code: Result<u8, String>) -> u8 {
    code.unwrap_or_else(|message| {
        eprintln!("{message}");
        2
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn run(world: &World, trace: bool, json: bool) -> Result<u8, String> {
    let World { seed, kind } = world;
    let (seed, scenes) = (*seed, kind.scenes());
    let planted = bug(kind.planted.as_deref())?;
    if trace {
        println!("{:#?}", scenes.of_seed(seed));
    }
    let kept = if trace {
        Trace::printing()
    } else {
        Trace::quiet()
    };
    let ending = scenes.run(seed, planted, kept);
    if json {
        println!("{}", report::ending_json(seed, &ending));
    } else {
        match &ending.failure {
            Some(failure) => println!("{failure}"),
            None => println!("nothing found"),
        }
        println!(
            "{} events, {} entries, {} ms virtual, hash {:016x}",
            ending.events,
            ending.committed,
            ending.virtual_us / 1_000,
            ending.trace.hash()
        );
        if ending.failure.is_some() {
            println!(
                "`shrink` with the same options makes it smaller, `explain` draws it: see docs/TESTING.md"
            );
        }
        println!("{}", command("run", seed, kind));
    }
    Ok(code_of(&ending))
}

/// What is to be typed for a verb and a world.
fn command(verb: &str, seed: u64, kind: &Kind) -> String {
    let option = option_of(kind.scenes());
    match &kind.planted {
        Some(bug) => format!(
            "cargo run --release -p precentor-sim --features planted-bugs -- {verb} --seed {seed}{option} --planted {bug}"
        ),
        None => format!("{COMMAND} {verb} --seed {seed}{option}"),
    }
}

/// How a seed's world is told from others of the same number.
fn option_of(scenes: Scenes) -> &'static str {
    match scenes {
        Scenes::Settled => " --settled",
        Scenes::Crowd => " --crowd",
        Scenes::Any | Scenes::Topology(_) => "",
    }
}

fn code_of(ending: &Ending) -> u8 {
    match &ending.failure {
        None => 0,
        Some(failure) if failure.checker.is_liveness() => campaign::LIVENESS,
        Some(_) => SAFETY,
    }
}

fn swarm(plan: Plan, json: bool) -> u8 {
    let summary = campaign::run(plan);
    let unseen = summary.unseen();
    if json {
        println!("{}", report::summary_json(&summary));
    } else {
        println!("{}", report::summary_text(&summary));
        if !unseen.is_empty() {
            println!("never seen: {}", unseen.join(", "));
        }
        println!("{}", reproduce(&summary, plan));
    }
    summary.exit_code()
}

fn topology(rows: &[Row], from: u64, seeds: u64, threads: usize, json: bool) -> u8 {
    let mut sightings = Sightings::default();
    let mut failures = Vec::new();
    let mut worst = 0;
    for &row in rows {
        let summary = campaign::run(Plan {
            scenes: Scenes::Topology(row),
            from,
            seeds,
            time_max: None,
            threads,
            planted: None,
            stop_at_first: false,
        });
        worst = worst.max(summary.troubles_code());
        for (seed, trouble) in &summary.troubles {
            failures.push((row, *seed, report::trouble_line(*seed, trouble)));
        }
        sightings.merge(summary.sightings);
    }
    let again = |row: Row, seed| {
        format!(
            "{COMMAND} topology --shape {} --from {seed} --seeds 1",
            row.name()
        )
    };
    if json {
        let failures: Vec<_> = failures
            .iter()
            .map(|(row, seed, text)| json!({ "shape": row.name(), "seed": seed, "text": text, "command": again(*row, *seed) }))
            .collect();
        println!(
            "{}",
            json!({ "nodes": 5, "seeds": seeds, "shapes": sightings.json(), "failures": failures })
        );
        return worst;
    }
    print!("{}", sightings.text());
    for (row, seed, text) in &failures {
        println!("{}: {text}\n    {}", row.name(), again(*row, *seed));
    }
    println!(
        "5 nodes, {seeds} seeds a shape, {} failures",
        failures.len()
    );
    println!("{COMMAND} topology --from {from} --seeds {seeds}");
    worst
}

fn tell_topology(row: Row, seed: u64, json: bool) -> u8 {
    let scenes = Scenes::Topology(row);
    println!("{:#?}", scenes.of_seed(seed));
    let ending = scenes.run(seed, None, Trace::printing());
    if json {
        println!("{}", report::ending_json(seed, &ending));
    }
    println!(
        "{COMMAND} topology --shape {} --from {seed} --trace",
        row.name()
    );
    code_of(&ending)
}

fn reproduce(summary: &Summary, plan: Plan) -> String {
    let option = option_of(plan.scenes);
    match summary.troubles.first() {
        Some((seed, _)) => format!("{COMMAND} run --seed {seed}{option}"),
        None => format!(
            "{COMMAND} swarm --from {} --seeds {}{option}",
            plan.from, summary.seeds
        ),
    }
}

fn determinism(from: u64, seeds: u64, json: bool) -> u8 {
    for seed in from..from.saturating_add(seeds) {
        if let Err(difference) = campaign::compare(seed) {
            if json {
                println!(
                    "{}",
                    json!({ "seed": seed, "step": difference.step, "stories": difference.stories })
                );
            } else {
                println!(
                    "seed {seed} differs from itself at step {}",
                    difference.step
                );
                for (run, story) in difference.stories.iter().enumerate() {
                    story
                        .iter()
                        .for_each(|line| println!("run {}: {line}", run + 1));
                }
                println!("{COMMAND} determinism --from {seed} --seeds 1");
            }
            return NONDETERMINISM;
        }
    }
    if json {
        println!("{}", json!({ "seeds": seeds, "different": 0 }));
    } else {
        println!("{seeds} seeds, each twice: no difference");
        println!("{COMMAND} determinism --from {from} --seeds {seeds}");
    }
    0
}

fn bench(json: bool) -> u8 {
    let started = CoreClock::start();
    let ending = Stage::new(
        Scenario::reference(),
        Tape::of_seed(1),
        None,
        Trace::quiet(),
    )
    .run();
    let micros = started.elapsed().as_micros().max(1) as u64;
    let (events, times) = (
        ending.events * 1_000_000 / micros,
        ending.virtual_us / micros,
    );
    if json {
        println!(
            "{}",
            json!({ "events_per_core_second": events, "times_real_time": times, "events": ending.events, "failed": ending.failure.is_some() })
        );
    } else {
        println!(
            "{} events, {} entries in {} ms",
            ending.events,
            ending.committed,
            micros / 1_000
        );
        println!("{events} events/s/core, {times} x real time");
        if let Some(failure) = &ending.failure {
            println!("{failure}");
        }
        println!("{COMMAND} bench");
    }
    if ending.failure.is_some() { SAFETY } else { 0 }
}

#[cfg(not(feature = "planted-bugs"))]
fn bug(name: Option<&str>) -> Result<Planted, String> {
    match name {
        None => Ok(None),
        Some(_) => Err(NO_BUGS.into()),
    }
}

#[cfg(not(feature = "planted-bugs"))]
const NO_BUGS: &str = "this build has no planted bugs: add --features planted-bugs";

#[cfg(not(feature = "planted-bugs"))]
fn planted(_from: u64, _seeds: u64, _seconds: u64, _only: Option<&str>, _json: bool) -> u8 {
    eprintln!("{NO_BUGS}");
    2
}

#[cfg(feature = "planted-bugs")]
fn bug(name: Option<&str>) -> Result<Planted, String> {
    use precentor_core::planted::Bug;
    let Some(name) = name else {
        return Ok(None);
    };
    let found = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name);
    found
        .map(|bug| Some(*bug))
        .ok_or_else(|| format!("there is no planted bug {name}; there are {:?}", Bug::ALL))
}

#[cfg(feature = "planted-bugs")]
fn planted(from: u64, seeds: u64, seconds: u64, only: Option<&str>, json: bool) -> u8 {
    use precentor_core::planted::Bug;
    use precentor_sim::planted::{expected, healthy, hunt};
    let mut rows = Vec::new();
    let (mut missed, mut astray, mut furthest) = (Vec::new(), Vec::new(), 0);
    let wanted = |bug: &&Bug| only.is_none_or(|only| format!("{bug:?}").contains(only));
    for bug in Bug::ALL.iter().filter(wanted) {
        if expected(*bug).is_empty() {
            if !json {
                println!("{:<24} told by scripts alone", format!("{bug:?}"));
            }
            continue;
        }
        let found = hunt(*bug, from, seeds, Duration::from_secs(seconds));
        let Some(found) = found else {
            missed.push(format!("{bug:?}"));
            if !json {
                println!("{:<24} NOT FOUND", format!("{bug:?}"));
            }
            continue;
        };
        furthest = furthest.max(found.seeds);
        if !found.is_by_expected(*bug) {
            astray.push(format!("{bug:?}"));
            if !json {
                println!(
                    "{:<24} FOUND BY ANOTHER than {:?}: {}",
                    format!("{bug:?}"),
                    expected(*bug),
                    found.failure
                );
            }
        }
        let millis = found.time.as_millis() as u64;
        if !json {
            println!(
                "{:<24} {:>6} seeds {:>8} ms  {:?} (seed {})",
                format!("{bug:?}"),
                found.seeds,
                millis,
                found.failure.checker,
                found.seed
            );
        }
        rows.push(json!({
            "bug": format!("{bug:?}"), "seed": found.seed, "seeds": found.seeds, "core_ms": millis,
            "checker": format!("{:?}", found.failure.checker), "text": found.failure.text,
        }));
    }
    let healthy = healthy(from, furthest);
    let sane = healthy.troubles.is_empty();
    if json {
        println!(
            "{}",
            json!({ "found": rows, "missed": missed, "astray": astray, "healthy": report::summary_json(&healthy) })
        );
    } else {
        println!(
            "{} found, {} missed, {} found by another judge; the healthy core over the same {furthest} seeds: {} failures",
            rows.len(),
            missed.len(),
            astray.len(),
            healthy.troubles.len()
        );
        for (seed, trouble) in &healthy.troubles {
            println!("{}", report::trouble_line(*seed, trouble));
        }
        println!(
            "cargo run --release -p precentor-sim --features planted-bugs -- planted --from {from}"
        );
    }
    if sane && missed.is_empty() && astray.is_empty() {
        0
    } else {
        SAFETY
    }
}
