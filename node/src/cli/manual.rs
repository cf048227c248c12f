//! `precentor completions` and `precentor man`: what the command line says of itself, for shells
//! and for `man`. Both are made of the one table of flags.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{CommandError, Exit, print};
use crate::options::Options;

const NAME: &str = "precentor";

pub(super) fn completions(shell: Shell) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Options::command(), NAME, &mut script);
    print(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Done)
}

pub(super) fn pages(dir: &Path) -> Result<Exit, CommandError> {
    let written = std::fs::create_dir_all(dir).and_then(|()| {
        clap_mangen::generate_to(Options::command().disable_help_subcommand(true), dir)
    });
    written.map_err(|error| {
        CommandError::new(
            Exit::Usage,
            format!("cannot write to {}: {error}", dir.display()),
        )
    })?;
    print(&format!(
        "the pages are in {}: man -l {}/{NAME}.1",
        dir.display(),
        dir.display()
    ));
    Ok(Exit::Done)
}
