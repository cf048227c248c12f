//! Who founded the cluster of a data directory, and which cluster that is. Written when the
//! directory is made, and never again: a configuration may name other nodes later, which
//! changes neither.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use precentor_core::digest::Digest;
use precentor_core::ids::{ClusterId, NodeId};
use precentor_core::restore::Backup;
use precentor_core::snapshot::SnapshotMeta;
use serde::{Deserialize, Serialize};

use super::{ServerError, io_error};

const FILE: &str = "founding.json";
const UNFINISHED: &str = "founding.json.new";

/// Which cluster, and who founded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The cluster.
    pub cluster: ClusterId,
    /// Who founded it; nobody that a node which joined needs to know.
    pub founders: Vec<NodeId>,
}

#[derive(Serialize, Deserialize)]
struct Words {
    cluster: String,
    founders: Vec<u64>,
}

/// A cluster's id as it is written.
#[must_use]
pub fn hex(cluster: ClusterId) -> String {
    format!("{:032x}", u128::from_be_bytes(cluster.0))
}

/// A cluster's id as it was written.
#[must_use]
pub fn from_hex(text: &str) -> Option<ClusterId> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
    Some(ClusterId(number.to_be_bytes()))
}

fn id_of(domain: &'static str, name: &str, founders: &[NodeId], more: &[u8]) -> ClusterId {
    let founders = founders.iter().flat_map(|node| node.0.to_le_bytes());
    let founders: Vec<u8> = founders.collect();
    let mut parts = vec![name.as_bytes(), &founders];
    if !more.is_empty() {
        parts.push(more);
    }
    let Digest(bytes) = Digest::of_parts(domain, &parts);
    let (id, _) = bytes.split_first_chunk().expect("a digest is longer");
    ClusterId(*id)
}

impl Founding {
    /// A cluster that these found: it is known by its name and by who they are, so nodes of
    /// different ones refuse each other, whatever their addresses are.
    #[must_use]
    pub fn of(name: &str, founders: Vec<NodeId>) -> Founding {
        Founding {
            cluster: id_of("precentor 2026 cluster id", name, &founders, &[]),
            founders,
        }
    }

    /// A cluster that these found with a backup: it is known by that too, and by which attempt
    /// it is, so that nobody of the cluster which the backup is of has a say in it, and nobody
    /// of an earlier attempt.
    #[must_use]
    pub fn restored(
        name: &str,
        founders: Vec<NodeId>,
        backup: &Backup<'_>,
        attempt: u32,
    ) -> Founding {
        let SnapshotMeta {
            index,
            term,
            chain,
            state,
            ..
        } = &backup.snapshot.meta;
        let numbers = [index.0, term.0, chain.0, attempt.into()];
        let mut bytes = backup.of.0.to_vec();
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend_from_slice(&state.0.to_le_bytes());
        Founding {
            cluster: id_of(
                "precentor 2026 restored cluster id",
                name,
                &founders,
                &bytes,
            ),
            founders,
        }
    }

    /// What a data directory says; none if it says nothing.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn read(data: &Path) -> Result<Option<Founding>, ServerError> {
        let path = data.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let damaged = || ServerError::Damaged { path: path.clone() };
        let words: Words = serde_json::from_slice(&text).map_err(|_| damaged())?;
        Ok(Some(Founding {
            cluster: from_hex(&words.cluster).ok_or_else(damaged)?,
            founders: words.founders.into_iter().map(NodeId).collect(),
        }))
    }

    /// Writes it into a data directory: all of it, or nothing.
    pub(super) fn write(&self, data: &Path) -> Result<(), ServerError> {
        let words = Words {
            cluster: hex(self.cluster),
            founders: self.founders.iter().map(|node| node.0).collect(),
        };
        let text = serde_json::to_vec(&words).expect("a few numbers");
        let (path, beside) = (data.join(FILE), data.join(UNFINISHED));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(data)?.sync_all()
        });
        written.map_err(io_error("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    fn found(name: &str, nodes: &[u64]) -> Founding {
        Founding::of(name, nodes.iter().copied().map(NodeId).collect())
    }

    #[test]
    fn a_cluster_is_known_by_its_name_and_its_founders() {
        let own = found("team", &[1, 2, 3]).cluster;
        assert_eq!(own, found("team", &[1, 2, 3]).cluster);
        for other in [found("other", &[1, 2, 3]), found("team", &[1, 2, 4])] {
            assert_ne!(own, other.cluster);
        }
        assert_eq!(from_hex(&hex(own)), Some(own));
        let long = hex(own) + "0";
        for none in ["", "12", "+2345678901234567890123456789012", &long] {
            assert_eq!(from_hex(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_directory_remembers_what_it_was_made_for() {
        let data = tempdir().unwrap();
        assert_eq!(Founding::read(data.path()).unwrap(), None);
        let own = found("team", &[1, 2, 3]);
        own.write(data.path()).unwrap();
        assert_eq!(Founding::read(data.path()).unwrap(), Some(own));
        fs::write(data.path().join(FILE), "{}").unwrap();
        let error = Founding::read(data.path()).unwrap_err();
        assert!(matches!(error, ServerError::Damaged { .. }), "{error}");
    }
}
