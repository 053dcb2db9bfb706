//! The fleet's store in redb: durable check-ins and attempts beside bare loops, and what a million devices cost.
//!
//! `-- SIZE...` chooses how many devices to load (1000000 unless said otherwise).

mod attempts;

use core::hint::black_box;
use core::time::Duration;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use ota_core::fleet::{FleetStore, Index, IndexEntry, PreparedUnit, Query, Unit, Version};
use ota_core::time::Timestamp;
use ota_sim::store_load::Fleet;
use ota_storage::redb::{RedbOptions, RedbStore};
use redb::{Database, TableDefinition};

/// Devices among which the check-ins of the comparison are spread.
const FLEET: u64 = 100_000;
/// Pairs of runs for each batch size; the median of their ratios counts.
const PAIRS: usize = 7;
/// How much one commit takes in.
const BATCHES: [usize; 4] = [1, 16, 256, 4096];
/// How long one run lasts at least.
const RUN: Duration = Duration::from_millis(700);
const T0: Timestamp = Timestamp(1_800_000_000_000);
const HOUR_MS: u64 = 3_600_000;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, path] = arguments.as_slice()
        && command == "hold"
    {
        return hold(Path::new(path)).await;
    }
    let mut sizes: Vec<u64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes.push(1_000_000);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    println!("<!-- bench: store -->");
    compare(folder.path()).await;
    println!();
    compare_attempts(folder.path()).await;
    println!();
    scale(folder.path(), &sizes).await;
    println!("<!-- /bench -->");
}

/// Check-ins through the store beside the same rows written by a bare loop.
async fn compare(folder: &Path) {
    let fleet = Fleet::new();
    let store = RedbStore::open(folder.join("ours"), RedbOptions::default()).expect("a store");
    load(&store, &fleet, FLEET).await;
    let mut ours =
        Ours { fleet, store, heard: vec![(Version(1), T0); usize::try_from(FLEET).expect("small")], next: 0 };
    let mut bare = Bare::open(&folder.join("bare"), &ours.fleet);
    println!(
        "Durable check-ins per second: medians of {PAIRS} pairs of runs, {FLEET} devices, quick repair on."
    );
    println!();
    side_by_side("check-ins", async |batch| ours.commit(batch).await, |batch| bare.commit(batch)).await;
    let rate = callers(ours).await;
    println!();
    println!("512 callers at once with one check-in each share commits: {rate:.0} check-ins per second.");
}

/// Steps of attempts through the store beside the same rows written by a bare loop.
async fn compare_attempts(folder: &Path) {
    let mut ours = attempts::Stored::open(&folder.join("attempts"), FLEET, T0).await;
    let mut bare = attempts::Bare::open(&folder.join("bare attempts"), FLEET, T0);
    let steps = attempts::WAY.len();
    println!(
        "Durable steps of attempts per second, {steps} to an attempt: the device, its attempt with two places, and \
         counters. The same conditions."
    );
    println!();
    side_by_side("steps", async |batch| ours.commit(batch).await, |batch| bare.commit(batch)).await;
}

/// Prints a table of both, in pairs of runs for each size of a commit; each returns how long one commit took.
async fn side_by_side(
    what: &str,
    mut store: impl AsyncFnMut(usize) -> Duration,
    mut bare: impl FnMut(usize) -> Duration,
) {
    println!("| {what} in a commit | store | bare loop, same rows | ratio |");
    println!("|---:|---:|---:|---:|");
    for batch in BATCHES {
        let mut runs = Vec::new();
        for _ in 0..PAIRS {
            let ours = rate(batch, &mut store).await;
            runs.push((ours, rate(batch, async |batch| bare(batch)).await));
        }
        tell(batch, &runs);
    }
}

/// Prints a line of medians: the store's rates, the loop's, and those of the pairs' ratios.
fn tell(batch: usize, runs: &[(f64, f64)]) {
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (store, bare) = (median(|it| it.0), median(|it| it.1));
    println!("| {batch} | {store:.0} | {bare:.0} | {:.2} |", median(|it| it.0 / it.1));
}

/// What was committed per second of a run, of which only the commits count.
async fn rate(batch: usize, mut commit: impl AsyncFnMut(usize) -> Duration) -> f64 {
    let mut spent = Duration::ZERO;
    let mut done = 0_u32;
    while spent < RUN {
        spent += commit(batch).await;
        done += u32::try_from(batch).expect("small");
    }
    f64::from(done) / spent.as_secs_f64()
}

struct Ours {
    fleet: Fleet,
    store: RedbStore,
    heard: Vec<(Version, Timestamp)>,
    next: usize,
}

impl Ours {
    fn units(&mut self, batch: usize) -> Vec<Unit> {
        (0..batch).map(|_| self.unit()).collect()
    }

    fn unit(&mut self) -> Unit {
        let ordinal = self.next;
        self.next = (self.next + 7919) % self.heard.len();
        let (version, before) = self.heard[ordinal];
        let now = before.plus(ota_core::time::Millis(HOUR_MS));
        self.heard[ordinal] = (Version(version.0 + 1), now);
        self.fleet.check_in(ordinal as u64, version, before, now)
    }

    async fn commit(&mut self, batch: usize) -> Duration {
        let units = self.units(batch);
        let started = Instant::now();
        black_box(self.store.commit(units).await.expect("a commit"));
        started.elapsed()
    }
}

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const COUNTERS: TableDefinition<'_, &[u8], i64> = TableDefinition::new("counters");

/// What somebody would write who only wants these rows on the disk.
struct Bare {
    database: Database,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    next: usize,
    hour: u64,
}

