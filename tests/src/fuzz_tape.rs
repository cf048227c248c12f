//! The bytes say which faults happen in a whole simulated world.

use precentor_sim::campaign::Scenes;
use precentor_sim::stage::Stage;
use precentor_sim::tape::Tape;
use precentor_sim::trace::Trace;

/// Worlds that are drawn from so many seeds.
const SEEDS: u16 = 4_096;

/// The first two bytes choose a world, and each that follows says after how many chances of a
/// fault the next one happens.
///
/// # Panics
/// If a judge finds something.
pub fn tape(data: &[u8]) {
    let Some((seed, gaps)) = data.split_first_chunk::<2>() else {
        return;
    };
    let seed = u64::from(u16::from_le_bytes(*seed) % SEEDS);
    let scenario = Scenes::Any.of_seed(seed);
    let tape = Tape::of_gaps(seed, gaps);
    let ending = Stage::new(scenario, tape, None, Trace::quiet()).run();
    if let Some(failure) = ending.failure {
        panic!("the world of seed {seed}: {failure}");
    }
}
