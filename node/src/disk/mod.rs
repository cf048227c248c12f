//! One voter's data directory: its log, hard state and snapshots, so that what
//! it promised survives any crash. Knows files; what their bytes mean is
//! decided in `precentor_core::wire`, which the simulator shares.
//!
//! ```text
//! DIR/lock  identity  log/{segment-NUMBER, begun-NUMBER, spare-*}  torn/*
//! DIR/snapshots/{snapshot-INDEX, unfinished-INDEX, incoming-INDEX}
//! log/*.damaged-N  snapshots/*.damaged-N   kept for whoever wants to know; N is
//!                                          the segment that goes on without them
//! ```

mod directory;
mod error;
mod segments;
mod snapshot_reader;
mod snapshot_writer;
mod snapshots;

use std::io;
use std::path::{Path, PathBuf};

use precentor_core::driver::Kept;
use precentor_core::entry::{HardState, LogEntry, WriteBatch};
use precentor_core::ids::{ClusterId, Incarnation, LogIndex, NodeId};
use precentor_core::wire::identity::IdentityFile;
use precentor_core::wire::log_map::{LogMap, Place};
use precentor_core::wire::log_writer::{LogWriter, SEGMENT_BYTES, Step};
use precentor_core::wire::record::{BLOCK_BYTES, Header, LogIdentity, read_entry};
use precentor_core::wire::recover::{Damage, Fault, RecoverError, Recovered, Recovery, Torn};

use directory::{Directory, Found, SNAPSHOTS};
pub use error::OpenError;
use segments::Segments;
pub use snapshot_reader::SnapshotReader;
pub use snapshot_writer::{FinishedSnapshot, SnapshotWriter};
use snapshots::Snapshots;
pub use snapshots::{DamagedSnapshot, LoadedSnapshot};

/// Whose directory it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The voter.
    pub node: NodeId,
    /// What people call the cluster; for messages only.
    pub name: String,
}

/// The file of a snapshot in a voter's directory.
#[must_use]
pub fn snapshot_file(voter: &Path, index: LogIndex) -> PathBuf {
    snapshots::snapshot_path(&voter.join(SNAPSHOTS), index)
}

/// What opening may do to a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Make it if it is not there.
    Create,
    /// It must be there: a voter that has promised something never starts empty.
    Existing,
    /// Change nothing. Possible only while nobody writes.
    ReadOnly,
}

/// What was found at opening.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenReport {
    /// Whether the directory was made just now.
    pub created: bool,
    /// The tail that was written and never synced, and so left out.
    pub torn: Option<Torn>,
    /// Where its bytes are kept.
    pub torn_kept: Option<PathBuf>,
    /// What was durable and is gone. The hard state says up to where the log
    /// must be repaired, now and at every opening until that is done.
    pub damage: Option<Damage>,
    /// Where damaged files, and those that are of no use without them, are kept.
    pub damaged_kept: Vec<PathBuf>,
}

/// What writes and reads the snapshots of one directory, beside the log's thread.
#[derive(Debug)]
pub struct SnapshotFiles {
    /// Writes this node's own.
    pub own: SnapshotWriter,
    /// Writes what is received of a leader's.
    pub incoming: SnapshotWriter,
    /// Reads those that count.
    pub saved: SnapshotReader,
}

/// One voter's data directory, locked while this lives.
///
/// After any error of a write or a sync every later call fails: the page cache
/// may hold what the disk does not, so nothing that is read back can be
/// trusted ("Can applications recover from fsync failures?", ATC'20). End the
/// process; opening again reads and rewrites the tail.
#[derive(Debug)]
pub struct Store {
    // First, so that it waits for its helper before the lock is given up.
    segments: Segments,
    snapshots: Snapshots,
    writer: LogWriter,
    identity: LogIdentity,
    report: OpenReport,
    mode: OpenMode,
    /// The newest snapshot as it was verified at opening, until it is asked for.
    opened_with: Option<LoadedSnapshot>,
    failure: Option<String>,
    _directory: Directory,
}

impl Store {
    /// Opens a directory, recovers its log and repairs its tail.
    pub fn open(path: &Path, identity: &Identity, mode: OpenMode) -> Result<Store, OpenError> {
        Store::open_with(path, identity, mode, SEGMENT_BYTES)
    }

