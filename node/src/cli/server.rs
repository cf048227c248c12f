//! `precentor init` and `precentor server`.

use std::thread;

use tokio::sync::mpsc;

use super::{CommandError, Exit, for_each_signal, print};
use crate::options::{Init, Server};
use crate::server::config::{ConfigError, ServerConfig};
use crate::server::{self, ServerError};

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> CommandError {
        CommandError::new(Exit::Usage, error)
    }
}

impl From<ServerError> for CommandError {
    fn from(error: ServerError) -> CommandError {
        let exit = match &error {
            ServerError::Member(_)
            | ServerError::Backup(_)
            | ServerError::NotEmpty { .. }
            | ServerError::NotFounded { .. }
            | ServerError::Founded { .. }
            | ServerError::Damaged { .. }
            | ServerError::Io { .. } => Exit::Data,
            ServerError::Listen { .. } | ServerError::Tls(_) | ServerError::Founders { .. } => {
                Exit::Usage
            }
            ServerError::Ended(_) => Exit::Incomplete,
        };
        CommandError::new(exit, error)
    }
}

pub(super) fn init(verb: &Init) -> Result<Exit, CommandError> {
    let config = ServerConfig::read(&verb.config)?;
    server::init(&config)?;
    print(&format!(
        "made {} of {} at {}; start it with: precentor server --config {}",
        config.node,
        config.cluster,
        config.data.display(),
        verb.config.display()
    ));
    Ok(Exit::Done)
}

pub(super) fn run(verb: &Server) -> Result<Exit, CommandError> {
    let config = ServerConfig::read(&verb.config)?;
    let (stop, stopped) = mpsc::channel(2);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || for_each_signal(|| stop.blocking_send(()).is_ok()))
        .map_err(|error| CommandError::new(Exit::Incomplete, error))?;
    let (node, cluster) = (config.node, config.cluster.clone());
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    server::run(&config, stopped, |address| {
        print(&format!("{node} of {cluster} serves {scheme}://{address}"));
    })?;
    Ok(Exit::Done)
}
