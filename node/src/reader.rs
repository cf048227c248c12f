//! Reads a data directory that nobody runs. Takes the most complete log of a
//! majority of the voters, which holds everything that was ever committed, and
//! lets the core elect it in memory: what a cluster would know a moment after
//! its start, without a disk being written or a socket opened.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use precentor_core::action::Action;
use precentor_core::address::Address;
use precentor_core::bytes::Bytes;
use precentor_core::config::Config;
use precentor_core::context::ContextRecord;
use precentor_core::digest::Digest;
use precentor_core::driver::{Driver, Host, Recovered};
use precentor_core::entry::{ChainHash, EntryKind};
use precentor_core::event::{Event, Now};
use precentor_core::ids::{LogIndex, NodeId, Term};
use precentor_core::job::ContextView;
use precentor_core::membership::{Membership, MembershipEntry, Why};
use precentor_core::principal::Principal;
use precentor_core::queue::QueueManager;
use precentor_core::status::{PhaseName, Status};
use precentor_core::wire;

use crate::blobstore::BlobStore;
use crate::data_dir::{DataDir, DataDirError, Identity};
use crate::disk::{OpenMode, Store};
use crate::embedded::damaged;
use crate::embedded::place;
use crate::scribe;
use crate::worker::record;

/// Turns that an election of one takes at most; more would be a defect.
const TURNS_MAX: u32 = 10_000;
/// How long another reader may hold the directory.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a data directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not there, locked, another's.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Too few voters can be read to know what was committed.
    #[error(
        "only {readable} of {voters} voters of {data} can be read, and a majority is needed:{reasons}"
    )]
    NoMajority {
        /// How many can be read.
        readable: usize,
        /// Of how many.
        voters: usize,
        /// Which directory.
        data: String,
        /// Why not, one a line.
        reasons: String,
    },
    /// The log does not make a state.
    #[error("the log of {node} cannot be read: {reason}")]
    State {
        /// Whose.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// The state speaks of a body that is nowhere.
    #[error(
        "the context of {address} was published, but its body {digest} is at no voter: {reason}; generate again"
    )]
    Body {
        /// Whose context.
        address: Address,
        /// Which body.
        digest: Digest,
        /// What was found instead.
        reason: String,
    },
}

/// A data directory, read.
#[derive(Debug)]
pub struct Reader {
    driver: Driver,
    bodies: Bodies,
    data: DataDir,
    warnings: Vec<String>,
}

/// Keeps what the core publishes while it applies; writes nothing.
#[derive(Debug, Default)]
struct Bodies {
    fresh: HashMap<Digest, Bytes>,
    stores: Vec<BlobStore>,
    durable: Option<Event>,
}

impl Host for Bodies {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Write(write) => self.durable = Some(Event::Durable { write: write.id }),
            Action::PutBlob { digest, body, .. } => {
                self.fresh.insert(digest, body);
            }
            // Nobody hears or asks, nothing is kept, and a driver that halts says so itself.
            Action::Say { .. }
            | Action::Answer { .. }
            | Action::ReadLog { .. }
            | Action::SaveSnapshot(_)
            | Action::KeepPiece(_)
            | Action::InstallSnapshot { .. }
            | Action::ReadSnapshot { .. }
            | Action::ReadBodies { .. }
            | Action::FindLacking { .. }
            | Action::DropSource { .. }
            | Action::CompactLog { .. }
            | Action::Work(_)
            | Action::KeepRequest { .. }
            | Action::DropRequest { .. }
            | Action::Audit(_)
            | Action::Halt(_) => {}
        }
    }
}

impl Reader {
    /// Reads a directory. `hint` says what to generate if there is none.
    ///
    /// # Errors
    /// If it is not there, is in use, or too much of it is damaged.
    pub fn open(path: &Path, hint: &str) -> Result<Reader, ReadError> {
        let data = DataDir::open(path, hint, PATIENCE)?;
        let identity = data.identity().clone();
        let voters = identity.voters();
        let mut best: Option<(Term, LogIndex, NodeId, Recovered)> = None;
        let (mut readable, mut warnings) = (0, Vec::new());
        for node in &voters {
            match read_voter(&data, &identity, *node) {
                Ok((term, index, recovered)) => {
                    readable += 1;
                    if best
                        .as_ref()
                        .is_none_or(|(t, i, ..)| (term, index) > (*t, *i))
                    {
                        best = Some((term, index, *node, recovered));
                    }
                }
                Err(reason) => warnings.push(format!("{node}: {reason}")),
            }
        }
        let Some((_, _, node, recovered)) = best.filter(|_| readable > voters.len() / 2) else {
            return Err(ReadError::NoMajority {
                readable,
                voters: voters.len(),
                data: path.display().to_string(),
                reasons: warnings
                    .iter()
                    .map(|reason| format!("\n  {reason}"))
                    .collect(),
            });
        };
        let mut bodies = Bodies::default();
        for voter in &voters {
            match BlobStore::open(&data.node_path(*voter).join("bodies")) {
                Ok(store) => bodies.stores.push(store),
                Err(error) => warnings.push(format!("{voter}: {error}")),
            }
        }
        let driver = elect(&identity, node, recovered, &mut bodies)?;
        Ok(Reader {
            driver,
            bodies,
            data,
            warnings,
        })
    }

