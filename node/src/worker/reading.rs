//! What a worker reads: sources, from trees of its own or as the cluster keeps them, and the
//! records of what is inside a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use precentor_core::address::Address;
use precentor_core::bytes::Bytes;
use precentor_core::digest::Digest;
use precentor_core::job::DependencyResult;
use precentor_core::limits::{DEPENDENCIES_MAX, SOURCE_BYTES_MAX};

use super::engine::{ChildInput, Children, EngineError, FailureClass, Source};
use super::record;
use crate::embedded::Library;
use crate::remote::RemoteBodies;
use crate::source::path_of;

/// How long a body that the log refers to may take to appear.
const BODY_PATIENCE: Duration = Duration::from_secs(2);
const BODY_RETRY: Duration = Duration::from_millis(2);

/// Where the sources of a worker's jobs are. What is in none of these trees is read from the
/// cluster.
#[derive(Debug, Clone)]
pub enum Sources {
    /// Of all jobs in one tree.
    Tree(PathBuf),
    /// Of each project in a tree of its own; by the name that its addresses have.
    Projects(BTreeMap<String, PathBuf>),
}

impl Sources {
    fn root(&self, address: &Address) -> Option<&Path> {
        match self {
            Sources::Tree(root) => Some(root),
            Sources::Projects(roots) => roots.get(address.project()).map(PathBuf::as_path),
        }
    }

    /// The source of a job: on disk, or as the cluster keeps it.
    pub(super) fn of(
        &self,
        address: &Address,
        subject: &Digest,
        bodies: &Bodies,
    ) -> Result<Source, EngineError> {
        if let Some(root) = self.root(address) {
            return Ok(Source::Path(path_of(root, address)));
        }
        match bodies.wait_for(subject) {
            Some(kept) => Ok(Source::Kept(kept)),
            // Another worker may have the tree.
            None => Err(EngineError {
                class: FailureClass::Retryable,
                message: format!(
                    "the cluster does not keep the source {subject:?}…, and this worker has none of the project {project}; submit it with precentor submit, which uploads up to {SOURCE_BYTES_MAX} bytes, or start a worker with --source {project}=DIR",
                    project = address.project()
                ),
            }),
        }
    }
}

/// Where bodies are.
#[derive(Debug, Clone)]
pub enum Bodies {
    /// At nodes of this process.
    Here(Library),
    /// At servers.
    There(RemoteBodies),
}

impl Bodies {
    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        match self {
            Bodies::Here(library) => library.get(digest),
            Bodies::There(bodies) => bodies.get(digest),
        }
    }

    /// A body that the log refers to: some node may not have applied that far yet.
    fn wait_for(&self, digest: &Digest) -> Option<Bytes> {
        let give_up = Instant::now() + BODY_PATIENCE;
        loop {
            match self.get(digest) {
                Some(body) => return Some(body),
                None if Instant::now() >= give_up => return None,
                None => thread::sleep(BODY_RETRY),
            }
        }
    }
}

/// What is directly inside a folder.
pub(super) fn children<'a>(
    bodies: &'a Bodies,
    folder: &Address,
    dependencies: &'a [DependencyResult],
) -> Children<'a> {
    let named = dependencies
        .iter()
        .map(|dependency| child(bodies, dependency));
    let cut_off = cut_off(folder, dependencies.len() as u64);
    Box::new(cut_off.into_iter().chain(named))
}

/// A request cannot name more children than the limit: a list that is full may
/// have been cut, and the record has to say so.
fn cut_off(folder: &Address, named: u64) -> Option<ChildInput> {
    (named >= DEPENDENCIES_MAX).then(|| ChildInput {
        uri: folder.clone(),
        record: Err(format!(
            "made of the first {named} children, as many as a request can name (dependencies_max); if there are more, they are not counted here"
        )),
    })
}

fn child(bodies: &Bodies, dependency: &DependencyResult) -> ChildInput {
    let DependencyResult { address, result } = dependency;
    let record = match result {
        None => Err("it has no context".to_owned()),
        Some(digest) => bodies
            .wait_for(digest)
            .ok_or_else(|| format!("its body {digest} is at no node that runs"))
            .and_then(|body| {
                record::decode(&body)
                    .map(Box::new)
                    .map_err(|error| error.to_string())
            }),
    };
    ChildInput {
        uri: Address::clone(address),
        record,
    }
}
