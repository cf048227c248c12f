//! What voters say to each other, as the payload of a frame, in each version of
//! the wire. Version 1 is every message as it is; version 2 leaves out of entries
//! what follows from those before them (`docs/decisions/0012-wire-versions.md`).

use super::hello::WireVersion;
use super::{DecodeError, bound};
use crate::entries::Entries;
use crate::entry::LogEntry;
use crate::limits::{
    APPEND_ENTRIES_MAX, BODIES_FETCH_MAX, ENTRY_BYTES_MAX, FRAME_BYTES_MAX, MESSAGE_BYTES_MAX,
    SNAPSHOT_PIECE_BYTES_MAX, SOURCE_BYTES_MAX,
};
use crate::message::{Append, Body, ForwardEnd, Loan, LogPosition, Message};

/// The bytes of a message in a wire version.
///
/// # Panics
/// If there is no such version, or entries do not follow each other: our own error.
#[must_use]
pub fn encode(message: &Message, version: WireVersion) -> Vec<u8> {
    match version {
        WireVersion::FIRST => super::encode(code(version), message),
        WireVersion::SECOND => encode_tightly(message),
        WireVersion(other) => unreachable!("wire version {other} is never agreed on"),
    }
}

/// The byte that a message of a version begins with.
fn code(version: WireVersion) -> u8 {
    u8::try_from(version.0).expect("this program speaks few versions")
}

/// Version 2: the message without its entries, and then they, in few bytes.
fn encode_tightly(message: &Message) -> Vec<u8> {
    let body = match &message.body {
        Body::Append(append) => Body::Append(Append {
            entries: Entries::default(),
            state_hash: append.state_hash.clone(),
            ..*append
        }),
        Body::Lend(loan) => Body::Lend(Loan {
            previous: loan.previous,
            entries: Entries::default(),
        }),
        _ => return super::encode(code(WireVersion::SECOND), message),
    };
    let bare = Message { body, ..*message };
    let mut bytes = super::encode(code(WireVersion::SECOND), &bare);
    if let Some((previous, entries)) = entries_of(&message.body) {
        // One allocation for all of them: heads are small, as most bodies are.
        let bodies: u64 = entries.iter().map(|entry| entry.body.count() + 3).sum();
        bytes.reserve(bodies as usize + 24);
        super::entries::encode(previous, entries, &mut bytes);
    }
    bytes
}

fn decode_tightly(bytes: &[u8]) -> Result<Message, DecodeError> {
    let (mut message, rest): (Message, _) = super::decode_first(code(WireVersion::SECOND), bytes)?;
    let (previous, entries) = match &mut message.body {
        Body::Append(append) => (append.previous, &mut append.entries),
        Body::Lend(loan) => (loan.previous, &mut loan.entries),
        _ if rest.is_empty() => return Ok(message),
        _ => return Err(DecodeError::Trailing(rest.len() as u64)),
    };
    if !entries.is_empty() {
        return Err(DecodeError::Malformed(
            "entries stand where version 2 has none".to_owned(),
        ));
    }
    *entries = super::entries::decode(previous, rest)?.into();
    Ok(message)
}

/// The entries that a message carries, and what they follow.
fn entries_of(body: &Body) -> Option<(LogPosition, &[LogEntry])> {
    match body {
        Body::Append(append) => Some((append.previous, &append.entries)),
        Body::Lend(loan) => Some((loan.previous, &loan.entries)),
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::Vote { .. }
        | Body::VoteReply { .. }
        | Body::AppendReply(_)
        | Body::TimeoutNow
        | Body::Removed { .. }
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::Forward { .. }
        | Body::Forwarded { .. }
        | Body::SnapshotOffer(_)
        | Body::SnapshotFetch { .. }
        | Body::SnapshotPiece { .. }
        | Body::BodiesFetch { .. }
        | Body::Bodies { .. } => None,
    }
}

/// The message of bytes in the version that was agreed on.
///
/// # Errors
/// If they are not a whole message of this version with every part within its bound.
pub fn decode(bytes: &[u8], version: WireVersion) -> Result<Message, DecodeError> {
    bound("a message", bytes.len() as u64, FRAME_BYTES_MAX)?;
    let message = match version {
        WireVersion::FIRST => super::decode(code(version), bytes)?,
        WireVersion::SECOND => decode_tightly(bytes)?,
        WireVersion(other) => unreachable!("wire version {other} is never agreed on"),
    };
    check(&message)?;
    Ok(message)
}

/// Is every part within its bound, and where it should be?
fn check(message: &Message) -> Result<(), DecodeError> {
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
                bound("a body", body.count(), SOURCE_BYTES_MAX)?;
            }
        }
        Body::Forward { entry, .. } => {
            bound("a forwarded request", entry.count(), ENTRY_BYTES_MAX)?;
        }
        Body::Forwarded {
            end: ForwardEnd::Refused { why },
            ..
        } => bound("a refusal's words", why.len() as u64, MESSAGE_BYTES_MAX)?,
        Body::SnapshotOffer(offer) => offer
            .membership
            .check()
            .map_err(|error| DecodeError::Malformed(error.to_string()))?,
        _ => {}
    }
    let Some((previous, entries)) = entries_of(&message.body) else {
        return Ok(());
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
    Ok(())
}
