//! Goodput of a fleet's download over real sockets, beside a trivial responder on the same broker.
//!
//! Each host is a process of its own: this program again, told to be a server, or a responder that gives the same devices
//! their blocks from memory, or an echo that knows nothing of updates. Rounds are paired, so that what else the machine
//! does hits all of them. With `--svg FILE` the shares are drawn as well; with `--quick` there is one round; with
//! `--only PART` nothing is written but what is measured, of the brokers and blocks whose line begins so, such as
//! `embedded with TLS, 4096`, or `many`, or `originals`. Called as `ota` is called, it is `ota`.

mod clients;
mod hosts;
#[path = "../../../../../ota-transport/tests/support/mod.rs"]
mod mosquitto;
mod originals;
mod plot;

use std::process::ExitCode;

use tokio::runtime::Runtime;

use clients::{Fleet, Load, Measured, echo_round, fleet_round};
use hosts::{Broker, Host, Kind, Setting, Transport};

/// Devices that download at once.
const DEVICES: usize = 4;
const BLOCKS: [usize; 3] = [1024, 4096, 16_384];
const WINDOWS: [u16; 3] = [1, 8, 32];
/// How much each of them downloads: enough for the beginning not to count, and no more than two rounds a second allow.
const fn file_bytes(block: usize) -> usize {
    if block < 16_384 { block * 2048 } else { block * 1024 }
}
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
    /// Of the same devices at the responder, median.
    responder: f64,
    /// Median of the rounds' ratios of these two.
    pub(crate) share: f64,
    /// Of clients that look at nothing at the echo, median.
    echo: f64,
    /// Processor time of the server and of the responder per gigabyte, in seconds, medians.
    cpu: [f64; 2],
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first() {
        Some(word) if word == "host" => {
            hosts::be(&words[1..]);
            return ExitCode::SUCCESS;
        }
        Some(word) if !word.starts_with("--") => return ota_server::program::main(),
        _ => {}
    }
    let rounds = if words.iter().any(|word| word == "--quick") { 1 } else { 5 };
    let argument = |flag| words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1));
    let (svg, only) = (argument("--svg"), argument("--only"));
    let is_wanted = |name: &str| only.is_none_or(|only| name.starts_with(only.as_str()));
    let runtime = Runtime::new().unwrap();
    let mut lines = Vec::new();
    for setting in Setting::all() {
        for block in BLOCKS {
            if is_wanted(&format!("{setting}, {block} ")) {
                lines.extend(measure(&runtime, setting, block, rounds));
            }
        }
    }
    let many = is_wanted("many").then(|| many(&runtime));
    let originals = is_wanted("originals").then(|| originals::table(rounds));
    let (Some(many), Some(originals), None) = (many, originals, only) else { return ExitCode::SUCCESS };
    println!("<!-- bench: wire -->\n{}", explained(rounds));
    println!(
        "| broker | block | window | fleet, MB/s | responder, MB/s | share | echo, MB/s | server, CPU s/GB | responder, CPU s/GB |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for line in &lines {
        let Line { setting, block, window, fleet, responder, share, echo, cpu: [server, other] } = line;
        println!(
            "| {setting} | {block} | {window} | {fleet:.1} | {responder:.1} | {share:.2} | {echo:.1} | {server:.1} | {other:.1} |"
        );
    }
    if let Some(path) = svg {
        std::fs::write(path, plot::shares(&lines)).unwrap();
        let name = path.rsplit('/').next().unwrap_or(path);
        println!("\n![share of the responder's goodput](plots/{name})");
    }
    println!("\n{many}\n\n{originals}<!-- /bench -->");
    ExitCode::SUCCESS
}

/// What the columns are.
fn explained(rounds: usize) -> String {
    format!(
        "{DEVICES} devices download at once, on the cores that the server has, too. Fleet: the real device engine, which \
         hashes and writes what comes, at the real server. Responder: the same devices with the same engine, on the same \
         kind of broker, but requests for blocks of the file are answered from memory, without a look at grant, budget or \
         store. Share: of that responder's goodput, the median of {rounds} paired rounds; 0.9 is asked for. Echo: clients \
         that ask for messages of that length, as many at a time, and throw them away: what the broker and the sockets \
         carry when nobody looks at a byte. MB/s and processor time (with that of a broker inside) are medians.\n"
    )
}

/// All windows with one block size at one broker.
fn measure(runtime: &Runtime, setting: Setting, block: usize, rounds: usize) -> Vec<Line> {
    let bytes = file_bytes(block);
    // Each host has a broker of its own kind and settings, so that none talks to the others' devices.
    let brokers: Vec<Broker> = (0..3).map_while(|_| Broker::start(setting)).collect();
    let [first, second, third] = &brokers[..] else { return Vec::new() };
    let devices = DEVICES * WINDOWS.len() * (rounds + 1);
    let fleet = Host::start(first, Kind::Fleet { devices, bytes });
    let responder = Host::start(second, Kind::Responder { devices, bytes });
    let echo = Host::start(third, Kind::Echo { block });
    let mut number = 0;
    let mut lines = Vec::new();
    for window in WINDOWS {
        let load = Load { devices: DEVICES, block, window, bytes };
        let mut measured: Vec<[Measured; 3]> = Vec::new();
        // The first round of all warms caches and is not counted.
        for round in usize::from(number > 0)..=rounds {
            let numbers = Fleet { first: number };
            number += DEVICES;
            let ours = || runtime.block_on(fleet_round(&fleet, numbers, load));
            let theirs = || runtime.block_on(fleet_round(&responder, numbers, load));
            // Whoever comes second finds the machine as the first has left it.
            let pair = if round % 2 == 0 {
                let ours = ours();
                [ours, theirs()]
            } else {
                let theirs = theirs();
                [ours(), theirs]
            };
            let bare = runtime.block_on(echo_round(&echo, load));
            if round > 0 {
                measured.push([pair[0], pair[1], bare]);
            }
        }
        let speed = |of: usize| median(measured.iter().map(|round| round[of].bytes_per_second)) / 1e6;
        let cpu = |of: usize| median(measured.iter().map(|round| round[of].cpu_seconds_per_byte)) * 1e9;
        let share = measured.iter().map(|round| round[0].bytes_per_second / round[1].bytes_per_second);
        let line = Line {
            setting,
            block,
            window,
            fleet: speed(0),
            responder: speed(1),
            share: median(share),
            echo: speed(2),
            cpu: [cpu(0), cpu(1)],
        };
        let trouble = measured.last().map(|round| round[0].trouble).unwrap_or_default();
        eprintln!(
            "{setting}, {block} B, window {window}: {:.1} of {:.1} MB/s, {:.2}, echo {:.1}, CPU s/GB {:.1}, {:.1}, {:.1}; {trouble}",
            line.fleet,
            line.responder,
            line.share,
            line.echo,
            line.cpu[0],
            line.cpu[1],
            cpu(2)
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

/// The one in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
