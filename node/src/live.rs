//! How the nodes of a running cluster are, for who looks from another process: a
//! file in the data directory that is replaced twice a second, and goes when the
//! cluster ends. Nobody relies on it: whoever finds none, or an old one, knows less.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use precentor_core::status::{RoleName, Status};

#[cfg(test)]
mod tests;

const FILE: &str = "live.json";
const EVERY: Duration = Duration::from_millis(500);

/// Keeps the file as long as it lives.
#[derive(Debug)]
pub struct Live {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Shows in a data directory what `look` sees.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        directory: &Path,
        look: impl Fn() -> Vec<Status> + Send + 'static,
    ) -> io::Result<Live> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, path) = (stop.clone(), directory.join(FILE));
        let shown = path.clone();
        let thread = thread::Builder::new().name("live".into()).spawn(move || {
            while !ended.load(Ordering::Acquire) {
                if let Err(error) = show(&shown, &look()) {
                    tracing::debug!(%error, "how the nodes are cannot be shown");
                }
                thread::park_timeout(EVERY);
            }
        })?;
        Ok(Live {
            path,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("showing how the nodes are panicked: this is a defect");
            }
        }
        // It may not have come so far.
        let _ = fs::remove_file(&self.path);
    }
}

fn show(path: &Path, statuses: &[Status]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(statuses)?)?;
    fs::rename(&new, path)
}

/// What the nodes of a running cluster showed last; none if nothing is shown.
#[must_use]
pub fn read(directory: &Path) -> Option<Vec<Status>> {
    let bytes = fs::read(directory.join(FILE)).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(statuses) => Some(statuses),
        Err(error) => {
            tracing::debug!(%error, "what the nodes show cannot be read");
            None
        }
    }
}

/// The same for people.
#[must_use]
pub fn text(statuses: &[Status]) -> String {
    let mut lines = Vec::new();
    for status in statuses {
        let role = match status.role {
            RoleName::Leader => "leads",
            RoleName::Follower => "follows",
            RoleName::PreCandidate | RoleName::Candidate => "stands for election",
        };
        let (node, term, applied) = (status.node, status.term, status.applied);
        lines.push(format!("  {node} {role} in {term}, has applied {applied}"));
        lines.push(format!("    {}", status.own));
        let peers = status.peers.iter();
        lines.extend(peers.map(|peer| format!("    sees {peer}")));
        // Others know of them only what the log says.
        if status.role == RoleName::Leader {
            let workers = status.workers.iter();
            lines.extend(workers.map(|worker| format!("    sees worker {worker}")));
            lines.push(format!("    {}", status.recovery));
        }
    }
    lines.join("\n")
}
