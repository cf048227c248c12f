//! Looks into a backup from its beginning to its end, and believes nothing unseen: whether
//! it is whole, and a cluster can begin with it. Hands what is in it to whoever wants it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use precentor_core::action::BodyOf;
use precentor_core::digest::Digest;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::ClusterId;
use precentor_core::queue::{BodyCursor, QueueManager};
use precentor_core::restore::{Backup, look_into};
use precentor_core::snapshot::Snapshot;
use precentor_core::wire::snapshot::decode_snapshot;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{AUDIT, BackupError, END, End, FOLDERS, FORMAT, MANIFEST, Manifest, SNAPSHOT};
use crate::blobstore::BLOB_BYTES_MAX;
use crate::server::founding;

/// Largest file of words, in bytes. Damaged bodies are named in one.
const WORDS_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bodies that are looked for at a time.
const BODIES_AT_A_TIME: u64 = 1_000;

/// Who wants what is in a backup. Each is called in this order; the state once, the others
/// as often as there is something.
pub trait Receive {
    /// Why it cannot be taken.
    type Error: From<BackupError>;

    /// What the cluster was.
    ///
    /// # Errors
    /// If it cannot be taken: nothing more comes.
    fn state(
        &mut self,
        manifest: &Manifest,
        backup: &Backup<'_>,
        state: QueueManager,
    ) -> Result<(), Self::Error>;

    /// A line of the audit, with its end.
    ///
    /// # Errors
    /// As above.
    fn audit(&mut self, line: &[u8]) -> Result<(), Self::Error>;

    /// A body, which is what its digest says.
    ///
    /// # Errors
    /// As above.
    fn body(&mut self, of: BodyOf, digest: Digest, body: Vec<u8>) -> Result<(), Self::Error>;
}

/// What was seen of a backup that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it is of.
    pub manifest: Manifest,
    /// How much is in it.
    pub end: End,
}

/// Reads all of a backup.
///
/// # Errors
/// If it is not whole, or cannot be taken. What was handed on before is of no use then.
pub fn look<R: Receive>(path: &Path, receive: &mut R) -> Result<Seen, R::Error> {
    let file = File::open(path).map_err(|cause| BackupError::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    let looking = Looking { path };
    let decoder = zstd::Decoder::new(file).map_err(|cause| looking.unreadable(cause))?;
    let mut archive = tar::Archive::new(decoder);
    let files = archive
        .entries()
        .map_err(|cause| looking.unreadable(cause))?;
    let seen = looking.all(files, receive)?;
    // Behind the last file comes the checksum of all of them.
    let rest = io::copy(&mut archive.into_inner(), &mut io::sink());
    rest.map_err(|cause| looking.unreadable(cause))?;
    Ok(seen)
}

struct Looking<'p> {
    path: &'p Path,
}

type Found<'f, F> = tar::Entry<'f, F>;

