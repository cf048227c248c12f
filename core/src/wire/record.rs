//! One record of the log on disk, and the header of a segment file. Knows how
//! a record looks and whether it is whole; what a sequence of them means is
//! for [`super::recover`].
//!
//! ```text
//!  0 magic u32 | 4 version u16 | 6 kind u8 | 7 zero u8 | 8 body_bytes u32 | 12 body_crc u32
//! 16 segment u64 | 24 record u64 | 32 durable u64 | 40 term u64 | 48 index u64
//! 56 previous u32 | 60 header_crc u32 | 64 body
//! body of an entry: 0 chain u64 | 8 kind u8 | 9 the entry's own body
//! ```
//! All little-endian. The header has a checksum of its own and holds the
//! body's: index and term of a record are known even when its body is not
//! ("Protocol-aware recovery", FAST'18), and as `previous` is the header
//! checksum of the record before, the chain covers bodies too.
//!
//! * `record` numbers the records of a log without gap, over all kinds and
//!   segments. `durable` is the highest number known to be synced when this one
//!   was written. That is the witness which tells a torn tail from corruption:
//!   by number and not by log index, because a hard state has no index and an
//!   index is used again after a truncation.
//! * The header checksum is salted with cluster, node and incarnation, and
//!   `segment` is the file's own number: a record in a swapped, copied or
//!   recycled file is no record.
//!
//! A write begins at a block boundary, so that it never shares a block with
//! one that was acknowledged before; its records follow each other without
//! padding, and zeros fill its last block.

use crate::entry::{ChainHash, EntryKind, HardState, LogEntry};
use crate::ids::{ClusterId, LogIndex, NodeId, Term};
use crate::limits::ENTRY_BYTES_MAX;
use crate::wire::Fields;

/// The unit that a write is aligned and padded to.
pub const BLOCK_BYTES: u32 = 4_096;
/// Bytes of a record before its body.
pub const HEADER_BYTES: u32 = 64;
/// The format that this code writes and reads.
pub const FORMAT_VERSION: u16 = 2;
/// "PRLR", little-endian.
pub const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"PRLR");

const _: () = assert!(
    ENTRY_BYTES_MAX < u32::MAX as u64 / 2,
    "offsets within a segment are u32"
);

/// Whose log it is. An incarnation is one life of a data directory: drawn
/// at random when it is made, so that nobody outside can guess the salt and
/// a copy put back under a newer directory's files is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The voter.
    pub node: NodeId,
    /// The life of its data directory.
    pub incarnation: u64,
}

impl LogIdentity {
    /// What the checksums of this log's record headers start from.
    #[must_use]
    pub fn salt(&self) -> u32 {
        let mut salt = crc32c::crc32c(&self.cluster.0);
        salt = crc32c::crc32c_append(salt, &self.node.0.to_le_bytes());
        crc32c::crc32c_append(salt, &self.incarnation.to_le_bytes())
    }
}

/// What a record is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The first record of a segment file: whose it is, and the hard state.
    Segment,
    /// A log entry.
    Entry,
    /// Term, vote, commit, and what is being repaired.
    HardState,
    /// The same again in a block of its own, when term or vote changed: one
    /// damaged sector must not make a voter forget its vote.
    HardStateCopy,
    /// Entries from `index` on are no more; `term` is that of the entry before.
    Truncate,
    /// All entries are replaced by a snapshot up to `index`, of `term`.
    Reset,
    /// Says nothing but that everything before it is durable, and that the
    /// last entry is `index`, of `term`.
    Mark,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Segment => 1,
            Kind::Entry => 2,
            Kind::HardState => 3,
            Kind::HardStateCopy => 4,
            Kind::Truncate => 5,
            Kind::Reset => 6,
            Kind::Mark => 7,
        }
    }

    fn of(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Segment,
            2 => Kind::Entry,
            3 => Kind::HardState,
            4 => Kind::HardStateCopy,
            5 => Kind::Truncate,
            6 => Kind::Reset,
            7 => Kind::Mark,
            _ => return None,
        })
    }
}

/// The fields of a record's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What it is for.
    pub kind: Kind,
    /// Length of the body.
    pub body_bytes: u32,
    /// Checksum of the body.
    pub body_crc: u32,
    /// Number of the file it belongs into.
    pub segment: u64,
    /// Its number in the log.
    pub record: u64,
    /// Number of the last record that was durable when it was written.
    pub durable: u64,
    /// Of the entry, or of the hard state.
    pub term: Term,
    /// Of the entry, the truncation, the commit or the last entry.
    pub index: LogIndex,
    /// Header checksum of the record before.
    pub previous: u32,
}

/// Why bytes are not the header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderFault {
    /// Fewer bytes than a header has.
    Short,
    /// Not a record, or a damaged one.
    Unreadable,
    /// Whole, but of a format that this code does not know.
    OtherVersion(u16),
    /// Whole, but of an unknown kind or with an impossible length.
    Senseless,
}

