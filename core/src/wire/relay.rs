//! What a node passes on for clients that are not its own: a request for another node,
//! usually the leader, and what that one answers. A connection carries many at a time,
//! each under a tag of the node that asks.

use serde::{Deserialize, Serialize};

use super::{DecodeError, bound};
use crate::limits::{FRAME_BYTES_MAX, NAME_BYTES_MAX};
use crate::principal::Principal;
use crate::request::{Reply, Request};

/// The version of the encodings below.
const VERSION: u8 = 1;

/// A client's request, on its way to another node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// What the asking node calls it.
    pub tag: u64,
    /// Who asks, as the asking node authenticated it.
    pub principal: Principal,
    /// What is asked.
    pub request: Request,
}

impl Asked {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        super::encode(VERSION, self)
    }

    /// The request of bytes.
    ///
    /// # Errors
    /// If they are not a whole request of this version with every part within its bound.
    pub fn decode(bytes: &[u8]) -> Result<Asked, DecodeError> {
        bound("a request", bytes.len() as u64, FRAME_BYTES_MAX)?;
        let asked: Asked = super::decode(VERSION, bytes)?;
        let name = asked.principal.0.len() as u64;
        bound("a principal's name", name, NAME_BYTES_MAX)?;
        Ok(asked)
    }
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// What the asking node called the request.
    pub tag: u64,
    /// What became of it.
    pub reply: Reply,
}

impl Told {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        super::encode(VERSION, self)
    }

    /// The answer of bytes.
    ///
    /// # Errors
    /// If they are not a whole answer of this version.
    pub fn decode(bytes: &[u8]) -> Result<Told, DecodeError> {
        bound("an answer", bytes.len() as u64, FRAME_BYTES_MAX)?;
        super::decode(VERSION, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobId, LogIndex};
    use crate::request::{Answer, Consistency, Freshness, Query};

    fn asked(name: &str) -> Asked {
        Asked {
            tag: 7,
            principal: Principal(name.to_owned()),
            request: Request::Read {
                query: Query::Job(JobId(1)),
                consistency: Consistency::Linearizable,
            },
        }
    }

    #[test]
    fn what_is_passed_on_arrives_as_it_was() {
        let told = Told {
            tag: 7,
            reply: Reply::Read {
                answer: Answer::Job(None),
                applied: LogIndex(3),
                freshness: Freshness::Linearizable,
            },
        };
        let asked = asked("ada");
        assert_eq!(Asked::decode(&asked.encode()), Ok(asked.clone()));
        assert_eq!(Told::decode(&told.encode()), Ok(told));
    }

    #[test]
    fn what_is_cut_off_longer_or_of_another_version_is_refused() {
        let bytes = asked("ada").encode();
        for end in 0..bytes.len() {
            assert!(Asked::decode(&bytes[..end]).is_err(), "{end}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Asked::decode(&longer), Err(DecodeError::Trailing(1)));
        let mut other = bytes;
        other[0] = 2;
        let error = Asked::decode(&other).unwrap_err();
        assert!(matches!(error, DecodeError::Version { found: 2, .. }));
    }

    #[test]
    fn a_name_beyond_its_limit_is_refused() {
        let bytes = asked(&"n".repeat(129)).encode();
        let error = Asked::decode(&bytes).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { found: 129, .. }));
    }
}
