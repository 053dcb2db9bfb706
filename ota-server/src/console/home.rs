//! The fleet at a glance: who is heard, what runs, what is being rolled out, and what waits for somebody.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use ota_core::number::CampaignId;
use ota_core::time::Timestamp;

use super::overview::{Attention, Hearing, Overview, attention_list, stuck, version_bar};
use super::page::{Area, Page};
use super::parts::{self, bar, campaign_badge, campaign_path, count, empty, product_path, share, time};
use super::product::over_time;
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::http::Api;
use crate::rules::permission::Action;
use crate::server::{FleetCourse, ProgressReport, Server};

/// How often the page looks again, in seconds.
const EVERY_S: u32 = 5;
/// Products whose versions are drawn over time; the pages of the others do it.
const CHARTS_MAX: usize = 4;

pub(super) async fn show(State(api): State<Api>, viewer: Viewer) -> Result<Response, Trouble> {
    let server = &api.server;
    let mut products = Vec::new();
    for (id, record) in server.products(&viewer.by).await? {
        products.push(Overview::load(server, &viewer, id, record).await?);
    }
    let mut courses = Vec::new();
    for product in products.iter().take(CHARTS_MAX) {
        courses.push(server.fleet_course(&viewer.by, &product.id).await?);
    }
    let running = running(server, &viewer, &products).await?;
    let body = if products.is_empty() {
        nothing_yet(&viewer)
    } else {
        body(&viewer, server.time(), &products, &courses, &running)
    };
    Ok(Page::new("Fleet", Area::Fleet, body).live(EVERY_S).show(&viewer))
}

/// A campaign under way, and how it fares.
pub(super) struct Running {
    id: CampaignId,
    product: String,
    report: ProgressReport,
}

/// The campaigns of these products that are under way.
pub(super) async fn running(
    server: &Server,
    viewer: &Viewer,
    products: &[Overview],
) -> Result<Vec<Running>, Trouble> {
    let mut all = Vec::new();
    for product in products {
        for (id, _) in product.under_way() {
            let report = server.progress(&viewer.by, *id).await?;
            all.push(Running { id: *id, product: product.record.title.to_string(), report });
        }
    }
    all.sort_by_key(|one| core::cmp::Reverse(one.report.campaign.progress.started));
    Ok(all)
}

fn nothing_yet(viewer: &Viewer) -> Markup {
    let text = "A product is a kind of device, with its own keys, packages and campaigns.";
    let action = viewer
        .may_all(Action::KeepProducts)
        .then_some(("/administration/products/new", "Make the first product"));
    html! {
        h1 { "Fleet" }
        section.panel { (empty("There is no product yet that you can see", text, action)) }
    }
}

fn body(
    viewer: &Viewer,
    now: Timestamp,
    products: &[Overview],
    courses: &[FleetCourse],
    running: &[Running],
) -> Markup {
    let hearing = products.iter().fold(Hearing::default(), |sum, product| sum.plus(product.hearing));
    let attention = attention(viewer, products, running, now);
    html! {
        div.head {
            div { h1 { "Fleet" } }
            @if viewer.may_all(Action::StopEverything) {
                div.buttons { a.button.danger href="/administration/stop-everything" { "Stop everything" } }
            }
        }
        div id="fleet-tiles" data-live {
            dl.tiles {
                (tile("Devices", &count(hearing.all()), ""))
                (tile("Heard within a day", &count(hearing.day), &share(hearing.day, hearing.all())))
                (tile("Silent for longer", &count(hearing.silent()), &share(hearing.silent(), hearing.all())))
                (tile("Never heard", &count(hearing.never), ""))
                (tile("Campaigns under way", &count(as_u64(running.len())), ""))
            }
        }
        div.columns.wide-left {
            div.column {
                section.panel id="fleet-running" data-live aria-labelledby="running-title" {
                    header { h2 id="running-title" { "Campaigns under way" } }
                    (running_list(viewer, running))
                }
                @for (index, product) in products.iter().enumerate() { (product_panel(viewer, product, courses.get(index))) }
            }
            section.panel id="fleet-attention" data-live aria-labelledby="attention-title" {
                header { h2 id="attention-title" { "Needs attention" } }
                (attention_list(&attention))
            }
        }
    }
}

