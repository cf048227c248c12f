//! Takes backups of a node that runs: lets its core save a snapshot that has everything
//! which was accepted before the backup was asked for, and writes that out with the bodies
//! as they were when it became the newest. The cluster goes on meanwhile.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use precentor_core::action::BodyOf;
use precentor_core::event::{Event, Order};
use precentor_core::ids::LogIndex;
use precentor_core::wire::snapshot::{SNAPSHOT_HEADER_BYTES_MAX, read_snapshot_header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{AUDIT, END, End, FOLDERS, FORMAT, MANIFEST, Manifest, SNAPSHOT};
use crate::blobstore::{BlobError, BlobView};
use crate::disk::snapshot_file;
use crate::member::{self, Member, Place, VOTER};
use crate::pilot::{Mail, Mailbox};
use crate::server::founding::hex;
use crate::shelf::ShelfReader;

/// How hard zstd tries: what it writes at once, at the speed of a network.
const LEVEL: i32 = 3;

/// Takes the backups of one node, one at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Backups(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    mailbox: Mailbox,
    saved: watch::Receiver<LogIndex>,
    voter: PathBuf,
    audit: PathBuf,
    bodies: ShelfReader,
    turn: Arc<Semaphore>,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Another one is being taken.
    #[error("this node takes a backup just now; ask again when that is over, or another node")]
    UnderWay,
    /// The node ends.
    #[error("this node ends; ask another one")]
    Ended,
    /// Its disk.
    #[error("cannot read the snapshot: {0}")]
    Disk(#[from] io::Error),
}

impl Backups {
    /// Those of a member, whose files are in `data`.
    #[must_use]
    pub fn of(place: Place, member: &Member, data: &Path, bodies: ShelfReader) -> Self {
        Backups(Arc::new(Inner {
            place,
            mailbox: member.mailbox(),
            saved: member.saved(),
            voter: data.join(VOTER),
            audit: data.join(member::AUDIT),
            bodies,
            turn: Arc::new(Semaphore::new(1)),
        }))
    }

    /// Has a snapshot saved that reaches up to an entry, and holds on to it. Waits as long as
    /// that takes.
    ///
    /// # Errors
    /// If another backup is under way, the node ends, or its disk cannot be read.
    pub async fn begin(&self, up_to: LogIndex) -> Result<Taking, NotTaken> {
        let inner = &self.0;
        let turn = inner.turn.clone().try_acquire_owned();
        let turn = turn.map_err(|_| NotTaken::UnderWay)?;
        let mut saved = inner.saved.clone();
        // One that is begun just now may be of an earlier entry, and one that a leader sends
        // puts the order aside: it is given until it is done.
        while *saved.borrow_and_update() < up_to {
            let order = Event::Order(Order::Snapshot);
            inner.mailbox.post(Mail::Event(order));
            saved.changed().await.map_err(|_| NotTaken::Ended)?;
        }
        loop {
            let index = *saved.borrow_and_update();
            let bodies = inner.bodies.view();
            let file = File::open(snapshot_file(&inner.voter, index));
            // Bodies go when a snapshot is begun after the one that speaks of them no more:
            // as long as this is the newest, it has all of its own.
            if *saved.borrow() != index {
                continue;
            }
            return Ok(Taking {
                place: inner.place.clone(),
                index,
                snapshot: file?,
                audit: inner.audit.clone(),
                bodies,
                _turn: turn,
            });
        }
    }
}

/// A backup that is being taken.
#[derive(Debug)]
pub struct Taking {
    place: Place,
    index: LogIndex,
    snapshot: File,
    audit: PathBuf,
    bodies: BlobView,
    _turn: OwnedSemaphorePermit,
}

impl Taking {
    /// The last entry in it.
    #[must_use]
    pub fn index(&self) -> LogIndex {
        self.index
    }

    /// Writes all of it out.
    ///
    /// # Errors
    /// If something cannot be read, or `out` does not take it: what was written is no backup.
    pub fn write(mut self, out: impl Write) -> io::Result<End> {
        let mut encoder = zstd::Encoder::new(out, LEVEL)?;
        encoder.include_checksum(true)?;
        let mut archive = Archive {
            taken_ms: wall_ms(),
            tar: tar::Builder::new(encoder),
        };
        let manifest = self.manifest(archive.taken_ms)?;
        archive.json(MANIFEST, &manifest)?;
        let bytes = self.snapshot.metadata()?.len();
        archive.file(SNAPSHOT, bytes, &self.snapshot)?;
        // The node adds to it meanwhile; whoever reads this leaves the later records out.
        if let Some(audit) = opened(&self.audit)? {
            let bytes = audit.metadata()?.len();
            archive.file(AUDIT, bytes, audit.take(bytes))?;
        }
        let mut end = End::default();
        for (of, folder) in FOLDERS {
            self.bodies(of, folder, &mut archive, &mut end)?;
        }
        archive.json(END, &end)?;
        archive.tar.into_inner()?.finish()?.flush()?;
        Ok(end)
    }

    fn manifest(&mut self, taken_ms: u64) -> io::Result<Manifest> {
        let mut head = Vec::new();
        (&self.snapshot)
            .take(SNAPSHOT_HEADER_BYTES_MAX)
            .read_to_end(&mut head)?;
        io::Seek::rewind(&mut self.snapshot)?;
        let (header, _) = read_snapshot_header(&head)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Manifest {
            format: FORMAT,
            cluster: self.place.name.clone(),
            cluster_id: hex(header.cluster),
            node: self.place.node.0,
            index: header.meta.index.0,
            term: header.meta.term.0,
            taken_ms,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    fn bodies(
        &self,
        of: BodyOf,
        folder: &str,
        archive: &mut Archive<impl Write>,
        end: &mut End,
    ) -> io::Result<()> {
        for body in self.bodies.all(of) {
            match body {
                Ok((digest, body)) => {
                    let bytes = body.len() as u64;
                    archive.file(&format!("{folder}/{digest}"), bytes, &*body)?;
                    end.count(of, bytes);
                }
                // Perhaps nobody speaks of it any more; if somebody does, the reader says so.
                Err(BlobError::Damaged { digest }) => {
                    let node = self.place.node;
                    tracing::error!(%node, %digest, "a body is damaged, and left out of a backup");
                    end.damaged.push(digest.to_string());
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(())
    }
}

fn opened(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

struct Archive<W: Write> {
    taken_ms: u64,
    tar: tar::Builder<zstd::Encoder<'static, W>>,
}

impl<W: Write> Archive<W> {
    fn file(&mut self, name: &str, bytes: u64, content: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        // Whoever unpacks it owns it, and nobody else reads it.
        header.set_mode(0o600);
        header.set_mtime(self.taken_ms / 1_000);
        self.tar.append_data(&mut header, name, content)
    }

    fn json(&mut self, name: &str, content: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(content)?;
        self.file(name, text.len() as u64, &*text)
    }
}
