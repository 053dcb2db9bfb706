//! People, programs and their tokens.

use axum::extract::State;
use axum::http::StatusCode;
use ota_core::time::{Millis, Timestamp};

use super::auth::{Caller, token_text};
use super::body::{Items, PersonInput, PersonView, Span, Time, TokenInput, TokenView};
use super::input::{Id, Json, Name, Reply};
use super::{Api, Problem, system};

/// How long a token is good for unless it says otherwise.
const TOKEN_LIFE: Millis = Millis(90 * 24 * 3_600_000);
/// How long a token can be good for.
const TOKEN_LIFE_MAX: Millis = Millis(3650 * 24 * 3_600_000);

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
) -> Result<Reply<Items<PersonView>>, Problem> {
    Ok(system::items(api.server.principals(&by).await?))
}

pub(super) async fn set(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(name)): Id<Name>,
    Json(input): Json<PersonInput>,
) -> Result<StatusCode, Problem> {
    let record = input.record(&name).map_err(|why| Problem::invalid(format!("products: {why}")))?;
    api.server.set_principal(&by, &name, record).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn create_token(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(owner)): Id<Name>,
    Json(input): Json<TokenInput>,
) -> Result<Reply<TokenView>, Problem> {
    let Span(life) = input.expires_in.unwrap_or(Span(TOKEN_LIFE));
    if life.0 == 0 || life > TOKEN_LIFE_MAX {
        return Err(Problem::invalid("expires_in: expected a span of at most 3650d, and not none"));
    }
    let expires: Timestamp = api.server.time().plus(life);
    let (name, secret) = api.server.create_token(&by, &owner, Some(expires)).await?;
    let token = token_text(&name, &secret);
    Ok(Reply(TokenView { name, token, expires: Time(expires) }))
}

pub(super) async fn remove_token(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(name)): Id<Name>,
) -> Result<StatusCode, Problem> {
    api.server.remove_token(&by, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
