//! What people see instead of a page: what went wrong, why, and what to do. Made from the API's problems.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use super::page::{Area, Page};
use crate::http::Problem;
use crate::server::CommandError;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody is signed in.
    SignIn(Redirect),
    /// Something else.
    Problem(Problem),
}

impl Trouble {
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::Problem(Problem::not_found(detail))
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::Problem(Problem::invalid(detail))
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<CommandError> for Trouble {
    fn from(error: CommandError) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::SignIn(redirect) => return redirect.into_response(),
            Self::Problem(problem) => problem,
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), why = problem.detail, "a page failed");
        }
        let body = html! {
            section.panel.card {
                p.quiet { (status.as_u16()) }
                h1 { (problem.title) }
                p { (sentence(&problem.detail)) }
                p.quiet { (sentence(&problem.what_to_do)) }
                div.buttons { a.button.first href="/" { "Go to the fleet" } }
            }
        };
        (status, Page::new(problem.title, Area::Nowhere, body).show_anybody()).into_response()
    }
}

/// A message as a sentence of its own.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut sentence: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    sentence.push_str(characters.as_str());
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_sentences() {
        assert_eq!(sentence("there is no device x"), "There is no device x.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), ".");
    }
}
