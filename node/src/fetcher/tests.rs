use std::path::Path;
use std::time::Duration;

use precentor_core::ids::{ClusterId, LogIndex, NodeId};
use tempfile::tempdir;

use super::*;
use crate::blobstore::BlobStore;
use crate::disk::{Identity, OpenMode, Store};
use crate::scribe::LogScribe;
use crate::shelf::{AuditFile, Shelf};

fn bodies() -> [(Digest, Bytes); 3] {
    [10, 20, 30].map(|length| {
        let body = Bytes::from(vec![7; length]);
        (Digest::of(&body), body)
    })
}

fn with_fetcher(path: &Path, test: impl FnOnce(&dyn Fn(Fetch) -> Event)) {
    let node = NodeId(1);
    let identity = Identity {
        cluster: ClusterId([7; 16]),
        node,
        name: "test".into(),
    };
    let store = Store::open(&path.join("voter"), &identity, OpenMode::Create).unwrap();
    let (files, _) = store.snapshot_files().unwrap();
    let (mailbox, mail) = Mailbox::new(node);
    let switch = Switch::default();
    let bodies = BlobStore::open(&path.join("bodies")).unwrap();
    let requests = bodies.local_requests();
    let (scribe, log) = LogScribe::spawn(store, requests, mailbox.clone(), switch.clone()).unwrap();
    let (shelf, keeper) = Shelf::spawn(
        node,
        bodies,
        AuditFile::open(&path.join("audit.jsonl"), LogIndex(0)).unwrap(),
        files.own,
        files.incoming,
        scribe,
        switch.clone(),
    )
    .unwrap();
    let (fetcher, reads) = Fetcher::spawn(files.saved, shelf.reader(), mailbox, switch).unwrap();
    for (digest, body) in self::bodies() {
        shelf.put(BodyOf::Result, digest, body);
    }
    test(&|fetch| {
        fetcher.fetch(fetch);
        match mail.recv_timeout(Duration::from_secs(20)).unwrap() {
            Mail::Event(event) => event,
            other => panic!("{other:?}"),
        }
    });
    drop((fetcher, shelf));
    for thread in [reads, keeper, log] {
        thread.join().unwrap();
    }
}

#[test]
fn bodies_are_read_up_to_a_bound_and_the_others_left_out() {
    let dir = tempdir().unwrap();
    let [first, second, third] = bodies();
    let missing = Digest::of(b"nobody has it");
    let digests = vec![first.0, missing, second.0, third.0];
    let read = ReadId(5);
    with_fetcher(dir.path(), |fetch| {
        for (bytes_max, expected) in [
            (0, vec![first.1.clone()]),
            (30, vec![first.1.clone(), second.1.clone()]),
            (
                1 << 20,
                vec![first.1.clone(), second.1.clone(), third.1.clone()],
            ),
        ] {
            let digests = digests.clone();
            let bodies = expected;
            assert_eq!(
                fetch(Fetch::Bodies {
                    read,
                    digests,
                    bytes_max
                }),
                Event::BodiesRead { read, bodies }
            );
        }
        let lacking = Event::BodiesLacking {
            digests: vec![missing],
        };
        let of = BodyOf::Result;
        assert_eq!(fetch(Fetch::Lacking { digests, of }), lacking);
        let gone = Event::SnapshotRead { read, piece: None };
        let piece = Fetch::Piece {
            read,
            index: LogIndex(1),
            offset: 0,
            bytes_max: 100,
        };
        assert_eq!(fetch(piece), gone, "none was saved");
    });
}
