//! The rolling hash of a run, by which two runs are compared, and what happened in it, if
//! anyone wants to know: as lines, or as a chronicle.

use crate::chronicle::{Chronicle, Lane, Sort};

/// What is kept of a run's story.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: u64,
    /// The hash after each step, if two runs are to be compared.
    steps: Option<Vec<u64>>,
    lines: Option<Vec<String>>,
    chronicle: Option<Box<Chronicle>>,
    printing: bool,
}

impl Trace {
    /// Keeps the hash alone.
    #[must_use]
    pub fn quiet() -> Trace {
        Trace::default()
    }

    /// Keeps the hash after each step too.
    #[must_use]
    pub fn stepwise() -> Trace {
        Trace {
            steps: Some(Vec::new()),
            ..Trace::default()
        }
    }

    /// Keeps the story.
    #[must_use]
    pub fn telling() -> Trace {
        Trace {
            lines: Some(Vec::new()),
            ..Trace::default()
        }
    }

    /// Keeps a chronicle.
    #[must_use]
    pub fn chronicling() -> Trace {
        Trace {
            chronicle: Some(Box::default()),
            ..Trace::default()
        }
    }

    /// Prints the story as it happens.
    #[must_use]
    pub fn printing() -> Trace {
        Trace {
            printing: true,
            ..Trace::default()
        }
    }

    /// Adds a number to the hash.
    pub fn fold(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    /// A step is over.
    pub fn step(&mut self) {
        if let Some(steps) = &mut self.steps {
            steps.push(self.hash);
        }
    }

    /// Tells what happened, if anyone listens.
    pub fn tell(&mut self, at_us: u64, lane: Lane, sort: Sort, text: impl FnOnce() -> String) {
        let line = |text: String| match sort {
            Sort::Event => format!("{at_us:>10} {lane} < {text}"),
            Sort::Action => format!("{at_us:>10} {lane} > {text}"),
            Sort::Failure => format!("{at_us:>10} FAILURE {text}"),
            Sort::Asked | Sort::Fault | Sort::Deed | Sort::Transition => {
                format!("{at_us:>10} {lane} {text}")
            }
        };
        if self.printing {
            println!("{}", line(text()));
        } else if let Some(lines) = &mut self.lines {
            lines.push(line(text()));
        } else if let Some(chronicle) = &mut self.chronicle {
            chronicle.note(at_us, lane, sort, text());
        }
    }

    /// The chronicle, if one is kept.
    pub fn chronicle(&mut self) -> Option<&mut Chronicle> {
        self.chronicle.as_deref_mut()
    }

    /// What was kept as a chronicle.
    #[must_use]
    pub fn into_chronicle(self) -> Option<Chronicle> {
        self.chronicle.map(|chronicle| *chronicle)
    }

    /// The hash so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The hash after each step, if kept.
    #[must_use]
    pub fn steps(&self) -> &[u64] {
        self.steps.as_deref().unwrap_or_default()
    }

    /// The story, if kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
