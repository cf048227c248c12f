//! What a node finds on its disk at a start, and whether that can be a node's.

use crate::bytes::Bytes;
use crate::config::ConfigError;
use crate::digest::StateHash;
use crate::entry::{ChainHash, EntryKind, HardState, LogEntry};
use crate::feature::FeatureLevel;
use crate::ids::{LocalNumber, LogIndex, Term};
use crate::log::{Log, LogStart};
use crate::message::LogPosition;
use crate::queue::QueueManager;
use crate::snapshot::{Snapshot, SnapshotMeta};
use crate::wire;

/// What a disk holds: the input of a start. The default is a new disk.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Term, vote, and what was known to be committed.
    pub hard_state: HardState,
    /// The latest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The whole log that the disk holds, consecutive; it reaches back behind
    /// the snapshot as far as some member may still need it.
    pub entries: Vec<LogEntry>,
    /// What is kept of a leader's snapshot whose transfer was cut short.
    pub kept: Option<Kept>,
    /// The clients' requests that are kept until there is a leader, by number: all that
    /// were reported kept and not dropped, and perhaps others.
    pub local: Vec<(LocalNumber, Bytes)>,
}

/// The beginning of a leader's snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Which snapshot.
    pub meta: SnapshotMeta,
    /// The first bytes of its image.
    pub image: Vec<u8>,
}

/// Why a node cannot start with what its disk holds.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoverError {
    /// The configuration is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Entries are missing.
    #[error(
        "the log goes on at {found} where {expected} should stand; restore this node from its peers"
    )]
    Gap {
        /// The index that should be next.
        expected: LogIndex,
        /// The one that is.
        found: LogIndex,
    },
    /// A log that no leader can have written.
    #[error("entry {index} is of {term}, after one of {last}; restore this node from its peers")]
    TermFalls {
        /// The entry.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// The term of the entry before it.
        last: Term,
    },
    /// An entry that was not written behind the ones before it.
    #[error(
        "entry {index} was written behind a log of hash {found}, and stands behind one of {expected}; restore this node from its peers"
    )]
    Chain {
        /// The entry.
        index: LogIndex,
        /// The hash that it carries.
        found: ChainHash,
        /// That of the entries before it.
        expected: ChainHash,
    },
    /// A membership that is none.
    #[error("entry {index} is no membership: {reason}; restore this node from its peers")]
    Membership {
        /// The entry.
        index: LogIndex,
        /// What is wrong with it.
        reason: wire::DecodeError,
    },
    /// The disk knows of commits that its log does not hold.
    #[error(
        "the log ends at {last}, but {commit} was known to be committed; restore this node from its peers"
    )]
    CommitBeyondLog {
        /// The log's end.
        last: LogIndex,
        /// The known commit.
        commit: LogIndex,
    },
    /// Durable records were damaged, and there is nobody to have them from.
    #[error(
        "durable records of this node were damaged, up to entry {must_cover}, and by what is left of its log it is the only voter: restore its data directory from a backup; if others belong to its cluster, let them replace it by a node with a new disk"
    )]
    NobodyToRepairFrom {
        /// What its log should hold.
        must_cover: LogIndex,
    },
    /// The snapshot is no state.
    #[error("the snapshot of {index} cannot be read: {reason}")]
    Snapshot {
        /// Its index.
        index: LogIndex,
        /// What is wrong.
        reason: crate::queue::DecodeError,
    },
    /// A request that is kept for a client is none.
    #[error(
        "request {number}, kept until there is a leader, cannot be read: {reason}; if a newer program kept it, run that one; else remove it from the local queue of this node, and tell its client"
    )]
    LocalRequest {
        /// Which.
        number: LocalNumber,
        /// What is wrong with it.
        reason: String,
    },
    /// The snapshot is of a cluster whose rules this program does not know.
    #[error(
        "the snapshot of {index} is of a cluster at {required}, and this program can do {supported}; run one that can do {required}"
    )]
    LevelBeyondProgram {
        /// Its index.
        index: LogIndex,
        /// The level in force.
        required: FeatureLevel,
        /// The highest that this program can do.
        supported: FeatureLevel,
    },
    /// The snapshot holds another state than it says.
    #[error(
        "the snapshot of {index} says that its state is {:032x} and holds {:032x}; restore this node from its peers", expected.0, found.0
    )]
    OtherState {
        /// Its index.
        index: LogIndex,
        /// The hash that it says.
        expected: StateHash,
        /// The hash of its state.
        found: StateHash,
    },
}

