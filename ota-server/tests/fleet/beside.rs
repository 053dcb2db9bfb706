//! What a server that runs beside others does by itself: it looks as soon as the store hints that something is new, and leaves
//! its share of the messages to the others while the store does not answer, or takes them in its turn alone.

use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ota_core::conformance::memory::MemoryFleetStore;
use ota_core::fleet::{
    FleetStore, Key, Lease, LeaseRequest, LinkError, LinkEvent, MessageLink, Outbound, Share, StoreError,
    StoreErrorKind, Stored,
};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_server::{Config, KeySigner, Server};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::between::{Between, Through};
use crate::support::*;

/// Who holds which lease, and until when, by the time of the test.
type Leases = Mutex<HashMap<String, (String, Instant)>>;

/// A store that hints when a test says so, and does not answer while it is away.
struct SharedStore {
    store: Arc<MemoryFleetStore>,
    leases: Arc<Leases>,
    news: Notify,
    is_away: AtomicBool,
}

#[async_trait]
impl Between for SharedStore {
    fn store(&self) -> &MemoryFleetStore {
        &self.store
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreErrorKind::Unavailable.into());
        }
        self.store.load(keys).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreErrorKind::Unavailable.into());
        }
        let (now, left) = (Instant::now(), request.duration);
        let mut leases = self.leases.lock().unwrap();
        let held = leases.get(&request.name).filter(|(_, until)| *until > now);
        if held.is_some_and(|(holder, _)| *holder != request.holder) {
            return Ok(None);
        }
        let until = now + Duration::from_millis(left.0);
        leases.insert(request.name.clone(), (request.holder.clone(), until));
        Ok((left.0 > 0).then_some(Lease { token: 1, left, now: None }))
    }

    async fn hint(&self) {
        self.news.notified().await;
    }
}

/// The link of the world, by which nothing arrives: it keeps what is said about the server's share.
struct SharedLink {
    link: Arc<KeepingLink>,
    in_turns: bool,
    shares: Mutex<Vec<Share>>,
    closed: Notify,
}

impl SharedLink {
    fn shares(&self) -> Vec<Share> {
        self.shares.lock().unwrap().clone()
    }
}

#[async_trait]
impl MessageLink for SharedLink {
    async fn receive(&self, _: usize) -> Result<Vec<LinkEvent>, LinkError> {
        self.closed.notified().await;
        Ok(Vec::new())
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        self.link.send(messages).await
    }

    fn is_taken_in_turns(&self) -> bool {
        self.in_turns
    }

    fn share(&self, share: Share) {
        self.shares.lock().unwrap().push(share);
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        self.link.disconnect(device).await
    }
}

/// What a server runs on that knows that it is not alone.
type Beside = (Server, Arc<Through<SharedStore>>, Arc<SharedLink>, JoinHandle<()>);

/// A server that runs on the stores of the world, on a broker that divides messages.
async fn beside(world: &World) -> Beside {
    beside_by(world, 9, false, &Arc::default()).await
}

async fn beside_by(world: &World, seed: u64, in_turns: bool, leases: &Arc<Leases>) -> Beside {
    let (news, is_away) = (Notify::new(), AtomicBool::new(false));
    let leases = Arc::clone(leases);
    let store = Arc::new(Through(SharedStore { store: Arc::clone(&world.store), leases, news, is_away }));
    let (shares, closed) = (Mutex::default(), Notify::new());
    let link = Arc::new(SharedLink { link: Arc::clone(&world.link), in_turns, shares, closed });
    let (shared, blobs) = (Arc::clone(&store) as Arc<dyn FleetStore>, Arc::clone(&world.blobs) as _);
    let server = Server::builder(shared, blobs, Arc::clone(&link) as _, Arc::new(Seeded::new(seed)))
        .clock(Arc::clone(&world.clock) as _)
        .signer(Arc::new(KeySigner::for_all(key(4))))
        .config(Config { refresh_every: Millis(5_000), ..Config::default() })
        .start()
        .await
        .unwrap();
    let running = server.clone();
    let running = tokio::spawn(async move { running.run().await });
    (server, store, link, running)
}

/// Lets the server run for so long.
async fn pass(seconds: u64) {
    // sleeps: time is paused in these tests; this is the time that the server's own timers go by.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_looked_at_long_before_the_clock_says_so() {
    let mut world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let (server, store, _, running) = beside(&world).await;
    let release = world.release("1.1", &[7; 5000]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    drop(mem::replace(&mut world.server, server));
    let mut lamp = Lamp::new("lamp-1", "1.0");
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }), "it has not heard of it yet");
    // The clock of the world stands still: by it nothing is ever due.
    pass(20).await;
    let lamp_1 = DeviceIdBuf::new("lamp-1").unwrap();
    assert_eq!(world.heard_by(&lamp_1).len(), 0);
    store.news.notify_one();
    pass(3).await;
    assert_eq!(world.heard_by(&lamp_1).len(), 1, "it is told that its turn has come");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_leaves_its_share_while_the_store_does_not_answer() {
    let world = World::new().await;
    let (_, store, link, running) = beside(&world).await;
    pass(20).await;
    store.is_away.store(true, Ordering::SeqCst);
    pass(1).await;
    assert_eq!(link.shares(), [], "a restart is no reason");
    pass(10).await;
    assert_eq!(link.shares(), [Share::Left]);
    store.is_away.store(false, Ordering::SeqCst);
    pass(3).await;
    assert_eq!(link.shares(), [Share::Left, Share::Taken]);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn where_the_broker_divides_nothing_one_server_hears_all_devices_and_after_it_another() {
    let (world, leases) = (World::new().await, Arc::default());
    let (_, store, one, running) = beside_by(&world, 9, true, &leases).await;
    pass(1).await;
    let (_, _, other, running_too) = beside_by(&world, 10, true, &leases).await;
    pass(60).await;
    assert_eq!((one.shares(), other.shares()), (vec![Share::Taken], vec![]));
    // It leaves before anybody else may take over, and does not come back by itself.
    store.is_away.store(true, Ordering::SeqCst);
    pass(6).await;
    assert_eq!((one.shares(), other.shares()), (vec![Share::Taken, Share::Left], vec![]));
    pass(6).await;
    assert_eq!(other.shares(), [Share::Taken]);
    store.is_away.store(false, Ordering::SeqCst);
    pass(60).await;
    assert_eq!(one.shares(), [Share::Taken, Share::Left], "it is not its turn");
    // Whoever is shut down gives its turn to the next.
    other.closed.notify_one();
    running_too.await.unwrap();
    pass(2).await;
    assert_eq!(other.shares(), [Share::Taken, Share::Left]);
    assert_eq!(one.shares(), [Share::Taken, Share::Left, Share::Taken]);
    running.abort();
}
