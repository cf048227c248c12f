//! What breaks from time to time, and how it heals: crashes, pauses, walls,
//! broken connections, operators' orders; then the end of all chaos, after
//! which everything that was accepted must come to its end.

use precentor_core::event::{Event, Order};
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::NodeId;

use super::telling::words_of_cuts;
use super::{Happening, Stage};
use crate::check::{Checker, Failure, Verdict};
use crate::chronicle::{Lane, Lasting};
use crate::network::{Place, lane};
use crate::tape::{Domain, Roll};
use crate::topology::Shape;

/// Something that comes again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Crash,
    PowerCut,
    Pause,
    Partition,
    Break,
    HandOver,
    Snapshot,
    Hang,
    Doze,
}

/// Walls that go up or down.
#[derive(Clone, Debug)]
pub(super) struct Walls {
    cuts: Vec<(Place, Place)>,
    up: bool,
    /// So often they still change before they go down for good.
    changes: u64,
    half_us: u64,
    /// When the world heals a new era begins, and these walls are gone.
    era: u32,
}

const KINDS: [Kind; 9] = [
    Kind::Crash,
    Kind::PowerCut,
    Kind::Pause,
    Kind::Partition,
    Kind::Break,
    Kind::HandOver,
    Kind::Snapshot,
    Kind::Hang,
    Kind::Doze,
];

/// How many jobs had ended when one did last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    come_so_far: u64,
    at_us: u64,
}

/// How often the healed cluster is looked at.
const LOOK_US: u64 = 100_000;

impl Stage {
    pub(super) fn summon_nemesis(&mut self) {
        for kind in KINDS {
            self.summon(kind);
        }
        if let Some(topology) = self.scenario.topology {
            let begin = Happening::Topology(super::topology::Act::Lull);
            self.agenda.put(topology.at_us, begin);
        }
    }

    fn summon(&mut self, kind: Kind) {
        let nemesis = &self.scenario.nemesis;
        let mean_us = match kind {
            Kind::Crash => nemesis.crash_us,
            Kind::PowerCut => nemesis.power_cut_us,
            Kind::Pause => nemesis.pause_us,
            Kind::Partition => nemesis.partition_us,
            Kind::Break => nemesis.break_us,
            Kind::HandOver => nemesis.hand_over_us,
            Kind::Snapshot => nemesis.snapshot_us,
            Kind::Hang => nemesis.hang_us,
            Kind::Doze => nemesis.doze_us,
        };
        if mean_us > 0 {
            let wait_us = self
                .tape
                .roll(Domain::Nemesis, kind as u32)
                .exponential(mean_us);
            self.agenda
                .put(self.now_us + wait_us, Happening::Nemesis(kind));
        }
    }

