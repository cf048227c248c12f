//! What a host owes a snapshot's transfer, at either end of it.

use super::*;
use precentor_core::action::BodyOf;
use precentor_core::digest::{Digest, StateHash};
use precentor_core::message::{LogPosition, Piece};
use precentor_core::snapshot::{SnapshotMeta, SnapshotPart};

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        index: LogIndex(index),
        term: Term(1),
        chain: ChainHash(3),
        state: StateHash(index.into()),
        membership: Arc::new(Membership::founding([1, 2, 3].map(NodeId))),
    }
}

/// No two places of it are alike, and no two snapshots.
fn image(index: u64) -> Vec<u8> {
    let numbers =
        (0..30_000u32).map(|number| number * 7 + u32::try_from(index).expect("it is small"));
    numbers.flat_map(u32::to_le_bytes).collect()
}

fn snapshot(index: u64) -> Snapshot {
    Snapshot {
        meta: meta(index),
        image: image(index).into(),
    }
}

/// The parts of a snapshot's image from `offset` on.
fn parts(index: u64, mut offset: usize) -> Vec<SnapshotPart> {
    let image = image(index);
    let mut parts = Vec::new();
    loop {
        let end = image.len().min(offset + 17_001);
        let last = end == image.len();
        parts.push(SnapshotPart {
            meta: meta(index),
            offset: offset as u64,
            bytes: image[offset..end].into(),
            last,
        });
        if last {
            return parts;
        }
        offset = end;
    }
}

fn reset(id: u64, index: u64, entries: std::ops::RangeInclusive<u64>) -> Write {
    let mut write = write(id, entries.map(|index| entry(1, index)));
    write.reset = Some(LogPosition {
        term: Term(1),
        index: LogIndex(index),
    });
    write
}

fn install(rig: &mut impl Rig, index: u64) {
    let index = LogIndex(index);
    rig.perform(Action::InstallSnapshot { index });
    assert_eq!(rig.report(), Event::SnapshotInstalled { index });
}

/// What was kept of a transfer when the process ended is a beginning of it; the
/// rest is added to it, and what is installed then is what the leader has.
pub fn a_transfer_goes_on_after_each_crash(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=10).map(|i| entry(1, i)))));
    await_durable(rig, 1);
    let whole = image(50);
    let mut kept = 0;
    for count in [1, 3, 2, 9] {
        for part in parts(50, kept).into_iter().take(count) {
            rig.perform(Action::KeepPiece(part));
        }
        let found = rig.crash();
        assert_eq!(found.snapshot, None, "a beginning is no snapshot");
        assert_eq!(found.entries.len(), 10, "the log stands as it was");
        let found = found.kept.map_or(Vec::new(), |kept| {
            assert_eq!(kept.meta, meta(50));
            kept.image
        });
        assert!(
            whole.starts_with(&found),
            "{} bytes were kept, and are no beginning of the image",
            found.len()
        );
        kept = found.len();
    }
    // Even if all of it is there: the last part may be empty.
    for part in parts(50, kept) {
        rig.perform(Action::KeepPiece(part));
    }
    install(rig, 50);
    let found = rig.crash();
    assert_eq!(found.snapshot, Some(snapshot(50)));
    assert_eq!(found.kept, None, "it is a snapshot now");
    assert_eq!(found.entries.len(), 10, "nobody reset the log yet");
    rig.perform(Action::Write(reset(1, 50, 51..=52)));
    rig.perform(Action::Write(write(2, [entry(1, 53)])));
    await_durable(rig, 2);
    assert_eq!(read(rig, 51, 53, 1 << 20).len(), 3);
    assert_eq!(read(rig, 10, 10, 1 << 20), [], "it is gone");
    let found = rig.crash();
    assert_eq!(found.snapshot, Some(snapshot(50)));
    let expected: Vec<_> = (51..=53).map(|index| entry(1, index)).collect();
    assert_eq!(found.entries, expected, "the log stands on the snapshot");
}

/// A process that ends while it installs has the old snapshot or the new one.
pub fn an_installation_is_all_or_nothing(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=10).map(|i| entry(1, i)))));
    for part in parts(5, 0) {
        rig.perform(Action::SaveSnapshot(part));
    }
    while rig.report() != (Event::SnapshotSaved { index: LogIndex(5) }) {}
    for index in 50..54 {
        for part in parts(index, 0) {
            rig.perform(Action::KeepPiece(part));
        }
        rig.perform(Action::InstallSnapshot {
            index: LogIndex(index),
        });
        let found = rig.crash().snapshot.expect("there was one before");
        let found_index = found.meta.index.0;
        assert!(found_index == 5 || (50..=index).contains(&found_index));
        assert_eq!(found, snapshot(found_index));
    }
}

