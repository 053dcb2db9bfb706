//! The catalog: products with their releases and campaigns, kept in memory as views.
//!
//! It is a cache, and may be old: every decision made from it is committed with the versions of the campaigns it was
//! made from. A decision from an old view conflicts, the views are read anew, and it is made again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ota_core::fleet::records::{
    Campaign, CampaignState, Interned, ReleaseRecord, ReleaseStatus, RootRecord, Target,
};
use ota_core::fleet::{
    BlobStore, FleetStore, Index, IndexEntry, Key, Query, Record, StoreError, Stored, Table, Version,
};
use ota_core::number::{ByteLength, ByteOffset, CampaignId, ReleaseId, RootVersion, Sha256Digest};
use ota_core::text::ProductIdBuf;
use roaring::RoaringTreemap;

use crate::rules::view::{CampaignView, Names, ProductView, ReleaseView, RootView, sort};

/// How many records one scan asks for.
const PAGE: usize = 512;

/// Views of all products that devices have asked about.
pub struct Catalog {
    store: Arc<dyn FleetStore>,
    blobs: Arc<dyn BlobStore>,
    views: RwLock<HashMap<ProductIdBuf, Arc<ProductView>>>,
    bitmaps: Mutex<HashMap<Sha256Digest, Arc<RoaringTreemap>>>,
}

impl Catalog {
    /// An empty one.
    #[must_use]
    pub fn new(store: Arc<dyn FleetStore>, blobs: Arc<dyn BlobStore>) -> Self {
        Self { store, blobs, views: RwLock::default(), bitmaps: Mutex::default() }
    }

