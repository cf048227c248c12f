//! What a disk holds beside the log: the snapshot in force, one that is being
//! written or received, and bodies. Knows no time: whoever owns it says when
//! something is durable.

use std::collections::BTreeMap;

use precentor_core::action::BodyOf;
use precentor_core::bytes::Bytes;
use precentor_core::digest::Digest;
use precentor_core::driver::Kept;
use precentor_core::ids::LogIndex;
use precentor_core::message::Piece;
use precentor_core::snapshot::{Snapshot, SnapshotMeta, SnapshotPart, SnapshotParts};

/// Snapshots and bodies of one disk.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    snapshot: Option<Snapshot>,
    parts: SnapshotParts,
    /// Whole, and not yet durable.
    saving: Option<Snapshot>,
    /// A leader's, as far as it came; true once it is being put in force.
    incoming: Option<(Kept, bool)>,
    results: Bodies,
    sources: Bodies,
    /// Sources of which nobody speaks any more as of an entry.
    gone: BTreeMap<Digest, LogIndex>,
}

/// Bodies of one sort.
#[derive(Clone, Debug, Default)]
struct Bodies {
    durable: BTreeMap<Digest, Bytes>,
    /// Put away since the last snapshot: a crash loses them, and the log has them.
    fresh: BTreeMap<Digest, Bytes>,
}

impl Bodies {
    fn get(&self, digest: &Digest) -> Option<&Bytes> {
        self.fresh.get(digest).or_else(|| self.durable.get(digest))
    }
}

