//! A fleet in virtual time: the real server on the reference stores, and many fast models of devices.
//!
//! Everything follows from one seed: who fails, what is lost, when the server crashes. First what must never happen
//! is watched while everything goes wrong; then the faults stop, and progress is demanded.

mod lamp;
mod parts;
pub mod scale;
mod watch;

use core::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use ota_core::conformance::memory::{MemoryBlobStore, MemoryFleetStore};
use ota_core::fleet::records::{
    AttemptRules, Campaign, CampaignState, Gate, Limits, OnFailure, Pace, Plan, Promotion, Schedule, Stage,
    Target, Trial,
};
use ota_core::fleet::{Dialect, LinkEvent};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};
use ota_server::rules::campaign::Draft;
use ota_server::{Config, Server};

use self::lamp::{Lamp, Mood};
use self::parts::{KeptLink, SeededEntropy, SimClock, Sketch, StumblingStore};
pub use self::parts::{Release, admin, approver, operator};
use self::watch::Watch;
use crate::random::Dice;

/// When every simulation begins.
pub const BEGINNING: Timestamp = Timestamp(1_800_000_000_000);
/// A minute in milliseconds.
pub const MINUTE: u64 = 60_000;
/// A day in milliseconds.
pub const DAY: u64 = 24 * 60 * MINUTE;

/// What goes wrong, in cases of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Messages that are lost, each way.
    pub lost: u32,
    /// Messages that arrive twice.
    pub doubled: u32,
    /// Wakes of a device that are a restart in which it forgets what it was doing.
    pub device_crashes: u32,
    /// Ticks at which the server is gone and another starts on the same stores.
    pub server_crashes: u32,
    /// Commits that fail, half of them after they have happened.
    pub failed_commits: u32,
    /// Ticks at which the server's clock jumps ahead by up to an hour.
    pub clock_jumps: u32,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self =
        Self { lost: 0, doubled: 0, device_crashes: 0, server_crashes: 0, failed_commits: 0, clock_jumps: 0 };
    /// Everything goes wrong.
    pub const HARSH: Self = Self {
        lost: 100_000,
        doubled: 50_000,
        device_crashes: 30_000,
        server_crashes: 20_000,
        failed_commits: 20_000,
        clock_jumps: 1_000,
    };
}

/// How often things really happened: a simulation without faults proves nothing about faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Happened {
    /// Messages that were lost.
    pub lost: u64,
    /// Messages that arrived twice.
    pub doubled: u64,
    /// Devices that forgot what they were doing.
    pub device_crashes: u64,
    /// Servers that were gone.
    pub server_crashes: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Clocks that jumped.
    pub clock_jumps: u64,
    /// Check-ins that reached the server.
    pub check_ins: u64,
    /// Offers that reached a device.
    pub offers: u64,
    /// Devices that became bricks.
    pub bricked: u64,
}

enum Happening {
    Wake(usize),
    Up(usize, Bytes),
    Down(usize, Bytes),
    Tick,
}

/// A fleet, its server, and what goes on between them.
pub struct Fleet {
    seed: u64,
    dice: Dice,
    now: Timestamp,
    clock: Arc<SimClock>,
    link: Arc<KeptLink>,
    store: Arc<StumblingStore>,
    blobs: Arc<MemoryBlobStore>,
    server: Server,
    product: ProductIdBuf,
    lamps: Vec<Lamp>,
    places: HashMap<DeviceIdBuf, usize>,
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
    happenings: HashMap<u64, Happening>,
    next: u64,
    faults: Faults,
    happened: Happened,
    releases: Vec<Release>,
    campaigns: Vec<CampaignId>,
    watch: Watch,
}

impl Fleet {
    /// A fleet of so many devices, all with revision 0, every tenth in the trial group.
    pub async fn new(seed: u64, devices: usize) -> Self {
        let clock = Arc::new(SimClock::at(BEGINNING));
        let link = Arc::new(KeptLink::default());
        let store = Arc::new(StumblingStore::new(MemoryFleetStore::new(), seed));
        let blobs = Arc::new(MemoryBlobStore::new());
        let server = start(&clock, &link, &store, &blobs, seed).await;
        let product = parts::set_up(&server).await;
        let ids: Vec<DeviceIdBuf> = (0..devices).map(parts::device_id).collect();
        parts::register(&server, &product, &ids).await;
        let mut fleet = Self {
            seed,
            dice: Dice::new(seed),
            now: BEGINNING,
            clock,
            link,
            store,
            blobs,
            server,
            product,
            lamps: (0..devices).map(Lamp::new).collect(),
            places: ids.into_iter().enumerate().map(|(place, id)| (id, place)).collect(),
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            next: 0,
            faults: Faults::NONE,
            happened: Happened::default(),
            releases: Vec::new(),
            campaigns: Vec::new(),
            watch: Watch::default(),
        };
        for place in 0..devices {
            let after = Millis(fleet.dice.below(6 * 60 * MINUTE));
            fleet.later(after, Happening::Wake(place));
        }
        fleet.later(Millis(MINUTE), Happening::Tick);
        fleet
    }

