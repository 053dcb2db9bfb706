//! What surrounds a campaign's timeline: its course, its devices by phase, failures, pace, approvals and log.

use std::collections::BTreeMap;

use maud::{Markup, html};
use ota_core::fleet::records::{AttemptPhase, Campaign, ReleaseRecord, Sample};
use ota_core::number::CampaignId;
use ota_core::wire::ReportCode;

use crate::console::charts::{CONFIRMED, FAILED, Layer, Stack, WORKING};
use crate::console::parts::{
    self, Tone, badge, bytes, campaign_path, cause, count, phase_badge, share, span, time,
};
use crate::console::viewer::Viewer;
use crate::rules::campaign::{hash_of, valid_approvals};
use crate::server::{CampaignLog, FailureGroup, ProgressReport};

/// The course of a campaign as a stack: updated, failed, and still under way.
pub(super) fn course(viewer: &Viewer, report: &ProgressReport) -> Stack {
    let samples = &report.samples;
    let layer = |name: &str, colour, value: fn(&Sample) -> u64| Layer {
        name: name.to_owned(),
        colour,
        values: samples.iter().map(value).collect(),
    };
    let confirmed = samples.last().map_or(0, |last| last.confirmed);
    let is_over = matches!(
        report.campaign.state,
        ota_core::fleet::records::CampaignState::Completed | ota_core::fleet::records::CampaignState::Stopped
    );
    let mut title = "Devices over time, by where they stand".to_owned();
    let forecast = report.projected_end.filter(|_| !is_over && confirmed < report.fleet);
    if let Some(end) = forecast {
        title.push_str(&format!(", expected to end at {}", parts::local(viewer, end, "%-d %b %H:%M")));
    }
    Stack {
        title,
        times: samples.iter().map(|sample| sample.at).collect(),
        layers: vec![
            layer("updated", CONFIRMED, |sample| sample.confirmed),
            layer("failed", FAILED, |sample| sample.failed),
            layer("under way", WORKING, |sample| {
                sample.offered.saturating_sub(sample.confirmed).saturating_sub(sample.failed)
            }),
        ],
        forecast: forecast.map(|end| (end, report.fleet)),
    }
}

/// How many devices are in each phase, all stages together.
pub(super) fn by_phase(report: &ProgressReport) -> BTreeMap<AttemptPhase, u64> {
    let mut phases = BTreeMap::new();
    for count in &report.now {
        *phases.entry(count.phase).or_insert(0) += count.devices;
    }
    phases
}

