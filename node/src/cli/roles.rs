//! `precentor roles` and `precentor token`: who may do what, and how they prove who they
//! are.

use precentor_core::access::{Area, Grant, Role};
use precentor_core::address::Address;
use precentor_core::command::{Command, Outcome};
use precentor_core::digest::Digest;
use precentor_core::job::Class;
use precentor_core::limits::RIGHTS_LISTED_MAX;
use precentor_core::principal::Principal;
use precentor_core::request::{Answer, Query};

use super::remote::{Cluster, senseless};
use super::{CommandError, Exit, print};
use crate::options::{Roles, Token};

pub(super) fn roles(verb: &Roles) -> Result<Exit, CommandError> {
    let grants = verb.grants.iter().map(|text| grant(text));
    let grants: Vec<Grant> = grants.collect::<Result<_, _>>()?;
    let mut cluster = Cluster::of(&verb.cluster)?;
    let Some(principal) = &verb.principal else {
        return list(&mut cluster);
    };
    let command = Command::PutRoles {
        principal: Principal(principal.clone()),
        grants,
    };
    match cluster.propose(command)? {
        Outcome::RolesPut { before } => {
            let now = verb.grants.len();
            print(&format!("{principal} has {now} grants, and had {before}"));
            Ok(Exit::Done)
        }
        other => Err(senseless(&other)),
    }
}

fn list(cluster: &mut Cluster) -> Result<Exit, CommandError> {
    let mut after = None;
    loop {
        let query = Query::Roles {
            after,
            count_max: RIGHTS_LISTED_MAX,
        };
        let (rights, next) = match cluster.read(query)? {
            Answer::Roles { rights, next } => (rights, next),
            other => return Err(senseless(&other)),
        };
        for of in rights {
            let grants: Vec<String> = of.grants.iter().map(Grant::to_string).collect();
            print(&format!("{}: {}", of.principal, grants.join(", ")));
        }
        if next.is_none() {
            return Ok(Exit::Done);
        }
        after = next;
    }
}

/// `ROLE` or `ROLE@ADDRESS`.
fn grant(text: &str) -> Result<Grant, CommandError> {
    let wrong =
        |reason: String| CommandError::new(Exit::Usage, format!("--grant {text}: {reason}"));
    let (name, place) = match text.split_once('@') {
        Some((name, place)) => (name, Some(place)),
        None => (text, None),
    };
    let role = Role::ALL.into_iter().find(|role| role.to_string() == name);
    let role = role.ok_or_else(|| {
        wrong(
            "write viewer, agent, worker, operator or admin, and @ADDRESS if not everywhere".into(),
        )
    })?;
    let area = match place {
        Some(place) => {
            Area::Within(Address::parse(place).map_err(|error| wrong(error.to_string()))?)
        }
        None => Area::Everywhere,
    };
    Ok(Grant {
        role,
        area,
        class: Class::Urgent,
    })
}

/// Bytes of a token, beyond all guessing.
const TOKEN_BYTES: usize = 32;

pub(super) fn token(verb: &Token) -> Result<Exit, CommandError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        CommandError::new(
            Exit::Incomplete,
            format!("the system gives no randomness: {error}"),
        )
    })?;
    let token = Digest(bytes).to_string();
    // TOML's basic strings are as JSON's.
    let principal = serde_json::Value::from(verb.principal.as_str());
    print(&format!(
        "# For the client, which sends it as PRECENTOR_TOKEN or Authorization: Bearer. It is shown once.\n{token}\n\n# For the configuration of each node, which knows its digest alone.\n[[http.tokens]]\nprincipal = {principal}\nblake3 = \"{}\"",
        Digest::of(token.as_bytes())
    ));
    Ok(Exit::Done)
}
