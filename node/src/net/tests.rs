use std::time::Duration;

use crossbeam_channel::Receiver;
use precentor_core::ids::{Incarnation, Term};
use precentor_core::message::Body;
use tokio::runtime::{Builder, Runtime};

use super::*;

mod bad_input;
mod certificates;
mod mixed;
mod relay;

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

struct End {
    net: Net,
    mail: Receiver<Mail>,
}

fn start(runtime: &Runtime, book: &AddressBook, cluster: u8, node: u64) -> End {
    let peers = [1, 2]
        .map(NodeId)
        .into_iter()
        .filter(|peer| peer.0 != node)
        .collect();
    let me = Me::new(ClusterId([cluster; 16]), NodeId(node), peers);
    begin(runtime, book, me)
}

/// A node with the other of n1 and n2 for its only peer.
fn me(node: u64) -> Me {
    Me::new(ClusterId([1; 16]), NodeId(node), vec![NodeId(3 - node)])
}

fn begin(runtime: &Runtime, book: &AddressBook, me: Me) -> End {
    begin_with(runtime, book, me, None)
}

fn begin_with(
    runtime: &Runtime,
    book: &AddressBook,
    me: Me,
    credentials: Option<Credentials>,
) -> End {
    let (mailbox, mail) = Mailbox::new(me.node);
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    book.set(me.node, listener.local_addr().unwrap().to_string());
    let wiring = Wiring {
        runtime: runtime.handle(),
        listener,
        book,
        credentials,
    };
    let net = Net::start(wiring, me, &mailbox).unwrap();
    End { net, mail }
}

impl End {
    fn next(&self) -> Event {
        match self.mail.recv_timeout(Duration::from_secs(10)).unwrap() {
            Mail::Peer(event, _) => event,
            other => panic!("{other:?}"),
        }
    }
}

fn up(peer: u64) -> Event {
    Event::PeerUp {
        peer: NodeId(peer),
        supports: FeatureLevel::LATEST,
    }
}

fn message(term: u64) -> Message {
    Message {
        term: Term(term),
        incarnation: Incarnation(1),
        body: Body::TimeoutNow,
    }
}

#[test]
fn peers_meet_talk_both_ways_and_notice_an_end_at_once() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = start(&runtime, &book, 1, 1);
    let two = start(&runtime, &book, 1, 2);
    assert_eq!(one.next(), up(2));
    assert_eq!(two.next(), up(1));
    one.net.peers().say(NodeId(2), message(3));
    assert_eq!(
        two.next(),
        Event::Peer {
            from: NodeId(1),
            message: message(3)
        }
    );
    two.net.peers().say(NodeId(1), message(4));
    assert_eq!(
        one.next(),
        Event::Peer {
            from: NodeId(2),
            message: message(4)
        }
    );
    drop(two.net);
    assert_eq!(one.next(), Event::PeerDown { peer: NodeId(2) });
    one.net.peers().say(NodeId(2), message(5));
    assert!(
        one.net.peers().connected().is_empty(),
        "what is said to nobody is lost"
    );
}

#[test]
fn a_node_that_comes_back_elsewhere_is_found_again() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = start(&runtime, &book, 1, 1);
    let two = start(&runtime, &book, 1, 2);
    assert_eq!(two.next(), up(1));
    drop(one);
    assert_eq!(two.next(), Event::PeerDown { peer: NodeId(1) });
    let _again = start(&runtime, &book, 1, 1);
    assert_eq!(two.next(), up(1));
}

#[test]
fn a_node_of_another_cluster_is_no_peer() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = start(&runtime, &book, 1, 1);
    let stranger = start(&runtime, &book, 9, 2);
    // The stranger keeps dialling; a right one is still let in afterwards.
    drop(stranger);
    let _two = start(&runtime, &book, 1, 2);
    assert_eq!(one.next(), up(2));
    assert!(one.mail.is_empty(), "the stranger was never a peer");
}
