//! A server: one member of a cluster as a process of its own, with an HTTP interface.
//! Starts both, waits until it is told to end or must, and ends them in order.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use precentor_core::config::Knobs;
use precentor_core::event::{Event, Order};
use precentor_core::ids::{ClusterId, Incarnation, NodeId};
use precentor_core::status::{RoleName, Status};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::backup::{BackupError, Backups};
use crate::client::{Directory, Door};
use crate::disk::Store;
use crate::gateway::Gateway;
use crate::http;
use crate::member::{Departure, Member, MemberError, Place, VOTER, system};
use crate::net::{AddressBook, Wiring};
use crate::pilot::{Mail, Mailbox};
use crate::space::Space;
use crate::tls::{Credentials, TlsError};

pub mod config;
mod follow;
pub mod founding;
mod restoring;

use self::config::ServerConfig;
use self::follow::Neighbours;
use self::founding::Founding;
pub use self::restoring::{RestoredAs, restore};

/// The directory of a node under the data directory while it is being made.
const FOUNDING: &str = "founding";
/// Voters that a cluster may be founded with.
const FOUNDERS: [usize; 4] = [1, 3, 5, 7];
/// How long a leader that is to end may take to hand over.
const HAND_OVER: Duration = Duration::from_millis(1_500);
/// The same, and the answers that are under way to go out.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its member.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// There is no data.
    #[error(
        "there is no node at {}; if this cluster is founded just now, make it with: precentor init --config FILE. If it was there before, its disk is lost: do not make it anew", path.display()
    )]
    NotFounded {
        /// Where.
        path: PathBuf,
    },
    /// There is data already.
    #[error("there is a node at {} already; it is left as it is", path.display())]
    Founded {
        /// Where.
        path: PathBuf,
    },
    /// An address is taken.
    #[error("cannot listen on {address} for {what}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// For whom.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// Its certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
    /// Its directory does not say of which cluster it is.
    #[error("{} is damaged; it says of which cluster this node is. Restore it, or take the node out of the cluster and let it join with another directory", path.display())]
    Damaged {
        /// The file that should.
        path: PathBuf,
    },
    /// So many nodes found no cluster.
    #[error(
        "[nodes] has {found} nodes; a cluster is founded with 1, 3, 5 or 7, and others join it then: precentor join"
    )]
    Founders {
        /// How many.
        found: usize,
    },
    /// A backup is none that a cluster can begin with.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Something else is where a backup was to be restored.
    #[error(
        "{} is there, and no node: a backup is restored into a directory of its own; name another one in the configuration, or move that away", path.display()
    )]
    NotEmpty {
        /// What.
        path: PathBuf,
    },
    /// The member ended by itself.
    #[error("the node ended: {0}")]
    Ended(String),
}

fn io_error<'p>(what: &'static str, path: &'p Path) -> impl Fn(io::Error) -> ServerError + 'p {
    move |cause| ServerError::Io {
        what,
        path: path.to_owned(),
        cause,
    }
}

impl ServerConfig {
    /// The cluster that all nodes of the configuration found.
    fn founding(&self) -> Result<Founding, ServerError> {
        let founders: Vec<NodeId> = self.addresses.keys().copied().collect();
        match founders.len() {
            found if FOUNDERS.contains(&found) => Ok(Founding::of(&self.cluster, founders)),
            found => Err(ServerError::Founders { found }),
        }
    }

    fn place(&self, founding: &Founding) -> Place {
        Place {
            cluster: founding.cluster,
            name: self.cluster.clone(),
            node: self.node,
            founders: founding.founders.clone(),
        }
    }
}

/// Makes the data directory of a founding voter. Only ever once: a voter that lost its
/// log has forgotten what it promised, and must not begin again as if it never had.
///
/// # Errors
/// If there is one, or it cannot be made; then nothing is changed.
pub fn init(config: &ServerConfig) -> Result<(), ServerError> {
    make(config, &config.founding()?)
}

/// Makes the data directory of a node that joins a cluster, and says which life of its disk
/// that is; of one that was made before, the same.
///
/// # Errors
/// If there is one of another cluster or node, or of a founder, or it cannot be made.
pub fn make_joining(config: &ServerConfig, cluster: ClusterId) -> Result<Incarnation, ServerError> {
    let founders = Vec::new();
    let founding = Founding { cluster, founders };
    match make(config, &founding) {
        Ok(()) => {}
        Err(ServerError::Founded { path }) => {
            if Founding::read(&config.data)? != Some(founding) {
                return Err(ServerError::Founded { path });
            }
        }
        Err(error) => return Err(error),
    }
    let file = Store::identify(&config.data.join(VOTER)).map_err(MemberError::from)?;
    Ok(Incarnation(file.log.incarnation))
}

/// Of a directory that was made by a program which did not write down what for: what the
/// configuration says, which is written down now, if it is that.
fn remembered(config: &ServerConfig) -> Result<Founding, ServerError> {
    let founding = config.founding()?;
    let file = Store::identify(&config.data.join(VOTER)).map_err(MemberError::from)?;
    if file.log.cluster == founding.cluster {
        founding.write(&config.data)?;
    }
    Ok(founding)
}