impl Looking<'_> {
    fn unreadable(&self, cause: io::Error) -> BackupError {
        let path = self.path.to_owned();
        match cause.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::NotWhole {
                path,
                reason: "it breaks off".to_owned(),
            },
            _ => BackupError::Unreadable { path, cause },
        }
    }

    fn not_whole(&self, reason: impl Into<String>) -> BackupError {
        BackupError::NotWhole {
            path: self.path.to_owned(),
            reason: reason.into(),
        }
    }

    fn foreign(&self, reason: impl Into<String>) -> BackupError {
        BackupError::Foreign {
            path: self.path.to_owned(),
            reason: reason.into(),
        }
    }

    fn damaged(&self, what: &str, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged {
            path: self.path.to_owned(),
            what: what.to_owned(),
            reason: reason.into(),
        }
    }

    fn all<R: Receive, F: Read>(
        &self,
        mut files: tar::Entries<'_, F>,
        receive: &mut R,
    ) -> Result<Seen, R::Error> {
        let mut next = || -> Result<Option<(String, Found<'_, F>)>, BackupError> {
            let Some(file) = files.next() else {
                return Ok(None);
            };
            let file = file.map_err(|cause| self.unreadable(cause))?;
            let name = String::from_utf8_lossy(&file.path_bytes()).into_owned();
            Ok(Some((name, file)))
        };
        let manifest = match next() {
            Ok(Some((name, file))) if name == MANIFEST => self.manifest(file)?,
            Ok(Some((name, _))) => {
                return Err(self.foreign(format!("it begins with {name:?}")).into());
            }
            Ok(None) => return Err(self.foreign("it is empty").into()),
            Err(BackupError::Unreadable { cause, .. }) => {
                return Err(self.foreign(cause.to_string()).into());
            }
            Err(error) => return Err(error.into()),
        };
        let of = founding::from_hex(&manifest.cluster_id)
            .ok_or_else(|| self.damaged(MANIFEST, "names no cluster"))?;
        let snapshot = match next()? {
            Some((name, file)) if name == SNAPSHOT => self.snapshot(file, &manifest, of)?,
            Some(_) | None => return Err(self.not_whole("there is no snapshot").into()),
        };
        let backup = Backup {
            of,
            wall_ms: manifest.taken_ms,
            snapshot: &snapshot,
        };
        let state = look_into(&snapshot, FeatureLevel::LATEST).map_err(|error| {
            let path = self.path.to_owned();
            BackupError::State { path, error }
        })?;
        let mut wanted = bodies_of(&state);
        receive.state(&manifest, &backup, state)?;
        let mut found = End::default();
        while let Some((name, file)) = next()? {
            if name == AUDIT {
                self.audit(file, manifest.index, receive)?;
            } else if name == END {
                let end: End = self.words(END, file)?;
                return self.end(end, &found, &wanted, manifest).map_err(Into::into);
            } else {
                let (of, digest, body) = self.body(&name, file)?;
                wanted.remove(&(of, digest));
                found.count(of, body.len() as u64);
                receive.body(of, digest, body)?;
            }
        }
        Err(self.not_whole("its end is missing").into())
    }

    fn words<T: DeserializeOwned>(&self, name: &str, file: impl Read) -> Result<T, BackupError> {
        let mut text = Vec::new();
        let read = file.take(WORDS_BYTES_MAX).read_to_end(&mut text);
        read.map_err(|cause| self.unreadable(cause))?;
        serde_json::from_slice(&text).map_err(|error| self.damaged(name, error.to_string()))
    }

    fn manifest(&self, file: impl Read) -> Result<Manifest, BackupError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let words: serde_json::Value = self.words(MANIFEST, file)?;
        let damaged = |error: serde_json::Error| self.damaged(MANIFEST, error.to_string());
        // The format first: the rest of another one's may look otherwise.
        let Format { format: found } = Format::deserialize(&words).map_err(damaged)?;
        if found != FORMAT {
            let path = self.path.to_owned();
            return Err(BackupError::OtherFormat { path, found });
        }
        Manifest::deserialize(&words).map_err(damaged)
    }

    fn snapshot(
        &self,
        mut file: impl Read,
        manifest: &Manifest,
        of: ClusterId,
    ) -> Result<Snapshot, BackupError> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|cause| self.unreadable(cause))?;
        let (header, image) = decode_snapshot(&bytes).map_err(|error| BackupError::Snapshot {
            path: self.path.to_owned(),
            error,
        })?;
        if header.cluster != of || header.meta.index.0 != manifest.index {
            return Err(self.damaged(SNAPSHOT, "is another one than backup.json says"));
        }
        Ok(Snapshot {
            meta: header.meta,
            image: image.into(),
        })
    }

    /// Records of later entries than the snapshot's are left out, and one that was being
    /// written.
    fn audit<R: Receive>(
        &self,
        file: impl Read,
        up_to: u64,
        receive: &mut R,
    ) -> Result<(), R::Error> {
        #[derive(Deserialize)]
        struct Line {
            index: u64,
        }
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            read.map_err(|cause| self.unreadable(cause))?;
            if !line.ends_with(b"\n") {
                return Ok(());
            }
            let Line { index } = serde_json::from_slice(&line)
                .map_err(|error| self.damaged(AUDIT, error.to_string()))?;
            if index <= up_to {
                receive.audit(&line)?;
            }
        }
    }

    fn body(
        &self,
        name: &str,
        file: Found<'_, impl Read>,
    ) -> Result<(BodyOf, Digest, Vec<u8>), BackupError> {
        let parts = name.split_once('/').and_then(|(folder, digest)| {
            let (of, _) = FOLDERS.iter().find(|(_, known)| *known == folder)?;
            Some((*of, digest.parse::<Digest>().ok()?))
        });
        let (of, digest) = parts.ok_or_else(|| self.foreign(format!("{name:?} is in it")))?;
        if file.size() > BLOB_BYTES_MAX {
            let reason = format!("has {} bytes; the limit is {BLOB_BYTES_MAX}", file.size());
            return Err(self.damaged(name, reason));
        }
        let mut body = Vec::new();
        let read = file.take(BLOB_BYTES_MAX).read_to_end(&mut body);
        read.map_err(|cause| self.unreadable(cause))?;
        let found = Digest::of(&body);
        if found != digest {
            return Err(self.damaged(name, format!("has digest {found}")));
        }
        Ok((of, digest, body))
    }

    fn end(
        &self,
        end: End,
        found: &End,
        wanted: &BTreeSet<(BodyOf, Digest)>,
        manifest: Manifest,
    ) -> Result<Seen, BackupError> {
        let counts = |end: &End| (end.results, end.sources, end.body_bytes);
        if counts(&end) != counts(found) {
            let text = |(results, sources, bytes)| {
                format!("{results} results and {sources} sources of {bytes} bytes")
            };
            let (said, there) = (text(counts(&end)), text(counts(found)));
            return Err(self.not_whole(format!("there are {there}, and there were {said}")));
        }
        if let Some((_, digest)) = wanted.first() {
            return Err(BackupError::Lacking {
                path: self.path.to_owned(),
                count: wanted.len(),
                digest: *digest,
                node: manifest.node,
            });
        }
        Ok(Seen { manifest, end })
    }
}

/// All bodies that a state speaks of.
fn bodies_of(state: &QueueManager) -> BTreeSet<(BodyOf, Digest)> {
    let mut all = BTreeSet::new();
    let mut after = None;
    loop {
        let (digests, next) = state.bodies_after(after, BODIES_AT_A_TIME);
        let of = match next.is_some_and(BodyCursor::is_at_source) {
            true => BodyOf::Source,
            false => BodyOf::Result,
        };
        all.extend(digests.into_iter().map(|digest| (of, digest)));
        if next.is_none() {
            return all;
        }
        after = next;
    }
}