    pub(super) fn strike(&mut self, kind: Kind) -> Verdict {
        if self.healed {
            return Ok(());
        }
        self.summon(kind);
        if self.standing.is_quiet() {
            return Ok(());
        }
        let (nemesis, count) = (self.scenario.nemesis, self.machines.len());
        let certain = 1_000_000;
        match kind {
            Kind::Crash => {
                if let Some(mut roll) = self.tape.fault(Domain::Crash, 0, certain) {
                    let leader = self.leader().filter(|_| roll.chance(500_000));
                    if leader.is_some() {
                        self.tape.count(Domain::LeaderCrash);
                    }
                    let place = leader.unwrap_or(roll.below(count as u64) as usize);
                    self.stop(place);
                }
            }
            Kind::PowerCut => {
                if self.tape.fault(Domain::PowerCut, 0, certain).is_some() {
                    (0..count).for_each(|place| self.stop(place));
                }
            }
            Kind::Pause => {
                if let Some(mut roll) = self.tape.fault(Domain::Pause, 0, certain) {
                    let leader = self.leader().filter(|_| roll.chance(500_000));
                    let place = leader.unwrap_or(roll.below(count as u64) as usize);
                    self.pause(place, roll.between(5_000, nemesis.pause_us_max));
                }
            }
            Kind::Doze => {
                if let Some(mut roll) = self.tape.fault(Domain::Doze, 0, certain)
                    && let Some(place) = self.leader()
                {
                    // Over two heartbeats, and not so long that it is missed.
                    self.pause(place, roll.between(65_000, 140_000));
                }
            }
            Kind::Partition => self.wall_up(),
            Kind::Break => {
                if let Some(mut roll) = self.tape.fault(Domain::ConnectionBreak, 0, certain) {
                    let a = roll.below(count as u64) as usize;
                    let b = (a + 1 + roll.below(count as u64 - 1) as usize) % count;
                    if self.network.close(a, b) {
                        self.tell_connected(a, b, false);
                        self.tell_connected(b, a, false);
                        self.dial(a, b, 0);
                    }
                }
            }
            Kind::HandOver => {
                if let Some(mut roll) = self.tape.fault(Domain::HandOver, 0, certain)
                    && let Some(place) = self.leader()
                {
                    // To the fittest, or to one that need not be fit at all.
                    let named = NodeId(1 + roll.below(count as u64));
                    let to = roll.chance(400_000).then_some(named);
                    self.deliver(place, Event::Order(Order::HandOver { to }));
                }
            }
            Kind::Snapshot => {
                if let Some(mut roll) = self.tape.fault(Domain::SnapshotOrder, 0, certain) {
                    let place = roll.below(count as u64) as usize;
                    self.deliver(place, Event::Order(Order::Snapshot));
                }
            }
            Kind::Hang => {
                if let Some(mut roll) = self.tape.fault(Domain::DiskHang, 0, certain) {
                    let leader = self.leader().filter(|_| roll.chance(700_000));
                    let place = leader.unwrap_or(roll.below(count as u64) as usize);
                    let until_us = self.now_us + roll.between(200_000, nemesis.hang_us_max);
                    self.tell_fault(Lane::Node(place), || {
                        format!("has a disk that hangs until {until_us}")
                    });
                    self.chronicle_lasting(Lane::Node(place), Lasting::Hang, Some(until_us));
                    self.disks[place].hang(until_us);
                }
            }
        }
        if self.scenario.wall_ms_max > 0
            && let Some(mut roll) = self.tape.fault(Domain::WallJump, 0, 200_000)
        {
            let place = roll.below(count as u64) as usize;
            let offset_ms = roll.below(self.scenario.wall_ms_max);
            self.machines[place].clock.set_wall_offset_ms(offset_ms);
        }
        Ok(())
    }

    /// A node stands still for a while.
    fn pause(&mut self, place: Place, for_us: u64) {
        let until_us = self.now_us + for_us;
        let machine = &mut self.machines[place];
        machine.paused_until_us = machine.paused_until_us.max(until_us);
        let life = machine.life;
        self.tell_fault(Lane::Node(place), || {
            format!("stands still until {until_us}")
        });
        self.chronicle_lasting(Lane::Node(place), Lasting::Paused, Some(until_us));
        self.agenda.put(until_us, Happening::Resume { place, life });
    }

    fn wall_up(&mut self) {
        let nemesis = self.scenario.nemesis;
        let known = if nemesis.all_shapes {
            Shape::ALL.len()
        } else {
            5
        };
        let mut nth = self.tape.roll(Domain::Nemesis, 32);
        let shape = Shape::ALL[nth.below(known as u64) as usize];
        let Some(mut roll) = self.tape.fault(shape.domain(), 0, 1_000_000) else {
            return;
        };
        let cuts = shape.cuts(self.machines.len(), self.leader(), &mut roll);
        let length_us = roll.between(20_000, nemesis.partition_us_max);
        let flap = self.tape.fault(Domain::Flap, 0, nemesis.flap_ppm);
        let flaps = flap.map_or(0, |mut roll| roll.between(1, 5));
        self.tell_fault(Lane::World, || {
            let cuts = words_of_cuts(&cuts);
            format!("wall {shape:?} for {length_us} us, flaps {flaps}: {cuts}")
        });
        // A connection that carries nothing for long breaks.
        if length_us > 1_000_000 && flaps == 0 {
            self.break_connections(&cuts, 500_000, &mut roll);
        }
        let half_us = length_us / (2 * flaps + 1);
        let era = self.era;
        self.on_walls(Walls {
            cuts,
            up: true,
            changes: 2 * flaps,
            half_us,
            era,
        });
    }

    /// Connections over cut links break, and their ends hear of it at last.
    pub(super) fn break_connections(
        &mut self,
        cuts: &[(Place, Place)],
        close_ppm: u32,
        roll: &mut Roll,
    ) {
        for &(from, to) in cuts {
            if roll.chance(close_ppm) && self.network.close(from, to) {
                for (node, peer) in [(from, to), (to, from)] {
                    let life = self.machines[node].life;
                    let at_us = self.now_us + roll.between(300_000, 1_000_000);
                    self.agenda.put(
                        at_us,
                        Happening::Hangup {
                            place: node,
                            life,
                            peer,
                        },
                    );
                }
            }
        }
    }

