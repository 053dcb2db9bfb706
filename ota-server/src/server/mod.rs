//! The server to embed: commands for people, a conversation with devices, queries for reports.
//!
//! ```text
//! link -> handle(events) -> rules -> one commit -> answers -> link
//!         tick()         -> what is due: stages, deadlines, notifications, keys
//! ```
//!
//! [`Server::run`] joins both into a loop; a simulation calls them itself, with its own clock.

mod admission;
mod checkpoint;
mod chronicle;
mod commands;
mod conversation;
mod courses;
mod deliver;
mod elsewhere;
mod groups;
mod host;
mod limits;
mod lists;
mod outage;
#[cfg(feature = "http")]
mod passwords;
mod queries;
mod release_reports;
mod retention;
pub(crate) mod secrets;
mod several;
mod sft;
mod signing;
mod tick;
mod timely;
mod upkeep;
mod watched;

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ota_core::crypto::sign::Signer;
use ota_core::fleet::{BlobStore, FleetStore, MessageLink, StoreError};
use ota_core::number::{CampaignId, OfferId};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::RefuseCode;
use quick_cache::sync::Cache;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::admission::Admission;
pub use self::checkpoint::{Checkpoint, CheckpointError, CheckpointFile, CheckpointSink};
use self::checkpoint::{Checkpoints, Followed};
pub use self::chronicle::{AuditPage, CampaignLog};
pub use self::commands::{
    AmendmentState, AuditCheck, CommandError, Erased, IssuedToken, NewDevice, NewEnrolment, NewProduct,
    NewToken, Proof, Retried, Upload,
};
#[cfg(feature = "http")]
pub use self::commands::{INVITATION_LIFE, SESSION_LIFE};
pub use self::courses::{FileLine, FilePoint, FleetCourse};
use self::deliver::AtOnce;
pub use self::host::{Clock, Entropy, SystemClock};
pub use self::lists::{AttemptPage, DevicePage, PAGE_MAX, SCAN_MAX, SCAN_TIME_MAX};
pub use self::queries::{
    DeviceReport, DryRun, FailureGroup, FileDelivery, FleetLine, GateReport, HistoryLine, InstalledFile,
    PhaseCount, ProgressReport, Recount,
};
pub use self::release_reports::{Outcome, Outcomes, Signers};
pub use self::secrets::{NoWrap, SecretWrap, WrappingKey};
use self::several::Pulse;
pub use self::signing::{KeySigner, NoSigner};
use self::timely::{Heard, late};
pub use self::upkeep::Upkeep;
use self::watched::WatchedStore;
use crate::delivery::budget::Budgets;
use crate::delivery::fetch::Fetcher;
use crate::delivery::grant::Keyring;
use crate::delivery::shelf::{Parts, Shelf};
use crate::engine::catalog::Catalog;
use crate::engine::decide::AssignmentSigner;

/// How a server behaves. The default suits a fleet on one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// When a device that has nothing to do should check in again.
    pub next_check_in: Millis,
    /// How many check-ins a second are taken from devices that can be told to wait; 0 for any number.
    pub check_ins_per_second_max: u32,
    /// How long an assignment is good for.
    pub assignment_life: Millis,
    /// How much memory blocks may take, in bytes.
    pub cache_bytes_max: u64,
    /// How many offers are remembered as having been begun.
    pub begun_max: usize,
    /// How many requests for blocks of one device are answered before the others have their turn. Of requests that begin a
    /// download and come together, further ones are told to wait.
    pub requests_per_device_max: u32,
    /// How long ago a device may have been heard to be notified of its turn.
    pub notify_heard_within: Millis,
    /// How many devices one tick notifies at most.
    pub notify_per_tick_max: usize,
    /// How often the course of a campaign is noted down.
    pub sample_every: Millis,
    /// How often the spread of revisions over a fleet is noted down.
    pub course_every: Millis,
    /// How long a key of grants is used; at least two hours.
    pub grant_key_life: Millis,
    /// How many events one commit takes at most.
    pub batch_max: usize,
    /// How often what other servers on the same store may have changed is read anew; 0 if there are no others.
    pub refresh_every: Millis,
    /// How often files that nothing refers to are removed; 0 for never.
    pub sweep_every: Millis,
    /// How long such files are kept at least: somebody may be about to make a draft of them.
    pub unreferenced_kept: Millis,
    /// How long after a campaign was stopped the sweep removes its attempts; 0 for never. Its course stays.
    pub forget_history_after: Millis,
    /// After how long the sweep removes releases that nobody has signed and campaigns that nobody has started; 0 for never.
    pub forget_drafts_after: Millis,
    /// How often the store gives back the room that it does not need any more; 0 for never. See [`Builder::upkeep`].
    pub compact_every: Millis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            next_check_in: Millis(6 * 3_600_000),
            check_ins_per_second_max: 0,
            assignment_life: Millis(3_600_000),
            cache_bytes_max: 256 << 20,
            begun_max: 100_000,
            requests_per_device_max: 4,
            notify_heard_within: Millis(10 * 60_000),
            notify_per_tick_max: 512,
            sample_every: Millis(5 * 60_000),
            course_every: Millis(3_600_000),
            grant_key_life: Millis(24 * 3_600_000),
            batch_max: 1024,
            refresh_every: Millis(0),
            sweep_every: Millis(24 * 3_600_000),
            unreferenced_kept: Millis(24 * 3_600_000),
            forget_history_after: Millis(0),
            forget_drafts_after: Millis(0),
            compact_every: Millis(7 * 24 * 3_600_000),
        }
    }
}

