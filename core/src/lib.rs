//! The deterministic heart of Precentor: events in, actions out.
//!
//! This crate knows no clock, thread, socket, file or ambient randomness.

// Layer 0: nouns.
pub mod address;
pub mod bounded;
pub mod bytes;
pub mod digest;
pub mod feature;
pub mod ids;
pub mod limits;
pub mod pulse;
pub mod random;
pub mod time;
pub mod version;

// Layer 1: words.
pub mod access;
pub mod action;
pub mod command;
pub mod config;
pub mod context;
pub mod edit;
pub mod entries;
pub mod entry;
pub mod event;
pub mod job;
pub mod membership;
pub mod message;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod principal;
pub mod request;
pub mod snapshot;
pub mod status;

// Layer 2: tools.
pub mod cx;
pub mod log;
pub mod marks;
pub mod outbox;
pub mod wire;
pub mod work;

// Layer 3: components. None knows another, but for generation, which reads the queue.
pub mod cluster;
pub mod failover;
pub mod generation;
pub mod health;
pub mod queue;

// Layer 4: wiring.
mod manager;

// Layer 5: the door.
pub mod driver;
pub mod restore;
pub mod view;
