//! The feed of jobs that ended, as server-sent events: the same on every node, so that
//! whoever loses one goes on at another where it was.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{Stream, unfold};
use precentor_core::ids::FinishNumber;
use precentor_core::request::{Reply, Request};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Params, number};
use super::problem::Problem;
use super::words::FinishedWords;
use super::{Api, Caller};

/// Jobs that are asked for at a time.
const PAGE: u32 = 256;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(follow_events))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FeedParams {
    /// The number of the last one known; none for all that are kept. A `Last-Event-ID`
    /// goes before it.
    after: Option<u64>,
}

/// Tells which jobs end, as they do
///
/// Server-sent events named `finished`, each with its number for an id.
#[utoipa::path(
    get, path = "/v1/events", tag = "jobs", params(
        FeedParams,
        ("Last-Event-ID" = Option<u64>, Header, description = "the id of the last event known"),
    ),
    responses(
        (status = 200, description = "Events, until either end has enough", content_type = "text/event-stream", body = FinishedWords),
        (status = "default", description = "Not begun", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn follow_events(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<FeedParams>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let last = match headers.get("last-event-id") {
        Some(id) => Some(number("Last-Event-ID", id.to_str().unwrap_or("?"))?),
        None => params.after,
    };
    let follower = Follower {
        api,
        caller,
        after: FinishNumber(last.unwrap_or(0)),
        ready: VecDeque::new(),
    };
    let events = unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Follower {
    api: Api,
    caller: Caller,
    after: FinishNumber,
    ready: VecDeque<FinishedWords>,
}

impl Follower {
    /// The next event; nothing when the node ends, or cannot answer.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(finished) = self.ready.pop_front() {
                let event = Event::default().event("finished");
                return event
                    .id(finished.number.to_string())
                    .json_data(&finished)
                    .ok();
            }
            let request = Request::FinishedAfter {
                after: self.after,
                count_max: PAGE,
            };
            let reply = self.api.ask(&self.caller, request).await;
            let Ok(Reply::Finished { jobs, .. }) = reply else {
                return None;
            };
            if let Some(last) = jobs.last() {
                self.after = last.number;
            }
            self.ready.extend(jobs.iter().map(FinishedWords::from));
        }
    }
}
