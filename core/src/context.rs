//! placeholder: replaced by the record's owner.
use serde::{Deserialize, Serialize};
/// What stands at an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// The whole.
    Project,
}
