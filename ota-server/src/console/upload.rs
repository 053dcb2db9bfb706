//! A new version of a package: files go to the API one by one, with progress, and the form names what was uploaded.
//!
//! The one form that needs the script: a browser has no other way to send a file with the proof that a session asks for.
//! Whatever is wrong with the rest of the form, an uploaded file is never sent twice.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use ota_core::text::ProductIdBuf;
use ota_core::time::{Millis, Timestamp};

use super::form::{Fields, Wrong, field};
use super::page::{Area, Page};
use super::parts::{bytes, local, product_path, release_path};
use super::product::id_of;
use super::trouble::{Trouble, sentence};
use super::viewer::Viewer;
use crate::http::Api;
use crate::http::body::{ContentBody, FileInput, ReleaseInput, Time};
use crate::rules::permission::Action;
use crate::rules::release::ReleaseError;
use crate::server::CommandError;

/// Most files of one form; a package with more is uploaded from the command line.
const FILES_MAX: usize = 64;
/// How long a release may be installed unless somebody says otherwise.
const LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(2 * 365 * 24);

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let id = id_of(&id)?;
    let product = api.server.product(&viewer.by, &id).await?;
    let now = api.server.time();
    let expires = now.plus(Millis(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX)));
    let fields = Fields::filled([
        ("package", "main".to_owned()),
        ("epoch", "0".to_owned()),
        ("expires", local(&viewer, expires, "%Y-%m-%d")),
    ]);
    Ok(page(&viewer, &id, &product.title, &fields, &Wrong::default()).show(&viewer))
}

pub(super) async fn make(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (id, viewer) = (id_of(&id)?, viewer.in_zone_of(&fields));
    let product = api.server.product(&viewer.by, &id).await?;
    let mut wrong = Wrong::default();
    if let Some(input) = read(&viewer, &fields, api.server.time(), &mut wrong) {
        let made = match input.draft(id.clone()) {
            Ok(draft) => api.server.draft_release(&viewer.by, draft).await,
            Err(error) => {
                wrong.field(field_of(&error.field), sentence(&error.why));
                Err(CommandError::Conflict)
            }
        };
        match made {
            Ok(release) => return Ok(Redirect::to(&release_path(&release)).into_response()),
            Err(_) if !wrong.is_empty() => {}
            Err(CommandError::Release(error)) => note(&fields, &error, &mut wrong),
            Err(error) => wrong.refuse(error),
        }
    }
    Ok((wrong.status(), page(&viewer, &id, &product.title, &fields, &wrong).show(&viewer)).into_response())
}

/// The form's name for a field of the draft: `files[2].name` is `file-2-name`.
fn field_of(name: &str) -> String {
    match name.strip_prefix("files[").and_then(|rest| rest.split_once("].")) {
        Some((index, field)) => format!("file-{index}-{}", field.split('.').next().unwrap_or(field)),
        None => name.to_owned(),
    }
}

/// Puts a refusal of the rules beside the field that it is about.
fn note(fields: &Fields, error: &ReleaseError, wrong: &mut Wrong) {
    let row = |file: &str, field: &str| {
        let index = rows(fields).into_iter().find(|index| fields.text(&format!("file-{index}-name")) == file);
        index.map_or("files".to_owned(), |index| format!("file-{index}-{field}"))
    };
    let name = match error {
        ReleaseError::Files => "files".to_owned(),
        ReleaseError::Hardware => "hardware".to_owned(),
        ReleaseError::Requirements => "requirements".to_owned(),
        ReleaseError::Expired => "expires".to_owned(),
        ReleaseError::RevisionTaken { file, .. } => row(file.as_str(), "revision"),
        ReleaseError::NotUploaded(file) => row(file.as_str(), "content"),
        ReleaseError::Integrity { file, .. } => row(file.as_str(), "content"),
        _ => "files".to_owned(),
    };
    wrong.field(name, sentence(&crate::http::chain(error)));
}

/// The numbers of the rows that came with the form.
fn rows(fields: &Fields) -> Vec<usize> {
    (0..FILES_MAX).filter(|index| fields.has(&format!("file-{index}-content"))).collect()
}

/// What the form says, or what is wrong with it.
fn read(viewer: &Viewer, fields: &Fields, now: Timestamp, wrong: &mut Wrong) -> Option<ReleaseInput> {
    let hardware: Vec<String> = fields
        .text("hardware")
        .split([' ', ','])
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect();
    if hardware.is_empty() {
        wrong.field("hardware", "Name at least one hardware revision that it runs on.");
    }
    let epoch = wrong.take("epoch", fields.text("epoch").parse().map_err(|_| "expected a number from 0 on"));
    let expires = wrong.take("expires", end_of_day(viewer, fields.text("expires")));
    if expires.is_some_and(|expires| expires <= now) {
        wrong.field("expires", "That day is over.");
    }
    let mut files = Vec::new();
    for index in rows(fields) {
        let text = |name: &str| fields.text(&format!("file-{index}-{name}")).to_owned();
        let content = text("content");
        let content = serde_json::from_str::<ContentBody>(&content)
            .map_err(|_| "choose its file again: it was not uploaded");
        if let Some(content) = wrong.take(&format!("file-{index}-content"), content) {
            let (name, revision, target) = (text("name"), text("revision"), text("target"));
            files.push(FileInput {
                name,
                revision,
                target,
                content,
                integrity: Vec::new(),
                urls: Vec::new(),
            });
        }
    }
    if files.is_empty() {
        wrong.field("files", "Drop or choose at least one file.");
    }
    if !wrong.is_empty() {
        return None;
    }
    Some(ReleaseInput {
        package: fields.text("package").to_owned(),
        version: None,
        hardware,
        epoch: epoch?,
        requirements: Vec::new(),
        files,
        expires: Time(expires?),
        security: fields.has("security"),
        notes: Some(fields.text("notes").to_owned()).filter(|text| !text.is_empty()),
    })
}

