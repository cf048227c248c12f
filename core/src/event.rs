//! What can happen to a node: everything that the core ever learns.

use crate::bytes::Bytes;
use crate::digest::Digest;
use crate::entry::LogEntry;
use crate::feature::FeatureLevel;
use crate::ids::{LocalNumber, LogIndex, NodeId, ReadId, Ticket, WriteId};
use crate::message::{Message, Piece};
use crate::principal::Principal;
use crate::request::Request;
use crate::time::Time;
use crate::work::Done;

/// The host's clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Monotonic: rules read it.
    pub time: Time,
    /// Milliseconds since 1970, for people: no rule reads it.
    pub wall_ms: u64,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Time has passed: a deadline may be due.
    Wake,
    /// A peer said something.
    Peer {
        /// Who: as the connection proved.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// The connection to a peer is open.
    PeerUp {
        /// Which.
        peer: NodeId,
        /// What its program can do, as its hello said.
        supports: FeatureLevel,
    },
    /// The connection to a peer is closed: what was said may be lost.
    PeerDown {
        /// Which.
        peer: NodeId,
    },
    /// A client of this node asks.
    Client {
        /// Where the answer goes: unique among those that are open.
        ticket: Ticket,
        /// Who asks: as the transport proved.
        principal: Principal,
        /// What.
        request: Request,
    },
    /// This write and all before it are on disk for good.
    Durable {
        /// The latest such write.
        write: WriteId,
    },
    /// This write failed, wholly or in part: the node must not go on.
    WriteFailed {
        /// Which.
        write: WriteId,
    },
    /// Old entries that were asked for.
    LogRead {
        /// Which read.
        read: ReadId,
        /// Consecutive entries from the first one asked for, at least one;
        /// none if they could not be read, or are no longer there.
        entries: Vec<LogEntry>,
    },
    /// The snapshot is on disk for good.
    SnapshotSaved {
        /// As of which entry.
        index: LogIndex,
    },
    /// A leader's snapshot is on disk for good, in the place of this node's own.
    SnapshotInstalled {
        /// The last entry in it.
        index: LogIndex,
    },
    /// Bytes of a saved snapshot's image that were asked for.
    SnapshotRead {
        /// Which read.
        read: ReadId,
        /// The bytes; none if there is no such snapshot.
        piece: Option<Piece>,
    },
    /// Bodies that were asked for.
    BodiesRead {
        /// Which read.
        read: ReadId,
        /// Those that are there, as many as fit.
        bodies: Vec<Bytes>,
    },
    /// Which of the bodies in question this node lacks.
    BodiesLacking {
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// Work is done.
    WorkDone(Done),
    /// A client's request is kept for good.
    RequestKept {
        /// Which.
        number: LocalNumber,
    },
    /// The operator wants something of this node.
    Order(Order),
}

/// An operator's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Give the leadership to another voter, if this node has it: this one, or
    /// the fittest.
    HandOver {
        /// To whom.
        to: Option<NodeId>,
    },
    /// This node is about to end: let it hand over what it has, and stand for
    /// nothing more. The host waits until [`crate::driver::Driver::may_end`].
    Stop,
    /// Save a snapshot now, whatever the log's size.
    Snapshot,
}
