//! `precentor pki`: a cluster's certificates.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use precentor_core::ids::NodeId;
use precentor_core::principal::Principal;
use serde::Serialize;

use super::{CommandError, Exit, print, print_json};
use crate::options::{GoodFor, Issue, Pki, PkiVerb, Whose};
use crate::pki::{self, Authority, CA_FILE, CA_KEY_FILE, PkiError, Shown};
use crate::tls::Who;

const DAY_SECONDS: u64 = 24 * 60 * 60;

impl From<PkiError> for CommandError {
    fn from(error: PkiError) -> CommandError {
        let exit = match &error {
            PkiError::Exists { .. } | PkiError::Io { .. } => Exit::Data,
            PkiError::Certificate(_)
            | PkiError::Identity { .. }
            | PkiError::Wrong(_)
            | PkiError::Sign(_) => Exit::Usage,
        };
        CommandError::new(exit, error)
    }
}

impl GoodFor {
    fn duration(&self) -> Duration {
        Duration::from_secs(u64::from(self.days) * DAY_SECONDS)
    }
}

pub(super) fn run(verb: &Pki) -> Result<Exit, CommandError> {
    let folder = &verb.folder;
    match &verb.what {
        PkiVerb::Init { name } => {
            Authority::found(folder, name)?;
            print(&format!(
                "made {} and {}; give everybody the first and nobody the second",
                folder.join(CA_FILE).display(),
                folder.join(CA_KEY_FILE).display()
            ));
        }
        PkiVerb::Issue(issue) => {
            let (path, shown) = made(folder, issue)?;
            print(&format!("made {}: {}", path.display(), line(&shown)));
        }
        PkiVerb::Renew { files, good_for } => {
            let authority = Authority::open(folder)?;
            for file in files {
                let shown = pki::renew(&authority, file, good_for.duration())?;
                print(&format!("renewed {}: {}", file.display(), line(&shown)));
            }
        }
        PkiVerb::Show { files, json } => {
            for file in files {
                let shown = pki::show(file)?;
                match json {
                    true => print_json(&Words::of(file, &shown))?,
                    false => print(&format!("{}: {}", file.display(), line(&shown))),
                }
            }
        }
    }
    Ok(Exit::Done)
}

fn made(folder: &Path, issue: &Issue) -> Result<(PathBuf, Shown), CommandError> {
    let authority = Authority::open(folder)?;
    let none = Vec::new();
    let (who, hosts, name) = match &issue.whose {
        Whose::Node { node, hosts } => (Who::Node(NodeId(*node)), hosts, format!("n{node}.pem")),
        Whose::Client { name } => {
            if name.contains('/') && issue.out.is_none() {
                let message = format!("{name} is no name for a file; say which with --out FILE");
                return Err(CommandError::new(Exit::Usage, message));
            }
            let file = format!("{name}.pem");
            (Who::Client(Principal(name.clone())), &none, file)
        }
    };
    let path = issue.out.clone().unwrap_or_else(|| PathBuf::from(name));
    let pem = authority.sign(&who, hosts, issue.good_for.duration())?;
    pki::write_new(&path, &pem)?;
    let shown = pki::show(&path)?;
    Ok((path, shown))
}

/// For people.
fn line(shown: &Shown) -> String {
    let Shown {
        identity,
        hosts,
        issuer,
    } = shown;
    let at = match hosts.as_slice() {
        [] => String::new(),
        hosts => format!(" at {}", hosts.join(", ")),
    };
    let left = match identity.left() {
        Some(left) => format!("good for {} days", left.as_secs() / DAY_SECONDS),
        None => "over".to_owned(),
    };
    format!("{}{at}, {left}, signed by {issuer}", identity.who)
}

/// For programs. The field names are the words of `--json`.
#[derive(Debug, Serialize)]
struct Words {
    file: String,
    node: Option<u64>,
    client: Option<String>,
    hosts: Vec<String>,
    issuer: String,
    /// When it is over, in seconds since 1970.
    until: u64,
    good: bool,
}

impl Words {
    fn of(file: &Path, shown: &Shown) -> Words {
        let Shown {
            identity,
            hosts,
            issuer,
        } = shown.clone();
        let until = identity.until.duration_since(SystemTime::UNIX_EPOCH);
        let good = identity.left().is_some();
        let (node, client) = match identity.who {
            Who::Node(NodeId(node)) => (Some(node), None),
            Who::Client(Principal(name)) => (None, Some(name)),
        };
        Words {
            file: file.display().to_string(),
            node,
            client,
            hosts,
            issuer,
            until: until.unwrap_or_default().as_secs(),
            good,
        }
    }
}
