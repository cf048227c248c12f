//! Who asks: a bearer token says it (RFC 6750), of which the node knows only the digest.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use precentor_core::digest::Digest;
use precentor_core::principal::Principal;

/// Everybody, where nobody has to say who they are.
const LOCAL: &str = "local";

/// Who may ask.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    tokens: BTreeMap<Digest, Principal>,
}

impl Callers {
    /// Those who know something that has one of these digests. Where there are none, everybody
    /// who reaches the interface may ask, and is called `local`.
    #[must_use]
    pub fn new(tokens: BTreeMap<Digest, Principal>) -> Callers {
        Callers { tokens }
    }

    /// Whose token it is; none if nobody's. It is looked up by its digest, so the time that
    /// this takes says nothing of the tokens that there are.
    #[must_use]
    pub fn principal(&self, token: Option<&str>) -> Option<Principal> {
        if self.tokens.is_empty() {
            return Some(Principal(LOCAL.to_owned()));
        }
        self.tokens.get(&Digest::of(token?.as_bytes())).cloned()
    }

    /// Who sent these headers.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<Principal> {
        let value = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        self.principal(token)
    }
}
