//! What decisions are made from: products, releases and campaigns as one consistent picture.
//!
//! A view is made from records and never changed; whoever decided from it commits with the versions it was made
//! from, so that a decision from an old picture does not count.

use std::collections::HashMap;
use std::sync::Arc;

use ota_core::fleet::Version;
use ota_core::fleet::records::{
    Campaign, CampaignState, Device, Installed, Product, ReleaseRecord, ReleaseStatus, RequirementRecord,
    Target,
};
use ota_core::number::{CampaignId, ReleaseId, RootVersion, SecurityEpoch};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Timestamp;
use roaring::RoaringTreemap;

use super::filter::Filter;
use super::rank::BucketOrder;

/// The interned names of a product, both ways. Number 0 is no name.
#[derive(Debug, Clone, Default)]
pub struct Names {
    numbers: HashMap<Box<str>, u32>,
    texts: HashMap<u32, Box<str>>,
}

impl Names {
    /// Names and their numbers.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = (u32, Box<str>)>) -> Self {
        let mut all = Self::default();
        for (number, text) in names {
            all.numbers.insert(text.clone(), number);
            all.texts.insert(number, text);
        }
        all
    }

    /// The number of a text, or 0 if it has none.
    #[must_use]
    pub fn number(&self, text: &str) -> u32 {
        self.numbers.get(text).copied().unwrap_or(0)
    }

    /// The text with a number.
    #[must_use]
    pub fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(&number).map(|text| &**text)
    }
}

/// A product with everything that concerns its devices now.
#[derive(Debug, Clone)]
pub struct ProductView {
    /// Its id.
    pub id: ProductIdBuf,
    /// Its record.
    pub record: Product,
    /// The version of its record.
    pub version: Version,
    /// Its interned names.
    pub names: Names,
    /// Its signed and withdrawn releases.
    pub releases: HashMap<ReleaseId, Arc<ReleaseView>>,
    /// Its campaigns that are not drafts and have not been stopped, in the order in which they are considered.
    pub campaigns: Vec<Arc<CampaignView>>,
    /// Its roots: version, length of body and envelope.
    pub roots: Vec<RootView>,
}

/// A root as far as hints need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootView {
    /// Its version.
    pub version: RootVersion,
    /// Length of its body.
    pub body: u32,
    /// Length of its envelope.
    pub envelope: u32,
}

impl ProductView {
    /// Whether nothing that decisions depend on has changed from one view to the other.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let campaigns = |view: &Self| view.campaigns.iter().map(|it| (it.id, it.version)).collect::<Vec<_>>();
        let is_known = |id: &ReleaseId, release: &ReleaseView| {
            other.releases.get(id).is_some_and(|known| known.record.status == release.record.status)
        };
        self.version == other.version
            && self.roots == other.roots
            && campaigns(self) == campaigns(other)
            && self.releases.len() == other.releases.len()
            && self.releases.iter().all(|(id, release)| is_known(id, release))
    }

    /// A release of the product.
    #[must_use]
    pub fn release(&self, id: &ReleaseId) -> Option<&Arc<ReleaseView>> {
        self.releases.get(id)
    }

    /// A campaign that is under way.
    #[must_use]
    pub fn campaign(&self, id: CampaignId) -> Option<&Arc<CampaignView>> {
        self.campaigns.iter().find(|campaign| campaign.id == id)
    }
}

/// A release, with its names as numbers.
#[derive(Debug, Clone)]
pub struct ReleaseView {
    /// Its identity.
    pub id: ReleaseId,
    /// Its record.
    pub record: ReleaseRecord,
    /// Its files and their revisions.
    pub files: Vec<Installed>,
    /// The hardware revisions it runs on.
    pub hardware: Vec<u32>,
    /// For each file that is required: the revisions that will do.
    pub required: Vec<(u32, Vec<u32>)>,
    /// The epoch that is required.
    pub epoch_min: SecurityEpoch,
}

impl ReleaseView {
    /// Turns a record's names into numbers; all of them have been interned when the body was fixed.
    #[must_use]
    pub fn new(id: ReleaseId, record: ReleaseRecord, names: &Names) -> Self {
        let files = record
            .files
            .iter()
            .map(|file| Installed {
                file: names.number(file.name.as_str()),
                revision: names.number(file.revision.as_str()),
            })
            .collect();
        let hardware = record.hardware.iter().map(|revision| names.number(revision.as_str())).collect();
        let mut required: Vec<(u32, Vec<u32>)> = Vec::new();
        let mut epoch_min = SecurityEpoch(0);
        for requirement in &record.requirements {
            match requirement {
                RequirementRecord::FileRevision { file, revision } => {
                    let (file, revision) = (names.number(file.as_str()), names.number(revision.as_str()));
                    match required.iter_mut().find(|(known, _)| *known == file) {
                        Some((_, revisions)) => revisions.push(revision),
                        None => required.push((file, vec![revision])),
                    }
                }
                RequirementRecord::EpochAtLeast { epoch } => epoch_min = epoch_min.max(*epoch),
            }
        }
        Self { id, record, files, hardware, required, epoch_min }
    }

