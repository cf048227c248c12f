//! The thread that walks the tree and asks for a context of everything it
//! finds, in batches, while the walk goes on. What was not accepted is asked
//! again until it is; how much may be unfinished at a time is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use precentor_core::address::Address;
use precentor_core::command::{Command, Outcome, Rejection};
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::ids::{RequestId, Sequence, SessionId};
use precentor_core::job::{Class, Dependency, Generator, JobSpec, Policy};
use precentor_core::limits::{DEPENDENCIES_MAX, SOURCE_BYTES_MAX, SUBMIT_ITEMS_MAX};
use precentor_core::request::{Reply, Request};

use super::book::News;
use super::ledger::Accepted;
use super::uploads::{Failed, Uploads, cost};
use crate::client::{Courier, Tag};
use crate::source::walk::{SourceFile, SourceItem, Walk};

/// Bytes of one batch, about.
const BATCH_BYTES_MAX: u64 = 1024 * 1024;
/// Items of one batch. Fewer than may be: the first files should be worked on
/// while the rest is walked.
const BATCH_ITEMS: usize = 128;
/// Batches that are on their way at a time.
const BATCHES_OPEN_MAX: usize = 8;
/// Accepted requests that are unfinished at a time: bounds memory, not the tree.
const UNFINISHED_MAX: u64 = 20_000;
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const _: () = assert!(
    BATCH_ITEMS as u64 <= SUBMIT_ITEMS_MAX,
    "a batch must be acceptable"
);

/// What the run shows the submitter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Brake {
    pub(crate) unfinished: Arc<AtomicU64>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// Whose context is asked for, and by which engine.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) session: SessionId,
    pub(crate) engine: String,
    pub(crate) version: u32,
    pub(crate) tenant: String,
}

pub(crate) struct Submitter {
    courier: Courier,
    asking: Asking,
    brake: Brake,
    news: Sender<News>,
    /// Gives the cluster what files contain, if workers may not have it.
    uploads: Option<Uploads>,
    batch: Vec<JobSpec>,
    batch_bytes: u64,
    /// The files of the batch that the cluster may keep.
    files: Vec<SourceFile>,
    next: Sequence,
    open: BTreeMap<Sequence, (Tag, Vec<JobSpec>)>,
}

/// The run is over: interrupted, or the cause was told.
struct Over;

impl Submitter {
    pub(crate) fn new(
        courier: Courier,
        asking: Asking,
        uploads: Option<Uploads>,
        brake: Brake,
        news: Sender<News>,
    ) -> Submitter {
        Submitter {
            courier,
            asking,
            brake,
            news,
            uploads,
            batch: Vec::new(),
            batch_bytes: 0,
            files: Vec::new(),
            next: Sequence(1),
            open: BTreeMap::new(),
        }
    }

    /// Walks to the end.
    pub(crate) fn run(mut self, walk: Walk) {
        if self.walk(walk).is_ok() {
            self.tell(News::Walked);
        }
    }

    fn tell(&self, news: News) {
        // A run that was interrupted does not listen any more.
        let _ = self.news.send(news);
    }

    fn walk(&mut self, walk: Walk) -> Result<(), Over> {
        for item in walk {
            let item = item.map_err(|error| {
                self.tell(News::Failed(error.to_string()));
                Over
            })?;
            match item {
                SourceItem::File(file) => self.add_file(file)?,
                SourceItem::Folder(folder) => {
                    let spec = self.spec(
                        folder.uri,
                        ContextKind::Folder,
                        folder.content_digest,
                        folder.children,
                    );
                    self.add(spec)?;
                }
                SourceItem::Project(folder) => {
                    let spec = self.spec(
                        folder.uri,
                        ContextKind::Project,
                        folder.content_digest,
                        folder.children,
                    );
                    self.add(spec)?;
                }
                SourceItem::Skipped(skipped) => self.tell(News::Skipped(skipped)),
            }
        }
        self.submit()?;
        while !self.open.is_empty() {
            self.settle(Instant::now() + LOOK_AGAIN)?;
        }
        Ok(())
    }

    fn spec(
        &self,
        address: Address,
        kind: ContextKind,
        subject: Digest,
        children: Vec<Address>,
    ) -> JobSpec {
        let count = children.len() as u64;
        if count > DEPENDENCIES_MAX {
            self.tell(News::Warned(format!(
                "{address} has {count} files and folders directly inside; its own context is made of the first {DEPENDENCIES_MAX} (dependencies_max), and all of them have contexts"
            )));
        }
        let dependencies = children
            .into_iter()
            .take(usize::try_from(DEPENDENCIES_MAX).unwrap_or(usize::MAX))
            .map(|address| Dependency {
                address,
                policy: Policy::Optional,
            })
            .collect();
        let generator = Generator {
            engine: self.asking.engine.clone(),
            version: self.asking.version,
            parameters: Digest::ZERO,
        };
        let tenant = self.asking.tenant.clone();
        JobSpec {
            address,
            kind,
            subject,
            generator,
            class: Class::Normal,
            tenant,
            dependencies,
            delay_ms: 0,
        }
    }

