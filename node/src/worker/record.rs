//! The form in which a record is stored and sent: a version byte, the length
//! of what follows when unpacked, and zstd over postcard. Also makes a record
//! that is too large fit, and says so in it.

use std::cell::RefCell;

use precentor_core::context::ContextRecord;
use precentor_core::limits::RESULT_BYTES_MAX;
use zstd::bulk::{Compressor, Decompressor};

/// The first byte of every stored record.
const FORMAT_VERSION: u8 = 1;
/// Largest record when unpacked, in bytes: more could only come from damage or malice.
const UNPACKED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Version byte and unpacked length.
const HEADER_BYTES: usize = 5;

#[cfg(test)]
mod tests;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Why stored bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Nothing, or not even a header.
    #[error("a stored record has at least {HEADER_BYTES} bytes; this has {found}")]
    TooShort {
        /// How many there are.
        found: u64,
    },
    /// Written by another version.
    #[error(
        "the record has format {found}; this version reads format {FORMAT_VERSION}; generate it again"
    )]
    OtherFormat {
        /// Its format.
        found: u8,
    },
    /// Claims to be larger than any record.
    #[error(
        "the record claims to be {found} bytes unpacked; the limit is {UNPACKED_BYTES_MAX}; it is damaged"
    )]
    TooLarge {
        /// What it claims.
        found: u64,
    },
    /// The bytes are not what was written.
    #[error("the record is damaged: {reason}")]
    Damaged {
        /// What failed.
        reason: String,
    },
}

/// The stored form of `record`, shortened to [`RESULT_BYTES_MAX`] if it must be.
#[must_use]
pub fn encode(record: &ContextRecord) -> Vec<u8> {
    encode_within(record, RESULT_BYTES_MAX)
}

/// The stored form of `record` in at most `bytes_max`: the symbols and children
/// of least rank are left out until it fits, and a warning says how many.
#[must_use]
pub fn encode_within(record: &ContextRecord, bytes_max: u64) -> Vec<u8> {
    let fits = |bytes: &Vec<u8>, unpacked: u64| {
        bytes.len() as u64 <= bytes_max && unpacked <= UNPACKED_BYTES_MAX
    };
    let (bytes, unpacked) = pack(record);
    if fits(&bytes, unpacked) {
        return bytes;
    }
    let mut short = record.clone();
    // Every round halves the largest list; a record without lists fits any sensible limit.
    for _ in 0..64 {
        halve_largest(&mut short);
        let mut told = short.clone();
        tell_dropped(record, &mut told);
        let (bytes, unpacked) = pack(&told);
        if fits(&bytes, unpacked) {
            return bytes;
        }
    }
    let mut bare = ContextRecord::new(
        record.uri.clone(),
        record.kind,
        record.content_digest,
        record.provenance.clone(),
    );
    bare.warnings.push(format!(
        "this record does not fit in {bytes_max} bytes in any useful form"
    ));
    pack(&bare).0
}

/// Reads the stored form.
///
/// # Errors
/// If the bytes are not a record of this format. Never panics, and never takes
/// more memory than the limit on unpacked records.
pub fn decode(bytes: &[u8]) -> Result<ContextRecord, RecordError> {
    let found = bytes.len() as u64;
    let (header, packed) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or(RecordError::TooShort { found })?;
    if header[0] != FORMAT_VERSION {
        return Err(RecordError::OtherFormat { found: header[0] });
    }
    let unpacked = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
    if u64::from(unpacked) > UNPACKED_BYTES_MAX {
        return Err(RecordError::TooLarge {
            found: u64::from(unpacked),
        });
    }
    let damaged = |reason: String| RecordError::Damaged { reason };
    let plain = Decompressor::new()
        .and_then(|mut decompressor| decompressor.decompress(packed, unpacked as usize))
        .map_err(|error| damaged(error.to_string()))?;
    if plain.len() != unpacked as usize {
        return Err(damaged(format!(
            "{} bytes unpacked instead of {unpacked}",
            plain.len()
        )));
    }
    let (record, rest) = postcard::take_from_bytes::<ContextRecord>(&plain)
        .map_err(|error| damaged(error.to_string()))?;
    if !rest.is_empty() {
        return Err(damaged(format!("{} bytes too many", rest.len())));
    }
    Ok(record)
}

/// The stored form, whatever its size, and its size when unpacked.
fn pack(record: &ContextRecord) -> (Vec<u8>, u64) {
    let plain =
        postcard::to_allocvec(record).expect("a record has only types that postcard can write");
    let mut bytes = vec![FORMAT_VERSION];
    let unpacked = plain.len() as u64;
    bytes.extend_from_slice(&u32::try_from(unpacked).unwrap_or(u32::MAX).to_le_bytes());
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = slot.get_or_insert_with(|| {
            Compressor::new(1)
                .expect("a compressor needs only memory, and without it the process ends anyway")
        });
        let packed = compressor
            .compress(&plain)
            .expect("the output is as large as zstd asks for");
        bytes.extend_from_slice(&packed);
    });
    (bytes, unpacked)
}

fn halve_largest(record: &mut ContextRecord) {
    let lists = [
        record.symbols.len(),
        record.children.len(),
        record.surface.len(),
        record.references.len(),
        record.imports.len(),
        record.exports.len(),
        record.incomplete.len(),
        record.warnings.len(),
        record.commands.len() + record.entry_points.len(),
    ];
    let largest = (0..lists.len())
        .rev()
        .max_by_key(|list| lists[*list])
        .unwrap_or(0);
    let half = lists[largest] / 2;
    match largest {
        0 => {
            let mut ranks: Vec<u32> = record.symbols.iter().map(|symbol| symbol.rank).collect();
            ranks.sort_unstable_by_key(|rank| std::cmp::Reverse(*rank));
            let least = ranks.get(half).copied().unwrap_or(0);
            let mut room = half;
            // Those above the middle rank, and of that rank the first ones, in source order.
            let above = ranks.iter().take_while(|rank| **rank > least).count();
            let mut equal = half.saturating_sub(above);
            record.symbols.retain(|symbol| {
                let keep = symbol.rank > least || (symbol.rank == least && equal > 0);
                if keep && symbol.rank == least {
                    equal -= 1;
                }
                let keep = keep && room > 0;
                room -= usize::from(keep);
                keep
            });
        }
        1 => record.children.truncate(half),
        2 => record.surface.truncate(half),
        3 => record.references.truncate(half),
        4 => record.imports.truncate(half),
        5 => record.exports.truncate(half),
        6 => record.incomplete.truncate(half),
        7 => record.warnings.truncate(half),
        _ => {
            record.commands.truncate(half);
            record.entry_points.truncate(half);
        }
    }
}

fn tell_dropped(whole: &ContextRecord, short: &mut ContextRecord) {
    let dropped = [
        ("symbols", whole.symbols.len() - short.symbols.len()),
        ("children", whole.children.len() - short.children.len()),
        ("surface symbols", whole.surface.len() - short.surface.len()),
        (
            "references",
            whole.references.len() - short.references.len(),
        ),
        ("imports", whole.imports.len() - short.imports.len()),
        ("exports", whole.exports.len() - short.exports.len()),
    ];
    let parts: Vec<String> = dropped
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    let parts = if parts.is_empty() {
        "some lists".to_owned()
    } else {
        parts.join(", ")
    };
    short.warnings.push(format!(
        "left out to fit the size limit of a record: {parts} of least rank"
    ));
}