    /// What has really happened so far.
    #[must_use]
    pub fn happened(&self) -> Happened {
        Happened { failed_commits: self.store.failed(), ..self.happened }
    }

    /// The server, for questions.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Makes a signed release that fails with this probability (of a million), half of the failures bricks.
    pub async fn release(&mut self, failures: u32) -> ReleaseId {
        let number = self.releases.len() + 1;
        let release = parts::release(&self.server, &self.product, number, failures).await;
        self.releases.push(release);
        release.id
    }

    /// A plan with a trial group, three stages and limits.
    #[must_use]
    pub fn plan(&self) -> Plan {
        plan()
    }

    /// Starts a campaign for everybody.
    pub async fn campaign(&mut self, release: ReleaseId, plan: Plan) -> CampaignId {
        let draft = Draft {
            product: self.product.clone(),
            title: "campaign".into(),
            release,
            target: Target::Everyone,
            plan,
        };
        let id = self.server.draft_campaign(&operator(), draft).await.expect("a draft");
        let hash = self.server.progress(&operator(), id).await.expect("its hash").hash;
        self.server.approve_campaign(&approver(), id, &hash).await.expect("an approval");
        self.server.start_campaign(&operator(), id).await.expect("a start");
        self.campaigns.push(id);
        id
    }

    /// Stops a campaign.
    pub async fn stop(&mut self, id: CampaignId) {
        self.server.stop_campaign(&operator(), id, "the simulation").await.expect("a stop");
    }

    /// The record of a campaign.
    pub async fn record(&self, id: CampaignId) -> Campaign {
        self.server.progress(&operator(), id).await.expect("progress").campaign
    }

    /// Lets so much time pass while this goes wrong.
    pub async fn run(&mut self, faults: Faults, span: Millis) {
        self.faults = faults;
        self.store.fails(faults.failed_commits);
        let end = self.now.plus(span);
        while let Some(Reverse((at, number))) = self.queue.pop() {
            if at > end {
                self.queue.push(Reverse((at, number)));
                break;
            }
            self.now = at;
            self.clock.set(at);
            match self.happenings.remove(&number) {
                Some(Happening::Wake(place)) => self.wake(place),
                Some(Happening::Up(place, payload)) => self.up(place, payload).await,
                Some(Happening::Down(place, payload)) => self.down(place, &payload),
                Some(Happening::Tick) => self.tick().await,
                None => {}
            }
        }
        self.now = end;
        self.clock.set(end);
        self.store.fails(0);
        self.watch.check_exactness(&self.server, self.seed).await;
    }

    /// Demands that every device that can still speak has this revision.
    ///
    /// # Panics
    /// With the seed, if one has not.
    pub async fn assert_everybody_has(&self, revision: u32) {
        for (place, lamp) in self.lamps.iter().enumerate() {
            if lamp.is_brick() || lamp.revision() == revision {
                continue;
            }
            let id = parts::device_id(place);
            let report = self.server.device(&operator(), &id).await.expect("a report");
            // Whoever failed for good was reported so, and has a reason; everybody else must be there.
            let has_ended =
                report.history.iter().any(|line| !ota_server::rules::attempt::is_open(line.phase));
            assert!(has_ended, "seed {}: {id} has revision {}: {report:#?}", self.seed, lamp.revision());
        }
    }

    /// How many devices have this revision.
    #[must_use]
    pub fn having(&self, revision: u32) -> usize {
        self.lamps.iter().filter(|lamp| lamp.revision() == revision).count()
    }

    fn later(&mut self, after: Millis, happening: Happening) {
        self.next += 1;
        self.queue.push(Reverse((self.now.plus(after), self.next)));
        self.happenings.insert(self.next, happening);
    }

    /// A message sets out: it may be lost, doubled, and takes its time, so that it may be overtaken.
    fn send(&mut self, make: impl Fn() -> Happening) {
        if self.dice.happens(self.faults.lost) {
            self.happened.lost += 1;
            return;
        }
        let copies = if self.dice.happens(self.faults.doubled) { 2 } else { 1 };
        self.happened.doubled += copies - 1;
        for _ in 0..copies {
            let latency = Millis(20 + self.dice.below(2_000));
            self.later(latency, make());
        }
    }

    fn wake(&mut self, place: usize) {
        if self.dice.happens(self.faults.device_crashes) {
            self.happened.device_crashes += 1;
            self.lamps[place].forget();
        }
        let was_brick = self.lamps[place].is_brick();
        let (messages, next) = self.lamps[place].wake(self.now, &mut self.dice, &self.releases);
        self.happened.bricked += u64::from(!was_brick && self.lamps[place].is_brick());
        for message in messages {
            self.send(|| Happening::Up(place, message.clone()));
        }
        if let Some(after) = next {
            self.later(after, Happening::Wake(place));
        }
    }

