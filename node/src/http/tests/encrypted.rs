//! The interface of a node that has a certificate.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};

use super::*;
use crate::client::Courier;
use crate::pki::tests::{HOUR, Papers};

const PATIENCE: Duration = Duration::from_secs(30);

fn encrypted(papers: &Papers, certificate: Option<PathBuf>) -> Client {
    let certificate = certificate.map(|file| (file.clone(), file));
    client(tls::for_client(Some(&papers.ca()), certificate).unwrap())
}

impl Served {
    /// A cluster of one with a certificate, and a client that has one or not.
    fn encrypted(papers: &Papers, certificate: Option<PathBuf>, tokens: &str) -> Served {
        let files = papers.node(1, HOUR);
        let (ca, own) = (files.ca.display(), files.certificate.display());
        let rest = format!("{tokens}[tls]\nca = \"{ca}\"\ncertificate = \"{own}\"\n");
        let client = encrypted(papers, certificate);
        Served::serve(r#"1 = "127.0.0.1:0""#, &rest, "https", client)
    }

    /// As somebody else.
    fn with(&mut self, papers: &Papers, certificate: Option<PathBuf>) {
        self.client = encrypted(papers, certificate);
    }
}

#[test]
fn who_asks_is_whose_certificate_it_is() {
    let papers = Papers::new();
    let mut served = Served::encrypted(&papers, Some(papers.client("ada", HOUR)), "");
    // From the first role on, others may do nothing.
    let admin = json!({"grants": [{"role": "admin"}]});
    let put = |served: &Served, path: &str| {
        let body = serde_json::to_vec(&admin).unwrap();
        served.hear(served.send(Method::PUT, path, &[], body))
    };
    assert_eq!(put(&served, "/v1/roles/ada").status, 200);
    served.with(&papers, Some(papers.client("bob", HOUR)));
    let denied = put(&served, "/v1/roles/bob");
    assert_eq!((denied.status, denied.code()), (403, "denied"));
}

#[test]
fn who_has_no_certificate_needs_a_token() {
    let papers = Papers::new();
    let token = Digest::of(b"ada's token");
    let line = format!("[[http.tokens]]\nprincipal = \"ada\"\nblake3 = \"{token}\"\n");
    let mut served = Served::encrypted(&papers, None, &line);
    assert_eq!(served.get("/healthz").status, 200);
    let heard = served.get("/v1/status");
    assert_eq!((heard.status, heard.code()), (401, "unauthenticated"));
    let with = |served: &Served, token: &str| {
        let headers = [("authorization", token)];
        let response = served.send(Method::GET, "/v1/status", &headers, Vec::new());
        served.hear(response).status
    };
    assert_eq!(with(&served, "Bearer ada's token"), 200);
    // A token that is none is not made good by a certificate.
    served.with(&papers, Some(papers.client("bob", HOUR)));
    assert_eq!(served.get("/v1/status").status, 200);
    assert_eq!(with(&served, "Bearer eve's token"), 401);
    // Nobody asks on behalf of a node.
    served.with(&papers, Some(papers.node(2, HOUR).certificate));
    assert_eq!(served.get("/v1/status").status, 401);
}

#[test]
fn who_does_not_speak_tls_is_told_to() {
    let papers = Papers::new();
    let served = Served::encrypted(&papers, None, "");
    let address = served.url.strip_prefix("https://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // What it did not read makes it a reset.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https://"), "{answer}");
}

#[test]
fn a_page_of_another_origin_cannot_use_a_certificate() {
    let papers = Papers::new();
    let served = Served::encrypted(&papers, Some(papers.client("ada", HOUR)), "");
    let with = |origin: &str, host: &str| {
        let headers = [("origin", origin), ("host", host)];
        served.hear(served.send(Method::GET, "/v1/status", &headers, Vec::new()))
    };
    assert_eq!(with("https://n1.example.org", "n1.example.org").status, 200);
    for origin in ["http://n1.example.org", "https://evil.example.org", "null"] {
        assert_eq!(with(origin, "n1.example.org").code(), "cross_origin");
    }
}

