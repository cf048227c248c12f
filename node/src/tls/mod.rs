//! Encrypted connections whose ends prove who they are (mutual TLS 1.3, RFC 8446). A node
//! proves by its certificate which node it is, to other nodes and to clients; a client may
//! prove by one who it is. Whoever signed certificates for a cluster decides who belongs to
//! it, so each cluster has a signer of its own. The files are read again when they change.
//! Knows no message and no request.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use precentor_core::digest::Digest;
use precentor_core::ids::NodeId;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

mod files;
mod identity;
#[cfg(test)]
mod tests;

pub use self::files::{TlsError, TlsFiles};
pub(crate) use self::files::{certificates, has_key};
pub use self::identity::{Identity, IdentityError, Who, node_name};

use self::files::provider;
use crate::reread::Reread;

/// What is spoken between nodes: a client of the other interface that comes here by mistake,
/// or is sent here, is turned away before it says anything (RFC 7301).
const PEER_PROTOCOL: &[u8] = b"precentor-peer";
const HTTP_PROTOCOL: &[u8] = b"http/1.1";

/// What a client has proved, to a node that believed certain others then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who it is.
    pub identity: Identity,
    trust: Digest,
}

/// Bytes that go both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection, whether encrypted or not. What is written may wait until it is flushed.
pub type Stream = Box<dyn Duplex>;

/// What a node proves with who it is, and whom it believes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Reread<Sides, TlsError>>);

/// The same, ready to be used.
#[derive(Debug)]
struct Sides {
    own: Identity,
    trust: Digest,
    /// For peers that are dialled.
    dial: Arc<ClientConfig>,
    /// For peers that dial.
    peers: Arc<ServerConfig>,
    /// For clients.
    clients: Arc<ServerConfig>,
}

impl Credentials {
    /// Reads the files of a node, and again whenever they change; what is wrong with them
    /// then is logged, and what was read before goes on.
    ///
    /// # Errors
    /// If they cannot be read, are not a certificate of that node with its key, or the
    /// certificate is not one that the others would believe.
    pub fn open(files: TlsFiles, node: NodeId) -> Result<Credentials, TlsError> {
        let paths = files.paths();
        let read = move || sides(&files, node);
        Ok(Credentials(Arc::new(Reread::open(paths, Box::new(read))?)))
    }

    /// Until when the node's certificate is good.
    #[must_use]
    pub fn own(&self) -> Identity {
        self.0.current().own.clone()
    }

    /// Tells those who are believed now from others: it changes when they do.
    #[must_use]
    pub fn trust(&self) -> Digest {
        self.0.current().trust
    }

    /// Would who has proved something be believed now?
    #[must_use]
    pub fn hold(&self, proof: &Proof) -> bool {
        proof.identity.left().is_some() && proof.trust == self.trust()
    }

    /// Encrypts a connection to a peer that was dialled; it has proved that it is that node.
    ///
    /// # Errors
    /// If it has not, or does not believe that this is the node that it is.
    pub async fn dial(&self, stream: TcpStream, peer: NodeId) -> io::Result<(Stream, Identity)> {
        let name = ServerName::try_from(node_name(peer)).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.0.current().dial.clone());
        let stream = connector.connect(name, stream).await?;
        let identity = proved(stream.get_ref().1.peer_certificates())?;
        let identity = identity.ok_or_else(nameless)?;
        Ok((Box::new(stream), identity))
    }

    /// Encrypts a connection of whoever dialled as a peer, and says who has proved to be at
    /// its other end.
    ///
    /// # Errors
    /// If nobody that this node believes is.
    pub async fn accept_peer(&self, stream: TcpStream) -> io::Result<(Stream, Identity)> {
        let acceptor = TlsAcceptor::from(self.0.current().peers.clone());
        let stream = acceptor.accept(stream).await?;
        let identity = proved(stream.get_ref().1.peer_certificates())?;
        Ok((Box::new(stream), identity.ok_or_else(nameless)?))
    }

    /// Encrypts a connection of a client, and says who has proved to be at its other end, if
    /// it has.
    ///
    /// # Errors
    /// If it shows a certificate that this node does not believe.
    pub async fn accept_client(&self, stream: TcpStream) -> io::Result<(Stream, Option<Proof>)> {
        let sides = self.0.current();
        let acceptor = TlsAcceptor::from(sides.clients.clone());
        let stream = acceptor.accept(stream).await?;
        let identity = proved(stream.get_ref().1.peer_certificates())?;
        let proof = identity.map(|identity| Proof {
            identity,
            trust: sides.trust,
        });
        Ok((Box::new(stream), proof))
    }
}

