//! Does an operator's last resort refuse what it must, and does it say what it
//! cost? Once a majority is gone for good, the survivors' history is no longer
//! the cluster's, and the other judges have had their say.

use std::collections::BTreeMap;

use precentor_core::action::Action;
use precentor_core::config::Knobs;
use precentor_core::event::Event;
use precentor_core::ids::{LogIndex, NodeId, Term, Ticket};
use precentor_core::log::TermAt;
use precentor_core::membership::{Loss, RecoveryReport};
use precentor_core::request::{Reply, Request};
use precentor_core::status::RoleName;
use precentor_core::time::{Span, Time};
use precentor_core::view::View;

use super::logs::Logs;
use super::members::has_majorities;
use super::{Checker, Moment, Verdict, ensure, on_halt};
use crate::disk::Disk;
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// What it knows.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// To whom each node was told that it is connected, and when it heard from
    /// them last.
    connected: Vec<BTreeMap<NodeId, Time>>,
    /// Whoever was heard within this is there.
    lately: Span,
    /// Orders of this turn that must be refused: a majority was in sight.
    hasty: Vec<Ticket>,
    /// An operator has asked since the majority went.
    is_ordered: bool,
    /// The highest term that any node was in when the majority went.
    last_term: Term,
    /// Those that are left then.
    survivors: Vec<NodeId>,
}

impl Recovery {
    pub(super) fn new(machines: usize, knobs: &Knobs) -> Recovery {
        Recovery {
            connected: vec![BTreeMap::new(); machines],
            lately: Span::from_ms(5 * knobs.election_timeout_ms_max),
            hasty: Vec::new(),
            is_ordered: false,
            last_term: Term(0),
            survivors: Vec::new(),
        }
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        self.connected[place].clear();
    }

    /// A majority is gone, for good.
    pub fn on_disaster(&mut self, last_term: Term, survivors: Vec<NodeId>) {
        self.last_term = last_term;
        self.survivors = survivors;
    }

    pub(super) fn on_event(&mut self, moment: Moment, event: &Event, view: &View<'_>) {
        let (now, lately) = (moment.now.time, self.lately);
        let connected = &mut self.connected[moment.place];
        match event {
            Event::PeerUp { peer, .. } => {
                connected.insert(*peer, now);
            }
            Event::PeerDown { peer } => {
                connected.remove(peer);
            }
            Event::Peer { from, .. } => {
                connected.entry(*from).and_modify(|heard| *heard = now);
            }
            Event::Client {
                ticket,
                request: Request::RecoverUnsafely { .. },
                ..
            } => {
                self.is_ordered = true;
                let heard = |node| {
                    let heard = connected.get(&node);
                    heard.is_some_and(|heard| now.since(*heard) <= lately)
                };
                let reached = |node, _: &_| node == view.node() || heard(node);
                if has_majorities(view.membership(), reached) {
                    self.hasty.push(*ticket);
                }
            }
            _ => {}
        }
    }

    /// What was asked in haste is refused in the same turn.
    pub(super) fn on_turn(
        &mut self,
        place: Place,
        actions: &[Action],
        marks: &mut Marks,
    ) -> Verdict {
        for asked in self.hasty.drain(..) {
            let is_refusal = |action: &Action| {
                matches!(
                    action,
                    Action::Answer { ticket, reply: Reply::RecoveryFailed(_) } if *ticket == asked
                )
            };
            marks.hit(Mark::HastyRecoveryRefused);
            ensure(
                actions.iter().any(is_refusal),
                Checker::HonestRecovery,
                || format!("n{} gives a majority up that it reaches", place + 1),
            )?;
        }
        Ok(())
    }

    /// A survivor's turn: it leads only if it was told to, says what is lost, and
    /// goes on whatever is. Returns whether the cluster is the survivors' now:
    /// because it says so, or because their membership is committed and whoever
    /// would have said so had lost its leadership meanwhile.
    ///
    /// # Errors
    /// What is wrong.
    pub fn on_survivors_turn(
        &mut self,
        view: &View<'_>,
        actions: &[Action],
        logs: &Logs,
        disks: &[Disk],
        marks: &mut Marks,
    ) -> Result<bool, super::Failure> {
        let leads = view.role() == RoleName::Leader && view.term() > self.last_term;
        ensure(!leads || self.is_ordered, Checker::ElectedByMembers, || {
            format!(
                "{} leads in {} although a majority is gone",
                view.node(),
                view.term()
            )
        })?;
        let report = actions.iter().find_map(|action| match action {
            Action::Answer {
                reply: Reply::Recovered(report),
                ..
            } => Some(report),
            _ => None,
        });
        for action in actions {
            if let Action::Halt(violation) = action {
                on_halt(violation)?;
            }
        }
        // What a damaged one has lost may be what was committed.
        let survivors = report.map_or(&[][..], |report| &report.survivors);
        let agreed = survivors.iter().copied().chain(leads.then(|| view.node()));
        for node in agreed {
            let repairing = disks[node.0 as usize - 1].repairing();
            ensure(repairing.is_none(), Checker::RepairBeforeVote, || {
                format!(
                    "{node} goes on without a majority, with a log to be repaired up to {repairing:?}"
                )
            })?;
        }
        match report {
            Some(report) => is_honest(report, view, logs, marks).map(|()| true),
            // It is reported in the very turn in which it is committed, or never.
            None => {
                let mut members = view.membership().nodes();
                let is_theirs = members.all(|node| self.survivors.contains(&node));
                Ok(leads && is_theirs && view.membership_index() <= view.commit())
            }
        }
    }
}

/// Nothing is lost but what the report names.
fn is_honest(report: &RecoveryReport, view: &View<'_>, logs: &Logs, marks: &mut Marks) -> Verdict {
    let committed = logs.committed();
    let is_lost = |index: &LogIndex| {
        let was = logs.get(*index).map(|committed| committed.entry.term);
        match view.term_at(*index) {
            TermAt::Known(term) => was != Some(term),
            // In a snapshot is only what was committed.
            TermAt::Compacted => false,
            TermAt::Beyond => true,
        }
    };
    let lost = (1..=committed.0).map(LogIndex).find(is_lost);
    marks.hit(match lost {
        None => Mark::RecoveredWhole,
        Some(_) => Mark::RecoveredWithLoss,
    });
    let is_named = match report.loss {
        Loss::Nothing => lost.is_none(),
        Loss::Possible { from, certain } => {
            let of_the_gone = |index: LogIndex| report.kept < index && index <= committed;
            lost.is_none_or(|lost| lost >= from) && certain.is_none_or(of_the_gone)
        }
    };
    let follows = report.index == report.kept.next()
        && view.term_at(report.index) == TermAt::Known(report.term)
        && view
            .membership()
            .nodes()
            .eq(report.survivors.iter().copied());
    ensure(is_named && follows, Checker::HonestRecovery, || {
        format!(
            "{} reports {report:?}; committed was {committed}, and the first that is gone is {lost:?}",
            view.node()
        )
    })
}
