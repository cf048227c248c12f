//! A queue alone, commands put to it by the clock, and the jobs that they speak of.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use precentor_core::command::{Admission, Command, Entry, Outcome};
use precentor_core::config::Knobs;
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{
    JobId, LogIndex, RequestId, Sequence, SessionId, Term, WorkerId, WorkerIncarnation,
};
use precentor_core::job::{Class, Dependency, Generator, JobSpec, Policy, WorkerSpec};
use precentor_core::limits::{SUBMIT_ITEMS_MAX, WORKER_SLOTS_MAX};
use precentor_core::principal::Principal;
use precentor_core::queue::QueueManager;
use precentor_core::time::Stamp;

use crate::measuring::processor_time;

/// The engine of every job and every worker.
pub(super) const ENGINE: &str = "outline";
/// Workers, each with as many slots as it may have.
const WORKERS: u64 = 32;
/// Tenants that the jobs are of.
const TENANTS: u64 = 8;
/// Files of a folder.
const FOLDER_FILES: u64 = 50;

/// A queue, and where its log is.
pub(super) struct Rig {
    pub(super) queue: QueueManager,
    pub(super) level: FeatureLevel,
    pub(super) term: Term,
    index: LogIndex,
    session: SessionId,
    /// Jobs that were asked for.
    asked: u64,
}

/// What a queue holds beside its jobs while they are measured, at the most.
const MORE_JOBS: u64 = 2 * SUBMIT_ITEMS_MAX;

impl Rig {
    /// An empty queue at a level, with workers and a session, for so many jobs.
    pub(super) fn new(level: FeatureLevel, jobs: u64) -> Result<Rig> {
        let mut rules = Knobs::default().rules();
        // How a queue does that is larger than one may be is asked for, too.
        rules.jobs_live_max = rules.jobs_live_max.max(jobs + MORE_JOBS);
        let mut rig = Rig {
            queue: QueueManager::new(rules),
            level,
            term: Term(1),
            index: LogIndex(0),
            session: SessionId(0),
            asked: 0,
        };
        if level > FeatureLevel::FOUNDING {
            let raised = rig.apply(Command::RaiseLevel { to: level });
            ensure!(raised == Outcome::LevelRaised, "the level: {raised:?}");
        }
        match rig.apply(Command::OpenSession) {
            Outcome::SessionOpened(session) => rig.session = session,
            other => bail!("a session is not opened: {other:?}"),
        }
        for worker in 1..=WORKERS {
            let registered = rig.apply(Command::Register {
                worker: WorkerSpec {
                    worker: WorkerId(worker),
                    incarnation: WorkerIncarnation(1),
                    slots: u32::try_from(WORKER_SLOTS_MAX)?,
                    engines: vec![ENGINE.into()],
                },
            });
            ensure!(registered == Outcome::Registered, "{registered:?}");
        }
        Ok(rig)
    }

    /// The next entry, and where it stands.
    pub(super) fn entry(&mut self, command: Command) -> (LogIndex, Entry) {
        self.index = self.index.next();
        let is_request = matches!(command, Command::Submit { .. } | Command::Leave { .. });
        let sequence = Sequence(self.index.0);
        let entry = Entry {
            t: Stamp(self.index.0),
            wall_ms: 0,
            principal: Principal("bench".into()),
            request: is_request.then_some(RequestId {
                session: self.session,
                sequence,
            }),
            acknowledged: sequence,
            command,
        };
        (self.index, entry)
    }

    /// One command.
    pub(super) fn apply(&mut self, command: Command) -> Outcome {
        let (index, entry) = self.entry(command);
        self.queue.apply(index, self.term, entry).outcome
    }

    /// What commands come to, and how long `apply` takes for them. That their
    /// entries are made does not count.
    pub(super) fn time(&mut self, commands: Vec<Command>) -> (Duration, Vec<Outcome>) {
        let entries: Vec<_> = commands
            .into_iter()
            .map(|command| self.entry(command))
            .collect();
        let mut outcomes = Vec::with_capacity(entries.len());
        let start = processor_time();
        for (index, entry) in entries {
            outcomes.push(self.queue.apply(index, self.term, entry).outcome);
        }
        (processor_time() - start, outcomes)
    }

    /// Asks for so many new jobs, some at a time; says how long that takes, and
    /// which they are.
    pub(super) fn submit(&mut self, count: u64, at_a_time: u64) -> Result<(Duration, Vec<JobId>)> {
        let mut commands = Vec::new();
        let mut left = count;
        while left > 0 {
            let items = left.min(at_a_time);
            let items = (self.asked..self.asked + items)
                .map(spec)
                .collect::<Vec<_>>();
            self.asked += items.len() as u64;
            left -= items.len() as u64;
            commands.push(Command::Submit { items });
        }
        let (took, outcomes) = self.time(commands);
        Ok((took, created(outcomes)?))
    }

    /// Asks for so many new jobs, and for as many more that each need one of them.
    pub(super) fn submit_pairs(&mut self, count: u64) -> Result<Vec<JobId>> {
        let first = self.asked;
        self.asked += 2 * count;
        let roots = (first..first + count).map(spec);
        let dependents = (first..first + count).map(|root| {
            let mut item = spec(root + count);
            item.dependencies.push(Dependency {
                address: spec(root).address,
                policy: Policy::Require,
            });
            item
        });
        let items = roots.chain(dependents).collect();
        created(vec![self.apply(Command::Submit { items })])
    }

    /// Fills the queue; says how long that takes, without the making of entries.
    pub(super) fn fill(&mut self, jobs: u64) -> Result<Duration> {
        let mut took = Duration::ZERO;
        let mut left = jobs;
        while left > 0 {
            let items = left.min(SUBMIT_ITEMS_MAX);
            took += self.submit(items, items)?.0;
            left -= items;
        }
        Ok(took)
    }
}

/// The jobs of submits, if every item was a new one.
fn created(outcomes: Vec<Outcome>) -> Result<Vec<JobId>> {
    let mut jobs = Vec::new();
    for outcome in outcomes {
        let Outcome::Submitted(items) = outcome else {
            bail!("a submit is not taken: {outcome:?}");
        };
        for item in items {
            ensure!(item.how == Admission::Created, "no new job: {item:?}");
            jobs.push(item.job);
        }
    }
    Ok(jobs)
}

/// Where a job's file is.
pub(super) fn address(number: u64) -> String {
    let folder = number / FOLDER_FILES;
    format!("ucxl://bench/src/module{folder}/file{number}.rs")
}

/// How urgent a job is, by its number.
pub(super) fn class(number: u64) -> Class {
    Class::ALL[(number % Class::ALL.len() as u64) as usize]
}

/// The digest of a job's input.
pub(super) fn subject(number: u64) -> Digest {
    Digest::of(&number.to_le_bytes())
}

/// One job, as it is asked for.
fn spec(number: u64) -> JobSpec {
    JobSpec {
        address: address(number).parse().expect("it is an address"),
        kind: ContextKind::File,
        subject: subject(number),
        generator: Generator {
            engine: ENGINE.into(),
            version: 1,
            parameters: Digest::ZERO,
        },
        class: class(number),
        tenant: format!("team{}", number / Class::ALL.len() as u64 % TENANTS),
        dependencies: Vec::new(),
        delay_ms: 0,
    }
}
