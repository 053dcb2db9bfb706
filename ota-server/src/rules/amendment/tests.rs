//! Who may change what about a running campaign, and when.

use ota_core::fleet::records::{
    AttemptRules, Gate, OnFailure, Pace, Plan, Promotion, Schedule, SmallGroup, Stage, Trial,
};
use ota_core::number::{PackageVersion, ReleaseId, RootVersion};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Millis;

use super::*;
use crate::rules::campaign::{self, Draft, advance, approved, started, stopped};
use crate::rules::gate::Evidence;

const NOW: Timestamp = Timestamp(1_000_000_000);
const HOUR: Millis = Millis(3_600_000);

fn product(approvals_min: u8) -> Product {
    Product {
        title: "Lamp".into(),
        created: Timestamp(1),
        next_ordinal: 10,
        next_name: 1,
        root: RootVersion(1),
        next_version: PackageVersion(1),
        approvals_min,
        quarantine_after: 0,
        attested_only: false,
        dialects: 0,
    }
}

/// A gate that needs 20 devices.
fn gate() -> Gate {
    Gate {
        sample_min: 20,
        failures_good_ppm: 10_000,
        failures_bad_ppm: 200_000,
        false_stop_ppm: 50_000,
        missed_stop_ppm: 50_000,
        budgets: Vec::new(),
        silent_max_ppm: 50_000,
        soak: HOUR,
        attested_only: false,
        small_group: None,
    }
}

fn on_trial(approvals: u8) -> Campaign {
    let limits = Limits { downloads_max: 10, ..Limits::default() };
    let content = Draft {
        product: ProductIdBuf::new("lamp").unwrap(),
        title: "x".into(),
        release: ReleaseId([1; 32]),
        target: Target::Everyone,
        plan: Plan {
            trial: Some(Trial {
                who: Target::Filter { expression: "tag = trial".into() },
                gate: gate(),
                promotion: Promotion::ByGate,
            }),
            stages: vec![Stage { until_ppm: 1_000_000, pace: Pace::AtOnce, gate: gate() }],
            schedule: Schedule::default(),
            limits,
            attempts: AttemptRules {
                begin_within: HOUR,
                download_within: HOUR,
                install_within: HOUR,
                confirm_within: HOUR,
                retries_max: 0,
                retry_after: HOUR,
                retry_after_max: HOUR,
            },
            approvals,
            on_failure: OnFailure::Pause,
            priority: 0,
        },
    };
    let mut campaign = campaign::draft(content, "author", NOW).unwrap();
    for approver in 0..approvals {
        campaign = approved(&campaign, &format!("approver-{approver}"), &hash_of(&campaign), NOW).unwrap();
    }
    started(&campaign, &product(0), "operator", NOW).unwrap()
}

fn shown(confirmed: u64, failed: u64) -> Counted {
    let stage = Evidence { confirmed, failed: [failed, 0, 0, 0], ..Evidence::default() };
    Counted { stage, all: stage, fleet: 100, ..Counted::default() }
}

fn want(campaign: &Campaign, what: Amended, counted: &Counted) -> Result<Amending, CampaignError> {
    wanted(campaign, what, ("operator", "only three lamps"), counted, &product(0), NOW)
}

fn consent(campaign: &Campaign, by: &str, counted: &Counted) -> Result<Amending, CampaignError> {
    consented(campaign, by, &hash(campaign).unwrap(), counted, &product(0), NOW)
}

#[test]
fn a_small_group_that_people_have_taken_as_passed_fails_only_by_what_they_have_not_seen() {
    let mut campaign = on_trial(1);
    let trial = campaign.plan.trial.as_mut().unwrap();
    trial.gate.small_group = Some(SmallGroup::ByShare);
    let of_three = |confirmed, failed| Counted { group: Some(3), ..shown(confirmed, failed) };
    let paused = advance(&campaign, &of_three(2, 1), NOW).unwrap().campaign;
    assert_eq!(paused.state, CampaignState::Paused, "one of three is too many");
    let resumed = campaign::resumed(&paused, "operator", NOW).unwrap();
    let open = want(&resumed, Amended::Gate, &of_three(2, 1)).unwrap().campaign;
    let done = consent(&open, "one", &of_three(2, 1)).unwrap().campaign;
    assert_eq!(
        advance(&done, &of_three(2, 1), NOW),
        None,
        "it soaks, and does not fail again by the same device"
    );
    let worse = advance(&done, &of_three(1, 2), NOW).unwrap().campaign;
    assert_eq!(worse.state, CampaignState::Paused, "nobody has consented to two");
    let next = advance(&done, &of_three(2, 1), NOW.plus(HOUR)).unwrap().campaign;
    assert_eq!((next.progress.stage, next.progress.accepted), (1, None), "the next stage is another matter");
}

#[test]
fn a_gate_that_cannot_be_reached_is_passed_by_as_many_people_as_approved_the_plan_and_then_soaks() {
    let campaign = on_trial(2);
    assert_eq!(
        advance(&campaign, &shown(3, 0), NOW.plus(Millis(u64::MAX / 2))),
        None,
        "it would wait for ever"
    );
    let open = want(&campaign, Amended::Gate, &shown(3, 0)).unwrap();
    assert!(!open.is_done);
    assert_eq!(advance(&open.campaign, &shown(3, 0), NOW), None, "wanting it is not enough");
    let once = consent(&open.campaign, "one", &shown(3, 0)).unwrap();
    assert!(!once.is_done);
    assert_eq!(consent(&once.campaign, "one", &shown(3, 0)).unwrap_err(), CampaignError::ApprovedAlready);
    let done = consent(&once.campaign, "two", &shown(3, 0)).unwrap();
    assert!(done.is_done && done.campaign.progress.amendment.is_none());
    assert_eq!(advance(&done.campaign, &shown(3, 0), NOW), None, "the soak has only begun");
    let next = advance(&done.campaign, &shown(3, 0), NOW.plus(HOUR)).unwrap();
    assert_eq!((next.action, next.campaign.progress.stage), (Some("campaign.promote"), 1));
}

