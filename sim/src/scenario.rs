//! What a seed draws before anything happens: how large the cluster is, which
//! faults there are and how strong, what clients and workers do. Swarm testing
//! (Groce et al., 2012): each seed leaves a random part of the faults out,
//! since faults hide each other. Printable, so that a run can be understood.

mod actors;
mod crowd;
mod draw;
mod knobs_by_name;
mod operator;

use precentor_core::config::Knobs;
use serde::{Deserialize, Serialize};

use crate::tape::{Domain, Roll, Tape};
use crate::topology::{Bound, Row, TopologyOptions};

use draw::{
    awaiting, backlog, batching, caching, clients, disk, editing, fitting, keeping, knobs, leaving,
    limiting, napping, nemesis, network, operating, ruling, some, sweeping, taking_back, upgrade,
    workers,
};

pub use actors::{ClientOptions, WorkerOptions};
pub use operator::{MACHINES_MAX, OperatorOptions};

/// How long a message is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Delay {
    /// Always so long.
    Constant {
        /// Microseconds.
        us: u64,
    },
    /// Anything between.
    Uniform {
        /// The least, in microseconds.
        us_min: u64,
        /// The most.
        us_max: u64,
    },
    /// Mostly short.
    Exponential {
        /// The mean, in microseconds.
        us_mean: u64,
    },
    /// Mostly short, rarely very long.
    HeavyTail {
        /// The least, in microseconds.
        us_min: u64,
    },
}

impl Delay {
    /// One delay.
    pub fn draw(self, roll: &mut Roll) -> u64 {
        match self {
            Delay::Constant { us } => us,
            Delay::Uniform { us_min, us_max } => roll.between(us_min, us_max),
            Delay::Exponential { us_mean } => 20 + roll.exponential(us_mean),
            // Pareto with exponent 1, cut at 1,000 times the least.
            Delay::HeavyTail { us_min } => us_min * 1_000 / roll.between(1, 1_000),
        }
    }

    /// The longest that is drawn.
    #[must_use]
    pub fn most_us(self) -> u64 {
        match self {
            Delay::Constant { us } => us,
            Delay::Uniform { us_max, .. } => us_max,
            // 17 octaves of ln 2 each: see `Roll::exponential`.
            Delay::Exponential { us_mean } => 20 + us_mean * 12,
            Delay::HeavyTail { us_min } => us_min * 1_000,
        }
    }
}

/// The wires.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkOptions {
    /// The delay of a message.
    pub delay: Delay,
    /// Each link adds up to so much of its own.
    pub bias_us_max: u64,
    /// Messages lost, per million.
    pub drop_ppm: u32,
    /// Messages that begin a burst of losses, per million.
    pub burst_ppm: u32,
    /// The longest burst.
    pub burst_us_max: u64,
    /// Messages doubled, per million.
    pub duplicate_ppm: u32,
    /// Messages doubled much later, per million.
    pub late_duplicate_ppm: u32,
    /// Messages that overtake, per million of those that could.
    pub reorder_ppm: u32,
    /// Messages that are very late, per million.
    pub spike_ppm: u32,
    /// How late.
    pub spike_us_max: u64,
    /// Messages of a closed connection that still arrive, per million.
    pub stale_ppm: u32,
}

impl Default for NetworkOptions {
    fn default() -> NetworkOptions {
        NetworkOptions {
            delay: Delay::Uniform {
                us_min: 100,
                us_max: 600,
            },
            bias_us_max: 0,
            drop_ppm: 0,
            burst_ppm: 0,
            burst_us_max: 0,
            duplicate_ppm: 0,
            late_duplicate_ppm: 0,
            reorder_ppm: 0,
            spike_ppm: 0,
            spike_us_max: 0,
            stale_ppm: 0,
        }
    }
}

/// The disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskOptions {
    /// The fastest sync.
    pub sync_us_min: u64,
    /// The slowest ordinary one.
    pub sync_us_max: u64,
    /// Syncs that stall, per million.
    pub spike_ppm: u32,
    /// How long.
    pub spike_us_max: u64,
    /// How much longer than a sync it may take to put a leader's snapshot in force.
    pub install_us_max: u64,
    /// Writes that fail, per million.
    pub fail_ppm: u32,
    /// Crashes after which some unsynced records survive, per million.
    pub keep_ppm: u32,
    /// The log is kept as the bytes that production writes, and read back so.
    pub records: bool,
    /// Crashes after which a durable record of such a log is damaged, per
    /// million, as far as the fault budget allows it.
    pub rot_ppm: u32,
}

