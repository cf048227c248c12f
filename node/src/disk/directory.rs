//! The directory itself: who has it open, whose it is, and what has to be
//! synced so that a name survives. Knows nothing of the log.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use precentor_core::wire::identity::IdentityFile;
use precentor_core::wire::record::LogIdentity;

use super::{Identity, OpenError, OpenMode};

const IDENTITY: &str = "identity";
/// The identity while the directory is being made. Nothing was promised yet.
const IDENTITY_UNFINISHED: &str = "identity.unfinished";
const LOCK: &str = "lock";
const LOG: &str = "log";
pub(super) const SNAPSHOTS: &str = "snapshots";

/// A directory that nobody else has open, or only others who read.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// What is in a directory.
pub(super) enum Found {
    /// Nothing, or the beginnings of one that was never finished.
    Nothing,
    /// A voter's data.
    Identity(IdentityFile),
}

impl Directory {
    pub(super) fn lock(path: &Path, mode: OpenMode) -> Result<Directory, OpenError> {
        let lock_path = path.join(LOCK);
        let failed = |error| OpenError::io(&lock_path, error);
        if mode == OpenMode::Create {
            create_synced(path).map_err(|error| OpenError::io(path, error))?;
        } else if !lock_path.exists() {
            return Err(OpenError::Missing {
                path: path.to_owned(),
            });
        }
        if mode == OpenMode::ReadOnly {
            let lock = File::open(&lock_path).map_err(failed)?;
            let result = lock.try_lock_shared();
            return Directory::locked(path, lock, result);
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(mode == OpenMode::Create)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed)?;
        let result = lock.try_lock();
        if result.is_ok() {
            lock.set_len(0).map_err(failed)?;
            writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        }
        Directory::locked(path, lock, result)
    }

    fn locked(
        path: &Path,
        mut lock: File,
        result: Result<(), TryLockError>,
    ) -> Result<Directory, OpenError> {
        match result {
            Ok(()) => Ok(Directory {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The number is only for people: without it the message is still true.
                let _ = lock.read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                Err(OpenError::Locked {
                    path: path.to_owned(),
                    pid,
                })
            }
            Err(TryLockError::Error(error)) => Err(OpenError::io(&path.join(LOCK), error)),
        }
    }

    pub(super) fn find(&self, identity: &Identity, mode: OpenMode) -> Result<Found, OpenError> {
        let found = match read_identity(&self.path) {
            Ok(found) => found,
            Err(OpenError::Missing { .. }) if mode == OpenMode::Create => {
                return self.find_nothing();
            }
            Err(error) => return Err(error),
        };
        if found.log.cluster != identity.cluster {
            return Err(OpenError::OtherCluster {
                path: self.path.clone(),
                found: found.name,
                expected: identity.name.clone(),
            });
        }
        if found.log.node != identity.node {
            return Err(OpenError::OtherNode {
                path: self.path.clone(),
                found: found.log.node,
                expected: identity.node,
            });
        }
        Ok(Found::Identity(found))
    }

    /// No identity: either a new directory, or one whose making was interrupted.
    fn find_nothing(&self) -> Result<Found, OpenError> {
        let log = self.log_path();
        let failed = |error| OpenError::io(&log, error);
        if !log.exists() {
            return Ok(Found::Nothing);
        }
        if !self.path.join(IDENTITY_UNFINISHED).exists() {
            if fs::read_dir(&log).map_err(failed)?.next().is_none() {
                return Ok(Found::Nothing);
            }
            return Err(OpenError::IdentityMissing {
                path: self.path.join(IDENTITY),
            });
        }
        fs::remove_dir_all(&log).map_err(failed)?;
        Ok(Found::Nothing)
    }

    /// Makes the directories of a new voter, and its identity under a name
    /// that does not count yet.
    pub(super) fn begin(&self, identity: &Identity) -> Result<LogIdentity, OpenError> {
        let unfinished = self.path.join(IDENTITY_UNFINISHED);
        let incarnation = random().map_err(|error| OpenError::io(&self.path, error))?;
        let log = LogIdentity {
            cluster: identity.cluster,
            node: identity.node,
            incarnation,
        };
        let file = IdentityFile {
            log,
            name: identity.name.clone(),
        };
        let make = || {
            write_synced(&unfinished, &file.encode())?;
            fs::create_dir_all(self.log_path())?;
            fs::create_dir_all(self.snapshots_path())?;
            sync_directory(&self.path)
        };
        make().map_err(|error| OpenError::io(&self.path, error))?;
        Ok(log)
    }

    /// From here on the directory is a voter's.
    pub(super) fn finish(&self) -> Result<(), OpenError> {
        let path = self.path.join(IDENTITY);
        fs::rename(self.path.join(IDENTITY_UNFINISHED), &path)
            .and_then(|()| sync_directory(&self.path))
            .map_err(|error| OpenError::io(&path, error))
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    pub(super) fn snapshots_path(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }

    /// Puts the bytes of a torn tail aside, for whoever wants to know.
    pub(super) fn keep_torn(&self, segment: u64, offset: u32, bytes: &[u8]) -> io::Result<PathBuf> {
        let directory = self.path.join("torn");
        create_synced(&directory)?;
        let path = directory.join(format!("segment-{segment:016}-{offset}"));
        write_synced(&path, bytes)?;
        sync_directory(&directory)?;
        Ok(path)
    }
}

pub(super) fn read_identity(directory: &Path) -> Result<IdentityFile, OpenError> {
    let path = directory.join(IDENTITY);
    match fs::read(&path) {
        Ok(bytes) => {
            IdentityFile::decode(&bytes).map_err(|error| OpenError::Identity { path, error })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Missing {
            path: directory.to_owned(),
        }),
        Err(error) => Err(OpenError::io(&path, error)),
    }
}

/// Makes a name in a directory durable: a rename alone is not.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Gives a damaged file another name, under which it is only kept. Not durable
/// before the directory is synced.
pub(super) fn set_aside(path: &Path, by: u64) -> io::Result<PathBuf> {
    let aside = aside_path(path, by);
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Where a damaged file is kept when the repair began with file `by`.
pub(super) fn aside_path(path: &Path, by: u64) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{by}"));
    PathBuf::from(aside)
}

fn create_synced(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A number that nobody can guess.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
