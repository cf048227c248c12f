//! `precentor pause`, `resume`, `limits`, `expel` and `lead`: what an operator does to a
//! cluster.

use precentor_core::command::{Command, Outcome};
use precentor_core::ids::{NodeId, WorkerId};
use precentor_core::job::{Account, Limits, Rate, Scope};
use precentor_core::request::{Answer, Query};

use super::remote::{Cluster, senseless};
use super::{CommandError, Exit, print};
use crate::options::{Bounds, Expel, Lead, Limited, LimitsOptions, Pause, Paused, Resume};

fn scope(what: &Paused) -> Scope {
    match what {
        Paused::Cluster => Scope::Cluster,
        Paused::Engine { name } => Scope::Engine(name.clone()),
        Paused::Tenant { name } => Scope::Tenant(name.clone()),
        Paused::Worker { id } => Scope::Worker(WorkerId(*id)),
    }
}

pub(super) fn pause(verb: &Pause) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let Some(what) = &verb.what else {
        let pauses = match cluster.read(Query::Pauses)? {
            Answer::Pauses(pauses) => pauses,
            other => return Err(senseless(&other)),
        };
        for pause in pauses {
            let why = match pause.reason.as_str() {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            print(&format!("{}, by {}{why}", pause.scope, pause.by));
        }
        return Ok(Exit::Done);
    };
    let scope = scope(what);
    let command = Command::Pause {
        scope: scope.clone(),
        reason: verb.reason.clone(),
    };
    match cluster.propose(command)? {
        Outcome::Paused { before: false } => print(&format!("{scope} is paused")),
        Outcome::Paused { before: true } => print(&format!("{scope} was paused already")),
        other => return Err(senseless(&other)),
    }
    Ok(Exit::Done)
}

pub(super) fn resume(verb: &Resume) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let scope = scope(&verb.what);
    let command = Command::Resume {
        scope: scope.clone(),
    };
    match cluster.propose(command)? {
        Outcome::Resumed { before: false } => print(&format!("{scope} goes on")),
        Outcome::Resumed { before: true } => print(&format!("{scope} was not paused")),
        other => return Err(senseless(&other)),
    }
    Ok(Exit::Done)
}

fn limited(what: &Limited) -> (Account, Limits) {
    let (account, bounds) = match what {
        Limited::Tenant(bounds) => (Account::Tenant(bounds.name.clone()), bounds),
        Limited::Engine(bounds) => (Account::Engine(bounds.name.clone()), bounds),
        Limited::Project(bounds) => (Account::Project(bounds.name.clone()), bounds),
    };
    let Bounds {
        name: _,
        running_max,
        per_minute,
        burst,
        queued_max,
        weight,
    } = bounds;
    let rate = per_minute.zip(*burst);
    let limits = Limits {
        running_max: *running_max,
        rate: rate.map(|(per_minute, burst)| Rate { per_minute, burst }),
        queued_max: *queued_max,
        weight: *weight,
    };
    (account, limits)
}

pub(super) fn limits(verb: &LimitsOptions) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let Some(what) = &verb.what else {
        match cluster.read(Query::Limits)? {
            Answer::Limits { accounts, breakers } => {
                accounts
                    .iter()
                    .for_each(|account| print(&account.to_string()));
                breakers
                    .iter()
                    .for_each(|breaker| print(&breaker.to_string()));
            }
            other => return Err(senseless(&other)),
        }
        return Ok(Exit::Done);
    };
    let (account, limits) = limited(what);
    let command = Command::PutLimits {
        account: account.clone(),
        limits,
    };
    match cluster.propose(command)? {
        Outcome::LimitsPut { before } => {
            print(&format!("{account}: {limits} (before: {before})"));
            Ok(Exit::Done)
        }
        other => Err(senseless(&other)),
    }
}

pub(super) fn expel(verb: &Expel) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let worker = WorkerId(verb.worker);
    match cluster.propose(Command::Expel { worker })? {
        Outcome::Expelled { known: true, jobs } => {
            print(&format!(
                "{worker} is forgotten; it ran {jobs} jobs, which others get"
            ));
            Ok(Exit::Done)
        }
        Outcome::Expelled { known: false, .. } => Err(CommandError::new(
            Exit::NotFound,
            format!("{worker} is not known"),
        )),
        other => Err(senseless(&other)),
    }
}

pub(super) fn lead(verb: &Lead) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let leader = cluster.hand_over(verb.node.map(NodeId))?;
    print(&format!("{leader} leads"));
    Ok(Exit::Done)
}
