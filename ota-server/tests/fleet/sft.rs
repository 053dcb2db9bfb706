//! Devices of the original system at the server: messages as they send them, and what they may be sent.

use bytes::Bytes;
use ota_core::fleet::records::{AttemptPhase, Limits, Pace};
use ota_core::fleet::{Dialect, LinkEvent};
use ota_core::sft::{Down, Entries, FileInfo, FileRevision, GetChunk, Phase, Status, StatusCode, Up};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_server::CommandError;
use ota_server::rules::campaign::CampaignError;

use crate::support::*;

pub(crate) const SFT: u32 = 1 << 2;

pub(crate) fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

pub(crate) async fn connect(world: &World, name: &str) {
    world.server.handle(vec![LinkEvent::Connected(id(name))]).await.unwrap();
}

pub(crate) fn info_message(file: &str, revision: &str) -> Bytes {
    let files = [FileRevision::new(file, revision).unwrap()];
    let message = Up::FileInfo(FileInfo { files: Entries::from_slice(&files), takes_links: false });
    message.to_vec().unwrap().into()
}

pub(crate) async fn info(world: &World, name: &str, file: &str, revision: &str) -> Vec<Bytes> {
    world.say(name, Dialect::Sft, info_message(file, revision)).await
}

pub(crate) fn chunk_message(file: &str, revision: &str, offset: u32) -> Bytes {
    let file = FileRevision::new(file, revision).unwrap();
    Up::GetChunk(GetChunk { file, offset, length: 1024 }).to_vec().unwrap().into()
}

pub(crate) async fn chunk(world: &World, name: &str, file: &str, revision: &str, offset: u32) -> Vec<Bytes> {
    world.say(name, Dialect::Sft, chunk_message(file, revision, offset)).await
}

async fn status(world: &World, name: &str, file: &str, revision: &str, phase: Phase) {
    let file = FileRevision::new(file, revision).unwrap();
    let message = Up::Status(Status { file, phase, code: StatusCode::OK });
    assert_eq!(world.say(name, Dialect::Sft, message.to_vec().unwrap().into()).await.len(), 0);
}

/// Fetches a file as the original client does: one chunk after the other.
async fn fetch(world: &World, name: &str, file: &str, revision: &str, size: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < size {
        let answers = chunk(world, name, file, revision, u32::try_from(content.len()).unwrap()).await;
        assert_eq!(answers.len(), 1, "each request is answered exactly once");
        let Down::Chunk(chunk) = Down::decode(&answers[0]).unwrap() else { panic!() };
        assert_eq!(usize::try_from(chunk.offset).unwrap(), content.len());
        content.extend_from_slice(chunk.bytes);
    }
    content
}

pub(crate) fn files_of(answers: &[Bytes]) -> Vec<(String, u32)> {
    assert_eq!(answers.len(), 1);
    let Down::UpdateAvailable(update) = Down::decode(&answers[0]).unwrap() else { panic!() };
    update.files.iter().map(|update| (update.file.name().to_owned(), update.size)).collect()
}

async fn phases(world: &World, name: &str) -> Vec<AttemptPhase> {
    let report = world.server.device(&operator(), &id(name)).await.unwrap();
    report.history.iter().map(|line| line.phase).collect()
}

async fn firmware_world(content: &[u8]) -> World {
    let world = World::with_dialects(SFT).await;
    world.register(&[("old-1", &[])]).await;
    let file = world.file("firmware.bin", "2", content).await;
    let release = world.sign(world.release_draft(vec![file])).await;
    world.start_campaign(draft(&world, release, plan())).await;
    world
}

