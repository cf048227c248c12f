//! What a request carries, read so that what is wrong with it is told as a problem.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Words<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Words<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Words<T>, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::invalid(format!("the body cannot be read: {error}")))?;
        serde_json::from_slice(&bytes)
            .map(Words)
            .map_err(|error| Problem::invalid(format!("the body is not as it must be: {error}")))
    }
}

/// The parameters behind the question mark.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Params(params))
            .map_err(|error| Problem::invalid(format!("the parameters are wrong: {error}")))
    }
}

/// A number in the path.
pub(super) fn number(what: &str, text: &str) -> Result<u64, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("{what} is {text:?}; it must be a number")))
}
