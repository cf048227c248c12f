//! Clients have the cluster keep what files contain, and change how much may be kept.

use precentor_core::command::{Command, Outcome};
use precentor_core::limits::SOURCE_ROW_BYTES;

use super::tree::Tree;
use crate::scenario::ClientOptions;
use crate::tape::{Domain, Tape};

/// The simulated files contain about so much.
const TEXT_BYTES: u64 = 8;
/// Of the moments at which texts are kept, those at which there are to be fewer or more
/// instead, per million.
const BUDGET_PPM: u32 = 100_000;

/// What a client has kept now, if anything.
pub(super) fn order(
    tape: &mut Tape,
    lane: u32,
    tree: &Tree,
    options: &ClientOptions,
) -> Option<Command> {
    let mut roll = tape.fault(Domain::KeepSource, lane, options.keep_ppm)?;
    if let Some(mut roll) = tape.fault(Domain::SourceBudget, lane, BUDGET_PPM) {
        let bytes_max = roll.between(0, 8) * (SOURCE_ROW_BYTES + TEXT_BYTES);
        return Some(Command::PutSourceBudget { bytes_max });
    }
    let texts = (0..roll.between(1, 4)).map(|_| {
        let (folder, file) = (roll.below(options.folders), roll.below(options.files));
        tree.text(folder, file).into_bytes().into()
    });
    Some(Command::KeepSources {
        sources: texts.collect(),
    })
}

/// Is it the outcome of something that a client only orders, and never asks after?
pub(super) fn is_just_done(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Invalidated { .. }
            | Outcome::BudgetPut { .. }
            | Outcome::SourcesKept { .. }
            | Outcome::SourceBudgetPut { .. }
            | Outcome::Annotated { .. }
            | Outcome::Resolved { .. }
    )
}