#[tokio::test]
async fn an_unmodified_client_gets_its_firmware() {
    let content: Vec<u8> = (0..5_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let world = firmware_world(&content).await;
    connect(&world, "old-1").await;
    assert_eq!(files_of(&info(&world, "old-1", "firmware.bin", "1").await), [("firmware.bin".into(), 5_000)]);
    assert_eq!(fetch(&world, "old-1", "firmware.bin", "2", 5_000).await, content);
    status(&world, "old-1", "firmware.bin", "2", Phase::Downloaded).await;
    status(&world, "old-1", "firmware.bin", "2", Phase::Processing).await;
    assert_eq!(phases(&world, "old-1").await, [AttemptPhase::Installed]);
    connect(&world, "old-1").await;
    assert!(
        info(&world, "old-1", "firmware.bin", "2").await.is_empty(),
        "nothing to do is said by saying nothing"
    );
    assert_eq!(phases(&world, "old-1").await, [AttemptPhase::Confirmed]);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn the_old_revision_before_the_boot_deadline_is_not_offered_again_and_after_it_has_rolled_back() {
    let world = firmware_world(&[1; 100]).await;
    connect(&world, "old-1").await;
    info(&world, "old-1", "firmware.bin", "1").await;
    fetch(&world, "old-1", "firmware.bin", "2", 100).await;
    status(&world, "old-1", "firmware.bin", "2", Phase::Downloaded).await;
    status(&world, "old-1", "firmware.bin", "2", Phase::Processing).await;
    for _ in 0..5 {
        world.pass(Millis(60_000));
        connect(&world, "old-1").await;
        assert!(info(&world, "old-1", "firmware.bin", "1").await.is_empty());
    }
    assert_eq!(phases(&world, "old-1").await, [AttemptPhase::Installed]);
    world.pass(HOUR);
    connect(&world, "old-1").await;
    assert!(info(&world, "old-1", "firmware.bin", "1").await.is_empty(), "no endless re-offer");
    assert_eq!(phases(&world, "old-1").await, [AttemptPhase::RolledBack]);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_device_without_a_turn_hears_nothing_until_it_has_one() {
    let world = World::with_dialects(SFT).await;
    world.register(&[("old-1", &[])]).await;
    let file = world.file("app.bin", "2", &[1; 100]).await;
    let release = world.sign(world.release_draft(vec![file])).await;
    let mut slow = plan();
    slow.stages[0].pace = Pace::Linear { over: HOUR };
    connect(&world, "old-1").await;
    assert!(info(&world, "old-1", "app.bin", "1").await.is_empty(), "there is no campaign yet");
    world.start_campaign(draft(&world, release, slow)).await;
    let mut lists = 0;
    for _ in 0..61 {
        world.server.tick().await.unwrap();
        let heard = world.heard_by(&id("old-1"));
        lists += heard.len();
        world.pass(Millis(60_000));
        assert!(
            info(&world, "old-1", "app.bin", "1").await.is_empty(),
            "a copy of the check-in changes nothing"
        );
    }
    assert_eq!(lists, 1, "one list of files when its turn came");
}

#[tokio::test]
async fn bandwidth_delays_chunks_and_never_drops_them() {
    let world = World::with_dialects(SFT).await;
    world.register(&[("old-1", &[])]).await;
    let file = world.file("app.bin", "2", &[1; 4096]).await;
    let release = world.sign(world.release_draft(vec![file])).await;
    let limits = Limits { bytes_per_second: 1024, ..Limits::default() };
    world.start_campaign(draft(&world, release, ota_core::fleet::records::Plan { limits, ..plan() })).await;
    connect(&world, "old-1").await;
    files_of(&info(&world, "old-1", "app.bin", "1").await);
    let mut answered = 0;
    for number in 0..4 {
        answered += chunk(&world, "old-1", "app.bin", "2", number * 1024).await.len();
        for _ in 0..3 {
            if answered == usize::try_from(number).unwrap() + 1 {
                break;
            }
            world.pass(Millis(1_000));
            world.server.tick().await.unwrap();
            answered += world.heard_by(&id("old-1")).len();
        }
        assert_eq!(answered, usize::try_from(number).unwrap() + 1);
    }
    assert!(world.now() >= START.plus(Millis(3_000)), "4 KiB at 1 KiB a second, the first at once");
}

#[tokio::test]
async fn a_restarted_server_serves_on_without_a_second_list() {
    let mut world = firmware_world(&[5; 3_000]).await;
    connect(&world, "old-1").await;
    files_of(&info(&world, "old-1", "firmware.bin", "1").await);
    assert_eq!(chunk(&world, "old-1", "firmware.bin", "2", 0).await.len(), 1);
    world.restart().await;
    assert_eq!(chunk(&world, "old-1", "firmware.bin", "2", 1024).await.len(), 1);
    assert_eq!(chunk(&world, "old-1", "firmware.bin", "2", 1024).await.len(), 0, "not twice");
    assert_eq!(chunk(&world, "old-1", "firmware.bin", "2", 2048).await.len(), 1);
}

#[tokio::test]
async fn rule_6_a_download_past_its_deadline_is_corrected_by_closing_the_connection() {
    let world = firmware_world(&[5; 3_000]).await;
    connect(&world, "old-1").await;
    files_of(&info(&world, "old-1", "firmware.bin", "1").await);
    chunk(&world, "old-1", "firmware.bin", "2", 0).await;
    world.pass(Millis(2 * HOUR.0));
    world.server.tick().await.unwrap();
    assert_eq!(*world.link.closed.lock().unwrap(), [id("old-1")]);
}

#[tokio::test]
async fn a_device_that_asks_for_what_nobody_offered_begins_anew() {
    let world = firmware_world(&[5; 3_000]).await;
    assert!(chunk(&world, "old-1", "firmware.bin", "2", 0).await.is_empty());
    assert_eq!(*world.link.closed.lock().unwrap(), [id("old-1")]);
}

#[tokio::test]
async fn empty_files_are_refused_when_the_campaign_is_made() {
    let world = World::with_dialects(SFT).await;
    world.register(&[("old-1", &[])]).await;
    let file = world.file("app.bin", "2", &[]).await;
    let release = world.sign(world.release_draft(vec![file])).await;
    let refused = world.server.draft_campaign(&operator(), draft(&world, release, plan())).await;
    assert!(
        matches!(refused, Err(CommandError::Campaign(CampaignError::Protocol(why))) if why.contains("empty"))
    );
}

#[tokio::test]
async fn a_device_is_bound_to_the_protocol_that_it_spoke_first() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    lamp.offer(&world).await;
    connect(&world, "lamp-1").await;
    assert!(
        info(&world, "lamp-1", "app.bin", "1.0").await.is_empty(),
        "no unsigned way around the signed one"
    );
}
