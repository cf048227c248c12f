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
use crate::snapshot::{SnapshotMeta, SnapshotPart};
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
    /// The image comes: so many bytes of it are here.
    Image { pieces: Vec<Bytes>, bytes: u64 },
    /// It is whole, and is being read.
    Reading,
    /// It was read; these bodies are missing, as far as they are known.
    Bodies {
        wanted: Vec<Digest>,
        /// The leader's last answer had none of them: it may have been to a question before.
        came_empty: bool,
    },
    /// All of it is here, and is being put in force.
    Installing,
    /// The leader has it no more.
    Gone,
}

/// When to ask again, if what was asked for now does not come.
fn patience(cx: &Cx<'_>) -> Time {
    cx.time() + Span::from_ms(cx.config.knobs.election_timeout_ms_max)
}

impl Stage {
    /// The image is to come.
    fn nothing() -> Stage {
        Stage::Image {
            pieces: Vec::new(),
            bytes: 0,
        }
    }

    /// These bodies are to come.
    fn bodies(wanted: Vec<Digest>) -> Stage {
        Stage::Bodies {
            wanted,
            came_empty: false,
        }
    }
}

/// What a piece led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// Nothing to do.
    Nothing,
    /// The image is whole: these are its bytes.
    Image(SnapshotMeta, Vec<Bytes>),
    /// These bodies came.
    Bodies(Vec<(Digest, Bytes)>),
}

impl SnapshotReceiver {
    /// A transfer that begins, or goes on with what the disk holds of it.
    pub(super) fn new(meta: SnapshotMeta, from: NodeId, image: Vec<u8>) -> SnapshotReceiver {
        let image = Bytes::from(image);
        SnapshotReceiver {
            meta,
            from,
            stage: Stage::Image {
                bytes: image.count(),
                pieces: vec![image],
            },
            ask_again: Time(0),
        }
    }

    /// Which snapshot, in full.
    pub(super) fn meta(&self) -> &SnapshotMeta {
        &self.meta
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
            Stage::Image { .. } | Stage::Reading | Stage::Bodies { .. } => {
                self.meta != *offer && newer_of_another
            }
        }
    }

    /// The one who offers it has it.
    pub(super) fn on_offer(&mut self, offer: &SnapshotMeta, from: NodeId) {
        if self.meta == *offer {
            if matches!(self.stage, Stage::Gone) {
                self.stage = Stage::nothing();
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
        let Stage::Image {
            pieces,
            bytes: before,
        } = &mut self.stage
        else {
            return Received::Nothing;
        };
        if index != self.meta.index || offset != *before {
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
        *before += bytes.count();
        pieces.push(bytes.clone());
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
        let pieces = std::mem::take(pieces);
        self.ask_again = patience(cx);
        self.stage = Stage::Reading;
        Received::Image(self.meta.clone(), pieces)
    }

    /// The image was no good: from the beginning.
    pub(super) fn start_over(&mut self, cx: &mut Cx<'_>) {
        cx.mark(Mark::SnapshotRefused);
        self.stage = Stage::nothing();
        self.ask_again = Time(0);
    }

    /// The image was read, and is good.
    pub(super) fn on_read(&mut self) {
        if matches!(self.stage, Stage::Reading) {
            self.stage = Stage::bodies(Vec::new());
        }
    }

    /// Is the image being read?
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Reading)
    }

    /// Bodies that this node lacks are wanted.
    pub(super) fn want(&mut self, digests: Vec<Digest>) {
        self.stage = Stage::bodies(digests);
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
        matches!(&self.stage, Stage::Bodies { wanted, .. } if wanted.is_empty())
    }

    /// Bodies came: those that were wanted count, whatever the sender called them. A leader
    /// that has none of them has a newer snapshot, which does not speak of them any more.
    pub(super) fn on_bodies(&mut self, bodies: Vec<Bytes>, cx: &mut Cx<'_>) -> Received {
        let Stage::Bodies { wanted, came_empty } = &mut self.stage else {
            return Received::Nothing;
        };
        if bodies.is_empty() && !wanted.is_empty() {
            self.ask_again = Time(0);
            let gives_up = std::mem::replace(came_empty, true);
            #[cfg(feature = "planted-bugs")]
            let gives_up = gives_up && !cx.config.planted(crate::planted::Bug::WaitsForGoneBodies);
            if gives_up {
                cx.mark(Mark::SnapshotGone);
                self.stage = Stage::Gone;
            }
            return Received::Nothing;
        }
        *came_empty = false;
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
        #[cfg(feature = "planted-bugs")]
        if self.is_reading() && cx.config.planted(crate::planted::Bug::QuietReader) {
            return;
        }
        let body = match &self.stage {
            Stage::Image { bytes, .. } => Body::SnapshotFetch {
                index: self.meta.index,
                offset: *bytes,
            },
            Stage::Bodies { wanted, .. } if !wanted.is_empty() => Body::BodiesFetch {
                digests: wanted.clone(),
            },
            // That takes its time, and a leader that hears nothing would drop the log
            // behind the snapshot.
            Stage::Reading | Stage::Installing => Body::BodiesFetch {
                digests: Vec::new(),
            },
            Stage::Bodies { .. } | Stage::Gone => return,
        };
        self.ask_again = patience(cx);
        let message = cx.message(term, body);
        cx.outbox.say_durable(leader, message);
    }
}
