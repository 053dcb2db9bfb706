//! One device: what it runs, why it has or has not the update, what it went through, and what can be done with it.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use ota_core::fleet::records::{AttemptPhase, DeviceStatus};
use ota_core::number::CampaignId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};
use serde::Deserialize;

use super::form::{Fields, Wrong, field};
use super::page::{Area, Page};
use super::parts::{
    self, Tone, ago, badge, campaign_path, cause, device_badge, device_path, phase_badge, product_path, span,
    tags, time,
};
use super::trouble::{Trouble, sentence};
use super::verb::Command;
use super::viewer::Viewer;
use crate::http::Api;
use crate::http::body::WhyNotView;
use crate::rules::campaign::CampaignError;
use crate::rules::permission::Action;
use crate::rules::planner::WhyNot;
use crate::server::{CommandError, DeviceReport, Erased, HistoryLine, Server};

/// How often the page looks again, in seconds.
const EVERY_S: u32 = 5;
fn id_of(text: &str) -> Result<DeviceIdBuf, Trouble> {
    DeviceIdBuf::new(text).map_err(|why| Trouble::not_found(format!("the device {text:?}: {why}")))
}

/// What happened just now.
#[derive(Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

/// The id that somebody looks for.
#[derive(Deserialize)]
pub(super) struct Sought {
    #[serde(default)]
    id: String,
}

/// Goes to the device with this id.
pub(super) async fn seek(_: Viewer, Query(Sought { id }): Query<Sought>) -> Result<Redirect, Trouble> {
    Ok(Redirect::to(&device_path(&id_of(id.trim())?)))
}

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(Done { done }): Query<Done>,
) -> Result<Response, Trouble> {
    let id = id_of(&id)?;
    let report = api.server.device(&viewer.by, &id).await?;
    let product = api.server.product(&viewer.by, &report.product).await?;
    let titles = titles(&api.server, &viewer, &report).await?;
    let title = |id: CampaignId| titles.iter().find(|(one, _)| *one == id).map_or("", |(_, title)| title);
    let now = api.server.time();
    let done = done.and_then(|word| Verb::from_word(&word)).map(Verb::done);
    let body = html! {
        @if let Some(done) = done { div.note.good role="status" { (done) } }
        div id="device-head" data-live { (head(&viewer, &id, &report, now)) }
        div.columns.wide-left {
            div.column {
                section.panel id="device-why" data-live aria-labelledby="why-title" {
                    header { h2 id="why-title" { "Why it has or has not the update" } }
                    (reasons(&viewer, &report, title, now))
                }
                section.panel id="device-attempts" data-live aria-labelledby="attempts-title" {
                    header { h2 id="attempts-title" { "What it went through" } }
                    @if report.history.is_empty() { p.quiet { "No campaign has reached it yet." } }
                    @for line in report.history.iter().rev() { (attempt(&viewer, line, title(line.campaign), now)) }
                }
            }
            div.column {
                section.panel id="device-files" data-live aria-labelledby="files-title" {
                    header { h2 id="files-title" { "What it runs" } }
                    (installed(&report))
                }
                section.panel aria-labelledby="facts-title" {
                    header { h2 id="facts-title" { "About it" } }
                    dl.facts {
                        dt { "Product" } dd { a href=(product_path(&report.product)) { (product.title) } }
                        dt { "Tags" }
                        dd { @if report.tags.is_empty() { span.quiet { "none" } } @else { (tags(&report.tags)) } }
                    }
                }
            }
        }
    };
    let crumbs = [
        ("Fleet".to_owned(), "/".to_owned()),
        (product.title.to_string(), product_path(&report.product)),
        ("Devices".to_owned(), format!("{}/devices", product_path(&report.product))),
    ];
    Ok(Page::new(id.as_str(), Area::Fleet, body).under(crumbs).live(EVERY_S).show(&viewer))
}

/// What the campaigns are called that the report speaks of.
async fn titles(
    server: &Server,
    viewer: &Viewer,
    report: &DeviceReport,
) -> Result<Vec<(CampaignId, String)>, Trouble> {
    let campaigns = server.campaigns(&viewer.by, &report.product).await?;
    let is_named = |id: &CampaignId| {
        report.history.iter().any(|line| line.campaign == *id)
            || report.reasons.iter().any(|(one, _)| one == id)
    };
    let named = campaigns.into_iter().filter(|(id, _)| is_named(id));
    Ok(named.map(|(id, campaign)| (id, campaign.title.into())).collect())
}

