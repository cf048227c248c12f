//! What tenants, engines and projects use, and may use (QUEUE F5; decision 20). What
//! runs is counted for everybody, from the jobs; what is limited, from
//! [`FeatureLevel::WORK_LIMITED`] on, is part of the state.
//!
//! A bucket that is too empty for a job notes that it waits. The leader's `Tick` ends
//! that as any timer; so time alone changes nothing, and every replica says at each
//! entry the same about who may be given a job.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::command::{Outcome, Rejection};
use crate::digest::Digest;
use crate::feature::FeatureLevel;
use crate::ids::JobId;
use crate::job::{Account, AccountView, JobSpec, Limits, Rate};
use crate::limits::{
    ACCOUNTS_MAX, NAME_BYTES_MAX, RATE_BURST_MAX, RATE_PER_MINUTE_MAX, TENANT_WEIGHT_MAX,
};
use crate::time::Stamp;

use super::QueueManager;
use super::admission::{QUEUE_FULL_RETRY_AFTER_MS, check_length};
use super::attempts::check_range;
use super::contexts::PlaceId;
use super::jobs::{Job, Origin};
use super::table::Table;

const ACCOUNT_DOMAIN: &str = "precentor 2026 limited account";

/// Parts of a token. With this many, what a millisecond brings is a whole number of
/// parts: as many as there are tokens in a minute.
const PARTS: u64 = 60_000;
/// A bucket that ran empty is looked at again after this time at the earliest, in
/// milliseconds: so often at most does it cost an entry.
const WAIT_MS_MIN: u64 = 10;

/// Are limits kept in a state at a level, and part of its image?
pub(super) fn holds_limits(level: FeatureLevel) -> bool {
    level >= FeatureLevel::WORK_LIMITED
}

/// What an account may use, and what is in its bucket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct LimitRow {
    pub(super) account: Account,
    pub(super) limits: Limits,
    /// What was in the bucket at `at`, in [`PARTS`] of a token.
    level: u64,
    at: Stamp,
    /// There was too little for a job, and no `Tick` has come since there is enough.
    waits: bool,
}

impl LimitRow {
    /// What is in the bucket, in [`PARTS`].
    fn level_at(&self, rate: Rate, now: Stamp) -> u64 {
        let passed_ms = now.0.saturating_sub(self.at.0);
        let more = passed_ms.saturating_mul(u64::from(rate.per_minute));
        let full = u64::from(rate.burst) * PARTS;
        self.level.saturating_add(more).min(full)
    }

    /// Whole tokens that may be taken; none without a bucket.
    fn tokens(&self, now: Stamp) -> Option<u64> {
        let rate = self.limits.rate?;
        Some(match self.waits {
            true => 0,
            false => self.level_at(rate, now) / PARTS,
        })
    }

    /// When to look whether there is a token again.
    fn due(&self) -> Option<Stamp> {
        let rate = self.limits.rate.filter(|_| self.waits)?;
        let wait_ms = PARTS
            .saturating_sub(self.level)
            .div_ceil(u64::from(rate.per_minute));
        Some(self.at.plus_ms(wait_ms.max(WAIT_MS_MIN)))
    }

    fn take_token(&mut self, now: Stamp) {
        let Some(rate) = self.limits.rate else { return };
        let level = self.level_at(rate, now);
        let left = level.checked_sub(PARTS);
        self.level = left.unwrap_or_else(|| panic!("a job takes a token that is not there"));
        self.at = now;
        self.waits = self.level < PARTS;
    }
}

/// What one account uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Load {
    running: u64,
    /// Of tenants only.
    queued: u64,
}

/// Accounts of one kind by name: those that use something.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Loads(BTreeMap<Box<str>, Load>);

impl Loads {
    fn of(&self, name: &str) -> Load {
        self.0.get(name).copied().unwrap_or_default()
    }

    fn add(&mut self, name: &str, change: impl FnOnce(&mut Load)) {
        match self.0.get_mut(name) {
            Some(load) => change(load),
            None => change(self.0.entry(name.into()).or_default()),
        }
    }

    fn take(&mut self, name: &str, change: impl FnOnce(&mut Load)) {
        let load = self.0.get_mut(name);
        let load = load.unwrap_or_else(|| panic!("{name} uses nothing, and a job of it ends"));
        change(load);
        if *load == Load::default() {
            self.0.remove(name);
        }
    }
}

/// What each account uses. Derived from the jobs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Used {
    tenants: Loads,
    engines: Loads,
    projects: Loads,
}

impl Used {
    pub(super) fn queue(&mut self, tenant: &str) {
        self.tenants.add(tenant, |load| load.queued += 1);
    }

