//! Devices: groups by expression, enrolments, and what is known of each file that was delivered.

use ota_core::fleet::records::AttemptPhase;
use ota_core::fleet::{Cursor, Dialect};
use ota_core::number::{ByteLength, FileIndex, ReportSequence, Sha256Digest};
use ota_core::text::{Detail, DeviceIdBuf};
use ota_core::time::Millis;
use ota_core::wire::{Part, Phase, RefuseCode, Report, ReportCode, Up};
use ota_server::rules::campaign::CampaignError;
use ota_server::rules::filter::Filter;
use ota_server::rules::planner::WhyNot;
use ota_server::{CommandError, NewEnrolment, Proof, SCAN_MAX};

use crate::support::*;

fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

#[tokio::test]
async fn groups_are_named_expressions() {
    let world = World::new().await;
    let names: Vec<String> = (0..25).map(|number| format!("lamp-{number:02}")).collect();
    let (north, south): (&[&str], &[&str]) = (&["site=north"], &["site=south"]);
    let new: Vec<(&str, &[&str])> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (name.as_str(), if number % 5 == 0 { north } else { south }))
        .collect();
    world.register(&new).await;
    let (server, product) = (&world.server, &world.product);
    server.set_group(&operator(), product, "the north", "tag = site=north").await.unwrap();
    server.set_group(&operator(), product, "all but one", "not id = lamp-03").await.unwrap();
    let wrong = server.set_group(&operator(), product, "x", "tag =").await;
    assert!(matches!(wrong, Err(CommandError::Filter(_))));
    assert!(matches!(
        server.set_group(&operator(), product, "", "tag = a").await,
        Err(CommandError::GroupName)
    ));
    let groups = server.groups(&operator(), product).await.unwrap();
    let names: Vec<&str> = groups.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["all but one", "the north"]);

    let filter = |place: usize| Filter::parse(&groups[place].1).unwrap();
    let page = server.devices_that(&operator(), product, &filter(1), None, 1000).await.unwrap();
    assert_eq!((page.devices.len(), page.next), (5, None));
    let page = server.devices_that(&operator(), product, &filter(0), None, 1000).await.unwrap();
    assert_eq!(page.devices.len(), 24);
    server.remove_group(&operator(), product, "the north").await.unwrap();
    assert_eq!(server.groups(&operator(), product).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_search_that_finds_nothing_looks_at_so_many_devices_and_can_be_gone_on_with() {
    let world = World::new().await;
    let names: Vec<String> = (0..SCAN_MAX + 500).map(|number| format!("lamp-{number:05}")).collect();
    for part in names.chunks(1000) {
        let new: Vec<(&str, &[&str])> = part.iter().map(|name| (name.as_str(), &[][..])).collect();
        world.register(&new).await;
    }
    let last = Filter::parse(&format!("id = {}", names[names.len() - 1])).unwrap();
    let search = async |after: Option<&Cursor>| {
        world.server.devices_that(&operator(), &world.product, &last, after, 100).await.unwrap()
    };
    let mut page = search(None).await;
    let mut looked_at = page.looked_at;
    while page.next.is_some() {
        assert!(page.devices.is_empty() && page.looked_at <= SCAN_MAX, "{}", page.looked_at);
        page = search(page.next.as_ref()).await;
        looked_at += page.looked_at;
    }
    assert!(looked_at > SCAN_MAX);
    assert_eq!((page.devices.len(), looked_at), (1, names.len()));
}

#[tokio::test]
async fn pages_of_a_search_join_without_a_gap_and_without_a_repeat() {
    let world = World::new().await;
    let names: Vec<String> = (0..900).map(|number| format!("lamp-{number:03}")).collect();
    let new: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    world.register(&new).await;
    // Most of them, then a long gap, then some again: a page ends in the middle of what is read at once.
    let filter = Filter::parse("id = lamp-0* or id = lamp-1* or id = lamp-89*").unwrap();
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page =
            world.server.devices_that(&operator(), &world.product, &filter, next.as_ref(), 70).await.unwrap();
        assert!(page.devices.len() <= 70);
        found.extend(page.devices.into_iter().map(|(id, _)| id.to_string()));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let wanted = |name: &&String| {
        name.starts_with("lamp-0") || name.starts_with("lamp-1") || name.starts_with("lamp-89")
    };
    assert_eq!(found, names.iter().filter(wanted).cloned().collect::<Vec<_>>());
}

#[tokio::test]
async fn an_announced_certificate_registers_one_device_and_knows_it_again() {
    let world = World::new().await;
    let (one, two) = (Sha256Digest([1; 32]), Sha256Digest([2; 32]));
    let new = NewEnrolment { tags: vec!["new".into()], uses_max: 50, ..NewEnrolment::default() };
    let proofs = [Proof::Certificate(&one), Proof::Certificate(&two)];
    world.server.enrol(&operator(), &world.product, &proofs, &new).await.unwrap();
    let again = world.server.enrol(&operator(), &world.product, &proofs, &new).await;
    assert!(matches!(again, Err(CommandError::Enrolled(_))));

    let product = world.server.register_itself(&id("lamp-1"), Proof::Certificate(&one)).await.unwrap();
    assert_eq!(product, world.product);
    assert!(matches!(Lamp::new("lamp-1", "1.0").check_in(&world).await, Answer::UpToDate { .. }));
    world.server.register_itself(&id("lamp-1"), Proof::Certificate(&one)).await.unwrap();
    let other = world.server.register_itself(&id("lamp-2"), Proof::Certificate(&one)).await;
    assert!(matches!(other, Err(CommandError::Claim)), "one certificate is one device's");
    let taken = world.server.register_itself(&id("lamp-1"), Proof::Certificate(&two)).await;
    assert!(matches!(taken, Err(CommandError::DeviceExists(_))), "nobody takes the name of another");
    let as_token = world.server.register_itself(&id("lamp-3"), Proof::Token(&two.0)).await;
    assert!(matches!(as_token, Err(CommandError::Claim)), "a fingerprint is no token");
    let report = world.server.device(&operator(), &id("lamp-1")).await.unwrap();
    assert_eq!(report.tags, [Box::from("new")]);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_token_is_good_for_so_many_devices_and_so_long() {
    let world = World::new().await;
    let expires = Some(START.plus(HOUR));
    let twice = NewEnrolment { uses_max: 2, expires, ..NewEnrolment::default() };
    let token = Proof::Token(b"a long random token");
    world.server.enrol(&operator(), &world.product, &[token], &twice).await.unwrap();
    let only = NewEnrolment { device: Some(id("lamp-9")), uses_max: 1, ..NewEnrolment::default() };
    world.server.enrol(&operator(), &world.product, &[Proof::Token(b"for one")], &only).await.unwrap();
    let claim = async |name: &str, token| world.server.register_itself(&id(name), token).await;
    assert!(claim("lamp-1", token).await.is_ok());
    assert!(matches!(claim("lamp-1", token).await, Err(CommandError::DeviceExists(_))));
    assert!(claim("lamp-2", token).await.is_ok());
    assert!(matches!(claim("lamp-3", token).await, Err(CommandError::Claim)), "it was used up");
    assert!(matches!(claim("lamp-1", Proof::Token(b"for one")).await, Err(CommandError::Claim)));
    assert!(matches!(claim("lamp-9", Proof::Token(b"guessed")).await, Err(CommandError::Claim)));
    world.pass(Millis(2 * HOUR.0));
    assert!(claim("lamp-9", Proof::Token(b"for one")).await.is_ok(), "it has no end");
    let made = world.server.enrolments(&operator(), &world.product).await.unwrap();
    assert_eq!(made.iter().map(|(_, enrolment)| enrolment.uses).sum::<u32>(), 3);
    for (digest, _) in made {
        world.server.remove_enrolment(&operator(), &world.product, &digest).await.unwrap();
    }
    assert!(world.server.enrolments(&operator(), &world.product).await.unwrap().is_empty());
    let late = NewEnrolment { expires, uses_max: 1, ..NewEnrolment::default() };
    world.server.enrol(&operator(), &world.product, &[Proof::Token(b"late")], &late).await.unwrap();
    assert!(
        matches!(claim("lamp-4", Proof::Token(b"late")).await, Err(CommandError::Claim)),
        "it has expired"
    );
    world.assert_counters_are_exact().await;
}

fn about(offer: &Offered, sequence: u32, file: u16, phase: Phase, code: ReportCode) -> bytes::Bytes {
    let report = Up::Report(Report {
        offer: offer.id,
        sequence: ReportSequence(sequence),
        file: Some(FileIndex(file)),
        phase,
        code,
        done: ByteLength(0),
        detail: Detail::new("").unwrap(),
        evidence: None,
    });
    report.to_vec().unwrap().into()
}

#[tokio::test]
async fn delivery_is_known_file_by_file_and_counts_once_it_is_shown() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let (app, sounds) =
        (world.file("app.bin", "1.1", &[1; 100]).await, world.file("sounds", "7", &[2; 100]).await);
    let release = world.sign(world.release_draft(vec![app, sounds])).await;
    world.start_campaign(draft(&world, release, plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;
    lamp.fetch(&world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
    let say = async |message| answer(&world.say("lamp-1", Dialect::Native, message).await[0]);
    assert!(matches!(say(about(&offer, 0, 0, Phase::Verified, ReportCode::Ok)).await, Answer::Ack(0)));
    assert!(matches!(say(about(&offer, 1, 1, Phase::Downloaded, ReportCode::Ok)).await, Answer::Ack(1)));
    let foreign = say(about(&offer, 2, 2, Phase::Verified, ReportCode::Ok)).await;
    assert!(matches!(foreign, Answer::Refuse(RefuseCode::ImpossibleReport)), "there is no third file");
    let files = async || {
        let report = world.server.device(&operator(), &id("lamp-1")).await.unwrap();
        report.history[0].files.clone()
    };
    let told = files().await;
    assert_eq!(
        told.iter().map(|file| (&*file.file, &*file.revision)).collect::<Vec<_>>(),
        [("app.bin", "1.1"), ("sounds", "7")]
    );
    let phases: Vec<_> = told.iter().map(|file| file.reported.map(|state| state.phase)).collect();
    assert_eq!(phases, [Some(AttemptPhase::Verified), Some(AttemptPhase::Downloaded)]);
    assert!(told.iter().all(|file| !file.is_shown), "a report is a claim");
    lamp.revision = "1.1".into();
    lamp.check_in(&world).await;
    assert_eq!(files().await.iter().map(|file| file.is_shown).collect::<Vec<_>>(), [true, false]);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_device_that_is_set_apart_or_pinned_gets_nothing_and_says_why() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    let server = &world.server;
    server.quarantine_device(&operator(), &id("lamp-1"), "it smokes").await.unwrap();
    server.pin_device(&operator(), &id("lamp-2"), "it is measured").await.unwrap();
    let why = async |name: &str| server.why_not(&operator(), &id(name), campaign).await.unwrap();
    for name in ["lamp-1", "lamp-2"] {
        assert!(matches!(Lamp::new(name, "1.0").check_in(&world).await, Answer::UpToDate { .. }), "{name}");
    }
    assert_eq!(why("lamp-1").await, WhyNot::Quarantined { failures: 0 });
    assert_eq!(why("lamp-2").await, WhyNot::Pinned("it is measured".into()));
    let report = server.device(&operator(), &id("lamp-2")).await.unwrap();
    assert_eq!(report.pinned.as_deref(), Some("it is measured"));

    server.release_device(&operator(), &id("lamp-1")).await.unwrap();
    server.unpin_device(&operator(), &id("lamp-2")).await.unwrap();
    for name in ["lamp-1", "lamp-2"] {
        let mut lamp = Lamp { nonce: 9, ..Lamp::new(name, "1.0") };
        lamp.offer(&world).await;
    }
    // A device whose credentials are bad is not let in again by being set apart.
    server.revoke_device(&operator(), &id("lamp-1"), "stolen").await.unwrap();
    server.quarantine_device(&operator(), &id("lamp-1"), "it smokes").await.unwrap();
    assert_eq!(why("lamp-1").await, WhyNot::Revoked);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn devices_that_have_failed_try_again_once_their_gate_has_passed() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[]), ("lamp-3", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    let server = &world.server;
    let fail = async |lamp: &mut Lamp| {
        let offer = lamp.offer(&world).await;
        lamp.report(&world, &offer, 0, Phase::Failed, ReportCode::NoIntegrity).await
    };
    let (mut two, mut three) = (Lamp::new("lamp-2", "1.0"), Lamp::new("lamp-3", "1.0"));
    let retry = async |name: &str| server.retry_device(&operator(), campaign, &id(name), "mended").await;
    let retry_all = async || server.retry_failed(&operator(), campaign, "mended").await;
    let retryable = async || server.progress(&operator(), campaign).await.unwrap().retryable();
    assert!(matches!(retry("lamp-1").await, Err(CommandError::Campaign(CampaignError::NothingToRetry))));
    let none = |judged, set_apart| CampaignError::NoneToRetry { judged, set_apart };
    assert_eq!(retryable().await, Err(none(0, 0)));
    assert!(matches!(retry_all().await, Err(CommandError::Campaign(why)) if why == none(0, 0)));
    fail(&mut two).await;
    // Its failure is evidence that the gate has not judged yet.
    assert!(matches!(retry("lamp-2").await, Err(CommandError::Campaign(CampaignError::StillJudged))));
    assert_eq!(retryable().await, Err(none(1, 0)));
    assert!(matches!(retry_all().await, Err(CommandError::Campaign(why)) if why == none(1, 0)));
    Lamp::new("lamp-1", "1.0").update(&world, "1.1", 100).await;
    for _ in 0..3 {
        world.pass(Millis(1000));
        server.tick().await.unwrap();
    }
    fail(&mut three).await;
    assert!(matches!(two.check_in(&world).await, Answer::UpToDate { .. }), "it has failed for good");
    assert_eq!(retryable().await, Ok(2));
    for lamp in ["lamp-2", "lamp-3"] {
        server.quarantine_device(&operator(), &id(lamp), "it smokes").await.unwrap();
    }
    // Counters do not tell who is set apart; the command finds out.
    assert!(matches!(retry_all().await, Err(CommandError::Campaign(why)) if why == none(0, 2)));
    for lamp in ["lamp-2", "lamp-3"] {
        server.release_device(&operator(), &id(lamp)).await.unwrap();
    }
    let done = retry_all().await.unwrap();
    assert_eq!((done.retried, done.left_out, done.is_partial), (2, 0, false));
    two.update(&world, "1.1", 100).await;
    three.update(&world, "1.1", 100).await;
    assert!(retry("lamp-2").await.is_err(), "it has it");
    let log = server.audit_entries(&approver(), 1, 1000).await.unwrap();
    assert_eq!(log.iter().filter(|entry| entry.draft.action == "campaign.retry").count(), 1);
    world.assert_counters_are_exact().await;
}

/// Offers the release to a device that has kept all its bytes, and lets it install them without asking for any.
async fn installs_what_it_kept(world: &World, lamp: &mut Lamp, phase: Phase) {
    let offer = lamp.offer(world).await;
    for (sequence, phase) in [(0, Phase::Downloaded), (1, Phase::Verified), (2, Phase::Installed), (3, phase)]
    {
        let code = if phase == Phase::RolledBack { ReportCode::SelfTestFailed } else { ReportCode::Ok };
        let answer = lamp.report(world, &offer, sequence, phase, code).await;
        assert!(matches!(answer, Answer::Ack(_)), "{phase:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_device_that_kept_what_it_had_asked_for_is_believed_without_asking_again() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let first = world.start_campaign(draft(&world, release, plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;
    lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 100).await;
    lamp.report(&world, &offer, 0, Phase::RolledBack, ReportCode::SelfTestFailed).await;
    // Another campaign brings the same release, and the device fails with it again.
    world.server.stop_campaign(&operator(), first, "again").await.unwrap();
    let second = world.start_campaign(draft(&world, release, plan())).await;
    installs_what_it_kept(&world, &mut lamp, Phase::RolledBack).await;
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }), "it has failed for good");
    world.server.stop_campaign(&operator(), second, "again").await.unwrap();
    let third = world.start_campaign(draft(&world, release, plan())).await;
    installs_what_it_kept(&world, &mut lamp, Phase::Confirmed).await;
    lamp.revision = "1.1".into();
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    assert_eq!(world.server.why_not(&operator(), &id("lamp-1"), third).await.unwrap(), WhyNot::HasIt);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_device_that_failed_without_having_asked_is_not_offered_the_same_for_ever() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;
    let refused = lamp.report(&world, &offer, 0, Phase::Installed, ReportCode::Ok).await;
    assert!(matches!(refused, Answer::Refuse(RefuseCode::ImpossibleReport)), "{refused:?}");
    let heard = lamp.report(&world, &offer, 1, Phase::RolledBack, ReportCode::BootReverted).await;
    assert!(matches!(heard, Answer::Ack(1)), "{heard:?}");
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
}
