//! `precentor get ADDRESS`.

use std::path::PathBuf;

use precentor_core::address::Address;
use precentor_core::request::{Answer, Query};

use super::remote::{Cluster, senseless};
use super::{CommandError, Exit, print, print_json};
use crate::data_dir::{self, DataDirError};
use crate::options::Get;
use crate::reader::Reader;
use crate::render::{self, Level};
use crate::worker::record;

pub(super) fn run(verb: &Get) -> Result<Exit, CommandError> {
    let address =
        Address::parse(&verb.address).map_err(|error| CommandError::new(Exit::Usage, error))?;
    let level = Level::from_number(verb.level)
        .ok_or_else(|| CommandError::new(Exit::Usage, "a level is 0, 1, 2 or 3"))?;
    if verb.data.is_none() && !verb.cluster.servers.is_empty() {
        return of_cluster(verb, &address, level);
    }
    let reader = Reader::open(&data_of(verb, &address)?, "DIR, the project's folder")?;
    let identity = reader.identity();
    let Some(view) = reader.queue().context(&address) else {
        let other = address.project() != project_text(&identity.project);
        let why = if other {
            format!(
                "the data directory {} is of the project {}",
                reader.path().display(),
                identity.project
            )
        } else {
            format!("run: precentor generate {}", identity.source)
        };
        return Err(CommandError::new(
            Exit::NotFound,
            format!("there is no context of {address}; {why}"),
        ));
    };
    let record = reader.record(&view)?;
    let root = identity.source_path();
    if verb.json {
        print_json(&render::json(&record, level, root.as_deref()))?;
    } else {
        print(render::text(&record, level, root.as_deref()).trim_end());
    }
    Ok(Exit::Done)
}

/// The same from a cluster that runs: without the source's text, which is not here.
fn of_cluster(verb: &Get, address: &Address, level: Level) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let view = match cluster.read(Query::Context(address.clone()))? {
        Answer::Context(Some(view)) => view,
        Answer::Context(None) => {
            let message =
                format!("there is no context of {address}; ask for it with: precentor submit DIR");
            return Err(CommandError::new(Exit::NotFound, message));
        }
        other => return Err(senseless(&other)),
    };
    let unreadable = |reason: String| {
        let message = format!("the context of {address} cannot be read: {reason}");
        CommandError::new(Exit::Incomplete, message)
    };
    let body = cluster.body(&view.result);
    let body = body.ok_or_else(|| unreadable(format!("no server has {}", view.result)))?;
    let record = record::decode(&body).map_err(|error| unreadable(error.to_string()))?;
    if verb.json {
        print_json(&render::json(&record, level, None))?;
    } else {
        print(render::text(&record, level, None).trim_end());
    }
    Ok(Exit::Done)
}

/// The data directory of an address's project.
fn data_of(verb: &Get, address: &Address) -> Result<PathBuf, CommandError> {
    if let Some(data) = &verb.data {
        return Ok(data.clone());
    }
    let root = data_dir::default_root()?;
    let mut project = address.clone();
    while let Some(parent) = project.parent() {
        project = parent;
    }
    let name = String::from_utf8_lossy(&project.name()).into_owned();
    let mut found = data_dir::find_project(&root, &name);
    // Of several projects with one name, the one that the user stands in.
    if found.len() > 1
        && let Ok(here) = std::env::current_dir()
        && let Some(nearest) = data_dir::find_source(&root, &here)
        && nearest.1.project == name
    {
        found = vec![nearest];
    }
    match found.as_slice() {
        [(path, _)] => Ok(path.clone()),
        [] => {
            let hint = format!("DIR, the folder of the project {name}");
            Err(DataDirError::Missing { path: root, hint }.into())
        }
        several => {
            let list: String = several
                .iter()
                .map(|(path, identity)| {
                    format!("\n  --data {}   (of {})", path.display(), identity.source)
                })
                .collect();
            let message = format!("there are several projects called {name}; say which:{list}");
            Err(CommandError::new(Exit::Usage, message))
        }
    }
}

/// A project's name as addresses write it.
fn project_text(name: &str) -> String {
    Address::of_project(name.as_bytes())
        .map_or_else(|_| name.to_owned(), |address| address.project().to_owned())
}
