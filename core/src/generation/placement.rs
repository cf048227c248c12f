//! Which worker gets a job: of the fit ones the one that runs others of its queue
//! together; else the one where its project is at home, unless that has much more than
//! the others; else the one with the least dominant share (of its slots or its memory,
//! whichever is more in use), then the one that got its last job longest ago, then the
//! lowest id. Knows no queue and no time, only counts.

mod home;

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{ClaimRule, Command, Contender, Load, WeighedClaim};
use crate::feature::FeatureLevel;
use crate::ids::WorkerId;
use crate::job::{Class, Generator};
use crate::limits::{BATCH_JOBS_MAX, CLAIMS_PER_ENTRY_MAX, CONTENDERS_NAMED_MAX};

use self::home::Homes;

/// A worker that can take jobs now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate<'a> {
    /// The engines it offers and has all tags for, and the memory that each of their
    /// jobs needs.
    pub(super) engines: BTreeMap<&'a str, u64>,
    /// How many more jobs it may get.
    pub(super) credits: u64,
    /// Memory that its jobs need, and that it has for them.
    pub(super) memory: (u64, u64),
    /// How many it has, claims under way included.
    pub(super) used: u64,
    /// How many it can have.
    pub(super) slots: u64,
    /// How many it runs together.
    pub(super) together: u64,
    /// When it got its last job: a count of claims.
    pub(super) last_claim: u64,
}

impl Candidate<'_> {
    /// Thousandths of that in use of which most is: the dominant share.
    fn share(&self) -> u64 {
        let (used, all) = self.memory;
        let of_memory = (used * 1_000).checked_div(all).unwrap_or(0);
        of_memory.max(self.used * 1_000 / self.slots.max(1))
    }

    /// Can it take one more job of an engine?
    fn offers(&self, engine: &str) -> bool {
        let (used, all) = self.memory;
        let needed = self.engines.get(engine);
        needed.is_some_and(|needed| self.credits > 0 && (*needed == 0 || used + needed <= all))
    }
}

/// A job that is to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Which engine it needs.
    pub(super) engine: &'a str,
    /// What it belongs to.
    pub(super) project: &'a str,
    /// Who is not to have it.
    pub(super) avoid: Option<WorkerId>,
    /// What must be equal of jobs that are run together; none if it is to be run alone.
    pub(super) alike: Option<Alike<'a>>,
}

/// What jobs have in common that are run together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Alike<'a> {
    pub(super) class: Class,
    pub(super) tenant: &'a str,
    pub(super) generator: &'a Generator,
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
    /// The position in its entry of the first claim of its run.
    pub(super) run: u32,
}

/// The candidates that can take a job of an engine, together.
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    count: u32,
    /// The sum of their shares.
    shares: u64,
}

/// Jobs that are given out in this entry to be run together.
#[derive(Clone, Copy, Debug)]
struct Run {
    worker: WorkerId,
    /// The number of its first claim in the round.
    first: u64,
    /// How many more it may get.
    left: u64,
}

/// By share, last claim and id: the order of preference.
type Rank = (u64, u64, WorkerId);

/// The candidates, best first.
#[derive(Debug)]
pub(super) struct Placement<'a> {
    level: FeatureLevel,
    candidates: BTreeMap<WorkerId, Candidate<'a>>,
    preferred: BTreeSet<Rank>,
    /// By engine.
    offers: BTreeMap<&'a str, Offer>,
    /// Of the entry that is being filled. At most one for each kind has room.
    runs: BTreeMap<Alike<'a>, Run>,
    homes: Homes<'a>,
    /// Claims of this round.
    placed: u64,
}

