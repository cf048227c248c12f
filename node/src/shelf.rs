//! The bodies of published contexts at one node, and the thread that puts them
//! away. A body can be read from the moment it is handed in: it is in memory
//! until it is in the store. Also keeps the audit chain's text, and writes the
//! snapshots, this node's own and a leader's, which must come after the bodies
//! that they speak of.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use precentor_core::action::BodyOf;
use precentor_core::bytes::Bytes;
use precentor_core::command::AuditRecord;
use precentor_core::digest::Digest;
use precentor_core::ids::{LogIndex, NodeId};
use precentor_core::snapshot::SnapshotPart;

use crate::blobstore::{BlobError, BlobStore, BlobView};
use crate::disk::SnapshotWriter;
use crate::pilot::Switch;
use crate::scribe::{LogOrder, LogScribe};

#[cfg(test)]
mod tests;

/// Bodies that may wait to be put away, in bytes. Beyond it the node waits: a
/// store that is so far behind is no better kept for longer.
const PENDING_BYTES_MAX: u64 = 64 * 1024 * 1024;

enum Task {
    Put(BodyOf, Digest),
    DropSource(Digest, LogIndex),
    Snapshot(SnapshotPart),
    Piece(SnapshotPart),
    Install(LogIndex),
    Audit(AuditRecord),
}

#[derive(Debug, Default)]
struct Pending {
    bodies: HashMap<(BodyOf, Digest), Bytes>,
    bytes: u64,
    ended: bool,
}

impl Pending {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        let sorts = [BodyOf::Result, BodyOf::Source];
        let found = sorts.iter().find_map(|of| self.bodies.get(&(*of, *digest)));
        found.cloned()
    }
}

#[derive(Debug)]
struct Shared {
    store: BlobStore,
    pending: Mutex<Pending>,
    room: Condvar,
}

/// Reads the bodies of one node.
#[derive(Debug, Clone)]
pub struct ShelfReader(Arc<Shared>);

impl ShelfReader {
    /// A body, if this node has it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn get(&self, digest: &Digest) -> Result<Option<Bytes>, BlobError> {
        if let Some(body) = self.0.pending().get(digest) {
            return Ok(Some(body));
        }
        Ok(self.0.store.get(*digest)?.map(Bytes::from))
    }

    /// All bodies that are put away by now: those that a snapshot speaks of which is on disk.
    #[must_use]
    pub fn view(&self) -> BlobView {
        self.0.store.view()
    }

    /// Does this node have a body, good, and as what is asked for?
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn has(&self, of: BodyOf, digest: &Digest) -> Result<bool, BlobError> {
        let waits = self.0.pending().bodies.contains_key(&(of, *digest));
        Ok(waits || self.0.store.get_as(of, *digest)?.is_some())
    }
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Shelf {
    to: Sender<Task>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Task::Put(..) => "Put",
            Task::DropSource(..) => "DropSource",
            Task::Snapshot(_) => "Snapshot",
            Task::Piece(_) => "Piece",
            Task::Install(_) => "Install",
            Task::Audit(_) => "Audit",
        })
    }
}