    /// [`Store::open`] with segment files of another size, for tests.
    pub fn open_with(
        path: &Path,
        identity: &Identity,
        mode: OpenMode,
        segment_bytes: u32,
    ) -> Result<Store, OpenError> {
        let directory = Directory::lock(path, mode)?;
        match directory.find(identity, mode)? {
            Found::Nothing => Store::create(directory, identity, segment_bytes),
            Found::Identity(file) => Store::recover(directory, &file.log, mode, segment_bytes),
        }
    }

    /// Whose directory it is. Looks at nothing else.
    pub fn identify(path: &Path) -> Result<IdentityFile, OpenError> {
        directory::read_identity(path)
    }

    fn create(
        directory: Directory,
        identity: &Identity,
        segment_bytes: u32,
    ) -> Result<Store, OpenError> {
        let log = directory.begin(identity)?;
        let mut store = Store {
            segments: Segments::open(directory.log_path(), segment_bytes)?,
            snapshots: Snapshots::open(directory.snapshots_path())?,
            writer: LogWriter::create(log, segment_bytes),
            report: OpenReport {
                created: true,
                ..OpenReport::default()
            },
            mode: OpenMode::Create,
            identity: log,
            opened_with: None,
            failure: None,
            _directory: directory,
        };
        let steps = store.writer.encode_roll();
        store
            .perform(&steps)
            .map_err(|e| OpenError::io(store.segments.path(), e))?;
        // Last, so that a directory with an identity always has a log.
        store._directory.finish()?;
        Ok(store)
    }

    fn recover(
        directory: Directory,
        log: &LogIdentity,
        mode: OpenMode,
        segment_bytes: u32,
    ) -> Result<Store, OpenError> {
        let segments = Segments::open(directory.log_path(), segment_bytes)?;
        let mut recovery = Recovery::new(*log);
        let mut bytes = Vec::new();
        let numbers = segments.numbers()?;
        if let Some(newest) = numbers.last()
            && let Some(segment) = segments.missing_newest(*newest)
        {
            // It may have held anything, and nothing after it says what.
            return Err(OpenError::Log {
                path: segments.segment_path(segment),
                error: RecoverError::Lost {
                    fault: Fault::Missing,
                    segment,
                    offset: 0,
                },
            });
        }
        for number in numbers {
            segments.read_whole(number, &mut bytes)?;
            let path = || segments.segment_path(number);
            recovery
                .segment(number, &bytes)
                .map_err(|error| OpenError::Log {
                    path: path(),
                    error,
                })?;
        }
        drop(bytes);
        let recovered = recovery
            .finish(segment_bytes)
            .map_err(|error| OpenError::Log {
                path: directory.log_path(),
                error,
            })?;
        let snapshots = Snapshots::open(directory.snapshots_path())?;
        let (snapshot, damaged_snapshots) = snapshots.load(log.cluster)?;
        let (index, term) = snapshot.as_ref().map_or_else(Default::default, |found| {
            (found.header.meta.index, found.header.meta.term)
        });
        let mut recovered = recovered.beside_snapshot(index, term);
        let report = OpenReport {
            torn: recovered.torn,
            damage: recovered.damage,
            ..OpenReport::default()
        };
        for (path, error) in &damaged_snapshots {
            tracing::error!(node = %log.node, path = %path.display(), %error, "a snapshot is damaged: an older one or the peers take its place");
        }
        let is_writable = mode != OpenMode::ReadOnly;
        let restart = is_writable.then(|| {
            recovered
                .writer
                .mark_durable(recovered.writer.last_record());
            recovered.restart()
        });
        let mut store = Store {
            segments,
            snapshots,
            writer: recovered.writer.clone(),
            report,
            mode,
            identity: *log,
            opened_with: snapshot,
            failure: None,
            _directory: directory,
        };
        if let Some(damage) = &store.report.damage {
            let path = store.segments.segment_path(damage.segment);
            tracing::error!(node = %log.node, path = %path.display(), offset = damage.offset, "{damage}");
        }
        if let Some(restart) = restart {
            let log_path = store.segments.path().to_owned();
            store
                .repair(&recovered, &restart, &damaged_snapshots)
                .map_err(|error| OpenError::io(&log_path, error))?;
        }
        Ok(store)
    }