/// The state in a snapshot, if a program that can do `supported` may go on with it.
pub(crate) fn state_of(
    meta: &SnapshotMeta,
    image: &[u8],
    supported: FeatureLevel,
) -> Result<QueueManager, RecoverError> {
    let &SnapshotMeta { index, state, .. } = meta;
    let queue = QueueManager::from_image(image)
        .map_err(|reason| RecoverError::Snapshot { index, reason })?;
    if queue.state_hash() != state {
        return Err(RecoverError::OtherState {
            index,
            expected: state,
            found: queue.state_hash(),
        });
    }
    if queue.level() > supported {
        return Err(RecoverError::LevelBeyondProgram {
            index,
            required: queue.level(),
            supported,
        });
    }
    Ok(queue)
}

/// The log of a start: `start` is that of the snapshot, or of the founding. True
/// beside it if the disk's log is no part of it: then a snapshot that was
/// installed stands in its place, and the disk was not told before it crashed.
pub(super) fn log_of(start: LogStart, entries: Vec<LogEntry>) -> Result<(Log, bool), RecoverError> {
    let snapshot = start.position;
    let reaches = entries
        .last()
        .is_some_and(|last| last.index >= snapshot.index);
    let Some(first) = entries.first().filter(|_| reaches) else {
        // The snapshot is all there is.
        let reset = snapshot.index > LogIndex(0);
        return Ok((Log::new(start), reset));
    };
    if first.index > snapshot.index.next() {
        return Err(RecoverError::Gap {
            expected: snapshot.index.next(),
            found: first.index,
        });
    }
    // The log may reach back behind the snapshot, for followers that lack it.
    // Unless it reaches to its very beginning, the term before its first entry
    // is unknown: it then begins with that entry itself.
    let (begin, begins_with_first) = if first.index == snapshot.index.next() {
        (start.clone(), false)
    } else if first.index == LogIndex(1) {
        let founding = LogStart {
            position: LogPosition::default(),
            chain: ChainHash::default(),
            ..start.clone()
        };
        (founding, false)
    } else {
        let behind_first = LogStart {
            position: LogPosition {
                term: first.term,
                index: first.index,
            },
            chain: first.chain_after(),
            ..start.clone()
        };
        (behind_first, true)
    };
    let mut log = Log::new(begin);
    for entry in entries.into_iter().skip(usize::from(begins_with_first)) {
        if log.last().index == snapshot.index && log.chain() != start.chain {
            break;
        }
        check_next(&log, &entry)?;
        let taken = log.extend(&entry.into());
        assert_eq!(taken, 1, "it was just checked");
    }
    if log.last().index == snapshot.index && log.chain() != start.chain {
        return Ok((Log::new(start), true));
    }
    Ok((log, false))
}

fn check_next(log: &Log, entry: &LogEntry) -> Result<(), RecoverError> {
    let LogPosition { term: last, index } = log.last();
    let index = index.next();
    if entry.index != index {
        return Err(RecoverError::Gap {
            expected: index,
            found: entry.index,
        });
    }
    if entry.term < last {
        return Err(RecoverError::TermFalls {
            index,
            term: entry.term,
            last,
        });
    }
    if entry.chain != log.chain() {
        return Err(RecoverError::Chain {
            index,
            found: entry.chain,
            expected: log.chain(),
        });
    }
    if entry.kind == EntryKind::Membership {
        wire::membership::decode(&entry.body)
            .map_err(|reason| RecoverError::Membership { index, reason })?;
    }
    Ok(())
}
