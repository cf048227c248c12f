//! Contexts for a whole tree, from a cluster that runs somewhere else: has the tree
//! walked and asked for, follows the feed of finished jobs, and holds its own book
//! against the cluster's state.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use precentor_core::address::{Address, AddressError};
use precentor_core::principal::Principal;
use serde::Serialize;

use crate::client::{Courier, Directory};
use crate::generate::book::{Book, Feed, News, Stopped, final_state, last_finish, open_session};
use crate::generate::ledger::Failure;
use crate::generate::progress::{Leader, Progress};
use crate::generate::submitter::{Asking, Brake, Submitter};
use crate::generate::summary::SkippedFile;
use crate::generate::uploads::Uploads;
use crate::source::walk::{WalkError, WalkOptions, walk};

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// News that may wait for the book: beyond it, whoever has more to tell waits.
const NEWS_MAX: usize = 1_024;

/// Lists for people are cut here; programs get all.
const SHOWN_MAX: usize = 10;

/// What is to be asked for.
#[derive(Debug, Clone)]
pub struct SubmitOptions {
    /// The tree, as a canonical path.
    pub root: PathBuf,
    /// The project's name.
    pub project: String,
    /// Which engine is to make them, in which version.
    pub engine: (String, u32),
    /// Have the cluster keep what files contain, for workers that do not have the tree.
    pub upload: bool,
    /// Show no progress.
    pub quiet: bool,
}

/// Why a run could not be carried through. What was accepted is kept.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
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

impl From<Stopped> for SubmitError {
    fn from(Stopped(reason): Stopped) -> SubmitError {
        SubmitError::Stopped(reason)
    }
}

/// What a run came to. The field names are the words of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Submitted {
    /// The project.
    pub project: String,
    /// Requests accepted.
    pub requested: u64,
    /// Contexts made in this run.
    pub generated: u64,
    /// Contexts that were there and still hold.
    pub from_cache: u64,
    /// Requests that ended without a context.
    pub failed: u64,
    /// Files and folders without a context of their own.
    pub skipped: u64,
    /// Files whose content was uploaded: the cluster kept the others already.
    pub uploaded: u64,
    /// The bytes of these.
    pub uploaded_bytes: u64,
    /// Requests accepted and without a terminal state.
    pub lost: u64,
    /// Of an interrupted run, requests accepted that were not waited for.
    pub unfinished: u64,
    /// Effects beyond one for each request.
    pub duplicated: u64,
    /// How long it took.
    pub seconds: f64,
    /// The requests that failed.
    pub failures: Vec<Failure>,
    /// What was skipped.
    pub skipped_files: Vec<SkippedFile>,
    /// Contexts that lack something, and what.
    pub warnings: Vec<String>,
    /// Whether the run was ended before its time.
    pub interrupted: bool,
}

impl Submitted {
    /// Did every accepted request reach a terminal state, once?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.interrupted && self.lost == 0 && self.duplicated == 0
    }
}

impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Submitted {
            project,
            requested,
            generated,
            from_cache,
            ..
        } = self;
        write!(
            f,
            "{project}: {generated} of {requested} contexts were made in {:.2} s, {from_cache} unchanged\n  lost: {}, duplicated: {}, failed: {}, skipped: {}",
            self.seconds, self.lost, self.duplicated, self.failed, self.skipped
        )?;
        if self.uploaded > 0 {
            let Submitted {
                uploaded,
                uploaded_bytes,
                ..
            } = self;
            write!(
                f,
                "\n  uploaded: {uploaded} files of {uploaded_bytes} bytes"
            )?;
        }
        if self.interrupted {
            write!(
                f,
                "\n  interrupted: {} are in the queue and are made all the same",
                self.unfinished
            )?;
        }
        for Failure { uri, reason } in self.failures.iter().take(SHOWN_MAX) {
            write!(f, "\n  failed: {uri}: {reason}")?;
        }
        if self.failures.len() > SHOWN_MAX {
            write!(
                f,
                "\n  … and {} more: --json has all",
                self.failures.len() - SHOWN_MAX
            )?;
        }
        for warning in self.warnings.iter().take(SHOWN_MAX) {
            write!(f, "\n  {warning}")?;
        }
        Ok(())
    }
}

/// Asks a cluster for the contexts of a tree. `interrupt` ends it early and in order.
///
/// # Errors
/// If it cannot begin, or cannot go on.
pub fn run(
    options: &SubmitOptions,
    directory: &Directory,
    interrupt: &AtomicBool,
) -> Result<Submitted, SubmitError> {
    let started = Instant::now();
    let project = Address::of_project(options.project.as_bytes())?;
    let walk = walk(WalkOptions::new(&options.root, project))?;
    let courier = || Courier::new(directory.clone(), Principal("submit".to_owned()));
    let mut own = courier();
    let (session, _) = open_session(&mut own)?;
    let mut book = Book::after(last_finish(&mut own)?);
    let (engine, version) = options.engine.clone();
    let asking = Asking {
        session,
        engine,
        version,
        tenant: options.project.clone(),
    };
    let (news, arriving) = bounded(NEWS_MAX);
    let brake = Brake::default();
    let uploads = options
        .upload
        .then(|| Uploads::new(courier(), options.root.clone(), brake.clone(), news.clone()));
    let submitter = Submitter::new(courier(), asking, uploads, brake.clone(), news.clone());
    let feed = Feed {
        courier: courier(),
        after: book.ledger.last(),
        stop: brake.stop.clone(),
        news,
    };
    let mut progress = Progress::start(options.quiet);
    let followed = thread::scope(|scope| {
        scope.spawn(move || submitter.run(walk));
        scope.spawn(move || feed.run());
        let followed = follow(&mut book, &arriving, &brake, &mut progress, interrupt);
        brake.stop.store(true, Ordering::Relaxed);
        // Both may have news to tell first, and end when they have told it.
        for late in arriving.iter() {
            book.note(late);
        }
        followed
    });
    progress.end();
    let interrupted = followed?;
    let state = if interrupted {
        Default::default()
    } else {
        final_state(&mut own, &book.ledger.jobs())?
    };
    let (mut totals, failures) = book.ledger.close(&state);
    // The queue keeps what an interrupted run did not wait for.
    let unfinished = if interrupted {
        std::mem::take(&mut totals.lost)
    } else {
        0
    };
    Ok(Submitted {
        project: options.project.clone(),
        requested: totals.requested,
        generated: totals.generated,
        from_cache: totals.from_cache,
        failed: totals.failed,
        skipped: book.skipped.len() as u64,
        uploaded: book.uploaded.count,
        uploaded_bytes: book.uploaded.bytes,
        lost: totals.lost,
        unfinished,
        duplicated: totals.duplicated,
        seconds: started.elapsed().as_secs_f64(),
        failures,
        skipped_files: book.skipped,
        warnings: book.warnings,
        interrupted,
    })
}

/// Notes what is told until everything is over; says whether it was interrupted.
fn follow(
    book: &mut Book,
    arriving: &Receiver<News>,
    brake: &Brake,
    progress: &mut Progress,
    interrupt: &AtomicBool,
) -> Result<bool, SubmitError> {
    let mut looked = Instant::now();
    loop {
        match arriving.recv_timeout(LOOK_EVERY) {
            Ok(news) => book.note(news),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        brake
            .unfinished
            .store(book.ledger.open_count(), Ordering::Relaxed);
        book.stopped()?;
        if book.is_complete() {
            return Ok(false);
        }
        if interrupt.load(Ordering::Relaxed) {
            return Ok(true);
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            progress.show(book.standing(), Leader::Elsewhere);
        }
    }
}
