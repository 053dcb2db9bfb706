//! Who calls: a bearer token of a program or the session cookie of a browser. Everything behind it sees a [`Principal`]
//! and does not know which of the two it was.
//!
//! [`guard`] stands before every route. A bearer token that is not good ends the request; a cookie that is not good is
//! nobody's. What a browser sends without being asked to (cookies) is never enough to change something: a request that
//! changes something and carries no bearer token must come from our own pages, as the browser tells it
//! (`Sec-Fetch-Site`, else `Origin`), and within a session it must also carry the session's token against forgery, in
//! the header `x-csrf-token` or, from a form, in the field `csrf`. Handlers need not think of it: a request without is
//! answered before it reaches them.
//!
//! How a page's handler gets its person and its token against forgery:
//!
//! ```text
//! use crate::http::auth::{Person, Visitor};
//! use crate::http::{Api, Problem};
//!
//! /// For those who are signed in; others are sent to `/sign-in?next=...`.
//! async fn campaigns(State(api): State<Api>, person: Person) -> Result<Html, Problem> {
//!     let products = api.server.products(&person.by).await?;
//!     // In each form: <input type="hidden" name="csrf" value="{person.csrf}">
//!     // For scripts:  <meta name="csrf" content="{person.csrf}">, sent as `x-csrf-token` with each fetch
//! }
//!
//! /// For everybody: `visitor.0` is `None` for who is not signed in.
//! async fn sign_in_page(Visitor(who): Visitor) -> Html { }
//!
//! /// A form's POST from there: the cookie goes into the answer as `Set-Cookie`.
//! async fn sign_in(State(api): State<Api>, peer: Peer, headers: HeaderMap, Form(form): Form<SignIn>) -> Response {
//!     match auth::sign_in(&api, peer, &headers, &form.name, &form.password).await {
//!         Ok(entered) => ([(SET_COOKIE, entered.cookie)], Redirect::to("/")).into_response(),
//!         Err(problem) => render_again(problem), // 401 wrong, 429 too often, with words for people
//!     }
//! }
//!
//! /// And its end: removes the session and the cookie.
//! async fn sign_out(State(api): State<Api>, person: Person) -> Response {
//!     let gone = auth::sign_out(&api, &person).await?;
//!     ([(SET_COOKIE, gone)], Redirect::to("/sign-in")).into_response()
//! }
//! ```
//!
//! The page `/set-password?invitation=ota_...` takes a new password and gives both to [`Server::accept_invitation`]
//! (parse the text with [`parse_token`]); [`invitation_link`] makes the link. What is answered as `text/html` gets the policy
//! [`PAGE_POLICY`](super::trace::PAGE_POLICY): scripts and styles only from files of our own, none inline.
//!
//! [`Server::accept_invitation`]: crate::Server::accept_invitation

use core::net::{IpAddr, SocketAddr};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Api, JSON_BYTES_MAX, Options, Problem, sessions};
use crate::digest::sha256;
use crate::rules::permission::Principal;
use crate::server::{IssuedToken, SESSION_LIFE};

/// What every token begins with, so that tools that look for leaked secrets can find it.
const PREFIX: &str = "ota_";
/// The header of the token against forged requests.
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
/// The field of a form that holds it.
const CSRF_FIELD: &str = "csrf";

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

/// The path, with its query, at which an invitation is accepted.
#[must_use]
pub fn invitation_link(invitation: &IssuedToken) -> String {
    format!("/set-password?invitation={}", token_text(&invitation.name, &invitation.secret))
}

/// Tells whose a bearer token is that this server did not make, such as one of an identity provider. What they may do is
/// recorded here: a name that is nobody's here gets nothing.
#[async_trait::async_trait]
pub trait Bearers: Send + Sync {
    /// The name of the person or program.
    ///
    /// # Errors
    /// [`NoBearer`].
    async fn name_of(&self, token: &str) -> Result<String, NoBearer>;
}

