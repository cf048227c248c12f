//! The HTTP interface of a node, for agents in any language: JSON in and out, problem
//! details for what is not done, an OpenAPI description of all of it. Any node serves
//! any request: what only the leader does goes to it, wherever that is, until it is
//! done or the request's time is over. Reaches the node through its gateway only.

#![allow(
    unused_qualifications,
    reason = "what `params()` names is qualified by the macro that reads it"
)]

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request as HttpRequest};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use precentor_core::bytes::Bytes;
use precentor_core::digest::Digest;
use precentor_core::limits::{HTTP_BODIES_BYTES_MAX, HTTP_REQUESTS_MAX, HTTP_WAIT_MS_MAX};
use precentor_core::principal::Principal;
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};
use precentor_core::status::Status;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::backup::Backups;
use crate::blobstore::BlobError;
use crate::gateway::{Gateway, NoAnswer};
use crate::member::Place;
use crate::net::Refusals;
use crate::shelf::ShelfReader;
use crate::space::Space;
use crate::tls::{Credentials, Proof};

mod ask;
mod backup;
mod callers;
mod contexts;
mod dead;
mod extract;
mod feed;
mod guard;
mod jobs;
mod listen;
mod metrics;
mod node;
mod operate;
mod people;
pub mod problem;
mod requests;
mod roles;
mod sessions;
mod sources;
pub mod words;

#[cfg(test)]
mod tests;

pub use self::ask::{ASK_PATH, BODIES_PATH};
pub use self::backup::BACKUP_PATH;
pub use self::callers::Callers;
pub use self::node::STATUS_PATH;

use self::metrics::Counts;
use self::problem::Problem;
use self::sessions::Sessions;

/// How long a request waits for its outcome unless it says otherwise.
const WAIT_MS: u64 = 10_000;
/// The header that says otherwise, in milliseconds.
pub const WAIT_HEADER: &str = "precentor-wait-ms";
/// The header that says which node answered.
const NODE_HEADER: &str = "precentor-node";
/// What the interface needs of its node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    about: About,
    sessions: Sessions,
    counts: Counts,
    closing: watch::Sender<bool>,
    /// Requests that may be worked on.
    room: Semaphore,
    /// KiB of bodies that may be in memory.
    body_room: Semaphore,
}

/// The node that an interface is about.
#[derive(Debug)]
pub struct About {
    /// Which it is.
    pub place: Place,
    /// What carries requests.
    pub gateway: Gateway,
    /// What takes its backups.
    pub backups: Backups,
    /// What it shows of itself.
    pub seen: watch::Receiver<Option<Status>>,
    /// Its bodies.
    pub bodies: ShelfReader,
    /// What it turns away at its border to other nodes.
    pub refusals: Refusals,
    /// Who may ask.
    pub callers: Callers,
    /// What connections are encrypted with, where they are.
    pub credentials: Option<Credentials>,
    /// The room on its disk.
    pub space: Space,
}

/// Ends an interface.
#[derive(Debug)]
pub struct Closing(Api);

impl Closing {
    /// No more connections are taken; what is under way is answered.
    pub fn close(&self) {
        self.0.0.closing.send_replace(true);
    }
}

impl Api {
    /// An interface for a node.
    #[must_use]
    pub fn new(about: About) -> Api {
        let permits = |count: u64| Semaphore::new(usize::try_from(count).unwrap_or(usize::MAX));
        Api(Arc::new(Inner {
            about,
            sessions: Sessions::default(),
            counts: Counts::default(),
            closing: watch::Sender::new(false),
            room: permits(HTTP_REQUESTS_MAX),
            body_room: permits(HTTP_BODIES_BYTES_MAX / 1_024),
        }))
    }

    /// What ends it.
    #[must_use]
    pub fn closing(&self) -> Closing {
        Closing(self.clone())
    }

    fn status(&self) -> Option<Status> {
        self.0.about.seen.borrow().clone()
    }

    async fn ask(&self, caller: &Caller, request: Request) -> Result<Reply, Problem> {
        Ok(self.outcome(caller, request).await?)
    }

    /// Asks the cluster. What only waits for something to happen is given up when the
    /// interface closes: whoever waits can do that at another node.
    async fn outcome(&self, caller: &Caller, request: Request) -> Result<Reply, NoAnswer> {
        let Caller { principal, wait } = caller;
        let only_waits = match request {
            Request::Poll(_) | Request::FinishedAfter { .. } | Request::Await { .. } => true,
            Request::Propose { .. }
            | Request::Read { .. }
            | Request::Status
            | Request::ChangeMembership(_)
            | Request::HandOver { .. }
            | Request::RecoverUnsafely { .. }
            | Request::QueueLocally { .. } => false,
        };
        let asked = self.0.about.gateway.ask(principal.clone(), request, *wait);
        if !only_waits {
            return asked.await;
        }
        let mut closing = self.0.closing.subscribe();
        tokio::select! {
            outcome = asked => outcome,
            _ = closing.wait_for(|closing| *closing) => Err(NoAnswer::Overloaded),
        }
    }

