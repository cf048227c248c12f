//! What the host must do: everything that the core ever causes.
//!
//! A turn's actions may be performed in any order, except writes among
//! themselves: what may only be said after a write is not handed out before.
//! Parts of a snapshot are performed in order too; a turn has one at the most.

use crate::bytes::Bytes;
use crate::command::AuditRecord;
use crate::digest::{Digest, StateHash};
use crate::entry::{HardState, LogEntry};
use crate::ids::{LogIndex, NodeId, ReadId, Term, Ticket, WriteId};
use crate::message::{Message, StateHashAt};
use crate::request::Reply;

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Put this on disk, in order of id, and report `Durable` or `WriteFailed`.
    Write(Write),
    /// Send this to a peer, if it is connected; lose it rather than wait.
    Say {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Answer a client.
    Answer {
        /// Whom.
        ticket: Ticket,
        /// What.
        reply: Reply,
    },
    /// Read old entries and report `LogRead`.
    ReadLog {
        /// Names the read.
        read: ReadId,
        /// The first index.
        from: LogIndex,
        /// The last index.
        to: LogIndex,
        /// Stop after so many bytes of bodies, but read one entry at least.
        bytes_max: u64,
    },
    /// Keep a published body where its digest finds it. It need not be durable
    /// before the next snapshot is: the log has it until then.
    PutBlob {
        /// Its digest.
        digest: Digest,
        /// The body.
        body: Bytes,
    },
    /// Append this to the snapshot that is being written. With its last part make
    /// all blobs so far and then the snapshot durable, all of it or none, and
    /// report `SnapshotSaved`. Until then the one before stays in force.
    SaveSnapshot(SnapshotPart),
    /// The log up to here is in a snapshot and held by every voter: drop it.
    CompactLog {
        /// The last index to drop.
        up_to: LogIndex,
    },
    /// Keep a link of the audit chain. Sent again for entries that are applied again after a restart.
    Audit(AuditRecord),
    /// Stop: an invariant is broken here, and this node must not speak again.
    Halt(Violation),
}

/// A write to the log: all of it or, after a failure, an unknown part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Its number, one higher than the last.
    pub id: WriteId,
    /// Term and vote, if they changed, or if more is committed than was told before.
    pub hard_state: Option<HardState>,
    /// First remove every entry from here on.
    pub truncate_from: Option<LogIndex>,
    /// Then append these: consecutive.
    pub entries: Vec<LogEntry>,
}

/// What a snapshot stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotMeta {
    /// The last entry in it.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// The hash of the state.
    pub state: StateHash,
}

/// The replicated state as of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// What it stands for.
    pub meta: SnapshotMeta,
    /// The state.
    pub image: Bytes,
}

/// Some bytes of a snapshot. Parts follow each other without a gap; one at
/// offset 0 begins a snapshot, and whatever was begun before is void.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotPart {
    /// What the snapshot stands for: the same in all its parts.
    pub meta: SnapshotMeta,
    /// How many bytes of the image come before these.
    pub offset: u64,
    /// The next bytes of the image.
    pub bytes: Bytes,
    /// With these the image is whole.
    pub last: bool,
}

/// Puts the parts of a snapshot together in memory, for hosts without files.
#[derive(Clone, Debug, Default)]
pub struct SnapshotParts {
    meta: Option<SnapshotMeta>,
    image: Vec<u8>,
}

impl SnapshotParts {
    /// Adds a part; returns the snapshot once it is whole.
    ///
    /// # Panics
    /// If the part does not follow the one before: the core hands them out in
    /// order, and a host must perform them so.
    pub fn add(&mut self, part: SnapshotPart) -> Option<Snapshot> {
        if part.offset == 0 {
            self.image.clear();
            self.meta = Some(part.meta.clone());
        }
        assert!(
            self.meta.as_ref() == Some(&part.meta) && self.image.len() as u64 == part.offset,
            "a part of {:?} at {} follows {} bytes of {:?}",
            part.meta,
            part.offset,
            self.image.len(),
            self.meta
        );
        self.image.extend_from_slice(&part.bytes);
        if !part.last {
            return None;
        }
        self.meta = None;
        Some(Snapshot {
            meta: part.meta,
            image: std::mem::take(&mut self.image).into(),
        })
    }
}

/// A broken invariant, with the values that show it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// This replica's state is not the leader's.
    #[error("state diverged at {}: here {:032x}, leader {:032x}; stop this node and rebuild it from its peers", ours.index, ours.hash.0, theirs.hash.0)]
    StateDiverged {
        /// This node's hash.
        ours: StateHashAt,
        /// The leader's.
        theirs: StateHashAt,
    },
    /// A leader asked to overwrite what is committed here.
    #[error(
        "an append of {term} conflicts with committed entry {index}; stop the cluster and keep its disks"
    )]
    CommittedConflict {
        /// The committed entry.
        index: LogIndex,
        /// The leader's term.
        term: Term,
    },
    /// A message of this term from a second leader.
    #[error("two leaders in {term}: {first} and {second}; stop the cluster and keep its disks")]
    TwoLeaders {
        /// The term.
        term: Term,
        /// The one followed.
        first: NodeId,
        /// The other.
        second: NodeId,
    },
    /// A committed entry is no command that this version knows.
    #[error("committed entry {index} cannot be decoded ({reason}); run a version that knows it")]
    Undecodable {
        /// The entry.
        index: LogIndex,
        /// What is wrong with it.
        reason: String,
    },
    /// A write failed, and what is on disk is unknown.
    #[error("{write} failed: what is on disk is unknown; restart the node to find out")]
    WriteFailed {
        /// The write.
        write: WriteId,
    },
}
