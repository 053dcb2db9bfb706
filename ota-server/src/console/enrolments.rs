//! The enrolments of a product: what lets devices register themselves.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use ota_core::fleet::records::{Enrolment, EnrolmentKind};
use ota_core::number::Sha256Digest;
use ota_core::text::ProductIdBuf;
use ota_core::time::Millis;

use super::administration::told_once;
use super::form::{Fields, Wrong, field};
use super::page::Page;
use super::parts::{count, devices, empty, product_path, tags, time};
use super::product::{id_of, side_page};
use super::trouble::{Trouble, sentence};
use super::viewer::Viewer;
use crate::http::{Api, enrolments::new_token};
use crate::server::{CommandError, NewEnrolment, Proof};

/// How long an enrolment can be good for, in days.
const DAYS_MAX: u64 = 36_500;

fn path_of(product: &ProductIdBuf) -> String {
    format!("{}/enrolments", product_path(product))
}

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(product): Path<String>,
) -> Result<Response, Trouble> {
    let product = id_of(&product)?;
    let fields = Fields::filled([("uses", "1".to_owned()), ("days", "30".to_owned())]);
    Ok(page(&api, &viewer, &product, &fields, &Wrong::default()).await?.show(&viewer))
}

/// Makes enrolments, or shows the form again with what is wrong.
pub(super) async fn enrol(
    State(api): State<Api>,
    viewer: Viewer,
    Path(product): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let product = id_of(&product)?;
    let mut wrong = Wrong::default();
    let days = wrong.take("days", days(fields.text("days"))).flatten();
    let token = (fields.text("proof") == "token").then(|| new_token(&api.server));
    let (uses_max, certificates) = match token {
        Some(_) => (wrong.take("uses", uses(fields.text("uses"))).unwrap_or(1), Vec::new()),
        None => (1, wrong.take("certificates", digests(fields.text("certificates"))).unwrap_or_default()),
    };
    if wrong.is_empty() {
        let new = NewEnrolment {
            device: None,
            tags: fields.text("tags").split_whitespace().map(Into::into).collect(),
            uses_max,
            expires: days.map(|days| api.server.time().plus(Millis(days * 86_400_000))),
        };
        let mut proofs: Vec<Proof<'_>> = certificates.iter().map(Proof::Certificate).collect();
        proofs.extend(token.as_deref().map(|token| Proof::Token(token.as_bytes())));
        match (api.server.enrol(&viewer.by, &product, &proofs, &new).await, &token) {
            (Ok(()), Some(token)) => {
                let what =
                    format!("{} can register with it. Only its hash is kept.", devices(uses_max.into()));
                return Ok(told_once("A token for devices", &what, token, &path_of(&product)).show(&viewer));
            }
            (Ok(()), None) => return Ok(Redirect::to(&path_of(&product)).into_response()),
            (Err(CommandError::Tag(why)), _) => wrong.field("tags", sentence(&why.to_string())),
            (Err(why @ (CommandError::Enrolled(_) | CommandError::TooMany(_))), None) => {
                wrong.field("certificates", sentence(&why.to_string()));
            }
            (Err(error), _) => wrong.refuse(error),
        }
    }
    let page = page(&api, &viewer, &product, &fields, &wrong).await?;
    Ok((wrong.status(), page.show(&viewer)).into_response())
}

pub(super) async fn remove(
    State(api): State<Api>,
    viewer: Viewer,
    Path((product, enrolment)): Path<(String, String)>,
) -> Result<Response, Trouble> {
    let product = id_of(&product)?;
    let missing = || Trouble::not_found(format!("there is no enrolment {enrolment:?}"));
    let id = Sha256Digest::from_hex(&enrolment).ok_or_else(missing)?;
    api.server.remove_enrolment(&viewer.by, &product, &id).await?;
    Ok(Redirect::to(&path_of(&product)).into_response())
}

fn days(text: &str) -> Result<Option<u64>, &'static str> {
    let wrong = "expected a number of days from 1 to 36500, or nothing";
    match text {
        "" => Ok(None),
        text => text.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days)).map(Some).ok_or(wrong),
    }
}

fn uses(text: &str) -> Result<u32, &'static str> {
    text.parse().ok().filter(|uses| *uses > 0).ok_or("expected a number of devices from 1 on")
}

