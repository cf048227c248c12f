//! What clients and workers have in common: they ask nodes, wait, lose patience
//! and ask elsewhere. The desk takes their errands; the stage runs them.

use precentor_core::ids::Ticket;
use precentor_core::principal::Principal;
use precentor_core::request::Request;

use crate::network::Place;
use crate::tape::{Roll, Tape};

/// The operator's lane.
pub const OPERATOR: u32 = 62;

const FIRST_WORKER: u32 = 32;
/// From here on lanes are the operator's and the stage's own, up to those of crowds.
const RESERVED: u32 = 61;
/// Where the lanes of crowds begin: what does not fit below.
const MORE_CLIENTS: u32 = 1_000;
const MORE_WORKERS: u32 = 2_000;

/// A client's lane.
#[must_use]
pub fn lane_of_client(number: usize) -> u32 {
    match number as u32 {
        number if number < FIRST_WORKER => number,
        number => MORE_CLIENTS + number,
    }
}

/// A worker's lane.
#[must_use]
pub fn lane_of_worker(number: usize) -> u32 {
    match FIRST_WORKER + number as u32 {
        lane if lane < RESERVED => lane,
        _ => MORE_WORKERS + number as u32,
    }
}

/// Who acts in a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Actor {
    /// Which client.
    Client(usize),
    /// Which worker.
    Worker(usize),
}

impl Actor {
    /// Of a lane that is a client's or a worker's.
    #[must_use]
    pub fn of_lane(lane: u32) -> Actor {
        match lane {
            0..FIRST_WORKER => Actor::Client(lane as usize),
            FIRST_WORKER..MORE_CLIENTS => Actor::Worker((lane - FIRST_WORKER) as usize),
            MORE_CLIENTS..MORE_WORKERS => Actor::Client((lane - MORE_CLIENTS) as usize),
            _ => Actor::Worker((lane - MORE_WORKERS) as usize),
        }
    }
}

/// Is it the lane of the operator, or of the stage itself?
#[must_use]
pub fn is_reserved(lane: u32) -> bool {
    (RESERVED..MORE_CLIENTS).contains(&lane)
}

/// Something that a client or worker wants of the stage.
#[derive(Debug)]
pub enum Errand {
    /// Ask a node.
    Ask {
        /// Which.
        place: Place,
        /// Names the question.
        ticket: Ticket,
        /// Who asks.
        principal: Principal,
        /// What.
        request: Request,
    },
    /// Wake the actor later.
    Later {
        /// Who.
        lane: u32,
        /// After how long.
        in_us: u64,
        /// What for: the actor knows.
        alarm: u64,
    },
}

/// Where actors put their errands.
#[derive(Debug)]
pub struct Desk<'a> {
    /// Virtual time.
    pub now_us: u64,
    /// How many machines there are.
    pub nodes: usize,
    /// Some machines belong to no cluster: they may refuse for ever.
    pub has_strangers: bool,
    /// Chances.
    pub tape: &'a mut Tape,
    /// The errands so far.
    pub errands: &'a mut Vec<Errand>,
}

/// An actor's own tickets, and where it believes the leader to be.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its lane for draws.
    pub lane: u32,
    /// Its name.
    pub principal: Principal,
    /// Whom it asks next.
    pub place: Place,
    asked: u64,
    /// How many it had asked when it turned away from a node last: refusals of
    /// what was asked before that say nothing of the next one.
    turned_at: Option<u64>,
    heeds_first_only: bool,
}

impl Caller {
    /// An actor that has not asked yet.
    #[must_use]
    pub fn new(lane: u32, name: &str) -> Caller {
        Caller {
            lane,
            principal: Principal(format!("{name}{lane}")),
            place: 0,
            asked: 0,
            turned_at: None,
            heeds_first_only: false,
        }
    }

    /// Asks the node it believes in.
    pub fn ask(&mut self, desk: &mut Desk<'_>, request: Request) -> Ticket {
        let place = self.place;
        self.ask_at(desk, place, request)
    }

    /// Asks a certain node.
    pub fn ask_at(&mut self, desk: &mut Desk<'_>, place: Place, request: Request) -> Ticket {
        self.asked += 1;
        self.heeds_first_only = desk.has_strangers;
        let ticket = Ticket(u64::from(self.lane) << 48 | self.asked);
        desk.errands.push(Errand::Ask {
            place,
            ticket,
            principal: self.principal.clone(),
            request,
        });
        ticket
    }

    /// Wants to be woken.
    pub fn later(&self, desk: &mut Desk<'_>, in_us: u64, alarm: u64) {
        desk.errands.push(Errand::Later {
            lane: self.lane,
            in_us,
            alarm,
        });
    }

    /// Believes a hint, or tries the next node.
    pub fn turn_to(&mut self, hint: Option<Place>, nodes: usize) {
        if hint.is_none() && self.heeds_first_only {
            if self.turned_at == Some(self.asked) {
                return;
            }
            self.turned_at = Some(self.asked);
            // Not in turns: two that are refused again and again could step over
            // each other past the leader for ever.
            let step = 1 + Roll::new(self.asked).below(nodes as u64 - 1);
            self.place = (self.place + step as usize) % nodes;
            return;
        }
        self.place = hint
            .filter(|&place| place < nodes)
            .unwrap_or((self.place + 1) % nodes);
    }
}

/// Whose question a ticket names.
#[must_use]
pub fn lane_of(ticket: Ticket) -> u32 {
    (ticket.0 >> 48) as u32
}

/// Lends an actor what it acts with, beside the rest of the stage.
macro_rules! desk {
    ($stage:ident) => {
        $crate::desk::Desk {
            now_us: $stage.now_us,
            nodes: $stage.machines.len(),
            has_strangers: $stage.scenario.operator.is_some(),
            tape: &mut $stage.tape,
            errands: &mut $stage.errands,
        }
    };
}
pub(crate) use desk;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_has_a_lane_of_its_own() {
        for number in 0..500 {
            let of_client = Actor::of_lane(lane_of_client(number));
            assert_eq!(of_client, Actor::Client(number));
            assert!(!is_reserved(lane_of_client(number)));
            let of_worker = Actor::of_lane(lane_of_worker(number));
            assert_eq!(of_worker, Actor::Worker(number));
            assert!(!is_reserved(lane_of_worker(number)));
        }
    }
}
