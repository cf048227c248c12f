//! What a run came to: one JSON object for programs, a few lines for people,
//! and the exit code that follows from it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::ledger::{Failure, Totals};

/// Lists for people are cut here; programs get all.
const SHOWN_MAX: usize = 10;

/// Something of the tree without a context of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    /// Where.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A voter that did not take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeLeftOut {
    /// Which.
    pub node: u64,
    /// Why.
    pub reason: String,
}

/// What a run came to. The field names are the words of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The project.
    pub project: String,
    /// Requests accepted.
    pub requested: u64,
    /// Contexts made in this run.
    pub generated: u64,
    /// Contexts that were there and still hold.
    pub from_cache: u64,
    /// Requests that ended without a context.
    pub failed: u64,
    /// Files and folders without a context of their own.
    pub skipped: u64,
    /// Requests accepted and without a terminal state.
    pub lost: u64,
    /// Of an interrupted run, requests accepted and still in the queue, where the next run finds them.
    pub unfinished: u64,
    /// Effects beyond one for each request.
    pub duplicated: u64,
    /// Changes of the leader after the first.
    pub failovers: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// How long it took.
    pub seconds: f64,
    /// Entries that the log grew by.
    pub entries_committed: u64,
    /// For each killed leader, how long nobody served.
    pub outages_ms: Vec<f64>,
    /// The requests that failed.
    pub failures: Vec<Failure>,
    /// What was skipped.
    pub skipped_files: Vec<SkippedFile>,
    /// Contexts that lack something, and what.
    pub warnings: Vec<String>,
    /// Voters that did not take part.
    pub nodes_left_out: Vec<NodeLeftOut>,
    /// Whether the run was ended before its time.
    pub interrupted: bool,
    /// Where the data is.
    pub data: PathBuf,
}

impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Failure", 2)?;
        fields.serialize_field("uri", &self.uri)?;
        fields.serialize_field("reason", &self.reason)?;
        fields.end()
    }
}

impl Summary {
    /// Puts the ledger's totals in.
    pub(super) fn count(&mut self, totals: Totals, failures: Vec<Failure>) {
        let Totals {
            requested,
            generated,
            from_cache,
            failed,
            lost,
            duplicated,
        } = totals;
        (self.requested, self.generated, self.from_cache) = (requested, generated, from_cache);
        (self.failed, self.lost, self.duplicated) = (failed, lost, duplicated);
        self.failures = failures;
    }

    /// Did every accepted request reach a terminal state, once?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.interrupted && self.lost == 0 && self.duplicated == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            requested,
            generated,
            from_cache,
            failed,
            ..
        } = self;
        let seconds = self.seconds;
        let name = &self.project;
        if *from_cache == 0 {
            writeln!(
                f,
                "{name}: generated {generated} of {requested} contexts in {seconds:.2} s"
            )?;
        } else {
            write!(
                f,
                "{name}: regenerated {generated} of {requested} contexts in {seconds:.2} s; "
            )?;
            writeln!(f, "{from_cache} unchanged")?;
        }
        let per_second = (*generated + *from_cache) as f64 / seconds.max(0.001);
        writeln!(
            f,
            "  lost: {}, duplicated: {}, failed: {failed}, skipped: {}; {per_second:.0} contexts/s, {} log entries",
            self.lost, self.duplicated, self.skipped, self.entries_committed
        )?;
        if self.failovers > 0 || !self.outages_ms.is_empty() {
            let times: Vec<String> = self
                .outages_ms
                .iter()
                .map(|ms| format!("{ms:.0} ms"))
                .collect();
            write!(f, "  failovers: {} in {} terms", self.failovers, self.terms)?;
            if times.is_empty() {
                writeln!(f)?;
            } else {
                writeln!(f, "; without service after each kill: {}", times.join(", "))?;
            }
        }
        for NodeLeftOut { node, reason } in &self.nodes_left_out {
            writeln!(f, "  node n{node} took no part: {reason}")?;
        }
        let failures = self
            .failures
            .iter()
            .map(|failure| (&failure.uri, &failure.reason));
        list(f, "failed", failures)?;
        let skipped = self
            .skipped_files
            .iter()
            .map(|skipped| (&skipped.path, &skipped.reason));
        list(f, "skipped", skipped)?;
        for warning in &self.warnings {
            writeln!(f, "  warning: {}", warning.escape_debug())?;
        }
        if self.interrupted {
            let unfinished = self.unfinished;
            writeln!(
                f,
                "  interrupted with {unfinished} accepted and unfinished; the same command goes on from here"
            )?;
        }
        write!(f, "  data: {}", self.data.display())
    }
}

fn list<'a>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    mut items: impl Iterator<Item = (&'a String, &'a String)>,
) -> fmt::Result {
    for (name, reason) in items.by_ref().take(SHOWN_MAX) {
        // A name may hold a line break, and a terminal obeys escapes.
        writeln!(
            f,
            "  {what}: {}: {}",
            name.escape_debug(),
            reason.escape_debug()
        )?;
    }
    match items.count() {
        0 => Ok(()),
        more => writeln!(f, "  {what}: and {more} more (all of them with --json)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            project: "p".into(),
            requested: 2_104,
            generated: 3,
            from_cache: 2_101,
            failed: 0,
            skipped: 0,
            lost: 0,
            unfinished: 0,
            duplicated: 0,
            failovers: 0,
            terms: 1,
            seconds: 1.0,
            entries_committed: 9,
            outages_ms: Vec::new(),
            failures: Vec::new(),
            skipped_files: Vec::new(),
            warnings: Vec::new(),
            nodes_left_out: Vec::new(),
            interrupted: false,
            data: "/d".into(),
        }
    }

    #[test]
    fn a_second_run_says_what_it_regenerated() {
        let text = summary().to_string();
        assert!(text.contains("regenerated 3 of 2104 contexts"), "{text}");
        assert!(text.contains("2101 unchanged"), "{text}");
    }

    #[test]
    fn lost_duplicated_or_interrupted_is_not_complete() {
        assert!(summary().is_complete());
        assert!(
            !Summary {
                lost: 1,
                ..summary()
            }
            .is_complete()
        );
        assert!(
            !Summary {
                duplicated: 1,
                ..summary()
            }
            .is_complete()
        );
        assert!(
            !Summary {
                interrupted: true,
                ..summary()
            }
            .is_complete()
        );
        assert!(
            Summary {
                failed: 1,
                ..summary()
            }
            .is_complete(),
            "a failure is a terminal state"
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_its_line() {
        let skipped = SkippedFile {
            path: "a\nb\u{1b}[2J".into(),
            reason: "x".into(),
        };
        let text = Summary {
            skipped_files: vec![skipped],
            ..summary()
        }
        .to_string();
        assert!(text.contains("skipped: a\\nb\\u{1b}[2J: x"), "{text}");
    }
}