/// Why a token is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoBearer {
    /// The token is not good.
    #[error("the token is not good: {0}")]
    Wrong(&'static str),
    /// It cannot be told now.
    #[error("whose the token is cannot be told now")]
    Unavailable,
}

/// A browser's session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The public name of its token.
    pub(crate) name: String,
    /// What each request that changes something must carry.
    pub(crate) csrf: String,
}

/// Whoever calls, and by which session if by one.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) by: Principal,
    pub(crate) session: Option<Session>,
}

/// Whoever calls, authenticated; a problem for programs if nobody is.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let identity = parts.extensions.get::<Identity>();
        identity
            .map(|identity| Self(identity.by.clone()))
            .ok_or_else(|| Problem::unauthenticated("the request has neither a token nor a session"))
    }
}

/// Whoever looks at a page, if they are signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor(pub(crate) Option<Identity>);

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = core::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<Identity>().cloned()))
    }
}

/// Somebody in a session, for pages; others are sent to sign in and come back.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) by: Principal,
    /// What each form and each script's request carries.
    pub(crate) csrf: String,
    /// The public name of the session.
    pub(crate) session: String,
}

impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = Redirect;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Redirect> {
        if let Some(Identity { by, session: Some(session) }) = parts.extensions.get::<Identity>() {
            let (csrf, session) = (session.csrf.clone(), session.name.clone());
            return Ok(Self { by: by.clone(), csrf, session });
        }
        let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        Err(Redirect::to(&format!("/sign-in?next={next}")))
    }
}

/// The address that a request comes from, if the service that this is mounted in tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = core::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())))
    }
}

/// Somebody who has just signed in.
pub(crate) struct Entered {
    pub(crate) by: Principal,
    pub(crate) session: Session,
    /// For the answer's `Set-Cookie`.
    pub(crate) cookie: HeaderValue,
}

/// Signs somebody in by password.
///
/// # Errors
/// 401 for a wrong name or password, 429 for too many tries.
pub(crate) async fn sign_in(
    api: &Api,
    peer: Peer,
    headers: &HeaderMap,
    name: &str,
    password: &str,
) -> Result<Entered, Problem> {
    admit(api, peer, name)?;
    if !sessions::is_name(name) {
        return Err(wrong_password());
    }
    let browser = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let Some((by, issued)) = api.server.sign_in(name, password, browser).await? else {
        tracing::warn!(name, peer = ?peer.0, "a sign-in was refused");
        return Err(wrong_password());
    };
    tracing::info!(name, peer = ?peer.0, session = issued.name, "signed in");
    let session = Session { csrf: csrf_of(&issued.secret), name: issued.name.clone() };
    let cookie = cookie(&api.options, &token_text(&issued.name, &issued.secret), SESSION_LIFE.0 / 1000);
    Ok(Entered { by, session, cookie })
}

/// Counts a try to prove who one is.
///
/// # Errors
/// 429 if there were too many, for this name or from this address.
pub(crate) fn admit(api: &Api, peer: Peer, name: &str) -> Result<(), Problem> {
    let now = api.server.time();
    let wait = match api.limiter.try_for(name, peer.0, now) {
        Ok(()) => return Ok(()),
        Err(wait) => wait,
    };
    tracing::warn!(name, peer = ?peer.0, "too many tries to sign in");
    let seconds = wait.0.div_ceil(1000).max(1);
    Err(Problem::too_many(
        format!("there were too many tries; the next one is possible in {seconds} s"),
        seconds,
    ))
}

pub(crate) fn wrong_password() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong-password",
        "That was not right",
        "the name or the password is wrong, or this person may not sign in",
        "check both; an administrator can make a link to set a new password",
    )
}

