//! Walks the tree once and hands out every place of it, children before their
//! folder, while the walk goes on. Reads ahead on a few threads within a fixed
//! window, so memory does not grow with the tree; the order never depends on
//! the threads.
//!
//! What counts as part of the tree is git's decision: ignore files hold,
//! hidden files belong to it, `.git` does not, links are not followed, and a
//! folder with nothing in it does not exist.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use ignore::{DirEntry, WalkBuilder};
use precentor_core::address::{Address, AddressError};
use precentor_core::config::Knobs;
use precentor_core::digest::Digest;

use super::digest::{
    ChildDigest, ChildKind, Examined, FileClass, TEXT_BYTES_MAX, examine, folder_digest,
};

#[cfg(test)]
mod tests;

/// Files that are listed and not yet handed out, at most.
const WINDOW_FILES: usize = 4_096;

/// What to walk, and how far.
#[derive(Debug, Clone)]
pub struct WalkOptions {
    /// The folder.
    pub root: PathBuf,
    /// The project's address.
    pub project: Address,
    /// Folders that are no part of the tree, such as the data directory.
    pub exclude: Vec<PathBuf>,
    /// Text files above this size are recorded without an outline.
    pub text_bytes_max: u64,
    /// More places than this end the walk with an error.
    pub places_max: u64,
    /// Threads that read and digest.
    pub threads: usize,
}

impl WalkOptions {
    /// The usual limits for the tree at `root`.
    #[must_use]
    pub fn new(root: &Path, project: Address) -> WalkOptions {
        WalkOptions {
            root: root.to_path_buf(),
            project,
            exclude: Vec::new(),
            text_bytes_max: TEXT_BYTES_MAX,
            places_max: Knobs::default().jobs_live_max,
            threads: 2,
        }
    }
}

/// One place of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceItem {
    /// A file or link.
    File(SourceFile),
    /// A folder; all that is in it came before.
    Folder(SourceFolder),
    /// The project, after everything else.
    Project(SourceFolder),
    /// Something that has no context, and why.
    Skipped(Skipped),
}

/// A file or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The place.
    pub uri: Address,
    /// Digest of its bytes.
    pub content_digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// What sort of file it is.
    pub class: FileClass,
}

/// A folder, or the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFolder {
    /// The place.
    pub uri: Address,
    /// Merkle digest of all that is in it.
    pub content_digest: Digest,
    /// What is directly inside, in the order of the names.
    pub children: Vec<Address>,
}

/// Something that has no context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The root is missing, unreadable or no folder.
    #[error("cannot walk {}: {cause}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// More places than [`WalkOptions::places_max`].
    #[error(
        "the tree at {} has more than {limit} files and folders; walk a part of it, or name what does not belong to it in a .gitignore", path.display()
    )]
    TooManyPlaces {
        /// The root.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A reading thread ended without an answer, which only a panic can cause.
    #[error("a thread that reads files died; this is a defect, please report it")]
    ReaderDied,
}

/// What the walking thread says, in the order of the walk.
enum Step {
    Open {
        uri: Address,
        name: Vec<u8>,
    },
    File {
        uri: Address,
        name: Vec<u8>,
        path: PathBuf,
        found: Receiver<io::Result<Examined>>,
    },
    Skip(Skipped),
    Close,
    Failed(WalkError),
}

type ReadTask = (PathBuf, Sender<io::Result<Examined>>);

struct OpenFolder {
    uri: Address,
    name: Vec<u8>,
    children: Vec<Address>,
    digests: Vec<ChildDigest>,
    any_skipped: bool,
}

impl OpenFolder {
    fn new(uri: Address, name: Vec<u8>) -> OpenFolder {
        OpenFolder {
            uri,
            name,
            children: Vec::new(),
            digests: Vec::new(),
            any_skipped: false,
        }
    }

    fn add(&mut self, uri: Address, name: Vec<u8>, kind: ChildKind, content_digest: Digest) {
        self.children.push(uri);
        self.digests.push(ChildDigest {
            name,
            kind,
            content_digest,
        });
    }

    fn close(self) -> (SourceFolder, Vec<u8>) {
        let content_digest = folder_digest(self.digests);
        (
            SourceFolder {
                uri: self.uri,
                content_digest,
                children: self.children,
            },
            self.name,
        )
    }
}

/// A walk on its way: an iterator over the places of the tree. Ends after the
/// project, or after the first error. Dropping it ends its threads.
#[derive(Debug)]
pub struct Walk {
    steps: Option<Receiver<Step>>,
    open: Vec<OpenFolder>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Step")
    }
}

