//! A node that asks whether an election could succeed, or for votes: counts
//! the answers of one round.

use std::collections::BTreeSet;

use crate::cx::Cx;
use crate::ids::NodeId;
use crate::time::{Span, Time};

/// One round of asking.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    granted: BTreeSet<NodeId>,
    /// Who must agree, all of them; none: a majority of those who vote.
    survivors: Option<Vec<NodeId>>,
    /// When this round has failed.
    pub(super) deadline: Time,
}

impl Candidate {
    /// A round that starts now and has failed after `wait`, with nobody's grant: a node's own vote counts
    /// like another's, when it is durable.
    pub(super) fn new(survivors: Option<Vec<NodeId>>, wait: Span, cx: &Cx<'_>) -> Candidate {
        let deadline = cx.time() + wait;
        Candidate {
            granted: BTreeSet::new(),
            survivors,
            deadline,
        }
    }

    /// A voter's grant. Again from the same voter it counts once.
    pub(super) fn on_granted(&mut self, from: NodeId) {
        self.granted.insert(from);
    }

    /// Did this node grant it?
    pub(super) fn was_granted_by(&self, node: NodeId) -> bool {
        self.granted.contains(&node)
    }

    /// Is that enough?
    pub(super) fn has_quorum(&self, cx: &Cx<'_>) -> bool {
        #[cfg(feature = "planted-bugs")]
        if let Some(elected) =
            super::miscount::is_elected(cx.config, cx.log.membership(), &self.granted)
        {
            return elected;
        }
        match &self.survivors {
            Some(survivors) => survivors.iter().all(|node| self.was_granted_by(*node)),
            None => cx
                .log
                .membership()
                .has_quorum(|node| self.was_granted_by(node)),
        }
    }
}
