//! Does nobody get more than it may, and is a broken engine let alone? Limits and what
//! is given out are read from the log and the audit, entry by entry, and counted here
//! anew; what runs is read from the state. Each log index is judged once, at the
//! replica that applies it first.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::address::Address;
use precentor_core::command::{AuditRecord, CacheMode, Command, Entry};
use precentor_core::digest::Digest;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{JobId, LogIndex, Token};
use precentor_core::job::{
    Account, Circuit, DeadReason, FailureClass, JobSpec, JobState, Limits, Rate, Scope,
};
use precentor_core::time::Stamp;
use precentor_core::view::View;

use super::effects::Effects;
use super::logs::Logs;
use super::queue::Queue;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// Parts of a token: a rate is a number of parts for each millisecond.
const PARTS: u64 = 60_000;
/// A broken engine's jobs that may run, of those given out since.
const PROBES_MAX: usize = 4;
/// An engine that failed so often, of ten times eight, and so many jobs, is broken.
const FAILED_MIN: usize = 10;
const FAILED_JOBS_MIN: usize = 8;
/// So old may failures be at the most, in parts of the window.
const SLOT_MS: u64 = 5_000;
const SLOTS: u64 = 6;
/// After so many entries more, a state says little of an entry.
const SEEN_WITHIN: u64 = 16;

/// What is left to give out, in one state.
#[derive(Debug)]
pub(super) struct Left(BTreeMap<Account, u64>);

impl Left {
    pub(super) fn of(view: &View<'_>) -> Left {
        let queue = view.queue();
        let rooms = queue.rooms().map(|(account, left)| (account.clone(), left));
        let mut left: BTreeMap<Account, u64> = rooms.collect();
        for (engine, probes) in queue.broken_engines() {
            let account = Account::Engine(engine.to_owned());
            let known = left.entry(account).or_insert(probes);
            *known = probes.min(*known);
        }
        Left(left)
    }

    /// May the job go out?
    pub(super) fn has_room_for(&self, view: &View<'_>, job: JobId) -> bool {
        let accounts = self.accounts(view, job);
        accounts
            .iter()
            .all(|account| self.0.get(account) != Some(&0))
    }

    /// The job goes out.
    pub(super) fn take(&mut self, view: &View<'_>, job: JobId) {
        for account in self.accounts(view, job) {
            if let Some(left) = self.0.get_mut(&account) {
                *left = left.saturating_sub(1);
            }
        }
    }

    fn accounts(&self, view: &View<'_>, job: JobId) -> Vec<Account> {
        match self.0.is_empty() {
            true => Vec::new(),
            false => accounts_of(view, job).unwrap_or_default(),
        }
    }
}

fn accounts_of(view: &View<'_>, job: JobId) -> Option<Vec<Account>> {
    let (tenant, engine, project) = view.queue().accounts_of(job)?;
    Some(vec![
        Account::Tenant(tenant.to_owned()),
        Account::Engine(engine.to_owned()),
        Account::Project(project.to_owned()),
    ])
}

/// What an account may use, by the orders.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    limits: Limits,
    level: u64,
    at: Stamp,
    /// Jobs that ran when it was looked at last: a lower limit stops none.
    running: Option<u64>,
}

impl Allowed {
    fn level_at(&self, rate: Rate, t: Stamp) -> u64 {
        let more = (t.0 - self.at.0).saturating_mul(u64::from(rate.per_minute));
        let full = u64::from(rate.burst) * PARTS;
        self.level.saturating_add(more).min(full)
    }
}

/// How an engine's attempts ended lately.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// When, in parts of the window, of which job, and whether it failed.
    ended: Vec<(u64, JobId, bool)>,
}

impl Tally {
    fn note(&mut self, t: Stamp, job: JobId, failed: bool) {
        let slot = t.0 / SLOT_MS;
        self.ended.retain(|(at, _, _)| at + SLOTS > slot);
        self.ended.push((slot, job, failed));
    }

    fn forget_failures(&mut self) {
        self.ended.retain(|(_, _, failed)| !failed);
    }

