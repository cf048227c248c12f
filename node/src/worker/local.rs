//! A worker in this process: asks the leader for work, runs it on a few
//! threads, and hands in results until each was taken or refused. Holds more
//! jobs than it has threads, so that no thread waits for a commit. A new leader
//! is asked at once, with everything that is held.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use precentor_core::bytes::Bytes;
use precentor_core::command::{Command, Outcome, Rejection};
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::ids::{JobId, Sequence, Token, WorkerId, WorkerIncarnation};
use precentor_core::job::{Assignment, FailureClass, WorkerSpec};
use precentor_core::limits::{MESSAGE_BYTES_MAX, WORKER_SLOTS_MAX};
use precentor_core::principal::Principal;
use precentor_core::request::{Poll, Reply, Request, Work};

use super::engine::{self, Engine, EngineError, Job, Source, Subject};
use super::outline::spawn_parsing_thread;
use super::reading::{self, Bodies, Sources};
use super::record;
use crate::client::{Courier, Directory, Tag};

/// Threads of one worker; more threads are more workers.
pub const THREADS_MAX: usize = 4;
/// How long the first of several finished jobs may wait before more work is asked for.
const ASK_DELAY: Duration = Duration::from_millis(2);
/// The wait after a question for work was refused.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a worker that ends waits until what it gives back is taken.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a worker is and has.
#[derive(Clone)]
pub struct WorkerOptions {
    /// Its id.
    pub worker: WorkerId,
    /// Which life of it.
    pub incarnation: WorkerIncarnation,
    /// Threads that run the engine.
    pub threads: usize,
    /// The trees to read.
    pub sources: Sources,
    /// Where bodies of dependencies are.
    pub bodies: Bodies,
    /// What makes records.
    pub engine: Arc<dyn Engine>,
    /// Who is told when the cluster does not take it as a worker: it does nothing then.
    pub refused: Option<Sender<String>>,
}

impl std::fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "WorkerOptions({}, {} threads)",
            self.worker, self.threads
        )
    }
}

/// A running worker. Dropped, it ends: it gives back what it holds, as far as a leader
/// answers soon; the rest goes to others when its leases end.
pub struct LocalWorker {
    stop: Option<Sender<()>>,
    agent: Option<JoinHandle<()>>,
    engine: Arc<dyn Engine>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for LocalWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalWorker({} threads)", self.threads.len())
    }
}

impl LocalWorker {
    /// Starts a worker.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(options: WorkerOptions, directory: Directory) -> std::io::Result<LocalWorker> {
        let (stop, stopped) = bounded::<()>(0);
        let (jobs, todo) = unbounded::<Assignment>();
        let (done, results) = unbounded::<Made>();
        let mut threads = Vec::new();
        let count = options.threads.clamp(1, THREADS_MAX);
        for number in 0..count {
            let (todo, done, options) = (todo.clone(), done.clone(), options.clone());
            let name = format!("engine-{}-{number}", options.worker);
            threads.push(spawn_parsing_thread(name, move || {
                for assignment in todo {
                    let made = make(&options, &assignment);
                    if done
                        .send(Made {
                            token: assignment.token,
                            job: assignment.job,
                            result: made,
                        })
                        .is_err()
                    {
                        return;
                    }
                }
            })?);
        }
        let held = options.engine.jobs_per_thread();
        let slots = (count as u64 * held).min(WORKER_SLOTS_MAX) as u32;
        let principal = Principal(format!("worker {}", options.worker));
        let agent = Agent {
            spec: WorkerSpec {
                worker: options.worker,
                incarnation: options.incarnation,
                slots,
                engines: vec![options.engine.name().to_owned()],
            },
            courier: Courier::new(directory, principal),
            jobs,
            held: BTreeMap::new(),
            handing_in: BTreeMap::new(),
            register: None,
            poll: None,
            polled_free: 0,
            ask_at: None,
            refused: options.refused,
        };
        let name = format!("worker-{}", options.worker);
        let agent = thread::Builder::new()
            .name(name)
            .spawn(move || agent.run(&stopped, &results))?;
        Ok(LocalWorker {
            stop: Some(stop),
            agent: Some(agent),
            engine: options.engine,
            threads,
        })
    }

    /// Gives back what it holds, and asks for nothing more. What is being made goes on, and
    /// nobody wants it.
    pub fn retire(&mut self) {
        self.stop = None;
        self.agent.take().into_iter().for_each(end);
    }
}

fn end(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a worker's thread panicked: this is a defect, please report it");
    }
}

impl Drop for LocalWorker {
    fn drop(&mut self) {
        self.retire();
        self.engine.stop();
        self.threads.drain(..).for_each(end);
    }
}

/// What an engine thread made.
#[derive(Debug)]
struct Made {
    token: Token,
    job: JobId,
    result: Result<Bytes, EngineError>,
}