    fn add_file(&mut self, file: SourceFile) -> Result<(), Over> {
        let spec = self.spec(
            file.uri.clone(),
            ContextKind::File,
            file.content_digest,
            Vec::new(),
        );
        let Some(uploads) = &mut self.uploads else {
            return self.add(spec);
        };
        if file.bytes > SOURCE_BYTES_MAX {
            self.tell(News::Warned(format!(
                "{} has {} bytes; up to {SOURCE_BYTES_MAX} are uploaded (source_bytes_max): a worker that was started with --source has to make its context",
                file.uri, file.bytes
            )));
            return self.add(spec);
        }
        let most = uploads.batch_cost_max();
        let most = most.map_err(|failed| self.fail(failed))?;
        let cost = self.files.iter().map(cost).sum::<u64>() + cost(&file);
        if cost > most && !self.batch.is_empty() {
            self.submit()?;
        }
        self.add(spec)?;
        self.files.push(file);
        Ok(())
    }

    fn fail(&self, failed: Failed) -> Over {
        if let Failed::Told(reason) = failed {
            self.tell(News::Failed(reason));
        }
        Over
    }

    /// Has the cluster keep what the files of the batch contain.
    fn upload(&mut self) -> Result<(), Over> {
        let files = std::mem::take(&mut self.files);
        let Some(mut uploads) = self.uploads.take() else {
            return Ok(());
        };
        let upload = uploads.plan(files).map_err(|failed| self.fail(failed))?;
        if upload.is_tight {
            // A text that no job counts on yet may have to make way.
            while !self.open.is_empty() {
                self.settle(Instant::now() + LOOK_AGAIN)?;
            }
            let waited = uploads.wait_for_room(&upload);
            waited.map_err(|failed| self.fail(failed))?;
        }
        uploads.upload(upload).map_err(|failed| self.fail(failed))?;
        self.uploads = Some(uploads);
        Ok(())
    }

    fn add(&mut self, spec: JobSpec) -> Result<(), Over> {
        let bytes = spec_bytes(&spec);
        let full = self.batch.len() >= BATCH_ITEMS || self.batch_bytes + bytes > BATCH_BYTES_MAX;
        if full && !self.batch.is_empty() {
            self.submit()?;
        }
        self.batch_bytes += bytes;
        self.batch.push(spec);
        Ok(())
    }

    /// Sends the batch, when there is room for it.
    fn submit(&mut self) -> Result<(), Over> {
        if self.batch.is_empty() {
            return Ok(());
        }
        while self.open.len() >= BATCHES_OPEN_MAX
            || self.brake.unfinished.load(Ordering::Relaxed) > UNFINISHED_MAX
        {
            self.settle(Instant::now() + LOOK_AGAIN)?;
        }
        self.batch_bytes = 0;
        self.upload()?;
        let items = std::mem::take(&mut self.batch);
        self.send(items);
        // Take what has come meanwhile, without waiting.
        self.settle(Instant::now())
    }

    fn send(&mut self, items: Vec<JobSpec>) {
        let sequence = self.next;
        self.next = sequence.next();
        // Everything below the oldest open one was answered.
        let acknowledged = self.open.keys().next().copied().unwrap_or(sequence);
        let request = RequestId {
            session: self.asking.session,
            sequence,
        };
        let command = Command::Submit {
            items: items.clone(),
        };
        let tag = self.courier.send(Request::Propose {
            request: Some(request),
            acknowledged,
            command,
        });
        self.open.insert(sequence, (tag, items));
    }

    /// Takes outcomes until there are none or it is `until`.
    fn settle(&mut self, until: Instant) -> Result<(), Over> {
        loop {
            if self.brake.stop.load(Ordering::Relaxed) {
                return Err(Over);
            }
            let Some((tag, reply)) = self.courier.receive(until) else {
                return Ok(());
            };
            let sequence = self
                .open
                .iter()
                .find(|(_, (open, _))| *open == tag)
                .map(|(sequence, _)| *sequence);
            let Some((_, items)) = sequence.and_then(|sequence| self.open.remove(&sequence)) else {
                continue;
            };
            self.on_outcome(items, reply)?;
        }
    }

    fn on_outcome(&mut self, items: Vec<JobSpec>, reply: Reply) -> Result<(), Over> {
        match reply {
            Reply::Applied {
                outcome: Outcome::Submitted(submitted),
                ..
            } if submitted.len() == items.len() => {
                let accepted = items
                    .into_iter()
                    .zip(submitted)
                    .map(|(spec, submitted)| Accepted {
                        address: spec.address,
                        subject: spec.subject,
                        job: submitted.job,
                        admission: submitted.how,
                    });
                self.tell(News::Accepted(accepted.collect()));
                Ok(())
            }
            Reply::Applied {
                outcome: Outcome::Rejected(Rejection::QueueFull { retry_after_ms, .. }),
                ..
            } => {
                // Certainly not accepted, and that answer stands for this
                // sequence: the next attempt is a new request.
                thread::sleep(Duration::from_millis(retry_after_ms.min(1_000)));
                self.send(items);
                Ok(())
            }
            Reply::Applied {
                outcome: Outcome::Rejected(rejection),
                ..
            } => {
                self.tell(News::Failed(format!(
                    "the cluster refused a batch: {rejection}"
                )));
                Err(Over)
            }
            other => {
                self.tell(News::Failed(format!(
                    "the cluster gave a senseless answer: {other:?}"
                )));
                Err(Over)
            }
        }
    }
}

/// About what a request takes in the log.
fn spec_bytes(spec: &JobSpec) -> u64 {
    let named: usize = spec
        .dependencies
        .iter()
        .map(|dependency| dependency.address.as_str().len() + 4)
        .sum();
    (spec.address.as_str().len() + spec.tenant.len() + 128 + named) as u64
}
