//! The production node.
pub mod source;
pub mod worker;
