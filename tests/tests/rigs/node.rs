//! The node's host as it is: its threads, its files, its sockets.

use std::net::{Ipv4Addr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use precentor_core::action::{Action, Write};
use precentor_core::driver::{Host, Recovered};
use precentor_core::entries::Entries;
use precentor_core::entry::{ChainHash, EntryKind, LogEntry};
use precentor_core::event::Event;
use precentor_core::ids::{ClusterId, LogIndex, NodeId, Term, WriteId};
use precentor_core::message::Message;
use precentor_node::blobstore::BlobStore;
use precentor_node::disk::{Identity, OpenMode, Store};
use precentor_node::fetcher::Fetcher;
use precentor_node::host::NodeHost;
use precentor_node::net::{AddressBook, Me, Net, Wiring};
use precentor_node::pilot::{Mail, Mailbox, Switch};
use precentor_node::scribe::{LogScribe, recovered};
use precentor_node::shelf::{AuditFile, Shelf};
use precentor_tests::contract::{Heard, Rig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const CLUSTER: ClusterId = ClusterId([3; 16]);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One life of the node.
#[derive(Debug)]
struct Life {
    host: NodeHost,
    mail: Receiver<Mail>,
    switch: Switch,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct NodeRig {
    life: Option<Life>,
    other: Option<(Net, Receiver<Mail>)>,
    book: AddressBook,
    runtime: Runtime,
    folder: TempDir,
}

impl NodeRig {
    pub(crate) fn new() -> NodeRig {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut rig = NodeRig {
            life: None,
            other: None,
            book: AddressBook::default(),
            runtime,
            folder: TempDir::new().expect("a folder for the test"),
        };
        rig.start();
        rig
    }

    /// With n2 at the other end of an open connection.
    pub(crate) fn connected() -> NodeRig {
        let mut rig = NodeRig::new();
        let (mailbox, mail) = Mailbox::new(NodeId(2));
        let net = rig.net(NodeId(2), &mailbox);
        rig.other = Some((net, mail));
        match rig.report() {
            Event::PeerUp {
                peer: NodeId(2), ..
            } => rig,
            other => panic!("n2 should connect, and the host reports {other:?}"),
        }
    }

    fn net(&self, node: NodeId, mailbox: &Mailbox) -> Net {
        let peers = [NodeId(1), NodeId(2)];
        let peers = peers.into_iter().filter(|peer| *peer != node);
        let me = Me::new(CLUSTER, node, peers.collect());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it has one");
        self.book.set(me.node, address.to_string());
        let wiring = Wiring {
            runtime: self.runtime.handle(),
            listener,
            book: &self.book,
            credentials: None,
        };
        Net::start(wiring, me, mailbox).expect("a listener")
    }

    fn start(&mut self) -> Recovered {
        let node = NodeId(1);
        let voter = self.folder.path().join("voter");
        let identity = Identity {
            cluster: CLUSTER,
            node,
            name: "contract".into(),
        };
        let mut store =
            Store::open(&voter, &identity, OpenMode::Create).expect("the directory opens");
        let mut found = recovered(&mut store, &voter).expect("the log is whole");
        let (files, kept) = store.snapshot_files().expect("the snapshots are whole");
        found.kept = kept;
        let bodies = BlobStore::open(&self.folder.path().join("bodies")).expect("bodies");
        let requests = bodies.local_requests();
        found.local = requests.all().expect("the requests are whole");
        let (mailbox, mail) = Mailbox::new(node);
        let switch = Switch::default();
        let (scribe, log) =
            LogScribe::spawn(store, requests, mailbox.clone(), switch.clone()).expect("a thread");
        let audit = self.folder.path().join("audit.jsonl");
        let as_of = scribe.saved().borrow().to_owned();
        let audit = AuditFile::open(&audit, as_of).expect("an audit file");
        let (shelf, keeper) = Shelf::spawn(
            node,
            bodies,
            audit,
            files.own,
            files.incoming,
            scribe.clone(),
            switch.clone(),
        )
        .expect("a thread");
        let (fetcher, reads) =
            Fetcher::spawn(files.saved, shelf.reader(), mailbox.clone(), switch.clone())
                .expect("a thread");
        let net = self.net(node, &mailbox);
        self.life = Some(Life {
            host: NodeHost::new(node, net, scribe, shelf, fetcher),
            mail,
            switch,
            threads: vec![log, keeper, reads],
        });
        found
    }

    fn life(&mut self) -> &mut Life {
        self.life.as_mut().expect("it runs")
    }

    /// Ends a life without a flush.
    fn kill(&mut self) {
        let Some(life) = self.life.take() else { return };
        life.switch.kill();
        drop(life.host);
        for thread in life.threads {
            thread.join().expect("a helper of the node panicked");
        }
    }
}

impl Drop for NodeRig {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Rig for NodeRig {
    fn perform(&mut self, action: Action) {
        let host = &mut self.life().host;
        host.perform(action);
        host.end_turn();
    }

    fn report(&mut self) -> Event {
        match self.life().mail.recv_timeout(PATIENCE) {
            Ok(Mail::Event(event) | Mail::Peer(event, _)) => event,
            other => panic!("the host owes a report, and there is {other:?}"),
        }
    }

    fn is_quiet(&mut self) -> bool {
        // The log's thread ends with a failed write: then nothing more comes.
        let life = self.life();
        let log = life.threads.remove(0);
        log.join().expect("the log's thread panicked");
        life.mail.is_empty()
    }

    fn crash(&mut self) -> Recovered {
        self.kill();
        self.start()
    }

    fn failing_write(&mut self, id: WriteId, after: LogIndex) -> Write {
        // A gap in the log: the store refuses it.
        Write {
            id,
            hard_state: None,
            truncate_from: None,
            reset: None,
            entries: Entries::from(LogEntry {
                index: LogIndex(after.0 + 7),
                term: Term(1),
                chain: ChainHash(0),
                kind: EntryKind::Command,
                body: Vec::new().into(),
            }),
        }
    }
}

impl Heard for NodeRig {
    fn hear(&mut self) -> Option<Message> {
        let (_, mail) = self.other.as_ref().expect("n2 is there");
        loop {
            match mail.recv_timeout(PATIENCE) {
                Ok(Mail::Peer(Event::Peer { message, .. }, _)) => return Some(message),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}
