//! The body of a log entry.

use super::DecodeError;
use crate::bytes::Bytes;
use crate::command::Entry;
use crate::limits::ENTRY_BYTES_MAX;

/// The version of the encoding below.
const VERSION: u8 = 1;

/// The bytes of an entry.
#[must_use]
pub fn encode(entry: &Entry) -> Bytes {
    super::encode(VERSION, entry).into()
}

/// The entry of bytes.
///
/// # Errors
/// If they are not a whole entry of this version within its bound.
pub fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
    let found = bytes.len() as u64;
    if found > ENTRY_BYTES_MAX {
        return Err(DecodeError::TooLarge {
            what: "an entry's body",
            found,
            limit: ENTRY_BYTES_MAX,
        });
    }
    super::decode(VERSION, bytes)
}
