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

/// Reads the header alone: which snapshot a file claims to be.
pub fn read_snapshot_header(bytes: &[u8]) -> Result<SnapshotHeader, SnapshotError> {
    split_header(bytes).map(|(header, _)| header)
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
    let (header, header_bytes) = split_header(bytes)?;
    let (head, mut rest) = bytes.split_at(header_bytes);
    let mut digest = DigestBuilder::new(DIGEST_DOMAIN);
    digest.part(head);
    let mut state = Vec::new();
    loop {
        let offset = (bytes.len() - rest.len()) as u64;
        let damaged = SnapshotError::Chunk { offset };
        let mut fields = Fields(rest);
        let len = fields.u32().ok_or(damaged)?;
        if len == 0 {
            let total = state.len() as u64;
            return match footer(rest, total, &digest.finish()) {
                Some(()) => Ok((header, state)),
                None => Err(SnapshotError::Footer { offset }),
            };
        }
        if u64::from(len) > SNAPSHOT_CHUNK_BYTES_MAX {
            return Err(damaged);
        }
        let crc = fields.u32().ok_or(damaged)?;
        let chunk = fields.slice(len as usize).ok_or(damaged)?;
        if crc32c::crc32c(chunk) != crc {
            return Err(damaged);
        }
        digest.part(chunk);
        state.extend_from_slice(chunk);
        rest = fields.0;
    }
}

fn footer(bytes: &[u8], total: u64, digest: &Digest) -> Option<()> {
    let (checked, crc) = bytes.split_last_chunk::<4>()?;
    let mut fields = Fields(checked);
    fields.u32()?;
    let good = fields.u64()? == total
        && fields.bytes() == Some(digest.0)
        && fields.0.is_empty()
        && u32::from_le_bytes(*crc) == crc32c::crc32c(checked);
    good.then_some(())
}

#[cfg(test)]
mod tests;
