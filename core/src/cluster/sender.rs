//! A leader's snapshot for followers that lack what its log no longer holds:
//! offered again and again, handed out piece by piece as they ask. The follower
//! sets the pace, so a slow one costs the others nothing.

use std::collections::BTreeMap;

use crate::action::Action;
use crate::bytes::Bytes;
use crate::cx::Cx;
use crate::digest::Digest;
use crate::ids::{LogIndex, NodeId, ReadId, Term};
use crate::limits::{BODIES_FETCH_MAX, SNAPSHOT_PIECE_BYTES_MAX};
use crate::marks::Mark;
use crate::message::{Body, Piece};
use crate::snapshot::SnapshotMeta;
use crate::time::Time;

/// What is handed out, to whom.
#[derive(Clone, Debug, Default)]
pub(super) struct SnapshotSender {
    /// The latest that is saved here.
    snapshot: Option<SnapshotMeta>,
    /// For whom something is being read from the disk: one thing at a time.
    reading: BTreeMap<NodeId, Reading>,
    /// When anything was asked for last, and of which snapshot.
    asked: Option<(LogIndex, Time)>,
}

#[derive(Clone, Debug)]
struct Reading {
    read: ReadId,
    /// Of an image: which snapshot's, and from where on.
    image: Option<(LogIndex, u64)>,
}

impl SnapshotSender {
    /// A snapshot is saved here.
    pub(super) fn on_saved(&mut self, snapshot: SnapshotMeta) {
        self.snapshot = Some(snapshot);
    }

    /// The snapshot that stands for everything before `first_needed`, if there is one.
    pub(super) fn offer(&self, first_needed: LogIndex) -> Option<&SnapshotMeta> {
        self.snapshot
            .as_ref()
            .filter(|snapshot| snapshot.index >= first_needed)
    }

    /// The snapshot that is being fetched at this time: the log behind it must stay.
    pub(super) fn in_use(&self, cx: &Cx<'_>) -> Option<LogIndex> {
        let (index, at) = self.asked?;
        let patience = cx.config.knobs.transfer_patience_ms * 1_000;
        (cx.time().since(at).0 <= patience).then_some(index)
    }

    /// A follower wants bytes of an image.
    pub(super) fn on_fetch(
        &mut self,
        from: NodeId,
        index: LogIndex,
        offset: u64,
        read: ReadId,
        cx: &mut Cx<'_>,
    ) {
        self.asked = Some((index, cx.time()));
        self.reading.insert(
            from,
            Reading {
                read,
                image: Some((index, offset)),
            },
        );
        cx.outbox.act(Action::ReadSnapshot {
            read,
            index,
            offset,
            bytes_max: SNAPSHOT_PIECE_BYTES_MAX,
        });
    }

    /// A follower wants bodies.
    pub(super) fn on_bodies_fetch(
        &mut self,
        from: NodeId,
        mut digests: Vec<Digest>,
        read: ReadId,
        cx: &mut Cx<'_>,
    ) {
        digests.truncate(usize::try_from(BODIES_FETCH_MAX).unwrap_or(usize::MAX));
        if let Some((_, at)) = &mut self.asked {
            *at = cx.time();
        }
        self.reading.insert(from, Reading { read, image: None });
        cx.outbox.act(Action::ReadBodies {
            read,
            digests,
            bytes_max: SNAPSHOT_PIECE_BYTES_MAX,
        });
    }

    /// Bytes of an image came from the disk: none if it is not there.
    pub(super) fn on_piece_read(
        &mut self,
        read: ReadId,
        piece: Option<Piece>,
        term: Term,
        cx: &mut Cx<'_>,
    ) {
        let Some((to, Some((index, offset)))) = self.take(read) else {
            return;
        };
        if piece.is_none() {
            cx.mark(Mark::SnapshotGone);
        }
        let body = Body::SnapshotPiece {
            index,
            offset,
            piece,
        };
        let message = cx.message(term, body);
        cx.outbox.say(to, message);
    }

    /// Bodies came from the disk.
    pub(super) fn on_bodies_read(
        &mut self,
        read: ReadId,
        bodies: Vec<Bytes>,
        term: Term,
        cx: &mut Cx<'_>,
    ) {
        if let Some((to, None)) = self.take(read) {
            let message = cx.message(term, Body::Bodies { bodies });
            cx.outbox.say(to, message);
        }
    }

    /// Whose read this is; a later one of the same follower's has taken its place.
    fn take(&mut self, read: ReadId) -> Option<(NodeId, Option<(LogIndex, u64)>)> {
        let found = self
            .reading
            .iter()
            .find(|(_, reading)| reading.read == read)
            .map(|(to, _)| *to)?;
        let reading = self.reading.remove(&found)?;
        Some((found, reading.image))
    }
}
