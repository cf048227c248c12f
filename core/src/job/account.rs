//! What jobs are limited by, in words and in parts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Stamp;

/// What jobs that run are counted by. Each job counts for its tenant, its engine and
/// its address's project.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Account {
    /// On whose account they run.
    Tenant(String),
    /// What generates them.
    Engine(String),
    /// The project that their addresses are of, percent-encoded.
    Project(String),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Account::Engine(engine) => write!(f, "engine {engine}"),
            Account::Project(project) => write!(f, "project {project}"),
        }
    }
}

/// What an account may use (QUEUE F5). What is none is not limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Limits {
    /// How many jobs may run at a time, from 1. To let none run, pause it.
    pub running_max: Option<u32>,
    /// How often a job may be given to a worker.
    pub rate: Option<Rate>,
    /// How many jobs may be unfinished at a time. Of a tenant only: a submit that
    /// would go beyond is refused.
    pub queued_max: Option<u64>,
    /// How much the tenant's queues weigh against those of other tenants of their class, from
    /// 1, which it is for a tenant without. Of a tenant only.
    pub weight: Option<u32>,
}

/// A token bucket: it is filled evenly, and each job that is given out takes one token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Tokens in a minute of cluster time.
    pub per_minute: u32,
    /// Tokens that it can hold: so many jobs at once after a time without any.
    pub burst: u32,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, words: fmt::Arguments<'_>| {
            let result = write!(f, "{separator}{words}");
            separator = ", ";
            result
        };
        if let Some(count) = self.running_max {
            part(f, format_args!("{count} running"))?;
        }
        if let Some(Rate { per_minute, burst }) = self.rate {
            part(f, format_args!("{per_minute} a minute and {burst} at once"))?;
        }
        if let Some(count) = self.queued_max {
            part(f, format_args!("{count} unfinished"))?;
        }
        if let Some(weight) = self.weight {
            part(f, format_args!("weight {weight}"))?;
        }
        if *self == Limits::default() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

/// An account with limits, and what it uses of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccountView {
    /// Whose.
    pub account: Account,
    /// What it may use.
    pub limits: Limits,
    /// Jobs that run.
    pub running: u64,
    /// Unfinished jobs, running ones among them; none if that is not counted for it.
    pub queued: Option<u64>,
    /// Whole tokens in its bucket; none if it has no bucket.
    pub tokens: Option<u64>,
}

/// What is done with an engine that fails (QUEUE R5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Circuit {
    /// It is used, and its failures are counted.
    Closed,
    /// No job of it is given out: too many failed.
    Open {
        /// Until then, in cluster time.
        until: Stamp,
    },
    /// A few jobs are given out to see whether it works again.
    Probing {
        /// How many in this round.
        jobs: u32,
        /// How many of these may still be given out.
        left: u32,
        /// How many of these it has answered.
        passed: u32,
    },
}

/// An engine that failed lately.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BreakerView {
    /// Which.
    pub engine: String,
    /// What is done with it.
    pub circuit: Circuit,
    /// How often in a row it was given up, without having been found to work.
    pub trips: u32,
    /// Attempts that ended since its first failure, within
    /// [`BREAKER_WINDOW_MS`](crate::limits::BREAKER_WINDOW_MS).
    pub ended: u64,
    /// Of these, how many failed.
    pub failed: u64,
}

impl fmt::Display for AccountView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (account, limits, running) = (&self.account, &self.limits, self.running);
        write!(f, "{account} is limited to {limits}; running: {running}")?;
        if let Some(tokens) = self.tokens {
            write!(f, "; tokens: {tokens}")?;
        }
        Ok(())
    }
}

impl fmt::Display for BreakerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = &self.engine;
        match self.circuit {
            Circuit::Closed => write!(
                f,
                "engine {engine} is used; lately it failed {} of {} times",
                self.failed, self.ended
            ),
            Circuit::Open { until } => {
                write!(
                    f,
                    "engine {engine} failed too often; it is tried again at {until:?}"
                )
            }
            Circuit::Probing { jobs, left, passed } => write!(
                f,
                "engine {engine} failed too often and is tried with few jobs: {jobs}, of which {passed} passed and {left} are still to go"
            ),
        }
    }
}