/// Who a chain of certificates is of, which was verified before.
fn proved(chain: Option<&[CertificateDer<'_>]>) -> io::Result<Option<Identity>> {
    let Some(first) = chain.and_then(<[_]>::first) else {
        return Ok(None);
    };
    Identity::of(first).map(Some).map_err(io::Error::other)
}

fn nameless() -> io::Error {
    io::Error::other("the other end shows no certificate")
}

/// Reads all that a node needs, and sees to it that others will believe it: what is wrong
/// is told at its start, not by those that turn it away.
fn sides(files: &TlsFiles, node: NodeId) -> Result<Sides, TlsError> {
    let (roots, trust) = files::roots(&files.ca)?;
    let roots = Arc::new(roots);
    let key = Arc::new(files::certified_key(&files.certificate, &files.key)?);
    let wrong = |reason: String| TlsError::Wrong {
        path: files.certificate.clone(),
        reason,
    };
    let own = Identity::of(&key.cert[0]).map_err(|error| wrong(error.to_string()))?;
    if own.who != Who::Node(node) {
        return Err(wrong(format!(
            "it is a certificate of {}, and this is {node}; make one with: precentor pki issue node {}",
            own.who, node.0
        )));
    }
    believed(&roots, &key, node).map_err(|error| {
        wrong(format!(
            "it would not be believed by those who believe {}: {error}; make one with: precentor pki issue node {}",
            files.ca.display(),
            node.0
        ))
    })?;
    let server = |must_prove: bool, protocol: &[u8]| {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
        let verifier = match must_prove {
            true => verifier,
            false => verifier.allow_unauthenticated(),
        };
        let verifier = verifier.build().map_err(|error| TlsError::Wrong {
            path: files.ca.clone(),
            reason: error.to_string(),
        })?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| wrong(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Always(key.clone())));
        config.alpn_protocols = vec![protocol.to_vec()];
        // Whoever comes again proves again who they are.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    };
    let dial = client(
        roots.clone(),
        Some(Arc::new(Always(key.clone()))),
        PEER_PROTOCOL,
    );
    Ok(Sides {
        own,
        trust,
        dial: Arc::new(dial),
        peers: server(true, PEER_PROTOCOL)?,
        clients: server(false, HTTP_PROTOCOL)?,
    })
}

/// Would others believe that this is the node's certificate?
fn believed(
    roots: &Arc<RootCertStore>,
    key: &CertifiedKey,
    node: NodeId,
) -> Result<(), Box<dyn std::error::Error>> {
    let (first, others) = key.cert.split_first().ok_or("there is no certificate")?;
    let as_server =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots.clone(), provider())
            .build()?;
    let name = ServerName::try_from(node_name(node))?;
    as_server.verify_server_cert(first, others, &name, &[], UnixTime::now())?;
    let as_client =
        WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build()?;
    as_client.verify_client_cert(first, others, UnixTime::now())?;
    Ok(())
}

fn client(
    roots: Arc<RootCertStore>,
    key: Option<Arc<dyn rustls::client::ResolvesClientCert>>,
    protocol: &[u8],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has the cipher suites of TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match key {
        Some(key) => builder.with_client_cert_resolver(key),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// How a client of a cluster speaks to servers that it believes because somebody in `ca`
/// signed their certificates, with a certificate of its own if it has one. That one is read
/// again when it changes. Without `ca` it believes nobody, and can speak without encryption
/// only.
///
/// # Errors
/// If a file cannot be read, or is not what it must be.
pub fn for_client(
    ca: Option<&PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
) -> Result<ClientConfig, TlsError> {
    let roots = match ca {
        Some(ca) => files::roots(ca)?.0,
        None => RootCertStore::empty(),
    };
    let key: Option<Arc<dyn rustls::client::ResolvesClientCert>> = match certificate {
        Some((certificate, key)) => {
            let paths = vec![certificate.clone(), key.clone()];
            let read = move || files::certified_key(&certificate, &key);
            Some(Arc::new(Latest(Reread::open(paths, Box::new(read))?)))
        }
        None => None,
    };
    Ok(client(Arc::new(roots), key, HTTP_PROTOCOL))
}

/// One certificate, whatever the other end asks for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl rustls::client::ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The certificate that is in a file now.
#[derive(Debug)]
struct Latest(Reread<CertifiedKey, TlsError>);

impl rustls::client::ResolvesClientCert for Latest {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
