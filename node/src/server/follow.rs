//! What changes while a server runs. Nodes and tokens come and go: what its file says of them is
//! followed, and how much room is held back; all else in it holds from the next start on. And this
//! node may be no member, or have no room.

use std::collections::BTreeMap;
use std::sync::Arc;

use precentor_core::ids::NodeId;
use precentor_core::status::Status;
use tokio::sync::watch;

use super::config::ServerConfig;
use crate::client::{Directory, Door};
use crate::net::{AddressBook, Roster};
use crate::reread::{LOOK_EVERY, Reread};
use crate::space::Space;

/// The other nodes, wherever somebody has to know of them.
#[derive(Debug)]
pub(super) struct Neighbours {
    pub(super) node: NodeId,
    pub(super) book: AddressBook,
    pub(super) roster: Roster,
    pub(super) directory: Directory,
    pub(super) space: Space,
}

impl Neighbours {
    /// These are there, and no others.
    pub(super) fn know(&self, addresses: &BTreeMap<NodeId, String>) {
        let others = || addresses.iter().filter(|(node, _)| **node != self.node);
        for (node, address) in others() {
            self.book.set(*node, address.clone());
            self.directory.add(Door::There(self.roster.add(*node)));
        }
        for line in self.roster.lines() {
            if !addresses.contains_key(&line.node()) {
                self.directory.remove(line.node());
                self.roster.remove(line.node());
            }
        }
    }
}

/// Follows what a node shows of itself: while it is no member, whether it was removed or has yet
/// to join, its clients' requests go to the others.
pub(super) async fn membership(
    mut seen: watch::Receiver<Option<Status>>,
    node: NodeId,
    directory: Directory,
) {
    while seen.changed().await.is_ok() {
        let member = seen.borrow_and_update();
        let is_member = member
            .as_ref()
            .is_none_or(|status| !status.removed && status.membership.contains(node));
        directory.pass_over((!is_member).then_some(node));
    }
}

/// Follows how much room there is on the disk.
pub(super) async fn room(space: Space, node: NodeId) {
    let mut was_low = false;
    loop {
        if let Err(error) = space.look() {
            tracing::warn!(%node, %error, "how much room is on the disk is not known");
        }
        let is_low = space.is_low();
        if is_low != was_low {
            let free_bytes = space.free_bytes();
            match is_low {
                true => {
                    tracing::error!(%node, free_bytes, "the disk is almost full: nothing new is accepted")
                }
                false => tracing::info!(%node, free_bytes, "there is room on the disk again"),
            }
            was_low = is_low;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Follows a configuration that was read before.
pub(super) async fn configuration(config: ServerConfig, neighbours: Neighbours) {
    let path = config.path.clone();
    let read = {
        let path = path.clone();
        move || ServerConfig::read(&path)
    };
    let file = match Reread::open(vec![path.clone()], Box::new(read)) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(%error, "changes of the configuration are not followed");
            return;
        }
    };
    let mut known: Option<Arc<ServerConfig>> = None;
    loop {
        let now = file.current();
        if known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &now)) {
            let nodes = now.addresses.len();
            tracing::info!(file = %path.display(), nodes, "nodes and tokens are as it says");
            neighbours.know(&now.addresses);
            config.callers.become_like(&now.callers);
            neighbours.space.hold_back(now.disk_reserve_bytes);
            known = Some(now);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
