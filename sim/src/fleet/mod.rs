//! A fleet in virtual time: the real server on a real store, many fast models of devices, some devices with the real
//! engine, and some that speak the original protocol.
//!
//! Everything follows from one seed: who fails, what is lost, when the server crashes. First what must never happen
//! is watched while everything goes wrong; then the faults stop, and progress is demanded.

mod engine;
mod faults;
mod lamp;
mod medium;
mod original;
mod parts;
pub mod scale;
mod watch;
pub mod year;

use core::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use ota_core::conformance::memory::{MemoryBlobStore, MemoryFleetStore};
use ota_core::fleet::records::{
    Amended, AttemptPhase, AttemptRules, Campaign, CampaignState, Gate, Limits, OnFailure, Pace, Plan,
    Promotion, Schedule, SmallGroup, Stage, Target, Trial,
};
use ota_core::fleet::{Dialect, FleetStore, LinkEvent};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};
use ota_server::rules::campaign::Draft;
use ota_server::{Config, Server};
use ota_storage::redb::{RedbOptions, RedbStore};

use self::engine::Engine;
pub use self::faults::{Faults, Happened, Kept, Kinds};
use self::lamp::{Lamp, Mood};
use self::medium::Disk;
use self::original::{Act, Client};
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

/// A copy of the server's store.
pub struct Backup(Disk);

enum Happening {
    Wake(usize),
    Up(usize, Bytes),
    Down(usize, Bytes),
    /// Messages of a connection of an original device: what belongs to a former one is gone.
    OriginalUp(usize, u64, Bytes),
    OriginalDown(usize, u64, Bytes),
    Tick,
}

enum Device {
    Fast(Lamp),
    Original(Client),
    Real(Engine),
}

impl Device {
    fn is_brick(&self) -> bool {
        match self {
            Self::Fast(lamp) => lamp.is_brick(),
            Self::Original(client) => client.is_brick(),
            Self::Real(engine) => engine.is_brick(),
        }
    }

    fn revision(&self) -> u32 {
        match self {
            Self::Fast(lamp) => lamp.revision(),
            Self::Original(client) => client.revision(),
            Self::Real(engine) => engine.revision(),
        }
    }
}

/// A fleet, its server, and what goes on between them.
pub struct Fleet {
    seed: u64,
    dice: Dice,
    now: Timestamp,
    tick_every: Millis,
    /// How far the server's clock is behind when no fault makes it wrong.
    behind: Millis,
    clock: Arc<SimClock>,
    link: Arc<KeptLink>,
    signer: Arc<Sketch>,
    disk: Option<Disk>,
    store: Arc<StumblingStore>,
    blobs: Arc<MemoryBlobStore>,
    server: Server,
    product: ProductIdBuf,
    devices: Vec<Device>,
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
    /// A fleet of so many fast models, and some others beside them, on the reference store.
    pub async fn new(seed: u64, devices: usize) -> Self {
        Self::of(seed, Kinds { fast: devices, original: devices / 10, real: 2 }, Kept::InMemory).await
    }

