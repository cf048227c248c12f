//! Contexts: what agents read.

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use precentor_core::command::{Command, Outcome};
use precentor_core::job::{CachedView, Reach};
use precentor_core::request::{Answer, Consistency, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Params, Words};
use super::jobs::{propose, senseless};
use super::problem::Problem;
use super::words::address;
use super::{Api, Caller};
use crate::render::{self, Level};
use crate::worker::record;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get_context))
        .routes(routes!(invalidate_results))
}

/// Which state is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConsistencyWord {
    /// One that has everything that was accepted before.
    #[default]
    Linearizable,
    /// Whatever this node has, at once, and also without a leader.
    Stale,
}

impl From<ConsistencyWord> for Consistency {
    fn from(word: ConsistencyWord) -> Consistency {
        match word {
            ConsistencyWord::Linearizable => Consistency::Linearizable,
            ConsistencyWord::Stale => Consistency::Stale,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct GetParams {
    /// Of which place.
    #[param(example = "ucxl://project/src/main.rs", pattern = "^ucxl://.")]
    address: String,
    /// How much: 0 one line, 1 a summary, 2 the outline.
    #[serde(default = "default_level")]
    #[param(minimum = 0, maximum = 2)]
    level: u8,
    /// Of which state.
    #[serde(default)]
    #[param(inline)]
    consistency: ConsistencyWord,
}

fn default_level() -> u8 {
    2
}

/// A context: what is known of a place.
#[derive(Debug, Serialize, ToSchema)]
struct ContextWords {
    /// The place.
    address: String,
    /// The digest of the input that it describes.
    subject: String,
    /// The digest of its body: also its ETag, with the level.
    result: String,
    /// What made it.
    engine: String,
    /// Which version of that.
    version: u32,
    /// The job that published it.
    job: u64,
    /// How long ago, in the cluster's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    /// It was invalidated: it is shown until something takes its place.
    invalid: bool,
    /// What is known of the place, at the level that was asked for.
    #[schema(value_type = Object)]
    record: Value,
}

/// Shows a context
#[utoipa::path(
    get, path = "/v1/context", tag = "contexts", params(
        GetParams,
        ("If-None-Match" = Option<String>, Header, description = "the ETag of what is known already"),
    ),
    responses(
        (status = 200, description = "The context", body = ContextWords),
        (status = 304, description = "It is what is known already"),
        (status = "default", description = "Not there, or not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_context(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<GetParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let address = address(&params.address)?;
    let level = Level::from_number(params.level)
        .filter(|level| *level <= Level::Outline)
        .ok_or_else(|| {
            Problem::invalid(format!("level is {}; it must be 0, 1 or 2", params.level))
        })?;
    let query = Query::Cached(address.clone());
    let view = match api.read(&caller, query, params.consistency.into()).await? {
        Answer::Cached(Some(view)) => *view,
        Answer::Cached(None) => {
            return Err(Problem::not_found(format!(
                "there is no context of {address}; ask for it (POST /v1/requests)"
            )));
        }
        other => return Err(senseless(other)),
    };
    let CachedView {
        context,
        age_ms,
        invalid,
        needed: _,
    } = view;
    let tag = format!("\"{}-{}\"", context.result, params.level);
    let tag = HeaderValue::from_str(&tag).expect("digits and a dash");
    let known = headers.get_all(IF_NONE_MATCH).iter();
    let is_known = known
        .filter_map(|known| known.to_str().ok())
        .flat_map(|known| known.split(','))
        .any(|known| known.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes());
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let body = api.body(context.result).await;
    let body = body.map_err(|error| defect(format!("its body cannot be read: {error}")))?;
    // A node that has just caught up by a snapshot is still fetching bodies.
    let body = body.ok_or_else(|| {
        Problem::overloaded(format!("this node does not have the body of {address} yet"))
    })?;
    let record =
        record::decode(&body).map_err(|error| defect(format!("its body is no record: {error}")))?;
    let words = ContextWords {
        address: context.address.to_string(),
        subject: context.subject.to_string(),
        result: context.result.to_string(),
        engine: context.generator.engine,
        version: context.generator.version,
        job: context.job.0,
        age_ms,
        invalid,
        record: render::json(&record, level, None),
    };
    Ok(([(ETAG, tag)], Json(words)).into_response())
}

fn defect(detail: String) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", detail)
}

/// What is to be invalid from now on. One of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReachWords {
    /// What is published at this address.
    Address(String),
    /// What is published at this address and everywhere inside.
    Within(String),
    /// What this engine made.
    Engine(String),
}

/// Makes results invalid
///
/// They answer no request any more, and are shown until something takes their place.
#[utoipa::path(
    post, path = "/v1/invalidations", tag = "contexts", request_body = ReachWords,
    responses(
        (status = 204, description = "They are invalid"),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn invalidate_results(
    State(api): State<Api>,
    caller: Caller,
    Words(reach): Words<ReachWords>,
) -> Result<StatusCode, Problem> {
    let reach = match reach {
        ReachWords::Address(text) => Reach::Address(address(&text)?),
        ReachWords::Within(text) => Reach::Prefix(address(&text)?),
        ReachWords::Engine(engine) => Reach::Generator {
            engine,
            version: None,
        },
    };
    match propose(&api, &caller, Command::Invalidate { reach }).await? {
        Outcome::Invalidated { .. } => Ok(StatusCode::NO_CONTENT),
        other => Err(defect(format!("a senseless outcome: {other:?}"))),
    }
}