fn head(viewer: &Viewer, id: &DeviceIdBuf, report: &DeviceReport, now: Timestamp) -> Markup {
    let may = |verb: &Verb| verb.fits(report) && viewer.may(verb.action(), &report.product);
    html! {
        div.head {
            div {
                h1.mono { (id) }
                div.line {
                    (device_badge(report.status))
                    @if report.pinned.is_some() { (badge(Tone::Warn, "pinned")) }
                    span.quiet { @if report.heard.0 == 0 { "never heard" } @else { "last heard " (ago(viewer, report.heard, now)) } }
                }
            }
            div.buttons {
                @for verb in Verb::ALL.iter().filter(|verb| may(verb)) {
                    (verb.link(&device_path(id)))
                }
            }
        }
    }
}

/// The reason for each campaign under way, the good ones too.
fn reasons<'t>(
    viewer: &Viewer,
    report: &DeviceReport,
    title: impl Fn(CampaignId) -> &'t str,
    now: Timestamp,
) -> Markup {
    html! {
        @if report.reasons.is_empty() { p.quiet { "No campaign of its product is under way." } }
        @for (campaign, why) in &report.reasons {
            @let (tone, word) = tone(why);
            div.note.(tone.class()) {
                div { (badge(tone, word)) " " a href=(campaign_path(*campaign)) { (title(*campaign)) } }
                div { (why_text(viewer, why, now)) }
            }
        }
    }
}

fn tone(why: &WhyNot) -> (Tone, &'static str) {
    use WhyNot as W;
    match why {
        W::HasIt => (Tone::Good, "has it"),
        W::AtWork | W::AwaitingBoot(_) => (Tone::Busy, "on its way"),
        W::AttemptEnded { phase: AttemptPhase::Confirmed, .. } => (Tone::Warn, "changed since"),
        W::Revoked | W::Quarantined { .. } | W::AttemptEnded { .. } => (Tone::Bad, "has not got it"),
        W::Offline(_) | W::Paused(_) | W::RetryAt(_) | W::Pinned(_) => (Tone::Warn, "has not got it"),
        W::NotTargeted | W::SupersededBy(_) => (Tone::Plain, "not for it"),
        _ => (Tone::Plain, "not yet"),
    }
}

/// The reason in a sentence, with times in the viewer's zone.
fn why_text(viewer: &Viewer, why: &WhyNot, now: Timestamp) -> Markup {
    use crate::rules::ramp::Turn;
    match why {
        WhyNot::BeginsAt(at) => html! { "The campaign begins at " (time(viewer, *at)) "." },
        WhyNot::NotItsTurn(Turn::About(at)) => html! { "Its turn comes at about " (time(viewer, *at)) "." },
        WhyNot::OutsideWindow(until) => html! { "Outside the window until " (time(viewer, *until)) "." },
        WhyNot::RetryAt(at) => html! { "It failed and tries again at " (time(viewer, *at)) "." },
        WhyNot::AwaitingBoot(Some(until)) => {
            html! { "It has installed the files; its boot is awaited until " (time(viewer, *until)) "." }
        }
        WhyNot::Offline(at) if at.0 > 0 => {
            html! { "Its turn has come, but it was last heard " (ago(viewer, *at, now)) "." }
        }
        WhyNot::AttemptEnded { phase, cause: code } => {
            html! { "Its attempt ended: " (phase_badge(*phase)) @if *code != 0 { " because of: " (cause(*code)) } "." }
        }
        other => html! { (sentence(&WhyNotView::new(0, other).text)) },
    }
}

fn installed(report: &DeviceReport) -> Markup {
    html! {
        @if report.installed.is_empty() {
            p.quiet { "It has not told yet what it runs." }
        } @else {
            table {
                thead { tr { th scope="col" { "File" } th scope="col" { "Revision" } } }
                tbody {
                    @for file in &report.installed {
                        tr {
                            th.mono scope="row" { (file.file) }
                            td { span.mono { (file.revision) } @if !file.is_released { " " (badge(Tone::Warn, "never released")) } }
                        }
                    }
                }
            }
        }
    }
}

fn attempt(viewer: &Viewer, line: &HistoryLine, title: &str, now: Timestamp) -> Markup {
    let steps = line.moments.iter().enumerate().map(|(index, moment)| {
        let took = index.checked_sub(1).map(|before| moment.at.since(line.moments[before].at));
        (moment, took)
    });
    let all = line.moments.first().zip(line.moments.last()).map(|(first, last)| last.at.since(first.at));
    html! {
        div {
            div.head {
                h3 { a href=(campaign_path(line.campaign)) { @if title.is_empty() { "Campaign " (line.campaign) } @else { (title) } } }
                div.line {
                    (phase_badge(line.phase))
                    @if line.attested { (badge(Tone::Good, "vouched for by the device")) }
                    @if let Some(all) = all.filter(|all| *all > Millis(0)) { span.quiet { "took " (span(all)) } }
                }
            }
            @if line.cause != 0 { p { "Because of: " strong { (cause(line.cause)) } } }
            @if !line.detail.is_empty() { p { "It said: “" (line.detail) "”" } }
            ol.moments {
                @for (moment, took) in steps {
                    li {
                        (time(viewer, moment.at))
                        span {
                            (parts::words(&moment.phase))
                            @if moment.cause != 0 { ": " (cause(moment.cause)) }
                            @match took { Some(took) => { span.quiet { ", after " (span(took)) } } None => { span.quiet { ", " (ago(viewer, moment.at, now)) } } }
                        }
                    }
                }
            }
        }
    }
}

