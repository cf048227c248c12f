//! An engine that somebody else wrote, in any language: a program that reads jobs as lines of
//! JSON and answers each with one (`docs/ENGINES.md`). Each comes with the outline that the
//! built-in engine makes of the same source; what the program says takes the place of the
//! outline's own words. One process for each thread, in a process group of its own, started
//! again when it dies, and killed with all that it started when it takes too long.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use precentor_core::context::{ContextRecord, Provenance};
use precentor_core::limits::{ENGINE_ANSWER_BYTES_MAX, MESSAGE_BYTES_MAX};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::engine::{
    Engine, EngineError, FailureClass, Job, SLOW_JOBS_PER_THREAD, Source, Subject,
};
use super::outline::{self, OutlineEngine};
use super::words::Words;
use crate::source::digest::{TEXT_BYTES_MAX, examine};

#[cfg(test)]
mod tests;

/// How long a program that has no more jobs may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);

/// What program, and what it may use.
#[derive(Debug, Clone)]
pub struct ExecOptions {
    /// The engine's name, which requests ask for.
    pub name: String,
    /// Its version: raised whenever the same bytes would give other words.
    pub version: u32,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long it may take for a job.
    pub job_time_max: Duration,
    /// How much address space each of its processes may have, in bytes.
    pub memory_bytes_max: Option<u64>,
}

/// The engine.
pub struct ExecEngine {
    options: ExecOptions,
    outline: OutlineEngine,
    /// Programs that wait for a job.
    idle: Mutex<Vec<Program>>,
    /// The process groups of all that run. One leaves before its process is waited for, so
    /// that its number is nobody else's yet.
    groups: Mutex<BTreeSet<Group>>,
    stopping: AtomicBool,
    next_id: AtomicU64,
}

/// A process group, by its number.
type Group = i32;

impl fmt::Debug for ExecEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExecEngine({:?})", self.options)
    }
}

/// What a program is asked. The field names are the words of the protocol.
#[derive(Serialize)]
struct Question<'a> {
    id: u64,
    address: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    outline: &'a ContextRecord,
}

/// What it answers. The same.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// Of the question: a line that is no answer to it must not be taken for one.
    id: u64,
    one_line: Option<String>,
    summary: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    error: Option<String>,
    #[serde(default)]
    retry: bool,
}

fn retryable(message: String) -> EngineError {
    EngineError {
        class: FailureClass::Retryable,
        message,
    }
}