impl Default for DiskOptions {
    fn default() -> DiskOptions {
        DiskOptions {
            sync_us_min: 100,
            sync_us_max: 1_000,
            spike_ppm: 0,
            spike_us_max: 0,
            install_us_max: 0,
            fail_ppm: 0,
            keep_ppm: 0,
            records: false,
            rot_ppm: 0,
        }
    }
}

/// Faults that come from time to time: the mean time between two, 0 for never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NemesisOptions {
    /// One node crashes.
    pub crash_us: u64,
    /// All nodes crash at once.
    pub power_cut_us: u64,
    /// A node stands still.
    pub pause_us: u64,
    /// A partition begins.
    pub partition_us: u64,
    /// A connection breaks.
    pub break_us: u64,
    /// An operator orders a hand-over.
    pub hand_over_us: u64,
    /// An operator orders a snapshot.
    pub snapshot_us: u64,
    /// A node's disk answers nothing for a while.
    pub hang_us: u64,
    /// The longest such while.
    pub hang_us_max: u64,
    /// The leader stands still for a moment: over two heartbeats, and too short to be
    /// missed.
    pub doze_us: u64,
    /// Turns that end with a crash between two actions, per million.
    pub mid_turn_ppm: u32,
    /// The longest a node stays down.
    pub down_us_max: u64,
    /// The longest partition.
    pub partition_us_max: u64,
    /// Partitions take all shapes, and not only the oldest five.
    pub all_shapes: bool,
    /// Partitions that come and go, per million.
    pub flap_ppm: u32,
    /// The longest pause.
    pub pause_us_max: u64,
}

/// How an operator replaces the program of every node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UpgradeOptions {
    /// When the first node gets the new program.
    pub at_us: u64,
    /// From one replacement to the next.
    pub gap_us: u64,
    /// At which place the operator begins.
    pub first: usize,
    /// After so many the operator takes the new program back, and begins anew later.
    pub back: usize,
    /// Where the old program is started once more by mistake, when all is done.
    pub mistake: Option<usize>,
    /// Frames damaged or cut on their way, per million.
    pub damage_ppm: u32,
    /// Frames that arrive at another node too, per million.
    pub stray_ppm: u32,
    /// Frames that come again on a later connection, per million.
    pub replay_ppm: u32,
}

/// The slowest sync of disks with which all nodes can live: see [`draw::disk`].
const SLOW_DISK_US_MAX: u64 = 60_000;

/// Lanes of [`Domain::Hardship`]. The first two leave the seeds kept as regressions
/// the runs that they were.
const SLOW_DISK_LANE: u32 = 5;
const ROT_LANE: u32 = 13;
const SLOW_INSTALL_LANE: u32 = 0;

/// Everything that a seed decides beforehand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// The founders.
    pub nodes: usize,
    /// Who changes the membership, if it changes at all.
    pub operator: Option<OperatorOptions>,
    /// A majority goes for good when the chaos ends, and an operator asks for a
    /// recovery from then on; until it does, in haste, and first at this time.
    pub disaster: Option<u64>,
    /// How long the chaos lasts.
    pub chaos_us: u64,
    /// How long the healed cluster may take until the next job ends, or all is done.
    pub heal_us_max: u64,
    /// The longest time between an event's arrival and its turn.
    pub service_us_max: u64,
    /// Turns whose actions are performed in another order, per million.
    pub shuffle_ppm: u32,
    /// How long work beside the turns takes, at the most.
    #[serde(default)]
    pub work_us_max: u64,
    /// Clocks are off by at most so many parts per million.
    pub drift: u64,
    /// Wall clocks jump by at most so much.
    pub wall_ms_max: u64,
    /// The wires.
    pub network: NetworkOptions,
    /// The disks.
    pub disk: DiskOptions,
    /// This node's disk is this many times slower.
    pub slow_disk: Option<(usize, u64)>,
    /// What comes from time to time.
    pub nemesis: NemesisOptions,
    /// A shape of the network that comes once, while the rest is quiet.
    pub topology: Option<TopologyOptions>,
    /// The nodes begin with an older program, which is replaced.
    pub upgrade: Option<UpgradeOptions>,
    /// Clients.
    pub clients: ClientOptions,
    /// Workers.
    pub workers: WorkerOptions,
    /// Bytes of a snapshot, or of bodies, that a leader's disk gives out at once.
    pub piece_bytes_max: u64,
    /// The core's own knobs.
    #[serde(with = "knobs_by_name")]
    pub knobs: Knobs,
}

