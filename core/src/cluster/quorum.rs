//! Majorities, by counting. Knows no node.

#[cfg(test)]
mod tests;

use crate::ids::LogIndex;

/// How many of `voters` are a majority.
#[must_use]
pub(super) fn majority(voters: u64) -> u64 {
    voters / 2 + 1
}

/// The highest index that a majority of `matched` (one per voter) has reached.
///
/// # Panics
/// If there are no voters: our own error.
#[must_use]
pub(super) fn committed(matched: &mut [LogIndex], votes_needed: u64) -> LogIndex {
    assert!(!matched.is_empty(), "a cluster has voters");
    matched.sort_unstable_by(|a, b| b.cmp(a));
    matched[usize::try_from(votes_needed).expect("a handful of voters") - 1]
}
