//! All randomness of the core: a ChaCha stream that the host seeds. The same
//! seed gives the same stream on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seeded stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `min` to `max`, both included.
    ///
    /// # Panics
    /// If `min` is greater than `max`.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        assert!(min <= max, "an empty range: {min} to {max}");
        match (max - min).checked_add(1) {
            // Lemire's multiply-shift: the bias is below 2^-32 for our small spans.
            Some(count) => min + ((u128::from(self.next_u64()) * u128::from(count)) >> 64) as u64,
            None => self.next_u64(),
        }
    }
}
