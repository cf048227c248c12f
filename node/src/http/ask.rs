//! The same questions in the cluster's own words, for programs of this kind: the
//! commands and workers of `precentor` speak it. A request is a body, and so is its
//! answer; who asks is for the connection to prove, whatever the body says.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use precentor_core::digest::Digest;
use precentor_core::request::Reply;
use precentor_core::wire::relay::{Asked, Told};

use super::problem::Problem;
use super::{Api, Caller};
use crate::client::Unanswered;
use crate::gateway::NoAnswer;

/// Where questions go.
pub const ASK_PATH: &str = "/v1/ask";
/// Where bodies are, each by its digest.
pub const BODIES_PATH: &str = "/v1/bodies";
const BINARY: &str = "application/octet-stream";

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route(ASK_PATH, post(ask))
        .route(&format!("{BODIES_PATH}/{{digest}}"), get(body))
}

async fn ask(State(api): State<Api>, caller: Caller, body: Bytes) -> Result<Response, Problem> {
    let Asked { tag, request, .. } = Asked::decode(&body)
        .map_err(|error| Problem::invalid(format!("the body is no request: {error}")))?;
    let reply = match api.outcome(&caller, request).await {
        Ok(reply) => reply,
        Err(NoAnswer::TimedOut(Unanswered {
            unchanged: true,
            refused: Some(reason),
        })) => Reply::Refused {
            reason,
            retry_after_ms: 0,
        },
        Err(NoAnswer::TimedOut(_)) => Reply::Unknown,
        Err(error @ NoAnswer::Overloaded) => return Err(error.into()),
    };
    let told = Told { tag, reply }.encode();
    Ok(([(CONTENT_TYPE, BINARY)], told).into_response())
}

async fn body(
    State(api): State<Api>,
    _: Caller,
    Path(digest): Path<String>,
) -> Result<Response, Problem> {
    let digest: Digest = digest.parse().map_err(Problem::invalid)?;
    let body = api.body(digest).await;
    let body = body.map_err(|error| Problem::overloaded(format!("it cannot be read: {error}")))?;
    let body = body.ok_or_else(|| Problem::not_found(format!("there is no body {digest} here")))?;
    Ok(([(CONTENT_TYPE, BINARY)], body.to_vec()).into_response())
}
