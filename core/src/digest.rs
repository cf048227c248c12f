//! BLAKE3 digests: the identity of content, results, contexts and state.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 256-bit BLAKE3 digest. Ordered bytewise, so that it can be a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of nothing in particular: the start of a chain.
    pub const ZERO: Digest = Digest([0; 32]);

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of several parts, each preceded by its length, so that no two
    /// different lists of parts are one string of bytes. `domain` keeps
    /// digests made for different purposes apart.
    #[must_use]
    pub fn of_parts(domain: &'static str, parts: &[&[u8]]) -> Digest {
        let mut hasher = DigestBuilder::new(domain);
        for part in parts {
            hasher.part(part);
        }
        hasher.finish()
    }
}

/// Builds a [`Digest`] of parts that are not all in memory at once.
#[derive(Debug, Clone)]
pub struct DigestBuilder(blake3::Hasher);

impl DigestBuilder {
    /// Starts a digest for one purpose.
    #[must_use]
    pub fn new(domain: &'static str) -> DigestBuilder {
        DigestBuilder(blake3::Hasher::new_derive_key(domain))
    }

    /// Adds one part, length first.
    pub fn part(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// The digest of all parts so far.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Writes the bytes of a digest, or some of them, all at once.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    f.write_str(str::from_utf8(&text[..2 * bytes.len()]).expect("digits are ASCII"))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..6])
    }
}

/// A hash of the whole replicated state: kept up to date by every change, and
/// compared between replicas of one cluster only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StateHash(pub u128);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a digest is 64 hexadecimal digits; this has {found} characters or a character that is no digit"
)]
pub struct DigestError {
    /// How many characters were found.
    pub found: u64,
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let error = DigestError {
            found: text.chars().count() as u64,
        };
        if text.len() != 64 {
            return Err(error);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(error);
            };
            *byte = (high * 16 + low) as u8;
        }
        Ok(Digest(bytes))
    }
}
