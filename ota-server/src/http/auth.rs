//! Who calls: bearer tokens, checked before anything is routed. Deny by default: without a good token there is nothing.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Api, Problem};
use crate::rules::permission::Principal;

/// What every token begins with, so that tools that look for leaked secrets can find it.
const PREFIX: &str = "ota_";

/// A token as text: `ota_`, its public name, `_`, its secret in hexadecimal digits.
#[must_use]
pub fn token_text(name: &str, secret: &[u8; 32]) -> String {
    format!("{PREFIX}{name}_{}", ota_core::number::Sha256Digest(*secret))
}

/// The public name and the secret of a token.
#[must_use]
pub fn parse_token(text: &str) -> Option<(&str, [u8; 32])> {
    let (name, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let secret = ota_core::number::Sha256Digest::from_hex(secret)?;
    let is_name = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_name.then_some((name, secret.0))
}

/// Whoever calls, authenticated.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Only a route outside the authenticated part of the router comes here without one.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::unauthenticated("no token was checked"))
    }
}

/// Lets only those through whose token is good, and notes who they are.
pub(super) async fn authenticate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    match caller(&api, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn caller(api: &Api, headers: &HeaderMap) -> Result<Caller, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::unauthenticated("the request has no token, or more than one"));
    };
    let text = value.to_str().unwrap_or_default();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => return Err(Problem::unauthenticated("the authorization is no bearer token")),
    };
    let Some((name, secret)) = parse_token(token) else {
        return Err(Problem::unauthenticated("the token is not complete"));
    };
    match api.server.authenticate(name, &secret).await? {
        Some(principal) => Ok(Caller(principal)),
        None => {
            tracing::warn!(token = name, "a token was refused");
            Err(Problem::unauthenticated("the token is not known, was removed or has expired"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_from_its_text() {
        let text = token_text("0123456789abcdef", &[7; 32]);
        assert_eq!(parse_token(&text), Some(("0123456789abcdef", [7; 32])));
        for bad in [
            "",
            "ota_",
            "ota__",
            "0123456789abcdef",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
        ] {
            assert_eq!(parse_token(bad), None, "{bad:?}");
        }
    }
}
