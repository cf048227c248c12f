//! One member of a cluster: a driver with its threads, files and sockets, put together
//! and taken apart. Whether the others run in this process or elsewhere is the same to it.

use std::io;
use std::path::Path;
use std::thread::JoinHandle;

use precentor_core::config::{Config, Knobs};
use precentor_core::driver::{Driver, RecoverError};
use precentor_core::event::Now;
use precentor_core::ids::{ClusterId, LogIndex, NodeId};
use precentor_core::status::Status;
use tokio::sync::watch;

use crate::blobstore::{BlobError, BlobStore};
use crate::disk::{self, OpenError, OpenMode, Store};
use crate::fetcher::Fetcher;
use crate::host::NodeHost;
use crate::net::{Me, Net, Refusals, Roster, Wiring};
use crate::pilot::{Ended, Mail, Mailbox, Pilot, Switch};
use crate::scribe::{self, LogScribe};
use crate::seed;
use crate::shelf::{AuditFile, Shelf, ShelfReader};
use crate::space::Space;

/// The voter's own directory, in a node's.
pub(crate) const VOTER: &str = "voter";
/// The bodies' store, likewise.
pub(crate) const BODIES: &str = "bodies";
/// The audit chain as text, likewise.
pub(crate) const AUDIT: &str = "audit.jsonl";

