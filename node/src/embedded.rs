//! A whole cluster in one process: every voter with its own threads, files and
//! sockets, as if it were alone on a machine. Starts, kills and restarts them;
//! what they agree on is their own business.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use precentor_core::bytes::Bytes;
use precentor_core::config::Knobs;
use precentor_core::digest::Digest;
use precentor_core::ids::{LogIndex, NodeId, Term};
use precentor_core::status::{RoleName, Status};

use crate::client::{Directory, Door};
use crate::data_dir::{DataDir, DataDirError, Identity};
use crate::disk::OpenError;
use crate::live::Live;
use crate::member::{Member, MemberError, Place};
use crate::net::{AddressBook, Refusals, Wiring};
use crate::shelf::ShelfReader;

#[cfg(test)]
mod tests;

/// How long a restart waits for files that the killed node's threads still hold.
const RESTART_PATIENCE: Duration = Duration::from_secs(5);
const RESTART_RETRY: Duration = Duration::from_millis(10);

/// Why a cluster, or one node of it, cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// One of the voters.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// Threads or sockets.
    #[error("cannot {what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// Too many nodes are damaged.
    #[error(
        "{} of {voters} voters cannot start, and a majority is needed; nothing was changed. Restore their directories, or start anew in another with --data:{}", broken.len(), list(broken)
    )]
    NoMajority {
        /// Which, and why.
        broken: Vec<(NodeId, String)>,
        /// Of how many.
        voters: usize,
    },
}

fn list(broken: &[(NodeId, String)]) -> String {
    broken
        .iter()
        .map(|(node, reason)| format!("\n  {node}: {reason}"))
        .collect()
}

fn system(what: &'static str) -> impl Fn(io::Error) -> ClusterError {
    move |cause| ClusterError::System { what, cause }
}

/// What the nodes show of themselves, gathered. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    statuses: BTreeMap<NodeId, Status>,
    reigns: BTreeMap<Term, NodeId>,
}

impl Board {
    fn show(&self, status: Status) {
        let mut shown = locked(&self.0);
        if status.role == RoleName::Leader {
            shown.reigns.insert(status.term, status.node);
        }
        shown.statuses.insert(status.node, status);
    }

    fn forget(&self, node: NodeId) {
        locked(&self.0).statuses.remove(&node);
    }

    /// The status of the leader of the latest term, if a node says that it leads.
    #[must_use]
    pub fn leader(&self) -> Option<Status> {
        let shown = locked(&self.0);
        let leaders = shown
            .statuses
            .values()
            .filter(|status| status.role == RoleName::Leader);
        leaders.max_by_key(|status| status.term).cloned()
    }

    /// Who led in which term, since the start.
    #[must_use]
    pub fn reigns(&self) -> Vec<(Term, NodeId)> {
        locked(&self.0)
            .reigns
            .iter()
            .map(|(term, node)| (*term, *node))
            .collect()
    }

    /// What each node that runs has shown last.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        locked(&self.0).statuses.values().cloned().collect()
    }
}

/// The bodies of all nodes that run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Library(Arc<Mutex<BTreeMap<NodeId, ShelfReader>>>);

impl Library {
    /// A body, from whichever node has it.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        let readers: Vec<(NodeId, ShelfReader)> = locked(&self.0)
            .iter()
            .map(|(node, reader)| (*node, reader.clone()))
            .collect();
        readers.into_iter().find_map(|(node, reader)| match reader.get(digest) {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(%node, %error, "a body cannot be read here; another node is asked");
                None
            }
        })
    }
}

/// The cluster. Dropped, it stops in order.
#[derive(Debug)]
pub struct EmbeddedCluster {
    data: DataDir,
    identity: Identity,
    knobs: Knobs,
    runtime: tokio::runtime::Runtime,
    book: AddressBook,
    directory: Directory,
    board: Board,
    library: Library,
    nodes: BTreeMap<NodeId, Member>,
    left_out: Vec<(NodeId, String)>,
    /// Nodes that started with a damaged log, and up to where it must be repaired.
    repairing: Vec<(NodeId, LogIndex)>,
    /// Shows other processes how the nodes are.
    live: Option<Live>,
}

/// Makes a voter's directory. Its log must exist before the cluster does.
///
/// # Errors
/// If it cannot be made.
pub fn found_node(identity: &Identity, node: NodeId, path: &Path) -> Result<(), ClusterError> {
    Ok(place(identity, node)?.found(path)?)
}

pub(crate) fn place(identity: &Identity, node: NodeId) -> Result<Place, DataDirError> {
    Ok(Place {
        cluster: identity.cluster_id()?,
        name: identity.project.clone(),
        node,
        founders: identity.voters(),
    })
}

