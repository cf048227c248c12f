//! Everything wrong that can come over a socket: it is turned away, counted by
//! its reason, and the node has heard nothing of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use precentor_core::message::Message;
use precentor_core::wire::frame::{FrameDecoder, Seal, encode_frame, encode_sealed};
use precentor_core::wire::hello::{Agreement, HELLO_BYTES_MAX, Hello, WireRange, WireVersion};
use precentor_core::wire::message::encode;

use super::super::hello::CONFIRMATION;
use super::*;

impl End {
    /// Waits until something was turned away for this reason.
    pub(super) fn counted(&self, peer: Option<u64>, refusal: Refusal) -> u64 {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let count = self.net.refusals().count(peer.map(NodeId), refusal);
            if count > 0 {
                return count;
            }
            let all = self.net.refusals().all();
            assert!(
                std::time::Instant::now() < deadline,
                "{refusal:?} was not counted: {all:?}"
            );
            std::thread::yield_now();
        }
    }
}

/// n1 and its doorbell.
struct House {
    one: End,
    book: AddressBook,
    runtime: Runtime,
}

impl House {
    fn new() -> House {
        let (runtime, book) = (runtime(), AddressBook::default());
        let one = begin(&runtime, &book, me(1));
        House { one, book, runtime }
    }

    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.book.get(NodeId(1)).unwrap()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    /// Says it at the door: n1 hangs up, has counted it, and serves on.
    fn turns_away(&self, bytes: &[u8], refusal: Refusal) {
        let mut stream = self.dial();
        stream.write_all(bytes).unwrap();
        assert_closed(stream);
        assert_eq!(self.one.counted(None, refusal), 1, "{refusal:?}");
        assert!(self.one.mail.is_empty(), "{refusal:?} reached the node");
    }

    /// A right peer is still welcome, and heard.
    fn serves_on(self) {
        let two = begin(&self.runtime, &self.book, me(2));
        assert_eq!(self.one.next(), up(2));
        two.net.peers().say(NodeId(1), message(9));
        let (from, message) = (NodeId(2), message(9));
        assert_eq!(self.one.next(), Event::Peer { from, message });
    }
}

/// The other end has nothing more to say, and hears no more.
fn assert_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is as good an end.
    let _ = stream.read_to_end(&mut rest);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(body, &mut bytes).unwrap();
    bytes
}

fn hello() -> Hello {
    me(2).hello(NodeId(1), 77)
}

/// n2 as a test plays it, at the end of an open connection.
struct Two {
    stream: TcpStream,
    agreement: Agreement,
    seal: Seal,
    /// All that was sent so far.
    said: Vec<u8>,
}

impl Two {
    fn meet(house: &House, versions: WireRange) -> Two {
        let mut two = Two::greet(
            house,
            &Hello {
                versions,
                ..hello()
            },
        );
        if versions.max >= WireVersion::SECOND {
            two.say(CONFIRMATION);
        }
        assert_eq!(house.one.next(), up(2));
        two
    }

    /// Exchanges hellos, and confirms nothing.
    fn greet(house: &House, ours: &Hello) -> Two {
        let mut stream = house.dial();
        let said = framed(&ours.encode());
        stream.write_all(&said).unwrap();
        let mut decoder = FrameDecoder::new();
        let theirs = loop {
            if let Some(body) = decoder.next_frame().unwrap() {
                break Hello::decode(body).unwrap();
            }
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            decoder.push(&byte);
        };
        let agreement = ours.agree(&theirs, |node| node == NodeId(1)).unwrap();
        let seal = Seal::new(agreement.outgoing);
        Two {
            stream,
            agreement,
            seal,
            said,
        }
    }

    fn frame(&mut self, body: &[u8]) -> Vec<u8> {
        if self.agreement.version < WireVersion::SECOND {
            return framed(body);
        }
        let mut bytes = Vec::new();
        encode_sealed(body, &mut self.seal, &mut bytes).unwrap();
        bytes
    }

    fn say(&mut self, body: &[u8]) {
        let bytes = self.frame(body);
        self.send(&bytes);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        self.stream.write_all(bytes).unwrap();
    }

    fn body(&self, message: &Message) -> Vec<u8> {
        encode(message, self.agreement.version)
    }

    /// n1 hangs up for this, and the node hears that and nothing else.
    fn sees_the_end_for(self, house: &House, refusal: Refusal) {
        assert_eq!(house.one.next(), Event::PeerDown { peer: NodeId(2) });
        assert_closed(self.stream);
        assert_eq!(house.one.counted(Some(2), refusal), 1, "{refusal:?}");
        assert!(house.one.mail.is_empty(), "{refusal:?} reached the node");
    }
}

