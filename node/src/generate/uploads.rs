//! Gives the cluster what files contain before contexts are asked for: only what it does not
//! keep yet. So a run that was interrupted goes on where it was.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use precentor_core::address::Address;
use precentor_core::bytes::Bytes;
use precentor_core::command::{Command, Outcome, Rejection};
use precentor_core::digest::Digest;
use precentor_core::ids::Sequence;
use precentor_core::limits::{SOURCE_BYTES_MAX, SOURCES_PER_ENTRY_MAX};
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};

use super::submitter::Brake;
use crate::client::Courier;
use crate::source::digest::content_within;
use crate::source::path_of;

/// Texts of one entry, in bytes, unless one alone is longer.
const ENTRY_BYTES: u64 = 1024 * 1024;
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The longest wait before what there was no room for is sent again.
const WAIT_MAX: Duration = Duration::from_secs(1);

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
    pub(crate) done: Uploaded,
}

impl Uploads {
    pub(crate) fn new(courier: Courier, root: PathBuf, brake: Brake) -> Uploads {
        Uploads {
            courier,
            root,
            brake,
            done: Uploaded::default(),
        }
    }

    /// Has the cluster keep these files, as far as they are still what they were.
    ///
    /// # Errors
    /// Why the run cannot go on; none if it was ended.
    pub(crate) fn upload(&mut self, files: &[(Address, Digest)]) -> Result<(), Failed> {
        let wanted: BTreeMap<Digest, &Address> =
            files.iter().map(|(uri, digest)| (*digest, uri)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let query = Query::Sources(wanted.keys().copied().collect());
        let lacking = match self.ask(Request::Read {
            query,
            consistency: Consistency::Linearizable,
        })? {
            Reply::Read {
                answer: Answer::Sources(view),
                ..
            } if view.is_kept => view.lacking,
            Reply::Read {
                answer: Answer::Sources(_),
                ..
            } => {
                let reason = "the programs of the cluster's members are too old to keep sources: run newer ones, or give --no-upload and start workers with --source";
                return Err(Failed::Told(reason.to_owned()));
            }
            other => return Err(senseless(&other)),
        };
        let (mut texts, mut bytes): (Vec<Bytes>, u64) = (Vec::new(), 0);
        for digest in lacking {
            let path = path_of(&self.root, wanted[&digest]);
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
                    return Ok(());
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
