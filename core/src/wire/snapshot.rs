//! The framing of a snapshot file: a header, chunks with a checksum each, and
//! a footer with the digest of the whole. A file without a good footer is no
//! snapshot, however good its beginning. What the state in it means is for the
//! queue.
//!
//! ```text
//! header  magic u32 | version u16 | meta_bytes u16 | cluster 16 | meta | crc u32
//! chunk   len u32 (not 0) | crc u32 | bytes
//! footer  0 u32 | total u64 | digest 32 | crc u32
//! ```

use crate::digest::{Digest, DigestBuilder};
use crate::ids::ClusterId;
use crate::snapshot::SnapshotMeta;
use crate::wire::Fields;
use crate::wire::record::FORMAT_VERSION;

const MAGIC: [u8; 4] = *b"PRSN";
const DIGEST_DOMAIN: &str = "precentor snapshot 1";
/// Bytes of the header before its variable part.
const HEAD_BYTES: usize = 4 + 2 + 2 + 16;

/// Largest chunk of a snapshot, in bytes.
pub const SNAPSHOT_CHUNK_BYTES_MAX: u64 = 1024 * 1024;

/// What a snapshot file says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotHeader {
    /// Whose state.
    pub cluster: ClusterId,
    /// Which state.
    pub meta: SnapshotMeta,
}

/// Why bytes are not a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Of another version of the program.
    #[error("the snapshot has format version {found}; this program knows {FORMAT_VERSION}")]
    OtherVersion {
        /// Its version.
        found: u16,
    },
    /// The header cannot be read.
    #[error("the snapshot's header is damaged")]
    Header,
    /// A chunk is damaged or the file ends before its footer.
    #[error("the snapshot is damaged or ends too early in the chunk at byte {offset}")]
    Chunk {
        /// Where the chunk begins.
        offset: u64,
    },
    /// The footer is damaged or does not fit the chunks.
    #[error("the snapshot's footer at byte {offset} is damaged or does not fit what is before it")]
    Footer {
        /// Where it begins.
        offset: u64,
    },
}

/// Writes a snapshot piece by piece.
#[derive(Clone, Debug)]
pub struct SnapshotEncoder {
    digest: DigestBuilder,
    total: u64,
}

impl SnapshotEncoder {
    /// Begins a snapshot: appends the header.
    #[must_use]
    pub fn begin(header: &SnapshotHeader, out: &mut Vec<u8>) -> SnapshotEncoder {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        let SnapshotHeader { cluster, meta } = header;
        let meta = postcard::to_allocvec(meta)
            .expect("our own types are plain data: a vector takes them all");
        let meta_bytes =
            u16::try_from(meta.len()).expect("a bounded number of members takes few bytes");
        out.extend_from_slice(&meta_bytes.to_le_bytes());
        out.extend_from_slice(&cluster.0);
        out.extend_from_slice(&meta);
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        let mut digest = DigestBuilder::new(DIGEST_DOMAIN);
        digest.part(&out[start..]);
        SnapshotEncoder { digest, total: 0 }
    }

    /// Appends some of the state, in chunks that are not too large.
    pub fn state(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for chunk in bytes.chunks(SNAPSHOT_CHUNK_BYTES_MAX as usize) {
            self.digest.part(chunk);
            self.total += chunk.len() as u64;
            out.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
            out.extend_from_slice(&crc32c::crc32c(chunk).to_le_bytes());
            out.extend_from_slice(chunk);
        }
    }

