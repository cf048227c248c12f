//! Breadth first, so that the first broken rule found is at the end of a
//! shortest path. Keeps of each world its name and how it was come to; worlds
//! themselves only while their turn has not come.

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::time::{Duration, Instant};

use super::fold::FoldSet;
use super::plan::Plan;
use super::rules::Broken;
use super::starts::Start;
use super::state::{Choice, State};
use super::tables::{Outcome, Tables};
use super::walk::Walk;

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Steps from the beginning.
    pub depth: u32,
    /// Then it stops where it is.
    pub time_max: Option<Duration>,
    /// Memory for worlds, roughly; then it stops where it is.
    pub memory_bytes_max: u64,
    /// Judge only what the protocol promises, not the rules by which it keeps it.
    pub outcomes_only: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            depth: 0,
            time_max: None,
            memory_bytes_max: 4 << 30,
            outcomes_only: false,
        }
    }
}

/// What was found at one depth.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// Steps from the beginning.
    pub depth: u32,
    /// Worlds come to, each as often as it was come to.
    pub transitions: u64,
    /// Of these, worlds never seen before.
    pub new: u64,
    /// All distinct worlds so far.
    pub distinct: u64,
    /// Time that this level took.
    pub time: Duration,
    /// All worlds of the level before were gone on from.
    pub complete: bool,
}

/// Why a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It is as deep as was asked for.
    Depth,
    /// There is nothing more within the budget: this space is proved.
    Exhausted,
    /// Its time was over.
    Time,
    /// Its memory was full.
    Memory,
    /// A rule is broken.
    Broken,
}

/// A broken rule, and how to come to it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was seen.
    pub broken: Broken,
    /// The numbers of the choices: what `replay` takes.
    pub path: Vec<usize>,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each depth.
    pub levels: Vec<Level>,
    /// Why it ended.
    pub end: End,
    /// What is broken, if anything is.
    pub finding: Option<Finding>,
    /// Distinct nodes.
    pub nodes: u64,
    /// Distinct messages.
    pub messages: u64,
    /// How often the core ran.
    pub turns: u64,
}

impl Report {
    /// All distinct worlds.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.levels.last().map_or(0, |level| level.distinct)
    }

    /// All transitions.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.levels.iter().map(|level| level.transitions).sum()
    }

    /// The deepest level that is whole.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let whole = self.levels.iter().filter(|level| level.complete);
        whole.map(|level| level.depth).max().unwrap_or(0)
    }
}

/// Searches, and tells of each depth as it is done.
///
/// # Errors
/// If the way to the plan's beginning breaks a rule already.
pub fn search(plan: &Plan, bounds: &Bounds, tell: impl FnMut(&Level)) -> Result<Report, Broken> {
    quiet(|| {
        let mut search = Search::begin(plan, bounds)?;
        search.run(bounds, tell);
        Ok(search.report())
    })
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs the core so that a panic of it is a finding, and no noise. Other
/// threads panic as ever.
pub(super) fn quiet<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let done = run();
    QUIET.set(false);
    done
}

struct Search {
    tables: Tables,
    first: State,
    begins_fresh: bool,
    visited: FoldSet<u128>,
    /// By number of world: from which it was come to, and how.
    origins: Vec<(u32, Choice)>,
    frontier: Vec<(u32, State)>,
    frontier_bytes: usize,
    levels: Vec<Level>,
    end: End,
    finding: Option<Finding>,
}

impl Search {
    fn begin(plan: &Plan, bounds: &Bounds) -> Result<Search, Broken> {
        let mut tables = Tables::new(plan.setup(), bounds.outcomes_only);
        let (mut first, _) = plan.start.reach(&mut tables)?;
        first.left = plan.budget;
        let mut visited = FoldSet::default();
        visited.insert(first.name());
        Ok(Search {
            tables,
            frontier: vec![(0, first.clone())],
            frontier_bytes: 0,
            first,
            begins_fresh: plan.start == Start::Fresh,
            visited,
            // The first world comes from nowhere: nobody looks.
            origins: vec![(0, Choice::Timeout(0))],
            levels: Vec::new(),
            end: End::Depth,
            finding: None,
        })
    }

    fn run(&mut self, bounds: &Bounds, mut tell: impl FnMut(&Level)) {
        let started = Instant::now();
        for depth in 1..=bounds.depth {
            let level_started = Instant::now();
            let before = self.visited.len();
            let keep = depth < bounds.depth;
            let (transitions, stopped) = self.level(bounds, started, keep);
            let distinct = self.visited.len() as u64;
            let level = Level {
                depth,
                transitions,
                new: distinct - before as u64,
                distinct,
                time: level_started.elapsed(),
                complete: stopped.is_none(),
            };
            self.levels.push(level);
            tell(&level);
            if let Some(end) = stopped {
                self.end = end;
                return;
            }
            if level.new == 0 {
                self.end = End::Exhausted;
                return;
            }
        }
    }

