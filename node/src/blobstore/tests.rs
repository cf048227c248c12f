use super::*;

#[test]
fn a_body_is_there_after_the_store_was_closed() {
    let directory = tempfile::tempdir().unwrap();
    let digest = Digest::of(b"a body");
    let store = BlobStore::open(directory.path()).unwrap();
    assert!(!store.contains(digest).unwrap());
    store.put(digest, b"a body").unwrap();
    store.put(digest, b"a body").unwrap();
    store.flush().unwrap();
    drop(store);
    let store = BlobStore::open(directory.path()).unwrap();
    assert_eq!(store.get(digest).unwrap().as_deref(), Some(&b"a body"[..]));
    assert!(store.contains(digest).unwrap());
    assert_eq!(store.get(Digest::of(b"another")).unwrap(), None);
}

#[test]
fn a_body_under_another_digest_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path()).unwrap();
    let digest = Digest::of(b"said");
    assert!(matches!(
        store.put(digest, b"done"),
        Err(BlobError::OtherDigest { bytes: 4, .. })
    ));
    assert!(!store.contains(digest).unwrap());
}

#[test]
fn a_body_that_changed_on_disk_is_not_handed_out_and_can_be_put_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path()).unwrap();
    let digest = Digest::of(b"sound");
    store.bodies.insert(digest.0, b"rotten").unwrap();
    assert!(matches!(store.get(digest), Err(BlobError::Damaged { .. })));
    store.put(digest, b"sound").unwrap();
    assert_eq!(store.get(digest).unwrap().as_deref(), Some(&b"sound"[..]));
}

#[test]
fn several_threads_share_one_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path()).unwrap();
    let body = |thread: u8, number: u8| vec![thread, number, 7];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                for number in 0..50 {
                    let body = body(thread, number);
                    store.put(Digest::of(&body), &body).unwrap();
                }
            });
        }
    });
    for thread in 0..4 {
        for number in 0..50 {
            assert!(store.contains(Digest::of(&body(thread, number))).unwrap());
        }
    }
}
