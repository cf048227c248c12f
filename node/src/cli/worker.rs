//! `precentor worker --server URL`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{bounded, select, unbounded};
use precentor_core::address::Address;
use precentor_core::digest::Digest;
use precentor_core::ids::{WorkerId, WorkerIncarnation};
use precentor_core::limits::NAME_BYTES_MAX;
use reqwest::Url;

use super::remote::Cluster;
use super::{CommandError, Exit, canonical, for_each_signal, print, warn};
use crate::options::Worker;
use crate::remote::{Access, Remote};
use crate::worker::engine::Engine;
use crate::worker::exec::{ExecEngine, ExecOptions};
use crate::worker::local::{LocalWorker, THREADS_MAX, WorkerOptions};
use crate::worker::openai::{self, OpenAiEngine, OpenAiError, OpenAiOptions};
use crate::worker::outline::{self, OutlineEngine};
use crate::worker::reading::{Bodies, Sources};

pub(super) fn run(verb: &Worker) -> Result<Exit, CommandError> {
    let mut roots = BTreeMap::new();
    for (project, dir) in &verb.sources {
        let address = Address::of_project(project.as_bytes())
            .map_err(|error| CommandError::new(Exit::Usage, error))?;
        let root = canonical(dir)?;
        if roots.insert(address.project().to_owned(), root).is_some() {
            let message = format!("--source {project} is given twice; name one place");
            return Err(CommandError::new(Exit::Usage, message));
        }
    }
    let remote = Remote::new(&Access {
        patient: true,
        ..verb.cluster.access()
    })?;
    // Whoever may not ask is told so now. A cluster that is away is waited for.
    if let Err(error) = Cluster::of(&verb.cluster)?.status() {
        if error.exit == Exit::Usage {
            return Err(error);
        }
        warn(&format!("{error}; the worker waits for it"));
    }
    let engine = engine(verb)?;
    let first = verb.id.unwrap_or_else(|| own_id(&roots, engine.name()));
    let incarnation = WorkerIncarnation(life());
    let sources = Sources::Projects(roots);
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let mut left = verb.threads.map_or(cores, usize::from);
    let mut workers = Vec::new();
    let (refused, refusals) = unbounded();
    while left > 0 {
        let threads = left.min(THREADS_MAX);
        left -= threads;
        let options = WorkerOptions {
            worker: WorkerId(first + workers.len() as u64),
            incarnation,
            threads,
            sources: sources.clone(),
            bodies: Bodies::There(remote.bodies()),
            engine: engine.clone(),
            refused: Some(refused.clone()),
        };
        let worker = LocalWorker::spawn(options, remote.directory());
        workers.push(worker.map_err(|error| CommandError::new(Exit::Incomplete, error))?);
    }
    print(&format!(
        "worker {} makes {} contexts for {}",
        WorkerId(first),
        engine.name(),
        verb.cluster.servers.join(", ")
    ));
    // Until it is told to end: it waits for the cluster, however long that is away.
    let (stop, stopped) = bounded(1);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for_each_signal(|| {
                // A second one ends it at once.
                if stop.try_send(()).is_err() {
                    std::process::exit(Exit::Interrupted as i32);
                }
                true
            });
        })
        .map_err(|error| CommandError::new(Exit::Incomplete, error))?;
    let reason = select! {
        recv(stopped) -> _ => None,
        recv(refusals) -> reason => reason.ok(),
    };
    // All of them, before the engine that they share is told to end.
    workers.iter_mut().for_each(LocalWorker::retire);
    drop(workers);
    match reason {
        None => Ok(Exit::Done),
        Some(reason) => {
            let message = format!(
                "the cluster does not take this worker: {reason}; is there another with its number? See --id"
            );
            Err(CommandError::new(Exit::Incomplete, message))
        }
    }
}

impl From<OpenAiError> for CommandError {
    fn from(error: OpenAiError) -> CommandError {
        let exit = match &error {
            OpenAiError::Key | OpenAiError::Name { .. } => Exit::Usage,
            OpenAiError::Http(_) | OpenAiError::System(_) => Exit::Incomplete,
        };
        CommandError::new(exit, error)
    }
}

fn openai(verb: &Worker, url: &str, model: &str) -> Result<OpenAiOptions, CommandError> {
    let usage = |message: String| CommandError::new(Exit::Usage, message);
    let place = Url::parse(url).map_err(|error| usage(format!("--openai {url}: {error}")))?;
    if !matches!(place.scheme(), "http" | "https") {
        return Err(usage(format!("--openai {url}: write http:// or https://")));
    }
    let prompt = match &verb.prompt {
        None => openai::PROMPT.to_owned(),
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| usage(format!("--prompt {}: {error}", file.display())))?,
    };
    Ok(OpenAiOptions {
        url: place,
        model: model.to_owned(),
        prompt,
        key: std::env::var("OPENAI_API_KEY")
            .ok()
            .filter(|key| !key.is_empty()),
        input_tokens_max: verb.input_tokens,
        output_tokens_max: verb.output_tokens,
        job_time_max: Duration::from_secs(verb.job_seconds),
    })
}

/// The built-in engine, a model, or a program.
fn engine(verb: &Worker) -> Result<Arc<dyn Engine>, CommandError> {
    if let Some((url, model)) = verb.openai.as_ref().zip(verb.model.as_ref()) {
        return Ok(Arc::new(OpenAiEngine::new(openai(verb, url, model)?)?));
    }
    let Some(name) = &verb.engine else {
        return Ok(Arc::new(OutlineEngine::default()));
    };
    if name == outline::NAME || name.is_empty() || name.len() as u64 > NAME_BYTES_MAX {
        let message = format!(
            "--engine {name:?}: write a name of 1 to {NAME_BYTES_MAX} bytes that is not {}, the built-in engine's",
            outline::NAME
        );
        return Err(CommandError::new(Exit::Usage, message));
    }
    Ok(Arc::new(ExecEngine::new(ExecOptions {
        name: name.clone(),
        version: verb.engine_version,
        command: verb.command.clone(),
        job_time_max: Duration::from_secs(verb.job_seconds),
        memory_bytes_max: verb.memory_mib.map(|mib| mib * 1024 * 1024),
    })))
}

/// A number that this machine's worker for these sources has at each start, and no other
/// one, as far as 62 bits can tell.
fn own_id(roots: &BTreeMap<String, PathBuf>, engine: &str) -> u64 {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut parts = vec![host.trim().as_bytes(), engine.as_bytes()];
    for (project, root) in roots {
        parts.push(project.as_bytes());
        parts.push(path_bytes(root));
    }
    let Digest(bytes) = Digest::of_parts("precentor 2026 worker id", &parts);
    let (head, _) = bytes.split_first_chunk().expect("a digest is longer");
    // Several workers of one process are numbered from here.
    (u64::from_le_bytes(*head) >> 2) | 1
}

fn path_bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

/// A number that is greater at each start, as long as the clock is not set back; if it is,
/// the cluster refuses the worker until it has caught up.
fn life() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
