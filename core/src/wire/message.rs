//! What voters say to each other, as the payload of a frame.

use super::DecodeError;
use crate::limits::{APPEND_ENTRIES_MAX, ENTRY_BYTES_MAX, FRAME_BYTES_MAX};
use crate::message::{Body, Message};

/// The version of the encoding below.
pub const VERSION: u8 = 1;

/// The bytes of a message.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    super::encode(VERSION, message)
}

/// The message of bytes.
///
/// # Errors
/// If they are not a whole message of this version with every part within its bound.
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let bound = |what, found: u64, limit| {
        if found > limit {
            Err(DecodeError::TooLarge { what, found, limit })
        } else {
            Ok(())
        }
    };
    bound("a message", bytes.len() as u64, FRAME_BYTES_MAX)?;
    let message: Message = super::decode(VERSION, bytes)?;
    let (previous, entries) = match &message.body {
        Body::Append(append) => (append.previous, &append.entries),
        Body::Lend(loan) => (loan.previous, &loan.entries),
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::Vote { .. }
        | Body::VoteReply { .. }
        | Body::AppendReply(_)
        | Body::TimeoutNow => return Ok(message),
    };
    bound(
        "a message's entry count",
        entries.len() as u64,
        APPEND_ENTRIES_MAX,
    )?;
    for entry in entries {
        bound("an entry's body", entry.body.count(), ENTRY_BYTES_MAX)?;
    }
    let mut least = previous.term;
    let consecutive = entries.iter().zip(previous.index.0.saturating_add(1)..);
    for (entry, expected) in consecutive {
        if entry.index.0 != expected || entry.term > message.term || entry.term < least {
            return Err(DecodeError::Malformed(format!(
                "entry {} of {} stands where {expected} of {least} to {} should",
                entry.index, entry.term, message.term
            )));
        }
        least = entry.term;
    }
    Ok(message)
}
