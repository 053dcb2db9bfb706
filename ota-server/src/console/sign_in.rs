//! Coming in and going out: passwords, sessions, and invitations to set a password.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::form::{Fields, Wrong, field};
use super::page::{Area, Page};
use super::trouble::{Trouble, sentence};
use crate::http::auth::{self, Peer, Person, Visitor};
use crate::http::{Api, Problem};

/// Where to go afterwards.
#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// A path on this very host, or the first page: whoever made the link decides nothing else.
fn here(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if is_path { next } else { "/" }
}

pub(super) async fn show(Visitor(who): Visitor, Query(Next { next }): Query<Next>) -> Response {
    if who.is_some() {
        return Redirect::to(here(&next)).into_response();
    }
    page(&Fields::filled([("next", next)]), &Wrong::default()).show_anybody()
}

fn page(fields: &Fields, wrong: &Wrong) -> Page {
    let body = html! {
        section.panel.card {
            h1 { "Sign in" }
            (wrong.summary())
            form.form method="post" action="/sign-in" {
                input type="hidden" name="next" value=(fields.text("next"));
                (field("name", "Name").text(fields, wrong))
                (field("password", "Password").password("current-password", wrong))
                div.buttons { button.button.first { "Sign in" } }
            }
            p.quiet.small { "Without a password yet? An administrator can make a link with which you set one." }
        }
    };
    Page::new("Sign in", Area::Nowhere, body)
}

pub(super) async fn sign_in(
    State(api): State<Api>,
    peer: Peer,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    match auth::sign_in(&api, peer, &headers, fields.text("name"), fields.exact("password")).await {
        Ok(entered) => {
            ([(header::SET_COOKIE, entered.cookie)], Redirect::to(here(fields.text("next")))).into_response()
        }
        Err(problem) => {
            let mut wrong = Wrong::default();
            wrong.refuse(problem);
            (wrong.status(), page(&fields, &wrong).show_anybody()).into_response()
        }
    }
}

pub(super) async fn sign_out(State(api): State<Api>, person: Person) -> Result<Response, Trouble> {
    let gone = auth::sign_out(&api, &person).await?;
    Ok(([(header::SET_COOKIE, gone)], Redirect::to("/sign-in")).into_response())
}

/// The invitation in a link.
#[derive(Deserialize)]
pub(super) struct Invitation {
    #[serde(default)]
    invitation: String,
}

pub(super) async fn show_password(Query(Invitation { invitation }): Query<Invitation>) -> Response {
    password_page(&Fields::filled([("invitation", invitation)]), &Wrong::default()).show_anybody()
}

fn password_page(fields: &Fields, wrong: &Wrong) -> Page {
    let body = html! {
        section.panel.card {
            h1 { "Set your password" }
            (wrong.summary())
            form.form method="post" action="/set-password" {
                input type="hidden" name="invitation" value=(fields.text("invitation"));
                (new_password_fields(wrong))
                div.buttons { button.button.first { "Set the password" } }
            }
        }
    };
    Page::new("Set your password", Area::Nowhere, body)
}

fn new_password_fields(wrong: &Wrong) -> Markup {
    html! {
        (field("password", "New password").hint("At least 12 characters. Several words are easier to keep than symbols.").password("new-password", wrong))
        (field("again", "The same again").password("new-password", wrong))
    }
}

/// Notes that what was typed twice differs.
fn demand_same(fields: &Fields, wrong: &mut Wrong) {
    if fields.exact("password") != fields.exact("again") {
        wrong.field("again", "The two passwords differ.");
    }
}

pub(super) async fn set_password(State(api): State<Api>, peer: Peer, fields: Fields) -> Response {
    let mut wrong = Wrong::default();
    demand_same(&fields, &mut wrong);
    if wrong.is_empty() {
        match accept(&api, peer, &fields).await {
            Ok(()) => return Redirect::to("/sign-in").into_response(),
            // The password is all that is in the form.
            Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY.as_u16() => {
                wrong.field("password", sentence(&problem.detail));
            }
            Err(problem) => wrong.refuse(problem),
        }
    }
    (wrong.status(), password_page(&fields, &wrong).show_anybody()).into_response()
}

async fn accept(api: &Api, peer: Peer, fields: &Fields) -> Result<(), Problem> {
    let not_good = || {
        Problem::new(
            StatusCode::GONE,
            "invitation",
            "The invitation is not good",
            "it was used already, was replaced by a newer one, or has expired",
            "ask an administrator for a new one",
        )
    };
    let (name, secret) = auth::parse_token(fields.text("invitation")).ok_or_else(not_good)?;
    auth::admit(api, peer, name)?;
    let person = api.server.accept_invitation(name, &secret, fields.exact("password")).await?;
    person.map(drop).ok_or_else(not_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_nowhere_but_to_our_own_pages() {
        assert_eq!(here("/campaigns/7?x=1"), "/campaigns/7?x=1");
        for bad in
            ["", "https://evil.example", "//evil.example", "/\\evil.example", "javascript:1", "/a\r\nb"]
        {
            assert_eq!(here(bad), "/", "{bad:?}");
        }
    }
}
