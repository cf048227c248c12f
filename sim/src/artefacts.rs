//! The verbs of the command line for worlds that fail and were made smaller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use precentor_sim::report;
use precentor_sim::shrink::{self, Artefact};
use precentor_sim::trace::Trace;

use crate::{World, bug, code_of};

/// Makes the world of a seed smaller, and writes what is left.
pub(crate) fn shrink(world: World, events: u64, out: &Path, json: bool) -> Result<u8, String> {
    let World { seed, kind } = world;
    let (scenes, planted) = (kind.scenes(), kind.planted);
    let bug = bug(planted.as_deref())?;
    let run = || scenes.run(seed, bug, Trace::quiet());
    let ending = catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        format!("the simulator itself crashes with seed {seed}: RUST_BACKTRACE=1 tells where; no judge finds anything that could be shrunk")
    })?;
    let Some(failure) = ending.failure else {
        return Err(format!(
            "nothing is found with seed {seed}: there is nothing to shrink"
        ));
    };
    let artefact = Artefact::new(seed, scenes.of_seed(seed), planted, &failure);
    let shrunk = shrink::shrink(artefact, bug, events)?;
    let place = out.display();
    std::fs::write(out, shrunk.artefact.text()).map_err(|error| format!("{place}: {error}"))?;
    if json {
        println!("{}", report::shrunk_json(&shrunk));
    } else {
        print!("{}", report::shrunk_text(&shrunk));
        let features = match shrunk.artefact.planted {
            Some(_) => " --features planted-bugs",
            None => "",
        };
        println!("cargo run --release -p precentor-sim{features} -- replay {place}");
    }
    Ok(0)
}

/// A world that was written.
pub(crate) fn read(file: &Path) -> Result<Artefact, String> {
    let place = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{place}: {error}"))?;
    Artefact::read(&text).map_err(|error| format!("{place}: {error}"))
}

/// Runs a world that was written.
pub(crate) fn replay(file: &Path, trace: bool, json: bool) -> Result<u8, String> {
    let artefact = read(file)?;
    let bug = bug(artefact.planted.as_deref())?;
    let kept = match trace {
        true => Trace::printing(),
        false => Trace::quiet(),
    };
    let ending = artefact.run(bug, kept);
    if json {
        println!("{}", report::ending_json(artefact.seed, &ending));
        return Ok(code_of(&ending));
    }
    match &ending.failure {
        Some(failure) => println!("{failure}"),
        None => println!("nothing found; when it was written: {}", artefact.text),
    }
    Ok(code_of(&ending))
}
