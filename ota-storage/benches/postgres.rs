//! The fleet's store in Postgres: durable check-ins beside a bare loop on the same tables, with one to three servers, and
//! how each figure grows with the fleet.
//!
//! `-- DEVICES...` chooses how many devices to load, one fleet after the other (10000 and 100000 unless said otherwise);
//! check-ins are compared on the last. Either side has what it writes ready before the clock runs, does the same number
//! of commits, and is timed from the first to the end of the last one.

// What the store's benchmark in the simulator writes, too; the library cannot know the simulator.
#[path = "../tests/postgres/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
mod server;
#[path = "../../sim/src/store_load.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
mod store_load;

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use ota_core::fleet::records::Device;
use ota_core::fleet::{
    CounterPrefix, FleetStore, Index, IndexEntry, Outcome, PreparedUnit, Query, Record, Unit, Version,
};
use ota_core::time::{Millis, Timestamp};
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use server::Postgres;
use store_load::Fleet;
use tokio_postgres::{Client, NoTls, Statement};

const T0: Timestamp = Timestamp(1_800_000_000_000);
const HOUR_MS: u64 = 3_600_000;
/// Pairs of runs; the median of their ratios counts.
const PAIRS: usize = 5;
/// How many check-ins one caller commits together, and how many such commits a run has.
const RUNS: [(usize, usize); 4] = [(1, 100), (16, 100), (256, 40), (4096, 6)];
/// Calls under way at once in each of several servers, and check-ins in each.
const CALLERS: u64 = 4;
const BATCH: usize = 256;
const COMMITS: usize = 20;

const UPDATE: &str = "UPDATE ota.device AS r SET version = u.after, body = u.body \
    FROM unnest($1::int2[], $2::bytea[], $3::int8[], $4::bytea[]) AS u (shard, key, after, body) \
    WHERE r.shard = u.shard AND r.key = u.key";
const COUNT: &str = "INSERT INTO ota.counter AS c (key, lane, value) \
    SELECT u.key, $3::int2, u.change FROM unnest($1::bytea[], $2::int8[]) AS u (key, change) \
    ON CONFLICT (key, lane) DO UPDATE SET value = c.value + excluded.value";
const SIZE: &str = "SELECT sum(pg_total_relation_size(c.oid))::int8 FROM pg_class AS c \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'ota' AND c.relkind = 'r'";

#[tokio::main]
async fn main() {
    let mut sizes: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000];
    }
    let Some(postgres) = Postgres::start_durable() else { return };
    println!("<!-- bench: postgres -->");
    println!("How the store grows; milliseconds are medians of {QUESTIONS} questions.\n");
    println!(
        "| devices | registered per second | bytes of disk each | overview of a product, ms | one device, ms | \
         page of 100 devices, ms | check-ins per second, {CALLERS} calls of {BATCH} |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    let mut last = None;
    for devices in sizes {
        let url = postgres.database(&format!("bench{devices}"));
        let store = connect(&url).await;
        growth(&store, &url, devices).await;
        last = Some((store, url, devices));
    }
    if let Some((store, url, devices)) = last {
        one_caller(&store, &url, devices).await;
        servers(&url, devices).await;
    }
    println!("<!-- /bench -->");
}

async fn connect(url: &str) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::connect(url, PostgresOptions::default()).await.expect("a store"))
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// Loads a fleet and asks what people and devices ask, as one row of the first table.
async fn growth(store: &Arc<PostgresStore>, url: &str, devices: u64) {
    let registered = load(store, devices).await;
    let bytes: i64 = client(url).await.query_one(SIZE, &[]).await.expect("a size").get(0);
    let fleet = Fleet::new();
    let product = fleet.product().clone();
    let overview = median_ms(async |_| {
        for of in [
            CounterPrefix::Devices,
            CounterPrefix::Installed(product.clone()),
            CounterPrefix::Heard(product.clone()),
        ] {
            store.counters(&of).await.expect("counters");
        }
    });
    let overview = overview.await;
    let device = median_ms(async |question| {
        let ordinal = question * (devices / QUESTIONS);
        assert!(store.load(&[fleet.key(ordinal)]).await.expect("a load")[0].is_some());
    });
    let device = device.await;
    let page = median_ms(async |_| {
        let all = Query::under(IndexEntry::new(Index::DeviceOrdinal));
        assert_eq!(store.scan(&all, None, 100).await.expect("a page").items.len(), 100);
    });
    let page = page.await;
    let share = devices / CALLERS;
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        callers
            .push(Ours::new(Arc::clone(store), caller * share..(caller + 1) * share, BATCH, COMMITS).await);
    }
    let (_, spent) = together(callers, Ours::run).await;
    let check_ins = (CALLERS as usize * BATCH * COMMITS) as f64 / spent.as_secs_f64();
    println!(
        "| {devices} | {registered:.0} | {:.0} | {overview:.1} | {device:.1} | {page:.1} | {check_ins:.0} |",
        bytes as f64 / devices as f64,
    );
}

