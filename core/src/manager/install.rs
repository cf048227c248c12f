//! A leader's snapshot in the place of this node's log and state: read beside the turns
//! once its image is whole, completed by the bodies that this node lacks, and taken
//! over when all of it is on disk. Until then nothing of it shows.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::recover::{RecoverError, state_of};
use super::{ContextManager, cx};

use crate::action::{Action, BodyOf, Violation};
use crate::bytes::Bytes;
use crate::digest::Digest;
use crate::event::Now;
use crate::feature::FeatureLevel;
use crate::ids::{LogIndex, WorkId};
use crate::limits::BODIES_FETCH_MAX;
use crate::queue::{BodyCursor, QueueManager};
use crate::snapshot::SnapshotMeta;
use crate::work::{Done, Errand, Work};

/// A snapshot that waits for its bodies.
#[derive(Clone, Debug)]
pub(super) struct Installing {
    meta: SnapshotMeta,
    queue: QueueManager,
    /// The bodies up to here are here.
    complete: Option<BodyCursor>,
    /// The host has answered since the last body was handed to it: everything of
    /// earlier turns is performed, in whatever order.
    performed: bool,
    /// The host was told to put it in force.
    ordered: bool,
}

impl Installing {
    /// What sort of bodies it goes through just now.
    fn looks_for(&self) -> BodyOf {
        match self.complete.is_some_and(BodyCursor::is_at_source) {
            true => BodyOf::Source,
            false => BodyOf::Result,
        }
    }

    /// Was the host told to put it in force?
    pub(super) fn is_ordered(&self) -> bool {
        self.ordered
    }
}

/// What was handed to the host to be done beside the turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    next: WorkId,
    /// The image that is being read.
    reading: Option<(WorkId, SnapshotMeta)>,
}

impl Aside {
    fn order(&mut self, errand: impl Errand + 'static) -> (WorkId, Action) {
        self.next = self.next.next();
        (self.next, Action::Work(Work::new(self.next, errand)))
    }
}

type StateRead = Result<QueueManager, RecoverError>;

/// To read a state out of its image.
struct ReadState {
    meta: SnapshotMeta,
    pieces: Vec<Bytes>,
    supports: FeatureLevel,
}

impl fmt::Debug for ReadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the state of {}", self.meta.index)
    }
}

impl Errand for ReadState {
    fn run(&self) -> Arc<dyn Any + Send + Sync> {
        let bytes = self.pieces.iter().map(|piece| piece.len()).sum();
        let mut image = Vec::with_capacity(bytes);
        for piece in &self.pieces {
            image.extend_from_slice(piece);
        }
        let read: StateRead = state_of(&self.meta, &image, self.supports);
        Arc::new(read)
    }
}

/// To let go of a state: a million jobs are as many pieces of memory.
struct LetGo {
    /// Goes with the work, wherever that is done.
    _state: Box<QueueManager>,
}

impl fmt::Debug for LetGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("let go of a state")
    }
}

impl Errand for LetGo {
    fn run(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(())
    }
}

impl ContextManager {
    /// Reads a leader's image beside the turns.
    pub(super) fn on_image_received(&mut self, meta: SnapshotMeta, pieces: Vec<Bytes>) {
        let (id, action) = self.aside.order(ReadState {
            meta: meta.clone(),
            pieces,
            supports: self.config.supports,
        });
        self.aside.reading = Some((id, meta));
        self.outbox.act(action);
    }

    /// The host has done something.
    pub(super) fn on_work_done(&mut self, now: Now, done: Done) {
        let reading = self.aside.reading.take_if(|(id, _)| *id == done.id());
        let Some(read) = done.product::<StateRead>() else {
            return;
        };
        // Another snapshot may have taken its place meanwhile, or the log was faster.
        let is_wanted = reading.filter(|(_, meta)| self.cluster.reading() == Some(meta));
        let (meta, read) = match (is_wanted, read) {
            (Some((_, meta)), read) => (meta, read),
            (None, Ok(queue)) => return self.let_go(queue),
            (None, Err(_)) => return,
        };
        match read {
            Ok(queue) => {
                self.cluster.on_image_read();
                self.installing = Some(Installing {
                    meta,
                    queue,
                    complete: None,
                    performed: false,
                    ordered: false,
                });
                self.look_for_bodies();
            }
            Err(RecoverError::LevelBeyondProgram {
                index,
                required,
                supported,
            }) => self.halt(Violation::LevelBeyondProgram {
                index,
                required,
                supported,
            }),
            Err(_) => self.cluster.refuse_image(&mut cx!(self, now)),
        }
    }

