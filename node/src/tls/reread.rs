//! Something that is made of files, and made anew when they have changed: certificates are
//! renewed under a process that runs.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::files::TlsError;

/// How often it is looked whether the files have changed, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

type Make<T> = Box<dyn Fn() -> Result<T, TlsError> + Send + Sync>;

/// The latest of what files say.
pub(super) struct Reread<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    last: Mutex<Last<T>>,
}

struct Last<T> {
    made: Arc<T>,
    /// Of what was looked at last, whether or not something could be made of it.
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
}

impl<T: fmt::Debug> fmt::Debug for Reread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl<T> Reread<T> {
    /// Makes it for the first time.
    pub(super) fn open(paths: Vec<PathBuf>, make: Make<T>) -> Result<Reread<T>, TlsError> {
        // Stamps first: what changes while it is read is read again.
        let stamps = stamps(&paths);
        let made = Arc::new(make()?);
        let looked = Instant::now();
        let last = Mutex::new(Last {
            made,
            stamps,
            looked,
        });
        Ok(Reread { paths, make, last })
    }

    /// What the files say now. If nothing can be made of that, it is what they said before:
    /// a certificate and its key may be replaced one after the other.
    pub(super) fn current(&self) -> Arc<T> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.looked.elapsed() >= LOOK_EVERY {
            last.looked = Instant::now();
            let stamps = stamps(&self.paths);
            if stamps != last.stamps {
                last.stamps = stamps;
                match (self.make)() {
                    Ok(made) => {
                        tracing::info!(files = ?self.paths, "read again: they have changed");
                        last.made = Arc::new(made);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "what was read before goes on");
                    }
                }
            }
        }
        last.made.clone()
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some(Stamp {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    };
    paths.iter().map(stamp).collect()
}
