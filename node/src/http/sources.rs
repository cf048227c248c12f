//! What contexts are made of: texts that the cluster keeps for workers that have none of
//! their own.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use precentor_core::command::{Command, Outcome};
use precentor_core::digest::Digest;
use precentor_core::job::SourcesView;
use precentor_core::limits::{SOURCE_BYTES_MAX, SOURCES_ASKED_MAX};
use precentor_core::request::{Answer, Consistency, Query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Words;
use super::jobs::{propose, senseless};
use super::operate::unexpected;
use super::problem::Problem;
use super::{Api, Caller};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(show_sources))
        .routes(routes!(find_lacking))
        .routes(routes!(keep_source))
        .routes(routes!(put_source_budget))
}

/// What the texts take.
#[derive(Debug, Serialize, ToSchema)]
struct SourcesWords {
    /// How many are kept.
    count: u64,
    /// What they count for, in bytes: their own, and 4 KiB for each.
    bytes: u64,
    /// What those of them count for that unfinished jobs are to be made of.
    bytes_held: u64,
    /// What all may count for. Beyond it those go that were used first.
    bytes_max: u64,
    /// Can any be kept? Not before every member's program can do it.
    kept: bool,
}

async fn view(api: &Api, caller: &Caller, asked: Vec<Digest>) -> Result<SourcesView, Problem> {
    let query = Query::Sources(asked);
    match api.read(caller, query, Consistency::Linearizable).await? {
        Answer::Sources(view) => Ok(*view),
        other => Err(senseless(other)),
    }
}

/// Shows what the texts take that are kept for workers
#[utoipa::path(
    get, path = "/v1/sources", tag = "operation",
    responses(
        (status = 200, description = "What they take", body = SourcesWords),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show_sources(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<SourcesWords>, Problem> {
    let view = view(&api, &caller, Vec::new()).await?;
    Ok(Json(SourcesWords {
        count: view.count,
        bytes: view.bytes,
        bytes_held: view.bytes_held,
        bytes_max: view.bytes_max,
        kept: view.is_kept,
    }))
}

/// Texts, by the BLAKE3 digest of their bytes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DigestsWords {
    /// Each in 64 hexadecimal digits.
    #[schema(max_items = 4096)]
    digests: Vec<String>,
}

/// Finds which of some texts are not kept: those that have to be uploaded
#[utoipa::path(
    post, path = "/v1/sources/lacking", tag = "requests", request_body = DigestsWords,
    responses(
        (status = 200, description = "Those of them that are not kept", body = DigestsWords),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn find_lacking(
    State(api): State<Api>,
    caller: Caller,
    Words(asked): Words<DigestsWords>,
) -> Result<Json<DigestsWords>, Problem> {
    if asked.digests.len() as u64 > SOURCES_ASKED_MAX {
        return Err(Problem::invalid(format!(
            "{} digests; the limit is {SOURCES_ASKED_MAX} (sources_asked_max)",
            asked.digests.len()
        )));
    }
    let parsed = asked.digests.iter().map(|digest| digest.parse::<Digest>());
    let digests: Result<Vec<Digest>, _> = parsed.collect();
    let digests = digests.map_err(|error| Problem::invalid(format!("digests: {error}")))?;
    let lacking = view(&api, &caller, digests).await?.lacking;
    Ok(Json(DigestsWords {
        digests: lacking.iter().map(ToString::to_string).collect(),
    }))
}

/// What became of a text.
#[derive(Debug, Serialize, ToSchema)]
struct KeptWords {
    /// It was not kept before.
    fresh: bool,
}

/// Has the cluster keep a text, for workers to read
///
/// It is on a majority of the nodes when this is answered. Ask for the context after that, with
/// the same digest as its subject: until its job is over the text stays.
#[utoipa::path(
    put, path = "/v1/sources/{digest}", tag = "requests",
    params(("digest" = String, Path, description = "The BLAKE3 digest of its bytes, in 64 hexadecimal digits")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "It is kept", body = KeptWords),
        (status = "default", description = "Not kept", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn keep_source(
    State(api): State<Api>,
    caller: Caller,
    Path(digest): Path<String>,
    text: Bytes,
) -> Result<Json<KeptWords>, Problem> {
    let digest: Digest = digest.parse().map_err(Problem::invalid)?;
    if text.len() as u64 > SOURCE_BYTES_MAX {
        return Err(Problem::invalid(format!(
            "the text has {} bytes; the limit is {SOURCE_BYTES_MAX} (source_bytes_max)",
            text.len()
        )));
    }
    let found = Digest::of(&text);
    if found != digest {
        return Err(Problem::invalid(format!(
            "the text has digest {found} and was sent as {digest}"
        )));
    }
    let command = Command::KeepSources {
        sources: vec![text.to_vec().into()],
    };
    match propose(&api, &caller, command).await? {
        Outcome::SourcesKept { fresh } => Ok(Json(KeptWords { fresh: fresh > 0 })),
        other => Err(unexpected(&other)),
    }
}

/// What the texts may count for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SourceBudgetWords {
    /// So many bytes, 4 KiB for each text among them.
    bytes_max: u64,
}

/// Says what the texts that are kept may count for from now on
///
/// The answer is what was so before.
#[utoipa::path(
    put, path = "/v1/sources/budget", tag = "operation", request_body = SourceBudgetWords,
    responses(
        (status = 200, description = "What was so before", body = SourceBudgetWords),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put_source_budget(
    State(api): State<Api>,
    caller: Caller,
    Words(SourceBudgetWords { bytes_max }): Words<SourceBudgetWords>,
) -> Result<Json<SourceBudgetWords>, Problem> {
    let command = Command::PutSourceBudget { bytes_max };
    match propose(&api, &caller, command).await? {
        Outcome::SourceBudgetPut { before } => Ok(Json(SourceBudgetWords { bytes_max: before })),
        other => Err(unexpected(&other)),
    }
}
