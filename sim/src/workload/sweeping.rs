//! An operator who ends everything at a place and inside: lists the jobs there that are
//! not over, page by page at any node, and cancels what was listed (decision 27).

use precentor_core::address::Address;
use precentor_core::command::Command;
use precentor_core::ids::{JobId, Ticket};
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};

use super::items::address;
use crate::desk::{Caller, Desk};
use crate::scenario::ClientOptions;
use crate::tape::Domain;

/// A page that is not there by then is given up.
const PATIENCE_US: u64 = 700_000;

/// What one client sweeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweeping {
    page: Option<(Ticket, u64)>,
    within: Option<Address>,
    next: Option<Address>,
    listed: Vec<JobId>,
}

impl Sweeping {
    /// Begins at times, and goes on where a page was not the last.
    pub(super) fn on_alarm(
        &mut self,
        caller: &mut Caller,
        desk: &mut Desk<'_>,
        options: &ClientOptions,
    ) {
        self.page
            .take_if(|(_, at_us)| desk.now_us >= *at_us + PATIENCE_US);
        if self.page.is_some() {
            return;
        }
        let within = match (&self.within, self.next.is_some()) {
            (Some(within), true) => within.clone(),
            _ => {
                let lane = caller.lane;
                let Some(mut roll) = desk.tape.fault(Domain::Sweep, lane, options.sweep_ppm) else {
                    return;
                };
                match roll.below(options.folders + 1) {
                    0 => address(""),
                    folder => address(&format!("f{}", folder - 1)),
                }
            }
        };
        let mut roll = desk.tape.roll(Domain::SweepWhere, caller.lane);
        let place = roll.below(desk.nodes as u64) as usize;
        let query = Query::Unfinished {
            within: within.clone(),
            after: self.next.take(),
            count_max: roll.between(1, 4) as u32,
        };
        let consistency = match roll.below(4) {
            0 => Consistency::Stale,
            _ => Consistency::Linearizable,
        };
        let request = Request::Read { query, consistency };
        self.page = Some((caller.ask_at(desk, place, request), desk.now_us));
        self.within = Some(within);
    }

    /// An answer; false if it is to no page.
    pub(super) fn on_reply(&mut self, ticket: Ticket, reply: &Reply) -> bool {
        if self.page.take_if(|(page, _)| *page == ticket).is_none() {
            return false;
        }
        if let Reply::Read {
            answer: Answer::Unfinished { jobs, next },
            ..
        } = reply
        {
            self.listed.extend(jobs.iter().map(|job| job.job));
            self.next.clone_from(next);
        }
        true
    }

    /// What it cancels now, if it does.
    pub(super) fn next(&mut self) -> Option<Command> {
        if self.listed.is_empty() {
            return None;
        }
        let jobs = std::mem::take(&mut self.listed);
        Some(Command::Cancel { jobs })
    }
}
