//! What clients and operators do with the cache. Knows nothing of what is in it.

use precentor_core::command::{CacheMode, Command};
use precentor_core::job::{JobSpec, Reach};

use super::ENGINE;
use super::items::address;
use crate::scenario::ClientOptions;
use crate::tape::{Domain, Tape};

/// Every result of the simulated workers is so long.
const RESULT_BYTES: u64 = 32;

/// What an operator does to the cache now, if it does something.
pub(super) fn order(tape: &mut Tape, lane: u32, options: &ClientOptions) -> Option<Command> {
    if let Some(mut roll) = tape.fault(Domain::Invalidate, lane, options.invalidate_ppm) {
        let (folder, file) = (roll.below(options.folders), roll.below(options.files));
        let reach = match roll.below(8) {
            0..4 => Reach::Address(address(&format!("f{folder}/a{file}"))),
            4..6 => Reach::Prefix(address(&format!("f{folder}"))),
            6 => Reach::Generator {
                engine: ENGINE.to_owned(),
                version: roll.chance(500_000).then_some(1),
            },
            _ => Reach::Prefix(address("")),
        };
        return Some(Command::Invalidate { reach });
    }
    let mut roll = tape.fault(Domain::Budget, lane, options.budget_ppm)?;
    let results = roll.between(1, 16);
    let bytes_max = roll.chance(900_000).then_some(RESULT_BYTES * results);
    Some(Command::PutBudget { bytes_max })
}

/// The request for some items: as they are, or with a say in what answers them.
pub(super) fn request(
    mut items: Vec<JobSpec>,
    tape: &mut Tape,
    lane: u32,
    options: &ClientOptions,
) -> Command {
    let Some(mut roll) = tape.fault(Domain::CacheMode, lane, options.mode_ppm) else {
        return Command::Submit { items };
    };
    let mode = match roll.below(8) {
        0 => CacheMode::Fresh,
        1..4 => CacheMode::StaleOk {
            max_age_ms: roll.between(1, 2_000),
        },
        4 => CacheMode::CachedOnly,
        5 => CacheMode::NoCache,
        _ => CacheMode::Refresh,
    };
    if mode == CacheMode::CachedOnly {
        for item in &mut items {
            item.delay_ms = 0;
        }
    }
    Command::Ask { items, mode }
}
