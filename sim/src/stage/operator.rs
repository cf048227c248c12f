//! The operator in the world, disks that are lost, and how much may be lost at
//! a time: of the members of every membership that is in force somewhere, or
//! will be by what was ordered, a minority of its voters.

use precentor_core::ids::{Incarnation, NodeId, Ticket};
use precentor_core::membership::{Membership, Seat};
use precentor_core::request::Reply;

use super::{Happening, Stage};
use crate::check::members::is_settled;
use crate::chronicle::Lane;
use crate::desk::{OPERATOR, desk};
use crate::marks::Mark;
use crate::network::Place;
use crate::operator::{Sight, Situation};
use crate::tape::Domain;

/// The operator comes when the founders had time to elect somebody.
const BEGIN_US: u64 = 20_000;

impl Stage {
    pub(super) fn summon_operator(&mut self) {
        if self.operator.is_some() {
            let lane = OPERATOR;
            let alarm = Happening::Alarm { lane, alarm: 0 };
            self.agenda.put(BEGIN_US, alarm);
            self.await_loss();
        }
    }

    fn await_loss(&mut self) {
        let mean_us = self.scenario.operator.map_or(0, |o| o.lose_us);
        if mean_us > 0 {
            let mut roll = self.tape.roll(Domain::Operator, 1);
            let at_us = self.now_us + roll.exponential(mean_us);
            self.agenda.put(at_us, Happening::LoseDisk);
        }
    }

    fn situation(&self) -> Situation {
        let sight = |disk: &crate::disk::Disk| Sight {
            life: Incarnation(disk.incarnation()),
            is_whole: disk.repairing().is_none(),
        };
        Situation {
            committed: self.checks.members.committed().clone(),
            sights: self.disks.iter().map(sight).collect(),
            leader: self.leader().map(|place| NodeId(place as u64 + 1)),
            voters_min: self.scenario.nodes.min(3),
            is_healed: self.healed,
        }
    }

    pub(super) fn on_operators_alarm(&mut self) {
        let situation = self.situation();
        let Some(operator) = &mut self.operator else {
            return;
        };
        let mut desk = desk!(self);
        let before = operator.order();
        operator.on_alarm(&mut desk, &situation);
        let order = operator.order().filter(|order| before != Some(*order));
        if let Some(order) = order {
            self.tell_deed(Lane::Operator, || {
                format!("orders to {order}; committed is [{}]", situation.committed)
            });
        }
    }

    pub(super) fn on_operators_reply(&mut self, ticket: Ticket, reply: &Reply) {
        let situation = self.situation();
        self.tell_deed(Lane::Operator, || format!("is told {reply:?} on {ticket}"));
        let Some(operator) = &mut self.operator else {
            return;
        };
        let mut desk = desk!(self);
        operator.on_reply(ticket, reply, &mut desk, &situation, &mut self.marks);
    }

    /// The fault budget: whatever is durable is lost or damaged on a minority at
    /// most, of each half of every membership that may count. A damaged node
    /// counts until its log is whole again, and a lost disk until its life is no
    /// member's, as all that it held is missing until then. A learner counts like
    /// a voter: it may be about to become one.
    pub(super) fn may_damage(&self, place: Place) -> bool {
        let mut situation = self.situation();
        situation.sights[place].is_whole = false;
        let order = self.operator.as_ref().and_then(|o| o.order());
        let mut in_play = self.checks.members.in_play();
        in_play.all(|membership| situation.bears(membership, order))
    }

    /// May its disk be damaged? A node that was the only voter once would be taken
    /// back to when it had no other: then it takes itself for beyond repair, and
    /// refuses to start.
    pub(super) fn may_rot(&self, place: Place) -> bool {
        let founded_alone = self.scenario.nodes == 1 && self.disks[place].is_first() && place == 0;
        let node = NodeId(place as u64 + 1);
        let is_spared = founded_alone || self.checks.members.was_alone(node);
        !is_spared && self.may_damage(place)
    }

    /// A machine dies, and its disk is lost.
    pub(super) fn lose_disk(&mut self) {
        if self.healed {
            return;
        }
        self.await_loss();
        let count = self.machines.len() as u64;
        let Some(mut roll) = self.tape.fault(Domain::Operator, 2, 1_000_000) else {
            return;
        };
        let leader = self.leader().filter(|_| roll.chance(300_000));
        let place = leader.unwrap_or(roll.below(count) as usize);
        let life = Incarnation(self.disks[place].incarnation());
        // The old life must be known for what it is before it ends: another one
        // could pass for it.
        let is_pinned = |membership: &Membership| {
            let member = membership.get(NodeId(place as u64 + 1));
            member.is_some_and(|member| member.incarnation == Some(life))
        };
        if !is_pinned(self.checks.members.committed()) || !self.may_damage(place) {
            return;
        }
        self.tape.count(Domain::DiskLost);
        let disk = self.disks[place].clone();
        self.stop(place);
        self.disks[place].replace();
        self.checks.on_disk_lost(place, disk);
        self.tell_fault(Lane::Node(place), || "lost its disk".to_owned());
    }

    /// Does it belong to the cluster, by what is committed?
    pub(super) fn is_member(&self, place: Place) -> bool {
        let node = NodeId(place as u64 + 1);
        self.checks.members.committed().contains(node)
    }

    /// What a life saw, when it ends or the run does.
    pub(super) fn mark_life(&mut self, place: Place) {
        use precentor_core::marks::Mark as Seen;
        let driver = self.machines[place].driver.as_ref();
        let ignored =
            driver.is_some_and(|d| d.view().marks().count(Seen::StaleIncarnationIgnored) > 0);
        if ignored {
            self.marks.hit(Mark::OldDiskIgnored);
        }
    }

    /// A node stands on a leader's snapshot.
    pub(super) fn mark_install(&mut self, place: Place) {
        self.marks.hit(Mark::SnapshotInstalled);
        let member = self
            .checks
            .members
            .committed()
            .get(NodeId(place as u64 + 1));
        if member.is_some_and(|member| matches!(member.seat, Seat::Learner(_))) {
            self.marks.hit(Mark::LearnerInstalled);
        }
    }

    /// What the operator still waits for, or the cluster owes.
    pub(super) fn unsettled_members(&self) -> Option<String> {
        let committed = self.checks.members.committed();
        let operator = self.operator.as_ref()?;
        if let Some(order) = operator.order().or_else(|| self.situation().cure()) {
            return Some(format!(
                "the operator waits: {order}; members [{committed}]"
            ));
        }
        // A damaged node that is no member any more may never start again.
        let lives = |place: Place| self.machines[place].driver.is_some();
        if let Some((place, change)) = self.checks.members.unanswered(lives) {
            return Some(format!("n{} owes an answer: {change}", place + 1));
        }
        if !is_settled(committed) {
            return Some(format!("a change is not finished: [{committed}]"));
        }
        let views = self.machines.iter().filter_map(|machine| {
            let view = machine.driver.as_ref()?.view();
            committed.contains(view.node()).then_some(view)
        });
        let mut others = views.filter(|view| view.membership() != committed);
        let other = others.next()?;
        Some(format!(
            "{} acts on [{}]; committed is [{committed}]",
            other.node(),
            other.membership()
        ))
    }
}