fn make(config: &ServerConfig, whose: &Founding) -> Result<(), ServerError> {
    let voter = config.data.join(VOTER);
    if voter.exists() {
        return Err(ServerError::Founded {
            path: config.data.clone(),
        });
    }
    let founding = config.data.join(FOUNDING);
    // Left by a founding that was interrupted: nothing was ever promised from it.
    if founding.exists() {
        std::fs::remove_dir_all(&founding).map_err(io_error("remove", &founding))?;
    }
    config.place(whose).found(&founding)?;
    whose.write(&config.data)?;
    std::fs::rename(founding.join(VOTER), &voter).map_err(io_error("make", &voter))?;
    std::fs::remove_dir(&founding).map_err(io_error("remove", &founding))?;
    std::fs::File::open(&config.data)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error("sync", &config.data))
}

/// Runs a server until `stop` is heard, once to end in order and twice to end at once.
/// Says where it listens to `ready`.
///
/// # Errors
/// If it cannot begin, or the member ends by itself.
pub fn run(
    config: &ServerConfig,
    mut stop: mpsc::Receiver<()>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServerError> {
    let node = config.node;
    if !config.data.join(VOTER).exists() {
        return Err(ServerError::NotFounded {
            path: config.data.clone(),
        });
    }
    let founding = match Founding::read(&config.data)? {
        Some(founding) => founding,
        None => remembered(config)?,
    };
    let place = config.place(&founding);
    let space = Space::of(&config.data, config.disk_reserve_bytes)
        .map_err(io_error("look for room at", &config.data))?;
    let credentials = match &config.tls {
        Some(files) => Some(Credentials::open(files.clone(), node)?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("network")
        .enable_all()
        .build()
        .map_err(system("start the network threads"))?;
    let listen = |address, what| {
        TcpListener::bind(address).map_err(|cause| ServerError::Listen {
            address,
            what,
            cause,
        })
    };
    // Both before the log is opened: whoever cannot be reached need not begin.
    let peers = listen(config.listen, "other nodes")?;
    let clients = listen(config.http, "clients")?;
    let address = clients.local_addr().map_err(system("listen"))?;
    let book = AddressBook::default();
    for (node, address) in &config.addresses {
        book.set(*node, address.clone());
    }
    // The member drops its end when it ends.
    let (shown, mut seen) = watch::channel(None);
    let (member, bodies) = Member::start(
        &place,
        &config.data,
        Knobs::default(),
        Wiring {
            runtime: runtime.handle(),
            listener: peers,
            book: &book,
            credentials: credentials.clone(),
        },
        Some(space.clone()),
        move |status| drop(shown.send_replace(Some(status))),
    )?;
    let (directory, mailbox) = (Directory::default(), member.mailbox());
    directory.add(Door::Here(mailbox.clone()));
    let neighbours = Neighbours {
        node,
        book,
        roster: member.roster(),
        directory: directory.clone(),
        space: space.clone(),
    };
    neighbours.know(&config.addresses);
    let gateway =
        Gateway::start(node, directory.clone()).map_err(system("start a node's gateway"))?;
    let backups = Backups::of(place.clone(), &member, &config.data, bodies.clone());
    let api = http::Api::new(http::About {
        place,
        gateway,
        backups,
        seen: seen.clone(),
        bodies,
        refusals: member.refusals(),
        callers: config.callers.clone(),
        credentials,
        space,
    });
    let served = runtime.block_on(async {
        let closing = api.closing();
        let server = http::serve(clients, api).map_err(system("serve clients"))?;
        // They end with the runtime.
        tokio::spawn(follow::room(neighbours.space.clone(), node));
        tokio::spawn(follow::configuration(config.clone(), neighbours));
        tokio::spawn(follow::membership(seen.clone(), node, directory));
        ready(address);
        tokio::select! {
            told = stop.recv() => if told.is_none() {
                // Nobody can tell it to end any more: it goes on until it must.
                while seen.changed().await.is_ok() {}
                return Ok(());
            },
            // The member has ended by itself: there is nothing to wait for.
            () = async { while seen.changed().await.is_ok() {} } => return Ok(()),
        }
        tracing::info!(%node, "ends: hands over and sends what is under way");
        let farewell = async {
            hand_over(&mailbox, &mut seen).await;
            closing.close();
            // What it served is of no interest any more.
            let _ = server.await;
        };
        tokio::select! {
            () = farewell => {}
            () = tokio::time::sleep(FAREWELL) => tracing::warn!(%node, "some clients are cut off"),
            _ = stop.recv() => {}
        }
        Ok::<(), MemberError>(())
    });
    member.stop();
    runtime.shutdown_timeout(Duration::from_secs(1));
    let departure = member.join();
    served?;
    match departure {
        Departure::Stopped => Ok(()),
        Departure::Failed(reason) => Err(ServerError::Ended(reason)),
    }
}

/// Lets another node lead, if this one does and another can.
async fn hand_over(member: &Mailbox, seen: &mut watch::Receiver<Option<Status>>) {
    let leads = |status: &Option<Status>| {
        let status = status.as_ref();
        status.is_some_and(|status| {
            let voters = status.membership.nodes();
            let voters = voters.filter(|node| status.membership.is_voter(*node));
            status.role == RoleName::Leader && voters.count() > 1
        })
    };
    if !leads(&seen.borrow()) {
        return;
    }
    member.post(Mail::Event(Event::Order(Order::HandOver { to: None })));
    // A member that ended leads no more either.
    let handed_over = seen.wait_for(|status| !leads(status));
    if timeout(HAND_OVER, handed_over).await.is_err() {
        tracing::warn!(node = %member.node(), "nobody took over in time; the others will elect");
    }
}
