//! Gives the cluster what files contain before contexts are asked for: only what it does not
//! keep yet. So a run that was interrupted goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use precentor_core::bytes::Bytes;
use precentor_core::command::{Command, Outcome, Rejection};
use precentor_core::digest::Digest;
use precentor_core::ids::Sequence;
use precentor_core::job::SourcesView;
use precentor_core::limits::{SOURCE_BYTES_MAX, SOURCE_ROW_BYTES, SOURCES_PER_ENTRY_MAX};
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};

use super::book::News;
use super::submitter::Brake;
use crate::client::Courier;
use crate::source::digest::content_within;
use crate::source::path_of;
use crate::source::walk::SourceFile;

/// Texts of one entry, in bytes, unless one alone is longer.
const ENTRY_BYTES: u64 = 1024 * 1024;
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The longest wait before what there was no room for is sent again.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a cluster may take until it can keep sources.
const LEVEL_PATIENCE: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What was uploaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uploaded {
    /// How many texts.
    pub(crate) count: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// What a run does for the workers of a cluster.
pub(crate) struct Uploads {
    courier: Courier,
    root: PathBuf,
    brake: Brake,
    news: Sender<News>,
    done: Uploaded,
    /// The cluster cannot keep any.
    is_off: bool,
    batch_cost_max: Option<u64>,
}

/// What the cluster has to be given.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    files: BTreeMap<Digest, SourceFile>,
    /// Something else has to go for it: what was given before has to be asked for by then.
    pub(crate) is_tight: bool,
}

/// What a file counts for.
pub(crate) fn cost(file: &SourceFile) -> u64 {
    file.bytes.saturating_add(SOURCE_ROW_BYTES)
}

impl Uploads {
    pub(crate) fn new(
        courier: Courier,
        root: PathBuf,
        brake: Brake,
        news: Sender<News>,
    ) -> Uploads {
        Uploads {
            courier,
            root,
            brake,
            news,
            done: Uploaded::default(),
            is_off: false,
            batch_cost_max: None,
        }
    }

    fn tell(&self, news: News) {
        // A run that was interrupted does not listen any more.
        let _ = self.news.send(news);
    }

    /// What the files of a batch may count for: when its texts are kept, all of them have to be
    /// there until it is asked for.
    ///
    /// # Errors
    /// Why the run cannot go on.
    pub(crate) fn batch_cost_max(&mut self) -> Result<u64, Failed> {
        if let Some(most) = self.batch_cost_max {
            return Ok(most);
        }
        let most = match self.view(Vec::new())? {
            Some(view) => view.bytes_max / 2,
            None => {
                let warning = "nothing is uploaded, for not every member's program can keep sources: workers need trees of their own (--source)";
                self.tell(News::Warned(warning.to_owned()));
                self.is_off = true;
                u64::MAX
            }
        };
        self.batch_cost_max = Some(most);
        Ok(most)
    }

    /// What of these files the cluster has to be given.
    ///
    /// # Errors
    /// Why the run cannot go on.
    pub(crate) fn plan(&mut self, files: Vec<SourceFile>) -> Result<Upload, Failed> {
        if files.is_empty() || self.is_off {
            return Ok(Upload::default());
        }
        let mut files: BTreeMap<Digest, SourceFile> = files
            .into_iter()
            .map(|file| (file.content_digest, file))
            .collect();
        let Some(view) = self.view(files.keys().copied().collect())? else {
            return Ok(Upload::default());
        };
        let lacking: BTreeSet<Digest> = view.lacking.into_iter().collect();
        let lacks = |digest: &Digest| lacking.contains(digest);
        let needed = files.iter().filter(|(digest, _)| lacks(digest));
        let needed: u64 = needed.map(|(_, file)| cost(file)).sum();
        let is_tight = needed > 0 && view.bytes.saturating_add(needed) > view.bytes_max;
        // Where something has to go, those of them that are there are not to: they are given
        // again, and so were just used.
        if !is_tight {
            files.retain(|digest, _| lacks(digest));
        }
        Ok(Upload { files, is_tight })
    }

    /// Waits until there is room for all of it beside what jobs count on.
    ///
    /// # Errors
    /// Why the run cannot go on.
    pub(crate) fn wait_for_room(&mut self, upload: &Upload) -> Result<(), Failed> {
        let needed: u64 = upload.files.values().map(cost).sum();
        while let Some(view) = self.view(Vec::new())?
            && view.bytes_held.saturating_add(needed) > view.bytes_max
            && needed <= view.bytes_max
        {
            thread::sleep(ASK_AGAIN);
        }
        Ok(())
    }