/// A part at the beginning makes void what was kept before; and what this node
/// saves of its own state is another matter.
pub fn transfers_and_own_snapshots_do_not_mix(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=10).map(|i| entry(1, i)))));
    await_durable(rig, 1);
    let mut own = parts(8, 0).into_iter();
    let mut void = parts(40, 0).into_iter();
    for part in parts(50, 0) {
        // Of the first transfer and of the own snapshot only the first parts come.
        if part.offset == 0 {
            rig.perform(Action::KeepPiece(void.next().expect("it has several")));
            rig.perform(Action::KeepPiece(void.next().expect("it has several")));
        }
        if let Some(part) = own.next().filter(|part| !part.last) {
            rig.perform(Action::SaveSnapshot(part));
        }
        rig.perform(Action::KeepPiece(part));
    }
    install(rig, 50);
    rig.perform(Action::Write(reset(2, 50, 51..=60)));
    await_durable(rig, 2);
    for part in parts(60, 0) {
        rig.perform(Action::SaveSnapshot(part));
    }
    let index = LogIndex(60);
    assert_eq!(rig.report(), Event::SnapshotSaved { index });
    let found = rig.crash();
    assert_eq!(found.snapshot, Some(snapshot(60)));
    assert_eq!(found.kept, None);
}

fn piece(rig: &mut impl Rig, index: u64, offset: usize, bytes_max: u64) -> Option<Piece> {
    let ordered = ReadId(offset as u64 + bytes_max);
    rig.perform(Action::ReadSnapshot {
        read: ordered,
        index: LogIndex(index),
        offset: offset as u64,
        bytes_max,
    });
    match rig.report() {
        Event::SnapshotRead { read, piece } if read == ordered => piece,
        other => panic!("a piece was asked for, and the host reports {other:?}"),
    }
}

/// A saved snapshot's image is read from any place on, up to its end.
pub fn an_image_is_read_in_pieces(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=10).map(|i| entry(1, i)))));
    await_durable(rig, 1);
    assert_eq!(piece(rig, 8, 0, 100), None, "it is not saved yet");
    for part in parts(8, 0) {
        rig.perform(Action::SaveSnapshot(part));
    }
    let index = LogIndex(8);
    assert_eq!(rig.report(), Event::SnapshotSaved { index });
    let whole = image(8);
    for bytes_max in [9_999, 17_001, 50_000, 1 << 20] {
        let mut read = Vec::new();
        loop {
            let piece = piece(rig, 8, read.len(), bytes_max).expect("it is there");
            let count = piece.bytes.count();
            assert!(count > 0 && count <= bytes_max, "{count} bytes of a piece");
            read.extend_from_slice(&piece.bytes);
            assert_eq!(piece.last, read.len() == whole.len());
            if piece.last {
                break;
            }
        }
        assert_eq!(read, whole);
    }
    let end = piece(rig, 8, whole.len(), 100).expect("whoever has it all may ask");
    assert!(end.last && end.bytes.is_empty());
    assert_eq!(piece(rig, 7, 0, 100), None);
    assert_eq!(piece(rig, 9, 0, 100), None);
}

fn lacking(rig: &mut impl Rig, digests: &[Digest]) -> Vec<Digest> {
    let digests = digests.to_vec();
    let of = BodyOf::Result;
    rig.perform(Action::FindLacking { digests, of });
    match rig.report() {
        Event::BodiesLacking { digests } => digests,
        other => panic!("it was asked what is lacking, and the host reports {other:?}"),
    }
}

fn bodies(rig: &mut impl Rig, digests: &[Digest], bytes_max: u64) -> Vec<Bytes> {
    let ordered = ReadId(bytes_max);
    rig.perform(Action::ReadBodies {
        read: ordered,
        digests: digests.to_vec(),
        bytes_max,
    });
    match rig.report() {
        Event::BodiesRead { read, bodies } if read == ordered => bodies,
        other => panic!("bodies were asked for, and the host reports {other:?}"),
    }
}

/// Bodies are there from when they are handed over, and for good once a
/// snapshot is installed that speaks of them.
pub fn bodies_are_found_and_outlive_an_installation(rig: &mut impl Rig) {
    let all: Vec<Bytes> = (1..=4).map(|n| Bytes::from(vec![n; 1_000])).collect();
    let digests: Vec<Digest> = all.iter().map(|body| Digest::of(body)).collect();
    assert_eq!(lacking(rig, &digests), digests);
    assert_eq!(bodies(rig, &digests, 1 << 20), [], "none is there");
    for (digest, body) in digests.iter().zip(&all).skip(1) {
        rig.perform(Action::PutBlob {
            digest: *digest,
            body: body.clone(),
            of: BodyOf::Result,
        });
    }
    assert_eq!(lacking(rig, &digests), digests[..1]);
    assert_eq!(bodies(rig, &digests, 1), all[1..2], "one at least");
    assert_eq!(bodies(rig, &digests, 2_500), all[1..3], "as many as fit");
    for part in parts(50, 0) {
        rig.perform(Action::KeepPiece(part));
    }
    install(rig, 50);
    let found = rig.crash();
    assert_eq!(found.snapshot, Some(snapshot(50)));
    assert_eq!(lacking(rig, &digests), digests[..1], "no other is lost");
    assert_eq!(bodies(rig, &digests, 1 << 20), all[1..]);
}
