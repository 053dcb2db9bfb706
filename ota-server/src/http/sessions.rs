//! Signing in and out, passwords, invitations.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;

use super::answer::{Done, Reply, ToldOnce, WithCookie};
use super::auth::{self, Caller, Peer, Person, invitation_link, token_text};
use super::body::{
    AcceptInput, EndedView, InvitationView, OwnTokenInput, PasswordInput, SessionView, SignInInput, Time,
    TokenView, WhoAmI,
};
use super::input::{Id, Json, Name, PathId as _};
use super::{Api, Problem, people};

/// Begins a session: its cookie is in the answer, and the token against forgery that goes with it.
pub(super) async fn sign_in(
    State(api): State<Api>,
    peer: Peer,
    headers: HeaderMap,
    Json(input): Json<SignInInput>,
) -> Result<WithCookie<Reply<SessionView>>, Problem> {
    let entered = auth::sign_in(&api, peer, &headers, &input.name, &input.password).await?;
    let view = SessionView { name: entered.by.name().to_owned(), csrf: entered.session.csrf };
    Ok(WithCookie(entered.cookie, Reply(view)))
}

/// Ends the session that the request comes from.
pub(super) async fn sign_out(
    State(api): State<Api>,
    _: Caller,
    person: Result<Person, Redirect>,
) -> Result<WithCookie<Done>, Problem> {
    let person = person.map_err(|_| {
        Problem::invalid(
            "the request comes with a token, not from a session; DELETE /api/v1/tokens/{name} ends it",
        )
    })?;
    let gone = auth::sign_out(&api, &person).await?;
    Ok(WithCookie(gone, Done))
}

/// Makes a token for one's own programs, by password: what `ota login` does.
pub(super) async fn create_own_token(
    State(api): State<Api>,
    peer: Peer,
    Json(input): Json<OwnTokenInput>,
) -> Result<ToldOnce<TokenView>, Problem> {
    auth::admit(&api, peer, &input.name)?;
    let new = people::new_token(&api, input.token)?;
    if !is_name(&input.name) {
        return Err(auth::wrong_password());
    }
    let issued = api.server.create_own_token(&input.name, &input.password, new).await?;
    let issued = issued.ok_or_else(|| {
        tracing::warn!(name = input.name, peer = ?peer.0, "a sign-in was refused");
        auth::wrong_password()
    })?;
    Ok(ToldOnce(TokenView::from(issued)))
}

/// Changes one's own password. All sessions end, this one too.
pub(super) async fn change_password(
    State(api): State<Api>,
    Caller(by): Caller,
    peer: Peer,
    Json(input): Json<PasswordInput>,
) -> Result<Done, Problem> {
    auth::admit(&api, peer, by.name())?;
    api.server.change_password(&by, &input.present, &input.password).await?;
    Ok(Done)
}

/// Makes a link with which somebody sets a password, once.
pub(super) async fn invite(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(name)): Id<Name>,
) -> Result<ToldOnce<InvitationView>, Problem> {
    let issued = api.server.invite(&by, &name).await?;
    let base = api.options.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    let view = InvitationView {
        link: format!("{base}{}", invitation_link(&issued)),
        invitation: token_text(&issued.name, &issued.secret),
        expires: issued.expires.map(Time),
    };
    Ok(ToldOnce(view))
}

/// Sets a password by an invitation.
pub(super) async fn accept_invitation(
    State(api): State<Api>,
    peer: Peer,
    Json(input): Json<AcceptInput>,
) -> Result<Reply<WhoAmI>, Problem> {
    let not_good = || {
        Problem::new(
            StatusCode::GONE,
            "invitation",
            "The invitation is not good",
            "it was used already, was replaced by a newer one, or has expired",
            "ask an administrator for a new one",
        )
    };
    let (name, secret) = auth::parse_token(&input.invitation).ok_or_else(not_good)?;
    auth::admit(&api, peer, name)?;
    let person = api.server.accept_invitation(name, &secret, &input.password).await?;
    person.map(|person| Reply(WhoAmI::of(&person, None))).ok_or_else(not_good)
}

/// Ends all of somebody's sessions.
pub(super) async fn end_all(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(Name(name)): Id<Name>,
) -> Result<Reply<EndedView>, Problem> {
    let ended = api.server.end_sessions(&by, &name).await?;
    Ok(Reply(EndedView { ended: u64::try_from(ended).unwrap_or(u64::MAX) }))
}

/// Whether a text can be somebody's name at all; what cannot is not looked up.
pub(super) fn is_name(text: &str) -> bool {
    Name::read(text).is_ok()
}
