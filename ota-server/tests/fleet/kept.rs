//! What a copy of the store gives away, and what whoever can write it can hide: wrapped secrets, checkpoints. And what the
//! server does by itself to keep its installation in order.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ota_core::conformance::memory::{MemoryBlobStore, MemoryFleetStore};
use ota_core::crypto::sign::Signer as _;
use ota_core::fleet::{BlobStore, BoxError, FleetStore, Query, Record, StoreError, StoreErrorKind, Table};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Millis;
use ota_core::trust::Key;
use ota_core::wire::{Phase, ReportCode};
use ota_server::{
    AuditCheck, Checkpoint, CheckpointSink, CommandError, Config, Entropy, KeySigner, NewDevice, NewProduct,
    Server, Upkeep, WrappingKey,
};

use crate::support::*;

#[derive(Default)]
struct Ledger(Mutex<Vec<String>>);

#[async_trait]
impl CheckpointSink for Ledger {
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(checkpoint.to_string());
        Ok(())
    }
}

async fn start(
    store: &Arc<MemoryFleetStore>,
    clock: &Arc<HandClock>,
    ledger: &Arc<Ledger>,
    wrap: u8,
) -> Result<Server, StoreError> {
    let entropy: Arc<dyn Entropy> = Arc::new(Seeded::new(u64::from(wrap)));
    let store: Arc<dyn FleetStore> = Arc::clone(store) as _;
    Server::builder(
        store,
        Arc::new(MemoryBlobStore::new()),
        Arc::new(KeepingLink::default()),
        Arc::clone(&entropy),
    )
    .clock(Arc::clone(clock) as _)
    .secrets(Arc::new(WrappingKey::new(&[wrap; 32], entropy)))
    .checkpoints(key(60), Arc::clone(ledger) as _, HOUR)
    .start()
    .await
}

fn product() -> NewProduct {
    NewProduct {
        id: ProductIdBuf::new("lamp").unwrap(),
        title: "Lamp".into(),
        approvals_min: 0,
        quarantine_after: 0,
        attested_only: false,
        dialects: 0,
    }
}

