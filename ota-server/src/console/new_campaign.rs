//! A new campaign: release, target, trial group and plan, a dry run of it, and the draft that others approve.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::tz::AmbiguousOffset;
use maud::{Markup, html};
use ota_core::fleet::Version;
use ota_core::fleet::records::{Product, ReleaseRecord, ReleaseStatus};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;
use serde::Deserialize;

use super::form::{Fields, Wrong, field};
use super::page::{Area, Page};
use super::parts::{bytes, campaign_path, count, devices, product_path, share, span};
use super::product::id_of;
use super::trouble::{Trouble, sentence};
use super::viewer::Viewer;
use crate::http::Api;
use crate::http::body::{
    CampaignInput, DayTime, GateBody, LimitsBody, OnFailureBody, PaceBody, PlanBody, PromotionBody,
    ScheduleBody, Share, Span, StageBody, TargetBody, Time, TrialBody, WindowBody,
};
use crate::rules::campaign::{CampaignError, Draft};
use crate::rules::permission::Action;
use crate::rules::schedule::ScheduleError;
use crate::server::{CommandError, DryRun};

/// Stages of the form; plans with more come from the command line.
pub(super) const STAGES: usize = 4;

pub(super) type Releases = Vec<(ReleaseId, ReleaseRecord)>;

/// What a link to the form fills in.
#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    release: String,
    #[serde(default)]
    title: String,
}

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(given): Query<Given>,
) -> Result<Response, Trouble> {
    let id = id_of(&id)?;
    let (product, releases) = context(&api, &viewer, &id).await?;
    let gate = GateBody::default();
    let plain = |share: Share| share.to_string().replace('%', "");
    let fields = Fields::filled([
        ("title", given.title),
        ("release", given.release),
        ("trial", "devices".to_owned()),
        ("trial_sample", "1".to_owned()),
        ("stage-1-until", "10".to_owned()),
        ("stage-1-pace", "linear".to_owned()),
        ("stage-1-over", "2h".to_owned()),
        ("stage-2-until", "100".to_owned()),
        ("stage-2-pace", "linear".to_owned()),
        ("stage-2-over", "24h".to_owned()),
        ("sample_min", gate.sample_min.to_string()),
        ("failures_good", plain(gate.failures_good)),
        ("failures_bad", plain(gate.failures_bad)),
        ("silent_max", plain(gate.silent_max)),
        ("soak", "1h".to_owned()),
        ("approvals", product.approvals_min.to_string()),
        ("zone", viewer.zone_name().to_owned()),
    ]);
    let form = Form { of: Purpose::New, id: &id, product: &product, releases: &releases };
    Ok(form.page(&viewer, &fields, &Wrong::default(), None).show(&viewer))
}

/// What the form is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// To make a draft.
    New,
    /// To change this draft, as long as it has this version.
    Edit {
        /// Which.
        campaign: CampaignId,
        /// Its name.
        title: &'a str,
        /// The version that was read.
        version: Version,
    },
}

impl Purpose<'_> {
    /// Where the form is sent to.
    fn address(self, id: &ProductIdBuf) -> String {
        match self {
            Self::New => format!("{}/campaigns/new", product_path(id)),
            Self::Edit { campaign, .. } => format!("{}/edit", campaign_path(campaign)),
        }
    }
}

/// The form, and what it needs to know.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    pub(super) of: Purpose<'a>,
    pub(super) id: &'a ProductIdBuf,
    pub(super) product: &'a Product,
    pub(super) releases: &'a Releases,
}

pub(super) async fn context(
    api: &Api,
    viewer: &Viewer,
    id: &ProductIdBuf,
) -> Result<(Product, Releases), Trouble> {
    let product = api.server.product(&viewer.by, id).await?;
    let mut releases = api.server.releases(&viewer.by, id).await?;
    releases.retain(|(_, release)| release.status == ReleaseStatus::Signed);
    releases.reverse();
    Ok((product, releases))
}