/// Devices per second that are registered.
async fn load(store: &PostgresStore, devices: u64) -> f64 {
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
    devices as f64 / started.elapsed().as_secs_f64()
}

const QUESTIONS: u64 = 31;

async fn median_ms(question: impl AsyncFn(u64)) -> f64 {
    let mut spent = Vec::new();
    for number in 0..QUESTIONS {
        let started = Instant::now();
        question(number).await;
        spent.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    spent.sort_by(f64::total_cmp);
    spent[spent.len() / 2]
}

/// Check-ins of some of the devices, made before the clock runs.
struct Ours {
    store: Arc<PostgresStore>,
    ready: VecDeque<Vec<Unit>>,
}

impl Ours {
    async fn new(
        store: Arc<PostgresStore>,
        ordinals: impl Iterator<Item = u64>,
        batch: usize,
        commits: usize,
    ) -> Self {
        let fleet = Fleet::new();
        let ordinals: Vec<u64> = ordinals.collect();
        let mut devices = Vec::new();
        for part in ordinals[..ordinals.len().min(batch * commits)].chunks(4096) {
            let keys: Vec<_> = part.iter().map(|ordinal| fleet.key(*ordinal)).collect();
            let found = store.load(&keys).await.expect("a load");
            for (ordinal, found) in part.iter().zip(found) {
                let found = found.expect("it was registered");
                let Record::Device(device) = found.record else { panic!("a device") };
                devices.push((*ordinal, found.version, device.heard));
            }
        }
        let mut next = 0;
        let mut unit = || {
            let (ordinal, version, heard) = &mut devices[next];
            let now = heard.plus(Millis(HOUR_MS));
            let unit = fleet.check_in(*ordinal, *version, *heard, now);
            (*version, *heard) = (Version(version.0 + 1), now);
            next = (next + 1) % devices.len();
            unit
        };
        let ready = (0..commits).map(|_| (0..batch).map(|_| unit()).collect()).collect();
        Self { store, ready }
    }

    async fn run(mut self) -> Self {
        while let Some(units) = self.ready.pop_front() {
            let outcomes = self.store.commit(units).await.expect("a commit");
            assert!(outcomes.iter().all(|it| *it == Outcome::Committed));
        }
        self
    }
}

/// What somebody would write who only wants these rows on the disk: it has their bytes, and checks nothing.
struct Bare {
    client: Client,
    update: Statement,
    count: Statement,
    lane: i16,
    rows: Vec<(i16, Vec<u8>, Vec<u8>)>,
    counters: Vec<Vec<u8>>,
    version: i64,
    next: usize,
    batch: usize,
    commits: usize,
}

impl Bare {
    async fn new(url: &str, ordinals: impl Iterator<Item = u64>, lane: i16) -> Self {
        let client = client(url).await;
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
        let counters = [0, HOUR_MS].map(|ms| fleet.heard(Timestamp(T0.0 + ms), 1).key.to_bytes()).to_vec();
        let (update, count) = (
            client.prepare(UPDATE).await.expect("a statement"),
            client.prepare(COUNT).await.expect("another"),
        );
        Self {
            client,
            update,
            count,
            lane,
            rows,
            counters,
            version: 1_000_000,
            next: 0,
            batch: BATCH,
            commits: COMMITS,
        }
    }

    async fn run(mut self) -> Self {
        // Every run begins with the same device, on either side.
        self.next = 0;
        for _ in 0..self.commits {
            self.commit().await;
        }
        self
    }

    async fn commit(&mut self) {
        self.version += 1;
        let (mut shards, mut keys, mut versions, mut bodies) = (vec![], vec![], vec![], vec![]);
        for _ in 0..self.batch {
            let (shard, key, body) = &self.rows[self.next];
            shards.push(*shard);
            keys.push(key.as_slice());
            versions.push(self.version);
            bodies.push(body.as_slice());
            self.next = (self.next + 1) % self.rows.len();
        }
        self.client.batch_execute("BEGIN").await.expect("begin");
        let done = self.client.execute(&self.update, &[&shards, &keys, &versions, &bodies]).await;
        assert_eq!(usize::try_from(done.expect("an update")), Ok(self.batch));
        let by = i64::try_from(self.batch).expect("small");
        self.client
            .execute(&self.count, &[&self.counters, &[-by, by].as_slice(), &self.lane])
            .await
            .expect("counters");
        self.client.batch_execute("COMMIT").await.expect("commit");
    }
}

/// Runs all at once, each in a task of its own, and says how long it took until the last was done.
async fn together<T: Send + 'static, F>(callers: Vec<T>, run: impl Fn(T) -> F) -> (Vec<T>, Duration)
where
    F: Future<Output = T> + Send + 'static,
{
    let started = Instant::now();
    let tasks: Vec<_> = callers.into_iter().map(|caller| tokio::spawn(run(caller))).collect();
    let callers = join_all(tasks).await.into_iter().map(|caller| caller.expect("a caller")).collect();
    (callers, started.elapsed())
}

/// The medians of pairs of times for so many check-ins: ours, theirs, and their ratio.
fn medians(check_ins: usize, mut pairs: Vec<(Duration, Duration)>) -> String {
    let ratio = |(ours, bare): &(Duration, Duration)| bare.as_secs_f64() / ours.as_secs_f64();
    pairs.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
    let pair = &pairs[pairs.len() / 2];
    let rate = |spent: Duration| check_ins as f64 / spent.as_secs_f64();
    format!("{:.0} | {:.0} | {:.2}", rate(pair.0), rate(pair.1), ratio(pair))
}

async fn one_caller(store: &Arc<PostgresStore>, url: &str, devices: u64) {
    println!("\nDurable check-ins per second of one caller, beside a bare loop on the same tables:\n");
    println!("| check-ins in a commit | store | bare loop | ratio |\n|---:|---:|---:|---:|");
    // Each has devices of its own: the bare loop checks no version, and writes none that the other could expect.
    let mut bare = vec![Bare::new(url, devices / 4..devices / 2, 16).await];
    for (batch, commits) in RUNS {
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let ours = vec![Ours::new(Arc::clone(store), 0..devices / 4, batch, commits).await];
            let (_, ours) = together(ours, Ours::run).await;
            (bare[0].batch, bare[0].commits) = (batch, commits);
            let (back, spent) = together(bare, Bare::run).await;
            bare = back;
            pairs.push((ours, spent));
        }
        println!("| {batch} | {} |", medians(batch * commits, pairs));
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
            stores.push(connect(url).await);
        }
        let callers = servers * CALLERS;
        let mut bare = Vec::new();
        for caller in 0..callers {
            // Lanes that no store has.
            bare.push(Bare::new(url, part(caller, 1), 1000 + i16::try_from(caller).expect("small")).await);
        }
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let mut ours = Vec::new();
            for caller in 0..callers {
                let store = Arc::clone(&stores[usize::try_from(caller % servers).expect("small")]);
                ours.push(Ours::new(store, part(caller, 0), BATCH, COMMITS).await);
            }
            let (_, ours) = together(ours, Ours::run).await;
            let (back, spent) = together(bare, Bare::run).await;
            bare = back;
            pairs.push((ours, spent));
        }
        let check_ins = usize::try_from(callers).expect("small") * BATCH * COMMITS;
        println!("| {servers} | {} |", medians(check_ins, pairs));
    }
}
