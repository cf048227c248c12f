//! Requests that nodes send their leader for their clients: they pass through, for they are
//! nothing to a role.

use super::{Change, ClusterCoordinator, say_in_term};
use crate::cx::Cx;
use crate::ids::NodeId;
use crate::message::Body;

impl ClusterCoordinator {
    /// Says something of this kind: it depends on no write but that of the term.
    pub fn say(&self, to: NodeId, body: Body, cx: &mut Cx<'_>) {
        say_in_term(to, self.hard_state.term, body, cx);
    }

    pub(super) fn on_forwarding(&mut self, from: NodeId, body: Body) {
        self.changes.extend(match body {
            Body::Forward { attempt, entry } => Some(Change::Forward {
                from,
                attempt,
                entry,
            }),
            Body::Forwarded {
                request,
                attempt,
                end,
            } => Some(Change::Forwarded {
                request,
                attempt,
                end,
            }),
            _ => None,
        });
    }
}
