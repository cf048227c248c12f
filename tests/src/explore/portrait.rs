//! What a node will do from here on, in a name: two nodes with equal names
//! answer every future alike. The argument, because the whole search rests on it:
//!
//! - The name is taken of everything that the core's own `Debug` shows, so a
//!   field that the core gains tomorrow is part of it without anybody's doing;
//!   of the bodies that `Debug` leaves out; and of the disk. Only [`LEFT_OUT`]
//!   is not in it, each for the reason given there, and each must be found:
//!   a core that has changed its shape is refused, not misread.
//! - A moment is replaced by its distance from the node's own clock, because
//!   the core only compares moments with each other and with now. Distances are
//!   rounded, because election timeouts are drawn at random: but a drawn span
//!   is only ever waited for to its end or to the end of the shortest such
//!   timeout, and never equals that ([`super::local::seed_of`]), so that the
//!   spans of two draws do the same. On which side of now, and of the bounds of
//!   the knobs, a moment stands is kept exactly.
//! - Numbers of writes are counted from the last that was reported durable.
//!
//! That the argument holds for the core as it is, and not only on paper, is
//! tested: random walks of real nodes are compared, step by step, with what
//! the search's table of such names predicts.

use std::fmt::Write;

use precentor_core::digest::Digest;
use precentor_core::time::Time;

use super::local::{ELECTION_MS_MAX, ELECTION_MS_MIN, HEARTBEAT_MS, Local};

/// Fields of the core's manager that decide nothing here.
const LEFT_OUT: &[(&str, &str)] = &[
    ("config", "it never changes, and the node is named apart"),
    (
        "random",
        "which span is drawn makes no difference: see above",
    ),
    ("marks", "counters that are only looked at"),
    (
        "health",
        "nobody wakes late and no write is slow on the average (see `check_health`): what is left is how long a write waits, and that is in the outbox",
    ),
    ("generation", "no worker ever comes: see `Local::check`"),
];

/// Fields of the core's consensus that decide nothing here.
const LEFT_OUT_OF_CLUSTER: &[(&str, &str)] = &[
    ("heard", "it dates answers to stale reads, and nobody reads"),
    (
        "timing",
        "election timeouts cannot grow: their ceiling is where they begin",
    ),
];

/// What looks like a moment in the core's `Debug`, and is a span.
const SPANS: &[&str] = &["patience: "];

/// To so many microseconds moments are rounded: far more than all random parts
/// of a run together, and far less than the least span between two that matter.
const UNIT_US: i128 = 100_000;

/// A digest as a number.
pub(super) fn number_of(digest: Digest) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.0[..16]);
    u128::from_le_bytes(bytes)
}

/// The name of what a node is and has. `bodies` stands for all entries, in
/// memory and on disk.
///
/// # Errors
/// If the core's `Debug` has another shape than this knows.
pub(super) fn name_of(local: &Local, bodies: &[u128]) -> Result<u128, String> {
    let mut text = format!("{} {bodies:?}", local.node);
    let disk = &local.disk;
    let shown = |error: std::fmt::Error| error.to_string();
    write!(text, "{:?} {}", disk.hard_state(), disk.entries().len()).map_err(shown)?;
    write!(text, "{:?}", disk.waiting()).map_err(shown)?;
    if let Some(driver) = &local.driver {
        let whole = format!("{driver:?}");
        let driver = fields(&whole);
        let manager = driver
            .iter()
            .find(|(name, _)| *name == "manager")
            .ok_or("the core's driver has no field `manager` any more")?;
        let manager = fields(manager.1);
        for (name, why) in LEFT_OUT {
            if !manager.iter().any(|(found, _)| found == name) {
                return Err(format!(
                    "the core's manager has no field `{name}`, which was left out because {why}"
                ));
            }
        }
        for (name, value) in manager {
            if name == "health" {
                check_health(&fields(value))?;
            }
            if name == "cluster" {
                let cluster = fields(value);
                for (name, why) in LEFT_OUT_OF_CLUSTER {
                    if !cluster.iter().any(|(found, _)| found == name) {
                        return Err(format!(
                            "the core's cluster has no field `{name}`, which was left out because {why}"
                        ));
                    }
                }
                for (name, value) in cluster {
                    if !LEFT_OUT_OF_CLUSTER.iter().any(|(left, _)| *left == name) {
                        text.push_str(name);
                        text.push_str(value);
                    }
                }
            } else if !LEFT_OUT.iter().any(|(left, _)| *left == name) {
                text.push_str(name);
                text.push_str(value);
            }
        }
    }
    let text = relative(&text, local.clock, disk.reported().0);
    Ok(number_of(Digest::of(text.as_bytes())))
}

