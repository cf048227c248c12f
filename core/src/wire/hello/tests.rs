use proptest::prelude::*;

use super::*;

fn hello(from: u64, to: u64) -> Hello {
    Hello {
        versions: WireRange::OURS,
        cluster: ClusterId([1; 16]),
        from: NodeId(from),
        incarnation: Incarnation(from + 100),
        to: NodeId(to),
        supports: FeatureLevel::LATEST,
        requires: FeatureLevel::FOUNDING,
        nonce: from + 1_000,
    }
}

fn range(min: u16, max: u16) -> WireRange {
    WireRange {
        min: WireVersion(min),
        max: WireVersion(max),
    }
}

fn agree(ours: Hello, theirs: Hello) -> Result<Agreement, HelloError> {
    ours.agree(&theirs, |node| node <= NodeId(3))
}

#[test]
fn both_ends_agree_on_the_highest_common_version_whoever_is_newer() {
    for (ours, theirs, expected) in [
        ((1, 2), (1, 2), Some(2)),
        ((1, 2), (1, 1), Some(1)),
        ((1, 1), (1, 2), Some(1)),
        ((2, 5), (3, 9), Some(5)),
        ((2, 2), (1, 1), None),
        ((1, 1), (2, 2), None),
    ] {
        let one = Hello {
            versions: range(ours.0, ours.1),
            ..hello(1, 2)
        };
        let two = Hello {
            versions: range(theirs.0, theirs.1),
            ..hello(2, 1)
        };
        let (here, there) = (agree(one, two), agree(two, one));
        match expected {
            Some(version) => {
                let (here, there) = (here.unwrap(), there.unwrap());
                assert_eq!(here.version, WireVersion(version));
                assert_eq!(there.version, WireVersion(version));
            }
            None => {
                let text = here.unwrap_err().to_string();
                assert!(text.contains(&one.versions.to_string()), "{text}");
                assert!(text.contains(&two.versions.to_string()), "{text}");
                assert!(matches!(
                    there.unwrap_err(),
                    HelloError::NoCommonVersion { .. }
                ));
            }
        }
    }
}

#[test]
fn what_one_end_seals_the_other_opens_and_nobody_else() {
    let (one, two) = (hello(1, 2), hello(2, 1));
    let (here, there) = (agree(one, two).unwrap(), agree(two, one).unwrap());
    assert_eq!(here.outgoing, there.incoming);
    assert_eq!(here.incoming, there.outgoing);
    assert_ne!(here.outgoing, here.incoming, "the ways differ");
    let again = Hello { nonce: 7, ..one };
    assert_ne!(agree(again, two).unwrap().outgoing, here.outgoing);
}

#[test]
fn strangers_and_the_misled_are_told_apart() {
    let ours = hello(1, 2);
    let other_cluster = Hello {
        cluster: ClusterId([9; 16]),
        ..hello(2, 1)
    };
    let error = agree(ours, other_cluster).unwrap_err();
    assert!(error.to_string().contains("0909"), "{error}");
    assert!(error.to_string().contains("0101"), "{error}");
    for (theirs, expected) in [
        (hello(1, 1), HelloError::Itself { node: NodeId(1) }),
        (
            hello(2, 3),
            HelloError::OtherNode {
                node: NodeId(2),
                to: NodeId(3),
                ours: NodeId(1),
            },
        ),
        (hello(9, 1), HelloError::Unexpected { node: NodeId(9) }),
    ] {
        assert_eq!(agree(ours, theirs), Err(expected));
    }
    let backwards = Hello {
        versions: range(2, 1),
        ..hello(2, 1)
    };
    assert!(matches!(
        agree(ours, backwards),
        Err(HelloError::NoRange { .. })
    ));
}

#[test]
fn a_program_older_than_the_clusters_rules_is_refused_by_both_ends() {
    let old = Hello {
        supports: FeatureLevel(1),
        ..hello(1, 2)
    };
    let raised = Hello {
        requires: FeatureLevel(2),
        ..hello(2, 1)
    };
    let (node, supports, requires) = (NodeId(2), FeatureLevel(1), FeatureLevel(2));
    assert_eq!(
        agree(old, raised),
        Err(HelloError::OurLevel {
            node,
            supports,
            requires
        })
    );
    let node = NodeId(1);
    assert_eq!(
        agree(raised, old),
        Err(HelloError::TheirLevel {
            node,
            supports,
            requires
        })
    );
}

#[test]
fn a_hello_of_a_later_program_is_read_and_one_too_long_is_not() {
    let mut bytes = hello(1, 2).encode();
    assert_eq!(bytes.len() as u64, HELLO_BYTES);
    bytes.extend([7; 20]);
    assert_eq!(Hello::decode(&bytes), Ok(hello(1, 2)));
    bytes.resize(HELLO_BYTES_MAX as usize + 1, 0);
    assert_eq!(
        Hello::decode(&bytes),
        Err(HelloError::TooLong { found: 257 })
    );
    assert_eq!(
        Hello::decode(b"GET / HTTP/1.1\r\n"),
        Err(HelloError::Stranger)
    );
    assert_eq!(Hello::decode(&[]), Err(HelloError::Stranger));
}

proptest! {
    #[test]
    fn a_hello_cut_anywhere_is_refused(cut in 0..HELLO_BYTES as usize) {
        let bytes = hello(1, 2).encode();
        prop_assert_eq!(Hello::decode(&bytes[..cut]), Err(HelloError::Stranger));
    }

    #[test]
    fn arbitrary_bytes_are_no_hello_or_one_that_encodes_to_them(
        bytes in proptest::collection::vec(any::<u8>(), 0..300), is_magic in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if is_magic && bytes.len() >= 4 {
            bytes[..4].copy_from_slice(b"PRHL");
        }
        if let Ok(found) = Hello::decode(&bytes) {
            let again = found.encode();
            prop_assert_eq!(&again[..], &bytes[..HELLO_BYTES as usize]);
            // Whoever says that: it is an agreement or a reason, and no panic.
            let _ = agree(hello(1, 2), found);
        }
    }
}
