//! What the host must do: everything that the core ever causes.
//!
//! A turn's actions may be performed in any order, except writes among
//! themselves: what may only be said after a write is not handed out before.
//! Parts of a snapshot are performed in order too; a turn has one at the most.

use crate::bytes::Bytes;
use crate::command::AuditRecord;
use crate::digest::Digest;
use crate::entries::Entries;
use crate::entry::{ChainHash, HardState};
use crate::feature::FeatureLevel;
use crate::ids::{LocalNumber, LogIndex, NodeId, ReadId, Term, Ticket, WriteId};
use crate::message::{LogPosition, Message, StateHashAt};
use crate::request::Reply;
use crate::snapshot::SnapshotPart;
use crate::work::Work;

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BodyOf {
    /// A published result.
    Result,
    /// A text that a context is to be made of.
    Source,
}

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
        /// What of. A body may be both; then it is put as both, and goes as one of them only.
        of: BodyOf,
    },
    /// Nobody speaks of this source any more as of an entry: it may be dropped once a snapshot
    /// of this node's own is durable that has that entry, unless it is put again before. Not
    /// sooner: what is durable speaks of it. A source that is not dropped does no harm.
    DropSource {
        /// Its digest.
        digest: Digest,
        /// As of which entry.
        index: LogIndex,
    },
    /// Append this to the snapshot that is being written. With its last part make
    /// all blobs so far and then the snapshot durable, all of it or none, and
    /// report `SnapshotSaved`. Until then the one before stays in force.
    SaveSnapshot(SnapshotPart),
    /// Append these bytes of a leader's snapshot to those that are kept of it, beside
    /// this node's own snapshots. A restart gets what was kept: any beginning of it.
    KeepPiece(SnapshotPart),
    /// The kept image is whole, and all bodies are handed over: make them durable,
    /// then put the image in the place of this node's snapshot, and report
    /// `SnapshotInstalled`. All of it or none.
    InstallSnapshot {
        /// The last entry in it.
        index: LogIndex,
    },
    /// Read from a saved snapshot's image, and report `SnapshotRead`.
    ReadSnapshot {
        /// Names the read.
        read: ReadId,
        /// Which snapshot.
        index: LogIndex,
        /// From which byte on.
        offset: u64,
        /// So many bytes at the most.
        bytes_max: u64,
    },
    /// Read bodies, and report `BodiesRead`.
    ReadBodies {
        /// Names the read.
        read: ReadId,
        /// Their digests.
        digests: Vec<Digest>,
        /// Stop after so many bytes, but read one body at least.
        bytes_max: u64,
    },
    /// Report by `BodiesLacking` which of these bodies this node does not have.
    FindLacking {
        /// Their digests.
        digests: Vec<Digest>,
        /// What of: as what else they may be here does not count.
        of: BodyOf,
    },
    /// The log up to here is in a snapshot, and no member is worth keeping it for: drop it.
    CompactLog {
        /// The last index to drop.
        up_to: LogIndex,
    },
    /// Do this beside the turns, however long it takes, and report `WorkDone` with what came
    /// of it ([`Work::run`]). A restart knows nothing of it.
    Work(Work),
    /// Keep a client's request, beside the log, and report `RequestKept` when it is on disk
    /// for good. A host that cannot must end, as after a failed write.
    KeepRequest {
        /// Names it: higher than all that are kept.
        number: LocalNumber,
        /// The encoded entry.
        entry: Bytes,
    },
    /// A kept request is over: it need not be kept. It does no harm if a restart finds it
    /// again.
    DropRequest {
        /// Which.
        number: LocalNumber,
    },
    /// Keep a link of the audit chain. Sent again for entries that are applied again after a restart.
    Audit(Box<AuditRecord>),
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
    /// Or replace the whole log by a snapshot that ends with this entry.
    pub reset: Option<LogPosition>,
    /// Then append these: consecutive.
    pub entries: Entries,
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
    /// This log and the leader's have an entry of equal term and index in
    /// common, and yet differ before it.
    #[error(
        "the log diverged at or before {index}: hash here {ours}, leader {theirs}; stop this node, keep its disk, and replace it by one with a new disk"
    )]
    LogDiverged {
        /// Up to which entry the hashes are.
        index: LogIndex,
        /// This log's.
        ours: ChainHash,
        /// The leader's.
        theirs: ChainHash,
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
    /// The cluster's rules go beyond what this program can do.
    #[error(
        "entry {index} is of a cluster at {required}, and this program can do {supported}; run one that can do {required} on this data directory: nothing was lost"
    )]
    LevelBeyondProgram {
        /// The entry that raised the level, or the last of a snapshot taken since.
        index: LogIndex,
        /// The level in force.
        required: FeatureLevel,
        /// The highest that this program can do.
        supported: FeatureLevel,
    },
    /// A write failed, and what is on disk is unknown.
    #[error("{write} failed: what is on disk is unknown; restart the node to find out")]
    WriteFailed {
        /// The write.
        write: WriteId,
    },
}