impl Header {
    /// Writes the header for `body` and returns its checksum.
    pub(crate) fn write(&self, salt: u32, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(&RECORD_MAGIC.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[self.kind.code(), 0]);
        out.extend_from_slice(&self.body_bytes.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        for number in [
            self.segment,
            self.record,
            self.durable,
            self.term.0,
            self.index.0,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.previous.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads a header, and its checksum, from the beginning of `bytes`.
    pub fn read(salt: u32, bytes: &[u8]) -> Result<(Header, u32), HeaderFault> {
        let head = bytes
            .get(..HEADER_BYTES as usize)
            .ok_or(HeaderFault::Short)?;
        if !head.starts_with(&RECORD_MAGIC.to_le_bytes()) {
            return Err(HeaderFault::Unreadable);
        }
        let (checked, crc) = head.split_at(HEADER_BYTES as usize - 4);
        let computed = crc32c::crc32c_append(salt, checked);
        if crc != computed.to_le_bytes() {
            return Err(HeaderFault::Unreadable);
        }
        let mut fields = Fields(&checked[4..]);
        Header::fields(&mut fields).map(|header| (header, computed))
    }

    fn fields(fields: &mut Fields<'_>) -> Result<Header, HeaderFault> {
        let version = fields.u16().ok_or(HeaderFault::Short)?;
        if version != FORMAT_VERSION {
            return Err(HeaderFault::OtherVersion(version));
        }
        let kind = fields
            .u8()
            .and_then(Kind::of)
            .ok_or(HeaderFault::Senseless)?;
        let zero = fields.u8().ok_or(HeaderFault::Short)?;
        let mut u32 = || fields.u32().ok_or(HeaderFault::Short);
        let (body_bytes, body_crc) = (u32()?, u32()?);
        let mut u64 = || fields.u64().ok_or(HeaderFault::Short);
        let (segment, record, durable) = (u64()?, u64()?, u64()?);
        let (term, index) = (Term(u64()?), LogIndex(u64()?));
        let previous = fields.u32().ok_or(HeaderFault::Short)?;
        let sound = [segment, record, term.0, index.0]
            .into_iter()
            .all(|n| in_range(n).is_some());
        if zero != 0 || !sound || u64::from(body_bytes) > RECORD_BODY_BYTES_MAX {
            return Err(HeaderFault::Senseless);
        }
        Ok(Header {
            kind,
            body_bytes,
            body_crc,
            segment,
            record,
            durable,
            term,
            index,
            previous,
        })
    }

    /// The body behind this header at the beginning of `bytes`, if it is there and whole.
    #[must_use]
    pub fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let body = bytes
            .get(HEADER_BYTES as usize..)?
            .get(..self.body_bytes as usize)?;
        (crc32c::crc32c(body) == self.body_crc).then_some(body)
    }
}

/// Bytes before the body proper in an `Entry` record: the chain hash and the kind.
pub const ENTRY_PREFIX_BYTES: u32 = 9;

/// Largest body of a record, in bytes.
pub const RECORD_BODY_BYTES_MAX: u64 = ENTRY_BYTES_MAX + ENTRY_PREFIX_BYTES as u64;

/// What stands before an entry's body.
pub(crate) fn entry_prefix(entry: &LogEntry) -> [u8; ENTRY_PREFIX_BYTES as usize] {
    let mut prefix = [0; ENTRY_PREFIX_BYTES as usize];
    prefix[..8].copy_from_slice(&entry.chain.0.to_le_bytes());
    prefix[8] = entry.kind as u8;
    prefix
}

/// The entry of an `Entry` record with this body, if it is one.
#[must_use]
pub fn read_entry(header: &Header, body: &[u8]) -> Option<LogEntry> {
    let mut fields = Fields(body);
    let chain = ChainHash(fields.u64()?);
    let kind = EntryKind::of(fields.u8()?)?;
    Some(LogEntry {
        index: header.index,
        term: header.term,
        chain,
        kind,
        body: fields.0.into(),
    })
}

/// Length of a hard state's body: two numbers that may be missing.
pub(crate) const HARD_STATE_BYTES: u32 = 9 + 9;

/// A hard state as a record: term and commit are in the header, the vote and
/// what is being repaired are the body.
pub(crate) fn hard_state_bytes(state: &HardState) -> [u8; HARD_STATE_BYTES as usize] {
    let mut bytes = [0; HARD_STATE_BYTES as usize];
    let numbers = [
        state.vote.map(|node| node.0),
        state.repairing.map(|index| index.0),
    ];
    for (bytes, number) in bytes.chunks_mut(9).zip(numbers) {
        if let Some(number) = number {
            bytes[0] = 1;
            bytes[1..].copy_from_slice(&number.to_le_bytes());
        }
    }
    bytes
}

/// The hard state of a `HardState` record.
pub(crate) fn read_hard_state(header: &Header, body: &[u8]) -> Option<HardState> {
    let mut fields = Fields(body);
    let hard_state = HardState {
        term: header.term,
        vote: read_optional(&mut fields)?.map(NodeId),
        commit: header.index,
        repairing: read_optional(&mut fields)?.map(LogIndex),
    };
    fields.0.is_empty().then_some(hard_state)
}

/// A sound number is never near the end of the numbers: whoever adds one to it may.
fn in_range(number: u64) -> Option<u64> {
    (number < u64::MAX / 2).then_some(number)
}

fn read_optional(fields: &mut Fields<'_>) -> Option<Option<u64>> {
    match (fields.u8()?, fields.u64()?) {
        (0, 0) => Some(None),
        (1, number) => Some(Some(in_range(number)?)),
        _ => None,
    }
}

/// What the first block of a segment file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Whose log it is part of.
    pub identity: LogIdentity,
    /// Number of the file.
    pub segment: u64,
    /// Number of the last record before it.
    pub record: u64,
    /// Header checksum of that record.
    pub previous: u32,
    /// Number of the last record that was durable when it was written.
    pub durable: u64,
    /// The last entry before it.
    pub base_index: LogIndex,
    /// That entry's term.
    pub base_term: Term,
    /// The hard state as of its beginning: older files may go.
    pub hard_state: HardState,
    /// The size of the file, which never changes.
    pub segment_bytes: u32,
    /// Whether the file held another segment before, so that what follows the
    /// last record may be anything and not only zeros.
    pub recycled: bool,
}

/// Length of a segment header's body.
pub(crate) const SEGMENT_BODY_BYTES: u32 = 16 + 8 + 8 + 8 + HARD_STATE_BYTES + 8 + 4 + 1;

impl SegmentHeader {
    /// The first block of the file. Not salted: a reader must be able to say
    /// whose the file is when it is another's.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(SEGMENT_BODY_BYTES as usize);
        body.extend_from_slice(&self.identity.cluster.0);
        body.extend_from_slice(&self.identity.node.0.to_le_bytes());
        body.extend_from_slice(&self.identity.incarnation.to_le_bytes());
        body.extend_from_slice(&self.hard_state.term.0.to_le_bytes());
        body.extend_from_slice(&hard_state_bytes(&self.hard_state));
        body.extend_from_slice(&self.hard_state.commit.0.to_le_bytes());
        body.extend_from_slice(&self.segment_bytes.to_le_bytes());
        body.push(u8::from(self.recycled));
        let header = Header {
            kind: Kind::Segment,
            body_bytes: SEGMENT_BODY_BYTES,
            body_crc: crc32c::crc32c(&body),
            segment: self.segment,
            record: self.record,
            durable: self.durable,
            term: self.base_term,
            index: self.base_index,
            previous: self.previous,
        };
        let mut block = Vec::with_capacity(BLOCK_BYTES as usize);
        header.write(0, &mut block);
        block.extend_from_slice(&body);
        block.resize(BLOCK_BYTES as usize, 0);
        block
    }

