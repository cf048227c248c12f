//! An operator: has machines added, promoted, replaced and removed, one order
//! after another, each sent again until its outcome is explicit; and has every
//! lost disk replaced. Sees all, so that it never asks for what would leave the
//! cluster without a majority; knows nothing of how the cluster does it.

use std::collections::BTreeSet;

use precentor_core::ids::{Incarnation, NodeId, Ticket};
use precentor_core::membership::{Change, ChangeError, Member, Membership, Seat};
use precentor_core::request::{Reply, Request};

use crate::check::members::{has_come_true, is_settled, smaller_half};
use crate::desk::{Caller, Desk, OPERATOR};
use crate::marks::{Mark, Marks};
use crate::network::Place;
use crate::scenario::OperatorOptions;
use crate::tape::{Domain, Roll};

/// How often it looks.
const LOOK_US: u64 = 10_000;
/// How long it waits for an outcome before it asks elsewhere.
const PATIENCE_US: u64 = 700_000;
/// How long it waits after a refusal.
const AGAIN_US: u64 = 20_000;
/// After so many refusals for lack of entries it thinks of something else.
const TRIES_MAX: u32 = 10;
/// The voters of the largest cluster that it wants.
const VOTERS_MAX: usize = 7;

/// A machine as the operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// The life of its disk.
    pub life: Incarnation,
    /// Its disk lacks nothing that it ever confirmed.
    pub is_whole: bool,
}

/// All that the operator sees.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The membership that is committed.
    pub committed: Membership,
    /// The machines.
    pub sights: Vec<Sight>,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Fewer voters are not wanted.
    pub voters_min: usize,
    /// No more wishes.
    pub is_healed: bool,
}

impl Situation {
    fn sight(&self, node: NodeId) -> Sight {
        self.sights[node.0 as usize - 1]
    }

    /// Did it lose the disk that the membership names?
    #[must_use]
    pub fn is_lost(&self, node: NodeId, member: &Member) -> bool {
        let life = self.sight(node).life;
        member.incarnation.is_some_and(|known| known != life)
    }

    fn is_damaged(&self, node: NodeId, member: &Member) -> bool {
        self.is_lost(node, member) || !self.sight(node).is_whole
    }

    /// How many members count for nothing: they lost something.
    #[must_use]
    pub fn damaged(&self, membership: &Membership) -> usize {
        let members = membership.iter();
        members
            .filter(|(node, member)| self.is_damaged(*node, member))
            .count()
    }

    /// Is no more lost than a minority of the voters' number?
    #[must_use]
    pub fn is_bearable(&self, membership: &Membership) -> bool {
        self.damaged(membership) <= (smaller_half(membership) - 1) / 2
    }

    /// The same of all that comes of a membership, and of an order that reaches
    /// its leader at any time.
    #[must_use]
    pub fn bears(&self, membership: &Membership, order: Option<Change>) -> bool {
        let ordered = |step: &Membership| match order {
            Some(change) => steps_of(step, change),
            None => Vec::new(),
        };
        follow_ups(membership.clone()).iter().all(|step| {
            self.is_bearable(step) && ordered(step).iter().all(|after| self.is_bearable(after))
        })
    }

    /// What a lost disk asks for; none if nothing is lost, or if what is under
    /// way must end first.
    #[must_use]
    pub fn cure(&self) -> Option<Change> {
        let mut lost = self.committed.iter().filter(|(n, m)| self.is_lost(*n, m));
        let settled = is_settled(&self.committed);
        lost.find_map(|(node, member)| match member.seat {
            Seat::Learner(learner) if settled || learner.promotion.is_some() => {
                Some(Change::Remove { node })
            }
            Seat::Voter if settled => Some(Change::Replace {
                old: node,
                new: node,
                incarnation: self.sight(node).life,
            }),
            Seat::Voter | Seat::Learner(_) | Seat::Incoming | Seat::Outgoing { .. } => None,
        })
    }
}

/// The memberships through which a change leads.
#[must_use]
pub fn steps_of(membership: &Membership, change: Change) -> Vec<Membership> {
    membership
        .after(change)
        .map_or_else(|_| Vec::new(), follow_ups)
}

/// A membership, and what follows from it without an order.
fn follow_ups(membership: Membership) -> Vec<Membership> {
    let mut steps = vec![membership];
    while let Some(last) = steps.last() {
        let next = if last.is_joint() {
            last.with_joint_left()
        } else if last.to_promote().is_some() {
            last.with_promotion_begun()
        } else {
            break;
        };
        steps.push(next);
    }
    steps
}

#[derive(Clone, Debug)]
struct Order {
    change: Change,
    tickets: BTreeSet<Ticket>,
    /// When it is sent again, if nothing comes.
    again_us: u64,
    /// It waits for an answer.
    asked: bool,
    tries: u32,
}

