//! The main job: contexts for a whole tree. Starts a cluster and workers, has
//! the tree walked and asked for, follows the feed of finished jobs, and at the
//! end holds its own book against the cluster's state.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use precentor_core::address::{Address, AddressError};
use precentor_core::config::Knobs;
use precentor_core::ids::{ClusterId, LogIndex, WorkerId, WorkerIncarnation};
use precentor_core::principal::Principal;
use precentor_core::status::Status;

pub(crate) mod book;
pub mod chaos;
pub mod ledger;
pub(crate) mod progress;
pub(crate) mod submitter;
pub mod summary;
pub(crate) mod uploads;

#[cfg(test)]
mod tests;

use self::book::{
    Book, Feed, News, Stopped, final_state, last_finish, leader_status, open_session,
};
use self::chaos::{ChaosPlan, Outage};
use self::progress::{Leader, Progress};
use self::submitter::{Asking, Brake, Submitter};
use self::summary::{NodeLeftOut, Summary};
use crate::client::{Courier, Directory};
use crate::data_dir::{DataDir, Identity};
use crate::embedded::{Board, ClusterError, EmbeddedCluster, found_node};
use crate::seed;
use crate::source::walk::{Walk, WalkError, WalkOptions, walk};
use crate::worker::engine::Engine;
use crate::worker::local::{LocalWorker, THREADS_MAX, WorkerOptions};
use crate::worker::outline::OutlineEngine;
use crate::worker::reading::{Bodies, Sources};

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// News that may wait for the book: beyond it, whoever has more to tell waits.
const NEWS_MAX: usize = 1_024;

/// What is to be generated, and how.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// The tree, as a canonical path.
    pub root: PathBuf,
    /// The project's name.
    pub project: String,
    /// Where the cluster's data is.
    pub data: PathBuf,
    /// Voters.
    pub nodes: u32,
    /// Engine threads.
    pub workers: usize,
    /// Leaders to kill.
    pub chaos: ChaosPlan,
    /// Show no progress.
    pub quiet: bool,
}

/// Why a run could not be carried through. What was accepted is kept.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The cluster or its data directory.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The project's name is no name.
    #[error("{0}")]
    Project(#[from] AddressError),
    /// The tree.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// In the middle of the work.
    #[error("{0}; what was accepted is kept: the same command goes on from here")]
    Stopped(String),
}

impl From<Stopped> for GenerateError {
    fn from(Stopped(reason): Stopped) -> GenerateError {
        GenerateError::Stopped(reason)
    }
}

impl From<crate::data_dir::DataDirError> for GenerateError {
    fn from(error: crate::data_dir::DataDirError) -> GenerateError {
        GenerateError::Cluster(error.into())
    }
}

/// Generates the contexts of a tree. `interrupt` ends it early and in order.
///
/// # Errors
/// If it cannot begin, or cannot go on.
pub fn run(options: &GenerateOptions, interrupt: &AtomicBool) -> Result<Summary, GenerateError> {
    let started = Instant::now();
    let project = Address::of_project(options.project.as_bytes())?;
    // The root is looked at before a data directory is made for it.
    std::fs::read_dir(&options.root).map_err(|cause| WalkError::Root {
        path: options.root.clone(),
        cause,
    })?;
    let wanted = Identity::found(
        ClusterId(seed::fresh_bytes()),
        &options.project,
        &options.root,
        options.nodes,
    );
    let found = |node, path: &std::path::Path| found_node(&wanted, node, path);
    let data = DataDir::open_or_found(&options.data, &wanted, found)?;
    let life = data.begin_life()?;
    let cluster = EmbeddedCluster::start(data, Knobs::default())?;
    let mut run = Run::begin(options, cluster, life)?;
    let mut walk_options = WalkOptions::new(&options.root, project);
    walk_options.exclude = vec![options.data.clone()];
    run.work(walk(walk_options)?, options.chaos, interrupt)?;
    run.finish(options, started)
}

