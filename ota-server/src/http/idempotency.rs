//! Requests that come twice: with the same `Idempotency-Key` the second one gets the answer of the first, and nothing is done
//! twice (draft-ietf-httpapi-idempotency-key-header).
//!
//! Answers that hold a secret are not kept: a repeated request is told that it was done, and what to do.
//!
//! Kept in memory, so for as long as the process runs and for one server; whoever repeats a request after a restart must look
//! first whether it was done.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ota_core::time::{Millis, Timestamp};
use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use super::answer::{HoldsSecret, REPLAYED};
use super::auth::Caller;
use super::{Api, JSON_BYTES_MAX, Problem};
use crate::digest::sha256;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 64;
/// How many keys are remembered; the least used are forgotten first.
const KEYS_MAX: usize = 4096;
/// For how long.
const REMEMBERED: Millis = Millis(24 * 3_600_000);
/// Longest answer that is remembered, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What was answered, and to what.
struct Answered {
    request: [u8; 32],
    at: Timestamp,
    answer: Kept,
}

/// What is kept of an answer.
enum Kept {
    Whole(StatusCode, HeaderMap, Bytes),
    /// Only that it was given: it held a secret.
    Given,
}

/// The place of one key. Whoever holds it answers; others wait for that.
type Place = Arc<Mutex<Option<Answered>>>;

/// The answers that are remembered.
pub(super) struct Answers(Cache<[u8; 32], Place>);

impl Default for Answers {
    fn default() -> Self {
        Self(Cache::new(KEYS_MAX))
    }
}

/// Answers a repeated request as the first one was answered.
pub(super) async fn once(
    State(api): State<Api>,
    Caller(by): Caller,
    request: Request,
    next: Next,
) -> Response {
    if *request.method() != Method::POST {
        return next.run(request).await;
    }
    let key = match request.headers().get(KEY).map(|key| key.to_str().unwrap_or_default()) {
        None => return next.run(request).await,
        Some(key) if (1..=KEY_BYTES_MAX).contains(&key.len()) => key,
        Some(_) => return Problem::invalid("idempotency-key: expected 1 to 64 characters").into_response(),
    };
    let place = sha256(&[b"ota/v1/idempotency/", by.name().as_bytes(), b"/", key.as_bytes()]);
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, JSON_BYTES_MAX).await else {
        return Problem::too_large(
            "a request with an idempotency key has at most 1 MiB, and must not break off",
        )
        .into_response();
    };
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let fingerprint = sha256(&[path.as_bytes(), b"\n", &body]);

    let made: Result<Place, core::convert::Infallible> =
        api.answers.0.get_or_insert_with(&place, || Ok(Place::default()));
    let Ok(place) = made;
    let mut place = place.lock().await;
    let now = api.server.time();
    if let Some(answered) = place.as_ref().filter(|answered| now.since(answered.at) < REMEMBERED) {
        return again(answered, &fingerprint);
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    // What failed has changed nothing: it may be tried again. What is long, or comes piece by piece, is a report.
    let is_short = response.body().size_hint().upper().is_some_and(|bytes| bytes <= ANSWER_BYTES_MAX);
    if !response.status().is_success() || !is_short {
        return response;
    }
    if response.extensions().get::<HoldsSecret>().is_some() {
        *place = Some(Answered { request: fingerprint, at: now, answer: Kept::Given });
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, JSON_BYTES_MAX).await else {
        return Problem::internal("it was done, but the answer cannot be read").into_response();
    };
    let mut headers = parts.headers.clone();
    headers.remove(header::SET_COOKIE);
    let answer = Kept::Whole(parts.status, headers, body.clone());
    *place = Some(Answered { request: fingerprint, at: now, answer });
    Response::from_parts(parts, Body::from(body))
}

fn again(answered: &Answered, request: &[u8; 32]) -> Response {
    if answered.request != *request {
        return Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key",
            "The key was used for something else",
            "another request with this idempotency key was carried out before",
            "choose a new key for each thing to do",
        )
        .into_response();
    }
    let Kept::Whole(status, headers, body) = &answered.answer else {
        return Problem::new(
            StatusCode::CONFLICT,
            "told-once",
            "It was done, and its answer is told once only",
            "the answer to the first request with this idempotency key held a secret, so it was not kept",
            "if it was lost: list what was made, remove it, and make another with a new key",
        )
        .into_response();
    };
    let mut response = (*status, body.clone()).into_response();
    *response.headers_mut() = headers.clone();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
