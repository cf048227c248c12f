//! What consensus costs, beside the `raft` crate (raft-rs): the same cluster
//! in memory, the same entries, the same deliveries, in the same run. Knows no
//! command line and no allocator: the program that measures brings both.
//!
//! What is equal on both sides: a node takes in everything that had arrived,
//! then settles once; messages are moved to their targets, never encoded; what
//! is to be written counts as durable at once and is kept in memory; what is
//! committed is read back, as one who applies it would; pre-vote and check of
//! the quorum are on; timeouts, message sizes and windows are the same. The
//! crate gets a batch as one proposal and tells commits by the way, because it
//! is faster so; and a storage that copies no more than it was asked for,
//! because its own copies the rest of the log for every message.

mod cluster;
pub mod compare;
mod consensus;
mod disk;
mod node;
mod peer;
pub mod report;
pub mod scenario;

#[cfg(test)]
mod tests;
