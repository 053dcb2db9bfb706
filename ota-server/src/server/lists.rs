//! Lists for people: what there is, page by page. Only what the caller may look at is in them.

use core::time::Duration;

use ota_core::fleet::records::{
    Attempt, AttemptPhase, Campaign, Device, PrincipalRecord, Product, ReleaseRecord, Setting,
};
use ota_core::fleet::{Cursor, Index, IndexEntry, Key, Query, Record, StoreError, Stored, Table, Version};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Timestamp;

use tokio::time::Instant;

use super::Server;
use super::commands::CommandError;
use crate::engine::Changes;
use crate::engine::catalog::scan_all;
use crate::rules::filter::Filter;
use crate::rules::permission::{Action, Principal, Scope, permit, permit_about};

/// Most entries of one page.
pub const PAGE_MAX: usize = 1000;

/// How many devices one page with a filter looks at.
pub const SCAN_MAX: usize = 10_000;

/// How long it looks for them, so that a page is there at once on a machine that is slow or busy, too.
pub const SCAN_TIME_MAX: Duration = Duration::from_millis(50);

/// How many devices are read at once where few of them may be wanted.
const SCAN_AT_ONCE: usize = 256;

/// A page of devices.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePage {
    /// The devices.
    pub devices: Vec<(DeviceIdBuf, Device)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
    /// How many devices were looked at for it.
    pub looked_at: usize,
}

/// A page of a campaign's attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptPage {
    /// The attempts, by cause and device.
    pub attempts: Vec<(DeviceIdBuf, Attempt)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