    /// Whether a device has all of it.
    #[must_use]
    pub fn is_installed(&self, installed: &[Installed]) -> bool {
        self.files.iter().all(|file| file.revision != 0 && installed.contains(file))
    }

    /// Whether it may be offered at all.
    #[must_use]
    pub fn is_offerable(&self, now: Timestamp) -> bool {
        self.record.status == ReleaseStatus::Signed && now < self.record.expires
    }
}

/// A campaign with its target ready to be asked.
#[derive(Debug, Clone)]
pub struct CampaignView {
    /// Its id.
    pub id: CampaignId,
    /// The version of its record, expected by every commit of a decision from it.
    pub version: Version,
    /// Its record.
    pub record: Campaign,
    /// In which order it opens buckets.
    pub order: BucketOrder,
    /// Its target.
    pub target: TargetView,
    /// Its trial group.
    pub trial: Option<TargetView>,
}

impl CampaignView {
    /// A campaign and its target. `bitmap` is the content of its snapshot, if it has one.
    #[must_use]
    pub fn new(
        id: CampaignId,
        version: Version,
        record: Campaign,
        bitmap: Option<Arc<RoaringTreemap>>,
    ) -> Self {
        let target = TargetView::new(&record.target, bitmap.as_ref());
        let trial = record.plan.trial.as_ref().map(|trial| TargetView::new(&trial.who, None));
        Self { id, version, order: BucketOrder::of(id), target, trial, record }
    }

    /// Whether it makes offers now.
    #[must_use]
    pub const fn is_offering(&self) -> bool {
        matches!(
            self.record.state,
            CampaignState::Trial
                | CampaignState::Trialled
                | CampaignState::Rolling
                | CampaignState::Completed
        )
    }
}

/// A target that can be asked whether a device belongs to it.
#[derive(Debug, Clone)]
pub enum TargetView {
    /// Every device.
    Everyone,
    /// Those with a lower ordinal.
    OrdinalBelow(u64),
    /// Those that fulfil it now.
    Filter(Filter),
    /// Those in the bitmap of ordinals.
    Ordinals(Arc<RoaringTreemap>),
    /// These.
    Devices(Vec<DeviceIdBuf>),
    /// Nobody: it is not ready, or its expression cannot be read any more.
    Nobody,
}

impl TargetView {
    fn new(target: &Target, bitmap: Option<&Arc<RoaringTreemap>>) -> Self {
        match target {
            Target::Everyone => Self::Everyone,
            Target::OrdinalBelow { ordinal } => Self::OrdinalBelow(*ordinal),
            Target::Filter { expression } => Filter::parse(expression).map_or(Self::Nobody, Self::Filter),
            Target::Snapshot { .. } => {
                bitmap.map_or(Self::Nobody, |bitmap| Self::Ordinals(Arc::clone(bitmap)))
            }
            Target::Devices { ids } => Self::Devices(ids.clone()),
        }
    }

    /// Whether a device belongs to it.
    #[must_use]
    pub fn holds(&self, id: &DeviceIdBuf, device: &Device, names: &Names, now: Timestamp) -> bool {
        match self {
            Self::Everyone => true,
            Self::OrdinalBelow(limit) => device.ordinal < *limit,
            Self::Filter(filter) => filter.holds(id, device, names, now),
            Self::Ordinals(ordinals) => ordinals.contains(device.ordinal),
            Self::Devices(ids) => ids.binary_search(id).is_ok(),
            Self::Nobody => false,
        }
    }
}

/// Puts campaigns into the order in which a device considers them: priority, then security, then age.
pub fn sort(campaigns: &mut [Arc<CampaignView>], releases: &HashMap<ReleaseId, Arc<ReleaseView>>) {
    campaigns.sort_by_key(|campaign| {
        let is_security =
            releases.get(&campaign.record.release).is_some_and(|release| release.record.security);
        (
            core::cmp::Reverse((campaign.record.plan.priority, is_security)),
            campaign.record.created,
            campaign.id,
        )
    });
}
