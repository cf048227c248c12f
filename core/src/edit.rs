//! The words of edits: what people and agents say of a context besides what is
//! generated, and what is kept of it. Knows no rule of how edits are merged.

mod views;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{ActorId, LogIndex, Revision};
use crate::version::{Dot, VersionVector};

pub use self::views::{Conflict, EditedView, NoteView, PastEdit, PastResult, Side, SummaryView};

/// Who wrote it. A person's word outranks an agent's where neither had seen the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Author {
    /// A program: what it says is generated.
    Agent,
    /// A human being.
    Person,
}

/// A symbol that a note is about, as it was when the note was written. Data for
/// readers: results are opaque to the queue, so it cannot say whether the symbol has
/// changed since.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Anchor {
    /// Its name.
    pub symbol: String,
    /// The digest of its slice.
    pub digest: Digest,
}

/// A fact that the source does not show.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Note {
    /// What is so.
    pub text: String,
    /// Of which symbol; none if of the whole.
    pub anchor: Option<Anchor>,
}

/// What of a context an edit is about. Edits of different parts never contradict each
/// other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Part {
    /// The summary that stands in the place of the generated one.
    Summary,
    /// The note of this name.
    Note(String),
    /// This tag.
    Tag(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Summary => f.write_str("the summary"),
            Part::Note(name) => write!(f, "note {name}"),
            Part::Tag(tag) => write!(f, "tag {tag}"),
        }
    }
}

/// What stands at a part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Content {
    /// A summary.
    Summary(String),
    /// A note.
    Note(Note),
    /// The tag is there.
    Tag,
}

impl Content {
    /// Can it stand at this part?
    #[must_use]
    pub fn is_of(&self, part: &Part) -> bool {
        matches!(
            (self, part),
            (Content::Summary(_), Part::Summary)
                | (Content::Note(_), Part::Note(_))
                | (Content::Tag, Part::Tag(_))
        )
    }
}

/// One change of an edit. Whoever puts something takes the place of what its author
/// had seen there; whoever removes something removes what its author had seen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Change {
    /// This is the summary.
    PutSummary(String),
    /// The generated summary is good enough.
    WithdrawSummary,
    /// This is the note of that name.
    PutNote {
        /// Names it among the notes of its address.
        name: String,
        /// What it says.
        note: Note,
    },
    /// There is no note of that name.
    WithdrawNote {
        /// Its name.
        name: String,
    },
    /// It has this tag.
    AddTag(String),
    /// It has not this tag.
    RemoveTag(String),
}

impl Change {
    /// What it is about.
    #[must_use]
    pub fn part(&self) -> Part {
        match self {
            Change::PutSummary(_) | Change::WithdrawSummary => Part::Summary,
            Change::PutNote { name, .. } | Change::WithdrawNote { name } => {
                Part::Note(name.clone())
            }
            Change::AddTag(tag) | Change::RemoveTag(tag) => Part::Tag(tag.clone()),
        }
    }

    /// What it puts there; none if it only removes.
    #[must_use]
    pub fn content(&self) -> Option<Content> {
        match self {
            Change::PutSummary(text) => Some(Content::Summary(text.clone())),
            Change::PutNote { note, .. } => Some(Content::Note(note.clone())),
            Change::AddTag(_) => Some(Content::Tag),
            Change::WithdrawSummary | Change::WithdrawNote { .. } | Change::RemoveTag(_) => None,
        }
    }

    /// Texts and names in it, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = match self {
            Change::WithdrawSummary => 0,
            Change::PutSummary(text) | Change::AddTag(text) | Change::RemoveTag(text) => text.len(),
            Change::WithdrawNote { name } => name.len(),
            Change::PutNote { name, note } => {
                let symbol = note.anchor.as_ref().map_or(0, |anchor| anchor.symbol.len());
                name.len() + note.text.len() + symbol
            }
        };
        bytes as u64
    }
}

/// Changes that are made together, or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// Who wrote it.
    pub author: Author,
    /// What it changes: each part once.
    pub changes: Vec<Change>,
}

impl Edit {
    /// Texts and names in it, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.changes.iter().map(Change::bytes).sum()
    }
}

/// What its author had seen when it wrote an edit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Basis {
    /// Everything up to this revision. Refused if there is another one by now.
    Revision(Revision),
    /// What this vector says, its own edits up to this one included. Merged with what
    /// it has not seen: for authors who cannot ask.
    Version {
        /// Whose edit it is: not [`ActorId::LOG`].
        actor: ActorId,
        /// What it had seen, and this edit.
        version: VersionVector,
    },
}

/// How an edit stood to what was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Merge {
    /// Its author had seen everything.
    After,
    /// Its author had not: it was merged.
    Concurrent,
}

/// Names a conflict: the change with which it began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ConflictId {
    /// The entry of the edit.
    pub index: LogIndex,
    /// The change's position in it.
    pub position: u32,
}

impl fmt::Display for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.index.0, self.position)
    }
}

impl fmt::Debug for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a conflict ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Resolution {
    /// This side is right.
    Keep {
        /// The edit that it came with.
        side: Dot,
    },
    /// What the rule chose is right.
    Dismiss,
    /// None is: this is, having seen them all.
    Merge(Change),
}