    /// Brings the files in order. Can be broken off anywhere: the next opening
    /// finds the same and takes it up again.
    fn repair(
        &mut self,
        found: &Recovered,
        restart: &[Step],
        damaged_snapshots: &[DamagedSnapshot],
    ) -> io::Result<()> {
        self.segments.rewrite(&found.unproven)?;
        if let Some(torn) = &found.torn {
            self.report.torn_kept = Some(self.keep_torn(torn)?);
        }
        let by = self.writer.segment();
        if let Some(damage) = &found.damage
            && damage.bytes > 0
            && !found.damaged_segments.contains(&damage.segment)
        {
            let copy = self.segments.keep_copy(damage.segment, by)?;
            self.report.damaged_kept.push(copy);
        }
        // From here on it is known for good that the node must be repaired.
        self.perform(restart)?;
        // Only now: their records are evidence of what this node acknowledged.
        let mut kept = self.segments.set_aside(&found.damaged_segments, by)?;
        kept.extend(self.snapshots.set_aside(damaged_snapshots, by)?);
        for path in &kept {
            tracing::warn!(node = %self.identity.node, path = %path.display(), "a damaged file, or one of no use behind damage, is kept under this name");
        }
        self.report.damaged_kept.extend(kept);
        self.segments.remove(&found.void_segments)?;
        self.segments.go_on(self.writer.segment())
    }

    fn keep_torn(&self, torn: &Torn) -> io::Result<PathBuf> {
        let bytes = self
            .segments
            .read_at(torn.segment, torn.offset, torn.bytes)?;
        self._directory.keep_torn(torn.segment, torn.offset, &bytes)
    }