    /// A fleet of these devices, all with revision 0, every tenth in the trial group.
    pub async fn of(seed: u64, kinds: Kinds, kept: Kept) -> Self {
        let clock = Arc::new(SimClock::at(BEGINNING));
        let link = Arc::new(KeptLink::default());
        let disk = (kept == Kept::InRedb).then(Disk::default);
        let store = Arc::new(StumblingStore::new(opened(disk.as_ref()), seed));
        let blobs = Arc::new(MemoryBlobStore::new());
        let signer = Arc::new(Sketch::new(kinds.fast + kinds.original));
        let server = start(&clock, &link, &store, &blobs, &signer, seed).await;
        let product = parts::set_up(&server).await;
        let count = kinds.fast + kinds.original + kinds.real;
        let ids: Vec<DeviceIdBuf> = (0..count).map(parts::device_id).collect();
        parts::register(&server, &product, &ids).await;
        let root = parts::root_body(&product);
        let device = |place: usize| {
            if place < kinds.fast {
                Device::Fast(Lamp::new(place))
            } else if place < kinds.fast + kinds.original {
                Device::Original(Client::new(seed))
            } else {
                let own = seed ^ (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Device::Real(Engine::new(parts::device_id(place), root.clone(), own))
            }
        };
        let mut fleet = Self {
            seed,
            dice: Dice::new(seed),
            now: BEGINNING,
            tick_every: Millis(15 * MINUTE),
            behind: Millis(0),
            clock,
            link,
            signer,
            disk,
            store,
            blobs,
            server,
            product,
            devices: (0..count).map(device).collect(),
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
        for place in 0..count {
            let after = Millis(fleet.dice.below(6 * 60 * MINUTE));
            fleet.later(after, Happening::Wake(place));
        }
        fleet.later(Millis(MINUTE), Happening::Tick);
        fleet
    }

    /// How often the server looks at what is due, in virtual time.
    pub const fn tick_every(&mut self, span: Millis) {
        self.tick_every = span;
    }

    /// Somebody sets the server's clock back by so much, or right again.
    pub fn server_clock_is_behind(&mut self, by: Millis) {
        self.behind = by;
        self.sets_clock();
    }

    /// The server's clock tells what it was set to.
    fn sets_clock(&self) {
        self.clock.is_wrong_by(i64::try_from(self.behind.0).map_or(i64::MIN, i64::wrapping_neg));
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

    /// Copies the store as it is now.
    ///
    /// # Panics
    /// If the fleet is not kept in redb.
    #[must_use]
    pub fn back_up(&self) -> Backup {
        Backup(self.disk.as_ref().expect("a store on a disk").copy())
    }

    /// The server is lost with its store, and another goes on from a copy. Uploaded files are all there.
    pub async fn go_on_from(&mut self, backup: &Backup) {
        self.disk = Some(backup.0.copy());
        // What was seen of the time that is lost says nothing about the one that comes.
        (self.watch, self.campaigns) = (Watch::default(), Vec::new());
        self.crash().await;
    }

    /// Lets so much time pass while this goes wrong.
    ///
    /// # Panics
    /// With the seed, if anything happens that must not.
    pub async fn run(&mut self, faults: Faults, span: Millis) {
        self.faults = faults;
        self.store.fails(faults.failed_commits);
        if faults.wrong_clocks == 0 {
            self.sets_clock();
        }
        let end = self.now.plus(span);
        while let Some(Reverse((at, number))) = self.queue.pop() {
            if at > end {
                self.queue.push(Reverse((at, number)));
                break;
            }
            self.now = at;
            self.clock.set(at);
            match self.happenings.remove(&number) {
                Some(Happening::Wake(place)) => self.wake(place).await,
                Some(Happening::Up(place, payload)) => self.up(place, payload).await,
                Some(Happening::Down(place, payload)) => self.down(place, payload),
                Some(Happening::OriginalUp(place, connection, payload)) => {
                    self.original_up(place, connection, payload).await;
                }
                Some(Happening::OriginalDown(place, connection, payload)) => {
                    self.original_down(place, connection, &payload);
                }
                Some(Happening::Tick) => self.tick().await,
                None => {}
            }
            if self.disk.as_ref().is_some_and(Disk::is_cut) {
                self.happened.torn_commits += 1;
                self.crash().await;
            }
        }
        if let Some(disk) = &self.disk {
            disk.stays_on();
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
        for (place, device) in self.devices.iter().enumerate() {
            if device.is_brick() || device.revision() == revision {
                continue;
            }
            let id = parts::device_id(place);
            let report = self.server.device(&operator(), &id).await.expect("a report");
            // Whoever failed for good was reported so, and has a reason; everybody else must be there.
            let has_ended =
                report.history.iter().any(|line| !ota_server::rules::attempt::is_open(line.phase));
            assert!(has_ended, "seed {}: {id} has revision {}: {report:#?}", self.seed, device.revision());
        }
    }

    /// Whether every device that can still speak has this revision.
    #[must_use]
    pub fn is_everybody_at(&self, revision: u32) -> bool {
        self.devices.iter().all(|device| device.is_brick() || device.revision() == revision)
    }

    /// How many devices have this revision.
    #[must_use]
    pub fn having(&self, revision: u32) -> usize {
        self.devices.iter().filter(|device| device.revision() == revision).count()
    }

    /// How a campaign stands, and whoever does not have its release: for whoever has to understand a seed.
    pub async fn story(&self, id: CampaignId) -> String {
        let progress = self.server.progress(&operator(), id).await.expect("progress");
        let record = &progress.campaign;
        let mut story = format!(
            "seed {}: {:?}: {}\nstage {} since {:?}, passed {:?}, {:?}",
            self.seed,
            record.state,
            record.reason,
            record.progress.stage,
            record.progress.since,
            record.progress.passed,
            progress.gate
        );
        for (place, device) in self.devices.iter().enumerate() {
            let name = parts::device_id(place);
            let report = self.server.device(&operator(), &name).await.expect("a report");
            let line = report.history.iter().find(|line| line.campaign == id);
            if line.is_some_and(|line| line.phase == AttemptPhase::Confirmed) {
                continue;
            }
            let kind = match device {
                Device::Fast(_) => "fast",
                Device::Original(_) => "original",
                Device::Real(_) => "real",
            };
            let why = self.server.why_not(&operator(), &name, id).await.expect("a reason");
            let (is_brick, revision) = (device.is_brick(), device.revision());
            story.push_str(&format!(
                "\n{name} ({kind}, brick {is_brick}, revision {revision}): {why}: {line:?}"
            ));
        }
        story
    }

    /// How many devices still live.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.devices.iter().filter(|device| !device.is_brick()).count()
    }

    /// The end of the audit chain: two runs that agree in it have done the same.
    ///
    /// # Panics
    /// If the chain is broken.
    pub async fn head(&self) -> (u64, ota_core::fleet::AuditHash) {
        match self.server.verify_audit(&admin(), None).await.expect("the audit chain") {
            ota_server::AuditCheck::Intact { entries, head } => (entries, head),
            broken => panic!("seed {}: {broken:?}", self.seed),
        }
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

    async fn wake(&mut self, place: usize) {
        let crashes = self.dice.happens(self.faults.device_crashes);
        self.happened.device_crashes += u64::from(crashes);
        let was_brick = self.devices[place].is_brick();
        let bad_starts = self.faults.bad_starts;
        let (now, dice) = (self.now, &mut self.dice);
        let mut act = None;
        let (messages, next) = match &mut self.devices[place] {
            Device::Fast(lamp) => {
                if crashes {
                    lamp.forget(now);
                }
                lamp.wake(now, dice, &self.releases, bad_starts)
            }
            Device::Real(engine) => {
                if crashes {
                    engine.forget();
                }
                let failures = self.releases.last().map_or(0, |release| release.failures);
                engine.wake(now, failures.saturating_add(bad_starts))
            }
            Device::Original(client) => {
                if crashes && !client.is_brick() {
                    client.breaks();
                }
                let next;
                (act, next) = client.wake(now, dice);
                (Vec::new(), next)
            }
        };
        self.happened.bricked += u64::from(!was_brick && self.devices[place].is_brick());
        for message in messages {
            self.send(|| Happening::Up(place, message.clone()));
        }
        if let Some(act) = act {
            self.act(place, act).await;
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

    /// An original device connects or says something. Its link keeps the order, loses nothing, and breaks as a whole.
    async fn act(&mut self, place: usize, act: Act) {
        let said = match act {
            Act::Connect(said) => {
                let events = vec![LinkEvent::Connected(parts::device_id(place))];
                self.server.handle(events).await.expect("the link keeps everything");
                self.deliver().await;
                said
            }
            Act::Say(said) => said,
        };
        for (number, payload) in (1_u64..).zip(said) {
            self.send_original(place, number, |connection| {
                Happening::OriginalUp(place, connection, payload.clone())
            });
        }
    }

    /// A message of an original device sets out: it arrives, in order, or the connection breaks.
    fn send_original(&mut self, place: usize, number: u64, make: impl Fn(u64) -> Happening) {
        let Device::Original(client) = &mut self.devices[place] else { return };
        if self.dice.happens(self.faults.lost) {
            self.happened.broken_connections += 1;
            client.breaks();
            let after = Millis(MINUTE + self.dice.below(10 * MINUTE));
            return self.later(after, Happening::Wake(place));
        }
        let connection = client.connection;
        // What was not acknowledged is said again after the connection has been made anew, or by an eager client.
        let copies = if self.dice.happens(self.faults.doubled) { 2 } else { 1 };
        let latency = Millis(20 * number + 20);
        self.later(latency, make(connection));
        if copies == 2 && matches!(make(connection), Happening::OriginalUp(..)) {
            self.happened.doubled += 1;
            self.later(latency, make(connection));
        }
    }

    async fn original_up(&mut self, place: usize, connection: u64, payload: Bytes) {
        let Device::Original(client) = &self.devices[place] else { return };
        if client.connection != connection {
            return;
        }
        self.happened.check_ins += 1;
        let device = parts::device_id(place);
        let event = LinkEvent::Message { dialect: Dialect::Sft, device, payload };
        self.server.handle(vec![event]).await.expect("the link keeps everything");
        self.deliver().await;
    }

    fn original_down(&mut self, place: usize, connection: u64, payload: &Bytes) {
        let Device::Original(client) = &mut self.devices[place] else { return };
        if client.connection != connection || client.is_brick() {
            return;
        }
        let (act, is_offer) = client.hear(payload, &mut self.dice, &self.releases, self.faults.bad_starts);
        self.happened.bricked += u64::from(client.is_brick());
        self.happened.offers += u64::from(is_offer);
        let Some(Act::Say(said)) = act else { return };
        for (number, payload) in (1_u64..).zip(said) {
            self.send_original(place, number, |connection| {
                Happening::OriginalUp(place, connection, payload.clone())
            });
        }
    }

    fn is_cut(&self) -> bool {
        self.disk.as_ref().is_some_and(Disk::is_cut)
    }

    /// The server is gone with all it had in memory; another starts on what was durable. All connections break.
    async fn crash(&mut self) {
        self.happened.server_crashes += 1;
        // What it was about to say is never said.
        drop(self.link.take());
        drop(self.link.take_closed());
        let seed = self.dice.next();
        if let Some(disk) = &self.disk {
            let left = disk.after_the_cut(&mut self.dice);
            let failed = self.store.failed();
            self.store = Arc::new(StumblingStore::new(opened(Some(&left)), seed));
            self.store.has_failed(failed);
            self.disk = Some(left);
        }
        self.store.fails(0);
        self.server = start(&self.clock, &self.link, &self.store, &self.blobs, &self.signer, seed).await;
        self.store.fails(self.faults.failed_commits);
        for place in 0..self.devices.len() {
            if let Device::Original(client) = &mut self.devices[place]
                && !client.is_brick()
            {
                client.breaks();
                let after = Millis(MINUTE + self.dice.below(5 * MINUTE));
                self.later(after, Happening::Wake(place));
            }
        }
    }

    /// Looks at what the server sends, then lets it set out.
    async fn deliver(&mut self) {
        if self.is_cut() {
            return;
        }
        for device in self.link.take_closed() {
            let Some(place) = self.places.get(&device).copied() else { continue };
            let Device::Original(client) = &mut self.devices[place] else { continue };
            if client.is_brick() {
                continue;
            }
            client.breaks();
            let after = Millis(MINUTE + self.dice.below(5 * MINUTE));
            self.later(after, Happening::Wake(place));
        }
        for out in self.link.take() {
            let Some(place) = self.places.get(&out.device).copied() else { continue };
            let offered = match out.dialect {
                Dialect::Sft => {
                    let revision = original::offered(&out.payload);
                    revision
                        .and_then(|revision| self.releases.iter().find(|it| it.revision == revision))
                        .map(|release| release.id)
                }
                _ => self.signer.offered(&out.payload),
            };
            if let Some(offered) = offered {
                let times = (self.now, self.clock.told());
                self.watch.offered(&self.server, &out.device, offered, times, self.seed).await;
            }
            match &self.devices[place] {
                Device::Original(_) => self.send_original(place, 1, |connection| {
                    Happening::OriginalDown(place, connection, out.payload.clone())
                }),
                _ => self.send(|| Happening::Down(place, out.payload.clone())),
            }
        }
    }

    fn down(&mut self, place: usize, payload: Bytes) {
        let is_offer = self.signer.offered(&payload).is_some();
        match &mut self.devices[place] {
            Device::Fast(lamp) => {
                let mood = lamp.hear(&payload, self.now, &self.releases);
                self.happened.offers += u64::from(mood == Mood::Offered);
                if mood != Mood::Idle {
                    let after = Millis(200 + self.dice.below(30_000));
                    self.later(after, Happening::Wake(place));
                }
            }
            Device::Real(engine) => {
                self.happened.offers += u64::from(is_offer);
                engine.hear(payload);
                self.later(Millis(1), Happening::Wake(place));
            }
            Device::Original(_) => {}
        }
    }

    async fn tick(&mut self) {
        self.clocks();
        self.later(self.tick_every, Happening::Tick);
        if self.dice.happens(self.faults.server_crashes) {
            match &self.disk {
                // Somewhere in one of the next commits.
                Some(disk) if self.dice.happens(700_000) => disk.cut_after(self.dice.below(60)),
                _ => self.crash().await,
            }
        }
        // A tick that fails is done by the next one.
        let _ = self.server.tick().await;
        self.deliver().await;
        // Campaigns that have been followed by two others are at rest.
        for id in self.campaigns.iter().rev().take(2).copied().collect::<Vec<_>>() {
            if self.is_cut() {
                return;
            }
            match self.watch.campaign(&self.server, id, self.seed).await {
                record if record.state == CampaignState::Trialled => {
                    let _ = self.server.promote_campaign(&approver(), id).await;
                }
                record if record.state == CampaignState::Paused => self.go_on(id, &record).await,
                _ => {}
            }
        }
    }

    /// A gate has paused a release that is not to blame, while everything went wrong: once that is over, one person takes
    /// the gate as passed with what was seen, and a second one consents.
    async fn go_on(&mut self, id: CampaignId, record: &Campaign) {
        let is_good =
            self.releases.iter().any(|release| release.id == record.release && release.failures == 0);
        if self.faults != Faults::NONE || !is_good {
            return;
        }
        let server = &self.server;
        server.resume_campaign(&operator(), id).await.expect("a campaign that goes on");
        let why = "the failures had causes of their own";
        // A trial that has shown nothing cannot be taken as passed: it goes on until it has.
        if server.amend_campaign(&operator(), id, Amended::Gate, why).await.is_err() {
            return;
        }
        let progress = server.progress(&operator(), id).await.expect("progress");
        if let Some(hash) = progress.amendment_hash {
            server.consent_to_amendment(&approver(), id, &hash).await.expect("a consent");
        }
        self.watch.accepted(id, record.progress.stage);
    }

    /// All clocks may jump, and the server's may go wrong or be set right.
    fn clocks(&mut self) {
        if self.dice.happens(self.faults.clock_jumps) {
            self.happened.clock_jumps += 1;
            // The whole world is late: whoever compares times of before and after sees a jump.
            self.now = self.now.plus(Millis(self.dice.below(60 * MINUTE)));
            self.clock.set(self.now);
        }
        if self.dice.happens(self.faults.wrong_clocks) {
            self.happened.wrong_clocks += 1;
            let hour = i64::try_from(60 * MINUTE).unwrap_or(i64::MAX);
            let by = i64::try_from(self.dice.below(2 * 60 * MINUTE)).unwrap_or(0);
            self.clock.is_wrong_by(by - hour);
        } else if self.clock.is_wrong() && self.dice.happens(250_000) {
            self.sets_clock();
        }
    }
}

/// The store: in memory, or what a disk holds.
fn opened(disk: Option<&Disk>) -> Arc<dyn FleetStore> {
    let Some(disk) = disk.cloned() else { return Arc::new(MemoryFleetStore::new()) };
    let options = RedbOptions { cache_bytes: 4 << 20, ..RedbOptions::default() };
    let store = RedbStore::open_on(move || disk.clone(), options);
    Arc::new(store.expect("a store opens on whatever a power cut has left"))
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
        small_group: Some(SmallGroup::ByShare),
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
    signer: &Arc<Sketch>,
    seed: u64,
) -> Server {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let config =
        Config { notify_heard_within: Millis(DAY), sample_every: Millis(60 * MINUTE), ..Config::default() };
    Server::builder(Arc::clone(store) as _, Arc::clone(blobs) as _, Arc::clone(link) as _, entropy)
        .clock(Arc::clone(clock) as _)
        .signer(Arc::clone(signer) as _)
        .config(config)
        .start()
        .await
        .expect("a server")
}