#[tokio::test]
async fn secrets_lie_in_the_store_wrapped_and_another_key_does_not_open_them() {
    let (store, ledger) = (Arc::new(MemoryFleetStore::new()), Arc::new(Ledger::default()));
    let clock = Arc::new(HandClock::at(START));
    let server = start(&store, &clock, &ledger, 1).await.unwrap();
    server.create_product(&admin(), &product()).await.unwrap();
    let id = DeviceIdBuf::new("lamp-1").unwrap();
    let new = NewDevice { evidence_key: Some([0xaa; 32]), ..NewDevice::named(id) };
    server.register_devices(&operator(), &product().id, &[new]).await.unwrap();
    for table in [Table::GrantKey, Table::Device] {
        let page = store.scan(&Query::table(table), None, 10).await.unwrap();
        let [(_, stored)] = page.items.as_slice() else { panic!("one of {table:?}") };
        let secret = match &stored.record {
            Record::GrantKey(key) => key.secret.clone(),
            Record::Device(device) => device.evidence_key.clone().unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(secret.len(), 73, "format, nonce, secret, tag");
        assert!(!secret.windows(4).any(|bytes| bytes == [0xaa; 4]));
    }
    assert!(start(&store, &clock, &ledger, 1).await.is_ok());
    let error = start(&store, &clock, &ledger, 2).await.err().expect("another key opens nothing");
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
}

#[tokio::test]
async fn a_cut_or_rewritten_audit_chain_shows_against_its_checkpoints() {
    let (store, ledger) = (Arc::new(MemoryFleetStore::new()), Arc::new(Ledger::default()));
    let clock = Arc::new(HandClock::at(START));
    let server = start(&store, &clock, &ledger, 1).await.unwrap();
    server.create_product(&admin(), &product()).await.unwrap();
    server.tick().await.unwrap();
    for hour in 1..=3 {
        clock.time.fetch_add(2 * HOUR.0, Ordering::SeqCst);
        let id = DeviceIdBuf::new(format!("lamp-{hour}")).unwrap();
        server.register_devices(&operator(), &product().id, &[NewDevice::named(id)]).await.unwrap();
        server.tick().await.unwrap();
        server.tick().await.unwrap();
    }
    let lines = ledger.0.lock().unwrap().clone();
    assert_eq!(lines.len(), 4, "one for each time that something had happened: {lines:?}");
    let checkpoints: Vec<Checkpoint> = lines.iter().map(|line| line.parse().unwrap()).collect();
    let (good, foreign) = (key(60), key(61));
    let public = |signer: &ota_core::crypto::sign::Ed25519Signer| signer.public_key().to_vec();
    let (good_bytes, foreign_bytes) = (public(&good), public(&foreign));
    let trusted = Key { algorithm: good.algorithm(), public: &good_bytes };
    let untrusted = Key { algorithm: foreign.algorithm(), public: &foreign_bytes };
    let check = server.verify_audit_checkpoints(&approver(), &checkpoints, &[trusted]).await.unwrap();
    assert!(matches!(check, AuditCheck::Intact { entries: 4, .. }));
    let refused = server.verify_audit_checkpoints(&approver(), &checkpoints, &[untrusted]).await;
    assert!(matches!(refused, Err(CommandError::Checkpoint(1))));

    // The same beginning, and no end: by itself such a chain is whole.
    let (shorter, silent) = (Arc::new(MemoryFleetStore::new()), Arc::new(Ledger::default()));
    clock.time.store(START.0, Ordering::SeqCst);
    let other = start(&shorter, &clock, &silent, 1).await.unwrap();
    other.create_product(&admin(), &product()).await.unwrap();
    assert!(matches!(other.verify_audit(&approver(), None).await, Ok(AuditCheck::Intact { entries: 1, .. })));
    let cut = other.verify_audit_checkpoints(&approver(), &checkpoints, &[trusted]).await.unwrap();
    assert_eq!(cut, AuditCheck::Broken { sequence: 2 });
    // The same length, and another story.
    for name in ["x", "y", "z"] {
        let id = DeviceIdBuf::new(name).unwrap();
        other.register_devices(&operator(), &product().id, &[NewDevice::named(id)]).await.unwrap();
    }
    assert!(matches!(other.verify_audit(&approver(), None).await, Ok(AuditCheck::Intact { entries: 4, .. })));
    let rewritten = other.verify_audit_checkpoints(&approver(), &checkpoints, &[trusted]).await.unwrap();
    assert_eq!(rewritten, AuditCheck::Broken { sequence: 2 });
}

/// Counts what it is asked to do, and fails when it is told to.
#[derive(Default)]
struct Keeper {
    compacted: AtomicU64,
    fails: AtomicBool,
}

#[async_trait]
impl Upkeep for Keeper {
    async fn compact(&self) -> Result<(u64, u64), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreErrorKind::Full.into());
        }
        self.compacted.fetch_add(1, Ordering::SeqCst);
        Ok((200, 100))
    }

    async fn back_up(&self, name: &str) -> Result<String, StoreError> {
        if name == "taken" { Err(StoreErrorKind::Invalid.into()) } else { Ok(format!("/backups/{name}")) }
    }
}

