//! The shapes that a broken network takes, and when a seed puts one up to see
//! whether a leader is found in it. Knows which links a shape cuts, and who
//! still reaches a majority; knows nothing of terms, votes or leaders' duties.

use precentor_core::config::Knobs;
use serde::{Deserialize, Serialize};

use crate::network::Place;
use crate::scenario::{DiskOptions, Scenario};
use crate::tape::{Domain, Roll};

#[cfg(test)]
mod tests;

/// How a partition runs. What is said of links is said of both directions
/// unless one is named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Shape {
    /// A minority at random is cut from the rest, which is a majority.
    Halves,
    /// The leader is cut from everyone; without a leader, a node at random.
    Leader,
    /// Two halves that share one node: the bridge sees all, each half sees
    /// itself and the bridge.
    Bridge,
    /// One node hears all and is heard by nobody, or the other way round: the
    /// leader half of the time.
    OneWay,
    /// Two nodes do not see each other; both see all others.
    OneLink,
    /// A hub at random sees all; every other node sees the hub only.
    Star,
    /// All nodes stand in a line, and each sees its neighbours only.
    Chain,
    /// All nodes stand in a circle, and each sees its two neighbours only.
    Ring,
    /// Each direction of each link is cut by a chance of its own: between one
    /// in ten and one in two are.
    Scattered,
    /// A star in which the leader is a leaf.
    LeaderLeaf,
    /// The leader hears all and is heard by nobody, or the other way round.
    LeaderOneWay,
}

impl Shape {
    /// All of them. The first five are as old as the simulator: a seed whose
    /// partitions are of the old kinds draws among those.
    pub const ALL: [Shape; 11] = [
        Shape::Halves,
        Shape::Leader,
        Shape::Bridge,
        Shape::OneWay,
        Shape::OneLink,
        Shape::Star,
        Shape::Chain,
        Shape::Ring,
        Shape::Scattered,
        Shape::LeaderLeaf,
        Shape::LeaderOneWay,
    ];

    /// What it is called on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Shape::Halves => "halves",
            Shape::Leader => "leader-alone",
            Shape::Bridge => "bridge",
            Shape::OneWay => "one-way",
            Shape::OneLink => "one-link",
            Shape::Star => "star",
            Shape::Chain => "chain",
            Shape::Ring => "ring",
            Shape::Scattered => "scattered",
            Shape::LeaderLeaf => "leader-leaf",
            Shape::LeaderOneWay => "leader-one-way",
        }
    }

    /// Where it is counted.
    #[must_use]
    pub fn domain(self) -> Domain {
        match self {
            Shape::Halves => Domain::Partition,
            Shape::Leader => Domain::IsolateLeader,
            Shape::Bridge => Domain::Bridge,
            Shape::OneWay => Domain::OneWayCut,
            Shape::OneLink => Domain::OneLinkCut,
            Shape::Star => Domain::Star,
            Shape::Chain => Domain::Chain,
            Shape::Ring => Domain::Ring,
            Shape::Scattered => Domain::ScatteredCuts,
            Shape::LeaderLeaf => Domain::LeaderLeaf,
            Shape::LeaderOneWay => Domain::LeaderOneWay,
        }
    }

    /// The directed links that it cuts, each once.
    #[must_use]
    pub fn cuts(self, count: usize, leader: Option<Place>, roll: &mut Roll) -> Vec<(Place, Place)> {
        let mut order: Vec<Place> = (0..count).collect();
        roll.shuffle(&mut order);
        match self {
            Shape::Halves => {
                let small = 1 + roll.below((count as u64 - 1) / 2) as usize;
                cut_unless(&order, |a, b| (a < small) == (b < small))
            }
            Shape::Leader => {
                let alone = leader.unwrap_or(order[0]);
                cut_unless(&order, |a, b| order[a] != alone && order[b] != alone)
            }
            Shape::Bridge => {
                let left = (count - 1) / 2;
                cut_unless(&order, |a, b| {
                    a == 0 || b == 0 || (a <= left) == (b <= left)
                })
            }
            Shape::OneWay => {
                let node = leader.filter(|_| roll.chance(500_000)).unwrap_or(order[0]);
                one_way(node, count, roll)
            }
            Shape::OneLink => cut_unless(&order, |a, b| a + b != 1),
            Shape::Star => cut_unless(&order, |a, b| a == 0 || b == 0),
            Shape::Chain => cut_unless(&order, |a, b| a.abs_diff(b) == 1),
            Shape::Ring => cut_unless(&order, |a, b| {
                a.abs_diff(b) == 1 || a.abs_diff(b) == count - 1
            }),
            Shape::Scattered => {
                let cut_ppm = roll.between(100_000, 500_000) as u32;
                let mut cuts = Vec::new();
                for from in 0..count {
                    for to in (0..count).filter(|&to| to != from) {
                        if roll.chance(cut_ppm) {
                            cuts.push((from, to));
                        }
                    }
                }
                cuts
            }
            Shape::LeaderLeaf => {
                let leader = leader.unwrap_or(order[0]);
                let hub = order.iter().position(|&place| place != leader);
                let hub = hub.expect("a partition needs two nodes");
                cut_unless(&order, |a, b| a == hub || b == hub)
            }
            Shape::LeaderOneWay => one_way(leader.unwrap_or(order[0]), count, roll),
        }
    }
}