    /// The view of a product, or `None` if there is no such product.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn product(&self, id: &ProductIdBuf) -> Result<Option<Arc<ProductView>>, StoreError> {
        if let Some(view) = self.views.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(Some(Arc::clone(view)));
        }
        let Some(view) = self.read(id).await? else { return Ok(None) };
        let view = Arc::new(view);
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        views.insert(id.clone(), Arc::clone(&view));
        Ok(Some(view))
    }

    /// Forgets one product: it has changed.
    pub fn forget(&self, id: &ProductIdBuf) {
        self.views.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Reads the views of these products anew, and forgets all others. Says whether anything had changed.
    ///
    /// Until it is done the former views stay in use.
    ///
    /// # Errors
    /// [`StoreError`]; the former views stay then.
    pub async fn read_anew(&self, products: &[ProductIdBuf]) -> Result<bool, StoreError> {
        let mut fresh = HashMap::new();
        for id in products {
            if let Some(view) = self.read(id).await? {
                fresh.insert(id.clone(), Arc::new(view));
            }
        }
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = views.len() == fresh.len()
            && fresh.iter().all(|(id, view)| views.get(id).is_some_and(|known| known.is_same(view)));
        *views = fresh;
        Ok(!is_same)
    }

    /// Forgets all views: something has changed.
    pub async fn refresh(&self) {
        self.views.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn read(&self, id: &ProductIdBuf) -> Result<Option<ProductView>, StoreError> {
        let stored = self.store.load(&[Key::Product(id.clone())]).await?.pop().flatten();
        let Some(Stored { version, record: Record::Product(record) }) = stored else { return Ok(None) };
        let prefix = Query::Table { table: Table::Interned, prefix: terminated(id) };
        let names = self.scan(&prefix).await?;
        let names = Names::new(names.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Interned(_, number), Record::Interned(Interned { text })) => Some((number, text)),
            _ => None,
        }));
        let releases = self.releases(id, &names).await?;
        let mut campaigns = self.campaigns(id).await?;
        sort(&mut campaigns, &releases);
        let roots = Query::Table { table: Table::Root, prefix: terminated(id) };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let roots =
            self.scan(&roots).await?.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
                (Key::Root(_, version), Record::Root(RootRecord { body, envelope })) => {
                    Some(RootView { version, body: length(&body), envelope: length(&envelope) })
                }
                _ => None,
            });
        let roots = roots.collect();
        Ok(Some(ProductView { id: id.clone(), record, version, names, releases, campaigns, roots }))
    }

    async fn releases(
        &self,
        id: &ProductIdBuf,
        names: &Names,
    ) -> Result<HashMap<ReleaseId, Arc<ReleaseView>>, StoreError> {
        let query = Query::under(IndexEntry::new(Index::ReleaseVersion).text(id.as_str()));
        let releases =
            self.scan(&query).await?.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
                (Key::Release(id), Record::Release(release)) => match release.status {
                    ReleaseStatus::Signed | ReleaseStatus::Withdrawn => Some((id, release)),
                    ReleaseStatus::Draft | ReleaseStatus::Fixed => None,
                },
                _ => None,
            });
        Ok(releases.map(|(id, record)| (id, Arc::new(ReleaseView::new(id, record, names)))).collect())
    }

    /// Campaigns under way, and of the completed ones those that still have something to say: the newest of each
    /// release.
    async fn campaigns(&self, id: &ProductIdBuf) -> Result<Vec<Arc<CampaignView>>, StoreError> {
        let mut views: Vec<Arc<CampaignView>> = Vec::new();
        let mut newest: HashMap<ReleaseId, (CampaignId, Version, Box<Campaign>)> = HashMap::new();
        for group in [UNDER_WAY, COMPLETED] {
            for (key, stored) in self.scan(&campaigns_in(id, group)).await? {
                let (Key::Campaign(id), Record::Campaign(campaign)) = (key, stored.record) else { continue };
                match campaign.state {
                    CampaignState::Draft => {}
                    CampaignState::Completed => {
                        let known =
                            newest.get(&campaign.release).is_some_and(|(.., c)| c.created > campaign.created);
                        if !known {
                            newest.insert(campaign.release, (id, stored.version, campaign));
                        }
                    }
                    _ => views.push(self.view(id, stored.version, *campaign).await?),
                }
            }
        }
        for (id, version, campaign) in newest.into_values() {
            views.push(self.view(id, version, *campaign).await?);
        }
        Ok(views)
    }

    async fn view(
        &self,
        id: CampaignId,
        version: Version,
        campaign: Campaign,
    ) -> Result<Arc<CampaignView>, StoreError> {
        let bitmap = self.snapshot(&campaign.target).await?;
        Ok(Arc::new(CampaignView::new(id, version, campaign, bitmap)))
    }

    /// The ordinals of a target that is a prepared snapshot.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn snapshot(&self, target: &Target) -> Result<Option<Arc<RoaringTreemap>>, StoreError> {
        Ok(match target {
            Target::Snapshot { bitmap: Some(digest), .. } => Some(self.bitmap(digest).await?),
            _ => None,
        })
    }

    async fn bitmap(&self, digest: &Sha256Digest) -> Result<Arc<RoaringTreemap>, StoreError> {
        if let Some(bitmap) = self.bitmaps.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Ok(Arc::clone(bitmap));
        }
        let size = self.blobs.size(digest).await?.unwrap_or(ByteLength(0));
        let bytes = self.blobs.read(digest, ByteOffset(0), size).await?;
        let bitmap = RoaringTreemap::deserialize_from(&*bytes)
            .map_err(|error| StoreError::new(ota_core::fleet::StoreErrorKind::Corrupt, error))?;
        let bitmap = Arc::new(bitmap);
        let mut bitmaps = self.bitmaps.lock().unwrap_or_else(PoisonError::into_inner);
        bitmaps.insert(*digest, Arc::clone(&bitmap));
        Ok(bitmap)
    }

    /// The roots of a product with their bytes, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn roots(&self, id: &ProductIdBuf) -> Result<Vec<(RootVersion, RootRecord)>, StoreError> {
        let query = Query::Table { table: Table::Root, prefix: terminated(id) };
        let roots =
            self.scan(&query).await?.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
                (Key::Root(_, version), Record::Root(root)) => Some((version, root)),
                _ => None,
            });
        Ok(roots.collect())
    }

    /// A release, whatever its state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release(&self, id: &ReleaseId) -> Result<Option<ReleaseRecord>, StoreError> {
        match self.store.load(&[Key::Release(*id)]).await?.pop().flatten() {
            Some(Stored { record: Record::Release(release), .. }) => Ok(Some(release)),
            _ => Ok(None),
        }
    }

    /// All records of a query; only for what is known to be few.
    async fn scan(&self, query: &Query) -> Result<Vec<(Key, Stored)>, StoreError> {
        scan_all(&self.store, query).await
    }
}

/// The products whose views are in memory.
impl Catalog {
    /// All of them.
    #[must_use]
    pub fn known(&self) -> Vec<Arc<ProductView>> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// All records of a query; only for what is known to be few.
pub(crate) async fn scan_all(
    store: &Arc<dyn FleetStore>,
    query: &Query,
) -> Result<Vec<(Key, Stored)>, StoreError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(query, after.as_ref(), PAGE).await?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// The groups by which the index tells campaigns apart: drafts with those under way, completed ones, stopped ones.
pub(crate) const UNDER_WAY: u64 = 0;
pub(crate) const COMPLETED: u64 = 1;
pub(crate) const STOPPED: u64 = 2;

/// The campaigns of a product in one of these groups.
pub(crate) fn campaigns_in(product: &ProductIdBuf, group: u64) -> Query {
    Query::under(IndexEntry::new(Index::CampaignState).text(product.as_str()).number(group))
}

/// What the keys of a product's records begin with, in tables whose keys begin with a product.
pub(crate) fn terminated(product: &ProductIdBuf) -> Vec<u8> {
    let mut prefix = product.as_str().as_bytes().to_vec();
    prefix.push(0);
    prefix
}
