//! A store under load in a process that is killed: what was acknowledged has to be there afterwards, and the rest has
//! to fit together.
//!
//! The child commits steps of a few devices from several tasks and says on its output which steps were acknowledged.
//! The parent kills it with SIGKILL at a random moment, opens the file, and compares.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use ota_core::fleet::records::Device;
use ota_core::fleet::{
    AuditDraft, AuditHash, CounterChange, CounterKey, CounterPrefix, FleetStore, Index, IndexEntry, Key,
    Outcome, Query, Record, Stored, Table, Unit, Version, Write,
};
use ota_core::time::Timestamp;
use ota_storage::redb::{RedbOptions, RedbStore};

use crate::store_load::Fleet;

/// Devices that one task of the child takes steps with.
const DEVICES_PER_TASK: u64 = 8;
const TASKS: u64 = 8;
/// Every so many steps of a device leave an entry in the audit chain.
const AUDITED: u64 = 4;
/// The longest life of a child after its first acknowledged step.
const LIFE_MS_MAX: u64 = 120;
const T0: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// What the rounds of a run saw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Rounds.
    pub rounds: u64,
    /// Steps that children were told to be durable.
    pub acknowledged: u64,
    /// Steps found although their acknowledgement was not seen.
    pub unseen: u64,
    /// The longest time that opening took, in milliseconds.
    pub open_ms_max: u128,
}

/// The device after so many steps: content and places follow from the number, so that a torn unit shows.
fn device_at(fleet: &Fleet, ordinal: u64, step: u64) -> Device {
    let mut device = fleet.device(ordinal, Timestamp(T0 + step * HOUR_MS));
    device.bucket = u16::try_from((ordinal + step * 5) % 4096).unwrap_or_default();
    device.tags = vec![format!("step-{step}").into()];
    device
}

/// The unit that takes a device from this step to the next. Step 0 registers it.
fn step_unit(fleet: &Fleet, ordinal: u64, step: u64) -> Unit {
    let key = fleet.key(ordinal);
    let before = step.checked_sub(1).map(|before| device_at(fleet, ordinal, before));
    let after = device_at(fleet, ordinal, step);
    let mut counters = vec![fleet.heard(after.heard, 1)];
    match &before {
        Some(before) => counters.push(fleet.heard(before.heard, -1)),
        None => counters
            .push(CounterChange { key: CounterKey::Devices { product: fleet.product().clone() }, by: 1 }),
    }
    let audit = step.is_multiple_of(AUDITED).then(|| AuditDraft {
        at: after.heard,
        principal: "crash".into(),
        action: "device.step".into(),
        subject: format!("{ordinal} {step}"),
        product: fleet.product().to_string(),
        detail: "{}".into(),
    });
    Unit {
        expects: vec![(key.clone(), Version(step))],
        writes: vec![Write { key, before: before.map(Record::Device), after: Some(Record::Device(after)) }],
        counters,
        audit: audit.into_iter().collect(),
    }
}

/// The child: takes steps until it is killed.
///
/// # Panics
/// When the store fails or a step is in conflict, which ends the process with a status that the parent sees.
pub async fn child(path: &Path) {
    let store = Arc::new(RedbStore::open(path, RedbOptions::default()).expect("the store opens"));
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move { take_steps(store, task).await }));
    }
    for task in tasks {
        task.await.expect("a task runs until it is killed");
    }
}

async fn take_steps(store: Arc<RedbStore>, task: u64) {
    let fleet = Fleet::new();
    let devices = task * DEVICES_PER_TASK..(task + 1) * DEVICES_PER_TASK;
    let keys: Vec<Key> = devices.clone().map(|ordinal| fleet.key(ordinal)).collect();
    let found = store.load(&keys).await.expect("a load");
    let mut next: Vec<u64> =
        found.iter().map(|it| it.as_ref().map_or(0, |stored| stored.version.0)).collect();
    loop {
        // A varying part of the devices in each call, so that units share commits in many ways.
        let count = fastrand::usize(1..=next.len());
        let chosen: Vec<usize> =
            (0..next.len()).cycle().skip(fastrand::usize(..next.len())).take(count).collect();
        let ordinal = |index: usize| devices.start + index as u64;
        let units = chosen.iter().map(|index| step_unit(&fleet, ordinal(*index), next[*index])).collect();
        let outcomes = store.commit(units).await.expect("a commit");
        let mut lines = String::new();
        for (index, outcome) in chosen.into_iter().zip(outcomes) {
            assert_eq!(outcome, Outcome::Committed, "nobody else takes steps with these devices");
            lines.push_str(&format!("{} {}\n", ordinal(index), next[index]));
            next[index] += 1;
        }
        std::io::stdout().lock().write_all(lines.as_bytes()).expect("the parent listens");
    }
}

