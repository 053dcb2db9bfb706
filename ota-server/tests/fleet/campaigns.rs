//! Campaigns at the server: trial first, ramps, gates, limits, windows, stepping stones, ways back, reasons.

use ota_core::fleet::records::{
    AttemptPhase, CampaignState, DailyWindow, DeviceStatus, Limits, OnFailure, Pace, Plan, Promotion,
    RequirementRecord, Schedule, Stage, Target, Trial,
};
use ota_core::number::{CampaignId, FileIndex};
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::{Part, Phase, ReportCode};
use ota_server::rules::planner::WhyNot;
use ota_server::{AuditCheck, CommandError};

use crate::support::*;

fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

fn lamps(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("lamp-{number}")).collect()
}

async fn register(world: &World, names: &[String]) {
    let new: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    world.register(&new).await;
}

async fn why(world: &World, name: &str, campaign: CampaignId) -> WhyNot {
    world.server.why_not(&operator(), &id(name), campaign).await.unwrap()
}

async fn state(world: &World, campaign: CampaignId) -> CampaignState {
    world.server.progress(&operator(), campaign).await.unwrap().campaign.state
}

/// Fails after the boot: reports it with a cause.
async fn fail(world: &World, lamp: &mut Lamp) {
    let offer = lamp.offer(world).await;
    lamp.fetch(world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
    lamp.report(world, &offer, 0, Phase::Installed, ReportCode::Ok).await;
    lamp.report(world, &offer, 1, Phase::RolledBack, ReportCode::SelfTestFailed).await;
}

#[tokio::test]
async fn the_trial_group_comes_first_and_a_person_promotes() {
    let world = World::new().await;
    world.register(&[("trial-1", &["trial"]), ("trial-2", &["trial"]), ("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 500]).await;
    let who = Target::Filter { expression: "tag = trial".into() };
    let trial = Some(Trial { who, gate: gate(2), promotion: Promotion::ByPerson });
    let campaign = world.start_campaign(draft(&world, release, Plan { trial, ..plan() })).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { turn: None }));
    assert_eq!(why(&world, "lamp-1", campaign).await, WhyNot::TrialFirst);
    let refused = world.server.promote_campaign(&approver(), campaign).await;
    assert!(matches!(refused, Err(CommandError::Campaign(_))), "the trial has shown nothing yet");
    for name in ["trial-1", "trial-2"] {
        Lamp::new(name, "1.0").update(&world, "1.1", 500).await;
        world.server.tick().await.unwrap();
    }
    assert_eq!(state(&world, campaign).await, CampaignState::Trialled);
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    world.server.promote_campaign(&approver(), campaign).await.unwrap();
    lamp.update(&world, "1.1", 500).await;
    let fleet = world.server.fleet(&operator(), &world.product).await.unwrap();
    assert_eq!(fleet.iter().map(|line| line.devices).sum::<u64>(), 3);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_gate_that_fails_pauses_and_nothing_more_is_offered() {
    let world = World::new().await;
    let names = lamps(12);
    register(&world, &names).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    let mut offered = 0;
    for name in &names {
        let mut lamp = Lamp::new(name, "1.0");
        if matches!(lamp.check_in(&world).await, Answer::Offer(_)) {
            offered += 1;
            fail(&world, &mut lamp).await;
        }
        world.server.tick().await.unwrap();
    }
    assert_eq!(state(&world, campaign).await, CampaignState::Paused);
    assert!(offered < 12, "{offered}");
    assert!(
        matches!(why(&world, "lamp-11", campaign).await, WhyNot::Paused(reason) if reason.contains("failed"))
    );
    let (groups, next) = world.server.failures(&operator(), campaign, None, 1000).await.unwrap();
    assert_eq!(next, None);
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].cause, ReportCode::SelfTestFailed.number());
    assert_eq!(groups[0].devices, offered);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_pause_holds_against_a_check_in_of_the_same_moment() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    // Another server, whose picture of the campaign is from before the pause.
    let other = {
        let mut other = World {
            server: world.server.clone(),
            product: world.product.clone(),
            clock: world.clock.clone(),
            link: world.link.clone(),
            store: world.store.clone(),
            blobs: world.blobs.clone(),
        };
        other.restart().await;
        other
    };
    world.server.pause_campaign(&operator(), campaign, "wait").await.unwrap();
    let mut lamp = Lamp::new("lamp-1", "1.0");
    assert!(
        matches!(lamp.check_in(&other).await, Answer::UpToDate { .. }),
        "decided anew from the present picture"
    );
    world.server.resume_campaign(&operator(), campaign).await.unwrap();
    assert!(matches!(lamp.check_in(&world).await, Answer::Offer(_)));
}

#[tokio::test]
async fn a_linear_ramp_tells_each_device_when_its_turn_is_and_keeps_its_word() {
    let world = World::new().await;
    let names = lamps(40);
    register(&world, &names).await;
    let release = world.release("1.1", &[1; 100]).await;
    let stages = vec![Stage { pace: Pace::Linear { over: HOUR }, ..plan().stages[0].clone() }];
    world.start_campaign(draft(&world, release, Plan { stages, ..plan() })).await;
    let mut turns: Vec<(Timestamp, String)> = Vec::new();
    for name in &names {
        match Lamp::new(name, "1.0").check_in(&world).await {
            Answer::UpToDate { turn: Some(turn) } => turns.push((turn, name.clone())),
            other => panic!("{other:?}"),
        }
    }
    turns.sort();
    assert!(turns[0].0 > START && turns[39].0 <= START.plus(HOUR));
    for (turn, name) in turns {
        world.clock.time.store(turn.0 - 1, core::sync::atomic::Ordering::SeqCst);
        assert!(matches!(Lamp::new(&name, "1.0").check_in(&world).await, Answer::UpToDate { .. }), "{name}");
        world.pass(Millis(1));
        assert!(matches!(Lamp::new(&name, "1.0").check_in(&world).await, Answer::Offer(_)), "{name}");
    }
}

#[tokio::test]
async fn limits_are_answered_with_busy_and_never_exceeded() {
    let world = World::new().await;
    let names = lamps(10);
    register(&world, &names).await;
    let release = world.release("1.1", &[1; 100]).await;
    let limits = Limits { downloads_max: 3, ..Limits::default() };
    world.start_campaign(draft(&world, release, Plan { limits, ..plan() })).await;
    let mut with_offer = Vec::new();
    for name in &names {
        let mut lamp = Lamp::new(name, "1.0");
        match lamp.check_in(&world).await {
            Answer::Offer(offer) => with_offer.push((lamp, offer)),
            Answer::Busy(wait) => assert!(wait.0 > 0),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(with_offer.len(), 3);
    let (lamp, offer) = &with_offer[0];
    lamp.fetch(&world, offer, Part::ReleaseBody, u64::from(offer.body)).await;
    lamp.report(&world, offer, 0, Phase::Downloaded, ReportCode::Ok).await;
    assert!(matches!(Lamp::new("lamp-9", "1.0").check_in(&world).await, Answer::Offer(_)), "a place is free");
    assert!(matches!(Lamp::new("lamp-8", "1.0").check_in(&world).await, Answer::Busy(_)));
}

#[tokio::test]
async fn places_survive_a_restart_and_are_freed_by_silence() {
    let mut world = World::new().await;
    register(&world, &lamps(3)).await;
    let release = world.release("1.1", &[1; 100]).await;
    let limits = Limits { downloads_max: 1, ..Limits::default() };
    let campaign = world.start_campaign(draft(&world, release, Plan { limits, ..plan() })).await;
    Lamp::new("lamp-0", "1.0").offer(&world).await;
    world.restart().await;
    assert!(matches!(Lamp::new("lamp-1", "1.0").check_in(&world).await, Answer::Busy(_)));
    world.pass(Millis(2 * HOUR.0));
    world.server.tick().await.unwrap();
    assert!(matches!(Lamp::new("lamp-1", "1.0").check_in(&world).await, Answer::Offer(_)));
    let progress = world.server.progress(&operator(), campaign).await.unwrap();
    assert!(progress.now.iter().any(|line| line.phase == AttemptPhase::Silent && line.devices == 1));
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn whoever_comes_before_the_first_tick_after_a_long_silence_gets_an_offer() {
    let world = World::new().await;
    register(&world, &lamps(2)).await;
    let release = world.release("1.1", &[1; 100]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    // Every key of grants is too old.
    world.pass(Millis(30 * 24 * HOUR.0));
    let mut lamp = Lamp::new("lamp-0", "1.0");
    lamp.update(&world, "1.1", 100).await;
    // Every key was made by a clock that was ahead.
    world.clock.time.fetch_sub(29 * 24 * HOUR.0, core::sync::atomic::Ordering::SeqCst);
    let mut lamp = Lamp::new("lamp-1", "1.0");
    lamp.update(&world, "1.1", 100).await;
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn bandwidth_is_shared_out_with_busy() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 4096]).await;
    let limits = Limits { bytes_per_second: 2048, ..Limits::default() };
    world.start_campaign(draft(&world, release, Plan { limits, ..plan() })).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let offer = lamp.offer(&world).await;
    let ask = async |offset| {
        let want = lamp.want(&offer, Part::File(FileIndex(0)), offset, 1024, 1);
        let answers = world.say("lamp-1", ota_core::fleet::Dialect::Native, want).await;
        answer(&answers[0])
    };
    assert!(matches!(ask(0).await, Answer::Block { .. }));
    assert!(matches!(ask(1024).await, Answer::Block { .. }));
    let Answer::Busy(wait) = ask(2048).await else { panic!() };
    assert_eq!(wait, Millis(500));
    world.pass(wait);
    assert!(matches!(ask(2048).await, Answer::Block { .. }));
}

#[tokio::test]
async fn outside_its_window_a_device_is_told_when_it_opens() {
    let world = World::new().await;
    world.register(&[("lamp-1", &["zone=Asia/Tokyo"])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let schedule = Schedule {
        windows: vec![DailyWindow { from_minute: 2 * 60, until_minute: 4 * 60 }],
        ..Schedule::default()
    };
    let campaign = world.start_campaign(draft(&world, release, Plan { schedule, ..plan() })).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    let Answer::UpToDate { turn: Some(opens) } = lamp.check_in(&world).await else { panic!() };
    assert_eq!(opens.0 % (24 * HOUR.0), 17 * HOUR.0, "two in the morning in Tokyo");
    assert_eq!(why(&world, "lamp-1", campaign).await, WhyNot::OutsideWindow(opens));
    world.clock.time.store(opens.0, core::sync::atomic::Ordering::SeqCst);
    assert!(matches!(lamp.check_in(&world).await, Answer::Offer(_)));
}

#[tokio::test]
async fn stepping_stones_are_taken_by_the_shortest_way() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[])]).await;
    let needs = |revisions: &[&str]| -> Vec<RequirementRecord> {
        let need = |revision: &&str| RequirementRecord::FileRevision {
            file: "app.bin".parse().unwrap(),
            revision: revision.parse().unwrap(),
        };
        revisions.iter().map(need).collect()
    };
    let mut releases = Vec::new();
    for (revision, from) in
        [("1.0", vec![]), ("1.1", needs(&["1.0"])), ("1.2", needs(&["1.1", "1.0"])), ("2.0", needs(&["1.2"]))]
    {
        let file = world.file("app.bin", revision, revision.as_bytes()).await;
        let mut content = world.release_draft(vec![file]);
        content.requirements = from;
        releases.push(world.sign(content).await);
    }
    let campaign = world.start_campaign(draft(&world, releases[3], plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    for step in ["1.2", "2.0"] {
        let offer = lamp.offer(&world).await;
        lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 3).await;
        lamp.report(&world, &offer, 0, Phase::Installed, ReportCode::Ok).await;
        lamp.revision = step.into();
    }
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    assert_eq!(why(&world, "lamp-1", campaign).await, WhyNot::HasIt);
    let progress = world.server.progress(&operator(), campaign).await.unwrap();
    let confirmed: u64 = progress
        .now
        .iter()
        .filter(|line| line.phase == AttemptPhase::Confirmed)
        .map(|line| line.devices)
        .sum();
    assert_eq!(confirmed, 1, "the stone is not the goal");
    // From nowhere 1.0 comes first; its own bytes have no requirement.
    let mut stranger = Lamp::new("lamp-2", "own build");
    let offer = stranger.offer(&world).await;
    assert_eq!(stranger.fetch(&world, &offer, Part::File(FileIndex(0)), 3).await, b"1.0");
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_device_without_a_way_is_reported_as_such() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let file = world.file("app.bin", "2.0", b"two").await;
    let mut content = world.release_draft(vec![file]);
    content.requirements = vec![RequirementRecord::FileRevision {
        file: "app.bin".parse().unwrap(),
        revision: "1.9".parse().unwrap(),
    }];
    let release = world.sign(content).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    assert!(matches!(Lamp::new("lamp-1", "1.0").check_in(&world).await, Answer::UpToDate { .. }));
    assert_eq!(why(&world, "lamp-1", campaign).await, WhyNot::NoPath);
    let run = world.server.dry_run(&operator(), &draft(&world, release, plan())).await.unwrap();
    assert_eq!((run.looked_at, run.would_get), (1, 0));
    assert_eq!(run.left_out, [(WhyNot::NoPath.to_string(), 1)]);
}

#[tokio::test]
async fn a_failed_gate_can_lead_back_to_the_former_release() {
    let world = World::new().await;
    let names = lamps(8);
    register(&world, &names).await;
    let old = world.release("1.0", &[0; 100]).await;
    let new = world.release("1.1", &[1; 100]).await;
    let on_failure = OnFailure::Revert { to: old };
    let stages = vec![Stage { gate: gate(4), ..plan().stages[0].clone() }];
    let campaign = world.start_campaign(draft(&world, new, Plan { on_failure, stages, ..plan() })).await;
    let mut updated = Lamp::new("lamp-0", "1.0");
    updated.update(&world, "1.1", 100).await;
    for name in &names[1..] {
        let mut lamp = Lamp::new(name, "1.0");
        if matches!(lamp.check_in(&world).await, Answer::Offer(_)) {
            fail(&world, &mut lamp).await;
        }
        world.server.tick().await.unwrap();
    }
    assert_eq!(state(&world, campaign).await, CampaignState::Stopped);
    let back = world.server.progress(&operator(), campaign).await.unwrap().campaign.progress.revert.unwrap();
    world.server.tick().await.unwrap();
    assert_eq!(state(&world, back).await, CampaignState::Rolling);
    // It was told of its turn, as it should be.
    world.link.sent.lock().unwrap().clear();
    updated.update(&world, "1.0", 100).await;
    assert_eq!(why(&world, "lamp-0", back).await, WhyNot::HasIt);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_security_release_overtakes() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let feature = world.release("1.1", &[1; 100]).await;
    let ordinary = world.start_campaign(draft(&world, feature, plan())).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    lamp.offer(&world).await;
    let file = world.file("app.bin", "1.0.1", &[9; 100]).await;
    let fix = world
        .sign(ota_server::rules::release::ReleaseDraft { security: true, ..world.release_draft(vec![file]) })
        .await;
    let urgent = world.start_campaign(draft(&world, fix, Plan { priority: 9, ..plan() })).await;
    let offer = lamp.offer(&world).await;
    assert_eq!(lamp.fetch(&world, &offer, Part::File(FileIndex(0)), 100).await, [9; 100]);
    assert!(matches!(why(&world, "lamp-1", ordinary).await, WhyNot::SupersededBy(other) if other == urgent));
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn devices_that_keep_failing_are_quarantined_until_a_person_decides() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let mut lamp = Lamp::new("lamp-1", "1.0");
    for round in 1..=3 {
        let release = world.release(&format!("1.{round}"), &[round; 100]).await;
        let campaign = world.start_campaign(draft(&world, release, plan())).await;
        fail(&world, &mut lamp).await;
        world.server.stop_campaign(&operator(), campaign, "next").await.unwrap();
    }
    assert_eq!(
        world.server.device(&operator(), &id("lamp-1")).await.unwrap().status,
        DeviceStatus::Quarantined
    );
    let release = world.release("1.9", &[9; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    assert_eq!(why(&world, "lamp-1", campaign).await, WhyNot::Quarantined { failures: 3 });
    world.server.release_device(&operator(), &id("lamp-1")).await.unwrap();
    assert!(matches!(lamp.check_in(&world).await, Answer::Offer(_)));
}

#[tokio::test]
async fn one_action_stops_everything_and_is_one_entry() {
    let world = World::new().await;
    register(&world, &lamps(5)).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    for name in lamps(5) {
        Lamp::new(&name, "1.0").offer(&world).await;
    }
    let before = world.server.audit_entries(&admin(), 1, 1000).await.unwrap().len();
    assert_eq!(world.server.stop_everything(&admin(), None, "fire").await.unwrap(), 1);
    assert_eq!(world.server.audit_entries(&admin(), 1, 1000).await.unwrap().len(), before + 1);
    assert_eq!(state(&world, campaign).await, CampaignState::Stopped);
    world.server.tick().await.unwrap();
    let cancelled = world
        .link
        .sent
        .lock()
        .unwrap()
        .drain(..)
        .filter(|out| matches!(answer(&out.payload), Answer::Cancel))
        .count();
    assert_eq!(cancelled, 5);
    assert!(matches!(Lamp::new("lamp-0", "1.0").check_in(&world).await, Answer::UpToDate { .. }));
    let check = world.server.verify_audit(&admin(), None).await.unwrap();
    let AuditCheck::Intact { entries, head } = check else { panic!("{check:?}") };
    assert_eq!(entries, u64::try_from(before).unwrap() + 1);
    let cut_off = world.server.verify_audit(&admin(), Some((entries + 1, head))).await.unwrap();
    assert_eq!(cut_off, AuditCheck::Broken { sequence: entries + 1 });
}

#[tokio::test]
async fn connected_devices_are_told_that_their_turn_has_come() {
    let world = World::new().await;
    register(&world, &lamps(20)).await;
    for name in lamps(10) {
        assert!(matches!(Lamp::new(&name, "1.0").check_in(&world).await, Answer::UpToDate { .. }));
    }
    let release = world.release("1.1", &[1; 100]).await;
    world.start_campaign(draft(&world, release, plan())).await;
    world.server.tick().await.unwrap();
    let told: Vec<_> = world.link.sent.lock().unwrap().drain(..).collect();
    assert_eq!(told.len(), 10, "those that were heard a moment ago");
    assert!(told.iter().all(|out| matches!(answer(&out.payload), Answer::Notify)));
    world.server.tick().await.unwrap();
    assert!(world.link.sent.lock().unwrap().is_empty(), "once");
}

#[tokio::test]
async fn a_snapshot_keeps_to_the_devices_that_were_approved() {
    let world = World::new().await;
    world.register(&[("lamp-1", &["beta"]), ("lamp-2", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let mut content = draft(&world, release, plan());
    content.target = Target::Snapshot { expression: "tag = beta".into(), bitmap: None, count: 0 };
    let campaign = world.server.draft_campaign(&operator(), content).await.unwrap();
    assert_eq!(world.server.prepare_campaign(&operator(), campaign).await.unwrap(), 1);
    let hash = world.server.progress(&operator(), campaign).await.unwrap().hash;
    world.server.approve_campaign(&approver(), campaign, &hash).await.unwrap();
    world.server.start_campaign(&operator(), campaign).await.unwrap();
    world.server.tag_device(&operator(), &id("lamp-2"), &["beta"]).await.unwrap();
    assert!(matches!(Lamp::new("lamp-1", "1.0").check_in(&world).await, Answer::Offer(_)));
    assert!(matches!(Lamp::new("lamp-2", "1.0").check_in(&world).await, Answer::UpToDate { .. }));
    assert_eq!(why(&world, "lamp-2", campaign).await, WhyNot::NotTargeted);
}

#[tokio::test]
async fn hardware_epoch_and_expiry_are_reasons() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[])]).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    let mut other = Lamp { hardware: "rev-z", ..Lamp::new("lamp-1", "1.0") };
    assert!(matches!(other.check_in(&world).await, Answer::UpToDate { .. }));
    assert_eq!(why(&world, "lamp-1", campaign).await, WhyNot::WrongHardware);
    world.pass(Millis(401 * 24 * HOUR.0));
    world.server.tick().await.unwrap();
    let mut lamp = Lamp::new("lamp-1", "1.0");
    assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    assert_eq!(why(&world, "lamp-1", campaign).await, WhyNot::Expired);
}

#[tokio::test]
async fn what_nothing_refers_to_is_removed_and_the_rest_stays() {
    let world = World::new().await;
    let kept = world.file("app.bin", "1.1", &[1; 5000]).await;
    let lost = world.file("app.bin", "1.2", &[2; 5000]).await;
    let release = world.sign(world.release_draft(vec![kept.clone()])).await;
    assert_eq!(
        world.server.remove_unreferenced(&admin(), HOUR).await.unwrap(),
        0,
        "young files are left alone"
    );
    world.pass(Millis(2 * HOUR.0));
    let removed = world.server.remove_unreferenced(&admin(), HOUR).await.unwrap();
    assert_eq!(removed, 2, "the file and its block map");
    use ota_core::fleet::BlobStore;
    assert_eq!(world.blobs.size(&lost.digest).await.unwrap(), None);
    assert!(world.blobs.size(&kept.digest).await.unwrap().is_some());
    assert!(world.server.release_body(&developer(), &release).await.is_ok());
}

#[tokio::test]
async fn a_completed_campaign_still_watches_those_who_come_late() {
    let world = World::new().await;
    let names = lamps(10);
    register(&world, &names).await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    Lamp::new("lamp-0", "1.0").update(&world, "1.1", 100).await;
    world.server.tick().await.unwrap();
    assert_eq!(state(&world, campaign).await, CampaignState::Completed);
    for name in &names[1..] {
        let mut lamp = Lamp::new(name, "1.0");
        if matches!(lamp.check_in(&world).await, Answer::Offer(_)) {
            fail(&world, &mut lamp).await;
        }
        world.server.tick().await.unwrap();
    }
    assert_eq!(state(&world, campaign).await, CampaignState::Paused);
}
