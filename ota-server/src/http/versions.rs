//! Two people who edit the same thing at once: each edit can name the version that it was made of (`If-Match`), and the one
//! that comes second is told so instead of undoing the first.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use ota_core::fleet::Version;
use serde_json::json;

use super::Problem;
use super::openapi::{Operation, Part};

/// The version that an edit expects; `None` if it expects none.
pub(super) struct IfMatch(pub(super) Option<Version>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default();
        if text == "*" {
            return Ok(Self(None));
        }
        let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')?.parse().ok());
        let version = version.ok_or_else(|| {
            Problem::invalid("if-match: expected one entity tag, exactly as the answer that was read had it")
        })?;
        Ok(Self(Some(Version(version))))
    }
}

impl Part for IfMatch {
    fn describe(operation: &mut Operation<'_>) {
        let about =
            "The `ETag` of what was read: if it has changed since, nothing is done and the answer is 412";
        operation.parameter(
            "header",
            "If-Match",
            false,
            about,
            json!({ "type": "string", "pattern": "^(\"[0-9]+\"|\\*)$" }),
        );
    }
}
