//! The interface of a node that runs, over real sockets.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use precentor_core::digest::Digest;
use precentor_core::ids::{WorkerId, WorkerIncarnation};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::remote::{Access, Remote};
use crate::server::config::ServerConfig;
use crate::server::{self, ServerError};
use crate::tls;
use crate::worker::engine::Engine;
use crate::worker::local::{LocalWorker, WorkerOptions};
use crate::worker::outline::OutlineEngine;
use crate::worker::reading::{Bodies, Sources};

mod backed_up;
mod bad_input;
mod callers;
mod conversation;
mod encrypted;
mod kept;

/// The way to servers, without certificates.
fn access(servers: &[&str], token: Option<&str>) -> Access {
    Access {
        servers: servers.iter().map(|server| (*server).to_owned()).collect(),
        token: token.map(str::to_owned),
        ..Access::default()
    }
}

/// What speaks HTTP, encrypted like this.
fn client(encryption: rustls::ClientConfig) -> Client {
    let client = Client::builder().tls_backend_preconfigured(encryption);
    client.build().unwrap()
}

/// A server in this process.
struct Served {
    url: String,
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
    runtime: Runtime,
    client: Client,
    data: TempDir,
}

/// What a request was answered with.
#[derive(Debug)]
struct Heard {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Heard {
    /// The code of a problem after which nothing was changed.
    fn code(&self) -> &str {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.body["status"], self.status, "{self:?}");
        assert_eq!(self.body["changed"], "no", "{self:?}");
        self.body["code"].as_str().unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Served {
    /// A cluster of one.
    fn alone() -> Served {
        Served::start(r#"1 = "127.0.0.1:0""#, "")
    }

    /// A cluster of one that asks who asks: `ada`, by `ada's token`, or `bob` by his.
    fn with_tokens() -> Served {
        let line = |principal: &str| {
            let digest = Digest::of(format!("{principal}'s token").as_bytes());
            format!("[[http.tokens]]\nprincipal = \"{principal}\"\nblake3 = \"{digest}\"\n")
        };
        Served::start(r#"1 = "127.0.0.1:0""#, &(line("ada") + &line("bob")))
    }

    /// One of three, of which the others are not there.
    fn without_majority() -> Served {
        // Nobody listens at the ports of those.
        Served::start(
            "1 = \"127.0.0.1:0\"\n2 = \"127.0.0.1:1\"\n3 = \"127.0.0.1:1\"",
            "",
        )
    }

    fn start(nodes: &str, rest: &str) -> Served {
        let client = client(tls::for_client(None, None).unwrap());
        Served::serve(nodes, rest, "http", client)
    }

    fn serve(nodes: &str, rest: &str, scheme: &str, client: Client) -> Served {
        let data = tempdir().unwrap();
        let text = format!(
            "cluster = \"test\"\nnode = 1\ndata = \"n1\"\n[nodes]\n{nodes}\n[http]\nlisten = \"127.0.0.1:0\"\n{rest}"
        );
        let path = data.path().join("n1.toml");
        fs::write(&path, text).unwrap();
        let config = ServerConfig::read(&path).unwrap();
        server::init(&config).unwrap();
        let (stop, stopped) = mpsc::channel(2);
        let (tell, told) = crossbeam_channel::bounded::<SocketAddr>(1);
        let thread = thread::spawn(move || {
            server::run(&config, stopped, |address| tell.send(address).unwrap())
        });
        let address = told.recv_timeout(Duration::from_secs(30)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Served {
            url: format!("{scheme}://{address}"),
            stop,
            thread: Some(thread),
            runtime,
            client,
            data,
        }
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .body(body);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        self.runtime.block_on(request.send()).unwrap()
    }

    fn hear(&self, response: Response) -> Heard {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = self.runtime.block_on(response.bytes()).unwrap();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        Heard {
            status,
            headers,
            body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
        }
    }

    fn get(&self, path: &str) -> Heard {
        self.hear(self.send(Method::GET, path, &[], Vec::new()))
    }

    fn post(&self, path: &str, body: &Value) -> Heard {
        self.post_with(path, &[], body)
    }

    fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Heard {
        let body = serde_json::to_vec(body).unwrap();
        self.hear(self.send(Method::POST, path, headers, body))
    }

    /// Lets a worker in that reads project `p` in a folder.
    fn worker(&self, source: &Path) -> (Remote, LocalWorker) {
        self.worker_with([("p".to_owned(), source.to_owned())])
    }

    /// Lets one in that has these trees.
    fn worker_with<const N: usize>(&self, trees: [(String, PathBuf); N]) -> (Remote, LocalWorker) {
        let remote = Remote::new(&access(&[&self.url], None)).unwrap();
        let options = WorkerOptions {
            worker: WorkerId(1),
            incarnation: WorkerIncarnation(1),
            threads: 1,
            sources: Sources::Projects(BTreeMap::from(trees)),
            bodies: Bodies::There(remote.bodies()),
            engine: Arc::new(OutlineEngine::default()) as Arc<dyn Engine>,
            refused: None,
        };
        let worker = LocalWorker::spawn(options, remote.directory()).unwrap();
        (remote, worker)
    }

    /// Ends it in order.
    fn stop(&mut self) {
        self.stop.blocking_send(()).unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A test that fails ends here as well.
        if let Some(thread) = self.thread.take() {
            let _ = self.stop.try_send(());
            let _ = self.stop.try_send(());
            let _ = thread.join();
        }
    }
}

/// A request for a file of project `p`.
fn item(name: &str, content: &[u8]) -> Value {
    json!({
        "address": format!("ucxl://p/{name}"),
        "kind": "file",
        "subject": Digest::of(content).to_string(),
        "generator": {"engine": "outline", "version": OutlineEngine::default().version()},
    })
}

fn batch(items: &[Value]) -> Value {
    json!({ "items": items })
}

/// A folder with the files of a project.
fn sources(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}