impl Shelf {
    /// Starts the thread over an opened store; snapshots are written by
    /// `snapshots`, a leader's by `incoming`, and go on to `scribe` once they are
    /// whole, and the bodies that they speak of durable.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(
        node: NodeId,
        store: BlobStore,
        audit: AuditFile,
        snapshots: SnapshotWriter,
        incoming: SnapshotWriter,
        scribe: LogScribe,
        switch: Switch,
    ) -> io::Result<(Shelf, JoinHandle<()>)> {
        let (to, tasks) = unbounded();
        let shared = Arc::new(Shared {
            store,
            pending: Mutex::default(),
            room: Condvar::new(),
        });
        let keeper = Keeper {
            node,
            shared: shared.clone(),
            audit,
            snapshots,
            incoming,
            scribe,
            switch,
            gone: BTreeMap::new(),
            saved: LogIndex(0),
            receiving: false,
        };
        let thread = thread::Builder::new()
            .name(format!("shelf-{node}"))
            .spawn(move || keeper.run(&tasks))?;
        Ok((Shelf { to, shared }, thread))
    }

    /// Who wants to read.
    #[must_use]
    pub fn reader(&self) -> ShelfReader {
        ShelfReader(self.shared.clone())
    }

    pub(crate) fn put(&self, of: BodyOf, digest: Digest, body: Bytes) {
        {
            let mut pending = self.shared.pending();
            pending.bytes += body.count();
            if let Some(same) = pending.bodies.insert((of, digest), body) {
                pending.bytes -= same.count();
            }
        }
        // Although it may be there: it takes back that it was to go.
        self.send(Task::Put(of, digest));
    }

    /// Lets a source go when a snapshot with this entry is durable.
    pub(crate) fn drop_source(&self, digest: Digest, index: LogIndex) {
        self.send(Task::DropSource(digest, index));
    }

    pub(crate) fn save_snapshot(&self, part: SnapshotPart) {
        self.send(Task::Snapshot(part));
    }

    pub(crate) fn keep_piece(&self, part: SnapshotPart) {
        self.send(Task::Piece(part));
    }

    pub(crate) fn install_snapshot(&self, index: LogIndex) {
        self.send(Task::Install(index));
    }

    pub(crate) fn audit(&self, record: AuditRecord) {
        self.send(Task::Audit(record));
    }

    /// Waits until the bodies that are not put away are few enough.
    pub(crate) fn wait_for_room(&self) {
        let mut pending = self.shared.pending();
        while pending.bytes > PENDING_BYTES_MAX && !pending.ended {
            pending = self
                .shared
                .room
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn send(&self, task: Task) {
        // A keeper that ended has said why; bodies are in the log until a snapshot.
        let _ = self.to.send(task);
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Keeper {
    node: NodeId,
    shared: Arc<Shared>,
    audit: AuditFile,
    snapshots: SnapshotWriter,
    incoming: SnapshotWriter,
    scribe: LogScribe,
    switch: Switch,
    /// Sources that nobody speaks of any more as of an entry.
    gone: BTreeMap<Digest, LogIndex>,
    /// The last snapshot that this node has written. It is in force when the next is begun.
    saved: LogIndex,
    /// A leader's snapshot comes, and may speak of what this node does not any more.
    receiving: bool,
}

impl Keeper {
    fn run(mut self, tasks: &Receiver<Task>) {
        if let Err(error) = self.work(tasks) {
            let node = self.node;
            tracing::error!(%node, %error, "cannot keep bodies: they stay in the log, and no snapshot is saved");
        }
        self.shared.pending().ended = true;
        self.shared.room.notify_all();
    }

    fn work(&mut self, tasks: &Receiver<Task>) -> io::Result<()> {
        for task in tasks {
            if self.switch.is_killed() {
                return Ok(());
            }
            match task {
                Task::Put(of, digest) => self.put(of, digest)?,
                Task::DropSource(digest, index) => _ = self.gone.insert(digest, index),
                Task::Audit(record) => self.audit.add(&record)?,
                Task::Snapshot(part) => {
                    if part.offset == 0 {
                        self.drop_gone()?;
                    }
                    self.snapshot(&part);
                }
                Task::Piece(part) => self.piece(&part),
                Task::Install(index) => self.install(index),
            }
            if tasks.is_empty() {
                self.audit.flush()?;
            }
        }
        self.sync()
    }

    // To end the node if a snapshot failed is up to the scribe.

    fn snapshot(&mut self, part: &SnapshotPart) {
        let mut finished = self.snapshots.write(part).map(|()| None);
        if part.last && finished.is_ok() {
            finished = self.sync().and_then(|()| self.snapshots.finish().map(Some));
        }
        if let Some(finished) = finished.transpose() {
            self.saved = part.meta.index;
            self.scribe.order(LogOrder::AdoptSnapshot(finished));
        }
    }

    /// Lets go of what no snapshot speaks of any more: the last one is in force, for another
    /// is begun.
    fn drop_gone(&mut self) -> io::Result<()> {
        if self.receiving {
            return Ok(());
        }
        let saved = self.saved;
        for (digest, _) in self.gone.extract_if(.., |_, as_of| *as_of <= saved) {
            let dropped = self.shared.store.drop_source(digest);
            dropped.map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn piece(&mut self, part: &SnapshotPart) {
        self.receiving = true;
        if let Err(error) = self.incoming.write(part) {
            self.scribe.order(LogOrder::InstallSnapshot(Err(error)));
        }
    }

    fn install(&mut self, index: LogIndex) {
        let finished = self.sync().and_then(|()| self.incoming.finish_as(index));
        // It may speak of them again. What is of no use is found at the next start.
        self.gone.clear();
        self.receiving = false;
        self.scribe.order(LogOrder::InstallSnapshot(finished));
    }

    /// Makes all that a snapshot speaks of durable.
    fn sync(&mut self) -> io::Result<()> {
        self.shared.store.flush().map_err(io::Error::other)?;
        self.audit.sync()
    }

    fn put(&mut self, of: BodyOf, digest: Digest) -> io::Result<()> {
        if of == BodyOf::Source {
            self.gone.remove(&digest);
        }
        let body = self.shared.pending().bodies.get(&(of, digest)).cloned();
        let Some(body) = body else { return Ok(()) };
        self.shared
            .store
            .put(of, digest, &body)
            .map_err(io::Error::other)?;
        let mut pending = self.shared.pending();
        pending.bodies.remove(&(of, digest));
        pending.bytes -= body.count();
        drop(pending);
        self.shared.room.notify_all();
        Ok(())
    }
}

/// The audit chain as text: one record a line, each once.
#[derive(Debug)]
pub struct AuditFile {
    file: BufWriter<File>,
    /// Records up to here are in the file: they come again after a restart.
    last: LogIndex,
}

impl AuditFile {
    /// Opens the file of a node that starts with a state as of this entry: the records of
    /// later ones come again.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn open(path: &Path, as_of: LogIndex) -> io::Result<AuditFile> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let last = last_index(&mut file, as_of)?;
        Ok(AuditFile {
            file: BufWriter::new(file),
            last,
        })
    }

    fn add(&mut self, record: &AuditRecord) -> io::Result<()> {
        // Several records may share an entry; all of them come in one go.
        if record.index < self.last {
            return Ok(());
        }
        self.last = record.index;
        serde_json::to_writer(&mut self.file, record).map_err(io::Error::from)?;
        self.file.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }
}

/// The index of the last whole line; whatever follows it is cut off. If its entry comes again,
/// that entry's own lines are cut too: they may not all be there. Those of an entry that a
/// snapshot speaks of do not come again, and were all there before that was whole.
fn last_index(file: &mut File, as_of: LogIndex) -> io::Result<LogIndex> {
    use std::io::{BufRead, BufReader, Seek, SeekFrom};
    #[derive(serde::Deserialize)]
    struct Line {
        index: LogIndex,
    }
    let mut reader = BufReader::new(&mut *file);
    let (mut line, mut at, mut whole, mut last) = (Vec::new(), 0_u64, 0_u64, LogIndex(0));
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line)? as u64;
        if !line.ends_with(b"\n") {
            break;
        }
        let Ok(Line { index }) = serde_json::from_slice(&line) else {
            break;
        };
        if index > last {
            (last, whole) = (index, at);
        }
        at += count;
        if index <= as_of {
            whole = at;
        }
    }
    drop(reader);
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok(last)
}
