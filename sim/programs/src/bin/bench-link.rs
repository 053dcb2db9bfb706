//! How fast the engine downloads over simulated links, beside stop-and-wait on the same links.
//!
//! Without an argument it measures the whole table in some minutes, and draws it; `goal` only measures the line that
//! the project promises, `slow` the slowest link.

use ota_sim::plot::{Share, svg};
use ota_sim::speed::Case;

const PLOT: &str = "docs/plots/link.svg";

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let goal = Case { round_trip_ms: 100, loss_percent: 1, kilobits_per_second: 1000, block_bytes: 1024 };
    let is_wanted = |case: &Case| match only.as_str() {
        "goal" => *case == goal,
        "slow" => case.kilobits_per_second == 100,
        _ => true,
    };
    let is_whole = only.is_empty();
    if is_whole {
        println!("<!-- bench: link -->");
        println!("![Share of the link that a download reaches](plots/link.svg)\n");
        println!(
            "Bytes of the file per second; a message has {} bytes around a block. Time is simulated and seeded:",
            { 24 + ota_sim::speed::OVERHEAD_BYTES }
        );
        println!(
            "the figures are the same on every machine. A share passes 100 % where headers are shorter than"
        );
        println!("the protocol allows, or less is lost than on average.\n");
    }
    println!("| link | round trip | loss | block | link carries | engine | share | one at a time | share |");
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut shares = Vec::new();
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
        shares.push(Share { case, engine: engine / carries, one_by_one: one / carries });
    }
    if is_whole {
        println!("<!-- /bench -->");
        println!("<!-- file: {PLOT} -->\n{}<!-- /file -->", svg(&shares));
    }
}