/// Cuts both directions between all places whose positions in `order` do not see each other.
fn cut_unless(order: &[Place], sees: impl Fn(usize, usize) -> bool) -> Vec<(Place, Place)> {
    let mut cuts = Vec::new();
    for a in 0..order.len() {
        for b in a + 1..order.len() {
            if !sees(a, b) {
                cuts.extend([(order[a], order[b]), (order[b], order[a])]);
            }
        }
    }
    cuts
}

/// Cuts one direction, at random, between a node and all others.
fn one_way(node: Place, count: usize, roll: &mut Roll) -> Vec<(Place, Place)> {
    let inward = roll.chance(500_000);
    (0..count)
        .filter(|&other| other != node)
        .map(|other| if inward { (other, node) } else { (node, other) })
        .collect()
}

/// The nodes that live and reach a majority of all nodes both ways, themselves
/// counted: only such a node can be elected and commit.
#[must_use]
pub fn centres(lives: &[bool], passes: impl Fn(Place, Place) -> bool) -> Vec<Place> {
    let majority = lives.len() / 2 + 1;
    let reaches =
        |a: Place, b: Place| lives[a] && lives[b] && (a == b || (passes(a, b) && passes(b, a)));
    (0..lives.len())
        .filter(|&a| (0..lives.len()).filter(|&b| reaches(a, b)).count() >= majority)
        .collect()
}

/// A shape that is put up once in a run, while all other faults rest, to see
/// how soon a leader serves in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TopologyOptions {
    /// Which.
    pub shape: Shape,
    /// When the other faults begin to rest.
    pub at_us: u64,
    /// How long they have rested when the shape comes.
    pub lull_us: u64,
    /// So often it comes and goes before it stays.
    pub flaps: u64,
    /// How long it stands, and is gone, each time.
    pub flap_us: u64,
    /// Connections over cut links that break too, per million.
    pub close_ppm: u32,
    /// How soon a leader must serve in it.
    pub bound: Bound,
}

/// How long the world may take to be stable in its shape: connections open
/// again, disks have done what had stalled. If it takes longer, nothing is judged.
pub const SETTLE_US_MAX: u64 = 1_000_000;

impl TopologyOptions {
    /// What a seed draws: a shape at some time of the chaos.
    #[must_use]
    pub fn draw(roll: &mut Roll, scenario: &Scenario) -> TopologyOptions {
        TopologyOptions {
            shape: *roll.pick(&Shape::ALL),
            at_us: roll.between(300_000, scenario.chaos_us),
            lull_us: *roll.pick(&[0, 0, 50_000, 500_000]),
            flaps: if roll.chance(300_000) {
                roll.between(1, 6)
            } else {
                0
            },
            flap_us: *roll.pick(&[20_000, 100_000, 400_000]),
            close_ppm: *roll.pick(&[0, 0, 500_000, 1_000_000]),
            bound: Bound::of(scenario),
        }
    }

    /// How long all of it may take.
    #[must_use]
    pub fn length_us_max(&self) -> u64 {
        self.lull_us + self.flaps * 2 * self.flap_us + SETTLE_US_MAX + self.bound.watch_us()
    }
}

/// How soon a leader must serve, once a shape stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bound {
    /// The longest election timeout, on the slowest clock, where words come in time.
    pub timeout_us: u64,
    /// The longest that it may become where words come late.
    pub timeout_us_max: u64,
    /// What disks and wires may add to the timeouts.
    pub allowance_us: u64,
    /// Are elections possible at all? Raft needs answers well within an
    /// election timeout (§5.6): where a vote takes longer than half of the
    /// shortest one, or a tail goes to followers entry by entry, times are
    /// measured and nothing is demanded.
    pub binding: bool,
}