/// The digests of certificates, one behind the other.
fn digests(text: &str) -> Result<Vec<Sha256Digest>, String> {
    let read = |word: &str| {
        let digits = word.replace(':', "").to_lowercase();
        Sha256Digest::from_hex(&digits).ok_or_else(|| format!("{word:?} is no SHA-256 in hexadecimal digits"))
    };
    let mut digests = text.split_whitespace().map(read).collect::<Result<Vec<_>, _>>()?;
    digests.sort_unstable();
    digests.dedup();
    if digests.is_empty() { Err("name at least one certificate".to_owned()) } else { Ok(digests) }
}

async fn page(
    api: &Api,
    viewer: &Viewer,
    product: &ProductIdBuf,
    fields: &Fields,
    wrong: &Wrong,
) -> Result<Page, Trouble> {
    let record = api.server.product(&viewer.by, product).await?;
    let enrolments = api.server.enrolments(&viewer.by, product).await?;
    let proofs = [("token", "A token"), ("certificates", "Client certificates")]
        .map(|(value, text)| (value.to_owned(), text.to_owned()));
    let about = "Devices that nobody has registered may do it themselves, with what is announced here.";
    let inner = html! {
        section.panel aria-labelledby="enrolments-title" {
            header { h2 id="enrolments-title" { "What devices may show" } span.quiet { (count(u64::try_from(enrolments.len()).unwrap_or(u64::MAX))) } }
            @if enrolments.is_empty() { (empty("Nothing is announced", "Only devices that somebody registers can connect.", None)) }
            @else { (table(viewer, product, &enrolments)) }
        }
        section.panel.form {
            h2 { "Announce more" }
            (wrong.summary())
            form.form method="post" action=(path_of(product)) {
                (viewer.proof())
                (field("proof", "Devices show").choice(&proofs, fields, wrong))
                div data-if="proof=token" { (field("uses", "How many devices may use it").input_of("number", fields, wrong)) }
                div data-if="proof=certificates" { (field("certificates", "Their SHA-256").hint("Of each certificate in its DER form, in hexadecimal digits, one on each line. At most a thousand.").area(fields, wrong)) }
                (field("tags", "Tags that devices get").hint("Words or key=value, with blanks between them, such as: batch=7").text(fields, wrong))
                (field("days", "Good for, in days").hint("Left empty: until it is used up or removed.").input_of("number", fields, wrong))
                div.buttons { button.button.first { "Announce" } a.button href=(product_path(product)) { "Back to the product" } }
            }
        }
    };
    Ok(side_page("Enrolments", about, product, &record, &inner))
}

fn table(viewer: &Viewer, product: &ProductIdBuf, enrolments: &[(Sha256Digest, Enrolment)]) -> Markup {
    let short = |id: &Sha256Digest| id.to_string().chars().take(12).collect::<String>();
    html! {
        div.scroll tabindex="0" {
            table data-sortable {
                thead { tr {
                    th scope="col" { "Enrolment" } th scope="col" data-sort { "By" } th.number scope="col" data-sort { "Used" } th scope="col" { "Only for" }
                    th scope="col" { "Tags" } th scope="col" data-sort { "Until" } th scope="col" { span.visually-hidden { "Action" } }
                } }
                tbody {
                    @for (id, enrolment) in enrolments {
                        tr {
                            th.mono scope="row" { (short(id)) }
                            td { @match enrolment.by { EnrolmentKind::Certificate => "certificate", EnrolmentKind::Token => "token" } }
                            td.number data-key=(enrolment.uses) { (count(enrolment.uses.into())) " of " (count(enrolment.uses_max.into())) }
                            td.mono { @match &enrolment.device { Some(device) => { (device) } None => { span.quiet { "any" } } } }
                            td { (tags(&enrolment.tags)) }
                            td data-key=(enrolment.expires.map_or(u64::MAX, |at| at.0)) { @match enrolment.expires { Some(at) => { (time(viewer, at)) } None => { span.quiet { "no end" } } } }
                            td {
                                form method="post" action=(format!("{}/{id}/remove", path_of(product))) {
                                    (viewer.proof())
                                    button.link { "Remove" span.visually-hidden { " " (short(id)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_or_its_mistake_is_named() {
        let digest = "AB:".repeat(31) + "AB";
        assert_eq!(digests(&format!("{digest}\n{}", "ab".repeat(32))).unwrap(), [Sha256Digest([0xab; 32])]);
        assert!(digests("").is_err());
        assert!(digests("abc").unwrap_err().contains("\"abc\""));
        assert_eq!((days(""), days("30")), (Ok(None), Ok(Some(30))));
        for bad in ["0", "-1", "36501", "x"] {
            assert!(days(bad).is_err(), "{bad}");
        }
        assert!(uses("0").is_err() && uses("").is_err() && uses("4294967296").is_err());
    }
}
