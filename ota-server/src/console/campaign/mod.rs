//! A campaign: where it stands, what it waits for, what went wrong, and what can be done about it.

mod panels;
pub(super) mod plan;
mod stages;
mod verbs;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use ota_core::fleet::Cursor;
use ota_core::fleet::records::{AttemptPhase, CampaignState, ReleaseRecord};
use ota_core::number::CampaignId;
use serde::Deserialize;

pub(super) use self::verbs::{confirm, perform, wanted_words};
use super::home::{Counts, tile};
use super::page::{Area, Page};
use super::parts::{
    self, ago, bar, campaign_badge, campaign_path, count, phase_badge, product_path, release_path, share,
    time,
};
use super::trouble::{Trouble, sentence};
use super::verb::Command as _;
use super::viewer::Viewer;
use crate::http::{Api, unhex};
use crate::server::ProgressReport;

/// How often the page looks again, in seconds.
const EVERY_S: u32 = 3;
/// How many failed attempts are grouped for one page. Everybody who watches has them read anew every few seconds; how many
/// devices failed by which cause is counted for all of them beside that.
const FAILURES_MAX: usize = 2000;
/// Devices of one page of a list.
const PAGE: usize = 100;

/// The number in a path.
pub(super) fn id_of(text: &str) -> Result<CampaignId, Trouble> {
    text.parse().map(CampaignId).map_err(|_| Trouble::not_found(format!("there is no campaign {text:?}")))
}

/// What happened just now, told once by the address that a command leads to.
#[derive(Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(Done { done }): Query<Done>,
) -> Result<Response, Trouble> {
    let (id, server) = (id_of(&id)?, &api.server);
    let report = server.progress(&viewer.by, id).await?;
    let campaign = &report.campaign;
    let product = server.product(&viewer.by, &campaign.product).await?;
    let release = server.release(&viewer.by, &campaign.release).await?;
    let (failures, more) = server.failures(&viewer.by, id, None, FAILURES_MAX).await?;
    let log = server.campaign_log(&viewer.by, id).await?;
    let now = server.time();
    let done = done.and_then(|word| verbs::Verb::from_word(&word)).map(verbs::Verb::done);
    let body = html! {
        @if let Some(done) = done { div.note.good role="status" { (done) } }
        div id="campaign-head" data-live { (head(&viewer, id, &report, &release)) }
        div id="campaign-state" data-live { (state_note(&viewer, &report, product.approvals_min)) }
        div id="campaign-tiles" data-live { (tiles(&viewer, &report)) }
        div.columns.wide-left {
            div.column {
                section.panel id="campaign-course" data-live aria-labelledby="course-title" {
                    header { h2 id="course-title" { "Progress over time" } }
                    (panels::course(&viewer, &report).figure(&viewer))
                }
                section.panel id="campaign-stages" data-live aria-labelledby="stages-title" {
                    header { h2 id="stages-title" { "Stages" } }
                    (stages::timeline(&viewer, &report, now))
                }
                section.panel id="campaign-failures" data-live aria-labelledby="failures-title" {
                    header { h2 id="failures-title" { "Why devices failed" } }
                    (panels::failures(&failures, more.is_some()))
                    (verbs::why_no_retry(&viewer, &report))
                }
                section.panel id="campaign-log" data-live aria-labelledby="log-title" {
                    header { h2 id="log-title" { "What was done" } }
                    (panels::log(&viewer, &log))
                }
            }
            div.column {
                section.panel id="campaign-phases" data-live aria-labelledby="phases-title" {
                    header { h2 id="phases-title" { "Devices by phase" } }
                    (panels::phases(id, &report))
                }
                section.panel id="campaign-pace" data-live aria-labelledby="pace-title" {
                    header { h2 id="pace-title" { "Pace" } }
                    (panels::pace(&report, &release))
                }
                section.panel id="campaign-approvals" data-live aria-labelledby="approvals-title" {
                    header { h2 id="approvals-title" { "Approvals" } }
                    (panels::approvals(&viewer, &report, product.approvals_min))
                }
                section.panel aria-labelledby="plan-title" {
                    header { h2 id="plan-title" { "Target and plan" } }
                    p.sentence { (plan::target(&campaign.target)) }
                    (plan::facts(&viewer, &campaign.plan))
                }
            }
        }
    };
    let crumbs = [
        ("Fleet".to_owned(), "/".to_owned()),
        (product.title.to_string(), product_path(&campaign.product)),
        ("Campaigns".to_owned(), format!("{}/campaigns", product_path(&campaign.product))),
    ];
    let every_s = if campaign.state == CampaignState::Stopped { 0 } else { EVERY_S };
    Ok(Page::new(&*campaign.title, Area::Fleet, body).under(crumbs).live(every_s).show(&viewer))
}

fn head(viewer: &Viewer, id: CampaignId, report: &ProgressReport, release: &ReleaseRecord) -> Markup {
    let campaign = &report.campaign;
    html! {
        div.head {
            div {
                h1 { (campaign.title) }
                div.line {
                    (campaign_badge(campaign.state))
                    span.quiet {
                        "Campaign " (id) " brings "
                        a href=(release_path(&campaign.release)) { (release.package) " " (release.version) }
                        " to " (plan::target(&campaign.target))
                    }
                }
            }
            (verbs::buttons(viewer, id, report))
        }
    }
}

