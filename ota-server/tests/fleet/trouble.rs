//! A store that is full, damaged or away: a clear error, devices that come back later, and nothing acknowledged is lost.

use core::mem;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::conformance::memory::MemoryFleetStore;
use ota_core::fleet::records::{AttemptPhase, Limits, Plan};
use ota_core::fleet::{
    Dialect, FleetStore, Key, LinkError, LinkEvent, MessageLink, Outbound, Outcome, Record, StoreError,
    StoreErrorKind, Stored, Unit,
};
use ota_core::number::{FileIndex, ReleaseId};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_core::wire::{Part, Phase, Report, ReportCode, Up};
use ota_server::{AuditCheck, CommandError, Config, KeySigner, NewDevice, Server};
use tokio::sync::RwLock;

use crate::between::{Between, Through};
use crate::sft;
use crate::support::*;

/// What goes wrong with commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Nothing,
    /// Nothing is written.
    Before(StoreErrorKind),
    /// It is written, and the answer is an error all the same: nobody knows.
    After(StoreErrorKind),
}

struct TroubledStore {
    store: Arc<MemoryFleetStore>,
    trouble: Mutex<Trouble>,
    commits: AtomicUsize,
    /// Whoever holds it for writing keeps everybody from reading the store.
    door: RwLock<()>,
}

impl TroubledStore {
    fn set(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
    }
}

#[async_trait]
impl Between for TroubledStore {
    fn store(&self) -> &MemoryFleetStore {
        &self.store
    }

    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let trouble = *self.trouble.lock().unwrap();
        match trouble {
            Trouble::Nothing => self.store.commit(units).await,
            Trouble::Before(kind) => Err(kind.into()),
            Trouble::After(kind) => {
                self.store.commit(units).await?;
                Err(kind.into())
            }
        }
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        let _inside = self.door.read().await;
        self.store.load(keys).await
    }
}

/// A world whose store can be troubled.
async fn world() -> (World, Arc<Through<TroubledStore>>) {
    troubled(World::new().await).await
}

/// The same world, with a server whose store can be troubled.
async fn troubled(mut world: World) -> (World, Arc<Through<TroubledStore>>) {
    let store = TroubledStore {
        store: Arc::clone(&world.store),
        trouble: Mutex::new(Trouble::Nothing),
        commits: AtomicUsize::new(0),
        door: RwLock::new(()),
    };
    let store = Arc::new(Through(store));
    world.server = another(&world, Arc::clone(&store) as _, 9).await;
    (world, store)
}

/// A server of this world that reaches the store this way.
async fn another(world: &World, store: Arc<dyn FleetStore>, seed: u64) -> Server {
    let (blobs, link) = (Arc::clone(&world.blobs) as _, Arc::clone(&world.link) as _);
    let server = Server::builder(store, blobs, link, Arc::new(Seeded::new(seed)));
    let server = server.clock(Arc::clone(&world.clock) as _).signer(Arc::new(KeySigner::for_all(key(4))));
    server.start().await.unwrap()
}

#[tokio::test]
async fn making_approving_and_starting_a_campaign_takes_one_commit_each_however_many_devices_there_are() {
    let (world, store) = world().await;
    let names: Vec<String> = (0..200).map(|number| format!("lamp-{number}")).collect();
    let new: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), [].as_slice())).collect();
    world.register(&new).await;
    let release = world.release("1.1", &[1; 3000]).await;
    store.commits.store(0, Ordering::SeqCst);
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    assert_eq!(store.commits.load(Ordering::SeqCst), 3);
    world.server.pause_campaign(&operator(), campaign, "x").await.unwrap();
    world.server.resume_campaign(&operator(), campaign).await.unwrap();
    world.server.stop_everything(&admin(), None, "x").await.unwrap();
    assert_eq!(store.commits.load(Ordering::SeqCst), 6);
}