impl Scenario {
    /// What a seed draws.
    #[must_use]
    pub fn of_seed(seed: u64) -> Scenario {
        let settled = Scenario::settled(seed);
        // Where it is said exactly how soon there must be a leader, nobody comes or
        // goes; and one who replaces programs does nothing else meanwhile.
        if settled.topology.is_some() || settled.has_hangs_alone() || settled.upgrade.is_some() {
            return settled;
        }
        let mut roll = Tape::of_seed(seed).roll(Domain::Scenario, 20);
        match OperatorOptions::draw(&mut roll, settled.nodes) {
            None => settled
                .with_disaster(&mut Tape::of_seed(seed).roll(Domain::Scenario, 21))
                .with_rot(&mut Tape::of_seed(seed).roll(Domain::Hardship, ROT_LANE)),
            Some(operator) => settled
                .with_operator(operator.with_unasked(
                    &mut Tape::of_seed(seed).roll(Domain::Scenario, 45),
                    settled.nodes,
                ))
                .with_slow_disk(&mut Tape::of_seed(seed).roll(Domain::Hardship, SLOW_DISK_LANE)),
        }
        .with_slow_installs(&mut Tape::of_seed(seed).roll(Domain::Hardship, SLOW_INSTALL_LANE))
    }

    /// In some worlds without an operator a majority goes for good.
    fn with_disaster(mut self, roll: &mut Roll) -> Scenario {
        let is_there = roll.chance(100_000) && self.nodes > 2;
        self.disaster = is_there.then(|| roll.between(50_000, self.chaos_us));
        if is_there {
            self.rule_nobody();
        }
        self
    }

    /// Where that happens, what is durable is often damaged before.
    fn with_rot(mut self, roll: &mut Roll) -> Scenario {
        let rot_ppm = some(roll, 400_000, 200_000, 800_000);
        if self.disaster.is_some() && rot_ppm > 0 {
            (self.disk.records, self.disk.rot_ppm) = (true, rot_ppm);
        }
        self
    }

    fn with_operator(mut self, operator: OperatorOptions) -> Scenario {
        self.knobs.promotion_lag_entries_max = operator.lag_entries_max;
        self.knobs.voters_target = operator.voters_target;
        self.knobs.voter_silence_ms = operator.voter_silence_ms;
        self.operator = Some(operator);
        self.rule_nobody();
        self
    }

    /// Who changes the membership, or looks whether there is a leader, is nobody whom
    /// the first client knows.
    pub(crate) fn rule_nobody(&mut self) {
        self.clients.roles_ppm = 0;
    }

    /// The slow disk of an operator's world: of any machine, and no slower than
    /// all disks of another world may be, since the others may leave until no
    /// majority is without the slow one.
    fn with_slow_disk(mut self, roll: &mut Roll) -> Scenario {
        let place = roll.below(self.machines() as u64) as usize;
        let factor_max = SLOW_DISK_US_MAX / self.disk.sync_us_max;
        let factor = roll.between(2, 50).min(factor_max);
        let is_there = roll.chance(300_000) && factor > 1;
        let factor = if is_there { factor } else { 1 };
        // As with damage: a voter less, and disks so slow, may mean no leader ever.
        // Where the founders drew a slow one, which is not used here, none is lost
        // either: so it was for the seeds that are kept.
        let is_slow = self.slow_disk.is_some() || self.disk.sync_us_max * factor > 20_000;
        if let Some(operator) = &mut self.operator
            && is_slow
        {
            operator.lose_us = 0;
        }
        self.slow_disk = is_there.then_some((place, factor));
        self
    }

