//! `precentor generate DIR`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::{CommandError, Exit, canonical, print, print_json, project_of, watch_for_interrupts};
use crate::data_dir;
use crate::generate::chaos::ChaosPlan;
use crate::generate::{self, GenerateOptions};
use crate::options::Generate;

pub(super) fn run(verb: &Generate) -> Result<Exit, CommandError> {
    let root = canonical(&verb.dir)?;
    if !root.is_dir() {
        return Err(CommandError::new(
            Exit::Usage,
            format!(
                "{} is not a folder; name the folder whose files are to have contexts",
                root.display()
            ),
        ));
    }
    let project = project_of(verb.project.as_deref(), &root);
    let data = match &verb.data {
        Some(data) => std::path::absolute(data).map_err(|cause| {
            CommandError::new(Exit::Usage, format!("--data {}: {cause}", data.display()))
        })?,
        None => data_dir::default_path(&data_dir::default_root()?, &project, &root),
    };
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let options = GenerateOptions {
        root,
        project,
        data,
        nodes: verb.nodes,
        workers: verb.workers.map_or(cores, usize::from),
        chaos: ChaosPlan {
            kills: verb.chaos.unwrap_or(0),
        },
        quiet: verb.quiet,
    };
    let interrupt = Arc::new(AtomicBool::new(false));
    watch_for_interrupts(interrupt.clone());
    let summary = generate::run(&options, &interrupt)?;
    if verb.json {
        print_json(&summary)?;
    } else {
        print(&summary.to_string());
    }
    Ok(match () {
        () if summary.interrupted => Exit::Interrupted,
        () if summary.is_complete() => Exit::Done,
        () => Exit::Incomplete,
    })
}
