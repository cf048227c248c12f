//! What was measured, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::cluster::ENTRY_BYTES;
use super::compare::{Comparison, Figures, Measured};
use super::scenario::Scenario;

/// One JSON object with everything.
#[must_use]
pub fn as_json(measured: &Measured) -> Value {
    let comparisons = measured.comparisons.iter();
    let group = |name: &str| -> Vec<Value> {
        comparisons
            .clone()
            .filter(|comparison| comparison.scenario.name() == name)
            .map(comparison_as_json)
            .collect()
    };
    let node: Vec<Value> = measured
        .node
        .iter()
        .map(|(scenario, figures)| {
            let mut value = scenario_as_json(*scenario);
            value["precentor"] = figures_as_json(*scenario, figures);
            value
        })
        .collect();
    json!({
        "entry_bytes": ENTRY_BYTES,
        "passes": measured.plan.passes,
        "peer": "raft-rs",
        "commit": group("commit"),
        "elect": group("elect"),
        "heartbeat": group("heartbeat"),
        "catch_up": group("catch_up"),
        "node_commit": node,
    })
}

fn scenario_as_json(scenario: Scenario) -> Value {
    let mut value = json!({ "voters": scenario.voters() });
    if let Some(batch) = scenario.batch() {
        value["batch_entries"] = batch.into();
    }
    value
}

fn comparison_as_json(comparison: &Comparison) -> Value {
    let Comparison {
        scenario,
        ours,
        peer,
        ratio,
        ratio_worst,
    } = comparison;
    let mut value = scenario_as_json(*scenario);
    value["precentor"] = figures_as_json(*scenario, ours);
    value["raft_rs"] = figures_as_json(*scenario, peer);
    value["ratio"] = json!({
        "speed": ratio,
        "speed_worst_pass": ratio_worst,
        "messages": ours.messages / peer.messages,
        "allocations": ours.allocations / peer.allocations,
    });
    value
}

fn figures_as_json(scenario: Scenario, figures: &Figures) -> Value {
    let one = scenario.operation();
    let many = match one {
        "entry" => "entries".to_owned(),
        one => format!("{one}s"),
    };
    json!({
        format!("{many}_per_second"): figures.per_second(),
        format!("nanoseconds_per_{one}"): figures.nanoseconds,
        format!("messages_per_{one}"): figures.messages,
        format!("allocations_per_{one}"): figures.allocations,
    })
}

/// A table.
#[must_use]
pub fn as_table(measured: &Measured) -> String {
    let mut table = String::new();
    let mut line = |cells: [String; 11]| {
        let [what, voters, batch, rest @ ..] = cells;
        let _ = write!(table, "{what:<16} {voters:>6} {batch:>5}");
        for cell in rest {
            let _ = write!(table, " {cell:>10}");
        }
        table.push('\n');
    };
    line(
        [
            "", "", "", "ours", "ours", "ours", "raft-rs", "raft-rs", "raft-rs", "ratio", "ratio",
        ]
        .map(str::to_owned),
    );
    line(
        [
            "each", "voters", "batch", "ns", "messages", "allocs", "ns", "messages", "allocs",
            "median", "worst",
        ]
        .map(str::to_owned),
    );
    for comparison in &measured.comparisons {
        let [what, voters, batch] = names(comparison.scenario);
        let [ours, peer] = [&comparison.ours, &comparison.peer].map(numbers);
        let [a, b, c] = ours;
        let [d, e, f] = peer;
        let ratio = format!("{:.2}", comparison.ratio);
        let worst = format!("{:.2}", comparison.ratio_worst);
        line([what, voters, batch, a, b, c, d, e, f, ratio, worst]);
    }
    for (scenario, figures) in &measured.node {
        let [_, voters, batch] = names(*scenario);
        let [a, b, c] = numbers(figures);
        let none = || "-".to_owned();
        let what = "entry, node".to_owned();
        line([
            what,
            voters,
            batch,
            a,
            b,
            c,
            none(),
            none(),
            none(),
            none(),
            none(),
        ]);
    }
    let _ = write!(
        table,
        "entries of {ENTRY_BYTES} bytes, {} passes of each side in turns; figures are medians for \
         one operation, all nodes together; ratio: raft-rs's time by ours (goal: at least 3)",
        measured.plan.passes
    );
    table
}

fn names(scenario: Scenario) -> [String; 3] {
    let what = match scenario {
        Scenario::CatchUp { .. } => "entry, catch-up",
        Scenario::Commit { .. } | Scenario::Elect { .. } | Scenario::Heartbeat { .. } => {
            scenario.operation()
        }
    };
    let batch = scenario.batch().map(|batch| batch.to_string());
    [
        what.to_owned(),
        scenario.voters().to_string(),
        batch.unwrap_or_default(),
    ]
}

fn numbers(figures: &Figures) -> [String; 3] {
    [
        format!("{:.0}", figures.nanoseconds),
        format!("{:.3}", figures.messages),
        format!("{:.3}", figures.allocations),
    ]
}
