//! The configuration file of a server: which node it is, of which cluster, and where it
//! listens. Everything that is wrong with it is said at once, before anything is touched.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use precentor_core::digest::Digest;
use precentor_core::ids::NodeId;
use precentor_core::limits::{MEMBERS_MAX, NAME_BYTES_MAX, PROJECT_BYTES_MAX};
use precentor_core::principal::Principal;
use serde::Deserialize;

use crate::http::Callers;
use crate::tls::TlsFiles;

#[cfg(test)]
mod tests;

/// How much of the disk is held back unless it is said otherwise.
const DISK_RESERVE_MIB: u64 = 512;

/// Why a configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}: {cause}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is no TOML, or has keys that nobody knows.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A value of it cannot be.
    #[error("{}: {reason}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cluster: String,
    node: u64,
    data: PathBuf,
    listen: Option<String>,
    disk_reserve_mib: Option<u64>,
    nodes: BTreeMap<String, String>,
    http: Http,
    tls: Option<Tls>,
}

/// Files, as seen from this one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    ca: PathBuf,
    certificate: PathBuf,
    key: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    listen: String,
    #[serde(default)]
    tokens: Vec<TokenLine>,
}

/// Who may ask, and the digest of what proves it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenLine {
    principal: String,
    blake3: String,
}

/// What a server is told.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The file.
    pub path: PathBuf,
    /// What people call the cluster.
    pub cluster: String,
    /// Which node of it.
    pub node: NodeId,
    /// Where its data is.
    pub data: PathBuf,
    /// Where each node listens for the others.
    pub addresses: BTreeMap<NodeId, String>,
    /// Where it listens for the others.
    pub listen: SocketAddr,
    /// Where it listens for clients.
    pub http: SocketAddr,
    /// Who may ask there.
    pub callers: Callers,
    /// How much of its disk is held back from what is new, in bytes.
    pub disk_reserve_bytes: u64,
    /// What it proves with who it is. Without, nothing is encrypted.
    pub tls: Option<TlsFiles>,
}

impl ServerConfig {
    /// Reads a file. A relative data directory is one beside it.
    ///
    /// # Errors
    /// If it cannot be read, or says something that cannot be.
    pub fn read(path: &Path) -> Result<ServerConfig, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        ServerConfig::parse(&text, path)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// If it says something that cannot be.
    pub fn parse(text: &str, path: &Path) -> Result<ServerConfig, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        config(file, path).map_err(|reason| ConfigError::Wrong {
            path: path.to_owned(),
            reason,
        })
    }
}

fn config(file: File, path: &Path) -> Result<ServerConfig, String> {
    let File {
        cluster,
        node,
        data,
        listen,
        disk_reserve_mib,
        nodes,
        http,
        tls,
    } = file;
    if cluster.is_empty() || cluster.len() as u64 > PROJECT_BYTES_MAX {
        return Err(format!(
            "cluster is {} bytes long; give it a name of 1 to {PROJECT_BYTES_MAX}",
            cluster.len()
        ));
    }
    let mut addresses = BTreeMap::new();
    for (number, address) in nodes {
        match number.parse() {
            Ok(number @ 1..) => drop(addresses.insert(NodeId(number), address)),
            Ok(0) | Err(_) => {
                return Err(format!(
                    "[nodes] has {number:?}; a node's name is a number from 1"
                ));
            }
        }
    }
    if addresses.len() as u64 > MEMBERS_MAX {
        return Err(format!(
            "[nodes] has {} nodes; a cluster has {MEMBERS_MAX} at most",
            addresses.len()
        ));
    }
    let node = NodeId(node);
    let own = addresses.get(&node).ok_or_else(|| {
        format!(
            "node is {}, which is not in [nodes]; add a line for it there, or name one that is",
            node.0
        )
    })?;
    let encrypted = tls.is_some();
    let listen = match &listen {
        Some(listen) => resolve(listen, "listen", encrypted)?,
        None => resolve(own, &format!("[nodes] {}", node.0), encrypted)?,
    };
    for (node, address) in &addresses {
        let what = format!("[nodes] {}", node.0);
        match encrypted {
            // Names may have no address yet, or another one tomorrow.
            true => check_shape(address, &what)?,
            false => drop(resolve(address, &what, false)?),
        }
    }
    let callers = callers(http.tokens, encrypted)?;
    let http = resolve(&http.listen, "[http] listen", encrypted)?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let tls = tls.map(|tls| TlsFiles {
        ca: beside.join(tls.ca),
        key: beside.join(tls.key.as_ref().unwrap_or(&tls.certificate)),
        certificate: beside.join(tls.certificate),
    });
    Ok(ServerConfig {
        path: path.to_owned(),
        cluster,
        node,
        data: beside.join(data),
        addresses,
        listen,
        http,
        callers,
        disk_reserve_bytes: disk_reserve_mib
            .unwrap_or(DISK_RESERVE_MIB)
            .saturating_mul(1024 * 1024),
        tls,
    })
}

/// Those who have tokens, or certificates where there are any; without either, everybody on
/// this machine.
fn callers(lines: Vec<TokenLine>, encrypted: bool) -> Result<Callers, String> {
    let mut tokens = BTreeMap::new();
    for TokenLine { principal, blake3 } in lines {
        let name = Principal(principal);
        if name.0.is_empty() || name.is_cluster() || name.0.len() as u64 > NAME_BYTES_MAX {
            return Err(format!(
                "[[http.tokens]] has principal {:?}; write a name of 1 to {NAME_BYTES_MAX} bytes that is not the cluster's own",
                name.0
            ));
        }
        let digest: Digest = blake3.parse().map_err(|error| {
            format!(
                "[[http.tokens]] of {name}: blake3: {error}; make one with: precentor token {name}"
            )
        })?;
        if let Some(before) = tokens.insert(digest, name.clone()) {
            return Err(format!(
                "[[http.tokens]]: {before} and {name} have one token"
            ));
        }
    }
    Ok(match encrypted {
        true => Callers::proved(tokens),
        false => Callers::new(tokens),
    })
}

/// An address to listen at, or to connect to. What crosses the network has to be encrypted.
fn resolve(address: &str, what: &str, encrypted: bool) -> Result<SocketAddr, String> {
    let found = address
        .to_socket_addrs()
        .map_err(|error| format!("{what} is {address:?}: {error}; write HOST:PORT"))?
        .next()
        .ok_or_else(|| format!("{what} is {address:?}, which is no address"))?;
    if !encrypted && !found.ip().is_loopback() {
        return Err(format!(
            "{what} is {address:?}, which others can reach, and nothing is encrypted without certificates: add [tls], for which precentor pki makes them, or use an address of 127.0.0.0/8"
        ));
    }
    Ok(found)
}

/// A host and a port, whether or not they are known just now.
fn check_shape(address: &str, what: &str) -> Result<(), String> {
    let parts = address.rsplit_once(':');
    match parts.map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(_))) if !host.is_empty() => Ok(()),
        _ => Err(format!("{what} is {address:?}; write HOST:PORT")),
    }
}