/// Election timeouts within which a leader must serve.
pub const TIMEOUTS_MAX: u64 = 5;
/// With less room for entries on their way a new leader's first one waits behind
/// a tail that followers fetch entry by entry.
const ENTRIES_ON_THEIR_WAY_MIN: u64 = 64;

impl Bound {
    /// The bound of a scenario. A question and its answer take at most two
    /// delays, two turns, and on the way a write that waits for the one before
    /// it. The election that succeeds has two such exchanges, pre-vote and
    /// vote; the first entry takes a third; and a leader looks whether it has a
    /// quorum only when a heartbeat is due.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Bound {
        let knobs = &scenario.knobs;
        let slower = scenario.slow_disk.map_or(1, |(_, factor)| factor);
        let network = &scenario.network;
        let hop_us = network.delay.most_us() + network.bias_us_max + scenario.service_us_max;
        let exchange_us = 2 * hop_us + 2 * scenario.disk.sync_us_max * slower;
        let slow = |ms: u64| scenario.on_slowest_clock(ms * 1_000);
        Bound {
            timeout_us: slow(knobs.election_timeout_ms_max),
            timeout_us_max: slow(
                knobs.election_timeout_ms_ceiling * knobs.election_timeout_ms_max
                    / knobs.election_timeout_ms_min,
            ),
            allowance_us: 3 * exchange_us + slow(knobs.heartbeat_ms),
            binding: 2 * exchange_us <= knobs.election_timeout_ms_min * 1_000
                && knobs.append_entries_max * knobs.appends_in_flight_max
                    >= ENTRIES_ON_THEIR_WAY_MIN,
        }
    }

    /// The same where nodes wait longer for their leader by now, on the slowest
    /// clock: words that came late have made them patient. They do not set
    /// their own bound: it grows no further than the knobs allow.
    #[must_use]
    pub fn with_patience_us(self, timeout_us: u64) -> Bound {
        let most_us = self.timeout_us_max.max(self.timeout_us);
        Bound {
            timeout_us: timeout_us.clamp(self.timeout_us, most_us),
            ..self
        }
    }

    /// The longest time without a serving leader.
    #[must_use]
    pub fn within_us(&self) -> u64 {
        TIMEOUTS_MAX * self.timeout_us + self.allowance_us
    }

    /// How long the cluster is watched: twice that, so that a leadership that
    /// is lost again and again shows.
    #[must_use]
    pub fn watch_us(&self) -> u64 {
        2 * self.within_us()
    }
}

/// One line of the table of topologies: a shape, or any shape that flaps first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Row {
    /// The shape comes once and stays.
    Steady(Shape),
    /// A shape at random comes and goes, and then stays.
    Flapping,
}

impl Row {
    /// All of them, in the table's order.
    #[must_use]
    pub fn all() -> Vec<Row> {
        let mut rows: Vec<Row> = Shape::ALL.iter().map(|shape| Row::Steady(*shape)).collect();
        rows.push(Row::Flapping);
        rows
    }

    /// What it is called on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Row::Steady(shape) => shape.name(),
            Row::Flapping => "flapping",
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// What there is instead.
    pub fn of_name(name: &str) -> Result<Row, String> {
        let rows = Row::all();
        rows.iter()
            .copied()
            .find(|row| row.name() == name)
            .ok_or_else(|| {
                let names: Vec<&str> = rows.iter().map(|row| row.name()).collect();
                format!("there is no shape {name}; there are {}", names.join(", "))
            })
    }
}

impl Scenario {
    /// With a shape that is put up in the chaos, which lasts so much longer, and
    /// in which nothing else keeps a leader from being found.
    pub(crate) fn with(mut self, topology: TopologyOptions) -> Scenario {
        // Voters lend what their memory holds of the log: where a candidate lacks
        // what is on their disks or in snapshots only, nobody can be elected.
        let usual = Knobs::default();
        self.rule_nobody();
        self.knobs.log_slack_bytes = usual.log_slack_bytes;
        self.knobs.log_window_bytes_max = usual.log_window_bytes_max;
        Scenario {
            chaos_us: self.chaos_us + topology.length_us_max(),
            topology: Some(topology),
            upgrade: None,
            // A node under repair reaches others and is no help to them.
            disk: DiskOptions {
                rot_ppm: 0,
                ..self.disk
            },
            ..self
        }
    }
}