/// Tries the campaign out, or makes its draft.
pub(super) async fn make(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (id, viewer) = (id_of(&id)?, viewer.in_zone_of(&fields));
    let (product, releases) = context(&api, &viewer, &id).await?;
    let mut wrong = Wrong::default();
    let mut run = None;
    if let Some(draft) = read(&viewer, &id, &fields, &mut wrong) {
        let done = if fields.text("do") == "draft" {
            match api.server.draft_campaign(&viewer.by, draft).await {
                Ok(campaign) => return Ok(Redirect::to(&campaign_path(campaign)).into_response()),
                Err(error) => Err(error),
            }
        } else {
            api.server.dry_run(&viewer.by, &draft).await
        };
        match done {
            Ok(found) => run = Some(found),
            Err(CommandError::Campaign(error)) => note(&error, &mut wrong),
            Err(error) => wrong.refuse(error),
        }
    }
    let form = Form { of: Purpose::New, id: &id, product: &product, releases: &releases };
    let page = form.page(&viewer, &fields, &wrong, run.as_ref());
    let status = if wrong.is_empty() { axum::http::StatusCode::OK } else { wrong.status() };
    Ok((status, page.show(&viewer)).into_response())
}

/// Puts a refusal of the rules beside the field that it is about.
pub(super) fn note(error: &CampaignError, wrong: &mut Wrong) {
    use CampaignError as E;
    let name = match error {
        E::Schedule(ScheduleError::Zone(_)) => "zone",
        E::Schedule(ScheduleError::Window) => "window_from",
        E::Schedule(_) => "start",
        E::Filter(_) => "expression",
        E::Stages => "stage-1-until",
        E::Pace => "stage-1-pace",
        E::Gate => "failures_bad",
        E::Devices | E::MatchesNothing => "target",
        E::TrialTarget => "trial",
        E::NotSigned | E::NotOfferable | E::WrongProduct | E::Protocol(_) => "release",
        _ => "title",
    };
    wrong.field(name, sentence(&error.to_string()));
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A share that people write with or without its sign.
fn share_of(text: &str) -> Result<Share, String> {
    let number = text.trim_end_matches('%').trim();
    format!("{number}%").parse().map_err(|why: crate::http::body::UnitError| why.to_string())
}

fn span_of(text: &str) -> Result<Span, String> {
    if text.is_empty() {
        Ok(Span(ota_core::time::Millis(0)))
    } else {
        text.parse().map_err(|why: crate::http::body::UnitError| why.to_string())
    }
}

fn number<T: core::str::FromStr + Default>(text: &str) -> Result<T, &'static str> {
    if text.is_empty() {
        Ok(T::default())
    } else {
        text.parse().map_err(|_| "expected a whole number from 0 on")
    }
}

/// The campaign that the form says, or what is wrong with it.
pub(super) fn read(
    viewer: &Viewer,
    product: &ProductIdBuf,
    fields: &Fields,
    wrong: &mut Wrong,
) -> Option<Draft> {
    match read_input(viewer, fields, wrong)?.draft(product.clone()) {
        Ok(draft) => Some(draft),
        Err(error) => {
            let name = match error.field.as_str() {
                "release" => "release",
                "plan.trial.who" => "trial_devices",
                "plan.on_failure.revert.to" => "revert_to",
                _ => "devices",
            };
            wrong.field(name, sentence(&error.why));
            None
        }
    }
}

/// What the form says, in the words of the API.
pub(super) fn read_input(viewer: &Viewer, fields: &Fields, wrong: &mut Wrong) -> Option<CampaignInput> {
    if fields.text("title").is_empty() || fields.text("title").len() > 200 {
        wrong.field("title", "Give it a name of at most 200 characters, so that people recognise it.");
    }
    if fields.text("release").is_empty() {
        wrong.field("release", "Choose a signed release.");
    }
    let target = target(fields, wrong);
    let gate = gate(fields, wrong);
    let stages = stages(fields, &gate, wrong);
    let trial = trial(fields, &gate, wrong);
    let limits = LimitsBody {
        devices_per_minute: wrong.take("per_minute", number(fields.text("per_minute"))).unwrap_or_default(),
        downloads_max: wrong.take("downloads", number(fields.text("downloads"))).unwrap_or_default(),
        bytes_per_second: wrong.take("bandwidth", number(fields.text("bandwidth"))).unwrap_or_default(),
        downloads_per_site_max: wrong.take("per_site", number(fields.text("per_site"))).unwrap_or_default(),
    };
    let approvals = wrong.take("approvals", number(fields.text("approvals"))).unwrap_or_default();
    let on_failure = match fields.text("on_failure") {
        "stop" => OnFailureBody::Stop,
        "revert" => OnFailureBody::Revert { to: fields.text("revert_to").to_owned() },
        _ => OnFailureBody::Pause,
    };
    let schedule = schedule(viewer, fields, wrong);
    if !wrong.is_empty() {
        return None;
    }
    let plan = PlanBody { trial, stages, schedule, limits, approvals, on_failure, ..PlanBody::default() };
    Some(CampaignInput {
        title: fields.text("title").to_owned(),
        release: fields.text("release").to_owned(),
        target,
        plan,
    })
}