    /// A large snapshot takes long, and a log may be faster meanwhile.
    fn with_slow_installs(mut self, roll: &mut Roll) -> Scenario {
        self.disk.install_us_max = u64::from(some(roll, 600_000, 10_000, 3_000_000));
        self
    }

    /// How many machines there are.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.nodes + self.operator.map_or(0, |operator| operator.spares)
    }

    /// What a seed draws for founders who stay among themselves, with their disks.
    #[must_use]
    pub fn settled(seed: u64) -> Scenario {
        let mut tape = Tape::of_seed(seed);
        let mut roll = tape.roll(Domain::Scenario, 0);
        let nodes = *roll.pick(&[3, 3, 3, 3, 5, 5, 5, 1]);
        // Each part draws from its own lane: a new knob moves no other.
        let mut part = |lane| tape.roll(Domain::Scenario, lane);
        let service_us_max = *part(1).pick(&[20, 100, 100, 1_000]);
        let network = network(&mut part(2));
        let disk = disk(&mut part(3));
        let mut nemesis = nemesis(&mut part(4), nodes);
        let clients = clients(&mut part(5));
        let workers = workers(&mut part(6));
        let mut knobs = knobs(&mut part(7));
        let (mut clients, mut workers) = (clients, workers);
        backlog(&mut part(41), &mut clients, &mut workers);
        taking_back(&mut part(42), &mut clients);
        operating(&mut part(43), &mut clients, &workers);
        limiting(&mut part(44), &mut clients, &mut workers);
        caching(&mut part(47), &mut clients);
        ruling(&mut part(48), &mut clients, &mut knobs);
        editing(&mut part(49), &mut clients);
        napping(&mut part(51), &mut clients, &mut knobs);
        awaiting(&mut part(52), &mut clients);
        sweeping(&mut part(53), &mut clients);
        batching(&mut part(54), &mut workers, &mut knobs);
        fitting(&mut part(55), &mut clients, &mut workers);
        leaving(&mut part(56), &mut clients, &mut knobs);
        keeping(&mut part(58), &mut clients);
        let mut other = part(8);
        let mut shapes = part(9);
        nemesis.all_shapes = shapes.chance(500_000);
        nemesis.flap_ppm = some(&mut shapes, 300_000, 100_000, 800_000);
        let mut hangs = part(11);
        let hang_us = hangs.between(500_000, 3_000_000);
        nemesis.hang_us = if hangs.chance(150_000) { hang_us } else { 0 };
        nemesis.hang_us_max = hangs.between(300_000, 2_500_000);
        nemesis.doze_us = u64::from(some(&mut part(46), 120_000, 200_000, 800_000));
        let mut scenario = Scenario {
            nodes,
            operator: None,
            disaster: None,
            chaos_us: other.between(2_000_000, 8_000_000),
            heal_us_max: 60_000_000,
            service_us_max,
            shuffle_ppm: some(&mut other, 500_000, 1, 500_000),
            work_us_max: u64::from(some(&mut part(57), 400_000, 10_000, 3_000_000)),
            drift: *other.pick(&[0, 0, 100, 10_000, 50_000]),
            wall_ms_max: *other.pick(&[0, 0, 5_000, 86_400_000]),
            network,
            disk,
            slow_disk: other
                .chance(250_000)
                .then(|| (other.below(nodes as u64) as usize, other.between(2, 50))),
            piece_bytes_max: part(9).between(64, 32_768),
            nemesis,
            topology: None,
            upgrade: upgrade(&mut part(40), nodes),
            clients,
            workers,
            knobs,
        };
        scenario.clients.last_reads = scenario.knobs.wait_ms_max >= 300;
        if nodes > 1 && hangs.chance(60_000) {
            return scenario.with_hangs_alone();
        }
        if nodes == 1 || !shapes.chance(200_000) {
            return scenario;
        }
        if shapes.chance(600_000) {
            scenario.let_elections_be();
        }
        let topology = TopologyOptions::draw(&mut shapes, &scenario);
        scenario.with(topology)
    }

    /// Nothing is wrong but that disks hang: then it can be said exactly how soon
    /// there must be a leader whose disk answers.
    fn with_hangs_alone(self) -> Scenario {
        Scenario {
            service_us_max: 100,
            shuffle_ppm: 0,
            work_us_max: 0,
            drift: 0,
            wall_ms_max: 0,
            network: NetworkOptions::default(),
            disk: DiskOptions::default(),
            slow_disk: None,
            topology: None,
            upgrade: None,
            nemesis: NemesisOptions {
                hang_us: 1_500_000,
                hang_us_max: 2_500_000,
                ..NemesisOptions::default()
            },
            knobs: Knobs {
                suspicion_ms_max: Knobs::default().suspicion_ms_max,
                ..self.knobs
            },
            ..self
        }
    }

    /// Five nodes, some chaos, and then a shape in which a leader must be found:
    /// with wires and disks on which elections are possible.
    #[must_use]
    pub fn of_topology(row: Row, seed: u64) -> Scenario {
        let mut scenario = Scenario::settled(seed);
        let mut tape = Tape::of_seed(seed);
        scenario.nodes = 5;
        let (all_shapes, flap_ppm) = (scenario.nemesis.all_shapes, scenario.nemesis.flap_ppm);
        scenario.nemesis = NemesisOptions {
            all_shapes,
            flap_ppm,
            ..nemesis(&mut tape.roll(Domain::Scenario, 4), scenario.nodes)
        };
        scenario.topology = None;
        scenario.let_elections_be();
        let mut roll = tape.roll(Domain::Scenario, 10);
        scenario.chaos_us = roll.between(500_000, 2_000_000);
        let mut topology = TopologyOptions::draw(&mut roll, &scenario);
        match row {
            Row::Steady(shape) => (topology.shape, topology.flaps) = (shape, 0),
            Row::Flapping => topology.flaps = topology.flaps.max(2),
        }
        scenario.with(topology)
    }

    /// Makes disks, and then wires, so fast that a vote can be had within an
    /// election timeout, and what is on its way to a follower long enough.
    fn let_elections_be(&mut self) {
        if !Bound::of(self).binding {
            self.slow_disk = None;
            self.disk.sync_us_min = self.disk.sync_us_min.min(1_000);
            self.disk.sync_us_max = self.disk.sync_us_max.min(10_000);
        }
        if !Bound::of(self).binding {
            self.network.delay = NetworkOptions::default().delay;
        }
        if !Bound::of(self).binding {
            let usual = Knobs::default();
            self.knobs.append_entries_max = usual.append_entries_max;
            self.knobs.appends_in_flight_max = usual.appends_in_flight_max;
        }
    }

    /// How long what takes so long on a node's clock takes at the most.
    #[must_use]
    pub fn on_slowest_clock(&self, us: u64) -> u64 {
        us * (1_000_000 + 2 * self.drift) / 1_000_000
    }

    /// Is nothing wrong but that disks hang?
    #[must_use]
    pub fn has_hangs_alone(&self) -> bool {
        self.nemesis.hang_us > 0 && *self == self.with_hangs_alone()
    }

    /// The cluster that speed is measured on: five nodes, mild faults.
    #[must_use]
    pub fn reference() -> Scenario {
        let mut tape = Tape::of_seed(1);
        let mut part = |lane| tape.roll(Domain::Scenario, lane);
        let (mut clients, mut workers) = (clients(&mut part(5)), workers(&mut part(6)));
        backlog(&mut part(41), &mut clients, &mut workers);
        clients.count = 20;
        clients.think_us = 20_000;
        workers.count = 20;
        workers.work_us = 10_000;
        workers.crash_us = 0;
        Scenario {
            nodes: 5,
            operator: None,
            disaster: None,
            chaos_us: 20_000_000,
            heal_us_max: 60_000_000,
            service_us_max: 20,
            shuffle_ppm: 0,
            work_us_max: 0,
            drift: 0,
            wall_ms_max: 0,
            network: NetworkOptions {
                drop_ppm: 1_000,
                ..NetworkOptions::default()
            },
            disk: DiskOptions::default(),
            slow_disk: None,
            piece_bytes_max: u64::MAX,
            nemesis: NemesisOptions {
                crash_us: 4_000_000,
                down_us_max: 1_000_000,
                ..NemesisOptions::default()
            },
            topology: None,
            upgrade: None,
            clients,
            workers,
            knobs: knobs(&mut part(7)),
        }
    }
}

#[cfg(test)]
mod tests;