    /// A body, if this node has it.
    async fn body(&self, digest: Digest) -> Result<Option<Bytes>, BlobError> {
        let bodies = self.0.about.bodies.clone();
        let read = tokio::task::spawn_blocking(move || bodies.get(&digest));
        read.await.expect("reading a body does not panic")
    }

    /// What the replicated state says.
    async fn read(
        &self,
        caller: &Caller,
        query: Query,
        consistency: Consistency,
    ) -> Result<Answer, Problem> {
        match self
            .ask(caller, Request::Read { query, consistency })
            .await?
        {
            Reply::Read { answer, .. } => Ok(answer),
            other => Err(other.into()),
        }
    }
}

/// Serves connections from a listener until it is closed. The task ends when the last
/// answer is out.
///
/// # Errors
/// If the system does not let the listener be waited for.
pub fn serve(listener: TcpListener, api: Api) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let closing = api.0.closing.subscribe();
    let credentials = api.0.about.credentials.clone();
    let served = listen::run(listener, credentials, router(api), closing);
    Ok(tokio::spawn(served))
}

/// The description of the interface, as it is served and committed.
#[must_use]
pub fn description() -> String {
    let mut text = routes()
        .into_openapi()
        .to_pretty_json()
        .expect("a description is plain data");
    text.push('\n');
    text
}

#[derive(OpenApi)]
#[openapi(
    modifiers(&Security),
    info(
        title = "Precentor",
        description = "Contexts for agents, made by a cluster that loses nothing when its leader dies. Any node serves any request. What is not done is told as problem details (RFC 9457), with a stable `code`, and whether anything was `changed`. Where nodes have certificates or tokens, each request but the ones for `/healthz`, `/readyz` and this description has to say who asks: by a client's certificate, or `Authorization: Bearer TOKEN`."
    ),
    tags(
        (name = "contexts", description = "What is known of files, folders and projects"),
        (name = "requests", description = "Asking for contexts"),
        (name = "jobs", description = "What makes them"),
        (name = "operation", description = "Holding work back, limits, who leads"),
        (name = "node", description = "How this node is"),
    )
)]
struct Description;

/// How who asks is proved. Any of these; or nothing, where a node takes requests from its own
/// machine alone.
struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut token = Http::new(HttpAuthScheme::Bearer);
        token.description = Some("A token that the node knows by its digest".to_owned());
        let certificate = SecurityScheme::MutualTls {
            description: Some(
                "A client's certificate, signed by the cluster's authority".to_owned(),
            ),
            extensions: None,
            deprecated: None,
        };
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        components.add_security_scheme("certificate", certificate);
        let any: [&str; 0] = [];
        openapi.security = Some(vec![
            SecurityRequirement::new("certificate", any),
            SecurityRequirement::new("token", any),
            SecurityRequirement::default(),
        ]);
    }
}

fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(contexts::routes())
        .merge(people::routes())
        .merge(requests::routes())
        .merge(jobs::routes())
        .merge(dead::routes())
        .merge(feed::routes())
        .merge(operate::routes())
        .merge(sources::routes())
        .merge(backup::routes())
        .merge(roles::routes())
        .merge(node::routes())
}

fn router(api: Api) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .merge(ask::routes())
        .route(
            "/v1/openapi.json",
            axum::routing::get(|| async { described() }),
        )
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        // The guard bounds bodies, and says so as a problem.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(
            api.clone(),
            guard::guard,
        ))
        .with_state(api)
}

fn described() -> impl axum::response::IntoResponse {
    ([("content-type", "application/json")], description())
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_path",
        format!(
            "there is nothing at {}; GET /v1/openapi.json says what there is",
            uri.path()
        ),
    )
}

async fn unknown_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no_such_method",
        format!(
            "{} does not take {method}; GET /v1/openapi.json says what it takes",
            uri.path()
        ),
    )
}

/// Who asks, and how long they wait.
#[derive(Debug, Clone)]
struct Caller {
    principal: Principal,
    wait: Duration,
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Caller, Problem> {
        let proof = parts.extensions.get::<Proof>();
        let identity = proof.map(|proof| &proof.identity);
        let principal = api.0.about.callers.of(&parts.headers, identity);
        let principal = principal.ok_or_else(Problem::unauthenticated)?;
        let wait_ms = match parts.headers.get(WAIT_HEADER) {
            None => WAIT_MS,
            Some(value) => value
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .filter(|ms| (1..=HTTP_WAIT_MS_MAX).contains(ms))
                .ok_or_else(|| {
                    Problem::invalid(format!(
                        "{WAIT_HEADER} is {value:?}; it must be 1 to {HTTP_WAIT_MS_MAX}"
                    ))
                })?,
        };
        Ok(Caller {
            principal,
            wait: Duration::from_millis(wait_ms),
        })
    }
}

/// A path, as it is counted: as it was declared, not as it was asked for.
fn declared_path(request: &HttpRequest) -> String {
    let path = request.extensions().get::<axum::extract::MatchedPath>();
    path.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned())
}