    fn is_broken(&self) -> bool {
        let failed = self.ended.iter().filter(|(_, _, failed)| *failed);
        let jobs: BTreeSet<JobId> = failed.clone().map(|(_, job, _)| *job).collect();
        let count = failed.count();
        count >= FAILED_MIN && count * 5 >= self.ended.len() * 4 && jobs.len() >= FAILED_JOBS_MIN
    }
}

/// An engine that is held for broken.
#[derive(Clone, Debug)]
struct Broken {
    trips: u32,
    /// Claims after it are probes.
    since: LogIndex,
    /// How often its jobs had failed when they were seen first.
    failures: BTreeMap<JobId, u32>,
}

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Limited {
    effects: Effects,
    /// The last index of which the state was looked at.
    judged: LogIndex,
    allowed: BTreeMap<Account, Allowed>,
    /// For whom jobs count that were given out.
    accounts: BTreeMap<JobId, Vec<Account>>,
    tallies: BTreeMap<String, Tally>,
    broken: BTreeMap<String, Broken>,
    completed: BTreeSet<JobId>,
    /// Addresses and inputs that failed for good when they were run.
    failed: BTreeSet<(Address, Digest)>,
    /// Items of the feed that were read for that.
    failures_read: usize,
    /// Engines that an operator said to work, and where.
    resumed: BTreeMap<String, LogIndex>,
    /// The level is in force from which on engines are held for broken. The state's own
    /// level is that at the end of a turn, and may not have been in force at an entry.
    breaks: bool,
}

impl Limited {
    /// A replica says what came of an entry.
    pub(super) fn on_audit(
        &mut self,
        record: &AuditRecord,
        view: &View<'_>,
        logs: &Logs,
        queue: &Queue,
        marks: &mut Marks,
    ) -> Verdict {
        let Some(entry) = self.effects.next(record, logs) else {
            return Ok(());
        };
        self.note_failures(queue);
        self.on_entry(record, entry, view, marks)
    }

    fn on_entry(
        &mut self,
        record: &AuditRecord,
        entry: &Entry,
        view: &View<'_>,
        marks: &mut Marks,
    ) -> Verdict {
        match &entry.command {
            Command::Submit { items } => return self.on_submit(items, record, marks),
            Command::RaiseLevel { to } => self.breaks = *to >= FeatureLevel::WORK_LIMITED,
            // What something older answers is told in more words.
            Command::Ask { items, mode } if !matches!(mode, CacheMode::StaleOk { .. }) => {
                return self.on_submit(items, record, marks);
            }
            Command::PutLimits { account, limits } => self.on_limits(account, limits, record.t),
            Command::Claim { .. } | Command::ClaimFrom { .. } | Command::ClaimTogether { .. } => {
                for claim in entry.command.claims() {
                    let granted = format!(" {} to {} by ", claim.job, claim.worker);
                    if record.text.contains(&granted) {
                        self.on_granted(claim.job, record, view)?;
                        continue;
                    }
                    let refused = |why: &str| {
                        let words = format!(" {} not to {}, {why};", claim.job, claim.worker);
                        record.text.contains(&words)
                    };
                    if refused("Limited") {
                        marks.hit(Mark::LimitedRefused);
                    }
                    if refused("Broken") {
                        marks.hit(Mark::BrokenRefused);
                    }
                }
            }
            Command::Resume {
                scope: Scope::Engine(engine),
            } => {
                // What failed is forgotten if it was broken, and nothing if not.
                if let Some(tally) = self.tallies.get_mut(engine) {
                    tally.forget_failures();
                }
                self.resumed.insert(engine.clone(), record.index);
            }
            Command::Complete { job, .. } if self.completed.insert(*job) => {
                return self.on_word(*job, None, record, view);
            }
            Command::Fail {
                job, token, class, ..
            }
            | Command::FailTogether {
                job, token, class, ..
            } => {
                let failed = matches!(class, FailureClass::Retryable | FailureClass::Busy);
                return self.on_word(*job, failed.then_some(*token), record, view);
            }
            _ => {}
        }
        Ok(())
    }

