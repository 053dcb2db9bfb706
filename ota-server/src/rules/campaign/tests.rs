//! The life of a campaign, and that no order of commands leads past its trial or its gates.

use super::*;
use crate::rules::{amendment, course};
use ota_core::fleet::records::{AttemptRules, Gate, Limits, Progress, Schedule, Seen, SmallGroup, Trial};
use ota_core::text::ProductIdBuf;
use proptest::prelude::*;

const HOUR: Millis = Millis(3_600_000);

fn gate() -> Gate {
    Gate {
        sample_min: 4,
        failures_good_ppm: 20_000,
        failures_bad_ppm: 600_000,
        false_stop_ppm: 50_000,
        missed_stop_ppm: 50_000,
        budgets: Vec::new(),
        silent_max_ppm: 300_000,
        soak: HOUR,
        attested_only: false,
        small_group: None,
    }
}

fn plan() -> Plan {
    Plan {
        trial: Some(Trial {
            who: Target::Filter { expression: "tag = trial".into() },
            gate: gate(),
            promotion: Promotion::ByPerson,
        }),
        stages: vec![
            Stage { until_ppm: 100_000, pace: Pace::AtOnce, gate: gate() },
            Stage { until_ppm: PPM, pace: Pace::Linear { over: HOUR }, gate: gate() },
        ],
        schedule: Schedule::default(),
        limits: Limits::default(),
        attempts: AttemptRules {
            begin_within: HOUR,
            download_within: HOUR,
            install_within: HOUR,
            confirm_within: HOUR,
            retries_max: 2,
            retry_after: Millis(1000),
            retry_after_max: HOUR,
        },
        approvals: 1,
        on_failure: OnFailure::Pause,
        priority: 0,
    }
}

fn content() -> Draft {
    Draft {
        product: ProductIdBuf::new("lamp").unwrap(),
        title: "1.4".into(),
        release: ReleaseId([7; 32]),
        target: Target::Everyone,
        plan: plan(),
    }
}

fn product() -> Product {
    Product {
        title: "Lamp".into(),
        created: Timestamp(1),
        next_ordinal: 1000,
        next_name: 1,
        root: ota_core::number::RootVersion(1),
        next_version: ota_core::number::PackageVersion(1),
        approvals_min: 1,
        quarantine_after: 0,
        attested_only: false,
        dialects: 0,
    }
}

fn good(devices: u64) -> Counted {
    let stage = Evidence { confirmed: devices, ..Evidence::default() };
    Counted { stage, all: stage, fleet: 1000, ..Counted::default() }
}

const NOW: Timestamp = Timestamp(1_000_000);

fn running() -> Campaign {
    let campaign = draft(content(), "author", NOW).unwrap();
    let campaign = approved(&campaign, "other", &hash_of(&campaign), NOW).unwrap();
    started(&campaign, &product(), "operator", NOW).unwrap()
}

#[test]
fn it_goes_from_trial_to_fleet_through_every_gate() {
    let campaign = running();
    assert_eq!(campaign.state, CampaignState::Trial);
    let passed = advance(&campaign, &good(40), NOW).unwrap().campaign;
    assert_eq!(passed.state, CampaignState::Trial, "the soak has only begun");
    let trialled = advance(&passed, &good(40), NOW.plus(HOUR)).unwrap();
    assert_eq!(trialled.campaign.state, CampaignState::Trialled);
    assert_eq!(
        advance(&trialled.campaign, &good(1000), NOW.plus(Millis(u64::MAX / 2))),
        None,
        "a person must act"
    );
    let rolling = promoted(&trialled.campaign, "approver", NOW.plus(HOUR)).unwrap();
    assert_eq!((rolling.state, rolling.progress.stage), (CampaignState::Rolling, 1));
    let soaking = advance(&rolling, &good(40), NOW.plus(HOUR)).unwrap().campaign;
    let second = advance(&soaking, &good(40), NOW.plus(Millis(2 * HOUR.0))).unwrap();
    assert_eq!(second.campaign.progress.stage, 2);
    assert_eq!(second.campaign.progress.looks, 0, "each stage has looks of its own");
    let soaking = advance(&second.campaign, &good(400), NOW.plus(Millis(2 * HOUR.0))).unwrap().campaign;
    let done = advance(&soaking, &good(400), NOW.plus(Millis(3 * HOUR.0))).unwrap();
    assert_eq!((done.campaign.state, done.action), (CampaignState::Completed, Some("campaign.complete")));
}

