//! Several servers on one store.

use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use ota_core::fleet::records::{Limits, Plan};
use ota_core::fleet::{Dialect, FleetStore, LeaseRequest, LinkEvent, Query, Table};
use ota_core::number::FileIndex;
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_core::wire::{Part, Phase, RefuseCode, ReportCode};
use ota_server::{Config, KeySigner, Server};

use crate::sft::{self, SFT, chunk, chunk_message, files_of, info, info_message};
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
    lamp.fetch(&world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
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

/// Two servers that know of each other, on a campaign with these limits; the world speaks to one of them at a time.
async fn two_servers(limits: Limits, lamps: u64) -> (World, [Server; 2]) {
    let mut world = World::new().await;
    let names: Vec<String> = (0..lamps).map(|number| format!("lamp-{number}")).collect();
    let lines: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    world.register(&lines).await;
    let release = world.release("1.1", &[7; 5000]).await;
    world.start_campaign(draft(&world, release, Plan { limits, ..plan() })).await;
    let servers = [neighbour(&world, 77).await, neighbour(&world, 78).await];
    world.server = servers[0].clone();
    (world, servers)
}

fn lamps(count: u64) -> Vec<Lamp> {
    (0..count).map(|number| Lamp::new(&format!("lamp-{number}"), "1.0")).collect()
}

#[tokio::test]
async fn servers_admit_together_no_more_than_the_plan_allows() {
    let limits = Limits { downloads_max: 3, ..Limits::default() };
    let (mut world, servers) = two_servers(limits, 12).await;
    let mut lamps = lamps(12);
    let mut offers = Vec::new();
    for (number, lamp) in lamps.iter_mut().enumerate() {
        world.server = servers[number % 2].clone();
        match lamp.check_in(&world).await {
            Answer::Offer(offer) => offers.push((number, offer)),
            Answer::Busy(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(offers.len(), 3);
    // One has its files, and says so to the server that has not made the offer: the other one sees that soon.
    let (number, offer) = &offers[0];
    world.server = servers[(number + 1) % 2].clone();
    let lamp = &lamps[*number];
    lamp.fetch(&world, offer, Part::File(FileIndex(0)), 5000).await;
    assert!(matches!(lamp.report(&world, offer, 0, Phase::Downloaded, ReportCode::Ok).await, Answer::Ack(0)));
    world.pass(Millis(1_000));
    world.server = servers[number % 2].clone();
    assert!(matches!(lamps[11].check_in(&world).await, Answer::Offer(_)), "there is room for one more");
    world.server = servers[(number + 1) % 2].clone();
    assert!(matches!(lamps[10].check_in(&world).await, Answer::Busy(_)), "and for one only");
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_rate_is_one_for_all_servers() {
    let limits = Limits { devices_per_minute: 4, ..Limits::default() };
    let (mut world, servers) = two_servers(limits, 12).await;
    let mut lamps = lamps(12);
    let mut admitted = 0;
    for (number, lamp) in lamps.iter_mut().enumerate() {
        world.server = servers[number % 2].clone();
        admitted += u32::from(matches!(lamp.check_in(&world).await, Answer::Offer(_)));
    }
    assert_eq!(admitted, 4);
    world.pass(Millis(30_000));
    for (number, lamp) in lamps.iter_mut().enumerate() {
        world.server = servers[number % 2].clone();
        // Who has an offer has it renewed, which costs nothing.
        admitted += u32::from(number >= 4 && matches!(lamp.check_in(&world).await, Answer::Offer(_)));
    }
    assert_eq!(admitted, 6);
}

#[tokio::test]
async fn a_bandwidth_is_one_for_all_servers() {
    let limits = Limits { bytes_per_second: 8 * 1024, ..Limits::default() };
    let (mut world, servers) = two_servers(limits, 2).await;
    let mut lamps = lamps(2);
    let mut offers = Vec::new();
    for (server, lamp) in servers.iter().zip(&mut lamps) {
        world.server = server.clone();
        offers.push(lamp.offer(&world).await);
    }
    let mut served = 0;
    for _ in 0..12 {
        for ((server, lamp), offer) in servers.iter().zip(&lamps).zip(&offers) {
            world.server = server.clone();
            let want = lamp.want(offer, Part::File(FileIndex(0)), 0, 1024, 1);
            for payload in world.say(&lamp.name, Dialect::Native, want).await {
                served += u64::from(matches!(answer(&payload), Answer::Block { .. }));
            }
        }
    }
    assert!((6..=8).contains(&served), "{served} blocks of a kilobyte at 8 kilobytes a second");
}

#[tokio::test]
async fn a_device_that_one_server_has_revoked_gets_nothing_more_from_another() {
    let (mut world, servers) = two_servers(Limits::default(), 1).await;
    let mut lamp = lamps(1).remove(0);
    let offer = lamp.offer(&world).await;
    lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 1024).await;
    let id = DeviceIdBuf::new("lamp-0").unwrap();
    servers[1].revoke_device(&admin(), &id, "stolen").await.unwrap();
    world.pass(REFRESH);
    servers[0].tick().await.unwrap();
    world.heard_by(&id);
    world.server = servers[0].clone();
    let want = lamp.want(&offer, Part::File(FileIndex(0)), 1024, 1024, 1);
    let answers = world.say("lamp-0", Dialect::Native, want).await;
    assert!(
        matches!(answers.as_slice(), [one] if matches!(answer(one), Answer::Refuse(RefuseCode::Revoked)))
    );
}

#[tokio::test]
async fn a_device_that_one_server_has_erased_gets_nothing_more_from_another_and_is_forgotten_by_both() {
    let (mut world, servers) = two_servers(Limits::default(), 1).await;
    let mut lamp = lamps(1).remove(0);
    let offer = lamp.offer(&world).await;
    lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 1024).await;
    let id = DeviceIdBuf::new("lamp-0").unwrap();
    servers[1].stop_everything(&admin(), None, "an owner asked").await.unwrap();
    servers[1].erase_device(&admin(), &id, "asked for").await.unwrap();
    world.link.closed.lock().unwrap().clear();
    world.pass(REFRESH);
    servers[0].tick().await.unwrap();
    let closed = world.link.closed.lock().unwrap().clone();
    assert!(matches!(closed.as_slice(), [one] if *one == id), "the other server closes its connection, too");
    world.heard_by(&id);
    world.server = servers[0].clone();
    let want = lamp.want(&offer, Part::File(FileIndex(0)), 1024, 1024, 1);
    let answers = world.say("lamp-0", Dialect::Native, want).await;
    assert!(
        matches!(answers.as_slice(), [one] if matches!(answer(one), Answer::Refuse(RefuseCode::UnknownDevice)))
    );
    let told = async || {
        let settings = world.store.scan(&Query::table(Table::Setting), None, 1000).await.unwrap();
        let is_named = |bytes: Vec<u8>| bytes.windows(6).any(|part| part == b"lamp-0");
        settings.items.into_iter().any(|(_, stored)| is_named(stored.record.to_bytes()))
    };
    assert!(told().await, "a server that was busy has time to hear of it");
    world.pass(Millis(11 * 60_000));
    servers[0].tick().await.unwrap();
    assert!(!told().await);
}

/// Two servers on a campaign for one device of the original protocol, on a link that tells nothing of connections.
async fn two_servers_for_an_old_device(limits: Limits) -> (World, [Server; 2]) {
    let mut world = World::with_dialects(SFT).await;
    world.register(&[("old-1", &[])]).await;
    let file = world.file("app.bin", "2", &[1; 4096]).await;
    let release = world.sign(world.release_draft(vec![file])).await;
    world.start_campaign(draft(&world, release, Plan { limits, ..plan() })).await;
    let servers = [neighbour(&world, 77).await, neighbour(&world, 78).await];
    world.server = servers[0].clone();
    (world, servers)
}

/// The same, and the device waits with the first server for a chunk that the bandwidth does not allow yet.
async fn a_chunk_is_owed() -> (World, [Server; 2]) {
    let limits = Limits { bytes_per_second: 1024, ..Limits::default() };
    let (world, servers) = two_servers_for_an_old_device(limits).await;
    servers[0].tick().await.unwrap();
    files_of(&info(&world, "old-1", "app.bin", "1").await);
    assert_eq!(chunk(&world, "old-1", "app.bin", "2", 0).await.len(), 1);
    assert_eq!(chunk(&world, "old-1", "app.bin", "2", 1024).await.len(), 0, "it has to wait");
    (world, servers)
}

/// What the device hears from a server that looks at what is due every second.
async fn heard_within_seconds(world: &World, server: &Server, seconds: u64) -> usize {
    for _ in 0..seconds {
        world.pass(Millis(1_000));
        server.tick().await.unwrap();
    }
    world.heard_by(&sft::id("old-1")).len()
}

#[tokio::test]
async fn a_chunk_that_waits_for_bandwidth_is_not_sent_to_a_device_that_has_begun_anew_elsewhere() {
    let (mut world, servers) = a_chunk_is_owed().await;
    world.server = servers[1].clone();
    world.pass(Millis(500));
    files_of(&info(&world, "old-1", "app.bin", "1").await);
    assert_eq!(heard_within_seconds(&world, &servers[0], 5).await, 0, "it asks from the beginning now");
    assert_eq!(chunk(&world, "old-1", "app.bin", "2", 0).await.len(), 1);
}

#[tokio::test]
async fn a_chunk_that_waits_for_bandwidth_is_sent_to_a_device_that_still_waits() {
    let (world, servers) = a_chunk_is_owed().await;
    assert_eq!(heard_within_seconds(&world, &servers[0], 5).await, 1);
}

#[tokio::test]
async fn a_chunk_is_not_sent_once_any_server_has_heard_however_late_that_its_device_has_begun_anew() {
    for hears in [0, 1] {
        let (world, servers) = a_chunk_is_owed().await;
        servers[hears].handle(vec![late(info_message("app.bin", "1"))]).await.unwrap();
        assert_eq!(world.heard_by(&sft::id("old-1")).len(), 0, "that is not answered");
        assert_eq!(heard_within_seconds(&world, &servers[0], 5).await, 0, "server {hears} has heard it");
    }
}

#[tokio::test]
async fn what_a_device_says_late_in_mid_download_takes_nothing_from_it() {
    let (world, servers) = a_chunk_is_owed().await;
    servers[1].handle(vec![late(chunk_message("app.bin", "2", 1024))]).await.unwrap();
    assert_eq!(heard_within_seconds(&world, &servers[0], 5).await, 1);
}

#[tokio::test]
async fn a_late_check_in_leaves_the_one_that_a_device_waits_with_as_it_is() {
    let limits = Limits { devices_per_minute: 1, ..Limits::default() };
    let (mut world, servers) = two_servers_for_an_old_device(limits).await;
    world.register(&[("old-2", &[])]).await;
    files_of(&info(&world, "old-2", "app.bin", "1").await);
    assert_eq!(info(&world, "old-1", "app.bin", "1").await.len(), 0, "it is not its turn");
    world.server = servers[1].clone();
    servers[1].handle(vec![late(info_message("app.bin", "1"))]).await.unwrap();
    assert_eq!(heard_within_seconds(&world, &servers[0], 70).await, 1, "it still is the first server's");
}

#[tokio::test]
async fn a_chunk_is_not_sent_by_a_server_that_could_not_look_for_a_while() {
    let (world, servers) = a_chunk_is_owed().await;
    world.pass(Millis(5_000));
    assert_eq!(heard_within_seconds(&world, &servers[0], 5).await, 0, "it may have begun anew meanwhile");
}

#[tokio::test]
async fn a_chunk_is_not_sent_by_another_connection_than_it_was_asked_for() {
    let (world, servers) = a_chunk_is_owed().await;
    world.link.is_unsteady.store(true, Ordering::SeqCst);
    servers[0].tick().await.unwrap();
    world.link.is_unsteady.store(false, Ordering::SeqCst);
    assert_eq!(heard_within_seconds(&world, &servers[0], 5).await, 0);
}

/// What the device has said, as a link tells it that knows how old it is.
fn late(payload: Bytes) -> LinkEvent {
    LinkEvent::Late { dialect: Dialect::Sft, device: sft::id("old-1"), payload }
}

#[tokio::test]
async fn what_an_old_device_asks_is_answered_soon_and_by_the_same_connection_or_not_at_all() {
    let (world, _) = two_servers_for_an_old_device(Limits::default()).await;
    world.clock.step.store(5_000, Ordering::SeqCst);
    assert_eq!(info(&world, "old-1", "app.bin", "1").await.len(), 0, "it may have begun anew meanwhile");
    world.clock.step.store(0, Ordering::SeqCst);
    world.link.is_unsteady.store(true, Ordering::SeqCst);
    world.pass(Millis(10_000));
    assert_eq!(info(&world, "old-1", "app.bin", "1").await.len(), 0, "the link has lost its connection");
    world.link.is_unsteady.store(false, Ordering::SeqCst);
    world.pass(Millis(10_000));
    files_of(&info(&world, "old-1", "app.bin", "1").await);
}

/// A device of the original protocol that got an offer from one server, and checks in with the other so soon that the list may still be on its way.
async fn begun_anew_just_after_an_offer() -> (World, [Server; 2]) {
    let (mut world, servers) = two_servers_for_an_old_device(Limits::default()).await;
    files_of(&info(&world, "old-1", "app.bin", "1").await);
    world.pass(Millis(3_500));
    world.server = servers[1].clone();
    assert_eq!(
        info(&world, "old-1", "app.bin", "1").await.len(),
        0,
        "the list may have come by this connection"
    );
    (world, servers)
}

#[tokio::test]
async fn an_old_device_that_connects_anew_just_after_an_offer_gets_the_next_one_if_it_asks_for_nothing() {
    let (world, servers) = begun_anew_just_after_an_offer().await;
    assert_eq!(heard_within_seconds(&world, &servers[1], 4).await, 0);
    world.pass(Millis(1_000));
    servers[1].tick().await.unwrap();
    files_of(&world.heard_by(&sft::id("old-1")));
    assert_eq!(chunk(&world, "old-1", "app.bin", "2", 0).await.len(), 1);
}

#[tokio::test]
async fn an_old_device_that_asked_for_chunks_however_late_that_was_heard_gets_no_second_offer() {
    let (world, servers) = begun_anew_just_after_an_offer().await;
    servers[0].handle(vec![late(chunk_message("app.bin", "2", 0))]).await.unwrap();
    assert_eq!(heard_within_seconds(&world, &servers[1], 9).await, 0);
}

#[tokio::test]
async fn an_old_device_that_asks_another_server_for_chunks_gets_no_second_offer() {
    let (mut world, servers) = begun_anew_just_after_an_offer().await;
    world.server = servers[0].clone();
    assert_eq!(chunk(&world, "old-1", "app.bin", "2", 0).await.len(), 1, "it has");
    assert_eq!(heard_within_seconds(&world, &servers[1], 9).await, 0);
}