fn target(fields: &Fields, wrong: &mut Wrong) -> TargetBody {
    let expression = fields.text("expression");
    let kind = fields.text("target");
    if matches!(kind, "filter" | "snapshot") && expression.is_empty() {
        wrong.field("expression", "Say which devices, such as: tag = site=berlin and heard < 7d");
    }
    match kind {
        "filter" => TargetBody::Filter(expression.to_owned()),
        "snapshot" => TargetBody::Snapshot(expression.to_owned()),
        "devices" => TargetBody::Devices(words(fields.text("devices"))),
        _ => TargetBody::Everyone,
    }
}

fn gate(fields: &Fields, wrong: &mut Wrong) -> GateBody {
    let default = GateBody::default();
    let mut share =
        |name: &str, default: Share| wrong.take(name, share_of(fields.text(name))).unwrap_or(default);
    let (failures_good, failures_bad, silent_max) = (
        share("failures_good", default.failures_good),
        share("failures_bad", default.failures_bad),
        share("silent_max", default.silent_max),
    );
    let sample_min = wrong.take("sample_min", number(fields.text("sample_min"))).unwrap_or_default();
    let soak = wrong.take("soak", span_of(fields.text("soak"))).unwrap_or(default.soak);
    GateBody { sample_min, failures_good, failures_bad, silent_max, soak, ..default }
}

fn stages(fields: &Fields, gate: &GateBody, wrong: &mut Wrong) -> Vec<StageBody> {
    let mut stages = Vec::new();
    for row in 1..=STAGES {
        let name = |part: &str| format!("stage-{row}-{part}");
        if fields.text(&name("until")).is_empty() {
            continue;
        }
        let until = wrong.take(&name("until"), share_of(fields.text(&name("until"))));
        let pace = match fields.text(&name("pace")) {
            "linear" => wrong
                .take(&name("over"), span_of(fields.text(&name("over"))))
                .map(|over| PaceBody::Linear { over }),
            "exponential" => {
                wrong.take(&name("rate"), number(fields.text(&name("rate")))).map(|base_per_minute| {
                    PaceBody::Exponential {
                        base_per_minute,
                        factor_percent: 200,
                        every_confirmed: gate.sample_min.max(1),
                    }
                })
            }
            _ => Some(PaceBody::AtOnce),
        };
        if let (Some(until), Some(pace)) = (until, pace) {
            stages.push(StageBody { until, pace, gate: gate.clone() });
        }
    }
    if stages.is_empty() && wrong.is_empty() {
        wrong.field("stage-1-until", "Say how much of the fleet gets it; the last stage ends at 100.");
    }
    stages
}

fn trial(fields: &Fields, gate: &GateBody, wrong: &mut Wrong) -> Option<TrialBody> {
    let who = match fields.text("trial") {
        "devices" => {
            let ids = words(fields.text("trial_devices"));
            if ids.is_empty() {
                wrong.field("trial_devices", "Name the devices that get it first, or choose no trial.");
            }
            TargetBody::Devices(ids)
        }
        "filter" => TargetBody::Filter(fields.text("trial_expression").to_owned()),
        _ => return None,
    };
    let sample_min = wrong.take("trial_sample", number(fields.text("trial_sample"))).unwrap_or_default();
    // A few devices can show no small share: a trial is there to find what is broken at once.
    let gate =
        GateBody { sample_min, failures_bad: Share(999_999), missed_stop: Share(500_000), ..gate.clone() };
    let promotion = match fields.text("promotion") {
        "by_gate" => PromotionBody::ByGate,
        _ => PromotionBody::ByPerson,
    };
    Some(TrialBody { who, gate, promotion })
}

