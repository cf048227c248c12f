//! `precentor submit DIR --server URL`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{CommandError, Exit, canonical, print, print_json, project_of, watch_for_interrupts};
use crate::options::Submit;
use crate::remote::{Remote, RemoteError};
use crate::submit::{self, SubmitError, SubmitOptions};
use crate::worker::outline;

impl From<RemoteError> for CommandError {
    fn from(error: RemoteError) -> CommandError {
        let exit = match &error {
            RemoteError::Nowhere
            | RemoteError::Address { .. }
            | RemoteError::Token
            | RemoteError::Believed { .. }
            | RemoteError::Tls(_) => Exit::Usage,
            RemoteError::System(_) | RemoteError::Http(_) => Exit::Incomplete,
        };
        CommandError::new(exit, error)
    }
}

impl From<SubmitError> for CommandError {
    fn from(error: SubmitError) -> CommandError {
        let exit = match &error {
            SubmitError::Project(_) | SubmitError::Walk(_) => Exit::Usage,
            SubmitError::Stopped(_) => Exit::Incomplete,
        };
        CommandError::new(exit, error)
    }
}

pub(super) fn run(verb: &Submit) -> Result<Exit, CommandError> {
    let root = canonical(&verb.dir)?;
    let remote = Remote::new(&verb.cluster.access())?;
    let options = SubmitOptions {
        project: project_of(verb.project.as_deref(), &root),
        root,
        engine: match &verb.engine {
            Some(name) => (name.clone(), verb.engine_version),
            None => (outline::NAME.to_owned(), outline::VERSION),
        },
        upload: !verb.no_upload,
        quiet: verb.quiet,
    };
    let interrupt = Arc::new(AtomicBool::new(false));
    watch_for_interrupts(interrupt.clone());
    let submitted = submit::run(&options, &remote.directory(), &interrupt)?;
    if verb.json {
        print_json(&submitted)?;
    } else {
        print(&submitted.to_string());
    }
    Ok(match () {
        () if submitted.interrupted => Exit::Interrupted,
        () if submitted.is_complete() => Exit::Done,
        () => Exit::Incomplete,
    })
}
