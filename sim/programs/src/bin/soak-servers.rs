//! Rollouts by several servers on one database, with servers killed and stopped and the database restarted, again and again.
//!
//! `--runs N` (10) and `--devices N` (60). Called with anything else it is the program `ota`, which it starts that way.

use std::process::ExitCode;

#[allow(dead_code, reason = "tests need more of it")]
#[path = "../../../tests/wire/fleet.rs"]
mod fleet;
#[path = "../../../../ota-transport/tests/support/mod.rs"]
mod mosquitto;
#[allow(dead_code, unreachable_pub, reason = "tests need more of it")]
#[path = "../../../../ota-storage/tests/postgres/server.rs"]
mod postgres;
#[path = "../../../tests/wire/several.rs"]
mod several;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| !matches!(&**word, "--runs" | "--devices")) {
        return ota_server::program::main_with(std::env::args_os());
    }
    let number = |name: &str, default: u64| {
        let place = words.iter().position(|word| word == name);
        place.map_or(default, |place| {
            words.get(place + 1).and_then(|word| word.parse().ok()).expect("a number")
        })
    };
    let (runs, devices) = (number("--runs", 10), number("--devices", 60));
    for run in 1..=runs {
        let Some(watched) = several::rollout(devices) else { return ExitCode::FAILURE };
        println!("run {run} of {runs}: {devices} devices updated, {watched:?}");
    }
    ExitCode::SUCCESS
}