impl Bare {
    fn open(path: &Path, fleet: &Fleet) -> Self {
        let database = Database::builder()
            .set_cache_size(RedbOptions::default().cache_bytes)
            .create(path)
            .expect("a database");
        let rows: Vec<(Vec<u8>, Vec<u8>)> = (0..FLEET)
            .map(|ordinal| {
                let unit = PreparedUnit::new(fleet.registration(ordinal, T0)).expect("a unit");
                let key = [&[2][..], &unit.expects[0].1].concat();
                let record = unit.writes[0].after.clone().expect("a record");
                (key, [&[1][..], &record].concat())
            })
            .collect();
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut table = transaction.open_table(RECORDS).expect("a table");
            for (key, value) in &rows {
                table.insert(key.as_slice(), value.as_slice()).expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
        Self { database, rows, next: 0, hour: 0 }
    }

    fn commit(&mut self, batch: usize) -> Duration {
        let started = Instant::now();
        let mut transaction = self.database.begin_write().expect("a transaction");
        transaction.set_quick_repair(true);
        {
            let mut records = transaction.open_table(RECORDS).expect("a table");
            for _ in 0..batch {
                let (key, value) = &mut self.rows[self.next];
                value[0] = value[0].wrapping_add(1);
                records.insert(key.as_slice(), value.as_slice()).expect("an insert");
                self.next = (self.next + 7919) % self.rows.len();
            }
            let mut counters = transaction.open_table(COUNTERS).expect("a table");
            self.hour += 1;
            for hour in [self.hour, self.hour + 1] {
                let key = [&b"\x03pump-x200\0"[..], &hour.to_be_bytes()[4..]].concat();
                counters.insert(key.as_slice(), 1).expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
        started.elapsed()
    }
}

/// Check-ins per second when each comes from a caller of its own.
async fn callers(mut ours: Ours) -> f64 {
    const CALLERS: usize = 512;
    const ROUNDS: usize = 40;
    let units = ours.units(CALLERS * ROUNDS);
    let store = std::sync::Arc::new(ours.store);
    let started = Instant::now();
    let calls: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let store = std::sync::Arc::clone(&store);
            let mine: Vec<Unit> = units.iter().skip(caller).step_by(CALLERS).cloned().collect();
            tokio::spawn(async move {
                for unit in mine {
                    store.commit(vec![unit]).await.expect("a commit");
                }
            })
        })
        .collect();
    for call in calls {
        call.await.expect("a caller");
    }
    (CALLERS * ROUNDS) as f64 / started.elapsed().as_secs_f64()
}

async fn load(store: &RedbStore, fleet: &Fleet, count: u64) {
    const BATCH: u64 = 16_384;
    let mut first = 0;
    while first < count {
        let end = (first + BATCH).min(count);
        let units = (first..end).map(|ordinal| fleet.registration(ordinal, T0)).collect();
        store.commit(units).await.expect("a commit");
        first = end;
    }
}

/// Loading many devices, what they take up, and how soon the store is there again after SIGKILL.
async fn scale(folder: &Path, sizes: &[u64]) {
    println!(
        "| devices | loaded in | a second | bytes per device | after `compact` | it took | open after SIGKILL | memory |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for size in sizes {
        let path = folder.join(size.to_string());
        let fleet = Fleet::new();
        let started = Instant::now();
        let store = RedbStore::open(&path, RedbOptions::default()).expect("a store");
        load(&store, &fleet, *size).await;
        let loaded = started.elapsed();
        let before = bytes_per_device(&path, *size);
        let started = Instant::now();
        store.compact().await.expect("compaction");
        let compacted = started.elapsed();
        let after = bytes_per_device(&path, *size);
        drop(store);
        let opened = open_after_kill(&path).await;
        println!(
            "| {size} | {:.1} s | {:.0} | {before:.0} | {after:.0} | {:.1} s | {:.0} ms | {} MiB |",
            loaded.as_secs_f64(),
            *size as f64 / loaded.as_secs_f64(),
            compacted.as_secs_f64(),
            opened.as_secs_f64() * 1000.0,
            memory_peak_mib(),
        );
        std::fs::remove_file(&path).expect("the file");
    }
}

fn bytes_per_device(path: &Path, devices: u64) -> f64 {
    std::fs::metadata(path).expect("the file").len() as f64 / devices as f64
}

/// The most memory that this process has had, as the kernel tells it.
fn memory_peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// Kills a process in the middle of its commits, and opens what it leaves.
async fn open_after_kill(path: &PathBuf) -> Duration {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .arg("hold")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program again");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    for _ in 0..20 {
        lines.next().expect("a line for each commit").expect("a line");
    }
    child.kill().expect("the child is there");
    child.wait().expect("the child ends");
    let started = Instant::now();
    let store = RedbStore::open(path, RedbOptions::default()).expect("the store opens");
    let first = Query::under(IndexEntry::new(Index::DeviceOrdinal));
    let page = store.scan(&first, None, 100).await.expect("a page");
    assert_eq!(page.items.len(), 100, "the store answers");
    started.elapsed()
}

/// Commits check-ins until it is killed, saying so after each.
async fn hold(path: &Path) {
    let store = RedbStore::open(path, RedbOptions::default()).expect("a store");
    let fleet = Fleet::new();
    let mut before = T0;
    for version in 1.. {
        let now = before.plus(ota_core::time::Millis(HOUR_MS));
        let units = (0..64).map(|ordinal| fleet.check_in(ordinal, Version(version), before, now)).collect();
        store.commit(units).await.expect("a commit");
        println!("{version}");
        before = now;
    }
}
