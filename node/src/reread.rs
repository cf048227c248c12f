//! Something that is made of files, and made anew when they have changed: certificates are
//! renewed, and nodes come and go, under a process that runs.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether the files have changed, at most.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

type Make<T, E> = Box<dyn Fn() -> Result<T, E> + Send + Sync>;

/// The latest of what files say.
pub(crate) struct Reread<T, E> {
    paths: Vec<PathBuf>,
    make: Make<T, E>,
    last: Mutex<Last<T>>,
}

struct Last<T> {
    made: Arc<T>,
    /// Of what was looked at last, whether or not something could be made of it.
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
}

impl<T, E> fmt::Debug for Reread<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl<T, E: fmt::Display> Reread<T, E> {
    /// Makes it for the first time.
    pub(crate) fn open(paths: Vec<PathBuf>, make: Make<T, E>) -> Result<Reread<T, E>, E> {
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
    pub(crate) fn current(&self) -> Arc<T> {
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
