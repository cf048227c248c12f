//! Knobs in a file, by their names: one that the file does not have is as usual, and one
//! that is there no more is passed over.

use std::collections::BTreeMap;

use precentor_core::config::{KNOBS, Knobs};
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(knobs: &Knobs, serializer: S) -> Result<S::Ok, S::Error> {
    let values = KNOBS.iter().map(|knob| {
        let value = knobs.get(knob.name);
        (knob.name, value.expect("a knob of the table has a value"))
    });
    serializer.collect_map(values)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Knobs, D::Error> {
    let values = BTreeMap::<String, u64>::deserialize(deserializer)?;
    let mut knobs = Knobs::default();
    for (name, value) in values {
        // An unknown one was taken away since.
        let _ = knobs.set(&name, value);
    }
    Ok(knobs)
}