/// Does a node's health depend on nothing but how long its oldest write waits?
fn check_health(health: &[(&str, &str)]) -> Result<(), String> {
    let value = |name: &str| {
        let field = health.iter().find(|(found, _)| *found == name);
        let none = || format!("the core's health has no field `{name}` any more");
        field.map(|(_, value)| *value).ok_or_else(none)
    };
    let (stalls, latency) = (value("stalls")?, value("write_latency")?);
    let latency_us = latency.strip_suffix("us").and_then(|us| us.parse().ok());
    let is_short = latency_us.is_some_and(|us: u64| us <= HEARTBEAT_MS * 1_000);
    if stalls != "[]" || !is_short {
        return Err(format!(
            "late turns {stalls} and writes of {latency} decide how well a node is: they must be part of its name"
        ));
    }
    Ok(())
}

/// The fields of a struct's `Debug`, with their values.
fn fields(text: &str) -> Vec<(&str, &str)> {
    let start = text.find('{').map_or(text.len(), |at| at + 1);
    let (mut found, mut begin) = (Vec::new(), start);
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (at, byte) in text.bytes().enumerate().skip(start) {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                found.extend(text[begin..at].trim().split_once(": "));
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The text with moments as seen from `clock` and writes counted from `reported`.
fn relative(text: &str, clock: Time, reported: u64) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let starts = bytes[at].is_ascii_digit() && (at == 0 || !in_word(bytes[at - 1]));
        let write = text[at..].strip_prefix("write").is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit()) && (at == 0 || !in_word(bytes[at - 1]))
        });
        if !starts && !write {
            at += 1;
            continue;
        }
        let digits = if write { at + 5 } else { at };
        let end = digits
            + bytes[digits..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
        let number: u64 = text[digits..end].parse().unwrap_or(u64::MAX);
        let moment = text[end..].starts_with("us")
            && bytes.get(end + 2).is_none_or(|byte| !in_word(*byte))
            && !SPANS.iter().any(|name| text[..at].ends_with(name));
        if write {
            out.push_str(&text[copied..at]);
            let _ = write!(out, "write+{}", number.saturating_sub(reported));
            copied = end;
        } else if moment {
            out.push_str(&text[copied..at]);
            out.push_str(&distance(number, clock));
            copied = end + 2;
        }
        at = end;
    }
    out.push_str(&text[copied..]);
    out
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How far a moment is from now, as far as anything depends on it.
fn distance(moment: u64, clock: Time) -> String {
    let ahead = i128::from(moment) - i128::from(clock.0);
    let (least, most) = (
        i128::from(ELECTION_MS_MIN) * 1_000,
        i128::from(ELECTION_MS_MAX) * 1_000,
    );
    let rounded = (ahead + UNIT_US / 2).div_euclid(UNIT_US);
    let beat = i128::from(HEARTBEAT_MS) * 1_000;
    let sides = [
        ahead <= 0,
        ahead > least,
        -ahead < least,
        -ahead <= most,
        -ahead > beat,
        -ahead > least,
    ];
    format!(
        "now{rounded:+}{}",
        sides.map(u8::from).map(|s| s.to_string()).concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_their_values_hold() {
        let text = r#"A { b: C { d: 1, e: [2, 3] }, f: "}, g: {", h: (4, 5) }"#;
        let found = fields(text);
        let expected = [
            ("b", "C { d: 1, e: [2, 3] }"),
            ("f", r#""}, g: {""#),
            ("h", "(4, 5)"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_moments_and_writes_are_made_relative() {
        let text = "deadline: 1500000us, id: write7, i7, t1us, durable_write: write3, 12 bytes, patience: 5us";
        let seen = relative(text, Time(500_000), 3);
        assert_eq!(
            seen,
            "deadline: now+10001100, id: write+4, i7, t1us, durable_write: write+0, 12 bytes, patience: 5us"
        );
    }

    #[test]
    fn two_draws_of_a_timeout_look_alike_and_a_due_one_does_not() {
        let (one, other) = (distance(1_000_001, Time(0)), distance(1_001_000, Time(0)));
        assert_eq!(one, other);
        assert_ne!(
            one,
            distance(1_000_000, Time(0)),
            "the bound itself is never drawn"
        );
        assert_ne!(distance(10, Time(10)), distance(11, Time(10)));
    }
}
