//! Fleets from many seeds: everything goes wrong for ten days, then progress is demanded; every tenth lives a whole year.
//!
//! `-- SEEDS [FIRST]` chooses how many seeds (200 unless said otherwise) and the first; a seed that fails is printed
//! and repeats exactly. Every fifth keeps its records in redb, on a disk whose power goes in the middle of commits.

use ota_core::fleet::records::CampaignState;
use ota_core::time::Millis;
use ota_sim::fleet::{DAY, Faults, Fleet, Kept, Kinds, year};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let seeds = numbers.first().copied().unwrap_or(200);
    let first = numbers.get(1).copied().unwrap_or(1_000);
    let (mut messages, mut offers, mut crashes, mut torn, mut years) = (0, 0, 0, 0, 0);
    for seed in first..first + seeds {
        println!("seed {seed}");
        let kept = if seed % 5 == 0 { Kept::InRedb } else { Kept::InMemory };
        let fleet = if seed % 10 == 9 {
            years += 1;
            year::pass(seed, Kinds { fast: 60, original: 8, real: 2 }, kept).await.1
        } else {
            ten_days(seed, kept).await
        };
        let happened = fleet.happened();
        messages += happened.check_ins;
        offers += happened.offers;
        crashes += happened.server_crashes;
        torn += happened.torn_commits;
    }
    println!(
        "{seeds} fleets ({years} of them for a year), {messages} messages, {offers} offers, {crashes} server crashes, \
         {torn} of them in the middle of a commit: all safe, all on target"
    );
}

async fn ten_days(seed: u64, kept: Kept) -> Fleet {
    let fast = if kept == Kept::InRedb { 60 } else { 150 };
    let mut fleet = Fleet::of(seed, Kinds { fast, original: fast / 10, real: 2 }, kept).await;
    let release = fleet.release(0).await;
    let campaign = fleet.campaign(release, fleet.plan()).await;
    fleet.run(Faults::HARSH, Millis(10 * DAY)).await;
    fleet.run(Faults::NONE, Millis(30 * DAY)).await;
    let state = fleet.record(campaign).await.state;
    assert_eq!(state, CampaignState::Completed, "{}", fleet.story(campaign).await);
    fleet.assert_everybody_has(1).await;
    fleet
}
