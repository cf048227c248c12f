//! Puts up one shape of the network while all other faults rest, and watches
//! whether a leader is found in it. What is down when the shape comes stays
//! down until it goes; what stood still wakes.

use precentor_core::command::Command;
use precentor_core::event::Event;
use precentor_core::ids::{Sequence, Ticket};
use precentor_core::principal::Principal;

use super::telling::words_of_cuts;
use super::{Happening, Stage};
use crate::check::Verdict;
use crate::check::topology::{Seen, Watch};
use crate::chronicle::Lane;
use crate::network::Place;
use crate::sightings::{Outcome, Sighting};
use crate::tape::{Domain, Roll};
use crate::topology::{Row, SETTLE_US_MAX, TopologyOptions, centres};
use crate::workload::propose;

/// The lane of the questions that make a leader commit something.
pub(super) const PROBE: u32 = 63;
/// How often a standing shape is looked at.
const LOOK_US: u64 = 5_000;

/// What is next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// The other faults begin to rest.
    Lull,
    /// The shape comes, and goes again if any flaps are left.
    Rise { flaps: u64 },
    /// It goes.
    Fall { flaps: u64 },
    /// It stays: is everything else stable?
    Settle { until_us: u64 },
    /// Watch, ask and judge.
    Look,
}

/// The shape of this run, if it is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    under_way: Option<UnderWay>,
    /// What was seen, when it is over.
    pub(super) sighting: Option<Sighting>,
}

#[derive(Clone, Debug)]
struct UnderWay {
    options: TopologyOptions,
    roll: Roll,
    cuts: Vec<(Place, Place)>,
    /// The shape has come: nobody starts until it is gone.
    risen: bool,
    /// Since when everything is as the shape leaves it.
    calm_from_us: Option<u64>,
    watch: Option<Watch>,
}

impl Standing {
    /// Do all other faults rest?
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_some()
    }

    /// Does who is down stay down?
    pub(super) fn is_frozen(&self) -> bool {
        self.under_way.as_ref().is_some_and(|shape| shape.risen)
    }

    /// A node took a turn.
    pub(super) fn on_turn(&mut self, now_us: u64, place: Place, seen: impl FnOnce() -> Seen) {
        if let Some(watch) = self.under_way.as_mut().and_then(|s| s.watch.as_mut()) {
            watch.on_seen(now_us, place, seen());
        }
    }
}

impl Stage {
    pub(super) fn on_topology(&mut self, act: Act) -> Verdict {
        match act {
            Act::Lull => self.begin_lull(),
            Act::Rise { flaps } => self.rise(flaps),
            Act::Fall { flaps } => self.fall(flaps),
            Act::Settle { until_us } => self.settle(until_us),
            Act::Look => return self.look(),
        }
        Ok(())
    }

    fn begin_lull(&mut self) {
        let Some(options) = self.scenario.topology.filter(|_| !self.healed) else {
            return;
        };
        let Some(roll) = self.tape.fault(Domain::Topology, 0, 1_000_000) else {
            return;
        };
        self.tape.count(options.shape.domain());
        if options.flaps > 0 {
            self.tape.count(Domain::Flap);
        }
        self.tape.rest(true);
        self.standing.under_way = Some(UnderWay {
            options,
            roll,
            cuts: Vec::new(),
            risen: false,
            calm_from_us: None,
            watch: None,
        });
        self.clear_the_air();
        let flaps = options.flaps;
        self.act_in(options.lull_us, Act::Rise { flaps });
    }

    fn act_in(&mut self, in_us: u64, act: Act) {
        self.agenda
            .put(self.now_us + in_us, Happening::Topology(act));
    }

