//! What a leader knows of every other member, in the order of their ids. They
//! are few and looked at in every turn: one sorted list, no tree.

use std::ops::Range;

use super::progress::Progress;
use crate::ids::NodeId;

/// Every other member, and how far it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(Vec<(NodeId, Progress)>);

impl Peers {
    /// How far a member is.
    pub(super) fn get(&self, peer: NodeId) -> Option<&Progress> {
        let found = self.0.iter().find(|(node, _)| *node == peer);
        found.map(|(_, progress)| progress)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, peer: NodeId) -> Option<&mut Progress> {
        let found = self.0.iter_mut().find(|(node, _)| *node == peer);
        found.map(|(_, progress)| progress)
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Progress)> {
        self.0.iter().map(|(node, progress)| (*node, progress))
    }

    /// All, in order, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Progress)> {
        self.0.iter_mut().map(|(node, progress)| (*node, progress))
    }

    /// Where each one stands: valid until members come or go.
    pub(super) fn places(&self) -> Range<usize> {
        0..self.0.len()
    }

    /// The member at a place.
    pub(super) fn at(&self, place: usize) -> &Progress {
        &self.0[place].1
    }

    /// The same, to be changed, and its id.
    pub(super) fn at_mut(&mut self, place: usize) -> (NodeId, &mut Progress) {
        let (node, progress) = &mut self.0[place];
        (*node, progress)
    }

    /// Keeps the members for whom `is_member` is true.
    pub(super) fn retain(&mut self, is_member: impl Fn(NodeId) -> bool) {
        self.0.retain(|(node, _)| is_member(*node));
    }

    /// A member, unless it is here already.
    pub(super) fn add(&mut self, peer: NodeId, progress: impl FnOnce() -> Progress) {
        if let Err(place) = self.0.binary_search_by_key(&peer, |(node, _)| *node) {
            self.0.insert(place, (peer, progress()));
        }
    }
}
