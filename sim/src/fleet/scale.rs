//! A fleet of millions for measurements: devices are written as their registrations would, the rest is the real server.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::conformance::memory::MemoryBlobStore;
use ota_core::fleet::records::{Installed, Pace, Plan, Target};
use ota_core::fleet::{
    BlobStore, Dialect, FleetStore, Key, LinkError, LinkEvent, MessageLink, Outbound, Record, Unit, Version,
};
use ota_core::list::List;
use ota_core::number::{CampaignId, Nonce, OfferId, ReleaseId, RootVersion, SecurityEpoch};
use ota_core::text::{DeviceIdBuf, FileName, HardwareRevision, ProductId, ProductIdBuf, Revision};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::Generations;
use ota_core::wire::{AlgorithmSet, Capabilities, CheckIn, Down, InventoryItem, TrustedSummary, Up};
use ota_server::engine::Changes;
use ota_server::rules::campaign::Draft;
use ota_server::rules::device::registered;
use ota_server::{Clock, Config, FleetLine, ProgressReport, Server};

use super::parts::{SeededEntropy, Sketch, approver, operator, release_of, set_up};

/// The time of the measurements.
pub const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// Length of the release's file.
pub const FILE_BYTES: usize = 1 << 20;

/// A clock that is set.
pub struct HandClock(AtomicU64);

impl HandClock {
    /// Sets it.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// A link that keeps what is sent until it is taken.
#[derive(Default)]
pub struct Kept(Mutex<Vec<Outbound>>);

impl Kept {
    /// What was sent since the last time.
    pub fn take(&self) -> Vec<Outbound> {
        core::mem::take(&mut *self.0.lock().expect("no panic holds it"))
    }
}

#[async_trait]
impl MessageLink for Kept {
    async fn receive(&self, _: usize) -> Result<Vec<LinkEvent>, LinkError> {
        Ok(Vec::new())
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        self.0.lock().expect("no panic holds it").extend(messages);
        Ok(())
    }

    async fn disconnect(&self, _: &DeviceIdBuf) -> Result<bool, LinkError> {
        Ok(false)
    }
}

/// A server over a store that will hold millions.
pub struct Scale {
    /// The server.
    pub server: Server,
    /// Its clock.
    pub clock: Arc<HandClock>,
    /// Its link.
    pub link: Arc<Kept>,
    product: ProductIdBuf,
    release: ReleaseId,
}

impl Scale {
    /// A product with a signed release, and no devices yet.
    ///
    /// # Panics
    /// If the store fails.
    pub async fn set_up(store: Arc<dyn FleetStore>) -> Self {
        let clock = Arc::new(HandClock(AtomicU64::new(NOW.0)));
        let link = Arc::new(Kept::default());
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::new());
        let config = Config { requests_per_device_max: 1_000, ..Config::default() };
        let server = Server::builder(store, blobs, Arc::clone(&link) as _, Arc::new(SeededEntropy::new(7)))
            .clock(Arc::clone(&clock) as _)
            .signer(Arc::new(Sketch::new(usize::MAX)))
            .config(config)
            .start()
            .await
            .expect("a server");
        let product = set_up(&server).await;
        let release = release_of(&server, &product, 2, vec![7; FILE_BYTES]).await;
        Self { server, clock, link, product, release }
    }

    /// What registering a device and its first check-in have written: identity, two revisions, last heard.
    #[must_use]
    pub fn registration(&self, ordinal: u64) -> Unit {
        let id = device_id(ordinal);
        let mut device = registered(&id, self.product.clone(), ordinal, Vec::new(), NOW);
        // Heard at all times of the last day.
        device.heard = Timestamp(NOW.0 - (ordinal % 86_400) * 1_000);
        device.installed = vec![Installed { file: 1, revision: 0 }, Installed { file: 2, revision: 0 }];
        let mut changes = Changes::default();
        changes.write(Key::Device(id), Version(0), None, Some(Record::Device(device)));
        changes.into_unit()
    }

