//! The verb that tells what happened in a world: as a story, or as a page.

use std::fs;
use std::path::Path;

use precentor_sim::chronicle::Chronicle;
use precentor_sim::stage::Ending;
use precentor_sim::timeline::{Title, page};
use precentor_sim::trace::Trace;
use serde_json::json;

use crate::artefacts::read;
use crate::{Which, bug, code_of, command};

/// Runs a world, and tells of it.
pub(crate) fn explain(which: &Which, html: Option<&Path>, json: bool) -> Result<u8, String> {
    let (mut ending, title, again) = ran(which)?;
    let trace = std::mem::take(&mut ending.trace);
    let chronicle = trace.into_chronicle().expect("it was asked for");
    let code = code_of(&ending);
    let again = match html {
        Some(path) => format!("{again} --html {}", path.display()),
        None => again,
    };
    if let Some(path) = html {
        let title = Title {
            title: &title,
            command: &again,
        };
        let page = page(&chronicle, &title);
        fs::write(path, &page).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if json {
        println!("{}", summary(&ending, &chronicle, html));
        return Ok(code);
    }
    match html {
        None => chronicle.story().for_each(|line| println!("{line}")),
        Some(path) => println!(
            "{}: {} things and {} messages in {} ms; open it in a browser",
            path.display(),
            chronicle.entries.len(),
            chronicle.arrows.len(),
            ending.virtual_us / 1_000
        ),
    }
    match &ending.failure {
        Some(failure) => println!("{failure}"),
        None => println!("nothing found"),
    }
    println!("{again}");
    Ok(code)
}

/// A world that has run, what it is called, and what runs it again.
fn ran(which: &Which) -> Result<(Ending, String, String), String> {
    let kept = Trace::chronicling();
    if let Some(file) = &which.artefact {
        let artefact = read(file)?;
        let bug = bug(artefact.planted.as_deref())?;
        let features = match artefact.planted {
            Some(_) => " --features planted-bugs",
            None => "",
        };
        let place = file.display();
        let again =
            format!("cargo run --release -p precentor-sim{features} -- explain --artefact {place}");
        let title = format!("{place}, made of seed {}", artefact.seed);
        return Ok((artefact.run(bug, kept), title, again));
    }
    let (seed, kind) = (which.seed.unwrap_or_default(), &which.kind);
    let bug = bug(kind.planted.as_deref())?;
    let title = match &kind.planted {
        Some(bug) => format!("seed {seed} with {bug}"),
        None => format!("seed {seed}"),
    };
    let ending = kind.scenes().run(seed, bug, kept);
    Ok((ending, title, command("explain", seed, kind)))
}

fn summary(ending: &Ending, chronicle: &Chronicle, html: Option<&Path>) -> serde_json::Value {
    let story: Vec<String> = chronicle.story().collect();
    json!({
        "things": chronicle.entries.len(),
        "messages": chronicle.arrows.len(),
        "virtual_us": ending.virtual_us,
        "failure": ending.failure.as_ref().map(ToString::to_string),
        "page": html,
        "story": story,
    })
}
