//! What a node says of itself to people: everything at a glance, as of its last turn.

use super::ContextManager;
use crate::status::{Status, WorkerStatus};

impl ContextManager {
    pub(crate) fn status(&self) -> Status {
        let now = self.health.last_turn();
        let leads = self.failover.is_leading();
        let workers = self.queue.workers().map(|spec| WorkerStatus {
            worker: spec.worker,
            slots: spec.slots,
            running: u32::try_from(self.queue.leases_count(spec.worker)).unwrap_or(u32::MAX),
            paused: self.queue.is_worker_paused(spec.worker),
            health: leads.then(|| self.generation.health(spec.worker, now)),
        });
        let membership = (**self.log.membership()).clone();
        let others = membership.nodes().filter(|node| *node != self.config.node);
        let peers = others.map(|node| self.health.peer(node, now)).collect();
        let writing = self.outbox.oldest_unconfirmed();
        Status {
            node: self.config.node,
            role: self.cluster.role(),
            phase: self.failover.phase(self.cluster.is_yielding()),
            term: self.cluster.term(),
            leader: self.cluster.leader(self.config.node),
            last: self.log.last().index,
            commit: self.cluster.commit(),
            applied: self.applied,
            level: self.queue.level(),
            supports: self.config.supports,
            t: self.queue.now(),
            removed: self.is_removed(),
            repairing: self.cluster.repairing(),
            queue: self.queue.counts(),
            workers: workers.collect(),
            own: self.health.own_status(now, writing, self.backlogged),
            peers,
            recovery: self.recoveries.status(),
            local: self.local.status(),
            membership,
        }
    }
}
