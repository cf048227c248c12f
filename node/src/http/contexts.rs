//! Contexts: what agents read.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use precentor_core::address::Address;
use precentor_core::command::{Command, Outcome};
use precentor_core::job::{CachedView, Reach};
use precentor_core::request::{Answer, Consistency, Ending, Query, Reply, Request};
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

/// Contexts of one answer.
const CONTEXTS_MAX: usize = 256;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get_context))
        .routes(routes!(get_contexts))
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
    /// If it is being made, answer when that is over, or when the request's time is
    /// (`precentor-wait-ms`), whichever is first.
    #[serde(default)]
    wait: bool,
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
    let level = level(params.level)?;
    if params.wait {
        wait_for_jobs(&api, &caller, &address).await?;
    }
    let view = cached(&api, &caller, &address, params.consistency.into()).await?;
    let tag = format!("\"{}-{}\"", view.context.result, params.level);
    let tag = HeaderValue::from_str(&tag).expect("digits and a dash");
    let known = headers.get_all(IF_NONE_MATCH).iter();
    let is_known = known
        .filter_map(|known| known.to_str().ok())
        .flat_map(|known| known.split(','))
        .any(|known| known.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes());
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let words = words(&api, view, level).await?;
    Ok(([(ETAG, tag)], Json(words)).into_response())
}

/// What is published at an address.
async fn cached(
    api: &Api,
    caller: &Caller,
    address: &Address,
    consistency: Consistency,
) -> Result<CachedView, Problem> {
    let query = Query::Cached(address.clone());
    match api.read(caller, query, consistency).await? {
        Answer::Cached(Some(view)) => Ok(*view),
        Answer::Cached(None) => Err(Problem::not_found(format!(
            "there is no context of {address}; ask for it (POST /v1/requests)"
        ))),
        other => Err(senseless(other)),
    }
}

/// Waits until the job for an address is over, if there is one and the time suffices.
async fn wait_for_jobs(api: &Api, caller: &Caller, address: &Address) -> Result<(), Problem> {
    let query = Query::Unfinished {
        within: address.clone(),
        after: None,
        // An address itself comes before what is inside.
        count_max: 1,
    };
    let began = Instant::now();
    let consistency = Consistency::Linearizable;
    let read = api
        .ask(caller, Request::Read { query, consistency })
        .await?;
    let (job, applied) = match read {
        Reply::Read {
            answer: Answer::Unfinished { jobs, .. },
            applied,
            ..
        } => match jobs.into_iter().find(|job| job.address == *address) {
            Some(job) => (job.job, applied),
            None => return Ok(()),
        },
        other => return Err(other.into()),
    };
    loop {
        let left = caller.wait.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        let request = Request::Await {
            jobs: vec![job],
            after: applied,
        };
        let caller = Caller {
            wait: left,
            ..caller.clone()
        };
        let is_over = match api.ask(&caller, request).await {
            Ok(Reply::Awaited { endings, .. }) => {
                !matches!(endings.first(), Some(Ending::Unfinished { .. }))
            }
            Ok(other) => return Err(other.into()),
            // What is there is shown.
            Err(_) => true,
        };
        if is_over {
            return Ok(());
        }
    }
}

/// A context as it is told, with its body.
async fn words(api: &Api, view: CachedView, level: Level) -> Result<ContextWords, Problem> {
    let CachedView {
        context,
        age_ms,
        invalid,
        needed: _,
    } = view;
    let body = api.body(context.result).await;
    let body = body.map_err(|error| defect(format!("its body cannot be read: {error}")))?;
    // A node that has just caught up by a snapshot is still fetching bodies.
    let body = body.ok_or_else(|| {
        Problem::overloaded(format!(
            "this node does not have the body of {} yet",
            context.address
        ))
    })?;
    let record =
        record::decode(&body).map_err(|error| defect(format!("its body is no record: {error}")))?;
    Ok(ContextWords {
        address: context.address.to_string(),
        subject: context.subject.to_string(),
        result: context.result.to_string(),
        engine: context.generator.engine,
        version: context.generator.version,
        job: context.job.0,
        age_ms,
        invalid,
        record: render::json(&record, level, None),
    })
}

/// Which contexts are to be shown.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedWords {
    /// Of which places.
    #[schema(min_items = 1, max_items = 256)]
    addresses: Vec<String>,
    /// How much: 0 one line, 1 a summary, 2 the outline.
    #[serde(default = "default_level")]
    #[schema(minimum = 0, maximum = 2)]
    level: u8,
}

/// Contexts.
#[derive(Debug, Serialize, ToSchema)]
struct ContextsWords {
    /// Those that there are, in the order in which they were asked for.
    contexts: Vec<ContextWords>,
    /// The places that have none.
    missing: Vec<String>,
}

/// Shows many contexts
#[utoipa::path(
    post, path = "/v1/contexts", tag = "contexts", request_body = WantedWords,
    responses(
        (status = 200, description = "The contexts", body = ContextsWords),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_contexts(
    State(api): State<Api>,
    caller: Caller,
    Words(wanted): Words<WantedWords>,
) -> Result<Json<ContextsWords>, Problem> {
    let count = wanted.addresses.len();
    if !(1..=CONTEXTS_MAX).contains(&count) {
        return Err(Problem::invalid(format!(
            "addresses has {count}; it must have 1 to {CONTEXTS_MAX}"
        )));
    }
    let level = level(wanted.level)?;
    let mut found = ContextsWords {
        contexts: Vec::new(),
        missing: Vec::new(),
    };
    let addresses = wanted.addresses.iter().map(|text| address(text));
    let addresses: Vec<Address> = addresses.collect::<Result<_, _>>()?;
    // All at once: linearizable reads that are asked together share a round.
    let reads = addresses.iter().map(|address| async {
        let view = cached(&api, &caller, address, Consistency::Linearizable).await?;
        words(&api, view, level).await
    });
    for (address, read) in addresses.iter().zip(join_all(reads).await) {
        match read {
            Ok(context) => found.contexts.push(context),
            Err(problem) if problem.code == "not_found" => {
                found.missing.push(address.to_string());
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(Json(found))
}

fn level(number: u8) -> Result<Level, Problem> {
    Level::from_number(number)
        .filter(|level| *level <= Level::Outline)
        .ok_or_else(|| Problem::invalid(format!("level is {number}; it must be 0, 1 or 2")))
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