/// A run on its way.
struct Run {
    // Before the cluster, so that the workers stop asking before it ends.
    workers: Vec<LocalWorker>,
    cluster: Arc<Mutex<EmbeddedCluster>>,
    directory: Directory,
    board: Board,
    asking: Asking,
    brake: Brake,
    book: Book,
    progress: Progress,
    left_out: Vec<NodeLeftOut>,
    outages: Vec<Outage>,
    interrupted: bool,
    first_entry: LogIndex,
}

impl Run {
    /// Waits for a leader, and introduces the client and its workers to it.
    fn begin(
        options: &GenerateOptions,
        cluster: EmbeddedCluster,
        life: u64,
    ) -> Result<Run, GenerateError> {
        let (directory, board) = (cluster.directory(), cluster.board());
        let progress = Progress::start(options.quiet);
        let left_out: Vec<NodeLeftOut> = cluster
            .left_out()
            .iter()
            .map(|(node, reason)| NodeLeftOut {
                node: node.0,
                reason: reason.clone(),
            })
            .collect();
        for NodeLeftOut { node, reason } in &left_out {
            progress.say(&format!("node n{node} takes no part: {reason}"));
        }
        let mut courier = Courier::new(directory.clone(), principal());
        let (session, first_entry) = open_session(&mut courier)?;
        let last = last_finish(&mut courier)?;
        let workers = spawn_workers(options, &cluster, life)?;
        let engine = OutlineEngine::default();
        let asking = Asking {
            session,
            engine: engine.name().to_owned(),
            version: engine.version(),
            tenant: options.project.clone(),
        };
        Ok(Run {
            workers,
            cluster: Arc::new(Mutex::new(cluster)),
            directory,
            board,
            asking,
            brake: Brake::default(),
            book: Book::after(last),
            progress,
            left_out,
            outages: Vec::new(),
            interrupted: false,
            first_entry,
        })
    }

    /// Has the tree asked for and follows the work to its end.
    fn work(
        &mut self,
        walk: Walk,
        chaos: ChaosPlan,
        interrupt: &AtomicBool,
    ) -> Result<(), GenerateError> {
        let (news, arriving) = bounded(NEWS_MAX);
        let submitter = Submitter::new(
            Courier::new(self.directory.clone(), principal()),
            self.asking.clone(),
            // The workers read the tree itself.
            None,
            self.brake.clone(),
            news.clone(),
        );
        let feed = Feed {
            courier: Courier::new(self.directory.clone(), principal()),
            after: self.book.ledger.last(),
            stop: self.brake.stop.clone(),
            news,
        };
        let result = thread::scope(|scope| {
            scope.spawn(move || submitter.run(walk));
            scope.spawn(move || feed.run());
            let result = self.follow(&arriving, chaos, interrupt);
            self.brake.stop.store(true, Ordering::Relaxed);
            // Both may have news to tell first, and end when they have told it.
            for late in arriving.iter() {
                self.book.note(late);
            }
            result
        });
        self.progress.end();
        result
    }