fn schedule(viewer: &Viewer, fields: &Fields, wrong: &mut Wrong) -> ScheduleBody {
    let mut moment = |name: &str| match fields.text(name) {
        "" => None,
        text => wrong.take(name, local_moment(viewer, text)).map(Time),
    };
    let (start, end) = (moment("start"), moment("end"));
    let mut windows = Vec::new();
    if !fields.text("window_from").is_empty() || !fields.text("window_until").is_empty() {
        let from = wrong.take("window_from", fields.text("window_from").parse::<DayTime>());
        let until = wrong.take("window_until", fields.text("window_until").parse::<DayTime>());
        windows.extend(from.zip(until).map(|(from, until)| WindowBody { from, until }));
    }
    let zone = if windows.is_empty() { String::new() } else { fields.text("zone").to_owned() };
    ScheduleBody { start, end, zone, windows, blackouts: Vec::new() }
}

/// A time as browsers send it, in the viewer's zone. Where clocks are set back and show it twice, the first is meant.
fn local_moment(viewer: &Viewer, text: &str) -> Result<Timestamp, &'static str> {
    let wrong = "expected a date and a time such as 2031-05-01T12:00";
    let moment: jiff::civil::DateTime = text.parse().map_err(|_| wrong)?;
    let moment = viewer.zone().to_ambiguous_zoned(moment);
    if matches!(moment.offset(), AmbiguousOffset::Gap { .. }) {
        return Err("clocks are set forward then and never show it: choose a time before or after that");
    }
    let moment = moment.compatible().map_err(|_| wrong)?;
    u64::try_from(moment.timestamp().as_millisecond()).map(Timestamp).map_err(|_| wrong)
}

fn choices(choices: &[(&str, &str)]) -> Vec<(String, String)> {
    choices.iter().map(|(value, text)| ((*value).to_owned(), (*text).to_owned())).collect()
}

