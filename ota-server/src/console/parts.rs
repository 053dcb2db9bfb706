//! Small pieces that pages are made of: times, counts, shares, badges, bars, addresses.

use core::fmt;

use jiff::tz::TimeZone;
use maud::{Markup, html};
use ota_core::fleet::records::{AttemptPhase, CampaignState, DeviceStatus, ReleaseStatus};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::viewer::Viewer;
use crate::http::body::{Time, cause_word, word};

/// What a colour stands for. The word beside it says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Busy,
    Warn,
    Bad,
}

impl Tone {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A word with a colour.
pub(super) fn badge(tone: Tone, text: impl fmt::Display) -> Markup {
    html! { span.badge.(tone.class()) { (text.to_string()) } }
}

/// The name of an enum's variant for people: `RolledBack` becomes "rolled back".
pub(super) fn words(value: &impl fmt::Debug) -> String {
    word(value).replace('_', " ")
}

pub(super) fn campaign_badge(state: CampaignState) -> Markup {
    use CampaignState as S;
    let tone = match state {
        S::Draft | S::Preparing | S::Scheduled => Tone::Plain,
        S::Trial | S::Rolling => Tone::Busy,
        S::Trialled | S::Paused => Tone::Warn,
        S::Completed => Tone::Good,
        S::Stopped => Tone::Bad,
    };
    let text = match state {
        S::Trial => "on trial".to_owned(),
        S::Trialled => "trial passed".to_owned(),
        S::Rolling => "rolling out".to_owned(),
        other => words(&other),
    };
    badge(tone, text)
}

pub(super) fn release_badge(status: ReleaseStatus) -> Markup {
    let (tone, text) = match status {
        ReleaseStatus::Draft => (Tone::Plain, "draft"),
        ReleaseStatus::Fixed => (Tone::Warn, "waits for signatures"),
        ReleaseStatus::Signed => (Tone::Good, "signed"),
        ReleaseStatus::Withdrawn => (Tone::Bad, "withdrawn"),
    };
    badge(tone, text)
}

pub(super) fn device_badge(status: DeviceStatus) -> Markup {
    let (tone, text) = match status {
        DeviceStatus::Active => (Tone::Good, "active"),
        DeviceStatus::Quarantined => (Tone::Warn, "quarantined"),
        DeviceStatus::Revoked => (Tone::Bad, "revoked"),
    };
    badge(tone, text)
}

pub(super) fn phase_badge(phase: AttemptPhase) -> Markup {
    use AttemptPhase as P;
    let tone = match phase {
        P::Confirmed => Tone::Good,
        P::Failed | P::RolledBack => Tone::Bad,
        P::Rejected | P::Silent | P::Waiting => Tone::Warn,
        P::Deferred | P::Cancelled => Tone::Plain,
        P::Offered | P::Downloading | P::Downloaded | P::Verified | P::Installed => Tone::Busy,
    };
    badge(tone, words(&phase))
}

/// Words that were put on something, each in a frame of its own that does not break.
pub(super) fn tags(words: &[impl fmt::Display]) -> Markup {
    html! { span.tags { @for word in words { span.tag { (word.to_string()) } " " } } }
}

/// A cause for people.
pub(super) fn cause(number: u16) -> String {
    cause_word(number).replace('_', " ")
}

/// A number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 device", "2,000 devices".
pub(super) fn devices(number: u64) -> String {
    if number == 1 { "1 device".to_owned() } else { format!("{} devices", count(number)) }
}

/// So many campaigns, in words.
pub(super) fn campaigns(number: u64) -> String {
    if number == 1 { "1 campaign".to_owned() } else { format!("{} campaigns", count(number)) }
}

/// A share of a whole in percent, never rounded to nothing or to all.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let permille = (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole);
    match permille {
        0 if part > 0 => "< 0.1 %".to_owned(),
        1000.. if part < whole => "> 99.9 %".to_owned(),
        1000.. => "100 %".to_owned(),
        0 => "0 %".to_owned(),
        permille => format!("{}.{} %", permille / 10, permille % 10),
    }
}

/// Parts per million as a share.
pub(super) fn ppm(ppm: u32) -> String {
    crate::http::body::Share(ppm).to_string().replace('%', " %")
}

/// A number of bytes for people.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return if number == 1 { "1 byte".to_owned() } else { format!("{number} bytes") };
    }
    let mut tenths = u128::from(number) * 10 / 1024;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A span in its two largest units: "3 d 4 h".
pub(super) fn span(span: Millis) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut left = span.0 / 1000;
    let mut text = String::new();
    let mut taken = 0;
    for (length, unit) in UNITS {
        let number = left / length;
        left %= length;
        if number > 0 {
            if taken > 0 {
                text.push(' ');
            }
            text.push_str(&format!("{number} {unit}"));
            taken += 1;
        }
        if taken == 2 || (taken == 1 && number == 0) {
            break;
        }
    }
    if text.is_empty() { "less than a second".to_owned() } else { text }
}

