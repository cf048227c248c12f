//! The certificates of a cluster: an authority of its own that signs them, in a folder that
//! is on no node. Certificate and key of whoever it signs for are one file, so that they are
//! renewed at once. Signs with ECDSA on P-256 (RFC 5480).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use precentor_core::ids::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::DnsName;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::tls::{Identity, IdentityError, TlsError, Who, certificates, has_key, node_name};

#[cfg(test)]
pub(crate) mod tests;

/// The certificate of the authority in its folder: what everybody is given.
pub const CA_FILE: &str = "ca.pem";
/// Its key: whoever has this can be anybody.
pub const CA_KEY_FILE: &str = "ca.key";
/// Who may read a file (POSIX).
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an authority is good for.
const CA_DAYS: u32 = 10 * 365;
/// Clocks differ: a certificate is good from a little before it is made.
const EARLIER: Duration = Duration::from_secs(60 * 60);
/// Longest time that a certificate is good for, in days.
pub const DAYS_MAX: u32 = CA_DAYS;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// It would take the place of one.
    #[error("{} is there already; it is left as it is", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file is no certificate.
    #[error(transparent)]
    Certificate(#[from] TlsError),
    /// A certificate says of nobody who it is.
    #[error("{}: {cause}", path.display())]
    Identity {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: IdentityError,
    },
    /// What it should say cannot be said.
    #[error("{0}")]
    Wrong(String),
    /// It cannot be signed.
    #[error("cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
}

fn io_error<'p>(what: &'static str, path: &'p Path) -> impl Fn(io::Error) -> PkiError + 'p {
    move |cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => PkiError::Exists {
            path: path.to_owned(),
        },
        _ => PkiError::Io {
            what,
            path: path.to_owned(),
            cause,
        },
    }
}

/// Who signs for a cluster.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    until: SystemTime,
}

impl Authority {
    /// Makes one in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// If there is one, or it cannot be written.
    pub fn found(folder: &Path, cluster: &str) -> Result<Authority, PkiError> {
        let (certificate, key) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
        if certificate.exists() {
            return Err(PkiError::Exists { path: certificate });
        }
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        let mut params = params(&format!("precentor CA of {cluster}"), CA_DAYS * DAY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = KeyPair::generate()?;
        let signed = params.self_signed(&pair)?;
        // The key first: a certificate alone would look like an authority.
        write_new(&key, &pair.serialize_pem())?;
        write(&certificate, &signed.pem(), PUBLIC)?;
        Authority::open(folder)
    }

    /// The one in a folder.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Authority, PkiError> {
        let (certificate, key) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
        let signed = certificates(&certificate)?;
        let (_, parsed) = X509Certificate::from_der(&signed[0])
            .map_err(|error| PkiError::Wrong(format!("{}: {error}", certificate.display())))?;
        let until = parsed.validity().not_after.timestamp();
        let until = Duration::from_secs(u64::try_from(until).unwrap_or_default());
        let pem = fs::read_to_string(&key).map_err(io_error("read", &key))?;
        Ok(Authority {
            issuer: Issuer::from_ca_cert_der(&signed[0], KeyPair::from_pem(&pem)?)?,
            until: SystemTime::UNIX_EPOCH + until,
        })
    }