impl Form<'_> {
    /// The whole page: what was typed, what is wrong with it, and what a dry run has found.
    pub(super) fn page(self, viewer: &Viewer, fields: &Fields, wrong: &Wrong, run: Option<&DryRun>) -> Page {
        let Self { of, id, product, releases } = self;
        let signed: Vec<(String, String)> = releases
            .iter()
            .map(|(id, release)| {
                (id.to_string(), format!("{} {} ({})", release.package, release.version, revisions(release)))
            })
            .collect();
        let here = format!("Time in {}.", viewer.zone_name());
        let body = html! {
            div.head { div {
                @match of {
                    Purpose::New => { h1 { "New campaign for " (product.title) } p.quiet { "A draft: nothing is offered before others have approved it and somebody has started it." } }
                    Purpose::Edit { title, .. } => { h1 { "Edit “" (title) "”" } p.quiet { "Approvals that were given are void with it, and whoever edits it cannot approve it." } }
                }
            } }
            @if !viewer.may(Action::RunCampaign, id) {
                div.note.warn { strong { "You may try a plan out, but not make a campaign" } div { "Ask an administrator for the role operator, in this very product." } }
            }
            @if signed.is_empty() {
                div.note.warn { strong { "There is no signed release" } div { "Upload a package and have it signed first: " a href=(format!("{}/releases", product_path(id))) { "packages" } "." } }
            }
            form.columns.wide-left method="post" action=(of.address(id)) {
                (viewer.proof())
                @if let Purpose::Edit { version, .. } = of { input type="hidden" name="version" value=(version.0); }
                div.column {
                    (wrong.summary())
                    @if let Some(run) = run { (dry_run(run)) }
                    section.panel {
                        h2 { "What, and for whom" }
                        (field("title", "Name").text(fields, wrong))
                        (field("release", "Release").hint("Only signed ones can be brought to devices.").choice(&signed, fields, wrong))
                        (field("target", "Devices").choice(&choices(&[
                            ("everyone", "All devices of the product"), ("filter", "Whichever fulfil an expression when they check in"),
                            ("snapshot", "Those that fulfil an expression now"), ("devices", "These devices")]), fields, wrong))
                        div data-if="target=filter snapshot" { (field("expression", "Expression").hint("Such as: tag = site=berlin and heard < 7d").text(fields, wrong)) }
                        div data-if="target=devices" { (field("devices", "Device ids").hint("With blanks or commas between them.").area(fields, wrong)) }
                    }
                    section.panel {
                        h2 { "Trial" }
                        (field("trial", "Who gets it first").choice(&choices(&[
                            ("devices", "A few devices"), ("filter", "Devices that fulfil an expression"), ("none", "Nobody in particular: no trial")]), fields, wrong))
                        div data-if="trial=devices" { (field("trial_devices", "Device ids").hint("With blanks or commas between them.").area(fields, wrong)) }
                        div data-if="trial=filter" { (field("trial_expression", "Expression").hint("Such as: tag = lab").text(fields, wrong)) }
                        div.row data-if="trial=devices filter" {
                            (field("trial_sample", "Judged from how many devices on").input_of("number", fields, wrong))
                            (field("promotion", "Afterwards").choice(&choices(&[("by_person", "A person promotes it"), ("by_gate", "It goes on by itself")]), fields, wrong))
                        }
                    }
                    section.panel {
                        h2 { "Stages" }
                        p.quiet { "Parts of the fleet, one behind the other; the last ends at 100 %. Rows that are left empty do not count." }
                        @for row in 1..=STAGES { (stage_row(row, fields, wrong)) }
                    }
                }
                div.column {
                    section.panel {
                        h2 { "Gate behind each stage" }
                        (field("sample_min", "Judged from how many devices on").input_of("number", fields, wrong))
                        div.row {
                            (field("failures_good", "Good up to, % failed").text(fields, wrong))
                            (field("failures_bad", "Bad from, % failed").text(fields, wrong))
                        }
                        div.row {
                            (field("silent_max", "Silent at most, %").text(fields, wrong))
                            (field("soak", "Soak").hint("Such as 30m or 12h.").text(fields, wrong))
                        }
                        (field("on_failure", "If it fails").choice(&choices(&[
                            ("pause", "Pause until a person decides"), ("stop", "Stop"), ("revert", "Stop and go back")]), fields, wrong))
                        div data-if="on_failure=revert" { (field("revert_to", "Back to").choice(&signed, fields, wrong)) }
                        (field("approvals", "How many people must approve").hint("Its author does not count.").input_of("number", fields, wrong))
                    }
                    section.panel {
                        h2 { "When" }
                        p.quiet { "Left empty: at once, all day, without an end." }
                        (viewer.times_in(fields))
                        div.row {
                            (field("start", "Not before").hint(&here).input_of("datetime-local", fields, wrong))
                            (field("end", "No offers after").hint(&here).input_of("datetime-local", fields, wrong))
                        }
                        div.row {
                            (field("window_from", "Daily from").input_of("time", fields, wrong))
                            (field("window_until", "Daily until").input_of("time", fields, wrong))
                        }
                        (field("zone", "Zone of the daily window").hint("An IANA name; empty for each device's own.").text(fields, wrong))
                    }
                    section.panel {
                        h2 { "Limits" }
                        p.quiet { "Left empty: none." }
                        (field("per_minute", "Devices offered a minute").input_of("number", fields, wrong))
                        (field("downloads", "Devices downloading at once").input_of("number", fields, wrong))
                        (field("per_site", "Devices downloading at once in a site").input_of("number", fields, wrong))
                        (field("bandwidth", "Bytes a second").input_of("number", fields, wrong))
                    }
                    div.buttons {
                        button.button name="do" value="dry-run" id="dry-run" { "Dry run" }
                        @match of {
                            Purpose::New => {
                                button.button.first name="do" value="draft" id="submit-draft" { "Submit for approval" }
                                a.button href=(format!("{}/campaigns", product_path(id))) { "Leave" }
                            }
                            Purpose::Edit { campaign, .. } => {
                                button.button.first name="do" value="draft" id="submit-draft" { "Save" }
                                a.button href=(campaign_path(campaign)) { "Leave it as it is" }
                            }
                        }
                    }
                }
            }
        };
        let crumbs = [
            ("Fleet".to_owned(), "/".to_owned()),
            (product.title.to_string(), product_path(id)),
            ("Campaigns".to_owned(), format!("{}/campaigns", product_path(id))),
        ];
        let title = match of {
            Purpose::New => "New campaign".to_owned(),
            Purpose::Edit { title, .. } => format!("Edit {title}"),
        };
        Page::new(title, Area::Fleet, body).under(crumbs)
    }
}

