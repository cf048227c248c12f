//! A follower's side of a snapshot's transfer: asks for one piece at a time,
//! in order, and for the bodies that it lacks, until it could stand on the
//! snapshot instead of the log before it. Knows nothing of what is in it.
//!
//! What was received survives a restart of either end: pieces go to the disk as
//! they come, and a leader that has the snapshot goes on where they end. Nothing
//! of it is acknowledged before all of it is there.

use crate::action::Action;
use crate::bytes::Bytes;
use crate::cx::Cx;
use crate::digest::Digest;
use crate::ids::{LogIndex, NodeId, Term};
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::marks::Mark;
use crate::message::{Body, Piece};
use crate::snapshot::{Snapshot, SnapshotMeta, SnapshotPart};
use crate::time::{Span, Time};

/// A transfer that was begun.
#[derive(Clone, Debug)]
pub(super) struct SnapshotReceiver {
    meta: SnapshotMeta,
    /// Who had it last.
    from: NodeId,
    stage: Stage,
    /// When to ask again, if nothing comes.
    ask_again: Time,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The image comes.
    Image(Vec<u8>),
    /// The image is whole; these bodies are missing, as far as they are known.
    Bodies(Vec<Digest>),
    /// All of it is here, and is being put in force.
    Installing,
    /// The leader has it no more.
    Gone,
}

/// What a piece led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// Nothing to do.
    Nothing,
    /// The image is whole.
    Image(Snapshot),
    /// These bodies came.
    Bodies(Vec<(Digest, Bytes)>),
}

impl SnapshotReceiver {
    /// A transfer that begins, or goes on with what the disk holds of it.
    pub(super) fn new(meta: SnapshotMeta, from: NodeId, image: Vec<u8>) -> SnapshotReceiver {
        SnapshotReceiver {
            meta,
            from,
            stage: Stage::Image(image),
            ask_again: Time(0),
        }
    }

    /// Which snapshot.
    pub(super) fn index(&self) -> LogIndex {
        self.meta.index
    }

    /// A leader offers a snapshot. True if this transfer is given up for it: only
    /// when it cannot go on, or a fast leader would never be caught up with.
    pub(super) fn gives_way_to(&self, offer: &SnapshotMeta, from: NodeId) -> bool {
        let newer_of_another = offer.index >= self.meta.index && self.from != from;
        match self.stage {
            // What the disk is about to put in force stays as it is.
            Stage::Installing => false,
            Stage::Gone => self.meta != *offer,
            Stage::Image(_) | Stage::Bodies(_) => self.meta != *offer && newer_of_another,
        }
    }

    /// The one who offers it has it.
    pub(super) fn on_offer(&mut self, offer: &SnapshotMeta, from: NodeId) {
        if self.meta == *offer {
            if matches!(self.stage, Stage::Gone) {
                self.stage = Stage::Image(Vec::new());
            }
            self.from = from;
        }
    }

    /// Bytes of the image, or the word that there are none any more.
    pub(super) fn on_piece(
        &mut self,
        index: LogIndex,
        offset: u64,
        piece: Option<Piece>,
        cx: &mut Cx<'_>,
    ) -> Received {
        let Stage::Image(image) = &mut self.stage else {
            return Received::Nothing;
        };
        if index != self.meta.index || offset != image.len() as u64 {
            return Received::Nothing;
        }
        let Some(Piece { bytes, last }) = piece else {
            self.stage = Stage::Gone;
            return Received::Nothing;
        };
        if offset + bytes.count() > SNAPSHOT_BYTES_MAX || (bytes.is_empty() && !last) {
            cx.mark(Mark::SnapshotRefused);
            self.stage = Stage::Gone;
            return Received::Nothing;
        }
        self.ask_again = Time(0);
        image.extend_from_slice(&bytes);
        cx.outbox.act(Action::KeepPiece(SnapshotPart {
            meta: self.meta.clone(),
            offset,
            bytes,
            last,
        }));
        if !last {
            return Received::Nothing;
        }
        cx.mark(Mark::SnapshotReceived);
        let image = std::mem::take(image).into();
        self.stage = Stage::Bodies(Vec::new());
        Received::Image(Snapshot {
            meta: self.meta.clone(),
            image,
        })
    }

    /// The image was no good: from the beginning.
    pub(super) fn start_over(&mut self, cx: &mut Cx<'_>) {
        cx.mark(Mark::SnapshotRefused);
        self.stage = Stage::Image(Vec::new());
        self.ask_again = Time(0);
    }

    /// Bodies that this node lacks are wanted.
    pub(super) fn want(&mut self, digests: Vec<Digest>) {
        self.stage = Stage::Bodies(digests);
        self.ask_again = Time(0);
    }

    /// The disk was told to put it in force.
    pub(super) fn on_ordered(&mut self) {
        self.stage = Stage::Installing;
    }

    /// Was it?
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self.stage, Stage::Installing)
    }

    /// Are all bodies that were wanted here?
    pub(super) fn has_all_wanted(&self) -> bool {
        matches!(&self.stage, Stage::Bodies(wanted) if wanted.is_empty())
    }

    /// Bodies came: those that were wanted count, whatever the sender called them.
    pub(super) fn on_bodies(&mut self, bodies: Vec<Bytes>) -> Received {
        let Stage::Bodies(wanted) = &mut self.stage else {
            return Received::Nothing;
        };
        let mut taken = Vec::new();
        for body in bodies {
            let digest = Digest::of(&body);
            if let Some(position) = wanted.iter().position(|wanted| *wanted == digest) {
                wanted.remove(position);
                taken.push((digest, body));
            }
        }
        if taken.is_empty() {
            return Received::Nothing;
        }
        self.ask_again = Time(0);
        Received::Bodies(taken)
    }

    /// Asks for the next thing, if it was not asked for lately.
    pub(super) fn ask(&mut self, leader: NodeId, term: Term, cx: &mut Cx<'_>) {
        if cx.time() < self.ask_again {
            return;
        }
        let body = match &self.stage {
            Stage::Image(image) => Body::SnapshotFetch {
                index: self.meta.index,
                offset: image.len() as u64,
            },
            Stage::Bodies(wanted) if !wanted.is_empty() => Body::BodiesFetch {
                digests: wanted.clone(),
            },
            Stage::Bodies(_) | Stage::Installing | Stage::Gone => return,
        };
        self.ask_again = cx.time() + Span::from_ms(cx.config.knobs.election_timeout_ms_max);
        let message = cx.message(term, body);
        cx.outbox.say_durable(leader, message);
    }
}
