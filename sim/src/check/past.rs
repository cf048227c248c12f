//! Is it told what was published before? The judge remembers what replicas showed as
//! published at an address, and which entries handed results in: whatever something else took
//! the place of must be in the history, in order, and nothing else may be. Each log index
//! is judged once, at the replica that applies it first.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::address::Address;
use precentor_core::command::{AuditRecord, Command};
use precentor_core::digest::Digest;
use precentor_core::edit::PastResult;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{JobId, LogIndex};
use precentor_core::limits::HISTORY_RESULTS_MAX;
use precentor_core::view::View;

use super::effects::Effects;
use super::logs::Logs;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Past {
    effects: Effects,
    /// Which job's result an entry handed in.
    handed_in: BTreeMap<LogIndex, JobId>,
    /// What was handed in.
    made: BTreeSet<(JobId, Digest)>,
    /// What was seen as published at an address while replaced results were kept, in order.
    shown: BTreeMap<Address, Vec<JobId>>,
    /// Jobs that an entry since the last look handed in.
    jobs: BTreeSet<JobId>,
    /// Addresses at which an entry since the last look let a result go, or tried to.
    evicted: BTreeSet<Address>,
    /// Addresses of which that was so once.
    lost: BTreeSet<Address>,
}

impl Past {
    /// A replica says what came of an entry.
    pub(super) fn on_audit(&mut self, record: &AuditRecord, logs: &Logs) {
        match self.effects.next(record, logs).map(|entry| &entry.command) {
            Some(Command::Complete { job, result, .. }) => {
                self.handed_in.insert(record.index, *job);
                self.made.insert((*job, *result));
                self.jobs.insert(*job);
            }
            Some(Command::Evict { evictions }) => {
                let addresses = evictions.iter().map(|eviction| eviction.address.clone());
                self.evicted.extend(addresses);
            }
            _ => {}
        }
    }

    /// The turn is over: the history of what changed is looked at.
    pub(super) fn on_turn(&mut self, view: &View<'_>, marks: &mut Marks) -> Verdict {
        if view.applied() != self.effects.last() {
            return Ok(());
        }
        let (jobs, queue) = (std::mem::take(&mut self.jobs), view.queue());
        let touched: BTreeSet<Address> = jobs
            .iter()
            .filter_map(|job| queue.address_of(*job).cloned())
            .collect();
        // What was let go is in no history, nor is it known when that was.
        for address in std::mem::take(&mut self.evicted) {
            self.shown.remove(&address);
            self.lost.insert(address);
        }
        for address in touched {
            let now = queue.context(&address).map(|context| context.job);
            let (results, _) = queue.history(&address);
            self.is_real(&address, &results, now)?;
            let shown = self.shown.entry(address.clone()).or_default();
            let kept: BTreeSet<JobId> = results.iter().map(|past| past.job).collect();
            // The oldest make way.
            let is_full = results.len() as u64 >= HISTORY_RESULTS_MAX;
            let gone = shown.iter().take_while(|job| !kept.contains(job));
            let gone = if is_full { gone.count() } else { 0 };
            let is_told = |job: &JobId| Some(*job) == now || kept.contains(job);
            let untold = shown.iter().skip(gone).find(|job| !is_told(job));
            let untold = untold.filter(|_| now.is_some());
            claim(untold.is_none(), || {
                format!("{address} showed the result of {untold:?}, and its history has {kept:?}")
            })?;
            if !results.is_empty() {
                marks.hit(Mark::ResultReplaced);
            }
            let keeps = queue.level() >= FeatureLevel::CONTEXTS_EDITED;
            shown.extend(now.filter(|job| keeps && shown.last() != Some(job)));
        }
        Ok(())
    }

    /// Every row was handed in, and replaced by what was handed in by the entry that it names.
    fn is_real(&self, address: &Address, results: &[PastResult], now: Option<JobId>) -> Verdict {
        for (place, past) in results.iter().enumerate() {
            let by = self.handed_in.get(&past.index).copied();
            let next = results.get(place + 1);
            // As new as the other is what was asked for anew when the other answered.
            let is_older =
                next.is_none_or(|next| past.index < next.index && past.accepted <= next.accepted);
            // An eviction may stand between two rows, and is not told.
            let next = next.map(|next| next.job).or(now);
            let is_next = self.lost.contains(address) || next == Some(past.replaced_by);
            let holds = self.made.contains(&(past.job, past.result))
                && by == Some(past.replaced_by)
                && is_older
                && is_next;
            claim(holds, || {
                format!("{address} has {past:?} in its history; {by:?} was handed in there")
            })?;
        }
        Ok(())
    }
}

fn claim(holds: bool, text: impl FnOnce() -> String) -> Verdict {
    ensure(holds, Checker::PastResults, text)
}
