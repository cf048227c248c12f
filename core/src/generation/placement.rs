//! Which worker gets a job: of the fit ones the one with the least share of
//! its slots in use, then the one that got its last job longest ago, then the
//! lowest id. Knows no queue and no time, only counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{ClaimRule, Command, Contender, Load, WeighedClaim};
use crate::feature::FeatureLevel;
use crate::ids::WorkerId;
use crate::limits::{CLAIMS_PER_ENTRY_MAX, CONTENDERS_NAMED_MAX};

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

/// Who gets a job, and who else could have had it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    pub(super) worker: WorkerId,
    pub(super) rule: ClaimRule,
    /// What it had before.
    pub(super) load: Load,
    /// How many could have taken it, this one among them.
    pub(super) fit: u32,
    /// The next best.
    pub(super) others: [Option<Contender>; CONTENDERS_NAMED_MAX],
}

/// The candidates, best first.
#[derive(Debug, Default)]
pub(super) struct Placement<'a> {
    candidates: BTreeMap<WorkerId, Candidate<'a>>,
    /// By share, last claim and id: the order of preference.
    preferred: BTreeSet<(u64, u64, WorkerId)>,
    /// Credits by engine, and how many candidates have them.
    credits: BTreeMap<&'a str, (u64, u32)>,
}

impl<'a> Placement<'a> {
    pub(super) fn add(&mut self, worker: WorkerId, candidate: Candidate<'a>) {
        if candidate.credits == 0 {
            return;
        }
        // An engine named twice is one engine.
        for engine in BTreeSet::from_iter(candidate.engines) {
            let (credits, count) = self.credits.entry(engine).or_default();
            *credits += candidate.credits;
            *count += 1;
        }
        let (share, last) = (candidate.share(), candidate.last_claim);
        self.preferred.insert((share, last, worker));
        self.candidates.insert(worker, candidate);
    }

    /// The engines for which someone can take a job.
    pub(super) fn offered(&self) -> BTreeSet<&'a str> {
        let left = self.credits.iter().filter(|(_, (credits, _))| *credits > 0);
        left.map(|(engine, _)| *engine).collect()
    }

    /// Can anyone take a job for this engine?
    pub(super) fn offers(&self, engine: &str) -> bool {
        self.credits
            .get(engine)
            .is_some_and(|(credits, _)| *credits > 0)
    }

    /// Gives a job for `engine` to the best worker but `avoid`, as the claim
    /// with the number `claim`; none if there is none.
    pub(super) fn place(
        &mut self,
        engine: &str,
        avoid: Option<WorkerId>,
        claim: u64,
    ) -> Option<Placed> {
        let is_fit = |worker: &WorkerId| self.candidates[worker].offers(engine);
        let avoided = avoid.filter(|avoid| self.candidates.contains_key(avoid) && is_fit(avoid));
        let (_, count) = *self.credits.get(engine)?;
        let fit = count - u32::from(avoided.is_some());
        let preferred = self.preferred.iter();
        let fits = preferred.filter(|(_, _, worker)| avoid != Some(*worker) && is_fit(worker));
        // No look for more than there are.
        let mut fits = fits.take(usize::try_from(fit).unwrap_or(usize::MAX));
        let best = *fits.next()?;
        let mut others = [None; CONTENDERS_NAMED_MAX];
        for (other, (share, last_claim, worker)) in others.iter_mut().zip(fits) {
            *other = Some(Contender {
                worker: *worker,
                load: Load {
                    share: *share,
                    last_claim: *last_claim,
                },
            });
        }
        let rule = match others[0] {
            None => ClaimRule::OnlyFit,
            Some(next) if next.load.share > best.0 => ClaimRule::LeastLoaded,
            Some(_) => ClaimRule::LeastRecentlyUsed,
        };
        let (share, last_claim, worker) = best;
        self.take(best, claim);
        Some(Placed {
            worker,
            rule,
            load: Load { share, last_claim },
            fit,
            others,
        })
    }

    /// A candidate gets a job.
    fn take(&mut self, best: (u64, u64, WorkerId), claim: u64) {
        let (_, _, worker) = best;
        self.preferred.remove(&best);
        let candidate = self
            .candidates
            .get_mut(&worker)
            .expect("a preferred worker is a candidate");
        candidate.credits -= 1;
        candidate.used += 1;
        candidate.last_claim = claim;
        let is_last = candidate.credits == 0;
        for engine in BTreeSet::from_iter(candidate.engines) {
            let credits = self.credits.get_mut(engine.as_str());
            let (credits, count) = credits.expect("a candidate's engines have credits");
            *credits -= 1;
            *count -= u32::from(is_last);
        }
        if is_last {
            self.candidates.remove(&worker);
        } else {
            self.preferred
                .insert((candidate.share(), candidate.last_claim, worker));
        }
    }
}

/// What gives these jobs to these workers, where a level knows it: with the reasons, or
/// without.
pub(super) fn orders(
    claims: &[WeighedClaim],
    level: FeatureLevel,
) -> impl Iterator<Item = Command> {
    let per_entry = usize::try_from(CLAIMS_PER_ENTRY_MAX).expect("it is small");
    let says_why = level >= FeatureLevel::ACCESS_CHECKED;
    claims.chunks(per_entry).map(move |claims| match says_why {
        true => Command::ClaimFrom {
            claims: claims.to_vec(),
        },
        false => Command::Claim {
            claims: claims.iter().map(|weighed| weighed.claim).collect(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(placed: Option<Placed>) -> Option<(WorkerId, ClaimRule)> {
        placed.map(|placed| (placed.worker, placed.rule))
    }

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
        let mut place = |claim| chosen(placement.place("outline", None, claim));
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
                chosen(placement.place("outline", None, claim)),
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
        assert_eq!(chosen(placed), Some((WorkerId(2), ClaimRule::OnlyFit)));
    }

    #[test]
    fn who_else_was_fit_is_counted_and_the_next_best_are_named() {
        let engines = ["outline".to_owned()];
        let other = ["summary".to_owned()];
        let mut placement = Placement::default();
        for (id, used) in [(1, 3), (2, 0), (3, 1), (4, 2), (5, 2), (6, 3)] {
            placement.add(WorkerId(id), candidate(&engines, used, id));
        }
        placement.add(WorkerId(7), candidate(&other, 0, 0));
        let placed = placement.place("outline", Some(WorkerId(3)), 9).unwrap();
        assert_eq!(
            (placed.worker, placed.rule, placed.fit),
            (WorkerId(2), ClaimRule::LeastLoaded, 5),
            "3 is avoided, and 7 has another engine"
        );
        let named = |id, used: u64| {
            let (share, last_claim) = (used * 250, id);
            let load = Load { share, last_claim };
            let worker = WorkerId(id);
            Some(Contender { worker, load })
        };
        assert_eq!(placed.others, [named(4, 2), named(5, 2), named(1, 3)]);
        assert_eq!(placed.load.share, 0);
        // Nobody is counted who has no credit left.
        for claim in 10..21 {
            assert!(placement.place("outline", None, claim).is_some());
        }
        assert_eq!(placement.place("outline", None, 21), None);
        assert_eq!(placement.place("summary", None, 22).unwrap().fit, 1);
    }
}
