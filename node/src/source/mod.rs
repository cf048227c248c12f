//! The tree that contexts are made of: finds its files as git would, digests
//! them, and hands them out children first. Knows nothing of jobs, records or
//! languages.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use precentor_core::address::Address;

pub mod baseline;
pub mod digest;
pub mod walk;

/// Where an address stands in the tree at `root`.
#[must_use]
pub fn path_of(root: &Path, address: &Address) -> PathBuf {
    if address.is_project() {
        return root.to_path_buf();
    }
    root.join(OsStr::from_bytes(&address.path_bytes()))
}