    pub(super) fn end(&mut self, tenant: &str) {
        self.tenants.take(tenant, |load| load.queued -= 1);
    }

    pub(super) fn run(&mut self, tenant: &str, engine: &str, project: &str) {
        self.tenants.add(tenant, |load| load.running += 1);
        self.engines.add(engine, |load| load.running += 1);
        self.projects.add(project, |load| load.running += 1);
    }

    pub(super) fn rest(&mut self, tenant: &str, engine: &str, project: &str) {
        self.tenants.take(tenant, |load| load.running -= 1);
        self.engines.take(engine, |load| load.running -= 1);
        self.projects.take(project, |load| load.running -= 1);
    }

    fn of(&self, account: &Account) -> Load {
        match account {
            Account::Tenant(name) => self.tenants.of(name),
            Account::Engine(name) => self.engines.of(name),
            Account::Project(name) => self.projects.of(name),
        }
    }
}

/// What accounts use and may use.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    /// By the account's digest: a name is too long for a key.
    pub(super) limits: Table<Digest, LimitRow>,
    pub(super) used: Used,
    /// Those that are limited, by name.
    tenants: BTreeMap<Box<str>, Digest>,
    engines: BTreeMap<Box<str>, Digest>,
    projects: BTreeMap<Box<str>, Digest>,
    /// Buckets that wait, by when they are looked at.
    due: BTreeSet<(Stamp, Digest)>,
    /// Changes whenever a weight may have, on this replica alone.
    weighed_count: u64,
}

impl Accounts {
    pub(super) fn new(limits: Table<Digest, LimitRow>) -> Accounts {
        let rows: Vec<(Digest, LimitRow)> = limits
            .iter()
            .map(|(key, row)| (*key, row.clone()))
            .collect();
        let mut accounts = Accounts {
            limits,
            used: Used::default(),
            tenants: BTreeMap::new(),
            engines: BTreeMap::new(),
            projects: BTreeMap::new(),
            due: BTreeSet::new(),
            weighed_count: 0,
        };
        for (key, row) in rows {
            let (names, name) = accounts.names_mut(&row.account);
            names.insert(name, key);
            accounts.due.extend(row.due().map(|due| (due, key)));
        }
        accounts
    }

    fn names_mut(&mut self, account: &Account) -> (&mut BTreeMap<Box<str>, Digest>, Box<str>) {
        match account {
            Account::Tenant(name) => (&mut self.tenants, name.as_str().into()),
            Account::Engine(name) => (&mut self.engines, name.as_str().into()),
            Account::Project(name) => (&mut self.projects, name.as_str().into()),
        }
    }

    /// The one way to change a row, or to put one in.
    fn put(&mut self, key: Digest, row: LimitRow) {
        let (names, name) = self.names_mut(&row.account);
        names.insert(name, key);
        let due = row.due();
        if let Some(before) = self.limits.insert(key, row).and_then(|old| old.due()) {
            self.due.remove(&(before, key));
        }
        self.due.extend(due.map(|due| (due, key)));
    }

    fn remove(&mut self, key: Digest) {
        let Some(row) = self.limits.remove(&key) else {
            return;
        };
        let (names, name) = self.names_mut(&row.account);
        names.remove(&name);
        if let Some(due) = row.due() {
            self.due.remove(&(due, key));
        }
    }

    /// The rows that limit jobs of these.
    fn limiting(
        &self,
        tenant: &str,
        engine: &str,
        project: &str,
    ) -> impl Iterator<Item = (Digest, &LimitRow)> {
        let keys = [
            self.tenants.get(tenant),
            self.engines.get(engine),
            self.projects.get(project),
        ];
        keys.into_iter().flatten().map(|key| {
            let row = self.limits.get(key);
            (*key, row.expect("a name leads to a row"))
        })
    }

    /// How many more jobs of an account may be given out now.
    fn room(&self, row: &LimitRow, now: Stamp) -> u64 {
        let running = self.used.of(&row.account).running;
        let slots = row
            .limits
            .running_max
            .map_or(u64::MAX, |most| u64::from(most).saturating_sub(running));
        slots.min(row.tokens(now).unwrap_or(u64::MAX))
    }

    pub(super) fn next_due(&self) -> Option<Stamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Is every row in the indexes, and nothing else?
    pub(super) fn is_sound(&self) -> bool {
        let names = self.tenants.len() + self.engines.len() + self.projects.len();
        let mut rows = self.limits.iter();
        let due = self
            .limits
            .iter()
            .filter_map(|(key, row)| Some((row.due()?, *key)));
        names as u64 == self.limits.len()
            && due.collect::<BTreeSet<_>>() == self.due
            && rows.all(|(key, row)| {
                let found = match &row.account {
                    Account::Tenant(name) => self.tenants.get(&**name),
                    Account::Engine(name) => self.engines.get(&**name),
                    Account::Project(name) => self.projects.get(&**name),
                };
                *key == digest_of_account(&row.account)
                    && found == Some(key)
                    && check_limits(&row.account, &row.limits).is_ok()
                    && (!row.waits || row.limits.rate.is_some())
            })
    }
}

