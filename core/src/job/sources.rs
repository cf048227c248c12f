//! What the cluster keeps for workers, as a reader sees it.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The texts that are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SourcesView {
    /// Those that were asked for and are not kept, in that order.
    pub lacking: Vec<Digest>,
    /// How many are kept.
    pub count: u64,
    /// What they count for, in bytes.
    pub bytes: u64,
    /// What those of them count for that unfinished jobs are to be made of, in bytes.
    pub bytes_held: u64,
    /// What all may count for, in bytes.
    pub bytes_max: u64,
    /// Can any be kept? Not before every member's program can do it.
    pub is_kept: bool,
}
