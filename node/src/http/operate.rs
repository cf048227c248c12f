//! What operators do: hold work back and let it go on, bound what tenants, engines and
//! projects use, and choose who leads.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use precentor_core::command::{Command, Outcome};
use precentor_core::ids::{NodeId, WorkerId};
use precentor_core::job::{Account, AccountView, BreakerView, Limits, Pause, Rate, Scope};
use precentor_core::request::{Answer, Consistency, Query, Reply, Request};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Words, number};
use super::jobs::{propose, senseless};
use super::problem::Problem;
use super::{Api, Caller};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_pauses, pause))
        .routes(routes!(resume))
        .routes(routes!(list_limits))
        .routes(routes!(put_limits))
        .routes(routes!(show_cache))
        .routes(routes!(put_budget))
        .routes(routes!(expel_worker))
        .routes(routes!(hand_over))
}

/// An outcome that belongs to another command: our own error.
pub(super) fn unexpected(outcome: &Outcome) -> Problem {
    let detail = format!("a senseless outcome: {outcome:?}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "defect", detail)
}

/// Jobs that are paused and resumed together.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "of", rename_all = "snake_case")]
enum ScopeWords {
    /// All of them.
    Cluster,
    /// Those that need an engine.
    Engine {
        /// Its name.
        name: String,
    },
    /// Those on a tenant's account.
    Tenant {
        /// Its name.
        name: String,
    },
    /// Those that a worker would get: it is drained.
    Worker {
        /// Its number.
        id: u64,
    },
}

impl From<ScopeWords> for Scope {
    fn from(words: ScopeWords) -> Scope {
        match words {
            ScopeWords::Cluster => Scope::Cluster,
            ScopeWords::Engine { name } => Scope::Engine(name),
            ScopeWords::Tenant { name } => Scope::Tenant(name),
            ScopeWords::Worker { id } => Scope::Worker(WorkerId(id)),
        }
    }
}

impl From<Scope> for ScopeWords {
    fn from(scope: Scope) -> ScopeWords {
        match scope {
            Scope::Cluster => ScopeWords::Cluster,
            Scope::Engine(name) => ScopeWords::Engine { name },
            Scope::Tenant(name) => ScopeWords::Tenant { name },
            Scope::Worker(id) => ScopeWords::Worker { id: id.0 },
        }
    }
}

/// Something that is to be paused, or is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct PauseWords {
    /// Which jobs.
    scope: ScopeWords,
    /// Why, for people.
    #[serde(default)]
    reason: String,
    /// Who paused it last.
    #[serde(default, skip_deserializing)]
    #[schema(read_only)]
    by: String,
}

impl From<Pause> for PauseWords {
    fn from(pause: Pause) -> PauseWords {
        PauseWords {
            scope: pause.scope.into(),
            reason: pause.reason,
            by: pause.by.0,
        }
    }
}

/// Everything that is paused.
#[derive(Debug, Serialize, ToSchema)]
struct PausesWords {
    /// Each.
    pauses: Vec<PauseWords>,
}

/// Lists what is paused
#[utoipa::path(
    get, path = "/v1/pauses", tag = "operation",
    responses(
        (status = 200, description = "All of it", body = PausesWords),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_pauses(State(api): State<Api>, caller: Caller) -> Result<Json<PausesWords>, Problem> {
    match api
        .read(&caller, Query::Pauses, Consistency::Linearizable)
        .await?
    {
        Answer::Pauses(pauses) => Ok(Json(PausesWords {
            pauses: pauses.into_iter().map(PauseWords::from).collect(),
        })),
        other => Err(senseless(other)),
    }
}

/// Holds jobs back
///
/// What runs goes on; a worker that is paused is drained.
#[utoipa::path(
    post, path = "/v1/pauses", tag = "operation", request_body = PauseWords,
    responses(
        (status = 204, description = "They are held back"),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Words(words): Words<PauseWords>,
) -> Result<StatusCode, Problem> {
    let command = Command::Pause {
        scope: words.scope.into(),
        reason: words.reason,
    };
    match propose(&api, &caller, command).await? {
        Outcome::Paused { .. } => Ok(StatusCode::NO_CONTENT),
        other => Err(unexpected(&other)),
    }
}

/// Lets jobs go on
#[utoipa::path(
    post, path = "/v1/resumptions", tag = "operation", request_body = ScopeWords,
    responses(
        (status = 204, description = "They are not held back by this any more"),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Words(scope): Words<ScopeWords>,
) -> Result<StatusCode, Problem> {
    let command = Command::Resume {
        scope: scope.into(),
    };
    match propose(&api, &caller, command).await? {
        Outcome::Resumed { .. } => Ok(StatusCode::NO_CONTENT),
        other => Err(unexpected(&other)),
    }
}

/// What a tenant, engine or project may use. What is absent is not limited.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LimitsWords {
    /// How many jobs may run at a time, from 1. To let none run, pause it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running_max: Option<u32>,
    /// How often a job may be given to a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<RateWords>,
    /// How many jobs may be unfinished at a time. Of a tenant only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queued_max: Option<u64>,
    /// How much its queues weigh against those of other tenants. Of a tenant only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
}