#[derive(Debug)]
struct HandingIn {
    token: Token,
    job: JobId,
}

/// The part of a worker that speaks.
struct Agent {
    spec: WorkerSpec,
    courier: Courier,
    jobs: Sender<Assignment>,
    /// Every job that is here: being made, or not yet taken from us.
    held: BTreeMap<Token, JobId>,
    handing_in: BTreeMap<Tag, HandingIn>,
    register: Option<Tag>,
    poll: Option<Tag>,
    /// The free slots that the leader knows of.
    polled_free: u32,
    ask_at: Option<Instant>,
    refused: Option<Sender<String>>,
}

impl Agent {
    fn run(mut self, stopped: &Receiver<()>, results: &Receiver<Made>) {
        let inbox = self.courier.inbox();
        self.register();
        loop {
            let wake = [self.courier.next_resend(), self.ask_at]
                .into_iter()
                .flatten()
                .min();
            let timer = wake.map_or_else(crossbeam_channel::never, crossbeam_channel::at);
            select! {
                recv(stopped) -> _ => return self.give_back(),
                recv(inbox) -> answered => {
                    if let Ok(answered) = answered
                        && let Some((tag, reply)) = self.courier.take(answered)
                    {
                        self.on_reply(tag, reply);
                    }
                }
                recv(results) -> made => match made {
                    Ok(made) => self.hand_in(made),
                    Err(_) => return,
                },
                recv(timer) -> _ => {}
            }
            self.courier.resend_due();
            if self.ask_at.is_some_and(|at| at <= Instant::now()) {
                self.ask();
            }
        }
    }

    /// Asks for nothing more, gives back what is not handed in, so that it is not counted
    /// as a crash, and waits for a while until all of that is taken.
    fn give_back(mut self) {
        let mut open: BTreeSet<Tag> = self.handing_in.keys().copied().collect();
        let handed_in: BTreeSet<Token> = self.handing_in.values().map(|of| of.token).collect();
        // Answered by the leader when it has seen that no slot is free any more.
        open.extend(self.poll);
        self.courier.send(Request::Poll(self.poll_with(0)));
        let held = std::mem::take(&mut self.held);
        for (token, job) in held {
            if !handed_in.contains(&token) {
                open.insert(self.propose(Command::Release { job, token }));
            }
        }
        let until = Instant::now() + FAREWELL;
        while !open.is_empty() {
            let Some((tag, reply)) = self.courier.receive(until) else {
                return;
            };
            open.remove(&tag);
            if let Reply::Work(Work { assignments, .. }) = reply {
                for Assignment { job, token, .. } in assignments {
                    if !handed_in.contains(&token) {
                        open.insert(self.propose(Command::Release { job, token }));
                    }
                }
            }
        }
    }

    fn register(&mut self) {
        let command = Command::Register {
            worker: self.spec.clone(),
        };
        self.register = Some(self.propose(command));
    }

    fn propose(&mut self, command: Command) -> Tag {
        self.courier.send(Request::Propose {
            request: None,
            acknowledged: Sequence(0),
            command,
        })
    }

    fn free(&self) -> u32 {
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.spec.slots.saturating_sub(held)
    }

    /// Asks for work. The leader answers the poll before and holds this one.
    fn ask(&mut self) {
        self.ask_at = None;
        if self.register.is_some() {
            return;
        }
        if let Some(before) = self.poll.take() {
            // Its answer would tell nothing that this one's does not.
            self.courier.forget(before);
        }
        self.polled_free = self.free();
        let poll = self.poll_with(self.polled_free);
        self.poll = Some(self.courier.send(Request::Poll(poll)));
    }

    fn poll_with(&self, slots_free: u32) -> Poll {
        Poll {
            worker: self.spec.worker,
            incarnation: self.spec.incarnation,
            slots_free,
            together_max: 1,
            held: self.held.keys().copied().collect(),
        }
    }

    fn ask_soon(&mut self) {
        self.ask_at
            .get_or_insert_with(|| Instant::now() + ASK_DELAY);
    }

    fn on_reply(&mut self, tag: Tag, reply: Reply) {
        if self.register == Some(tag) {
            self.register = None;
            return self.on_registered(&reply);
        }
        if let Some(handed) = self.handing_in.remove(&tag) {
            return self.on_handed_in(&handed, &reply);
        }
        let was_poll = self.poll == Some(tag);
        if was_poll {
            self.poll = None;
        }
        match reply {
            Reply::Work(work) => self.on_work(work),
            other if was_poll => {
                // It may be set right: what is held here is of use then.
                tracing::warn!(worker = %self.spec.worker, reply = ?other, "no work is given out to it");
                self.ask_at = Some(Instant::now() + ASK_AGAIN);
            }
            _ => {}
        }
    }

