//! Makes a failing world smaller, as long as the same judge finds something: fewer nodes,
//! clients, workers and kinds of faults first, then fewer of the faults that happened
//! (delta debugging; Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
//! Input", 2002). What is tried does not depend on time, so it always ends with the same.

mod candidates;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::check::Failure;
use crate::scenario::Scenario;
use crate::stage::{Ending, Planted, Stage};
use crate::tape::{Choice, Tape};
use crate::trace::Trace;

use candidates::Candidates;

/// What a run counts as that the simulator itself did not survive.
const CRASHED_EVENTS: u64 = 10_000;

/// The layout of an artefact.
const FORMAT: u32 = 1;

/// A world that fails, so that a file can hold it: it does not change when seeds come to
/// draw something else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Artefact {
    /// The layout.
    format: u32,
    /// Where all that is no fault comes from.
    pub seed: u64,
    /// The planted bug, by name.
    pub planted: Option<String>,
    /// The world.
    pub scenario: Scenario,
    /// Only these faults happen; none if it was not shrunk so far.
    pub faults: Option<Vec<Choice>>,
    /// Which judge finds something.
    pub checker: String,
    /// What, when it was written.
    pub text: String,
}

impl Artefact {
    /// A world as a seed draws it, and what was found in it.
    #[must_use]
    pub fn new(
        seed: u64,
        scenario: Scenario,
        planted: Option<String>,
        found: &Failure,
    ) -> Artefact {
        Artefact {
            format: FORMAT,
            seed,
            planted,
            scenario,
            faults: None,
            checker: format!("{:?}", found.checker),
            text: found.text.clone(),
        }
    }

    /// Reads one from a file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Artefact, String> {
        let found: Artefact =
            serde_json::from_str(text).map_err(|error| format!("this is no artefact: {error}"))?;
        match found.format {
            FORMAT => Ok(found),
            other => Err(format!(
                "it has format {other}; this program reads {FORMAT}"
            )),
        }
    }

    /// As a file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("it is made of numbers, names and lists") + "\n"
    }

    /// Runs its world.
    #[must_use]
    pub fn run(&self, planted: Planted, trace: Trace) -> Ending {
        let tape = match &self.faults {
            None => Tape::of_seed(self.seed),
            Some(faults) => Tape::replay(self.seed, faults.iter().copied()),
        };
        Stage::new(self.scenario, tape, planted, trace).run()
    }
}

/// How large a world is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Extent {
    /// Nodes of its founding, and those that may join.
    pub nodes: usize,
    /// Clients.
    pub clients: usize,
    /// Workers.
    pub workers: usize,
    /// Faults that happened.
    pub faults: usize,
    /// Events that the cores took.
    pub events: u64,
}

impl Extent {
    fn of(scenario: &Scenario, ending: &Ending) -> Extent {
        Extent {
            nodes: scenario.machines(),
            clients: scenario.clients.count,
            workers: scenario.workers.count,
            faults: ending.tape.recorded().len(),
            events: ending.events,
        }
    }
}

/// A world that was made smaller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shrunk {
    /// What is left.
    pub artefact: Artefact,
    /// How large it was.
    pub before: Extent,
    /// How large it is.
    pub after: Extent,
    /// How many worlds were run for that.
    pub runs: u64,
}

/// Makes it smaller, until so many events were spent on that.
///
/// # Errors
/// If it does not fail as it says.
pub fn shrink(artefact: Artefact, planted: Planted, events_max: u64) -> Result<Shrunk, String> {
    let mut search = Search {
        best: artefact,
        planted,
        runs: 0,
        events: 0,
        events_max,
    };
    let Some(ending) = search.fails(&search.best.clone()) else {
        let checker = &search.best.checker;
        return Err(format!("{checker} finds nothing in this world"));
    };
    let before = Extent::of(&search.best.scenario, &ending);
    search.simplify();
    search.pin_faults();
    search.drop_faults();
    search.simplify();
    search.drop_faults();
    let found = search.fails(&search.best.clone());
    let ending =
        found.ok_or("what is left does not fail again: this is no function of its input")?;
    if let Some(failure) = &ending.failure {
        search.best.text.clone_from(&failure.text);
    }
    Ok(Shrunk {
        before,
        after: Extent::of(&search.best.scenario, &ending),
        artefact: search.best,
        runs: search.runs,
    })
}

struct Search {
    best: Artefact,
    planted: Planted,
    runs: u64,
    /// Events of all runs: they take the time, and unlike time they are always the same.
    events: u64,
    events_max: u64,
}

impl Search {
    fn is_over(&self) -> bool {
        self.events >= self.events_max
    }

    /// Runs a world; how it ended, if it failed as the first one did.
    fn fails(&mut self, artefact: &Artefact) -> Option<Ending> {
        self.runs += 1;
        let planted = self.planted;
        // A world that no seed draws may be too odd for the simulator itself.
        let run = || artefact.run(planted, Trace::quiet());
        let ended = catch_unwind(AssertUnwindSafe(run)).ok();
        self.events += ended.as_ref().map_or(CRASHED_EVENTS, |it| it.events);
        let ending = ended?;
        let found = ending.failure.as_ref()?;
        (format!("{:?}", found.checker) == artefact.checker).then_some(ending)
    }

    /// Takes it for the best if it fails.
    fn try_it(&mut self, artefact: Artefact) -> bool {
        let fails = self.fails(&artefact).is_some();
        if fails {
            self.best = artefact;
        }
        fails
    }

    /// Tries simpler worlds, until none of them fails.
    fn simplify(&mut self) {
        loop {
            let mut is_simpler = false;
            let mut candidates = Candidates::default();
            while !self.is_over()
                && let Some(scenario) = candidates.next(&self.best.scenario)
            {
                let artefact = Artefact {
                    scenario,
                    ..self.best.clone()
                };
                is_simpler |= self.try_it(artefact);
            }
            if !is_simpler || self.is_over() {
                return;
            }
        }
    }

    /// From now on only the faults that happened may happen.
    fn pin_faults(&mut self) {
        let Some(ending) = self.fails(&self.best.clone()) else {
            return;
        };
        let faults = ending.tape.recorded().to_vec();
        self.try_it(Artefact {
            faults: Some(faults),
            ..self.best.clone()
        });
    }

    /// Leaves out faults: whole kinds of them, then ever smaller parts of the rest.
    fn drop_faults(&mut self) {
        let Some(faults) = self.best.faults.clone() else {
            return;
        };
        let kinds: BTreeSet<_> = faults.iter().map(|fault| fault.domain).collect();
        for kind in kinds {
            let mut rest = self.best.faults.clone().unwrap_or_default();
            rest.retain(|fault| fault.domain != kind);
            self.try_faults(rest);
        }
        let count = self.best.faults.as_ref().map_or(0, Vec::len);
        let mut size = count.div_ceil(2).max(1);
        loop {
            let mut from = 0;
            let mut is_fewer = false;
            while let Some(faults) = self.best.faults.clone().filter(|it| from < it.len()) {
                let to = (from + size).min(faults.len());
                let rest = [&faults[..from], &faults[to..]].concat();
                // What follows has moved up to where it was.
                match self.try_faults(rest) {
                    true => is_fewer = true,
                    false => from = to,
                }
                if self.is_over() {
                    return;
                }
            }
            if size == 1 && !is_fewer {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    fn try_faults(&mut self, faults: Vec<Choice>) -> bool {
        !self.is_over()
            && self.try_it(Artefact {
                faults: Some(faults),
                ..self.best.clone()
            })
    }
}
