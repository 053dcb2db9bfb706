//! What goes out: each kind of answer knows its status, its headers, and how the API's description tells it.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ota_core::fleet::Version;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Problem;
use super::openapi::{Answer, Operation};

/// A JSON answer.
pub(super) struct Reply<T>(pub(super) T);

/// Something was made; what it is called now.
pub(super) struct Created<T>(pub(super) T);

/// Something was made whose answer holds a secret: it is told this once, and nothing on its way keeps it.
pub(super) struct ToldOnce<T>(pub(super) T);

/// Marks an answer that must not be kept for a repeated request.
#[derive(Debug, Clone, Copy)]
pub(super) struct HoldsSecret;

/// It was done, and there is nothing more to say.
pub(super) struct Done;

/// A JSON answer with the version that an edit of it must expect.
pub(super) struct Versioned<T>(pub(super) Version, pub(super) T);

/// An answer that gives or takes a browser's cookie.
pub(super) struct WithCookie<T>(pub(super) HeaderValue, pub(super) T);

/// Bytes in CBOR.
pub(super) struct Cbor<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let mut response = Response::new(Body::from(body));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            Err(error) => Problem::internal(format!("the answer cannot be written: {error}")).into_response(),
        }
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = Reply(self.0).into_response();
        if response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::CREATED;
        }
        response
    }
}

impl<T: Serialize> IntoResponse for ToldOnce<T> {
    fn into_response(self) -> Response {
        let mut response = Created(self.0).into_response();
        response.extensions_mut().insert(HoldsSecret);
        response
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, entity_tag(self.0))], Reply(self.1)).into_response()
    }
}

impl<T: IntoResponse> IntoResponse for WithCookie<T> {
    fn into_response(self) -> Response {
        ([(header::SET_COOKIE, self.0)], self.1).into_response()
    }
}

impl<T: Into<Body>> IntoResponse for Cbor<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/cbor")], self.0.into()).into_response()
    }
}

/// A record's version as an entity tag (RFC 9110, section 8.8.3).
pub(super) fn entity_tag(Version(version): Version) -> HeaderValue {
    // Digits and quotes.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

impl<T: JsonSchema> Answer for Reply<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.json_answer::<T>("200", "The answer");
    }
}

impl<T: JsonSchema> Answer for Created<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.json_answer::<T>("201", "It was made");
    }
}

impl<T: JsonSchema> Answer for ToldOnce<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.json_answer::<T>("201", "It was made; its secret is told this once");
    }
}

impl Answer for Done {
    fn describe(operation: &mut Operation<'_>) {
        operation.answer("204", "It was done", None);
    }
}

impl<T: JsonSchema> Answer for Versioned<T> {
    fn describe(operation: &mut Operation<'_>) {
        Reply::<T>::describe(operation);
        operation.answer_header("200", &header::ETAG, "The version that an edit expects in `If-Match`");
    }
}

impl<T: Answer> Answer for WithCookie<T> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

impl<T> Answer for Cbor<T> {
    fn describe(operation: &mut Operation<'_>) {
        let bytes = json!({ "application/cbor": { "schema": { "type": "string", "format": "binary" } } });
        operation.answer("200", "The exact bytes", Some(bytes));
    }
}

/// Text in one of several forms, as it comes from the store.
pub(super) struct Streamed {
    /// Its media type.
    pub(super) kind: &'static str,
    /// What a browser saves it as.
    pub(super) file: String,
    /// Its bytes.
    pub(super) body: Body,
}

impl IntoResponse for Streamed {
    fn into_response(self) -> Response {
        // Ids of ours hold no quotes and no control characters.
        let disposition = HeaderValue::try_from(format!("attachment; filename=\"{}\"", self.file));
        let mut response = Response::new(self.body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if let Ok(disposition) = disposition {
            headers.insert(header::CONTENT_DISPOSITION, disposition);
        }
        response
    }
}

impl Answer for Streamed {
    fn describe(operation: &mut Operation<'_>) {
        let text = json!({ "schema": { "type": "string" } });
        let content = json!({ "text/csv": text, "application/x-ndjson": text });
        operation.answer("200", "A line for each entry, as it comes", Some(content));
    }
}

/// The header that tells that an answer is that of an earlier, equal request.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
