//! What a server that runs beside others does by itself: it looks as soon as the store hints that something is new, and leaves
//! its share of the messages to the others while the store does not answer.

use core::future::pending;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ota_core::conformance::memory::MemoryFleetStore;
use ota_core::fleet::{
    FleetStore, Key, LinkError, LinkEvent, MessageLink, Outbound, Share, StoreError, StoreErrorKind, Stored,
};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_server::{Config, KeySigner, Server};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::between::{Between, Through};
use crate::support::*;

/// A store that hints when a test says so, and does not answer while it is away.
struct SharedStore {
    store: Arc<MemoryFleetStore>,
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

    async fn hint(&self) {
        self.news.notified().await;
    }
}

/// The link of the world, by which nothing arrives: it keeps what is said about the server's share.
struct SharedLink {
    link: Arc<KeepingLink>,
    shares: Mutex<Vec<Share>>,
}

#[async_trait]
impl MessageLink for SharedLink {
    async fn receive(&self, _: usize) -> Result<Vec<LinkEvent>, LinkError> {
        pending().await
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        self.link.send(messages).await
    }

    fn share(&self, share: Share) {
        self.shares.lock().unwrap().push(share);
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        self.link.disconnect(device).await
    }
}

/// A server that runs on the stores of the world and knows that it is not alone.
async fn beside(world: &World) -> (Server, Arc<Through<SharedStore>>, Arc<SharedLink>, JoinHandle<()>) {
    let (news, is_away) = (Notify::new(), AtomicBool::new(false));
    let store = Arc::new(Through(SharedStore { store: Arc::clone(&world.store), news, is_away }));
    let link = Arc::new(SharedLink { link: Arc::clone(&world.link), shares: Mutex::default() });
    let (shared, blobs) = (Arc::clone(&store) as Arc<dyn FleetStore>, Arc::clone(&world.blobs) as _);
    let server = Server::builder(shared, blobs, Arc::clone(&link) as _, Arc::new(Seeded::new(9)))
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
    let shares = || link.shares.lock().unwrap().clone();
    pass(20).await;
    store.is_away.store(true, Ordering::SeqCst);
    pass(1).await;
    assert_eq!(shares(), [], "a restart is no reason");
    pass(10).await;
    assert_eq!(shares(), [Share::Left]);
    store.is_away.store(false, Ordering::SeqCst);
    pass(3).await;
    assert_eq!(shares(), [Share::Left, Share::Taken]);
    running.abort();
}
