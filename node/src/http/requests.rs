//! Asking for contexts.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use precentor_core::command::{Command, Outcome, Rejection};
use precentor_core::ids::{JobId, LogIndex, RequestId, Sequence, SessionId};
use precentor_core::request::{Reply, Request};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Params, Words};
use super::problem::Problem;
use super::words::{AcceptedWords, BatchAnswer, BatchWords, end};
use super::{Api, Caller, sessions};

const KEY_HEADER: &str = "idempotency-key";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(submit_requests))
        .routes(routes!(open_session))
}

/// How a batch is to be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Accept {
    /// By the leader: what is answered is accepted for good.
    #[default]
    Leader,
    /// By this node, if there is no leader: it keeps the batch on its disk and passes it
    /// on as soon as there is one. Needs an `Idempotency-Key`.
    Local,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SubmitParams {
    /// Answer when all jobs of the batch are over, or when the request's time is
    /// (`precentor-wait-ms`), whichever is first.
    #[serde(default)]
    wait: bool,
    /// Who may take the batch.
    #[serde(default)]
    #[param(inline)]
    accept: Accept,
}

/// Asks for contexts
///
/// All of them are accepted, or none. To be able to send a batch again without asking for
/// it twice, open a session and give an `Idempotency-Key` of `SESSION.SEQUENCE`, with
/// sequences that grow by one.
#[utoipa::path(
    post, path = "/v1/requests", tag = "requests", params(
        SubmitParams,
        ("Idempotency-Key" = Option<String>, Header, description = "SESSION.SEQUENCE"),
        ("Precentor-Wait-Ms" = Option<u64>, Header, description = "how long to wait for an outcome"),
    ),
    request_body = BatchWords,
    responses(
        (status = 200, description = "Accepted", body = BatchAnswer),
        (status = 202, description = "Kept at this node until there is a leader"),
        (status = "default", description = "Not accepted", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn submit_requests(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<SubmitParams>,
    headers: HeaderMap,
    Words(batch): Words<BatchWords>,
) -> Result<axum::response::Response, Problem> {
    use axum::response::IntoResponse;
    let began = Instant::now();
    let command = Command::Ask {
        items: batch.specs()?,
        mode: batch.cache.into(),
    };
    let named = match headers.get(KEY_HEADER) {
        None => None,
        Some(key) => Some(request_id(key.to_str().unwrap_or("?"))?),
    };
    let reply = match (named, params.accept) {
        (Some(request), accept) => {
            let acknowledged = Sequence(batch.acknowledged.unwrap_or(0));
            let request = match accept {
                Accept::Leader => Request::Propose {
                    request: Some(request),
                    acknowledged,
                    command,
                },
                Accept::Local => Request::QueueLocally {
                    request,
                    acknowledged,
                    command,
                },
            };
            api.ask(&caller, request).await?
        }
        (None, Accept::Local) => {
            return Err(Problem::invalid(
                "accept=local needs an Idempotency-Key of SESSION.SEQUENCE; open a session first (POST /v1/sessions)",
            ));
        }
        (None, Accept::Leader) => propose_once(&api, &caller, command).await?,
    };
    let (index, asked) = match reply {
        Reply::Applied {
            index,
            outcome: Outcome::Asked(asked),
        } => (index, asked),
        Reply::QueuedLocally => return Ok(StatusCode::ACCEPTED.into_response()),
        other => return Err(other.into()),
    };
    let mut items: Vec<AcceptedWords> = asked.into_iter().map(AcceptedWords::from).collect();
    if params.wait {
        let left = caller.wait.saturating_sub(began.elapsed());
        let caller = Caller {
            wait: left,
            ..caller
        };
        wait(&api, &caller, index, &mut items).await?;
    }
    let answer = BatchAnswer {
        index: index.0,
        items,
    };
    Ok(Json(answer).into_response())
}

/// Proposes in one of the node's own sessions.
pub(super) async fn propose_once(
    api: &Api,
    caller: &Caller,
    command: Command,
) -> Result<Reply, Problem> {
    let mut tries = 0;
    loop {
        tries += 1;
        let place = api.0.sessions.place(api, caller).await?;
        let request = Request::Propose {
            request: Some(place.request()),
            acknowledged: place.acknowledged(),
            command: command.clone(),
        };
        let reply = api.ask(caller, request).await?;
        match reply {
            // Nothing was done: sessions that are not used expire.
            Reply::Applied {
                outcome: Outcome::Rejected(Rejection::UnknownSession { .. }),
                ..
            } if tries < 3 => api.0.sessions.forget(caller, &place).await,
            reply => return Ok(reply),
        }
    }
}

/// Notes how the jobs of a batch ended, as far as the caller's time allows.
async fn wait(
    api: &Api,
    caller: &Caller,
    index: LogIndex,
    items: &mut [AcceptedWords],
) -> Result<(), Problem> {
    let until = Instant::now() + caller.wait;
    loop {
        let open: Vec<usize> = (0..items.len())
            .filter(|item| items[*item].end.is_none() && items[*item].job.is_some())
            .collect();
        let left = until.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            return Ok(());
        }
        let jobs = open.iter().filter_map(|item| items[*item].job.map(JobId));
        let request = Request::Await {
            jobs: jobs.collect(),
            after: index,
        };
        let caller = Caller {
            wait: left,
            ..caller.clone()
        };
        match api.ask(&caller, request).await {
            Ok(Reply::Awaited { endings, .. }) => {
                for (item, ending) in open.iter().zip(&endings) {
                    items[*item].end = end(ending);
                }
                let unknown =
                    |ending: &_| matches!(ending, precentor_core::request::Ending::Unknown);
                if endings.iter().any(unknown) {
                    // They ended and were forgotten: nobody will know more.
                    return Ok(());
                }
            }
            Ok(other) => return Err(other.into()),
            // What was accepted is accepted: it is only not known how it ended.
            Err(_) => return Ok(()),
        }
    }
}

/// A session of the client's own
#[derive(Debug, Serialize, ToSchema)]
struct SessionWords {
    /// Its number.
    session: u64,
}

/// Opens a session
///
/// Its number makes `Idempotency-Key`s. One that is not used for an hour of the cluster's
/// time expires.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "requests",
    responses(
        (status = 200, description = "It is open", body = SessionWords),
        (status = "default", description = "It is not", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn open_session(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<SessionWords>, Problem> {
    let session = sessions::open_session(&api, &caller).await?;
    Ok(Json(SessionWords { session: session.0 }))
}

/// A request's id as its key says it.
fn request_id(key: &str) -> Result<RequestId, Problem> {
    let parts = key.split_once('.');
    let parts = parts.and_then(|(session, sequence)| {
        Some((
            session.parse().ok()?,
            sequence.parse().ok().filter(|sequence| *sequence > 0)?,
        ))
    });
    match parts {
        Some((session, sequence)) => Ok(RequestId {
            session: SessionId(session),
            sequence: Sequence(sequence),
        }),
        None => Err(Problem::invalid(format!(
            "the Idempotency-Key is {key:?}; it must be SESSION.SEQUENCE, as in 12.1: the number of a session of yours (POST /v1/sessions) and a sequence from 1"
        ))),
    }
}