#[test]
fn it_is_not_complete_while_devices_are_at_work() {
    let now = NOW.plus(Millis(2 * HOUR.0));
    let last = Progress { stage: 2, since: NOW, passed: Some(NOW), ..Progress::default() };
    let rolling = Campaign { state: CampaignState::Rolling, progress: last, ..running() };
    let counted = |open, fleet| {
        let stage = Evidence { confirmed: 400, open, ..Evidence::default() };
        Counted { stage, all: stage, fleet, ..Counted::default() }
    };
    let state = |open, fleet| match advance(&rolling, &counted(open, fleet), now) {
        Some(step) => (step.campaign.state, step.action),
        None => (rolling.state, None),
    };
    let complete = (CampaignState::Completed, Some("campaign.complete"));
    assert_eq!(state(1, 99), (CampaignState::Rolling, None));
    assert_eq!(state(0, 99), complete);
    // Of a large fleet somebody is always at work.
    assert_eq!(state(1001, 100_000), (CampaignState::Rolling, None));
    assert_eq!(state(1000, 100_000), complete);
    let waits = advance(&rolling, &counted(1, 99), now).unwrap().campaign;
    assert_eq!(&*waits.reason, "the last gate has passed; devices are still at work");
    assert_eq!(advance(&waits, &counted(1, 99), now), None, "it is said once");
}

#[test]
fn the_author_cannot_approve_and_nobody_counts_twice() {
    let campaign = draft(content(), "author", NOW).unwrap();
    let hash = hash_of(&campaign);
    assert_eq!(approved(&campaign, "author", &hash, NOW), Err(CampaignError::OwnWork));
    let once = approved(&campaign, "other", &hash, NOW).unwrap();
    assert_eq!(approved(&once, "other", &hash, NOW), Err(CampaignError::ApprovedAlready));
    assert_eq!(
        started(&campaign, &product(), "operator", NOW),
        Err(CampaignError::TooFewApprovals { found: 0, needed: 1 })
    );
    let mut forged = once;
    forged.plan.approvals = 2;
    let again = Approval { hash: hash_of(&forged), ..forged.approvals[0].clone() };
    forged.approvals = vec![again.clone(), again];
    assert_eq!(
        started(&forged, &product(), "operator", NOW),
        Err(CampaignError::TooFewApprovals { found: 1, needed: 2 })
    );
}

#[test]
fn any_edit_voids_approvals() {
    let campaign = draft(content(), "author", NOW).unwrap();
    let campaign = approved(&campaign, "other", &hash_of(&campaign), NOW).unwrap();
    let edits: [fn(&mut Draft); 6] = [
        |draft| draft.release = ReleaseId([8; 32]),
        |draft| draft.target = Target::OrdinalBelow { ordinal: 5 },
        |draft| draft.plan.stages[0].gate.soak = Millis(0),
        |draft| draft.plan.limits.devices_per_minute = 1,
        |draft| draft.plan.trial = None,
        |draft| draft.plan.priority = 9,
    ];
    for edit in edits {
        let mut other = content();
        edit(&mut other);
        let next = edited(&campaign, other, "editor", NOW).unwrap();
        assert_eq!(valid_approvals(&next).count(), 0);
        assert_eq!(approved(&next, "editor", &hash_of(&next), NOW), Err(CampaignError::OwnWork));
    }
    let unchanged = edited(&campaign, content(), "editor", NOW).unwrap();
    assert_eq!(valid_approvals(&unchanged).count(), 1);
}

