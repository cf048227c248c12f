//! Who a certificate is of. A node has the DNS name `node-N.precentor` among its names
//! (RFC 5280, subjectAltName), which the other end's TLS checks as it would a host's; all
//! other certificates are of the client that their common name says.

use std::fmt;
use std::time::{Duration, SystemTime};

use precentor_core::ids::NodeId;
use precentor_core::limits::NAME_BYTES_MAX;
use precentor_core::principal::Principal;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

const NODE_PREFIX: &str = "node-";
const NODE_SUFFIX: &str = ".precentor";

/// The name that a node has in its certificate.
#[must_use]
pub fn node_name(node: NodeId) -> String {
    format!("{NODE_PREFIX}{}{NODE_SUFFIX}", node.0)
}

/// The node that has a name.
fn node_of(name: &str) -> Option<NodeId> {
    let number = name.strip_prefix(NODE_PREFIX)?.strip_suffix(NODE_SUFFIX)?;
    let node = NodeId(number.parse().ok()?);
    // One way to write each, and no node is called 0.
    (node.0 > 0 && node_name(node) == name).then_some(node)
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A node of the cluster.
    Node(NodeId),
    /// A client.
    Client(Principal),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Node(node) => write!(f, "{node}"),
            Who::Client(principal) => write!(f, "the client {principal}"),
        }
    }
}

/// Who a certificate is of, and until when that can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub who: Who,
    /// Until when.
    pub until: SystemTime,
}

/// Why a certificate says of nobody who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is none.
    #[error("it cannot be read as a certificate: {0}")]
    Malformed(String),
    /// It names several nodes.
    #[error("it names several nodes; a certificate must be of one")]
    Several,
    /// It names nobody.
    #[error("it names no node, and its common name is {0}")]
    Nobody(String),
}

impl Identity {
    /// Who a certificate is of. Whether it can be believed was asked before.
    ///
    /// # Errors
    /// If it does not say.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Identity, IdentityError> {
        let malformed = |error: &dyn fmt::Display| IdentityError::Malformed(error.to_string());
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|error| malformed(&error))?;
        // Through the whole of its last second (RFC 5280 §4.1.2.5).
        let seconds = parsed.validity().not_after.timestamp().saturating_add(1);
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let until = SystemTime::UNIX_EPOCH
            .checked_add(seconds)
            .ok_or_else(|| malformed(&"it is good for ever"))?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|error| malformed(&error))?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let mut nodes = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => node_of(name),
            _ => None,
        });
        let who = match (nodes.next(), nodes.next()) {
            (Some(node), None) => Who::Node(node),
            (Some(_), Some(_)) => return Err(IdentityError::Several),
            (None, _) => Who::Client(client(&parsed)?),
        };
        Ok(Identity { who, until })
    }

    /// How long that is from now on; none if it is over.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.until.duration_since(SystemTime::now()).ok()
    }
}

/// The client of a certificate: its one common name, if that can be anybody's.
fn client(certificate: &X509Certificate<'_>) -> Result<Principal, IdentityError> {
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(IdentityError::Nobody("not one".to_owned()));
    };
    let name = name
        .as_str()
        .map_err(|error| IdentityError::Nobody(error.to_string()))?;
    let principal = Principal(name.to_owned());
    if name.is_empty() || name.len() as u64 > NAME_BYTES_MAX || principal.is_cluster() {
        return Err(IdentityError::Nobody(format!(
            "{name:?}; it must have 1 to {NAME_BYTES_MAX} bytes and not be the cluster's own"
        )));
    }
    Ok(principal)
}
