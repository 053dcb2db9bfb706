//! Counters: what overviews are made of, changed in the commit of what they count.

use crate::number::CampaignId;
use crate::text::ProductIdBuf;

/// Which counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CounterKey {
    /// Devices of a product.
    Devices {
        /// The product.
        product: ProductIdBuf,
    },
    /// Devices of a product that have this revision of this file; the numbers are interned names, 0 is "unknown".
    Installed {
        /// The product.
        product: ProductIdBuf,
        /// The file's name.
        file: u32,
        /// Its revision.
        revision: u32,
    },
    /// Devices of a product that were last heard in this hour since 1970.
    Heard {
        /// The product.
        product: ProductIdBuf,
        /// The hour.
        hour: u32,
    },
    /// Attempts of a campaign, by where they stand.
    Attempts {
        /// The campaign.
        campaign: CampaignId,
        /// The stage in which the device's turn came; 0 is the trial group.
        stage: u16,
        /// The phase.
        phase: u8,
        /// The cause of a failure, or 0.
        cause: u16,
    },
}

/// A group of counters that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CounterPrefix {
    /// The devices of each product.
    Devices,
    /// The installed revisions of a product.
    Installed(ProductIdBuf),
    /// The last-heard histogram of a product.
    Heard(ProductIdBuf),
    /// The attempts of a campaign.
    Attempts(CampaignId),
}

impl CounterPrefix {
    /// Whether the counter belongs to the group.
    #[must_use]
    pub fn covers(&self, key: &CounterKey) -> bool {
        match (self, key) {
            (Self::Devices, CounterKey::Devices { .. }) => true,
            (Self::Installed(wanted), CounterKey::Installed { product, .. })
            | (Self::Heard(wanted), CounterKey::Heard { product, .. }) => wanted == product,
            (Self::Attempts(wanted), CounterKey::Attempts { campaign, .. }) => wanted == campaign,
            _ => false,
        }
    }
}

/// A change of a counter. Changes of one commit to the same key become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterChange {
    /// Which one.
    pub key: CounterKey,
    /// By how much.
    pub by: i64,
}
