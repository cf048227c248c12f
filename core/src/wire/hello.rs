//! What each end of a connection says first, and what makes the other hang up.
//! Its layout is frozen for ever: programs of all versions must be able to tell
//! each other why they cannot talk. Later programs may add to its end; earlier
//! ones do not look there. Knows no socket.
//!
//! `magic 4 | wire_min u16 | wire_max u16 | cluster 16 | from u64 | incarnation u64 |
//! to u64 | supports u16 | requires u16 | nonce u64`, little-endian.

use std::fmt;

use super::Fields;
use super::frame::SealKey;
use crate::feature::FeatureLevel;
use crate::ids::{ClusterId, Incarnation, NodeId};

const MAGIC: [u8; 4] = *b"PRHL";
/// A hello in bytes.
pub const HELLO_BYTES: u64 = 60;
/// The longest hello that is read, of whatever later program.
pub const HELLO_BYTES_MAX: u64 = 256;

const _: () = assert!(HELLO_BYTES <= HELLO_BYTES_MAX, "a hello must be readable");

/// How messages look on a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WireVersion(pub u16);

impl WireVersion {
    /// Every entry with its index, term and link; frames without seal.
    pub const FIRST: WireVersion = WireVersion(1);
    /// Entries are derived from each other; frames are sealed.
    pub const SECOND: WireVersion = WireVersion(2);
}

impl fmt::Display for WireVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The versions that a program speaks, from the least to the highest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireRange {
    /// The least.
    pub min: WireVersion,
    /// The highest.
    pub max: WireVersion,
}

impl WireRange {
    /// What this program speaks.
    pub const OURS: WireRange = WireRange {
        min: WireVersion::FIRST,
        max: WireVersion::SECOND,
    };

    /// The highest version in both.
    #[must_use]
    pub fn common(self, other: WireRange) -> Option<WireVersion> {
        let version = self.max.min(other.max);
        (version >= self.min && version >= other.min).then_some(version)
    }
}

impl fmt::Display for WireRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// One end of a connection introduces itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The wire versions that it speaks.
    pub versions: WireRange,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Which node it is.
    pub from: NodeId,
    /// Which life of its disk.
    pub incarnation: Incarnation,
    /// Whom it means to talk to.
    pub to: NodeId,
    /// The highest feature level that its program can do.
    pub supports: FeatureLevel,
    /// The level that is in force in its cluster, as far as it knows.
    pub requires: FeatureLevel,
    /// Drawn at random for this connection: both nonces together name it.
    pub nonce: u64,
}

/// What both ends agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// Who is at the other end.
    pub peer: NodeId,
    /// Which life of its disk.
    pub incarnation: Incarnation,
    /// How messages look.
    pub version: WireVersion,
    /// What the other end's program can do.
    pub supports: FeatureLevel,
    /// Seals what this end sends.
    pub outgoing: SealKey,
    /// Opens what the other end sends.
    pub incoming: SealKey,
}

/// Why a connection is of no use. Nothing was changed by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HelloError {
    /// No hello.
    #[error("the other end is no precentor node; see who else dials this address")]
    Stranger,
    /// Longer than any hello.
    #[error(
        "a hello of {found} bytes; the limit is {HELLO_BYTES_MAX}; see who else dials this address"
    )]
    TooLong {
        /// Its length.
        found: u64,
    },
    /// No common language.
    #[error(
        "{node} speaks wire versions {theirs}, and this program {ours}: none is common; upgrade the older program by way of a version that speaks both"
    )]
    NoCommonVersion {
        /// The other node.
        node: NodeId,
        /// What it speaks.
        theirs: WireRange,
        /// What this one speaks.
        ours: WireRange,
    },
    /// A range without versions.
    #[error(
        "{node} claims to speak wire versions {theirs}, which is no range; replace its program"
    )]
    NoRange {
        /// The other node.
        node: NodeId,
        /// What it says.
        theirs: WireRange,
    },
    /// Of another cluster.
    #[error(
        "{node} belongs to cluster {}, and this node to {}; correct the address book of one of them",
        hex(theirs),
        hex(ours)
    )]
    OtherCluster {
        /// The other node.
        node: NodeId,
        /// Its cluster.
        theirs: ClusterId,
        /// This node's.
        ours: ClusterId,
    },
    /// This node itself.
    #[error("{node} has reached itself, or another with its id; correct the address book")]
    Itself {
        /// Which.
        node: NodeId,
    },
    /// The hello is for another node.
    #[error("{node} looks for {to}, and this is {ours}; correct the address book")]
    OtherNode {
        /// The other node.
        node: NodeId,
        /// Whom it means.
        to: NodeId,
        /// Who this is.
        ours: NodeId,
    },
    /// Another node than was expected, or one that is no member.
    #[error(
        "{node} is at the other end, which is not expected here; correct the address book, or add it to the cluster"
    )]
    Unexpected {
        /// The other node.
        node: NodeId,
    },
    /// The other program is older than the cluster's rules.
    #[error(
        "{node} can do {supports}, and the cluster is at {requires}; run a program there that can do {requires}"
    )]
    TheirLevel {
        /// The other node.
        node: NodeId,
        /// What its program can do.
        supports: FeatureLevel,
        /// What is in force.
        requires: FeatureLevel,
    },
    /// This program is older than the cluster's rules.
    #[error(
        "this node can do {supports}, and the cluster of {node} is at {requires}; run a program here that can do {requires}"
    )]
    OurLevel {
        /// The other node.
        node: NodeId,
        /// What this program can do.
        supports: FeatureLevel,
        /// What is in force.
        requires: FeatureLevel,
    },
}

