//! What voters say to each other, as the payload of a frame.

use super::DecodeError;
use crate::limits::{
    APPEND_ENTRIES_MAX, BODIES_FETCH_MAX, ENTRY_BYTES_MAX, FRAME_BYTES_MAX, RESULT_BYTES_MAX,
    SNAPSHOT_PIECE_BYTES_MAX,
};
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
    match &message.body {
        Body::SnapshotPiece {
            piece: Some(piece), ..
        } => bound(
            "a snapshot's piece",
            piece.bytes.count(),
            SNAPSHOT_PIECE_BYTES_MAX,
        )?,
        Body::BodiesFetch { digests } => bound(
            "a fetch's body count",
            digests.len() as u64,
            BODIES_FETCH_MAX,
        )?,
        Body::Bodies { bodies } => {
            bound("a body count", bodies.len() as u64, BODIES_FETCH_MAX)?;
            for body in bodies {
                bound("a body", body.count(), RESULT_BYTES_MAX)?;
            }
        }
        Body::SnapshotOffer(offer) => offer
            .membership
            .check()
            .map_err(|error| DecodeError::Malformed(error.to_string()))?,
        _ => {}
    }
    let (previous, entries) = match &message.body {
        Body::Append(append) => (append.previous, &append.entries),
        Body::Lend(loan) => (loan.previous, &loan.entries),
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::Vote { .. }
        | Body::VoteReply { .. }
        | Body::AppendReply(_)
        | Body::TimeoutNow
        | Body::Removed { .. }
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::SnapshotOffer(_)
        | Body::SnapshotFetch { .. }
        | Body::SnapshotPiece { .. }
        | Body::BodiesFetch { .. }
        | Body::Bodies { .. } => return Ok(message),
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
