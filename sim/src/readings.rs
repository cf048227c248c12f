//! The reads of one client: of jobs that it knows and contexts that it may
//! know, at any node, linearizable or stale. When the chaos is over, every member
//! must answer it once more. What is answered is for the judges.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use precentor_core::address::Address;
use precentor_core::edit::ConflictId;
use precentor_core::ids::{JobId, Ticket};
use precentor_core::request::{Consistency, Query, Reply, Request};

use crate::desk::{Caller, Desk};
use crate::network::Place;
use crate::tape::Domain;

/// A read that is not answered by then is given up.
const PATIENCE_US: u64 = 700_000;
/// Reads of one client at a time.
const OPEN_MAX: usize = 8;
/// Jobs that a client asks about.
const KNOWN_MAX: usize = 8;

/// What one client reads.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    open: BTreeMap<Ticket, (Place, u64)>,
    known: VecDeque<JobId>,
    /// Nodes that must answer a last read.
    left: BTreeSet<Place>,
}

impl Readings {
    /// The client was told of a job.
    pub fn on_job(&mut self, job: JobId) {
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(job);
    }

    /// Only the last reads from now on: one at every node.
    pub fn retire(&mut self, nodes: usize) {
        self.left = (0..nodes).collect();
    }

    /// The members that did not answer the last read yet. Any other node confirms
    /// no read.
    pub fn left(&self, is_member: impl Fn(Place) -> bool) -> impl Iterator<Item = Place> {
        self.left
            .iter()
            .copied()
            .filter(move |place| is_member(*place))
    }

    /// Reads something, somewhere: with this chance.
    pub fn maybe_read(
        &mut self,
        caller: &mut Caller,
        desk: &mut Desk<'_>,
        read_ppm: u32,
        address: impl FnOnce(u64) -> Address,
    ) {
        let mut roll = desk.tape.roll(Domain::Read, caller.lane);
        if self.open.len() >= OPEN_MAX || !roll.chance(read_ppm) {
            return;
        }
        let place = roll.below(desk.nodes as u64) as Place;
        let consistency = match roll.below(4) {
            0 => Consistency::Stale,
            _ => Consistency::Linearizable,
        };
        let which = roll.below(self.known.len().max(1) as u64) as usize;
        let query = match (self.known.get(which), roll.below(20)) {
            (Some(job), 0..12) => Query::Job(*job),
            (Some(job), 12) => Query::DeadLetter(*job),
            (Some(job), 13) => Query::DeadLetters {
                after: *job,
                count_max: 4,
            },
            (_, 14) => Query::Pauses,
            (Some(job), 15) => Query::Explain(*job),
            (_, 16) => Query::Limits,
            (_, 17) => Query::Cache,
            (_, 18) => Query::Cached(address(roll.bits())),
            (_, 19) => match roll.below(4) {
                0 => Query::Edited(address(roll.bits())),
                1 => Query::History(address(roll.bits())),
                2 => Query::Conflicts {
                    after: ConflictId::default(),
                    count_max: 4,
                },
                _ => Query::Context(address(roll.bits())),
            },
            _ => Query::Context(address(roll.bits())),
        };
        self.read(caller, desk, place, query, consistency);
    }

    /// Time passes: what is lost is given up, and the last reads are asked again.
    pub fn on_alarm(&mut self, caller: &mut Caller, desk: &mut Desk<'_>) {
        let now_us = desk.now_us;
        self.open
            .retain(|_, (_, at_us)| now_us < *at_us + PATIENCE_US);
        let asked: BTreeSet<Place> = self.open.values().map(|(place, _)| *place).collect();
        for place in self.left.clone().difference(&asked) {
            let job = self.known.back().copied().unwrap_or(JobId(1));
            self.read(
                caller,
                desk,
                *place,
                Query::Job(job),
                Consistency::Linearizable,
            );
        }
    }

    /// An answer; false if it is to no read.
    pub fn on_reply(&mut self, ticket: Ticket, reply: &Reply) -> bool {
        let Some((place, _)) = self.open.remove(&ticket) else {
            return false;
        };
        if matches!(reply, Reply::Read { .. }) {
            self.left.remove(&place);
        }
        true
    }

    fn read(
        &mut self,
        caller: &mut Caller,
        desk: &mut Desk<'_>,
        place: Place,
        query: Query,
        consistency: Consistency,
    ) {
        let request = Request::Read { query, consistency };
        let ticket = caller.ask_at(desk, place, request);
        self.open.insert(ticket, (place, desk.now_us));
    }
}
