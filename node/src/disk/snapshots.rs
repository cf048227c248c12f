//! Snapshot files: two generations, each verified by reading it back before it
//! counts. A snapshot that does not verify never makes anything else go. One is
//! written piece by piece, by whoever has the [`SnapshotWriter`], and counts from
//! when the store adopts it: the log's thread does not wait for its bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use precentor_core::ids::{ClusterId, LogIndex};
use precentor_core::snapshot::SnapshotPart;
use precentor_core::wire::snapshot::{
    SnapshotEncoder, SnapshotError, SnapshotHeader, decode_snapshot,
};

use super::OpenError;
use super::directory::{set_aside, sync_directory};

const SNAPSHOT: &str = "snapshot-";
const UNFINISHED: &str = "unfinished";
/// How many are kept: the newest may turn out to be damaged.
const GENERATIONS: usize = 2;
/// Bytes after which a file under way is synced: what is dirty when the log is
/// synced next may have to reach the disk along with it.
const SYNC_EVERY_BYTES: u64 = 8 * 1024 * 1024;

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

    /// The older one, if there are two.
    pub(super) fn oldest_of_two(&self) -> Option<LogIndex> {
        (self.indexes.len() >= GENERATIONS).then(|| self.indexes[0])
    }

    fn file(&self, index: LogIndex) -> PathBuf {
        self.path.join(name(index))
    }

    pub(super) fn writer(&self, cluster: ClusterId) -> SnapshotWriter {
        SnapshotWriter {
            cluster,
            path: self.path.join(UNFINISHED),
            file: None,
        }
    }

    /// From here on it counts.
    pub(super) fn adopt(&mut self, finished: FinishedSnapshot) -> io::Result<()> {
        let index = finished.header.meta.index;
        fs::rename(&finished.path, self.file(index))?;
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

/// A snapshot that is on disk and verified, and counts once it is adopted.
#[derive(Debug)]
pub struct FinishedSnapshot {
    header: SnapshotHeader,
    path: PathBuf,
}

impl FinishedSnapshot {
    /// The last entry in it.
    #[must_use]
    pub fn index(&self) -> LogIndex {
        self.header.meta.index
    }
}

/// Writes one snapshot after the other, each from its parts. The next may begin
/// once the one before is adopted, or given up.
#[derive(Debug)]
pub struct SnapshotWriter {
    cluster: ClusterId,
    path: PathBuf,
    file: Option<Unfinished>,
}

/// A file under way.
#[derive(Debug)]
struct Unfinished {
    header: SnapshotHeader,
    file: File,
    encoder: SnapshotEncoder,
    /// Bytes of the state that are in it.
    bytes: u64,
    unsynced_bytes: u64,
}

impl SnapshotWriter {
    /// Writes the next part. A part at offset 0 begins anew.
    ///
    /// # Errors
    /// If it cannot be written, or does not follow the one before.
    pub fn write(&mut self, part: &SnapshotPart) -> io::Result<()> {
        let mut out = Vec::with_capacity(part.bytes.len() + 256);
        if part.offset == 0 {
            let header = SnapshotHeader {
                cluster: self.cluster,
                meta: part.meta.clone(),
            };
            self.file = Some(Unfinished {
                encoder: SnapshotEncoder::begin(&header, &mut out),
                file: File::create(&self.path)?,
                header,
                bytes: 0,
                unsynced_bytes: 0,
            });
        }
        let unfinished = self
            .file
            .as_mut()
            .filter(|file| file.header.meta == part.meta && file.bytes == part.offset);
        let Some(unfinished) = unfinished else {
            let SnapshotPart { meta, offset, .. } = part;
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a part of {meta:?} at {offset} does not follow what is written"),
            ));
        };
        unfinished.encoder.state(&part.bytes, &mut out);
        unfinished.file.write_all(&out)?;
        unfinished.bytes += part.bytes.count();
        unfinished.unsynced_bytes += out.len() as u64;
        if unfinished.unsynced_bytes >= SYNC_EVERY_BYTES {
            unfinished.unsynced_bytes = 0;
            unfinished.file.sync_data()?;
        }
        Ok(())
    }

    /// Ends the snapshot under way: it is durable and was read back.
    ///
    /// # Errors
    /// If it cannot be written or read back, or none is under way.
    pub fn finish(&mut self) -> io::Result<FinishedSnapshot> {
        let Some(unfinished) = self.file.take() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no snapshot is under way",
            ));
        };
        let Unfinished {
            header,
            mut file,
            encoder,
            ..
        } = unfinished;
        let mut out = Vec::new();
        encoder.finish(&mut out);
        file.write_all(&out)?;
        file.sync_all()?;
        forget_cached(&file)?;
        drop(file);
        verify(&self.path, &header)?;
        Ok(FinishedSnapshot {
            header,
            path: self.path.clone(),
        })
    }
}

fn verify(path: &Path, header: &SnapshotHeader) -> io::Result<()> {
    match decode_snapshot(&fs::read(path)?) {
        Ok((found, _)) if found == *header => Ok(()),
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