/// A moment in the viewer's zone; its title says it in UTC. The script writes it anew where the browser is in another zone.
pub(super) fn time(viewer: &Viewer, at: Timestamp) -> Markup {
    html! { time datetime=(Time(at)) title=(utc(at)) data-local { (local(viewer, at, "%-d %b %Y, %H:%M")) } }
}

/// A moment as a distance from now; its title says it exactly.
pub(super) fn ago(viewer: &Viewer, at: Timestamp, now: Timestamp) -> Markup {
    let text = if at > now {
        format!("in {}", coarse(at.since(now)))
    } else if now.since(at).0 < 60_000 {
        "just now".to_owned()
    } else {
        format!("{} ago", coarse(now.since(at)))
    };
    html! { time datetime=(Time(at)) title=(exact(viewer, at)) { (text) } }
}

/// A moment to the second, in the viewer's zone and in UTC.
fn exact(viewer: &Viewer, at: Timestamp) -> String {
    format!("{} in {}; {}", local(viewer, at, "%-d %b %Y, %H:%M:%S"), viewer.zone_name(), utc(at))
}

fn utc(at: Timestamp) -> String {
    written(at, TimeZone::UTC, "%-d %b %Y, %H:%M:%S UTC")
}

/// The largest unit of a span.
fn coarse(span: Millis) -> String {
    let seconds = span.0 / 1000;
    match seconds {
        0..60 => "a few seconds".to_owned(),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A moment in the viewer's zone, in a `strftime` format.
pub(super) fn local(viewer: &Viewer, at: Timestamp, format: &str) -> String {
    written(at, viewer.zone().clone(), format)
}

fn written(at: Timestamp, zone: TimeZone, format: &str) -> String {
    let moment = i64::try_from(at.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    match moment {
        Some(moment) => moment.to_zoned(zone).strftime(format).to_string(),
        // Later than the calendar goes: people mean "never" by it.
        None => "never".to_owned(),
    }
}

/// A part of a bar: its class in the stylesheet, and how much it is.
pub(super) type Portion = (&'static str, u64);

/// A bar of portions of a whole; what says the same in words stands beside it.
pub(super) fn bar(portions: &[Portion], whole: u64, class: &str) -> Markup {
    let whole = whole.max(1);
    let x = |part: u64| u128::from(part.min(whole)) * 10_000 / u128::from(whole);
    let mut from = 0_u64;
    let mut rects = Vec::new();
    for (class, part) in portions {
        let until = from.saturating_add(*part).min(whole);
        rects.push((*class, x(from), x(until) - x(from)));
        from = until;
    }
    html! {
        svg.bar.(class) viewBox="0 0 10000 10" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, x, width) in rects { rect.(class) x=(x) y="0" width=(width) height="10" {} }
        }
    }
}

/// What there is to see where there is nothing.
pub(super) fn empty(title: &str, text: &str, action: Option<(&str, &str)>) -> Markup {
    html! {
        div.empty {
            strong { (title) }
            p { (text) }
            @if let Some((address, text)) = action { a.button.first href=(address) { (text) } }
        }
    }
}

/// One segment of a path: ids may hold slashes and blanks.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

pub(super) fn product_path(product: &ProductIdBuf) -> String {
    format!("/products/{}", segment(product.as_str()))
}

pub(super) fn device_path(device: &DeviceIdBuf) -> String {
    format!("/devices/{}", segment(device.as_str()))
}

pub(super) fn campaign_path(campaign: CampaignId) -> String {
    format!("/campaigns/{campaign}")
}

pub(super) fn release_path(release: &ReleaseId) -> String {
    format!("/releases/{release}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_rounded_to_nothing_or_to_all() {
        assert_eq!(share(0, 10), "0 %");
        assert_eq!(share(1, 1_000_000), "< 0.1 %");
        assert_eq!(share(999_999, 1_000_000), "> 99.9 %");
        assert_eq!(share(1, 8), "12.5 %");
        assert_eq!(share(7, 7), "100 %");
        assert_eq!(share(0, 0), "–");
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1234), "1,234");
        assert_eq!(count(10_000_000), "10,000,000");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(span(Millis(90_061_000)), "1 d 1 h");
        assert_eq!(span(Millis(3_600_000)), "1 h");
        assert_eq!(span(Millis(0)), "less than a second");
    }

    #[test]
    fn whatever_an_id_holds_stays_one_segment() {
        assert_eq!(segment("a/b c?d=é"), "a%2Fb%20c%3Fd%3D%C3%A9");
    }

    #[test]
    fn a_bar_never_leaves_its_box() {
        let text = bar(&[("confirmed", 70), ("failed", 50)], 100, "").into_string();
        assert!(text.contains(r#"x="7000" y="0" width="3000""#), "{text}");
    }
}
