//! How regularly somebody speaks, and how strange a silence is after that: an
//! accrual detector (Hayashibara et al., 2004) in integers. It says how much it
//! suspects, and leaves to whoever asks what to make of it. Knows no clock and
//! nobody's name: it is told gaps, and is asked about a silence.
//!
//! The mean gap and its mean deviation are kept as TCP keeps those of round trips
//! (RFC 6298, with Jacobson's scaled integers): each new gap counts an eighth, so
//! what is older than a few dozen gaps no longer matters.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// Shares of the mean and of the deviation, as in RFC 6298.
const MEAN_SHARE: u64 = 8;
const DEVIATION_SHARE: u64 = 4;
/// So many beats beyond the mean are nothing strange, however regular somebody
/// was: one word may be lost, and the next one late.
const SLACK_BEATS: u64 = 2;

/// How strange a silence is: in thousandths of the longest one that is explained by
/// how regularly its author spoke before. Grows with the silence, without a bound.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
pub struct Suspicion(pub u64);

impl Suspicion {
    /// Nothing is strange.
    pub const NONE: Suspicion = Suspicion(0);
    /// From here on a silence is longer than it should be.
    pub const STRANGE: Suspicion = Suspicion(1_000);
    /// From here on somebody is taken for gone, though nothing said so.
    pub const GONE: Suspicion = Suspicion(5_000);
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// What is expected of everybody of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rhythm {
    /// How often everybody should speak.
    beat: Span,
    /// A longer silence is strange whatever was before. No gap counts as longer.
    most: Span,
}

impl Rhythm {
    /// A word each `beat`, and never a silence longer than `most`: which is at least
    /// what one lost word explains.
    #[must_use]
    pub fn new(beat: Span, most: Span) -> Rhythm {
        let beat = beat.max(Span(1));
        let least = Span(beat.0.saturating_mul(SLACK_BEATS + 1));
        Rhythm {
            beat,
            most: most.max(least),
        }
    }
}

/// How regularly one of them speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pulse {
    /// Eight times the mean gap, in microseconds; 0 until there was one.
    mean_8: u64,
    /// Four times the mean deviation from that.
    deviation_4: u64,
    /// The longest gap since one was counted.
    longest: Span,
    /// How long ago that is.
    uncounted: Span,
}

impl Pulse {
    /// Two words came so long after each other. One gap counts in a beat, the
    /// longest: who has much to say is not forgiven sooner than who has little.
    pub fn on_gap(&mut self, gap: Span, rhythm: &Rhythm) {
        let gap = gap.min(rhythm.most);
        self.longest = self.longest.max(gap);
        self.uncounted = self.uncounted + gap;
        if self.uncounted < rhythm.beat {
            return;
        }
        let counted = std::mem::take(&mut self.longest).0;
        self.uncounted = Span::ZERO;
        let mean = self.mean_8 / MEAN_SHARE;
        if self.mean_8 == 0 {
            self.mean_8 = counted * MEAN_SHARE;
            self.deviation_4 = counted / 2 * DEVIATION_SHARE;
        } else {
            let off = mean.abs_diff(counted);
            self.deviation_4 = self.deviation_4 - self.deviation_4 / DEVIATION_SHARE + off;
            self.mean_8 = self.mean_8 - mean + counted;
        }
        assert!(
            self.mean_8 <= rhythm.most.0 * MEAN_SHARE,
            "no gap counts as longer than {:?}, and their mean is {}us",
            rhythm.most,
            self.mean_8 / MEAN_SHARE
        );
    }

    /// The longest silence that is nothing strange: the mean and four mean
    /// deviations (RFC 6298), at least some beats more than the mean, at most what
    /// the rhythm allows.
    #[must_use]
    pub fn explained(&self, rhythm: &Rhythm) -> Span {
        let mean = Span(self.mean_8 / MEAN_SHARE).max(rhythm.beat);
        let slack = Span(rhythm.beat.0.saturating_mul(SLACK_BEATS));
        (mean + Span(self.deviation_4).max(slack)).min(rhythm.most)
    }

    /// How strange a silence is.
    #[must_use]
    pub fn suspicion(&self, silence: Span, rhythm: &Rhythm) -> Suspicion {
        let explained = self.explained(rhythm).0;
        Suspicion(silence.0.saturating_mul(Suspicion::STRANGE.0) / explained)
    }
}
