//! What was seen of leaders in the shapes that networks took: per shape, how
//! many runs there were, how long it took until a leader served, and how often
//! leadership was lost. Sums; judges nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::topology::{Row, TIMEOUTS_MAX};

/// How a shape came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was watched to the end, and somebody reached a majority both ways.
    Watched,
    /// So it was too, but votes take longer than election timeouts: no bound.
    Unbound,
    /// Nobody reached a majority both ways.
    NoCentre,
    /// A node died of an older fault, so that the shape was another.
    Disturbed,
    /// The world was not stable in time.
    Unsettled,
}

/// One shape in one run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Which line of the table.
    pub row: Row,
    /// How it came out.
    pub outcome: Outcome,
    /// How long it took until a leader served, if one did.
    pub serving_us: Option<u64>,
    /// How long none served, in all.
    pub dark_us: u64,
    /// How often leadership was lost.
    pub losses: u32,
    /// An election timeout.
    pub timeout_us: u64,
}

/// All runs of one shape.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Watched to the end.
    pub watched: u64,
    /// Of these, with a bound that is demanded.
    pub bound: u64,
    /// In which nobody reached a majority both ways.
    pub no_centre: u64,
    /// That could not be watched to the end.
    pub spoilt: u64,
    /// Of the bound ones, without a leader that served at any time.
    pub never: u64,
    /// Leaderships lost in the bound ones.
    pub losses: u64,
    /// Times until a leader served in the bound ones, in thousandths of an
    /// election timeout; in no order.
    times: Vec<u64>,
}

impl Tally {
    /// The time, in thousandths of an election timeout, within which this part
    /// of the runs (in per mille) had a serving leader.
    #[must_use]
    pub fn time(&self, per_mille: usize) -> Option<u64> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let nth = (times.len() * per_mille).div_ceil(1_000).max(1) - 1;
        times.get(nth).copied()
    }
}

/// All shapes of all runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sightings(BTreeMap<Row, Tally>);

impl Sightings {
    /// One more run.
    pub fn add(&mut self, sighting: Sighting) {
        let tally = self.0.entry(sighting.row).or_default();
        match sighting.outcome {
            Outcome::Watched => {
                tally.watched += 1;
                tally.bound += 1;
                tally.losses += u64::from(sighting.losses);
                match sighting.serving_us {
                    Some(us) => tally.times.push(us * 1_000 / sighting.timeout_us.max(1)),
                    None => tally.never += 1,
                }
            }
            Outcome::Unbound => tally.watched += 1,
            Outcome::NoCentre => tally.no_centre += 1,
            Outcome::Disturbed | Outcome::Unsettled => tally.spoilt += 1,
        }
    }

    /// Another sum.
    pub fn merge(&mut self, other: Sightings) {
        for (row, more) in other.0 {
            let tally = self.0.entry(row).or_default();
            tally.watched += more.watched;
            tally.bound += more.bound;
            tally.no_centre += more.no_centre;
            tally.spoilt += more.spoilt;
            tally.never += more.never;
            tally.losses += more.losses;
            tally.times.extend(more.times);
        }
    }

    /// Of one shape, if there was any.
    #[must_use]
    pub fn tally(&self, row: Row) -> Option<&Tally> {
        self.0.get(&row)
    }

    /// A table: times in election timeouts.
    #[must_use]
    pub fn text(&self) -> String {
        let time = |time: Option<u64>| match time {
            Some(time) => format!("{}.{:02}", time / 1_000, time % 1_000 / 10),
            None => "-".into(),
        };
        let mut text = format!(
            "{:<16}{:>7}{:>8}{:>8}{:>8}{:>8}{:>8}{:>11}{:>8}   election timeouts until a leader serves; the bound is {TIMEOUTS_MAX} and the delays\n",
            "shape", "bound", "p50", "p99", "worst", "never", "losses", "no centre", "spoilt"
        );
        for (row, tally) in &self.0 {
            text.push_str(&format!(
                "{:<16}{:>7}{:>8}{:>8}{:>8}{:>8}{:>8}{:>11}{:>8}\n",
                row.name(),
                tally.bound,
                time(tally.time(500)),
                time(tally.time(990)),
                time(tally.time(1_000)),
                tally.never,
                tally.losses,
                tally.no_centre,
                tally.spoilt
            ));
        }
        text
    }

    /// The same for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows: Map<String, Value> = self
            .0
            .iter()
            .map(|(row, tally)| {
                let row_json = json!({
                    "watched": tally.watched,
                    "bound": tally.bound,
                    "milli_timeouts_p50": tally.time(500),
                    "milli_timeouts_p99": tally.time(990),
                    "milli_timeouts_max": tally.time(1_000),
                    "never": tally.never,
                    "losses": tally.losses,
                    "no_centre": tally.no_centre,
                    "spoilt": tally.spoilt,
                });
                (row.name().to_owned(), row_json)
            })
            .collect();
        Value::Object(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Shape;

    const STAR: Row = Row::Steady(Shape::Star);

    fn after(serving_us: Option<u64>, outcome: Outcome) -> Sighting {
        Sighting {
            row: STAR,
            outcome,
            serving_us,
            dark_us: 0,
            losses: 1,
            timeout_us: 300_000,
        }
    }

    #[test]
    fn percentiles_are_of_the_bound_runs_in_election_timeouts() {
        let (mut one, mut two) = (Sightings::default(), Sightings::default());
        for nth in 1..=99 {
            one.add(after(Some(nth * 3_000), Outcome::Watched));
        }
        two.add(after(Some(1_500_000), Outcome::Watched));
        two.add(after(Some(9_000_000), Outcome::Unbound));
        two.add(after(None, Outcome::NoCentre));
        one.merge(two);
        let tally = one.tally(STAR).expect("it was added");
        assert_eq!((tally.bound, tally.watched, tally.no_centre), (100, 101, 1));
        assert_eq!(tally.time(500), Some(500));
        assert_eq!(tally.time(990), Some(990));
        assert_eq!(tally.time(1_000), Some(5_000));
        assert_eq!(tally.losses, 100);
        assert!(one.text().contains("5.00"));
    }

    #[test]
    fn a_run_without_a_leader_has_no_time() {
        let mut sightings = Sightings::default();
        sightings.add(after(None, Outcome::Watched));
        let tally = sightings.tally(STAR).expect("it was added");
        assert_eq!((tally.never, tally.time(500)), (1, None));
    }
}
