//! Where an embedded cluster lives on disk, whose it is, and that only one
//! process uses it. Knows names and identities; what is in a voter's log or
//! store is the business of `disk` and `blobstore`.
//!
//! ```text
//! DATA/precentor.json   whose data this is; written last, so its presence means "founded"
//! DATA/lock             held by the process that uses the directory; its content is the pid
//! DATA/life             counts the starts: every start is a new life of its workers
//! DATA/live.json        how the nodes of a running cluster are, for who looks
//! DATA/n1, n2, …        one directory for each voter
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use precentor_core::digest::Digest;
use precentor_core::ids::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The layout that this program reads and writes.
pub const LAYOUT_VERSION: u32 = 1;
const IDENTITY_FILE: &str = "precentor.json";
const LOCK_FILE: &str = "lock";
const LIFE_FILE: &str = "life";
/// How often a taken lock is tried again while waiting for it.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Whose data a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The layout's version.
    pub version: u32,
    /// The cluster, as 32 hexadecimal digits.
    pub cluster: String,
    /// The project's name.
    pub project: String,
    /// The folder that the contexts are of, as far as it is readable text.
    pub source: String,
    /// The digest of that folder's path, which need not be text.
    pub source_digest: String,
    /// How many voters the cluster has.
    pub nodes: u32,
}

impl Identity {
    /// The identity of a cluster that is to be founded now.
    #[must_use]
    pub fn found(cluster: ClusterId, project: &str, source: &Path, nodes: u32) -> Identity {
        Identity {
            version: LAYOUT_VERSION,
            cluster: format!("{:032x}", u128::from_be_bytes(cluster.0)),
            project: project.to_owned(),
            source: source.display().to_string(),
            source_digest: path_digest(source).to_string(),
            nodes,
        }
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// If the text is no id: someone edited it.
    pub fn cluster_id(&self) -> Result<ClusterId, DataDirError> {
        match u128::from_str_radix(&self.cluster, 16) {
            Ok(number) if self.cluster.len() == 32 => Ok(ClusterId(number.to_be_bytes())),
            Ok(_) | Err(_) => Err(DataDirError::Damaged {
                path: PathBuf::from(IDENTITY_FILE),
                reason: format!("{:?} is no cluster id", self.cluster),
            }),
        }
    }

    /// The folder that the contexts are of; none if its path is no text, or was edited.
    #[must_use]
    pub fn source_path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(&self.source);
        (path_digest(&path).to_string() == self.source_digest).then_some(path)
    }

    /// The voters.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        (1..=u64::from(self.nodes)).map(NodeId).collect()
    }
}

/// Why a data directory cannot be used. In no case was anything changed in it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Nothing is there.
    #[error("there is no data at {}; make it with: precentor generate {hint}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What to generate.
        hint: String,
    },
    /// Another process uses it.
    #[error(
        "the data directory {} is in use by process {pid}; wait until it ends, or give this run another one with --data", path.display()
    )]
    Locked {
        /// Which directory.
        path: PathBuf,
        /// The process, as it wrote itself down.
        pid: String,
    },
    /// Of another version.
    #[error(
        "the data directory {} has layout version {found}, and this program knows version {LAYOUT_VERSION}; use the program that wrote it, or another directory with --data", path.display()
    )]
    OtherVersion {
        /// Which directory.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Of another project or folder.
    #[error(
        "the data directory {} belongs to {what} {found}, not to {wanted}; give this one another directory with --data", path.display()
    )]
    OtherOwner {
        /// Which directory.
        path: PathBuf,
        /// What differs: the project or the folder.
        what: &'static str,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// Of a cluster of another size.
    #[error(
        "the data directory {} holds a cluster of {found} voters, not {wanted}; run with --nodes {found}, or give another directory with --data", path.display()
    )]
    OtherSize {
        /// Which directory.
        path: PathBuf,
        /// Its voters.
        found: u32,
        /// The voters asked for.
        wanted: u32,
    },
    /// Something else lives there.
    #[error(
        "{} is not empty and no data directory of precentor ({found} is in it); choose an empty or new one with --data", path.display()
    )]
    NotOurs {
        /// Which directory.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// Its own files cannot be read.
    #[error("{} is damaged: {reason}; restore it from a backup, or start anew in another directory with --data", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {what} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// No default place.
    #[error(
        "there is no home directory to keep data in: set XDG_DATA_HOME or HOME, or name a directory with --data"
    )]
    NoHome,
}

