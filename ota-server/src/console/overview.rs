//! What is to be known of a product at a glance, and what of it needs somebody.

use std::collections::BTreeMap;

use maud::{Markup, html};
use ota_core::fleet::records::{Campaign, CampaignState, Product, ReleaseRecord, ReleaseStatus};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::ProductIdBuf;
use ota_core::time::{Millis, Timestamp};

use super::campaign::wanted_words;
use super::charts::{SERIES, swatch};
use super::home::Counts;
use super::parts::{self, Tone, badge, campaign_path, count, product_path, release_path, share};
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::rules::campaign::valid_approvals;
use crate::rules::permission::Action;
use crate::server::{FleetLine, ProgressReport, Server};

const HOUR_MS: u64 = 3_600_000;
/// A release that expires sooner than this needs somebody.
const EXPIRES_SOON: Millis = Millis(30 * 24 * HOUR_MS);
/// Revisions of a file that are told apart; all others are one.
const REVISIONS_MAX: usize = 6;

/// What revisions are called that no release has.
pub(super) const NEVER_RELEASED: &str = "never released";

/// How long ago devices were heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hearing {
    /// Within a day.
    pub(super) day: u64,
    /// Within a week, but not within a day.
    pub(super) week: u64,
    /// Longer ago.
    pub(super) older: u64,
    /// Registered, and never heard.
    pub(super) never: u64,
}

impl Hearing {
    fn new(hours: &[(u32, u64)], registered: u64, now: Timestamp) -> Self {
        let hour = u32::try_from(now.0 / HOUR_MS).unwrap_or(u32::MAX);
        let mut hearing = Self::default();
        for (heard, devices) in hours {
            match hour.saturating_sub(*heard) {
                0..=24 => hearing.day += devices,
                25..=168 => hearing.week += devices,
                _ => hearing.older += devices,
            }
        }
        hearing.never = registered.saturating_sub(hearing.day + hearing.week + hearing.older);
        hearing
    }

    pub(super) const fn all(&self) -> u64 {
        self.day + self.week + self.older + self.never
    }

    pub(super) const fn silent(&self) -> u64 {
        self.week + self.older
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            day: self.day + other.day,
            week: self.week + other.week,
            older: self.older + other.older,
            never: self.never + other.never,
        }
    }
}

/// What is to be known of a product.
pub(super) struct Overview {
    pub(super) id: ProductIdBuf,
    pub(super) record: Product,
    pub(super) hearing: Hearing,
    pub(super) installed: Vec<FleetLine>,
    pub(super) campaigns: Vec<(CampaignId, Campaign)>,
    pub(super) releases: Vec<(ReleaseId, ReleaseRecord)>,
}

/// Something that waits for a person.
pub(super) struct Attention {
    tone: Tone,
    word: &'static str,
    text: Markup,
    address: String,
    action: &'static str,
}

impl Overview {
    /// Loads it as far as somebody may see it.
    pub(super) async fn load(
        server: &Server,
        viewer: &Viewer,
        id: ProductIdBuf,
        record: Product,
    ) -> Result<Self, Trouble> {
        let by = &viewer.by;
        let hours = server.heard(by, &id).await?;
        let hearing = Hearing::new(&hours, record.next_ordinal, server.time());
        let installed = server.fleet(by, &id).await?;
        let campaigns = server.campaigns(by, &id).await?;
        let releases = server.releases(by, &id).await?;
        Ok(Self { id, record, hearing, installed, campaigns, releases })
    }