#[test]
fn whoever_is_no_peer_is_turned_away_at_the_door_by_its_reason() {
    let house = House::new();
    let bad = |hello: Hello| framed(&hello.encode());
    house.turns_away(b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n", Refusal::Stranger);
    let mut long = hello().encode();
    long.resize(HELLO_BYTES_MAX as usize + 1, 0);
    house.turns_away(&framed(&long), Refusal::HelloTooLong);
    let cluster = ClusterId([9; 16]);
    house.turns_away(&bad(Hello { cluster, ..hello() }), Refusal::OtherCluster);
    let to = NodeId(3);
    house.turns_away(&bad(Hello { to, ..hello() }), Refusal::OtherNode);
    let from = NodeId(1);
    house.turns_away(&bad(Hello { from, ..hello() }), Refusal::Itself);
    let from = NodeId(7);
    house.turns_away(&bad(Hello { from, ..hello() }), Refusal::Unexpected);
    let versions = WireRange {
        min: WireVersion(40),
        max: WireVersion(50),
    };
    house.turns_away(
        &bad(Hello {
            versions,
            ..hello()
        }),
        Refusal::WireVersion,
    );
    let requires = FeatureLevel(99);
    house.turns_away(
        &bad(Hello {
            requires,
            ..hello()
        }),
        Refusal::OurLevel,
    );
    house.serves_on();
}

#[test]
fn a_hello_that_does_not_end_is_cut_off_at_its_bound() {
    let house = House::new();
    let mut endless = framed(&[7; 4_096]);
    endless.truncate(2_048);
    house.turns_away(&endless, Refusal::HelloTooLong);
    house.serves_on();
}

#[test]
fn a_recorded_connection_opens_nothing_when_it_comes_again() {
    let house = House::new();
    let mut two = Two::meet(&house, WireRange::OURS);
    let body = two.body(&message(3));
    two.say(&body);
    let (from, message) = (NodeId(2), message(3));
    assert_eq!(house.one.next(), Event::Peer { from, message });
    let mut again = house.dial();
    again.write_all(&two.said).unwrap();
    assert_closed(again);
    assert_eq!(house.one.counted(None, Refusal::Unconfirmed), 1);
    assert!(
        house.one.mail.is_empty(),
        "the right connection is as it was"
    );
    let body = two.body(&super::message(4));
    two.say(&body);
    let message = super::message(4);
    assert_eq!(house.one.next(), Event::Peer { from, message });
}

#[test]
fn what_is_wrong_on_an_open_connection_ends_it_by_its_reason() {
    type Act = fn(&mut Two);
    let cases: [(Refusal, Act); 8] = [
        (Refusal::FrameSize, |two| two.send(&[255; 8])),
        (Refusal::FrameSize, |two| two.send(&[0; 8])),
        (Refusal::Checksum, |two| {
            let body = two.body(&message(3));
            let mut frame = two.frame(&body);
            frame[9] ^= 1;
            two.send(&frame);
        }),
        (Refusal::MessageVersion, |two| {
            let other = match two.agreement.version {
                WireVersion::FIRST => WireVersion::SECOND,
                _ => WireVersion::FIRST,
            };
            let body = encode(&message(3), other);
            two.say(&body);
        }),
        (Refusal::Undecodable, |two| {
            let mut body = two.body(&message(3));
            body.push(0);
            two.say(&body);
        }),
        (Refusal::Undecodable, |two| {
            let body = two.body(&message(3));
            two.say(&body[..body.len() - 1]);
        }),
        (Refusal::MessageTooLarge, |two| {
            let bytes = vec![0; 512 * 1024 + 1].into();
            let body = Body::SnapshotPiece {
                index: precentor_core::ids::LogIndex(1),
                offset: 0,
                piece: Some(precentor_core::message::Piece { bytes, last: true }),
            };
            let body = two.body(&Message { body, ..message(3) });
            two.say(&body);
        }),
        (Refusal::OtherLife, |two| {
            // Its hello said life 5.
            let body = two.body(&Message {
                incarnation: Incarnation(6),
                ..message(3)
            });
            two.say(&body);
        }),
    ];
    let first = WireRange {
        max: WireVersion::FIRST,
        ..WireRange::OURS
    };
    for versions in [first, WireRange::OURS] {
        for (refusal, act) in cases {
            let house = House::new();
            let life = Hello {
                versions,
                incarnation: Incarnation(5),
                ..hello()
            };
            let mut two = Two::greet(&house, &life);
            if versions.max >= WireVersion::SECOND {
                two.say(CONFIRMATION);
            }
            assert_eq!(house.one.next(), up(2));
            act(&mut two);
            two.sees_the_end_for(&house, refusal);
            house.serves_on();
        }
    }
}

#[test]
fn a_frame_that_comes_again_ends_the_connection() {
    let house = House::new();
    let mut two = Two::meet(&house, WireRange::OURS);
    let body = two.body(&message(3));
    let frame = two.frame(&body);
    two.send(&frame);
    let (from, message) = (NodeId(2), message(3));
    assert_eq!(house.one.next(), Event::Peer { from, message });
    two.send(&frame);
    two.sees_the_end_for(&house, Refusal::Replayed);
    house.serves_on();
}

#[test]
fn a_frame_of_another_connection_ends_the_one_that_it_comes_on() {
    let house = House::new();
    let body = encode(&message(3), WireVersion::SECOND);
    let mut first = Two::meet(&house, WireRange::OURS);
    let stray = first.frame(&body);
    first.stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(house.one.next(), Event::PeerDown { peer: NodeId(2) });
    let mut second = Two::meet(&house, WireRange::OURS);
    second.send(&stray);
    second.sees_the_end_for(&house, Refusal::Checksum);
    house.serves_on();
}

#[test]
fn nothing_of_a_connection_is_heard_after_another_took_its_place() {
    let (runtime, _book) = (runtime(), AddressBook::default());
    let _in_runtime = runtime.enter();
    let (mailbox, mail) = Mailbox::new(NodeId(1));
    let peers = Peers::default();
    let theirs = hello();
    let ours = me(1).hello(NodeId(2), 5);
    let agreement = ours.agree(&theirs, |_| true).unwrap();
    let (_first_queue, first) = peers.opened(&agreement, &mailbox);
    let (_second_queue, second) = peers.opened(&agreement, &mailbox);
    let heard = || Mail::Peer(Event::Wake, None);
    let before = mail.len();
    assert!(!peers.deliver(NodeId(2), first, heard(), &mailbox));
    assert_eq!(mail.len(), before, "the old connection was heard");
    assert!(peers.deliver(NodeId(2), second, heard(), &mailbox));
    assert_eq!(mail.len(), before + 1);
}
