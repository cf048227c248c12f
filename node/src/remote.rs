//! A cluster somewhere else, as its servers offer it over HTTP: ways to ask its nodes,
//! and the bodies that they have. Whatever is asked goes to one of the servers, which
//! sees to it that it reaches the leader; one that does not answer is passed over.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use precentor_core::bytes::Bytes;
use precentor_core::digest::Digest;
use precentor_core::ids::{ClusterId, NodeId};
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use precentor_core::wire::relay::{Asked, Told};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::client::{Directory, Door};
use crate::http::problem::Problem;
use crate::http::{ASK_PATH, BACKUP_PATH, BODIES_PATH, STATUS_PATH, WAIT_HEADER};
use crate::net::{Line, Question, Questions};
use crate::server::founding;
use crate::tls::{self, TlsError};

/// How long a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a server may look for an answer before the question comes back. Short: one
/// that was stopped does not say so, and others may know more.
const WAIT: Duration = Duration::from_secs(2);
/// How long its answer may take beyond that.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How long a server may take until its state is saved for a backup.
const BACKUP_WAIT: Duration = Duration::from_secs(120);
/// How long all of a backup may take.
const BACKUP_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it may be silent meanwhile, before its first byte too.
const SILENCE_MAX: Duration = Duration::from_secs(130);
/// Questions that one server has at a time.
const OPEN_MAX: usize = 64;
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = precentor_core::limits::FRAME_BYTES_MAX;

/// Why there is no way to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nothing is named.
    #[error(
        "say where the cluster is: --server https://HOST:PORT, or PRECENTOR_SERVER in the environment"
    )]
    Nowhere,
    /// The address is none.
    #[error("--server {text}: {reason}; write http://HOST:PORT or https://HOST:PORT")]
    Address {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token is none.
    #[error("the token has characters that no token has; copy it again")]
    Token,
    /// Nobody says whose certificates are good.
    #[error(
        "--server {text}: say whose certificates are believed: --ca FILE, or PRECENTOR_CA in the environment"
    )]
    Believed {
        /// What was written.
        text: String,
    },
    /// The certificates are none.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system refused.
    #[error("cannot start the network threads: {0}")]
    System(#[from] io::Error),
    /// The client cannot be made.
    #[error("cannot speak HTTP: {0}")]
    Http(#[from] reqwest::Error),
}

/// Where a cluster is, and what proves who asks it.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Its servers: one is enough, with more the others stand in for it.
    pub servers: Vec<String>,
    /// Says who asks, where somebody has to say.
    pub token: Option<String>,
    /// Those whose signature makes a server's certificate good.
    pub ca: Option<PathBuf>,
    /// Says who asks, too.
    pub certificate: Option<PathBuf>,
    /// Its key, if that is in another file.
    pub key: Option<PathBuf>,
    /// A server that is not believed, or does not believe who asks, is waited for as one that
    /// does not run: certificates are renewed, and tokens put back. For whoever has work in hand.
    pub patient: bool,
}

/// The servers of a cluster. Dropped, nothing more is asked of them.
#[derive(Debug)]
pub struct Remote {
    runtime: Runtime,
    client: Client,
    servers: Vec<Url>,
    directory: Directory,
}