    fn rise(&mut self, flaps: u64) {
        let (leader, count) = (self.leader(), self.scenario.nodes);
        let Some(shape) = &mut self.standing.under_way else {
            return;
        };
        let options = shape.options;
        if !shape.risen {
            shape.risen = true;
            shape.cuts = options.shape.cuts(count, leader, &mut shape.roll);
        }
        let (cuts, mut roll) = (shape.cuts.clone(), shape.roll);
        for &(from, to) in &cuts {
            self.network.wall(from, to, true);
        }
        self.chronicle_walls(&cuts, true);
        self.tell_fault(Lane::World, || {
            let cuts = words_of_cuts(&cuts);
            format!("shape {:?}, flaps {flaps}: {cuts}", options.shape)
        });
        if flaps > 0 {
            return self.act_in(options.flap_us, Act::Fall { flaps: flaps - 1 });
        }
        self.break_connections(&cuts, options.close_ppm, &mut roll);
        let until_us = self.now_us + SETTLE_US_MAX;
        self.act_in(0, Act::Settle { until_us });
    }

    fn fall(&mut self, flaps: u64) {
        let Some(shape) = &self.standing.under_way else {
            return;
        };
        let (cuts, flap_us) = (shape.cuts.clone(), shape.options.flap_us);
        self.unwall(&cuts);
        self.act_in(flap_us, Act::Rise { flaps });
    }

    /// Waits until every link that the shape leaves is connected, no disk stalls
    /// any more, all that was held up on its way is there, and a leader has had the
    /// time to speak: from then on only the shape is to blame. Answers from before
    /// it would make a leader believe that it is heard, and a silence that lasted
    /// until it would make a follower patient beyond the bound that was set when
    /// the shape stood.
    fn settle(&mut self, until_us: u64) {
        let (now_us, count) = (self.now_us, self.scenario.nodes);
        let lives: Vec<bool> = (0..count)
            .map(|place| self.machines[place].driver.is_some())
            .collect();
        let passes = |a, b| self.network.passes(a, b);
        let wanting = self.network.has_late_messages(now_us)
            || (0..count).any(|a| {
                let links = (0..a).filter(|&b| lives[b] && passes(a, b) && passes(b, a));
                lives[a]
                    && (self.disks[a].is_stalled(now_us)
                        || links.into_iter().any(|b| !self.network.is_open(a, b)))
            });
        let word_us = self
            .scenario
            .on_slowest_clock(self.scenario.knobs.heartbeat_ms * 1_000)
            + self.scenario.network.delay.most_us()
            + self.scenario.network.bias_us_max;
        let Some(shape) = &mut self.standing.under_way else {
            return;
        };
        let calm_from_us = match wanting {
            true => None,
            false => Some(shape.calm_from_us.unwrap_or(now_us)),
        };
        shape.calm_from_us = calm_from_us;
        if calm_from_us.is_none_or(|from_us| now_us < from_us + word_us) {
            if now_us < until_us {
                self.act_in(1_000, Act::Settle { until_us });
            } else {
                self.finish(Some(Outcome::Unsettled));
            }
            return;
        }
        let centres = centres(&lives, passes);
        let before = (0..count).map(|place| self.seen(place)).collect();
        self.tell_fault(Lane::World, || format!("shape stands; centres {centres:?}"));
        let patience_us = self.scenario.on_slowest_clock(self.patience_us());
        if let Some(shape) = &mut self.standing.under_way {
            let bound = shape.options.bound.with_patience_us(patience_us);
            shape.watch = Some(Watch::new(now_us, bound, centres, before));
        }
        self.act_in(0, Act::Look);
    }

