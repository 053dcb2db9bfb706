//! Devices of the original system in the middle of a download: their chunks wait for nobody's commit, and nothing that a
//! device asks for overtakes what it said before.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::conformance::memory::MemoryFleetStore;
use ota_core::fleet::{
    Dialect, FleetStore, LinkError, LinkEvent, MessageLink, Outbound, Outcome, StoreError, Unit,
};
use ota_core::number::CampaignId;
use ota_core::sft::{Down, Entries, FileInfo, FileRevision, GetChunk, Phase, Status, StatusCode, Up};
use ota_core::text::DeviceIdBuf;
use ota_server::{KeySigner, Server};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::between::{Between, Through};
use crate::support::*;

/// Time stands still while somebody works, so this passes at once when nobody does any more.
const NEVER: Duration = Duration::from_secs(3600);

/// A store whose commits can be held up.
struct HeldStore {
    store: Arc<MemoryFleetStore>,
    is_held: AtomicBool,
    waits: Notify,
    released: Notify,
}

impl HeldStore {
    fn hold(&self) {
        self.is_held.store(true, Ordering::SeqCst);
    }

    /// Returns once a commit waits.
    async fn holds_one(&self) {
        timeout(NEVER, self.waits.notified()).await.expect("somebody commits");
    }

    fn release(&self) {
        self.is_held.store(false, Ordering::SeqCst);
        self.released.notify_one();
    }
}

#[async_trait]
impl Between for HeldStore {
    fn store(&self) -> &MemoryFleetStore {
        &self.store
    }

    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        if self.is_held.load(Ordering::SeqCst) {
            self.waits.notify_one();
            self.released.notified().await;
        }
        self.store.commit(units).await
    }
}

/// What the server says to a device, or that it closes its connection.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message(Bytes),
    Closed,
}

struct LiveLink {
    arriving: Mutex<mpsc::UnboundedReceiver<LinkEvent>>,
    told: mpsc::UnboundedSender<(DeviceIdBuf, Told)>,
}

#[async_trait]
impl MessageLink for LiveLink {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        let mut events = Vec::new();
        self.arriving.lock().await.recv_many(&mut events, limit).await;
        Ok(events)
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        for Outbound { device, payload, .. } in messages {
            let _ = self.told.send((device, Told::Message(payload)));
        }
        Ok(())
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        let _ = self.told.send((device.clone(), Told::Closed));
        Ok(true)
    }
}

/// A server that runs, and devices in the middle of a download of `app.bin` and `data.bin`, each of two chunks.
struct Scene {
    world: World,
    store: Arc<Through<HeldStore>>,
    campaign: CampaignId,
    events: mpsc::UnboundedSender<LinkEvent>,
    told: mpsc::UnboundedReceiver<(DeviceIdBuf, Told)>,
    running: JoinHandle<()>,
}

const ONE: &str = "old-1";
const TWO: &str = "old-2";
const SFT: u32 = 1 << 2;

fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

impl Scene {
    async fn new() -> Self {
        let mut world = World::with_dialects(SFT).await;
        world.register(&[(ONE, &[]), (TWO, &[]), ("old-3", &[])]).await;
        let store = Arc::new(Through(HeldStore {
            store: Arc::clone(&world.store),
            is_held: AtomicBool::new(false),
            waits: Notify::new(),
            released: Notify::new(),
        }));
        let (events, arriving) = mpsc::unbounded_channel();
        let (telling, told) = mpsc::unbounded_channel();
        let link = Arc::new(LiveLink { arriving: Mutex::new(arriving), told: telling });
        let shared: Arc<dyn FleetStore> = Arc::clone(&store) as _;
        let entropy = Arc::new(Seeded::new(5));
        let server = Server::builder(shared, Arc::clone(&world.blobs) as _, link, entropy)
            .clock(Arc::clone(&world.clock) as _)
            .signer(Arc::new(KeySigner::for_all(key(4))));
        world.server = server.start().await.unwrap();
        let campaign = roll_out(&world, "2").await;
        let server = world.server.clone();
        let running = tokio::spawn(async move { server.run().await });
        let mut scene = Self { world, store, campaign, events, told, running };
        for name in [ONE, TWO] {
            scene.begin(name, "2").await;
        }
        scene
    }

    /// Connects and fetches the first chunk, with which the download is on record.
    async fn begin(&mut self, name: &str, revision: &str) {
        self.connect(name);
        assert_eq!(
            self.listed(name).await,
            ["app.bin", "data.bin"].map(|file| (file.into(), revision.into()))
        );
        self.want(name, "app.bin", revision, 0);
        self.got(name, "app.bin", 0).await;
    }

    fn say(&self, name: &str, message: &Up<'_>) {
        let payload = message.to_vec().unwrap().into();
        self.events.send(LinkEvent::Message { dialect: Dialect::Sft, device: id(name), payload }).unwrap();
    }

    fn connect(&self, name: &str) {
        self.events.send(LinkEvent::Connected(id(name))).unwrap();
        let files = ["app.bin", "data.bin"].map(|file| FileRevision::new(file, "1").unwrap());
        self.say(name, &Up::FileInfo(FileInfo { files: Entries::from_slice(&files), takes_links: false }));
    }

    fn want(&self, name: &str, file: &str, revision: &str, offset: u32) {
        let file = FileRevision::new(file, revision).unwrap();
        self.say(name, &Up::GetChunk(GetChunk { file, offset, length: 1024 }));
    }

    /// What is said next, to whomever: it is to be this device.
    async fn next(&mut self, name: &str) -> Told {
        let next = timeout(NEVER, self.told.recv()).await;
        let (device, told) = next.unwrap_or_else(|_| panic!("{name} is told nothing")).unwrap();
        assert_eq!(device, id(name));
        told
    }