/// How long a link that fails is left alone, at first and at most.
const LINK_PAUSE_MIN: core::time::Duration = core::time::Duration::from_millis(100);
const LINK_PAUSE_MAX: core::time::Duration = core::time::Duration::from_secs(5);
/// After so many failed ticks the wait between two grows no further: 31 seconds.
const TICK_FAILURES_MAX: u32 = 5;

/// The server. Clones are the same one.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    store: Arc<dyn FleetStore>,
    /// The same store, for asking how it does.
    watched: Arc<WatchedStore>,
    blobs: Arc<dyn BlobStore>,
    link: Arc<dyn MessageLink>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    signer: Arc<dyn AssignmentSigner>,
    secrets: Arc<dyn SecretWrap>,
    checkpoints: Option<Checkpoints>,
    upkeep: Option<Arc<dyn Upkeep>>,
    looked: Mutex<upkeep::Looked>,
    outage: Mutex<outage::Outage>,
    /// How far the audit chain was followed for the next checkpoint.
    followed: Mutex<Followed>,
    catalog: Catalog,
    shelf: Shelf,
    /// What can be fetched, by release (or by what stands for a product's roots).
    parts: Cache<[u8; 32], Arc<Parts>>,
    /// Offers whose first request for a block is on record, and the campaigns that they belong to.
    begun: Cache<(DeviceIdBuf, OfferId), CampaignId>,
    keyring: RwLock<Arc<Keyring>>,
    budgets: Mutex<Budgets>,
    /// How far devices have been notified of their turns, by campaign.
    notified: Mutex<HashMap<CampaignId, u64>>,
    /// Since when decisions cannot be made because the store fails, in milliseconds; 0 if they can.
    failing_since: AtomicU64,
    /// Campaigns whose running attempts are being taken back.
    ending: Mutex<Vec<(ProductIdBuf, CampaignId)>>,
    /// Sessions of devices that speak the original protocol.
    sft: Mutex<sft::Sessions>,
    /// Files of other hosts that devices have asked for.
    elsewhere: Mutex<elsewhere::Waiting>,
    fetcher: Option<Arc<dyn Fetcher>>,
    refusals: Refusals,
    admission: Admission,
    /// How many devices small stages have.
    group_sizes: Mutex<HashMap<(CampaignId, u16), groups::GroupSize>>,
    /// When the spread of revisions over each product is noted next.
    courses_due: Mutex<HashMap<ProductIdBuf, Timestamp>>,
    /// What this server calls itself among others on the same store.
    name: String,
    /// What was last read of what others do.
    read: Mutex<several::Read>,
    /// Whether this server was the one that did what was due for all.
    is_the_one: AtomicBool,
    /// How many milliseconds the clock of the store is ahead of this server's.
    ahead: AtomicI64,
    /// Only one tick at a time.
    ticking: tokio::sync::Mutex<()>,
    #[cfg(feature = "http")]
    passwords: passwords::Passwords,
}

/// What a server is made of.
pub struct Builder {
    store: Arc<dyn FleetStore>,
    blobs: Arc<dyn BlobStore>,
    link: Arc<dyn MessageLink>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    signer: Arc<dyn AssignmentSigner>,
    fetcher: Option<Arc<dyn Fetcher>>,
    secrets: Arc<dyn SecretWrap>,
    checkpoints: Option<Checkpoints>,
    upkeep: Option<Arc<dyn Upkeep>>,
    config: Config,
}

impl Builder {
    /// What fetches files that other hosts keep. Without one such files are not served in blocks.
    #[must_use]
    pub fn fetcher(mut self, fetcher: Arc<dyn Fetcher>) -> Self {
        self.fetcher = Some(fetcher);
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The key that signs assignments. Without one only protocols without signatures get offers.
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn AssignmentSigner>) -> Self {
        self.signer = signer;
        self
    }

