//! Peers over TCP: one connection for each pair of nodes, both ways, for what they say
//! to each other, and one from each to each other for what its clients ask (`relay`):
//! their requests never stand before a heartbeat. Of two
//! nodes the one with the greater id dials for messages, so there is never a second one
//! to choose between. Messages may be lost, never delayed behind a full queue; a
//! connection that opens or closes is reported at once. Knows frames and who
//! is at the other end; what the messages mean is for the core.
//!
//! Whatever is not what it should be is turned away here, before the node hears
//! of it, and counted: see [`Refusal`].

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precentor_core::event::Event;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{ClusterId, Incarnation, NodeId};
use precentor_core::message::Message;
use precentor_core::wire::hello::{Agreement, Hello, WireRange};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::pilot::{Mail, Mailbox};
use crate::tls::Credentials;

mod hello;
mod link;
mod refusals;
mod relay;
mod roster;
#[cfg(test)]
mod tests;

use self::roster::Known;
pub use refusals::{Refusal, Refusals};
pub use relay::{Line, Question, Questions};
pub use roster::Roster;

/// Messages that wait for one peer's socket. The core has at most 64 appends
/// of 1 MiB on their way to a peer, with shared bodies; the rest is small.
const OUTGOING_MESSAGES_MAX: usize = 1_024;

/// Who this node is to its peers.
#[derive(Debug, Clone)]
pub struct Me {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Which life of its disk.
    pub incarnation: Incarnation,
    /// The others that it knows from the start.
    pub peers: Vec<NodeId>,
    /// The wire versions that its program speaks.
    pub versions: WireRange,
    /// What its program can do.
    pub supports: FeatureLevel,
    /// What its cluster asks for.
    pub level: LevelInForce,
}

impl Me {
    /// A node of this program.
    #[must_use]
    pub fn new(cluster: ClusterId, node: NodeId, peers: Vec<NodeId>) -> Me {
        Me {
            cluster,
            node,
            incarnation: Incarnation::UNTOLD,
            peers,
            versions: WireRange::OURS,
            supports: FeatureLevel::LATEST,
            level: LevelInForce::default(),
        }
    }

    fn hello(&self, to: NodeId, nonce: u64) -> Hello {
        Hello {
            versions: self.versions,
            cluster: self.cluster,
            from: self.node,
            incarnation: self.incarnation,
            to,
            supports: self.supports,
            requires: self.level.get(),
            nonce,
        }
    }
}

/// The feature level in force, as the node shows it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LevelInForce(Arc<AtomicU16>);

impl Default for LevelInForce {
    fn default() -> LevelInForce {
        LevelInForce(Arc::new(AtomicU16::new(FeatureLevel::FOUNDING.0)))
    }
}

impl LevelInForce {
    /// What it is.
    #[must_use]
    pub fn get(&self) -> FeatureLevel {
        FeatureLevel(self.0.load(Ordering::Acquire))
    }

    /// The node shows that it is this.
    pub fn set(&self, level: FeatureLevel) {
        self.0.store(level.0, Ordering::Release);
    }
}

/// Where the nodes listen: a host or an address, and a port. Names are looked up anew
/// for each connection: a node that comes back may listen elsewhere.
#[derive(Debug, Clone, Default)]
pub struct AddressBook(Arc<Mutex<BTreeMap<NodeId, String>>>);

impl AddressBook {
    /// Where a node listens, as last heard.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<String> {
        locked(&self.0).get(&node).cloned()
    }

    /// Notes where a node listens.
    pub fn set(&self, node: NodeId, address: impl Into<String>) {
        locked(&self.0).insert(node, address.into());
    }
}

/// How a node reaches others and is reached by them.
#[derive(Debug)]
pub struct Wiring<'w> {
    /// What runs its connections.
    pub runtime: &'w Handle,
    /// Where it takes them.
    pub listener: std::net::TcpListener,
    /// Where the others listen.
    pub book: &'w AddressBook,
    /// What it proves with who it is. Without, nothing is encrypted, and everybody is who
    /// they say they are.
    pub credentials: Option<Credentials>,
}

