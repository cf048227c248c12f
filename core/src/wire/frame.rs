//! Frames on a peer connection: where a message ends, and whether it arrived
//! whole. Knows nothing of what is in it.
//!
//! `[len u32][crc32c u32][body]`, little-endian; the checksum covers the length
//! and the body. TCP's own checksum lets about one error in 65,536 through.
//!
//! From wire version 2 on the checksum is a *seal*: it covers, besides, which
//! connection and direction a frame was sent on and how many went before it,
//! which both ends know and nobody sends. A frame that comes again, out of its
//! order, or over another connection does not open. That is a guard against
//! accidents (a proxy, a mixed-up buffer); against a forger stands encryption.

use twox_hash::XxHash3_64 as Hasher;

use super::hello::Hello;
use crate::limits::FRAME_BYTES_MAX;

/// Bytes before a frame's body.
pub const FRAME_HEADER_BYTES: u64 = 8;

const _: () = assert!(
    FRAME_BYTES_MAX < u32::MAX as u64,
    "a frame's length is a u32"
);

/// Why a stream of bytes is not one of frames. The connection is of no more
/// use: nothing says where the next frame begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Larger than any frame may be.
    #[error(
        "a frame of {found} bytes was announced; the limit is {FRAME_BYTES_MAX}; close the connection"
    )]
    TooLarge {
        /// What the header says.
        found: u64,
    },
    /// A frame without body.
    #[error("a frame of 0 bytes was announced; every frame has a body; close the connection")]
    Empty,
    /// The body is not what was sent.
    #[error(
        "a frame of {bytes} bytes has checksum {found:08x}, not {expected:08x}; close the connection"
    )]
    Checksum {
        /// Length of the body.
        bytes: u64,
        /// Computed.
        found: u32,
        /// Announced.
        expected: u32,
    },
    /// A frame that this connection has carried before.
    #[error("frame {frame} came again in the place of frame {expected}; close the connection")]
    Replayed {
        /// Which it is.
        frame: u64,
        /// Which was due.
        expected: u64,
    },
}

/// How far back a frame that does not open is looked for among those before it.
const REPLAYS_LOOKED_FOR: u64 = 64;

/// Names one direction of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealKey(u64);

impl SealKey {
    /// The direction from the end that said `from` to the one that said `to`.
    #[must_use]
    pub fn of(from: &Hello, to: &Hello) -> SealKey {
        let numbers = [from.from.0, from.nonce, to.from.0, to.nonce];
        let mut named = from.cluster.0.to_vec();
        named.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        SealKey(Hasher::oneshot(&named))
    }

    /// What the checksum of a frame begins with.
    fn begin(self, frame: u64) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.0.to_le_bytes()), &frame.to_le_bytes())
    }
}

/// Seals, or opens, the frames of one direction in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seal {
    key: SealKey,
    frame: u64,
}

impl Seal {
    /// Before the first frame.
    #[must_use]
    pub fn new(key: SealKey) -> Seal {
        Seal::at(key, 0)
    }

    /// Before the frame of a number.
    #[must_use]
    pub fn at(key: SealKey, frame: u64) -> Seal {
        Seal { key, frame }
    }

    fn begin(&self) -> u32 {
        self.key.begin(self.frame)
    }
}

/// Appends one frame with `body` to `out`.
///
/// # Errors
/// If no frame can hold it.
pub fn encode_frame(body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    encode(body, 0, out)
}

/// Appends the next sealed frame with `body` to `out`.
///
/// # Errors
/// If no frame can hold it.
pub fn encode_sealed(body: &[u8], seal: &mut Seal, out: &mut Vec<u8>) -> Result<(), FrameError> {
    encode(body, seal.begin(), out)?;
    seal.frame += 1;
    Ok(())
}

fn encode(body: &[u8], begin: u32, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let found = body.len() as u64;
    if found > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { found });
    }
    if body.is_empty() {
        return Err(FrameError::Empty);
    }
    let len = (found as u32).to_le_bytes();
    out.extend_from_slice(&len);
    out.extend_from_slice(&checksum(begin, len, body).to_le_bytes());
    out.extend_from_slice(body);
    Ok(())
}

fn checksum(begin: u32, len: [u8; 4], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(begin, &len), body)
}

/// Cuts a stream into frames. Holds what was received of the frame that is on
/// its way and allocates for no more than that.
#[derive(Clone, Debug, Default)]
pub struct FrameDecoder {
    received: Vec<u8>,
    /// How much of `received` was handed out.
    taken: usize,
    failed: Option<FrameError>,
    /// What the next frame must be sealed with, if it must.
    seal: Option<Seal>,
}

impl FrameDecoder {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> FrameDecoder {
        FrameDecoder::default()
    }

    /// From the next frame on, each must be sealed.
    pub fn expect_seal(&mut self, seal: Seal) {
        self.seal = Some(seal);
    }

    /// Takes bytes as they arrive, in pieces of any size. Call
    /// [`FrameDecoder::next_frame`] until it gives no more before adding the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.taken > 0 {
            self.received.drain(..self.taken);
            self.taken = 0;
        }
        self.received.extend_from_slice(bytes);
    }

    /// The body of the next whole frame, if it is here. After an error: that error, always.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.whole() {
            Ok(Some(end)) => {
                let start = self.taken + FRAME_HEADER_BYTES as usize;
                self.taken = end;
                if let Some(seal) = &mut self.seal {
                    seal.frame += 1;
                }
                Ok(Some(&self.received[start..end]))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                self.received = Vec::new();
                self.taken = 0;
                Err(error)
            }
        }
    }

    /// Where the next frame ends in `received`, once it is whole.
    fn whole(&self) -> Result<Option<usize>, FrameError> {
        let rest = &self.received[self.taken..];
        let Some((len, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let bytes = u64::from(u32::from_le_bytes(*len));
        if bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge { found: bytes });
        }
        if bytes == 0 {
            return Err(FrameError::Empty);
        }
        let Some((expected, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some(body) = rest.get(..bytes as usize) else {
            return Ok(None);
        };
        let begin = self.seal.map_or(0, |seal| seal.begin());
        let (found, expected) = (checksum(begin, *len, body), u32::from_le_bytes(*expected));
        if found != expected {
            if let Some(Seal { key, frame: due }) = self.seal
                && let Some(frame) = (due.saturating_sub(REPLAYS_LOOKED_FOR)..due)
                    .find(|frame| checksum(key.begin(*frame), *len, body) == expected)
            {
                return Err(FrameError::Replayed {
                    frame,
                    expected: due,
                });
            }
            return Err(FrameError::Checksum {
                bytes,
                found,
                expected,
            });
        }
        Ok(Some(self.taken + FRAME_HEADER_BYTES as usize + body.len()))
    }

    /// Bytes held for a frame that is not whole yet.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        (self.received.len() - self.taken) as u64
    }
}

#[cfg(test)]
mod tests;