    /// What wraps the secrets in the store. Without one they lie there as they are.
    #[must_use]
    pub fn secrets(mut self, wrap: Arc<dyn SecretWrap>) -> Self {
        self.secrets = wrap;
        self
    }

    /// Signs the end of the audit chain `every` so often, if it has grown, and keeps that elsewhere.
    #[must_use]
    pub fn checkpoints(
        mut self,
        signer: impl Signer + Send + Sync + 'static,
        sink: Arc<dyn CheckpointSink>,
        every: Millis,
    ) -> Self {
        self.checkpoints = Some(Checkpoints { signer: Box::new(signer), sink, every });
        self
    }

    /// What compacts the store and copies it. Without one whoever opened the store keeps it in order.
    #[must_use]
    pub fn upkeep(mut self, upkeep: Arc<dyn Upkeep>) -> Self {
        self.upkeep = Some(upkeep);
        self
    }

    /// Another configuration than the default.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Reads the keyring and what else must be there before the first message.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read, or holds secrets that were wrapped with another key.
    pub async fn start(self) -> Result<Server, StoreError> {
        let watched = Arc::new(WatchedStore::new(self.store));
        let store: Arc<dyn FleetStore> = Arc::clone(&watched) as _;
        let name = match self.config.refresh_every {
            // Nobody calls it by a name.
            Millis(0) => String::new(),
            _ => {
                let mut name = [0; 16];
                self.entropy.fill(&mut name);
                name.iter().map(|byte| format!("{byte:02x}")).collect()
            }
        };
        let inner = Inner {
            catalog: Catalog::new(Arc::clone(&store), Arc::clone(&self.blobs)),
            shelf: Shelf::new(Arc::clone(&self.blobs), self.config.cache_bytes_max),
            parts: Cache::new(1024),
            begun: Cache::new(self.config.begun_max),
            keyring: RwLock::default(),
            budgets: Mutex::default(),
            notified: Mutex::default(),
            failing_since: AtomicU64::new(0),
            ending: Mutex::default(),
            sft: Mutex::default(),
            elsewhere: Mutex::default(),
            fetcher: self.fetcher,
            secrets: self.secrets,
            checkpoints: self.checkpoints,
            upkeep: self.upkeep,
            looked: Mutex::default(),
            outage: Mutex::default(),
            followed: Mutex::default(),
            refusals: Refusals::default(),
            admission: Admission::new(self.config.check_ins_per_second_max),
            group_sizes: Mutex::default(),
            courses_due: Mutex::default(),
            name,
            read: Mutex::default(),
            is_the_one: AtomicBool::new(false),
            ahead: AtomicI64::new(0),
            ticking: tokio::sync::Mutex::default(),
            #[cfg(feature = "http")]
            passwords: passwords::Passwords::default(),
            config: self.config,
            store,
            watched,
            blobs: self.blobs,
            link: self.link,
            clock: self.clock,
            entropy: self.entropy,
            signer: self.signer,
        };
        let server = Server { inner: Arc::new(inner) };
        server.meet_neighbours().await?;
        server.load_keyring().await?;
        server.load_products().await?;
        Ok(server)
    }
}

impl Server {
    /// A server of these parts; `entropy` makes the keys of grants.
    #[must_use]
    pub fn builder(
        store: Arc<dyn FleetStore>,
        blobs: Arc<dyn BlobStore>,
        link: Arc<dyn MessageLink>,
        entropy: Arc<dyn Entropy>,
    ) -> Builder {
        let (clock, signer) = (Arc::new(SystemClock), Arc::new(NoSigner));
        Builder {
            store,
            blobs,
            link,
            clock,
            entropy,
            signer,
            fetcher: None,
            secrets: Arc::new(NoWrap),
            checkpoints: None,
            upkeep: None,
            config: Config::default(),
        }
    }

    /// Serves until the link is closed: receives, handles, sends, and ticks once a second.
    ///
    /// A store that fails is tried again with back-off; devices are told to wait meanwhile.
    pub async fn run(&self) {
        // They end with this future, however it ends.
        let mut tasks = JoinSet::new();
        let pulse = Arc::new(Pulse::new());
        let beside = [
            tasks.spawn(self.clone().keep_fetching()),
            tasks.spawn(self.clone().keep_up()),
            tasks.spawn(self.clone().keep_hearing()),
            tasks.spawn(self.clone().keep_share()),
            tasks.spawn(Arc::clone(&pulse).beat()),
        ];
        self.inner.link.answer_at_once(Arc::new(AtOnce(Arc::downgrade(&self.inner))));
        let (to_decide, decided) = mpsc::channel(self.inner.config.batch_max.max(1));
        tasks.spawn(self.clone().keep_deciding(decided, Arc::clone(&pulse)));
        self.serve_link(to_decide, &pulse).await;
        beside.iter().for_each(tokio::task::AbortHandle::abort);
        while tasks.join_next().await.is_some() {}
        self.give_turn().await;
    }