/// The parent: so many rounds of killing and comparing, on one file. `child` starts the child with the file.
///
/// # Panics
/// At the first thing that does not fit, with the seed of the run printed before.
pub async fn rounds(rounds: u64, seed: u64, path: &Path, child: impl Fn() -> Command) -> Seen {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = BTreeMap::new();
    let mut seen = Seen::default();
    for _ in 0..rounds {
        let life = Duration::from_micros(random.u64(..LIFE_MS_MAX * 1000));
        seen.acknowledged += run_and_kill(child(), life, &mut acknowledged);
        let started = Instant::now();
        let store = RedbStore::open(path, RedbOptions::default()).expect("the store opens after a crash");
        seen.open_ms_max = seen.open_ms_max.max(started.elapsed().as_millis());
        seen.unseen += compare(&store, &mut acknowledged).await;
        seen.rounds += 1;
    }
    seen
}

/// Runs a child for so long after its first word, and notes what it was told to be durable.
fn run_and_kill(mut command: Command, life: Duration, acknowledged: &mut BTreeMap<u64, u64>) -> u64 {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the child starts");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let (said, heard) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines() {
            // A line that the kill cut short is no acknowledgement.
            let Ok(line) = line else { break };
            if said.send(line).is_err() {
                break;
            }
        }
    });
    let mut lines = vec![heard.recv().expect("the child takes a first step")];
    let deadline = Instant::now() + life;
    while let Some(left) = deadline.checked_duration_since(Instant::now())
        && let Ok(line) = heard.recv_timeout(left)
    {
        lines.push(line);
    }
    assert!(child.try_wait().expect("the child is ours").is_none(), "the child runs until it is killed");
    child.kill().expect("the child is there");
    child.wait().expect("the child ends");
    reader.join().expect("the reader ends with the pipe");
    lines.extend(heard.try_iter());
    let mut count = 0;
    for line in lines {
        let mut words = line.split(' ').map(str::parse::<u64>);
        if let (Some(Ok(ordinal)), Some(Ok(step)), None) = (words.next(), words.next(), words.next()) {
            let last = acknowledged.entry(ordinal).or_default();
            *last = (*last).max(step);
            count += 1;
        }
    }
    count
}

/// Compares the store with what was acknowledged and with itself. Says how many steps were there beyond that, and
/// takes them in.
async fn compare(store: &dyn FleetStore, acknowledged: &mut BTreeMap<u64, u64>) -> u64 {
    let fleet = Fleet::new();
    let devices = all(store, &Query::table(Table::Device)).await;
    let mut unseen = 0;
    let mut recount: BTreeMap<CounterKey, i64> = BTreeMap::new();
    let mut audited = 0;
    for (key, stored) in &devices {
        let Record::Device(device) = &stored.record else { panic!("{key} is a device") };
        let step = stored.version.0 - 1;
        assert_eq!(*device, device_at(&fleet, device.ordinal, step), "{key} is whole at its version");
        let last = acknowledged.entry(device.ordinal).or_default();
        assert!(step >= *last, "{key} was acknowledged at step {last} and is at step {step}");
        unseen += step - *last;
        *last = step;
        *recount.entry(fleet.heard(device.heard, 1).key).or_default() += 1;
        *recount.entry(CounterKey::Devices { product: fleet.product().clone() }).or_default() += 1;
        audited += step / AUDITED + 1;
    }
    assert_eq!(devices.len(), acknowledged.len(), "every acknowledged device is there");

    let mut counters = store.counters(&CounterPrefix::Devices).await.expect("counters");
    counters.extend(store.counters(&CounterPrefix::Heard(fleet.product().clone())).await.expect("counters"));
    assert_eq!(counters.into_iter().collect::<BTreeMap<_, _>>(), recount, "counters equal a recount");

    for index in [Index::DeviceBucket, Index::DeviceOrdinal, Index::DeviceTag] {
        let mut found = all(store, &Query::under(IndexEntry::new(index))).await;
        found.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, devices, "{index:?} finds every device once, as it is");
    }
    for (key, stored) in &devices {
        let Record::Device(device) = &stored.record else { continue };
        let place = IndexEntry::new(Index::DeviceTag).text(device.product.as_str()).text(&device.tags[0]);
        let found = all(store, &Query::under(place)).await;
        assert!(found.iter().any(|(other, _)| other == key), "{key} is found in its place");
    }

    let mut previous = AuditHash::default();
    let mut from = 1;
    loop {
        let entries = store.audit(from, 1000).await.expect("audit entries");
        let Some(last) = entries.last() else { break };
        let next = last.sequence + 1;
        for entry in &entries {
            assert!(
                entry.is_intact() && entry.previous == previous && entry.sequence == from,
                "the chain holds"
            );
            previous = entry.hash;
            from += 1;
        }
        assert_eq!(from, next);
    }
    assert_eq!(from - 1, audited, "the chain has an entry for each step that leaves one");
    unseen
}

async fn all(store: &dyn FleetStore, query: &Query) -> Vec<(Key, Stored)> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(query, after.as_ref(), 1000).await.expect("a page");
        found.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}
