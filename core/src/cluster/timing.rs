//! How long a silence of the leader may last, judged by how regularly it spoke:
//! the bounds of this node's election timeouts. On a calm machine they are the
//! knobs'; where words come late they grow, up to a bound, and shrink again.
//!
//! Safety never depends on them: a measure that is too short costs an election
//! that pre-votes mostly prevent, one that is too long costs waiting. Every node
//! measures for itself, so three rules keep them from working against each other:
//!
//! 1. A follower stands for election no earlier than [`Timing::base`] after the
//!    leader's last word, and for so long it gives its vote to nobody else: its
//!    trust ends before its patience, never after it.
//! 2. Each answer to the leader carries [`Timing::longest`], and the leader counts
//!    that follower as listening for just so long: it does not give up before the
//!    followers would. One whose connection closed gets no more than the knob: it
//!    may be dead.
//! 3. What a follower says of itself is cut at the bound that the leader's own
//!    knobs set: no word from outside makes a leader stay for ever.

#[cfg(test)]
mod tests;

use crate::config::Knobs;
use crate::cx::Cx;
use crate::ids::{NodeId, Term};
use crate::time::{Span, Time};

/// A silence of so many of the longest gaps of late is taken for an end. One
/// would be broken by every gap a little longer than the last.
const PATIENCE_GAPS: u64 = 2;
/// A long gap is forgotten so many times as slowly as it lasted.
const MEMORY: u64 = 16;

/// What a node measured of its leaders' regularity.
#[derive(Clone, Debug, Default)]
pub(super) struct Timing {
    /// Whose words, in which term, and when the last one came.
    heard: Option<(Term, NodeId, Time)>,
    /// The longest gap of late: it fades with time, not with the number of
    /// words, so that a busy leader is not forgotten faster than an idle one.
    worst: Span,
}

impl Timing {
    /// A word of the leader of a term. Gaps are those of one leadership: the
    /// time between two leaders says nothing about either.
    pub(super) fn on_heard(&mut self, term: Term, from: NodeId, cx: &Cx<'_>) {
        let now = cx.time();
        let last = self.heard.replace((term, from, now));
        let Some((_, _, before)) = last.filter(|(t, f, _)| (*t, *f) == (term, from)) else {
            return;
        };
        let gap = now.since(before);
        let faded = self.worst - Span(gap.0 / MEMORY);
        // No more is remembered than what can matter: it must shrink in time.
        let most = Span(ceiling(&cx.config.knobs).0 / PATIENCE_GAPS);
        self.worst = faded.max(gap).min(most);
    }

    /// The least time that this node waits for its leader.
    pub(super) fn base(&self, knobs: &Knobs) -> Span {
        let min = Span::from_ms(knobs.election_timeout_ms_min);
        Span(self.worst.0 * PATIENCE_GAPS).clamp(min, ceiling(knobs))
    }

    /// The longest.
    pub(super) fn longest(&self, knobs: &Knobs) -> Span {
        scaled(self.base(knobs), knobs)
    }

    /// A fresh random election timeout (Raft §5.2).
    pub(super) fn draw(&self, cx: &mut Cx<'_>) -> Span {
        let knobs = &cx.config.knobs;
        let (base, longest) = (self.base(knobs), self.longest(knobs));
        let drawn = Span(cx.random.between(base.0, longest.0));
        assert!(
            drawn >= base && drawn <= longest,
            "a timeout of {drawn:?} is not from {base:?} to {longest:?}"
        );
        drawn
    }
}

/// For how long a leader counts a follower as listening that says that it waits
/// for `told` at the most.
pub(super) fn patience_for(told: Span, knobs: &Knobs) -> Span {
    let least = Span::from_ms(knobs.election_timeout_ms_max);
    told.clamp(least, scaled(ceiling(knobs), knobs))
}

/// The most that the lower bound may grow to; never below where it begins.
fn ceiling(knobs: &Knobs) -> Span {
    Span::from_ms(
        knobs
            .election_timeout_ms_ceiling
            .max(knobs.election_timeout_ms_min),
    )
}

/// The upper bound that belongs to a lower one, in the proportion of the knobs.
fn scaled(base: Span, knobs: &Knobs) -> Span {
    Span(base.0 * knobs.election_timeout_ms_max / knobs.election_timeout_ms_min)
}