#[test]
fn who_approves_has_seen_the_present_content() {
    let campaign = draft(content(), "author", NOW).unwrap();
    let seen = hash_of(&campaign);
    let mut other = content();
    other.plan.approvals = 3;
    let changed = edited(&campaign, other, "author", NOW).unwrap();
    assert_eq!(approved(&changed, "other", &seen, NOW), Err(CampaignError::ChangedSince));
}

#[test]
fn a_pause_stops_the_ramp_and_a_resume_goes_on_where_it_was() {
    let mut campaign = running();
    enter_stage(&mut campaign, 2, NOW);
    let half = NOW.plus(Millis(HOUR.0 / 2));
    let before = ramp::opened(&campaign.plan, campaign.state, &campaign.progress, half);
    let pause = paused(&campaign, "because", half).unwrap();
    let later = half.plus(Millis(10 * HOUR.0));
    assert_eq!(ramp::opened(&pause.plan, pause.state, &pause.progress, later), before);
    let resumed = resumed(&pause, "operator", later).unwrap();
    assert_eq!(ramp::opened(&resumed.plan, resumed.state, &resumed.progress, later), before);
    assert_eq!(resumed.state, CampaignState::Rolling);
}

#[test]
fn a_failed_gate_does_what_the_plan_says() {
    let bad = Evidence { failed: [0, 0, 0, 8], ..Evidence::default() };
    let bad = Counted { stage: bad, all: bad, fleet: 1000, ..Counted::default() };
    for (on_failure, state) in [
        (OnFailure::Pause, CampaignState::Paused),
        (OnFailure::Stop, CampaignState::Stopped),
        (OnFailure::Revert { to: ReleaseId([1; 32]) }, CampaignState::Stopped),
    ] {
        let mut campaign = running();
        campaign.plan.on_failure = on_failure;
        let step = advance(&campaign, &bad, NOW).unwrap();
        assert_eq!(step.campaign.state, state);
        assert_eq!(step.revert_to.is_some(), matches!(on_failure, OnFailure::Revert { .. }));
        assert!(step.campaign.reason.contains("8 of 8 devices failed"), "{}", step.campaign.reason);
    }
}

#[test]
fn what_a_gate_still_judges_is_not_tried_again() {
    let draft = draft(content(), "author", NOW).unwrap();
    assert!(matches!(can_retry_stage(&draft, 0), Err(CampaignError::State { .. })));
    let trial = running();
    assert_eq!(can_retry_stage(&trial, 0), Err(CampaignError::StillJudged));
    let soaking = advance(&trial, &good(40), NOW).unwrap().campaign;
    assert_eq!(can_retry_stage(&soaking, 0), Ok(()), "its gate has passed");
    let trialled = advance(&soaking, &good(40), NOW.plus(HOUR)).unwrap().campaign;
    let rolling = promoted(&trialled, "approver", NOW.plus(HOUR)).unwrap();
    assert_eq!(can_retry_stage(&rolling, 0), Ok(()));
    for state in [rolling.clone(), paused(&rolling, "look", NOW.plus(HOUR)).unwrap()] {
        assert_eq!(can_retry_stage(&state, 1), Err(CampaignError::StillJudged));
    }
    let completed = Campaign { state: CampaignState::Completed, ..rolling.clone() };
    assert_eq!(can_retry_stage(&completed, 2), Ok(()));
    assert_eq!(can_retry_stage(&paused(&completed, "look", NOW).unwrap(), 2), Ok(()));
    let stopped = stopped(&rolling, "enough", NOW).unwrap();
    assert!(matches!(can_retry_stage(&stopped, 0), Err(CampaignError::State { .. })));
}

