//! What the program tells at its end: the promise in figures. One line for each of those who shared the thread.

use core::time::Duration;

use crate::application::Application;
use crate::connection::Connection;
use crate::engine::{Engine, Turn};

/// Prints the report.
pub(crate) fn print(engine: &Engine<'_>, application: &Application, connection: &Connection) {
    let turns = engine.figures();
    println!("active: {}", engine.describe_installed());
    if let Some((began, ended)) = turns.download {
        let took = ended.saturating_sub(began);
        let bytes = engine.installed_size().0;
        let rate = u128::from(bytes) * 1000 / took.as_millis().max(1);
        println!("download: {bytes} bytes in {}, {rate} bytes/s", milliseconds(took));
    }
    let told = application.figures();
    let late_mean = told.late_sum.checked_div(u32::try_from(told.published).unwrap_or(u32::MAX));
    println!(
        "telemetry: {} published, {} skipped; at most {} late, {} on average",
        told.published,
        told.skipped,
        milliseconds(told.late_max),
        milliseconds(late_mean.unwrap_or_default())
    );
    println!("promise: a telemetry waited for at most {} turn(s) of the engine", told.turns_waited_max);
    println!("commands: {} answered", told.answered);
    println!("engine: {} turns", turns.turns);
    for (what, turn) in [
        ("longest turn", turns.longest),
        ("longest turn beside the storage", turns.longest_thinking),
        ("busiest turn", turns.busiest),
    ] {
        if let Some(turn) = turn {
            println!("{what}: {}", describe(turn));
        }
    }
    let wire = connection.figures();
    println!("connection: {} connection(s), {} subscriptions granted", wire.connections, wire.subscriptions);
}

fn describe(turn: Turn) -> String {
    format!(
        "{}, {} of it in {} calls of the storage with {} bytes, {:?}",
        milliseconds(turn.took),
        milliseconds(turn.storing),
        turn.calls,
        turn.bytes,
        turn.activity
    )
}

fn milliseconds(span: Duration) -> String {
    format!("{}.{:02} ms", span.as_millis(), span.subsec_micros() % 1000 / 10)
}
