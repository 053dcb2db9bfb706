//! A product: its versions now and over time, its devices, packages and campaigns.

use std::time::Instant;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use ota_core::fleet::Cursor;
use ota_core::fleet::records::{CampaignState, DeviceStatus, Product};
use ota_core::text::ProductIdBuf;
use ota_core::time::Millis;
use serde::Deserialize;

use super::charts::{Layer, SERIES, Stack};
use super::home::{self, as_u64, tile};
use super::overview::{Overview, attention_list, version_bar};
use super::page::{Area, Page};
use super::parts::{
    Tone, ago, badge, campaign_badge, campaign_path, count, device_badge, device_path, empty, product_path,
    release_badge, release_path, share, tags, time,
};
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::http::{Api, hex, unhex};
use crate::rules::filter::Filter;
use crate::rules::permission::Action;
use crate::server::{CommandError, FileLine, SCAN_MAX, SCAN_TIME_MAX};

/// How often the page looks again, in seconds.
const EVERY_S: u32 = 5;
/// Devices of one page.
const PAGE: usize = 100;
/// Files whose course is drawn.
const CHARTS_MAX: usize = 4;

pub(super) fn id_of(text: &str) -> Result<ProductIdBuf, Trouble> {
    ProductIdBuf::new(text).map_err(|why| Trouble::not_found(format!("the product {text:?}: {why}")))
}

/// The tabs of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Devices,
    Releases,
    Campaigns,
}

/// What stands above each page of a product.
pub(super) fn head(viewer: &Viewer, id: &ProductIdBuf, product: &Product, tab: Tab) -> Markup {
    let path = product_path(id);
    let tabs = [
        (Tab::Overview, path.clone(), "Overview"),
        (Tab::Devices, format!("{path}/devices"), "Devices"),
        (Tab::Releases, format!("{path}/releases"), "Packages"),
        (Tab::Campaigns, format!("{path}/campaigns"), "Campaigns"),
    ];
    html! {
        div.head {
            div { h1 { (product.title) } div.line { span.quiet { "Product " code { (id) } } } }
            div.buttons {
                @if viewer.may(Action::RunCampaign, id) { a.button.first href=(format!("{path}/campaigns/new")) { "New campaign" } }
                @if viewer.may(Action::DraftRelease, id) { a.button href=(format!("{path}/releases/new")) { "Upload a package" } }
                @if viewer.may(Action::StopEverything, id) { a.button.danger href=(format!("{path}/stop-everything")) { "Stop everything" } }
            }
        }
        nav.tabs aria-label="Product" {
            @for (one, address, text) in tabs { a href=(address) aria-current=[(one == tab).then_some("page")] { (text) } }
        }
    }
}

/// A page that belongs to a product and is none of its tabs: `what` names it, `about` says what it is for.
pub(super) fn side_page(
    what: &str,
    about: &str,
    id: &ProductIdBuf,
    product: &Product,
    inner: &Markup,
) -> Page {
    let title = format!("{what} of {}", product.title);
    let body = html! { div.head { div { h1 { (title) } p.quiet { (about) } } } (inner) };
    let crumbs = [("Fleet".to_owned(), "/".to_owned()), (product.title.to_string(), product_path(id))];
    Page::new(title, Area::Fleet, body).under(crumbs)
}

fn frame(viewer: &Viewer, id: &ProductIdBuf, product: &Product, tab: Tab, inner: &Markup) -> Page {
    let body = html! { (head(viewer, id, product, tab)) (inner) };
    Page::new(&*product.title, Area::Fleet, body).under([("Fleet".to_owned(), "/".to_owned())])
}

