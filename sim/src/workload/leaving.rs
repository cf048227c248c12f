//! Requests that are left with whichever node is at hand, to be sent to a leader when there
//! is one. Whoever left one goes on as if it had no answer, which it has not, but is patient.

use precentor_core::command::Command;
use precentor_core::ids::{RequestId, Sequence, Ticket};
use precentor_core::request::Request;

use crate::desk::{Caller, Desk};
use crate::scenario::ClientOptions;
use crate::tape::Domain;

/// For so long a client waits at the most before it asks again what it left with a node.
const PATIENCE_US_MAX: u64 = 4_000_000;

/// Leaves a request with some node, now and then.
pub(super) fn leave(
    caller: &mut Caller,
    desk: &mut Desk<'_>,
    options: &ClientOptions,
    request: RequestId,
    acknowledged: Sequence,
    command: &Command,
) -> Option<Ticket> {
    if !command.may_be_kept() {
        return None;
    }
    let lane = caller.lane;
    let mut roll = desk
        .tape
        .fault(Domain::QueueLocally, lane, options.local_ppm)?;
    let place = roll.below(desk.nodes as u64) as usize;
    let request = Request::QueueLocally {
        request,
        acknowledged,
        command: command.clone(),
    };
    Some(caller.ask_at(desk, place, request))
}

/// How long it waits before it asks again.
pub(super) fn patience_us(caller: &Caller, desk: &mut Desk<'_>) -> u64 {
    let mut roll = desk.tape.roll(Domain::LocalPatience, caller.lane);
    roll.below(PATIENCE_US_MAX)
}
