//! Fleets from fixed seeds: safe while everything goes wrong, on target once it stops.

use ota_core::fleet::records::CampaignState;
use ota_core::time::Millis;
use ota_sim::fleet::{DAY, Faults, Fleet};

#[tokio::test]
async fn a_good_release_reaches_everybody_once_faults_stop() {
    for seed in [1, 2] {
        let mut fleet = Fleet::new(seed, 100).await;
        let release = fleet.release(0).await;
        let campaign = fleet.campaign(release, fleet.plan()).await;
        fleet.run(Faults::HARSH, Millis(6 * DAY)).await;
        let happened = fleet.happened();
        // Faults that did not happen would prove nothing.
        for (what, count) in [
            ("lost", happened.lost),
            ("doubled", happened.doubled),
            ("device crashes", happened.device_crashes),
            ("server crashes", happened.server_crashes),
            ("failed commits", happened.failed_commits),
        ] {
            assert!(count > 0, "seed {seed}: no {what}");
        }
        fleet.run(Faults::NONE, Millis(24 * DAY)).await;
        assert_eq!(fleet.record(campaign).await.state, CampaignState::Completed, "seed {seed}");
        fleet.assert_everybody_has(1).await;
    }
}

#[tokio::test]
async fn a_release_that_breaks_devices_stops_in_its_trial() {
    for seed in [11, 12] {
        let mut fleet = Fleet::new(seed, 120).await;
        let good = fleet.release(0).await;
        let first = fleet.campaign(good, fleet.plan()).await;
        fleet.run(Faults::NONE, Millis(20 * DAY)).await;
        fleet.stop(first).await;
        let bad = fleet.release(700_000).await;
        let campaign = fleet.campaign(bad, fleet.plan()).await;
        fleet.run(Faults::HARSH, Millis(10 * DAY)).await;
        let record = fleet.record(campaign).await;
        assert_eq!(record.state, CampaignState::Paused, "seed {seed}: {}", record.reason);
        assert_eq!(record.progress.stage, 0, "seed {seed}: {}", record.reason);
        assert!(fleet.having(2) <= 12, "seed {seed}: only the trial group ever had it");
    }
}