/// The end of a day in the viewer's zone.
fn end_of_day(viewer: &Viewer, text: &str) -> Result<Timestamp, &'static str> {
    let wrong = "expected a day such as 2031-05-01";
    let date: jiff::civil::Date = text.parse().map_err(|_| wrong)?;
    let moment = date.at(23, 59, 59, 0).to_zoned(viewer.zone().clone()).map_err(|_| wrong)?;
    u64::try_from(moment.timestamp().as_millisecond()).map(Timestamp).map_err(|_| wrong)
}

fn page(viewer: &Viewer, id: &ProductIdBuf, title: &str, fields: &Fields, wrong: &Wrong) -> Page {
    let action = format!("{}/releases/new", product_path(id));
    let last_day = format!("The end of that day in {}.", viewer.zone_name());
    let body = html! {
        div.head { div { h1 { "Upload a package" } p.quiet { "Files first, each with its revision; then somebody fixes the content, and key holders sign it." } } }
        @if !viewer.may(Action::DraftRelease, id) {
            div.note.warn { strong { "You may not upload for this product" } div { "Ask an administrator for the role developer, in this very product." } }
        }
        noscript {
            div.note.warn { strong { "Uploading in the browser needs JavaScript" } pre { "ota package upload --product " (id) " package.toml" } }
        }
        form.panel method="post" action=(action) data-upload=(format!("/api/v1{}/uploads", product_path(id))) data-csrf=(viewer.csrf()) {
            (viewer.proof())
            (viewer.times_in(fields))
            (wrong.summary())
            div.drop hidden data-drop tabindex="-1" {
                p { strong { "Drop files here" } " or " label.link for="choose" { "choose them" } }
                input.visually-hidden id="choose" type="file" multiple aria-label="Files of the package";
            }
            @if let Some(said) = wrong.said("files") { p.field.has-wrong { span.wrong { (said) } } }
            div data-rows { @for index in rows(fields) { (row(&index.to_string(), fields, wrong)) } }
            template data-row { (row("NUMBER", &Fields::default(), &Wrong::default())) }
            div.row {
                (field("package", "Package").hint("Versions of one package follow each other.").text(fields, wrong))
                (field("hardware", "Hardware revisions").hint("All that it runs on, with blanks between them.").text(fields, wrong))
            }
            div.row {
                (field("expires", "May be installed until").hint(&last_day).input_of("date", fields, wrong))
                (field("epoch", "Security epoch").hint("Raise it to lock out everything older.").input_of("number", fields, wrong))
            }
            (field("notes", "Where people read what changed").hint("An address, or nothing.").text(fields, wrong))
            (field("security", "It closes a security hole").hint("Its campaigns go before others of the same priority.").tick(fields))
            div.buttons {
                button.button.first { "Make a draft" }
                a.button href=(format!("{}/releases", product_path(id))) { "Leave" }
                span.quiet role="status" data-said {}
            }
        }
    };
    let crumbs = [
        ("Fleet".to_owned(), "/".to_owned()),
        (title.to_owned(), product_path(id)),
        ("Packages".to_owned(), format!("{}/releases", product_path(id))),
    ];
    Page::new("Upload a package", Area::Fleet, body).under(crumbs)
}

/// One file of the package.
fn row(index: &str, fields: &Fields, wrong: &Wrong) -> Markup {
    let name = |field: &str| format!("file-{index}-{field}");
    let content = fields.text(&name("content"));
    let size = serde_json::from_str::<ContentBody>(content).map(|content| bytes(content.size));
    html! {
        fieldset.file-row data-file=(index) {
            legend { "File" }
            (field(&name("name"), "Name").text(fields, wrong))
            (field(&name("revision"), "Revision").text(fields, wrong))
            (field(&name("target"), "Goes to").text(fields, wrong))
            div.field {
                span.hint data-state { @match &size { Ok(size) => { (size) ", uploaded" } Err(_) => { "not uploaded" } } }
                progress max="1" value=(if size.is_ok() { "1" } else { "0" }) aria-label="Upload" {}
                @if let Some(said) = wrong.said(&name("content")) { span.wrong { (said) } }
                button.link type="button" data-remove { "Remove" }
            }
            input type="hidden" name=(name("content")) value=(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_draft_calls_a_field_is_found_in_the_form() {
        assert_eq!(field_of("files[2].name"), "file-2-name");
        assert_eq!(field_of("files[0].content.sha256"), "file-0-content");
        assert_eq!(field_of("package"), "package");
    }
}