pub(super) async fn show(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let (id, server) = (id_of(&id)?, &api.server);
    let record = server.product(&viewer.by, &id).await?;
    let course = server.fleet_course(&viewer.by, &id).await?;
    let overview = Overview::load(server, &viewer, id.clone(), record).await?;
    let one = core::slice::from_ref(&overview);
    let running = home::running(server, &viewer, one).await?;
    let attention = home::attention(&viewer, one, &running, server.time());
    let hearing = overview.hearing;
    let versions = overview.versions();
    let inner = html! {
        div id="product-tiles" data-live {
            dl.tiles {
                (tile("Devices", &count(hearing.all()), ""))
                (tile("Heard within a day", &count(hearing.day), &share(hearing.day, hearing.all())))
                (tile("Silent for up to a week", &count(hearing.week), &share(hearing.week, hearing.all())))
                (tile("Silent for longer", &count(hearing.older), &share(hearing.older, hearing.all())))
                (tile("Never heard", &count(hearing.never), ""))
            }
        }
        div.columns.wide-left {
            div.column {
                @if versions.is_empty() {
                    section.panel {
                        (empty("No device has told yet what it runs", "Versions appear here once devices check in.", None))
                    }
                }
                @for (index, (file, revisions)) in versions.iter().enumerate() {
                    section.panel id=(format!("file-{index}")) data-live {
                        header { h2.mono { (file) } span.quiet { "versions now and over time" } }
                        (version_bar(revisions))
                        @if index < CHARTS_MAX && let Some(line) = course.files.iter().find(|line| *line.file == **file) {
                            (over_time(line, revisions).figure(&viewer))
                        }
                    }
                }
            }
            div.column {
                section.panel id="product-running" data-live aria-labelledby="running-title" {
                    header { h2 id="running-title" { "Campaigns under way" } }
                    (home::running_list(&viewer, &running))
                }
                section.panel id="product-attention" data-live aria-labelledby="attention-title" {
                    header { h2 id="attention-title" { "Needs attention" } }
                    (attention_list(&attention))
                }
            }
        }
    };
    Ok(frame(&viewer, &id, &overview.record, Tab::Overview, &inner).live(EVERY_S).show(&viewer))
}

/// How the revisions of a file have spread; those that most devices have now are told apart, in the colours of the bar.
pub(super) fn over_time(line: &FileLine, now: &[(String, u64)]) -> Stack {
    let names: Vec<&str> = now.iter().map(|(name, _)| name.as_str()).take(SERIES.len() - 1).collect();
    let mut layers: Vec<Layer> = names
        .iter()
        .zip(SERIES)
        .map(|(name, colour)| Layer { name: (*name).to_owned(), colour, values: Vec::new() })
        .collect();
    let mut others =
        Layer { name: "others".to_owned(), colour: SERIES[SERIES.len() - 1], values: Vec::new() };
    for point in &line.points {
        let named = |name: &str| -> u64 {
            let is_it = |revision: &Option<Box<str>>| {
                revision.as_deref().unwrap_or(super::overview::NEVER_RELEASED) == name
            };
            point.revisions.iter().filter(|(revision, _)| is_it(revision)).map(|(_, devices)| devices).sum()
        };
        let all = point.revisions.iter().map(|(_, devices)| devices).sum::<u64>() + point.others;
        let mut told = 0;
        for layer in &mut layers {
            let devices = named(&layer.name);
            told += devices;
            layer.values.push(devices);
        }
        others.values.push(all.saturating_sub(told));
    }
    if others.values.iter().any(|devices| *devices > 0) {
        layers.push(others);
    }
    Stack {
        title: format!("Devices by revision of {}, over time", line.file),
        times: line.points.iter().map(|point| point.at).collect(),
        layers,
        forecast: None,
    }
}

/// Which devices to list.
#[derive(Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    tag: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    heard: String,
    #[serde(default)]
    after: String,
}

impl Listed {
    fn holds(&self, device: &ota_core::fleet::records::Device, now: ota_core::time::Timestamp) -> bool {
        let status = match self.status.as_str() {
            "active" => device.status == DeviceStatus::Active,
            "quarantined" => device.status == DeviceStatus::Quarantined,
            "revoked" => device.status == DeviceStatus::Revoked,
            _ => true,
        };
        let tag = self.tag.trim();
        let is_tagged = tag.is_empty() || device.tags.iter().any(|one| **one == *tag);
        let is_silent = device.heard.0 > 0 && now.since(device.heard) > Millis(24 * 3_600_000);
        let heard = match self.heard.as_str() {
            "day" => device.heard.0 > 0 && !is_silent,
            "silent" => is_silent,
            "never" => device.heard.0 == 0,
            _ => true,
        };
        is_tagged && status && heard
    }

    /// The address of the same list from another place on.
    fn address(&self, path: &str, after: &str) -> String {
        let mut query = String::new();
        for (name, value) in [
            ("tag", self.tag.as_str()),
            ("group", &self.group),
            ("status", &self.status),
            ("heard", &self.heard),
            ("after", after),
        ] {
            if !value.is_empty() {
                query.push(if query.is_empty() { '?' } else { '&' });
                query.push_str(&format!("{name}={}", super::parts::segment(value)));
            }
        }
        format!("{path}/devices{query}")
    }

