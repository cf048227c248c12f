//! Jobs: where they stand, why, and what can be done about it.

use axum::Json;
use axum::extract::{Path, State};
use precentor_core::command::{Cancellation, Command, Outcome, Reprioritisation};
use precentor_core::ids::{JobId, LogIndex, Sequence};
use precentor_core::limits::JOBS_LISTED_MAX;
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Params, Words, number};
use super::problem::Problem;
use super::words::{ClassWord, ExplanationWords, JobWords, JobsPage, address};
use super::{Api, Caller};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_jobs))
        .routes(routes!(get_job))
        .routes(routes!(explain_job))
        .routes(routes!(cancel_job))
        .routes(routes!(reprioritise_job))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Jobs at this address and everywhere inside.
    #[param(example = "ucxl://project/", pattern = "^ucxl://.")]
    within: String,
    /// Those at addresses after this one.
    after: Option<String>,
    /// At most so many, up to 256.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 256)]
    limit: u32,
}

/// Rows of a page, unless it is said how many.
pub(super) fn default_limit() -> u32 {
    100
}

/// Lists jobs that are not over
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", params(ListParams),
    responses(
        (status = 200, description = "Some jobs, by address", body = JobsPage),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_jobs(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<JobsPage>, Problem> {
    let query = Query::Unfinished {
        within: address(&params.within)?,
        after: params.after.as_deref().map(address).transpose()?,
        count_max: page(params.limit, JOBS_LISTED_MAX)?,
    };
    match api.read(&caller, query, Consistency::Linearizable).await? {
        Answer::Unfinished { jobs, next } => Ok(Json(JobsPage {
            jobs: jobs.iter().map(JobWords::from).collect(),
            next: next.map(|address| address.to_string()),
        })),
        other => Err(senseless(other)),
    }
}

/// How many are to be on a page.
pub(super) fn page(limit: u32, max: u32) -> Result<u32, Problem> {
    if !(1..=max).contains(&limit) {
        return Err(Problem::invalid(format!(
            "limit is {limit}; it must be 1 to {max}"
        )));
    }
    Ok(limit)
}

pub(super) fn senseless(answer: Answer) -> Problem {
    Problem::senseless(&Reply::Read {
        answer,
        applied: LogIndex(0),
        freshness: precentor_core::request::Freshness::Linearizable,
    })
}

/// Shows a job
#[utoipa::path(
    get, path = "/v1/jobs/{job}", tag = "jobs", params(("job" = u64, Path)),
    responses(
        (status = 200, description = "The job", body = JobWords),
        (status = "default", description = "Not there, or not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_job(
    State(api): State<Api>,
    caller: Caller,
    Path(job): Path<String>,
) -> Result<Json<JobWords>, Problem> {
    let job = JobId(number("job", &job)?);
    match api
        .read(&caller, Query::Job(job), Consistency::Linearizable)
        .await?
    {
        Answer::Job(Some(view)) => Ok(Json((&*view).into())),
        Answer::Job(None) => Err(unknown(job)),
        other => Err(senseless(other)),
    }
}

fn unknown(job: JobId) -> Problem {
    Problem::not_found(format!(
        "{job} is not known: it never was, or it ended and was forgotten"
    ))
}

/// Says why a job is where it is
#[utoipa::path(
    get, path = "/v1/jobs/{job}/explanation", tag = "jobs", params(("job" = u64, Path)),
    responses(
        (status = 200, description = "Why", body = ExplanationWords),
        (status = "default", description = "Not there, or not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn explain_job(
    State(api): State<Api>,
    caller: Caller,
    Path(job): Path<String>,
) -> Result<Json<ExplanationWords>, Problem> {
    let job = JobId(number("job", &job)?);
    match api
        .read(&caller, Query::Explain(job), Consistency::Linearizable)
        .await?
    {
        Answer::Explained {
            explanation: Some(explanation),
            asking,
        } => Ok(Json(ExplanationWords::new(&explanation, asking))),
        Answer::Explained {
            explanation: None, ..
        } => Err(unknown(job)),
        other => Err(senseless(other)),
    }
}

/// What became of a job that was to be cancelled.
#[derive(Debug, Serialize, ToSchema)]
struct CancelledWords {
    /// It ended by this; false if it was over already.
    ended: bool,
    /// The worker that ran it and is to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    stops: Option<u64>,
}

/// Ends a job, whoever waits for it
#[utoipa::path(
    post, path = "/v1/jobs/{job}/cancel", tag = "jobs", params(("job" = u64, Path)),
    responses(
        (status = 200, description = "It is over", body = CancelledWords),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn cancel_job(
    State(api): State<Api>,
    caller: Caller,
    Path(job): Path<String>,
) -> Result<Json<CancelledWords>, Problem> {
    let job = JobId(number("job", &job)?);
    let outcome = propose(&api, &caller, Command::Cancel { jobs: vec![job] }).await?;
    let cancellation = match outcome {
        Outcome::Cancelled(cancellations) => cancellations.first().copied(),
        _ => None,
    };
    match cancellation {
        Some(Cancellation::Ended { stops }) => Ok(Json(CancelledWords {
            ended: true,
            stops: stops.map(|worker| worker.0),
        })),
        Some(Cancellation::Unknown) => Err(unknown(job)),
        Some(
            Cancellation::Over
            | Cancellation::Left
            | Cancellation::NotWaitedFor
            | Cancellation::Further { .. },
        )
        | None => Ok(Json(CancelledWords {
            ended: false,
            stops: None,
        })),
    }
}

/// How urgent a job is to be, or is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClassBody {
    /// How urgent.
    class: ClassWord,
}

/// Makes a job more or less urgent
///
/// It is not less urgent than the jobs that depend on it: the answer says what it is.
#[utoipa::path(
    put, path = "/v1/jobs/{job}/class", tag = "jobs", params(("job" = u64, Path)),
    request_body = ClassBody,
    responses(
        (status = 200, description = "How urgent it is now", body = ClassBody),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn reprioritise_job(
    State(api): State<Api>,
    caller: Caller,
    Path(job): Path<String>,
    Words(body): Words<ClassBody>,
) -> Result<Json<ClassBody>, Problem> {
    let job = JobId(number("job", &job)?);
    let command = Command::Reprioritise {
        jobs: vec![job],
        class: body.class.into(),
    };
    let outcome = propose(&api, &caller, command).await?;
    let became = match outcome {
        Outcome::Reprioritised(became) => became.first().copied(),
        _ => None,
    };
    match became {
        Some(Reprioritisation::Now { class }) => Ok(Json(ClassBody {
            class: class.into(),
        })),
        Some(Reprioritisation::Over) => Err(Problem::new(
            axum::http::StatusCode::CONFLICT,
            "over",
            format!("{job} is over"),
        )),
        Some(Reprioritisation::Unknown) | None => Err(unknown(job)),
    }
}

/// Has a command carried out that does no harm if it is carried out twice.
pub(super) async fn propose(
    api: &Api,
    caller: &Caller,
    command: Command,
) -> Result<Outcome, Problem> {
    let request = Request::Propose {
        request: None,
        acknowledged: Sequence(0),
        command,
    };
    match api.ask(caller, request).await? {
        Reply::Applied {
            outcome: Outcome::Rejected(rejection),
            ..
        } => Err(rejection.into()),
        Reply::Applied { outcome, .. } => Ok(outcome),
        other => Err(other.into()),
    }
}
