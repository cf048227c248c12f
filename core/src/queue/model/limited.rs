//! The model of what may run: all jobs are of one tenant, engine and project. Counts by
//! looking at every job, and fills buckets by going through all that was ever taken.

use super::*;

/// A bucket, by what was taken out of it and when.
#[derive(Clone, Debug)]
struct Taken {
    rate: Rate,
    /// What it began with, in parts of a token: of 60,000.
    first: u64,
    since: u64,
    at: Vec<u64>,
    waits: bool,
}

impl Taken {
    fn parts(&self, now: u64) -> u64 {
        let fill = |level: u64, ms: u64| {
            let more = ms * u64::from(self.rate.per_minute);
            (level + more).min(u64::from(self.rate.burst) * 60_000)
        };
        let (mut level, mut last) = (self.first, self.since);
        for at in &self.at {
            level = fill(level, at - last) - 60_000;
            last = *at;
        }
        fill(level, now - last)
    }

    fn is_due(&self, now: u64) -> bool {
        let last = self.at.last().copied().unwrap_or(self.since);
        self.waits && now >= last + 10 && self.parts(now) >= 60_000
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Use {
    #[default]
    Used,
    LeftAlone(u64),
    /// Of so many probes so many are still to go, and so many passed.
    Tried(u32, u32, u32),
}

/// What may run.
#[derive(Clone, Debug, Default)]
pub(super) struct Limited {
    limits: BTreeMap<Account, Limits>,
    buckets: BTreeMap<Account, Taken>,
    /// Since the engine's first failure: in which five seconds which job ended, and
    /// whether it failed.
    ended: Vec<(u64, u64, bool)>,
    trips: u32,
    state: Use,
    probes: BTreeSet<Token>,
}

/// What is limited at times. All jobs are of the first three.
pub(super) fn limited_accounts() -> [Account; 4] {
    let origin = spec("a", 1);
    [
        Account::Tenant(origin.tenant),
        Account::Engine(origin.generator.engine),
        Account::Project("p".into()),
        Account::Project("another".into()),
    ]
}

impl Model {
    pub(super) fn put_limits(&mut self, account: &Account, limits: Limits) -> Limits {
        let now = self.now;
        let known = self.limited.buckets.remove(account);
        let before = self.limited.limits.remove(account).unwrap_or_default();
        if limits == Limits::default() {
            return before;
        }
        self.limited.limits.insert(account.clone(), limits);
        if let Some(rate) = limits.rate {
            let full = u64::from(rate.burst) * 60_000;
            let first = known.map_or(full, |known| known.parts(now).min(full));
            let taken = Taken {
                rate,
                first,
                since: now,
                at: Vec::new(),
                waits: first < 60_000,
            };
            self.limited.buckets.insert(account.clone(), taken);
        }
        before
    }

    /// May a job be given out, as far as limits and the engine go?
    pub(super) fn has_room(&self) -> bool {
        let running = self.tasks.keys().filter(|id| self.running(**id)).count();
        let engine = match self.limited.state {
            Use::Used => true,
            Use::LeftAlone(_) => false,
            Use::Tried(_, left, _) => left > 0,
        };
        let accounts = limited_accounts();
        let mut limits = accounts[..3]
            .iter()
            .filter_map(|account| self.limited.limits.get(account));
        let mut buckets = accounts[..3]
            .iter()
            .filter_map(|account| self.limited.buckets.get(account));
        engine
            && limits.all(|limits| {
                limits
                    .running_max
                    .is_none_or(|most| running < most as usize)
            })
            && buckets.all(|bucket| !bucket.waits && bucket.parts(self.now) >= 60_000)
    }

    /// A job is given out.
    pub(super) fn pay(&mut self, token: Token) {
        let now = self.now;
        for account in &limited_accounts()[..3] {
            if let Some(bucket) = self.limited.buckets.get_mut(account) {
                bucket.at.push(now);
                bucket.waits = bucket.parts(now) < 60_000;
            }
        }
        if let Use::Tried(jobs, left, passed) = self.limited.state {
            self.limited.state = Use::Tried(jobs, left - 1, passed);
            self.limited.probes.insert(token);
        }
    }

    /// May the tenant have as many unfinished jobs?
    pub(super) fn may_queue(&self, items: &[(JobSpec, usize, u8)], looks: bool) -> bool {
        let limits = self.limited.limits.get(&limited_accounts()[0]);
        let Some(most) = limits.and_then(|limits| limits.queued_max) else {
            return true;
        };
        let live = self.tasks.values().filter(|task| !task.is_over()).count();
        let is_new = |(spec, name, input): &&(JobSpec, usize, u8)| {
            let live = self.live(*name);
            let needs_nothing = spec.dependencies.is_empty();
            let known = self.hit(*name, *input).is_some()
                || self.hopeless(*name, *input, needs_nothing).is_some();
            let is_known = looks && known;
            !(is_known || live.iter().any(|id| self.may_answer(*id, *input)))
        };
        let new = items.iter().filter(is_new).count();
        new == 0 || (live + new) as u64 <= most
    }

    /// An attempt at a running job is over. None: nothing was heard of the engine.
    /// Does a failure count? There are not as many attempts as are left uncounted.
    pub(super) fn hear(&mut self, id: u64, failed: Option<bool>) -> bool {
        let (now, slot) = (self.now, self.now / 5_000);
        let token = self.tasks[&id].token.unwrap();
        let limited = &mut self.limited;
        match (limited.state, failed) {
            (Use::Used, Some(failed)) if failed || !limited.ended.is_empty() => {
                limited.ended.push((slot, id, failed));
                limited.ended.retain(|(at, _, _)| at + 6 > slot);
                let failures = limited.ended.iter().filter(|(_, _, failed)| *failed);
                let jobs: BTreeSet<u64> = failures.clone().map(|(_, id, _)| *id).collect();
                let (count, all) = (failures.count(), limited.ended.len());
                if count == 0 {
                    limited.ended.clear();
                }
                if all >= 10 && count * 10 >= all * 8 && jobs.len() >= 8 {
                    self.give_up_engine(now);
                }
            }
            (Use::Used | Use::LeftAlone(_), _) => {}
            (Use::Tried(..), _) if !limited.probes.remove(&token) => {}
            (Use::Tried(..), Some(true)) => self.give_up_engine(now),
            (Use::Tried(jobs, left, passed), None) => {
                limited.state = Use::Tried(jobs, left + 1, passed);
            }
            (Use::Tried(4, 0, 3), Some(false)) => drop(self.trust_engine()),
            (Use::Tried(jobs, left, passed), Some(false)) => {
                limited.state = match passed + 1 == jobs {
                    true => Use::Tried(2 * jobs, 2 * jobs, 0),
                    false => Use::Tried(jobs, left, passed + 1),
                };
            }
        }
        self.limited.state == Use::Used
    }

    fn give_up_engine(&mut self, now: u64) {
        let wait_ms = [1, 2, 4, 8, 16, 32].get(self.limited.trips as usize);
        self.limited.state = Use::LeftAlone(now + wait_ms.copied().unwrap_or(60) * 1_000);
        self.limited.trips += 1;
        self.limited.ended.clear();
        self.limited.probes.clear();
    }

    pub(super) fn trusts_engine(&self) -> bool {
        self.limited.state == Use::Used
    }

    /// Says whether it was not trusted.
    pub(super) fn trust_engine(&mut self) -> bool {
        let was = self.limited.state != Use::Used;
        if was {
            (self.limited.state, self.limited.trips) = (Use::Used, 0);
            self.limited.ended.clear();
        }
        was
    }

    pub(super) fn tick_limits(&mut self) {
        let now = self.now;
        for bucket in self.limited.buckets.values_mut() {
            bucket.waits &= !bucket.is_due(now);
        }
        if matches!(self.limited.state, Use::LeftAlone(until) if until <= now) {
            self.limited.state = Use::Tried(1, 1, 0);
        }
    }
}
