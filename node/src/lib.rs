//! The production node.

pub mod blobstore;
pub mod disk;