/// What waits for a person, the most urgent first.
pub(super) fn attention(
    viewer: &Viewer,
    products: &[Overview],
    running: &[Running],
    now: Timestamp,
) -> Vec<Attention> {
    let mut all: Vec<_> = products.iter().flat_map(|product| product.attention(viewer, now)).collect();
    all.extend(running.iter().filter_map(|Running { id, product, report }| stuck(*id, product, report)));
    all.sort_by_key(Attention::urgency);
    all
}

pub(super) fn tile(name: &str, value: &str, more: &str) -> Markup {
    html! { div.tile { dt { (name) } dd { (value) @if !more.is_empty() { " " small { (more) } } } } }
}

/// Campaigns with how far they are, each with a bar.
pub(super) fn running_list(viewer: &Viewer, running: &[Running]) -> Markup {
    html! {
        @if running.is_empty() {
            (empty("No campaign is under way", "What is being rolled out appears here, with how far it is.", None))
        } @else {
            ul.running {
                @for Running { id, product, report } in running {
                    li {
                        div.line {
                            a href=(campaign_path(*id)) { (report.campaign.title) }
                            (campaign_badge(report.campaign.state))
                            span.quiet.small { (product) }
                            span.quiet.small {
                                @match report.projected_end {
                                    Some(end) => { "until about " (time(viewer, end)) }
                                    None => "end not known yet",
                                }
                            }
                        }
                        (progress(report))
                    }
                }
            }
        }
    }
}

/// How far a campaign is: a bar, and the same in words.
pub(super) fn progress(report: &ProgressReport) -> Markup {
    let counts = Counts::of(report);
    html! {
        (bar(&[("confirmed", counts.confirmed), ("failed", counts.failed), ("working", counts.working), ("other", counts.other)], report.fleet, ""))
        div.small {
            (share(counts.confirmed, report.fleet)) " updated"
            @if counts.failed > 0 { ", " (count(counts.failed)) " failed" }
            @if counts.working > 0 { ", " (count(counts.working)) " at work" }
            span.quiet { " of " (parts::devices(report.fleet)) }
        }
    }
}

/// Devices of a campaign as the bar shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) confirmed: u64,
    pub(super) failed: u64,
    pub(super) working: u64,
    pub(super) other: u64,
}

impl Counts {
    pub(super) fn of(report: &ProgressReport) -> Self {
        use ota_core::fleet::records::AttemptPhase as P;
        let mut counts = Self::default();
        for count in &report.now {
            let place = match count.phase {
                P::Confirmed => &mut counts.confirmed,
                P::Failed | P::RolledBack | P::Rejected => &mut counts.failed,
                P::Offered | P::Downloading | P::Downloaded | P::Verified | P::Installed => {
                    &mut counts.working
                }
                P::Deferred | P::Waiting | P::Silent | P::Cancelled => &mut counts.other,
            };
            *place += count.devices;
        }
        counts
    }
}

/// What runs on a product's devices now, and how the versions of its first file have spread.
fn product_panel(viewer: &Viewer, product: &Overview, course: Option<&FleetCourse>) -> Markup {
    let versions = product.versions();
    let id = format!("product-{}", product.id);
    html! {
        section.panel id=(id) data-live {
            header {
                h2 { a href=(product_path(&product.id)) { (product.record.title) } }
                span.quiet { (parts::devices(product.hearing.all())) }
            }
            @if versions.is_empty() {
                p.quiet { "No device has told yet what it runs." }
            } @else {
                @for (index, (file, revisions)) in versions.iter().take(3).enumerate() {
                    div { h3.mono { (file) } }
                    (version_bar(revisions))
                    @if index == 0 && let Some(line) = course.and_then(|course| course.files.iter().find(|line| *line.file == **file)) {
                        (over_time(line, revisions).figure(viewer))
                    }
                }
                @if versions.len() > 3 { p { a href=(product_path(&product.id)) { "All " (versions.len()) " files" } } }
            }
        }
    }
}

pub(super) fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
