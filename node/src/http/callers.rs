//! Who asks: a bearer token says it (RFC 6750), of which the node knows only the digest, or
//! the certificate that the connection was opened with.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use precentor_core::digest::Digest;
use precentor_core::principal::Principal;

use crate::tls::{Identity, Who};

/// Everybody, where nobody has to say who they are.
const LOCAL: &str = "local";

/// Who may ask. Cheap to clone; all clones change at once.
#[derive(Debug, Clone, Default)]
pub struct Callers(Arc<RwLock<Known>>);

#[derive(Debug, Clone, Default)]
struct Known {
    tokens: BTreeMap<Digest, Principal>,
    /// Everybody has to say who they are, whether or not there are tokens.
    proved: bool,
}

impl Callers {
    /// Those who know something that has one of these digests. Where there are none, everybody
    /// who reaches the interface may ask, and is called `local`.
    #[must_use]
    pub fn new(tokens: BTreeMap<Digest, Principal>) -> Callers {
        let proved = !tokens.is_empty();
        Callers(Arc::new(RwLock::new(Known { tokens, proved })))
    }

    /// Those, and whoever has a certificate.
    #[must_use]
    pub fn proved(tokens: BTreeMap<Digest, Principal>) -> Callers {
        let proved = true;
        Callers(Arc::new(RwLock::new(Known { tokens, proved })))
    }

    /// From now on these may ask, and nobody else. Where somebody had to say who they are,
    /// that stays so: without tokens nobody has one.
    pub fn become_like(&self, others: &Callers) {
        let mut others = others.known().clone();
        let mut own = self.0.write().unwrap_or_else(PoisonError::into_inner);
        others.proved |= own.proved;
        *own = others;
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose token it is; none if nobody's. It is looked up by its digest, so the time that
    /// this takes says nothing of the tokens that there are.
    #[must_use]
    pub fn principal(&self, token: Option<&str>) -> Option<Principal> {
        let known = self.known();
        if !known.proved {
            return Some(Principal(LOCAL.to_owned()));
        }
        known.tokens.get(&Digest::of(token?.as_bytes())).cloned()
    }

    /// Who sent these headers on a connection of somebody. What a request says of itself
    /// counts more than what it came on: whoever has one certificate may ask for several.
    pub(super) fn of(&self, headers: &HeaderMap, identity: Option<&Identity>) -> Option<Principal> {
        if !self.known().proved {
            return self.principal(None);
        }
        let Some(value) = headers.get(AUTHORIZATION) else {
            return match identity.map(|identity| &identity.who) {
                Some(Who::Client(principal)) => Some(principal.clone()),
                // Nodes ask each other in another way; on their behalf nobody does.
                Some(Who::Node(_)) | None => None,
            };
        };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        self.principal(is_bearer.then(|| token.trim()))
    }
}
