//! The deterministic heart of Precentor: events in, actions out.
//!
//! This crate knows no clock, thread, socket, file or ambient randomness.

// Layer 0: nouns.
pub mod address;
pub mod context;
pub mod digest;
pub mod ids;
pub mod limits;
pub mod time;
