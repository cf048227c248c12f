//! Which snapshots count: two generations. One counts from when it is adopted,
//! and a snapshot that does not verify never makes anything else go. Knows not
//! how one is written: that is another thread's work, so that the log's does not
//! wait for its bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use precentor_core::ids::{ClusterId, LogIndex};
use precentor_core::wire::snapshot::{SnapshotError, SnapshotHeader, decode_snapshot};

use super::OpenError;
use super::directory::{set_aside, sync_directory};
use super::snapshot_writer::FinishedSnapshot;

const SNAPSHOT: &str = "snapshot-";
/// How many are kept: the newest may turn out to be damaged.
const GENERATIONS: usize = 2;

#[derive(Debug)]
pub(super) struct Snapshots {
    path: PathBuf,
    /// The last entries of those that are here, ascending.
    indexes: Vec<LogIndex>,
}

/// A snapshot that is whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedSnapshot {
    /// What it stands for.
    pub header: SnapshotHeader,
    /// The state.
    pub state: Vec<u8>,
}

/// A snapshot file that cannot be used, and why.
pub type DamagedSnapshot = (PathBuf, SnapshotError);

impl Snapshots {
    pub(super) fn open(path: PathBuf) -> Result<Snapshots, OpenError> {
        let mut indexes = Vec::new();
        for entry in fs::read_dir(&path).map_err(|error| OpenError::io(&path, error))? {
            let name = entry
                .map_err(|error| OpenError::io(&path, error))?
                .file_name();
            let index = name.to_str().and_then(|name| name.strip_prefix(SNAPSHOT));
            indexes.extend(index.and_then(|index| index.parse().ok()).map(LogIndex));
        }
        indexes.sort_unstable();
        Ok(Snapshots { path, indexes })
    }

    pub(super) fn newest(&self) -> Option<LogIndex> {
        self.indexes.last().copied()
    }

    /// The older one, if there are two.
    pub(super) fn oldest_of_two(&self) -> Option<LogIndex> {
        (self.indexes.len() >= GENERATIONS).then(|| self.indexes[0])
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, index: LogIndex) -> PathBuf {
        snapshot_path(&self.path, index)
    }

    /// From here on it counts.
    pub(super) fn adopt(&mut self, finished: FinishedSnapshot) -> io::Result<()> {
        let index = finished.index();
        fs::rename(finished.path(), self.file(index))?;
        sync_directory(&self.path)?;
        if let Err(position) = self.indexes.binary_search(&index) {
            self.indexes.insert(position, index);
        }
        while self.indexes.len() > GENERATIONS {
            let oldest = self.indexes.remove(0);
            fs::remove_file(self.file(oldest))?;
        }
        Ok(())
    }

    /// The newest that is whole, and those newer ones that are not.
    pub(super) fn load(
        &self,
        cluster: ClusterId,
    ) -> Result<(Option<LoadedSnapshot>, Vec<DamagedSnapshot>), OpenError> {
        let mut damaged = Vec::new();
        for index in self.indexes.iter().rev() {
            let path = self.file(*index);
            let bytes = fs::read(&path).map_err(|error| OpenError::io(&path, error))?;
            match decode_snapshot(&bytes) {
                Ok((header, _)) if header.cluster != cluster => {
                    let found = header.cluster;
                    return Err(OpenError::SnapshotOfOther { path, found });
                }
                Ok((header, state)) if header.meta.index == *index => {
                    return Ok((Some(LoadedSnapshot { header, state }), damaged));
                }
                Ok(_) => damaged.push((path, SnapshotError::Header)),
                Err(error @ SnapshotError::OtherVersion { .. }) => {
                    return Err(OpenError::Snapshot { path, error });
                }
                Err(error) => damaged.push((path, error)),
            }
        }
        Ok((None, damaged))
    }

    /// Takes damaged ones out of the two that are kept, and keeps their files.
    pub(super) fn set_aside(
        &mut self,
        damaged: &[DamagedSnapshot],
        by: u64,
    ) -> io::Result<Vec<PathBuf>> {
        let mut kept = Vec::new();
        for (path, _) in damaged {
            kept.push(set_aside(path, by)?);
            self.indexes
                .retain(|index| snapshot_path(&self.path, *index) != *path);
        }
        if !damaged.is_empty() {
            sync_directory(&self.path)?;
        }
        Ok(kept)
    }
}

/// The file of the snapshot that ends with `index`.
pub(super) fn snapshot_path(directory: &Path, index: LogIndex) -> PathBuf {
    directory.join(format!("{SNAPSHOT}{:020}", index.0))
}
