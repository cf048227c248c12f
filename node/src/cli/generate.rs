//! `precentor generate DIR`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{CommandError, Exit, canonical, print, print_json};
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
    let project = match &verb.project {
        Some(name) => name.clone(),
        None => match root.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => "root".to_owned(),
        },
    };
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

/// The first Ctrl-C ends the run in order, a second one at once: nothing that
/// was accepted depends on the order.
fn watch_for_interrupts(interrupt: Arc<AtomicBool>) {
    let watcher = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let Ok(runtime) = runtime else { return };
        while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            if interrupt.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted as i32);
            }
        }
    };
    if let Err(error) = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watcher)
    {
        tracing::warn!(%error, "Ctrl-C will end this run at once");
    }
}