fn permanent(message: String) -> EngineError {
    EngineError {
        class: FailureClass::Permanent,
        message,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ExecEngine {
    /// An engine. Its program is started with its first job.
    #[must_use]
    pub fn new(options: ExecOptions) -> ExecEngine {
        ExecEngine {
            options,
            outline: OutlineEngine::default(),
            idle: Mutex::default(),
            groups: Mutex::default(),
            stopping: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
        }
    }

    /// Asks a program, and says what it answered.
    fn ask(&self, question: &Question<'_>) -> Result<Answer, EngineError> {
        let mut line = serde_json::to_vec(question)
            .map_err(|error| permanent(format!("the job cannot be told: {error}")))?;
        line.push(b'\n');
        let waiting = locked(&self.idle).pop();
        let mut program = match waiting {
            Some(program) => program,
            None => self.start().map_err(|error| {
                // Whoever starts this worker has to see to it.
                retryable(format!("cannot start {:?}: {error}", self.options.command))
            })?,
        };
        match program.ask(line, self.options.job_time_max) {
            Ok(answer) => match serde_json::from_slice(&answer) {
                Ok(Answer { id, .. }) if id != question.id => {
                    self.end(program);
                    Err(retryable(format!(
                        "the program answered the job {id} when it was asked {}: it must write one line for each, and nothing else",
                        question.id
                    )))
                }
                Ok(answer) => {
                    locked(&self.idle).push(program);
                    Ok(answer)
                }
                Err(error) => {
                    // Whatever it writes next may belong to this one.
                    self.end(program);
                    Err(permanent(format!("the program's answer is none: {error}")))
                }
            },
            Err(reason) => {
                let how = self.end(program);
                Err(retryable(match self.stopping.load(Ordering::Acquire) {
                    true => "the worker ends".to_owned(),
                    false => format!("{reason}; the program {how}"),
                }))
            }
        }
    }

    fn start(&self) -> io::Result<Program> {
        let (program, arguments) = self
            .options
            .command
            .split_first()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut groups = locked(&self.groups);
        if self.stopping.load(Ordering::Acquire) {
            return Err(io::Error::other("the worker ends"));
        }
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        groups.insert(child.id() as Group);
        drop(groups);
        // It waits for its first job: nothing of it has happened yet.
        let limited = match self.options.memory_bytes_max {
            Some(bytes) => limit_memory(&child, bytes),
            None => Ok(()),
        };
        let pipes = child.stdin.take().zip(child.stdout.take());
        let started = limited.and_then(|()| match pipes {
            Some((stdin, stdout)) => {
                let (to, lines) = (write_lines(stdin)?, read_lines(stdout)?);
                Ok((to, lines))
            }
            None => Err(io::ErrorKind::BrokenPipe.into()),
        });
        match started {
            Ok((to, lines)) => Ok(Program { child, to, lines }),
            Err(error) => {
                self.reap(child);
                Err(error)
            }
        }
    }

    /// Kills a program with all that it has started; says how it ended.
    fn end(&self, program: Program) -> String {
        self.reap(program.child)
    }

    fn reap(&self, mut child: Child) -> String {
        let group = child.id() as Group;
        let mut groups = locked(&self.groups);
        if groups.remove(&group) {
            kill(group);
        }
        drop(groups);
        match child.wait() {
            Ok(status) => format!("ended with {status}"),
            Err(error) => format!("cannot be waited for: {error}"),
        }
    }
}

fn kill(group: Group) {
    // It may have ended by itself.
    let _ = Pid::from_raw(group).map(|pid| kill_process_group(pid, Signal::KILL));
}

fn limit_memory(child: &Child, bytes: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    let pid = Pid::from_raw(child.id() as i32);
    prlimit(pid, Resource::As, limit)?;
    Ok(())
}

/// Where a program reads the content of a place.
enum Readable {
    /// It has none, or none that a program may follow: a link leads out of what the cluster
    /// keeps, into this machine.
    Nothing,
    /// In the worker's own tree.
    Own(PathBuf),
    /// In a copy, which goes with this.
    Copy { _folder: TempDir, path: PathBuf },
}

impl Readable {
    fn of(source: Source, record: &ContextRecord) -> Result<Readable, EngineError> {
        let content = match source {
            Source::Path(path) => return Ok(Readable::Own(path)),
            Source::Kept(_) if record.language == outline::SYMLINK => {
                return Ok(Readable::Nothing);
            }
            Source::Kept(content) => content,
        };
        let copied = tempfile::Builder::new()
            .prefix("precentor-")
            .tempdir()
            .and_then(|folder| {
                let path = folder.path().join(OsStr::from_bytes(&record.uri.name()));
                fs::write(&path, &*content)?;
                Ok(Readable::Copy {
                    _folder: folder,
                    path,
                })
            });
        copied.map_err(|error| {
            let what = "the source cannot be written where the program could read it";
            retryable(format!("{what}: {error}"))
        })
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Readable::Nothing => None,
            Readable::Own(path) | Readable::Copy { path, .. } => Some(path),
        }
    }
}

impl Engine for ExecEngine {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn version(&self) -> u32 {
        self.options.version
    }

    fn generate(&self, job: Job<'_>) -> Result<ContextRecord, EngineError> {
        let (kind, source) = match &job.subject {
            Subject::File { source } => ("file", Some(source.clone())),
            Subject::Folder { .. } => ("folder", None),
            Subject::Project { .. } => ("project", None),
        };
        let digest = job.content_digest;
        let mut record = self.outline.generate(job)?;
        record.provenance = Provenance {
            generator: self.options.name.clone(),
            version: self.options.version,
        };
        let readable = match source {
            Some(source) => Readable::of(source, &record)?,
            None => Readable::Nothing,
        };
        let question = Question {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            address: record.uri.to_string(),
            kind,
            path: readable
                .path()
                .map(|path| path.to_string_lossy().into_owned()),
            outline: &record,
        };
        let answer = self.ask(&question)?;
        if let Readable::Own(path) = readable {
            // What the program has read must be what was asked for.
            let found = examine(&path, TEXT_BYTES_MAX, &mut Vec::new());
            if found.map(|found| found.content_digest).ok() != Some(digest) {
                return Err(EngineError {
                    class: FailureClass::SourceChanged,
                    message: format!("{} changed while the program read it", path.display()),
                });
            }
        }
        speak(record, answer)
    }

    fn jobs_per_thread(&self) -> u64 {
        SLOW_JOBS_PER_THREAD
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let idle: Vec<Program> = locked(&self.idle).drain(..).collect();
        // Those that work have lost what they do; those that wait may end by themselves.
        let waiting: BTreeSet<Group> = idle
            .iter()
            .map(|program| program.child.id() as Group)
            .collect();
        let groups = locked(&self.groups);
        groups.difference(&waiting).copied().for_each(kill);
        drop(groups);
        let until = Instant::now() + FAREWELL;
        // All are told before one is waited for.
        let told: Vec<_> = idle
            .into_iter()
            .map(|Program { child, lines, .. }| (child, lines))
            .collect();
        for (child, lines) in told {
            // Its output closes when it ends; whatever it says meanwhile is for nobody.
            while lines.recv_deadline(until).is_ok() {}
            self.reap(child);
        }
    }
}

impl Drop for ExecEngine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Puts a program's words in the place of the outline's.
fn speak(record: ContextRecord, answer: Answer) -> Result<ContextRecord, EngineError> {
    let Answer {
        id: _,
        one_line,
        summary,
        tags,
        error,
        retry,
    } = answer;
    if let Some(mut message) = error {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX as usize));
        return Err(if retry {
            retryable(message)
        } else {
            permanent(message)
        });
    }
    let words = Words {
        one_line,
        summary,
        tags,
    };
    let spoken = words.put_into(record);
    spoken.map_err(|reason| permanent(format!("the program says what it must not: {reason}")))
}

