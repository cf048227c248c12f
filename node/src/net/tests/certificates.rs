//! Nodes that prove who they are, and others that cannot.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::time::Duration;

use precentor_core::principal::Principal;
use precentor_core::request::Request;
use precentor_core::wire::frame::encode_frame;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::pki::tests::{HOUR, Papers};
use crate::tls::{self, TlsFiles, node_name};

struct House {
    runtime: Runtime,
    book: AddressBook,
    papers: Papers,
}

impl House {
    fn new() -> House {
        House {
            runtime: runtime(),
            book: AddressBook::default(),
            papers: Papers::new(),
        }
    }

    fn with(&self, node: u64, files: TlsFiles) -> End {
        let credentials = Credentials::open(files, NodeId(node)).unwrap();
        begin_with(&self.runtime, &self.book, me(node), Some(credentials))
    }

    fn right(&self, node: u64) -> End {
        self.with(node, self.papers.node(node, HOUR))
    }
}

#[test]
fn peers_that_prove_who_they_are_meet_and_talk() {
    let house = House::new();
    let (one, two) = (house.right(1), house.right(2));
    assert_eq!(one.next(), up(2));
    assert_eq!(two.next(), up(1));
    for (from, to, term) in [(&one, &two, 3), (&two, &one, 4)] {
        let other = if term == 3 { 2 } else { 1 };
        from.net.peers().say(NodeId(other), message(term));
        let (from, message) = (NodeId(3 - other), message(term));
        assert_eq!(to.next(), Event::Peer { from, message });
    }
    drop(two.net);
    assert_eq!(one.next(), Event::PeerDown { peer: NodeId(2) });
}

#[test]
fn a_node_cannot_pose_as_another() {
    let house = House::new();
    let one = house.right(1);
    // n2 shows what proves that it is n3.
    let impostor = house.papers.credentials(3);
    let two = begin_with(&house.runtime, &house.book, me(2), Some(impostor));
    assert!(one.counted(None, Refusal::Impersonation) > 0);
    drop(two);
    // And n1, when the right n2 dials whoever is at its address.
    drop(one);
    let impostor = house.papers.credentials(4);
    let _one = begin_with(&house.runtime, &house.book, me(1), Some(impostor));
    let two = house.right(2);
    assert!(two.counted(Some(1), Refusal::Untrusted) > 0);
    assert!(two.mail.is_empty());
}

#[test]
fn who_proves_nothing_is_no_peer() {
    let house = House::new();
    let one = house.right(1);
    // Of another authority.
    let stranger = Papers::new().credentials(2);
    let two = begin_with(&house.runtime, &house.book, me(2), Some(stranger));
    assert!(two.counted(Some(1), Refusal::Untrusted) > 0);
    drop(two);
    // Without a word of encryption.
    let two = begin(&house.runtime, &house.book, me(2));
    assert!(one.counted(None, Refusal::Untrusted) > 0);
    drop(two);
    assert!(one.mail.is_empty());
    let _two = house.right(2);
    assert_eq!(one.next(), up(2));
}

#[test]
fn a_client_is_no_node_whatever_it_says() {
    let house = House::new();
    let one = house.right(1);
    let ada = house.papers.client("ada", HOUR);
    let config = tls::for_client(Some(&house.papers.ca()), Some((ada.clone(), ada))).unwrap();
    let address = house.book.get(NodeId(1)).unwrap();
    let say = |config: rustls::ClientConfig| {
        house.runtime.block_on(async {
            let stream = TcpStream::connect(&address).await.unwrap();
            let name = ServerName::try_from(node_name(NodeId(1))).unwrap();
            let connector = TlsConnector::from(Arc::new(config));
            let mut stream = connector.connect(name, stream).await?;
            let mut hello = Vec::new();
            encode_frame(&me(2).hello(NodeId(1), 77).encode(), &mut hello).unwrap();
            stream.write_all(&hello).await?;
            stream.flush().await?;
            let mut answer = Vec::new();
            // It hangs up, in whatever way.
            let _ = stream.read_to_end(&mut answer).await;
            Ok::<_, io::Error>(answer)
        })
    };
    // What it speaks as a client is not spoken here.
    assert!(say(config.clone()).is_err());
    assert!(one.counted(None, Refusal::Untrusted) > 0);
    let mut config = config;
    config.alpn_protocols = vec![b"precentor-peer".to_vec()];
    say(config).unwrap();
    assert!(one.counted(None, Refusal::Impersonation) > 0);
    assert!(one.mail.is_empty());
}