fn installed(offer: &Offered) -> Bytes {
    let report = Up::Report(Report {
        offer: offer.id,
        sequence: ota_core::number::ReportSequence(0),
        file: None,
        phase: Phase::Installed,
        code: ReportCode::Ok,
        done: ota_core::number::ByteLength(0),
        detail: ota_core::text::Detail::new("").unwrap(),
        evidence: None,
    });
    report.to_vec().unwrap().into()
}

#[tokio::test]
async fn a_full_store_loses_nothing_and_recovers_by_itself() {
    for trouble in [
        Trouble::Before(StoreErrorKind::Full),
        Trouble::After(StoreErrorKind::Full),
        Trouble::Before(StoreErrorKind::Corrupt),
        Trouble::After(StoreErrorKind::Unavailable),
    ] {
        let kind = match trouble {
            Trouble::Before(kind) | Trouble::After(kind) => kind,
            Trouble::Nothing => unreachable!(),
        };
        let (world, store) = world().await;
        world.register(&[("one", &[]), ("two", &[])]).await;
        let release = world.release("1.1", &[1; 3000]).await;
        let limits = Limits { downloads_max: 1, ..Limits::default() };
        let campaign = world.start_campaign(draft(&world, release, Plan { limits, ..plan() })).await;
        let (mut one, mut two) = (Lamp::new("one", "1.0"), Lamp::new("two", "1.0"));
        let offer = one.offer(&world).await;
        one.fetch(&world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
        world.server.probe().await.unwrap();

        store.set(trouble);
        // Blocks need no store, reports are not acknowledged, and who checks in is told to come back.
        one.fetch(&world, &offer, Part::File(FileIndex(0)), 3000).await;
        let unheard = world.say("one", Dialect::Native, installed(&offer)).await;
        assert!(unheard.is_empty(), "{trouble:?}: nothing is acknowledged that is not durable");
        assert!(matches!(two.check_in(&world).await, Answer::Busy(wait) if wait.0 >= 1_000), "{trouble:?}");
        let refused = world.server.pause_campaign(&operator(), campaign, "x").await;
        assert!(matches!(&refused, Err(CommandError::Store(error)) if error.kind() == kind), "{refused:?}");
        let not_ready = world.server.probe().await.unwrap_err();
        assert_eq!(not_ready.kind(), kind, "people are told");

        store.set(Trouble::Nothing);
        world.server.probe().await.unwrap();
        // A pause that was written although its answer was an error is there; whoever asked looks and sees.
        let _ = world.server.resume_campaign(&operator(), campaign).await;
        let heard = world.say("one", Dialect::Native, installed(&offer)).await;
        assert!(matches!(answer(&heard[0]), Answer::Ack(0)), "{trouble:?}: it is said again, and kept");
        one.revision = "1.1".into();
        assert!(matches!(one.check_in(&world).await, Answer::UpToDate { .. }), "{trouble:?}");
        two.update(&world, "1.1", 3000).await;
        let progress = world.server.progress(&operator(), campaign).await.unwrap();
        let confirmed = progress.now.iter().filter(|line| line.phase == AttemptPhase::Confirmed);
        assert_eq!(confirmed.map(|line| line.devices).sum::<u64>(), 2, "{trouble:?}");
        world.assert_counters_are_exact().await;
        let audit = world.server.verify_audit(&approver(), None).await.unwrap();
        assert!(matches!(audit, AuditCheck::Intact { .. }));
    }
}

/// A link that brings one check-in a second and keeps what is sent.
struct Clockwork {
    lamp: Mutex<Lamp>,
    answers: Mutex<Vec<Answer>>,
    left: AtomicU64,
}

#[async_trait]
impl MessageLink for Clockwork {
    async fn receive(&self, _: usize) -> Result<Vec<LinkEvent>, LinkError> {
        if self.left.load(Ordering::SeqCst) == 0 {
            return Ok(Vec::new());
        }
        // sleeps: time is paused in these tests; this is the second that passes between two check-ins.
        tokio::time::sleep(Duration::from_millis(700)).await;
        self.left.fetch_sub(1, Ordering::SeqCst);
        let payload = self.lamp.lock().unwrap().check_in_message();
        let device = DeviceIdBuf::new("one").unwrap();
        Ok(vec![LinkEvent::Message { dialect: Dialect::Native, device, payload }])
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        self.answers.lock().unwrap().extend(messages.iter().map(|out| answer(&out.payload)));
        Ok(())
    }

    async fn disconnect(&self, _: &DeviceIdBuf) -> Result<bool, LinkError> {
        Ok(true)
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_fails_every_device_is_answered_and_ticks_keep_their_distance() {
    let (world, store) = world().await;
    let id = DeviceIdBuf::new("one").unwrap();
    world.server.register_devices(&operator(), &world.product, &[NewDevice::named(id)]).await.unwrap();
    let link = Arc::new(Clockwork {
        lamp: Mutex::new(Lamp::new("one", "1.0")),
        answers: Mutex::default(),
        left: AtomicU64::new(100),
    });
    let shared: Arc<dyn FleetStore> = Arc::clone(&store) as _;
    let server = Server::builder(
        shared,
        Arc::clone(&world.blobs) as _,
        Arc::clone(&link) as _,
        Arc::new(Seeded::new(11)),
    )
    .signer(Arc::new(KeySigner::for_all(key(4))))
    .start()
    .await
    .unwrap();
    store.set(Trouble::Before(StoreErrorKind::Full));
    store.commits.store(0, Ordering::SeqCst);
    server.run().await;
    let answers = link.answers.lock().unwrap();
    assert_eq!(answers.len(), 100, "nobody waits for a tick that waits");
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Busy(_))));
    let commits = store.commits.load(Ordering::SeqCst);
    assert!(
        (100..120).contains(&commits),
        "{commits}: one for each device, and a few of ticks that back off"
    );
}

