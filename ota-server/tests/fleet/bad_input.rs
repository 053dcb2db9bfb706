//! Whatever is wrong is refused with a code or an error that says what to do, and nothing is half-written.

use bytes::Bytes;
use ota_core::fleet::records::{PersonRole, RoleGrant, Target};
use ota_core::fleet::{Dialect, FleetStore as _, Key, Record, Stored};
use ota_core::limits;
use ota_core::number::{FileIndex, OfferId};
use ota_core::text::{DeviceIdBuf, FileName, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::{Part, Phase, RefuseCode, ReportCode};
use ota_server::CommandError;
use ota_server::rules::campaign::CampaignError;
use ota_server::rules::device::CLAIMED_MAX;
use ota_server::rules::permission::Principal;
use ota_server::rules::release::ReleaseError;
use ota_server::rules::schedule::ScheduleError;

use crate::support::*;

async fn refused(world: &World, lamp: &mut Lamp) -> RefuseCode {
    match lamp.check_in(world).await {
        Answer::Refuse(code) => code,
        other => panic!("{other:?} instead of a refusal"),
    }
}

#[tokio::test]
async fn unknown_foreign_and_revoked_devices_are_refused_and_counted() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[])]).await;
    assert_eq!(refused(&world, &mut Lamp::new("stranger", "1")).await, RefuseCode::UnknownDevice);
    let mut foreign = Lamp { product: "toaster", ..Lamp::new("lamp-1", "1") };
    assert_eq!(refused(&world, &mut foreign).await, RefuseCode::WrongProduct);
    let id = DeviceIdBuf::new("lamp-2").unwrap();
    world.server.revoke_device(&operator(), &id, "stolen").await.unwrap();
    assert_eq!(*world.link.closed.lock().unwrap(), [id]);
    assert_eq!(refused(&world, &mut Lamp::new("lamp-2", "1")).await, RefuseCode::Revoked);
    let counted = world.server.refusals();
    for code in [RefuseCode::UnknownDevice, RefuseCode::WrongProduct, RefuseCode::Revoked] {
        assert!(counted.contains(&(code, 1)), "{counted:?}");
    }
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    for payload in [&b""[..], b"\xff", b"\x80", b"\x81\x18\x63", &[0; 70_000]] {
        let answers = world.say("lamp-1", Dialect::Native, Bytes::copy_from_slice(payload)).await;
        assert!(matches!(answer(&answers[0]), Answer::Refuse(_)), "{:?}", &payload[..payload.len().min(8)]);
    }
}

#[tokio::test]
async fn an_inventory_as_long_as_it_may_be_leaves_a_short_record_and_a_longer_one_changes_nothing() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let record = async || {
        let stored = world.store.load(&[Key::Device(DeviceIdBuf::new("lamp-1").unwrap())]).await.unwrap();
        match stored.into_iter().next().flatten() {
            Some(Stored { version, record: Record::Device(device) }) => (version, device),
            other => panic!("{other:?}"),
        }
    };
    // Names and revisions that nobody has released: texts of the device's own.
    let name = |number: usize| format!("file-{number:04}");
    let names: Vec<String> = (0..limits::INVENTORY_MAX).map(name).collect();
    let short: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let message = lamp.check_in_with(&short);
    let answers = world.say("lamp-1", Dialect::Native, message).await;
    assert!(matches!(answer(&answers[0]), Answer::UpToDate { .. }));
    let (version, device) = record().await;
    assert!(device.installed.is_empty(), "nothing of it was ever released");
    assert_eq!(device.claimed.map(|claimed| claimed.len()), Some(CLAIMED_MAX), "the rest is not kept");

    // A message of one byte more than it may have.
    let mut longer = lamp.check_in_with(&short).to_vec();
    longer.resize(limits::MESSAGE_BYTES_MAX + 1, 0);
    let answers = world.say("lamp-1", Dialect::Native, longer.into()).await;
    assert!(matches!(answer(&answers[0]), Answer::Refuse(_)));
    assert_eq!(record().await.0, version, "what was refused has written nothing");
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn grants_hold_for_one_device_one_offer_one_hour() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[])]).await;
    let release = world.release("1.1", &[1; 10_000]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    let (mut one, mut two) = (Lamp::new("lamp-1", "1.0"), Lamp::new("lamp-2", "1.0"));
    let (offer, other) = (one.offer(&world).await, two.offer(&world).await);
    let part = Part::File(FileIndex(0));
    let code = async |lamp: &Lamp, message: Bytes| match answer(
        &world.say(&lamp.name, Dialect::Native, message).await[0],
    ) {
        Answer::Refuse(code) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&two, one.want(&offer, part, 0, 1024, 1)).await, RefuseCode::BadGrant);
    let swapped = Offered { id: other.id, ..offer.clone() };
    assert_eq!(code(&one, one.want(&swapped, part, 0, 1024, 1)).await, RefuseCode::BadGrant);
    let mut forged = offer.grant.to_vec();
    forged[20] ^= 1;
    let forged = Offered { grant: forged.into(), ..offer.clone() };
    assert_eq!(code(&one, one.want(&forged, part, 0, 1024, 1)).await, RefuseCode::BadGrant);
    assert_eq!(code(&one, one.want(&offer, part, 10_000, 1024, 1)).await, RefuseCode::OutOfRange);
    assert_eq!(code(&one, one.want(&offer, part, 9_999, 1024, 2)).await, RefuseCode::OutOfRange);
    assert_eq!(
        code(&one, one.want(&offer, Part::File(FileIndex(1)), 0, 1024, 1)).await,
        RefuseCode::NoSuchPart
    );
    world.pass(Millis(HOUR.0 / 2));
    assert_eq!(one.fetch(&world, &offer, part, 10_000).await.len(), 10_000);
    world.pass(HOUR);
    assert_eq!(code(&one, one.want(&offer, part, 0, 1024, 1)).await, RefuseCode::GrantExpired);
}