/// What people do with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Retry,
    Release,
    Tag,
    Pin,
    Unpin,
    Quarantine,
    Revoke,
    Erase,
}

impl Command for Verb {
    const ALL: &'static [Self] = &[
        Self::Retry,
        Self::Release,
        Self::Tag,
        Self::Pin,
        Self::Unpin,
        Self::Quarantine,
        Self::Revoke,
        Self::Erase,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Release => "release",
            Self::Tag => "tag",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::Quarantine => "quarantine",
            Self::Revoke => "revoke",
            Self::Erase => "erase",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Release => "Let it take part again",
            Self::Tag => "Change tags",
            Self::Pin => "Pin",
            Self::Unpin => "Unpin",
            Self::Quarantine => "Quarantine",
            Self::Revoke => "Revoke",
            Self::Erase => "Erase",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Retry => "The device gets another offer when it checks in next.",
            Self::Release => "The device takes part again.",
            Self::Tag => "The tags were changed.",
            Self::Pin => "The device is pinned to what it runs.",
            Self::Unpin => "Campaigns may change again what the device runs.",
            Self::Quarantine => "The device is set apart.",
            Self::Revoke => "The device's credentials are no longer good.",
            Self::Erase => "The device was erased.",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Tag | Self::Pin | Self::Unpin | Self::Quarantine => "",
            Self::Retry | Self::Release => "first",
            Self::Revoke | Self::Erase => "danger",
        }
    }
}

impl Verb {
    const fn action(self) -> Action {
        match self {
            Self::Tag | Self::Release | Self::Pin | Self::Unpin | Self::Quarantine => Action::KeepDevices,
            Self::Retry => Action::RunCampaign,
            Self::Revoke => Action::RevokeDevice,
            Self::Erase => Action::EraseDevice,
        }
    }

    /// Whether it makes sense for the device as it is. The rules decide again.
    fn fits(self, report: &DeviceReport) -> bool {
        match self {
            Self::Retry => report.status == DeviceStatus::Active && failed_for(report).is_some(),
            Self::Release => report.status != DeviceStatus::Active,
            Self::Tag | Self::Erase => true,
            Self::Pin => report.pinned.is_none(),
            Self::Unpin => report.pinned.is_some(),
            Self::Quarantine => report.status == DeviceStatus::Active,
            Self::Revoke => report.status != DeviceStatus::Revoked,
        }
    }

    const fn wants_reason(self) -> bool {
        matches!(self, Self::Retry | Self::Pin | Self::Quarantine | Self::Revoke | Self::Erase)
    }

    const fn reason_hint(self) -> &'static str {
        match self {
            Self::Erase => "It stays in the audit log: name nobody here.",
            _ => "Whoever reads the audit log sees it.",
        }
    }

    /// What it does, one sentence each.
    const fn effects(self) -> &'static [&'static str] {
        match self {
            Self::Retry => &[
                "This one device gets another offer for the latest campaign for which it has failed, when it checks in next.",
                "Its failure is forgotten there, which the gate of its stage allows only once it has passed.",
            ],
            Self::Release => &[
                "This one device takes part in campaigns again, and its failures are forgotten.",
                "An attempt that has ended does not begin again by this.",
            ],
            Self::Tag => &[
                "The device has these tags and no others from now on.",
                "Campaigns whose target is an expression look at them when it checks in next.",
            ],
            Self::Pin => &[
                "No campaign changes what this one device runs, until it is unpinned.",
                "What it is downloading now it may finish.",
                "Campaigns tell this reason to whoever asks why it has no update.",
            ],
            Self::Unpin => &["This one device takes its turn in campaigns again."],
            Self::Quarantine => &[
                "This one device gets no more offers until somebody lets it take part again.",
                "What it is downloading now it may finish; it stays connected.",
            ],
            Self::Revoke => &[
                "This one device is refused from now on, and its connection is closed.",
                "What it runs stays as it is; an update that it is working on ends.",
                "It can be let in again later.",
            ],
            Self::Erase => &[
                "Everything that is known of this one device is deleted: what it runs, its tags and credentials, what it went through. There is no way back.",
                "It is refused from now on, and its connection is closed. If it may register itself, it comes back as a new device.",
                "What it counted for in campaigns that have ended is not counted any more; while a campaign under way counts on it, it cannot be erased.",
                "The audit log keeps this as an entry about a digest of its id. Older entries, logs and backups stay as they are.",
            ],
        }
    }
}

