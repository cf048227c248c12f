//! Makes the data directory of a founder of a new cluster out of a backup of another one.
//! Beside the others of the directory, and moved into place at the end: a restoration that
//! breaks off leaves nothing that could start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use precentor_core::action::BodyOf;
use precentor_core::command::AuditRecord;
use precentor_core::digest::Digest;
use precentor_core::entry::WriteBatch;
use precentor_core::ids::{ClusterId, LogIndex, NodeId};
use precentor_core::queue::QueueManager;
use precentor_core::restore::{Backup, Restored, restore_state};
use precentor_core::snapshot::SnapshotPart;

use super::config::ServerConfig;
use super::founding::Founding;
use super::{FOUNDING, ServerError, io_error};
use crate::backup::{BackupError, Manifest, Receive, Seen, look};
use crate::blobstore::BlobStore;
use crate::disk::{OpenMode, Store};
use crate::member::{AUDIT, BODIES, MemberError, VOTER, system};

/// Parts in which a snapshot is written, in bytes.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// What a backup was restored as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredAs {
    /// The backup.
    pub seen: Seen,
    /// The new cluster.
    pub cluster: ClusterId,
    /// Its first entry follows this one.
    pub index: LogIndex,
}

/// Makes the data directory of a founding voter out of a backup. The same backup and number
/// of the attempt have to be given to every founder.
///
/// # Errors
/// If the backup is not whole, there is a node already, or the directory cannot be made. Then
/// there is no node.
pub fn restore(
    config: &ServerConfig,
    backup: &Path,
    attempt: u32,
) -> Result<RestoredAs, ServerError> {
    let (data, founding) = (&config.data, config.data.join(FOUNDING));
    if data.join(VOTER).exists() {
        let path = data.clone();
        return Err(ServerError::Founded { path });
    }
    let parts = [data.join(BODIES), data.join(AUDIT)];
    // What an interrupted restoration has moved is of no use; what was there before it is
    // somebody's.
    let interrupted = founding.exists();
    for part in &parts {
        match part.try_exists() {
            Ok(false) => {}
            Ok(true) if interrupted => remove(part)?,
            Ok(true) => return Err(ServerError::NotEmpty { path: part.clone() }),
            Err(error) => return Err(io_error("look at", part)(error)),
        }
    }
    remove(&founding)?;
    fs::create_dir_all(&founding).map_err(io_error("create", &founding))?;
    let mut restoring = Restoring {
        config,
        founders: config.founding()?.founders,
        attempt,
        path: founding.clone(),
        backup,
        begun: None,
    };
    let seen = look(backup, &mut restoring)?;
    let begun = restoring.begun.take().expect("a whole backup has a state");
    let restored = RestoredAs {
        seen,
        cluster: begun.whose.cluster,
        index: begun.record.index,
    };
    begun.finish(data)?;
    // Last, that which makes it a node.
    for part in [BODIES, AUDIT, VOTER] {
        let to = data.join(part);
        fs::rename(founding.join(part), &to).map_err(io_error("make", &to))?;
        sync(data)?;
    }
    fs::remove_dir(&founding).map_err(io_error("remove", &founding))?;
    sync(data)?;
    Ok(restored)
}

fn remove(path: &Path) -> Result<(), ServerError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(io_error("remove", path))
}

fn sync(directory: &Path) -> Result<(), ServerError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(io_error("sync", directory))
}

struct Restoring<'c> {
    config: &'c ServerConfig,
    founders: Vec<NodeId>,
    attempt: u32,
    path: PathBuf,
    backup: &'c Path,
    begun: Option<Begun>,
}

/// The log and the snapshot are made; the rest comes.
struct Begun {
    whose: Founding,
    record: AuditRecord,
    bodies: BlobStore,
    audit: BufWriter<File>,
    audit_path: PathBuf,
}

impl Restoring<'_> {
    fn begun(&mut self) -> &mut Begun {
        self.begun.as_mut().expect("the state comes first")
    }

    /// The log, which begins behind the snapshot.
    fn make_log(&self, whose: &Founding, restored: &Restored) -> Result<(), MemberError> {
        let voter = self.path.join(VOTER);
        let identity = self.config.place(whose).identity();
        let mut store = Store::open(&voter, &identity, OpenMode::Create)?;
        let (mut files, _) = store.snapshot_files()?;
        let Restored {
            snapshot,
            hard_state,
            ..
        } = restored;
        let (meta, image) = (&snapshot.meta, &snapshot.image);
        let mut offset = 0;
        while offset < image.len() {
            let end = image.len().min(offset + PART_BYTES);
            let part = SnapshotPart {
                meta: meta.clone(),
                offset: offset as u64,
                bytes: image[offset..end].to_vec().into(),
                last: end == image.len(),
            };
            files.own.write(&part).map_err(system("write a snapshot"))?;
            offset = end;
        }
        let finished = files.own.finish();
        let adopted = finished.and_then(|finished| store.adopt_snapshot(finished));
        adopted.map_err(system("write a snapshot"))?;
        let batch = WriteBatch {
            hard_state: Some(*hard_state),
            truncate_from: None,
            reset: Some((meta.index, meta.term)),
            entries: &[],
        };
        store.append(&batch).map_err(system("write a log"))?;
        store.close().map_err(system("close a new log"))
    }
}

impl Receive for Restoring<'_> {
    type Error = ServerError;

    fn state(
        &mut self,
        _: &Manifest,
        backup: &Backup<'_>,
        state: QueueManager,
    ) -> Result<(), ServerError> {
        let founders = self.founders.clone();
        let name = &self.config.cluster;
        let whose = Founding::restored(name, founders, backup, self.attempt);
        let founders = whose.founders.iter().copied();
        let restored = restore_state(backup, state, whose.cluster, founders).map_err(|error| {
            let path = self.backup.to_owned();
            BackupError::State { path, error }
        })?;
        self.make_log(&whose, &restored)?;
        let bodies = BlobStore::open(&self.path.join(BODIES)).map_err(MemberError::from)?;
        let audit_path = self.path.join(AUDIT);
        let audit = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&audit_path);
        let audit = audit.map_err(io_error("create", &audit_path))?;
        self.begun = Some(Begun {
            whose,
            record: restored.record,
            bodies,
            audit: BufWriter::new(audit),
            audit_path,
        });
        Ok(())
    }

    fn audit(&mut self, line: &[u8]) -> Result<(), ServerError> {
        let begun = self.begun();
        let written = begun.audit.write_all(line);
        written.map_err(io_error("write", &begun.audit_path))
    }

    fn body(&mut self, of: BodyOf, digest: Digest, body: Vec<u8>) -> Result<(), ServerError> {
        let put = self.begun().bodies.put(of, digest, &body);
        Ok(put.map_err(MemberError::from)?)
    }
}

impl Begun {
    /// Makes all of it durable.
    fn finish(mut self, data: &Path) -> Result<(), ServerError> {
        let record = serde_json::to_writer(&mut self.audit, &self.record).map_err(io::Error::from);
        let written = record.and_then(|()| {
            self.audit.write_all(b"\n")?;
            self.audit.flush()?;
            self.audit.get_ref().sync_all()
        });
        written.map_err(io_error("write", &self.audit_path))?;
        self.bodies.flush().map_err(MemberError::from)?;
        self.whose.write(data)
    }
}
