//! The timeline of a campaign: each stage, what its gate has seen and wants to see, and what it waits for now.

use std::collections::BTreeMap;

use maud::{Markup, html};
use ota_core::fleet::records::{Campaign, CampaignState, Gate, Pace, Promotion, SmallGroup, Target};
use ota_core::time::Timestamp;

use super::plan;
use crate::console::parts::{Tone, badge, bar, count, devices, ppm, share, span, time};
use crate::console::viewer::Viewer;
use crate::rules::gate::{Evidence, sample_at, sample_that_can_pass};
use crate::server::ProgressReport;

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Done,
    Now,
    Halted,
    Later,
}

/// One stage as it is shown.
struct Line<'c> {
    number: u16,
    title: String,
    what: Markup,
    /// How many devices have their turn in it, as far as that is known.
    devices: Option<u64>,
    gate: &'c Gate,
}

/// What each stage has shown.
pub(super) fn evidence(report: &ProgressReport) -> BTreeMap<u16, Evidence> {
    let mut stages: BTreeMap<u16, Evidence> = BTreeMap::new();
    for count in &report.now {
        stages.entry(count.stage).or_default().add(count.phase, count.cause, count.devices);
    }
    stages
}

/// The timeline.
pub(super) fn timeline(viewer: &Viewer, report: &ProgressReport, now: Timestamp) -> Markup {
    let campaign = &report.campaign;
    let seen = evidence(report);
    html! {
        ol.stages {
            @for line in lines(campaign, report.fleet) {
                @let standing = standing(campaign, line.number);
                @let evidence = seen.get(&line.number).copied().unwrap_or_default();
                li.(class(standing)) aria-current=[(standing == Standing::Now).then_some("step")] {
                    span.dot aria-hidden="true" { (mark(standing, line.number)) }
                    div.body {
                        div.line {
                            h3 { (line.title) }
                            @match standing {
                                Standing::Done => { (badge(Tone::Good, "passed")) }
                                Standing::Now => { (badge(Tone::Busy, "now")) }
                                Standing::Halted => { (badge(Tone::Warn, "halted here")) }
                                Standing::Later => { (badge(Tone::Plain, "later")) }
                            }
                            span.quiet { (line.what) }
                        }
                        @if matches!(standing, Standing::Now | Standing::Halted) {
                            div.note.(if standing == Standing::Now { "busy" } else { "warn" }) {
                                strong { "What it waits for" }
                                div { (waits_for(viewer, campaign, &line, &evidence, now)) }
                            }
                        }
                        @if standing != Standing::Later || evidence != Evidence::default() {
                            (gate_values(line.gate, campaign, standing, &evidence))
                        } @else {
                            p.quiet.small { (plan::gate(line.gate)) }
                        }
                    }
                }
            }
        }
    }
}

fn lines(campaign: &Campaign, fleet: u64) -> Vec<Line<'_>> {
    let trial = campaign.plan.trial.as_ref().map(|trial| Line {
        number: 0,
        title: "Trial".to_owned(),
        what: html! {
            span.sentence { (plan::target(&trial.who)) }
            @if trial.promotion == Promotion::ByPerson { "; a person promotes it afterwards" }
        },
        devices: match &trial.who {
            Target::Devices { ids } => u64::try_from(ids.len()).ok(),
            _ => None,
        },
        gate: &trial.gate,
    });
    let mut from = 0;
    let stages = campaign.plan.stages.iter().zip(1_u16..).map(|(stage, number)| {
        let part = u128::from(fleet) * u128::from(stage.until_ppm - from) / 1_000_000;
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        from = stage.until_ppm;
        Line {
            number,
            title: format!("Stage {number}: up to {}", ppm(stage.until_ppm)),
            what: html! { "about " (devices(part)) ", " (plan::pace(stage.pace)) },
            devices: Some(part),
            gate: &stage.gate,
        }
    });
    trial.into_iter().chain(stages).collect()
}

fn standing(campaign: &Campaign, stage: u16) -> Standing {
    use CampaignState as S;
    let at = campaign.progress.stage;
    let has_begun = campaign.progress.since.0 != 0;
    match campaign.state {
        S::Draft | S::Preparing | S::Scheduled => Standing::Later,
        S::Completed => Standing::Done,
        _ if !has_begun => Standing::Later,
        _ if stage < at => Standing::Done,
        _ if stage > at => Standing::Later,
        S::Paused | S::Stopped => Standing::Halted,
        S::Trial | S::Trialled | S::Rolling => Standing::Now,
    }
}

const fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Done => "done",
        Standing::Now => "now",
        Standing::Halted => "halted",
        Standing::Later => "later",
    }
}

fn mark(standing: Standing, number: u16) -> String {
    match standing {
        Standing::Done => "✓".to_owned(),
        Standing::Halted => "!".to_owned(),
        Standing::Now | Standing::Later if number == 0 => "T".to_owned(),
        Standing::Now | Standing::Later => number.to_string(),
    }
}

