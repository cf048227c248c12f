//! The transfer of a snapshot from a leader to a follower that lacks what the
//! log no longer holds: which side takes which message, and when it ends.

use super::receiver::{Received, SnapshotReceiver};
use super::{Change, ClusterCoordinator, Role};
use crate::bytes::Bytes;
use crate::cx::Cx;
use crate::digest::Digest;
use crate::ids::{LogIndex, NodeId, ReadId, Term};
use crate::log::TermAt;
use crate::marks::Mark;
use crate::message::{Body, Piece};
use crate::snapshot::SnapshotMeta;

impl ClusterCoordinator {
    /// A snapshot is saved here: if this node leads, it is what others are offered.
    pub fn set_snapshot(&mut self, snapshot: SnapshotMeta) {
        if let Role::Leader(leader) = &mut self.role {
            leader.sender.on_saved(snapshot);
        }
    }

    /// The snapshot that a follower is fetching from this node: it must stay,
    /// and the log behind it.
    #[must_use]
    pub fn snapshot_in_use(&self, cx: &Cx<'_>) -> Option<LogIndex> {
        match &self.role {
            Role::Leader(leader) => leader.sender.in_use(cx),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    /// A transfer that a restart has cut short goes on with what the disk holds.
    pub fn resume_transfer(&mut self, meta: SnapshotMeta, image: Vec<u8>, cx: &mut Cx<'_>) {
        if meta.index > self.commit {
            cx.mark(Mark::TransferResumed);
            let node = cx.config.node;
            self.receiver = Some(SnapshotReceiver::new(meta, node, image));
        }
    }

    /// The snapshot that is being received.
    #[must_use]
    pub fn receiving(&self) -> Option<LogIndex> {
        self.receiver.as_ref().map(SnapshotReceiver::index)
    }

    /// Which image is to be read, if one is.
    #[must_use]
    pub fn reading(&self) -> Option<&SnapshotMeta> {
        let reading = self.receiver.as_ref().filter(|it| it.is_reading());
        reading.map(SnapshotReceiver::meta)
    }

    /// The image was read, and is good: what follows is which bodies are missing.
    pub fn on_image_read(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.on_read();
        }
    }

    /// What was received is no snapshot: it is fetched anew.
    pub fn refuse_image(&mut self, cx: &mut Cx<'_>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.start_over(cx);
        }
    }

    /// These bodies are to be fetched for the snapshot.
    pub fn want_bodies(&mut self, digests: Vec<Digest>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.want(digests);
        }
    }

    /// The snapshot is being put in force: nothing takes its place any more.
    pub fn on_install_ordered(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.on_ordered();
        }
    }

    /// Are all bodies here that were wanted last?
    #[must_use]
    pub fn has_all_wanted(&self) -> bool {
        self.receiver
            .as_ref()
            .is_some_and(SnapshotReceiver::has_all_wanted)
    }

    /// The snapshot is on disk for good. True if it takes the log's place; a log
    /// that has its last entry already stays: what follows it may have been
    /// acknowledged (Raft, figure 13, rule 6).
    pub fn on_snapshot_installed(&mut self, meta: &SnapshotMeta, cx: &mut Cx<'_>) -> bool {
        self.receiver = None;
        if meta.index <= self.commit {
            cx.mark(Mark::SnapshotAbandoned);
            return false;
        }
        let known = cx.log.term_at(meta.index);
        let keeps = known == TermAt::Known(meta.term);
        #[cfg(feature = "planted-bugs")]
        let keeps = keeps
            && !(cx.config.planted(crate::planted::Bug::InstallDropsTail)
                && matches!(self.role, Role::Follower(_)));
        self.commit = meta.index;
        if keeps {
            cx.mark(Mark::SnapshotKeptLog);
            return false;
        }
        assert!(
            !matches!(self.role, Role::Leader(_)),
            "a leader has everything that is committed"
        );
        cx.mark(Mark::SnapshotInstalled);
        cx.reset(meta);
        if let Role::Follower(follower) = &mut self.role {
            follower.on_installed(meta.index);
        }
        true
    }

    /// A message of a transfer, from a member.
    pub(super) fn on_transfer(&mut self, from: NodeId, term: Term, body: Body, cx: &mut Cx<'_>) {
        if term != self.hard_state.term {
            cx.mark(Mark::StaleTermIgnored);
            return;
        }
        match (&mut self.role, body) {
            (Role::Leader(leader), Body::SnapshotFetch { index, offset }) => {
                let read = leader.next_read();
                leader.sender.on_fetch(from, index, offset, read, cx);
            }
            (Role::Leader(leader), Body::BodiesFetch { digests }) => {
                let read = leader.next_read();
                leader.sender.on_bodies_fetch(from, digests, read, cx);
            }
            (Role::Follower(follower), body) if follower.leader == Some(from) => {
                self.on_leaders_transfer(from, body, cx);
            }
            // Late, or from one who is not followed.
            _ => {}
        }
    }

    fn on_leaders_transfer(&mut self, from: NodeId, body: Body, cx: &mut Cx<'_>) {
        if let Body::SnapshotOffer(offer) = &body {
            return self.on_offer(from, offer, cx);
        }
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        let received = match body {
            Body::SnapshotPiece {
                index,
                offset,
                piece,
            } => receiver.on_piece(index, offset, piece, cx),
            Body::Bodies { bodies } => receiver.on_bodies(bodies, cx),
            _ => Received::Nothing,
        };
        match received {
            Received::Nothing => {}
            Received::Image(meta, pieces) => {
                self.changes.push(Change::ImageReceived { meta, pieces });
            }
            Received::Bodies(bodies) => self.changes.push(Change::BodiesReceived(bodies)),
        }
    }

    fn on_offer(&mut self, from: NodeId, offer: &SnapshotMeta, cx: &mut Cx<'_>) {
        if offer.index <= self.commit {
            return;
        }
        // It comes from outside: who stands on it would know no member.
        if offer.membership.check().is_err() {
            cx.mark(Mark::OfferRefused);
            return;
        }
        let begins = self
            .receiver
            .as_ref()
            .is_none_or(|receiver| receiver.gives_way_to(offer, from));
        if begins {
            self.receiver = Some(SnapshotReceiver::new(offer.clone(), from, Vec::new()));
        } else if let Some(receiver) = &mut self.receiver {
            receiver.on_offer(offer, from);
        }
    }

    /// A follower asks for what it lacks. Whoever has caught up by the log meanwhile lets
    /// go of it, whatever its role: a node may have come to lead by that log.
    pub(super) fn go_on_receiving(&mut self, cx: &mut Cx<'_>) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        if receiver.index() <= self.commit && !receiver.is_ordered() {
            cx.mark(Mark::SnapshotAbandoned);
            self.receiver = None;
        } else if let Role::Follower(follower) = &self.role
            && let Some(leader) = follower.leader
        {
            receiver.ask(leader, self.hard_state.term, cx);
        }
    }

    /// Bytes of an image that were asked for are here, or are not to be had.
    pub fn on_piece_read(&mut self, read: ReadId, piece: Option<Piece>, cx: &mut Cx<'_>) {
        if let Role::Leader(leader) = &mut self.role {
            let term = self.hard_state.term;
            leader.sender.on_piece_read(read, piece, term, cx);
        }
    }

    /// Bodies that were asked for are here.
    pub fn on_bodies_read(&mut self, read: ReadId, bodies: Vec<Bytes>, cx: &mut Cx<'_>) {
        if let Role::Leader(leader) = &mut self.role {
            let term = self.hard_state.term;
            leader.sender.on_bodies_read(read, bodies, term, cx);
        }
    }
}