impl EmbeddedCluster {
    /// Starts all voters; those that cannot start are left out as long as a
    /// majority can.
    ///
    /// # Errors
    /// If there is no majority.
    pub fn start(data: DataDir, knobs: Knobs) -> Result<EmbeddedCluster, ClusterError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("peers")
            .enable_all()
            .build()
            .map_err(system("start the network threads"))?;
        let identity = data.identity().clone();
        let mut cluster = EmbeddedCluster {
            data,
            identity,
            knobs,
            runtime,
            book: AddressBook::default(),
            directory: Directory::default(),
            board: Board::default(),
            library: Library::default(),
            nodes: BTreeMap::new(),
            left_out: Vec::new(),
            repairing: Vec::new(),
            live: None,
        };
        let voters = cluster.identity.voters();
        for node in &voters {
            if let Err(error) = cluster.start_node(*node) {
                cluster.left_out.push((*node, error.to_string()));
            }
        }
        // Those that are to be repaired cannot elect the leader who repairs them.
        let repairing = std::mem::take(&mut cluster.repairing);
        if cluster.nodes.len() - repairing.len() <= voters.len() / 2 {
            let mut broken = std::mem::take(&mut cluster.left_out);
            broken.extend(
                repairing
                    .iter()
                    .map(|(node, must_cover)| (*node, damaged(*must_cover))),
            );
            return Err(ClusterError::NoMajority {
                broken,
                voters: voters.len(),
            });
        }
        let board = cluster.board();
        let live = Live::start(cluster.data.path(), move || board.statuses());
        cluster.live = Some(live.map_err(system("start a thread"))?);
        Ok(cluster)
    }

    /// The voters that could not start, and why.
    #[must_use]
    pub fn left_out(&self) -> &[(NodeId, String)] {
        &self.left_out
    }

    /// The way to the nodes.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// What the nodes show.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// The nodes' bodies.
    #[must_use]
    pub fn library(&self) -> Library {
        self.library.clone()
    }

    /// Which nodes run.
    #[must_use]
    pub fn running(&self) -> Vec<NodeId> {
        let runs = |node: &Member| !node.has_ended();
        self.nodes
            .iter()
            .filter(|(_, node)| runs(node))
            .map(|(id, _)| *id)
            .collect()
    }

    /// All voters, running or not.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        self.identity.voters()
    }

    /// Starts a node from what is on its disk.
    ///
    /// # Errors
    /// If that cannot be read or is damaged.
    pub fn start_node(&mut self, node: NodeId) -> Result<(), ClusterError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(system("listen on the loopback interface"))?;
        let address = listener.local_addr().map_err(system("listen"))?;
        self.book.set(node, address.to_string());
        let board = self.board.clone();
        let (member, reader) = Member::start(
            &place(&self.identity, node)?,
            &self.data.node_path(node),
            self.knobs,
            Wiring {
                runtime: self.runtime.handle(),
                listener,
                book: &self.book,
                // What leaves no process is not encrypted.
                credentials: None,
            },
            None,
            move |status| board.show(status),
        )?;
        if let Some(must_cover) = member.repairing {
            self.repairing.push((node, must_cover));
        }
        locked(&self.library.0).insert(node, reader);
        self.directory.add(Door::Here(member.mailbox()));
        self.nodes.insert(node, member);
        Ok(())
    }

    /// What a node that runs has turned away at its border since its start.
    #[must_use]
    pub fn refusals(&self, node: NodeId) -> Option<Refusals> {
        self.nodes.get(&node).map(Member::refusals)
    }

    /// Stops a node as if its process had been killed: its sockets close, and
    /// nothing more of it reaches the disk.
    pub fn kill(&mut self, node: NodeId) {
        if let Some(stopped) = self.nodes.remove(&node) {
            stopped.kill();
            self.reap(node, stopped);
        }
    }

    /// Stops a node in order, while the others serve on: a leader hands over
    /// first, for as long as an election may take.
    pub fn stop_node(&mut self, node: NodeId) {
        if let Some(stopped) = self.nodes.remove(&node) {
            stopped.retire();
            self.reap(node, stopped);
        }
    }

    /// Starts a killed node again.
    ///
    /// # Errors
    /// If its disk does not allow it.
    pub fn restart(&mut self, node: NodeId) -> Result<(), ClusterError> {
        let give_up = Instant::now() + RESTART_PATIENCE;
        loop {
            match self.start_node(node) {
                Ok(()) => return Ok(()),
                // A reader of the killed node's bodies may still hold its store.
                Err(
                    error @ ClusterError::Member(
                        MemberError::Bodies(_) | MemberError::Disk(OpenError::Locked { .. }),
                    ),
                ) if Instant::now() < give_up => {
                    tracing::debug!(%node, %error, "not yet");
                    thread::sleep(RESTART_RETRY);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks for nodes that ended by themselves, and says why they did.
    pub fn reap_failed(&mut self) -> Vec<(NodeId, String)> {
        let ended: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.has_ended())
            .map(|(id, _)| *id)
            .collect();
        let mut failed = Vec::new();
        for id in ended {
            if let Some(node) = self.nodes.remove(&id) {
                node.kill();
                failed.push((id, self.reap(id, node)));
            }
        }
        failed
    }

    /// Stops all nodes; what they have promised is on their disks.
    pub fn stop(mut self) {
        self.stop_nodes();
    }

    fn stop_nodes(&mut self) {
        self.live = None;
        for node in self.nodes.values() {
            node.stop();
        }
        while let Some((id, node)) = self.nodes.pop_first() {
            self.reap(id, node);
        }
    }

    fn reap(&self, id: NodeId, node: Member) -> String {
        self.directory.remove(id);
        locked(&self.library.0).remove(&id);
        let departure = node.join();
        // Only now: until its end the pilot may show another status.
        self.board.forget(id);
        departure.to_string()
    }
}

impl Drop for EmbeddedCluster {
    fn drop(&mut self) {
        self.stop_nodes();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data is whole between any two statements that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a node with a damaged log is of no help by itself.
pub(crate) fn damaged(must_cover: LogIndex) -> String {
    format!("its log is damaged, and lacks entries up to {must_cover} at the most")
}
