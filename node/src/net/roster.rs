//! Which nodes this one knows: whom it lets in, whom it dials, and whom its clients can ask
//! through it. Nodes come and go while it runs. Who of them is a member, and may vote, is for
//! the core: a node that is not yet one has to be reached to become one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use precentor_core::ids::NodeId;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::link::{self, LinkContext};
use super::relay::{self, Line};
use super::{Me, locked};

/// The nodes that are known. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<BTreeMap<NodeId, Tasks>>>);

/// What keeps the connections to one of them.
#[derive(Debug)]
struct Tasks {
    line: Line,
    running: Vec<AbortHandle>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.running.iter().for_each(AbortHandle::abort);
    }
}

impl Known {
    /// Is it one of them?
    pub(super) fn contains(&self, node: NodeId) -> bool {
        locked(&self.0).contains_key(&node)
    }
}

/// Says whom a node knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Roster {
    runtime: Handle,
    context: LinkContext,
}

impl Roster {
    pub(super) fn new(runtime: Handle, context: LinkContext) -> Roster {
        Roster { runtime, context }
    }

    fn me(&self) -> &Me {
        &self.context.me
    }

    /// There is a node: it is let in and kept connected from now on, and this is the way to
    /// it for what clients of this node ask. Once is enough. Where it listens is for the
    /// address book.
    pub fn add(&self, node: NodeId) -> Line {
        let mut known = locked(&self.context.known.0);
        if let Some(tasks) = known.get(&node) {
            return tasks.line.clone();
        }
        let (line, questions) = Line::new(node);
        let mut running = Vec::new();
        if node < self.me().node {
            let dial = link::dial(node, self.context.clone());
            running.push(self.runtime.spawn(dial).abort_handle());
        }
        let ask = relay::ask(questions, self.context.clone());
        running.push(self.runtime.spawn(ask).abort_handle());
        let tasks = Tasks {
            line: line.clone(),
            running,
        };
        known.insert(node, tasks);
        line
    }

    /// It is gone: what is open to it closes within a moment.
    pub fn remove(&self, node: NodeId) {
        locked(&self.context.known.0).remove(&node);
    }

    /// The ways to all of them.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let known = locked(&self.context.known.0);
        known.values().map(|tasks| tasks.line.clone()).collect()
    }

    pub(super) fn clear(&self) {
        locked(&self.context.known.0).clear();
    }
}
