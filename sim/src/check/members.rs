//! Is the membership in force that of the last such entry in a node's log, also
//! after a truncation, a restart and a snapshot? Does one change follow another,
//! and has each order of an operator one outcome? Counts majorities itself: the
//! core's own count is what is judged.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::action::Write;
use precentor_core::entry::{EntryKind, LogEntry};
use precentor_core::event::Event;
use precentor_core::ids::{Incarnation, LogIndex, NodeId, Term, Ticket};
use precentor_core::log::TermAt;
use precentor_core::membership::{Change, Member, Membership, Seat, Why};
use precentor_core::message::LogPosition;
use precentor_core::request::{Reply, Request};
use precentor_core::snapshot::SnapshotMeta;
use precentor_core::status::{PhaseName, RoleName};
use precentor_core::view::View;
use precentor_core::wire::membership::decode;

use super::logs::Logs;
use super::{Checker, Failure, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// Is a majority of the old voters and one of the new ones among those for whom
/// `has` is true?
pub fn has_majorities(
    membership: &Membership,
    mut has: impl FnMut(NodeId, &Member) -> bool,
) -> bool {
    let [mut old, mut new] = [(0u32, 0u32); 2];
    for (node, member) in membership.iter() {
        let halves: &mut [&mut (u32, u32)] = match member.seat {
            Seat::Voter => &mut [&mut old, &mut new],
            Seat::Incoming => &mut [&mut new],
            Seat::Outgoing { .. } => &mut [&mut old],
            Seat::Learner(_) => &mut [],
        };
        for half in halves {
            half.0 += 1;
            half.1 += u32::from(has(node, member));
        }
    }
    [old, new].iter().all(|half| half.1 * 2 > half.0)
}

/// The voters of the smaller half.
#[must_use]
pub fn smaller_half(membership: &Membership) -> usize {
    let count = |is_in: fn(&Seat) -> bool| {
        let members = membership.iter();
        members.filter(|(_, member)| is_in(&member.seat)).count()
    };
    let old = count(|seat| matches!(seat, Seat::Voter | Seat::Outgoing { .. }));
    let new = count(|seat| matches!(seat, Seat::Voter | Seat::Incoming));
    old.min(new)
}

/// Has it a vote in either half?
pub(super) fn votes(membership: &Membership, node: NodeId) -> bool {
    membership
        .get(node)
        .is_some_and(|member| !matches!(member.seat, Seat::Learner(_)))
}

/// Is nothing of a change left to do?
#[must_use]
pub fn is_settled(membership: &Membership) -> bool {
    membership.iter().all(|(_, member)| match member.seat {
        Seat::Voter => true,
        Seat::Incoming | Seat::Outgoing { .. } => false,
        Seat::Learner(learner) => learner.promotion.is_none(),
    })
}

/// Does a membership have what a change was ordered for?
#[must_use]
pub fn has_come_true(change: Change, membership: &Membership) -> bool {
    let seat = |node, life: Option<Incarnation>| {
        let member = membership.get(node);
        let counts = |member: &&Member| life.is_none() || member.incarnation == life;
        member.filter(counts).map(|member| member.seat)
    };
    match change {
        Change::AddLearner {
            node,
            incarnation,
            promote,
        } => {
            let found = seat(node, Some(incarnation));
            found == Some(Seat::Voter) || (!promote && found.is_some())
        }
        Change::Promote { node } => seat(node, None) == Some(Seat::Voter),
        Change::Remove { node } => !membership.contains(node),
        Change::Replace {
            old,
            new,
            incarnation,
        } => {
            seat(new, Some(incarnation)) == Some(Seat::Voter)
                && (old == new || !membership.contains(old))
        }
    }
}

/// What a node showed last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Seen {
    last: LogPosition,
    index: LogIndex,
    leads: bool,
}

/// The memberships that were ever appended, and those that are committed.
#[derive(Clone, Debug)]
pub struct Members {
    founding: Membership,
    appended: BTreeMap<LogIndex, Vec<(Term, Membership)>>,
    committed: BTreeMap<LogIndex, Membership>,
    /// What each node started with, before its log says anything.
    bases: Vec<Membership>,
    seen: Vec<Seen>,
    /// Orders that a node took and did not answer.
    orders: Vec<BTreeMap<Ticket, Change>>,
    /// Orders that had their outcome.
    answered: BTreeSet<Ticket>,
}

impl Members {
    pub(super) fn new(machines: usize, founders: usize) -> Members {
        let founding = Membership::founding((1..=founders as u64).map(NodeId));
        let bases = (0..machines).map(|place| match place < founders {
            true => founding.clone(),
            false => Membership::default(),
        });
        Members {
            bases: bases.collect(),
            founding,
            appended: BTreeMap::new(),
            committed: BTreeMap::new(),
            seen: vec![Seen::default(); machines],
            orders: vec![BTreeMap::new(); machines],
            answered: BTreeSet::new(),
        }
    }

