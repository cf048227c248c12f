//! How this node is: for those who route requests to it, and for those who watch it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use precentor_core::status::{Health, RoleName, Status, Verdict};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::{Api, Caller};
use crate::member::Place;
use crate::server::founding;
use crate::tls::Credentials;

/// Where a node says how it is.
pub const STATUS_PATH: &str = "/v1/status";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(is_alive))
        .routes(routes!(is_ready))
        .routes(routes!(get_status))
        .routes(routes!(get_metrics))
}

/// Is the process alive?
#[utoipa::path(
    get, path = "/healthz", tag = "node",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain"))
)]
async fn is_alive() -> &'static str {
    "alive\n"
}

/// Can this node serve requests?
///
/// It can if it knows a leader and is not about to end.
#[utoipa::path(
    get, path = "/readyz", tag = "node",
    responses(
        (status = 200, description = "It can", body = String, content_type = "text/plain"),
        (status = 503, description = "It cannot, and why", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn is_ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    let not =
        |code: &str, detail: &str| Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail));
    if *api.0.closing.borrow() {
        return not("ends", "this node is about to end");
    }
    match api.status() {
        None => not("begins", "this node has just started"),
        Some(status) if status.removed => not("removed", "this node is no member any more"),
        Some(status) if !status.membership.contains(status.node) && status.leader.is_none() => not(
            "no_member",
            "this node is no member, as far as its log says: it was removed, or has yet to join",
        ),
        Some(status) if status.leader.is_none() => not(
            "no_leader",
            "this node knows no leader: a majority is not reachable, or elects just now",
        ),
        Some(_) => Ok("ready\n"),
    }
}

/// How many jobs are in which state.
#[derive(Debug, Serialize, ToSchema)]
struct CountsWords {
    waiting: u64,
    delayed: u64,
    ready: u64,
    running: u64,
    parked: u64,
    done: u64,
    from_cache: u64,
    dead: u64,
    cancelled: u64,
    dependency_failed: u64,
    superseded: u64,
    contexts: u64,
}

/// A node or a worker, as this node sees it.
#[derive(Debug, Serialize, ToSchema)]
struct SeenWords {
    /// Its number.
    id: u64,
    /// healthy, slow, suspect or down.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    /// In words for people.
    text: String,
}

/// How a node is.
#[derive(Debug, Serialize, ToSchema)]
struct StatusWords {
    /// What people call the cluster.
    cluster: String,
    /// What nodes of it know it by.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cluster_id: String,
    /// Which node.
    node: u64,
    /// follower, pre_candidate, candidate or leader.
    role: &'static str,
    /// Its term.
    term: u64,
    /// Who leads, if it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<u64>,
    /// Its last log entry.
    last: u64,
    /// Committed, as far as it knows.
    commit: u64,
    /// Applied.
    applied: u64,
    /// The feature level in force.
    level: u16,
    /// Voters and learners, as its log has them.
    members: Vec<u64>,
    /// Of these, who votes.
    voters: Vec<u64>,
    /// well, strained, slow or stuck, by its own word.
    health: &'static str,
    /// In words for people.
    text: String,
    /// Its log is damaged, and is repaired up to there.
    #[serde(skip_serializing_if = "Option::is_none")]
    repairing: Option<u64>,
    /// The queue.
    queue: CountsWords,
    /// The other members.
    peers: Vec<SeenWords>,
    /// The workers.
    workers: Vec<SeenWords>,
    /// Requests that it keeps on its disk until there is a leader.
    kept_locally: u64,
}

/// Shows how this node is
#[utoipa::path(
    get, path = "/v1/status", tag = "node",
    responses(
        (status = 200, description = "How it is", body = StatusWords),
        (status = "default", description = "Not known yet", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_status(State(api): State<Api>, _: Caller) -> Result<Json<StatusWords>, Problem> {
    let status = api.status();
    let status = status.ok_or_else(|| Problem::overloaded("this node has just started"))?;
    Ok(Json(words(&api.0.about.place, &status)))
}

fn words(place: &Place, status: &Status) -> StatusWords {
    let queue = &status.queue;
    let members: Vec<u64> = status.membership.nodes().map(|node| node.0).collect();
    let voters = status.membership.nodes();
    let voters = voters.filter(|node| status.membership.is_voter(*node));
    StatusWords {
        cluster: place.name.clone(),
        cluster_id: founding::hex(place.cluster),
        node: status.node.0,
        role: role(status.role),
        term: status.term.0,
        leader: status.leader.map(|node| node.0),
        last: status.last.0,
        commit: status.commit.0,
        applied: status.applied.0,
        level: status.level.0,
        voters: voters.map(|node| node.0).collect(),
        members,
        health: health(status.own.health),
        text: status.own.to_string(),
        repairing: status.repairing.map(|index| index.0),
        queue: CountsWords {
            waiting: queue.waiting,
            delayed: queue.delayed,
            ready: queue.ready,
            running: queue.running,
            parked: queue.parked,
            done: queue.done,
            from_cache: queue.from_cache,
            dead: queue.dead,
            cancelled: queue.cancelled,
            dependency_failed: queue.dependency_failed,
            superseded: queue.superseded,
            contexts: queue.contexts,
        },
        peers: status
            .peers
            .iter()
            .map(|peer| SeenWords {
                id: peer.node.0,
                verdict: Some(verdict(peer.verdict)),
                text: peer.to_string(),
            })
            .collect(),
        workers: status
            .workers
            .iter()
            .map(|worker| SeenWords {
                id: worker.worker.0,
                verdict: worker.health.map(|health| verdict(health.verdict)),
                text: worker.to_string(),
            })
            .collect(),
        kept_locally: status.local.requests,
    }
}

fn role(role: RoleName) -> &'static str {
    match role {
        RoleName::Follower => "follower",
        RoleName::PreCandidate => "pre_candidate",
        RoleName::Candidate => "candidate",
        RoleName::Leader => "leader",
    }
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Well => "well",
        Health::Strained => "strained",
        Health::Slow => "slow",
        Health::Stuck => "stuck",
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Slow => "slow",
        Verdict::Suspect => "suspect",
        Verdict::Down => "down",
    }
}

/// Measures of this node, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "node",
    responses((status = 200, description = "The measures", body = String, content_type = "application/openmetrics-text"))
)]
async fn get_metrics(State(api): State<Api>, _: Caller) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let own = api.0.about.credentials.as_ref().map(Credentials::own);
    let (status, refusals) = (api.status(), &api.0.about.refusals);
    let text = api
        .0
        .counts
        .text(status.as_ref(), refusals, own.as_ref(), &api.0.about.space);
    ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}