    /// A certificate and its key, in PEM, good from now on.
    ///
    /// # Errors
    /// If a host is no host, it would outlive the authority, or it cannot be signed.
    pub fn sign(
        &self,
        who: &Who,
        hosts: &[String],
        good_for: Duration,
    ) -> Result<String, PkiError> {
        if SystemTime::now() + good_for > self.until {
            return Err(PkiError::Wrong(
                "it would be good for longer than the authority that signs it; ask for fewer days, or make another authority".to_owned(),
            ));
        }
        let mut params = match who {
            Who::Node(node) => of_node(*node, hosts, good_for)?,
            Who::Client(_) if !hosts.is_empty() => {
                let reason = "only nodes are found at hosts".to_owned();
                return Err(PkiError::Wrong(reason));
            }
            Who::Client(principal) => {
                let mut params = params(&principal.0, good_for);
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                params
            }
        };
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &self.issuer)?;
        // Whoever reads it must believe that it is of whoever it was made for.
        let found = Identity::of(signed.der()).map(|identity| identity.who);
        match found {
            Ok(found) if found == *who => Ok(format!("{}{}", signed.pem(), key.serialize_pem())),
            Ok(found) => Err(PkiError::Wrong(format!("it would be of {found}"))),
            Err(error) => Err(PkiError::Wrong(format!("{error}"))),
        }
    }
}

fn params(name: &str, good_for: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + good_for).into();
    params
}

fn of_node(
    node: NodeId,
    hosts: &[String],
    good_for: Duration,
) -> Result<CertificateParams, PkiError> {
    let mut params = params(&node_name(node), good_for);
    let mut names = vec![node_name(node)];
    names.extend_from_slice(hosts);
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            // What TLS would not look for is of no use.
            Err(_) => match DnsName::try_from(name.as_str()) {
                Ok(_) => SanType::DnsName(name.try_into()?),
                Err(_) => {
                    let reason =
                        format!("{name:?} is no host; write a name or an address, without a port");
                    return Err(PkiError::Wrong(reason));
                }
            },
        };
        params.subject_alt_names.push(name);
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

/// What a certificate says, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whose it is, and until when.
    pub identity: Identity,
    /// Where that is found.
    pub hosts: Vec<String>,
    /// Who signed it.
    pub issuer: String,
}

/// Reads what a certificate says.
///
/// # Errors
/// If there is none, or it says of nobody who it is.
pub fn show(path: &Path) -> Result<Shown, PkiError> {
    let found = certificates(path)?;
    let identity = Identity::of(&found[0]).map_err(|cause| PkiError::Identity {
        path: path.to_owned(),
        cause,
    })?;
    let wrong =
        |error: &dyn std::fmt::Display| PkiError::Wrong(format!("{}: {error}", path.display()));
    let (_, parsed) = X509Certificate::from_der(&found[0]).map_err(|error| wrong(&error))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| wrong(&error))?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let own = match &identity.who {
        Who::Node(node) => node_name(*node),
        Who::Client(_) => String::new(),
    };
    let hosts = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    Ok(Shown {
        hosts: hosts.filter(|host| *host != own).collect(),
        issuer: parsed.issuer().to_string(),
        identity,
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(address.to_string())
}

/// Writes a certificate with its key where there is none.
///
/// # Errors
/// If there is one, or it cannot be written.
pub fn write_new(path: &Path, pem: &str) -> Result<(), PkiError> {
    write(path, pem, SECRET)
}

fn write(path: &Path, pem: &str, mode: u32) -> Result<(), PkiError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(io_error("create", path))?;
    let written = file
        .write_all(pem.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(io_error("write", path))
}

/// Makes a certificate anew: of the same, found at the same hosts, with another key. Whoever
/// reads the file finds the one or the other.
///
/// # Errors
/// If it cannot be read, signed or written; then it is as it was.
pub fn renew(authority: &Authority, path: &Path, good_for: Duration) -> Result<Shown, PkiError> {
    let before = show(path)?;
    if !has_key(path)? {
        return Err(PkiError::Wrong(format!(
            "{}: its key is in another file, and both are replaced at once or not at all; issue a new one in its place",
            path.display()
        )));
    }
    let pem = authority.sign(&before.identity.who, &before.hosts, good_for)?;
    let beside = path.with_extension("renewed");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove", &beside)(error));
        }
        // One that was interrupted has left it.
        _ => write_new(&beside, &pem)?,
    }
    fs::rename(&beside, path).map_err(io_error("replace", path))?;
    show(path)
}