impl Remote {
    /// The way to a cluster. Nothing is asked yet.
    ///
    /// # Errors
    /// If there is no address, or one is none, or a file is not what it must be, or the system
    /// gives no thread.
    pub fn new(access: &Access) -> Result<Remote, RemoteError> {
        let Access {
            servers,
            token,
            ca,
            certificate,
            key,
            patient,
        } = access;
        let servers: Vec<Url> = servers
            .iter()
            .map(|text| url(text, ca.is_some()))
            .collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(RemoteError::Nowhere);
        }
        let certificate = certificate.clone();
        let own = certificate.map(|file| (file.clone(), key.clone().unwrap_or(file)));
        let encryption = tls::for_client(ca.as_ref(), own)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("remote")
            .enable_all()
            .build()?;
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| RemoteError::Token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_PATIENCE)
            .timeout(WAIT + ANSWER_PATIENCE)
            .tcp_nodelay(true)
            .no_proxy()
            .tls_backend_preconfigured(encryption)
            .build()?;
        let directory = Directory::default();
        let trust = Trust::new(servers.len());
        // Servers do not say who leads: they are numbered as they were named.
        for (number, server) in servers.iter().enumerate() {
            let (line, questions) = Line::new(NodeId(number as u64 + 1));
            directory.add(Door::There(line));
            let server = Server {
                number,
                client: client.clone(),
                url: join(server, ASK_PATH),
                trust: trust.clone(),
                patient: *patient,
            };
            runtime.spawn(ask_all(server, questions));
        }
        Ok(Remote {
            runtime,
            client,
            servers,
            directory,
        })
    }

    /// Which cluster it is: its name, and its id.
    ///
    /// # Errors
    /// What the last server said that was asked, if none says it.
    pub fn cluster(&self) -> Result<(String, ClusterId), String> {
        let mut reason = "no server is named".to_owned();
        for server in &self.servers {
            let asked = self.client.get(join(server, STATUS_PATH));
            let bytes = self
                .runtime
                .block_on(async { read(asked.send().await?).await });
            let told = bytes.map_err(|error| match error {
                AskError::Refused { text, .. } => detail(&text),
                error => error.distrust().unwrap_or_else(|| error.to_string()),
            });
            let found = told.and_then(|bytes| {
                let words: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
                let words = words.as_ref();
                let word = |name: &str| words?.get(name)?.as_str();
                let id = word("cluster_id").and_then(founding::from_hex);
                let found = word("cluster").map(str::to_owned).zip(id);
                found.ok_or_else(|| "its program is too old to say which cluster it is".to_owned())
            });
            match found {
                Ok(found) => return Ok(found),
                Err(error) => reason = format!("{server}: {error}"),
            }
        }
        Err(reason)
    }

    /// The ways to the servers.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// Has a server take a backup, into a file that is made anew. Of one that cannot, or breaks
    /// off, the next one is asked. Says how much came, as it comes.
    ///
    /// # Errors
    /// What the last server said that was asked, or the system. What is in the file then is no
    /// backup.
    pub fn backup(&self, path: &Path, came: &mut dyn FnMut(u64)) -> Result<(), String> {
        let mut reason = "no server is named".to_owned();
        for server in &self.servers {
            // It holds all that the cluster does: nobody else reads it.
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let file = options.open(path);
            let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
            let taken = self.runtime.block_on(async {
                let asked = self
                    .client
                    .get(join(server, BACKUP_PATH))
                    .header(WAIT_HEADER, BACKUP_WAIT.as_millis().to_string())
                    .timeout(BACKUP_PATIENCE)
                    .send();
                let response = timeout(SILENCE_MAX, asked).await;
                download(response.map_err(|_| AskError::Silent)??, &mut file, came).await
            });
            reason = match taken {
                Ok(()) => return Ok(()),
                Err(AskError::Refused { status, text })
                    if [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status) =>
                {
                    return Err(detail(&text));
                }
                Err(AskError::Refused { text, .. }) => format!("{server}: {}", detail(&text)),
                Err(error) => {
                    let text = error.distrust().unwrap_or_else(|| error.to_string());
                    format!("{server}: {text}")
                }
            };
        }
        Err(reason)
    }

    /// What reads the bodies that the servers have.
    #[must_use]
    pub fn bodies(&self) -> RemoteBodies {
        RemoteBodies(Arc::new(Bodies {
            runtime: self.runtime.handle().clone(),
            client: self.client.clone(),
            paths: self
                .servers
                .iter()
                .map(|server| join(server, BODIES_PATH))
                .collect(),
            preferred: AtomicUsize::new(0),
        }))
    }
}

fn url(text: &str, has_ca: bool) -> Result<Url, RemoteError> {
    let wrong = |reason: String| RemoteError::Address {
        text: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" => Ok(url),
        "https" if has_ca => Ok(url),
        "https" => Err(RemoteError::Believed {
            text: text.to_owned(),
        }),
        scheme => Err(wrong(format!("its scheme is {scheme}"))),
    }
}

fn join(server: &Url, path: &str) -> Url {
    let mut url = server.clone();
    url.set_path(path);
    url
}

/// One server, as it is asked.
#[derive(Debug, Clone)]
struct Server {
    number: usize,
    client: Client,
    url: Url,
    trust: Trust,
    patient: bool,
}

impl Server {
    /// Is it what was asked that is wrong, and not the server's time or the connection, nor
    /// what can be set right meanwhile?
    fn is_final(&self, status: StatusCode) -> bool {
        let passes = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::MISDIRECTED_REQUEST,
        ];
        let is_waited_for = self.patient && status == StatusCode::UNAUTHORIZED;
        status.is_client_error() && !passes.contains(&status) && !is_waited_for
    }
}

/// Which servers are not believed, or do not believe this client, and why. While one is still
/// in question there is hope; when all are not, waiting is of no use.
#[derive(Debug, Clone)]
struct Trust(Arc<Mutex<Vec<Option<String>>>>);

impl Trust {
    fn new(servers: usize) -> Trust {
        Trust(Arc::new(Mutex::new(vec![None; servers])))
    }

    /// How it went with a server; the reasons, if it goes with none.
    fn note(&self, server: usize, distrust: Option<String>) -> Option<String> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers[server] = distrust;
        let reasons: Option<Vec<&str>> = servers.iter().map(Option::as_deref).collect();
        reasons.map(|reasons| reasons.join("; "))
    }
}

