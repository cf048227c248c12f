//! The verbs of the command line, one a file, and the exit codes.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::data_dir::{self, DataDirError};
use crate::embedded::ClusterError;
use crate::generate::GenerateError;
use crate::options::{Options, Verb};
use crate::reader::ReadError;

mod audit;
mod backup;
mod dev;
mod generate;
mod get;
mod manual;
mod map;
mod members;
mod operate;
mod pki;
mod queue;
mod remote;
mod roles;
mod server;
mod status;
mod submit;
mod worker;

/// How a command ended. The numbers are documented in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something was lost or duplicated, or the work stopped halfway.
    Incomplete = 1,
    /// Wrong usage, or nothing there to work on.
    Usage = 2,
    /// The data directory cannot be used.
    Data = 3,
    /// No context at that address, or no such job or worker.
    NotFound = 4,
    /// Interrupted.
    Interrupted = 130,
}

/// Why a command cannot do what was asked.
#[derive(Debug)]
pub(crate) struct CommandError {
    exit: Exit,
    message: String,
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl CommandError {
    fn new(exit: Exit, message: impl ToString) -> CommandError {
        CommandError {
            exit,
            message: message.to_string(),
        }
    }
}

impl From<DataDirError> for CommandError {
    fn from(error: DataDirError) -> CommandError {
        CommandError::new(Exit::Data, error)
    }
}

impl From<ReadError> for CommandError {
    fn from(error: ReadError) -> CommandError {
        CommandError::new(Exit::Data, error)
    }
}

impl From<GenerateError> for CommandError {
    fn from(error: GenerateError) -> CommandError {
        let exit = match &error {
            GenerateError::Cluster(ClusterError::System { .. }) | GenerateError::Stopped(_) => {
                Exit::Incomplete
            }
            GenerateError::Cluster(_) => Exit::Data,
            GenerateError::Project(_) | GenerateError::Walk(_) => Exit::Usage,
        };
        CommandError::new(exit, error)
    }
}

/// Does what the command line says.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    if let Some(filter) = options.log.as_deref().filter(|filter| !filter.is_empty()) {
        match EnvFilter::try_new(filter) {
            Ok(filter) => {
                tracing_subscriber::fmt()
                    .with_env_filter(filter)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr)
                    .init();
            }
            Err(error) => {
                return end(CommandError::new(
                    Exit::Usage,
                    format!("--log {filter}: {error}"),
                ));
            }
        }
    }
    let done = match options.verb {
        Verb::Generate(verb) => generate::run(&verb),
        Verb::Get(verb) => get::run(&verb),
        Verb::Map(verb) => map::run(&verb),
        Verb::Status(verb) => status::run(&verb),
        Verb::Init(verb) => server::init(&verb),
        Verb::Join(verb) => members::join(&verb),
        Verb::Server(verb) => server::run(&verb),
        Verb::Cluster(verb) => members::run(&verb),
        Verb::Submit(verb) => submit::run(&verb),
        Verb::Worker(verb) => worker::run(&verb),
        Verb::Dev(verb) => dev::run(&verb),
        Verb::Jobs(verb) => queue::jobs(&verb),
        Verb::Explain(verb) => queue::explain(&verb),
        Verb::Cancel(verb) => queue::cancel(&verb),
        Verb::Dead(verb) => queue::dead(&verb),
        Verb::Pause(verb) => operate::pause(&verb),
        Verb::Resume(verb) => operate::resume(&verb),
        Verb::Limits(verb) => operate::limits(&verb),
        Verb::Expel(verb) => operate::expel(&verb),
        Verb::Lead(verb) => operate::lead(&verb),
        Verb::Roles(verb) => roles::roles(&verb),
        Verb::Token(verb) => roles::token(&verb),
        Verb::Backup(verb) => backup::back_up(&verb),
        Verb::Restore(verb) => backup::restore(&verb),
        Verb::Pki(verb) => pki::run(&verb),
        Verb::Audit(verb) => audit::run(&verb),
        Verb::Completions { shell } => manual::completions(shell),
        Verb::Man { dir } => manual::pages(&dir),
    };
    match done {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => end(error),
    }
}

fn end(error: CommandError) -> ExitCode {
    warn(&format!("error: {}", error.message));
    ExitCode::from(error.exit as u8)
}

/// Says something that is no answer.
fn warn(text: &str) {
    // With stderr closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes to stdout. A reader that has seen enough is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn print_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text =
        serde_json::to_string(value).map_err(|error| CommandError::new(Exit::Incomplete, error))?;
    print(&text);
    Ok(())
}

/// The project that a folder is called by: its own name, unless another is given.
fn project_of(name: Option<&str>, root: &Path) -> String {
    match (name, root.file_name()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(name)) => name.to_string_lossy().into_owned(),
        (None, None) => "root".to_owned(),
    }
}

/// The first Ctrl-C, or SIGTERM, is for whoever watches the flag; a second one ends the
/// process at once: nothing that was accepted depends on the order.
fn watch_for_interrupts(interrupt: Arc<AtomicBool>) {
    let watcher = move || {
        for_each_signal(|| {
            if interrupt.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted as i32);
            }
            true
        });
    };
    if let Err(error) = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watcher)
    {
        tracing::warn!(%error, "Ctrl-C will end this run at once");
    }
}

/// Waits for Ctrl-C and SIGTERM, and does something each time, until that says that it was
/// enough.
fn for_each_signal(mut act: impl FnMut() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let Ok(runtime) = runtime else { return };
    let signals = {
        let _in_runtime = runtime.enter();
        (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        )
    };
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return;
    };
    let mut next = || {
        runtime.block_on(async {
            tokio::select! {
                signal = terminate.recv() => signal,
                signal = interrupt.recv() => signal,
            }
        })
    };
    while next().is_some() && act() {}
}

/// A folder as the one path that names it.
fn canonical(path: &Path) -> Result<PathBuf, CommandError> {
    std::fs::canonicalize(path).map_err(|cause| {
        CommandError::new(
            Exit::Usage,
            format!("cannot open {}: {cause}", path.display()),
        )
    })
}

/// The data directory of a folder: the one named, or the nearest folder's.
fn data_of_folder(data: Option<&Path>, folder: &Path) -> Result<PathBuf, CommandError> {
    if let Some(data) = data {
        return Ok(data.to_path_buf());
    }
    let root = data_dir::default_root()?;
    let hint = folder.display().to_string();
    data_dir::find_source(&root, folder)
        .map(|(path, _)| path)
        .ok_or_else(|| DataDirError::Missing { path: root, hint }.into())
}