    /// The campaigns that are neither drafts nor over.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &(CampaignId, Campaign)> {
        use CampaignState as S;
        self.campaigns
            .iter()
            .filter(|(_, campaign)| !matches!(campaign.state, S::Draft | S::Completed | S::Stopped))
    }

    /// How many approvals a draft has and needs.
    pub(super) fn approvals(&self, campaign: &Campaign) -> (usize, usize) {
        let needed = usize::from(campaign.plan.approvals.max(self.record.approvals_min));
        (valid_approvals(campaign).count(), needed)
    }

    /// What of its records waits for a person.
    pub(super) fn attention(&self, viewer: &Viewer, now: Timestamp) -> Vec<Attention> {
        let mut all: Vec<Attention> = self
            .campaigns
            .iter()
            .filter_map(|(id, campaign)| self.of_campaign(viewer, *id, campaign))
            .collect();
        all.extend(self.releases.iter().filter_map(|(id, release)| self.of_release(id, release, now)));
        if self.record.root.0 == 0 {
            all.push(Attention {
                tone: Tone::Warn,
                word: "keys",
                text: html! { (self.record.title) " has no root of trust yet: nothing can be signed for it." },
                address: product_path(&self.id),
                action: "Look",
            });
        }
        let (silent, heard) = (self.hearing.silent(), self.hearing.all() - self.hearing.never);
        if silent * 5 > heard && silent > 0 {
            all.push(Attention {
                tone: Tone::Warn,
                word: "silent",
                text: html! { (parts::devices(silent)) " of " (self.record.title) " (" (share(silent, heard)) ") have been silent for more than a day." },
                address: format!("{}/devices?heard=silent", product_path(&self.id)),
                action: "Look",
            });
        }
        all
    }

    fn of_campaign(&self, viewer: &Viewer, id: CampaignId, campaign: &Campaign) -> Option<Attention> {
        let title = html! { strong { (campaign.title) } " of " (self.record.title) };
        let (tone, word, text, action) = match campaign.state {
            CampaignState::Paused => {
                (Tone::Bad, "paused", html! { (title) ": " (campaign.reason) "." }, "Decide")
            }
            CampaignState::Trialled => (
                Tone::Warn,
                "promote",
                html! { (title) ": the trial has passed; a person must bring it to the fleet." },
                "Promote",
            ),
            CampaignState::Draft => {
                let (found, needed) = self.approvals(campaign);
                if found >= needed {
                    (
                        Tone::Busy,
                        "start",
                        html! { (title) ": has its approvals and can be started." },
                        "Start",
                    )
                } else {
                    let is_for_me =
                        *campaign.author != *viewer.name() && viewer.may(Action::ApproveCampaign, &self.id);
                    let action = if is_for_me { "Review" } else { "Look" };
                    (
                        Tone::Busy,
                        "approve",
                        html! { (title) ": " (found) " of " (needed) " approvals." },
                        action,
                    )
                }
            }
            CampaignState::Completed | CampaignState::Stopped => return None,
            _ => {
                let amendment = campaign.progress.amendment.as_ref()?;
                let text =
                    html! { (title) ": " (amendment.by) " wants " (wanted_words(&amendment.what)) "." };
                (Tone::Warn, "consent", text, "Look")
            }
        };
        Some(Attention { tone, word, text, address: campaign_path(id), action })
    }

    fn of_release(&self, id: &ReleaseId, release: &ReleaseRecord, now: Timestamp) -> Option<Attention> {
        let name = html! { strong { (release.package) " " (release.version) } " of " (self.record.title) };
        let is_rolling = self.under_way().any(|(_, campaign)| campaign.release == *id);
        let (tone, word, text) = match release.status {
            ReleaseStatus::Fixed => (Tone::Busy, "sign", html! { (name) " waits for signatures." }),
            ReleaseStatus::Signed if is_rolling && release.expires < now.plus(EXPIRES_SOON) => {
                (Tone::Warn, "expires", html! { (name) " is being rolled out and expires soon." })
            }
            _ => return None,
        };
        Some(Attention { tone, word, text, address: release_path(id), action: "Look" })
    }

    /// For each file, the revisions that devices have: most devices first, the rest as one.
    pub(super) fn versions(&self) -> BTreeMap<&str, Vec<(String, u64)>> {
        let mut files: BTreeMap<&str, Vec<(String, u64)>> = BTreeMap::new();
        for line in &self.installed {
            let name = line.revision.as_deref().unwrap_or(NEVER_RELEASED).to_owned();
            files.entry(&line.file).or_default().push((name, line.devices));
        }
        for revisions in files.values_mut() {
            revisions.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
            if revisions.len() > REVISIONS_MAX + 1 {
                let others = revisions.split_off(REVISIONS_MAX);
                let sum = others.iter().map(|(_, devices)| devices).sum();
                revisions.push((format!("{} others", others.len()), sum));
            }
        }
        files
    }
}

impl Attention {
    /// What is more urgent comes first.
    pub(super) const fn urgency(&self) -> u8 {
        match self.tone {
            Tone::Bad => 0,
            Tone::Warn => 1,
            _ => 2,
        }
    }
}

/// A campaign whose gate can never pass by itself, once it has seen something and nobody is at work.
pub(super) fn stuck(id: CampaignId, product: &str, report: &ProgressReport) -> Option<Attention> {
    let gate = report.gate.filter(|gate| gate.is_stuck && gate.shown > 0)?;
    // A change that somebody has asked for is listed already.
    if report.campaign.progress.amendment.is_some() || Counts::of(report).working > 0 {
        return None;
    }
    let text = html! {
        strong { (report.campaign.title) } " of " (product) ": its stage is too small for its gate. "
        (parts::devices(gate.shown)) " ended, nobody is at work; a person must accept what was seen."
    };
    Some(Attention { tone: Tone::Warn, word: "decide", text, address: campaign_path(id), action: "Decide" })
}

/// A list of what waits for somebody.
pub(super) fn attention_list(all: &[Attention]) -> Markup {
    html! {
        @if all.is_empty() {
            p.quiet { "Nothing waits for anybody." }
        } @else {
            ul.attention {
                @for one in all {
                    li { span { (badge(one.tone, one.word)) } span { (one.text) } a href=(one.address) { (one.action) } }
                }
            }
        }
    }
}

/// The revisions of one file as a bar and its legend.
pub(super) fn version_bar(revisions: &[(String, u64)]) -> Markup {
    let whole = revisions.iter().map(|(_, devices)| devices).sum::<u64>().max(1);
    let mut from = 0_u64;
    let mut rects = Vec::new();
    for (index, (_, devices)) in revisions.iter().enumerate() {
        let x = |at: u64| u128::from(at) * 10_000 / u128::from(whole);
        rects.push((hex(index), x(from), x(from + devices) - x(from)));
        from += devices;
    }
    html! {
        svg.bar.thick viewBox="0 0 10000 10" preserveAspectRatio="none" aria-hidden="true" {
            @for (fill, x, width) in rects { rect fill=(fill) x=(x) y="0" width=(width) height="10" {} }
        }
        ul.legend {
            @for (index, (revision, devices)) in revisions.iter().enumerate() {
                li { (swatch(SERIES[index.min(SERIES.len() - 1)])) span.mono { (revision) } " " b { (count(*devices)) } " (" (share(*devices, whole)) ")" }
            }
        }
    }
}

fn hex(index: usize) -> String {
    let plotters::style::RGBColor(red, green, blue) = SERIES[index.min(SERIES.len() - 1)];
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_silent_after_a_day() {
        let now = Timestamp(1000 * HOUR_MS + 5);
        let hearing = Hearing::new(&[(1000, 3), (976, 4), (975, 5), (832, 6), (831, 7)], 30, now);
        assert_eq!(hearing, Hearing { day: 7, week: 11, older: 7, never: 5 });
        assert_eq!((hearing.all(), hearing.silent()), (30, 18));
    }
}