    /// Makes, approves and starts a staged campaign for everybody.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn start_campaign(&self) -> CampaignId {
        let mut plan: Plan = super::plan();
        plan.trial = None;
        for stage in &mut plan.stages {
            stage.pace = Pace::Linear { over: Millis(86_400_000) };
        }
        let draft = Draft {
            product: self.product.clone(),
            title: "everybody".into(),
            release: self.release,
            target: Target::Everyone,
            plan,
        };
        let id = self.server.draft_campaign(&operator(), draft).await.expect("a draft");
        let hash = self.server.progress(&operator(), id).await.expect("its hash").hash;
        self.server.approve_campaign(&approver(), id, &hash).await.expect("an approval");
        self.server.start_campaign(&operator(), id).await.expect("a start");
        id
    }

    /// Stops a campaign.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn stop_campaign(&self, campaign: CampaignId) {
        self.server.stop_campaign(&operator(), campaign, "another").await.expect("a stop");
    }

    /// The pages that people look at.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn overview(&self, campaign: CampaignId) -> (ProgressReport, Vec<FleetLine>, Vec<(u32, u64)>) {
        (
            self.server.progress(&operator(), campaign).await.expect("progress"),
            self.server.fleet(&operator(), &self.product).await.expect("the fleet"),
            self.server.heard(&operator(), &self.product).await.expect("the histogram"),
        )
    }

    /// Registers a device, lets it have an offer of a campaign of its own and its first block.
    ///
    /// # Panics
    /// If it gets none.
    pub async fn reader(&self, name: &str, campaign: CampaignId) -> (DeviceIdBuf, OfferId, Bytes) {
        self.stop_campaign(campaign).await;
        let id = DeviceIdBuf::new(name).expect("an id");
        super::parts::register(&self.server, &self.product, core::slice::from_ref(&id)).await;
        let mut plan = super::plan();
        plan.trial = None;
        plan.limits = ota_core::fleet::records::Limits::default();
        plan.stages.truncate(1);
        plan.stages[0].until_ppm = 1_000_000;
        let draft = Draft {
            product: self.product.clone(),
            title: "one".into(),
            release: self.release,
            target: Target::Devices { ids: vec![id.clone()] },
            plan,
        };
        let one = self.server.draft_campaign(&operator(), draft).await.expect("a draft");
        let hash = self.server.progress(&operator(), one).await.expect("its hash").hash;
        self.server.approve_campaign(&approver(), one, &hash).await.expect("an approval");
        self.server.start_campaign(&operator(), one).await.expect("a start");
        let event =
            LinkEvent::Message { dialect: Dialect::Native, device: id.clone(), payload: check_in(77) };
        self.server.handle(vec![event]).await.expect("the link keeps everything");
        let sent = self.link.take();
        let Ok(Down::Offer(offer)) = Down::decode(&sent[0].payload) else { panic!("no offer") };
        let offer_id = ota_core::trust::offer_id::<ota_core::crypto::soft::SoftSha256>(offer.assignment);
        (id, offer_id, Bytes::copy_from_slice(offer.grant))
    }
}

/// The id of a device of the scale.
///
/// # Panics
/// Never: digits are an id.
#[must_use]
pub fn device_id(ordinal: u64) -> DeviceIdBuf {
    DeviceIdBuf::new(format!("d{ordinal:011}")).expect("an id")
}

/// A check-in that says nothing new.
///
/// # Panics
/// Never: it is within the limits.
#[must_use]
pub fn check_in(nonce: u64) -> Bytes {
    let items = [InventoryItem {
        file: FileName::new("app.bin").expect("a name"),
        revision: Revision::new("1").expect("a revision"),
        digest: None,
    }];
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&nonce.to_be_bytes());
    let check_in = Up::CheckIn(CheckIn {
        product: ProductId::new("lamp").expect("a name"),
        hardware: HardwareRevision::new("rev-a").expect("a name"),
        inventory: List::from_slice(&items),
        trusted: TrustedSummary {
            root: RootVersion(1),
            epoch: SecurityEpoch(0),
            generations: Generations::default(),
        },
        capabilities: Capabilities {
            block_bytes_max: 4096,
            window_max: 8,
            metadata_bytes_max: 65_536,
            algorithms: AlgorithmSet(0x7f),
            encodings: 0,
            downloads_urls: false,
        },
        nonce: Nonce(bytes),
        outcome: None,
        evidence: None,
    });
    check_in.to_vec().expect("a message within the limits").into()
}
