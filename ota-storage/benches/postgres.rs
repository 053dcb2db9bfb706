//! The fleet's store in Postgres: durable check-ins beside a bare loop on the same tables, with one to three servers.
//!
//! `-- DEVICES` chooses how many devices to load (100000 unless said otherwise).

// What the store's benchmark in the simulator writes, too; the library cannot know the simulator.
#[path = "../tests/postgres/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
mod server;
#[path = "../../sim/src/store_load.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
mod store_load;

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use ota_core::fleet::records::Device;
use ota_core::fleet::{FleetStore, Index, IndexEntry, Outcome, PreparedUnit, Query, Unit, Version};
use ota_core::time::{Millis, Timestamp};
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use server::Postgres;
use store_load::Fleet;
use tokio_postgres::{Client, NoTls, Statement};

const T0: Timestamp = Timestamp(1_800_000_000_000);
const HOUR_MS: u64 = 3_600_000;
/// Pairs of runs; the median of their ratios counts.
const PAIRS: usize = 3;
/// How long one run lasts at least.
const RUN: Duration = Duration::from_millis(1500);
/// Calls under way at once in each of several servers, and check-ins in each.
const CALLERS: u64 = 4;
const BATCH: u64 = 256;

const UPDATE: &str = "UPDATE ota.device AS r SET version = u.after, body = u.body \
    FROM unnest($1::int2[], $2::bytea[], $3::int8[], $4::bytea[]) AS u (shard, key, after, body) \
    WHERE r.shard = u.shard AND r.key = u.key";
const COUNT: &str = "INSERT INTO ota.counter AS c (key, lane, value) \
    SELECT u.key, $3::int2, u.change FROM unnest($1::bytea[], $2::int8[]) AS u (key, change) \
    ON CONFLICT (key, lane) DO UPDATE SET value = c.value + excluded.value";

#[tokio::main]
async fn main() {
    let devices = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let Some(postgres) = Postgres::start_durable() else { return };
    let url = postgres.database("bench");
    let store = connect(&url).await;
    println!("<!-- bench: postgres -->");
    load(&store, &url, devices).await;
    one_caller(&store, &url, devices).await;
    servers(&url, devices).await;
    println!("<!-- /bench -->");
}

async fn connect(url: &str) -> PostgresStore {
    PostgresStore::connect(url, PostgresOptions::default()).await.expect("a store")
}

async fn load(store: &PostgresStore, url: &str, devices: u64) {
    let fleet = Fleet::new();
    let started = Instant::now();
    let parts: Vec<u64> = (0..devices).step_by(2048).collect();
    for several in parts.chunks(4) {
        let commits = several.iter().map(|first| {
            let units = (*first..devices.min(first + 2048)).map(|ordinal| fleet.registration(ordinal, T0));
            store.commit(units.collect())
        });
        for outcomes in join_all(commits).await {
            assert!(outcomes.expect("a commit").iter().all(|it| *it == Outcome::Committed));
        }
    }
    let spent = started.elapsed().as_secs_f64();
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let size = "SELECT sum(pg_total_relation_size(c.oid))::int8 FROM pg_class AS c \
                JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'ota' AND c.relkind = 'r'";
    let bytes: i64 = client.query_one(size, &[]).await.expect("a size").get(0);
    let first = Query::under(IndexEntry::new(Index::DeviceOrdinal));
    let started = Instant::now();
    let page = store.scan(&first, None, 100).await.expect("a page");
    assert_eq!(page.items.len(), 100);
    println!(
        "{devices} devices are registered in {spent:.1} s ({:.0} per second), take {:.0} bytes of disk each, and a \
         page of 100 of them in order takes {:.1} ms.\n",
        devices as f64 / spent,
        bytes as f64 / devices as f64,
        started.elapsed().as_secs_f64() * 1000.0,
    );
}

/// Check-ins of some of the devices, one batch after the other.
struct Ours<'s> {
    store: &'s PostgresStore,
    fleet: Fleet,
    devices: Vec<(u64, Version, Timestamp)>,
    next: usize,
}

impl<'s> Ours<'s> {
    async fn new(store: &'s PostgresStore, ordinals: impl Iterator<Item = u64>) -> Self {
        let fleet = Fleet::new();
        let ordinals: Vec<u64> = ordinals.collect();
        let mut devices = Vec::new();
        for part in ordinals.chunks(4096) {
            let keys: Vec<_> = part.iter().map(|ordinal| fleet.key(*ordinal)).collect();
            let found = store.load(&keys).await.expect("a load");
            for (ordinal, found) in part.iter().zip(found) {
                let found = found.expect("it was registered");
                let ota_core::fleet::Record::Device(device) = found.record else { panic!("a device") };
                devices.push((*ordinal, found.version, device.heard));
            }
        }
        Self { store, fleet, devices, next: 0 }
    }

    async fn commit(&mut self, batch: u64) -> Duration {
        let mut units: Vec<Unit> = Vec::new();
        for _ in 0..batch {
            let (ordinal, version, heard) = &mut self.devices[self.next];
            let now = heard.plus(Millis(HOUR_MS));
            units.push(self.fleet.check_in(*ordinal, *version, *heard, now));
            (*version, *heard) = (Version(version.0 + 1), now);
            self.next = (self.next + 1) % self.devices.len();
        }
        let started = Instant::now();
        let outcomes = self.store.commit(units).await.expect("a commit");
        let spent = started.elapsed();
        assert!(outcomes.iter().all(|it| *it == Outcome::Committed));
        spent
    }
}

