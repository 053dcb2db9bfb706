//! Errors over HTTP (RFC 9457): what went wrong, why, and what to do about it. Made in this one place.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ota_core::fleet::StoreErrorKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::campaign::CampaignError;
use crate::rules::release::ReleaseError;
use crate::server::CommandError;

/// The kind of problem of what is not there.
pub(crate) const NOT_FOUND: &str = "not-found";

/// What went wrong. Nothing of the request has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Which kind: stable, for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// What went wrong this time, and why.
    pub detail: String,
    /// What to do.
    pub what_to_do: String,
    /// In how many seconds to try again, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of this kind; `slug` is the last part of its type.
    pub(crate) fn new(
        status: StatusCode,
        slug: &str,
        title: &str,
        detail: impl Into<String>,
        what_to_do: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("urn:ota:problem:{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            what_to_do: what_to_do.into(),
            retry_after: None,
        }
    }

    pub(crate) fn unauthenticated(detail: &str) -> Self {
        let what =
            "sign in, or send a good token in the header `Authorization: Bearer ...`; `ota login` gets one";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Nobody is signed in", detail, what)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        let what = "correct what is named and send the request again; nothing has been changed";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request is not valid", detail, what)
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        let what = "send less at once, or have the limit raised in the server's configuration";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail, what)
    }

    pub(crate) fn too_many(detail: impl Into<String>, retry_after: u64) -> Self {
        let what = "wait, then try again";
        let problem =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "That was too often", detail, what);
        Self { retry_after: Some(retry_after), ..problem }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        let what = "check the id, or list what there is";
        Self::new(StatusCode::NOT_FOUND, NOT_FOUND, "There is no such thing", detail, what)
    }

    fn conflict(detail: impl Into<String>, what: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "It does not fit the present state", detail, what)
    }

    fn store(kind: StoreErrorKind, detail: String) -> Self {
        match kind {
            StoreErrorKind::Invalid => Self::invalid(detail),
            StoreErrorKind::NotFound => Self::not_found(detail),
            StoreErrorKind::Unavailable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "The store cannot be reached",
                detail,
                "try again in a moment; if it lasts, look at the server's log",
            ),
            StoreErrorKind::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "store-full",
                "The store is full",
                detail,
                "make room where the server keeps its data, then try again",
            ),
            _ => Self::internal(detail),
        }
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        let what = "look in the server's log under the id in the header x-request-id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed", detail, what)
    }
}

/// An error and everything that it comes from, in one line.
pub(crate) fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Transparent errors show their source as themselves.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = chain(&error);
        match error {
            CommandError::Denied(_) => Self::new(
                StatusCode::FORBIDDEN,
                "denied",
                "This is not allowed",
                detail,
                "ask an administrator for a role that allows it, in this very product",
            ),
            CommandError::Store(error) => Self::store(error.kind(), detail),
            CommandError::Conflict => Self::conflict(detail, "read it again and repeat what is still wanted"),
            CommandError::Changed => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "Somebody else was faster",
                detail,
                "read it again, and repeat what is still wanted with its new version",
            ),
            CommandError::NoProduct(_)
            | CommandError::NoDevice(_)
            | CommandError::NoRelease(_)
            | CommandError::NoCampaign(_)
            | CommandError::NoPrincipal(_)
            | CommandError::NoGroup(_)
            | CommandError::NoToken(_) => Self::not_found(detail),
            CommandError::Busy => Self::too_many(detail, 2),
            CommandError::ProductExists(_) | CommandError::DeviceExists(_) => {
                Self::conflict(detail, "choose another id, or go on with the one that exists")
            }
            CommandError::Enrolled(_) => {
                Self::conflict(detail, "remove that enrolment first, or leave its proof out")
            }
            CommandError::StillCounted(_) => Self::conflict(
                detail,
                "wait until the campaign has completed, stop it, or take the device off the list of its draft",
            ),
            CommandError::BackupName => Self::conflict(detail, "choose another name"),
            CommandError::NoUpkeep => Self::conflict(detail, "ask whoever runs the program"),
            CommandError::TooMany(_) => Self::too_large(detail),
            CommandError::Claim => Self::new(
                StatusCode::FORBIDDEN,
                "claim",
                "The device is not announced",
                detail,
                "announce it with an enrolment, or register it",
            ),
            CommandError::Campaign(ref why) if retry_way_out(why).is_some() => {
                Self::conflict(detail, retry_way_out(why).unwrap_or_default())
            }
            CommandError::Release(
                ReleaseError::NotADraft
                | ReleaseError::NotFixed
                | ReleaseError::NoRoot
                | ReleaseError::RevisionTaken { .. },
            )
            | CommandError::Campaign(
                CampaignError::NotSigned
                | CampaignError::NotOfferable
                | CampaignError::NotADraft
                | CampaignError::State { .. }
                | CampaignError::OwnWork
                | CampaignError::ApprovedAlready
                | CampaignError::ChangedSince
                | CampaignError::TooFewApprovals { .. }
                | CampaignError::NothingSeen
                | CampaignError::NoAmendment
                | CampaignError::WorseSince
                | CampaignError::Contradicts(_),
            ) => Self::conflict(
                detail,
                "do first what is missing, as the detail says; nothing has been changed",
            ),
            _ => Self::invalid(detail),
        }
    }
}

/// What to do where nothing can be tried again.
const fn retry_way_out(why: &CampaignError) -> Option<&'static str> {
    const ACCEPT: &str =
        "wait until the gate has passed, or have it taken as passed with `ota campaign change accept`";
    match why {
        CampaignError::StillJudged => Some(ACCEPT),
        CampaignError::NoneToRetry { judged, .. } if *judged > 0 => Some(ACCEPT),
        CampaignError::NoneToRetry { set_apart, .. } if *set_apart > 0 => {
            Some("end the quarantine of those that are to try again; devices that are revoked stay out")
        }
        CampaignError::NoneToRetry { .. } | CampaignError::NothingToRetry => {
            Some("nothing: devices that are at work, or wait for their next try, go on by themselves")
        }
        _ => None,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), why = self.detail, "a request failed");
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use ota_core::text::ProductIdBuf;

    use super::*;

    #[test]
    fn a_problem_says_what_why_and_what_to_do() {
        let problem = Problem::from(CommandError::NoProduct(ProductIdBuf::new("pump").unwrap()));
        assert_eq!(problem.status, 404);
        assert_eq!(problem.detail, "there is no product pump");
        assert!(!problem.what_to_do.is_empty());
    }

    #[test]
    fn a_chain_tells_each_cause_once() {
        let error = CommandError::Campaign(CampaignError::OwnWork);
        assert_eq!(chain(&error), "the author cannot approve; somebody else must");
        let error = CommandError::Release(ReleaseError::Trust(ota_core::trust::TrustError::WrongProduct));
        assert!(chain(&error).starts_with("the signatures are not good: "), "{}", chain(&error));
    }
}