    /// Whose it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.data.identity()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// What could not be read and was not needed.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The state.
    #[must_use]
    pub fn queue(&self) -> &QueueManager {
        self.driver.view().queue()
    }

    /// How the cluster is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.driver.view().status()
    }

    /// The record of a published context.
    ///
    /// # Errors
    /// If its body is missing or damaged everywhere.
    pub fn record(&self, view: &ContextView) -> Result<ContextRecord, ReadError> {
        let mut reason = "no voter has it".to_owned();
        let fresh = self.bodies.fresh.get(&view.result).cloned();
        let stored = self
            .bodies
            .stores
            .iter()
            .filter_map(|store| match store.get(view.result) {
                Ok(body) => body.map(Bytes::from),
                Err(error) => {
                    tracing::warn!(%error, "a body cannot be read here; another voter is asked");
                    None
                }
            });
        for body in fresh.into_iter().chain(stored) {
            match record::decode(&body) {
                Ok(record) => return Ok(record),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(ReadError::Body {
            address: view.address.clone(),
            digest: view.result,
            reason,
        })
    }
}

fn read_voter(
    data: &DataDir,
    identity: &Identity,
    node: NodeId,
) -> Result<(Term, LogIndex, Recovered), String> {
    let path = data.node_path(node).join("voter");
    let whose = place(identity, node)
        .map_err(|error| error.to_string())?
        .identity();
    let mut store =
        Store::open(&path, &whose, OpenMode::ReadOnly).map_err(|error| error.to_string())?;
    let (term, index) = (store.log().last_term(), store.log().last_index());
    let recovered = scribe::recovered(&mut store, &path).map_err(|error| error.to_string())?;
    if let Some(must_cover) = recovered.hard_state.repairing {
        return Err(damaged(must_cover));
    }
    Ok((term, index, recovered))
}

/// The same log of a cluster that never had another member: else the members
/// that the log names would have to elect it.
fn alone(node: NodeId, mut recovered: Recovered) -> Recovered {
    let founding = Membership::founding([node]);
    let mut chain = ChainHash::default();
    if let Some(snapshot) = &mut recovered.snapshot {
        let meta = &mut snapshot.meta;
        chain = meta.chain;
        meta.membership = Arc::new(founding.clone());
        let entries = &mut recovered.entries;
        entries.retain(|entry| entry.index > meta.index);
        // What does not follow the snapshot was written before it was installed.
        if entries.first().is_some_and(|entry| entry.chain != chain) {
            entries.clear();
        }
    }
    for entry in &mut recovered.entries {
        entry.chain = chain;
        if entry.kind == EntryKind::Membership {
            entry.body = wire::membership::encode(&MembershipEntry {
                membership: founding.clone(),
                principal: Principal::cluster(),
                wall_ms: 0,
                why: Why::LivesLearned,
            });
        }
        chain = entry.chain_after();
    }
    recovered
}

/// Lets a cluster of one take the lead and apply its whole log. Its own writes
/// count as durable at once: they are gone when this process ends.
fn elect(
    identity: &Identity,
    node: NodeId,
    recovered: Recovered,
    bodies: &mut Bodies,
) -> Result<Driver, ReadError> {
    let failed = |reason: String| ReadError::State { node, reason };
    let recovered = alone(node, recovered);
    let config = Config::new(identity.cluster_id()?, node, vec![node], 0);
    let mut now = Now::default();
    let mut driver =
        Driver::recover(config, recovered, now).map_err(|error| failed(error.to_string()))?;
    let mut events = vec![Event::Wake];
    for _ in 0..TURNS_MAX {
        driver.turn(now, events.drain(..), bodies);
        if let Some(violation) = driver.halted() {
            return Err(failed(violation.to_string()));
        }
        let view = driver.view();
        let leads = matches!(view.phase(), PhaseName::Serving | PhaseName::Reclaiming);
        if leads && view.applied() == view.commit() {
            return Ok(driver);
        }
        match bodies.durable.take() {
            Some(durable) => events.push(durable),
            None => {
                // Nothing is under way: only time moves it on.
                now.time = driver
                    .deadline()
                    .map_or(now.time, |deadline| deadline.max(now.time));
                events.push(Event::Wake);
            }
        }
    }
    Err(failed(format!(
        "it did not come to rest in {TURNS_MAX} turns; this is a defect, please report it"
    )))
}
