//! Who may do what (QUEUE S1; decision 24): the replicated table of roles, what each
//! command needs of it, and to whom sessions and workers belong. Checked where an entry
//! is applied, by the table as it is then; a leader asks the same before it proposes.
//! Kept from [`FeatureLevel::ACCESS_CHECKED`] on. While nobody has a grant everybody
//! may do everything.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::access::{Area, Denial, Grant, Rights, Role};
use crate::address::{Address, SCHEME};
use crate::command::{Command, Outcome, Rejection};
use crate::digest::Digest;
use crate::feature::FeatureLevel;
use crate::ids::{JobId, RequestId, SessionId, Token, WorkerId};
use crate::job::{Account, Class, JobSpec, Reach};
use crate::limits::{GRANTS_MAX, NAME_BYTES_MAX, PRINCIPALS_MAX};
use crate::principal::Principal;

use super::QueueManager;
use super::admission::check_length;
use super::attempts::check_range;
use super::table::Table;

const PRINCIPAL_DOMAIN: &str = "precentor 2026 principal";

/// Are roles kept in a state at a level, and part of its image?
pub(super) fn holds_roles(level: FeatureLevel) -> bool {
    level >= FeatureLevel::ACCESS_CHECKED
}

/// What one principal may do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct RolesRow {
    principal: Principal,
    grants: Box<[Grant]>,
}

impl RolesRow {
    fn is_admin(&self) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grant| grant.role == Role::Admin && grant.area == Area::Everywhere)
    }
}

/// Who may do what, and whose is what.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// By the principal's digest: a name is too long for a key.
    pub(super) roles: Table<Digest, RolesRow>,
    /// Who registered which of the registered workers.
    pub(super) workers: Table<WorkerId, Principal>,
    /// Who opened which of the open sessions.
    pub(super) sessions: Table<SessionId, Principal>,
    /// The rows of `roles` by name.
    names: BTreeMap<Principal, Digest>,
    admins: u64,
}

impl Access {
    pub(super) fn new(
        roles: Table<Digest, RolesRow>,
        workers: Table<WorkerId, Principal>,
        sessions: Table<SessionId, Principal>,
    ) -> Access {
        let named = roles.iter().map(|(key, row)| (row.principal.clone(), *key));
        let names = named.collect();
        let admins = roles.iter().filter(|(_, row)| row.is_admin()).count() as u64;
        Access {
            roles,
            workers,
            sessions,
            names,
            admins,
        }
    }

    /// Are the roles what the index says, and is there an admin where there are any?
    pub(super) fn is_sound(&self) -> bool {
        let is_right = |key: &Digest, row: &RolesRow| {
            *key == digest_of(&row.principal)
                && self.names.get(&row.principal) == Some(key)
                && !row.grants.is_empty()
                && check_grants(&row.grants).is_ok()
        };
        let mut rows = self.roles.iter();
        let admins = self.roles.iter().filter(|(_, row)| row.is_admin()).count() as u64;
        rows.all(|(key, row)| is_right(key, row))
            && self.names.len() as u64 == self.roles.len()
            && self.admins == admins
            && (admins > 0) != self.roles.is_empty()
    }

    fn grants_of(&self, principal: &Principal) -> &[Grant] {
        let key = self.names.get(principal);
        let row = key.and_then(|key| self.roles.get(key));
        row.map_or(&[], |row| &row.grants)
    }
}

fn digest_of(principal: &Principal) -> Digest {
    Digest::of_parts(PRINCIPAL_DOMAIN, &[principal.0.as_bytes()])
}

fn check_grants(grants: &[Grant]) -> Result<(), Rejection> {
    check_range(
        "the grants of a principal",
        grants.len() as u64,
        0,
        GRANTS_MAX,
    )?;
    let position = (0u32..)
        .zip(grants)
        .find(|(_, grant)| grant.role.is_for_all() && grant.area != Area::Everywhere);
    match position {
        None => Ok(()),
        Some((position, grant)) => Err(Rejection::RoleForAll {
            grant: position,
            role: grant.role,
        }),
    }
}

