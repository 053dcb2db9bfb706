//! What comes in: ids from the path, queries and JSON bodies, each checked before a handler sees it.

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use ota_core::limits::NAME_BYTES_MAX;
use ota_core::number::{CampaignId, ReleaseId, Sha256Digest};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Problem;

/// Largest JSON body, in bytes.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;

/// How much of a body that is too long is read and thrown away, so that its sender comes to read the answer.
const DISCARDED_BYTES_MAX: usize = 16 * JSON_BYTES_MAX;

/// The name of a person or token: 1 to 64 characters, none of them blank or a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

/// An id that a path can hold.
pub(super) trait PathId: Sized {
    /// What it is, for people.
    const WHAT: &'static str;
    /// Reads it.
    fn read(text: &str) -> Result<Self, String>;
    /// What it looks like, as a JSON schema.
    fn schema() -> Value;
}

impl PathId for ProductIdBuf {
    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 64 })
    }

    const WHAT: &'static str = "product";
    fn read(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| error.to_string())
    }
}

impl PathId for DeviceIdBuf {
    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 64 })
    }

    const WHAT: &'static str = "device";
    fn read(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| error.to_string())
    }
}

impl PathId for ReleaseId {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }

    const WHAT: &'static str = "release";
    fn read(text: &str) -> Result<Self, String> {
        Self::from_hex(text).ok_or_else(|| "expected 64 lower-case hexadecimal digits".to_owned())
    }
}

impl PathId for CampaignId {
    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX })
    }

    const WHAT: &'static str = "campaign";
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "expected a number".to_owned())
    }
}

impl PathId for Name {
    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 64 })
    }

    const WHAT: &'static str = "name";
    fn read(text: &str) -> Result<Self, String> {
        let is_good =
            (1..=64).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if is_good {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected 1 to 64 bytes without blanks".to_owned())
        }
    }
}

/// The name of a group: 1 to 64 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupName(pub(super) String);

impl PathId for GroupName {
    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 64 })
    }

    const WHAT: &'static str = "group";
    fn read(text: &str) -> Result<Self, String> {
        if (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err("expected 1 to 64 bytes without control characters".to_owned())
    }
}

impl PathId for Sha256Digest {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }

    const WHAT: &'static str = "enrolment";
    fn read(text: &str) -> Result<Self, String> {
        Self::from_hex(text).ok_or_else(|| "expected 64 lower-case hexadecimal digits".to_owned())
    }
}

fn read<T: PathId>(text: &str) -> Result<T, Problem> {
    T::read(text).map_err(|why| Problem::invalid(format!("the {} {text:?}: {why}", T::WHAT)))
}

/// The two ids in the path, in its order.
pub(super) struct Ids<A, B>(pub(super) A, pub(super) B);

impl<S: Send + Sync, A: PathId, B: PathId> FromRequestParts<S> for Ids<A, B> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((a, b)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid(format!("the path: {}", error.body_text())))?;
        Ok(Self(read(&a)?, read(&b)?))
    }
}

/// The one id in the path.
pub(super) struct Id<T>(pub(super) T);

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid(format!("the path: {}", error.body_text())))?;
        read(&text).map(Self)
    }
}

/// The query of the URL.
pub(super) struct Ask<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid(format!("the query: {}", error.body_text())))?;
        Ok(Self(value))
    }
}

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "The body is of another type",
                "the body is not declared as application/json",
                "send JSON with the header `Content-Type: application/json`",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(body_problem)?;
        let value =
            serde_json::from_slice(&bytes).map_err(|error| Problem::invalid(format!("the body: {error}")))?;
        Ok(Self(value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Takes the whole body of a request in JSON before anything is said about it: whoever is answered in the middle of sending
/// finds a broken connection where the answer should be.
pub(super) async fn taken_whole(request: Request, next: Next) -> Response {
    let is_json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
    if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
        return next.run(request).await;
    }
    let (parts, mut body) = request.into_parts();
    let (mut taken, mut discarded) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Problem::invalid("the body broke off").into_response() };
        let Ok(data) = frame.into_data() else { continue };
        if discarded == 0 && taken.len().saturating_add(data.len()) <= JSON_BYTES_MAX {
            taken.extend_from_slice(&data);
        } else {
            taken = Vec::new();
            discarded = discarded.saturating_add(data.len());
            if discarded > DISCARDED_BYTES_MAX {
                break;
            }
        }
    }
    if discarded > 0 {
        return Problem::too_large("the body is over the limit of this request").into_response();
    }
    next.run(Request::from_parts(parts, Body::from(taken))).await
}

fn body_problem(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::too_large("the body is over the limit of this request");
    }
    Problem::invalid(format!("the body: {}", rejection.body_text()))
}

/// A body of bytes, within the limit of its route.
pub(super) struct Raw(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(body_problem)
    }
}

/// Bytes from hexadecimal digits.
pub(crate) fn unhex(name: &str, text: &str) -> Result<Vec<u8>, Problem> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    bytes.ok_or_else(|| Problem::invalid(format!("{name}: expected pairs of hexadecimal digits")))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_read_back() {
        assert_eq!(unhex("x", &hex(&[0, 1, 0xab, 0xff])), Ok(vec![0, 1, 0xab, 0xff]));
        for bad in ["0", "0g", "+1", " 1"] {
            assert!(unhex("x", bad).is_err(), "{bad:?}");
        }
    }
}