    async fn up(&mut self, place: usize, payload: Bytes) {
        self.happened.check_ins += 1;
        let device = parts::device_id(place);
        let event = LinkEvent::Message { dialect: Dialect::Native, device, payload };
        self.server.handle(vec![event]).await.expect("the link keeps everything");
        self.deliver().await;
    }

    /// Looks at what the server sends, then lets it set out.
    async fn deliver(&mut self) {
        for out in self.link.take() {
            let Some(place) = self.places.get(&out.device).copied() else { continue };
            if let Some(offered) = parts::offered(&out.payload) {
                let limits = self.watch.offered(&self.server, &out.device, offered, self.now, self.seed);
                limits.await;
            }
            self.send(|| Happening::Down(place, out.payload.clone()));
        }
    }

    fn down(&mut self, place: usize, payload: &Bytes) {
        let mood = self.lamps[place].hear(payload, self.now, &self.releases);
        self.happened.offers += u64::from(mood == Mood::Offered);
        if mood != Mood::Idle {
            let after = Millis(200 + self.dice.below(30_000));
            self.later(after, Happening::Wake(place));
        }
    }

    async fn tick(&mut self) {
        if self.dice.happens(self.faults.clock_jumps) {
            self.happened.clock_jumps += 1;
            // The whole world is late: whoever compares times of before and after sees a jump.
            self.now = self.now.plus(Millis(self.dice.below(60 * MINUTE)));
            self.clock.set(self.now);
        }
        if self.dice.happens(self.faults.server_crashes) {
            self.happened.server_crashes += 1;
            let seed = self.dice.next();
            self.store.fails(0);
            self.server = start(&self.clock, &self.link, &self.store, &self.blobs, seed).await;
            self.store.fails(self.faults.failed_commits);
        }
        // A tick that fails is done by the next one.
        let _ = self.server.tick().await;
        self.deliver().await;
        // Campaigns that have been followed by two others are at rest.
        for id in self.campaigns.iter().rev().take(2).copied().collect::<Vec<_>>() {
            self.watch.campaign(&self.server, id, self.seed).await;
            if self.record(id).await.state == CampaignState::Trialled {
                let _ = self.server.promote_campaign(&approver(), id).await;
            }
        }
        self.later(Millis(15 * MINUTE), Happening::Tick);
    }
}

/// A plan with a trial group, three stages and limits.
#[must_use]
pub fn plan() -> Plan {
    let gate = |sample_min| Gate {
        sample_min,
        failures_good_ppm: 50_000,
        failures_bad_ppm: 400_000,
        false_stop_ppm: 20_000,
        missed_stop_ppm: 100_000,
        budgets: Vec::new(),
        silent_max_ppm: 100_000,
        soak: Millis(60 * MINUTE),
        attested_only: false,
        small_group: None,
    };
    let stage = |until_ppm, pace| Stage { until_ppm, pace, gate: gate(8) };
    Plan {
        trial: Some(Trial {
            who: Target::Filter { expression: "tag = trial".into() },
            gate: gate(6),
            promotion: Promotion::ByPerson,
        }),
        stages: vec![
            stage(300_000, Pace::AtOnce),
            stage(600_000, Pace::Linear { over: Millis(DAY) }),
            stage(
                1_000_000,
                Pace::Exponential { base_per_minute: 1, factor_percent: 200, every_confirmed: 10 },
            ),
        ],
        schedule: Schedule::default(),
        limits: Limits { devices_per_minute: 20, downloads_max: 12, ..Limits::default() },
        attempts: AttemptRules {
            begin_within: Millis(12 * 60 * MINUTE),
            download_within: Millis(12 * 60 * MINUTE),
            install_within: Millis(12 * 60 * MINUTE),
            confirm_within: Millis(24 * 60 * MINUTE),
            retries_max: 8,
            retry_after: Millis(10 * MINUTE),
            retry_after_max: Millis(6 * 60 * MINUTE),
        },
        approvals: 1,
        on_failure: OnFailure::Pause,
        priority: 0,
    }
}

async fn start(
    clock: &Arc<SimClock>,
    link: &Arc<KeptLink>,
    store: &Arc<StumblingStore>,
    blobs: &Arc<MemoryBlobStore>,
    seed: u64,
) -> Server {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let config =
        Config { notify_heard_within: Millis(DAY), sample_every: Millis(60 * MINUTE), ..Config::default() };
    Server::builder(Arc::clone(store) as _, Arc::clone(blobs) as _, Arc::clone(link) as _, entropy)
        .clock(Arc::clone(clock) as _)
        .signer(Arc::new(Sketch))
        .config(config)
        .start()
        .await
        .expect("a server")
}
