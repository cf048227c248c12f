//! What is paused: no job of it is given out until it is resumed (QUEUE §4; decision
//! 18). What runs goes on, and what waits keeps its place. Paused from
//! [`FeatureLevel::QUEUE_OPERATED`] on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::command::{Outcome, Rejection};
use crate::digest::Digest;
use crate::ids::WorkerId;
use crate::job::{Pause, Scope};
use crate::limits::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PAUSES_MAX};
use crate::principal::Principal;
use crate::time::Stamp;

use super::QueueManager;
use super::admission::check_length;
use super::attempts::cut;
use super::table::Table;

const SCOPE_DOMAIN: &str = "precentor 2026 paused scope";

/// Since when something is paused, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct PauseRow {
    pub(super) scope: Scope,
    pub(super) since: Stamp,
    pub(super) by: Principal,
    pub(super) reason: Box<str>,
}

/// Everything that is paused.
#[derive(Clone, Debug)]
pub(super) struct Pauses {
    /// By the scope's digest: a name is too long for a key.
    pub(super) rows: Table<Digest, PauseRow>,
    cluster: bool,
    engines: BTreeSet<String>,
    tenants: BTreeSet<String>,
    workers: BTreeSet<WorkerId>,
    /// Of pauses that ended, on this replica alone: who waits for one looks whenever
    /// this has changed.
    resumed_count: u64,
}

impl Pauses {
    pub(super) fn new(rows: Table<Digest, PauseRow>) -> Pauses {
        let scopes: Vec<Scope> = rows.iter().map(|(_, row)| row.scope.clone()).collect();
        let mut pauses = Pauses {
            rows,
            cluster: false,
            engines: BTreeSet::new(),
            tenants: BTreeSet::new(),
            workers: BTreeSet::new(),
            resumed_count: 0,
        };
        for scope in scopes {
            pauses.index(scope);
        }
        pauses
    }

    fn index(&mut self, scope: Scope) {
        match scope {
            Scope::Cluster => self.cluster = true,
            Scope::Engine(engine) => drop(self.engines.insert(engine)),
            Scope::Tenant(tenant) => drop(self.tenants.insert(tenant)),
            Scope::Worker(worker) => drop(self.workers.insert(worker)),
        }
    }

    fn unindex(&mut self, scope: &Scope) {
        self.resumed_count += 1;
        match scope {
            Scope::Cluster => self.cluster = false,
            Scope::Engine(engine) => drop(self.engines.remove(engine)),
            Scope::Tenant(tenant) => drop(self.tenants.remove(tenant)),
            Scope::Worker(worker) => drop(self.workers.remove(worker)),
        }
    }

    /// Is every row in the index, and nothing else?
    pub(super) fn is_sound(&self) -> bool {
        let named = self.engines.len() + self.tenants.len() + self.workers.len();
        let count = named as u64 + u64::from(self.cluster);
        let mut rows = self.rows.iter();
        self.rows.len() == count
            && rows.all(|(key, row)| {
                *key == digest_of_scope(&row.scope)
                    && match &row.scope {
                        Scope::Cluster => self.cluster,
                        Scope::Engine(engine) => self.engines.contains(engine),
                        Scope::Tenant(tenant) => self.tenants.contains(tenant),
                        Scope::Worker(worker) => self.workers.contains(worker),
                    }
            })
    }
}

fn digest_of_scope(scope: &Scope) -> Digest {
    let of_parts =
        |kind: &str, name: &[u8]| Digest::of_parts(SCOPE_DOMAIN, &[kind.as_bytes(), name]);
    match scope {
        Scope::Cluster => of_parts("cluster", b""),
        Scope::Engine(engine) => of_parts("engine", engine.as_bytes()),
        Scope::Tenant(tenant) => of_parts("tenant", tenant.as_bytes()),
        Scope::Worker(worker) => of_parts("worker", &worker.0.to_le_bytes()),
    }
}

fn check_scope(scope: &Scope) -> Result<(), Rejection> {
    let (what, name) = match scope {
        Scope::Cluster | Scope::Worker(_) => return Ok(()),
        Scope::Engine(engine) => ("the engine", engine),
        Scope::Tenant(tenant) => ("the tenant", tenant),
    };
    if name.is_empty() {
        return Err(Rejection::NoName { what: what.into() });
    }
    check_length(what, name, NAME_BYTES_MAX)
}

impl QueueManager {
    /// Nothing of a scope is given out any more.
    pub(super) fn pause(
        &mut self,
        scope: &Scope,
        reason: &str,
        by: &Principal,
    ) -> Result<Outcome, Rejection> {
        check_scope(scope)?;
        let key = digest_of_scope(scope);
        let known = self.pauses.rows.get(&key).map(|row| row.since);
        if known.is_none() && self.pauses.rows.len() >= PAUSES_MAX {
            return Err(Rejection::Full {
                what: "paused engines, tenants and workers".into(),
                limit: PAUSES_MAX,
            });
        }
        let row = PauseRow {
            scope: scope.clone(),
            since: known.unwrap_or(self.head.now),
            by: by.clone(),
            reason: cut(reason, MESSAGE_BYTES_MAX).into(),
        };
        self.pauses.rows.insert(key, row);
        self.pauses.index(scope.clone());
        Ok(Outcome::Paused {
            before: known.is_some(),
        })
    }

    /// What a scope covers is given out again, unless another one covers it, too.
    pub(super) fn resume(&mut self, scope: &Scope) -> Result<Outcome, Rejection> {
        check_scope(scope)?;
        let was = self.pauses.rows.remove(&digest_of_scope(scope));
        if was.is_some() {
            self.pauses.unindex(scope);
        }
        let was_broken = match scope {
            Scope::Engine(engine) => self.close_breaker(engine),
            Scope::Cluster | Scope::Tenant(_) | Scope::Worker(_) => false,
        };
        Ok(Outcome::Resumed {
            before: was.is_none() && !was_broken,
        })
    }

    /// May no job of this tenant and engine be claimed for this worker?
    pub(super) fn is_held_back(&self, tenant: &str, engine: &str, worker: WorkerId) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::PauseIgnored) {
            return false;
        }
        self.is_paused()
            || self.is_engine_paused(engine)
            || self.is_tenant_paused(tenant)
            || self.is_worker_paused(worker)
    }

    /// Is nothing given out?
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pauses.cluster
    }

    /// Is nothing given out that needs this engine?
    #[must_use]
    pub fn is_engine_paused(&self, engine: &str) -> bool {
        self.pauses.engines.contains(engine)
    }

    /// Is nothing given out on this tenant's account?
    #[must_use]
    pub fn is_tenant_paused(&self, tenant: &str) -> bool {
        self.pauses.tenants.contains(tenant)
    }

    /// Is nothing given to this worker?
    #[must_use]
    pub fn is_worker_paused(&self, worker: WorkerId) -> bool {
        self.pauses.workers.contains(&worker)
    }

    /// Changes whenever something is resumed, on this replica alone.
    #[must_use]
    pub fn resumed_count(&self) -> u64 {
        self.pauses.resumed_count
    }

    /// Everything that is paused.
    pub fn pauses(&self) -> impl Iterator<Item = Pause> {
        self.pauses.rows.iter().map(|(_, row)| Pause {
            scope: row.scope.clone(),
            since: row.since,
            by: row.by.clone(),
            reason: row.reason.to_string(),
        })
    }
}
