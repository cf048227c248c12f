//! The file that says whose a data directory is. Read before anything else in
//! it, so that a directory of another cluster, node or version is refused with
//! a word about what it is.
//!
//! `magic u32 | version u16 | name_bytes u16 | cluster 16 | node u64 | incarnation u64 | name | crc u32`

use crate::ids::{ClusterId, NodeId};
use crate::limits::PROJECT_BYTES_MAX;
use crate::wire::Fields;
use crate::wire::record::{FORMAT_VERSION, LogIdentity};

const MAGIC: [u8; 4] = *b"PRID";

/// Whose a data directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityFile {
    /// Whose log is in it.
    pub log: LogIdentity,
    /// What people call the cluster (the project of an embedded one). Only for messages.
    pub name: String,
}

/// Why bytes are not an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    /// Of another version of the program.
    #[error(
        "the data directory has format version {found}; this program knows {FORMAT_VERSION}: use the version that wrote it, or another directory"
    )]
    OtherVersion {
        /// Its version.
        found: u16,
    },
    /// Damaged, or no identity file.
    #[error(
        "the identity file is damaged ({bytes} bytes); restore it, or remove the voter and add it anew"
    )]
    Damaged {
        /// Its length.
        bytes: u64,
    },
}

impl IdentityFile {
    /// The file's bytes. A name that is too long is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name = &self.name[..self.name.floor_char_boundary(PROJECT_BYTES_MAX as usize)];
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&self.log.cluster.0);
        bytes.extend_from_slice(&self.log.node.0.to_le_bytes());
        bytes.extend_from_slice(&self.log.incarnation.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<IdentityFile, IdentityError> {
        let damaged = IdentityError::Damaged {
            bytes: bytes.len() as u64,
        };
        let (checked, crc) = bytes.split_last_chunk::<4>().ok_or(damaged)?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(checked) {
            return Err(damaged);
        }
        let mut fields = Fields(checked);
        if fields.bytes() != Some(MAGIC) {
            return Err(damaged);
        }
        match fields.u16() {
            Some(FORMAT_VERSION) => IdentityFile::fields(&mut fields).ok_or(damaged),
            Some(found) => Err(IdentityError::OtherVersion { found }),
            None => Err(damaged),
        }
    }

    fn fields(fields: &mut Fields<'_>) -> Option<IdentityFile> {
        let name_bytes = fields.u16()?;
        let cluster = ClusterId(fields.bytes()?);
        let (node, incarnation) = (NodeId(fields.u64()?), fields.u64()?);
        if u64::from(name_bytes) > PROJECT_BYTES_MAX {
            return None;
        }
        let name = std::str::from_utf8(fields.slice(usize::from(name_bytes))?)
            .ok()?
            .to_owned();
        let log = LogIdentity {
            cluster,
            node,
            incarnation,
        };
        fields.0.is_empty().then_some(IdentityFile { log, name })
    }
}

#[cfg(test)]
mod tests;