/// The operator.
#[derive(Clone, Debug)]
pub struct Operator {
    options: OperatorOptions,
    caller: Caller,
    order: Option<Order>,
    next_us: u64,
}

impl Operator {
    /// One who has ordered nothing yet.
    #[must_use]
    pub fn new(options: OperatorOptions) -> Operator {
        Operator {
            options,
            caller: Caller::new(OPERATOR, "operator"),
            order: None,
            next_us: 0,
        }
    }

    /// What it waits for.
    #[must_use]
    pub fn order(&self) -> Option<Change> {
        self.order.as_ref().map(|order| order.change)
    }

    /// Time passes.
    pub fn on_alarm(&mut self, desk: &mut Desk<'_>, situation: &Situation) {
        self.caller.later(desk, LOOK_US, 0);
        if self.order.is_some() {
            self.may_cancel(desk, situation);
        } else if let Some(cure) = situation.cure() {
            self.give(cure);
        } else if !situation.is_healed && desk.now_us >= self.next_us {
            let mut roll = desk.tape.roll(Domain::Operator, 0);
            self.next_us = desk.now_us + roll.exponential(self.options.order_us);
            let wish =
                wish(situation, &mut roll).filter(|wish| !self.may_be_late(*wish, situation));
            if let Some(change) = wish
                && let Some(mut roll) = desk.tape.fault(Domain::ChangeOrder, 0, 1_000_000)
            {
                self.give(change);
                self.be_rash(desk, situation, change, &mut roll);
            }
        }
        self.send(desk);
    }

    /// Where learners are promoted unasked, a learner that is to be removed may be a
    /// voter when the order comes, and one voter too many would go.
    fn may_be_late(&self, wish: Change, situation: &Situation) -> bool {
        let removes_learner =
            matches!(wish, Change::Remove { node } if is_learner(&situation.committed, node));
        self.options.voters_target > 0 && removes_learner
    }

    fn give(&mut self, change: Change) {
        self.order = Some(Order {
            change,
            tickets: BTreeSet::new(),
            again_us: 0,
            asked: false,
            tries: 0,
        });
    }

    fn send(&mut self, desk: &mut Desk<'_>) {
        let Some(order) = self.order.as_mut().filter(|o| o.again_us <= desk.now_us) else {
            return;
        };
        if order.asked {
            self.caller.turn_to(None, desk.nodes);
        }
        order.asked = true;
        order.again_us = desk.now_us + PATIENCE_US;
        let request = Request::ChangeMembership(order.change);
        order.tickets.insert(self.caller.ask(desk, request));
    }

    /// A promotion that takes long is taken back at times, and one of a disk that
    /// is lost always: it would never end.
    fn may_cancel(&mut self, desk: &mut Desk<'_>, situation: &Situation) {
        let Some(node) = situation.committed.to_promote() else {
            return;
        };
        let member = situation.committed.get(node).copied();
        let is_lost = member.is_some_and(|member| situation.is_lost(node, &member));
        let cancel = Change::Remove { node };
        if self.order() == Some(cancel) {
            return;
        }
        // It may come too late, and remove a voter.
        if !is_lost && !situation.bears(&situation.committed, Some(cancel)) {
            return;
        }
        let ppm = self.options.cancel_ppm;
        if is_lost || desk.tape.fault(Domain::ChangeCancelled, 0, ppm).is_some() {
            self.give(cancel);
        }
    }

    /// Another order at the same time, for whose outcome nobody waits.
    fn be_rash(
        &mut self,
        desk: &mut Desk<'_>,
        situation: &Situation,
        first: Change,
        roll: &mut Roll,
    ) {
        let steps = steps_of(&situation.committed, first);
        let Some(after) = steps.last() else {
            return;
        };
        let untouched = |node: &NodeId| {
            situation.committed.contains(*node) == after.contains(*node)
                && steps.iter().all(|step| !is_learner(step, *node))
        };
        let learners = || {
            let members = situation.committed.nodes();
            members.filter(|node| is_learner(after, *node) && *node != subject(first))
        };
        let second = match roll.chance(500_000) || self.options.voters_target > 0 {
            true => outsiders(situation)
                .find(untouched)
                .map(|node| add(situation, node, false)),
            false => learners().next().map(|node| Change::Remove { node }),
        };
        let ppm = self.options.rash_ppm;
        if let Some(second) = second
            && desk.tape.fault(Domain::ChangesAtOnce, 0, ppm).is_some()
        {
            self.caller.ask(desk, Request::ChangeMembership(second));
        }
    }

