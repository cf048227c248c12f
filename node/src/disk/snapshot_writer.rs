//! Writes snapshots piece by piece: this node's own, and what it receives of a
//! leader's. Each is verified by reading it back before it is finished, and has
//! a name that does not count until the store adopts it. A restart begins its
//! own ones anew and goes on with a leader's where the good chunks end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use precentor_core::driver::Kept;
use precentor_core::ids::{ClusterId, LogIndex};
use precentor_core::snapshot::SnapshotPart;
use precentor_core::wire::snapshot::{
    SnapshotBeginning, SnapshotEncoder, SnapshotHeader, decode_beginning, decode_snapshot,
};

use super::OpenError;
use super::directory::sync_directory;

/// Bytes after which a file under way is synced: what is dirty when the log is
/// synced next may have to reach the disk along with it, and what is not synced
/// may have to be fetched again.
const SYNC_EVERY_BYTES: u64 = 8 * 1024 * 1024;

/// Whose snapshot is written. Files of both may be there at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// This node's own.
    Own,
    /// A leader's.
    Leader,
}

impl Origin {
    fn prefix(self) -> &'static str {
        match self {
            Origin::Own => "unfinished",
            Origin::Leader => "incoming",
        }
    }

    /// Every snapshot has a file of its own: one that is finished and not yet
    /// adopted must not be overwritten by the next.
    fn file(self, directory: &Path, index: LogIndex) -> PathBuf {
        directory.join(format!("{}-{:020}", self.prefix(), index.0))
    }

    fn files(self, directory: &Path) -> Result<Vec<PathBuf>, OpenError> {
        let failed = |error| OpenError::io(directory, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(self.prefix()) {
                files.push(entry.path());
            }
        }
        // The numbers in the names have equal lengths: the newest comes last.
        files.sort();
        Ok(files)
    }
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

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes one snapshot after the other, each from its parts.
#[derive(Debug)]
pub struct SnapshotWriter {
    origin: Origin,
    cluster: ClusterId,
    directory: PathBuf,
    file: Option<Unfinished>,
}

/// A file under way.
#[derive(Debug)]
struct Unfinished {
    header: SnapshotHeader,
    path: PathBuf,
    file: File,
    encoder: SnapshotEncoder,
    /// Bytes of the state that are in it.
    bytes: u64,
    unsynced_bytes: u64,
}

impl SnapshotWriter {
    /// Writes this node's own snapshots. What an earlier life left of one goes.
    pub(super) fn of_own(cluster: ClusterId, path: &Path) -> Result<SnapshotWriter, OpenError> {
        for file in Origin::Own.files(path)? {
            fs::remove_file(&file).map_err(|error| OpenError::io(&file, error))?;
        }
        Ok(SnapshotWriter::new(Origin::Own, cluster, path))
    }

    /// Writes a leader's snapshots, and goes on with the one that an earlier life
    /// has begun. What ends at or before `useless` goes.
    pub(super) fn of_leader(
        cluster: ClusterId,
        path: &Path,
        useless: LogIndex,
    ) -> Result<(SnapshotWriter, Option<Kept>), OpenError> {
        let mut writer = SnapshotWriter::new(Origin::Leader, cluster, path);
        let mut kept = None;
        for file in Origin::Leader.files(path)?.into_iter().rev() {
            let failed = |error| OpenError::io(&file, error);
            let bytes = fs::read(&file).map_err(failed)?;
            let refusal = match decode_beginning(&bytes) {
                Err(error) => error.to_string(),
                Ok(found) if found.header.cluster != cluster => "it is another cluster's".into(),
                Ok(found) if found.header.meta.index <= useless || kept.is_some() => {
                    "this node needs it no more".into()
                }
                Ok(found) => {
                    kept = Some(writer.go_on(&file, found).map_err(failed)?);
                    continue;
                }
            };
            let path = file.display();
            tracing::warn!(%path, reason = refusal, "what was received of a snapshot is dropped");
            fs::remove_file(&file).map_err(failed)?;
        }
        Ok((writer, kept))
    }

    fn new(origin: Origin, cluster: ClusterId, directory: &Path) -> SnapshotWriter {
        SnapshotWriter {
            origin,
            cluster,
            directory: directory.to_owned(),
            file: None,
        }
    }

    /// Cuts off what is not good, and stands behind the rest.
    fn go_on(&mut self, path: &Path, found: SnapshotBeginning) -> io::Result<Kept> {
        let SnapshotBeginning {
            header,
            state,
            file_bytes,
            encoder,
        } = found;
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.set_len(file_bytes)?;
        file.seek(SeekFrom::End(0))?;
        let meta = header.meta.clone();
        self.file = Some(Unfinished {
            header,
            path: path.to_owned(),
            file,
            encoder,
            bytes: state.len() as u64,
            // It was read, but may never have reached the disk.
            unsynced_bytes: file_bytes,
        });
        Ok(Kept { meta, image: state })
    }

    /// Writes the next part. A part at offset 0 begins anew.
    ///
    /// # Errors
    /// If it cannot be written, or does not follow the one before.
    pub fn write(&mut self, part: &SnapshotPart) -> io::Result<()> {
        let mut out = Vec::with_capacity(part.bytes.len() + 256);
        if part.offset == 0 {
            self.begin(part, &mut out)?;
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

    fn begin(&mut self, part: &SnapshotPart, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(void) = self.file.take() {
            fs::remove_file(void.path)?;
        }
        let header = SnapshotHeader {
            cluster: self.cluster,
            meta: part.meta.clone(),
        };
        let path = self.origin.file(&self.directory, part.meta.index);
        let file = File::create(&path)?;
        // A restart must find a leader's by its name; an own one begins anew.
        if self.origin == Origin::Leader {
            sync_directory(&self.directory)?;
        }
        self.file = Some(Unfinished {
            encoder: SnapshotEncoder::begin(&header, out),
            path,
            file,
            header,
            bytes: 0,
            unsynced_bytes: 0,
        });
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
            path,
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
        verify(&path, &header)?;
        Ok(FinishedSnapshot { header, path })
    }

    /// Ends the snapshot under way, which must be the one that ends with `index`.
    ///
    /// # Errors
    /// As [`SnapshotWriter::finish`], and if it is another one.
    pub fn finish_as(&mut self, index: LogIndex) -> io::Result<FinishedSnapshot> {
        match &self.file {
            Some(file) if file.header.meta.index != index => {
                let found = file.header.meta.index;
                Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!(
                        "the snapshot of {index} is to be finished, that of {found} is under way"
                    ),
                ))
            }
            Some(_) | None => self.finish(),
        }
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