    /// Has the cluster keep what is planned, as far as files are still what they were.
    ///
    /// # Errors
    /// Why the run cannot go on.
    pub(crate) fn upload(&mut self, upload: Upload) -> Result<(), Failed> {
        let (mut texts, mut bytes): (Vec<Bytes>, u64) = (Vec::new(), 0);
        for (digest, file) in upload.files {
            let path = path_of(&self.root, &file.uri);
            // What changed or went since is said by the job that finds it out.
            let Ok(Some(text)) = content_within(&path, SOURCE_BYTES_MAX) else {
                continue;
            };
            if Digest::of(&text) != digest {
                continue;
            }
            let length = text.len() as u64;
            let full = texts.len() as u64 == SOURCES_PER_ENTRY_MAX || bytes + length > ENTRY_BYTES;
            if full && !texts.is_empty() {
                self.keep(std::mem::take(&mut texts), bytes)?;
                bytes = 0;
            }
            bytes += length;
            texts.push(text.into());
        }
        match texts.is_empty() {
            true => Ok(()),
            false => self.keep(texts, bytes),
        }
    }

    /// What the cluster keeps, and which of these it does not; none if it cannot keep any. It
    /// can soon after its founding, and when the last member has a program that can.
    fn view(&mut self, asked: Vec<Digest>) -> Result<Option<SourcesView>, Failed> {
        let give_up = Instant::now() + LEVEL_PATIENCE;
        loop {
            let reply = self.ask(Request::Read {
                query: Query::Sources(asked.clone()),
                consistency: Consistency::Linearizable,
            })?;
            match reply {
                Reply::Read {
                    answer: Answer::Sources(view),
                    ..
                } if view.is_kept => return Ok(Some(*view)),
                Reply::Read {
                    answer: Answer::Sources(_),
                    ..
                } if Instant::now() < give_up => thread::sleep(ASK_AGAIN),
                // A program before does not know the question.
                Reply::Read {
                    answer: Answer::Sources(_),
                    ..
                }
                | Reply::Invalid { .. } => return Ok(None),
                other => return Err(senseless(&other)),
            }
        }
    }

    /// One entry's, until the cluster has room for it.
    fn keep(&mut self, texts: Vec<Bytes>, bytes: u64) -> Result<(), Failed> {
        loop {
            let reply = self.ask(Request::Propose {
                // To keep the same again changes nothing.
                request: None,
                acknowledged: Sequence(0),
                command: Command::KeepSources {
                    sources: texts.clone(),
                },
            })?;
            match reply {
                Reply::Applied {
                    outcome: Outcome::SourcesKept { .. },
                    ..
                } => {
                    self.done.count += texts.len() as u64;
                    self.done.bytes += bytes;
                    self.tell(News::Uploaded(self.done));
                    return Ok(());
                }
                Reply::Applied {
                    outcome: Outcome::Rejected(Rejection::SourcesFull { limit, .. }),
                    ..
                } if bytes + SOURCE_ROW_BYTES * texts.len() as u64 > limit => {
                    let reason = format!(
                        "the cluster may keep sources of {limit} bytes, and one of {bytes} is to be kept: raise the budget (PUT /v1/sources/budget), or give --no-upload"
                    );
                    return Err(Failed::Told(reason));
                }
                Reply::Applied {
                    outcome: Outcome::Rejected(Rejection::SourcesFull { retry_after_ms, .. }),
                    ..
                } => thread::sleep(Duration::from_millis(retry_after_ms).min(WAIT_MAX)),
                Reply::Applied {
                    outcome: Outcome::Rejected(rejection),
                    ..
                } => {
                    let reason = format!("the cluster does not keep sources: {rejection}");
                    return Err(Failed::Told(reason));
                }
                other => return Err(senseless(&other)),
            }
        }
    }

    fn ask(&mut self, request: Request) -> Result<Reply, Failed> {
        let asked = self.courier.send(request);
        loop {
            if self.brake.stop.load(Ordering::Relaxed) {
                return Err(Failed::Over);
            }
            match self.courier.receive(Instant::now() + LOOK_AGAIN) {
                Some((tag, reply)) if tag == asked => return Ok(reply),
                Some(_) | None => {}
            }
        }
    }
}

/// Why it ends.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The run was ended.
    Over,
    /// And for this reason.
    Told(String),
}

fn senseless(reply: &Reply) -> Failed {
    Failed::Told(match reply {
        Reply::Invalid { message } => format!("the cluster does not keep sources: {message}"),
        Reply::Denied(denial) => format!("the cluster does not keep sources: {denial}"),
        other => format!("the cluster gave a senseless answer: {other:?}"),
    })
}