    /// What failed for good, when it was run.
    fn note_failures(&mut self, queue: &Queue) {
        let feed = queue.feed();
        for finished in &feed[self.failures_read..] {
            let permanent = matches!(finished.state, JobState::Dead(DeadReason::Permanent { .. }));
            if permanent && finished.attempts > 0 {
                let failed = (finished.address.clone(), finished.subject);
                self.failed.insert(failed);
            }
        }
        self.failures_read = feed.len();
    }

    fn on_submit(&self, items: &[JobSpec], record: &AuditRecord, marks: &mut Marks) -> Verdict {
        let (_, answers) = record.text.rsplit_once(": ").unwrap_or_default();
        let words: Vec<&str> = answers.split(' ').collect();
        for (item, answer) in items.iter().zip(words.chunks(2)) {
            if answer.get(1) != Some(&"FailedBefore") {
                continue;
            }
            let failed = (item.address.clone(), item.subject);
            ensure(
                self.failed.contains(&failed),
                Checker::KnownFailures,
                || {
                    format!(
                        "{} with input {} is said at {} to have failed before, and did not",
                        item.address, item.subject, record.index
                    )
                },
            )?;
            marks.hit(Mark::KnownFailure);
        }
        Ok(())
    }

    fn on_limits(&mut self, account: &Account, limits: &Limits, t: Stamp) {
        let known = self.allowed.remove(account);
        if *limits == Limits::default() {
            return;
        }
        let full = limits.rate.map_or(0, |rate| u64::from(rate.burst) * PARTS);
        let level = known.and_then(|known| Some(known.level_at(known.limits.rate?, t)));
        let allowed = Allowed {
            limits: *limits,
            level: level.map_or(full, |level| level.min(full)),
            at: t,
            running: None,
        };
        self.allowed.insert(account.clone(), allowed);
    }

    fn on_granted(&mut self, job: JobId, record: &AuditRecord, view: &View<'_>) -> Verdict {
        // A job that is over when its claim is seen is counted for nobody.
        let known = self.accounts.get(&job).cloned();
        let Some(accounts) = known.or_else(|| accounts_of(view, job)) else {
            return Ok(());
        };
        for account in &accounts {
            let Some(allowed) = self.allowed.get_mut(account) else {
                continue;
            };
            let Some(rate) = allowed.limits.rate else {
                continue;
            };
            let level = allowed.level_at(rate, record.t);
            ensure(level >= PARTS, Checker::LimitedWork, || {
                format!(
                    "{job} was given out at {} for {account}, which has {level} of {PARTS} parts of a token",
                    record.index
                )
            })?;
            (allowed.level, allowed.at) = (level - PARTS, record.t);
        }
        self.accounts.insert(job, accounts);
        Ok(())
    }

    /// An engine did a job, or failed one that was given out by a token.
    fn on_word(
        &mut self,
        job: JobId,
        failed: Option<Token>,
        record: &AuditRecord,
        view: &View<'_>,
    ) -> Verdict {
        let known = self.accounts.get(&job).into_iter().flatten();
        let mut engine = known.filter_map(|account| match account {
            Account::Engine(engine) => Some(engine.clone()),
            _ => None,
        });
        let Some(engine) = engine.next() else {
            return Ok(());
        };
        if view.applied().0 > record.index.0 + SEEN_WITHIN {
            // It may have been broken and mended within the turn.
            self.tallies.values_mut().for_each(Tally::forget_failures);
            if failed.is_none() {
                let tally = self.tallies.entry(engine).or_default();
                tally.note(record.t, job, false);
            }
            return Ok(());
        }
        let resumed = self
            .resumed
            .get(&engine)
            .is_some_and(|at| *at > record.index);
        if let Some(broken) = self.broken.get(&engine) {
            self.tallies.remove(&engine);
            let is_probe = failed.is_some_and(|token| token.index > broken.since);
            let mut now = view.queue().breakers();
            let now = now.find(|breaker| breaker.engine == engine);
            let opened = now.is_some_and(|breaker| breaker.trips > broken.trips);
            return ensure(
                !is_probe || resumed || opened,
                Checker::BrokenEngine,
                || {
                    format!(
                        "engine {engine}, broken since {}, failed again at {}, and goes on being tried",
                        broken.since, record.index
                    )
                },
            );
        }
        if !self.breaks {
            return Ok(());
        }
        let tally = self.tallies.entry(engine.clone()).or_default();
        tally.note(record.t, job, failed.is_some());
        if !tally.is_broken() {
            return Ok(());
        }
        self.tallies.remove(&engine);
        ensure(
            resumed || view.queue().probes_left(&engine).is_some(),
            Checker::BrokenEngine,
            || {
                format!(
                    "engine {engine} failed at {} as often as makes it broken, and is used",
                    record.index
                )
            },
        )
    }

