//! One book of all that any node ever appended, and one of all that any node
//! called committed. Equal index and term must mean equal logs up to there;
//! what was committed must be on a majority of disks, and never change.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::action::Write;
use precentor_core::command::{AuditRecord, Command, Entry};
use precentor_core::entry::{EntryKind, LogEntry};
use precentor_core::event::Event;
use precentor_core::ids::{LogIndex, NodeId, Term};
use precentor_core::log::TermAt;
use precentor_core::membership::{Member, Membership};
use precentor_core::message::{AppendResult, Body, Message};
use precentor_core::status::RoleName;
use precentor_core::time::Time;
use precentor_core::view::View;
use precentor_core::wire::command::decode;

use super::members::has_majorities;
use super::{Checker, Failure, Moment, Verdict, ensure};
use crate::disk::Disk;
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// An entry as it was appended first.
#[derive(Clone, Debug)]
struct Appended {
    entry: LogEntry,
    previous: Term,
    place: Place,
    at: Time,
}

/// An entry that is committed.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The entry.
    pub entry: LogEntry,
    /// The term of the leader that committed it: its own, or a later one. Only
    /// leaders after that must have it (Raft, leader completeness).
    pub under: Term,
    /// What it says; none if it is a membership.
    pub command: Option<Entry>,
    /// Who appended it first: the leader.
    pub place: Place,
    /// When, by that node's clock.
    pub at: Time,
}

impl Committed {
    /// What it asks of the state machine, if it is for that.
    #[must_use]
    pub fn command(&self) -> Option<&Command> {
        self.command.as_ref().map(|entry| &entry.command)
    }
}

/// The books.
#[derive(Clone, Debug)]
pub struct Logs {
    /// By index, from 1: all entries that ever stood there.
    appended: Vec<Vec<Appended>>,
    committed: Vec<Committed>,
    /// Up to here each node's commits were compared.
    compared: Vec<LogIndex>,
    /// Disks that were lost, by the life that they were: what they held counts
    /// as long as the membership names that life.
    buried: BTreeMap<u64, Disk>,
    /// Entries that had no effect when they were applied, by the audit.
    rejected: BTreeSet<LogIndex>,
    /// Of these, those that whoever asked may not do: nothing is kept of them.
    denied: BTreeSet<LogIndex>,
    /// This turn brings what a leader appends.
    is_appended_to: bool,
}

impl Logs {
    pub(super) fn new(count: usize) -> Logs {
        Logs {
            appended: Vec::new(),
            committed: Vec::new(),
            compared: vec![LogIndex(0); count],
            buried: BTreeMap::new(),
            rejected: BTreeSet::new(),
            denied: BTreeSet::new(),
            is_appended_to: false,
        }
    }

    /// A replica says what came of an entry: before any other judge hears of it.
    pub(super) fn on_audit(&mut self, record: &AuditRecord) {
        if record.text.contains(": rejected: ") {
            self.rejected.insert(record.index);
        }
        if record.text.contains(": rejected: denied: ") {
            self.denied.insert(record.index);
        }
    }

    /// Was an entry applied, and had no effect?
    pub(super) fn was_rejected(&self, index: LogIndex) -> bool {
        self.rejected.contains(&index)
    }

    /// Was an entry applied, and denied?
    pub(super) fn was_denied(&self, index: LogIndex) -> bool {
        self.denied.contains(&index)
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        let is_append = |message: &Message| matches!(message.body, Body::Append(_));
        self.is_appended_to |= matches!(event, Event::Peer { message, .. } if is_append(message));
    }

    pub(super) fn end_turn(&mut self) {
        self.is_appended_to = false;
    }

    pub(super) fn bury(&mut self, disk: Disk) {
        self.buried.insert(disk.incarnation(), disk);
    }

    /// The last entry that any node called committed.
    #[must_use]
    pub fn committed(&self) -> LogIndex {
        LogIndex(self.committed.len() as u64)
    }

    /// A committed entry.
    #[must_use]
    pub fn get(&self, index: LogIndex) -> Option<&Committed> {
        self.committed.get(index.0.checked_sub(1)? as usize)
    }

    /// The last entry that was committed by a leader before this term.
    pub(super) fn tip_before(&self, term: Term) -> (LogIndex, Term) {
        self.committed
            .iter()
            .rev()
            .find(|committed| committed.under < term)
            .map_or_else(Default::default, |c| (c.entry.index, c.entry.term))
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        self.compared[place] = LogIndex(0);
    }

    pub(super) fn on_write(
        &mut self,
        moment: Moment,
        write: &Write,
        view: &View<'_>,
        disk: &Disk,
        marks: &mut Marks,
    ) -> Verdict {
        if let Some(from) = write.truncate_from {
            if disk.last() >= from {
                marks.hit(Mark::TailCut);
            }
            // A leader of this term may count on what was confirmed to it.
            let is_free = self.is_appended_to || view.term() > disk.written_term();
            ensure(is_free, Checker::CommittedNeverLost, || {
                format!(
                    "n{} cuts its log at {from} in {}, and no leader told it to",
                    moment.place + 1,
                    view.term()
                )
            })?;
            // Whoever has nothing of the term under which it was committed was not
            // counted for it, and may be told otherwise by who was not, either.
            let term_at = |index| disk.entry(index).map(|entry| entry.term);
            let cut = self.get(from).is_some_and(|committed| {
                term_at(from) == Some(committed.entry.term)
                    && term_at(disk.last()) >= Some(committed.under)
            });
            ensure(!cut, Checker::CommittedNeverLost, || {
                format!(
                    "n{} cuts its log at committed entry {from}",
                    moment.place + 1
                )
            })?;
        }
        let Some(first) = write.entries.first() else {
            return Ok(());
        };
        let mut previous = match disk.entry(LogIndex(first.index.0 - 1)) {
            Some(entry) => Some(entry.term),
            // In the snapshot, or in another write of this turn.
            None if first.index.0 > 1 => None,
            None => Some(Term(0)),
        };
        for entry in &write.entries {
            let place = entry.index.0 as usize - 1;
            if self.appended.len() <= place {
                self.appended.resize_with(place + 1, Vec::new);
            }
            let variants = &mut self.appended[place];
            match variants.iter().find(|known| known.entry.term == entry.term) {
                Some(known) => {
                    let holds = known.entry.body == entry.body
                        && known.entry.chain == entry.chain
                        && previous.is_none_or(|previous| previous == known.previous);
                    ensure(holds, Checker::LogMatching, || {
                        format!(
                            "n{} appends {} of {} after {previous:?}; n{} appended another of that term after {:?}",
                            moment.place + 1,
                            entry.index,
                            entry.term,
                            known.place + 1,
                            known.previous
                        )
                    })?;
                }
                None => {
                    if let Some(previous) = previous {
                        variants.push(Appended {
                            entry: entry.clone(),
                            previous,
                            place: moment.place,
                            at: moment.now.time,
                        });
                    }
                }
            }
            previous = Some(entry.term);
        }
        Ok(())
    }

