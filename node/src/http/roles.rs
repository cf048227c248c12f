//! Who may do what.

use axum::Json;
use axum::extract::{Path, State};
use precentor_core::access::{Area, Grant, Rights, Role};
use precentor_core::command::{Command, Outcome};
use precentor_core::limits::RIGHTS_LISTED_MAX;
use precentor_core::principal::Principal;
use precentor_core::request::{Answer, Consistency, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Params, Words};
use super::jobs::{page, propose, senseless};
use super::operate::unexpected;
use super::problem::Problem;
use super::words::{ClassWord, address};
use super::{Api, Caller};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_roles))
        .routes(routes!(put_roles))
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RoleWord {
    /// Read.
    Viewer,
    /// Ask for contexts, and take that back; and read.
    Agent,
    /// Run jobs.
    Worker,
    /// Operate the queue; and all that an agent may.
    Operator,
    /// Say who may do what, and who belongs to the cluster; and all that an operator may.
    Admin,
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> RoleWord {
        match role {
            Role::Viewer => RoleWord::Viewer,
            Role::Agent => RoleWord::Agent,
            Role::Worker => RoleWord::Worker,
            Role::Operator => RoleWord::Operator,
            Role::Admin => RoleWord::Admin,
        }
    }
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Role {
        match word {
            RoleWord::Viewer => Role::Viewer,
            RoleWord::Agent => Role::Agent,
            RoleWord::Worker => Role::Worker,
            RoleWord::Operator => Role::Operator,
            RoleWord::Admin => Role::Admin,
        }
    }
}

/// A role that somebody has somewhere: everywhere, unless it says where.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GrantWords {
    /// What.
    role: RoleWord,
    /// At this address and everywhere inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^ucxl://.")]
    within: Option<String>,
    /// At this address alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^ucxl://.")]
    at: Option<String>,
    /// The most urgent class that may be asked for.
    #[serde(default = "most_urgent")]
    class: ClassWord,
}

fn most_urgent() -> ClassWord {
    ClassWord::Urgent
}

impl GrantWords {
    fn grant(&self) -> Result<Grant, Problem> {
        let area = match (&self.within, &self.at) {
            (None, None) => Area::Everywhere,
            (Some(place), None) => Area::Within(address(place)?),
            (None, Some(place)) => Area::At(address(place)?),
            (Some(_), Some(_)) => {
                return Err(Problem::invalid(
                    "a grant holds within an address or at one; name one of them",
                ));
            }
        };
        Ok(Grant {
            role: self.role.into(),
            area,
            class: self.class.into(),
        })
    }
}

impl From<Grant> for GrantWords {
    fn from(grant: Grant) -> GrantWords {
        let (within, at) = match grant.area {
            Area::Everywhere => (None, None),
            Area::Within(place) => (Some(place.to_string()), None),
            Area::At(place) => (None, Some(place.to_string())),
        };
        GrantWords {
            role: grant.role.into(),
            within,
            at,
            class: grant.class.into(),
        }
    }
}

/// What somebody may do.
#[derive(Debug, Serialize, ToSchema)]
struct RightsWords {
    /// Who.
    principal: String,
    /// What.
    grants: Vec<GrantWords>,
}

impl From<Rights> for RightsWords {
    fn from(rights: Rights) -> RightsWords {
        RightsWords {
            principal: rights.principal.0,
            grants: rights.grants.into_iter().map(GrantWords::from).collect(),
        }
    }
}

/// Those who may do something, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
struct RolesPage {
    /// Some of them, by name. Where nobody has a grant, everybody may do everything.
    rights: Vec<RightsWords>,
    /// To ask for more, give this as `after`; none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Those after this one.
    after: Option<String>,
    /// At most so many, up to 32.
    #[serde(default = "roles_limit")]
    #[param(minimum = 1, maximum = 32)]
    limit: u32,
}

fn roles_limit() -> u32 {
    RIGHTS_LISTED_MAX
}

/// Lists who may do what
#[utoipa::path(
    get, path = "/v1/roles", tag = "operation", params(ListParams),
    responses(
        (status = 200, description = "Some of them", body = RolesPage),
        (status = "default", description = "Not read", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_roles(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<RolesPage>, Problem> {
    let query = Query::Roles {
        after: params.after.map(Principal),
        count_max: page(params.limit, RIGHTS_LISTED_MAX)?,
    };
    match api.read(&caller, query, Consistency::Linearizable).await? {
        Answer::Roles { rights, next } => Ok(Json(RolesPage {
            rights: rights.into_iter().map(RightsWords::from).collect(),
            next: next.map(|principal| principal.0),
        })),
        other => Err(senseless(other)),
    }
}

/// All that somebody may do from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutRolesWords {
    /// What; nothing if nothing any more.
    grants: Vec<GrantWords>,
}

/// How many grants somebody had.
#[derive(Debug, Serialize, ToSchema)]
struct RolesPutWords {
    /// So many.
    before: u32,
}

/// Says all that somebody may do from now on
///
/// With the first grant of all, nobody else may do anything any more: it has to be `admin`.
#[utoipa::path(
    put, path = "/v1/roles/{principal}", tag = "operation",
    params(("principal" = String, Path)),
    request_body = PutRolesWords,
    responses(
        (status = 200, description = "It holds", body = RolesPutWords),
        (status = "default", description = "Not done", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put_roles(
    State(api): State<Api>,
    caller: Caller,
    Path(principal): Path<String>,
    Words(words): Words<PutRolesWords>,
) -> Result<Json<RolesPutWords>, Problem> {
    let grants = words.grants.iter().map(GrantWords::grant);
    let command = Command::PutRoles {
        principal: Principal(principal),
        grants: grants.collect::<Result<_, _>>()?,
    };
    match propose(&api, &caller, command).await? {
        Outcome::RolesPut { before } => Ok(Json(RolesPutWords { before })),
        other => Err(unexpected(&other)),
    }
}