/// Ends a session; the cookie that takes its place.
///
/// # Errors
/// [`Problem`] if the store fails: the session still lasts.
pub(crate) async fn sign_out(api: &Api, person: &Person) -> Result<HeaderValue, Problem> {
    match api.server.remove_token(&person.by, &person.session).await {
        // Somebody else has ended it meanwhile: as well.
        Ok(()) | Err(crate::CommandError::NoToken(_) | crate::CommandError::Denied(_)) => {}
        Err(failed) => return Err(failed.into()),
    }
    Ok(cookie(&api.options, "", 0))
}

/// Finds out who calls, and refuses what a browser may have been made to send.
pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    match admitted(&api, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Lets only those through who are somebody.
pub(super) async fn somebody(_: Caller, request: Request, next: Next) -> Response {
    next.run(request).await
}

async fn admitted(api: &Api, mut request: Request) -> Result<Request, Problem> {
    if let Some(token) = bearer(request.headers())? {
        let by = by_token(api, token).await?;
        request.extensions_mut().insert(Identity { by, session: None });
        return Ok(request);
    }
    let identity = by_cookie(api, request.headers()).await?;
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    if !is_safe {
        from_our_pages(&api.options, request.headers())?;
        if let Some(Identity { session: Some(session), .. }) = &identity {
            request = with_csrf(request, &session.csrf).await?;
        }
    }
    if let Some(identity) = identity {
        request.extensions_mut().insert(identity);
    }
    Ok(request)
}

/// Whoever shows this token or this session, as they are recorded by now.
///
/// # Errors
/// [`Problem`] if it is not good, or cannot be told.
pub(super) async fn shown_by(api: &Api, headers: &HeaderMap) -> Result<Option<Principal>, Problem> {
    match bearer(headers)? {
        Some(token) => by_token(api, token).await.map(Some),
        None => Ok(by_cookie(api, headers).await?.map(|identity| identity.by)),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => return Err(Problem::unauthenticated("the request has more than one token")),
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::unauthenticated("the authorization is no bearer token")),
    }
}

async fn by_token(api: &Api, token: &str) -> Result<Principal, Problem> {
    let Some((name, secret)) = parse_token(token) else {
        return match &api.options.bearers {
            // Whatever begins like one of ours is one that was cut off.
            Some(bearers) if !token.starts_with(PREFIX) => {
                by_foreign_token(api, bearers.as_ref(), token).await
            }
            _ => Err(Problem::unauthenticated("the token is not complete")),
        };
    };
    match api.server.authenticate(name, &secret).await? {
        Some(principal) => Ok(principal),
        None => {
            tracing::warn!(token = name, "a token was refused");
            Err(Problem::unauthenticated("the token is not known, was removed or has expired"))
        }
    }
}

/// Somebody whom an identity provider vouches for, and who is known here.
async fn by_foreign_token(api: &Api, bearers: &dyn Bearers, token: &str) -> Result<Principal, Problem> {
    let name = bearers.name_of(token).await.map_err(|why| match why {
        NoBearer::Unavailable => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "identity-provider",
            "The identity provider cannot be reached",
            why.to_string(),
            "try again in a moment; if it lasts, look at the server's log",
        ),
        NoBearer::Wrong(_) => {
            tracing::warn!(%why, "a token of the identity provider was refused");
            Problem::unauthenticated(&why.to_string())
        }
    })?;
    let unknown = || Problem::unauthenticated("the token is good, but nobody of its name is known here");
    if !sessions::is_name(&name) {
        return Err(unknown());
    }
    api.server.known(&name).await?.ok_or_else(unknown)
}

async fn by_cookie(api: &Api, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
    let Some((name, secret)) = cookie_text(&api.options, headers).and_then(parse_token) else {
        return Ok(None);
    };
    let Some(by) = api.server.session(name, &secret).await? else { return Ok(None) };
    let session = Session { name: name.to_owned(), csrf: csrf_of(&secret) };
    Ok(Some(Identity { by, session: Some(session) }))
}

