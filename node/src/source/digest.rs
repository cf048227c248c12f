//! Reads a file once, in pieces: its digest, its size, and what sort of file it
//! is. Never holds a whole file unless the caller asks for a small one's text.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use precentor_core::digest::{Digest, DigestBuilder};
use rustix::fs::OFlags;

#[cfg(test)]
mod tests;

/// Files above this size get a record without an outline, in bytes.
pub const TEXT_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// How far a NUL byte makes a file binary, in bytes: git's own rule.
const SNIFFED_BYTES: usize = 8_000;
/// What a link's content begins with. A file that begins so is binary, and has no outline.
const LINK_MARK: &[u8] = b"\0precentor symbolic link\0";
/// How much is read at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// What sort of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileClass {
    /// Text of a size that is read.
    Text,
    /// Has a NUL byte near its beginning.
    Binary,
    /// Not binary, and above the size limit.
    Oversize,
    /// A symbolic link; it is never followed, its target text is its content.
    Symlink,
}

/// What one reading of a file found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Digest of all bytes.
    pub content_digest: Digest,
    /// How many there were.
    pub bytes: u64,
    /// What sort of file it is.
    pub class: FileClass,
    /// Newlines, plus one if the last line has none.
    pub lines: u64,
}

/// Reads the file or link at `path` to its end. Its first bytes, up to
/// `text_bytes_max`, replace what is in `kept`; the rest is digested in passing.
///
/// # Errors
/// If it cannot be read, or is neither file nor link: a pipe, socket or device
/// could keep the reader for ever.
pub fn examine(path: &Path, text_bytes_max: u64, kept: &mut Vec<u8>) -> io::Result<Examined> {
    kept.clear();
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return examine_link(path, kept);
    }
    if !metadata.is_file() {
        return Err(io::Error::other(describe_special(&metadata)));
    }
    let mut file = open_file(path)?;
    let expected = metadata.len().min(text_bytes_max);
    kept.reserve(usize::try_from(expected).unwrap_or(0) + 1);
    (&mut file).take(text_bytes_max).read_to_end(kept)?;

    let mut hasher = blake3::Hasher::new();
    hasher.update(kept);
    let mut bytes = kept.len() as u64;
    let mut newlines = count_newlines(kept);
    let mut last = kept.last().copied();
    if bytes == text_bytes_max {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = match file.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(&piece[..count]);
            newlines += count_newlines(&piece[..count]);
            bytes += count as u64;
            last = Some(piece[count - 1]);
        }
    }
    Ok(Examined {
        content_digest: Digest(*hasher.finalize().as_bytes()),
        bytes,
        class: class_of(kept, bytes, text_bytes_max),
        lines: lines_of(newlines, last),
    })
}

/// Opens a file, and nothing else that may stand there by now: opening a pipe
/// would wait for its writer, and a link would lead elsewhere.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    let flags = i32::try_from(flags).expect("the system's flags fit its own type");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(describe_special(&metadata)));
    }
    Ok(file)
}

fn examine_link(path: &Path, kept: &mut Vec<u8>) -> io::Result<Examined> {
    let content = content_of_link(path)?;
    Ok(examine_kept(&content, u64::MAX, kept))
}

/// What a link's content is: it says that it is one, for a file with the same bytes would be
/// something else.
fn content_of_link(path: &Path) -> io::Result<Vec<u8>> {
    let target = fs::read_link(path)?;
    Ok([LINK_MARK, target.as_os_str().as_bytes()].concat())
}

/// What [`examine`] finds in a file or link with this content.
pub fn examine_kept(content: &[u8], text_bytes_max: u64, kept: &mut Vec<u8>) -> Examined {
    kept.clear();
    let content_digest = Digest::of(content);
    if let Some(target) = content.strip_prefix(LINK_MARK) {
        kept.extend_from_slice(target);
        return Examined {
            content_digest,
            bytes: target.len() as u64,
            class: FileClass::Symlink,
            lines: 0,
        };
    }
    let bytes = content.len() as u64;
    let read = usize::try_from(text_bytes_max.min(bytes)).unwrap_or(content.len());
    kept.extend_from_slice(&content[..read]);
    Examined {
        content_digest,
        bytes,
        class: class_of(kept, bytes, text_bytes_max),
        lines: lines_of(count_newlines(content), content.last().copied()),
    }
}

/// The content of a file or link as it is kept for workers: what has the digest that
/// [`examine`] finds. None if it is longer than `bytes_max`.
///
/// # Errors
/// If it cannot be read, or is neither file nor link.
pub fn content_within(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let metadata = fs::symlink_metadata(path)?;
    let content = match metadata.is_symlink() {
        true => content_of_link(path)?,
        false if metadata.is_file() => {
            let mut content = Vec::new();
            let file = open_file(path)?;
            file.take(bytes_max.saturating_add(1))
                .read_to_end(&mut content)?;
            content
        }
        false => return Err(io::Error::other(describe_special(&metadata))),
    };
    Ok((content.len() as u64 <= bytes_max).then_some(content))
}

fn class_of(kept: &[u8], bytes: u64, text_bytes_max: u64) -> FileClass {
    let sniffed = &kept[..kept.len().min(SNIFFED_BYTES)];
    match sniffed.contains(&0) {
        true => FileClass::Binary,
        false if bytes > text_bytes_max => FileClass::Oversize,
        false => FileClass::Text,
    }
}

fn lines_of(newlines: u64, last: Option<u8>) -> u64 {
    newlines + u64::from(last.is_some_and(|byte| byte != b'\n'))
}

fn count_newlines(bytes: &[u8]) -> u64 {
    // In short runs, so that the counter of a run fits a byte and the compiler can vectorise.
    let in_run =
        |run: &[u8]| u64::from(run.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>());
    bytes.chunks(255).map(in_run).sum()
}

fn describe_special(metadata: &fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "it is a folder now; it was a file when the tree was listed",
        () if kind.is_fifo() => "it is a named pipe; only files, folders and links have contexts",
        () if kind.is_socket() => "it is a socket; only files, folders and links have contexts",
        () => "it is a device; only files, folders and links have contexts",
    }
}

/// What a child of a folder is, for the folder's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildKind {
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A folder.
    Folder,
}

/// One line of a folder's Merkle digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildDigest {
    /// The name on disk.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: ChildKind,
    /// Its own digest.
    pub content_digest: Digest,
}

/// The Merkle digest of a folder: of its children's names, kinds and digests,
/// in the order of their names.
#[must_use]
pub fn folder_digest(mut children: Vec<ChildDigest>) -> Digest {
    children.sort();
    let mut builder = DigestBuilder::new("precentor folder");
    for child in &children {
        let kind = match child.kind {
            ChildKind::File => b"f",
            ChildKind::Link => b"l",
            ChildKind::Folder => b"d",
        };
        builder.part(kind);
        builder.part(&child.name);
        builder.part(&child.content_digest.0);
    }
    builder.finish()
}