/// What keeps a stage from going on, in the order in which it can be cleared.
fn waits_for(
    viewer: &Viewer,
    campaign: &Campaign,
    line: &Line<'_>,
    seen: &Evidence,
    now: Timestamp,
) -> Markup {
    let progress = &campaign.progress;
    match campaign.state {
        CampaignState::Paused | CampaignState::Stopped => {
            return html! { (super::sentence(&campaign.reason)) };
        }
        CampaignState::Trialled => {
            return html! { "The gate has passed. A person who may promote campaigns must bring it to the fleet." };
        }
        _ => {}
    }
    if let Some(passed) = progress.passed {
        let until = passed.plus(line.gate.soak);
        return if now < until {
            html! { "The gate has passed; it soaks until " (time(viewer, until)) " and stops if it gets worse." }
        } else {
            html! { "The gate has passed and the soak is over; " (turns(viewer, campaign, line)) }
        };
    }
    let sample = seen.ended() + seen.silent;
    let next = sample_at(line.gate, progress.looks);
    let needed = sample_that_can_pass(line.gate);
    html! {
        @if sample < next && progress.looks == 0 {
            (count(sample)) " of " (devices(next)) " have ended; the first judgement falls at " (count(next)) "."
        } @else if sample < next {
            "At the last look it was neither good nor bad enough. The next one falls when " (devices(next)) " have ended; "
            (count(sample)) " have."
        } @else {
            "A look is due."
        }
        @if line.devices.is_some_and(|all| all < needed) {
            @if line.gate.small_group == Some(SmallGroup::ByShare) {
                " It is too small for a sample: once all its devices have ended, it is judged by what they have shown."
            } @else {
                " " strong { "It is too small for its gate: " } "even without a failure that takes " (devices(needed)) ". A person must accept what was seen."
            }
        } @else if needed > next {
            " Without any failure it can pass at " (count(needed)) "."
        }
        " " (turns(viewer, campaign, line))
    }
}

/// How turns still come in the present stage.
fn turns(viewer: &Viewer, campaign: &Campaign, line: &Line<'_>) -> Markup {
    let stage = usize::from(line.number).checked_sub(1).and_then(|index| campaign.plan.stages.get(index));
    match stage.map(|stage| stage.pace) {
        Some(Pace::Linear { over }) => {
            html! { "Turns come evenly until " (time(viewer, campaign.progress.since.plus(over))) "." }
        }
        Some(Pace::Exponential { .. }) => html! { "Turns come faster as more devices succeed." },
        Some(Pace::AtOnce) => html! { "All its devices may have it when they check in." },
        None => html! { "The trial group may have it when its devices check in." },
    }
}

/// What a gate has seen, beside what it allows.
fn gate_values(gate: &Gate, campaign: &Campaign, standing: Standing, seen: &Evidence) -> Markup {
    let (ended, failed) = (seen.ended(), seen.failed_in_all());
    let sample = ended + seen.silent;
    let looks = if standing == Standing::Done { None } else { Some(campaign.progress.looks) };
    html! {
        dl.gate {
            div {
                dt { "Sample" }
                @if let Some(next) = looks.map(|looks| sample_at(gate, looks)) {
                    dd { b { (count(sample)) } " of " (count(next)) " for the next look" }
                    (bar(&[("working", sample)], next, ""))
                } @else {
                    dd { b { (count(sample)) } " ended" }
                }
            }
            div {
                dt { "Confirmed" }
                dd { b { (count(seen.confirmed)) } " (" (share(seen.confirmed, sample)) ")" }
                (bar(&[("confirmed", seen.confirmed)], sample, ""))
            }
            div {
                dt { "Failed" }
                dd { b { (count(failed)) } " (" (share(failed, ended)) "); good up to " (ppm(gate.failures_good_ppm)) ", bad from " (ppm(gate.failures_bad_ppm)) }
                (bar(&[("failed", failed)], ended, ""))
            }
            div {
                dt { "Silent" }
                dd { b { (count(seen.silent)) } " (" (share(seen.silent, sample)) "); up to " (ppm(gate.silent_max_ppm)) }
                (bar(&[("other", seen.silent)], sample, ""))
            }
            @for budget in &gate.budgets {
                @let failed = seen.failed_by(budget.cause);
                div {
                    dt { "Failed in " (plan::cause_name(budget.cause)) }
                    dd { b { (count(failed)) } " (" (share(failed, ended)) "); up to " (ppm(budget.good_ppm)) }
                    (bar(&[("failed", failed)], ended, ""))
                }
            }
            div { dt { "At work" } dd { b { (count(seen.open)) } } }
            @if gate.soak.0 > 0 { div { dt { "Soak" } dd { (span(gate.soak)) } } }
        }
    }
}