#[test]
fn a_wrong_plan_says_what_to_correct() {
    type Change = fn(&mut Draft);
    let wrong: [(Change, CampaignError); 8] = [
        (|d| d.plan.stages.clear(), CampaignError::Stages),
        (|d| d.plan.stages[1].until_ppm = 5, CampaignError::Stages),
        (|d| d.plan.stages[1].until_ppm = 999_999, CampaignError::Stages),
        (|d| d.plan.stages[0].pace = Pace::Linear { over: Millis(0) }, CampaignError::Pace),
        (|d| d.plan.stages[0].gate.failures_good_ppm = PPM, CampaignError::Gate),
        (|d| d.plan.attempts.confirm_within = Millis(0), CampaignError::Deadlines),
        (|d| d.target = Target::Devices { ids: Vec::new() }, CampaignError::Devices),
        (|d| d.target = Target::OrdinalBelow { ordinal: 0 }, CampaignError::MatchesNothing),
    ];
    for (change, error) in wrong {
        let mut content = content();
        change(&mut content);
        assert_eq!(draft(content, "author", NOW), Err(error));
    }
    let mut past = content();
    past.plan.schedule.start = Timestamp(5);
    assert_eq!(draft(past, "author", NOW), Err(CampaignError::Schedule(ScheduleError::Start)));
}

#[test]
fn its_course_is_kept_in_bounded_space() {
    let mut campaign = running();
    let minutes = Millis(60_000);
    for minute in 0..10_000 {
        let now = NOW.plus(Millis(minute * 60_000));
        assert!(course::note_campaign(&mut campaign, &good(minute), minutes, now));
        assert!(campaign.samples.len() <= course::SAMPLES_MAX);
    }
    assert_eq!(campaign.samples[0].at, NOW, "the beginning is kept");
    assert_eq!(campaign.samples.last().unwrap().confirmed, 9_999);
    let (now, counted) = (NOW.plus(Millis(9_999 * 60_000)), Counted { fleet: 20_000, ..good(9_999) });
    assert_eq!(course::projected_end(&campaign, &counted, now), None, "a trial says nothing about the fleet");
    campaign.state = CampaignState::Rolling;
    let end = course::projected_end(&campaign, &counted, now).unwrap();
    let expected = NOW.plus(Millis(20_000 * 60_000));
    assert!(end.0.abs_diff(expected.0) < expected.0 / 50, "{end:?} {expected:?}");
}

#[derive(Debug, Clone)]
enum Command {
    Approve(u8),
    Start,
    Promote,
    Pause,
    Resume,
    Stop,
    Advance { confirmed: u16, failed: u16 },
    Edit,
    Want,
    Consent(u8),
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => (0..4_u8).prop_map(Command::Approve),
        2 => Just(Command::Start),
        2 => Just(Command::Promote),
        1 => Just(Command::Pause),
        2 => Just(Command::Resume),
        1 => Just(Command::Stop),
        6 => (0..60_u16, 0..6_u16).prop_map(|(confirmed, failed)| Command::Advance { confirmed, failed }),
        1 => Just(Command::Edit),
        2 => Just(Command::Want),
        2 => (0..3_u8).prop_map(Command::Consent),
    ]
}

