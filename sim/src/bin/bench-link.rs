//! Prints how fast the engine downloads over simulated links, as a table in Markdown.
//!
//! `bench-link` prints the whole table in some minutes; `bench-link goal` only the line that the project
//! promises, `bench-link slow` the slowest link.

use ota_sim::speed::Case;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("| link | round trip | loss | block | link carries | engine | share | stop-and-wait | share |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let goal = Case { round_trip_ms: 100, loss_percent: 1, kilobits_per_second: 1000, block_bytes: 1024 };
    let is_wanted = |case: &Case| match only.as_str() {
        "goal" => *case == goal,
        "slow" => case.kilobits_per_second == 100,
        _ => true,
    };
    for case in Case::all().filter(is_wanted) {
        let carries = case.carries();
        let engine = case.measure(256);
        let one = case.measure(1);
        println!(
            "| {} Mbit/s | {} ms | {} % | {} B | {:.1} kB/s | {:.1} kB/s | {:.0} % | {:.1} kB/s | {:.0} % |",
            case.kilobits_per_second as f64 / 1000.0,
            case.round_trip_ms,
            case.loss_percent,
            case.block_bytes,
            carries / 1000.0,
            engine / 1000.0,
            100.0 * engine / carries,
            one / 1000.0,
            100.0 * one / carries,
        );
    }
}
