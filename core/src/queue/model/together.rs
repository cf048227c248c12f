//! The model of claims and of what is run together: which token is of which run, and who was
//! spared.

use super::against::{Pair, SLOTS};
use super::steps::scopes;
use super::*;

/// What is run together.
#[derive(Clone, Debug, Default)]
pub(super) struct Together {
    /// Of each token of a run of several the first one of it.
    runs: BTreeMap<Token, Token>,
    spared: BTreeSet<u64>,
}

impl Model {
    /// The run that a job is part of.
    fn run_of(&self, id: u64) -> Option<Token> {
        match self.tasks[&id].stage {
            Stage::Running(_, token) => self.together.runs.get(&token).copied(),
            _ => None,
        }
    }

    /// The others of the run that a job is part of.
    fn mates_of(&self, id: u64) -> Vec<u64> {
        let run = self.run_of(id);
        let all = self.tasks.keys().copied();
        all.filter(|other| *other != id && run.is_some() && self.run_of(*other) == run)
            .collect()
    }

    /// As what the end of an attempt counts; `whole` if all that ran together ended so.
    pub(super) fn counted(&mut self, id: u64, class: FailureClass, whole: bool) -> FailureClass {
        if self.run_of(id).is_none() {
            return class;
        }
        let counted = match class {
            FailureClass::WorkerLost => FailureClass::Drained,
            FailureClass::Retryable | FailureClass::Permanent if whole => FailureClass::Busy,
            other => return other,
        };
        let is_new = self.together.spared.insert(id);
        assert!(is_new, "{id} is spared a second time");
        counted
    }
}

impl Pair {
    pub(super) fn claim(&mut self, id: u64, by: u64) {
        let outcome = self.world.apply(Command::Claim {
            claims: vec![Claim {
                job: JobId(id),
                worker: WorkerId(by),
                rule: ClaimRule::OnlyFit,
            }],
        });
        let Outcome::Claimed(results) = outcome else {
            panic!("{outcome:?}");
        };
        let token = Token {
            index: LogIndex(self.world.index),
            position: 0,
        };
        let may = self.may_claim(id, by);
        assert_eq!(results[0].ok(), may.then_some(token), "{results:?}");
        if may {
            self.give(id, by, token);
        }
    }

    pub(super) fn may_claim(&self, id: u64, by: u64) -> bool {
        let held = self.model.tasks.values();
        let held = held.filter(|task| task.is_run_by(by));
        let held_back = scopes()[..3]
            .iter()
            .chain([&Scope::Worker(WorkerId(by))])
            .any(|scope| self.model.paused.contains(scope));
        let fits = !held_back
            && self.model.incarnations.contains_key(&by)
            && held.count() < SLOTS as usize;
        let fits = fits && self.model.is_fit(by);
        self.model.tasks[&id].stage == Stage::Ready && fits && self.model.has_room()
    }

    pub(super) fn give(&mut self, id: u64, by: u64, token: Token) {
        let task = self.model.tasks.get_mut(&id).unwrap();
        task.stage = Stage::Running(by, token);
        task.token = Some(token);
        self.tokens.push((id, token));
        self.model.pay(token);
    }

    /// Claims of one entry for one worker, each with whether it begins a run.
    pub(super) fn claim_together(&mut self, jobs: &[(u64, bool)], by: u64) {
        let mut runs: Vec<u32> = Vec::new();
        for (position, (_, begins)) in (0u32..).zip(jobs) {
            runs.push(match runs.last() {
                Some(last) if !begins => *last,
                _ => position,
            });
        }
        let load = Load {
            share: 0,
            last_claim: 0,
        };
        let claims = jobs.iter().map(|(id, _)| WeighedClaim {
            claim: Claim {
                job: JobId(*id),
                worker: WorkerId(by),
                rule: ClaimRule::WithOthers,
            },
            load,
            fit: 1,
            others: [None; 3],
        });
        let outcome = self.world.apply(Command::ClaimTogether {
            claims: claims.collect(),
            runs: runs.clone(),
        });
        let Outcome::Claimed(results) = outcome else {
            panic!("{outcome:?}");
        };
        let index = LogIndex(self.world.index);
        let mut given: Vec<(u32, u64)> = Vec::new();
        for (position, (((id, _), run), result)) in (0u32..).zip(jobs.iter().zip(runs).zip(results))
        {
            let first = given.iter().find(|(of, _)| *of == run);
            let spared = &self.model.together.spared;
            let joins = first.is_none_or(|(_, first)| {
                self.model.tasks[first].class == self.model.tasks[id].class
                    && !spared.contains(first)
                    && !spared.contains(id)
                    && self.model.trusts_engine()
            });
            let may = joins && self.may_claim(*id, by);
            let token = Token { index, position };
            assert_eq!(result.ok(), may.then_some(token), "{id}: {result:?}");
            if may {
                self.give(*id, by, token);
                given.push((run, *id));
            }
        }
        for (run, id) in &given {
            if given.iter().filter(|(of, _)| of == run).count() > 1 {
                let token = self.model.tasks[id].token.unwrap();
                let first = Token {
                    index,
                    position: *run,
                };
                self.model.together.runs.insert(token, first);
            }
        }
    }

    pub(super) fn fail_together(&mut self, id: u64, token: Token, class: FailureClass) {
        let outcome = self.world.apply(Command::FailTogether {
            job: JobId(id),
            token,
            class,
            message: "no".into(),
            retry_after_ms: None,
        });
        if !self.model.held_by(id, token) {
            assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
            return;
        }
        let mates = self.model.mates_of(id);
        let Outcome::FailedTogether { jobs, after } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(jobs as usize, 1 + mates.len());
        let at = match after {
            AfterFailure::Retry { at } => Some(at),
            AfterFailure::Dead | AfterFailure::Superseded { .. } => None,
        };
        let counted = self.model.counted(id, class, true);
        let was_trusted = self.model.hear_of(id, class);
        self.model.end_counted(id, counted, at, was_trusted);
        for mate in mates {
            let at = self.delayed_until(mate);
            let counted = self.model.counted(mate, class, true);
            let was_trusted = self.model.hear(mate, None);
            self.model.end_counted(mate, counted, at, was_trusted);
        }
    }
}
