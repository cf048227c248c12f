//! The bytes of everything that leaves a node or its memory: postcard behind a
//! version byte, bounded, checked. Sockets, disks and the simulator share it.
//! Knows no configuration and no state.

pub mod command;
pub mod message;

#[cfg(test)]
mod tests;

/// Why bytes are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("there are no bytes")]
    Empty,
    /// Made by a version that this one does not know.
    #[error("version {found}; this program reads version {expected}")]
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

/// `version`, then the value.
fn encode<T: serde::Serialize>(version: u8, value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![version]).expect("our own types are plain data: a vector takes them all")
}

/// The value behind `version`, if nothing is left over.
fn decode<T: serde::de::DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, DecodeError> {
    let (found, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *found != version {
        return Err(DecodeError::Version { found: *found, expected: version });
    }
    let (value, rest) = postcard::take_from_bytes(rest)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    match rest.len() {
        0 => Ok(value),
        count => Err(DecodeError::Trailing(count as u64)),
    }
}
