//! Small fleets: three lamps on trial, stages that hold hardly anybody, and gates that ask for more than there is.

use ota_core::fleet::records::{
    Amended, AttemptPhase, CampaignState, Gate, Limits, Plan, Promotion, SmallGroup, Stage, Target, Trial,
};
use ota_core::number::CampaignId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_core::wire::{Part, Phase, ReportCode};
use ota_server::rules::campaign::{CampaignError, Draft};
use ota_server::rules::release::ReleaseDraft;
use ota_server::{AmendmentState, CommandError, ProgressReport};

use crate::support::*;

/// What people get who say nothing about gates: 20 devices, 1 % is good, 20 % is bad.
fn usual_gate(small_group: Option<SmallGroup>) -> Gate {
    Gate {
        sample_min: 20,
        failures_good_ppm: 10_000,
        failures_bad_ppm: 200_000,
        false_stop_ppm: 50_000,
        missed_stop_ppm: 50_000,
        budgets: Vec::new(),
        silent_max_ppm: 50_000,
        soak: Millis(0),
        attested_only: false,
        small_group,
    }
}

fn staged(who: Target, small_group: Option<SmallGroup>) -> Plan {
    let gate = usual_gate(small_group);
    let stage = |until_ppm| Stage { until_ppm, gate: gate.clone(), ..plan().stages[0].clone() };
    Plan {
        trial: Some(Trial { who, gate: gate.clone(), promotion: Promotion::ByPerson }),
        stages: vec![stage(100_000), stage(500_000), stage(1_000_000)],
        ..plan()
    }
}

fn trial_tag() -> Target {
    Target::Filter { expression: "tag = trial".into() }
}

async fn six_lamps() -> World {
    let world = World::new().await;
    let trial: &[&str] = &["trial"];
    world
        .register(&[("t-1", trial), ("t-2", trial), ("t-3", trial), ("l-1", &[]), ("l-2", &[]), ("l-3", &[])])
        .await;
    world
}

/// The six lamps in a campaign that judges small groups by share: three are on trial.
async fn three_on_trial() -> (World, CampaignId) {
    let world = six_lamps().await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign =
        world.start_campaign(draft(&world, release, staged(trial_tag(), Some(SmallGroup::ByShare)))).await;
    (world, campaign)
}

/// The same once two of the three have updated themselves.
async fn two_of_three_updated() -> (World, CampaignId) {
    let (world, campaign) = three_on_trial().await;
    for name in ["t-1", "t-2"] {
        Lamp::new(name, "1.0").update(&world, "1.1", 100).await;
    }
    (world, campaign)
}

async fn progress(world: &World, id: CampaignId) -> ProgressReport {
    world.server.progress(&operator(), id).await.unwrap()
}

/// Lets a minute pass, so that counts of groups are taken anew, and ticks.
async fn tick(world: &World) {
    world.pass(Millis(61_000));
    world.server.tick().await.unwrap();
    // Hints that it is somebody's turn: here everybody asks anyway.
    world.link.sent.lock().unwrap().clear();
}