impl std::fmt::Debug for OpenFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenFolder({})", self.uri)
    }
}

/// Starts a walk.
///
/// # Errors
/// If the root is no readable folder.
pub fn walk(options: WalkOptions) -> Result<Walk, WalkError> {
    let root_error = |cause| WalkError::Root {
        path: options.root.clone(),
        cause,
    };
    let root = fs::canonicalize(&options.root).map_err(root_error)?;
    // Opening it tells a file and a folder without permission at once.
    fs::read_dir(&root).map_err(root_error)?;
    let (step_sender, step_receiver) = bounded(WINDOW_FILES);
    let (task_sender, task_receiver) = bounded::<ReadTask>(WINDOW_FILES);
    let mut threads = Vec::new();
    for _ in 0..options.threads.max(1) {
        let tasks = task_receiver.clone();
        let limit = options.text_bytes_max;
        threads.push(thread::spawn(move || read_files(&tasks, limit)));
    }
    let project = OpenFolder::new(options.project.clone(), Vec::new());
    let lister = Lister {
        root,
        options,
        steps: step_sender,
        tasks: task_sender,
    };
    threads.push(thread::spawn(move || lister.run()));
    Ok(Walk {
        steps: Some(step_receiver),
        open: vec![project],
        threads,
    })
}

impl Iterator for Walk {
    type Item = Result<SourceItem, WalkError>;

