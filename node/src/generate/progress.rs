//! Shows how far a run is, on stderr: a bar on a terminal, else a plain line
//! from time to time, else nothing.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use precentor_core::status::Status;

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// Requests accepted so far.
    pub(crate) known: u64,
    /// Of these, ended.
    pub(crate) done: u64,
    /// Of these, without a result.
    pub(crate) failed: u64,
    /// Whether more may become known.
    pub(crate) walked: bool,
}

/// What is known of who leads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leader<'a> {
    /// How it is.
    Known(&'a Status),
    /// Nobody says that it leads.
    None,
    /// The cluster is elsewhere, and sees to that itself.
    Elsewhere,
}

/// Where it is shown.
#[derive(Debug)]
pub(crate) enum Progress {
    Bar(Box<ProgressBar>, Instant),
    Lines { started: Instant, last: Instant },
    Nothing,
}

impl Progress {
    /// A bar if stderr is a terminal, else lines.
    pub(crate) fn start(quiet: bool) -> Progress {
        let now = Instant::now();
        if quiet {
            return Progress::Nothing;
        }
        if !std::io::stderr().is_terminal() {
            return Progress::Lines {
                started: now,
                last: now,
            };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{bar:28} {pos}/{len} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Progress::Bar(Box::new(bar), now)
    }

    /// Shows where the run stands.
    pub(crate) fn show(&mut self, standing: Standing, leader: Leader<'_>) {
        match self {
            Progress::Bar(bar, started) => {
                bar.set_length(standing.known);
                bar.set_position(standing.done);
                bar.set_message(
                    Line {
                        standing,
                        leader,
                        elapsed: started.elapsed(),
                    }
                    .to_string(),
                );
            }
            Progress::Lines { started, last } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let Standing {
                        known,
                        done,
                        walked,
                        ..
                    } = standing;
                    let more = if walked { "" } else { "+" };
                    let line = Line {
                        standing,
                        leader,
                        elapsed: started.elapsed(),
                    };
                    // Nobody reads a closed stderr, and the run does not depend on it.
                    let _ = writeln!(std::io::stderr(), "{done}/{known}{more} {line}");
                }
            }
            Progress::Nothing => {}
        }
    }

    /// Says something beside the progress.
    pub(crate) fn say(&self, text: &str) {
        match self {
            Progress::Bar(bar, _) => bar.println(text),
            // A warning is worth a line even when progress is not.
            Progress::Lines { .. } | Progress::Nothing => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Progress::Bar(bar, _) = self {
            bar.finish_and_clear();
        }
    }
}

/// What is shown beside the count.
struct Line<'a> {
    standing: Standing,
    leader: Leader<'a>,
    elapsed: Duration,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { done, failed, .. } = self.standing;
        let rate = u128::from(done) * 1_000 / self.elapsed.as_millis().max(1);
        write!(f, "{rate}/s")?;
        match self.leader {
            Leader::Known(Status {
                queue, node, term, ..
            }) => {
                let queued = queue.waiting + queue.delayed + queue.ready + queue.parked;
                write!(f, ", {queued} queued, {} running", queue.running)?;
                write!(f, ", {failed} failed, leader {node}, term {}", term.0)
            }
            Leader::None => write!(f, ", {failed} failed, no leader"),
            Leader::Elsewhere => write!(f, ", {failed} failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_rate_and_that_nobody_leads() {
        let standing = Standing {
            known: 10,
            done: 5,
            failed: 1,
            walked: true,
        };
        let line = Line {
            standing,
            leader: Leader::None,
            elapsed: Duration::from_millis(500),
        };
        assert_eq!(line.to_string(), "10/s, 1 failed, no leader");
    }
}