/// What a browser tells of where a request comes from. Programs that are no browsers tell nothing, and have no cookies that
/// somebody else could make them send.
fn from_our_pages(options: &Options, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_ours = match (text(HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            let public = options.public_url.as_deref().map(|url| url.trim_end_matches('/'));
            Some(origin) == public || (host.is_some() && host == text(header::HOST))
        }
        (None, None) => true,
    };
    if is_ours { Ok(()) } else { Err(forged("the browser says that it comes from another site")) }
}

/// The request, if it carries the session's token; a form is read for it and handed on as it came.
async fn with_csrf(request: Request, expected: &str) -> Result<Request, Problem> {
    if let Some(given) = request.headers().get(CSRF_HEADER) {
        return if given == expected { Ok(request) } else { Err(forged("its token is of another session")) };
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_form = kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(forged("it has no x-csrf-token"));
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, JSON_BYTES_MAX)
        .await
        .map_err(|_| Problem::too_large("the form is over the limit, or broke off"))?;
    let given = form_urlencoded::parse(&bytes).find(|(name, _)| name == CSRF_FIELD);
    if given.is_none_or(|(_, given)| given != expected) {
        return Err(forged("the form has no token, or one of another session"));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn forged(detail: &str) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "forged",
        "The request may not be yours",
        detail,
        "load the page again and repeat it there; programs use a token instead of a session",
    )
}

/// The token against forgery of a session: it follows from the secret, so it need not be kept.
fn csrf_of(secret: &[u8; 32]) -> String {
    ota_core::number::Sha256Digest(sha256(&[b"ota/v1/csrf/", secret])).to_string()
}

/// The cookie's name. With TLS the prefix makes browsers refuse it from anywhere but this very host.
fn cookie_name(options: &Options) -> &'static str {
    if options.is_https() { "__Host-ota_session" } else { "ota_session" }
}

fn cookie(options: &Options, value: &str, seconds: u64) -> HeaderValue {
    let secure = if options.is_https() { "; Secure" } else { "" };
    let name = cookie_name(options);
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    // Hexadecimal digits and words of ours.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn cookie_text<'h>(options: &Options, headers: &'h HeaderMap) -> Option<&'h str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = pairs.flat_map(|pairs| pairs.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == cookie_name(options)).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        // Two of one name: somebody on a neighbouring host put one of them there.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

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

    #[test]
    fn what_another_site_makes_a_browser_send_is_told_by_the_browser() {
        let options = Options::default();
        let public = Options { public_url: Some("https://ota.example/".to_owned()), ..Options::default() };
        let ours: [&[(&str, &str)]; 4] = [
            &[],
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://ota.local:8480"), ("host", "ota.local:8480")],
        ];
        for ours in ours {
            assert!(from_our_pages(&options, &headers(ours)).is_ok(), "{ours:?}");
        }
        assert!(
            from_our_pages(&public, &headers(&[("origin", "https://ota.example"), ("host", "inner")]))
                .is_ok()
        );
        let others: [&[(&str, &str)]; 6] = [
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "")],
            &[("origin", "null"), ("host", "null")],
            &[("origin", "https://evil.example"), ("host", "ota.example")],
            &[("origin", "https://ota.example")],
        ];
        for others in others {
            assert!(from_our_pages(&options, &headers(others)).is_err(), "{others:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others_and_never_taken_twice() {
        let options = Options::default();
        let of = |text: &'static str| cookie_text(&options, &headers(&[("cookie", text)])).map(str::to_owned);
        assert_eq!(of("a=1; ota_session=x; b=2").as_deref(), Some("x"));
        assert_eq!(of("ota_session=x; ota_session=y"), None);
        assert_eq!(of("xota_session=x"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn with_tls_the_cookie_is_bound_to_the_host() {
        let options = Options { public_url: Some("https://ota.example".to_owned()), ..Options::default() };
        let cookie = cookie(&options, "x", 60);
        assert_eq!(cookie, "__Host-ota_session=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
    }
}
