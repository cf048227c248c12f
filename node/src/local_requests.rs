//! The requests that a node keeps for its clients until there is a leader, beside its
//! bodies and in the same store. Knows nothing of what is in them.

use std::fmt;
use std::io;

use fjall::{Database, Keyspace, PersistMode};
use precentor_core::bytes::Bytes;
use precentor_core::ids::LocalNumber;

/// Kept requests by number.
#[derive(Clone)]
pub struct LocalRequests {
    database: Database,
    requests: Keyspace,
}

impl fmt::Debug for LocalRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalRequests")
    }
}

impl LocalRequests {
    /// Those of a store.
    pub(crate) fn new(database: Database, requests: Keyspace) -> LocalRequests {
        LocalRequests { database, requests }
    }

    /// Writes one: durable with the next [`LocalRequests::sync`].
    ///
    /// # Errors
    /// If the store fails: what is on disk is unknown.
    pub fn keep(&self, number: LocalNumber, entry: &[u8]) -> io::Result<()> {
        let written = self.requests.insert(number.0.to_be_bytes(), entry);
        written.map_err(io::Error::other)
    }

    /// Lets one go. A loss of power may bring it back.
    ///
    /// # Errors
    /// If the store fails: what is on disk is unknown.
    pub fn let_go(&self, number: LocalNumber) -> io::Result<()> {
        let removed = self.requests.remove(number.0.to_be_bytes());
        removed.map_err(io::Error::other)
    }

    /// Makes everything durable that was written before.
    ///
    /// # Errors
    /// If the store fails: what is on disk is unknown.
    pub fn sync(&self) -> io::Result<()> {
        let synced = self.database.persist(PersistMode::SyncAll);
        synced.map_err(io::Error::other)
    }

    /// All of them, by number.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn all(&self) -> io::Result<Vec<(LocalNumber, Bytes)>> {
        let pairs = self.requests.iter().map(|guard| {
            let (key, entry) = guard.into_inner().map_err(io::Error::other)?;
            let key = key.as_ref().try_into().map_err(|_| {
                let text = format!("a request is kept under {key:?}, which is no number");
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            let number = LocalNumber(u64::from_be_bytes(key));
            Ok((number, Bytes::from(entry.to_vec())))
        });
        pairs.collect()
    }
}