#[tokio::test]
async fn a_storm_of_check_ins_is_taken_at_a_bounded_rate_and_everybody_comes_in() {
    let mut world = World::new().await;
    let server = Server::builder(
        Arc::clone(&world.store) as _,
        Arc::clone(&world.blobs) as _,
        Arc::clone(&world.link) as _,
        Arc::new(Seeded::new(9)),
    );
    let config = Config { check_ins_per_second_max: 10, ..Config::default() };
    let server = server.clock(Arc::clone(&world.clock) as _).signer(Arc::new(KeySigner::for_all(key(4))));
    world.server = server.config(config).start().await.unwrap();
    let names: Vec<String> = (0..60).map(|number| format!("lamp-{number:02}")).collect();
    let new: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), [].as_slice())).collect();
    world.register(&new).await;
    // When each device comes next; all at once at first.
    let mut waiting: Vec<(u64, Lamp)> = names.iter().map(|name| (0, Lamp::new(name, "1.0"))).collect();
    let (mut now, mut rounds) = (0, 0);
    while let Some(due) = waiting.iter().map(|(due, _)| *due).min() {
        world.pass(Millis(due.saturating_sub(now)));
        (now, rounds) = (now.max(due), rounds + 1);
        let mut later = Vec::new();
        for (due, mut lamp) in waiting {
            if due > now {
                later.push((due, lamp));
                continue;
            }
            match lamp.check_in(&world).await {
                Answer::Busy(wait) => later.push((now + wait.0, lamp)),
                answer => assert!(matches!(answer, Answer::UpToDate { .. }), "{answer:?}"),
            }
        }
        waiting = later;
    }
    assert!(world.server.check_ins_put_off() >= 50);
    assert!(rounds > 3 && now < 30_000, "{rounds} rounds, {now} ms");
}

/// What a server does with a message whose store cannot be read at present: it waits.
async fn held_up(server: &Server, message: LinkEvent) -> impl Future<Output = Result<(), LinkError>> {
    let mut handled = Box::pin(async move { server.handle(vec![message]).await });
    tokio::select! {
        biased;
        _ = &mut handled => panic!("the store cannot be read"),
        () = core::future::ready(()) => {}
    }
    handled
}