#[tokio::test]
async fn files_that_nothing_refers_to_go_by_themselves_and_an_idle_store_is_compacted() {
    const DAY: Millis = Millis(24 * HOUR.0);
    let mut world = World::new().await;
    let keeper = Arc::new(Keeper::default());
    let start = async |world: &World| {
        let entropy = Arc::new(Seeded::new(9));
        let (store, blobs) = (Arc::clone(&world.store) as _, Arc::clone(&world.blobs) as _);
        Server::builder(store, blobs, Arc::clone(&world.link) as _, entropy)
            .clock(Arc::clone(&world.clock) as _)
            .upkeep(Arc::clone(&keeper) as _)
            .start()
            .await
            .unwrap()
    };
    world.server = start(&world).await;
    let kept = world.file("app.bin", "1.1", &[1; 5000]).await;
    let lost = world.file("app.bin", "1.2", &[2; 5000]).await;
    let draft = world.release_draft(vec![kept.clone()]);
    world.server.draft_release(&developer(), draft).await.unwrap();
    let compacted = || keeper.compacted.load(Ordering::SeqCst);
    world.server.keep_in_order().await.unwrap();
    world.pass(Millis(DAY.0 - 1));
    world.server.keep_in_order().await.unwrap();
    assert!(world.blobs.size(&lost.digest).await.unwrap().is_some(), "not yet");
    world.pass(HOUR);
    // When it was done last is in the store, not in the server.
    world.server = start(&world).await;
    world.server.keep_in_order().await.unwrap();
    assert_eq!(world.blobs.size(&lost.digest).await.unwrap(), None);
    assert!(world.blobs.size(&kept.digest).await.unwrap().is_some(), "a draft needs it");

    assert_eq!(compacted(), 0);
    world.pass(Millis(6 * DAY.0));
    // Somebody is at work: the store is left alone for up to a day more.
    let busy = async |world: &World, from: usize| {
        let many: Vec<NewDevice> = (from..from + 1000)
            .map(|number| NewDevice::named(DeviceIdBuf::new(format!("lamp-{number}")).unwrap()))
            .collect();
        world.server.register_devices(&operator(), &world.product, &many).await.unwrap();
    };
    busy(&world, 0).await;
    world.server.keep_in_order().await.unwrap();
    assert_eq!(compacted(), 0, "not while somebody is at work");
    keeper.fails.store(true, Ordering::SeqCst);
    assert!(world.server.keep_in_order().await.is_err(), "it is idle now, and there is no room");
    keeper.fails.store(false, Ordering::SeqCst);
    world.server.keep_in_order().await.unwrap();
    assert_eq!(compacted(), 0, "what failed waits for an hour");
    world.pass(HOUR);
    world.server.keep_in_order().await.unwrap();
    assert_eq!(compacted(), 1);
    world.server.keep_in_order().await.unwrap();
    assert_eq!(compacted(), 1, "once a week");
    world.pass(Millis(8 * DAY.0));
    busy(&world, 1000).await;
    world.server.keep_in_order().await.unwrap();
    assert_eq!(compacted(), 2, "nobody is always at work");

    let entries = world.server.audit_entries(&approver(), 1, 100).await.unwrap();
    let alone: Vec<&str> = entries
        .iter()
        .filter(|entry| &*entry.draft.principal == "the schedule")
        .map(|entry| &*entry.draft.action)
        .collect();
    assert_eq!(alone, ["files.sweep", "store.compact", "store.compact"]);
    let error = world.server.back_up_store(&admin(), "taken").await.unwrap_err();
    assert!(matches!(error, CommandError::BackupName), "{error}");
    assert_eq!(world.server.back_up_store(&admin(), "monday").await.unwrap(), "/backups/monday");
}

