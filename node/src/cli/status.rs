//! `precentor status`: what a data directory holds; of one in which a cluster runs,
//! how its nodes are.

use std::path::Path;

use precentor_core::status::{QueueCounts, Status};
use serde::Serialize;

use super::remote::Cluster;
use super::{CommandError, Exit, canonical, data_of_folder, print, print_json};
use crate::data_dir::{DataDirError, read_identity};
use crate::live;
use crate::options::StatusOptions;
use crate::reader::{ReadError, Reader};

/// How a running cluster is. The field names are the words of `--json`.
#[derive(Debug, Serialize)]
struct Running {
    project: String,
    source: String,
    data: String,
    pid: String,
    nodes: Vec<Status>,
}

/// What is shown. The field names are the words of `--json`.
#[derive(Debug, Serialize)]
struct Shown {
    project: String,
    source: String,
    data: String,
    nodes: u32,
    term: u64,
    entries: u64,
    contexts: u64,
    waiting: u64,
    delayed: u64,
    ready: u64,
    running: u64,
    parked: u64,
    done: u64,
    from_cache: u64,
    dead: u64,
    cancelled: u64,
    dependency_failed: u64,
    superseded: u64,
    warnings: Vec<String>,
}

pub(super) fn run(verb: &StatusOptions) -> Result<Exit, CommandError> {
    if verb.data.is_none() && !verb.cluster.servers.is_empty() {
        return of_cluster(verb);
    }
    let dir = match &verb.data {
        // With --data, the folder may be gone.
        Some(_) => verb.dir.clone(),
        None => canonical(&verb.dir)?,
    };
    let data = data_of_folder(verb.data.as_deref(), &dir)?;
    let reader = match Reader::open(&data, &verb.dir.display().to_string()) {
        Err(ReadError::DataDir(DataDirError::Locked { path, pid })) => {
            let running = running(&data, &pid)?;
            let running = running.ok_or(DataDirError::Locked { path, pid })?;
            match verb.json {
                true => print_json(&running)?,
                false => print(&text_of_running(&running)),
            }
            return Ok(Exit::Done);
        }
        read => read?,
    };
    let (identity, status) = (reader.identity(), reader.status());
    let QueueCounts {
        waiting,
        delayed,
        ready,
        running,
        parked,
        done,
        from_cache,
        dead,
        cancelled,
        dependency_failed,
        superseded,
        contexts,
    } = status.queue;
    let shown = Shown {
        project: identity.project.clone(),
        source: identity.source.clone(),
        data: reader.path().display().to_string(),
        nodes: identity.nodes,
        // The term and the entry of the reader's own election are not the cluster's.
        term: status.term.0.saturating_sub(1),
        entries: status.applied.0.saturating_sub(1),
        contexts,
        waiting,
        delayed,
        ready,
        running,
        parked,
        done,
        from_cache,
        dead,
        cancelled,
        dependency_failed,
        superseded,
        warnings: reader.warnings().to_vec(),
    };
    if verb.json {
        print_json(&shown)?;
    } else {
        print(&text(&shown));
    }
    Ok(Exit::Done)
}

/// What the process that holds the directory shows; none if that is nothing.
fn running(data: &Path, pid: &str) -> Result<Option<Running>, DataDirError> {
    let (identity, nodes) = (read_identity(data)?, live::read(data));
    Ok(identity.zip(nodes).map(|(identity, nodes)| Running {
        project: identity.project,
        source: identity.source,
        data: data.display().to_string(),
        pid: pid.to_owned(),
        nodes,
    }))
}

fn text_of_running(running: &Running) -> String {
    let Running {
        project,
        source,
        data,
        pid,
        nodes,
    } = running;
    let nodes = live::text(nodes);
    format!("{project} ({source}): process {pid} is at work\n{nodes}\n  data: {data}")
}

fn text(shown: &Shown) -> String {
    let open = shown.waiting + shown.delayed + shown.ready + shown.running + shown.parked;
    let mut lines = vec![
        format!(
            "{} ({}): {} contexts",
            shown.project, shown.source, shown.contexts
        ),
        format!(
            "  jobs: {open} unfinished, {} done ({} from cache), {} dead, {} superseded",
            shown.done, shown.from_cache, shown.dead, shown.superseded
        ),
        format!(
            "  cluster: {} voters, term {}, {} log entries",
            shown.nodes, shown.term, shown.entries
        ),
        format!("  data: {}", shown.data),
    ];
    if open > 0 {
        lines.push(format!("  to go on: precentor generate {}", shown.source));
    }
    lines.extend(
        shown
            .warnings
            .iter()
            .map(|warning| format!("  warning: {warning}")),
    );
    lines.join("\n")
}

/// How the servers of a cluster are, each by its own word.
fn of_cluster(verb: &StatusOptions) -> Result<Exit, CommandError> {
    let mut statuses: Vec<Status> = Vec::new();
    let mut silent = false;
    for server in &verb.cluster.servers {
        match Cluster::of(&verb.cluster.only(server))?.status() {
            Ok(status) => statuses.push(status),
            Err(error) => {
                silent = true;
                super::warn(&format!("{server}: {error}"));
            }
        }
    }
    match verb.json {
        true => print_json(&statuses)?,
        false if statuses.is_empty() => {}
        false => print(&live::text(&statuses)),
    }
    Ok(if silent { Exit::Incomplete } else { Exit::Done })
}