    /// What was found at opening.
    #[must_use]
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Which life of the directory this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.identity.incarnation)
    }

    /// The hard state as last made durable.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.writer.hard_state()
    }

    /// Which entries there are, with their terms.
    #[must_use]
    pub fn log(&self) -> &LogMap {
        self.writer.map()
    }

    /// The largest body that an entry may have.
    #[must_use]
    pub fn body_bytes_max(&self) -> u64 {
        self.writer.body_bytes_max()
    }

    /// Makes a batch durable: one write and one sync, unless it begins a new file.
    /// Of a log that it resets the files go.
    /// A batch that contradicts the log is refused with
    /// [`io::ErrorKind::InvalidInput`] and changes nothing; any other error is final.
    pub fn append(&mut self, batch: &WriteBatch<'_>) -> io::Result<()> {
        self.check_writable()?;
        let steps = self
            .writer
            .encode(batch)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.perform(&steps)?;
        match batch.reset {
            Some((index, _)) => self.recycle(index),
            None => Ok(()),
        }
    }

    /// The entries from `from` to before `to`, as many as `bytes_max` allows but
    /// at least one. [`io::ErrorKind::NotFound`] if `from` is not in the log,
    /// [`io::ErrorKind::InvalidData`] if it is damaged.
    pub fn read(
        &mut self,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> io::Result<Vec<LogEntry>> {
        self.check_alive()?;
        let salt = self.identity.salt();
        let mut entries = Vec::new();
        let mut bytes: u64 = 0;
        let mut index = from;
        while index < to {
            let Some(place) = self.writer.map().get(index).copied() else {
                break;
            };
            bytes += u64::from(place.body_bytes);
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            let record =
                self.segments
                    .read_record(place.segment, place.offset, place.body_bytes)?;
            let entry = Header::read(salt, record)
                .ok()
                .filter(|(header, _)| header.index == index && header.term == place.term)
                .and_then(|(header, _)| read_entry(&header, header.body(record)?));
            let Some(entry) = entry else {
                return Err(self.damaged(index, &place));
            };
            entries.push(entry);
            index = index.next();
        }
        if entries.is_empty() && from < to {
            let log = self.writer.map();
            let (base, last) = (log.base_index(), log.last_index());
            let text =
                format!("entry {from} is not in the log, which holds those after {base} to {last}");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(entries)
    }

    /// Gives up the files whose entries are all at or below `up_to`, but never
    /// one that the older of the two kept snapshots needs: the newest may turn
    /// out to be damaged.
    pub fn compact(&mut self, up_to: LogIndex) -> io::Result<()> {
        self.check_writable()?;
        let limit = self
            .snapshots
            .oldest_of_two()
            .unwrap_or_default()
            .min(up_to);
        self.recycle(limit)
    }

    fn recycle(&mut self, up_to: LogIndex) -> io::Result<()> {
        let needed = self.writer.forget_up_to(up_to);
        let result = self.segments.recycle_before(needed);
        self.remember(result)
    }

    /// What writes and reads snapshots in this directory; there is one at a time.
    /// Beside it what an earlier life has received of a leader's snapshot, if that
    /// is still of use. What other earlier lives have left unfinished goes.
    pub fn snapshot_files(&self) -> Result<(SnapshotFiles, Option<Kept>), OpenError> {
        let (cluster, path) = (self.identity.cluster, self.snapshots.path());
        let newest = self.snapshots.newest().unwrap_or_default();
        let useless = newest.max(self.hard_state().commit);
        let (incoming, kept) = SnapshotWriter::of_leader(cluster, path, useless)?;
        let files = SnapshotFiles {
            own: SnapshotWriter::of_own(cluster, path)?,
            incoming,
            saved: SnapshotReader::new(cluster, path),
        };
        Ok((files, kept))
    }

    /// The last entry of the newest snapshot that counts; 0 if there is none.
    #[must_use]
    pub fn newest_snapshot(&self) -> LogIndex {
        self.snapshots.newest().unwrap_or_default()
    }

    /// Makes a snapshot count that was written and verified. Two generations are kept.
    pub fn adopt_snapshot(&mut self, finished: FinishedSnapshot) -> io::Result<()> {
        self.check_writable()?;
        self.opened_with = None;
        let result = self.snapshots.adopt(finished);
        self.remember(result)
    }

    /// The newest snapshot that is whole and that the log reaches back to.
    /// `None` if none was ever saved, or only damaged ones and the log still
    /// holds everything.
    pub fn load_snapshot(&mut self) -> Result<Option<LoadedSnapshot>, OpenError> {
        if let Some(snapshot) = self.opened_with.take() {
            return Ok(Some(snapshot));
        }
        let base = self.writer.map().base_index();
        let (found, damaged) = self.snapshots.load(self.identity.cluster)?;
        let index = found.as_ref().map(|found| found.header.meta.index);
        if index.unwrap_or_default() >= base {
            return Ok(found);
        }
        Err(match damaged.into_iter().next() {
            Some((path, error)) => OpenError::Snapshot { path, error },
            None => OpenError::LogBeginsLate {
                path: self.segments.path().to_owned(),
                base,
                newest: index,
            },
        })
    }

    /// Whose log it is, and which life of its directory.
    #[must_use]
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// Ends in good order: the next opening knows that everything was synced.
    pub fn close(mut self) -> io::Result<()> {
        if self.mode == OpenMode::ReadOnly {
            return Ok(());
        }
        self.check_writable()?;
        let steps = self.writer.encode_mark();
        self.perform(&steps)
    }

    fn damaged(&self, index: LogIndex, place: &Place) -> io::Error {
        let path = self.segments.segment_path(place.segment);
        let text = format!(
            "entry {index} at offset {} of {} was sound and is damaged now; repair it from a peer",
            place.offset,
            path.display()
        );
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    fn perform(&mut self, steps: &[Step]) -> io::Result<()> {
        let result = self.segments.perform(steps);
        self.remember(result)?;
        self.writer.mark_durable(self.writer.last_record());
        Ok(())
    }

    fn check_alive(&self) -> io::Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(failure) => Err(io::Error::other(format!(
                "the store failed before and is of no use: {failure}"
            ))),
        }
    }

    fn check_writable(&self) -> io::Result<()> {
        self.check_alive()?;
        match self.mode {
            OpenMode::Create | OpenMode::Existing => Ok(()),
            OpenMode::ReadOnly => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the store was opened for reading only",
            )),
        }
    }

    fn remember<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.failure = Some(error.to_string());
        }
        result
    }
}

const _: () = assert!(BLOCK_BYTES >= 512, "a block is at least a sector");

#[cfg(test)]
mod tests;