    /// The membership that is committed.
    #[must_use]
    pub fn committed(&self) -> &Membership {
        let last = self.committed.last_key_value();
        last.map_or(&self.founding, |(_, membership)| membership)
    }

    /// That one, and all that may come into force in its place.
    pub fn in_play(&self) -> impl Iterator<Item = &Membership> {
        let committed = self.committed.last_key_value();
        let after = committed.map_or(LogIndex(1), |(index, _)| index.next());
        let later = self.appended.range(after..).flat_map(|(_, all)| all);
        std::iter::once(self.committed()).chain(later.map(|(_, membership)| membership))
    }

    /// Was it ever the only voter, by what was appended anywhere?
    #[must_use]
    pub fn was_alone(&self, node: NodeId) -> bool {
        let mut all = self.appended.values().flatten();
        all.any(|(_, membership)| {
            let mut voters = membership.nodes().filter(|n| membership.is_voter(*n));
            voters.next() == Some(node) && voters.next().is_none()
        })
    }

    /// An order that a living node took and did not answer.
    #[must_use]
    pub fn unanswered(&self, lives: impl Fn(Place) -> bool) -> Option<(Place, Change)> {
        let first = |(place, orders): (Place, &BTreeMap<Ticket, Change>)| {
            let (_, change) = orders.first_key_value()?;
            lives(place).then_some((place, *change))
        };
        self.orders.iter().enumerate().find_map(first)
    }

    /// By which memberships a leader may have counted in this turn: what it
    /// appends of itself follows from what was counted before, what is ordered
    /// may come before or after.
    pub(super) fn counted_by<'a>(&'a self, place: Place, view: &View<'a>) -> Vec<&'a Membership> {
        let (index, now) = (view.membership_index(), view.membership());
        let is_own = view.term_at(index) == TermAt::Known(view.term());
        if self.seen[place].index == index || !is_own {
            return vec![now];
        }
        let before = self.expected(view, place, index.prev()).1;
        let entry = view.entry_at(index).map(|entry| decode(&entry.body));
        match entry {
            Some(Ok(decoded)) if !matches!(decoded.why, Why::Asked(_)) => vec![before],
            Some(_) | None => vec![before, now],
        }
    }

    /// A new disk knows no founders.
    pub(super) fn on_disk_lost(&mut self, place: Place) {
        self.bases[place] = Membership::default();
    }

    pub(super) fn on_recovered(&mut self, place: Place, view: &View<'_>) -> Verdict {
        self.orders[place].clear();
        self.seen[place] = Seen::default();
        self.check_in_force(view, place)
    }

    pub(super) fn on_event(&mut self, place: Place, event: &Event) {
        if let Event::Client {
            ticket,
            request: Request::ChangeMembership(change),
            ..
        } = event
        {
            self.orders[place].insert(*ticket, *change);
        }
    }

    pub(super) fn on_write(&mut self, write: &Write) -> Verdict {
        let of_members = |entry: &&LogEntry| entry.kind == EntryKind::Membership;
        for entry in write.entries.iter().filter(of_members) {
            let decoded = decode(&entry.body).map_err(|error| Failure {
                checker: Checker::Wire,
                text: format!("{} is appended as a membership: {error}", entry.index),
            })?;
            self.book(entry.index, entry.term, decoded.membership);
        }
        Ok(())
    }

    fn book(&mut self, index: LogIndex, term: Term, membership: Membership) {
        let variants = self.appended.entry(index).or_default();
        if !variants.iter().any(|(known, _)| *known == term) {
            variants.push((term, membership));
        }
    }

    pub(super) fn on_committed(&mut self, index: LogIndex, logs: &Logs, marks: &mut Marks) {
        let Some(committed) = logs.get(index) else {
            return;
        };
        if committed.entry.kind != EntryKind::Membership {
            return;
        }
        // What cannot be decoded was reported when it was written.
        let Ok(decoded) = decode(&committed.entry.body) else {
            return;
        };
        if decoded.why == Why::CaughtUp {
            marks.hit(Mark::LearnerPromoted);
        }
        let before = self.committed();
        let was_member = |node| self.committed.values().any(|m| m.contains(node));
        let again = decoded.membership.nodes();
        if again
            .filter(|node| !before.contains(*node))
            .any(|node| was_member(node) || self.founding.contains(node))
        {
            marks.hit(Mark::MemberAgain);
        }
        self.committed.insert(index, decoded.membership);
    }

    /// What must be in force by a node's log, and the index of its entry.
    fn expected(&self, view: &View<'_>, place: Place, up_to: LogIndex) -> (LogIndex, &Membership) {
        for (&index, variants) in self.appended.range(..=up_to).rev() {
            match view.term_at(index) {
                TermAt::Known(term) => {
                    if let Some((_, found)) = variants.iter().find(|(known, _)| *known == term) {
                        return (index, found);
                    }
                }
                TermAt::Compacted => {
                    if let Some(found) = self.committed.get(&index) {
                        return (index, found);
                    }
                }
                TermAt::Beyond => {}
            }
        }
        let base = match view.term_at(LogIndex(0)) {
            TermAt::Compacted => &self.founding,
            TermAt::Known(_) | TermAt::Beyond => &self.bases[place],
        };
        (LogIndex(0), base)
    }

