//! People, programs and their tokens.

use axum::extract::State;
use ota_core::time::Millis;

use super::answer::{Done, Reply, ToldOnce, Versioned};
use super::auth::Caller;
use super::body::{Items, PersonInput, PersonView, RoleBody, Span, TokenInput, TokenLine, TokenView, grants};
use super::input::{Ask, Id, Json, Name};
use super::list::{self, Page};
use super::versions::IfMatch;
use super::{Api, Problem, system};
use crate::server::NewToken;

/// How long a token is good for unless it says otherwise.
const TOKEN_LIFE: Millis = Millis(90 * 24 * 3_600_000);
/// How long a token can be good for.
const TOKEN_LIFE_MAX: Millis = Millis(3650 * 24 * 3_600_000);
/// Longest title of a token, in bytes.
const TITLE_BYTES_MAX: usize = 200;

pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    Ask(Page { after, limit }): Ask<Page>,
) -> Result<Reply<Items<PersonView>>, Problem> {
    let people = api.server.principals(&by).await?;
    list::page(people, (after.as_deref(), limit), |(name, _)| name.to_string(), Into::into).map(Reply)
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(name)): Id<Name>,
) -> Result<Versioned<PersonView>, Problem> {
    let (version, record) = api.server.principal(&by, &name).await?;
    Ok(Versioned(version, (name.into_boxed_str(), record).into()))
}

pub(super) async fn set(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(name)): Id<Name>,
    IfMatch(expected): IfMatch,
    Json(input): Json<PersonInput>,
) -> Result<Done, Problem> {
    let record = input.record(&name).map_err(|why| Problem::invalid(format!("products: {why}")))?;
    match expected {
        Some(version) => api.server.set_principal_of_version(&by, &name, version, record).await?,
        None => api.server.set_principal(&by, &name, record).await?,
    }
    Ok(Done)
}

/// Somebody's tokens and sessions: which there are, never their secrets.
pub(super) async fn tokens(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(owner)): Id<Name>,
) -> Result<Reply<Items<TokenLine>>, Problem> {
    Ok(system::items(api.server.tokens(&by, &owner).await?))
}

pub(super) async fn create_token(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(owner)): Id<Name>,
    Json(input): Json<TokenInput>,
) -> Result<ToldOnce<TokenView>, Problem> {
    let new = new_token(&api, input)?;
    let issued = api.server.create_token(&by, &owner, new).await?;
    Ok(ToldOnce(TokenView::from(issued)))
}

/// What a token will be, as asked for.
pub(super) fn new_token(api: &Api, input: TokenInput) -> Result<NewToken, Problem> {
    let Span(life) = input.expires_in.unwrap_or(Span(TOKEN_LIFE));
    if life.0 == 0 || life > TOKEN_LIFE_MAX {
        return Err(Problem::invalid("expires_in: expected a span of at most 3650d, and not none"));
    }
    let title = input.title.unwrap_or_default();
    if title.len() > TITLE_BYTES_MAX || title.chars().any(char::is_control) {
        return Err(Problem::invalid("title: expected at most 200 bytes of text in one line"));
    }
    let roles = match (input.roles, input.products) {
        (None, None) => None,
        (roles, products) => {
            let roles = roles.unwrap_or_else(|| RoleBody::ALL.to_vec());
            let grants =
                grants(roles, products).map_err(|why| Problem::invalid(format!("products: {why}")))?;
            Some(grants)
        }
    };
    let expires = Some(api.server.time().plus(life));
    Ok(NewToken { title: title.into(), expires, roles })
}

pub(super) async fn remove_token(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(name)): Id<Name>,
) -> Result<Done, Problem> {
    api.server.remove_token(&by, &name).await?;
    Ok(Done)
}
