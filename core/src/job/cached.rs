//! The words of the cache: what is kept of a published context besides itself, and
//! what all of them take.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ContextView, Generator};
use crate::address::Address;
use crate::ids::LogIndex;
use crate::time::Stamp;

/// A published context, and how good it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CachedView {
    /// The context.
    pub context: ContextView,
    /// How long ago it was published, in milliseconds of cluster time; none if that was
    /// before this was kept.
    pub age_ms: Option<u64>,
    /// It answers no request any more, by an invalidation.
    pub invalid: bool,
    /// Jobs and dead letters name it as what they depend on: it is not evicted.
    pub needed: bool,
}

/// What the published contexts take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CacheView {
    /// How many there are.
    pub contexts: u64,
    /// How long their bodies are together; one that is published twice counts twice.
    pub bytes: u64,
    /// What they may take; none if that is not limited.
    pub bytes_max: Option<u64>,
    /// How many are known to be invalid. Those of which it is still to be found out are
    /// not among them.
    pub invalid: u64,
    /// How many were evicted, ever.
    pub evicted: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Invalidations that are being carried through, the oldest first.
    pub invalidations: Vec<InvalidationView>,
}

/// An invalidation that is being carried through. It holds already.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InvalidationView {
    /// Its entry.
    pub index: LogIndex,
    /// Of what it is.
    pub reach: Reach,
    /// Since when, in cluster time.
    pub since: Stamp,
}

/// What an invalidation is of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reach {
    /// What is published at an address.
    Address(Address),
    /// What is published there, and anywhere inside.
    Prefix(Address),
    /// What an engine made.
    Generator {
        /// The engine's name.
        engine: String,
        /// In which version; none for all.
        version: Option<u32>,
    },
}

impl Reach {
    /// Is it of what this generator made at this address?
    #[must_use]
    pub fn covers(&self, address: &Address, generator: &Generator) -> bool {
        match self {
            Reach::Address(own) => own == address,
            Reach::Prefix(own) => own.contains(address),
            Reach::Generator { engine, version } => {
                *engine == generator.engine && version.is_none_or(|own| own == generator.version)
            }
        }
    }

    /// Is everything that the other one covers covered by this one, too?
    #[must_use]
    pub fn contains(&self, other: &Reach) -> bool {
        match (self, other) {
            (Reach::Address(own), Reach::Address(other)) => own == other,
            (Reach::Prefix(own), Reach::Address(other) | Reach::Prefix(other)) => {
                own.contains(other)
            }
            (
                Reach::Generator { engine, version },
                Reach::Generator {
                    engine: other,
                    version: of,
                },
            ) => engine == other && (version.is_none() || version == of),
            _ => false,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Address(address) => write!(f, "{address}"),
            Reach::Prefix(address) => write!(f, "{address} and what is inside"),
            Reach::Generator {
                engine,
                version: Some(version),
            } => write!(f, "what version {version} of {engine} made"),
            Reach::Generator { engine, .. } => write!(f, "what {engine} made"),
        }
    }
}
