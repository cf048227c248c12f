use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::pki::tests::{HOUR, Papers};

fn refused(files: &TlsFiles, node: u64) -> String {
    Credentials::open(files.clone(), NodeId(node))
        .unwrap_err()
        .to_string()
}

#[test]
fn what_others_would_not_believe_is_refused_at_the_start() {
    let (papers, strangers) = (Papers::new(), Papers::new());
    let right = papers.node(1, HOUR);
    assert_eq!(
        Credentials::open(right.clone(), NodeId(1))
            .unwrap()
            .own()
            .who,
        Who::Node(NodeId(1))
    );
    let with = |change: &dyn Fn(&mut TlsFiles)| {
        let mut files = right.clone();
        change(&mut files);
        files
    };
    let (ada, two) = (papers.client("ada", HOUR), papers.node(2, HOUR));
    let over = papers.node(3, Duration::ZERO);
    let is_good = || crate::pki::show(&over.certificate).unwrap().identity.left();
    while is_good().is_some() {
        std::thread::yield_now();
    }
    let text = papers.ca().with_file_name("text.pem");
    fs::write(&text, "a text").unwrap();
    for (files, node, says) in [
        (
            right.clone(),
            2,
            "it is a certificate of n1, and this is n2",
        ),
        (
            with(&|files| (files.certificate, files.key) = (ada.clone(), ada.clone())),
            1,
            "it is a certificate of the client ada, and this is n1",
        ),
        (
            with(&|files| files.ca = strangers.ca()),
            1,
            "it would not be believed by those who believe",
        ),
        (
            over.clone(),
            3,
            "it would not be believed by those who believe",
        ),
        (
            with(&|files| files.key = two.key.clone()),
            1,
            "it is not the key of",
        ),
        (
            with(&|files| files.key = papers.ca()),
            1,
            "there is no private key in it",
        ),
        (
            with(&|files| files.ca = text.clone()),
            1,
            "there is no certificate in it",
        ),
        (
            with(&|files| files.ca = Path::new("/nowhere/ca.pem").into()),
            1,
            "cannot read /nowhere/ca.pem",
        ),
    ] {
        let error = refused(&files, node);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_file_that_has_changed_is_read_again_and_nonsense_changes_nothing() {
    let papers = Papers::new();
    let files = papers.node(1, 2 * HOUR);
    let credentials = Credentials::open(files.clone(), NodeId(1)).unwrap();
    let first = credentials.own();
    let whole = fs::read(&files.certificate).unwrap();
    fs::write(&files.certificate, "nonsense").unwrap();
    // Looks are a second apart.
    let give_up = Instant::now() + Duration::from_secs(3);
    while Instant::now() < give_up {
        assert_eq!(credentials.own(), first);
        std::thread::yield_now();
    }
    fs::write(&files.certificate, whole).unwrap();
    papers.renew(&files.certificate);
    let give_up = Instant::now() + Duration::from_secs(10);
    while credentials.own() == first {
        assert!(Instant::now() < give_up, "it was not read again");
        std::thread::yield_now();
    }
    assert!(
        credentials.own().until < first.until,
        "an hour is less than two"
    );
}

#[test]
fn a_node_is_called_in_one_way_only() {
    assert_eq!(node_name(NodeId(7)), "node-7.precentor");
    let papers = Papers::new();
    let strange = [
        "node-01.precentor",
        "node-0.precentor",
        "node-.precentor",
        "xnode-1.precentor",
    ];
    for name in strange {
        // A client's certificate with such a name is still a client's.
        let path = papers.client(name, HOUR);
        let shown = crate::pki::show(&path).unwrap();
        assert!(matches!(shown.identity.who, Who::Client(_)), "{name}");
    }
}
