//! Programs of different age at the two ends of a connection.

use precentor_core::wire::hello::{WireRange, WireVersion};

use super::*;

fn range(min: u16, max: u16) -> WireRange {
    WireRange {
        min: WireVersion(min),
        max: WireVersion(max),
    }
}

#[test]
fn an_older_program_and_a_newer_one_talk_in_the_older_version() {
    for (old, new) in [(1, 2), (2, 1)] {
        let (runtime, book) = (runtime(), AddressBook::default());
        let older = begin(
            &runtime,
            &book,
            Me {
                versions: range(1, 1),
                supports: FeatureLevel(1),
                ..me(old)
            },
        );
        let newer = begin(&runtime, &book, me(new));
        assert_eq!(older.next(), up(new));
        let (peer, supports) = (NodeId(old), FeatureLevel(1));
        assert_eq!(newer.next(), Event::PeerUp { peer, supports });
        for (from, to, sender, receiver) in [(old, new, &older, &newer), (new, old, &newer, &older)]
        {
            sender.net.peers().say(NodeId(to), message(7));
            let (from, message) = (NodeId(from), message(7));
            assert_eq!(receiver.next(), Event::Peer { from, message });
        }
        assert_eq!(newer.net.refusals().all(), []);
        assert_eq!(older.net.refusals().all(), []);
    }
}

#[test]
fn programs_without_a_common_version_are_no_peers() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let two = Me {
        versions: range(2, 2),
        ..me(2)
    };
    let one = Me {
        versions: range(1, 1),
        ..me(1)
    };
    let (one, two) = (begin(&runtime, &book, one), begin(&runtime, &book, two));
    two.counted(Some(1), Refusal::WireVersion);
    one.counted(None, Refusal::WireVersion);
    assert!(one.mail.is_empty() && two.mail.is_empty());
}

#[test]
fn a_program_that_cannot_do_what_the_cluster_does_is_no_peer_until_it_is_replaced() {
    let (runtime, book) = (runtime(), AddressBook::default());
    let one = me(1);
    one.level.set(FeatureLevel(2));
    let one = begin(&runtime, &book, one);
    let old = Me {
        supports: FeatureLevel(1),
        ..me(2)
    };
    let two = begin(&runtime, &book, old);
    two.counted(Some(1), Refusal::OurLevel);
    one.counted(None, Refusal::TheirLevel);
    drop(two);
    let _two = begin(&runtime, &book, me(2));
    assert_eq!(one.next(), up(2));
}