    /// Answers at once what needs no decision, and hands on the rest: a commit waits for the disk, and devices in the
    /// middle of a download need not.
    async fn serve_link(&self, to_decide: mpsc::Sender<Heard>, pulse: &Pulse) {
        let mut pause = LINK_PAUSE_MIN;
        loop {
            match self.inner.link.receive(self.inner.config.batch_max).await {
                Ok(events) if events.is_empty() => return,
                Ok(events) => {
                    pause = LINK_PAUSE_MIN;
                    let moment = self.moment();
                    let rest = match self.is_after_a_stall(pulse) {
                        true => events.iter().filter_map(late).collect(),
                        false => self.serve_under_way(events, moment).await,
                    };
                    for event in rest {
                        if to_decide.send(Heard { moment, event }).await.is_err() {
                            return;
                        }
                    }
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LINK_PAUSE_MAX);
                }
            }
        }
    }

    /// Whether what was received is to be dropped: nobody knows how old it is, nor what other servers have heard since.
    fn is_after_a_stall(&self, pulse: &Pulse) -> bool {
        self.has_neighbours() && !pulse.is_steady()
    }

    /// Decides what arrives, what came during a commit together in the next one, and does what is due by itself.
    async fn keep_deciding(self, mut arriving: mpsc::Receiver<Heard>, pulse: Arc<Pulse>) {
        let mut ticks = tokio::time::interval(core::time::Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut failures, mut skipped) = (0_u32, 0_u32);
        let mut events = Vec::new();
        loop {
            tokio::select! {
                count = arriving.recv_many(&mut events, self.inner.config.batch_max.max(1)) => {
                    if count == 0 {
                        return;
                    }
                    let mut events = core::mem::take(&mut events);
                    let of = |heard: &Heard| sft::device_of(&heard.event).cloned();
                    let devices = events.iter().filter_map(of).collect();
                    if self.is_after_a_stall(&pulse) {
                        let still = |Heard { moment, event }| Some(Heard { moment, event: late(&event)? });
                        events = events.into_iter().filter_map(still).collect();
                    }
                    // The link goes on by itself after an error; what was lost is asked for again.
                    let _ = self.handle_heard(events).await;
                    self.sft_decided(devices);
                }
                _ = ticks.tick() => {
                    // A store that fails is left alone for a while; devices are answered meanwhile.
                    if skipped < (1 << failures) - 1 {
                        skipped += 1;
                        continue;
                    }
                    skipped = 0;
                    failures = match self.tick().await {
                        Ok(()) => 0,
                        Err(_) => (failures + 1).min(TICK_FAILURES_MAX),
                    };
                },
            }
        }
    }

    /// How often each kind of refusal was given since the start.
    #[must_use]
    pub fn refusals(&self) -> Vec<(RefuseCode, u64)> {
        self.inner.refusals.all()
    }

    /// How many check-ins were put off since the start, because too many came at once.
    #[must_use]
    pub fn check_ins_put_off(&self) -> u64 {
        self.inner.admission.put_off()
    }

    /// Unpredictable bytes.
    #[cfg(feature = "http")]
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.inner.entropy.fill(&mut bytes);
        bytes
    }

    /// The time: by the clock of the store where several servers share one, otherwise by our own.
    fn now(&self) -> Timestamp {
        Timestamp(self.inner.clock.now().0.saturating_add_signed(self.inner.ahead.load(Ordering::Relaxed)))
    }

    fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.inner.keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn budgets(&self) -> MutexGuard<'_, Budgets> {
        // Every call leaves them whole: a panic elsewhere does no harm to them.
        self.inner.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something about a product has changed: views are read anew, and whoever downloads is looked at again.
    fn changed(&self, product: &ProductIdBuf) {
        self.inner.catalog.forget(product);
    }
}

/// Counts refusals by code; codes above the last known share one place.
#[derive(Default)]
struct Refusals([AtomicU64; 32]);

impl Refusals {
    fn count(&self, code: RefuseCode) {
        let place = usize::from(code.number()).min(self.0.len() - 1);
        self.0[place].fetch_add(1, Ordering::Relaxed);
    }

    fn all(&self) -> Vec<(RefuseCode, u64)> {
        let codes = RefuseCode::ALL.iter().map(|code| {
            (*code, self.0.get(usize::from(code.number())).map_or(0, |count| count.load(Ordering::Relaxed)))
        });
        codes.filter(|(_, count)| *count > 0).collect()
    }
}
