//! What readers are shown of edits, conflicts and history.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::digest::Digest;
use crate::ids::{JobId, LogIndex, Revision};
use crate::job::{ContextView, Generator};
use crate::principal::Principal;
use crate::time::Stamp;
use crate::version::{Dot, VersionVector};

use super::{Author, ConflictId, Content, Edit, Merge, Note, Part};

/// What one edit put at a part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Side {
    /// The edit.
    pub dot: Dot,
    /// Its entry.
    pub index: LogIndex,
    /// When it was applied.
    pub at: Stamp,
    /// That as wall clock, in milliseconds since 1970, for people.
    pub wall_ms: u64,
    /// Who sent it.
    pub by: Principal,
    /// Was that a person?
    pub author: Author,
    /// What it put there.
    pub content: Content,
}

/// A note as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NoteView {
    /// Its name.
    pub name: String,
    /// What it says.
    pub note: Note,
    /// Who sent it.
    pub by: Principal,
    /// Was that a person?
    pub author: Author,
    /// When, as wall clock.
    pub wall_ms: u64,
    /// It is what the rule chose of an open conflict.
    pub conflict: Option<ConflictId>,
}

/// The summary that stands in the place of the generated one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SummaryView {
    /// What it says.
    pub text: String,
    /// Who sent it.
    pub by: Principal,
    /// Was that a person?
    pub author: Author,
    /// It is what the rule chose of an open conflict.
    pub conflict: Option<ConflictId>,
}

/// An address with what is generated and what people say of it, merged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EditedView {
    /// Where.
    pub address: Address,
    /// What is published; none if nothing is.
    pub context: Option<ContextView>,
    /// To edit it as it stands here, name this.
    pub revision: Revision,
    /// To edit it later without a leader, begin with this.
    pub version: VersionVector,
    /// The summary of people; none if the generated one stands.
    pub summary: Option<SummaryView>,
    /// The notes: those of people first, then by name.
    pub notes: Vec<NoteView>,
    /// The tags, in order.
    pub tags: Vec<String>,
    /// Its open conflicts, the oldest first.
    pub conflicts: Vec<ConflictId>,
}

/// Edits of one part whose authors had not seen each other's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Conflict {
    /// Its name.
    pub id: ConflictId,
    /// Where.
    pub address: Address,
    /// Of what.
    pub part: Part,
    /// To resolve it as it stands here, name this.
    pub revision: Revision,
    /// All sides, in the order in which they came.
    pub sides: Vec<Side>,
    /// The one that is shown until it is resolved.
    pub chosen: Dot,
}

/// A published result that another one took the place of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PastResult {
    /// Its digest. The body may be gone: the history keeps where it came from, not what
    /// it said.
    pub result: Digest,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// What it describes.
    pub subject: Digest,
    /// What made it.
    pub generator: Generator,
    /// The job that made it.
    pub job: JobId,
    /// When its input was accepted last.
    pub accepted: JobId,
    /// The entry that replaced it.
    pub index: LogIndex,
    /// When that was.
    pub until: Stamp,
    /// That as wall clock.
    pub until_wall_ms: u64,
    /// The job whose result took its place.
    pub replaced_by: JobId,
}

/// An edit that was applied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PastEdit {
    /// Which edit of which author.
    pub dot: Dot,
    /// What its author had seen, itself included.
    pub version: VersionVector,
    /// What it changed.
    pub edit: Edit,
    /// How it stood to what was there.
    pub merge: Merge,
    /// The revision that it made.
    pub revision: Revision,
    /// Conflicts of which it became a side.
    pub conflicts: Vec<ConflictId>,
    /// Conflicts that it ended, having seen all sides.
    pub resolved: Vec<ConflictId>,
    /// Its entry.
    pub index: LogIndex,
    /// Who sent it.
    pub by: Principal,
    /// When it was applied.
    pub at: Stamp,
    /// That as wall clock.
    pub wall_ms: u64,
}
