//! What a campaign prints: for people as lines, for programs as one JSON object.

use serde_json::{Map, Value, json};

use crate::campaign::{Summary, Trouble};
use crate::marks::Mark;
use crate::shrink::Shrunk;
use crate::sightings::Sighting;
use crate::stage::Ending;
use crate::tape::Domain;

/// A trouble in one line.
#[must_use]
pub fn trouble_line(seed: u64, trouble: &Trouble) -> String {
    match trouble {
        Trouble::Failed(failure) => format!("seed {seed}: {failure}"),
        Trouble::Crashed => format!("seed {seed}: the simulator crashed"),
    }
}

fn named(names: impl Iterator<Item = &'static str>, counts: &[u64]) -> Map<String, Value> {
    names
        .zip(counts)
        .map(|(name, &count)| (name.to_owned(), json!(count)))
        .collect()
}

fn faults(counts: &[u64]) -> Map<String, Value> {
    let mut all = named(Domain::ALL.iter().map(|domain| domain.name()), counts);
    all.retain(|name, _| {
        Domain::ALL
            .iter()
            .any(|domain| domain.is_fault() && domain.name() == name)
    });
    all
}

/// A world that was made smaller, as lines.
#[must_use]
pub fn shrunk_text(shrunk: &Shrunk) -> String {
    let (before, after) = (shrunk.before, shrunk.after);
    let row = |name: &str, before: u64, after: u64| format!("{name:<10}{before:>10}{after:>10}\n");
    [
        format!("{}: {}\n", shrunk.artefact.checker, shrunk.artefact.text),
        format!("{:<10}{:>10}{:>10}\n", "", "was", "is"),
        row("nodes", before.nodes as u64, after.nodes as u64),
        row("clients", before.clients as u64, after.clients as u64),
        row("workers", before.workers as u64, after.workers as u64),
        row("faults", before.faults as u64, after.faults as u64),
        row("events", before.events, after.events),
        format!("by {} runs\n", shrunk.runs),
    ]
    .concat()
}

/// The same as JSON.
#[must_use]
pub fn shrunk_json(shrunk: &Shrunk) -> Value {
    json!({
        "seed": shrunk.artefact.seed,
        "checker": shrunk.artefact.checker,
        "text": shrunk.artefact.text,
        "before": shrunk.before,
        "after": shrunk.after,
        "runs": shrunk.runs,
    })
}

/// A run as JSON.
#[must_use]
pub fn ending_json(seed: u64, ending: &Ending) -> Value {
    json!({
        "seed": seed,
        "failure": ending.failure.as_ref().map(|failure| json!({
            "checker": format!("{:?}", failure.checker),
            "text": failure.text,
        })),
        "events": ending.events,
        "virtual_ms": ending.virtual_us / 1_000,
        "committed": ending.committed,
        "hash": format!("{:016x}", ending.trace.hash()),
        "faults": faults(ending.tape.counters()),
        "topology": ending.sighting.map(sighting_json),
        "marks": named(Mark::ALL.iter().map(|mark| mark.name()), ending.marks.counts()),
    })
}

fn sighting_json(sighting: Sighting) -> Value {
    json!({
        "shape": sighting.row.name(),
        "outcome": format!("{:?}", sighting.outcome),
        "serving_after_ms": sighting.serving_us.map(|us| us / 1_000),
        "without_leader_ms": sighting.dark_us / 1_000,
        "losses": sighting.losses,
    })
}

/// A campaign as JSON.
#[must_use]
pub fn summary_json(summary: &Summary) -> Value {
    let troubles: Vec<Value> = summary
        .troubles
        .iter()
        .map(|(seed, trouble)| json!({ "seed": seed, "text": trouble_line(*seed, trouble) }))
        .collect();
    json!({
        "seeds": summary.seeds,
        "events": summary.events,
        "virtual_ms": summary.virtual_us / 1_000,
        "committed": summary.committed,
        "core_ms": summary.core_time.as_millis() as u64,
        "events_per_core_second": per_second(summary),
        "failures": troubles,
        "faults": faults(&summary.faults),
        "topologies": summary.sightings.json(),
        "unseen": summary.unseen(),
        "marks": named(Mark::ALL.iter().map(|mark| mark.name()), &summary.marks),
    })
}

/// Events in a second of one core.
#[must_use]
pub fn per_second(summary: &Summary) -> u64 {
    summary.events * 1_000 / (summary.core_time.as_millis() as u64).max(1)
}

/// A campaign in lines.
#[must_use]
pub fn summary_text(summary: &Summary) -> String {
    let mut text = String::new();
    for domain in Domain::ALL.iter().filter(|domain| domain.is_fault()) {
        text.push_str(&format!(
            "fault {:>10}  {}\n",
            summary.faults[*domain as usize],
            domain.name()
        ));
    }
    for mark in Mark::ALL {
        text.push_str(&format!(
            "mark  {:>10}  {}\n",
            summary.marks[*mark as usize],
            mark.name()
        ));
    }
    text.push_str(&summary.sightings.text());
    for (seed, trouble) in &summary.troubles {
        text.push_str(&trouble_line(*seed, trouble));
        text.push('\n');
    }
    text.push_str(&format!(
        "{} seeds, {} failed; {} events, {} entries, {} s virtual in {} ms of core time ({} events/s/core)",
        summary.seeds,
        summary.troubles.len(),
        summary.events,
        summary.committed,
        summary.virtual_us / 1_000_000,
        summary.core_time.as_millis(),
        per_second(summary),
    ));
    text
}
