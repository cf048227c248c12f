//! Worlds that are simpler than one that fails. They are found in its text, field by field:
//! a kind of fault that is added some day is left out here without a word of it.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::scenario::{DiskOptions, NemesisOptions, NetworkOptions, Scenario};
use precentor_core::config::Knobs;

/// Goes through the simpler worlds, one after the other. What it is asked about may become
/// simpler meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    asked: usize,
}

impl Candidates {
    /// The next one that is simpler than this.
    pub(super) fn next(&mut self, than: &Scenario) -> Option<Scenario> {
        let now = serde_json::to_value(than).expect("it is made of numbers, names and lists");
        loop {
            let change = changes(&now).into_iter().nth(self.asked)?;
            self.asked += 1;
            let mut simpler = now.clone();
            change.apply(&mut simpler);
            // What makes no scenario is none, and what changes nothing is not simpler.
            let scenario: Option<Scenario> = serde_json::from_value(simpler).ok();
            if let Some(scenario) = scenario.filter(|it| it != than && it.is_sound()) {
                return Some(scenario);
            }
        }
    }
}

impl Scenario {
    /// Can a world be like this?
    fn is_sound(&self) -> bool {
        let is_among = |place: usize| place < self.machines();
        self.knobs.check().is_ok() && self.slow_disk.is_none_or(|(place, _)| is_among(place))
    }
}

/// Some fields at once, with their new values.
struct Change(Vec<(String, Value)>);

impl Change {
    fn one(path: impl Into<String>, value: Value) -> Change {
        Change(vec![(path.into(), value)])
    }

    fn apply(self, world: &mut Value) {
        for (path, value) in self.0 {
            if let Some(field) = world.pointer_mut(&path) {
                *field = value;
            }
        }
    }
}

/// The changes that make a world simpler, the largest first. The same number and order of
/// them for every world.
fn changes(now: &Value) -> Vec<Change> {
    let number = |path: &str| now.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let mut all = Vec::new();
    for path in [
        "/operator",
        "/disaster",
        "/upgrade",
        "/topology",
        "/slow_disk",
    ] {
        all.push(Change::one(path, Value::Null));
    }
    for spares in [1, 2] {
        let spares = json!(spares.min(number("/operator/spares")));
        all.push(Change::one("/operator/spares", spares));
    }
    for nodes in [1, 3, 4, 5] {
        all.push(Change::one("/nodes", json!(nodes.min(number("/nodes")))));
    }
    for few in [1, 2, 5] {
        let clients = few.min(number("/clients/count"));
        all.push(Change::one("/clients/count", json!(clients)));
        let workers = json!(few.min(number("/workers/count")));
        all.push(Change(vec![
            ("/workers/count".into(), workers.clone()),
            ("/clients/workers".into(), workers),
        ]));
    }
    for divisor in [8, 4, 2] {
        let chaos_us = number("/chaos_us") / divisor;
        all.push(Change::one("/chaos_us", json!(chaos_us.max(1_000))));
    }
    for (part, usual) in USUAL.iter() {
        all.push(Change::one(part.clone(), usual.clone()));
        for (field, value) in usual.as_object().into_iter().flatten() {
            all.push(Change::one(format!("{part}/{field}"), value.clone()));
        }
    }
    for part in ["/clients", "/workers"] {
        for (field, _) in now
            .pointer(part)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let is_off_at_zero = field.ends_with("_ppm")
                || ["crash_us", "pause_us", "outage_every_us", "nap_us"].contains(&field.as_str());
            if is_off_at_zero {
                all.push(Change::one(format!("{part}/{field}"), json!(0)));
            }
        }
    }
    for (path, least) in [
        ("/clients/tenants", 1),
        ("/clients/files", 1),
        ("/clients/folders", 1),
        ("/clients/bulk_files_max", 1),
        ("/clients/bulks_max", 0),
        ("/workers/slots", 1),
        ("/workers/together_max", 1),
        ("/shuffle_ppm", 0),
        ("/drift", 0),
        ("/wall_ms_max", 0),
        ("/work_us_max", 0),
        ("/service_us_max", 20),
    ] {
        all.push(Change::one(path, json!(least.min(number(path)))));
    }
    for path in ["/workers/two_engines", "/workers/offers"] {
        all.push(Change::one(path, json!(false)));
    }
    all
}

/// Parts of a world as they are where nothing is wrong.
static USUAL: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    // Through a scenario, so that everything is written as it is there.
    let usual = Scenario {
        network: NetworkOptions::default(),
        disk: DiskOptions::default(),
        nemesis: NemesisOptions::default(),
        knobs: Knobs::default(),
        ..Scenario::reference()
    };
    let usual = serde_json::to_value(usual).expect("it is made of numbers, names and lists");
    ["/network", "/disk", "/nemesis", "/knobs"]
        .into_iter()
        .filter_map(|part| Some((part.to_owned(), usual.pointer(part)?.clone())))
        .collect()
});