pub(super) fn phases(id: CampaignId, report: &ProgressReport) -> Markup {
    let phases = by_phase(report);
    let mut causes: BTreeMap<(AttemptPhase, u16), u64> = BTreeMap::new();
    for count in report.now.iter().filter(|count| count.cause != 0) {
        *causes.entry((count.phase, count.cause)).or_insert(0) += count.devices;
    }
    html! {
        @if phases.is_empty() {
            p.quiet { "No device has had its turn yet." }
        } @else {
            table {
                thead { tr { th scope="col" { "Phase" } th.number scope="col" { "Devices" } th.number scope="col" { "Share" } } }
                tbody {
                    @for (phase, devices) in &phases {
                        tr {
                            th scope="row" {
                                a href=(format!("{}/devices?phase={}", campaign_path(id), phase.number())) { (phase_badge(*phase)) }
                                @for ((_, number), devices) in causes.iter().filter(|((of, _), _)| of == phase) {
                                    div.quiet.small { (cause(*number)) ": " (count(*devices)) }
                                }
                            }
                            td.number { (count(*devices)) }
                            td.number { (share(*devices, report.fleet)) }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn failures(groups: &[FailureGroup], is_partial: bool) -> Markup {
    let mut groups: Vec<&FailureGroup> = groups.iter().collect();
    groups.sort_by_key(|group| core::cmp::Reverse(group.devices));
    html! {
        @if groups.is_empty() {
            p.quiet { "No device has failed." }
        } @else {
            div.scroll tabindex="0" {
                table data-sortable {
                    thead { tr {
                        th scope="col" data-sort { "Cause" } th scope="col" data-sort { "Came from" }
                        th scope="col" data-sort { "Hardware" } th.number scope="col" data-sort { "Devices" }
                    } }
                    tbody {
                        @for group in &groups {
                            tr {
                                th scope="row" { (cause(group.cause)) div.quiet.small { (advice(group.cause)) } }
                                td { @match &group.former { Some(text) => { span.mono { (text) } } None => { span.quiet { "never released" } } } }
                                td { @match &group.hardware { Some(text) => { span.mono { (text) } } None => { span.quiet { "unknown" } } } }
                                td.number { (count(group.devices)) }
                            }
                        }
                    }
                }
            }
            @if is_partial { p.quiet { "Of the first " (parts::devices(groups.iter().map(|group| group.devices).sum())) " that were looked at; there are more." } }
        }
    }
}

/// What an operator can do about a cause.
fn advice(number: u16) -> &'static str {
    use ReportCode as C;
    match ReportCode::from_number(number) {
        C::Ok => "It fell silent or ended without saying why.",
        C::Malformed => "The signed metadata could not be read: make the release anew.",
        C::Signature => "Too few valid signatures: sign with the keys that the product's root lists.",
        C::Expired => "Root, release or assignment is past its expiry: issue a new one.",
        C::WrongProduct => "It is for another product: correct the target.",
        C::WrongHardware => "The release does not list this hardware: correct the target or list it.",
        C::RolledBackEpoch => "Its security epoch is below the device's: build it with the current one.",
        C::RequirementNotMet => "A requirement is missing: install the stepping stone first.",
        C::NoIntegrity => "A file has no integrity string that the device can check: add one.",
        C::IntegrityMismatch => "Bytes were not what was signed: check the host of the file.",
        C::TooLarge => "It is larger than the device can hold: split the release.",
        C::Storage => "The device's storage failed: look at the device.",
        C::Timeout => "No answer within the deadline: check connection and server.",
        C::SelfTestFailed => "The self-test after the boot failed: look at the release.",
        C::ConfirmTimeout => "Nobody confirmed the new files in time: look at the release.",
        C::BootReverted => "The bootloader went back to the old firmware: look at the release.",
        C::ConnectivityLost => "It could not check in with its new settings and went back.",
        C::ApplicationRejected => "The application refused it.",
        C::ApplicationDeferred => "The application put it off.",
        C::Cancelled => "The server took it back.",
        C::Aborted => "The application gave it up.",
        C::NotFresh => "An answer was not for this device or check-in: look at clocks and proxies.",
        C::RootChain => "A root does not follow the one before it: bring the missing roots.",
        C::ExternalDownload => "Another host did not give the file: check it.",
        C::UnknownTarget => "The device does not know an install target: correct the release.",
        C::Refused => "The server refused to serve it: look at its log.",
        C::DevelopmentKey => "The root was made with a development key, which this build does not accept.",
        _ => "A newer device's code that this server has no name for.",
    }
}

pub(super) fn pace(report: &ProgressReport, release: &ReleaseRecord) -> Markup {
    let size: u64 = release.files.iter().map(|file| file.size.0).sum();
    let recent = recent_pace(&report.samples);
    let limits = report.campaign.plan.limits;
    html! {
        dl.facts {
            dt { "Updated lately" }
            dd { @match recent { Some((devices, over)) => { (parts::devices(devices)) " in " (span(over)) } None => { span.quiet { "not known yet" } } } }
            dt { "Bandwidth" }
            dd { @match recent { Some((devices, over)) if over.0 > 0 => { "about " (bytes(per_second(devices, size, over.0))) " a second" } _ => { span.quiet { "not known yet" } } } }
            dt { "One device fetches" } dd { "up to " (bytes(size)) }
            dt { "Limits" }
            dd {
                @if limits == ota_core::fleet::records::Limits::default() { "none" }
                @if limits.devices_per_minute > 0 { (parts::devices(u64::from(limits.devices_per_minute))) " a minute. " }
                @if limits.downloads_max > 0 { (parts::devices(u64::from(limits.downloads_max))) " downloading at once. " }
                @if limits.bytes_per_second > 0 { (bytes(limits.bytes_per_second)) " a second. " }
                @if limits.downloads_per_site_max > 0 { (parts::devices(u64::from(limits.downloads_per_site_max))) " downloading at once in a site." }
            }
        }
    }
}

/// How many devices were updated over the later half of the samples, and how long that took.
fn recent_pace(samples: &[Sample]) -> Option<(u64, ota_core::time::Millis)> {
    let last = samples.last()?;
    let middle = samples.get(samples.len() / 2)?;
    let over = last.at.since(middle.at);
    (over.0 > 0).then(|| (last.confirmed.saturating_sub(middle.confirmed), over))
}

fn per_second(devices: u64, size: u64, over_ms: u64) -> u64 {
    let sum = u128::from(devices) * u128::from(size) * 1000 / u128::from(over_ms.max(1));
    u64::try_from(sum).unwrap_or(u64::MAX)
}

/// How many approvals are missing, in words.
pub(super) fn approvals_missing(campaign: &Campaign, approvals_min: u8) -> String {
    let needed = usize::from(campaign.plan.approvals.max(approvals_min));
    let found = valid_approvals(campaign).count();
    match needed.saturating_sub(found) {
        0 => "It has its approvals and can be started.".to_owned(),
        1 => "One person more must approve it; its author cannot.".to_owned(),
        missing => format!("{missing} people more must approve it; its author cannot."),
    }
}

pub(super) fn approvals(viewer: &Viewer, report: &ProgressReport, approvals_min: u8) -> Markup {
    let campaign = &report.campaign;
    let hash = hash_of(campaign);
    let needed = campaign.plan.approvals.max(approvals_min);
    html! {
        p { "Made by " strong { (campaign.author) } ", " (time(viewer, campaign.created)) ". " (needed) " must approve." }
        @if !campaign.approvals.is_empty() {
            ul.attention {
                @for approval in &campaign.approvals {
                    li {
                        span { @if approval.hash == hash { (badge(Tone::Good, "approved")) } @else { (badge(Tone::Plain, "void")) } }
                        span { (approval.principal) @if approval.hash != hash { span.quiet { ", for what it was before an edit" } } }
                        span.quiet { (time(viewer, approval.at)) }
                    }
                }
            }
        }
        p.small.quiet { "What is approved is the content " code { (hash.to_string().chars().take(16).collect::<String>()) } "…: any edit makes approvals void." }
    }
}

pub(super) fn log(viewer: &Viewer, log: &CampaignLog) -> Markup {
    html! {
        ol.moments {
            @for entry in &log.entries {
                li {
                    (time(viewer, entry.draft.at))
                    span { (words(&entry.draft.action)) " by " strong { (entry.draft.principal) } (reason(&entry.draft.detail)) }
                }
            }
        }
        @if log.is_partial { p.quiet { "Older entries are in the audit log." } }
    }
}

/// `campaign.gate_paused` becomes "Gate paused".
fn words(action: &str) -> String {
    let word = action.rsplit('.').next().unwrap_or(action).replace('_', " ");
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The reason that somebody gave. What was approved is a hash, which the panel of approvals shows.
fn reason(detail: &str) -> Markup {
    let detail: serde_json::Value = serde_json::from_str(detail).unwrap_or_default();
    let is_hash = |text: &str| ota_core::number::Sha256Digest::from_hex(text).is_some();
    let reason = detail["reason"].as_str().filter(|text| !text.is_empty() && !is_hash(text));
    html! { @if let Some(reason) = reason { ": " (reason) } }
}