impl<'a> Placement<'a> {
    /// Nobody, yet. `level` says whether there are runs and homes.
    pub(super) fn new(level: FeatureLevel) -> Placement<'a> {
        Placement {
            level,
            candidates: BTreeMap::new(),
            preferred: BTreeSet::new(),
            offers: BTreeMap::new(),
            runs: BTreeMap::new(),
            homes: Homes::default(),
            placed: 0,
        }
    }

    pub(super) fn add(&mut self, worker: WorkerId, candidate: Candidate<'a>) {
        if candidate.credits == 0 {
            return;
        }
        let share = candidate.share();
        for engine in candidate.engines.keys() {
            if candidate.offers(engine) {
                let offer = self.offers.entry(engine).or_default();
                offer.count += 1;
                offer.shares += share;
            }
        }
        self.preferred.insert((share, candidate.last_claim, worker));
        self.candidates.insert(worker, candidate);
    }

    /// The engines for which someone can take a job.
    pub(super) fn offered(&self) -> BTreeSet<&'a str> {
        let left = self.offers.iter().filter(|(_, offer)| offer.count > 0);
        left.map(|(engine, _)| *engine).collect()
    }

    /// Can anyone take a job for this engine?
    pub(super) fn offers(&self, engine: &str) -> bool {
        self.offers.get(engine).is_some_and(|offer| offer.count > 0)
    }

    /// Gives a job to the best worker, as the claim with the number `claim`; none if
    /// there is none.
    pub(super) fn place(&mut self, wanted: Wanted<'a>, claim: u64) -> Option<Placed> {
        let Wanted { engine, avoid, .. } = wanted;
        let run = self.run_for(wanted);
        let home = match run {
            Some(_) => None,
            None => self.home_for(wanted),
        };
        let is_fit = |worker: &WorkerId| {
            avoid != Some(*worker)
                && self
                    .candidates
                    .get(worker)
                    .is_some_and(|candidate| candidate.offers(engine))
        };
        let avoided = avoid
            .and_then(|avoid| self.candidates.get(&avoid))
            .filter(|candidate| candidate.offers(engine));
        let fit = self.offers.get(engine)?.count - u32::from(avoided.is_some());
        let mut fits = self
            .preferred
            .iter()
            .filter(|(_, _, worker)| is_fit(worker));
        let first = *fits.next()?;
        let run = run.filter(|run| is_fit(&run.worker));
        let (best, rule) = match (run, home.filter(is_fit)) {
            (Some(run), _) => (self.rank(run.worker), Some(ClaimRule::WithOthers)),
            (None, Some(home)) => (self.rank(home), Some(ClaimRule::AtHome)),
            (None, None) => (first, None),
        };
        let mut others = [None; CONTENDERS_NAMED_MAX];
        // No look for more than there are.
        let fits = std::iter::once(&first).chain(fits);
        let fits = fits.take(usize::try_from(fit).unwrap_or(usize::MAX));
        let losers = fits.filter(|rank| **rank != best);
        for (other, (share, last_claim, worker)) in others.iter_mut().zip(losers) {
            *other = Some(Contender {
                worker: *worker,
                load: Load {
                    share: *share,
                    last_claim: *last_claim,
                },
            });
        }
        let rule = match (others[0], rule) {
            (None, _) => ClaimRule::OnlyFit,
            (Some(_), Some(rule)) => rule,
            (Some(next), None) if next.load.share > best.0 => ClaimRule::LeastLoaded,
            (Some(_), None) => ClaimRule::LeastRecentlyUsed,
        };
        let (share, last_claim, worker) = best;
        let run = self.begin_or_join(wanted.alike, run, worker);
        self.take(best, wanted.engine, claim);
        Some(Placed {
            worker,
            rule,
            load: Load { share, last_claim },
            fit,
            others,
            run,
        })
    }

    fn rank(&self, worker: WorkerId) -> Rank {
        let candidate = &self.candidates[&worker];
        (candidate.share(), candidate.last_claim, worker)
    }

    /// The run of this entry that a job may join.
    fn run_for(&self, wanted: Wanted<'a>) -> Option<Run> {
        let run = self.runs.get(&wanted.alike?)?;
        let is_of_this_entry =
            run.first / CLAIMS_PER_ENTRY_MAX == self.placed / CLAIMS_PER_ENTRY_MAX;
        (is_of_this_entry && run.left > 0).then_some(*run)
    }

    /// Where its project is at home, unless that has much more than the others.
    fn home_for(&mut self, wanted: Wanted<'a>) -> Option<WorkerId> {
        if self.level < FeatureLevel::JOBS_BATCHED {
            return None;
        }
        let (offering, count) = (self.candidates.iter(), self.candidates.len());
        let offering = offering.filter(|(_, candidate)| candidate.offers(wanted.engine));
        let home = self.homes.of(
            wanted.engine,
            wanted.project,
            count,
            offering.map(|(id, _)| *id),
        )?;
        let offer = self.offers.get(wanted.engine)?;
        let share = self.candidates.get(&home)?.share();
        home::is_bearable(share, offer.shares, offer.count).then_some(home)
    }

    /// Notes a job that goes to a worker. Says where in the entry its run begins.
    fn begin_or_join(
        &mut self,
        alike: Option<Alike<'a>>,
        joined: Option<Run>,
        worker: WorkerId,
    ) -> u32 {
        let number = self.placed;
        self.placed += 1;
        let run = joined.unwrap_or_else(|| {
            let together = self.candidates[&worker].together.min(BATCH_JOBS_MAX);
            Run {
                worker,
                first: number,
                left: together.max(1),
            }
        });
        let left = run.left - 1;
        if let Some(alike) = alike {
            self.runs.insert(alike, Run { left, ..run });
        }
        u32::try_from(run.first % CLAIMS_PER_ENTRY_MAX).expect("an entry is small")
    }

    /// A candidate gets a job.
    fn take(&mut self, best: Rank, engine: &str, claim: u64) {
        let (share, _, worker) = best;
        self.preferred.remove(&best);
        let candidate = self
            .candidates
            .get_mut(&worker)
            .expect("a preferred worker is a candidate");
        let engines = candidate.engines.keys().copied();
        let could: Vec<&str> = engines.filter(|engine| candidate.offers(engine)).collect();
        candidate.credits -= 1;
        candidate.used += 1;
        candidate.memory.0 += candidate.engines[engine];
        candidate.last_claim = claim;
        for engine in could {
            let offer = self.offers.get_mut(engine);
            let offer = offer.expect("a candidate's engines are offered");
            offer.shares -= share;
            match candidate.offers(engine) {
                true => offer.shares += candidate.share(),
                false => offer.count -= 1,
            }
        }
        if candidate.credits == 0 {
            self.candidates.remove(&worker);
        } else {
            self.preferred
                .insert((candidate.share(), candidate.last_claim, worker));
        }
    }
}

/// What gives these jobs to these workers, as a level knows it: each with where its run
/// begins.
pub(super) fn orders(
    claims: &[(WeighedClaim, u32)],
    level: FeatureLevel,
) -> impl Iterator<Item = Command> {
    let per_entry = usize::try_from(CLAIMS_PER_ENTRY_MAX).expect("it is small");
    claims.chunks(per_entry).map(move |claims| {
        let weighed = claims.iter().map(|(claim, _)| *claim);
        if level >= FeatureLevel::JOBS_BATCHED {
            Command::ClaimTogether {
                claims: weighed.collect(),
                runs: claims.iter().map(|(_, run)| *run).collect(),
            }
        } else if level >= FeatureLevel::ACCESS_CHECKED {
            Command::ClaimFrom {
                claims: weighed.collect(),
            }
        } else {
            Command::Claim {
                claims: weighed.map(|weighed| weighed.claim).collect(),
            }
        }
    })
}

#[cfg(test)]
mod tests;
