//! Snapshot files: two generations, each verified by reading it back before it
//! counts. A snapshot that does not verify never makes anything else go.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use precentor_core::ids::{ClusterId, LogIndex};
use precentor_core::wire::snapshot::{
    SnapshotEncoder, SnapshotError, SnapshotMeta, decode_snapshot,
};

use super::OpenError;
use super::directory::{set_aside, sync_directory};

const SNAPSHOT: &str = "snapshot-";
const UNFINISHED: &str = "unfinished";
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
    pub meta: SnapshotMeta,
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

    /// The older one, if there are two.
    pub(super) fn oldest_of_two(&self) -> Option<LogIndex> {
        (self.indexes.len() >= GENERATIONS).then(|| self.indexes[0])
    }

    fn file(&self, index: LogIndex) -> PathBuf {
        self.path.join(name(index))
    }

    pub(super) fn save(&mut self, meta: &SnapshotMeta, state: &[u8]) -> io::Result<()> {
        let unfinished = self.path.join(UNFINISHED);
        let mut bytes = Vec::with_capacity(state.len() + 4_096);
        let mut encoder = SnapshotEncoder::begin(meta, &mut bytes);
        encoder.state(state, &mut bytes);
        encoder.finish(&mut bytes);
        let mut file = File::create(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        forget_cached(&file)?;
        drop(file);
        drop(bytes);
        verify(&unfinished, meta)?;
        fs::rename(&unfinished, self.file(meta.index))?;
        sync_directory(&self.path)?;
        if let Err(position) = self.indexes.binary_search(&meta.index) {
            self.indexes.insert(position, meta.index);
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
                Ok((meta, _)) if meta.cluster != cluster => {
                    let found = meta.cluster;
                    return Err(OpenError::SnapshotOfOther { path, found });
                }
                Ok((meta, state)) if meta.index == *index => {
                    return Ok((Some(LoadedSnapshot { meta, state }), damaged));
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
                .retain(|index| self.path.join(name(*index)) != *path);
        }
        if !damaged.is_empty() {
            sync_directory(&self.path)?;
        }
        Ok(kept)
    }
}

fn name(index: LogIndex) -> String {
    format!("{SNAPSHOT}{:020}", index.0)
}

fn verify(path: &Path, meta: &SnapshotMeta) -> io::Result<()> {
    match decode_snapshot(&fs::read(path)?) {
        Ok((found, _)) if found == *meta => Ok(()),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "another snapshot was read back",
        )),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// Makes the next read come from the disk, so that it proves something.
#[cfg(target_os = "linux")]
fn forget_cached(file: &File) -> io::Result<()> {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

/// Elsewhere the read may come from memory; it still proves the encoding.
#[cfg(not(target_os = "linux"))]
fn forget_cached(_file: &File) -> io::Result<()> {
    Ok(())
}