/// A data directory that this process holds until it drops this.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    // Closing the file releases the lock.
    _lock: File,
}

impl DataDir {
    /// Takes the directory for `wanted` (whose cluster id only matters if it is
    /// new), founding it with `found` for each voter if nothing is there.
    ///
    /// # Errors
    /// If it is locked, or another's, or cannot be read or made.
    pub fn open_or_found<E: From<DataDirError>>(
        path: &Path,
        wanted: &Identity,
        mut found: impl FnMut(NodeId, &Path) -> Result<(), E>,
    ) -> Result<DataDir, E> {
        check_ours(path)?;
        fs::create_dir_all(path).map_err(io_error("create", path))?;
        let lock = take_lock(path, Duration::ZERO)?;
        if let Some(identity) = read_identity(path)? {
            check_owner(path, &identity, wanted)?;
            return Ok(DataDir {
                path: path.to_path_buf(),
                identity,
                _lock: lock,
            });
        }
        for voter in wanted.voters() {
            let directory = node_path(path, voter);
            // Left by a founding that was interrupted: nothing was ever promised from it.
            if directory.exists() {
                fs::remove_dir_all(&directory).map_err(io_error("remove", &directory))?;
            }
            found(voter, &directory)?;
        }
        let text = serde_json::to_vec_pretty(wanted).expect("an identity is plain data");
        write_durably(path, IDENTITY_FILE, &text)?;
        Ok(DataDir {
            path: path.to_path_buf(),
            identity: wanted.clone(),
            _lock: lock,
        })
    }

    /// Takes an existing directory, waiting up to `patience` for its lock.
    /// `hint` says what to generate if nothing is there.
    ///
    /// # Errors
    /// If it is not there, locked, or cannot be read.
    pub fn open(path: &Path, hint: &str, patience: Duration) -> Result<DataDir, DataDirError> {
        let missing = || DataDirError::Missing {
            path: path.to_path_buf(),
            hint: hint.to_owned(),
        };
        // Asked before the lock is taken: looking must not leave a file behind.
        read_identity(path)?.ok_or_else(missing)?;
        let lock = take_lock(path, patience)?;
        let identity = read_identity(path)?.ok_or_else(missing)?;
        Ok(DataDir {
            path: path.to_path_buf(),
            identity,
            _lock: lock,
        })
    }

    /// Whose it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a voter's files are.
    #[must_use]
    pub fn node_path(&self, node: NodeId) -> PathBuf {
        node_path(&self.path, node)
    }

    /// Begins a new life: a number greater than that of every start before,
    /// whatever the clock says.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn begin_life(&self) -> Result<u64, DataDirError> {
        let path = self.path.join(LIFE_FILE);
        let before = match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse::<u64>()
                .map_err(|_| DataDirError::Damaged {
                    path: path.clone(),
                    reason: format!("{:?} is no number", text.trim()),
                })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(cause) => {
                return Err(DataDirError::Io {
                    what: "read",
                    path,
                    cause,
                });
            }
        };
        let life = before + 1;
        write_durably(&self.path, LIFE_FILE, format!("{life}\n").as_bytes())?;
        Ok(life)
    }
}

/// Reads whose a directory is, without taking it; none if it is no data directory.
///
/// # Errors
/// If its identity cannot be read, or is of another version.
pub fn read_identity(path: &Path) -> Result<Option<Identity>, DataDirError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let file = path.join(IDENTITY_FILE);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            return Err(DataDirError::Io {
                what: "read",
                path: file,
                cause,
            });
        }
    };
    let damaged = |error: serde_json::Error| DataDirError::Damaged {
        path: file.clone(),
        reason: error.to_string(),
    };
    // The version first: the rest of another version's file may look otherwise.
    let Version { version: found } = serde_json::from_slice(&text).map_err(damaged)?;
    if found != LAYOUT_VERSION {
        return Err(DataDirError::OtherVersion {
            path: path.to_path_buf(),
            found,
        });
    }
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