/// Carries bytes both ways, and keeps them.
fn wiretap(to: &str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tape, to) = (Arc::new(Mutex::new(Vec::new())), to.to_owned());
    let carry =
        |mut from: std::net::TcpStream, mut to: std::net::TcpStream, tape: Arc<Mutex<Vec<u8>>>| {
            move || {
                let mut buffer = [0; 4_096];
                while let Ok(count @ 1..) = from.read(&mut buffer) {
                    tape.lock().unwrap().extend_from_slice(&buffer[..count]);
                    if to.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = to.shutdown(std::net::Shutdown::Both);
            }
        };
    let kept = tape.clone();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = std::net::TcpStream::connect(&to) else {
                continue;
            };
            let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(carry(near, far, kept.clone()));
            std::thread::spawn(carry(far_too, near_too, kept.clone()));
        }
    });
    (address, tape)
}

#[test]
fn who_listens_on_the_wire_reads_nothing() {
    // Once in the clear, to see that the listener would.
    for encrypted in [false, true] {
        let house = House::new();
        let start = |node: u64| {
            let credentials = encrypted.then(|| house.papers.credentials(node));
            begin_with(&house.runtime, &house.book, me(node), credentials)
        };
        let one = start(1);
        let (address, tape) = wiretap(&house.book.get(NodeId(1)).unwrap());
        house.book.set(NodeId(1), address);
        let two = start(2);
        assert_eq!(one.next(), up(2));
        let secret = Principal("somebody who asks".to_owned());
        let (answers, _inbox) = crossbeam_channel::unbounded();
        let answers = crate::pilot::Answers::Thread(answers);
        two.net.roster().lines()[0].ask(secret.clone(), Request::Status, &answers, 1);
        let asked = loop {
            match one.mail.recv_timeout(Duration::from_secs(10)).unwrap() {
                Mail::Client { principal, .. } => break principal,
                Mail::Peer(..) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(asked, secret);
        let tape = tape.lock().unwrap();
        let is_read = tape
            .windows(secret.0.len())
            .any(|bytes| bytes == secret.0.as_bytes());
        assert_eq!(is_read, !encrypted, "of {} bytes", tape.len());
    }
}

#[test]
fn a_connection_ends_with_the_certificate_that_it_was_made_with() {
    let house = House::new();
    let one = house.right(1);
    let _two = house.with(2, house.papers.node(2, Duration::from_secs(3)));
    assert_eq!(one.next(), up(2));
    assert_eq!(one.next(), Event::PeerDown { peer: NodeId(2) });
    // And it does not come back.
    assert!(one.counted(None, Refusal::Untrusted) > 0);
    assert!(one.mail.is_empty());
}

#[test]
fn a_renewed_certificate_takes_over_before_the_old_one_is_over() {
    let house = House::new();
    let one = house.right(1);
    let files = house.papers.node(2, Duration::from_secs(8));
    let file = files.certificate.clone();
    let two = house.with(2, files);
    assert_eq!(one.next(), up(2));
    house.papers.renew(&file);
    assert_eq!(one.next(), Event::PeerDown { peer: NodeId(2) });
    assert_eq!(one.next(), up(2));
    for end in [&one, &two] {
        assert_eq!(end.net.refusals().all(), [], "nothing was turned away");
    }
}

#[test]
fn a_peer_of_an_authority_that_is_believed_no_more_is_hung_up_on() {
    let (house, others) = (House::new(), Papers::new());
    let mut files = house.papers.node(1, Duration::from_secs(12));
    let ca = files.ca.with_file_name("mine.pem");
    std::fs::copy(&files.ca, &ca).unwrap();
    files.ca = ca.clone();
    let own = files.certificate.clone();
    let one = house.with(1, files);
    let _two = house.right(2);
    assert_eq!(one.next(), up(2));
    let theirs = others.node(1, Duration::from_secs(2 * 60 * 60));
    for (from, to) in [(theirs.certificate, own), (others.ca(), ca)] {
        let beside = to.with_extension("new");
        std::fs::copy(from, &beside).unwrap();
        std::fs::rename(beside, to).unwrap();
    }
    // Within half a minute, so that not all hang up at once.
    let gone = one.mail.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(
        matches!(gone, Mail::Peer(Event::PeerDown { peer: NodeId(2) }, _)),
        "{gone:?}"
    );
    assert!(one.counted(None, Refusal::Untrusted) > 0);
}