    fn let_go(&mut self, state: QueueManager) {
        let (_, action) = self.aside.order(LetGo {
            _state: Box::new(state),
        });
        self.outbox.act(action);
    }

    /// Another snapshot may have taken this one's place meanwhile.
    fn drop_given_up(&mut self) {
        let receiving = self.cluster.receiving();
        let given_up = self
            .installing
            .take_if(|i| !i.ordered && receiving != Some(i.meta.index));
        if let Some(given_up) = given_up {
            self.let_go(given_up.queue);
        }
    }

    /// Asks which of the next bodies are missing, or for the end if there are none.
    fn look_for_bodies(&mut self) {
        let Some(installing) = self.installing.as_mut().filter(|i| !i.ordered) else {
            return;
        };
        let (digests, last) = installing
            .queue
            .bodies_after(installing.complete, BODIES_FETCH_MAX);
        #[cfg(feature = "planted-bugs")]
        let last = last.filter(|_| {
            !self
                .config
                .planted(crate::planted::Bug::InstallWithoutBodies)
        });
        #[cfg(feature = "planted-bugs")]
        let digests = match self
            .config
            .planted(crate::planted::Bug::InstallWithoutSources)
        {
            true => digests
                .into_iter()
                .filter(|digest| !installing.queue.has_source(digest))
                .collect(),
            false => digests,
        };
        match last {
            Some(last) => {
                installing.complete = Some(last);
                let of = installing.looks_for();
                self.outbox.act(Action::FindLacking { digests, of });
            }
            None if !installing.performed => {
                installing.performed = true;
                let (digests, of) = (Vec::new(), installing.looks_for());
                self.outbox.act(Action::FindLacking { digests, of });
            }
            None => {
                installing.ordered = true;
                self.cluster.on_install_ordered();
                let index = installing.meta.index;
                self.outbox.act(Action::InstallSnapshot { index });
            }
        }
    }

    pub(super) fn on_bodies_lacking(&mut self, digests: Vec<Digest>) {
        self.drop_given_up();
        if self.installing.is_none() {
            return;
        }
        if digests.is_empty() {
            return self.look_for_bodies();
        }
        self.cluster.want_bodies(digests);
    }

    pub(super) fn on_bodies_received(&mut self, bodies: Vec<(Digest, Bytes)>) {
        // Without an installation nobody asked for any.
        let Some(installing) = &mut self.installing else {
            return;
        };
        installing.performed = false;
        let of = installing.looks_for();
        for (digest, body) in bodies {
            self.outbox.act(Action::PutBlob { digest, body, of });
        }
        self.drop_given_up();
        if self.cluster.has_all_wanted() {
            self.look_for_bodies();
        }
    }

    pub(super) fn on_snapshot_installed(&mut self, now: Now, index: LogIndex) {
        let Some(installing) = self.installing.take_if(|i| i.meta.index == index) else {
            return;
        };
        let Installing { meta, queue, .. } = installing;
        let replaces = self
            .cluster
            .on_snapshot_installed(&meta, &mut cx!(self, now));
        #[cfg(feature = "planted-bugs")]
        if !replaces
            && self
                .config
                .planted(crate::planted::Bug::OvertakenInstallForgotten)
        {
            return;
        }
        if replaces {
            let before = std::mem::replace(&mut self.queue, queue);
            self.let_go(before);
            #[cfg(feature = "planted-bugs")]
            if let Some(bug) = self.config.planted {
                self.queue.plant(bug);
            }
            self.applied = index;
            self.awaits.on_replaced(&self.queue);
            self.hashes.clear();
        } else {
            // The log was faster, but the disk holds the leader's snapshot now.
            self.let_go(queue);
            self.queue.give_up_image();
            self.cluster.set_snapshot(meta.clone());
        }
        self.snapshots.on_installed(meta);
    }
}