/// The folder under which all projects' data directories are, by default.
///
/// # Errors
/// If the user has no home.
pub fn default_root() -> Result<PathBuf, DataDirError> {
    let named = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    // The specification tells programs to ignore a relative XDG_DATA_HOME.
    let data = named("XDG_DATA_HOME").filter(|path| path.is_absolute());
    data.or_else(|| named("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("precentor"))
        .ok_or(DataDirError::NoHome)
}

/// The data directory of a project by default: readable, and different for two
/// folders of the same name.
#[must_use]
pub fn default_path(root: &Path, project: &str, source: &Path) -> PathBuf {
    let digest = path_digest(source).to_string();
    let readable: String = project
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(64)
        .collect();
    root.join(format!("{readable}-{}", &digest[..12]))
}

/// All data directories under `root` that are of the project called `project`,
/// with their identities. Directories that cannot be read are left out.
#[must_use]
pub fn find_project(root: &Path, project: &str) -> Vec<(PathBuf, Identity)> {
    all_under(root)
        .into_iter()
        .filter(|(_, identity)| identity.project == project)
        .collect()
}

/// The data directory under `root` whose source is `folder`, or else the
/// nearest folder above it that has one.
#[must_use]
pub fn find_source(root: &Path, folder: &Path) -> Option<(PathBuf, Identity)> {
    let all = all_under(root);
    folder.ancestors().find_map(|source| {
        let digest = path_digest(source).to_string();
        all.iter()
            .find(|(_, identity)| identity.source_digest == digest)
            .cloned()
    })
}

fn all_under(root: &Path) -> Vec<(PathBuf, Identity)> {
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    let mut all: Vec<(PathBuf, Identity)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.path(), read_identity(&entry.path()).ok()??)))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn path_digest(path: &Path) -> Digest {
    Digest::of_parts("precentor source folder", &[path.as_os_str().as_bytes()])
}

fn node_path(path: &Path, node: NodeId) -> PathBuf {
    path.join(node.to_string())
}

/// Refuses a directory in which something else lives.
fn check_ours(path: &Path) -> Result<(), DataDirError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => {
            return Err(DataDirError::Io {
                what: "read",
                path: path.to_path_buf(),
                cause,
            });
        }
    };
    if path.join(IDENTITY_FILE).exists() {
        return Ok(());
    }
    for entry in entries {
        let name = entry.map_err(io_error("read", path))?.file_name();
        let name = name.to_string_lossy();
        let node = name
            .strip_prefix('n')
            .is_some_and(|number| number.parse::<u64>().is_ok());
        if !node && name != LOCK_FILE && !name.ends_with(".new") {
            return Err(DataDirError::NotOurs {
                path: path.to_path_buf(),
                found: name.into(),
            });
        }
    }
    Ok(())
}

fn check_owner(path: &Path, identity: &Identity, wanted: &Identity) -> Result<(), DataDirError> {
    let other = |what, found: &str, wanted: &str| DataDirError::OtherOwner {
        path: path.to_path_buf(),
        what,
        found: found.to_owned(),
        wanted: wanted.to_owned(),
    };
    if identity.project != wanted.project {
        return Err(other("the project", &identity.project, &wanted.project));
    }
    if identity.source_digest != wanted.source_digest {
        return Err(other("the folder", &identity.source, &wanted.source));
    }
    if identity.nodes != wanted.nodes {
        return Err(DataDirError::OtherSize {
            path: path.to_path_buf(),
            found: identity.nodes,
            wanted: wanted.nodes,
        });
    }
    Ok(())
}

fn take_lock(path: &Path, patience: Duration) -> Result<File, DataDirError> {
    let file_path = path.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file_path)
        .map_err(io_error("open", &file_path))?;
    let give_up = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                std::thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.read_to_string(&mut pid);
                let pid = match (read, pid.trim()) {
                    (Ok(_), pid) if !pid.is_empty() => pid.to_owned(),
                    (Ok(_) | Err(_), _) => "(unknown)".to_owned(),
                };
                return Err(DataDirError::Locked {
                    path: path.to_path_buf(),
                    pid,
                });
            }
            Err(TryLockError::Error(cause)) => {
                return Err(DataDirError::Io {
                    what: "lock",
                    path: file_path,
                    cause,
                });
            }
        }
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(io_error("write", &file_path))?;
    Ok(file)
}

/// Replaces a small file so that after a crash the old or the new one is there.
fn write_durably(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), DataDirError> {
    let (path, new) = (directory.join(name), directory.join(format!("{name}.new")));
    let mut file = File::create(&new).map_err(io_error("create", &new))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(io_error("write", &new))?;
    fs::rename(&new, &path).map_err(io_error("rename", &new))?;
    // The name is durable only with the directory.
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(io_error("sync", directory))
}

fn io_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> DataDirError {
    let path = path.to_path_buf();
    move |cause| DataDirError::Io {
        what,
        path: path.clone(),
        cause,
    }
}
