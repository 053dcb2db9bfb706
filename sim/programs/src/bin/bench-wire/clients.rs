//! Devices that download, and clients that only ask for blocks.

use core::fmt;
use std::time::Instant;

use ota_core::time::Millis;
use ota_device::{Policy, Statistics};
use ota_sim::wire::native::Device;
use ota_sim::wire::{Clock, Connection, Notice};
use ota_sim::workshop::{SourceFile, Workshop, product};

use crate::hosts::{Host, device_id};

/// Which devices take part: those from this number on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fleet {
    pub(crate) first: usize,
}

/// What each of them does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) devices: usize,
    pub(crate) block: usize,
    pub(crate) window: u16,
    pub(crate) bytes: usize,
}

/// What came out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) bytes_per_second: f64,
    pub(crate) cpu_seconds_per_byte: f64,
    pub(crate) trouble: Trouble,
}

/// What held the devices up, in all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trouble {
    busy: u32,
    timeouts: u32,
    again: u32,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { busy, timeouts, again } = self;
        write!(f, "put off {busy} times, nothing came {timeouts} times, {again} blocks asked for again")
    }
}

fn measured(load: Load, spans: &[(Instant, Instant)], cpu_seconds: f64, trouble: Trouble) -> Measured {
    let begin = spans.iter().map(|(begin, _)| *begin).min().unwrap();
    let end = spans.iter().map(|(_, end)| *end).max().unwrap();
    let bytes = (load.bytes * load.devices) as f64;
    Measured {
        bytes_per_second: bytes / (end - begin).as_secs_f64(),
        cpu_seconds_per_byte: cpu_seconds / bytes,
        trouble,
    }
}

fn device(number: usize, slot_bytes: usize) -> Device {
    let root = Workshop::new().root(1);
    let old = [SourceFile::new("app.bin", "1", "app", vec![1; 100])];
    let mut device =
        Device::in_memory(&product().into(), &root.body, &device_id(number), &old, slot_bytes as u64);
    // Reports are not what is measured.
    device.policy = Policy { progress_interval: Millis::from_seconds(3600), ..Policy::default() };
    device
}

/// From the verified offer to the last byte, with the real engine.
pub(crate) async fn fleet_round(host: &Host, fleet: Fleet, load: Load) -> Measured {
    let before = host.cpu_seconds();
    let tasks = (0..load.devices).map(|number| {
        let access = host.access(None);
        let mut device = device(fleet.first + number, load.bytes);
        device.policy.block_bytes = u32::try_from(load.block).unwrap();
        device.policy.window_max = load.window;
        tokio::spawn(async move {
            let mut offered = None;
            device
                .run(&access, |seen| {
                    if offered.is_none() && !seen.events.is_empty() {
                        offered = Some(Instant::now());
                    }
                    seen.events.last().is_some_and(|event| event == "Downloaded" || event == "Verified")
                })
                .await;
            ((offered.unwrap(), Instant::now()), device.statistics)
        })
    });
    let (spans, counted): (Vec<_>, Vec<_>) = all(tasks.collect()).await.into_iter().unzip();
    let sum = |of: fn(&Statistics) -> u32| counted.iter().map(of).sum();
    let trouble = Trouble {
        busy: sum(|device| device.busy),
        timeouts: sum(|device| device.timeouts),
        again: sum(|device| device.blocks_again),
    };
    measured(load, &spans, host.cpu_seconds() - before, trouble)
}

/// The same number of bytes, asked for block by block, `window` at a time.
pub(crate) async fn echo_round(host: &Host, load: Load) -> Measured {
    let before = host.cpu_seconds();
    let tasks = (0..load.devices).map(|number| {
        let access = host.access(None);
        tokio::spawn(async move {
            let id = device_id(number);
            let clock = Clock::start();
            let up = format!("ota/1/{id}/up");
            let mut connection = Connection::new(access, id.as_str(), format!("ota/1/{id}/down"), clock);
            let far = ota_core::time::Instant(3_600_000);
            while connection.next(far).await != Some(Notice::Up) {}
            let begin = Instant::now();
            let blocks = load.bytes / load.block;
            let window = usize::from(load.window);
            for _ in 0..window.min(blocks) {
                connection.send(&up, &[3; 40]);
            }
            for received in 0..blocks {
                match connection.next(far).await {
                    Some(Notice::Message(payload)) => assert_eq!(payload.len(), load.block),
                    other => panic!("{other:?}"),
                }
                if received + window < blocks {
                    connection.send(&up, &[3; 40]);
                }
            }
            (begin, Instant::now())
        })
    });
    let spans = all(tasks.collect()).await;
    measured(load, &spans, host.cpu_seconds() - before, Trouble::default())
}

/// Seconds of each device from connecting to confirmed, all at once, each with a certificate of its own.
pub(crate) async fn whole_updates(host: &Host, devices: usize) -> Vec<f64> {
    let ready: Vec<_> = (0..devices)
        .map(|number| {
            let mut device = device(number, 128 * 1024);
            device.buffers.blocks = 16 * 1024;
            (host.access(Some(&device.id)), device)
        })
        .collect();
    let tasks = ready.into_iter().map(|(access, mut device)| {
        tokio::spawn(async move {
            let begin = Instant::now();
            device.run(&access, |seen| seen.events.last().is_some_and(|event| event == "Confirmed")).await;
            begin.elapsed().as_secs_f64()
        })
    });
    all(tasks.collect()).await
}

async fn all<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("nobody panics"));
    }
    results
}
