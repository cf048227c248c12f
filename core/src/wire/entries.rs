//! The entries of one message, from wire version 2 on. They are consecutive,
//! mostly of one term, and each carries the hash of the log before it: nearly
//! everything but the bodies follows from what stands before. What does not is
//! said, so that any list comes back as it was.
//!
//! ```text
//! entries  count varint | entry … | end u64
//! entry    head varint | term varint, if marked | chain u64, if marked | body
//! head     body bytes << 3 | chain is given << 2 | term is given << 1 | is a membership
//! ```
//!
//! The first entry's chain is always given. `end` is the hash of the log *after*
//! the last entry: with it the receiver knows that every derived link, and every
//! body, is the sender's. A list with a link that does not follow from the entry
//! before it (a damaged leader's) is carried as it is, for the follower to judge.

use super::DecodeError;
use crate::bytes::Bytes;
use crate::entry::{ChainHash, EntryKind, LogEntry};
use crate::ids::Term;
use crate::limits::{APPEND_ENTRIES_MAX, ENTRY_BYTES_MAX};
use crate::message::LogPosition;

const MEMBERSHIP: u64 = 1;
const TERM_GIVEN: u64 = 1 << 1;
const CHAIN_GIVEN: u64 = 1 << 2;
const FLAG_BITS: u32 = 3;

/// Appends the entries that follow `previous` to `out`.
///
/// # Panics
/// If they do not follow it one by one: our own error.
pub(super) fn encode(previous: LogPosition, entries: &[LogEntry], out: &mut Vec<u8>) {
    put_varint(entries.len() as u64, out);
    let (mut position, mut derived) = (previous, None);
    for entry in entries {
        let LogEntry {
            index,
            term,
            chain,
            kind,
            body,
        } = entry;
        assert_eq!(
            Some(index.0),
            position.index.0.checked_add(1),
            "the entries of a message follow each other"
        );
        let mut head = body.count() << FLAG_BITS;
        head |= match kind {
            EntryKind::Command => 0,
            EntryKind::Membership => MEMBERSHIP,
        };
        let (new_term, new_chain) = (*term != position.term, derived != Some(*chain));
        head |= if new_term { TERM_GIVEN } else { 0 };
        head |= if new_chain { CHAIN_GIVEN } else { 0 };
        put_varint(head, out);
        if new_term {
            put_varint(term.0, out);
        }
        if new_chain {
            out.extend_from_slice(&chain.0.to_le_bytes());
        }
        out.extend_from_slice(body);
        (position.index, position.term) = (*index, *term);
        derived = Some(entry.chain_after());
    }
    if let Some(end) = derived {
        out.extend_from_slice(&end.0.to_le_bytes());
    }
}

/// The entries that follow `previous`, of all of `bytes`.
///
/// # Errors
/// If the bytes are no such list within its bounds, or not what was sent.
pub(super) fn decode(previous: LogPosition, bytes: &[u8]) -> Result<Vec<LogEntry>, DecodeError> {
    let mut rest = bytes;
    let count = varint(&mut rest)?;
    if count > APPEND_ENTRIES_MAX {
        return Err(DecodeError::TooLarge {
            what: "a message's entry count",
            found: count,
            limit: APPEND_ENTRIES_MAX,
        });
    }
    // What is announced need not come: an entry takes a byte at the least.
    let mut entries: Vec<LogEntry> = Vec::with_capacity(rest.len().min(count as usize));
    let (mut position, mut derived) = (previous, None);
    for _ in 0..count {
        let head = varint(&mut rest)?;
        let body_bytes = head >> FLAG_BITS;
        if body_bytes > ENTRY_BYTES_MAX {
            return Err(DecodeError::TooLarge {
                what: "an entry's body",
                found: body_bytes,
                limit: ENTRY_BYTES_MAX,
            });
        }
        if head & TERM_GIVEN != 0 {
            position.term = Term(varint(&mut rest)?);
        }
        let chain = match derived {
            _ if head & CHAIN_GIVEN != 0 => take_chain(&mut rest)?,
            Some(derived) => derived,
            None => return Err(malformed("the first entry's link is not given")),
        };
        let body = take(&mut rest, body_bytes)?;
        let index = position.index.0.checked_add(1);
        position.index.0 = index.ok_or_else(|| malformed("an entry behind the last index"))?;
        let entry = LogEntry {
            index: position.index,
            term: position.term,
            chain,
            kind: match head & MEMBERSHIP {
                0 => EntryKind::Command,
                _ => EntryKind::Membership,
            },
            body: Bytes::from(body),
        };
        derived = Some(entry.chain_after());
        entries.push(entry);
    }
    if let Some(derived) = derived {
        let end = take_chain(&mut rest)?;
        if end != derived {
            return Err(DecodeError::Malformed(format!(
                "the entries end with hash {derived} and were sent with {end}"
            )));
        }
    }
    match rest.len() {
        0 => Ok(entries),
        count => Err(DecodeError::Trailing(count as u64)),
    }
}

fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed(what.to_owned())
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number in the fewest bytes: another spelling of it is refused.
fn varint(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, after) = rest
            .split_first()
            .ok_or_else(|| malformed("the entries end too early"))?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if bits.leading_zeros() < shift || (*byte == 0 && shift > 0) {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number has bytes too many"))
}

fn take<'a>(rest: &mut &'a [u8], count: u64) -> Result<&'a [u8], DecodeError> {
    let split = usize::try_from(count)
        .ok()
        .and_then(|count| rest.split_at_checked(count));
    let (taken, after) = split.ok_or_else(|| malformed("the entries end too early"))?;
    *rest = after;
    Ok(taken)
}

fn take_chain(rest: &mut &[u8]) -> Result<ChainHash, DecodeError> {
    let (bytes, after) = rest
        .split_first_chunk()
        .ok_or_else(|| malformed("the entries end too early"))?;
    *rest = after;
    Ok(ChainHash(u64::from_le_bytes(*bytes)))
}

#[cfg(test)]
mod tests;