/// What somebody would write who only wants these rows on the disk.
struct Bare {
    client: Client,
    update: Statement,
    count: Statement,
    lane: i16,
    rows: Vec<(i16, Vec<u8>, Vec<u8>)>,
    counters: Vec<Vec<u8>>,
    version: i64,
    next: usize,
}

impl Bare {
    async fn new(url: &str, ordinals: impl Iterator<Item = u64>, lane: i16) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        // The same plans as ours, or the comparison would be one of planners.
        let plans = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
                     SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";
        client.batch_execute(plans).await.expect("settings");
        let fleet = Fleet::new();
        let rows = ordinals.map(|ordinal| {
            let unit = PreparedUnit::new(fleet.registration(ordinal, T0)).expect("a unit");
            let shard = Device::bucket_of(&fleet.id(ordinal)).cast_signed();
            (shard, unit.expects[0].1.clone(), unit.writes[0].after.clone().expect("a record"))
        });
        let rows = rows.collect();
        let counters = [-1, 1].map(|by| fleet.heard(Timestamp(T0.0 + HOUR_MS), by).key.to_bytes()).to_vec();
        let (update, count) = (
            client.prepare(UPDATE).await.expect("a statement"),
            client.prepare(COUNT).await.expect("another"),
        );
        Self { client, update, count, lane, rows, counters, version: 1_000_000, next: 0 }
    }

    async fn commit(&mut self, batch: u64) -> Duration {
        let started = Instant::now();
        self.version += 1;
        let (mut shards, mut keys, mut versions, mut bodies) = (vec![], vec![], vec![], vec![]);
        for _ in 0..batch {
            let (shard, key, body) = &self.rows[self.next];
            shards.push(*shard);
            keys.push(key.as_slice());
            versions.push(self.version);
            bodies.push(body.as_slice());
            self.next = (self.next + 1) % self.rows.len();
        }
        self.client.batch_execute("BEGIN").await.expect("begin");
        let done = self.client.execute(&self.update, &[&shards, &keys, &versions, &bodies]).await;
        assert_eq!(done.expect("an update"), batch);
        let counters: Vec<&[u8]> = self.counters[..1].iter().map(Vec::as_slice).collect();
        let by = vec![i64::try_from(batch).expect("small")];
        self.client.execute(&self.count, &[&counters, &by, &self.lane]).await.expect("counters");
        self.client.batch_execute("COMMIT").await.expect("commit");
        started.elapsed()
    }
}

/// Check-ins per second of a run, of which only the commits count.
async fn rate(batch: u64, mut commit: impl AsyncFnMut(u64) -> Duration) -> f64 {
    let (mut spent, mut done) = (Duration::ZERO, 0);
    while spent < RUN {
        spent += commit(batch).await;
        done += batch;
    }
    done as f64 / spent.as_secs_f64()
}

/// The medians of pairs: ours, theirs, and their ratio.
fn medians(mut pairs: Vec<(f64, f64)>) -> String {
    pairs.sort_by(|one, other| (one.0 / one.1).total_cmp(&(other.0 / other.1)));
    let (ours, bare) = pairs[pairs.len() / 2];
    format!("{ours:.0} | {bare:.0} | {:.2}", ours / bare)
}

async fn one_caller(store: &PostgresStore, url: &str, devices: u64) {
    println!("Durable check-ins per second of one caller, beside a bare loop on the same tables:\n");
    println!("| check-ins in a commit | store | bare loop | ratio |\n|---:|---:|---:|---:|");
    // Each has devices of its own: the bare loop checks no version, and writes none that the other could expect.
    let mut ours = Ours::new(store, 0..devices / 4).await;
    let mut bare = Bare::new(url, devices / 4..devices / 2, 16).await;
    for batch in [1, 16, 256, 4096] {
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let ours = rate(batch, async |batch| ours.commit(batch).await).await;
            pairs.push((ours, rate(batch, async |batch| bare.commit(batch).await).await));
        }
        println!("| {batch} | {} |", medians(pairs));
    }
}

/// Several servers at once, each with several callers, beside as many bare loops.
async fn servers(url: &str, devices: u64) {
    println!("\nThe same with several servers, each with {CALLERS} calls of {BATCH} check-ins under way:\n");
    println!("| servers | stores | bare loops | ratio |\n|---:|---:|---:|---:|");
    let half = devices / 2;
    let share = half / (3 * CALLERS) / 2;
    let part = |caller: u64, side: u64| {
        let first = half + (caller * 2 + side) * share;
        first..first + share
    };
    for servers in 1..=3_u64 {
        let mut stores = Vec::new();
        for _ in 0..servers {
            stores.push(Arc::new(connect(url).await));
        }
        let callers = servers * CALLERS;
        let mut ours = Vec::new();
        let mut bare = Vec::new();
        for caller in 0..callers {
            let store: &PostgresStore = &stores[usize::try_from(caller % servers).expect("small")];
            ours.push(Ours::new(store, part(caller, 0)).await);
            bare.push(Bare::new(url, part(caller, 1), 16 + i16::try_from(caller).expect("small")).await);
        }
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let runs = ours.iter_mut().map(|it| rate(BATCH, async |batch| it.commit(batch).await));
            let sum_ours: f64 = join_all(runs).await.into_iter().sum();
            let runs = bare.iter_mut().map(|it| rate(BATCH, async |batch| it.commit(batch).await));
            pairs.push((sum_ours, join_all(runs).await.into_iter().sum()));
        }
        println!("| {servers} | {} |", medians(pairs));
    }
}