/// A process that answers.
struct Program {
    child: Child,
    to: Sender<Vec<u8>>,
    lines: Receiver<io::Result<Vec<u8>>>,
}

impl Program {
    fn ask(&mut self, line: Vec<u8>, patience: Duration) -> Result<Vec<u8>, String> {
        let ended = || "the program ended without an answer".to_owned();
        self.to.send(line).map_err(|_| ended())?;
        match self.lines.recv_timeout(patience) {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) => Err(format!("the program's answer cannot be read: {error}")),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("no answer within {} s", patience.as_secs_f64()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }
}

/// Writes lines beside whoever waits for the answers: a program may answer before it has
/// read to the end, or never read.
fn write_lines(mut stdin: impl Write + Send + 'static) -> io::Result<Sender<Vec<u8>>> {
    let (to, lines) = bounded::<Vec<u8>>(1);
    thread::Builder::new()
        .name("engine-in".to_owned())
        .spawn(move || {
            for line in lines {
                if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                    return;
                }
            }
        })?;
    Ok(to)
}

/// Reads lines, each within its bound.
fn read_lines(stdout: ChildStdout) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (tell, lines) = bounded(1);
    let mut from = BufReader::new(stdout);
    thread::Builder::new()
        .name("engine-out".to_owned())
        .spawn(move || {
            loop {
                let mut line = Vec::new();
                let mut within = (&mut from).take(ENGINE_ANSWER_BYTES_MAX + 1);
                let read = match within.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) if line.len() as u64 > ENGINE_ANSWER_BYTES_MAX => Err(io::Error::other(
                        format!("it is longer than {ENGINE_ANSWER_BYTES_MAX} bytes"),
                    )),
                    Ok(_) => Ok(line),
                    Err(error) => Err(error),
                };
                let is_over = read.is_err();
                if tell.send(read).is_err() || is_over {
                    return;
                }
            }
        })?;
    Ok(lines)
}