    /// Walls go up or down, unless the world healed since they were ordered.
    pub(super) fn on_walls(&mut self, walls: Walls) {
        if walls.era != self.era {
            return;
        }
        if walls.up {
            for &(from, to) in &walls.cuts {
                self.network.wall(from, to, true);
            }
            self.chronicle_walls(&walls.cuts, true);
        } else {
            self.unwall(&walls.cuts);
        }
        if walls.up || walls.changes > 0 {
            let at_us = self.now_us + walls.half_us;
            let next = Walls {
                up: !walls.up,
                changes: walls.changes.saturating_sub(1),
                ..walls
            };
            self.agenda.put(at_us, Happening::Walls(next));
        }
    }

    pub(super) fn unwall(&mut self, cuts: &[(Place, Place)]) {
        self.chronicle_walls(cuts, false);
        for &(from, to) in cuts {
            self.network.wall(from, to, false);
        }
        for &(from, to) in cuts {
            self.dial(from, to, 0);
        }
    }

    /// A process ends without a warning; its machine starts it again later.
    pub(super) fn stop(&mut self, place: Place) {
        if self.machines[place].driver.is_none() {
            return;
        }
        self.tell_fault(Lane::Node(place), || "dies".to_owned());
        self.chronicle_lasting(Lane::Node(place), Lasting::Down, None);
        self.disturb();
        self.mark_life(place);
        self.machines[place].stop();
        let may_rot = self.scenario.disk.rot_ppm > 0 && self.may_rot(place);
        self.disks[place].crash(may_rot, &mut self.tape);
        for peer in (0..self.machines.len()).filter(|&peer| peer != place) {
            // Its sockets close: peers that messages reach hear of it at once.
            if self.network.close(place, peer) && self.network.passes(place, peer) {
                let life = self.machines[peer].life;
                let wait_us = self
                    .tape
                    .roll(Domain::Connect, lane(place, peer))
                    .between(100, 1_500);
                self.agenda.put(
                    self.now_us + wait_us,
                    Happening::Hangup {
                        place: peer,
                        life,
                        peer: place,
                    },
                );
            }
        }
        let mut roll = self.tape.roll(Domain::Nemesis, 33 + place as u32);
        let most_us = if self.healed {
            50_000
        } else {
            self.scenario.nemesis.down_us_max.max(50_000)
        };
        let down_us = roll.between(5_000, most_us);
        let life = self.machines[place].life;
        self.agenda
            .put(self.now_us + down_us, Happening::Start { place, life });
    }

    pub(super) fn dial(&mut self, a: Place, b: Place, least_us: u64) {
        if self.network.dial(a, b) {
            let wait_us = self
                .tape
                .roll(Domain::Connect, lane(a, b))
                .between(200, 3_000);
            self.agenda.put(
                self.now_us + least_us + wait_us,
                Happening::Connect { a, b },
            );
        }
    }

    pub(super) fn connect(&mut self, a: Place, b: Place) {
        let live = |place: Place| self.machines[place].driver.is_some();
        let both_live = live(a) && live(b);
        if self.network.connect(a, b, both_live) {
            if !self.greet(a, b) {
                self.network.close(a, b);
                self.dial(a, b, 100_000);
                return;
            }
            self.tell_connected(a, b, true);
            self.tell_connected(b, a, true);
        } else if both_live && !self.network.is_open(a, b) {
            self.dial(a, b, 100_000);
        }
    }

    /// Tells a node of a connection; a new one implies that the old one closed.
    pub(super) fn tell_connected(&mut self, place: Place, peer: Place, connected: bool) {
        let before = self.network.tell(place, peer, connected);
        let (other, peer) = (peer, NodeId(peer as u64 + 1));
        if before {
            self.deliver(place, Event::PeerDown { peer });
        }
        if connected {
            let supports = self.wires.program(other).supports;
            self.deliver(place, Event::PeerUp { peer, supports });
        }
    }

    /// All chaos ends.
    pub(super) fn heal(&mut self) {
        self.tell_fault(Lane::World, || "everything heals".to_owned());
        self.finish(None);
        self.healed = true;
        self.tape.calm_down();
        for client in &mut self.clients {
            client.retire(self.scenario.machines());
        }
        for place in 0..self.machines.len() {
            let life = self.machines[place].life;
            if self.machines[place].driver.is_none() {
                self.agenda
                    .put(self.now_us + 1_000, Happening::Start { place, life });
            }
        }
        self.clear_the_air();
        let progress = Progress {
            come_so_far: self.come_so_far(),
            at_us: self.now_us,
        };
        let next = Happening::Judge(progress);
        self.agenda.put(self.now_us + LOOK_US, next);
    }

