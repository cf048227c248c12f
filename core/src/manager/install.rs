//! A leader's snapshot in the place of this node's log and state: decoded once
//! its image is whole, completed by the bodies that this node lacks, and taken
//! over when all of it is on disk. Until then nothing of it shows.

use super::recover::{RecoverError, state_of};
use super::{ContextManager, cx};

use crate::action::{Action, Violation};
use crate::bytes::Bytes;
use crate::digest::Digest;
use crate::event::Now;
use crate::ids::LogIndex;
use crate::limits::BODIES_FETCH_MAX;
use crate::queue::{BodyCursor, QueueManager};
use crate::snapshot::{Snapshot, SnapshotMeta};

/// A snapshot that waits for its bodies.
#[derive(Clone, Debug)]
pub(super) struct Installing {
    meta: SnapshotMeta,
    queue: QueueManager,
    /// The bodies of contexts up to this place are here.
    complete: Option<BodyCursor>,
    /// The host has answered since the last body was handed to it: everything of
    /// earlier turns is performed, in whatever order.
    performed: bool,
    /// The host was told to put it in force.
    ordered: bool,
}

impl Installing {
    /// Was the host told to put it in force?
    pub(super) fn is_ordered(&self) -> bool {
        self.ordered
    }
}

impl ContextManager {
    pub(super) fn on_image_received(&mut self, now: Now, snapshot: &Snapshot) {
        let meta = snapshot.meta.clone();
        if meta.index <= self.applied {
            return;
        }
        match state_of(snapshot, self.config.supports) {
            Ok(queue) => {
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

    /// Another snapshot may have taken this one's place meanwhile.
    fn drop_given_up(&mut self) {
        let receiving = self.cluster.receiving();
        self.installing
            .take_if(|i| !i.ordered && receiving != Some(i.meta.index));
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
        match last {
            Some(last) => {
                installing.complete = Some(last);
                self.outbox.act(Action::FindLacking { digests });
            }
            None if !installing.performed => {
                installing.performed = true;
                let digests = Vec::new();
                self.outbox.act(Action::FindLacking { digests });
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
        if let Some(installing) = &mut self.installing {
            installing.performed = false;
        }
        for (digest, body) in bodies {
            self.outbox.act(Action::PutBlob { digest, body });
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
            self.queue = queue;
            #[cfg(feature = "planted-bugs")]
            if let Some(bug) = self.config.planted {
                self.queue.plant(bug);
            }
            self.applied = index;
            self.awaits.on_replaced(&self.queue);
            self.hashes.clear();
        } else {
            // The log was faster, but the disk holds the leader's snapshot now.
            self.queue.give_up_image();
            self.cluster.set_snapshot(meta.clone());
        }
        self.snapshots.on_installed(meta);
    }
}