#[tokio::test]
async fn a_check_in_that_waited_for_the_store_is_no_news_of_a_device_that_has_updated_itself_meanwhile() {
    let (mut world, store) = world().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 3000]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    let other = another(&world, Arc::clone(&world.store) as _, 10).await;
    let late = mem::replace(&mut world.server, other);
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let (device, payload) = (sft::id("lamp-1"), lamp.check_in_message());
    let check_in = LinkEvent::Message { dialect: Dialect::Native, device: device.clone(), payload };

    let shut = store.door.write().await;
    let handled = held_up(&late, check_in).await;
    world.pass(Millis(10));
    lamp.update(&world, "1.1", 3000).await;
    world.pass(Millis(10));
    drop(shut);
    handled.await.unwrap();

    assert_eq!(world.heard_by(&device).len(), 0, "it is offered nothing that it has");
    let stored = world.store.load(&[Key::Attempt(campaign, device)]).await.unwrap().remove(0).unwrap();
    let Record::Attempt(attempt) = stored.record else { panic!("{stored:?}") };
    assert_eq!(attempt.phase, AttemptPhase::Confirmed, "nothing was rolled back");
    world.assert_counters_are_exact().await;
}

/// A fleet of one device of the original protocol, and a release for it.
async fn world_of_an_old_device() -> (World, Arc<Through<TroubledStore>>, ReleaseId) {
    let (world, store) = troubled(World::with_dialects(sft::SFT).await).await;
    world.register(&[("old-1", &[])]).await;
    let file = world.file("app.bin", "2", &[1; 4096]).await;
    let release = world.sign(world.release_draft(vec![file])).await;
    (world, store, release)
}

#[tokio::test]
async fn an_old_device_that_begins_anew_while_it_is_offered_an_update_hears_of_it_once() {
    let (mut world, store, release) = world_of_an_old_device().await;
    let other = another(&world, Arc::clone(&world.store) as _, 10).await;
    let late = mem::replace(&mut world.server, other);
    let old_1 = sft::id("old-1");
    assert_eq!(sft::info(&world, "old-1", "app.bin", "1").await.len(), 0, "there is nothing yet");
    world.start_campaign(draft(&world, release, plan())).await;

    // It connects anew, and says so to a server that waits for its store.
    let shut = store.door.write().await;
    let payload = sft::info_message("app.bin", "1");
    let message = LinkEvent::Message { dialect: Dialect::Sft, device: old_1.clone(), payload };
    let handled = held_up(&late, message).await;
    world.pass(Millis(10));
    world.server.tick().await.unwrap();
    sft::files_of(&world.heard_by(&old_1));
    world.pass(Millis(10));
    drop(shut);
    handled.await.unwrap();
    assert_eq!(world.heard_by(&old_1).len(), 0, "a second list crashes it");
    assert_eq!(sft::chunk(&world, "old-1", "app.bin", "2", 0).await.len(), 1, "it goes on with the first");
    world.pass(Millis(6_000));
    late.tick().await.unwrap();
    assert_eq!(world.heard_by(&old_1).len(), 0, "it waits no more");
}

#[tokio::test]
async fn an_old_device_that_checked_in_with_a_failing_store_is_answered_when_it_works_again() {
    let (world, store, release) = world_of_an_old_device().await;
    world.start_campaign(draft(&world, release, plan())).await;
    sft::connect(&world, "old-1").await;
    store.set(Trouble::Before(StoreErrorKind::Unavailable));
    assert_eq!(sft::info(&world, "old-1", "app.bin", "1").await.len(), 0);
    for _ in 0..3 {
        world.pass(Millis(31_000));
        let _ = world.server.tick().await;
    }
    assert_eq!(world.heard_by(&sft::id("old-1")).len(), 0, "nothing is said that is not durable");
    store.set(Trouble::Nothing);
    world.pass(Millis(31_000));
    world.server.tick().await.unwrap();
    sft::files_of(&world.heard_by(&sft::id("old-1")));
    assert_eq!(sft::chunk(&world, "old-1", "app.bin", "2", 0).await.len(), 1);
}