    /// Where all devices come as a file: those with the tag, if there is one.
    fn export(&self, path: &str) -> String {
        match self.tag.trim() {
            "" => format!("/api/v1{path}/devices/export"),
            tag => format!("/api/v1{path}/devices/export?tag={}", super::parts::segment(tag)),
        }
    }
}

pub(super) async fn devices(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(listed): Query<Listed>,
) -> Result<Response, Trouble> {
    let (id, server) = (id_of(&id)?, &api.server);
    let product = server.product(&viewer.by, &id).await?;
    let now = server.time();
    let mut after = match listed.after.as_str() {
        "" => None,
        text => Some(Cursor(unhex("after", text)?)),
    };
    let tag = Some(listed.tag.trim()).filter(|tag| !tag.is_empty());
    let groups = server.groups(&viewer.by, &id).await?;
    let filter = match listed.group.as_str() {
        "" => None,
        name => Some(Filter::parse(&server.group(&viewer.by, &id, name).await?).map_err(CommandError::from)?),
    };
    let (mut found, mut looked_at, began) = (Vec::new(), 0, Instant::now());
    // Few may fulfil what was asked for: the search goes on for a while, and then says that it is not over.
    while looked_at < SCAN_MAX && began.elapsed() < SCAN_TIME_MAX {
        let page = match &filter {
            Some(filter) => server.devices_that(&viewer.by, &id, filter, after.as_ref(), PAGE).await?,
            None => server.devices(&viewer.by, &id, tag, after.as_ref(), PAGE).await?,
        };
        looked_at += page.looked_at.max(1);
        found.extend(page.devices.into_iter().filter(|(_, device)| listed.holds(device, now)));
        after = page.next;
        if after.is_none() || found.len() >= PAGE {
            break;
        }
    }
    let path = product_path(&id);
    let named = groups.iter().map(|(name, _)| (&**name, &**name));
    let choices: Vec<(&str, &str)> = core::iter::once(("", "any")).chain(named).collect();
    let select = |name: &str, label: &str, chosen: &str, choices: &[(&str, &str)]| {
        html! {
            div.field {
                label for=(name) { (label) }
                select id=(name) name=(name) { @for (value, text) in choices { option value=(value) selected[*value == chosen] { (text) } } }
            }
        }
    };
    let inner = html! {
        section.panel {
            form.bar-row action="/devices" {
                div.field { label for="id" { "Go to a device" } input id="id" name="id" autocomplete="off" spellcheck="false" placeholder="its id"; }
                button.button { "Go" }
            }
            form.bar-row action=(format!("{path}/devices")) {
                div.field { label for="tag" { "Tag" } input id="tag" name="tag" value=(listed.tag) placeholder="site=berlin"; }
                @if !groups.is_empty() { (select("group", "Group", &listed.group, &choices)) }
                (select("status", "Status", &listed.status, &[("", "any"), ("active", "active"), ("quarantined", "quarantined"), ("revoked", "revoked")]))
                (select("heard", "Heard", &listed.heard, &[("", "whenever"), ("day", "within a day"), ("silent", "silent for longer"), ("never", "never")]))
                button.button { "Show" }
                @if listed.address(&path, "") != format!("{path}/devices") { a href=(format!("{path}/devices")) { "Show all" } }
            }
            @if found.is_empty() {
                (empty("No device was found", if after.is_some() { "The search looked at some devices and is not over." } else { "Nothing fulfils what was asked for." }, None))
            } @else {
                (device_table(&viewer, &found, now))
            }
            div.pages {
                span.quiet { (super::parts::devices(as_u64(found.len()))) " shown, " (count(as_u64(looked_at))) " looked at" @if after.is_some() { "; there are more" } }
                div.buttons {
                    @if let Some(next) = &after { a.button href=(listed.address(&path, &hex(&next.0))) { "Next page" } }
                    a.button href=(listed.export(&path)) download { @if tag.is_some() { "Export all with this tag" } @else { "Export all" } }
                }
            }
        }
    };
    Ok(frame(&viewer, &id, &product, Tab::Devices, &inner).show(&viewer))
}