/// Why a member cannot run.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// Its log or snapshot.
    #[error(transparent)]
    Disk(#[from] OpenError),
    /// Its bodies.
    #[error(transparent)]
    Bodies(#[from] BlobError),
    /// Its state.
    #[error(transparent)]
    State(#[from] RecoverError),
    /// Threads or sockets.
    #[error("cannot {what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> MemberError {
    move |cause| MemberError::System { what, cause }
}

/// Which member of which cluster.
#[derive(Debug, Clone)]
pub struct Place {
    /// The cluster.
    pub cluster: ClusterId,
    /// What people call it.
    pub name: String,
    /// Which member.
    pub node: NodeId,
    /// Who founded it: the voters until its log says otherwise. None at a node that joins.
    pub founders: Vec<NodeId>,
}

impl Place {
    pub(crate) fn identity(&self) -> disk::Identity {
        disk::Identity {
            cluster: self.cluster,
            node: self.node,
            name: self.name.clone(),
        }
    }

    /// Makes the directory of a founding voter. Its log must exist before the cluster
    /// does: a voter that finds none has lost what it promised.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn found(&self, path: &Path) -> Result<(), MemberError> {
        std::fs::create_dir_all(path).map_err(system("create a node's directory"))?;
        let store = Store::open(&path.join(VOTER), &self.identity(), OpenMode::Create)?;
        store.close().map_err(system("close a new log"))
    }
}

/// A member that runs.
#[derive(Debug)]
pub struct Member {
    switch: Switch,
    mailbox: Mailbox,
    pilot: JoinHandle<Ended>,
    refusals: Refusals,
    roster: Roster,
    saved: watch::Receiver<LogIndex>,
    helpers: Vec<JoinHandle<()>>,
    /// It started with a damaged log, which must be repaired up to there before it
    /// votes or leads.
    pub repairing: Option<LogIndex>,
}

impl Member {
    /// Starts a member from what is on its disk.
    /// Its bodies can be read by what is returned with it: to be dropped before
    /// [`Member::join`].
    ///
    /// # Errors
    /// If that cannot be read, or is damaged, or the system gives no thread.
    pub fn start(
        place: &Place,
        path: &Path,
        knobs: Knobs,
        wiring: Wiring<'_>,
        space: Option<Space>,
        mut watcher: impl FnMut(Status) + Send + 'static,
    ) -> Result<(Member, ShelfReader), MemberError> {
        let node = place.node;
        let voter = path.join(VOTER);
        let mut store = Store::open(&voter, &place.identity(), OpenMode::Existing)?;
        if let Some(torn) = &store.report().torn {
            tracing::info!(%node, ?torn, "a write that was never confirmed was cut off");
        }
        let mut recovered = scribe::recovered(&mut store, &voter)?;
        let (files, kept) = store.snapshot_files()?;
        recovered.kept = kept;
        let bodies = BlobStore::open(&path.join(BODIES))?;
        let requests = bodies.local_requests();
        recovered.local = requests
            .all()
            .map_err(system("read what is kept for clients"))?;
        let repairing = recovered.hard_state.repairing;
        let mut config = Config::new(place.cluster, node, place.founders.clone(), seed::fresh());
        config.knobs = knobs;
        config.incarnation = store.incarnation();
        let incarnation = config.incarnation;
        let driver = Driver::recover(config, recovered, Now::default())?;
        // Not all that went before the last end was dropped.
        let state = driver.view();
        let dropped = bodies.keep_sources(|digest| state.queue().has_source(digest))?;
        if dropped > 0 {
            tracing::info!(%node, dropped, "sources that nobody speaks of any more were dropped");
        }

        let (mailbox, mail) = Mailbox::new(node);
        let switch = Switch::default();
        let (scribe, log_thread) =
            LogScribe::spawn(store, requests, mailbox.clone(), switch.clone())
                .map_err(system("start a log thread"))?;
        let saved = scribe.saved();
        let audit_path = path.join(AUDIT);
        let as_of = *saved.borrow();
        let audit = AuditFile::open(&audit_path, as_of).map_err(system("open the audit file"))?;
        let (shelf, shelf_thread) = Shelf::spawn(
            node,
            bodies,
            audit,
            files.own,
            files.incoming,
            scribe.clone(),
            switch.clone(),
        )
        .map_err(system("start a shelf's thread"))?;
        let reader = shelf.reader();
        let (fetcher, fetch_thread) =
            Fetcher::spawn(files.saved, reader.clone(), mailbox.clone(), switch.clone())
                .map_err(system("start a reading thread"))?;
        let others = place.founders.iter().copied();
        let others = others.filter(|peer| *peer != node).collect();
        let mut me = Me::new(place.cluster, node, others);
        me.incarnation = incarnation;
        let level = me.level.clone();
        level.set(driver.view().queue().level());
        let net = Net::start(wiring, me, &mailbox).map_err(system("take connections"))?;
        let (refusals, roster) = (net.refusals(), net.roster());
        let pilot = Pilot {
            driver,
            host: NodeHost::new(node, net, scribe, shelf, fetcher),
            mail,
            switch: switch.clone(),
            watcher: Box::new(move |status| {
                level.set(status.level);
                watcher(status);
            }),
            space,
        };
        let member = Member {
            switch,
            mailbox,
            pilot: pilot.spawn().map_err(system("start a node's thread"))?,
            refusals,
            roster,
            saved,
            helpers: vec![log_thread, shelf_thread, fetch_thread],
            repairing,
        };
        Ok((member, reader))
    }

    /// The way to it.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Whom it knows, and the ways to them.
    #[must_use]
    pub fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// The last entry of its newest snapshot on disk.
    #[must_use]
    pub fn saved(&self) -> watch::Receiver<LogIndex> {
        self.saved.clone()
    }

    /// What it has turned away at its border since its start.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// Has it ended by itself?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.pilot.is_finished()
    }

    /// Stops as if the process had been killed: sockets close, and nothing more
    /// reaches the disk.
    pub fn kill(&self) {
        self.switch.kill();
        self.mailbox.post(Mail::Switched);
    }

    /// Stops as soon as the others can do without it: a leader hands over first, for as
    /// long as an election may take.
    pub fn retire(&self) {
        self.switch.retire();
        self.mailbox.post(Mail::Switched);
    }

    /// Stops in order; what it has promised is on its disk.
    pub fn stop(&self) {
        self.switch.stop();
        self.mailbox.post(Mail::Switched);
    }

    /// Waits until it has ended, and says why it did.
    #[must_use]
    pub fn join(self) -> Departure {
        let ended = self.pilot.join();
        // A retired member's helpers have nothing left to wait for either.
        self.switch.stop();
        let departure = match ended {
            Ok(Some(violation)) => Departure::Failed(violation.to_string()),
            Ok(None) => Departure::Stopped,
            Err(_) => Departure::Failed(
                "its thread panicked: this is a defect, please report it".to_owned(),
            ),
        };
        for helper in self.helpers {
            if helper.join().is_err() {
                tracing::error!(
                    node = %self.mailbox.node(),
                    "a disk thread panicked: this is a defect, please report it"
                );
            }
        }
        departure
    }
}

/// How a member ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// It was told to.
    Stopped,
    /// By itself, and why.
    Failed(String),
}

impl std::fmt::Display for Departure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Departure::Stopped => f.write_str("it was stopped"),
            Departure::Failed(reason) => f.write_str(reason),
        }
    }
}
