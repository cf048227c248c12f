//! Dead letters: jobs that were given up, to be looked into and done again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use precentor_core::command::{Command, Outcome, Purging, Redriving};
use precentor_core::ids::JobId;
use precentor_core::limits::DEAD_LETTERS_LISTED_MAX;
use precentor_core::request::{Answer, Consistency, Query, Reply};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Params, number};
use super::jobs::{default_limit, page, propose, senseless};
use super::problem::Problem;
use super::requests::propose_once;
use super::words::{DeadLetterWords, DeadLettersPage};
use super::{Api, Caller};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_dead_letters))
        .routes(routes!(get_dead_letter, purge_dead_letter))
        .routes(routes!(redrive_dead_letter))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Jobs after this one.
    #[serde(default)]
    after: u64,
    /// At most so many, up to 256.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 256)]
    limit: u32,
}

/// Lists dead letters that were not redriven
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "jobs", params(ListParams),
    responses(
        (status = 200, description = "Some of them, the oldest jobs first", body = DeadLettersPage),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_dead_letters(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<DeadLettersPage>, Problem> {
    let query = Query::DeadLetters {
        after: JobId(params.after),
        count_max: page(params.limit, DEAD_LETTERS_LISTED_MAX)?,
    };
    match api.read(&caller, query, Consistency::Linearizable).await? {
        Answer::DeadLetters { letters, next } => Ok(Json(DeadLettersPage {
            letters: letters.iter().map(DeadLetterWords::from).collect(),
            next: next.map(|job| job.0),
        })),
        other => Err(senseless(other)),
    }
}

/// Shows a dead letter
#[utoipa::path(
    get, path = "/v1/dead-letters/{job}", tag = "jobs", params(("job" = u64, Path)),
    responses(
        (status = 200, description = "All that is kept of it", body = DeadLetterWords),
        (status = "default", description = "Not there, or not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_dead_letter(
    State(api): State<Api>,
    caller: Caller,
    Path(job): Path<String>,
) -> Result<Json<DeadLetterWords>, Problem> {
    let job = JobId(number("job", &job)?);
    let query = Query::DeadLetter(job);
    match api.read(&caller, query, Consistency::Linearizable).await? {
        Answer::DeadLetter(Some(letter)) => Ok(Json((&*letter).into())),
        Answer::DeadLetter(None) => Err(not_kept(job)),
        other => Err(senseless(other)),
    }
}

fn not_kept(job: JobId) -> Problem {
    Problem::not_found(format!("{job} is no dead letter that is kept"))
}

/// Forgets a dead letter
///
/// How it ended can still be read; it can be redriven no longer.
#[utoipa::path(
    delete, path = "/v1/dead-letters/{job}", tag = "jobs", params(("job" = u64, Path)),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = "default", description = "Not there, or not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn purge_dead_letter(
    State(api): State<Api>,
    caller: Caller,
    Path(job): Path<String>,
) -> Result<StatusCode, Problem> {
    let job = JobId(number("job", &job)?);
    let outcome = propose(&api, &caller, Command::Purge { jobs: vec![job] }).await?;
    match outcome {
        Outcome::Purged(purged) if purged.first() == Some(&Purging::Purged) => {
            Ok(StatusCode::NO_CONTENT)
        }
        _ => Err(not_kept(job)),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RedriveParams {
    /// Those that failed for want of it, too, and so on.
    #[serde(default)]
    dependents: bool,
}

/// What became of a dead letter that was to be done again.
#[derive(Debug, Serialize, ToSchema)]
struct RedrivenWords {
    /// The job that does it again, or did before, or what made that needless.
    job: u64,
    /// It was redriven by this request.
    redriven: bool,
    /// How many more were redriven that failed for want of it.
    dependents: u32,
    /// More are to be redriven than one request does: redrive these, until none are left.
    next: Vec<u64>,
}

/// Does a dead letter again
#[utoipa::path(
    post, path = "/v1/dead-letters/{job}/redrive", tag = "jobs",
    params(("job" = u64, Path), RedriveParams),
    responses(
        (status = 200, description = "It is done again", body = RedrivenWords),
        (status = "default", description = "Not there, or not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn redrive_dead_letter(
    State(api): State<Api>,
    caller: Caller,
    Path(job): Path<String>,
    Params(params): Params<RedriveParams>,
) -> Result<Json<RedrivenWords>, Problem> {
    let job = JobId(number("job", &job)?);
    let command = Command::Redrive {
        jobs: vec![job],
        dependents: params.dependents,
    };
    let redrive = match propose_once(&api, &caller, command).await? {
        Reply::Applied {
            outcome: Outcome::Redriven(redrive),
            ..
        } => redrive,
        other => return Err(other.into()),
    };
    let conflict = |detail: String| Problem::new(StatusCode::CONFLICT, "not_redriven", detail);
    let (by, redriven) = match redrive.jobs.first() {
        Some(Redriving::Again { job, .. }) => (*job, true),
        Some(Redriving::Before { job }) => (*job, false),
        Some(Redriving::Published { by } | Redriving::Outdated { by }) => (*by, false),
        Some(Redriving::Needs { address }) => {
            return Err(conflict(format!(
                "{job} requires {address}, which is not there and has no job: redrive or submit that one first"
            )));
        }
        Some(Redriving::NotDead) => {
            return Err(conflict(format!("{job} is not over, or ended otherwise")));
        }
        Some(Redriving::Later) => {
            return Err(conflict(format!("{job} is too large for one request")));
        }
        Some(Redriving::NotKept) => {
            return Err(conflict(format!(
                "what {job} needed is not kept any more: submit it anew"
            )));
        }
        Some(Redriving::Unknown) | None => return Err(not_kept(job)),
    };
    Ok(Json(RedrivenWords {
        job: by.0,
        redriven,
        dependents: redrive.dependents,
        next: redrive.next.iter().map(|job| job.0).collect(),
    }))
}
