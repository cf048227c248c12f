//! A cluster of real processes, for tests and measurements.

// Each of those uses a part of it; helpers of tests are tests too, which the lint does not see.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use precentor_core::ids::NodeId;
use precentor_core::principal::Principal;
use precentor_node::pki::{Authority, CA_FILE, write_new};
use precentor_node::tls::{Who, for_client};
use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tokio::runtime::Runtime;

pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn precentor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_precentor"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("PRECENTOR_SERVER")
        .env_remove("PRECENTOR_CA")
        .env_remove("PRECENTOR_CERT")
        .stdin(Stdio::null());
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that is there for as long as the test.
pub struct Process(pub Child);

impl Process {
    /// Starts it, and waits until it says that it is there.
    pub fn start(mut command: Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{command:?} did not start");
        Process(child)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends in order, and says how it ended.
    pub fn end(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.0.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address of this machine that no other cluster has: ports that were free a moment ago
/// may be taken by the next.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_be_bytes();
    let cluster = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::new(127, 1 + process[2] % 254, process[3], cluster)
}

/// What proves who is who, made by an authority of the cluster's own.
pub struct Papers {
    pub folder: PathBuf,
    pub authority: Authority,
}

impl Papers {
    fn new(home: &Path) -> Papers {
        let folder = home.join("pki");
        let authority = Authority::found(&folder, "test").unwrap();
        Papers { folder, authority }
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.join(CA_FILE)
    }

    pub fn write(&self, name: &str, who: &Who, hosts: &[String], good_for: Duration) -> PathBuf {
        let path = self.folder.join(format!("{name}.pem"));
        let pem = self.authority.sign(who, hosts, good_for).unwrap();
        write_new(&path, &pem).unwrap();
        path
    }
}

/// How long certificates are good for.
pub const GOOD_FOR: Duration = Duration::from_secs(60 * 60);

/// Three nodes.
pub struct Cluster {
    pub home: TempDir,
    /// None if nothing is encrypted.
    pub papers: Option<Papers>,
    host: Ipv4Addr,
    pub urls: Vec<String>,
    pub nodes: Vec<Option<Process>>,
    pub runtime: Runtime,
    pub client: Client,
}

impl Cluster {
    /// One whose members prove who they are, and its client too.
    pub fn found() -> Cluster {
        Cluster::found_for(GOOD_FOR)
    }

    /// The same, with certificates of nodes that are good for so long.
    pub fn found_for(good_for: Duration) -> Cluster {
        let home = tempdir().unwrap();
        let papers = Papers::new(home.path());
        Cluster::with(home, Some(papers), good_for)
    }

    /// One in which everybody is who they say they are.
    pub fn plain() -> Cluster {
        Cluster::with(tempdir().unwrap(), None, GOOD_FOR)
    }

    fn with(home: TempDir, papers: Option<Papers>, good_for: Duration) -> Cluster {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let own = papers.as_ref().map(|papers| {
            let who = Who::Client(Principal("tester".to_owned()));
            let path = papers.write("tester", &who, &[], GOOD_FOR);
            (path.clone(), path)
        });
        let ca = papers.as_ref().map(Papers::ca);
        let encryption = for_client(ca.as_ref(), own).unwrap();
        let client = Client::builder().tls_backend_preconfigured(encryption);
        let mut cluster = Cluster {
            home,
            host: own_address(),
            urls: Vec::new(),
            nodes: Vec::new(),
            runtime,
            client: client.build().unwrap(),
            papers,
        };
        for _ in 0..3 {
            cluster.name(good_for);
        }
        for node in 0..3 {
            let made = precentor(&["init", "--config", &cluster.config(node)])
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", text(&made.stderr));
            cluster.start(node);
        }
        cluster
    }

    /// Names one node more in the configurations of all, which it does not start. Says which.
    pub fn name(&mut self, good_for: Duration) -> usize {
        let (node, host) = (self.nodes.len() as u64 + 1, self.host);
        let scheme = match &self.papers {
            Some(papers) => {
                let (who, hosts) = (Who::Node(NodeId(node)), [host.to_string()]);
                papers.write(&format!("n{node}"), &who, &hosts, good_for);
                "https"
            }
            None => "http",
        };
        self.urls
            .push(format!("{scheme}://{host}:{}", 7_400 + node));
        self.nodes.push(None);
        let peers: String = (1..=node)
            .map(|node| format!("{node} = \"{host}:{}\"\n", 7_410 + node))
            .collect();
        for node in 1..=node {
            let mut config = format!(
                "cluster = \"test\"\nnode = {node}\ndata = \"n{node}\"\n[nodes]\n{peers}[http]\nlisten = \"{host}:{}\"\n",
                7_400 + node
            );
            if self.papers.is_some() {
                config +=
                    &format!("[tls]\nca = \"pki/ca.pem\"\ncertificate = \"pki/n{node}.pem\"\n");
            }
            let path = self.home.path().join(format!("n{node}.toml"));
            let beside = path.with_extension("new");
            fs::write(&beside, config).unwrap();
            fs::rename(beside, path).unwrap();
        }
        self.nodes.len() - 1
    }

    pub fn config(&self, node: usize) -> String {
        let path = self.home.path().join(format!("n{}.toml", node + 1));
        path.to_str().unwrap().to_owned()
    }

    pub fn start(&mut self, node: usize) {
        let command = precentor(&["server", "--config", &self.config(node)]);
        self.nodes[node] = Some(Process::start(command));
    }

    /// The program, as somebody who asks this cluster.
    pub fn precentor(&self, arguments: &[&str]) -> Command {
        let mut command = precentor(arguments);
        command.env("PRECENTOR_SERVER", self.urls.join(","));
        if let Some(papers) = &self.papers {
            command.env("PRECENTOR_CA", papers.ca());
            command.env("PRECENTOR_CERT", papers.folder.join("tester.pem"));
        }
        command
    }

    pub fn node(&self, node: usize) -> &Process {
        self.nodes[node].as_ref().unwrap()
    }

    /// A worker that reads project `p` in a folder.
    pub fn worker(&self, source: &Path) -> Process {
        let source = format!("p={}", source.display());
        Process::start(self.precentor(&["worker", "--source", &source]))
    }

    /// Asks for the contexts of project `p`.
    pub fn submit(&self, source: &Path) -> Command {
        let mut command = self.precentor(&["submit", source.to_str().unwrap(), "--project", "p"]);
        command.args(["--json", "--quiet"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn get(&self, node: usize, path: &str) -> Option<(StatusCode, Value)> {
        let request = self.client.get(format!("{}{path}", self.urls[node]));
        let request = request.timeout(Duration::from_secs(1));
        self.runtime.block_on(async {
            let response = request.send().await.ok()?;
            Some((response.status(), response.json().await.ok()?))
        })
    }

    pub fn post(
        &self,
        node: usize,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> (StatusCode, Value) {
        let mut request = self.client.post(format!("{}{path}", self.urls[node]));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .body(serde_json::to_vec(body).unwrap())
            .timeout(PATIENCE);
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            let (status, bytes) = (response.status(), response.bytes().await.unwrap());
            (
                status,
                serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            )
        })
    }

    /// The node that says that it leads, when one does.
    pub fn leader(&self) -> usize {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let leads = |node: &usize| {
                let status = self.get(*node, "/v1/status");
                status.is_some_and(|(_, status)| status["role"] == "leader")
            };
            let running = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_some());
            if let Some(leader) = running.into_iter().find(leads) {
                return leader;
            }
            assert!(Instant::now() < give_up, "nobody leads");
        }
    }
}

/// A folder with so many files of a few lines.
pub fn tree(files: usize) -> TempDir {
    let dir = tempdir().unwrap();
    for number in 0..files {
        let folder = dir.path().join(format!("d{}", number % 10));
        fs::create_dir_all(&folder).unwrap();
        let body = format!("def f{number}():\n    \"\"\"Number {number}.\"\"\"\n");
        fs::write(folder.join(format!("f{number}.py")), body).unwrap();
    }
    dir
}

/// What `submit` summed up: nothing was lost, and nothing happened twice.
pub fn summary(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    for none in ["lost", "duplicated", "failed", "skipped"] {
        assert_eq!(summary[none], 0, "{summary}");
    }
    summary
}

/// A request for a context that nobody makes.
pub fn batch(number: u64) -> Value {
    json!({"items": [{
        "address": format!("ucxl://p/{number}"),
        "kind": "file",
        "subject": "ab".repeat(32),
        "generator": {"engine": "nobody", "version": 1},
    }]})
}