#[tokio::test]
async fn attempts_of_stopped_campaigns_and_old_drafts_go_and_all_that_is_left_is_exact() {
    const DAY: Millis = Millis(24 * HOUR.0);
    let mut world = World::new().await;
    let config = Config {
        forget_history_after: Millis(30 * DAY.0),
        forget_drafts_after: Millis(10 * DAY.0),
        ..Config::default()
    };
    let (store, blobs) = (Arc::clone(&world.store) as _, Arc::clone(&world.blobs) as _);
    world.server = Server::builder(store, blobs, Arc::clone(&world.link) as _, Arc::new(Seeded::new(9)))
        .clock(Arc::clone(&world.clock) as _)
        .signer(Arc::new(KeySigner::for_all(key(4))))
        .config(config)
        .start()
        .await
        .unwrap();
    let days = async |world: &World, count: u32| {
        for _ in 0..count {
            world.pass(DAY);
            world.server.keep_in_order().await.unwrap();
        }
    };
    let counted = async |world: &World, id| -> u64 {
        let now = world.server.progress(&operator(), id).await.unwrap().now;
        now.iter().map(|line| line.devices).sum()
    };
    let names: Vec<String> = (0..600).map(|number| format!("lamp-{number}")).collect();
    let all: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[] as &[&str])).collect();
    world.register(&all).await;
    let release = world.release("1.1", &[1; 100]).await;
    let stopped = world.start_campaign(draft(&world, release, plan())).await;
    let mut late = Lamp::new("lamp-0", "1.0");
    let offer = late.offer(&world).await;
    for name in &names[1..] {
        Lamp::new(name, "1.0").offer(&world).await;
    }
    world.server.tick().await.unwrap();
    world.server.stop_campaign(&operator(), stopped, "enough").await.unwrap();
    let next = world.release("1.2", &[2; 100]).await;
    let running = world.start_campaign(draft(&world, next, plan())).await;
    Lamp::new("lamp-1", "1.0").update(&world, "1.2", 100).await;
    let file = world.file("app.bin", "1.3", &[3; 100]).await;
    let unsigned =
        world.server.draft_release(&developer(), world.release_draft(vec![file.clone()])).await.unwrap();
    let unstarted = world.server.draft_campaign(&operator(), draft(&world, next, plan())).await.unwrap();
    world.server.keep_in_order().await.unwrap();

    days(&world, 10).await;
    assert!(world.server.progress(&operator(), unstarted).await.is_ok());
    days(&world, 2).await;
    let gone = world.server.progress(&operator(), unstarted).await.unwrap_err();
    assert!(matches!(gone, CommandError::NoCampaign(_)), "{gone}");
    assert!(world.server.fix_release(&developer(), &unsigned, None).await.is_err());
    assert_eq!(world.blobs.size(&file.digest).await.unwrap(), None, "nothing needs it any more");
    days(&world, 18).await;
    assert_eq!(counted(&world, stopped).await, 600, "not yet");
    // A clock that is years ahead makes everything old: it is believed only once it has told so for a day.
    world.pass(Millis(200 * DAY.0));
    world.server.keep_in_order().await.unwrap();
    assert_eq!(counted(&world, stopped).await, 600);
    days(&world, 2).await;
    assert_eq!((counted(&world, stopped).await, counted(&world, running).await), (0, 1));
    world.assert_counters_are_exact().await;
    let report = world.server.progress(&operator(), stopped).await.unwrap();
    assert_eq!(report.samples, report.campaign.samples, "how it went is still told");
    assert!(!report.samples.is_empty());
    let check = world.server.verify_audit(&admin(), None).await.unwrap();
    assert!(matches!(check, AuditCheck::Intact { .. }), "{check:?}");
    let entries = world.server.audit_entries(&approver(), 1, 1000).await.unwrap();
    let told: Vec<(&str, &str)> = entries
        .iter()
        .filter(|entry| entry.draft.principal == "the schedule" && entry.draft.action != "files.sweep")
        .map(|entry| (entry.draft.action.as_str(), entry.draft.detail.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("release.sweep", "{\"removed\":1}"),
            ("campaign.sweep", "{\"removed\":1}"),
            ("history.sweep", "{\"removed\":512}"),
            ("history.sweep", "{\"removed\":88}"),
        ]
    );
    // Whoever comes back after all that time is refused what is gone, and served what there is.
    world.server.tick().await.unwrap();
    world.link.sent.lock().unwrap().clear();
    late.report(&world, &offer, 0, Phase::Installed, ReportCode::Ok).await;
    let answered = late.check_in(&world).await;
    assert!(matches!(answered, Answer::Offer(_)), "{answered:?}");
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn keys_of_grants_that_nobody_can_hold_any_more_go_by_themselves() {
    let world = World::new().await;
    world.live(40 * 24).await;
    let all = Query::table(Table::GrantKey);
    let keys = world.store.scan(&all, None, 1000).await.unwrap().items;
    assert!((1..=14).contains(&keys.len()), "{} keys after forty days", keys.len());
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    Lamp::new("lamp-1", "1.0").update(&world, "1.1", 100).await;
}
