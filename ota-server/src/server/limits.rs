//! The limits of campaigns at the server: what the store knows of them is read before anybody is admitted, and bytes
//! of a shared bandwidth are withdrawn a little at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use ota_core::fleet::records::{Limits, Setting};
use ota_core::fleet::{Key, Outcome, Record, StoreError, Stored, Version};
use ota_core::number::CampaignId;
use ota_core::time::Millis;

use super::Server;
use crate::delivery::budget::{Flow, Found, Turnstile};
use crate::engine::{Changes, SharedLimits};
use crate::rules::view::ProductView;

/// A server withdraws this part of what flows in a second at once, or more if one request needs more.
const PARTS: u64 = 8;
/// How often it is tried again when another server was faster.
const WITHDRAWALS_MAX: u32 = 4;
/// How long a device waits that was out of luck each time.
const WITHDRAWAL_RETRY: Millis = Millis(100);

#[async_trait]
impl SharedLimits for Server {
    async fn know(&self, products: &[Arc<ProductView>]) -> Result<(), StoreError> {
        self.know_budgets(products).await
    }

    fn close(&self, campaigns: &BTreeSet<CampaignId>, unit: &mut Changes) {
        let budgets = self.budgets();
        for campaign in campaigns {
            if let Some((before, after)) = budgets.turnstile(*campaign) {
                unit.write(
                    turnstile_of(*campaign),
                    before.version,
                    setting(before.offers),
                    setting(after.offers),
                );
            }
        }
    }

    fn passed(&self, campaigns: &BTreeSet<CampaignId>) {
        let mut budgets = self.budgets();
        for campaign in campaigns {
            if let Some((_, after)) = budgets.turnstile(*campaign) {
                budgets.passed(*campaign, after);
            }
        }
    }
}

/// The record that every admission to a campaign writes whose limits several servers share.
fn turnstile_of(campaign: CampaignId) -> Key {
    Key::Setting(format!("turnstile {campaign}").into())
}

fn setting(value: Option<Box<str>>) -> Option<Record> {
    value.map(|value| Record::Setting(Setting { value }))
}

impl Server {
    /// Makes sure that the limits of these products' campaigns are known, and what the store knows of them.
    async fn know_budgets(&self, views: &[Arc<ProductView>]) -> Result<(), StoreError> {
        let now = self.now();
        let mut unknown: Vec<(CampaignId, Limits)> = Vec::new();
        {
            let budgets = self.budgets();
            for campaign in views.iter().flat_map(|view| &view.campaigns) {
                let limits = campaign.record.plan.limits;
                if !budgets.knows(campaign.id, &limits, now) {
                    unknown.push((campaign.id, limits));
                }
            }
        }
        for (campaign, limits) in unknown {
            let found = self.limits_of(campaign, &limits).await?;
            self.budgets().know(campaign, &limits, found, now);
        }
        Ok(())
    }

    /// What the store knows of a campaign's limits: the turnstile first, so that whoever was admitted while the places
    /// were read is noticed.
    async fn limits_of(&self, campaign: CampaignId, limits: &Limits) -> Result<Found, StoreError> {
        let counts = limits.downloads_max > 0 || limits.downloads_per_site_max > 0;
        let turnstile = match self.has_neighbours() && (counts || limits.devices_per_minute > 0) {
            false => None,
            true => Some(match self.load_one(&turnstile_of(campaign)).await? {
                Some(Stored { version, record: Record::Setting(state) }) => {
                    Turnstile { version, offers: Some(state.value) }
                }
                _ => Turnstile::default(),
            }),
        };
        let places = if counts { self.places_of(campaign).await? } else { Vec::new() };
        Ok(Found { turnstile, places })
    }

    /// Takes bytes from a campaign's bandwidth.
    ///
    /// # Errors
    /// The time to wait.
    pub(super) async fn take_bytes(&self, campaign: CampaignId, bytes: u64) -> Result<(), Millis> {
        if !self.has_neighbours() {
            return self.budgets().take_bytes(campaign, bytes, self.now());
        }
        let used = self.budgets().use_credit(campaign, bytes, self.now());
        let Err(bandwidth) = used else { return Ok(()) };
        for _ in 0..WITHDRAWALS_MAX {
            match self.withdraw(campaign, bandwidth, bytes).await {
                Ok(Some(())) => return Ok(()),
                Ok(None) => {}
                Err(wait) => return Err(wait),
            }
        }
        Err(WITHDRAWAL_RETRY)
    }

    /// Withdraws these bytes, and some for the next requests; `None` if another server was faster.
    async fn withdraw(&self, campaign: CampaignId, bandwidth: u64, bytes: u64) -> Result<Option<()>, Millis> {
        let failed = |_| WITHDRAWAL_RETRY;
        let key = Key::Setting(format!("bandwidth {campaign}").into());
        let stored = self.load_one(&key).await.map_err(failed)?;
        let now = self.now();
        let (version, before, mut flow) = match stored {
            Some(Stored { version, record: Record::Setting(state) }) => {
                let flow = Flow::restored(bandwidth, Millis(1_000), &state.value, now);
                (version, Some(Record::Setting(state)), flow)
            }
            _ => (Version(0), None, Flow::new(bandwidth, Millis(1_000), now)),
        };
        let more = bandwidth / PARTS;
        flow.take(bytes, now)?;
        let more = if flow.take(more, now).is_ok() { more } else { 0 };
        let mut changes = Changes::default();
        changes.write(key, version, before, setting(Some(flow.to_text().into())));
        let outcome = self.inner.store.commit(vec![changes.into_unit()]).await.map_err(failed)?;
        if outcome != [Outcome::Committed] {
            return Ok(None);
        }
        self.budgets().add_credit(campaign, more, now);
        Ok(Some(()))
    }
}
