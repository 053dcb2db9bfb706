//! Forms as they come in, and their fields as they are shown: with what was typed, and what is wrong beside it.

use std::collections::BTreeMap;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request};
use maud::{Markup, html};

use super::trouble::Trouble;
use crate::http::Problem;

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1000;

/// A form as it was typed: names and values in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Trouble;
    async fn from_request(request: Request, state: &S) -> Result<Self, Trouble> {
        let form = Form::<Vec<(String, String)>>::from_request(request, state).await;
        let Form(fields) = form.map_err(|why: FormRejection| Trouble::invalid(why.body_text()))?;
        Ok(Self(fields))
    }
}

impl Fields {
    /// A form that is filled in already.
    pub(super) fn filled<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// What was typed into a field, without blanks around it; empty if it was not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.trim())
    }

    /// What was typed into a field exactly as it was typed: for passwords.
    pub(super) fn exact(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// A reason that people can read and the audit log can hold.
    ///
    /// # Errors
    /// What is expected.
    pub(super) fn reason(&self, name: &str) -> Result<&str, &'static str> {
        let text = self.text(name);
        let is_good =
            !text.is_empty() && text.len() <= REASON_BYTES_MAX && !text.chars().any(char::is_control);
        if is_good { Ok(text) } else { Err("say why, in one line of at most 1000 characters") }
    }

    /// All values of a field.
    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.trim())
    }

    /// Whether a box was ticked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// Whether a value was chosen among several.
    pub(super) fn chosen(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|one| one == value)
    }
}

/// What is wrong with a form: by field, and as a whole.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    fields: BTreeMap<String, String>,
    refused: Option<Problem>,
}

impl Wrong {
    /// Notes what is wrong with a field; the first word about it counts.
    pub(super) fn field(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.fields.entry(name.into()).or_insert_with(|| why.into());
    }

    /// Takes a value, or notes why there is none.
    pub(super) fn take<T, E: core::fmt::Display>(&mut self, name: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|why| self.field(name, super::trouble::sentence(&why.to_string()))).ok()
    }

    /// The command refused it as a whole.
    pub(super) fn refuse(&mut self, problem: impl Into<Problem>) {
        self.refused = Some(problem.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.refused.is_none()
    }

    /// The status of an answer that shows it.
    pub(super) fn status(&self) -> axum::http::StatusCode {
        let status = self.refused.as_ref().map_or(422, |problem| problem.status);
        axum::http::StatusCode::from_u16(status).unwrap_or(axum::http::StatusCode::UNPROCESSABLE_ENTITY)
    }

    /// What is wrong with a field.
    pub(super) fn said(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// What is to be read before the fields.
    pub(super) fn summary(&self) -> Markup {
        html! {
            @if let Some(problem) = &self.refused {
                div.note.bad role="alert" data-wrong tabindex="-1" {
                    strong { (problem.title) }
                    div { (super::trouble::sentence(&problem.detail)) " " (super::trouble::sentence(&problem.what_to_do)) }
                }
            } @else if !self.fields.is_empty() {
                div.note.bad role="alert" {
                    strong { "Nothing has been changed" }
                    div { "Correct what is marked below and send it again." }
                }
            }
        }
    }
}

/// A field in the making.
pub(super) struct Field<'a> {
    name: &'a str,
    label: &'a str,
    hint: &'a str,
}

/// A field with its label.
pub(super) const fn field<'a>(name: &'a str, label: &'a str) -> Field<'a> {
    Field { name, label, hint: "" }
}

impl<'a> Field<'a> {
    pub(super) const fn hint(mut self, hint: &'a str) -> Self {
        self.hint = hint;
        self
    }

    /// One line of text.
    pub(super) fn text(&self, fields: &Fields, wrong: &Wrong) -> Markup {
        self.input("text", fields.text(self.name), wrong)
    }

    /// A password: what was typed is not sent back. `complete` tells password managers which one.
    pub(super) fn password(&self, complete: &str, wrong: &Wrong) -> Markup {
        let input = html! {
            input id=(self.name) name=(self.name) type="password" autocomplete=(complete)
                aria-describedby=(self.described()) aria-invalid=[wrong.said(self.name).map(|_| "true")]
                data-wrong[wrong.said(self.name).is_some()];
        };
        self.around(&input, wrong)
    }

    /// Another type of one line, as HTML names it.
    pub(super) fn input_of(&self, kind: &str, fields: &Fields, wrong: &Wrong) -> Markup {
        self.input(kind, fields.text(self.name), wrong)
    }

    fn input(&self, kind: &str, value: &str, wrong: &Wrong) -> Markup {
        let input = html! {
            input id=(self.name) name=(self.name) type=(kind) value=(value)
                aria-describedby=(self.described()) aria-invalid=[wrong.said(self.name).map(|_| "true")]
                data-wrong[wrong.said(self.name).is_some()];
        };
        self.around(&input, wrong)
    }

    /// Several lines of text.
    pub(super) fn area(&self, fields: &Fields, wrong: &Wrong) -> Markup {
        let input = html! {
            textarea id=(self.name) name=(self.name) aria-describedby=(self.described())
                aria-invalid=[wrong.said(self.name).map(|_| "true")] data-wrong[wrong.said(self.name).is_some()] { (fields.text(self.name)) }
        };
        self.around(&input, wrong)
    }

    /// One of these values, each with its text. Fields marked with `data-if` follow it.
    pub(super) fn choice(&self, choices: &[(String, String)], fields: &Fields, wrong: &Wrong) -> Markup {
        let input = html! {
            select id=(self.name) name=(self.name) data-shows aria-describedby=(self.described())
                aria-invalid=[wrong.said(self.name).map(|_| "true")] data-wrong[wrong.said(self.name).is_some()] {
                @for (value, text) in choices {
                    option value=(value) selected[fields.chosen(self.name, value)] { (text) }
                }
            }
        };
        self.around(&input, wrong)
    }

    /// A box to tick.
    pub(super) fn tick(&self, fields: &Fields) -> Markup {
        html! {
            div.field {
                label.check {
                    input type="checkbox" name=(self.name) value="yes" checked[fields.has(self.name)];
                    span { (self.label) @if !self.hint.is_empty() { br; span.hint { (self.hint) } } }
                }
            }
        }
    }

    fn described(&self) -> String {
        format!("{0}-hint {0}-wrong", self.name)
    }

    fn around(&self, input: &Markup, wrong: &Wrong) -> Markup {
        let said = wrong.said(self.name);
        html! {
            div.field.(if said.is_some() { "has-wrong" } else { "" }) {
                label for=(self.name) { (self.label) }
                @if !self.hint.is_empty() { span.hint id=(format!("{}-hint", self.name)) { (self.hint) } }
                (input)
                @if let Some(said) = said { span.wrong id=(format!("{}-wrong", self.name)) { (said) } }
            }
        }
    }
}
