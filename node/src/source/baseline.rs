//! The yardstick of the benchmark: the same walk, digests and grammars in one
//! plain process, and nothing else. What `generate` costs above this is what
//! records and coordination cost.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use ignore::WalkBuilder;

use super::digest::{FileClass, TEXT_BYTES_MAX, examine};
use crate::worker::outline::parse_bare;

/// What was done, and in what time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Baseline {
    /// Files read and digested.
    pub files: u64,
    /// Files parsed by a grammar.
    pub parsed: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files that could not be read.
    pub failed: u64,
    /// From start to end.
    pub elapsed: Duration,
}

/// Walks, reads, digests and parses the tree at `root` with `threads` threads.
#[must_use]
pub fn measure(root: &Path, threads: usize) -> Baseline {
    let start = Instant::now();
    let (sender, receiver) = bounded::<std::path::PathBuf>(4_096);
    let mut total = thread::scope(|scope| {
        let work = || {
            let mut done = Baseline::default();
            let mut kept = Vec::new();
            for path in receiver.clone() {
                let Ok(examined) = examine(&path, TEXT_BYTES_MAX, &mut kept) else {
                    done.failed += 1;
                    continue;
                };
                done.files += 1;
                done.bytes += examined.bytes;
                let name = path.file_name().unwrap_or_default().as_bytes();
                done.parsed +=
                    u64::from(examined.class == FileClass::Text && parse_bare(name, &kept));
            }
            done
        };
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let walk = WalkBuilder::new(root)
            .hidden(false)
            .ignore(false)
            .require_git(false)
            .sort_by_file_name(Ord::cmp)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        for entry in walk.flatten() {
            if entry.file_type().is_some_and(|kind| !kind.is_dir())
                && sender.send(entry.into_path()).is_err()
            {
                break;
            }
        }
        drop(sender);
        let mut total = Baseline::default();
        for worker in workers {
            let done = worker.join().unwrap_or_default();
            total.files += done.files;
            total.parsed += done.parsed;
            total.bytes += done.bytes;
            total.failed += done.failed;
        }
        total
    });
    total.elapsed = start.elapsed();
    total
}