    /// Reads the first block of a file.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, HeaderFault> {
        let (header, _) = Header::read(0, bytes)?;
        let body = header.body(bytes).ok_or(HeaderFault::Unreadable)?;
        if header.kind != Kind::Segment {
            return Err(HeaderFault::Senseless);
        }
        SegmentHeader::body(&header, body).ok_or(HeaderFault::Senseless)
    }

    fn body(header: &Header, body: &[u8]) -> Option<SegmentHeader> {
        let mut fields = Fields(body);
        let cluster = ClusterId(fields.bytes()?);
        let (node, incarnation) = (NodeId(fields.u64()?), fields.u64()?);
        let term = Term(fields.u64().and_then(in_range)?);
        let vote = read_optional(&mut fields)?.map(NodeId);
        let repairing = read_optional(&mut fields)?.map(LogIndex);
        let commit = LogIndex(fields.u64().and_then(in_range)?);
        let segment_bytes = fields.u32()?;
        let recycled = match fields.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        fields.0.is_empty().then_some(SegmentHeader {
            identity: LogIdentity {
                cluster,
                node,
                incarnation,
            },
            segment: header.segment,
            record: header.record,
            previous: header.previous,
            durable: header.durable,
            base_index: header.index,
            base_term: header.term,
            hard_state: HardState {
                term,
                vote,
                commit,
                repairing,
            },
            segment_bytes,
            recycled,
        })
    }
}

/// The next block boundary at or after `offset`.
#[must_use]
pub fn block_up(offset: u32) -> u32 {
    offset.next_multiple_of(BLOCK_BYTES)
}