/// A principal's grants, and what they are enough for.
#[derive(Clone, Copy, Debug)]
struct Held<'a>(&'a [Grant]);

impl<'a> Held<'a> {
    fn of_role(self, needed: Role) -> impl Iterator<Item = &'a Grant> {
        let grants = self.0.iter();
        grants.filter(move |grant| grant.role.carries(needed))
    }

    /// The role anywhere at all.
    fn somewhere(self, needed: Role) -> Result<(), Denial> {
        match self.of_role(needed).next() {
            Some(_) => Ok(()),
            None => {
                let mut held: Vec<Role> = self.0.iter().map(|grant| grant.role).collect();
                held.sort_unstable();
                held.dedup();
                Err(Denial::Role { needed, held })
            }
        }
    }

    /// The role for the whole cluster.
    fn everywhere(self, needed: Role) -> Result<(), Denial> {
        self.somewhere(needed)?;
        let mut grants = self.of_role(needed);
        match grants.any(|grant| grant.area == Area::Everywhere) {
            true => Ok(()),
            false => Err(Denial::Everywhere { needed }),
        }
    }

    /// The role at a place, which is the item at a position of what was asked for.
    fn at(self, needed: Role, address: &Address, item: Option<u32>) -> Result<(), Denial> {
        self.somewhere(needed)?;
        let mut grants = self.of_role(needed);
        match grants.any(|grant| grant.area.covers(address)) {
            true => Ok(()),
            false => Err(Denial::Place {
                needed,
                item,
                address: address.clone(),
            }),
        }
    }

    /// The role at a place and everywhere inside.
    fn within(self, needed: Role, address: &Address) -> Result<(), Denial> {
        self.at(needed, address, None)?;
        let mut grants = self.of_role(needed);
        match grants.any(|grant| grant.area.contains(address)) {
            true => Ok(()),
            false => Err(Denial::Inside {
                needed,
                address: address.clone(),
            }),
        }
    }

    /// The role at a place, for a class.
    fn urgent(
        self,
        needed: Role,
        address: &Address,
        asked: Class,
        item: u32,
    ) -> Result<(), Denial> {
        self.at(needed, address, Some(item))?;
        let grants = self.of_role(needed);
        let there = grants.filter(|grant| grant.area.covers(address));
        // Ordered from the most urgent.
        let allowed = there.map(|grant| grant.class).min();
        match allowed {
            Some(allowed) if allowed > asked => Err(Denial::Class {
                item: Some(item),
                address: address.clone(),
                asked,
                allowed,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// What a batch needs: an agent where something is asked for, and whoever may read
    /// where it is waited for.
    fn submit(self, items: &[JobSpec]) -> Result<(), Denial> {
        self.somewhere(Role::Agent)?;
        for (position, item) in (0u32..).zip(items) {
            self.urgent(Role::Agent, &item.address, item.class, position)?;
            for dependency in &item.dependencies {
                self.at(Role::Viewer, &dependency.address, Some(position))?;
            }
        }
        Ok(())
    }
}

impl QueueManager {
    /// All that a principal may do, from the next entry on.
    pub(super) fn put_roles(
        &mut self,
        principal: &Principal,
        grants: &[Grant],
    ) -> Result<Outcome, Rejection> {
        check_length("the principal", &principal.0, NAME_BYTES_MAX)?;
        if principal.0.is_empty() || principal.is_cluster() {
            return Err(Rejection::NoPrincipal {
                principal: principal.clone(),
            });
        }
        check_grants(grants)?;
        let key = digest_of(principal);
        let known = self.access.roles.get(&key);
        let before = known.map_or(0, |row| row.grants.len());
        let row = RolesRow {
            principal: principal.clone(),
            grants: grants.into(),
        };
        let was_admin = known.is_some_and(RolesRow::is_admin);
        let admins = self.access.admins - u64::from(was_admin) + u64::from(row.is_admin());
        let is_no_change = known.is_none() && grants.is_empty();
        if admins == 0 && !is_no_change {
            return Err(Rejection::LastAdmin {
                principal: principal.clone(),
            });
        }
        if known.is_none() && !is_no_change && self.access.roles.len() >= PRINCIPALS_MAX {
            return Err(Rejection::Full {
                what: "principals with grants".into(),
                limit: PRINCIPALS_MAX,
            });
        }
        if grants.is_empty() {
            self.access.roles.remove(&key);
            self.access.names.remove(principal);
        } else {
            self.access.roles.insert(key, row);
            self.access.names.insert(principal.clone(), key);
        }
        self.access.admins = admins;
        Ok(Outcome::RolesPut {
            before: u32::try_from(before).expect("grants are limited"),
        })
    }

    /// Is it checked who does what? Not before somebody has a grant.
    #[must_use]
    pub fn checks_access(&self) -> bool {
        !self.access.roles.is_empty()
    }

    /// Why a principal may not use a session, if it may not. One that is unknown is not
    /// known to be another's.
    #[must_use]
    pub fn session_denial(&self, who: &Principal, request: Option<RequestId>) -> Option<Denial> {
        let session = request.filter(|_| self.checks_access())?.session;
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::ForeignSessionUsed) {
            return None;
        }
        let is_foreign = self.sessions.sessions.contains(&session)
            && self.access.sessions.get(&session) != Some(who);
        is_foreign.then_some(Denial::ForeignSession { session })
    }

    /// Why a principal may not have a command done, if it may not. The one place that
    /// says what each command needs.
    #[must_use]
    pub fn command_denial(&self, who: &Principal, command: &Command) -> Option<Denial> {
        if !self.checks_access() {
            return None;
        }
        let held = Held(self.access.grants_of(who));
        let checked = match command {
            Command::TakeOver { .. }
            | Command::Claim { .. }
            | Command::ClaimFrom { .. }
            | Command::ClaimTogether { .. }
            | Command::Expire { .. }
            | Command::Tick
            | Command::RaiseLevel { .. }
            | Command::Evict { .. }
            | Command::NoteDenials { .. } => match *who == Principal::cluster() {
                true => Ok(()),
                false => Err(Denial::LeaderOnly),
            },
            // What it takes back is its session's own.
            Command::OpenSession | Command::Leave { .. } => held.somewhere(Role::Agent),
            // A text is of no place until something is asked for that is made of it.
            Command::KeepSources { .. } => held.somewhere(Role::Agent),
            Command::Submit { items } | Command::Ask { items, .. } => held.submit(items),
            Command::PutOffer { worker, .. } => held
                .everywhere(Role::Worker)
                .and_then(|()| self.check_owner(who, *worker)),
            Command::Register { worker } => held
                .everywhere(Role::Worker)
                .and_then(|()| self.check_owner(who, worker.worker)),
            Command::Complete { job, token, .. }
            | Command::Fail { job, token, .. }
            | Command::FailTogether { job, token, .. }
            | Command::Release { job, token } => held
                .everywhere(Role::Worker)
                .and_then(|()| self.check_token(who, *job, *token)),
            Command::Cancel { jobs } | Command::Purge { jobs } => {
                self.check_orders(held, jobs, None)
            }
            // Who depends on a job may be anywhere.
            Command::Redrive {
                dependents: true, ..
            } => held.everywhere(Role::Operator),
            Command::Redrive {
                jobs,
                dependents: false,
            } => self.check_orders(held, jobs, None),
            Command::Reprioritise { jobs, class } => self.check_orders(held, jobs, Some(*class)),
            Command::PutLimits {
                account: Account::Project(project),
                ..
            } => match Address::parse(&format!("{SCHEME}{project}/")) {
                // A project's limits are about all that is inside.
                Ok(place) if place.project() == project => held.within(Role::Operator, &place),
                // No address is of such a project.
                Ok(_) | Err(_) => held.everywhere(Role::Operator),
            },
            Command::PutLimits {
                account: Account::Tenant(_) | Account::Engine(_),
                ..
            }
            | Command::Invalidate {
                reach: Reach::Generator { .. },
            }
            | Command::PutBudget { .. }
            | Command::PutSourceBudget { .. }
            | Command::PutNeeds { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Expel { .. } => held.everywhere(Role::Operator),
            Command::Invalidate {
                reach: Reach::Address(address),
            } => held.at(Role::Operator, address, None),
            Command::Invalidate {
                reach: Reach::Prefix(address),
            } => held.within(Role::Operator, address),
            Command::PutRoles { .. } => held.everywhere(Role::Admin),
            Command::Annotate { address, .. } | Command::Resolve { address, .. } => {
                held.at(Role::Agent, address, None)
            }
        };
        checked.err()
    }

    /// An operator's order about jobs: at each of their places. One that is not known has
    /// none, and nothing comes of it.
    fn check_orders(
        &self,
        held: Held<'_>,
        jobs: &[JobId],
        class: Option<Class>,
    ) -> Result<(), Denial> {
        held.somewhere(Role::Operator)?;
        for (position, job) in (0u32..).zip(jobs) {
            let Some(address) = self.address_of(*job) else {
                continue;
            };
            match class {
                Some(class) => held.urgent(Role::Operator, address, class, position)?,
                None => held.at(Role::Operator, address, Some(position))?,
            }
        }
        Ok(())
    }

    /// A worker's name belongs to whoever registered it, until it is expelled.
    fn check_owner(&self, who: &Principal, worker: WorkerId) -> Result<(), Denial> {
        match self.access.workers.get(&worker) {
            Some(owner) if owner != who => Err(Denial::ForeignWorker { worker }),
            Some(_) | None => Ok(()),
        }
    }

    /// A token belongs to whoever registered the worker that it was given to. One that
    /// is not the last of an unfinished job changes nothing, whoever shows it.
    fn check_token(&self, who: &Principal, job: JobId, token: Token) -> Result<(), Denial> {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::ForeignTokenTaken) {
            return Ok(());
        }
        let running = self.jobs.get(job);
        let holder = running.filter(|job| job.last_token == Some(token));
        let Some(worker) = holder.and_then(|job| job.last_worker) else {
            return Ok(());
        };
        match self.access.workers.get(&worker) == Some(who) {
            true => Ok(()),
            false => Err(Denial::ForeignToken { job, token }),
        }
    }

    /// May a registered worker be given jobs? Not while it is of nobody who may run them.
    #[must_use]
    pub fn may_work(&self, worker: WorkerId) -> bool {
        if !self.checks_access() {
            return true;
        }
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::RevokedWorkerServed) {
            return true;
        }
        let owner = self.access.workers.get(&worker);
        owner.is_some_and(|owner| {
            let held = Held(self.access.grants_of(owner));
            held.everywhere(Role::Worker).is_ok()
        })
    }

    /// Why a principal may not speak for a worker, if it may not.
    #[must_use]
    pub fn worker_denial(&self, who: &Principal, worker: WorkerId) -> Option<Denial> {
        if !self.checks_access() {
            return None;
        }
        let held = Held(self.access.grants_of(who));
        let checked = held.everywhere(Role::Worker);
        checked.and_then(|()| self.check_owner(who, worker)).err()
    }

    /// Why a principal has not the role, at a place or for all, if it has not.
    #[must_use]
    pub fn role_denial(
        &self,
        who: &Principal,
        needed: Role,
        place: Option<&Address>,
    ) -> Option<Denial> {
        if !self.checks_access() {
            return None;
        }
        let held = Held(self.access.grants_of(who));
        let checked = match place {
            Some(place) => held.at(needed, place, None),
            None => held.everywhere(needed),
        };
        checked.err()
    }

    /// Why a principal has not the role at a place and everywhere inside, if it has not.
    #[must_use]
    pub fn role_denial_within(
        &self,
        who: &Principal,
        needed: Role,
        place: &Address,
    ) -> Option<Denial> {
        let checks = self.checks_access();
        let held = Held(self.access.grants_of(who));
        held.within(needed, place).err().filter(|_| checks)
    }

    /// Why a principal has the role nowhere, if it has not.
    #[must_use]
    pub fn role_denial_anywhere(&self, who: &Principal, needed: Role) -> Option<Denial> {
        let checks = self.checks_access();
        let held = Held(self.access.grants_of(who));
        held.somewhere(needed).err().filter(|_| checks)
    }

    /// Who registered a worker, since that is kept.
    #[must_use]
    pub fn owner_of_worker(&self, worker: WorkerId) -> Option<&Principal> {
        self.access.workers.get(&worker)
    }

    /// Who opened a session, since that is kept.
    #[must_use]
    pub fn owner_of_session(&self, session: SessionId) -> Option<&Principal> {
        self.access.sessions.get(&session)
    }

    /// Must a worker say again whose it is? Only of one that registered before that was
    /// kept.
    #[must_use]
    pub fn is_nobodys(&self, worker: WorkerId) -> bool {
        self.checks_access()
            && self.workers.contains(&worker)
            && !self.access.workers.contains(&worker)
    }

    /// Who may do what, by name, after one; and whether there are more.
    #[must_use]
    pub fn rights_after(
        &self,
        after: Option<&Principal>,
        count_max: u32,
    ) -> (Vec<Rights>, Option<Principal>) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self.access.names.range((from, Bound::Unbounded));
        let count_max = usize::try_from(count_max).unwrap_or(usize::MAX);
        let some = names.by_ref().take(count_max);
        let rights: Vec<Rights> = some
            .map(|(principal, _)| Rights {
                principal: principal.clone(),
                grants: self.access.grants_of(principal).to_vec(),
            })
            .collect();
        let last = rights.last().map(|rights| rights.principal.clone());
        (rights, names.next().and(last))
    }

    /// Notes whose a session is that was opened just now, or is used while everybody may
    /// do everything and was opened before that was noted.
    pub(super) fn note_session(&mut self, session: SessionId, who: &Principal) {
        if !holds_roles(self.level) {
            return;
        }
        let sessions = &self.sessions.sessions;
        if self.access.sessions.len() < sessions.len()
            && sessions.contains(&session)
            && !self.access.sessions.contains(&session)
        {
            self.access.sessions.insert(session, who.clone());
        }
    }

    pub(super) fn forget_session(&mut self, session: SessionId) {
        self.access.sessions.remove(&session);
    }

    pub(super) fn note_worker(&mut self, worker: WorkerId, who: &Principal) {
        if holds_roles(self.level) && self.access.workers.get(&worker) != Some(who) {
            self.access.workers.insert(worker, who.clone());
        }
    }

    pub(super) fn forget_worker(&mut self, worker: WorkerId) {
        self.access.workers.remove(&worker);
    }

    /// Does every worker and session that is somebody's exist?
    pub(super) fn owns_what_is(&self) -> bool {
        let (access, held) = (&self.access, holds_roles(self.level));
        let mut workers = access.workers.iter();
        let mut sessions = access.sessions.iter();
        let any =
            !access.roles.is_empty() || !access.workers.is_empty() || !access.sessions.is_empty();
        (held || !any)
            && workers.all(|(worker, _)| self.workers.contains(worker))
            && sessions.all(|(session, _)| self.sessions.sessions.contains(session))
    }
}