    /// What was in force by a node's log before an entry.
    pub(super) fn before(&self, view: &View<'_>, place: Place, index: LogIndex) -> &Membership {
        self.expected(view, place, index.prev()).1
    }

    fn check_in_force(&self, view: &View<'_>, place: Place) -> Verdict {
        let (index, expected) = self.expected(view, place, view.last().index);
        // That of a snapshot stands for all before it.
        let found = (view.membership_index(), view.membership());
        ensure(
            found.0 >= index && found.1 == expected,
            Checker::MembershipInLog,
            || {
                format!(
                    "{} acts on [{}] of {}; the last membership in its log up to {} is [{expected}] of {index}",
                    view.node(),
                    found.1,
                    found.0,
                    view.last().index
                )
            },
        )
    }

    pub(super) fn on_turn(&mut self, place: Place, view: &View<'_>, marks: &mut Marks) -> Verdict {
        let (node, index, leads) = (
            view.node(),
            view.membership_index(),
            view.role() == RoleName::Leader,
        );
        let now = Seen {
            last: view.last(),
            index,
            leads,
        };
        let before = std::mem::replace(&mut self.seen[place], now);
        let (is_committed, yields) = (index <= view.commit(), view.phase() == PhaseName::Yielding);
        if leads && is_committed && !yields {
            // It has done its duty when that is committed (dissertation §4.2.2).
            ensure(votes(view.membership(), node), Checker::VotersStand, || {
                format!("{node} leads, and has no vote in [{}]", view.membership())
            })?;
        }
        if before.leads && !leads && is_committed && !votes(view.membership(), node) {
            marks.hit(Mark::RemovedLeaderLeft);
        }
        if before == now {
            return Ok(());
        }
        if index < before.index {
            marks.hit(Mark::MembershipUndone);
        }
        if leads && !before.leads && view.membership().is_joint() {
            marks.hit(Mark::JointElection);
        }
        // It may be in the log and not yet on its way to the disk.
        if let Some(entry) = view.entry_at(index)
            && entry.kind == EntryKind::Membership
            && let Ok(decoded) = decode(&entry.body)
        {
            self.book(index, entry.term, decoded.membership);
        }
        self.check_in_force(view, place)?;
        let is_own = leads && view.term_at(index) == TermAt::Known(view.term());
        if !is_own || index == before.index {
            return Ok(());
        }
        // Ongaro, raft-dev, "bug in single-server membership changes", 2015.
        let (previous, _) = self.expected(view, place, index.prev());
        let has_own = view.term_at(view.commit()) == TermAt::Known(view.term());
        ensure(
            previous <= view.commit() && has_own,
            Checker::OneChangeAtATime,
            || {
                format!(
                    "{node} changes the membership at {index} in {}; the one before stands at {previous}, and committed is {} of {:?}",
                    view.term(),
                    view.commit(),
                    view.term_at(view.commit())
                )
            },
        )
    }

    /// A snapshot has the membership as of its index, and that names somebody: a
    /// node that joins knows nobody at first.
    pub(super) fn on_snapshot(
        &self,
        view: &View<'_>,
        place: Place,
        meta: &SnapshotMeta,
    ) -> Verdict {
        let (_, expected) = self.expected(view, place, meta.index);
        ensure(
            *meta.membership == *expected && expected.nodes().next().is_some(),
            Checker::MembershipInLog,
            || {
                format!(
                    "{} takes a snapshot of {} with [{}]; the membership there is [{expected}]",
                    view.node(),
                    meta.index,
                    meta.membership
                )
            },
        )
    }

    pub(super) fn on_answer(&mut self, place: Place, ticket: Ticket, reply: &Reply) -> Verdict {
        let order = self.orders[place].remove(&ticket);
        let is_first = !self.answered.contains(&ticket);
        if order.is_some() {
            self.answered.insert(ticket);
        }
        ensure(is_first, Checker::OneOutcome, || {
            format!(
                "n{} answers {ticket}, which waits for nothing: {reply:?}",
                place + 1
            )
        })?;
        let Reply::Membership { index, membership } = reply else {
            return Ok(());
        };
        let committed = self.committed.get(index);
        let is_true = committed == Some(membership)
            && is_settled(membership)
            && order.is_some_and(|change| has_come_true(change, membership));
        ensure(is_true, Checker::OneOutcome, || {
            format!(
                "n{} calls {order:?} done with [{membership}] at {index}; committed there is {:?}",
                place + 1,
                committed.map(ToString::to_string)
            )
        })
    }
}
