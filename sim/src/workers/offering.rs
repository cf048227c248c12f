//! Workers say what they have besides slots and engines, once in each life.

use precentor_core::command::{Command, Outcome};
use precentor_core::ids::Ticket;
use precentor_core::job::Offer;
use precentor_core::request::Reply;

use super::{PATIENCE_US, Worker, is, propose};
use crate::desk::Desk;
use crate::tape::Domain;

/// What some workers have, and some engines need.
pub(crate) const TAGS: [&str; 2] = ["checkout", "gpu"];
/// What memory is counted in here.
pub(crate) const MEMORY_STEP_MIB: u64 = 512;

/// How far a life is with that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offering {
    asked: Option<(Ticket, u64)>,
    done: bool,
}

impl Worker {
    /// Says it, if it is registered and has not.
    pub(super) fn offer(&mut self, desk: &mut Desk<'_>) {
        let waits = |(_, at_us): (Ticket, u64)| desk.now_us < at_us + PATIENCE_US;
        let Offering { asked, done } = self.offering;
        if !self.options.offers || !self.registered || done || asked.is_some_and(waits) {
            return;
        }
        let mut roll = desk.tape.roll(Domain::Offer, self.caller.lane);
        let tags = TAGS.iter().filter(|_| roll.chance(700_000));
        let offer = Offer {
            tags: tags.map(|tag| (*tag).to_owned()).collect(),
            memory_mib: roll.between(0, 2 * u64::from(self.spec.slots)) * MEMORY_STEP_MIB,
        };
        let command = Command::PutOffer {
            worker: self.spec.worker,
            incarnation: self.spec.incarnation,
            offer,
        };
        let ticket = self.caller.ask(desk, propose(command));
        self.offering.asked = Some((ticket, desk.now_us));
    }

    /// Was this the answer to it?
    pub(super) fn on_offered(&mut self, ticket: Ticket, reply: &Reply) -> bool {
        if !is(&self.offering.asked, ticket) {
            return false;
        }
        if let Reply::Applied { outcome, .. } = reply {
            // Of a life that is not registered any more nothing is taken.
            self.registered &= matches!(outcome, Outcome::OfferPut(_));
            self.offering = Offering {
                asked: None,
                done: self.registered,
            };
        }
        // Whoever was refused asks again when its patience is over.
        true
    }
}
