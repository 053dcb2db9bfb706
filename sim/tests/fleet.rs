//! Fleets from fixed seeds: safe while everything goes wrong, on target once it stops.

use ota_core::fleet::records::CampaignState;
use ota_core::time::Millis;
use ota_sim::fleet::{DAY, Faults, Fleet, Happened, Kept, Kinds, year};

/// How often the server looks at what is due while nothing goes wrong.
const HOUR: Millis = Millis(DAY / 24);

/// Faults that did not happen would prove nothing.
fn assert_happened(seed: u64, happened: Happened) {
    for (what, count) in [
        ("lost", happened.lost),
        ("doubled", happened.doubled),
        ("device crashes", happened.device_crashes),
        ("server crashes", happened.server_crashes),
        ("failed commits", happened.failed_commits),
        ("wrong clocks", happened.wrong_clocks),
        ("broken connections", happened.broken_connections),
    ] {
        assert!(count > 0, "seed {seed}: no {what}");
    }
}

#[tokio::test]
async fn a_good_release_reaches_everybody_once_faults_stop() {
    let mut fleet = Fleet::new(1, 50).await;
    let release = fleet.release(0).await;
    let campaign = fleet.campaign(release, fleet.plan()).await;
    fleet.run(Faults::HARSH, Millis(5 * DAY)).await;
    assert_happened(1, fleet.happened());
    fleet.tick_every(HOUR);
    fleet.run(Faults::NONE, Millis(20 * DAY)).await;
    let state = fleet.record(campaign).await.state;
    assert_eq!(state, CampaignState::Completed, "{}", fleet.story(campaign).await);
    fleet.assert_everybody_has(1).await;
}

#[tokio::test]
async fn a_server_whose_power_goes_in_the_middle_of_commits_goes_on_from_what_was_durable() {
    let mut seen = Vec::new();
    for is_first in [true, false] {
        let kinds = Kinds { fast: 10, original: 3, real: 1 };
        let mut fleet = Fleet::of(7, kinds, Kept::InRedb).await;
        let release = fleet.release(0).await;
        let campaign = fleet.campaign(release, fleet.plan()).await;
        let often = Faults { server_crashes: 200_000, ..Faults::HARSH };
        fleet.run(often, Millis(DAY)).await;
        assert!(fleet.happened().torn_commits > 5, "{:?}", fleet.happened());
        seen.push((fleet.happened(), fleet.head().await));
        if is_first {
            fleet.tick_every(HOUR);
            fleet.run(Faults::NONE, Millis(10 * DAY)).await;
            let state = fleet.record(campaign).await.state;
            assert_eq!(state, CampaignState::Completed, "{}", fleet.story(campaign).await);
            fleet.assert_everybody_has(1).await;
        }
    }
    assert_eq!(seen[0], seen[1], "a seed repeats exactly, down to the last entry of the audit chain");
}

#[tokio::test]
async fn a_restored_store_does_not_make_devices_refuse_its_answers() {
    let mut fleet = Fleet::of(21, Kinds { fast: 14, original: 4, real: 2 }, Kept::InRedb).await;
    fleet.tick_every(HOUR);
    let first = fleet.release(0).await;
    let campaign = fleet.campaign(first, fleet.plan()).await;
    // In the middle of the rollout: some are at it, some have had it, and some have not had their turn.
    while fleet.having(1) < 8 {
        fleet.run(Faults::NONE, Millis(DAY / 8)).await;
    }
    assert!(fleet.having(1) < 18, "{} have it", fleet.having(1));
    let backup = fleet.back_up();
    fleet.run(Faults::HARSH, Millis(2 * DAY)).await;
    fleet.run(Faults::NONE, Millis(2 * DAY)).await;
    fleet.stop(campaign).await;
    let second = fleet.release(0).await;
    fleet.campaign(second, fleet.plan()).await;
    fleet.run(Faults::NONE, Millis(5 * DAY)).await;
    assert!(fleet.having(2) >= 3, "{} have what the copy does not know of", fleet.having(2));

    fleet.go_on_from(&backup).await;
    fleet.run(Faults::NONE, Millis(DAY)).await;
    fleet.stop(campaign).await;
    let third = fleet.release(0).await;
    let last = fleet.campaign(third, fleet.plan()).await;
    fleet.run(Faults::NONE, Millis(8 * DAY)).await;
    let state = fleet.record(last).await.state;
    assert_eq!(state, CampaignState::Completed, "{}", fleet.story(last).await);
    assert_eq!(fleet.having(3), 20);
}

#[tokio::test]
async fn a_server_whose_clock_is_set_back_by_days_goes_on_and_so_do_its_devices() {
    let mut fleet = Fleet::of(31, Kinds { fast: 14, original: 4, real: 2 }, Kept::InMemory).await;
    fleet.tick_every(HOUR);
    let first = fleet.release(0).await;
    let campaign = fleet.campaign(first, fleet.plan()).await;
    while fleet.having(1) < 6 {
        fleet.run(Faults::NONE, Millis(DAY / 8)).await;
    }
    assert!(fleet.having(1) < 16, "{} have it, and everybody else is still to come", fleet.having(1));
    // Deadlines, keys and the times of what was heard lie ahead now.
    fleet.server_clock_is_behind(Millis(3 * DAY));
    fleet.run(Faults::HARSH, Millis(2 * DAY)).await;
    // It comes to the time that it had, and past it; then it is set right, which is a leap ahead.
    fleet.run(Faults::NONE, Millis(6 * DAY)).await;
    fleet.server_clock_is_behind(Millis(0));
    fleet.run(Faults::NONE, Millis(8 * DAY)).await;
    let state = fleet.record(campaign).await.state;
    assert_eq!(state, CampaignState::Completed, "{}", fleet.story(campaign).await);
    fleet.assert_everybody_has(1).await;
    // Set back in the middle of quiet, it makes the next release as well.
    fleet.server_clock_is_behind(Millis(2 * DAY));
    let second = fleet.release(0).await;
    let next = fleet.campaign(second, fleet.plan()).await;
    fleet.run(Faults::NONE, Millis(12 * DAY)).await;
    let state = fleet.record(next).await.state;
    assert_eq!(state, CampaignState::Completed, "{}", fleet.story(next).await);
    fleet.assert_everybody_has(2).await;
}

#[tokio::test]
async fn a_release_that_breaks_devices_stops_in_its_trial() {
    let mut fleet = Fleet::new(11, 80).await;
    fleet.tick_every(HOUR);
    let good = fleet.release(0).await;
    let first = fleet.campaign(good, fleet.plan()).await;
    fleet.run(Faults::NONE, Millis(12 * DAY)).await;
    assert!(fleet.having(1) > 80, "{}", fleet.story(first).await);
    fleet.stop(first).await;
    let bad = fleet.release(700_000).await;
    let campaign = fleet.campaign(bad, fleet.plan()).await;
    fleet.run(Faults::HARSH, Millis(8 * DAY)).await;
    let record = fleet.record(campaign).await;
    assert_eq!(record.state, CampaignState::Paused, "{}", fleet.story(campaign).await);
    assert_eq!(record.progress.stage, 0, "{}", record.reason);
    assert!(fleet.having(2) <= 9, "only the trial group ever had it");
}

#[tokio::test]
async fn a_year_of_releases_goes_by() {
    let kinds = Kinds { fast: 12, original: 2, real: 1 };
    let (became, fleet) = year::pass(3, kinds, Kept::InMemory).await;
    assert_happened(3, fleet.happened());
    assert!(became.completed >= 8 && became.paused >= 1, "{became:?}");
    assert!(became.alive >= 8, "{became:?}: gates kept the harm small");
}