    fn look(&mut self) -> Verdict {
        let now_us = self.now_us;
        let watch = self.standing.under_way.as_ref();
        let Some(watch) = watch.and_then(|shape| shape.watch.as_ref()) else {
            return Ok(());
        };
        let verdict = watch.judge(now_us, || self.tell_nodes());
        if verdict.is_err() {
            self.finish(None);
            return verdict;
        }
        if now_us >= watch.until_us() || !watch.has_centre() {
            self.finish(None);
            return Ok(());
        }
        let asked: Vec<Place> = (0..self.scenario.nodes)
            .filter(|&place| self.machines[place].driver.is_some())
            .filter(|&place| watch.wants_proof(place, self.seen(place)))
            .collect();
        for place in asked {
            let event = Event::Client {
                ticket: Ticket(u64::from(PROBE) << 48),
                principal: Principal("probe".into()),
                request: propose(None, Sequence(0), Command::OpenSession),
            };
            self.deliver(place, event);
        }
        self.act_in(LOOK_US, Act::Look);
        Ok(())
    }

    /// For how long any node waits for its leader by now, at the most. Of one that
    /// died behind a wall, where no connection closed, others know only its last word.
    fn patience_us(&self) -> u64 {
        let count = self.machines.len();
        let is_missed = |place| (0..count).all(|peer| !self.network.believes(peer, place));
        let of = |place: Place| match &self.machines[place].driver {
            Some(driver) => driver.view().election_timeout().1.0,
            None if is_missed(place) => 0,
            None => self.machines[place].patience_left_us,
        };
        (0..count).map(of).max().unwrap_or(0)
    }

    /// Patient nodes are watched for longer than was foreseen: then the chaos
    /// lasts longer.
    pub(super) fn heal_unless_watched(&mut self) {
        let watch = self.standing.under_way.as_ref();
        let until_us = watch.and_then(|shape| Some(shape.watch.as_ref()?.until_us()));
        match until_us.filter(|until_us| *until_us >= self.now_us) {
            Some(until_us) => {
                self.scenario.chaos_us = until_us + LOOK_US;
                self.agenda.put(self.scenario.chaos_us, Happening::Heal);
            }
            None => self.heal(),
        }
    }

    /// What a node shows; one that is down leads nothing.
    fn seen(&self, place: Place) -> Seen {
        match &self.machines[place].driver {
            Some(driver) => Seen::of(&driver.view()),
            None => Seen::nothing(),
        }
    }

    fn tell_nodes(&self) -> String {
        let tell = |place: Place| match &self.machines[place].driver {
            Some(driver) => {
                let view = driver.view();
                format!(
                    "n{} {:?} {} last {:?} commit {}",
                    place + 1,
                    view.role(),
                    view.term(),
                    view.last(),
                    view.commit()
                )
            }
            None => format!("n{} down", place + 1),
        };
        let told: Vec<String> = (0..self.scenario.nodes).map(tell).collect();
        told.join("; ")
    }

    /// A node died of a fault from before: what is watched is another shape now.
    pub(super) fn disturb(&mut self) {
        if self.standing.is_frozen() {
            self.finish(Some(Outcome::Disturbed));
        }
    }

    /// The shape goes, and the other faults come back.
    pub(super) fn finish(&mut self, outcome: Option<Outcome>) {
        let Some(shape) = self.standing.under_way.take() else {
            return;
        };
        let (options, watch) = (shape.options, shape.watch.as_ref());
        let row = if options.flaps > 0 {
            Row::Flapping
        } else {
            Row::Steady(options.shape)
        };
        let found = match watch {
            None => Outcome::Unsettled,
            Some(watch) if !watch.has_centre() => Outcome::NoCentre,
            Some(watch) if !watch.is_binding() => Outcome::Unbound,
            Some(_) => Outcome::Watched,
        };
        self.standing.sighting = Some(Sighting {
            row,
            outcome: outcome.unwrap_or(found),
            serving_us: watch.and_then(Watch::serving_after_us),
            dark_us: watch.map_or(0, |watch| watch.dark_us(self.now_us)),
            losses: watch.map_or(0, Watch::losses),
            timeout_us: watch.map_or(options.bound, Watch::bound).timeout_us,
        });
        self.tell_fault(Lane::World, || "shape goes".to_owned());
        self.tape.rest(false);
        self.clear_the_air();
    }
}
