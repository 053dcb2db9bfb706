//! Targets and plans in words: what people approve, read and compare.

use maud::{Markup, html};
use ota_core::fleet::records::{Cause, Gate, OnFailure, Pace, Plan, Promotion, Schedule, Stage, Target};
use ota_core::time::Millis;

use crate::console::parts::{bytes, count, devices, ppm, release_path, span, time};
use crate::console::viewer::Viewer;

/// Which devices, in words that go on a sentence.
pub(crate) fn target(target: &Target) -> Markup {
    match target {
        Target::Everyone => html! { "all devices of the product" },
        Target::OrdinalBelow { ordinal } => {
            html! { "the first " (count(*ordinal)) " devices that were registered" }
        }
        Target::Filter { expression } => {
            html! { "devices that fulfil " code { (expression) } " when they check in" }
        }
        Target::Snapshot { expression, bitmap: Some(_), count: found } => {
            html! { (devices(*found)) " that fulfilled " code { (expression) } " when it was prepared" }
        }
        Target::Snapshot { expression, .. } => {
            html! { "the devices that fulfil " code { (expression) } " when it is prepared" }
        }
        Target::Devices { ids } => html! {
            (devices(u64::try_from(ids.len()).unwrap_or(u64::MAX))) ": "
            @for (index, id) in ids.iter().take(12).enumerate() { @if index > 0 { ", " } code { (id) } }
            @if ids.len() > 12 { ", and " (ids.len() - 12) " more" }
        },
    }
}

/// How fast turns come, in words.
pub(crate) fn pace(pace: Pace) -> String {
    match pace {
        Pace::AtOnce => "all at once".to_owned(),
        Pace::Linear { over } => format!("evenly over {}", span(over)),
        Pace::Exponential { base_per_minute, factor_percent, every_confirmed } => format!(
            "{} a minute at first, {}% of that after every {} more that have confirmed",
            devices(u64::from(base_per_minute)),
            factor_percent,
            devices(u64::from(every_confirmed))
        ),
    }
}

pub(crate) const fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Download => "download",
        Cause::Verification => "verification",
        Cause::Install => "installation",
        Cause::Boot => "boot",
    }
}

/// What a gate asks for, in one sentence.
pub(crate) fn gate(gate: &Gate) -> Markup {
    html! {
        "Judged from " (devices(u64::from(gate.sample_min))) " on: "
        (ppm(gate.failures_good_ppm)) " failures are good, " (ppm(gate.failures_bad_ppm)) " are bad; at most "
        (ppm(gate.silent_max_ppm)) " silent"
        @for budget in &gate.budgets { "; " (cause_name(budget.cause)) " failures up to " (ppm(budget.good_ppm)) }
        @if gate.soak.0 > 0 { "; then " (span(gate.soak)) " of soaking" }
        @if gate.attested_only { "; only authenticated evidence counts" }
        "."
    }
}

fn stage(number: usize, from_ppm: u32, stage: &Stage) -> Markup {
    html! {
        dt { "Stage " (number) }
        dd {
            @if from_ppm > 0 { "from " (ppm(from_ppm)) " " } "up to " (ppm(stage.until_ppm)) " of the fleet, " (pace(stage.pace)) ". "
            span.quiet { (gate(&stage.gate)) }
        }
    }
}

fn schedule(viewer: &Viewer, schedule: &Schedule) -> Markup {
    let zone = if schedule.zone.is_empty() { "each device's own zone" } else { &schedule.zone };
    html! {
        @if schedule.start.0 == 0 { "at once" } @else { "from " (time(viewer, schedule.start)) }
        @if let Some(end) = schedule.end { ", until " (time(viewer, end)) }
        @for window in &schedule.windows {
            ", daily from " (clock(window.from_minute)) " to " (clock(window.until_minute)) " in " (zone)
        }
        @for range in &schedule.blackouts {
            ", not from " (date(range.first)) " to " (date(range.last))
        }
    }
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn date(date: ota_core::fleet::records::Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
}

fn limit(number: u64, text: impl FnOnce(u64) -> String) -> Option<String> {
    (number > 0).then(|| text(number))
}

/// The whole plan as a list of facts.
pub(crate) fn facts(viewer: &Viewer, plan: &Plan) -> Markup {
    let limits = [
        limit(u64::from(plan.limits.devices_per_minute), |n| format!("{} offered a minute", devices(n))),
        limit(u64::from(plan.limits.downloads_max), |n| format!("{} downloading at once", devices(n))),
        limit(u64::from(plan.limits.downloads_per_site_max), |n| {
            format!("{} downloading at once in one site", devices(n))
        }),
        limit(plan.limits.bytes_per_second, |n| format!("{} a second", bytes(n))),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    let attempts = plan.attempts;
    let deadline = |text: &str, within: Millis| format!("{text} within {}", span(within));
    html! {
        dl.facts {
            @if let Some(trial) = &plan.trial {
                dt { "Trial" }
                dd {
                    span.sentence { (target(&trial.who)) ". " } span.quiet { (gate(&trial.gate)) } " "
                    @match trial.promotion {
                        Promotion::ByPerson => { "Then a person must promote it." }
                        Promotion::ByGate => { "Then it goes on by itself." }
                    }
                }
            }
            @for (index, one) in plan.stages.iter().enumerate() {
                (stage(index + 1, index.checked_sub(1).map_or(0, |before| plan.stages[before].until_ppm), one))
            }
            dt { "If a gate fails" }
            dd {
                @match plan.on_failure {
                    OnFailure::Pause => { "It pauses until a person decides." }
                    OnFailure::Stop => { "It stops; devices keep what they have." }
                    OnFailure::Revert { to } => { "It stops, and devices go back to " a.mono href=(release_path(&to)) { (to.to_string().chars().take(12).collect::<String>()) } "." }
                }
            }
            dt { "When" } dd { (schedule(viewer, &plan.schedule)) }
            dt { "Limits" } dd { @if limits.is_empty() { "none" } @else { (limits.join(", ")) } }
            dt { "One device" }
            dd {
                (deadline("begins", attempts.begin_within)) ", " (deadline("downloads", attempts.download_within)) ", "
                (deadline("installs", attempts.install_within)) ", " (deadline("confirms", attempts.confirm_within)) "; "
                @if attempts.retries_max == 0 { "does not try again" }
                @else { "tries again up to " (attempts.retries_max) " times, first after " (span(attempts.retry_after)) }
            }
            dt { "Approvals" } dd { "at least " (plan.approvals) ", the author not counted" }
            @if plan.priority > 0 { dt { "Priority" } dd { (plan.priority) } }
        }
    }
}
