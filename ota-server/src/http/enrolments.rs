//! Enrolments: devices that nobody has registered may do it themselves, with an announced certificate or a token.

use axum::extract::State;
use ota_core::number::Sha256Digest;
use ota_core::text::ProductIdBuf;
use ota_core::time::Millis;

use super::answer::{Done, Reply, ToldOnce};
use super::auth::Caller;
use super::body::{EnrolledView, EnrolmentInput, EnrolmentView, Items, ProofInput, Span};
use super::input::{Ask, Id, Ids, Json};
use super::list::{self, Page};
use super::{Api, Problem, hex};
use crate::server::{NewEnrolment, Proof, Server};

/// What a token begins with, so that whoever finds one knows what it is.
const TOKEN_MARK: &str = "enrol_";
/// How long an enrolment can be good for, if not for ever.
const LIFE_MAX: Millis = Millis(36_500 * 24 * 3_600_000);

/// A token for devices: unpredictable, and text that fits where a password goes.
pub(crate) fn new_token(server: &Server) -> String {
    format!("{TOKEN_MARK}{}", hex(&server.random::<32>()))
}

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(Page { after, limit }): Ask<Page>,
) -> Result<Reply<Items<EnrolmentView>>, Problem> {
    let all = api.server.enrolments(&by, &product).await?;
    list::page(all, (after.as_deref(), limit), |(id, _)| id.to_string(), Into::into).map(Reply)
}

pub(super) async fn enrol(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Json(input): Json<EnrolmentInput>,
) -> Result<ToldOnce<EnrolledView>, Problem> {
    let mut certificates = input.certificates().map_err(Problem::invalid)?;
    // Lists that factories send name some certificates twice.
    certificates.sort_unstable();
    certificates.dedup();
    let (token, uses_max) = match input.proof {
        ProofInput::Certificates(_) if certificates.is_empty() => {
            return Err(Problem::invalid("proof.certificates: expected at least one"));
        }
        ProofInput::Certificates(_) => (None, 1),
        ProofInput::Token { uses: 0 } => {
            return Err(Problem::invalid("proof.token.uses: expected at least 1"));
        }
        ProofInput::Token { uses } => (Some(new_token(&api.server)), uses),
    };
    let is_life = |Span(life): &Span| (1..=LIFE_MAX.0).contains(&life.0);
    if !input.expires_in.as_ref().is_none_or(is_life) {
        return Err(Problem::invalid("expires_in: expected a span of at most 36500d, and not none"));
    }
    let device = input.only().map_err(Problem::invalid)?;
    if device.is_some() && (certificates.len() > 1 || uses_max > 1) {
        return Err(Problem::invalid("device: one device has one proof and uses it once"));
    }
    let new = NewEnrolment {
        device,
        tags: input.tags.into_iter().map(Into::into).collect(),
        uses_max,
        expires: input.expires_in.map(|Span(life)| api.server.time().plus(life)),
    };
    let mut proofs: Vec<Proof<'_>> = certificates.iter().map(Proof::Certificate).collect();
    proofs.extend(token.as_deref().map(|token| Proof::Token(token.as_bytes())));
    api.server.enrol(&by, &product, &proofs, &new).await?;
    Ok(ToldOnce(EnrolledView { enrolled: u64::try_from(proofs.len()).unwrap_or(u64::MAX), token }))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Caller(by): Caller,
    Ids(product, enrolment): Ids<ProductIdBuf, Sha256Digest>,
) -> Result<Done, Problem> {
    api.server.remove_enrolment(&by, &product, &enrolment).await?;
    Ok(Done)
}