/// Asks one server all that comes along a line.
async fn ask_all(server: Server, mut questions: Questions) {
    let room = Arc::new(Semaphore::new(OPEN_MAX));
    while let Some(question) = questions.next().await {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let server = server.clone();
        tokio::spawn(async move {
            let Question {
                principal,
                request,
                reply,
            } = question;
            let answer = ask(&server, principal, request).await;
            let distrust = answer.as_ref().err().and_then(|error| error.distrust());
            let distrust = distrust.map(|reason| format!("{}: {reason}", server.url));
            let hopeless = server.trust.note(server.number, distrust);
            let hopeless = hopeless.filter(|_| !server.patient);
            match answer {
                Ok(told) => reply.answer(told),
                Err(_) if let Some(message) = hopeless => reply.answer(Reply::Invalid { message }),
                // No server would take it.
                Err(AskError::Refused { status, text }) if server.is_final(status) => {
                    reply.answer(Reply::Invalid {
                        message: detail(&text),
                    });
                }
                // Given back by being dropped: another server is asked.
                Err(error) => tracing::debug!(%error, "a server does not answer"),
            }
            drop(place);
        });
    }
}

/// What a server's answer may be besides an answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("it says {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("its answer is none: {0}")]
    Malformed(#[from] precentor_core::wire::DecodeError),
    #[error("its answer is larger than any may be")]
    TooLarge,
    #[error("it says nothing any more")]
    Silent,
    #[error("it cannot be written: {0}")]
    Unwritten(#[from] io::Error),
}

impl AskError {
    /// Why the ends do not believe each other, if it was that.
    fn distrust(&self) -> Option<String> {
        let AskError::Http(error) = self else {
            return None;
        };
        let mut causes: Vec<&(dyn Error + 'static)> = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause);
            // What the system is told to carry hides behind it.
            let carried = cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            next = match carried {
                Some(carried) => Some(carried),
                None => cause.source(),
            };
        }
        let tls = causes
            .iter()
            .find_map(|cause| cause.downcast_ref::<rustls::Error>());
        tls.map(ToString::to_string)
    }
}

/// What a problem says, or whatever there is instead of one.
fn detail(text: &str) -> String {
    let problem: Result<Problem, _> = serde_json::from_str(text);
    problem.map_or_else(|_| text.to_owned(), |problem| problem.detail)
}

async fn ask(server: &Server, principal: Principal, request: Request) -> Result<Reply, AskError> {
    let asked = Asked {
        tag: 0,
        principal,
        request,
    };
    let wait_ms = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
    let sent = server
        .client
        .post(server.url.clone())
        .header(WAIT_HEADER, wait_ms)
        .body(asked.encode())
        .send();
    let Told { reply, .. } = Told::decode(&read(sent.await?).await?)?;
    Ok(reply)
}

/// The body of an answer that is one.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, AskError> {
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if (bytes.len() + chunk.len()) as u64 > ANSWER_BYTES_MAX {
            return Err(AskError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        return Err(AskError::Refused { status, text });
    }
    Ok(bytes)
}

/// Writes what comes into a file, and makes that durable.
async fn download(
    mut response: reqwest::Response,
    file: &mut File,
    came: &mut dyn FnMut(u64),
) -> Result<(), AskError> {
    if !response.status().is_success() {
        // It is no success, so this is none either.
        return read(response).await.map(drop);
    }
    let mut bytes = 0;
    loop {
        let chunk = timeout(SILENCE_MAX, response.chunk()).await;
        let Some(chunk) = chunk.map_err(|_| AskError::Silent)?? else {
            break;
        };
        file.write_all(&chunk)?;
        bytes += chunk.len() as u64;
        came(bytes);
    }
    Ok(file.sync_all()?)
}

/// Reads the bodies that servers have. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RemoteBodies(Arc<Bodies>);

#[derive(Debug)]
struct Bodies {
    runtime: Handle,
    client: Client,
    paths: Vec<Url>,
    /// The one that answered last: one that is stopped costs seconds, and only once.
    preferred: AtomicUsize,
}

impl RemoteBodies {
    /// A body, from whichever server has it.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        let Bodies {
            runtime,
            client,
            paths,
            preferred,
        } = &*self.0;
        let first = preferred.load(Ordering::Relaxed);
        let mut order = (first..paths.len()).chain(0..first);
        order.find_map(|number| {
            let path = &paths[number];
            let url = join(path, &format!("{BODIES_PATH}/{digest}"));
            let found = runtime.block_on(async { read(client.get(url).send().await?).await });
            match found {
                Ok(bytes) if Digest::of(&bytes) == *digest => {
                    preferred.store(number, Ordering::Relaxed);
                    Some(Bytes::from(bytes))
                }
                Ok(_) => {
                    tracing::warn!(%path, %digest, "a server gave another body than was asked for");
                    None
                }
                Err(error) => {
                    tracing::debug!(%path, %error, "a server does not have the body");
                    None
                }
            }
        })
    }
}
