//! Room on a node's disk. A part of it is held back: when there is less, a node that leads accepts
//! nothing new, and goes on with what was accepted, whose results and ends need room as well. When
//! there is room again it accepts again. Without that the first write that fails would end the
//! node, which loses nothing, and serves nobody.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use precentor_core::command::Command;
use precentor_core::request::Request;
use rustix::fs::statvfs;

/// Room on a disk, as it was looked at last. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Space(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Somewhere on it.
    path: PathBuf,
    free_bytes: AtomicU64,
    held_back_bytes: AtomicU64,
}

impl Space {
    /// The disk of a folder, of which so much is held back.
    ///
    /// # Errors
    /// If the system does not say how much room there is.
    pub fn of(path: &Path, held_back_bytes: u64) -> io::Result<Space> {
        let space = Space(Arc::new(Inner {
            path: path.to_owned(),
            free_bytes: AtomicU64::new(0),
            held_back_bytes: AtomicU64::new(held_back_bytes),
        }));
        space.look()?;
        Ok(space)
    }

    /// Looks how much room there is.
    ///
    /// # Errors
    /// If the system does not say; then it is supposed to be as it was.
    pub fn look(&self) -> io::Result<()> {
        let found = statvfs(&self.0.path)?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        self.0.free_bytes.store(free, Ordering::Relaxed);
        Ok(())
    }

    /// So much is held back from now on.
    pub fn hold_back(&self, bytes: u64) {
        self.0.held_back_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How much room there is, in bytes.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.0.free_bytes.load(Ordering::Relaxed)
    }

    /// Is there less than is held back?
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.free_bytes() < self.0.held_back_bytes.load(Ordering::Relaxed)
    }
}

/// Does it ask for something new, rather than for the end of something?
#[must_use]
pub fn asks_for_more(request: &Request) -> bool {
    match request {
        Request::Propose { command, .. } => matches!(
            command,
            Command::Submit { .. }
                | Command::Ask { .. }
                | Command::Annotate { .. }
                | Command::Resolve { .. }
        ),
        Request::QueueLocally { .. } => true,
        Request::Poll(_)
        | Request::FinishedAfter { .. }
        | Request::Read { .. }
        | Request::Status
        | Request::ChangeMembership(_)
        | Request::HandOver { .. }
        | Request::RecoverUnsafely { .. }
        | Request::Await { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_disk_is_low_when_there_is_less_than_is_held_back() {
        let home = tempdir().unwrap();
        let space = Space::of(home.path(), 0).unwrap();
        assert!(space.free_bytes() > 0);
        assert!(!space.is_low());
        space.hold_back(u64::MAX);
        assert!(space.is_low());
        space.hold_back(1);
        assert!(!space.is_low());
        assert!(Space::of(Path::new("/nowhere/at/all"), 0).is_err());
    }
}
