//! The rolling hash of a run, by which two runs are compared, and the lines of
//! its story, if anyone wants them.

/// What is kept of a run's story.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: u64,
    /// The hash after each step, if two runs are to be compared.
    steps: Option<Vec<u64>>,
    lines: Option<Vec<String>>,
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

    /// Tells a line, if anyone listens.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.printing {
            println!("{}", line());
        } else if let Some(lines) = &mut self.lines {
            lines.push(line());
        }
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