#[test]
fn a_client_whose_certificate_is_renewed_goes_on_and_one_whose_is_not_is_refused() {
    let papers = Papers::new();
    let ada = papers.client("ada", Duration::from_secs(4));
    let served = Served::encrypted(&papers, Some(ada.clone()), "");
    let mut access = access(&[&served.url], None);
    (access.ca, access.certificate) = (Some(papers.ca()), Some(ada.clone()));
    let remote = Remote::new(&access).unwrap();
    let mut courier = Courier::new(remote.directory(), Principal(String::new()));
    let is_answered = |courier: &mut Courier| {
        let answer = courier.call(Request::Status, PATIENCE);
        assert!(matches!(answer, Some(Reply::Status(_))), "{answer:?}");
    };
    is_answered(&mut courier);
    assert_eq!(served.get("/v1/status").status, 200);
    papers.renew(&ada);
    // Until what the connection was opened with is over, and beyond.
    let heard = loop {
        is_answered(&mut courier);
        let heard = served.get("/v1/status");
        if heard.status != 200 {
            break heard;
        }
    };
    assert_eq!((heard.status, heard.code()), (421, "certificate_over"));
    assert_eq!(heard.header("connection"), "close");
    is_answered(&mut courier);
    // This client reads its file anew as well.
    assert_eq!(served.get("/v1/status").status, 200);
}

#[test]
fn a_worker_whose_certificate_is_over_waits_until_it_is_renewed() {
    let papers = Papers::new();
    let ada = papers.client("ada", Duration::from_secs(1));
    let served = Served::encrypted(&papers, None, "");
    let mut access = access(&[&served.url], None);
    (access.ca, access.certificate) = (Some(papers.ca()), Some(ada.clone()));
    let answer = |access: &Access, patience| {
        let remote = Remote::new(access).unwrap();
        let mut courier = Courier::new(remote.directory(), Principal(String::new()));
        courier.call(Request::Status, patience)
    };
    // Who only asks is told so at once.
    let give_up = Instant::now() + PATIENCE;
    while !matches!(answer(&access, PATIENCE), Some(Reply::Invalid { .. })) {
        assert!(Instant::now() < give_up, "the certificate is not over");
    }
    access.patient = true;
    assert_eq!(answer(&access, Duration::from_millis(300)), None);
    // Who waits is answered when it has been renewed.
    let renewed = thread::scope(|scope| {
        let waiting = scope.spawn(|| answer(&access, PATIENCE));
        papers.renew(&ada);
        waiting.join().unwrap()
    });
    assert!(matches!(renewed, Some(Reply::Status(_))), "{renewed:?}");
}

#[test]
fn a_client_of_an_authority_that_is_believed_no_more_is_turned_away() {
    let (papers, others) = (Papers::new(), Papers::new());
    let served = Served::encrypted(&papers, Some(papers.client("ada", HOUR)), "");
    assert_eq!(served.get("/v1/status").status, 200);
    let put = |files: &[PathBuf], place: &Path| {
        let text: Vec<u8> = files
            .iter()
            .flat_map(|file| fs::read(file).unwrap())
            .collect();
        let beside = place.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, place).unwrap();
    };
    let anew = || {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let heard = served.get("/v1/status");
            if heard.status == 421 {
                return;
            }
            assert!(Instant::now() < give_up, "nobody has to connect anew");
        }
    };
    // Both are believed for a while: whoever connects anew is believed again.
    let (ca, own) = (papers.ca(), papers.ca().with_file_name("n1.pem"));
    let first = fs::read(&ca).unwrap();
    let kept = ca.with_file_name("first.pem");
    fs::write(&kept, first).unwrap();
    put(&[kept, others.ca()], &ca);
    anew();
    assert_eq!(served.get("/v1/status").status, 200);
    put(&[others.node(1, HOUR).certificate], &own);
    put(&[others.ca()], &ca);
    anew();
    let request = served.client.get(format!("{}/v1/status", served.url));
    assert!(served.runtime.block_on(request.send()).is_err());
}

#[test]
fn a_client_that_believes_no_server_is_told_so_at_once() {
    let (papers, others) = (Papers::new(), Papers::new());
    let served = Served::encrypted(&papers, None, "");
    let told = |ca: PathBuf, certificate: Option<PathBuf>| {
        let mut access = access(&[&served.url, &served.url], None);
        (access.ca, access.certificate) = (Some(ca), certificate);
        let remote = Remote::new(&access).unwrap();
        let mut courier = Courier::new(remote.directory(), Principal(String::new()));
        match courier.call(Request::Status, PATIENCE) {
            Some(Reply::Invalid { message }) => message,
            other => panic!("{other:?}"),
        }
    };
    let unknown = told(others.ca(), None);
    assert!(unknown.contains("invalid peer certificate"), "{unknown}");
    let unbelieved = told(papers.ca(), Some(others.client("ada", HOUR)));
    assert!(unbelieved.contains("fatal alert"), "{unbelieved}");
    let missing = told(papers.ca(), None);
    assert!(missing.contains("client's certificate"), "{missing}");
}