impl Shelf {
    /// One that holds this snapshot already.
    #[must_use]
    pub fn holding(snapshot: Option<Snapshot>) -> Shelf {
        Shelf {
            snapshot,
            ..Shelf::default()
        }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The last entry of the snapshot in force; 0 if there is none.
    #[must_use]
    pub fn snapshot_index(&self) -> LogIndex {
        self.snapshot
            .as_ref()
            .map_or(LogIndex(0), |snapshot| snapshot.meta.index)
    }

    /// Takes a part of this node's own snapshot. True if it was the last.
    pub fn save(&mut self, part: SnapshotPart) -> bool {
        self.saving = self.parts.add(part).or(self.saving.take());
        self.saving.is_some()
    }

    /// The snapshot that was being saved is durable, and all bodies before it.
    pub fn saved(&mut self) -> Option<LogIndex> {
        let snapshot = self.saving.take()?;
        let index = self.put_in_force(snapshot);
        // What a leader's snapshot speaks of may be looked for just now.
        if self.incoming.is_none() {
            let gone = self.gone.extract_if(.., |_, as_of| *as_of <= index);
            for (digest, _) in gone {
                self.sources.durable.remove(&digest);
            }
        }
        Some(index)
    }

    /// Takes a part of a leader's snapshot.
    ///
    /// # Panics
    /// If it does not follow what is kept of it.
    pub fn keep_piece(&mut self, part: SnapshotPart) {
        let SnapshotPart {
            meta,
            offset,
            bytes,
            ..
        } = part;
        if offset == 0 {
            let image = Vec::new();
            self.incoming = Some((Kept { meta, image }, false));
        }
        let Some((kept, _)) = &mut self.incoming else {
            panic!("a piece at {offset} follows nothing");
        };
        assert_eq!(kept.image.len() as u64, offset, "pieces come in order");
        kept.image.extend_from_slice(&bytes);
    }

    /// The leader's snapshot is being put in force.
    ///
    /// # Panics
    /// If it is not the one that was received.
    pub fn install(&mut self, index: LogIndex) {
        match &mut self.incoming {
            Some((kept, installing)) if kept.meta.index == index => *installing = true,
            other => panic!("{index} is to be installed, and received was {other:?}"),
        }
    }

    /// The leader's snapshot is durable and in force, and all bodies before it.
    pub fn installed(&mut self) -> Option<LogIndex> {
        let (kept, _) = self.incoming.take_if(|(_, installing)| *installing)?;
        let image = kept.image.into();
        self.parts = SnapshotParts::default();
        self.saving = None;
        // It may speak of them again.
        self.gone.clear();
        Some(self.put_in_force(Snapshot {
            meta: kept.meta,
            image,
        }))
    }

    fn put_in_force(&mut self, snapshot: Snapshot) -> LogIndex {
        for bodies in [&mut self.results, &mut self.sources] {
            bodies.durable.append(&mut bodies.fresh);
        }
        let index = snapshot.meta.index;
        self.snapshot = Some(snapshot);
        index
    }

    /// Puts a body away.
    pub fn put(&mut self, digest: Digest, body: Bytes, of: BodyOf) {
        match of {
            BodyOf::Result => self.results.fresh.insert(digest, body),
            BodyOf::Source => {
                self.gone.remove(&digest);
                self.sources.fresh.insert(digest, body)
            }
        };
    }

    /// Lets a source go once a snapshot with this entry is durable.
    pub fn drop_source(&mut self, digest: Digest, index: LogIndex) {
        self.gone.insert(digest, index);
        if index <= self.snapshot_index() && self.incoming.is_none() {
            self.sources.durable.remove(&digest);
        }
    }

    /// Whatever else is here of sources goes.
    pub fn keep_sources(&mut self, is_spoken_of: impl Fn(&Digest) -> bool) {
        self.sources
            .durable
            .retain(|digest, _| is_spoken_of(digest));
    }

    /// A body, durable or not.
    #[must_use]
    pub fn body(&self, digest: &Digest) -> Option<&Bytes> {
        self.results
            .get(digest)
            .or_else(|| self.sources.get(digest))
    }

    /// Those of these bodies that are not here.
    #[must_use]
    pub fn lacking(&self, mut digests: Vec<Digest>, of: BodyOf) -> Vec<Digest> {
        let bodies = match of {
            BodyOf::Result => &self.results,
            BodyOf::Source => &self.sources,
        };
        digests.retain(|digest| bodies.get(digest).is_none());
        digests
    }

    /// Those of these bodies that are here, until so many bytes.
    #[must_use]
    pub fn read_bodies(&self, digests: &[Digest], bytes_max: u64) -> Vec<Bytes> {
        let mut bytes = 0;
        let mut read: Vec<Bytes> = Vec::new();
        for body in digests.iter().filter_map(|digest| self.body(digest)) {
            bytes += body.count();
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push(body.clone());
        }
        read
    }

    /// Bytes of the image of a snapshot that is in force.
    #[must_use]
    pub fn read_image(&self, index: LogIndex, offset: u64, bytes_max: u64) -> Option<Piece> {
        let snapshot = self.snapshot.as_ref()?;
        let image = (snapshot.meta.index == index).then_some(&snapshot.image)?;
        let rest = image.get(usize::try_from(offset).ok()?..)?;
        let bytes = &rest[..rest.len().min(usize::try_from(bytes_max).ok()?)];
        Some(Piece {
            last: bytes.len() == rest.len(),
            bytes: Bytes::from(bytes),
        })
    }

    /// Power is lost: of a leader's snapshot so many bytes are left, at the most.
    pub fn crash(&mut self, kept_bytes: usize) {
        self.parts = SnapshotParts::default();
        self.saving = None;
        self.gone.clear();
        for bodies in [&mut self.results, &mut self.sources] {
            bodies.fresh.clear();
        }
        if let Some((kept, installing)) = &mut self.incoming {
            kept.image.truncate(kept_bytes);
            *installing = false;
        }
    }

    /// What is left of a leader's snapshot.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        self.incoming.as_ref().map(|(kept, _)| kept.clone())
    }

    /// Of a leader's snapshot: which one is being received.
    #[must_use]
    pub fn receiving(&self) -> Option<&SnapshotMeta> {
        self.incoming.as_ref().map(|(kept, _)| &kept.meta)
    }
}