    /// Ends the snapshot: appends the footer.
    pub fn finish(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.total.to_le_bytes());
        out.extend_from_slice(&self.digest.finish().0);
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// The header's meaning, and how long it is.
fn split_header(bytes: &[u8]) -> Result<(SnapshotHeader, usize), SnapshotError> {
    let mut fields = Fields(bytes);
    if fields.bytes() != Some(MAGIC) {
        return Err(SnapshotError::Header);
    }
    let version = fields.u16().ok_or(SnapshotError::Header)?;
    let meta_bytes = usize::from(fields.u16().ok_or(SnapshotError::Header)?);
    let checked_bytes = HEAD_BYTES + meta_bytes;
    let (checked, rest) = bytes
        .split_at_checked(checked_bytes)
        .ok_or(SnapshotError::Header)?;
    if Fields(rest).u32() != Some(crc32c::crc32c(checked)) {
        return Err(SnapshotError::Header);
    }
    if version != FORMAT_VERSION {
        return Err(SnapshotError::OtherVersion { found: version });
    }
    let mut fields = Fields(&checked[8..]);
    let header = header_of(&mut fields).ok_or(SnapshotError::Header)?;
    Ok((header, checked_bytes + 4))
}

fn header_of(fields: &mut Fields<'_>) -> Option<SnapshotHeader> {
    let cluster = ClusterId(fields.bytes()?);
    let meta: SnapshotMeta = postcard::from_bytes(fields.0).ok()?;
    meta.membership.check().ok()?;
    Some(SnapshotHeader { cluster, meta })
}

/// Checks a whole snapshot file and returns what it stands for and the state
/// in it. Either all of it is good or there is no snapshot.
pub fn decode_snapshot(bytes: &[u8]) -> Result<(SnapshotHeader, Vec<u8>), SnapshotError> {
    let beginning = decode_beginning(bytes)?;
    let offset = beginning.file_bytes;
    let rest = &bytes[offset as usize..];
    if Fields(rest).u32() != Some(0) {
        return Err(SnapshotError::Chunk { offset });
    }
    let SnapshotEncoder { digest, total } = beginning.encoder;
    match read_footer(rest) {
        Some((found, sum)) if found == total && sum == digest.finish() => {
            Ok((beginning.header, beginning.state))
        }
        Some(_) | None => Err(SnapshotError::Footer { offset }),
    }
}

/// What can be read of a snapshot file that was cut off anywhere.
#[derive(Clone, Debug)]
pub struct SnapshotBeginning {
    /// What the file stands for.
    pub header: SnapshotHeader,
    /// The state in its good chunks: all before the first that is not good.
    pub state: Vec<u8>,
    /// Where the last of them ends in the file.
    pub file_bytes: u64,
    /// Goes on from there.
    pub encoder: SnapshotEncoder,
}

/// Reads as much of a snapshot file as is good. Its footer is no part of that.
///
/// # Errors
/// If not even the header is good.
pub fn decode_beginning(bytes: &[u8]) -> Result<SnapshotBeginning, SnapshotError> {
    let (header, header_bytes) = split_header(bytes)?;
    let (head, mut rest) = bytes.split_at(header_bytes);
    let mut digest = DigestBuilder::new(DIGEST_DOMAIN);
    digest.part(head);
    let mut state = Vec::new();
    while let Some((chunk, after)) = split_chunk(rest) {
        digest.part(chunk);
        state.extend_from_slice(chunk);
        rest = after;
    }
    let total = state.len() as u64;
    Ok(SnapshotBeginning {
        header,
        state,
        file_bytes: (bytes.len() - rest.len()) as u64,
        encoder: SnapshotEncoder { digest, total },
    })
}

fn split_chunk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = Fields(bytes);
    let head = ChunkHead::read(&fields.bytes()?)?;
    let chunk = fields.slice(head.chunk_bytes as usize)?;
    head.fits(chunk).then_some((chunk, fields.0))
}

/// Longest header of a snapshot file, in bytes.
pub const SNAPSHOT_HEADER_BYTES_MAX: u64 = HEAD_BYTES as u64 + u16::MAX as u64 + 4;
/// The footer's length, in bytes.
pub const SNAPSHOT_FOOTER_BYTES: u64 = 4 + 8 + 32 + 4;

/// Reads the header alone, from the first [`SNAPSHOT_HEADER_BYTES_MAX`] of a
/// file: what it claims to be, and where its first chunk begins.
///
/// # Errors
/// If it is damaged, or of another version.
pub fn read_snapshot_header(bytes: &[u8]) -> Result<(SnapshotHeader, u64), SnapshotError> {
    split_header(bytes).map(|(header, header_bytes)| (header, header_bytes as u64))
}

/// What stands before each chunk: lets a reader go from one to the next without
/// reading what is between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkHead {
    /// Length of the chunk.
    pub chunk_bytes: u32,
    crc: u32,
}

impl ChunkHead {
    /// Its length.
    pub const BYTES: u64 = 8;

    /// Reads it; none if there is no chunk, but the footer or nothing sensible.
    #[must_use]
    pub fn read(bytes: &[u8; ChunkHead::BYTES as usize]) -> Option<ChunkHead> {
        let mut fields = Fields(bytes);
        let (chunk_bytes, crc) = (fields.u32()?, fields.u32()?);
        let sensible = chunk_bytes > 0 && u64::from(chunk_bytes) <= SNAPSHOT_CHUNK_BYTES_MAX;
        sensible.then_some(ChunkHead { chunk_bytes, crc })
    }

    /// Are these the bytes that were written behind it?
    #[must_use]
    pub fn fits(&self, chunk: &[u8]) -> bool {
        chunk.len() as u64 == u64::from(self.chunk_bytes) && crc32c::crc32c(chunk) == self.crc
    }
}

/// Reads a file's last [`SNAPSHOT_FOOTER_BYTES`]: how long the state is, and the
/// digest of the whole. None if they are no footer.
#[must_use]
pub fn read_footer(bytes: &[u8]) -> Option<(u64, Digest)> {
    let (checked, crc) = bytes.split_last_chunk::<4>()?;
    let mut fields = Fields(checked);
    let mark = fields.u32()?;
    let (total, digest) = (fields.u64()?, Digest(fields.bytes()?));
    let good =
        mark == 0 && fields.0.is_empty() && u32::from_le_bytes(*crc) == crc32c::crc32c(checked);
    good.then_some((total, digest))
}

#[cfg(test)]
mod tests;
