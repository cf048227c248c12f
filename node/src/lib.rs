//! The production node.

pub mod disk;
pub mod source;
pub mod worker;
