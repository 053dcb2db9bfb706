//! Fleets from many seeds: everything goes wrong for ten days, then progress is demanded.
//!
//! `-- SEEDS [FIRST]` chooses how many seeds (200 unless said otherwise) and the first; a seed that fails is printed
//! and repeats exactly.

use ota_core::fleet::records::CampaignState;
use ota_core::time::Millis;
use ota_sim::fleet::{DAY, Faults, Fleet};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let seeds = numbers.first().copied().unwrap_or(200);
    let first = numbers.get(1).copied().unwrap_or(1_000);
    let (mut messages, mut offers, mut crashes) = (0, 0, 0);
    for seed in first..first + seeds {
        println!("seed {seed}");
        let mut fleet = Fleet::new(seed, 150).await;
        let release = fleet.release(0).await;
        let campaign = fleet.campaign(release, fleet.plan()).await;
        fleet.run(Faults::HARSH, Millis(10 * DAY)).await;
        fleet.run(Faults::NONE, Millis(30 * DAY)).await;
        let state = fleet.record(campaign).await.state;
        assert_eq!(state, CampaignState::Completed, "seed {seed}");
        fleet.assert_everybody_has(1).await;
        let happened = fleet.happened();
        messages += happened.check_ins;
        offers += happened.offers;
        crashes += happened.server_crashes;
    }
    println!(
        "{seeds} fleets, {messages} messages, {offers} offers, {crashes} server crashes: all safe, all on target"
    );
}
