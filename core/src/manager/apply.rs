//! Committed entries become state, and state becomes answers.

use super::recoveries::last_to_reclaim;
use super::{ContextManager, Epoch, cx};
use crate::action::{Action, BodyOf, Violation};
use crate::command::{Command, Outcome};
use crate::entry::{EntryKind, LogEntry};
use crate::event::Now;
use crate::ids::LogIndex;
use crate::marks::Mark;
use crate::message::StateHashAt;
use crate::queue::SourceChanges;
use crate::request::Reply;
use crate::wire;

/// Entries that one turn applies at the most; the next turn goes on.
const APPLY_ENTRIES_PER_TURN_MAX: u64 = 1_024;
/// Bytes of bodies after which a turn applies no more: peers must be answered.
const APPLY_BYTES_PER_TURN_MAX: u64 = 256 * 1024;
/// What an item of a `Submit` counts as, at the least, and each job that is to
/// be cancelled: a thousand take 3 ms.
const APPLY_BYTES_PER_ITEM: u64 = 256;
/// State hashes that are kept for a leader's to be compared with.
const HASHES_KEPT: usize = 64;

impl ContextManager {
    pub(super) fn apply_committed(&mut self, now: Now) {
        let target = self
            .cluster
            .commit()
            .min(LogIndex(self.applied.0 + APPLY_ENTRIES_PER_TURN_MAX));
        let mut bytes = 0;
        'turn: while self.applied < target {
            let batch = self.log.batch_from(self.applied.next());
            for logged in &batch.expect("bodies stay in the window until they are applied") {
                let is_enough = self.applied == target || bytes >= APPLY_BYTES_PER_TURN_MAX;
                if is_enough || self.halted.is_some() {
                    break 'turn;
                }
                bytes += self.apply(now, logged);
            }
        }
        for (digest, index) in std::mem::take(&mut self.gone) {
            self.outbox.act(Action::DropSource { digest, index });
        }
        self.cluster.on_applied(self.applied, &self.log);
        self.backlogged = self.applied < self.cluster.commit();
        if self.backlogged {
            self.marks.hit(Mark::AppliedBehind);
        }
        for (ticket, work) in self.generation.on_applied(now.time, &self.queue) {
            self.outbox.answer(ticket, Reply::Work(work));
        }
        self.log.trim(
            self.applied.min(self.outbox.durable()),
            self.config.knobs.log_window_bytes_max,
        );
        self.compare_state(now);
    }

    /// Applies one entry; returns its bytes, or what its work is like.
    fn apply(&mut self, now: Now, logged: &LogEntry) -> u64 {
        let index = logged.index;
        if logged.kind == EntryKind::Membership {
            self.apply_membership(index, logged);
            return logged.body.count();
        }
        let entry = match wire::command::decode(&logged.body) {
            Ok(entry) => entry,
            Err(error) => {
                self.halt(Violation::Undecodable {
                    index,
                    reason: error.to_string(),
                });
                return logged.body.count();
            }
        };
        #[cfg(feature = "planted-bugs")]
        let entry = self.diverge(entry);
        if let Command::RaiseLevel { to } = &entry.command
            && *to > self.config.supports
        {
            // Whoever goes on by older rules would differ from the next entry on.
            self.halt(Violation::LevelBeyondProgram {
                index,
                required: *to,
                supported: self.config.supports,
            });
            return logged.body.count();
        }
        let took_over = match &entry.command {
            Command::TakeOver { term, .. } => Some(*term),
            _ => None,
        };
        let items = match &entry.command {
            Command::Submit { items } | Command::Ask { items, .. } => items.len() as u64,
            Command::Evict { evictions } => evictions.len() as u64,
            Command::Leave { jobs }
            | Command::Cancel { jobs }
            | Command::Redrive { jobs, .. }
            | Command::Purge { jobs }
            | Command::Reprioritise { jobs, .. } => jobs.len() as u64,
            _ => 0,
        };
        if self.failover.is_leading() {
            self.generation.on_settled(&entry.command);
        }
        if let Command::Submit { items } | Command::Ask { items, .. } = &entry.command {
            self.note_uses(items);
        }
        let reclaimed = last_to_reclaim(&entry.command, &self.queue);
        let applied = self.queue.apply(index, logged.term, entry);
        self.applied = index;
        self.see_endings();
        if !applied.stopped.is_empty() {
            self.marks.hit(Mark::WorkerStopped);
            if self.failover.is_leading() {
                self.generation.on_stopped(&applied.stopped);
            }
        }
        let slack = self.config.knobs.log_slack_bytes;
        self.snapshots.on_applied(index, logged.body.count(), slack);
        if let Some((digest, body)) = applied.publication {
            let of = BodyOf::Result;
            self.outbox.act(Action::PutBlob { digest, body, of });
        }
        self.change_sources(index, applied.sources);
        self.outbox.act(Action::Audit(Box::new(applied.audit)));
        if let Outcome::Expired { count: count @ 1.. } = applied.outcome {
            self.marks.hit(Mark::LeaseExpired);
            let t = self.queue.now();
            self.recoveries.on_reclaimed(count, reclaimed, t);
        }
        if self.tick == Some(index) {
            self.tick = None;
        }
        if applied.outcome == Outcome::LevelRaised {
            self.marks.hit(Mark::LevelRaised);
        }
        self.levels.on_applied(index);
        self.evictions.on_applied(index);
        if let Some(asker) = self.pending.remove(&index) {
            let outcome = applied.outcome;
            self.tell(now, asker, Reply::Applied { index, outcome });
        }
        if took_over.is_some_and(|term| self.failover.on_took_over(term)) {
            self.marks.hit(Mark::TookOver);
            self.epoch = Some(Epoch {
                time: now.time,
                stamp: self.queue.now(),
            });
            self.generation
                .on_takeover(now.time, self.cluster.term(), &self.queue);
        }
        self.note_state_hash(index);
        logged.body.count().max(items * APPLY_BYTES_PER_ITEM)
    }

    fn change_sources(&mut self, index: LogIndex, changes: SourceChanges) {
        let SourceChanges { fresh, gone } = changes;
        #[cfg(feature = "planted-bugs")]
        let index = match self
            .config
            .planted(crate::planted::Bug::SourceDroppedTooSoon)
        {
            true => LogIndex(0),
            false => index,
        };
        self.gone
            .extend(gone.into_iter().map(|digest| (digest, index)));
        for (digest, body) in fresh {
            // What comes again in the turn in which it went stays: the host may do either first.
            self.gone.remove(&digest);
            let of = BodyOf::Source;
            self.outbox.act(Action::PutBlob { digest, body, of });
        }
    }

    fn apply_membership(&mut self, index: LogIndex, logged: &LogEntry) {
        let entry = wire::membership::decode(&logged.body)
            .expect("a membership is checked before it is taken into the log");
        let record = self.queue.apply_membership(index, logged.term, &entry);
        self.applied = index;
        self.recoveries.on_membership(index, &entry);
        let slack = self.config.knobs.log_slack_bytes;
        self.snapshots.on_applied(index, logged.body.count(), slack);
        self.outbox.act(Action::Audit(Box::new(record)));
        self.note_state_hash(index);
    }

    /// At intervals, the hash of the state is kept for comparison.
    fn note_state_hash(&mut self, index: LogIndex) {
        let interval = self.config.knobs.state_hash_every_entries;
        if !index.0.is_multiple_of(interval) {
            return;
        }
        let hash = StateHashAt {
            index,
            hash: self.queue.state_hash(),
        };
        if self.hashes.len() == HASHES_KEPT {
            self.hashes.pop_front();
        }
        self.hashes.push_back(hash);
        self.cluster.set_state_hash(hash);
    }

    /// A replica that differs from its leader must not go on.
    fn compare_state(&mut self, now: Now) {
        let applied = self.applied;
        let Some(theirs) = self
            .cluster
            .take_peer_state_hash(applied, &mut cx!(self, now))
        else {
            return;
        };
        let Some(ours) = self.hashes.iter().find(|ours| ours.index == theirs.index) else {
            return;
        };
        self.marks.hit(Mark::StateHashCompared);
        if ours.hash != theirs.hash {
            let ours = *ours;
            self.halt(Violation::StateDiverged { ours, theirs });
        }
    }

    /// Planted: the state depends on who applies.
    #[cfg(feature = "planted-bugs")]
    fn diverge(&self, mut entry: crate::command::Entry) -> crate::command::Entry {
        let last_voter = self.log.membership().nodes().last() == Some(self.config.node);
        if self.config.planted(crate::planted::Bug::DivergeOnNode)
            && last_voter
            && matches!(entry.command, Command::Submit { .. })
        {
            entry.t = entry.t.plus_ms(1);
        }
        entry
    }

    /// Planted: workers get jobs whose claim is only proposed.
    #[cfg(feature = "planted-bugs")]
    pub(super) fn dispatch_early(&mut self, now: Now, command: &Command) {
        if !self
            .config
            .planted(crate::planted::Bug::DispatchBeforeCommit)
            || command.claims().next().is_none()
        {
            return;
        }
        let mut fork = self.queue.clone();
        let entry = self.entry(now, crate::principal::Principal::cluster(), command.clone());
        fork.apply(self.log.last().index.next(), self.cluster.term(), entry);
        self.generation.on_settled(command);
        for (ticket, work) in self.generation.on_applied(now.time, &fork) {
            self.outbox.answer(ticket, Reply::Work(work));
        }
    }

    /// Planted: a client hears of an outcome that is only proposed.
    #[cfg(feature = "planted-bugs")]
    pub(super) fn answer_early(&mut self, index: LogIndex, body: &[u8]) {
        let asker = self.pending.get(&index).copied();
        let (Some(super::asker::Asker::Client(ticket)), true) = (
            asker,
            self.config.planted(crate::planted::Bug::AnswerBeforeCommit),
        ) else {
            return;
        };
        let mut fork = self.queue.clone();
        let entry = wire::command::decode(body).expect("just encoded");
        let outcome = fork.apply(index, self.cluster.term(), entry).outcome;
        self.pending.remove(&index);
        self.outbox
            .answer(ticket, Reply::Applied { index, outcome });
    }
}