/// The latest campaign for which the device has failed for good.
fn failed_for(report: &DeviceReport) -> Option<CampaignId> {
    use AttemptPhase::{Failed, Rejected, RolledBack};
    let has_failed = |line: &&HistoryLine| matches!(line.phase, Failed | Rejected | RolledBack);
    report.history.iter().rev().find(has_failed).map(|line| line.campaign)
}

/// Says what a command would do.
pub(super) async fn confirm(
    State(api): State<Api>,
    viewer: Viewer,
    Path((id, word)): Path<(String, String)>,
) -> Result<Response, Trouble> {
    let (id, verb) = (id_of(&id)?, Verb::of_address(&word)?);
    let report = api.server.device(&viewer.by, &id).await?;
    let fields = Fields::filled([("tags", report.tags.join(" "))]);
    Ok(page(&viewer, &id, verb, &fields, &Wrong::default()).show(&viewer))
}

/// Does what was confirmed, or shows the form again with what is wrong.
pub(super) async fn perform(
    State(api): State<Api>,
    viewer: Viewer,
    Path((id, word)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (id, verb) = (id_of(&id)?, Verb::of_address(&word)?);
    let (server, by) = (&api.server, &viewer.by);
    let mut wrong = Wrong::default();
    let reason = if verb.wants_reason() { wrong.take("reason", fields.reason("reason")) } else { Some("") };
    if let Some(reason) = reason {
        let tags: Vec<&str> = fields.text("tags").split_whitespace().collect();
        let done = match verb {
            Verb::Tag => server.tag_device(by, &id, &tags).await,
            Verb::Release => server.release_device(by, &id).await,
            Verb::Revoke => server.revoke_device(by, &id, reason).await,
            Verb::Erase => match server.erase_device(by, &id, reason).await {
                Ok(erased) => return Ok(erased_page(&id, &erased).show(&viewer)),
                Err(error) => Err(error),
            },
            Verb::Quarantine => server.quarantine_device(by, &id, reason).await,
            Verb::Pin => server.pin_device(by, &id, reason).await,
            Verb::Unpin => server.unpin_device(by, &id).await,
            Verb::Retry => match failed_for(&server.device(by, &id).await?) {
                Some(campaign) => server.retry_device(by, campaign, &id, reason).await,
                None => Err(CampaignError::NothingToRetry.into()),
            },
        };
        match done {
            Ok(()) => {
                return Ok(verb.finished(&device_path(&id)));
            }
            Err(CommandError::Tag(why)) => wrong.field("tags", sentence(&why.to_string())),
            Err(error) => wrong.refuse(error),
        }
    }
    Ok((wrong.status(), page(&viewer, &id, verb, &fields, &wrong).show(&viewer)).into_response())
}

/// The device has no page any more to tell it on.
fn erased_page(id: &DeviceIdBuf, erased: &Erased) -> Page {
    let body = html! {
        section.panel {
            h1 { "Erased: " span.mono { (id) } }
            div.note.good role="status" { (Verb::Erase.done()) }
            dl.facts {
                dt { "Attempts deleted" } dd { (erased.attempts) }
                dt { "Enrolments deleted" } dd { (erased.enrolments) }
                dt { "Lists of ended campaigns" } dd { (erased.lists) }
                dt { "In the audit log as" } dd.mono { (erased.digest) }
            }
            @if !erased.named_in.is_empty() {
                p { "Expressions that people wrote still name it. Change them if it must not be named there: " (erased.named_in.join(", ")) "." }
            }
            p { a.button href="/" { "To the fleet" } }
        }
    };
    let crumbs = [("Fleet".to_owned(), "/".to_owned())];
    Page::new(format!("Erased {id}"), Area::Fleet, body).under(crumbs)
}

fn page(viewer: &Viewer, id: &DeviceIdBuf, verb: Verb, fields: &Fields, wrong: &Wrong) -> Page {
    let body = html! {
        section.panel.form {
            h1 { (verb.title()) ": " span.mono { (id) } }
            (wrong.summary())
            h2 { "What it does" }
            ul { @for effect in verb.effects() { li { (effect) } } }
            form.form method="post" action=(verb.address(&device_path(id))) {
                (viewer.proof())
                @if verb == Verb::Tag { (field("tags", "Tags").hint("Words or key=value, with blanks between them, such as: site=berlin lab").text(fields, wrong)) }
                @if verb.wants_reason() { (field("reason", "Why").hint(verb.reason_hint()).text(fields, wrong)) }
                (verb.form_buttons(&device_path(id)))
            }
        }
    };
    let crumbs = [("Fleet".to_owned(), "/".to_owned()), (id.as_str().to_owned(), device_path(id))];
    Page::new(format!("{} {id}", verb.title()), Area::Fleet, body).under(crumbs)
}
