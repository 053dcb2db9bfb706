//! Evidence: what the device's own key vouches for, what is only claimed, and what is forged or copied.

use bytes::Bytes;
use ota_core::crypto::soft::HmacSha256;
use ota_core::fleet::Dialect;
use ota_core::fleet::records::{AttemptPhase, Plan};
use ota_core::number::{BootCounter, FileIndex};
use ota_core::text::{DeviceId, DeviceIdBuf};
use ota_core::wire::{Part, Phase, RefuseCode, ReportCode, Up};
use ota_server::NewDevice;

use crate::support::*;

const KEY: [u8; 32] = [42; 32];

async fn world() -> World {
    let world = World::new().await;
    let id = DeviceIdBuf::new("lamp-1").unwrap();
    let new = NewDevice { evidence_key: Some(KEY), ..NewDevice::named(id) };
    world.server.register_devices(&operator(), &world.product, &[new]).await.unwrap();
    world
}

fn attested(message: &Bytes, key: [u8; 32], boot: u32, sequence: u32) -> Bytes {
    let mut buffer = vec![0; 2048];
    let mac = HmacSha256::new(&key);
    let up = Up::decode(message).unwrap();
    let device = DeviceId::new("lamp-1").unwrap();
    let bytes = up.encode_attested(&mut buffer, device, BootCounter(boot), sequence, &mac).unwrap();
    Bytes::copy_from_slice(bytes)
}

async fn said(world: &World, message: Bytes) -> Answer {
    answer(&world.say("lamp-1", Dialect::Native, message).await[0])
}

#[tokio::test]
async fn forged_and_repeated_evidence_is_refused() {
    let world = world().await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let first = attested(&lamp.check_in_message(), KEY, 3, 1);
    assert!(matches!(said(&world, first.clone()).await, Answer::UpToDate { .. }));
    assert!(matches!(said(&world, first).await, Answer::Refuse(RefuseCode::BadEvidence)), "a replay");
    let forged = attested(&lamp.check_in_message(), [1; 32], 3, 2);
    assert!(matches!(said(&world, forged).await, Answer::Refuse(RefuseCode::BadEvidence)), "a foreign key");
    let clone = attested(&lamp.check_in_message(), KEY, 2, 9);
    assert!(
        matches!(said(&world, clone).await, Answer::Refuse(RefuseCode::BadEvidence)),
        "a copy of the device"
    );
    let next = attested(&lamp.check_in_message(), KEY, 4, 0);
    assert!(matches!(said(&world, next).await, Answer::UpToDate { .. }));
    assert!(world.server.refusals().contains(&(RefuseCode::BadEvidence, 3)));
}

#[tokio::test]
async fn where_proof_is_asked_for_a_claim_confirms_nothing() {
    let world = world().await;
    let release = world.release("1.1", &[1; 100]).await;
    let mut stages = plan().stages;
    stages[0].gate.attested_only = true;
    let campaign = world.start_campaign(draft(&world, release, Plan { stages, ..plan() })).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;
    lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 100).await;
    lamp.report(&world, &offer, 0, Phase::Installed, ReportCode::Ok).await;
    lamp.revision = "1.1".into();
    let phase = async || world.server.progress(&operator(), campaign).await.unwrap().now[0].phase;
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    assert_eq!(phase().await, AttemptPhase::Installed);
    let proven = attested(&lamp.check_in_message(), KEY, 1, 1);
    assert!(matches!(said(&world, proven).await, Answer::UpToDate { .. }));
    assert_eq!(phase().await, AttemptPhase::Confirmed);
    world.assert_counters_are_exact().await;
}
