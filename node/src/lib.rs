//! The production node.

pub mod map;
pub mod render;
pub mod source;
pub mod worker;
