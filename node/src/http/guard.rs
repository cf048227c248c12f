//! What every request passes: it must be no stranger's page that sends it, there must be
//! room for it, and its body is read whole, within its bound and its time, before anybody
//! looks at it.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use precentor_core::limits::{HTTP_BODY_BYTES_MAX, HTTP_REQUESTS_MAX};
use tokio::time::timeout;

use super::problem::Problem;
use super::{Api, NODE_HEADER, declared_path};
use crate::tls::Proof;

/// How long a body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), declared_path(&request));
    let mut response = match pass(&api, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    let counts = &api.0.counts;
    counts.note(method.as_str(), &path, response.status().as_u16());
    let node = HeaderValue::from(api.0.about.place.node.0);
    response.headers_mut().insert(NODE_HEADER, node);
    response
}

/// A browser has this machine's addresses and its user's certificates, and does what pages of
/// strangers tell it: whatever it sends for a page of another origin is refused. So is, where
/// no certificate says what this node is called, what it sends to a name that a stranger gave
/// this address (DNS rebinding).
fn check_origin(headers: &HeaderMap, encrypted: bool) -> Result<(), Problem> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let host = text(HOST).unwrap_or_default();
    let refused = |detail: String| Err(Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail));
    if !encrypted && !is_own_name(host) {
        return refused(format!(
            "the request is for {host:?}; this node is only known by its address, or as localhost"
        ));
    }
    let scheme = if encrypted { "https" } else { "http" };
    match headers.get(ORIGIN) {
        None => Ok(()),
        Some(_) if text(ORIGIN) == Some(&format!("{scheme}://{host}")) => Ok(()),
        Some(origin) => refused(format!(
            "the request is of a page of another origin: {origin:?}"
        )),
    }
}

/// An address, or the name that every machine has for itself; with a port or without.
fn is_own_name(host: &str) -> bool {
    let is_own = |name: &str| name == "localhost" || name.parse::<Ipv4Addr>().is_ok();
    let without_port = host.rsplit_once(':').map_or(host, |(name, _)| name);
    is_own(host) || is_own(without_port) || host.starts_with('[')
}

async fn pass(api: &Api, request: Request, next: Next) -> Result<Response, Problem> {
    let credentials = api.0.about.credentials.as_ref();
    check_origin(request.headers(), credentials.is_some())?;
    if let Some((credentials, proof)) = credentials.zip(request.extensions().get::<Proof>())
        && !credentials.hold(proof)
    {
        return Err(Problem::connect_anew());
    }
    let Ok(_place) = api.0.room.try_acquire() else {
        return Err(Problem::overloaded(format!(
            "this node works on {HTTP_REQUESTS_MAX} requests, which is the limit (http_requests_max)"
        )));
    };
    let (parts, body) = request.into_parts();
    let declared = parts.headers.get(CONTENT_LENGTH);
    let declared = declared
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    // Whoever does not say how much comes may send as much as there may be.
    let length = match declared {
        Some(length) => length,
        None if body.is_end_stream() => 0,
        None => HTTP_BODY_BYTES_MAX,
    };
    if length > HTTP_BODY_BYTES_MAX {
        return Err(too_large(format!("the body is {length} bytes")));
    }
    let kib = u32::try_from(length.div_ceil(1_024)).unwrap_or(u32::MAX);
    let Ok(_bytes) = api.0.body_room.try_acquire_many(kib) else {
        return Err(Problem::overloaded(
            "too many bytes of requests are under way",
        ));
    };
    let limit = usize::try_from(HTTP_BODY_BYTES_MAX).unwrap_or(usize::MAX);
    let bytes = timeout(BODY_PATIENCE, to_bytes(body, limit)).await;
    let bytes = match bytes {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if declared.is_none() => {
            return Err(too_large(format!("the body cannot be read ({error})")));
        }
        Ok(Err(error)) => return Err(Problem::invalid(format!("the body broke off: {error}"))),
        Err(_) => {
            let detail = format!("the body did not come within {} s", BODY_PATIENCE.as_secs());
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                detail,
            ));
        }
    };
    Ok(next
        .run(Request::from_parts(parts, Body::from(bytes)))
        .await)
}

fn too_large(found: String) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!(
            "{found}; the limit is {HTTP_BODY_BYTES_MAX} (http_body_bytes_max); send less at once"
        ),
    )
}