/// The open connections of a node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<Links>>);

#[derive(Debug, Default)]
struct Links {
    open: BTreeMap<NodeId, Link>,
    generation: u64,
}

#[derive(Debug)]
struct Link {
    outgoing: mpsc::Sender<Message>,
    generation: u64,
}

impl Peers {
    /// Sends, or loses it if there is no connection or its queue is full.
    pub fn say(&self, to: NodeId, message: Message) {
        if let Some(link) = locked(&self.0).open.get(&to) {
            let _ = link.outgoing.try_send(message);
        }
    }

    /// Which peers are connected.
    #[must_use]
    pub fn connected(&self) -> Vec<NodeId> {
        locked(&self.0).open.keys().copied().collect()
    }

    /// A connection is open: what is to be sent, and its generation.
    fn opened(&self, agreement: &Agreement, mailbox: &Mailbox) -> (mpsc::Receiver<Message>, u64) {
        let Agreement { peer, supports, .. } = *agreement;
        let (outgoing, queue) = mpsc::channel(OUTGOING_MESSAGES_MAX);
        let mut links = locked(&self.0);
        links.generation += 1;
        let generation = links.generation;
        // The lock is held while the news is posted, so that it is told in order.
        if links
            .open
            .insert(
                peer,
                Link {
                    outgoing,
                    generation,
                },
            )
            .is_some()
        {
            mailbox.post(Mail::Peer(Event::PeerDown { peer }, None));
        }
        mailbox.post(Mail::Peer(Event::PeerUp { peer, supports }, None));
        (queue, generation)
    }

    /// Hands over what came on a connection: false if another one has taken its
    /// place, after which nothing of it may reach the node.
    fn deliver(&self, peer: NodeId, generation: u64, mail: Mail, mailbox: &Mailbox) -> bool {
        let links = locked(&self.0);
        let open = links.open.get(&peer);
        let is_current = open.is_some_and(|link| link.generation == generation);
        if is_current {
            mailbox.post(mail);
        }
        is_current
    }

    fn closed(&self, peer: NodeId, generation: u64, mailbox: &Mailbox) {
        let mut links = locked(&self.0);
        if links
            .open
            .get(&peer)
            .is_some_and(|link| link.generation == generation)
        {
            links.open.remove(&peer);
            mailbox.post(Mail::Peer(Event::PeerDown { peer }, None));
        }
    }
}

/// A node's sockets. Dropped, they close at once, whatever was on its way.
#[derive(Debug)]
pub struct Net {
    peers: Peers,
    refusals: Refusals,
    roster: Roster,
    accepting: JoinHandle<()>,
}

impl Net {
    /// Takes connections and keeps one to each peer, for as long as this lives.
    ///
    /// # Errors
    /// If the system does not let the listener be waited for.
    pub fn start(wiring: Wiring<'_>, me: Me, mailbox: &Mailbox) -> io::Result<Net> {
        let Wiring {
            runtime,
            listener,
            book,
            credentials,
        } = wiring;
        listener.set_nonblocking(true)?;
        let listener = {
            let _in_runtime = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (peers, refusals) = (Peers::default(), Refusals::default());
        let me = Arc::new(me);
        let context = link::LinkContext {
            me: me.clone(),
            peers: peers.clone(),
            mailbox: mailbox.clone(),
            refusals: refusals.clone(),
            book: book.clone(),
            credentials,
            known: Known::default(),
        };
        let roster = Roster::new(runtime.clone(), context.clone());
        for peer in &me.peers {
            roster.add(*peer);
        }
        Ok(Net {
            peers,
            refusals,
            roster,
            accepting: runtime.spawn(link::accept(listener, context)),
        })
    }

    /// What was turned away.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// Whom it knows, and the ways to them for what clients of this node ask.
    #[must_use]
    pub fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// The open connections.
    #[must_use]
    pub fn peers(&self) -> Peers {
        self.peers.clone()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.accepting.abort();
        self.roster.clear();
        // Without senders the writers of accepted connections end.
        locked(&self.peers.0).open.clear();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data is whole between any two statements that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