    fn follow(
        &mut self,
        arriving: &Receiver<News>,
        plan: ChaosPlan,
        interrupt: &AtomicBool,
    ) -> Result<(), GenerateError> {
        let mut killing: Option<JoinHandle<Result<Outage, String>>> = None;
        let mut kills = 0;
        let mut looked = Instant::now();
        loop {
            match arriving.recv_timeout(LOOK_EVERY) {
                Ok(news) => self.book.note(news),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.brake
                .unfinished
                .store(self.book.ledger.open_count(), Ordering::Relaxed);
            self.book.stopped()?;
            if interrupt.load(Ordering::Relaxed) {
                self.interrupted = true;
                break;
            }
            let standing = self.book.standing();
            if killing.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(kill) = killing.take()
            {
                self.note_outage(kill)?;
            }
            let complete = self.book.is_complete();
            let due = plan.is_due(kills, standing.done, standing.known, standing.walked);
            if killing.is_none() && (due || complete && kills < plan.kills) {
                kills += 1;
                let (cluster, board) = (self.cluster.clone(), self.board.clone());
                let courier = Courier::new(self.directory.clone(), chaos::principal());
                killing = Some(thread::spawn(move || {
                    chaos::kill_leader(&cluster, &board, courier)
                }));
            }
            if complete && killing.is_none() {
                break;
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                let leader = self.board.leader();
                let leader = leader.as_ref().map_or(Leader::None, Leader::Known);
                self.progress.show(standing, leader);
                // A kill holds the cluster, and knows of its own node.
                if killing.is_none() {
                    self.look_after_nodes()?;
                }
            }
        }
        match killing {
            Some(kill) => self.note_outage(kill),
            None => Ok(()),
        }
    }

    fn note_outage(
        &mut self,
        kill: JoinHandle<Result<Outage, String>>,
    ) -> Result<(), GenerateError> {
        let outage = kill
            .join()
            .unwrap_or_else(|_| Err("the killing thread panicked".to_owned()));
        self.outages.push(outage.map_err(GenerateError::Stopped)?);
        Ok(())
    }

    /// A node that ended by itself is told of; without a majority the run ends.
    fn look_after_nodes(&mut self) -> Result<(), GenerateError> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, reason) in cluster.reap_failed() {
            self.progress
                .say(&format!("node {node} stopped: {reason}; the others go on"));
            self.left_out.push(NodeLeftOut {
                node: node.0,
                reason,
            });
        }
        let running = cluster.running().len();
        let voters = cluster.voters().len();
        if running <= voters / 2 {
            let text =
                format!("only {running} of {voters} nodes still run, and a majority is needed");
            return Err(GenerateError::Stopped(text));
        }
        Ok(())
    }

    /// Holds the book against the cluster's state, and stops the cluster.
    fn finish(self, options: &GenerateOptions, started: Instant) -> Result<Summary, GenerateError> {
        let mut courier = Courier::new(self.directory.clone(), principal());
        let Status { applied, .. } = leader_status(&mut courier)?;
        let state = if self.interrupted {
            BTreeMap::new()
        } else {
            final_state(&mut courier, &self.book.ledger.jobs())?
        };
        let (mut totals, failures) = self.book.ledger.close(&state);
        // The queue keeps what an interrupted run did not wait for.
        let unfinished = if self.interrupted {
            std::mem::take(&mut totals.lost)
        } else {
            0
        };
        let reigns = self.board.reigns();
        let mut summary = Summary {
            project: options.project.clone(),
            requested: 0,
            generated: 0,
            from_cache: 0,
            failed: 0,
            skipped: self.book.skipped.len() as u64,
            lost: 0,
            unfinished,
            duplicated: 0,
            failovers: (reigns.len() as u64).saturating_sub(1),
            terms: reigns.len() as u64,
            seconds: started.elapsed().as_secs_f64(),
            entries_committed: applied.0.saturating_sub(self.first_entry.0) + 1,
            outages_ms: self
                .outages
                .iter()
                .map(|outage| outage.length.as_secs_f64() * 1_000.0)
                .collect(),
            failures: Vec::new(),
            skipped_files: self.book.skipped,
            warnings: self.book.warnings,
            nodes_left_out: self.left_out,
            interrupted: self.interrupted,
            data: options.data.clone(),
        };
        summary.count(totals, failures);
        drop(self.workers);
        Ok(summary)
    }
}

fn principal() -> Principal {
    Principal("generate".to_owned())
}

fn spawn_workers(
    options: &GenerateOptions,
    cluster: &EmbeddedCluster,
    life: u64,
) -> Result<Vec<LocalWorker>, GenerateError> {
    let engine: Arc<dyn Engine> = Arc::new(OutlineEngine::default());
    let mut left = options.workers.max(1);
    let mut workers = Vec::new();
    while left > 0 {
        let threads = left.min(THREADS_MAX);
        left -= threads;
        let options = WorkerOptions {
            worker: WorkerId(workers.len() as u64 + 1),
            incarnation: WorkerIncarnation(life),
            threads,
            sources: Sources::Tree(options.root.clone()),
            bodies: Bodies::Here(cluster.library()),
            engine: engine.clone(),
            refused: None,
        };
        let worker = LocalWorker::spawn(options, cluster.directory()).map_err(|cause| {
            ClusterError::System {
                what: "start a worker's threads",
                cause,
            }
        })?;
        workers.push(worker);
    }
    Ok(workers)
}
