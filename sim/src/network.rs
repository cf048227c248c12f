//! The wires between nodes: connections that open and break, messages that are
//! late, lost, doubled or overtaken, and walls through which nothing passes.
//! Decides when and whether a message arrives; knows nothing of what it says.

use crate::scenario::NetworkOptions;
use crate::tape::{Domain, Tape};

/// A node's place in the cluster, from 0.
pub type Place = usize;

/// The lane of a directed link, for draws.
#[must_use]
pub fn lane(from: Place, to: Place) -> u32 {
    (from * 8 + to) as u32
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// How many walls stand in the way of messages in this direction.
    walls: u32,
    /// Drops come in bursts: until here, most are lost.
    burst_until_us: u64,
    last_arrival_us: u64,
    /// When the last arrives of what earlier faults hold up.
    late_until_us: u64,
    /// This link's own share of delay.
    bias_us: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    open: bool,
    generation: u32,
    /// Someone is trying to connect already.
    dialing: bool,
}

/// When the copies of a message arrive: none if it is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arrivals {
    /// The message.
    pub first_us: Option<u64>,
    /// Its double.
    pub second_us: Option<u64>,
}

/// All links and connections.
#[derive(Clone, Debug)]
pub struct Network {
    count: usize,
    options: NetworkOptions,
    links: Vec<Link>,
    connections: Vec<Connection>,
    /// What each node was told of each peer: is it connected?
    told: Vec<bool>,
}

impl Network {
    /// A network of `count` nodes without connections.
    #[must_use]
    pub fn new(count: usize, options: NetworkOptions, tape: &mut Tape) -> Network {
        let mut links = vec![Link::default(); count * count];
        for from in 0..count {
            for to in 0..count {
                links[from * count + to].bias_us = tape
                    .roll(Domain::Delay, lane(from, to))
                    .below(options.bias_us_max + 1);
            }
        }
        Network {
            count,
            options,
            links,
            connections: vec![Connection::default(); count * count],
            told: vec![false; count * count],
        }
    }

    /// Is there a connection between two nodes?
    #[must_use]
    pub fn is_open(&self, a: Place, b: Place) -> bool {
        self.connection(a, b).open
    }

    /// Which connection it is: a new one has a higher number.
    #[must_use]
    pub fn generation(&self, a: Place, b: Place) -> u32 {
        self.connection(a, b).generation
    }

    /// Does a message from one to the other pass now?
    #[must_use]
    pub fn passes(&self, from: Place, to: Place) -> bool {
        self.links[from * self.count + to].walls == 0
    }

    /// Claims the right to dial: false if someone does already, or is connected.
    pub fn dial(&mut self, a: Place, b: Place) -> bool {
        let connection = self.connection_mut(a, b);
        let may = !connection.open && !connection.dialing;
        connection.dialing |= may;
        may
    }

    /// The dialling ends: with a connection if messages pass both ways and
    /// both ends live.
    pub fn connect(&mut self, a: Place, b: Place, both_live: bool) -> bool {
        let passes = self.passes(a, b) && self.passes(b, a);
        let connection = self.connection_mut(a, b);
        connection.dialing = false;
        if passes && both_live && !connection.open {
            connection.open = true;
            connection.generation += 1;
            return true;
        }
        false
    }

    /// The connection is gone. False if there was none.
    pub fn close(&mut self, a: Place, b: Place) -> bool {
        std::mem::take(&mut self.connection_mut(a, b).open)
    }

    /// Notes what a node is told of a peer, and returns what it was told before.
    pub fn tell(&mut self, node: Place, peer: Place, connected: bool) -> bool {
        std::mem::replace(&mut self.told[node * self.count + peer], connected)
    }

    /// Does a node believe that it is connected to a peer?
    #[must_use]
    pub fn believes(&self, node: Place, peer: Place) -> bool {
        self.told[node * self.count + peer]
    }

    /// A wall is put up or taken away in one direction.
    pub fn wall(&mut self, from: Place, to: Place, up: bool) {
        let walls = &mut self.links[from * self.count + to].walls;
        *walls = if up {
            *walls + 1
        } else {
            walls.saturating_sub(1)
        };
    }

    /// All walls are taken away.
    pub fn heal(&mut self) {
        for link in &mut self.links {
            link.walls = 0;
            link.burst_until_us = 0;
        }
    }

    /// What was held up by earlier faults holds up nothing more: bursts are
    /// over, and what is sent from now on overtakes what is very late.
    pub fn settle(&mut self, now_us: u64) {
        for link in &mut self.links {
            link.burst_until_us = 0;
            link.late_until_us = link.late_until_us.max(link.last_arrival_us);
            link.last_arrival_us = link.last_arrival_us.min(now_us);
        }
    }

    /// Is anything still on its way that earlier faults hold up?
    #[must_use]
    pub fn has_late_messages(&self, now_us: u64) -> bool {
        self.links.iter().any(|link| link.late_until_us > now_us)
    }

