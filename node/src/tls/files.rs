//! Certificates and keys in files, in PEM (RFC 7468).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use precentor_core::digest::Digest;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Why there is nothing to prove anything with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file is not what it must be.
    #[error("{}: {reason}", path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
}

/// Where a node's are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of those who are believed to say who somebody is.
    pub ca: PathBuf,
    /// The node's certificate, and those between it and one of these, in that order.
    pub certificate: PathBuf,
    /// Its key. May be the same file.
    pub key: PathBuf,
}

impl TlsFiles {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        vec![self.ca.clone(), self.certificate.clone(), self.key.clone()]
    }
}

/// The cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::Unreadable {
        path: path.to_owned(),
        cause,
    })
}

fn wrong(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::Wrong {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// All certificates in a file: at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, error))?;
    if chain.is_empty() {
        return Err(wrong(path, "there is no certificate in it; it must be PEM"));
    }
    Ok(chain)
}

/// Is there a key in a file?
pub(crate) fn has_key(path: &Path) -> Result<bool, TlsError> {
    Ok(PrivateKeyDer::from_pem_slice(&read(path)?).is_ok())
}

/// Those who are believed, and what tells them from others.
pub(super) fn roots(path: &Path) -> Result<(RootCertStore, Digest), TlsError> {
    let (mut roots, believed) = (RootCertStore::empty(), certificates(path)?);
    let parts: Vec<&[u8]> = believed.iter().map(AsRef::as_ref).collect();
    let trust = Digest::of_parts("precentor 2026 trust", &parts);
    for certificate in believed {
        roots.add(certificate).map_err(|error| wrong(path, error))?;
    }
    Ok((roots, trust))
}

/// A certificate, the chain above it, and the key that belongs to it.
pub(super) fn certified_key(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| wrong(key, format!("there is no private key in it ({error})")))?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
        let reason = format!("it is not the key of {} ({error})", certificate.display());
        wrong(key, reason)
    })
}
