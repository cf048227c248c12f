//! What a seed draws of an operator who changes the membership, and of disks
//! that are lost for good. Draws from a lane of its own.

use precentor_core::config::Knobs;
use serde::{Deserialize, Serialize};

use crate::tape::Roll;

/// An operator, machines beyond the founders', and disks that are lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OperatorOptions {
    /// Machines that belong to no cluster at first.
    pub spares: usize,
    /// The mean time between the end of one order and the next.
    pub order_us: u64,
    /// The mean time between two lost disks, 0 for never.
    pub lose_us: u64,
    /// Looks at an order under way that end with another one against it, per million.
    pub cancel_ppm: u32,
    /// Orders that are given together with another one, per million.
    pub rash_ppm: u32,
    /// How much a learner may lack to be promoted.
    pub lag_entries_max: u64,
    /// So many voters are wanted; 0: as many as were ordered.
    pub voters_target: u64,
    /// How long a voter must be silent until a learner may take its place.
    pub voter_silence_ms: u64,
}

/// As many machines as the simulator's links have lanes for.
pub const MACHINES_MAX: usize = 8;

impl OperatorOptions {
    /// An operator of a cluster with so many founders, for two worlds in five.
    pub(super) fn draw(roll: &mut Roll, founders: usize) -> Option<OperatorOptions> {
        let is_there = roll.chance(400_000);
        let spares = roll.between(1, 3) as usize;
        let loses = roll.chance(600_000);
        let options = OperatorOptions {
            spares: spares.min(MACHINES_MAX - founders),
            order_us: *roll.pick(&[30_000, 100_000, 400_000, 1_500_000]),
            lose_us: if loses {
                roll.between(300_000, 2_000_000)
            } else {
                0
            },
            cancel_ppm: *roll.pick(&[0, 50_000, 300_000]),
            rash_ppm: *roll.pick(&[0, 200_000, 600_000]),
            lag_entries_max: *roll.pick(&[1, 10, 100, 1_000]),
            voters_target: 0,
            voter_silence_ms: Knobs::default().voter_silence_ms,
        };
        is_there.then_some(options)
    }

    /// In some worlds leaders promote learners of themselves.
    pub(super) fn with_unasked(mut self, roll: &mut Roll, founders: usize) -> OperatorOptions {
        let is_there = roll.chance(400_000);
        let founders = founders as u64;
        // Mostly as many as there are: then a learner comes in a silent one's place.
        let more = *roll.pick(&[0, 0, 0, 1, 2]);
        let target = (founders + more).clamp(2, 7);
        let silence_ms = roll.between(100, 600);
        if is_there {
            (self.voters_target, self.voter_silence_ms) = (target, silence_ms);
        }
        self
    }
}
