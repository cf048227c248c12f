use super::*;

#[test]
fn a_body_is_there_after_the_store_was_closed() {
    let directory = tempfile::tempdir().unwrap();
    let digest = Digest::of(b"a body");
    let store = BlobStore::open(directory.path()).unwrap();
    assert_eq!(store.get(digest).unwrap(), None);
    store.put(BodyOf::Result, digest, b"a body").unwrap();
    store.put(BodyOf::Result, digest, b"a body").unwrap();
    store.flush().unwrap();
    drop(store);
    let store = BlobStore::open(directory.path()).unwrap();
    assert_eq!(store.get(digest).unwrap().as_deref(), Some(&b"a body"[..]));
    assert_eq!(store.get(Digest::of(b"another")).unwrap(), None);
}

#[test]
fn a_body_under_another_digest_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path()).unwrap();
    let digest = Digest::of(b"said");
    assert!(matches!(
        store.put(BodyOf::Result, digest, b"done"),
        Err(BlobError::OtherDigest { bytes: 4, .. })
    ));
    assert_eq!(store.get(digest).unwrap(), None);
}

#[test]
fn a_body_that_changed_on_disk_is_not_handed_out_and_can_be_put_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path()).unwrap();
    let digest = Digest::of(b"sound");
    store.results.insert(digest.0, b"rotten").unwrap();
    assert!(matches!(store.get(digest), Err(BlobError::Damaged { .. })));
    store.put(BodyOf::Result, digest, b"sound").unwrap();
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
                    store.put(BodyOf::Result, Digest::of(&body), &body).unwrap();
                }
            });
        }
    });
    for thread in 0..4 {
        for number in 0..50 {
            assert!(
                store
                    .get(Digest::of(&body(thread, number)))
                    .unwrap()
                    .is_some()
            );
        }
    }
}

#[test]
fn a_source_goes_and_a_result_with_the_same_bytes_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path()).unwrap();
    let [both, source, other] = [&b"both"[..], b"source", b"other"];
    store.put(BodyOf::Result, Digest::of(both), both).unwrap();
    for text in [both, source, other] {
        store.put(BodyOf::Source, Digest::of(text), text).unwrap();
    }
    store.drop_source(Digest::of(both)).unwrap();
    store.drop_source(Digest::of(b"never there")).unwrap();
    assert_eq!(store.get(Digest::of(both)).unwrap().as_deref(), Some(both));
    let as_source = store.get_as(BodyOf::Source, Digest::of(both));
    assert_eq!(as_source.unwrap(), None);
    // Of the others one is spoken of.
    let dropped = store.keep_sources(|digest| *digest == Digest::of(other));
    assert_eq!(dropped.unwrap(), 1);
    assert_eq!(store.get(Digest::of(source)).unwrap(), None);
    assert_eq!(
        store.get(Digest::of(other)).unwrap().as_deref(),
        Some(other)
    );
    assert_eq!(store.get(Digest::of(both)).unwrap().as_deref(), Some(both));
}
