//! The audit log, the newest first, and the check that nobody has changed it.

use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use ota_core::fleet::{AuditEntry, AuditHash};
use ota_core::number::Sha256Digest;
use serde::Deserialize;

use super::form::{Fields, Wrong, field};
use super::page::{Area, Page};
use super::parts::{count, empty, time};
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::http::Api;
use crate::http::body::Time;
use crate::server::AuditCheck;

/// Entries of one page.
const PAGE: usize = 100;
/// Entries of one export.
const EXPORT_MAX: u64 = 100_000;

/// Which entries to show.
#[derive(Deserialize)]
pub(super) struct Listed {
    before: Option<u64>,
}

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Query(listed): Query<Listed>,
) -> Result<Response, Trouble> {
    let page = api.server.audit_page(&viewer.by, listed.before, PAGE).await?;
    let oldest = page.entries.last().map_or(1, |entry| entry.sequence);
    let body = html! {
        div.head {
            div { h1 { "Audit" } p.quiet { "What people and plans did, each entry bound to the one before it by its hash." } }
            div.buttons { a.button.first href="/audit/verify" id="verify" { "Verify the chain" } a.button href="/audit/export.csv" download { "Export" } }
        }
        section.panel {
            @if page.entries.is_empty() { (empty("There is no entry", "Whatever people do appears here.", None)) }
            @else {
                div.bar-row hidden { div.field { label for="find" { "Find in this page" } input id="find" data-filter="audit"; } span.quiet id="audit-said" role="status" {} }
                (table(&viewer, &page.entries))
            }
            div.pages {
                span.quiet { (count(page.last)) " entries in all" }
                div.buttons {
                    @if listed.before.is_some() { a.button href="/audit" { "Newest" } }
                    @if oldest > 1 { a.button href=(format!("/audit?before={oldest}")) { "Older" } }
                }
            }
        }
    };
    Ok(Page::new("Audit", Area::Audit, body).show(&viewer))
}

fn table(viewer: &Viewer, entries: &[AuditEntry]) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table id="audit" data-sortable {
                thead { tr {
                    th.number scope="col" data-sort { "No." } th scope="col" data-sort { "When" } th scope="col" data-sort { "Who" }
                    th scope="col" data-sort { "What" } th scope="col" { "To what" } th scope="col" { "Particulars" }
                } }
                tbody {
                    @for entry in entries {
                        tr {
                            td.number { (entry.sequence) }
                            td data-key=(entry.draft.at.0) { (time(viewer, entry.draft.at)) }
                            th scope="row" { (entry.draft.principal) }
                            td { code { (entry.draft.action) } }
                            td { (subject(entry)) @if !entry.draft.product.is_empty() { div.quiet.small { "in " (entry.draft.product) } } }
                            td.particulars { (particulars(&entry.draft.detail)) }
                        }
                    }
                }
            }
        }
    }
}

/// What an entry is about, as a link where there is a page for it.
fn subject(entry: &AuditEntry) -> Markup {
    let subject = &entry.draft.subject;
    let area = match entry.draft.action.split_once('.') {
        Some(("campaign", _)) => Some("campaigns"),
        // There is no page for what was erased, and only a digest of its id.
        Some(("device", "erase")) => None,
        Some(("device", _)) => Some("devices"),
        Some(("release", _)) => Some("releases"),
        Some(("product", _)) => Some("products"),
        _ => None,
    };
    let short: String = subject.chars().take(24).collect();
    let text = if subject.chars().count() > 24 { format!("{short}…") } else { short };
    html! {
        @match area {
            Some(area) => { a.mono href=(format!("/{area}/{}", super::parts::segment(subject))) { (text) } }
            None => { span.mono { (text) } }
        }
    }
}

/// The particulars of an entry as a list.
fn particulars(detail: &str) -> Markup {
    let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(detail).unwrap_or_default();
    html! {
        @for (name, value) in &parsed {
            @let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            @if !value.is_empty() { div { span.quiet { (name) ": " } (value) } }
        }
    }
}

