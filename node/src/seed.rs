//! Numbers that nobody can foresee, from the operating system, for what must
//! differ from start to start. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A fresh number: the keys of a [`RandomState`] come from the system's
/// randomness, and no two of them are equal.
#[must_use]
pub fn fresh() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Sixteen fresh bytes.
#[must_use]
pub fn fresh_bytes() -> [u8; 16] {
    let [first, second] = [fresh(), fresh()];
    ((u128::from(first) << 64) | u128::from(second)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_numbers_are_equal() {
        assert_ne!(fresh(), fresh());
        assert_ne!(fresh_bytes(), fresh_bytes());
    }
}