    pub(super) fn on_turn(&mut self, view: &View<'_>, marks: &mut Marks) -> Verdict {
        if view.applied() <= self.judged {
            return Ok(());
        }
        self.judged = view.applied();
        if !self.allowed.is_empty() {
            self.check_running(view, marks)?;
        }
        self.check_broken(view, marks)
    }

    fn check_running(&mut self, view: &View<'_>, marks: &mut Marks) -> Verdict {
        let mut running: BTreeMap<Account, u64> = BTreeMap::new();
        for (_, _, job) in view.queue().leases() {
            for account in accounts_of(view, job).into_iter().flatten() {
                *running.entry(account).or_default() += 1;
            }
        }
        for (account, allowed) in &mut self.allowed {
            let Some(most) = allowed.limits.running_max else {
                continue;
            };
            let now = running.get(account).copied().unwrap_or(0);
            let most = u64::from(most);
            if let Some(before) = allowed.running {
                ensure(now <= most.max(before), Checker::LimitedWork, || {
                    format!("{account} runs {now} jobs, ran {before}, and may run {most}")
                })?;
                if now >= most {
                    marks.hit(Mark::AccountFull);
                }
            }
            allowed.running = Some(now);
        }
        Ok(())
    }

    fn check_broken(&mut self, view: &View<'_>, marks: &mut Marks) -> Verdict {
        let queue = view.queue();
        let open: BTreeMap<String, (Circuit, u32)> = queue
            .breakers()
            .filter(|breaker| breaker.circuit != Circuit::Closed)
            .map(|breaker| (breaker.engine, (breaker.circuit, breaker.trips)))
            .collect();
        let before = self.broken.len();
        self.broken.retain(|engine, _| open.contains_key(engine));
        if self.broken.len() < before {
            marks.hit(Mark::EngineMended);
        }
        for (engine, (circuit, trips)) in open {
            let known = self.broken.remove(&engine);
            let is_same = known.as_ref().is_some_and(|known| known.trips == trips);
            let mut broken = known.filter(|_| is_same).unwrap_or_else(|| Broken {
                trips,
                since: view.applied(),
                failures: BTreeMap::new(),
            });
            marks.hit(match circuit {
                Circuit::Probing { .. } => Mark::EngineProbed,
                Circuit::Open { .. } | Circuit::Closed => Mark::EngineBroken,
            });
            let probes = queue.leases().filter(|(_, token, job)| {
                token.index > broken.since && queue.engine_of(*job) == Some(&engine)
            });
            let probes = probes.count();
            let most = match circuit {
                Circuit::Probing { .. } => PROBES_MAX,
                Circuit::Open { .. } | Circuit::Closed => 0,
            };
            ensure(probes <= most, Checker::BrokenEngine, || {
                format!(
                    "engine {engine} is {circuit:?} since {}, and runs {probes} jobs of those given out since",
                    broken.since
                )
            })?;
            for unfinished in queue.unfinished() {
                if unfinished.engine != engine {
                    continue;
                }
                let job = queue.job(unfinished.job);
                let failures = job.expect("it is unfinished").failures;
                let first = *broken.failures.entry(unfinished.job).or_insert(failures);
                ensure(failures == first, Checker::BrokenEngine, || {
                    format!(
                        "{} failed {first} times, and {failures} times while engine {engine} was {circuit:?}",
                        unfinished.job
                    )
                })?;
            }
            self.broken.insert(engine, broken);
        }
        Ok(())
    }
}
