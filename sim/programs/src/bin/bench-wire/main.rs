//! Goodput of a fleet's download over real sockets, beside a trivial responder on the same broker.
//!
//! Each host is a process of its own: this program again, told to be a server, or a responder that answers each request
//! with a block and knows nothing of updates. Rounds are paired, so that what else the machine does hits both.
//! With `--svg FILE` the shares are drawn as well; with `--quick` there are fewer rounds; with `--only PART` the table is
//! all there is, of the brokers and blocks whose line begins so, such as `embedded with TLS, 4096`.

mod clients;
mod hosts;
#[path = "../../../../../ota-transport/tests/support/mod.rs"]
mod mosquitto;
mod plot;

use std::process::ExitCode;

use tokio::runtime::Runtime;

use clients::{Fleet, Load, Measured, echo_round, fleet_round, original_round};
use hosts::{Broker, Host, Kind, Setting, Transport};

/// Devices that download at once.
const DEVICES: usize = 4;
const BLOCKS: [usize; 3] = [1024, 4096, 16_384];
const WINDOWS: [u16; 3] = [1, 8, 32];
/// How many blocks each of them downloads: enough for the beginning not to count.
const BLOCKS_PER_FILE: usize = 2048;
/// A fleet at once.
const MANY: usize = 1000;
const MANY_BYTES: usize = 64 * 1024;

/// One line of the table.
pub(crate) struct Line {
    pub(crate) setting: Setting,
    pub(crate) block: usize,
    pub(crate) window: u16,
    /// Bytes per second of the fleet, median.
    fleet: f64,
    /// Of the responder's clients, median.
    echo: f64,
    /// Median of the rounds' ratios.
    pub(crate) share: f64,
    /// Processor time of the server per gigabyte, in seconds, median.
    cpu: f64,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "host") {
        hosts::be(&words[1..]);
        return ExitCode::SUCCESS;
    }
    let rounds = if words.iter().any(|word| word == "--quick") { 1 } else { 5 };
    let svg = words.iter().position(|word| word == "--svg").and_then(|at| words.get(at + 1));
    let only = words.iter().position(|word| word == "--only").and_then(|at| words.get(at + 1));
    let runtime = Runtime::new().unwrap();
    let mut lines = Vec::new();
    for setting in Setting::all() {
        for block in BLOCKS {
            if only.is_none_or(|only| format!("{setting}, {block} ").starts_with(only.as_str())) {
                lines.extend(measure(&runtime, setting, block, rounds));
            }
        }
    }
    if only.is_some() {
        return ExitCode::SUCCESS;
    }
    println!("<!-- bench: wire -->");
    println!(
        "{DEVICES} devices with the real engine download at once; beside them as many clients that ask a responder for \
         blocks of the same size, as many at a time. MB/s: medians of {rounds} rounds; share: median of the rounds' ratios.\n"
    );
    println!("| broker | block | window | fleet, MB/s | responder, MB/s | share | server, CPU s/GB |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for line in &lines {
        println!(
            "| {} | {} | {} | {:.1} | {:.1} | {:.2} | {:.1} |",
            line.setting, line.block, line.window, line.fleet, line.echo, line.share, line.cpu
        );
    }
    if let Some(path) = svg {
        std::fs::write(path, plot::shares(&lines)).unwrap();
        let name = path.rsplit('/').next().unwrap_or(path);
        println!("\n![share of the responder's goodput](plots/{name})");
    }
    println!("\n{}", many(&runtime));
    println!("\n{}", originals(&runtime));
    println!("<!-- /bench -->");
    ExitCode::SUCCESS
}

/// All windows with one block size at one broker.
fn measure(runtime: &Runtime, setting: Setting, block: usize, rounds: usize) -> Vec<Line> {
    let bytes = block * BLOCKS_PER_FILE;
    let Some(broker) = Broker::start(setting) else { return Vec::new() };
    let fleet = Host::start(&broker, Kind::Fleet { devices: DEVICES * 64, bytes });
    let mut number = 0;
    // The responder has a broker of its own kind and settings, so that neither talks to the other's devices.
    let Some(other) = Broker::start(setting) else { return Vec::new() };
    let echo = Host::start(&other, Kind::Echo { block });
    let mut lines = Vec::new();
    for window in WINDOWS {
        let load = Load { devices: DEVICES, block, window, bytes };
        let mut measured: Vec<(Measured, Measured)> = Vec::new();
        // The first round warms caches and is not counted.
        for round in 0..=rounds {
            let ours = runtime.block_on(fleet_round(&fleet, Fleet { first: number }, load));
            number += DEVICES;
            let theirs = runtime.block_on(echo_round(&echo, load));
            if round > 0 {
                measured.push((ours, theirs));
            }
        }
        let line = Line {
            setting,
            block,
            window,
            fleet: median(measured.iter().map(|(ours, _)| ours.bytes_per_second)) / 1e6,
            echo: median(measured.iter().map(|(_, theirs)| theirs.bytes_per_second)) / 1e6,
            share: median(
                measured.iter().map(|(ours, theirs)| ours.bytes_per_second / theirs.bytes_per_second),
            ),
            cpu: median(measured.iter().map(|(ours, _)| ours.cpu_seconds_per_byte)) * 1e9,
        };
        let trouble = measured.last().map(|(ours, _)| ours.trouble).unwrap_or_default();
        eprintln!(
            "{setting}, {block} B, window {window}: {:.1} of {:.1} MB/s, {:.2}; in the last round {trouble}",
            line.fleet, line.echo, line.share
        );
        lines.push(line);
    }
    lines
}

/// A thousand devices at once, with certificates, through the broker inside.
fn many(runtime: &Runtime) -> String {
    let setting = Setting { transport: Transport::Tls, is_embedded: true };
    let broker = Broker::start(setting).expect("the broker inside");
    let host = Host::start(&broker, Kind::Fleet { devices: MANY, bytes: MANY_BYTES });
    let before = host.cpu_seconds();
    let mut seconds = runtime.block_on(clients::whole_updates(&host, MANY));
    seconds.sort_by(f64::total_cmp);
    let at = |percent: usize| seconds[(seconds.len() - 1) * percent / 100];
    format!(
        "{MANY} devices at once, each with its certificate and {} KiB, from connecting to confirmed: median {:.1} s, 95 % in \
         {:.1} s, all in {:.1} s; the server took {:.1} s of processor time and {:.0} MB of memory at most.",
        MANY_BYTES / 1024,
        at(50),
        at(95),
        at(100),
        host.cpu_seconds() - before,
        host.peak_megabytes(),
    )
}

/// A device of the original system, which writes in two parts with Nagle's algorithm on.
fn originals(runtime: &Runtime) -> String {
    let mut text = "1 MiB in chunks of 1 KiB to a device of the original system, one at a time, each request written in two \
                    parts without TCP_NODELAY, from its list of files to its last status:"
        .to_owned();
    for transport in [Transport::Plain, Transport::Tls] {
        let broker = Broker::start(Setting { transport, is_embedded: true }).expect("the broker inside");
        let host = Host::start(&broker, Kind::Fleet { devices: 8, bytes: 1 << 20 });
        let seconds = (0..5).map(|number| original_round(runtime, &host, number));
        let seconds = median(seconds.collect::<Vec<_>>().into_iter());
        text.push_str(&format!(" {:.0} ms {transport},", seconds * 1000.0));
    }
    text.truncate(text.len() - 1);
    text.push('.');
    text
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