fn revisions(release: &ReleaseRecord) -> String {
    let names: Vec<String> =
        release.files.iter().take(3).map(|file| format!("{} {}", file.name, file.revision)).collect();
    names.join(", ")
}

fn stage_row(row: usize, fields: &Fields, wrong: &Wrong) -> Markup {
    let name = |part: &str| format!("stage-{row}-{part}");
    let pace = name("pace");
    html! {
        fieldset.file-row {
            legend { "Stage " (row) }
            (field(&name("until"), "Up to, % of the fleet").text(fields, wrong))
            (field(&pace, "Turns come").choice(&choices(&[("at_once", "all at once"), ("linear", "evenly"), ("exponential", "faster with success")]), fields, wrong))
            div data-if=(format!("{pace}=linear")) { (field(&name("over"), "Over").hint("Such as 2h.").text(fields, wrong)) }
            div data-if=(format!("{pace}=exponential")) { (field(&name("rate"), "Devices a minute at first").input_of("number", fields, wrong)) }
        }
    }
}

/// What a dry run has found.
fn dry_run(run: &DryRun) -> Markup {
    let estimated = |part: u64| {
        u64::try_from(u128::from(run.fleet) * u128::from(part) / u128::from(run.looked_at.max(1)))
            .unwrap_or(u64::MAX)
    };
    html! {
        section.panel id="dry-run-result" role="status" aria-labelledby="dry-run-title" {
            header { h2 id="dry-run-title" { "What it would do" } span.quiet { (devices(run.looked_at)) " looked at" } }
            dl.facts {
                dt { "Would get it" } dd { b { (share(run.would_get, run.looked_at)) } @if run.looked_at < run.fleet { ", about " (devices(estimated(run.would_get))) } @else { ", " (devices(run.would_get)) } }
                dt { "One device fetches" } dd { "up to " (bytes(run.bytes_per_device)) }
                dt { "All together" } dd { "up to " (bytes(run.bytes_per_device.saturating_mul(estimated(run.would_get)))) }
                dt { "Takes at least" } dd { @match run.at_least { Some(least) => { (span(least)) } None => { "that depends on its success" } } }
            }
            @if !run.left_out.is_empty() {
                table {
                    caption { "Devices that would be left out" }
                    thead { tr { th scope="col" { "Why" } th.number scope="col" { "Devices" } } }
                    tbody { @for (why, number) in &run.left_out { tr { td { (sentence(why)) } td.number { (count(*number)) } } } }
                }
            }
            @for (stage, needed) in &run.gates_that_wait {
                div.note.warn {
                    strong { @if *stage == 0 { "The trial" } @else { "Stage " (stage) } " is too small for its gate" }
                    div { "It needs " (devices(*needed)) ", and would wait for a person who decides." }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_with_or_without_their_sign() {
        assert_eq!(share_of("12.5"), Ok(Share(125_000)));
        assert_eq!(share_of("12.5 %"), Ok(Share(125_000)));
        assert!(share_of("").is_err() && share_of("101").is_err() && share_of("x").is_err());
    }

    #[test]
    fn what_is_wrong_with_a_campaign_stands_beside_its_field() {
        let mut wrong = Wrong::default();
        note(&CampaignError::Stages, &mut wrong);
        note(&CampaignError::MatchesNothing, &mut wrong);
        assert!(wrong.said("stage-1-until").is_some() && wrong.said("target").is_some());
    }
}