    fn on_registered(&mut self, reply: &Reply) {
        match reply {
            Reply::Applied {
                outcome: Outcome::Registered,
                ..
            } => self.ask(),
            other => {
                // A later life of this worker, most of all.
                let reason = match other {
                    Reply::Applied {
                        outcome: Outcome::Rejected(rejection),
                        ..
                    } => rejection.to_string(),
                    Reply::Denied(denial) => denial.to_string(),
                    Reply::Invalid { message } => message.clone(),
                    other => format!("{other:?}"),
                };
                tracing::error!(worker = %self.spec.worker, reason, "not taken as a worker");
                if let Some(refused) = &self.refused {
                    // Whoever listened may have gone.
                    let _ = refused.send(reason);
                }
            }
        }
    }

    fn on_work(&mut self, work: Work) {
        if work.unknown {
            return self.register();
        }
        for token in work.revoked {
            // What is being made for it will find nobody who wants it.
            self.held.remove(&token);
        }
        for assignment in work.assignments {
            if let std::collections::btree_map::Entry::Vacant(place) =
                self.held.entry(assignment.token)
            {
                place.insert(assignment.job);
                // The engine threads end only after this one.
                let _ = self.jobs.send(assignment);
            }
        }
        self.ask();
    }

    fn hand_in(&mut self, made: Made) {
        let Made { token, job, result } = made;
        if !self.held.contains_key(&token) {
            return;
        }
        let command = match result {
            Ok(body) => Command::Complete {
                job,
                token,
                result: Digest::of(&body),
                body,
            },
            Err(EngineError { class, message }) => fail(job, token, class, message),
        };
        let tag = self.propose(command);
        self.handing_in.insert(tag, HandingIn { token, job });
    }

    fn on_handed_in(&mut self, handed: &HandingIn, reply: &Reply) {
        let HandingIn { token, job } = *handed;
        let refused = match reply {
            Reply::Applied {
                outcome: Outcome::Rejected(rejection),
                ..
            } => match rejection {
                Rejection::Stale { .. } | Rejection::UnknownJob { .. } => None,
                other => Some(other.to_string()),
            },
            Reply::Invalid { message } => Some(message.clone()),
            _ => None,
        };
        if let Some(reason) = refused {
            // The result itself is not acceptable: the same one would not be either.
            let message = format!("the result was refused: {reason}");
            // Its outcome is of no interest: a second refusal could not be helped either.
            self.propose(fail(job, token, engine::FailureClass::Permanent, message));
        }
        self.held.remove(&token);
        self.ask_soon();
    }
}

fn fail(job: JobId, token: Token, class: engine::FailureClass, mut message: String) -> Command {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX as usize));
    let (class, retry_after_ms) = match class {
        engine::FailureClass::Retryable => (FailureClass::Retryable, None),
        engine::FailureClass::Permanent => (FailureClass::Permanent, None),
        engine::FailureClass::Busy { retry_after_ms } => (FailureClass::Busy, Some(retry_after_ms)),
        // The digest asked for will not come back by waiting, but when somebody asks for
        // it again it may be there, or may be read.
        engine::FailureClass::SourceChanged | engine::FailureClass::Unreadable => {
            (FailureClass::Permanent, Some(0))
        }
    };
    Command::Fail {
        job,
        token,
        class,
        message,
        retry_after_ms,
    }
}

/// Runs the engine on one job; its panic is the job's failure, not the worker's.
fn make(options: &WorkerOptions, assignment: &Assignment) -> Result<Bytes, EngineError> {
    let permanent = |message: String| EngineError {
        class: engine::FailureClass::Permanent,
        message,
    };
    let run = || {
        let Assignment {
            address,
            kind,
            subject,
            generator,
            dependencies,
            ..
        } = assignment;
        if generator.version != options.engine.version() {
            return Err(permanent(format!(
                "asked for version {} of {}; this worker has {}",
                generator.version,
                generator.engine,
                options.engine.version()
            )));
        }
        let generate = |subject_to_read: Subject<'_>| {
            options.engine.generate(Job {
                uri: address.clone(),
                content_digest: *subject,
                subject: subject_to_read,
            })
        };
        let children = || reading::children(&options.bodies, address, dependencies);
        let made = match kind {
            ContextKind::File => {
                let source = options.sources.of(address, subject, &options.bodies)?;
                let made = generate(Subject::File { source });
                match made {
                    // Its own tree has gone on: the cluster may have what was asked for.
                    Err(EngineError {
                        class: engine::FailureClass::SourceChanged,
                        ..
                    }) if let Some(kept) = options.bodies.get(subject) => generate(Subject::File {
                        source: Source::Kept(kept),
                    }),
                    made => made,
                }
            }
            ContextKind::Folder => generate(Subject::Folder {
                children: children(),
            }),
            ContextKind::Project => generate(Subject::Project {
                children: children(),
            }),
        };
        Ok(Bytes::from(record::encode(&made?)))
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(permanent(format!("the engine panicked: {text}")))
    })
}