proptest! {
    #[test]
    fn where_it_does_not_depend_on_the_group_the_plan_does_the_same_for_every_group(
        state in prop_oneof![
            Just(CampaignState::Trial), Just(CampaignState::Rolling), Just(CampaignState::Completed)
        ],
        (confirmed, failed, silent, open) in (0..12_u64, 0..4_u64, 0..4_u64, 0..2_u64),
        (looks, has_passed, accepted) in (0..3_u32, any::<bool>(), 0..4_u64),
        group in 0..30_u64,
    ) {
        let mut campaign = draft(content(), "author", NOW).unwrap();
        campaign.plan.stages.iter_mut().for_each(|stage| stage.gate.small_group = Some(SmallGroup::ByShare));
        if let Some(trial) = &mut campaign.plan.trial {
            trial.gate.small_group = Some(SmallGroup::ByShare);
        }
        campaign.state = state;
        campaign.progress.stage = if state == CampaignState::Trial { 0 } else { 2 };
        (campaign.progress.since, campaign.progress.looks) = (NOW, looks);
        campaign.progress.passed = has_passed.then_some(NOW);
        campaign.progress.accepted = Some(Seen { stage: 2, confirmed: 0, failed: accepted, silent: 0, open: 0 });
        let stage = Evidence { confirmed, failed: [0, 0, 0, failed], silent, open };
        let unknown = Counted { stage, all: stage, fleet: 100, ..Counted::default() };
        let counted = Counted { group: Some(group), ..unknown.clone() };
        let is_same = advance(&campaign, &unknown, NOW) == advance(&campaign, &counted, NOW);
        prop_assert!(is_same || depends_on_group(&campaign, &unknown));
    }

    #[test]
    fn no_order_of_commands_leads_past_trial_gate_or_approval(commands in proptest::collection::vec(command(), 1..60)) {
        let mut campaign = draft(content(), "author", NOW).unwrap();
        let (mut trial_good, mut promoted_by_person, mut approvals) = (false, false, 0);
        // What the stage had shown when it was last looked at: amendments are made in the same light.
        let mut counted = Counted { fleet: 100, ..Counted::default() };
        for (minute, command) in commands.into_iter().enumerate() {
            let now = NOW.plus(Millis(u64::try_from(minute).unwrap() * 1_800_000));
            let was = campaign.clone();
            let next = match &command {
                Command::Approve(who) => approved(&campaign, ["author", "a", "b", "c"][usize::from(*who)], &hash_of(&campaign), now).ok(),
                Command::Start => started(&campaign, &product(), "operator", now).ok(),
                Command::Promote => promoted(&campaign, "approver", now).ok(),
                Command::Pause => paused(&campaign, "x", now).ok(),
                Command::Resume => resumed(&campaign, "operator", now).ok(),
                Command::Stop => stopped(&campaign, "x", NOW).ok(),
                Command::Advance { confirmed, failed } => {
                    let stage = Evidence {
                        confirmed: u64::from(*confirmed),
                        failed: [0, 0, 0, u64::from(*failed)],
                        ..Evidence::default()
                    };
                    if campaign.progress.stage == 0 && campaign.state == CampaignState::Trial {
                        trial_good |= stage.ended() >= 4 && stage.confirmed > 0;
                    }
                    counted = Counted { stage, all: stage, fleet: 100, ..Counted::default() };
                    advance(&campaign, &counted, now).map(|step| step.campaign)
                }
                Command::Want => {
                    let who = ("operator", "too few");
                    amendment::wanted(&campaign, Amended::Gate, who, &counted, &product(), now).ok().map(|it| it.campaign)
                }
                Command::Consent(who) => {
                    let by = ["operator", "a", "b"][usize::from(*who)];
                    let hash = amendment::hash(&campaign).unwrap_or(Sha256Digest([0; 32]));
                    let done = amendment::consented(&campaign, by, &hash, &counted, &product(), now).ok();
                    if done.as_ref().is_some_and(|done| done.is_done) && campaign.state == CampaignState::Trial {
                        prop_assert!(by != "operator" && counted.stage.confirmed > 0);
                        trial_good = true;
                    }
                    done.map(|it| it.campaign)
                }
                Command::Edit => edited(&campaign, content(), "editor", now).ok(),
            };
            let Some(next) = next else { continue };
            if let Command::Approve(_) = command { approvals += 1 }
            promoted_by_person |= matches!(command, Command::Promote);
            campaign = next;
            if campaign.state != CampaignState::Draft && campaign.state != CampaignState::Stopped {
                prop_assert!(approvals >= 1, "{campaign:?}");
            }
            if campaign.progress.stage > 0 {
                prop_assert!(trial_good && promoted_by_person, "{campaign:?}");
            }
            prop_assert!(campaign.progress.stage <= was.progress.stage + 1, "a stage was skipped");
            if was.state == CampaignState::Stopped {
                prop_assert_eq!(campaign.state, CampaignState::Stopped);
            }
            let opened = |c: &Campaign| ramp::opened(&c.plan, c.state, &c.progress, now);
            if campaign.state == CampaignState::Rolling && was.state == CampaignState::Rolling {
                prop_assert!(opened(&campaign) >= opened(&was), "the open share shrank");
            }
        }
    }
}
