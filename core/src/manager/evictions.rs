//! Which results a leader lets go of: those that nobody used lately. Volatile: no other
//! node knows it, and a new leader begins anew. What may go is for the queue to say.
//!
//! Exact order of use would cost an entry for each context. Uses are kept in two
//! generations instead: when the young one is full it becomes the old one, and what was
//! the old one is forgotten. Whoever is in neither goes, in a fixed order; if all are
//! needed or in one of the two, the old generation is forgotten and the walk begins
//! again. It is an approximation of least recently used in bounded memory.

use std::collections::BTreeSet;

use super::ContextManager;
use crate::command::{Command, Eviction};
use crate::event::Now;
use crate::ids::LogIndex;
use crate::job::JobSpec;
use crate::limits::{EVICTION_LOOKED_AT_MAX, EVICTIONS_PER_ENTRY_MAX, USES_KEPT_MAX};
use crate::marks::Mark;
use crate::queue::{CachedAt, QueueManager};
use crate::request::Query;

/// What was used lately, and how far the walk over all contexts has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Evictions {
    young: BTreeSet<CachedAt>,
    old: BTreeSet<CachedAt>,
    /// Up to where the walk has come.
    hand: Option<CachedAt>,
    /// An `Evict` that is proposed and not applied.
    under_way: Option<LogIndex>,
    /// A walk over everything, without any use in mind, found nothing that may go, as
    /// of this entry.
    fruitless: Option<LogIndex>,
    /// Something was found since the walk began.
    found: bool,
}

impl Evictions {
    /// Somebody asked for what is published there.
    fn on_used(&mut self, at: CachedAt) {
        if self.young.len() as u64 >= USES_KEPT_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(at);
    }

    fn was_used(&self, at: CachedAt) -> bool {
        self.young.contains(&at) || self.old.contains(&at)
    }

    /// What is to go next: as much as is over the budget, as far as a turn finds it.
    fn choose(&mut self, queue: &QueueManager) -> Vec<Eviction> {
        let (mut chosen, mut bytes) = (Vec::new(), 0u64);
        let excess = queue.excess_bytes();
        if excess == 0 || self.fruitless == Some(queue.applied()) {
            return chosen;
        }
        let contexts = queue.cached_after(self.hand);
        for (looked_at, context) in (0..).zip(contexts) {
            let is_enough = bytes >= excess || chosen.len() as u64 >= EVICTIONS_PER_ENTRY_MAX;
            if is_enough || looked_at >= EVICTION_LOOKED_AT_MAX {
                return chosen;
            }
            self.hand = Some(context.at);
            if !context.needed && !self.was_used(context.at) {
                bytes += context.bytes;
                chosen.push(Eviction {
                    address: context.address.clone(),
                    job: context.job,
                });
                self.found = true;
            }
        }
        // The end of the walk.
        self.hand = None;
        if !std::mem::take(&mut self.found) {
            match (self.young.is_empty(), self.old.is_empty()) {
                (true, true) => self.fruitless = Some(queue.applied()),
                _ => self.old = std::mem::take(&mut self.young),
            }
        }
        chosen
    }

    pub(super) fn on_applied(&mut self, index: LogIndex) {
        self.under_way.take_if(|under_way| *under_way == index);
    }

    /// Another one leads: it will choose.
    pub(super) fn on_deposed(&mut self) {
        *self = Evictions::default();
    }
}

impl ContextManager {
    /// Contexts are asked for: those that are published are used.
    pub(super) fn note_uses(&mut self, items: &[JobSpec]) {
        if !self.failover.is_leading() || !self.queue.has_budget() {
            return;
        }
        for item in items {
            if let Some(at) = self.queue.cached_at(&item.address) {
                self.evictions.on_used(at);
            }
        }
    }

    /// A context may be read.
    pub(super) fn note_read(&mut self, query: &Query) {
        let (Query::Context(address) | Query::Cached(address)) = query else {
            return;
        };
        if !self.failover.is_leading() || !self.queue.has_budget() {
            return;
        }
        if let Some(at) = self.queue.cached_at(address) {
            self.evictions.on_used(at);
        }
    }

    /// Keeps the published results within their budget.
    pub(super) fn evict(&mut self, now: Now) {
        if self.evictions.under_way.is_some() {
            return;
        }
        let evictions = self.evictions.choose(&self.queue);
        if !evictions.is_empty() {
            self.marks.hit(Mark::EvictionProposed);
            let index = self.append_own(now, Command::Evict { evictions });
            self.evictions.under_way = Some(index);
        }
    }
}