fn digest_of_account(account: &Account) -> Digest {
    let (kind, name) = match account {
        Account::Tenant(name) => ("tenant", name),
        Account::Engine(name) => ("engine", name),
        Account::Project(name) => ("project", name),
    };
    Digest::of_parts(ACCOUNT_DOMAIN, &[kind.as_bytes(), name.as_bytes()])
}

fn check_limits(account: &Account, limits: &Limits) -> Result<(), Rejection> {
    let (what, name, is_tenant) = match account {
        Account::Tenant(name) => ("the tenant", name, true),
        Account::Engine(name) => ("the engine", name, false),
        Account::Project(name) => ("the project", name, false),
    };
    if name.is_empty() {
        return Err(Rejection::NoAccount { what: what.into() });
    }
    check_length(what, name, NAME_BYTES_MAX)?;
    if let Some(running) = limits.running_max {
        check_range("running_max", u64::from(running), 1, u64::from(u32::MAX))?;
    }
    if let Some(Rate { per_minute, burst }) = limits.rate {
        check_range("per_minute", per_minute.into(), 1, RATE_PER_MINUTE_MAX)?;
        check_range("burst", burst.into(), 1, RATE_BURST_MAX)?;
    }
    for (what, is_set) in [
        ("queued_max", limits.queued_max.is_some()),
        ("weight", limits.weight.is_some()),
    ] {
        if is_set && !is_tenant {
            return Err(Rejection::OnlyForTenants { what: what.into() });
        }
    }
    if let Some(weight) = limits.weight {
        check_range("weight", weight.into(), 1, TENANT_WEIGHT_MAX)?;
    }
    Ok(())
}

impl QueueManager {
    /// Sets what an account may use, in place of what it might before.
    pub(super) fn put_limits(
        &mut self,
        account: &Account,
        limits: &Limits,
    ) -> Result<Outcome, Rejection> {
        check_limits(account, limits)?;
        let (key, now) = (digest_of_account(account), self.head.now);
        let known = self.accounts.limits.get(&key);
        let before = known.map(|row| row.limits).unwrap_or_default();
        if before.weight != limits.weight {
            self.accounts.weighed_count += 1;
        }
        if *limits == Limits::default() {
            self.accounts.remove(key);
            return Ok(Outcome::LimitsPut { before });
        }
        if known.is_none() && self.accounts.limits.len() >= ACCOUNTS_MAX {
            return Err(Rejection::Full {
                what: "limited tenants, engines and projects".into(),
                limit: ACCOUNTS_MAX,
            });
        }
        let full = limits.rate.map_or(0, |rate| u64::from(rate.burst) * PARTS);
        // A bucket is not filled by being ordered again.
        let level = match known.and_then(|row| Some(row.level_at(row.limits.rate?, now))) {
            Some(level) => level.min(full),
            None => full,
        };
        let row = LimitRow {
            account: account.clone(),
            limits: *limits,
            level,
            at: now,
            waits: limits.rate.is_some() && level < PARTS,
        };
        self.accounts.put(key, row);
        Ok(Outcome::LimitsPut { before })
    }

    /// Buckets that wait are looked at, up to the limit; says how many.
    pub(super) fn look_at_buckets(&mut self, count_max: u64) -> u32 {
        let now = self.head.now;
        let mut count = 0;
        while u64::from(count) < count_max {
            let first = self.accounts.due.first().copied();
            let Some((_, key)) = first.filter(|(due, _)| *due <= now) else {
                break;
            };
            let row = self.accounts.limits.get(&key);
            let mut row = row.expect("what is due has a row").clone();
            row.waits = false;
            self.accounts.put(key, row);
            count += 1;
        }
        count
    }

    /// The account that keeps a job from being given out, if one does.
    pub(super) fn full_account(&self, job: &Job) -> Option<AccountView> {
        let now = self.head.now;
        let (tenant, engine) = job.origin.queue();
        let project = self.places.address(job.place).project();
        let mut limiting = self.accounts.limiting(tenant, engine, project);
        let full = limiting.find(|(_, row)| self.accounts.room(row, now) == 0);
        full.map(|(_, row)| self.view_of(row))
    }