/// A token bucket: each job that is given out takes one token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RateWords {
    /// Tokens in a minute of the cluster's time.
    per_minute: u32,
    /// Tokens that it can hold: so many jobs at once after a time without any.
    burst: u32,
}

impl From<LimitsWords> for Limits {
    fn from(words: LimitsWords) -> Limits {
        Limits {
            running_max: words.running_max,
            rate: words
                .rate
                .map(|RateWords { per_minute, burst }| Rate { per_minute, burst }),
            queued_max: words.queued_max,
            weight: words.weight,
        }
    }
}

impl From<Limits> for LimitsWords {
    fn from(limits: Limits) -> LimitsWords {
        LimitsWords {
            running_max: limits.running_max,
            rate: limits
                .rate
                .map(|Rate { per_minute, burst }| RateWords { per_minute, burst }),
            queued_max: limits.queued_max,
            weight: limits.weight,
        }
    }
}

/// What jobs that run are counted by.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AccountWord {
    /// On whose account they run.
    Tenant,
    /// What generates them.
    Engine,
    /// The project that their addresses are of.
    Project,
}

fn account(kind: &str, name: String) -> Result<Account, Problem> {
    match kind {
        "tenant" => Ok(Account::Tenant(name)),
        "engine" => Ok(Account::Engine(name)),
        "project" => Ok(Account::Project(name)),
        other => Err(Problem::invalid(format!(
            "{other:?} has no limits; write tenant, engine or project"
        ))),
    }
}

/// A tenant, engine or project with limits.
#[derive(Debug, Serialize, ToSchema)]
struct AccountWords {
    /// What it is.
    of: AccountWord,
    /// Its name.
    name: String,
    /// What it may use.
    limits: LimitsWords,
    /// Jobs that run.
    running: u64,
    /// Unfinished jobs, if that is counted for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u64>,
}

impl From<AccountView> for AccountWords {
    fn from(view: AccountView) -> AccountWords {
        let (of, name) = match view.account {
            Account::Tenant(name) => (AccountWord::Tenant, name),
            Account::Engine(name) => (AccountWord::Engine, name),
            Account::Project(name) => (AccountWord::Project, name),
        };
        AccountWords {
            of,
            name,
            limits: view.limits.into(),
            running: view.running,
            queued: view.queued,
        }
    }
}

/// An engine that failed lately.
#[derive(Debug, Serialize, ToSchema)]
struct BreakerWords {
    /// Which.
    engine: String,
    /// What is done with it, in words for people.
    text: String,
    /// Attempts that ended of late.
    ended: u64,
    /// Of these, how many failed.
    failed: u64,
}

impl From<BreakerView> for BreakerWords {
    fn from(view: BreakerView) -> BreakerWords {
        BreakerWords {
            text: view.to_string(),
            engine: view.engine,
            ended: view.ended,
            failed: view.failed,
        }
    }
}

/// Everything that is limited.
#[derive(Debug, Serialize, ToSchema)]
struct AllLimitsWords {
    /// Tenants, engines and projects with limits.
    accounts: Vec<AccountWords>,
    /// Engines that failed lately.
    breakers: Vec<BreakerWords>,
}

