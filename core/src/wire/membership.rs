//! A membership as the body of its log entry.

use super::DecodeError;
use crate::bytes::Bytes;
use crate::limits::NAME_BYTES_MAX;
use crate::membership::MembershipEntry;

/// The version of the encoding below.
const VERSION: u8 = 1;

/// The bytes of a membership's entry.
#[must_use]
pub fn encode(entry: &MembershipEntry) -> Bytes {
    super::encode(VERSION, entry).into()
}

/// The membership's entry of bytes.
///
/// # Errors
/// If they are none, or one of a membership that could not have come about.
pub fn decode(bytes: &[u8]) -> Result<MembershipEntry, DecodeError> {
    let entry: MembershipEntry = super::decode(VERSION, bytes)?;
    let found = entry.principal.0.len() as u64;
    if found > NAME_BYTES_MAX {
        return Err(DecodeError::TooLarge {
            what: "the principal's name",
            found,
            limit: NAME_BYTES_MAX,
        });
    }
    match entry.membership.check() {
        Ok(()) => Ok(entry),
        Err(error) => Err(DecodeError::Malformed(error.to_string())),
    }
}
