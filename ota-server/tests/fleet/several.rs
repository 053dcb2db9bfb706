//! Several servers on one store.

use core::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ota_core::fleet::{FleetStore, LeaseRequest};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_server::{Config, KeySigner, Server};

use crate::support::*;

const REFRESH: Millis = Millis(5000);

/// Another server on the stores of the world, which knows that it is not alone.
async fn neighbour(world: &World, seed: u64) -> Server {
    let store: Arc<dyn FleetStore> = Arc::clone(&world.store) as _;
    let (blobs, link) = (Arc::clone(&world.blobs) as _, Arc::clone(&world.link) as _);
    Server::builder(store, blobs, link, Arc::new(Seeded(AtomicU64::new(seed))))
        .clock(Arc::clone(&world.clock) as _)
        .signer(Arc::new(KeySigner::for_all(key(4))))
        .config(Config { refresh_every: REFRESH, ..Config::default() })
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_campaign_that_one_server_made_reaches_devices_of_another() {
    let mut world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let other = neighbour(&world, 77).await;
    let release = world.release("1.1", &[7; 5000]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    let first = mem::replace(&mut world.server, other);
    let mut lamp = Lamp::new("lamp-1", "1.0");
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }), "it has not heard of it yet");
    world.pass(REFRESH);
    world.server.tick().await.unwrap();
    let lamp_1 = DeviceIdBuf::new("lamp-1").unwrap();
    assert_eq!(world.heard_by(&lamp_1).len(), 1, "it is told that its turn has come");
    let offer = lamp.offer(&world).await;
    // What one grants the other serves.
    world.server = first;
    lamp.fetch(&world, &offer, ota_core::wire::Part::ReleaseBody, u64::from(offer.body)).await;
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn one_of_several_servers_does_what_is_due_for_all() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[7; 5000]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    let (one, other) = (neighbour(&world, 77).await, neighbour(&world, 78).await);
    let noted = async || world.server.progress(&operator(), campaign).await.unwrap().campaign.samples.len();
    let before = noted().await;
    world.pass(Millis(3_600_000));
    // Whoever holds the lease works; the others leave it alone.
    let elsewhere = |duration| LeaseRequest { name: "tick".into(), holder: "elsewhere".into(), duration };
    world.store.lease(&elsewhere(Millis(60_000))).await.unwrap().unwrap();
    one.tick().await.unwrap();
    other.tick().await.unwrap();
    assert_eq!(noted().await, before);
    world.store.lease(&elsewhere(Millis(0))).await.unwrap();
    one.tick().await.unwrap();
    assert!(noted().await > before);
    assert_eq!(world.store.lease(&elsewhere(Millis(1000))).await.unwrap(), None, "it is held");
}
