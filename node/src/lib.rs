//! The production node.

pub mod blobstore;
pub mod disk;
pub mod source;
pub mod worker;
