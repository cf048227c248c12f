//! Hashes of the search's own tables. Names of contents are BLAKE3 and come
//! from elsewhere; this folds a few small numbers, and is made for speed.

use std::hash::{BuildHasherDefault, Hasher};

/// Odd, and with no pattern: the digits of pi.
const FACTOR: u128 = 0x2436_A885_A308_D313_198A_2E03_7073_4455;

/// Folds numbers into 128 bits. Each step can be undone if the number is known,
/// so that two lists of one length differ in the end unless they collide by chance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fold(u128);

impl Default for Fold {
    fn default() -> Fold {
        Fold(0x3707_3445_A409_3822_299F_31D0_082E_FA98)
    }
}

impl Fold {
    /// Takes in one number.
    pub(super) fn add(&mut self, number: u64) {
        let mixed = (self.0 ^ u128::from(number)).wrapping_mul(FACTOR);
        self.0 = mixed ^ (mixed >> 67);
    }

    /// All 128 bits.
    pub(super) fn wide(self) -> u128 {
        let mixed = self.0.wrapping_mul(FACTOR);
        mixed ^ (mixed >> 64)
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.wide() as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.add(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.add(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_u128(&mut self, number: u128) {
        self.add(number as u64);
        self.add((number >> 64) as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.add(number as u64);
    }
}

/// A map whose keys are small numbers.
pub(super) type FoldMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Fold>>;
/// A set of small numbers.
pub(super) type FoldSet<K> = std::collections::HashSet<K, BuildHasherDefault<Fold>>;
