//! One update from end to end: a product, a release, a campaign, a device that gets it.

use bytes::Bytes;
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::{AttemptPhase, CampaignState, Limits, Plan};
use ota_core::fleet::{Dialect, LinkEvent};
use ota_core::number::{FileIndex, SecurityEpoch};
use ota_core::text::{DeviceId, DeviceIdBuf, ProductId};
use ota_core::time::Millis;
use ota_core::trust::{
    Action, AssignmentCheck, DeviceIdentity, HashedBody, PendingNonce, SignatureCheck, TrustedRoot,
};
use ota_core::wire::{Part, Phase, ReportCode};
use ota_server::rules::planner::WhyNot;
use ota_server::rules::release::Verifier;

use crate::support::*;

#[tokio::test]
async fn a_device_gets_what_was_signed_and_nothing_else() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let content: Vec<u8> = (0..100_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let release = world.release("1.1", &content).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;

    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;

    // What the device itself would check: the assignment, the release's signatures, the content.
    let root_bytes = root_body(&world.product);
    let (root, state) = TrustedRoot::provision::<SoftSha256>(&root_bytes, SecurityEpoch(0)).unwrap();
    let device =
        DeviceIdentity { device: DeviceId::new("lamp-1").unwrap(), product: ProductId::new("lamp").unwrap() };
    let check = AssignmentCheck::begin(&root, &state, device, &offer.assignment).unwrap();
    let mut nonce = PendingNonce::new(ota_core::number::Nonce([lamp.nonce; 16]));
    let (assignment, _) = check.answer(&mut nonce, &Verifier::default()).unwrap();
    assert_eq!(assignment.action(), Action::Install(release));
    let body = lamp.fetch(&world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
    let envelope = lamp.fetch(&world, &offer, Part::ReleaseEnvelope, 1).await;
    let signed = SignatureCheck::begin(&root, &envelope, HashedBody::hash::<SoftSha256>(&body)).unwrap();
    assert_eq!(signed.verify_all(&Verifier::default()).unwrap().id(), release);
    let fetched = lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 100_000).await;
    assert_eq!(fetched, content);

    for (sequence, phase) in [(0, Phase::Downloaded), (1, Phase::Verified), (2, Phase::Installed)] {
        let acknowledged = lamp.report(&world, &offer, sequence, phase, ReportCode::Ok).await;
        assert!(matches!(acknowledged, Answer::Ack(found) if found == sequence), "{acknowledged:?}");
    }
    lamp.revision = "1.1".into();
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));

    let progress = world.server.progress(&operator(), campaign).await.unwrap();
    let confirmed: Vec<_> = progress.now.iter().map(|line| (line.phase, line.devices)).collect();
    assert_eq!(confirmed, [(AttemptPhase::Confirmed, 1)]);
    let id = DeviceIdBuf::new("lamp-1").unwrap();
    let report = world.server.device(&operator(), &id).await.unwrap();
    assert_eq!(report.installed[0].revision, "1.1".into());
    assert_eq!(report.reasons, [(campaign, WhyNot::HasIt)]);
    let phases: Vec<_> = report.history[0].moments.iter().map(|moment| moment.phase).collect();
    use AttemptPhase as P;
    assert_eq!(phases, [P::Offered, P::Downloading, P::Downloaded, P::Verified, P::Installed, P::Confirmed]);
    let fleet = world.server.fleet(&operator(), &world.product).await.unwrap();
    assert_eq!(fleet.len(), 1);
    assert_eq!((fleet[0].revision.as_deref(), fleet[0].devices), (Some("1.1"), 1));
    world.server.tick().await.unwrap();
    let progress = world.server.progress(&operator(), campaign).await.unwrap();
    assert_eq!(progress.campaign.state, CampaignState::Completed);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_restarted_server_goes_on_where_the_other_stopped() {
    let mut world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[7; 5000]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;
    lamp.fetch(&world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
    world.restart().await;
    assert_eq!(lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 5000).await, [7; 5000]);
    assert!(matches!(lamp.report(&world, &offer, 0, Phase::Installed, ReportCode::Ok).await, Answer::Ack(0)));
    lamp.revision = "1.1".into();
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn whoever_asks_for_much_at_once_is_served_in_turns_with_the_others() {
    let world = World::new().await;
    world.register(&[("greedy", &[]), ("modest", &[])]).await;
    let release = world.release("1.1", &[7; 40 * 1024]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    let mut lamps = [Lamp::new("greedy", "1.0"), Lamp::new("modest", "1.0")];
    let part = Part::File(FileIndex(0));
    let mut asked = Vec::new();
    for (lamp, blocks) in lamps.iter_mut().zip([40, 1]) {
        let offer = lamp.offer(&world).await;
        // The beginning of a download is a decision; what follows is not.
        lamp.fetch(&world, &offer, part, 1024).await;
        asked.extend((0..blocks).map(|block| LinkEvent::Message {
            dialect: Dialect::Native,
            device: DeviceIdBuf::new(lamp.name.as_str()).unwrap(),
            payload: lamp.want(&offer, part, block * 1024, 1024, 1),
        }));
    }
    *world.link.arriving.lock().unwrap() = asked;
    world.server.run().await;
    let sent = world.link.sent.lock().unwrap();
    assert_eq!(sent.len(), 41);
    assert!(sent.iter().all(|out| matches!(answer(&out.payload), Answer::Block { .. })));
    let modest = sent.iter().position(|out| out.device.as_str() == "modest").unwrap();
    assert!(modest < 8, "behind {modest} blocks of the other");
}

#[tokio::test]
async fn blocks_in_mid_download_are_answered_where_requests_arrive_and_nothing_else_is() {
    let world = World::new().await;
    world.register(&[("one", &[]), ("two", &[])]).await;
    let content: Vec<u8> = (0..10_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let release = world.release("1.1", &content).await;
    let limits = Limits { bytes_per_second: 4096, ..Limits::default() };
    world.start_campaign(draft(&world, release, Plan { limits, ..plan() })).await;
    let part = Part::File(FileIndex(0));
    let mut one = Lamp::new("one", "1.0");
    let offer = one.offer(&world).await;
    // It says whom to ask, and ends with its link.
    world.server.run().await;
    let at_once = world.link.at_once.lock().unwrap().clone().unwrap();
    let ask = |device: &str, payload: &Bytes| {
        let answers = at_once.answer(Dialect::Native, &DeviceIdBuf::new(device).unwrap(), payload)?;
        Some(answers.iter().map(answer).collect::<Vec<_>>())
    };
    let want = one.want(&offer, part, 1024, 1024, 2);
    assert!(ask("one", &want).is_none(), "that a download begins is a decision");
    one.fetch(&world, &offer, part, 1024).await;
    let blocks = ask("one", &want).unwrap();
    let [Answer::Block { offset: 1024, bytes: first }, Answer::Block { offset: 2048, bytes: second }] =
        &blocks[..]
    else {
        panic!("{blocks:?}")
    };
    assert_eq!((&first[..], &second[..]), (&content[1024..2048], &content[2048..3072]));

    assert!(ask("two", &want).is_none(), "a grant of somebody else");
    let forged = Offered { grant: Bytes::from(vec![7; offer.grant.len()]), ..offer.clone() };
    assert!(ask("one", &one.want(&forged, part, 1024, 1024, 2)).is_none());
    assert!(ask("one", &one.want(&offer, part, 9_000, 1024, 2)).is_none(), "beyond the end");
    assert!(ask("one", &one.want(&offer, Part::File(FileIndex(1)), 0, 1024, 1)).is_none());
    assert!(ask("one", &one.check_in_message()).is_none());
    assert!(ask("one", &Bytes::from_static(b"\xff")).is_none());
    let device = DeviceIdBuf::new("one").unwrap();
    assert!(at_once.answer(Dialect::Sft, &device, &want).is_none());

    // Three of the four KiB of this second are gone.
    assert!(matches!(ask("one", &want).unwrap()[..], [Answer::Busy(_)]));
    world.pass(Millis(1_000));
    assert_eq!(ask("one", &want).unwrap().len(), 2);
    world.pass(HOUR);
    assert!(ask("one", &want).is_none(), "the grant has expired");
    drop(world);
    assert!(ask("one", &want).is_none(), "there is no server any more");
}
