//! A majority is gone for good, and an operator goes on with those that are left.
//! Before that it is in too great a hurry, now and then. The world ends when the
//! survivors have a leader: what follows is another cluster's history.

use precentor_core::action::Action;
use precentor_core::ids::{NodeId, Ticket};
use precentor_core::marks::Mark as Seen;
use precentor_core::principal::Principal;
use precentor_core::request::Request;
use precentor_core::view::View;

use super::{Happening, Stage};
use crate::check::{Moment, Verdict};
use crate::chronicle::Lane;
use crate::network::Place;
use crate::tape::Domain;

/// The lane of the operator's questions, which nobody waits for but the judges.
pub(super) const RESCUER: u32 = 61;
/// How long it waits until it asks, and asks again.
const PATIENCE_US: u64 = 2_500_000;

/// What the operator does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Asks a node that reaches a majority.
    Hurry,
    /// Asks a survivor.
    Order,
}

/// What has happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Disaster {
    gone: Vec<Place>,
    orders: u64,
}

impl Disaster {
    pub(super) fn has_struck(&self) -> bool {
        !self.gone.is_empty()
    }

    pub(super) fn took(&self, place: Place) -> bool {
        self.gone.contains(&place)
    }
}

impl Stage {
    /// Lets the judges look at a turn. A recovery that begins although no majority
    /// is gone, since none was in sight, splits the cluster: the world ends there.
    pub(super) fn judge_turn(
        &mut self,
        moment: Moment,
        view: &View<'_>,
        actions: &[Action],
    ) -> Verdict {
        let (checks, marks) = (&mut self.checks, &mut self.marks);
        if self.disaster.has_struck() {
            let logs = &checks.logs;
            let is_led =
                checks
                    .recovery
                    .on_survivors_turn(view, actions, logs, &self.disks, marks)?;
            self.content |= is_led;
            return Ok(());
        }
        checks.on_turn(moment, view, actions, &self.disks, marks)?;
        self.content |=
            self.scenario.disaster.is_some() && view.marks().count(Seen::UnsafeRecoveryBegun) > 0;
        self.check_hangs(moment.place, view)
    }

    pub(super) fn foresee_disaster(&mut self) {
        if let Some(hurry_us) = self.scenario.disaster {
            self.agenda.put(hurry_us, Happening::Disaster(Step::Hurry));
        }
    }

    /// All chaos ends: by a disaster, where that is drawn.
    pub(super) fn end_chaos(&mut self) {
        if self.scenario.disaster.is_none() {
            return self.heal_unless_watched();
        }
        let count = self.machines.len() as u64;
        let mut order: Vec<Place> = (0..self.machines.len()).collect();
        let mut roll = self.tape.roll(Domain::Disaster, 0);
        roll.shuffle(&mut order);
        let survivors = 1 + roll.below((count - 1) / 2) as usize;
        // Those with damaged logs agree to nothing: one is whole at least. Another
        // is one of them, if there is any: so few are there by chance.
        let is_whole = |place: &Place| self.disks[*place].repairing().is_none();
        if let Some(whole) = order.iter().position(is_whole) {
            order.swap(0, whole);
        }
        let damaged = order.iter().position(|place| !is_whole(place));
        if let Some(damaged) = damaged.filter(|_| survivors > 1) {
            order.swap(1, damaged);
        }
        let views = self
            .machines
            .iter()
            .filter_map(|machine| machine.driver.as_ref());
        let last_term = views.map(|driver| driver.view().term()).max();
        let gone = order.split_off(survivors);
        let left = order.iter().map(|place| NodeId(*place as u64 + 1));
        self.checks
            .recovery
            .on_disaster(last_term.unwrap_or_default(), left.collect());
        for &place in &gone {
            self.tell_fault(Lane::Node(place), || "is gone for good".to_owned());
            if self.machines[place].driver.is_some() {
                self.stop(place);
            }
        }
        self.disaster.gone = gone;
        self.heal();
        let first = Happening::Disaster(Step::Order);
        self.agenda.put(self.now_us + PATIENCE_US, first);
    }

    pub(super) fn on_disaster(&mut self, step: Step) {
        let places: Vec<Place> = (0..self.machines.len())
            .filter(|place| !self.disaster.took(*place))
            .collect();
        let (place, survivors, next_us) = match step {
            Step::Hurry if self.disaster.has_struck() => return,
            Step::Hurry => {
                let mut roll = self.tape.roll(Domain::Disaster, 1);
                let place = *roll.pick(&places);
                let open = places
                    .iter()
                    .filter(|peer| self.network.is_open(place, **peer));
                // With itself a majority.
                let in_sight = (open.count() + 1) * 2 > places.len();
                let next_us = roll.between(100_000, 1_000_000);
                (in_sight.then_some(place), vec![place], next_us)
            }
            Step::Order => {
                let places = self.fit_survivors(places);
                let nth = self.disaster.orders % places.len() as u64;
                self.disaster.orders += 1;
                let place = places[nth as usize];
                (Some(place), places, PATIENCE_US)
            }
        };
        self.agenda
            .put(self.now_us + next_us, Happening::Disaster(step));
        let Some(place) = place else { return };
        let node = |place: Place| NodeId(place as u64 + 1);
        self.agenda.put(
            self.now_us,
            Happening::Ask {
                place,
                ticket: Ticket(u64::from(RESCUER) << 48 | self.now_us),
                principal: Principal("operator".into()),
                request: Request::RecoverUnsafely {
                    survivors: survivors.into_iter().map(node).collect(),
                },
            },
        );
    }

    /// Whom the operator names. All at first; when each was asked, and refused
    /// since a log is damaged, it takes those off that have such a one: a
    /// survivor that is given up must not be in sight.
    fn fit_survivors(&mut self, places: Vec<Place>) -> Vec<Place> {
        if self.disaster.orders < places.len() as u64 {
            return places;
        }
        let is_whole = |place: &Place| self.disks[*place].repairing().is_none();
        let (whole, damaged): (Vec<Place>, Vec<Place>) = places.into_iter().partition(is_whole);
        for place in damaged {
            self.stop(place);
            self.disaster.gone.push(place);
        }
        whole
    }
}