    /// All walls fall, what stood still wakes, and who is not connected dials.
    pub(super) fn clear_the_air(&mut self) {
        self.era += 1;
        self.network.heal();
        if let Some(chronicle) = self.trace.chronicle() {
            chronicle.all_clear(self.now_us);
        }
        self.network.settle(self.now_us);
        for place in 0..self.machines.len() {
            let life = self.machines[place].life;
            if self.machines[place].driver.is_some() && self.is_paused(place) {
                self.machines[place].paused_until_us = self.now_us;
                self.agenda
                    .put(self.now_us, Happening::Resume { place, life });
            }
            for peer in place + 1..self.machines.len() {
                self.dial(place, peer, 0);
            }
        }
    }

    /// Jobs that ended, and how often a client heard of one.
    fn come_so_far(&self) -> u64 {
        let drivers = self.machines.iter().filter_map(|m| m.driver.as_ref());
        let ended = drivers.map(|driver| driver.view().queue().counts().ended());
        let heard = self.clients.iter().map(|client| client.heard());
        ended.max().unwrap_or_default() + heard.sum::<u64>()
    }

    /// Has everything come to its end? As long as jobs end, or clients hear of it,
    /// it may take longer: a slow disk, a long queue, and a client that asks many
    /// who are no members are no fault.
    pub(super) fn judge(&mut self, mut progress: Progress) -> Verdict {
        let unsettled = self.unsettled();
        let Some(reason) = unsettled else {
            self.content = true;
            return Ok(());
        };
        let come_so_far = self.come_so_far();
        if come_so_far > progress.come_so_far {
            progress = Progress {
                come_so_far,
                at_us: self.now_us,
            };
        }
        if self.now_us < progress.at_us + self.scenario.heal_us_max {
            let next = Happening::Judge(progress);
            self.agenda.put(self.now_us + LOOK_US, next);
            return Ok(());
        }
        Err(Failure {
            checker: Checker::Liveness,
            text: format!(
                "{} ms after everything healed, and after a client heard of a job last: {reason}",
                self.scenario.heal_us_max / 1_000
            ),
        })
    }

    /// What members keep for their clients is over too, where any leader's program can
    /// take it.
    fn undrained(&self) -> Option<String> {
        let mut members = (0..self.machines.len()).filter(|place| self.is_member(*place));
        let takes =
            |place: Place| self.wires.program(place).supports >= FeatureLevel::REQUESTS_FORWARDED;
        if !members.clone().all(takes) {
            return None;
        }
        members.find_map(|place| self.checks.local.left(place))
    }

    fn unsettled(&self) -> Option<String> {
        if self.disaster.has_struck() {
            return Some("the operator waits for the survivors to have a leader".into());
        }
        if self.scenario.upgrade.is_some() && !self.upgraded {
            return Some("the operator waits for the level to be raised".into());
        }
        let is_member = |place| self.is_member(place);
        let mut clients = self.clients.iter();
        if let Some(client) = clients.find(|client| !client.is_content(is_member)) {
            return Some(client.wants(is_member));
        }
        if let Some(reason) = self.unsettled_members() {
            return Some(reason);
        }
        if let Some(reason) = self.undrained() {
            return Some(reason);
        }
        let mut states = Vec::new();
        for (place, machine) in self.machines.iter().enumerate() {
            if !self.is_member(place) {
                continue;
            }
            let Some(driver) = &machine.driver else {
                return Some(format!("n{} is down", place + 1));
            };
            let view = driver.view();
            if view.queue().counts().live() > 0 {
                return Some(format!(
                    "n{} has unfinished jobs: {:?}",
                    place + 1,
                    view.queue().counts()
                ));
            }
            let may_go = || view.queue().cached_after(None).any(|at| !at.needed);
            if view.queue().excess_bytes() > 0 && may_go() {
                return Some(format!("n{} has results over their budget", place + 1));
            }
            states.push((view.applied(), view.last().index, view.state_hash().hash));
        }
        let equal = states.windows(2).all(|pair| pair[0] == pair[1]);
        (!equal).then(|| format!("the replicas are not equal: {states:?}"))
    }
}