    /// Goes on from every world of the last level. Says how many worlds it came
    /// to, and why it stopped before the end, if it did.
    fn level(&mut self, bounds: &Bounds, started: Instant, keep: bool) -> (u64, Option<End>) {
        let worlds = std::mem::take(&mut self.frontier);
        let (mut choices, mut transitions) = (Vec::new(), 0);
        self.frontier_bytes = 0;
        for (done, (origin, state)) in worlds.into_iter().enumerate() {
            if done % 1024 == 0 {
                if bounds.time_max.is_some_and(|max| started.elapsed() >= max) {
                    return (transitions, Some(End::Time));
                }
                if self.bytes() >= bounds.memory_bytes_max {
                    return (transitions, Some(End::Memory));
                }
            }
            self.tables.choices(&state, &mut choices);
            if origin == 0 && self.begins_fresh {
                // Nodes are alike as long as nothing has happened: what begins
                // with another is the same under other names.
                choices.retain(|choice| {
                    let moved = self.tables.stimulus(&state, *choice);
                    moved.is_none_or(|(place, _)| place == 0)
                });
            }
            for choice in &choices {
                match self.tables.apply(&state, *choice) {
                    Outcome::Nothing => {}
                    Outcome::Broken(broken) => {
                        transitions += 1;
                        let mut path = self.path_to(origin);
                        path.push(*choice);
                        let path = self.numbers(&path);
                        self.finding = Some(Finding { broken, path });
                        return (transitions, Some(End::Broken));
                    }
                    Outcome::To(next) => {
                        transitions += 1;
                        if self.visited.insert(next.name()) {
                            let Ok(number) = u32::try_from(self.origins.len()) else {
                                return (transitions, Some(End::Memory));
                            };
                            self.origins.push((origin, *choice));
                            if keep {
                                self.frontier_bytes += next.flights.capacity() * 4 + 16;
                                self.frontier.push((number, next));
                            }
                        }
                    }
                }
            }
        }
        (transitions, None)
    }

    /// Memory in use for worlds. A table that grows holds its old self beside it.
    fn bytes(&self) -> u64 {
        let visited = self.visited.capacity() * 17 * 8 / 7 * 3 / 2;
        let origins = self.origins.capacity() * size_of::<(u32, Choice)>() * 3 / 2;
        let frontier = self.frontier.capacity() * size_of::<(u32, State)>() * 2;
        let turns = self.tables.turns() * 100 + self.tables.locals.len() * 12_000;
        (visited + origins + frontier + self.frontier_bytes * 2 + turns) as u64
    }

    fn path_to(&self, mut number: u32) -> Vec<Choice> {
        let mut path = Vec::new();
        while number != 0 {
            let (origin, choice) = self.origins[number as usize];
            path.push(choice);
            number = origin;
        }
        path.reverse();
        path
    }

    /// A path by the numbers that mean the same in every run.
    fn numbers(&mut self, path: &[Choice]) -> Vec<usize> {
        let mut state = self.first.clone();
        let mut numbers = Vec::new();
        for choice in path {
            let choices = self.tables.choices_in_order(&state);
            let number = choices.iter().position(|known| known == choice);
            numbers.push(number.expect("what was chosen could be chosen"));
            if let Outcome::To(next) = self.tables.apply(&state, *choice) {
                state = next;
            }
        }
        numbers
    }

    fn report(self) -> Report {
        Report {
            nodes: self.tables.locals.len() as u64,
            messages: self.tables.flights.len() as u64,
            turns: self.tables.turns() as u64,
            levels: self.levels,
            end: self.end,
            finding: self.finding,
        }
    }
}

/// Tells a path as a story, a line a step, taken by real nodes alone, judged as
/// the search judged that found it.
///
/// # Errors
/// If there is no such choice, or a real node does not do what the tables say.
pub fn replay(plan: &Plan, path: &[usize], outcomes_only: bool) -> Result<Vec<String>, String> {
    quiet(|| {
        let tables = Tables::new(plan.setup(), outcomes_only);
        let mut walk = Walk::begin(plan, tables)?;
        let mut story: Vec<_> = std::mem::take(&mut walk.prologue);
        for line in &mut story {
            line.insert_str(0, "  0. ");
        }
        story.push(format!("Start: {}.", plan.start.words()));
        story.extend(walk.nodes().into_iter().map(|line| format!("     {line}")));
        for (step, number) in path.iter().enumerate() {
            let choices = walk.tables.choices_in_order(&walk.state);
            let choice = *choices.get(*number).ok_or_else(|| {
                let count = choices.len();
                format!(
                    "step {}: there are choices 0 to {}, not {number}",
                    step + 1,
                    count.saturating_sub(1)
                )
            })?;
            story.push(format!(
                "{:>3}. [{number}] {}",
                step + 1,
                walk.words(choice)
            ));
            let before = walk.state.clone();
            let broken = walk.step(choice)?;
            let news = walk.news(&before);
            story.extend(
                walk.moved(&before, choice)
                    .map(|line| format!("     {line}")),
            );
            story.extend(news.into_iter().map(|line| format!("       says {line}")));
            if let Some(broken) = broken {
                story.push(format!("     BROKEN: {broken}"));
            }
        }
        Ok(story)
    })
}

/// Walks at random and compares real nodes with the tables at every step;
/// `known` steps of a search fill the tables first, so that most names were
/// met before on other paths. Says how many steps were compared.
///
/// # Errors
/// If a real node does not do what the tables say, or a rule is broken.
pub fn check_names(plan: &Plan, known: u32, walks: u64, steps: u32) -> Result<u64, String> {
    quiet(|| {
        let bounds = Bounds {
            depth: known,
            ..Bounds::default()
        };
        let mut filled = Search::begin(plan, &bounds).map_err(|broken| broken.to_string())?;
        filled.run(&bounds, |_| {});
        let mut tables = filled.tables;
        let mut random = precentor_core::random::Random::new(1);
        let mut compared = 0;
        for _ in 0..walks {
            let mut walk = Walk::begin(plan, tables)?;
            for _ in 0..steps {
                let choices = walk.tables.choices_in_order(&walk.state);
                let Some(last) = choices.len().checked_sub(1) else {
                    break;
                };
                let at = random.between(0, last as u64);
                let choice = choices[usize::try_from(at).expect("it is below a length")];
                if let Some(broken) = walk.step(choice)? {
                    return Err(broken.to_string());
                }
                compared += 1;
            }
            tables = walk.tables;
        }
        Ok(compared)
    })
}