#[tokio::test]
async fn a_fleet_of_six_with_three_on_trial_rolls_out_by_itself_when_small_groups_go_by_share() {
    let (world, campaign) = three_on_trial().await;
    for name in ["t-1", "t-2", "t-3"] {
        assert_eq!(progress(&world, campaign).await.campaign.state, CampaignState::Trial);
        Lamp::new(name, "1.0").update(&world, "1.1", 100).await;
        tick(&world).await;
    }
    assert_eq!(progress(&world, campaign).await.campaign.state, CampaignState::Trialled);
    world.server.promote_campaign(&approver(), campaign).await.unwrap();
    // Whichever stages hold whom, empty ones do not stop it.
    let mut lamps = vec![Lamp::new("l-1", "1.0"), Lamp::new("l-2", "1.0"), Lamp::new("l-3", "1.0")];
    for _ in 0..8 {
        tick(&world).await;
        for lamp in &mut lamps {
            if lamp.revision == "1.0"
                && let Answer::Offer(_) = lamp.check_in(&world).await
            {
                lamp.update(&world, "1.1", 100).await;
            }
        }
    }
    assert!(lamps.iter().all(|lamp| lamp.revision == "1.1"));
    assert_eq!(progress(&world, campaign).await.campaign.state, CampaignState::Completed);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn one_failure_of_three_on_trial_pauses_the_campaign() {
    let (world, campaign) = two_of_three_updated().await;
    let mut third = Lamp::new("t-3", "1.0");
    let offer = third.offer(&world).await;
    third.fetch(&world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
    third.report(&world, &offer, 0, Phase::Installed, ReportCode::Ok).await;
    tick(&world).await;
    assert_eq!(progress(&world, campaign).await.campaign.state, CampaignState::Trial, "one is at it");
    third.report(&world, &offer, 1, Phase::RolledBack, ReportCode::SelfTestFailed).await;
    tick(&world).await;
    let record = progress(&world, campaign).await.campaign;
    assert_eq!(record.state, CampaignState::Paused);
    assert!(record.reason.contains("1 of 3 devices failed"), "{}", record.reason);
}

#[tokio::test]
async fn a_device_that_was_to_try_again_and_never_came_back_ends_the_trial() {
    let (world, campaign) = two_of_three_updated().await;
    // It may try again, is told to wait once more, and then its power is gone for good.
    let mut third = Lamp::new("t-3", "1.0");
    let offer = third.offer(&world).await;
    third.report(&world, &offer, 0, Phase::Failed, ReportCode::Timeout).await;
    world.pass(Millis(30_000));
    assert!(matches!(third.check_in(&world).await, Answer::UpToDate { .. }));
    for _ in 0..50 {
        tick(&world).await;
        assert_eq!(
            progress(&world, campaign).await.campaign.state,
            CampaignState::Trial,
            "it may still come"
        );
    }
    for _ in 0..20 {
        tick(&world).await;
    }
    let record = progress(&world, campaign).await.campaign;
    assert_eq!(record.state, CampaignState::Paused);
    assert!(record.reason.contains("1 of 3 devices fell silent"), "{}", record.reason);
    // It was only in a drawer: it is served where the campaign goes on.
    world.server.resume_campaign(&operator(), campaign).await.unwrap();
    third.update(&world, "1.1", 100).await;
    tick(&world).await;
    assert_eq!(progress(&world, campaign).await.campaign.state, CampaignState::Trialled);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_device_that_waits_and_is_heard_is_not_silent_however_long_it_is_kept_waiting() {
    let (world, campaign) = three_on_trial().await;
    let mut lamp = Lamp::new("t-3", "1.0");
    let offer = lamp.offer(&world).await;
    lamp.report(&world, &offer, 0, Phase::Failed, ReportCode::Timeout).await;
    world.server.pause_campaign(&operator(), campaign, "a look at it").await.unwrap();
    for _ in 0..10 {
        world.pass(Millis(HOUR.0 / 2));
        tick(&world).await;
        assert!(matches!(lamp.check_in(&world).await, Answer::UpToDate { .. }));
    }
    world.server.resume_campaign(&operator(), campaign).await.unwrap();
    let waiting = progress(&world, campaign).await.now;
    assert!(waiting.iter().any(|line| line.phase == AttemptPhase::Waiting), "{waiting:?}");
    lamp.update(&world, "1.1", 100).await;
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn devices_that_were_off_before_do_not_hold_a_group_up_and_nobody_at_all_passes_nothing() {
    let (world, campaign) = three_on_trial().await;
    world.live(10).await;
    tick(&world).await;
    let gate = progress(&world, campaign).await.gate.unwrap();
    assert_eq!((gate.stage, gate.shown, gate.devices), (0, 0, Some(3)), "all of them are off");
    for name in ["t-1", "t-2"] {
        Lamp::new(name, "1.0").update(&world, "1.1", 100).await;
    }
    tick(&world).await;
    let record = progress(&world, campaign).await.campaign;
    assert_eq!(record.state, CampaignState::Trialled, "the third has been off all the time");
    assert!(matches!(Lamp::new("t-3", "1.0").check_in(&world).await, Answer::Offer(_)), "it is served late");
}

#[tokio::test]
async fn a_server_that_was_off_for_days_takes_nobody_for_silent_who_could_not_be_heard() {
    let mut world = six_lamps().await;
    let release = world.release("1.1", &[1; 100]).await;
    let campaign =
        world.start_campaign(draft(&world, release, staged(trial_tag(), Some(SmallGroup::ByShare)))).await;
    let mut lamps = ["t-1", "t-2", "t-3"].map(|name| Lamp::new(name, "1.0"));
    for lamp in &mut lamps {
        lamp.offer(&world).await;
    }
    tick(&world).await;
    world.pass(Millis(48 * HOUR.0));
    world.restart().await;
    tick(&world).await;
    let [first, second, _] = &mut lamps;
    first.update(&world, "1.1", 100).await;
    tick(&world).await;
    let report = progress(&world, campaign).await;
    assert_eq!(report.campaign.state, CampaignState::Trial, "the others have had no time to come back");
    assert!(report.now.iter().all(|line| line.phase != AttemptPhase::Silent), "{:?}", report.now);
    second.update(&world, "1.1", 100).await;
    // By now whoever lives has checked in.
    world.live(7).await;
    tick(&world).await;
    let record = progress(&world, campaign).await.campaign;
    assert!(record.reason.contains("1 of 3 devices fell silent"), "{:?}: {}", record.state, record.reason);
}

#[tokio::test]
async fn a_clock_that_leaps_ahead_while_the_server_runs_makes_nobody_silent() {
    let (world, campaign) = three_on_trial().await;
    let mut lamps = ["t-1", "t-2", "t-3"].map(|name| Lamp::new(name, "1.0"));
    for lamp in &mut lamps {
        lamp.offer(&world).await;
    }
    tick(&world).await;
    // The machine was asleep, or somebody has set its clock. One that comes before the next tick hides nothing.
    world.pass(Millis(48 * HOUR.0));
    let [first, second, _] = &mut lamps;
    first.update(&world, "1.1", 100).await;
    world.live(3).await;
    let report = progress(&world, campaign).await;
    assert_eq!(report.campaign.state, CampaignState::Trial, "the others have had no time to come back");
    assert!(report.now.iter().all(|line| line.phase != AttemptPhase::Silent), "{:?}", report.now);
    second.update(&world, "1.1", 100).await;
    // Set back, it does not make the server wait for days until it has caught up.
    world.clock.time.fetch_sub(24 * HOUR.0, core::sync::atomic::Ordering::SeqCst);
    world.live(24 + 7).await;
    tick(&world).await;
    let record = progress(&world, campaign).await.campaign;
    assert!(record.reason.contains("1 of 3 devices fell silent"), "{:?}: {}", record.state, record.reason);
}

#[tokio::test]
async fn a_device_that_is_set_apart_while_it_waits_for_its_next_try_has_failed() {
    let (world, campaign) = two_of_three_updated().await;
    let mut third = Lamp::new("t-3", "1.0");
    let offer = third.offer(&world).await;
    third.report(&world, &offer, 0, Phase::Failed, ReportCode::Timeout).await;
    let id = DeviceIdBuf::new("t-3").unwrap();
    world.server.quarantine_device(&operator(), &id, "it smokes").await.unwrap();
    // It lives, and is heard again and again: it is not silent, and nobody may wait for it.
    for _ in 0..4 {
        world.pass(Millis(HOUR.0 / 2));
        assert!(matches!(third.check_in(&world).await, Answer::UpToDate { .. }));
        tick(&world).await;
    }
    let record = progress(&world, campaign).await.campaign;
    assert_eq!(record.state, CampaignState::Paused);
    assert!(record.reason.contains("1 of 3 devices failed"), "{}", record.reason);
    // Once its cause is known it may try again like any other that has failed.
    world.server.release_device(&operator(), &id).await.unwrap();
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_device_that_is_pinned_while_it_puts_the_release_off_leaves_the_group() {
    let (world, campaign) = two_of_three_updated().await;
    let mut third = Lamp::new("t-3", "1.0");
    let offer = third.offer(&world).await;
    third.report(&world, &offer, 0, Phase::Deferred, ReportCode::ApplicationDeferred).await;
    let id = DeviceIdBuf::new("t-3").unwrap();
    world.server.pin_device(&operator(), &id, "it is on show").await.unwrap();
    for _ in 0..6 {
        world.pass(Millis(HOUR.0 / 2));
        assert!(matches!(third.check_in(&world).await, Answer::UpToDate { .. }));
        tick(&world).await;
    }
    let report = progress(&world, campaign).await;
    assert_eq!(
        report.campaign.state,
        CampaignState::Trialled,
        "{}: {:?}",
        report.campaign.reason,
        report.now
    );
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn what_was_taken_back_for_something_more_urgent_has_left_the_group() {
    let (world, campaign) = two_of_three_updated().await;
    let mut third = Lamp::new("t-3", "1.0");
    third.offer(&world).await;
    let file = world.file("app.bin", "1.0.1", &[9; 100]).await;
    let fix = world.sign(ReleaseDraft { security: true, ..world.release_draft(vec![file]) }).await;
    let ids = vec![DeviceIdBuf::new("t-3").unwrap()];
    let urgent =
        Draft { target: Target::Devices { ids }, ..draft(&world, fix, Plan { priority: 9, ..plan() }) };
    world.start_campaign(urgent).await;
    third.offer(&world).await;
    tick(&world).await;
    assert_eq!(progress(&world, campaign).await.campaign.state, CampaignState::Trialled);
}

#[tokio::test]
async fn a_gate_that_cannot_be_reached_is_told_and_taken_past_by_two_people() {
    let world = six_lamps().await;
    let release = world.release("1.1", &[1; 100]).await;
    let asked = draft(&world, release, staged(trial_tag(), None));
    let dry = world.server.dry_run(&operator(), &asked).await.unwrap();
    assert_eq!(dry.gates_that_wait, [(0, 20), (1, 20), (2, 20), (3, 20)]);
    let campaign = world.start_campaign(asked).await;
    for name in ["t-1", "t-2", "t-3"] {
        Lamp::new(name, "1.0").update(&world, "1.1", 100).await;
    }
    world.pass(Millis(100 * HOUR.0));
    tick(&world).await;
    let report = progress(&world, campaign).await;
    assert_eq!(report.campaign.state, CampaignState::Trial);
    let gate = report.gate.unwrap();
    assert_eq!((gate.shown, gate.next_look, gate.passes_from, gate.devices), (3, 20, 20, Some(3)));
    assert!(gate.is_stuck);

    let refused = world.server.amend_campaign(&approver(), campaign, Amended::Gate, "three").await;
    assert!(matches!(refused, Err(CommandError::Denied(_))), "approvers do not run campaigns");
    let state = world.server.amend_campaign(&operator(), campaign, Amended::Gate, "only three lamps").await;
    assert_eq!(state.unwrap(), AmendmentState::WaitsForConsent);
    let report = progress(&world, campaign).await;
    let hash = report.amendment_hash.unwrap();
    assert!(world.server.consent_to_amendment(&operator(), campaign, &hash).await.is_err());
    let state = world.server.consent_to_amendment(&approver(), campaign, &hash).await.unwrap();
    assert_eq!(state, AmendmentState::Made);
    tick(&world).await;
    let report = progress(&world, campaign).await;
    assert_eq!((report.campaign.state, report.amendment_hash), (CampaignState::Trialled, None));
    let auditor = person("a", &[ota_core::fleet::records::PersonRole::Approver]);
    let entries = world.server.audit_entries(&auditor, 1, 1000).await.unwrap();
    let told: Vec<(&str, &str)> = entries
        .iter()
        .filter(|entry| {
            entry.draft.action.starts_with("campaign.amend") || entry.draft.action == "campaign.consent"
        })
        .map(|entry| (entry.draft.action.as_str(), entry.draft.principal.as_str()))
        .collect();
    assert_eq!(
        told,
        [("campaign.amend", "operator"), ("campaign.consent", "approver"), ("campaign.amended", "approver")]
    );
    let last = entries.iter().rfind(|entry| entry.draft.action == "campaign.amended").unwrap();
    assert!(last.draft.detail.contains("3 confirmed, 0 failed"), "{}", last.draft.detail);
    assert!(last.draft.detail.contains("only three lamps"), "{}", last.draft.detail);
}

#[tokio::test]
async fn a_listed_trial_that_is_smaller_than_its_gate_is_refused_with_what_to_do() {
    let world = six_lamps().await;
    let release = world.release("1.1", &[1; 100]).await;
    let ids = vec![DeviceIdBuf::new("t-1").unwrap(), DeviceIdBuf::new("t-2").unwrap()];
    let who = Target::Devices { ids };
    let refused =
        world.server.draft_campaign(&operator(), draft(&world, release, staged(who.clone(), None))).await;
    let Err(CommandError::Campaign(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error, CampaignError::GateNeedsMore { devices: 2, needs: 20 });
    let plan = staged(who, Some(SmallGroup::ByShare));
    world.server.draft_campaign(&operator(), draft(&world, release, plan)).await.unwrap();
}

#[tokio::test]
async fn a_raised_limit_holds_from_its_consent_on_and_counts_who_is_there_already() {
    let world = six_lamps().await;
    let release = world.release("1.1", &[1; 100]).await;
    let limits = Limits { downloads_max: 1, ..Limits::default() };
    let campaign = world.start_campaign(draft(&world, release, Plan { limits, ..plan() })).await;
    Lamp::new("l-1", "1.0").offer(&world).await;
    assert!(matches!(Lamp::new("l-2", "1.0").check_in(&world).await, Answer::Busy(_)));
    let limits = Limits { downloads_max: 2, ..Limits::default() };
    world.server.amend_campaign(&operator(), campaign, Amended::Limits { limits }, "more").await.unwrap();
    assert!(
        matches!(Lamp::new("l-2", "1.0").check_in(&world).await, Answer::Busy(_)),
        "nobody has consented"
    );
    let hash = progress(&world, campaign).await.amendment_hash.unwrap();
    world.server.consent_to_amendment(&approver(), campaign, &hash).await.unwrap();
    assert!(matches!(Lamp::new("l-2", "1.0").check_in(&world).await, Answer::Offer(_)));
    assert!(matches!(Lamp::new("l-3", "1.0").check_in(&world).await, Answer::Busy(_)), "two are at it");
}
