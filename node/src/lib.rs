//! The production node.

pub mod blobstore;
pub mod disk;
pub mod map;
pub mod render;
pub mod source;
pub mod worker;