    pub(super) fn on_commit(
        &mut self,
        place: Place,
        view: &View<'_>,
        memberships: &[&Membership],
        disks: &[Disk],
        marks: &mut Marks,
    ) -> Verdict {
        let commit = view.commit();
        let compared = std::mem::replace(&mut self.compared[place], commit);
        if commit <= compared {
            return Ok(());
        }
        for index in compared.0 + 1..=commit.0 {
            let index = LogIndex(index);
            // What a snapshot has just taken the place of may be on the disk yet.
            let on_disk = || {
                let entry = disks[place].entry(index)?;
                (view.term_at(index) == TermAt::Known(entry.term)).then_some(entry)
            };
            let Some(entry) = view.entry_at(index).or_else(on_disk) else {
                continue;
            };
            match self.get(index) {
                Some(known) => ensure(known.entry == *entry, Checker::CommittedNeverLost, || {
                    format!(
                        "n{} commits at {index} an entry of {}; committed there is one of {}",
                        place + 1,
                        entry.term,
                        known.entry.term
                    )
                })?,
                None => {
                    let next = self.committed().next();
                    ensure(index == next, Checker::CommittedNeverLost, || {
                        format!("n{} commits {index} where {next} is next", place + 1)
                    })?;
                    if entry.term < view.term() {
                        marks.hit(Mark::BarrierOfOldEntries);
                    }
                    self.commit(entry, view.term())?;
                }
            }
        }
        let Some(tip) = self.get(commit) else {
            return Ok(());
        };
        // Raft §5.4.2: a leader commits by counting only what is of its own term. One
        // that was told to put a snapshot in force before its election knows by that
        // what is committed.
        let is_told = view.snapshot() == commit;
        let counted = view.role() == RoleName::Leader && tip.entry.term < view.term() && !is_told;
        ensure(!counted, Checker::CommittedNeverLost, || {
            format!(
                "n{} leads in {} and moves its commit to {commit}, an entry of {}",
                place + 1,
                view.term(),
                tip.entry.term
            )
        })?;
        // Whoever calls it committed first leads, and counts by what its log says.
        if view.role() != RoleName::Leader || is_told {
            return Ok(());
        }
        // A node that confirmed it, and lost it since, does not vote before it
        // has it again: that is as good.
        let holds = |node: NodeId, member: &Member| {
            let now = &disks[node.0 as usize - 1];
            let disk = match member
                .incarnation
                .filter(|life| life.0 != now.incarnation())
            {
                Some(life) => match self.buried.get(&life.0) {
                    Some(buried) => buried,
                    None => return false,
                },
                None => now,
            };
            disk.holds_durably(commit, tip.entry.term) || disk.repairing() >= Some(commit)
        };
        let is_held = memberships
            .iter()
            .any(|members| has_majorities(members, holds));
        ensure(is_held, Checker::CommittedNeverLost, || {
            let members = memberships[0].iter();
            let holders = members.filter(|(node, member)| holds(*node, member));
            let holders: Vec<_> = holders.map(|(node, _)| node).collect();
            format!(
                "n{} calls {commit} committed, which {holders:?} of [{}] hold",
                place + 1,
                memberships[0]
            )
        })
    }

    /// A follower's match must be on its disk.
    pub(super) fn on_say(&self, place: Place, message: &Message, disk: &Disk) -> Verdict {
        let Body::AppendReply(reply) = &message.body else {
            return Ok(());
        };
        let AppendResult::Matched { durable: index, .. } = reply.result else {
            return Ok(());
        };
        let holds = index.0 == 0 || disk.is_durable(index);
        ensure(holds, Checker::DurableFirst, || {
            format!(
                "n{} confirms entries up to {index}, and its disk does not hold that one",
                place + 1
            )
        })
    }

    fn commit(&mut self, entry: &LogEntry, under: Term) -> Verdict {
        let command = match entry.kind {
            EntryKind::Command => Some(decode(&entry.body).map_err(|error| Failure {
                checker: Checker::Wire,
                text: format!("committed {} cannot be decoded: {error}", entry.index),
            })?),
            EntryKind::Membership => None,
        };
        let first = self
            .appended
            .get(entry.index.0 as usize - 1)
            .and_then(|variants| variants.iter().find(|known| known.entry.term == entry.term));
        self.committed.push(Committed {
            entry: entry.clone(),
            under,
            command,
            place: first.map_or(usize::MAX, |known| known.place),
            at: first.map_or(Time(0), |known| known.at),
        });
        Ok(())
    }
}
