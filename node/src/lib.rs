//! The production node.

pub mod disk;
