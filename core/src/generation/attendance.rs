//! When a worker asked this leader last, and what its silence means. Knows
//! nothing of jobs: whose lease ends is decided by deadlines, not here.

use crate::pulse::{Pulse, Rhythm, Suspicion};
use crate::status::{Verdict, WorkerHealth};
use crate::time::{Span, Time};

/// How regularly a worker asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attendance {
    pulse: Pulse,
    /// When it asked this leader last.
    heard: Option<Time>,
    /// Since when it is for the worker to speak: from its last word, from the answer
    /// to that, or from when this leader was there again to hear.
    silent_since: Time,
    /// Its deadline passed, and it has not asked since.
    lapsed: bool,
}

impl Attendance {
    /// A worker that this leader has yet to hear.
    pub(super) fn new(now: Time) -> Attendance {
        Attendance {
            pulse: Pulse::default(),
            heard: None,
            silent_since: now,
            lapsed: false,
        }
    }

    /// It asks. `held`: while an earlier question of it waits for its answer, which is
    /// no silence of the worker.
    pub(super) fn on_poll(&mut self, now: Time, held: bool, rhythm: &Rhythm) {
        if self.heard.is_some() && !held && !self.lapsed {
            self.pulse.on_gap(now.since(self.silent_since), rhythm);
        }
        self.heard = Some(now);
        self.silent_since = now;
        self.lapsed = false;
    }

    /// Its question was answered, or this leader stood still: from now on it is for
    /// the worker to speak.
    pub(super) fn on_its_turn(&mut self, now: Time) {
        self.silent_since = self.silent_since.max(now);
    }

    /// Its deadline passed.
    pub(super) fn on_lapsed(&mut self) {
        self.lapsed = true;
    }

    /// How it seems, if its question waits for an answer (`held`) or does not.
    pub(super) fn health(&self, now: Time, held: bool, rhythm: &Rhythm) -> WorkerHealth {
        let silence = match held {
            true => Span::ZERO,
            false => now.since(self.silent_since),
        };
        let suspicion = self.pulse.suspicion(silence, rhythm);
        let verdict = if self.lapsed {
            Verdict::Down
        } else if suspicion >= Suspicion::STRANGE {
            Verdict::Suspect
        } else {
            Verdict::Healthy
        };
        WorkerHealth {
            verdict,
            suspicion: (!held).then_some(suspicion),
            heard_ms: self.heard.map(|heard| now.since(heard).as_ms()),
        }
    }

    /// How a worker seems of which this leader knows nothing: it never asked, or
    /// its deadline passed while it held nothing.
    pub(super) const UNKNOWN: WorkerHealth = WorkerHealth {
        verdict: Verdict::Down,
        suspicion: None,
        heard_ms: None,
    };
}

#[cfg(test)]
mod tests;