    /// May a job not be given out, for what its accounts use?
    pub(super) fn is_limited(&self, id: JobId) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::LimitIgnored) {
            return false;
        }
        !self.accounts.limits.is_empty() && self.full_account(self.jobs.expect(id)).is_some()
    }

    /// A job is given to a worker: its accounts pay for it.
    pub(super) fn charge(&mut self, id: JobId) {
        let now = self.head.now;
        let job = self.jobs.expect(id);
        let (tenant, engine) = job.origin.queue();
        let project = self.places.address(job.place).project();
        let limiting = self.accounts.limiting(tenant, engine, project);
        let rated = limiting.filter(|(_, row)| row.limits.rate.is_some());
        let rated: Vec<(Digest, LimitRow)> = rated.map(|(key, row)| (key, row.clone())).collect();
        self.accounts.used.run(tenant, engine, project);
        for (key, mut row) in rated {
            #[cfg(feature = "planted-bugs")]
            if self.is_planted(crate::planted::Bug::LimitIgnored)
                || self.is_planted(crate::planted::Bug::BucketNeverEmpty)
            {
                continue;
            }
            row.take_token(now);
            self.accounts.put(key, row);
        }
    }

    /// A job that ran does so no longer.
    pub(super) fn discharge(&mut self, origin: &Origin, place: PlaceId) {
        let (tenant, engine) = origin.queue();
        let project = self.places.address(place).project();
        self.accounts.used.rest(tenant, engine, project);
    }

    /// May some tenant have only so much?
    pub(super) fn limits_tenants(&self) -> bool {
        !self.accounts.tenants.is_empty()
    }

    /// Tenants must not have more unfinished jobs than they may.
    pub(super) fn check_tenants<'a>(
        &self,
        new: impl Iterator<Item = &'a JobSpec>,
    ) -> Result<(), Rejection> {
        let mut added: BTreeMap<&str, u64> = BTreeMap::new();
        for item in new {
            *added.entry(&item.tenant).or_default() += 1;
        }
        for (tenant, added) in added {
            let key = self.accounts.tenants.get(tenant);
            let row = key.and_then(|key| self.accounts.limits.get(key));
            let Some(limit) = row.and_then(|row| row.limits.queued_max) else {
                continue;
            };
            let live = self.accounts.used.tenants.of(tenant).queued;
            if live + added > limit {
                return Err(Rejection::TenantFull {
                    tenant: tenant.to_owned(),
                    live,
                    limit,
                    retry_after_ms: QUEUE_FULL_RETRY_AFTER_MS,
                });
            }
        }
        Ok(())
    }

    /// How many more jobs of each account that is limited may be given out now.
    pub fn rooms(&self) -> impl Iterator<Item = (&Account, u64)> {
        let (rows, now) = (self.accounts.limits.iter(), self.head.now);
        rows.map(move |(_, row)| (&row.account, self.accounts.room(row, now)))
    }

    /// The tenant, engine and project for which an unfinished job counts.
    #[must_use]
    pub fn accounts_of(&self, id: JobId) -> Option<(&str, &str, &str)> {
        let job = self.jobs.get(id)?;
        let (tenant, engine) = job.origin.queue();
        Some((tenant, engine, self.places.address(job.place).project()))
    }

    /// Changes whenever tenants' weights do, on this replica alone.
    #[must_use]
    pub fn weighed_count(&self) -> u64 {
        self.accounts.weighed_count
    }

    /// How much a tenant's queues weigh.
    pub(super) fn weight_of_tenant(&self, tenant: &str) -> u64 {
        let key = self.accounts.tenants.get(tenant);
        let row = key.and_then(|key| self.accounts.limits.get(key));
        row.and_then(|row| row.limits.weight).map_or(1, u64::from)
    }

    /// Every account that is limited.
    pub fn accounts(&self) -> impl Iterator<Item = AccountView> {
        let rows = self.accounts.limits.iter();
        rows.map(|(_, row)| self.view_of(row))
    }

    fn view_of(&self, row: &LimitRow) -> AccountView {
        let load = self.accounts.used.of(&row.account);
        AccountView {
            account: row.account.clone(),
            limits: row.limits,
            running: load.running,
            queued: matches!(row.account, Account::Tenant(_)).then_some(load.queued),
            tokens: row.tokens(self.head.now),
        }
    }

    /// What the accounts use, by the jobs themselves.
    pub(super) fn count_used(&self) -> Used {
        let mut used = Used::default();
        for (_, job) in self.jobs.rows.iter() {
            let (tenant, engine) = job.origin.queue();
            used.queue(tenant);
            if job.is_running() {
                used.run(tenant, engine, self.places.address(job.place).project());
            }
        }
        used
    }
}