#[test]
fn whoever_wants_it_cannot_consent_and_nobody_consents_to_what_he_has_not_seen() {
    let open = want(&on_trial(1), Amended::Gate, &shown(3, 0)).unwrap().campaign;
    assert_eq!(consent(&open, "operator", &shown(3, 0)).unwrap_err(), CampaignError::OwnWork);
    let old = hash(&open).unwrap();
    let other = wanted(&open, Amended::Gate, ("operator", "another"), &shown(2, 0), &product(0), NOW);
    let other = other.unwrap().campaign;
    assert_eq!(
        consented(&other, "one", &old, &shown(3, 0), &product(0), NOW).unwrap_err(),
        CampaignError::ChangedSince
    );
    assert_eq!(consent(&other, "one", &shown(2, 1)).unwrap_err(), CampaignError::WorseSince);
    assert!(
        consent(&other, "one", &shown(5, 0)).unwrap().is_done,
        "better than it was is no reason to refuse"
    );
}

#[test]
fn a_trial_that_has_shown_nothing_is_never_passed() {
    assert_eq!(want(&on_trial(0), Amended::Gate, &shown(0, 0)).unwrap_err(), CampaignError::NothingSeen);
    assert!(want(&on_trial(0), Amended::Gate, &shown(1, 0)).unwrap().is_done, "nobody must approve here");
}

#[test]
fn a_soak_is_spared_only_while_it_runs() {
    let campaign = on_trial(1);
    assert!(matches!(want(&campaign, Amended::Soak, &shown(3, 0)), Err(CampaignError::State { .. })));
    let soaking = advance(&campaign, &shown(40, 0), NOW).unwrap().campaign;
    assert_eq!(soaking.state, CampaignState::Trial);
    let open = want(&soaking, Amended::Soak, &shown(40, 0)).unwrap().campaign;
    let done = consent(&open, "one", &shown(40, 0)).unwrap().campaign;
    assert_eq!(advance(&done, &shown(40, 0), NOW).unwrap().campaign.state, CampaignState::Rolling);
    assert!(matches!(want(&soaking, Amended::Gate, &shown(40, 0)), Err(CampaignError::State { .. })));
}

#[test]
fn raising_a_limit_asks_again_and_lowering_one_does_not() {
    let campaign = on_trial(1);
    let limits = |downloads_max| Amended::Limits { limits: Limits { downloads_max, ..Limits::default() } };
    let lower = want(&campaign, limits(5), &shown(0, 0)).unwrap();
    assert!(lower.is_done);
    assert_eq!(lower.campaign.plan.limits.downloads_max, 5);
    for higher in [11, 0] {
        let open = want(&campaign, limits(higher), &shown(0, 0)).unwrap();
        assert!(!open.is_done, "{higher}");
        assert_eq!(open.campaign.plan.limits.downloads_max, 10);
        let done = consent(&open.campaign, "one", &shown(0, 0)).unwrap().campaign;
        assert_eq!(done.plan.limits.downloads_max, higher);
        assert_eq!(campaign::valid_approvals(&done).count(), 1, "consent is to the new content");
        assert_eq!(&*done.approvals[0].principal, "one");
    }
}

#[test]
fn another_target_asks_again_and_a_wrong_one_is_refused() {
    let campaign = on_trial(1);
    let target = Target::Devices { ids: vec![DeviceIdBuf::new("a").unwrap()] };
    let open = want(&campaign, Amended::Target { target: target.clone() }, &shown(0, 0)).unwrap();
    assert!(!open.is_done);
    assert_eq!(consent(&open.campaign, "one", &shown(0, 0)).unwrap().campaign.target, target);
    let empty = Target::Devices { ids: Vec::new() };
    assert_eq!(
        want(&campaign, Amended::Target { target: empty }, &shown(0, 0)).unwrap_err(),
        CampaignError::Devices
    );
    let snapshot = Target::Snapshot { expression: "tag = a".into(), bitmap: None, count: 0 };
    assert_eq!(
        want(&campaign, Amended::Target { target: snapshot }, &shown(0, 0)).unwrap_err(),
        CampaignError::SnapshotWhileRunning
    );
}

#[test]
fn an_end_takes_what_was_wanted_with_it() {
    let open = want(&on_trial(1), Amended::Gate, &shown(3, 0)).unwrap().campaign;
    assert_eq!(dropped(&open).unwrap().campaign.progress.amendment, None);
    assert_eq!(dropped(&on_trial(1)), Err(CampaignError::NoAmendment));
    let over = stopped(&open, "enough", NOW).unwrap();
    assert_eq!(over.progress.amendment, None);
    assert!(matches!(want(&over, Amended::Gate, &shown(3, 0)), Err(CampaignError::State { .. })));
    // A gate that fails meanwhile takes it along as well.
    let failed = advance(&open, &shown(10, 30), NOW).unwrap().campaign;
    assert_eq!((failed.state, failed.progress.amendment), (CampaignState::Paused, None));
}
