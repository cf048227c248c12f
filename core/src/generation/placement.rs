//! Which worker gets a job: of the fit ones the one with the least share of
//! its slots in use, then the one that got its last job longest ago, then the
//! lowest id. Knows no queue and no time, only counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::ClaimRule;
use crate::ids::WorkerId;

/// A worker that can take jobs now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate<'a> {
    /// The engines it offers.
    pub(super) engines: &'a [String],
    /// How many more jobs it may get.
    pub(super) credits: u64,
    /// How many it has, claims under way included.
    pub(super) used: u64,
    /// How many it can have.
    pub(super) slots: u64,
    /// When it got its last job: a count of claims.
    pub(super) last_claim: u64,
}

impl Candidate<'_> {
    /// Thousandths of the slots that are in use.
    fn share(&self) -> u64 {
        self.used * 1_000 / self.slots.max(1)
    }

    fn offers(&self, engine: &str) -> bool {
        self.engines.iter().any(|offered| offered == engine)
    }
}

/// The candidates, best first.
#[derive(Debug, Default)]
pub(super) struct Placement<'a> {
    candidates: BTreeMap<WorkerId, Candidate<'a>>,
    /// By share, last claim and id: the order of preference.
    preferred: BTreeSet<(u64, u64, WorkerId)>,
    /// Credits by engine.
    credits: BTreeMap<&'a str, u64>,
}

impl<'a> Placement<'a> {
    pub(super) fn add(&mut self, worker: WorkerId, candidate: Candidate<'a>) {
        if candidate.credits == 0 {
            return;
        }
        // An engine named twice is one engine.
        for engine in BTreeSet::from_iter(candidate.engines) {
            *self.credits.entry(engine).or_default() += candidate.credits;
        }
        let (share, last) = (candidate.share(), candidate.last_claim);
        self.preferred.insert((share, last, worker));
        self.candidates.insert(worker, candidate);
    }

    /// The engines for which someone can take a job.
    pub(super) fn offered(&self) -> BTreeSet<&'a str> {
        let left = self.credits.iter().filter(|(_, credits)| **credits > 0);
        left.map(|(engine, _)| *engine).collect()
    }

    /// Can anyone take a job for this engine?
    pub(super) fn offers(&self, engine: &str) -> bool {
        self.credits.get(engine).is_some_and(|credits| *credits > 0)
    }

    /// Gives a job for `engine` to the best worker but `avoid`, as the claim
    /// with the number `claim`; none if there is none.
    pub(super) fn place(
        &mut self,
        engine: &str,
        avoid: Option<WorkerId>,
        claim: u64,
    ) -> Option<(WorkerId, ClaimRule)> {
        let mut fit = self.preferred.iter().filter(|(_, _, worker)| {
            avoid != Some(*worker) && self.candidates[worker].offers(engine)
        });
        let best = *fit.next()?;
        let rule = match fit.next() {
            None => ClaimRule::OnlyFit,
            Some((share, _, _)) if *share > best.0 => ClaimRule::LeastLoaded,
            Some(_) => ClaimRule::LeastRecentlyUsed,
        };
        let (_, _, worker) = best;
        self.preferred.remove(&best);
        let candidate = self
            .candidates
            .get_mut(&worker)
            .expect("a preferred worker is a candidate");
        candidate.credits -= 1;
        candidate.used += 1;
        candidate.last_claim = claim;
        for engine in BTreeSet::from_iter(candidate.engines) {
            let credits = self.credits.get_mut(engine.as_str());
            *credits.expect("a candidate's engines have credits") -= 1;
        }
        if candidate.credits > 0 {
            self.preferred
                .insert((candidate.share(), candidate.last_claim, worker));
        } else {
            self.candidates.remove(&worker);
        }
        Some((worker, rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(engines: &[String], used: u64, last_claim: u64) -> Candidate<'_> {
        Candidate {
            engines,
            credits: 2,
            used,
            slots: 4,
            last_claim,
        }
    }

    #[test]
    fn the_least_loaded_wins_then_the_least_recently_used_then_the_lowest_id() {
        let engines = ["outline".to_owned()];
        let mut placement = Placement::default();
        placement.add(WorkerId(1), candidate(&engines, 2, 0));
        placement.add(WorkerId(2), candidate(&engines, 1, 9));
        placement.add(WorkerId(3), candidate(&engines, 1, 8));
        let mut place = |claim| placement.place("outline", None, claim);
        assert_eq!(
            place(10),
            Some((WorkerId(3), ClaimRule::LeastRecentlyUsed)),
            "as loaded as 2, used longer ago"
        );
        assert_eq!(
            place(11),
            Some((WorkerId(2), ClaimRule::LeastLoaded)),
            "the only one with one job"
        );
        assert_eq!(
            place(12),
            Some((WorkerId(1), ClaimRule::LeastRecentlyUsed)),
            "all have two now"
        );
    }

    #[test]
    fn credits_end_and_the_engine_is_no_longer_offered() {
        let engines = ["outline".to_owned(), "outline".to_owned()];
        let mut placement = Placement::default();
        placement.add(WorkerId(1), candidate(&engines, 0, 0));
        assert!(placement.offers("outline") && !placement.offers("summary"));
        for claim in [1, 2] {
            assert_eq!(
                placement.place("outline", None, claim),
                Some((WorkerId(1), ClaimRule::OnlyFit))
            );
        }
        assert_eq!(placement.place("outline", None, 3), None);
        assert!(!placement.offers("outline") && placement.offered().is_empty());
    }

    #[test]
    fn an_avoided_worker_is_not_chosen() {
        let engines = ["outline".to_owned()];
        let mut placement = Placement::default();
        placement.add(WorkerId(1), candidate(&engines, 0, 0));
        assert_eq!(placement.place("outline", Some(WorkerId(1)), 1), None);
        placement.add(WorkerId(2), candidate(&engines, 3, 0));
        let placed = placement.place("outline", Some(WorkerId(1)), 2);
        assert_eq!(placed, Some((WorkerId(2), ClaimRule::OnlyFit)));
    }
}