fn hex(cluster: &ClusterId) -> String {
    cluster.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Hello {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HELLO_BYTES as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.versions.min.0.to_le_bytes());
        bytes.extend_from_slice(&self.versions.max.0.to_le_bytes());
        bytes.extend_from_slice(&self.cluster.0);
        bytes.extend_from_slice(&self.from.0.to_le_bytes());
        bytes.extend_from_slice(&self.incarnation.0.to_le_bytes());
        bytes.extend_from_slice(&self.to.0.to_le_bytes());
        bytes.extend_from_slice(&self.supports.0.to_le_bytes());
        bytes.extend_from_slice(&self.requires.0.to_le_bytes());
        bytes.extend_from_slice(&self.nonce.to_le_bytes());
        assert_eq!(bytes.len() as u64, HELLO_BYTES, "the layout is frozen");
        bytes
    }

    /// The hello of bytes.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Hello, HelloError> {
        let found = bytes.len() as u64;
        let mut fields = Fields(bytes);
        if fields.bytes() != Some(MAGIC) {
            return Err(HelloError::Stranger);
        }
        if found > HELLO_BYTES_MAX {
            return Err(HelloError::TooLong { found });
        }
        Hello::fields(&mut fields).ok_or(HelloError::Stranger)
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Hello> {
        let versions = WireRange {
            min: WireVersion(fields.u16()?),
            max: WireVersion(fields.u16()?),
        };
        Some(Hello {
            versions,
            cluster: ClusterId(fields.bytes()?),
            from: NodeId(fields.u64()?),
            incarnation: Incarnation(fields.u64()?),
            to: NodeId(fields.u64()?),
            supports: FeatureLevel(fields.u16()?),
            requires: FeatureLevel(fields.u16()?),
            nonce: fields.u64()?,
        })
    }

    /// What this end, which said `self`, and the other, which said `theirs`, agree
    /// on. `is_expected` says whether that node may be at the other end. Both ends
    /// find the same version, and the same reason if there is none, told from
    /// their side.
    ///
    /// # Errors
    /// Why this end must hang up.
    pub fn agree(
        &self,
        theirs: &Hello,
        is_expected: impl FnOnce(NodeId) -> bool,
    ) -> Result<Agreement, HelloError> {
        let node = theirs.from;
        if theirs.cluster != self.cluster {
            return Err(HelloError::OtherCluster {
                node,
                theirs: theirs.cluster,
                ours: self.cluster,
            });
        }
        if node == self.from {
            return Err(HelloError::Itself { node });
        }
        if theirs.to != self.from {
            return Err(HelloError::OtherNode {
                node,
                to: theirs.to,
                ours: self.from,
            });
        }
        if !is_expected(node) {
            return Err(HelloError::Unexpected { node });
        }
        if theirs.versions.min > theirs.versions.max {
            return Err(HelloError::NoRange {
                node,
                theirs: theirs.versions,
            });
        }
        let version = self
            .versions
            .common(theirs.versions)
            .ok_or(HelloError::NoCommonVersion {
                node,
                theirs: theirs.versions,
                ours: self.versions,
            })?;
        if theirs.supports < self.requires {
            return Err(HelloError::TheirLevel {
                node,
                supports: theirs.supports,
                requires: self.requires,
            });
        }
        if self.supports < theirs.requires {
            return Err(HelloError::OurLevel {
                node,
                supports: self.supports,
                requires: theirs.requires,
            });
        }
        Ok(Agreement {
            peer: node,
            incarnation: theirs.incarnation,
            version,
            supports: theirs.supports,
            outgoing: SealKey::of(self, theirs),
            incoming: SealKey::of(theirs, self),
        })
    }
}

#[cfg(test)]
mod tests;
