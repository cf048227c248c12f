//! Bodies by their digest: source texts and records, kept beside the log so
//! that the log and the replicated state stay small. Knows nothing of who
//! refers to them. What is put here survives the end of the process at once,
//! and a power cut after [`BlobStore::flush`].

use std::fmt;
use std::path::{Path, PathBuf};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable, Snapshot,
};
use precentor_core::action::BodyOf;
use precentor_core::digest::Digest;

use crate::local_requests::LocalRequests;

/// Memory for blocks that were read: bodies are read once or twice.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;
/// Memory for what is not in a table yet. Several stores share a process.
const MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;
/// Journal files; the smallest that fjall takes.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest body, in bytes.
pub const BLOB_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a body cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The store below failed; for a put or a flush, what is on disk is unknown.
    #[error("body store {}: {error}", path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// Its word.
        error: fjall::Error,
    },
    /// The bytes are not what the digest says. Nothing was kept.
    #[error("a body of {bytes} bytes was to be kept as {expected} but has digest {found}")]
    OtherDigest {
        /// Length of the body.
        bytes: u64,
        /// What it was said to be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The body is too large. Nothing was kept.
    #[error("a body of {bytes} bytes was to be kept; the limit is {BLOB_BYTES_MAX}")]
    TooLarge {
        /// Length of the body.
        bytes: u64,
    },
    /// What was kept is not what is there now.
    #[error("body {digest} is damaged on disk; fetch it from a peer and put it again")]
    Damaged {
        /// Which.
        digest: Digest,
    },
}

/// Bodies by digest. Clones are handles to the same store; it is closed when
/// the last one goes. Only one process can have it open.
#[derive(Clone)]
pub struct BlobStore {
    path: PathBuf,
    database: Database,
    results: Keyspace,
    sources: Keyspace,
    requests: Keyspace,
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobStore({})", self.path.display())
    }
}

impl BlobStore {
    /// Opens a store, or makes it.
    pub fn open(path: &Path) -> Result<BlobStore, BlobError> {
        let failed = |error| BlobError::Store {
            path: path.to_owned(),
            error,
        };
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .worker_threads(1)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .max_cached_files(Some(32))
            .open()
            .map_err(failed)?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .with_kv_separation(Some(KvSeparationOptions::default()))
        };
        let results = database.keyspace("bodies", options).map_err(failed)?;
        let sources = database.keyspace("sources", options).map_err(failed)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let requests = database.keyspace("requests", options).map_err(failed)?;
        Ok(BlobStore {
            path: path.to_owned(),
            database,
            results,
            sources,
            requests,
        })
    }

    /// The clients' requests that are kept in the same store.
    #[must_use]
    pub fn local_requests(&self) -> LocalRequests {
        LocalRequests::new(self.database.clone(), self.requests.clone())
    }

    fn keyspace(&self, of: BodyOf) -> &Keyspace {
        match of {
            BodyOf::Result => &self.results,
            BodyOf::Source => &self.sources,
        }
    }

    /// Keeps a body. To put the same again changes nothing.
    pub fn put(&self, of: BodyOf, digest: Digest, body: &[u8]) -> Result<(), BlobError> {
        let bytes = body.len() as u64;
        if bytes > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge { bytes });
        }
        let found = Digest::of(body);
        if found != digest {
            return Err(BlobError::OtherDigest {
                bytes,
                expected: digest,
                found,
            });
        }
        // A damaged one is replaced: that is how it is repaired.
        if matches!(self.get_as(of, digest), Ok(Some(_))) {
            return Ok(());
        }
        self.keyspace(of)
            .insert(digest.0, body)
            .map_err(|error| self.failed(error))
    }

    /// A body, if it is here as such. It is checked against its digest.
    pub fn get_as(&self, of: BodyOf, digest: Digest) -> Result<Option<Vec<u8>>, BlobError> {
        let body = self.keyspace(of).get(digest.0);
        let Some(body) = body.map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        if Digest::of(&body) != digest {
            return Err(BlobError::Damaged { digest });
        }
        Ok(Some(body.to_vec()))
    }

    /// A body, whatever it is here as. It is checked against its digest.
    pub fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>, BlobError> {
        match self.get_as(BodyOf::Result, digest) {
            Ok(None) => self.get_as(BodyOf::Source, digest),
            found => found,
        }
    }

    /// Lets a source go, if it is here.
    pub fn drop_source(&self, digest: Digest) -> Result<(), BlobError> {
        let dropped = self.sources.remove(digest.0);
        dropped.map_err(|error| self.failed(error))
    }

    /// Lets all sources go but those that somebody speaks of. Says how many went.
    pub fn keep_sources(&self, is_spoken_of: impl Fn(&Digest) -> bool) -> Result<u64, BlobError> {
        let mut count = 0;
        for row in self.sources.iter() {
            let key = row.key().map_err(|error| self.failed(error))?;
            let digest = <[u8; 32]>::try_from(&*key).map(Digest);
            if digest.is_ok_and(|digest| is_spoken_of(&digest)) {
                continue;
            }
            let dropped = self.sources.remove(key);
            dropped.map_err(|error| self.failed(error))?;
            count += 1;
        }
        Ok(count)
    }

    /// What is here now, however long it is looked at.
    #[must_use]
    pub fn view(&self) -> BlobView {
        BlobView {
            store: self.clone(),
            snapshot: self.database.snapshot(),
        }
    }

    /// Makes everything that was put before durable.
    pub fn flush(&self) -> Result<(), BlobError> {
        self.database
            .persist(PersistMode::SyncAll)
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: fjall::Error) -> BlobError {
        BlobError::Store {
            path: self.path.clone(),
            error,
        }
    }
}

/// All bodies as of one moment.
pub struct BlobView {
    store: BlobStore,
    snapshot: Snapshot,
}

impl fmt::Debug for BlobView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobView({})", self.store.path.display())
    }
}

impl BlobView {
    /// Every body of a sort, by its digest. One that is damaged comes as such, and others
    /// after it.
    pub fn all(&self, of: BodyOf) -> impl Iterator<Item = Result<(Digest, Vec<u8>), BlobError>> {
        self.snapshot.iter(self.store.keyspace(of)).map(|row| {
            let failed = |error| self.store.failed(error);
            let (key, body) = row.into_inner().map_err(failed)?;
            let digest = Digest::of(&body);
            match <[u8; 32]>::try_from(&*key).map(Digest) {
                Ok(key) if key != digest => Err(BlobError::Damaged { digest: key }),
                Ok(_) => Ok((digest, body.to_vec())),
                Err(_) => Err(BlobError::Damaged { digest }),
            }
        })
    }
}

#[cfg(test)]
mod tests;
