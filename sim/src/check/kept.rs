//! Is what an unfinished job is to be made of kept, once it is? Which jobs count on a text
//! the judge finds by itself: those that came while it was there, before and after a turn in
//! which nobody had it kept anew. Each log index is judged once, at the replica that applies
//! it first.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::action::BodyOf;
use precentor_core::command::{AuditRecord, Command};
use precentor_core::digest::Digest;
use precentor_core::ids::{JobId, LogIndex};
use precentor_core::view::View;

use super::effects::Effects;
use super::logs::Logs;
use super::{Checker, Verdict, ensure};
use crate::disk::Disk;
use crate::marks::{Mark, Marks};

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    effects: Effects,
    /// The last look was as of this entry, and this was the last job then.
    looked: LogIndex,
    last_job: JobId,
    /// What was ever kept, and by which entry the last time.
    texts: BTreeMap<Digest, LogIndex>,
    /// Those that were there at the last look.
    there: BTreeSet<Digest>,
    /// Jobs that count on one.
    counting: BTreeMap<JobId, Digest>,
}

impl Kept {
    /// A replica says what came of an entry.
    pub(super) fn on_audit(&mut self, record: &AuditRecord, logs: &Logs, marks: &mut Marks) {
        let is_new = record.index > self.effects.last();
        if let Some(entry) = self.effects.next(record, logs)
            && let Command::KeepSources { sources } = &entry.command
        {
            let digests = sources.iter().map(|text| Digest::of(text));
            self.texts
                .extend(digests.map(|digest| (digest, record.index)));
        }
        if is_new
            && record
                .text
                .contains("the sources of unfinished jobs count for")
        {
            marks.hit(Mark::SourcesFull);
        }
    }

    /// A node came back: what its snapshot speaks of is on its disk, and the rest will come
    /// out of its log again.
    pub(super) fn on_recovered(&self, view: &View<'_>, disk: &Disk) -> Verdict {
        let spoken_of = self.texts.keys().copied();
        let spoken_of = spoken_of.filter(|digest| view.queue().has_source(digest));
        let lacking = disk.shelf.lacking(spoken_of.collect(), BodyOf::Source);
        ensure(lacking.is_empty(), Checker::KeptSources, || {
            let (node, from) = (view.node(), view.applied());
            format!("{node} starts from {from}, and its disk lacks the sources {lacking:?}")
        })
    }

    /// What goes from a disk nobody speaks of.
    pub(super) fn on_dropped(&self, digest: &Digest, view: &View<'_>) -> Verdict {
        ensure(
            !view.queue().has_source(digest),
            Checker::KeptSources,
            || format!("{} lets {digest} go, which is kept", view.node()),
        )
    }

    /// The turn is over: what was counted on is there.
    pub(super) fn on_turn(&mut self, view: &View<'_>, marks: &mut Marks) -> Verdict {
        let (queue, applied) = (view.queue(), view.applied());
        if applied != self.effects.last() || applied == self.looked || self.texts.is_empty() {
            return Ok(());
        }
        let is_live = |job: JobId| queue.unfinished_job(job).is_some();
        self.counting.retain(|job, _| is_live(*job));
        for (job, digest) in &self.counting {
            ensure(queue.has_source(digest), Checker::KeptSources, || {
                format!("{job} is to be made of {digest}, which was kept, and is not at {applied}")
            })?;
        }
        let there: BTreeSet<Digest> = self.texts.keys().copied().collect();
        let there = there.into_iter().filter(|digest| queue.has_source(digest));
        let there: BTreeSet<Digest> = there.collect();
        for gone in self.there.difference(&there) {
            let again = self.texts.get(gone);
            if again.is_some_and(|index| *index <= self.looked) {
                marks.hit(Mark::SourceDropped);
            }
        }
        let last_job = queue.last_job();
        for job in (self.last_job.0 + 1..=last_job.0).map(JobId) {
            let Some(subject) = queue
                .job(job)
                .filter(|_| is_live(job))
                .map(|job| job.subject)
            else {
                continue;
            };
            let was_there = self.there.contains(&subject) && there.contains(&subject);
            if was_there && self.texts[&subject] <= self.looked {
                marks.hit(Mark::SourceHeld);
                self.counting.insert(job, subject);
            }
        }
        (self.looked, self.last_job, self.there) = (applied, last_job, there);
        Ok(())
    }
}