    /// A message is sent over an open connection: when does it arrive?
    pub fn send(&mut self, from: Place, to: Place, now_us: u64, tape: &mut Tape) -> Arrivals {
        let (options, lane) = (self.options, lane(from, to));
        let link = &mut self.links[from * self.count + to];
        if link.walls > 0 {
            return Arrivals::default();
        }
        if let Some(mut roll) = tape.fault(Domain::Burst, lane, options.burst_ppm) {
            link.burst_until_us = now_us + roll.between(5_000, options.burst_us_max.max(5_000));
        }
        let drop_ppm = if now_us < link.burst_until_us {
            700_000
        } else {
            options.drop_ppm
        };
        if tape.fault(Domain::Drop, lane, drop_ppm).is_some() {
            return Arrivals::default();
        }
        let mut roll = tape.roll(Domain::Delay, lane);
        let mut delay_us = link.bias_us + options.delay.draw(&mut roll);
        if let Some(mut spike) = tape.fault(Domain::DelaySpike, lane, options.spike_ppm) {
            delay_us += spike.between(10_000, options.spike_us_max.max(10_000));
        }
        let mut first_us = now_us + delay_us;
        if first_us < link.last_arrival_us {
            // In order, unless this one is let past.
            if tape
                .fault(Domain::Reorder, lane, options.reorder_ppm)
                .is_none()
            {
                first_us = link.last_arrival_us;
            }
        }
        link.last_arrival_us = link.last_arrival_us.max(first_us);
        let second_us = tape
            .fault(Domain::Duplicate, lane, options.duplicate_ppm)
            .map(|mut roll| first_us + roll.between(1, 5_000))
            .or_else(|| {
                tape.fault(Domain::LateDuplicate, lane, options.late_duplicate_ppm)
                    .map(|mut roll| first_us + roll.between(100_000, 3_000_000))
            });
        Arrivals {
            first_us: Some(first_us),
            second_us,
        }
    }

    fn connection(&self, a: Place, b: Place) -> &Connection {
        &self.connections[a.min(b) * self.count + a.max(b)]
    }

    fn connection_mut(&mut self, a: Place, b: Place) -> &mut Connection {
        &mut self.connections[a.min(b) * self.count + a.max(b)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Delay;

    fn quiet() -> NetworkOptions {
        NetworkOptions {
            delay: Delay::Constant { us: 500 },
            ..NetworkOptions::default()
        }
    }

    #[test]
    fn a_wall_stops_messages_one_way_only() {
        let mut tape = Tape::of_seed(1);
        let mut network = Network::new(3, quiet(), &mut tape);
        network.wall(0, 1, true);
        assert_eq!(network.send(0, 1, 10, &mut tape), Arrivals::default());
        assert_eq!(network.send(1, 0, 10, &mut tape).first_us, Some(510));
        network.wall(0, 1, false);
        assert_eq!(network.send(0, 1, 10, &mut tape).first_us, Some(510));
    }

    #[test]
    fn messages_keep_their_order_unless_reordering_is_on() {
        for reorder_ppm in [0, 1_000_000] {
            let options = NetworkOptions {
                delay: Delay::Uniform {
                    us_min: 10,
                    us_max: 5_000,
                },
                reorder_ppm,
                ..NetworkOptions::default()
            };
            let mut tape = Tape::of_seed(2);
            let mut network = Network::new(2, options, &mut tape);
            let times: Vec<u64> = (0..100)
                .filter_map(|n| network.send(0, 1, n * 10, &mut tape).first_us)
                .collect();
            assert_eq!(times.is_sorted(), reorder_ppm == 0);
        }
    }

    #[test]
    fn what_is_sent_after_the_air_is_cleared_overtakes_what_is_very_late() {
        let options = NetworkOptions {
            spike_ppm: 1_000_000,
            spike_us_max: 1_000_000,
            ..quiet()
        };
        let mut tape = Tape::of_seed(3);
        let mut network = Network::new(2, options, &mut tape);
        let late_us = network.send(0, 1, 0, &mut tape).first_us;
        tape.rest(true);
        assert_eq!(network.send(0, 1, 10, &mut tape).first_us, late_us);
        network.settle(20);
        assert_eq!(network.send(0, 1, 20, &mut tape).first_us, Some(520));
        let late_us = late_us.expect("nothing is dropped");
        assert!(network.has_late_messages(late_us - 1));
        assert!(!network.has_late_messages(late_us));
    }

    #[test]
    fn a_new_connection_has_a_new_generation() {
        let mut tape = Tape::of_seed(1);
        let mut network = Network::new(2, quiet(), &mut tape);
        assert!(network.dial(0, 1) && !network.dial(1, 0));
        assert!(network.connect(1, 0, true));
        let first = network.generation(0, 1);
        assert!(network.close(0, 1) && !network.close(0, 1));
        assert!(network.dial(0, 1) && network.connect(0, 1, true));
        assert!(network.generation(0, 1) > first);
    }

    #[test]
    fn no_connection_opens_through_a_wall_or_to_the_dead() {
        let mut tape = Tape::of_seed(1);
        let mut network = Network::new(2, quiet(), &mut tape);
        network.wall(1, 0, true);
        assert!(network.dial(0, 1) && !network.connect(0, 1, true));
        network.heal();
        assert!(network.dial(0, 1) && !network.connect(0, 1, false));
    }
}
