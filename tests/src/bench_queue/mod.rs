//! What the replicated queue costs, with few and with many jobs in it: each
//! command in `apply`, the memory of a job, a snapshot, and what a new leader
//! does first. In the same run, what the same number of small jobs costs in two
//! containers that keep nothing but an order. Knows no command line and no
//! allocator: the program that measures brings both.
//!
//! What is in the queue's figures and in no floor's: a job is found by its address,
//! waits are noted, replies are kept for resends, every row goes into the hash of
//! the state, and every command into the audit chain. The jobs are of all classes
//! and of several tenants, and have no dependencies; only those that are redriven do.

mod floor;
mod install;
pub mod measure;
mod pass;
pub mod report;
mod rig;
mod snapshot;
mod takeover;
mod transitions;

#[cfg(test)]
mod tests;
