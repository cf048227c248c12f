//! What is told when something is not done: problem details (RFC 9457) with a stable
//! code, whether anything was changed, and what to do.

use axum::Json;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use precentor_core::command::Rejection;
use precentor_core::request::{Refusal, Reply};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::client::Unanswered;
use crate::gateway::NoAnswer;

/// Is the cluster as it was?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// Nothing was changed, and nothing of the request will change anything.
    No,
    /// It may have an effect, or may have one later: ask under the same
    /// `Idempotency-Key`, or look.
    Unknown,
}

/// Why a request was not done (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:precentor:problem:` and the code.
    pub r#type: String,
    /// The HTTP status.
    pub status: u16,
    /// What kind of problem it is, in a few words for programs. Codes are never renamed.
    pub code: String,
    /// What was asked, what was found, and what would be right.
    pub detail: String,
    /// Whether anything was changed.
    pub changed: Changed,
    /// When to ask again, in milliseconds, if that helps by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem for which nothing was changed.
    pub fn new(status: StatusCode, code: &str, detail: impl ToString) -> Problem {
        Problem {
            r#type: format!("urn:precentor:problem:{code}"),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.to_string(),
            changed: Changed::No,
            retry_after_ms: None,
        }
    }

    /// What was sent is not as it must be.
    pub fn invalid(detail: impl ToString) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// What was asked for is not there.
    pub fn not_found(detail: impl ToString) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Nobody knows who asks.
    pub fn unauthenticated() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "send a token that this node knows, Authorization: Bearer TOKEN, or connect with a client's certificate",
        )
    }

    /// A connection on which nobody is believed any more.
    pub fn connect_anew() -> Problem {
        let detail = "what this connection was opened with is over, or is believed no more; connect anew with a certificate that is good";
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "certificate_over", detail)
    }

    /// More than can be done just now.
    pub fn overloaded(detail: impl ToString) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1_000)
    }

    /// An answer that does not belong to the question: our own error.
    pub fn senseless(reply: &Reply) -> Problem {
        let detail =
            format!("the cluster gave an answer that belongs to no such request: {reply:?}");
        Problem {
            changed: Changed::Unknown,
            ..Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "defect", detail)
        }
    }

    fn retry_after(self, ms: u64) -> Problem {
        Problem {
            retry_after_ms: Some(ms),
            ..self
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // In whole seconds (RFC 9110 §10.2.3), and never too early.
        let retry_after = self.retry_after_ms.map(|ms| ms.div_ceil(1_000));
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::MISDIRECTED_REQUEST {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<NoAnswer> for Problem {
    fn from(error: NoAnswer) -> Problem {
        let (unchanged, refused) = match error {
            NoAnswer::Overloaded => {
                return Problem::overloaded("this node has too many requests, or is about to end");
            }
            NoAnswer::TimedOut(Unanswered { unchanged, refused }) => (unchanged, refused),
        };
        let code = match refused {
            Some(Refusal::NoLeader | Refusal::ReadUnconfirmed) | None => "no_leader",
            Some(Refusal::Yielding) => "yielding",
            Some(Refusal::LevelTooLow) => "level_too_low",
            Some(Refusal::Behind) => "behind",
            Some(Refusal::LocalQueueFull) => "local_queue_full",
            Some(Refusal::DiskFull) => "disk_full",
            Some(Refusal::UncommittedBytes | Refusal::WaitingRequests | Refusal::WaitingReads) => {
                "overloaded"
            }
        };
        let why = match refused {
            Some(refused) => format!("the last answer was: {refused}"),
            None => "no leader answered".to_owned(),
        };
        let detail = format!("the time of the request is over; {why}");
        let status = match refused {
            Some(Refusal::DiskFull) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem {
            changed: if unchanged {
                Changed::No
            } else {
                Changed::Unknown
            },
            ..Problem::new(status, code, detail).retry_after(1_000)
        }
    }
}

/// What a reply says that is not the answer to the question.
impl From<Reply> for Problem {
    fn from(reply: Reply) -> Problem {
        match reply {
            Reply::Invalid { message } => Problem::invalid(message),
            Reply::Denied(denial) => Problem::new(StatusCode::FORBIDDEN, "denied", denial),
            Reply::ChangeRefused(error) => {
                Problem::new(StatusCode::CONFLICT, "change_refused", error)
            }
            Reply::HandOverFailed(error) => {
                Problem::new(StatusCode::CONFLICT, "hand_over_failed", error)
            }
            Reply::RecoveryFailed(error) => {
                Problem::new(StatusCode::CONFLICT, "recovery_failed", error)
            }
            Reply::Applied {
                outcome: precentor_core::command::Outcome::Rejected(rejection),
                ..
            } => rejection.into(),
            other => Problem::senseless(&other),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Problem {
        let (status, code) = kind(&rejection);
        let problem = Problem::new(status, code, &rejection);
        match rejection {
            Rejection::QueueFull { retry_after_ms, .. }
            | Rejection::SourcesFull { retry_after_ms, .. }
            | Rejection::TenantFull { retry_after_ms, .. }
            | Rejection::InvalidationsFull { retry_after_ms, .. } => {
                problem.retry_after(retry_after_ms)
            }
            // It was done, once, and its reply is forgotten.
            Rejection::SequenceForgotten { .. } => Problem {
                changed: Changed::Unknown,
                ..problem
            },
            _ => problem,
        }
    }
}

/// What kind of problem a rejection is.
fn kind(rejection: &Rejection) -> (StatusCode, &'static str) {
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    let conflict = StatusCode::CONFLICT;
    let busy = StatusCode::TOO_MANY_REQUESTS;
    let gone = StatusCode::NOT_FOUND;
    match rejection {
        Rejection::QueueFull { .. } => (busy, "queue_full"),
        Rejection::SourcesFull { .. } => (busy, "sources_full"),
        Rejection::TenantFull { .. } => (busy, "tenant_full"),
        Rejection::InvalidationsFull { .. } => (busy, "invalidations_full"),
        Rejection::TooManyOutstanding { .. } => (busy, "too_many_outstanding"),
        Rejection::Full { .. } => (busy, "full"),
        Rejection::TooManyConflicts { .. } => (busy, "too_many_conflicts"),
        Rejection::EditedFull { .. } => (busy, "edited_full"),
        Rejection::UnknownSession { .. } => (gone, "unknown_session"),
        Rejection::UnknownJob { .. } => (gone, "unknown_job"),
        Rejection::UnknownWorker { .. } => (gone, "unknown_worker"),
        Rejection::NoConflict { .. } => (gone, "no_conflict"),
        Rejection::SequenceForgotten { .. } => (conflict, "sequence_forgotten"),
        Rejection::IdempotencyMismatch { .. } => (conflict, "idempotency_mismatch"),
        Rejection::Stale { .. } => (conflict, "stale"),
        Rejection::OldIncarnation { .. } => (conflict, "old_incarnation"),
        Rejection::OldTerm { .. } => (conflict, "old_term"),
        Rejection::LevelNotHigher { .. } => (conflict, "level_not_higher"),
        Rejection::LevelTooLow { .. } => (conflict, "level_too_low"),
        Rejection::LastAdmin { .. } => (conflict, "last_admin"),
        Rejection::EditDominated { .. } => (conflict, "edit_dominated"),
        Rejection::EditAhead { .. } => (conflict, "edit_ahead"),
        Rejection::RevisionMoved { .. } => (conflict, "revision_moved"),
        Rejection::Denied(_) => (StatusCode::FORBIDDEN, "denied"),
        Rejection::ItemCount { .. } => (wrong, "item_count"),
        Rejection::TooManyDependencies { .. } => (wrong, "too_many_dependencies"),
        Rejection::UnknownDependency { .. } => (wrong, "unknown_dependency"),
        Rejection::Cycle { .. } => (wrong, "cycle"),
        Rejection::TooLong { .. } => (wrong, "too_long"),
        Rejection::OutOfRange { .. } => (wrong, "out_of_range"),
        Rejection::DigestMismatch => (wrong, "digest_mismatch"),
        Rejection::JobCount { .. } | Rejection::OrderedJobCount { .. } => (wrong, "job_count"),
        Rejection::NoSession => (wrong, "no_session"),
        Rejection::NoName { .. } | Rejection::NoAccount { .. } | Rejection::NoEngine => {
            (wrong, "no_name")
        }
        Rejection::OnlyForTenants { .. } => (wrong, "only_for_tenants"),
        Rejection::ModeContradicted { .. } => (wrong, "mode_contradicted"),
        Rejection::ModeRefused { .. } => (wrong, "mode_refused"),
        Rejection::EvictionCount { .. } => (wrong, "eviction_count"),
        Rejection::NoPrincipal { .. } => (wrong, "no_principal"),
        Rejection::RoleForAll { .. } => (wrong, "role_for_all"),
        Rejection::ChangedTwice { .. } => (wrong, "changed_twice"),
        Rejection::ReservedActor { .. } => (wrong, "reserved_actor"),
        Rejection::NoSide { .. } => (wrong, "no_side"),
    }
}

#[cfg(test)]
mod tests {
    use precentor_core::ids::{Sequence, SessionId};

    use super::*;

    #[test]
    fn what_is_full_says_when_to_ask_again_in_its_body_and_its_header() {
        let rejection = Rejection::QueueFull {
            live: 10,
            limit: 10,
            retry_after_ms: 1_500,
        };
        let problem = Problem::from(rejection);
        assert_eq!((problem.status, problem.code.as_str()), (429, "queue_full"));
        assert_eq!(problem.changed, Changed::No);
        assert!(
            problem.detail.contains("jobs_live_max"),
            "{}",
            problem.detail
        );
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn a_request_whose_time_is_over_says_whether_it_may_have_had_an_effect() {
        let over = |unchanged| {
            Problem::from(NoAnswer::TimedOut(Unanswered {
                unchanged,
                refused: Some(Refusal::NoLeader),
            }))
        };
        assert_eq!(over(true).changed, Changed::No);
        assert_eq!(over(false).changed, Changed::Unknown);
        assert_eq!(
            (over(true).status, over(true).code.as_str()),
            (503, "no_leader")
        );
    }

    #[test]
    fn what_was_answered_and_forgotten_may_have_had_an_effect() {
        let rejection = Rejection::SequenceForgotten {
            sequence: Sequence(3),
        };
        assert_eq!(Problem::from(rejection).changed, Changed::Unknown);
        let unknown = Rejection::UnknownSession {
            session: SessionId(9),
        };
        let problem = Problem::from(unknown);
        assert_eq!((problem.status, problem.changed), (404, Changed::No));
    }
}