impl Server {
    /// Whether the store answers, and takes what is written. After a commit that failed it is asked with a commit, so that
    /// trouble ends here as soon as it has ended there.
    ///
    /// # Errors
    /// [`StoreError`] says why not.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let key = Key::Setting("probe".into());
        let stored = self.load_one(&key).await?;
        self.inner.blobs.probe().await?;
        if self.inner.watched.trouble().is_none() {
            return Ok(());
        }
        let (version, before) = match stored {
            Some(Stored { version, record }) => (version, Some(record)),
            None => (Version(0), None),
        };
        let mut changes = Changes::default();
        let value = self.now().0.to_string().into();
        changes.write(key, version, before, Some(Record::Setting(Setting { value })));
        self.inner.store.commit(vec![changes.into_unit()]).await.map(drop)
    }

    /// What time it is for the server.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.now()
    }

    /// The products that somebody may look at.
    ///
    /// # Errors
    /// [`CommandError::Store`].
    pub async fn products(&self, by: &Principal) -> Result<Vec<(ProductIdBuf, Product)>, CommandError> {
        let all = scan_all(&self.inner.store, &Query::table(Table::Product)).await?;
        let seen = all.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Product(id), Record::Product(product)) => {
                permit(by, Action::View, Scope::Product(&id)).ok().map(|_| (id, product))
            }
            _ => None,
        });
        Ok(seen.collect())
    }

    /// One product.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn product(&self, by: &Principal, id: &ProductIdBuf) -> Result<Product, CommandError> {
        self.permit(by, Action::View, id)?;
        Ok(self.product_record(id).await?.0)
    }

    /// The newest root of a product as devices are provisioned with it: its body.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::Release`] if the product has no root.
    pub async fn root_body(&self, by: &Principal, id: &ProductIdBuf) -> Result<Vec<u8>, CommandError> {
        let product = self.product(by, id).await?;
        Ok(self.root_record(id, product.root).await?.body)
    }

    /// Devices of a product in the order of their registration, or those with a tag in the order of their ids.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::Store`] for a cursor of another list.
    pub async fn devices(
        &self,
        by: &Principal,
        product: &ProductIdBuf,
        tag: Option<&str>,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<DevicePage, CommandError> {
        self.permit(by, Action::View, product)?;
        let place = match tag {
            Some(tag) => IndexEntry::new(Index::DeviceTag).text(product.as_str()).text(tag),
            None => IndexEntry::new(Index::DeviceOrdinal).text(product.as_str()),
        };
        let limit = limit.clamp(1, PAGE_MAX);
        let page = self.inner.store.scan(&Query::under(place), after, limit).await?;
        let looked_at = page.items.len();
        let devices = page.items.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Device(id), Record::Device(device)) => Some((id, device)),
            _ => None,
        });
        Ok(DevicePage { devices: devices.collect(), next: page.next, looked_at })
    }

    /// Devices that fulfil an expression. Looks at no more than [`SCAN_MAX`] devices and for [`SCAN_TIME_MAX`]: a page may be
    /// short, or even empty, although more follows.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::Store`] for a cursor of another list.
    pub async fn devices_that(
        &self,
        by: &Principal,
        product: &ProductIdBuf,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<DevicePage, CommandError> {
        self.permit(by, Action::View, product)?;
        let view = self.view(product).await?;
        let (now, limit) = (self.now(), limit.clamp(1, PAGE_MAX));
        let (mut found, mut next, mut looked_at) = (Vec::new(), after.cloned(), 0);
        let (tag, began) = (filter.needed_tag(), Instant::now());
        let holds = |(id, device): &(DeviceIdBuf, Device)| filter.holds(id, device, &view.names, now);
        while looked_at < SCAN_MAX && began.elapsed() < SCAN_TIME_MAX {
            let wanted = limit - found.len();
            let batch = SCAN_AT_ONCE.max(wanted).min(SCAN_MAX - looked_at);
            let mut page = self.devices(by, product, tag, next.as_ref(), batch).await?;
            let mut places = page.devices.iter().enumerate().filter(|(_, one)| holds(one));
            if let Some((place, _)) = places.nth(wanted - 1) {
                // Read again as far as that, so that the cursor stands behind the last one that was wanted.
                page = self.devices(by, product, tag, next.as_ref(), place + 1).await?;
            }
            looked_at += page.looked_at.max(1);
            found.extend(page.devices.into_iter().filter(holds));
            next = page.next;
            if next.is_none() || found.len() >= limit {
                break;
            }
        }
        Ok(DevicePage { devices: found, next, looked_at })
    }

    /// Which version a campaign has: what an edit of it can expect.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn campaign_version(&self, by: &Principal, id: CampaignId) -> Result<Version, CommandError> {
        let (campaign, version) = self.campaign_record(id).await?;
        self.permit(by, Action::View, &campaign.product)?;
        Ok(version)
    }

    /// The releases of a product, by package and version.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn releases(
        &self,
        by: &Principal,
        product: &ProductIdBuf,
    ) -> Result<Vec<(ReleaseId, ReleaseRecord)>, CommandError> {
        self.permit(by, Action::View, product)?;
        let place = IndexEntry::new(Index::ReleaseVersion).text(product.as_str());
        let all = scan_all(&self.inner.store, &Query::under(place)).await?;
        let releases = all.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Release(id), Record::Release(release)) => Some((id, release)),
            _ => None,
        });
        Ok(releases.collect())
    }

    /// One release.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn release(&self, by: &Principal, id: &ReleaseId) -> Result<ReleaseRecord, CommandError> {
        let (release, _) = self.release_record(id).await?;
        self.permit(by, Action::View, &release.product)?;
        Ok(release)
    }

    /// The campaigns of a product: those under way, then those that were completed, then those that were stopped.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn campaigns(
        &self,
        by: &Principal,
        product: &ProductIdBuf,
    ) -> Result<Vec<(CampaignId, Campaign)>, CommandError> {
        self.permit(by, Action::View, product)?;
        let place = IndexEntry::new(Index::CampaignState).text(product.as_str());
        let all = scan_all(&self.inner.store, &Query::under(place)).await?;
        let campaigns = all.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Campaign(id), Record::Campaign(campaign)) => Some((id, *campaign)),
            _ => None,
        });
        Ok(campaigns.collect())
    }

    /// One person or program, and the version that an edit can expect.
    ///
    /// # Errors
    /// [`CommandError::NoPrincipal`].
    pub async fn principal(
        &self,
        by: &Principal,
        name: &str,
    ) -> Result<(Version, PrincipalRecord), CommandError> {
        permit_about(by, name)?;
        match self.load_one(&Key::Principal(name.into())).await? {
            Some(Stored { version, record: Record::Principal(record) }) => Ok((version, record)),
            _ => Err(CommandError::NoPrincipal(name.into())),
        }
    }

    /// The attempts of a campaign that stand in a phase, by cause and device.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::Store`] for a cursor of another list.
    pub async fn attempts(
        &self,
        by: &Principal,
        campaign: CampaignId,
        phase: AttemptPhase,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<AttemptPage, CommandError> {
        let (record, _) = self.campaign_record(campaign).await?;
        self.permit(by, Action::View, &record.product)?;
        let place = IndexEntry::new(Index::AttemptPhase).number(campaign.0).number(u64::from(phase.number()));
        let limit = limit.clamp(1, PAGE_MAX);
        let page = self.inner.store.scan(&Query::under(place), after, limit).await?;
        let attempts = page.items.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Attempt(_, device), Record::Attempt(attempt)) => Some((device, attempt)),
            _ => None,
        });
        Ok(AttemptPage { attempts: attempts.collect(), next: page.next })
    }

    /// People and programs that may do something.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn principals(&self, by: &Principal) -> Result<Vec<(Box<str>, PrincipalRecord)>, CommandError> {
        permit(by, Action::KeepPeople, Scope::Installation)?;
        let all = scan_all(&self.inner.store, &Query::table(Table::Principal)).await?;
        let people = all.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Principal(name), Record::Principal(record)) => Some((name, record)),
            _ => None,
        });
        Ok(people.collect())
    }
}