#[tokio::test]
async fn reports_that_cannot_be_true_change_nothing() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;
    let before = world.server.progress(&operator(), campaign).await.unwrap().now;
    for phase in [Phase::Downloaded, Phase::Installed, Phase::Confirmed] {
        let answer = lamp.report(&world, &offer, 5, phase, ReportCode::Ok).await;
        assert!(matches!(answer, Answer::Refuse(RefuseCode::ImpossibleReport)), "{phase:?}: {answer:?}");
    }
    let stale = Offered { id: OfferId([9; 8]), ..offer.clone() };
    let answer = lamp.report(&world, &stale, 0, Phase::Downloading, ReportCode::Ok).await;
    assert!(matches!(answer, Answer::Refuse(RefuseCode::StaleOffer)), "{answer:?}");
    assert_eq!(world.server.progress(&operator(), campaign).await.unwrap().now, before);
    assert!(world.server.refusals().contains(&(RefuseCode::ImpossibleReport, 3)));
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn names_that_lead_elsewhere_do_not_exist() {
    for name in ["../etc/passwd", "/etc/passwd", "a/../b", ".ssh/key", "a\\b", ""] {
        assert!(FileName::new(name).is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_revision_never_names_two_contents() {
    let world = World::new().await;
    world.release("1.1", &[1; 100]).await;
    let other = world.file("app.bin", "1.1", &[2; 100]).await;
    let refused = world.server.draft_release(&developer(), world.release_draft(vec![other])).await;
    assert!(matches!(refused, Err(CommandError::Release(ReleaseError::RevisionTaken { .. }))), "{refused:?}");
    let same = world.file("app.bin", "1.1", &[1; 100]).await;
    assert!(world.server.draft_release(&developer(), world.release_draft(vec![same])).await.is_ok());
}

#[tokio::test]
async fn a_wrong_integrity_string_of_the_uploader_is_found() {
    let world = World::new().await;
    let mut upload = world.server.upload(&developer(), &world.product, 0).await.unwrap();
    upload.write(Bytes::from_static(b"123456789")).await.unwrap();
    let uploaded = upload.finish().await.unwrap();
    let file = |strings: &[&str]| {
        uploaded.file("a".parse().unwrap(), "1".parse().unwrap(), "app".parse().unwrap(), strings)
    };
    assert!(file(&["crc32:cbf43926"]).is_ok());
    for wrong in ["crc32:cbf43927", "md5:00", "crc32:", "sha2-256:00"] {
        assert!(matches!(file(&[wrong]), Err(ReleaseError::Integrity { .. })), "{wrong}");
    }
}

#[tokio::test]
async fn unsigned_releases_foreign_signatures_and_withdrawn_ones_are_never_offered() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let file = world.file("app.bin", "1.1", &[1; 100]).await;
    let drafted = world.server.draft_release(&developer(), world.release_draft(vec![file])).await.unwrap();
    let id = world.server.fix_release(&developer(), &drafted, None).await.unwrap();
    let refused = world.server.draft_campaign(&operator(), draft(&world, id, plan())).await;
    assert!(matches!(refused, Err(CommandError::Campaign(CampaignError::NotSigned))), "{refused:?}");
    assert!(world.server.sign_release(&holder(), &id, b"\x00").await.is_err());
    let signed = world.release("1.2", &[2; 100]).await;
    world.start_campaign(draft(&world, signed, plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;
    world.server.withdraw_release(&operator(), &signed, "it bites").await.unwrap();
    let want = lamp.want(&offer, Part::ReleaseBody, 0, 1024, 1);
    let answers = world.say("lamp-1", Dialect::Native, want).await;
    assert!(
        matches!(answer(&answers[0]), Answer::Refuse(RefuseCode::StaleOffer)),
        "{:?}",
        answer(&answers[0])
    );
    world.server.tick().await.unwrap();
    let cancelled = world.heard_by(&DeviceIdBuf::new("lamp-1").unwrap());
    assert!(matches!(answer(&cancelled[0]), Answer::Cancel));
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn wrong_campaigns_say_what_to_correct() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let error = async |target: Target, start: Timestamp| {
        let mut content = draft(&world, release, plan());
        content.target = target;
        content.plan.schedule.start = start;
        match world.server.draft_campaign(&operator(), content).await {
            Err(CommandError::Campaign(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let past = Timestamp(START.0 - 1);
    assert_eq!(error(Target::Everyone, past).await, CampaignError::Schedule(ScheduleError::Start));
    let nobody = Target::Filter { expression: "tag = nobody".into() };
    assert_eq!(error(nobody, Timestamp(0)).await, CampaignError::MatchesNothing);
    let stranger = Target::Devices { ids: vec![DeviceIdBuf::new("stranger").unwrap()] };
    assert_eq!(error(stranger, Timestamp(0)).await, CampaignError::MatchesNothing);
    let nonsense = Target::Filter { expression: "tag ~ x".into() };
    assert!(matches!(error(nonsense, Timestamp(0)).await, CampaignError::Filter(_)));
    let other = world.release("1.2", &[3; 100]).await;
    let first = world.start_campaign(draft(&world, release, plan())).await;
    let second = world.server.draft_campaign(&operator(), draft(&world, other, plan())).await.unwrap();
    let hash = world.server.progress(&operator(), second).await.unwrap().hash;
    world.server.approve_campaign(&approver(), second, &hash).await.unwrap();
    let contradicted = world.server.start_campaign(&operator(), second).await;
    let expected = CampaignError::Contradicts(first);
    assert!(matches!(contradicted, Err(CommandError::Campaign(error)) if error == expected));
}

#[tokio::test]
async fn nobody_does_what_his_roles_do_not_allow() {
    let world = World::new().await;
    let elsewhere = vec![ProductIdBuf::new("toaster").unwrap()];
    let everything = [
        PersonRole::Developer,
        PersonRole::Operator,
        PersonRole::Approver,
        PersonRole::KeyHolder,
        PersonRole::Administrator,
    ];
    let grants = everything.map(|role| RoleGrant { role, products: Some(elsewhere.clone()) });
    let stranger = Principal::new("stranger", grants.to_vec());
    let file = world.file("app.bin", "1.1", &[1; 100]).await;
    let release = world.sign(world.release_draft(vec![file])).await;
    let campaign = world.server.draft_campaign(&operator(), draft(&world, release, plan())).await.unwrap();
    let hash = world.server.progress(&operator(), campaign).await.unwrap().hash;
    let device = DeviceIdBuf::new("lamp-1").unwrap();
    world.register(&[("lamp-1", &[])]).await;
    let before = world.server.audit_entries(&admin(), 1, 1000).await.unwrap().len();
    let server = &world.server;
    let denied = [
        server.register_devices(&stranger, &world.product, &[]).await.err(),
        server.upload(&stranger, &world.product, 0).await.err(),
        server.withdraw_release(&stranger, &release, "x").await.err(),
        server.sign_release(&stranger, &release, &[]).await.err(),
        server.draft_campaign(&stranger, draft(&world, release, plan())).await.err(),
        server.approve_campaign(&stranger, campaign, &hash).await.err(),
        server.start_campaign(&stranger, campaign).await.err(),
        server.promote_campaign(&stranger, campaign).await.err(),
        server.stop_everything(&stranger, Some(&world.product), "x").await.err(),
        server.stop_everything(&stranger, None, "x").await.err(),
        server.revoke_device(&stranger, &device, "x").await.err(),
        server.device(&stranger, &device).await.err(),
        server.progress(&stranger, campaign).await.err(),
        server.verify_audit(&stranger, None).await.err(),
        server.recount(&stranger).await.err(),
    ];
    for (index, error) in denied.into_iter().enumerate() {
        assert!(matches!(error, Some(CommandError::Denied(_))), "{index}: {error:?}");
    }
    assert_eq!(world.server.audit_entries(&admin(), 1, 1000).await.unwrap().len(), before);
}

#[tokio::test]
async fn what_a_draft_says_about_content_is_held_to_the_bytes() {
    let world = World::new().await;
    let good = world.file("app.bin", "1.1", &[7; 10_000]).await;
    let other = world.file("app.bin", "1.2", &[8; 10_000]).await;
    let draft = async |file| {
        let draft = world.release_draft(vec![file]);
        world.server.draft_release(&developer(), draft).await
    };
    let mut foreign_map = good.clone();
    foreign_map.block_map = other.block_map;
    assert!(matches!(draft(foreign_map).await, Err(CommandError::Release(ReleaseError::BlockMap(_)))));
    let mut wrong_unit = good.clone();
    if let Some(map) = &mut wrong_unit.block_map {
        map.unit = 8192;
    }
    assert!(matches!(draft(wrong_unit).await, Err(CommandError::Release(ReleaseError::BlockMap(_)))));
    let mut wrong_hash = good.clone();
    wrong_hash.integrity = other.integrity.clone();
    assert!(matches!(draft(wrong_hash).await, Err(CommandError::Release(ReleaseError::Integrity { .. }))));
    let mut unread = good.clone();
    unread.integrity.push("sha3-512:".into());
    assert!(matches!(draft(unread).await, Err(CommandError::Release(ReleaseError::Integrity { .. }))));
    let mut elsewhere = good.clone();
    elsewhere.hosting = ota_core::fleet::records::Hosting::Elsewhere;
    elsewhere.urls = vec![ota_core::text::UrlBuf::new("https://example.com/app.bin").unwrap()];
    assert!(matches!(draft(elsewhere).await, Err(CommandError::Release(ReleaseError::BlockMap(_)))));
    // Bytes that were stored without the server's looking at them are looked at now.
    let digest = good.digest;
    let key = Key::Blob(digest);
    let stored = world.store.load(core::slice::from_ref(&key)).await.unwrap().pop().flatten().unwrap();
    let mut unit = ota_core::fleet::Unit::default();
    unit.expects.push((key.clone(), stored.version));
    unit.writes.push(ota_core::fleet::Write { key, before: Some(stored.record), after: None });
    world.store.commit(vec![unit]).await.unwrap();
    let mut lying = good.clone();
    lying.block_map = other.block_map;
    assert!(matches!(draft(lying).await, Err(CommandError::Release(ReleaseError::BlockMap(_)))));
    draft(good).await.unwrap();
    let refused = world.server.upload(&developer(), &world.product, 1).await.err();
    assert!(matches!(refused, Some(CommandError::Release(ReleaseError::Unit(_)))), "{refused:?}");
}

#[tokio::test]
async fn reasons_name_times_as_people_read_them() {
    use ota_server::rules::planner::WhyNot;
    use ota_server::rules::ramp::Turn;
    for (why, words) in [
        (WhyNot::BeginsAt(START), "the campaign begins at 2027-01-15T08:00:00Z"),
        (
            WhyNot::NotItsTurn(Turn::About(START)),
            "its turn has not come: it comes at about 2027-01-15T08:00:00Z",
        ),
        (WhyNot::OutsideWindow(START), "outside the window until 2027-01-15T08:00:00Z"),
        (WhyNot::RetryAt(START), "it tries again at 2027-01-15T08:00:00Z"),
        (WhyNot::AwaitingBoot(Some(START)), "its boot is awaited until 2027-01-15T08:00:00Z"),
        (WhyNot::Offline(START), "it was last heard at 2027-01-15T08:00:00Z; its turn has come"),
        (WhyNot::Offline(Timestamp(0)), "it was never heard; its turn has come"),
    ] {
        assert_eq!(why.to_string(), words);
    }
}