    /// A node answers.
    pub fn on_reply(
        &mut self,
        ticket: Ticket,
        reply: &Reply,
        desk: &mut Desk<'_>,
        situation: &Situation,
        marks: &mut Marks,
    ) {
        if let Reply::ChangeRefused(ChangeError::Cancelled { .. }) = reply {
            marks.hit(Mark::ChangeCancelled);
        }
        if let Reply::ChangeRefused(ChangeError::InProgress) = reply {
            marks.hit(Mark::ChangeRefused);
        }
        let Some(order) = self.order.as_mut().filter(|o| o.tickets.contains(&ticket)) else {
            return;
        };
        let change = order.change;
        match reply {
            Reply::Membership { .. } => {
                if matches!(change, Change::Replace { old, new, .. } if old == new) {
                    marks.hit(Mark::ReplacedAfterLoss);
                }
                self.order = None;
            }
            Reply::ChangeRefused(ChangeError::InProgress) => self.ask_again(None, desk),
            Reply::ChangeRefused(ChangeError::NotCaughtUp { .. }) => {
                order.tries += 1;
                if order.tries == TRIES_MAX {
                    self.order = None;
                } else {
                    self.ask_again(None, desk);
                }
            }
            Reply::ChangeRefused(_) => {
                // What was asked before, and not answered, may have been done.
                if has_come_true(change, &situation.committed) {
                    marks.hit(Mark::ChangeRepeated);
                }
                self.order = None;
            }
            Reply::NotLeader { leader } => {
                let hint = leader.map(|leader| leader.0 as Place - 1);
                self.ask_again(Some(hint), desk);
            }
            _ => self.ask_again(Some(None), desk),
        }
        // The one who leads is where the next order goes, most of the time.
        if let (None, Some(leader)) = (&self.order, situation.leader) {
            self.caller.place = leader.0 as Place - 1;
        }
    }

    fn ask_again(&mut self, elsewhere: Option<Option<Place>>, desk: &mut Desk<'_>) {
        if let Some(hint) = elsewhere {
            self.caller.turn_to(hint, desk.nodes);
        }
        if let Some(order) = &mut self.order {
            order.asked = false;
            order.again_us = desk.now_us + AGAIN_US;
        }
    }
}

fn is_learner(membership: &Membership, node: NodeId) -> bool {
    let member = membership.get(node);
    member.is_some_and(|member| matches!(member.seat, Seat::Learner(_)))
}

/// Whom a change is about first.
fn subject(change: Change) -> NodeId {
    match change {
        Change::AddLearner { node, .. } | Change::Promote { node } | Change::Remove { node } => {
            node
        }
        Change::Replace { new, .. } => new,
    }
}

fn add(situation: &Situation, node: NodeId, promote: bool) -> Change {
    Change::AddLearner {
        node,
        incarnation: situation.sight(node).life,
        promote,
    }
}

/// Machines that could be added.
fn outsiders(situation: &Situation) -> impl Iterator<Item = NodeId> {
    let nodes = (1..=situation.sights.len() as u64).map(NodeId);
    nodes.filter(|node| !situation.committed.contains(*node) && situation.sight(*node).is_whole)
}

/// Something that the operator might want, and that leaves majorities whole.
fn wish(situation: &Situation, roll: &mut Roll) -> Option<Change> {
    let committed = &situation.committed;
    if !is_settled(committed) {
        return None;
    }
    let (voters, learners): (Vec<NodeId>, Vec<NodeId>) = committed
        .nodes()
        .partition(|node| !is_learner(committed, *node));
    let outsiders: Vec<NodeId> = outsiders(situation).collect();
    let some = |nodes: &[NodeId], roll: &mut Roll| (!nodes.is_empty()).then(|| *roll.pick(nodes));
    // The leader is what a removal or a replacement is about most of the time.
    let leader = situation.leader.filter(|leader| voters.contains(leader));
    let leader = leader.filter(|_| roll.chance(500_000));
    let change = match roll.below(8) {
        0 | 1 => add(situation, some(&outsiders, roll)?, true),
        2 => add(situation, some(&outsiders, roll)?, false),
        3 => Change::Promote {
            node: some(&learners, roll)?,
        },
        4 => Change::Remove {
            node: some(&learners, roll)?,
        },
        5 | 6 => Change::Remove {
            node: leader.or_else(|| some(&voters, roll))?,
        },
        _ => {
            let new = some(&outsiders, roll)?;
            Change::Replace {
                old: leader.or_else(|| some(&voters, roll))?,
                new,
                incarnation: situation.sight(new).life,
            }
        }
    };
    let is_fair = |step: &Membership| {
        let count = smaller_half(step);
        (situation.voters_min..=VOTERS_MAX).contains(&count) && situation.is_bearable(step)
    };
    let steps = steps_of(committed, change);
    (!steps.is_empty() && steps.iter().all(is_fair)).then_some(change)
}
