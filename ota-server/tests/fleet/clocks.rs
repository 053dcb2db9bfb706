//! A server whose own clock is wrong, beside one whose clock is right: both go by the clock of the store.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use async_trait::async_trait;
use ota_core::conformance::memory::MemoryFleetStore;
use ota_core::fleet::records::{CampaignState, Plan, PrincipalRecord, Schedule};
use ota_core::fleet::{FleetStore, Lease, LeaseRequest, StoreError};
use ota_core::number::FileIndex;
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::Part;
use ota_server::{Clock as _, Config, KeySigner, NewToken, Server};

use crate::between::{Between, Through};
use crate::support::*;

/// A store with a clock, which it tells with each lease.
struct ClockedStore {
    store: Arc<MemoryFleetStore>,
    clock: Arc<HandClock>,
}

#[async_trait]
impl Between for ClockedStore {
    fn store(&self) -> &MemoryFleetStore {
        &self.store
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        let lease = self.store.lease(request).await?;
        Ok(lease.map(|lease| Lease { now: Some(self.clock.now()), ..lease }))
    }
}

/// A server on the stores of the world, which knows that it is not alone and has this clock of its own.
async fn server(world: &World, own: &Arc<HandClock>, seed: u64) -> Server {
    let (store, clock) = (Arc::clone(&world.store), Arc::clone(&world.clock));
    let store: Arc<dyn FleetStore> = Arc::new(Through(ClockedStore { store, clock }));
    let (blobs, link) = (Arc::clone(&world.blobs) as _, Arc::clone(&world.link) as _);
    Server::builder(store, blobs, link, Arc::new(Seeded::new(seed)))
        .clock(Arc::clone(own) as _)
        .signer(Arc::new(KeySigner::for_all(key(4))))
        .config(Config { refresh_every: Millis(5_000), ..Config::default() })
        .start()
        .await
        .unwrap()
}

/// The world, a clock that shows another time than the world's, and a server for each.
async fn two_clocks(shows: Timestamp) -> (World, Arc<HandClock>, [Server; 2]) {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[])]).await;
    let wrong = Arc::new(HandClock::at(shows));
    let servers = [server(&world, &world.clock, 77).await, server(&world, &wrong, 78).await];
    (world, wrong, servers)
}

/// So much time goes by, on both clocks, and both servers do what is due.
async fn pass(world: &World, wrong: &HandClock, servers: &[Server; 2], span: Millis) {
    world.pass(span);
    wrong.time.fetch_add(span.0, Ordering::SeqCst);
    for server in servers {
        server.tick().await.unwrap();
    }
}

fn ann() -> PrincipalRecord {
    PrincipalRecord { title: "Ann".into(), roles: Vec::new(), disabled: false, password: None }
}

const WRONG: [Timestamp; 2] = [Timestamp(START.0 + HOUR.0), Timestamp(START.0 - HOUR.0)];

#[tokio::test]
async fn campaigns_begin_and_devices_are_served_by_the_clock_of_the_store() {
    for shows in WRONG {
        let (mut world, wrong, servers) = two_clocks(shows).await;
        let release = world.release("1.1", &[7; 5000]).await;
        let schedule = Schedule { start: START.plus(Millis(HOUR.0 / 2)), ..Schedule::default() };
        let campaign = world.start_campaign(draft(&world, release, Plan { schedule, ..plan() })).await;
        let state =
            async |server: &Server| server.progress(&operator(), campaign).await.unwrap().campaign.state;
        let mut lamps = ["lamp-1", "lamp-2"].map(|name| Lamp::new(name, "1.0"));
        pass(&world, &wrong, &servers, Millis(10_000)).await;
        for (server, lamp) in servers.iter().zip(&mut lamps) {
            world.server = server.clone();
            assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }), "it has not begun");
            assert_eq!(state(server).await, CampaignState::Scheduled);
        }
        pass(&world, &wrong, &servers, Millis(HOUR.0 / 2)).await;
        pass(&world, &wrong, &servers, Millis(10_000)).await;
        for (number, lamp) in lamps.iter_mut().enumerate() {
            // One makes the offer and grants the blocks, the other sends them.
            world.server = servers[number].clone();
            let offer = lamp.offer(&world).await;
            let id = DeviceIdBuf::new(lamp.name.as_str()).unwrap();
            let report = servers[1 - number].device(&operator(), &id).await.unwrap();
            assert_eq!(report.heard, world.now(), "{} was heard now", lamp.name);
            world.server = servers[1 - number].clone();
            lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 5000).await;
        }
        // Nobody has run out of time, whichever server keeps the deadlines.
        pass(&world, &wrong, &servers, Millis(10_000)).await;
        for lamp in &mut lamps {
            lamp.update(&world, "1.1", 5000).await;
        }
        world.assert_counters_are_exact().await;
    }
}

#[tokio::test]
async fn tokens_end_and_entries_of_the_audit_chain_follow_each_other_by_the_clock_of_the_store() {
    for shows in WRONG {
        let (world, wrong, servers) = two_clocks(shows).await;
        servers[0].set_principal(&admin(), "ann", ann()).await.unwrap();
        let expires = Some(servers[1].time().plus(Millis(600_000)));
        assert_eq!(expires, Some(world.now().plus(Millis(600_000))));
        let new = NewToken { title: "".into(), expires, roles: None };
        let token = servers[1].create_token(&admin(), "ann", new).await.unwrap();
        for (passed, is_good) in [(540_000, true), (120_000, false)] {
            pass(&world, &wrong, &servers, Millis(passed)).await;
            for server in &servers {
                let known = server.authenticate(&token.name, &token.secret).await;
                assert_eq!(known.is_ok_and(|known| known.is_some()), is_good);
            }
        }
        for server in servers.iter().cycle().take(4) {
            server.set_principal(&admin(), "ann", ann()).await.unwrap();
            pass(&world, &wrong, &servers, Millis(1_000)).await;
        }
        let log = servers[0].audit_entries(&approver(), 1, 1000).await.unwrap();
        assert!(log.iter().map(|entry| entry.draft.at).is_sorted(), "{log:?}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_while_its_server_runs_is_noticed_by_the_next_tick() {
    let (mut world, wrong, servers) = two_clocks(START).await;
    for shift in [Millis(HOUR.0), Millis(0)] {
        wrong.time.store(world.now().plus(shift).0, Ordering::SeqCst);
        servers[1].tick().await.unwrap();
        assert_eq!(servers[1].time(), world.now());
    }
    world.server = servers[1].clone();
    let mut lamp = Lamp::new("lamp-1", "1.0");
    lamp.check_in(&world).await;
    let report = servers[0].device(&operator(), &DeviceIdBuf::new("lamp-1").unwrap()).await.unwrap();
    assert_eq!(report.heard, world.now());
}
