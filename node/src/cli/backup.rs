//! `precentor backup` and `precentor restore`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use precentor_core::action::BodyOf;
use precentor_core::digest::Digest;
use precentor_core::queue::QueueManager;
use precentor_core::restore::Backup;
use serde::Serialize;

use super::{CommandError, Exit, print, print_json};
use crate::backup::{BackupError, Manifest, Receive, Seen, look};
use crate::options::{BackUp, Restore};
use crate::remote::Remote;
use crate::server::config::ServerConfig;
use crate::server::{self, founding};

impl From<BackupError> for CommandError {
    fn from(error: BackupError) -> CommandError {
        CommandError::new(Exit::Data, error)
    }
}

/// Takes nothing: to see whether all is there.
struct Nobody;

impl Receive for Nobody {
    type Error = BackupError;

    fn state(&mut self, _: &Manifest, _: &Backup<'_>, _: QueueManager) -> Result<(), BackupError> {
        Ok(())
    }

    fn audit(&mut self, _: &[u8]) -> Result<(), BackupError> {
        Ok(())
    }

    fn body(&mut self, _: BodyOf, _: Digest, _: Vec<u8>) -> Result<(), BackupError> {
        Ok(())
    }
}

pub(super) fn back_up(verb: &BackUp) -> Result<Exit, CommandError> {
    let file = &verb.file;
    let failed = |error: std::io::Error| {
        CommandError::new(Exit::Incomplete, format!("{}: {error}", file.display()))
    };
    if file.try_exists().map_err(failed)? {
        let message = format!(
            "{} is there already, and is left as it is; name another file",
            file.display()
        );
        return Err(CommandError::new(Exit::Usage, message));
    }
    let remote = Remote::new(&verb.cluster.access())?;
    let beside = unfinished(file);
    let taken = take(&remote, &beside).and_then(|seen| {
        fs::rename(&beside, file).map_err(failed)?;
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(seen)
    });
    let seen = match taken {
        Ok(seen) => seen,
        Err(error) => {
            // It is of no use; if it cannot be removed, its name says so.
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
    };
    match verb.json {
        true => print_json(&Words::of(&seen, None))?,
        false => print(&format!("{}: {}", file.display(), text(&seen))),
    }
    Ok(Exit::Done)
}

fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".unfinished");
    PathBuf::from(name)
}

fn take(remote: &Remote, beside: &Path) -> Result<Seen, CommandError> {
    let style = ProgressStyle::with_template("{spinner} {bytes} at {bytes_per_sec}")
        .expect("a template of ours");
    let bar = ProgressBar::no_length().with_style(style);
    let taken = remote.backup(beside, &mut |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    taken.map_err(|reason| CommandError::new(Exit::Incomplete, reason))?;
    Ok(look(beside, &mut Nobody)?)
}

pub(super) fn restore(verb: &Restore) -> Result<Exit, CommandError> {
    let file = verb.file.display();
    let Some(path) = verb.config.as_ref().filter(|_| !verb.check) else {
        let seen = look(&verb.file, &mut Nobody)?;
        match verb.json {
            true => print_json(&Words::of(&seen, None))?,
            false => print(&format!("{file} is whole: {}", text(&seen))),
        }
        return Ok(Exit::Done);
    };
    let config = ServerConfig::read(path)?;
    let restored = server::restore(&config, &verb.file, verb.attempt)?;
    let cluster = founding::hex(restored.cluster);
    if verb.json {
        print_json(&Words::of(&restored.seen, Some(cluster)))?;
        return Ok(Exit::Done);
    }
    print(&format!(
        "made {} of {} ({cluster}) at {}, out of {}; give {file} to every other founder, then start it with: precentor server --config {}",
        config.node,
        config.cluster,
        config.data.display(),
        text(&restored.seen),
        path.display()
    ));
    Ok(Exit::Done)
}

fn text(seen: &Seen) -> String {
    let Seen { manifest, end } = seen;
    format!(
        "{} ({}) as of i{}, with {} results and {} sources",
        manifest.cluster, manifest.cluster_id, manifest.index, end.results, end.sources
    )
}

/// For programs. The field names are the words of `--json`.
#[derive(Serialize)]
struct Words<'s> {
    #[serde(flatten)]
    manifest: &'s Manifest,
    results: u64,
    sources: u64,
    body_bytes: u64,
    /// The id of the cluster that was founded.
    #[serde(skip_serializing_if = "Option::is_none")]
    restored_as: Option<String>,
}

impl<'s> Words<'s> {
    fn of(seen: &'s Seen, restored_as: Option<String>) -> Words<'s> {
        Words {
            manifest: &seen.manifest,
            results: seen.end.results,
            sources: seen.end.sources,
            body_bytes: seen.end.body_bytes,
            restored_as,
        }
    }
}