/// Lists what is limited
#[utoipa::path(
    get, path = "/v1/limits", tag = "operation",
    responses(
        (status = 200, description = "All of it", body = AllLimitsWords),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_limits(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<AllLimitsWords>, Problem> {
    match api
        .read(&caller, Query::Limits, Consistency::Linearizable)
        .await?
    {
        Answer::Limits { accounts, breakers } => Ok(Json(AllLimitsWords {
            accounts: accounts.into_iter().map(AccountWords::from).collect(),
            breakers: breakers.into_iter().map(BreakerWords::from).collect(),
        })),
        other => Err(senseless(other)),
    }
}

/// Says what a tenant, engine or project may use from now on
///
/// The answer is what it might use before. With nothing limited, all limits end.
#[utoipa::path(
    put, path = "/v1/limits/{of}/{name}", tag = "operation",
    params(
        ("of" = String, Path, description = "tenant, engine or project"),
        ("name" = String, Path),
    ),
    request_body = LimitsWords,
    responses(
        (status = 200, description = "What was so before", body = LimitsWords),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put_limits(
    State(api): State<Api>,
    caller: Caller,
    Path((of, name)): Path<(String, String)>,
    Words(limits): Words<LimitsWords>,
) -> Result<Json<LimitsWords>, Problem> {
    let command = Command::PutLimits {
        account: account(&of, name)?,
        limits: limits.into(),
    };
    match propose(&api, &caller, command).await? {
        Outcome::LimitsPut { before } => Ok(Json(before.into())),
        other => Err(unexpected(&other)),
    }
}

/// What the published contexts take.
#[derive(Debug, Serialize, ToSchema)]
struct CacheWords {
    /// How many there are.
    contexts: u64,
    /// How long their bodies are together.
    bytes: u64,
    /// What they may take, if that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_max: Option<u64>,
    /// How many are known to be invalid.
    invalid: u64,
    /// How many were evicted, ever.
    evicted: u64,
}

/// Shows what the published contexts take
#[utoipa::path(
    get, path = "/v1/cache", tag = "operation",
    responses(
        (status = 200, description = "What they take", body = CacheWords),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show_cache(State(api): State<Api>, caller: Caller) -> Result<Json<CacheWords>, Problem> {
    match api
        .read(&caller, Query::Cache, Consistency::Linearizable)
        .await?
    {
        Answer::Cache(view) => Ok(Json(CacheWords {
            contexts: view.contexts,
            bytes: view.bytes,
            bytes_max: view.bytes_max,
            invalid: view.invalid,
            evicted: view.evicted,
        })),
        other => Err(senseless(other)),
    }
}

/// What the published contexts may take.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BudgetWords {
    /// So many bytes; absent for as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_max: Option<u64>,
}

/// Says what the published contexts may take from now on
///
/// Beyond it those go that nobody used lately. The answer is what was so before.
#[utoipa::path(
    put, path = "/v1/cache/budget", tag = "operation", request_body = BudgetWords,
    responses(
        (status = 200, description = "What was so before", body = BudgetWords),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put_budget(
    State(api): State<Api>,
    caller: Caller,
    Words(budget): Words<BudgetWords>,
) -> Result<Json<BudgetWords>, Problem> {
    let command = Command::PutBudget {
        bytes_max: budget.bytes_max,
    };
    match propose(&api, &caller, command).await? {
        Outcome::BudgetPut { before } => Ok(Json(BudgetWords { bytes_max: before })),
        other => Err(unexpected(&other)),
    }
}

/// What became of a worker that was to go.
#[derive(Debug, Serialize, ToSchema)]
struct ExpelledWords {
    /// How many jobs it ran: they are given to others, and not counted as tried.
    jobs: u32,
}

/// Forgets a worker
///
/// Its jobs are given to others, until it registers again.
#[utoipa::path(
    delete, path = "/v1/workers/{worker}", tag = "operation", params(("worker" = u64, Path)),
    responses(
        (status = 200, description = "It is forgotten", body = ExpelledWords),
        (status = "default", description = "Not known, or not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn expel_worker(
    State(api): State<Api>,
    caller: Caller,
    Path(worker): Path<String>,
) -> Result<Json<ExpelledWords>, Problem> {
    let worker = WorkerId(number("worker", &worker)?);
    match propose(&api, &caller, Command::Expel { worker }).await? {
        Outcome::Expelled { known: true, jobs } => Ok(Json(ExpelledWords { jobs })),
        Outcome::Expelled { known: false, .. } => {
            Err(Problem::not_found(format!("worker {worker} is not known")))
        }
        other => Err(unexpected(&other)),
    }
}

/// Who is to lead, or does.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LeaderWords {
    /// Its number; absent for the fittest voter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
}

/// Gives the leadership to another node
///
/// Answered when it leads, or when that has come to nothing. No request is refused
/// meanwhile.
#[utoipa::path(
    put, path = "/v1/leader", tag = "operation", request_body = LeaderWords,
    responses(
        (status = 200, description = "Who leads now", body = LeaderWords),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn hand_over(
    State(api): State<Api>,
    caller: Caller,
    Words(words): Words<LeaderWords>,
) -> Result<Json<LeaderWords>, Problem> {
    let to = words.node.map(NodeId);
    match api.ask(&caller, Request::HandOver { to }).await? {
        Reply::HandedOver { to, .. } => Ok(Json(LeaderWords { node: Some(to.0) })),
        other => Err(other.into()),
    }
}
