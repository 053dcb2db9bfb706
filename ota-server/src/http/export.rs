//! Lists as files: CSV for spreadsheets, one JSON object a line for programs. They are written as they are read, page by page.
//!
//! In CSV what a spreadsheet would take for a formula gets an apostrophe in front: names come from devices and from strangers.

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures::stream;
use ota_core::fleet::Cursor;
use ota_core::text::ProductIdBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Streamed;
use super::auth::Caller;
use super::body::{AuditEntryView, DeviceLine};
use super::input::{Ask, Id};
use super::{Api, Problem, chain};
use crate::rules::permission::Principal;
use crate::server::{CommandError, PAGE_MAX, Server};

/// In which form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    /// RFC 4180 with a line of headings.
    #[default]
    Csv,
    /// One JSON object a line.
    Ndjson,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// In which form.
    #[serde(default)]
    format: Form,
    /// Only devices with this tag.
    #[serde(default)]
    tag: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedForm {
    /// In which form.
    #[serde(default)]
    format: Form,
}

/// An entry that can be a line of a table.
trait Row: Serialize {
    const HEADINGS: &'static [&'static str];
    fn cells(&self) -> Vec<String>;
}

impl Row for DeviceLine {
    const HEADINGS: &'static [&'static str] = &["id", "status", "heard", "tags", "campaign"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.status.clone(),
            self.heard.map(|at| at.to_string()).unwrap_or_default(),
            self.tags.join(" "),
            self.campaign.map(|id| id.to_string()).unwrap_or_default(),
        ]
    }
}

impl Row for AuditEntryView {
    const HEADINGS: &'static [&'static str] =
        &["sequence", "at", "principal", "action", "subject", "product", "detail", "hash"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.sequence.to_string(),
            self.at.to_string(),
            self.principal.clone(),
            self.action.clone(),
            self.subject.clone(),
            self.product.clone(),
            self.detail.clone(),
            self.hash.clone(),
        ]
    }
}

/// One cell (RFC 4180), inert in spreadsheets.
fn cell(text: &str) -> String {
    let is_formula = text
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let inert = if is_formula { format!("'{text}") } else { text.to_owned() };
    if inert.contains(['"', ',', '\r', '\n', ';', '\'']) {
        format!("\"{}\"", inert.replace('"', "\"\""))
    } else {
        inert
    }
}

fn table_line<'c>(cells: impl Iterator<Item = &'c str>) -> String {
    let cells: Vec<String> = cells.map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

fn lines<R: Row>(rows: &[R], form: Form) -> String {
    rows.iter()
        .map(|row| match form {
            Form::Csv => table_line(row.cells().iter().map(String::as_str)),
            Form::Ndjson => serde_json::to_string(row).map(|line| line + "\n").unwrap_or_default(),
        })
        .collect()
}

/// Where an export goes on.
enum At<C> {
    Begin,
    Behind(C),
    End,
}

/// Writes pages as they are asked for: nothing is read ahead of what the caller has taken.
fn streamed<R, C, F, P>(file: String, form: Form, pages: F) -> Streamed
where
    R: Row,
    C: Send + 'static,
    F: Fn(Option<C>) -> P + Send + 'static,
    P: Future<Output = Result<(Vec<R>, Option<C>), CommandError>> + Send,
{
    let (kind, ending) = match form {
        Form::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        Form::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let parts = stream::unfold((At::Begin, pages), move |(at, pages)| async move {
        let (head, after) = match at {
            At::Begin if form == Form::Csv => (table_line(R::HEADINGS.iter().copied()), None),
            At::Begin => (String::new(), None),
            At::Behind(cursor) => (String::new(), Some(cursor)),
            At::End => return None,
        };
        Some(match pages(after).await {
            Ok((rows, next)) => {
                let part = Bytes::from(head + &lines(&rows, form));
                (Ok(part), (next.map_or(At::End, At::Behind), pages))
            }
            // The connection is broken off, so that nobody takes a part for the whole.
            Err(why) => {
                tracing::error!(why = chain(&why), "an export broke off");
                (Err(std::io::Error::other("the store failed")), (At::End, pages))
            }
        })
    });
    Streamed { kind, file: format!("{file}.{ending}"), body: Body::from_stream(parts) }
}

/// All devices of a product, or those with a tag.
pub(super) async fn devices(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(wanted): Ask<Wanted>,
) -> Result<Streamed, Problem> {
    // Whoever may not see them is told so, and not in the middle of a file.
    api.server.product(&by, &product).await?;
    let name = format!("devices-{product}");
    let (server, tag) = (api.server, wanted.tag);
    Ok(streamed(name, wanted.format, move |after| {
        page_of_devices(server.clone(), by.clone(), product.clone(), tag.clone(), after)
    }))
}

async fn page_of_devices(
    server: Server,
    by: Principal,
    product: ProductIdBuf,
    tag: Option<String>,
    after: Option<Cursor>,
) -> Result<(Vec<DeviceLine>, Option<Cursor>), CommandError> {
    let page = server.devices(&by, &product, tag.as_deref(), after.as_ref(), PAGE_MAX).await?;
    Ok((page.devices.into_iter().map(DeviceLine::from).collect(), page.next))
}

/// The whole audit chain.
pub(super) async fn audit(
    State(api): State<Api>,
    Caller(by): Caller,
    Ask(wanted): Ask<WantedForm>,
) -> Result<Streamed, Problem> {
    api.server.audit_entries(&by, 1, 1).await?;
    let server = api.server;
    Ok(streamed("audit".to_owned(), wanted.format, move |from: Option<u64>| {
        page_of_audit(server.clone(), by.clone(), from.unwrap_or(1))
    }))
}

async fn page_of_audit(
    server: Server,
    by: Principal,
    from: u64,
) -> Result<(Vec<AuditEntryView>, Option<u64>), CommandError> {
    let entries = server.audit_entries(&by, from, PAGE_MAX).await?;
    let next = entries.last().map(|last| last.sequence + 1);
    Ok((entries.into_iter().map(Into::into).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_inert_and_quotes_are_doubled() {
        for (text, written) in [
            ("plain", "plain"),
            ("=1+1", "\"'=1+1\""),
            ("+49", "\"'+49\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), written, "{text:?}");
        }
    }
}