    fn next(&mut self) -> Option<Result<SourceItem, WalkError>> {
        loop {
            let Ok(step) = self.steps.as_ref()?.recv() else {
                self.steps = None;
                return Some(Err(WalkError::ReaderDied));
            };
            match step {
                Step::Open { uri, name } => self.open.push(OpenFolder::new(uri, name)),
                Step::File {
                    uri,
                    name,
                    path,
                    found,
                } => {
                    let item = self.file(uri, name, path, found.recv());
                    if item.is_err() {
                        self.steps = None;
                    }
                    return Some(item);
                }
                Step::Skip(skipped) => {
                    self.top().any_skipped = true;
                    return Some(Ok(SourceItem::Skipped(skipped)));
                }
                Step::Close => {
                    if let Some(item) = self.close() {
                        return Some(Ok(item));
                    }
                }
                Step::Failed(error) => {
                    self.steps = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Walk {
    fn top(&mut self) -> &mut OpenFolder {
        self.open
            .last_mut()
            .expect("the project is open until its Close, which is the last step")
    }

    fn file(
        &mut self,
        uri: Address,
        name: Vec<u8>,
        path: PathBuf,
        found: Result<io::Result<Examined>, crossbeam_channel::RecvError>,
    ) -> Result<SourceItem, WalkError> {
        let examined = match found {
            Ok(Ok(examined)) => examined,
            Ok(Err(cause)) => {
                self.top().any_skipped = true;
                let reason = format!("cannot be read: {cause}");
                return Ok(SourceItem::Skipped(Skipped { path, reason }));
            }
            Err(_) => return Err(WalkError::ReaderDied),
        };
        let Examined {
            content_digest,
            bytes,
            class,
            lines: _,
        } = examined;
        let kind = match class {
            FileClass::Symlink => ChildKind::Link,
            FileClass::Text | FileClass::Binary | FileClass::Oversize => ChildKind::File,
        };
        self.top().add(uri.clone(), name, kind, content_digest);
        Ok(SourceItem::File(SourceFile {
            uri,
            content_digest,
            bytes,
            class,
        }))
    }

    fn close(&mut self) -> Option<SourceItem> {
        let folder = self.open.pop()?;
        let Some(parent) = self.open.last_mut() else {
            self.steps = None;
            return Some(SourceItem::Project(folder.close().0));
        };
        if folder.children.is_empty() {
            parent.any_skipped |= folder.any_skipped;
            if !folder.any_skipped {
                return None;
            }
        }
        let (folder, name) = folder.close();
        parent.add(
            folder.uri.clone(),
            name,
            ChildKind::Folder,
            folder.content_digest,
        );
        Some(SourceItem::Folder(folder))
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        // Without a receiver the lister stops, and without tasks the readers do.
        self.steps = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say here.
            let _ = thread.join();
        }
    }
}

fn read_files(tasks: &Receiver<ReadTask>, text_bytes_max: u64) {
    let mut kept = Vec::new();
    for (path, found) in tasks {
        // Nobody waits any more if the walk was dropped.
        let _ = found.send(examine(&path, text_bytes_max, &mut kept));
    }
}

/// The walk was dropped: nobody listens.
struct Unheard;

struct Lister {
    root: PathBuf,
    options: WalkOptions,
    steps: Sender<Step>,
    tasks: Sender<ReadTask>,
}

impl Lister {
    fn run(self) {
        // A dropped walk is the caller's choice, not a fault.
        let _ = self.list();
    }

    fn list(&self) -> Result<(), Unheard> {
        let mut builder = WalkBuilder::new(&self.root);
        let excluded: Vec<PathBuf> = self
            .options
            .exclude
            .iter()
            .filter_map(|path| fs::canonicalize(path).ok())
            .collect();
        builder
            .hidden(false)
            .ignore(false)
            .git_ignore(true)
            .git_exclude(true)
            .git_global(true)
            .require_git(false)
            .parents(true)
            .follow_links(false)
            .sort_by_file_name(Ord::cmp)
            .filter_entry(move |entry| {
                entry.file_name() != ".git" && !excluded.iter().any(|path| path == entry.path())
            });
        // The addresses of the folders on the way down; none where a name cannot be addressed.
        let mut above: Vec<Option<Address>> = vec![Some(self.options.project.clone())];
        let mut places: u64 = 0;
        for entry in builder.build() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.skip_error(&error, &mut above)?;
                    continue;
                }
            };
            if entry.depth() == 0 {
                continue;
            }
            self.close_to(&mut above, entry.depth())?;
            places += 1;
            if places > self.options.places_max {
                let (path, limit) = (self.options.root.clone(), self.options.places_max);
                return self.say(Step::Failed(WalkError::TooManyPlaces { path, limit }));
            }
            self.entry(&entry, &mut above)?;
        }
        self.close_to(&mut above, 1)?;
        self.say(Step::Close)
    }

    fn entry(&self, entry: &DirEntry, above: &mut Vec<Option<Address>>) -> Result<(), Unheard> {
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        // Inside a folder without an address: the folder was reported, that is enough.
        let Some(Some(parent)) = above.last() else {
            if is_folder {
                above.push(None);
            }
            return Ok(());
        };
        let name = entry.file_name().as_bytes().to_vec();
        let uri = match parent.child(&name) {
            Ok(uri) => uri,
            Err(error) => {
                if is_folder {
                    above.push(None);
                }
                return self.skip(entry.path(), &address_reason(&error));
            }
        };
        if is_folder {
            above.push(Some(uri.clone()));
            return self.say(Step::Open { uri, name });
        }
        let (sender, found) = bounded(1);
        let path = entry.path().to_path_buf();
        self.tasks
            .send((path.clone(), sender))
            .map_err(|_| Unheard)?;
        self.say(Step::File {
            uri,
            name,
            path,
            found,
        })
    }

    /// Closes the folders that the walk has left, so that `depth` is open again.
    fn close_to(&self, above: &mut Vec<Option<Address>>, depth: usize) -> Result<(), Unheard> {
        while above.len() > depth {
            if above.pop().flatten().is_some() {
                self.say(Step::Close)?;
            }
        }
        Ok(())
    }

    fn skip_error(
        &self,
        error: &ignore::Error,
        above: &mut Vec<Option<Address>>,
    ) -> Result<(), Unheard> {
        let (mut path, mut depth, mut inner) = (None, None, error);
        loop {
            match inner {
                ignore::Error::WithPath { path: at, err } => (path, inner) = (Some(at), err),
                ignore::Error::WithDepth { depth: at, err } => (depth, inner) = (Some(*at), err),
                ignore::Error::WithLineNumber { err, .. } => inner = err,
                _ => break,
            }
        }
        if let Some(depth) = depth.filter(|depth| *depth > 0) {
            self.close_to(above, depth)?;
        }
        let path = path.unwrap_or(&self.root);
        self.skip(path, &format!("cannot be listed: {inner}"))
    }

    fn skip(&self, path: &Path, reason: &str) -> Result<(), Unheard> {
        self.say(Step::Skip(Skipped {
            path: path.to_path_buf(),
            reason: reason.to_owned(),
        }))
    }

    fn say(&self, step: Step) -> Result<(), Unheard> {
        self.steps.send(step).map_err(|_| Unheard)
    }
}

fn address_reason(error: &AddressError) -> String {
    format!("has no address: {}", error.problem)
}