fn device_table(
    viewer: &Viewer,
    devices: &[(ota_core::text::DeviceIdBuf, ota_core::fleet::records::Device)],
    now: ota_core::time::Timestamp,
) -> Markup {
    html! {
        div.bar-row hidden { div.field { label for="find" { "Find in this page" } input id="find" data-filter="devices"; } span.quiet id="devices-said" role="status" {} }
        div.scroll tabindex="0" {
            table id="devices" data-sortable {
                thead { tr {
                    th scope="col" data-sort { "Device" } th scope="col" data-sort { "Status" } th scope="col" data-sort { "Last heard" }
                    th scope="col" { "Tags" } th scope="col" data-sort { "Latest campaign" }
                } }
                tbody {
                    @for (id, device) in devices {
                        tr {
                            th scope="row" { a.mono href=(device_path(id)) { (id) } }
                            td { (device_badge(device.status)) }
                            td data-key=(device.heard.0) { @if device.heard.0 == 0 { span.quiet { "never" } } @else { (ago(viewer, device.heard, now)) } }
                            td { (tags(&device.tags)) }
                            td { @if let Some(campaign) = device.attempt { a href=(campaign_path(campaign)) { "campaign " (campaign) } } }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn releases(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let (id, server) = (id_of(&id)?, &api.server);
    let product = server.product(&viewer.by, &id).await?;
    let mut releases = server.releases(&viewer.by, &id).await?;
    releases.reverse();
    let inner = html! {
        section.panel {
            @if releases.is_empty() {
                (empty("No package was uploaded yet", "A package is a named set of files, each with its own revision.", viewer.may(Action::DraftRelease, &id).then_some((&*format!("{}/releases/new", product_path(&id)), "Upload a package"))))
            } @else {
                div.bar-row hidden { div.field { label for="find" { "Find" } input id="find" data-filter="releases"; } span.quiet id="releases-said" role="status" {} }
                div.scroll tabindex="0" {
                    table id="releases" data-sortable {
                        thead { tr {
                            th scope="col" data-sort { "Package" } th scope="col" data-sort { "Version" } th scope="col" data-sort { "Status" }
                            th scope="col" { "Files" } th scope="col" data-sort { "Made" } th scope="col" data-sort { "By" }
                        } }
                        tbody {
                            @for (release, record) in &releases {
                                tr {
                                    th scope="row" { a href=(release_path(release)) { (record.package) } @if record.security { " " (badge(Tone::Warn, "security")) } }
                                    td { (record.version) }
                                    td { (release_badge(record.status)) }
                                    td {
                                        @for file in record.files.iter().take(4) { div { span.mono { (file.name) } " " span.quiet.mono { (file.revision) } } }
                                        @if record.files.len() > 4 { div.quiet { "and " (record.files.len() - 4) " more" } }
                                    }
                                    td data-key=(record.created.0) { (time(&viewer, record.created)) }
                                    td { (record.author) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(frame(&viewer, &id, &product, Tab::Releases, &inner).show(&viewer))
}

pub(super) async fn campaigns(
    State(api): State<Api>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let (id, server) = (id_of(&id)?, &api.server);
    let product = server.product(&viewer.by, &id).await?;
    let mut campaigns = server.campaigns(&viewer.by, &id).await?;
    let is_over = |state| matches!(state, CampaignState::Completed | CampaignState::Stopped);
    campaigns.sort_by_key(|(id, campaign)| (is_over(campaign.state), core::cmp::Reverse(*id)));
    let inner = html! {
        section.panel {
            @if campaigns.is_empty() {
                (empty("There is no campaign yet", "A campaign brings devices to a release by a plan.", viewer.may(Action::RunCampaign, &id).then_some((&*format!("{}/campaigns/new", product_path(&id)), "New campaign"))))
            } @else {
                div.bar-row hidden { div.field { label for="find" { "Find" } input id="find" data-filter="campaigns"; } span.quiet id="campaigns-said" role="status" {} }
                div.scroll tabindex="0" {
                    table id="campaigns" data-sortable {
                        thead { tr {
                            th scope="col" data-sort { "Campaign" } th scope="col" data-sort { "State" } th.number scope="col" data-sort { "Updated" }
                            th.number scope="col" data-sort { "Failed" } th scope="col" data-sort { "Made" } th scope="col" data-sort { "By" }
                        } }
                        tbody {
                            @for (id, campaign) in &campaigns {
                                @let last = campaign.samples.last();
                                tr {
                                    th scope="row" { a href=(campaign_path(*id)) { (campaign.title) } }
                                    td { (campaign_badge(campaign.state)) }
                                    td.number { (last.map_or("–".to_owned(), |last| count(last.confirmed))) }
                                    td.number { (last.map_or("–".to_owned(), |last| count(last.failed))) }
                                    td data-key=(campaign.created.0) { (time(&viewer, campaign.created)) }
                                    td { (campaign.author) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(frame(&viewer, &id, &product, Tab::Campaigns, &inner).show(&viewer))
}
