//! Seeded hostile-link runs: safety under faults first, then progress once they stop. Thousands of them are
//! `cargo xtask soak hostile`.

use ota_sim::hostile::{Seen, run};

#[test]
fn whatever_the_link_does_a_file_is_exact_or_absent_and_the_update_arrives_once_it_stops() {
    let seeds = std::env::var("OTA_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let first = std::env::var("OTA_SIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let mut all = Seen::default();
    for seed in first..first + seeds {
        println!("seed {seed}");
        all.add(run(seed));
    }
    println!("{seeds} seeds: {all:?}");
    assert!(all.cuts > 0 && all.malformed > 0 && all.unwanted_blocks > 0, "the faults did not happen");
}
