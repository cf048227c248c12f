use std::os::unix::fs::PermissionsExt;

use precentor_core::principal::Principal;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::tls::{Credentials, TlsFiles};

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

/// An authority, and what it has signed.
pub(crate) struct Papers {
    home: TempDir,
    authority: Authority,
}

impl Papers {
    pub(crate) fn new() -> Papers {
        let home = tempdir().unwrap();
        let authority = Authority::found(home.path(), "test").unwrap();
        Papers { home, authority }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.home.path().join(CA_FILE)
    }

    /// A certificate of a node that is found at this machine.
    pub(crate) fn node(&self, node: u64, good_for: Duration) -> TlsFiles {
        let who = Who::Node(NodeId(node));
        let certificate = self.write(&format!("n{node}"), &who, &["127.0.0.1".into()], good_for);
        TlsFiles {
            ca: self.ca(),
            key: certificate.clone(),
            certificate,
        }
    }

    pub(crate) fn credentials(&self, node: u64) -> Credentials {
        Credentials::open(self.node(node, HOUR), NodeId(node)).unwrap()
    }

    pub(crate) fn client(&self, name: &str, good_for: Duration) -> PathBuf {
        let who = Who::Client(Principal(name.to_owned()));
        self.write(name, &who, &[], good_for)
    }

    pub(crate) fn renew(&self, path: &Path) {
        renew(&self.authority, path, HOUR).unwrap();
    }

    fn write(&self, name: &str, who: &Who, hosts: &[String], good_for: Duration) -> PathBuf {
        let path = self.home.path().join(format!("{name}.pem"));
        let pem = self.authority.sign(who, hosts, good_for).unwrap();
        write_new(&path, &pem).unwrap();
        path
    }
}

fn client(name: &str) -> Who {
    Who::Client(Principal(name.to_owned()))
}

#[test]
fn an_authority_is_made_once_and_its_key_is_for_nobody_else() {
    let papers = Papers::new();
    let folder = papers.home.path();
    let before = fs::read(folder.join(CA_KEY_FILE)).unwrap();
    let again = Authority::found(folder, "test").unwrap_err();
    assert!(matches!(again, PkiError::Exists { .. }), "{again}");
    assert_eq!(fs::read(folder.join(CA_KEY_FILE)).unwrap(), before);
    let ada = papers.client("ada", HOUR);
    for secret in [folder.join(CA_KEY_FILE), ada] {
        let mode = fs::metadata(&secret).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", secret.display());
    }
}

#[test]
fn a_certificate_says_whose_it_is_where_that_is_found_and_until_when() {
    let papers = Papers::new();
    let hosts = ["10.0.0.1", "::1", "n1.example.org"].map(str::to_owned);
    let path = papers.write("n1", &Who::Node(NodeId(1)), &hosts, HOUR);
    let shown = show(&path).unwrap();
    assert_eq!(shown.identity.who, Who::Node(NodeId(1)));
    assert_eq!(shown.hosts, hosts);
    assert_eq!(shown.issuer, "CN=precentor CA of test");
    let left = shown.identity.left().unwrap();
    assert!(
        left > HOUR - Duration::from_secs(60) && left < HOUR + Duration::from_secs(60),
        "{left:?}"
    );

    let before = fs::read(&path).unwrap();
    let renewed = renew(&papers.authority, &path, 2 * HOUR).unwrap();
    assert_eq!(renewed.identity.who, shown.identity.who);
    assert_eq!(renewed.hosts, shown.hosts);
    assert!(renewed.identity.left().unwrap() > HOUR);
    assert_ne!(fs::read(&path).unwrap(), before);

    let ada = show(&papers.client("ada", HOUR)).unwrap();
    assert_eq!(ada.identity.who, client("ada"));
    assert!(ada.hosts.is_empty());
}

#[test]
fn what_nobody_would_believe_is_not_signed() {
    let papers = Papers::new();
    let host = |text: &str| vec![text.to_owned()];
    let node = Who::Node(NodeId(1));
    let decades = 20 * 365 * DAY;
    for (who, hosts, good_for, says) in [
        (client("cluster"), vec![], HOUR, "not be the cluster's own"),
        (client(""), vec![], HOUR, "1 to 128 bytes"),
        (client(&"a".repeat(129)), vec![], HOUR, "1 to 128 bytes"),
        (
            client("ada"),
            host("h"),
            HOUR,
            "only nodes are found at hosts",
        ),
        (node.clone(), host("10.0.0.1:7401"), HOUR, "without a port"),
        (node.clone(), host(""), HOUR, "is no host"),
        (
            node.clone(),
            host("node-2.precentor"),
            HOUR,
            "several nodes",
        ),
        (
            Who::Node(NodeId(0)),
            vec![],
            HOUR,
            "it would be of the client",
        ),
        (node, vec![], decades, "longer than the authority"),
    ] {
        let error = papers.authority.sign(&who, &hosts, good_for).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_certificate_whose_key_is_elsewhere_is_not_renewed_without_it() {
    let papers = Papers::new();
    let ada = papers.client("ada", HOUR);
    let text = fs::read_to_string(&ada).unwrap();
    let (certificate, _) = text.split_at(text.find("-----BEGIN PRIVATE").unwrap());
    fs::write(&ada, certificate).unwrap();
    let error = renew(&papers.authority, &ada, HOUR).unwrap_err();
    assert!(
        error.to_string().contains("its key is in another file"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&ada).unwrap(), certificate);
}