/// A head of the chain that was kept elsewhere.
#[derive(Deserialize)]
pub(super) struct Known {
    #[serde(default)]
    entries: String,
    #[serde(default)]
    head: String,
}

pub(super) async fn verify(
    State(api): State<Api>,
    viewer: Viewer,
    Query(known): Query<Known>,
) -> Result<Response, Trouble> {
    let fields = Fields::filled([("entries", known.entries.clone()), ("head", known.head.clone())]);
    let mut wrong = Wrong::default();
    let known = match (known.entries.trim(), known.head.trim()) {
        ("", "") => None,
        (entries, head) => {
            let entries = wrong.take("entries", entries.parse::<u64>().map_err(|_| "expected a number"));
            let head = Sha256Digest::from_hex(head).ok_or("expected 64 lower-case hexadecimal digits");
            let head = wrong.take("head", head);
            entries.zip(head).map(|(entries, head)| (entries, AuditHash(head.0)))
        }
    };
    let check = match wrong.is_empty() {
        true => Some(api.server.verify_audit(&viewer.by, known).await?),
        false => None,
    };
    let body = html! {
        div.head { div { h1 { "Verify the audit chain" } } }
        @match check {
            Some(AuditCheck::Intact { entries, head }) => {
                div.note.good role="status" id="verified" {
                    strong { "All " (count(entries)) " entries are intact" }
                    div { "Each has its own content's hash and follows the one before it." @if known.is_some() { " The head that you kept is in its place." } }
                    dl.facts { dt { "Entries" } dd.mono { (entries) } dt { "Head" } dd.mono { (Sha256Digest(head.0)) } }
                }
            }
            Some(AuditCheck::Broken { sequence }) => {
                div.note.bad role="alert" id="verified" {
                    strong { "Entry " (sequence) " is not what was written" }
                    div { "It was changed, or is missing, or does not follow the one before it. Treat the server as compromised: keep its disk, and compare with a backup." }
                }
            }
            None => {}
        }
        section.panel {
            h2 { "Compare with a head that you kept" }
            p.quiet { "Keep the number of entries and the head somewhere else. As long as the chain still has that head there, nobody has cut off its end and written another." }
            (wrong.summary())
            form.form action="/audit/verify" {
                div.row { (field("entries", "Entries").text(&fields, &wrong)) (field("head", "Head").text(&fields, &wrong)) }
                div.buttons { button.button.first { "Verify" } a.button href="/audit" { "Back to the log" } }
            }
        }
    };
    let page = Page::new("Verify the audit chain", Area::Audit, body)
        .under([("Audit".to_owned(), "/audit".to_owned())]);
    let status = if wrong.is_empty() { axum::http::StatusCode::OK } else { wrong.status() };
    Ok((status, page.show(&viewer)).into_response())
}

/// All entries as a table for other programs. Texts that a spreadsheet would take for formulas are disarmed.
pub(super) async fn export(State(api): State<Api>, viewer: Viewer) -> Result<Response, Trouble> {
    let mut text = String::from("sequence,at,principal,action,subject,product,detail,hash\r\n");
    let mut next = 1;
    while next <= EXPORT_MAX {
        let entries = api.server.audit_entries(&viewer.by, next, 512).await?;
        let Some(last) = entries.last() else { break };
        next = last.sequence + 1;
        for entry in &entries {
            let draft = &entry.draft;
            text.push_str(&format!("{},{}", entry.sequence, Time(draft.at)));
            for cell in [&draft.principal, &draft.action, &draft.subject, &draft.product, &draft.detail] {
                text.push(',');
                text.push_str(&csv_cell(cell));
            }
            text.push_str(&format!(",{}\r\n", Sha256Digest(entry.hash.0)));
        }
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""),
    ];
    Ok((headers, text).into_response())
}

/// A cell in quotes (RFC 4180); what begins like a formula gets an apostrophe before it.
fn csv_cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_inert_in_a_table() {
        assert_eq!(csv_cell("=HYPERLINK(\"http://x\")"), "\"'=HYPERLINK(\"\"http://x\"\")\"");
        assert_eq!(csv_cell("plain, text"), "\"plain, text\"");
    }
}
