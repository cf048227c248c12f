//! The bytes of everything that leaves a node or its memory: postcard behind a
//! version byte, bounded, checked. Sockets, disks and the simulator share it.
//! Knows no configuration and no state.

pub mod command;
mod entries;
pub mod frame;
pub mod hello;
pub mod identity;
pub mod log_map;
pub mod log_writer;
pub mod membership;
pub mod message;
pub mod record;
pub mod recover;
pub mod relay;
pub mod snapshot;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

/// Why bytes are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("there are no bytes")]
    Empty,
    /// Made by a version that this one does not know.
    #[error("version {found}; version {expected} was agreed on, or is the one that is read")]
    Version {
        /// Which version it is.
        found: u8,
        /// Which would be right.
        expected: u8,
    },
    /// Not an encoding of the type.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    Trailing(u64),
    /// A part is beyond its bound.
    #[error("{what} is {found}; the limit is {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// How large.
        found: u64,
        /// The bound.
        limit: u64,
    },
}

/// Is a part within its bound?
fn bound(what: &'static str, found: u64, limit: u64) -> Result<(), DecodeError> {
    if found > limit {
        return Err(DecodeError::TooLarge { what, found, limit });
    }
    Ok(())
}

/// `version`, then the value.
fn encode<T: serde::Serialize>(version: u8, value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![version])
        .expect("our own types are plain data: a vector takes them all")
}

/// The value behind `version`, if nothing is left over.
fn decode<T: serde::de::DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = decode_first(version, bytes)?;
    match rest.len() {
        0 => Ok(value),
        count => Err(DecodeError::Trailing(count as u64)),
    }
}

/// The value behind `version`, and what follows it.
fn decode_first<T: serde::de::DeserializeOwned>(
    version: u8,
    bytes: &[u8],
) -> Result<(T, &[u8]), DecodeError> {
    let (found, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *found != version {
        return Err(DecodeError::Version {
            found: *found,
            expected: version,
        });
    }
    postcard::take_from_bytes(rest).map_err(|error| DecodeError::Malformed(error.to_string()))
}

/// Reads fixed-size integers from a slice; `None` once it is too short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }
}