/// What a person should know before anything else.
fn state_note(viewer: &Viewer, report: &ProgressReport, approvals_min: u8) -> Markup {
    let campaign = &report.campaign;
    let change = html! {
        @if let Some(amendment) = &campaign.progress.amendment {
            div.note.warn {
                strong { "A change waits for consent" }
                div { (amendment.by) " wants " (wanted_words(&amendment.what)) ". " (sentence(&amendment.reason)) }
            }
        }
    };
    let (class, title) = match campaign.state {
        CampaignState::Paused => ("bad", "Paused: nothing is offered until somebody resumes it"),
        CampaignState::Stopped => ("bad", "Stopped for good"),
        CampaignState::Trialled => ("warn", "The trial has passed: a person must promote it to the fleet"),
        CampaignState::Draft => ("busy", "A draft: nothing is offered yet"),
        CampaignState::Preparing => ("busy", "Its devices are being looked up"),
        CampaignState::Scheduled => ("busy", "It waits for its start"),
        _ => return change,
    };
    html! {
        (change)
        div.note.(class) {
            strong { (title) }
            @if campaign.state == CampaignState::Draft { div { (panels::approvals_missing(campaign, approvals_min)) } }
            @else if campaign.state == CampaignState::Scheduled { div { "It begins at " (time(viewer, campaign.plan.schedule.start)) "." } }
            @else if !campaign.reason.is_empty() { div { (sentence(&campaign.reason)) } }
            @if let Some(revert) = campaign.progress.revert {
                div { a href=(campaign_path(revert)) { "Campaign " (revert) } " takes devices back." }
            }
        }
    }
}

fn tiles(viewer: &Viewer, report: &ProgressReport) -> Markup {
    let counts = Counts::of(report);
    let touched = counts.confirmed + counts.failed + counts.working + counts.other;
    let end = report.projected_end.filter(|_| counts.confirmed < report.fleet);
    html! {
        (bar(&[("confirmed", counts.confirmed), ("failed", counts.failed), ("working", counts.working), ("other", counts.other)], report.fleet, "thick"))
        dl.tiles {
            (tile("Updated", &count(counts.confirmed), &share(counts.confirmed, report.fleet)))
            (tile("At work", &count(counts.working), &share(counts.working, report.fleet)))
            (tile("Failed", &count(counts.failed), &share(counts.failed, report.fleet)))
            (tile("Waiting, silent or taken back", &count(counts.other), &share(counts.other, report.fleet)))
            (tile("Not reached yet", &count(report.fleet.saturating_sub(touched)), &format!("of {}", parts::devices(report.fleet))))
            div.tile {
                dt { "Projected end" }
                dd { @match end { Some(end) => { (time(viewer, end)) } None => { "–" } } }
            }
        }
    }
}

/// Which attempts to list.
#[derive(Deserialize)]
pub(super) struct Listed {
    phase: Option<u8>,
    after: Option<String>,
}

/// The devices of a campaign that stand in one phase.
pub(super) async fn attempts(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(listed): Query<Listed>,
) -> Result<Response, Trouble> {
    let (id, server) = (id_of(&id)?, &api.server);
    let report = server.progress(&viewer.by, id).await?;
    let phase = match listed.phase {
        Some(number) => AttemptPhase::from_number(number)
            .ok_or_else(|| Trouble::not_found(format!("there is no phase {number}")))?,
        None => AttemptPhase::Failed,
    };
    let after = listed.after.as_deref().map(|text| unhex("after", text).map(Cursor)).transpose()?;
    let page = server.attempts(&viewer.by, id, phase, after.as_ref(), PAGE).await?;
    let now = server.time();
    let here = format!("{}/devices", campaign_path(id));
    let body = html! {
        div.head { div { h1 { "Devices of " (report.campaign.title) } } }
        nav.tabs aria-label="Phases" {
            @for (one, devices) in panels::by_phase(&report) {
                a href=(format!("{here}?phase={}", one.number())) aria-current=[(one == phase).then_some("page")] {
                    (parts::words(&one)) " (" (count(devices)) ")"
                }
            }
        }
        section.panel {
            @if page.attempts.is_empty() {
                (parts::empty("No device is there", "Devices appear here as they reach this phase.", Some((&campaign_path(id), "Back to the campaign"))))
            } @else {
                div.scroll tabindex="0" {
                    table data-sortable {
                        caption { "Devices that are " (phase_badge(phase)) }
                        thead { tr {
                            th scope="col" data-sort { "Device" } th scope="col" data-sort { "Stage" }
                            th scope="col" data-sort { "Cause" } th scope="col" { "What it said" } th scope="col" data-sort { "Since" }
                        } }
                        tbody {
                            @for (device, attempt) in &page.attempts {
                                tr {
                                    th scope="row" { a.mono href=(parts::device_path(device)) { (device) } }
                                    td { @if attempt.stage == 0 { "trial" } @else { (attempt.stage) } }
                                    td { @if attempt.cause == 0 { span.quiet { "–" } } @else { (parts::cause(attempt.cause)) } }
                                    td { (attempt.detail) }
                                    td data-key=(attempt.changed.0) { (ago(&viewer, attempt.changed, now)) }
                                }
                            }
                        }
                    }
                }
                div.pages {
                    span.quiet { (parts::devices(super::home::as_u64(page.attempts.len()))) " on this page" }
                    @if let Some(next) = &page.next {
                        a.button href=(format!("{here}?phase={}&after={}", phase.number(), crate::http::hex(&next.0))) { "Next page" }
                    }
                }
            }
        }
    };
    let crumbs =
        [("Fleet".to_owned(), "/".to_owned()), (report.campaign.title.to_string(), campaign_path(id))];
    Ok(Page::new(format!("Devices of {}", report.campaign.title), Area::Fleet, body)
        .under(crumbs)
        .show(&viewer))
}
