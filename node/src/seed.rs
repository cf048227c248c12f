//! Numbers that nobody can foresee, from the operating system, for what must
//! differ from start to start. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A fresh number: the keys of a [`RandomState`] come from the system's
/// randomness and differ from call to call.
#[must_use]
pub fn fresh() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Sixteen fresh bytes.
#[must_use]
pub fn fresh_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&fresh().to_le_bytes());
    // Within a thread, a new state is the last one's keys plus one: this mixes
    // in a second source, so that the halves are not simply related.
    let mixed = blake3::hash(&[bytes, fresh_pid()].concat());
    bytes.copy_from_slice(&mixed.as_bytes()[..16]);
    bytes
}

fn fresh_pid() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&fresh().to_le_bytes());
    bytes[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    bytes
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