    async fn listed(&mut self, name: &str) -> Vec<(String, String)> {
        let Told::Message(payload) = self.next(name).await else { panic!("{name} is closed") };
        let Down::UpdateAvailable(update) = Down::decode(&payload).unwrap() else { panic!("no list") };
        let files = update.files.iter();
        files.map(|update| (update.file.name().to_owned(), update.file.revision().to_owned())).collect()
    }

    async fn got(&mut self, name: &str, file: &str, offset: u32) {
        let Told::Message(payload) = self.next(name).await else { panic!("{name} is closed") };
        let Down::Chunk(chunk) = Down::decode(&payload).unwrap() else { panic!("no chunk") };
        assert_eq!((chunk.file.name(), chunk.offset), (file, offset), "{name}");
    }

    /// Ends the server, which says no more than it has said.
    async fn end(mut self) {
        drop(self.events);
        timeout(NEVER, self.running).await.expect("it ends").unwrap();
        assert_eq!(self.told.try_recv().ok(), None);
    }
}

async fn roll_out(world: &World, revision: &str) -> CampaignId {
    let byte = revision.as_bytes()[0];
    let mut files = Vec::new();
    for (name, byte) in [("app.bin", byte), ("data.bin", byte + 100)] {
        files.push(world.file(name, revision, &[byte; 2048]).await);
    }
    let release = world.sign(world.release_draft(files)).await;
    world.start_campaign(draft(world, release, plan())).await
}

#[tokio::test(start_paused = true)]
async fn chunks_are_answered_while_a_commit_of_others_is_held_up() {
    let mut scene = Scene::new().await;
    scene.store.hold();
    scene.connect("old-3");
    scene.store.holds_one().await;
    for name in [ONE, TWO] {
        scene.want(name, "app.bin", "2", 1024);
        scene.got(name, "app.bin", 1024).await;
        scene.want(name, "data.bin", "2", 0);
        scene.got(name, "data.bin", 0).await;
    }
    scene.store.release();
    assert_eq!(scene.listed("old-3").await.len(), 2);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_request_is_never_answered_whichever_way_it_goes() {
    let mut scene = Scene::new().await;
    for _ in 0..3 {
        scene.want(ONE, "app.bin", "2", 1024);
    }
    scene.got(ONE, "app.bin", 1024).await;
    scene.want(ONE, "app.bin", "2", 0);
    scene.want(ONE, "data.bin", "2", 1024);
    scene.want(ONE, "data.bin", "2", 0);
    scene.got(ONE, "data.bin", 0).await;
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_behind_what_its_device_said_before() {
    let mut scene = Scene::new().await;
    scene.want(ONE, "app.bin", "2", 1024);
    scene.got(ONE, "app.bin", 1024).await;
    scene.store.hold();
    scene.connect("old-3");
    scene.store.holds_one().await;
    // The end of a file, and at once the beginning of the next, as the client says them.
    let file = FileRevision::new("app.bin", "2").unwrap();
    scene.say(ONE, &Up::Status(Status { file, phase: Phase::Downloaded, code: StatusCode::OK }));
    scene.want(ONE, "data.bin", "2", 0);
    scene.want(TWO, "app.bin", "2", 1024);
    scene.got(TWO, "app.bin", 1024).await;
    scene.store.release();
    assert_eq!(scene.listed("old-3").await.len(), 2);
    scene.got(ONE, "data.bin", 0).await;
    // Nothing waits any more: the next chunk needs no decision again.
    scene.store.hold();
    scene.connect("old-3");
    scene.store.holds_one().await;
    scene.want(ONE, "data.bin", "2", 1024);
    scene.got(ONE, "data.bin", 1024).await;
    scene.store.release();
    assert_eq!(scene.listed("old-3").await.len(), 2);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_has_come_back_gets_no_chunk_of_its_earlier_connection() {
    let mut scene = Scene::new().await;
    scene.store.hold();
    scene.connect("old-3");
    scene.store.holds_one().await;
    // Its check-in waits to be decided; what the old connection still asked for comes behind it.
    scene.connect(ONE);
    scene.want(ONE, "app.bin", "2", 1024);
    scene.want(TWO, "app.bin", "2", 1024);
    scene.got(TWO, "app.bin", 1024).await;
    scene.store.release();
    assert_eq!(scene.listed("old-3").await.len(), 2);
    assert_eq!(scene.listed(ONE).await.len(), 2);
    scene.want(ONE, "app.bin", "2", 0);
    scene.got(ONE, "app.bin", 0).await;
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_package_that_is_replaced_in_mid_download_gives_no_further_chunk_and_then_the_new_one() {
    let mut scene = Scene::new().await;
    scene.world.server.stop_campaign(&operator(), scene.campaign, "a better one").await.unwrap();
    roll_out(&scene.world, "3").await;
    let mut closed = Vec::new();
    while closed.len() < 2 {
        let (device, told) = timeout(NEVER, scene.told.recv()).await.expect("both are told").unwrap();
        assert_eq!(told, Told::Closed, "there is no other way to tell it");
        closed.push(device);
    }
    for name in [ONE, TWO] {
        scene.events.send(LinkEvent::Disconnected(id(name))).unwrap();
        scene.begin(name, "3").await;
        // What is left of the old download is no part of the new one.
        scene.want(name, "app.bin", "2", 1024);
        scene.want(name, "app.bin", "3", 1024);
        scene.got(name, "app.bin", 1024).await;
    }
    scene.end().await;
}
