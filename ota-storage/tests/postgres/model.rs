//! Random operations against a plain model, and from several servers at once against what must be true in the end.

use std::collections::BTreeMap;

use ota_core::conformance::memory::MemoryFleetStore;
use ota_core::fleet::records::Setting;
use ota_core::fleet::{
    AuditDraft, AuditHash, CounterChange, CounterKey, CounterPrefix, FleetStore, Key, Outcome, Query, Record,
    Table, Unit, Write,
};
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::conforms::emptied;
use super::server::Postgres;
use crate::shared_model::{Model, units};

#[test]
fn postgres_and_the_reference_do_what_the_model_does() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("model");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let commits = prop::collection::vec(units(), 1..24);
    let outcome = runner.run(&commits, |commits| {
        runtime.block_on(async {
            let postgres = emptied(&url, &PostgresOptions::default()).await;
            let reference = MemoryFleetStore::new();
            let mut model = Model::default();
            for commit in commits {
                let (units, expected) = model.commit(&commit);
                assert_eq!(reference.commit(units.clone()).await.unwrap(), expected);
                assert_eq!(postgres.commit(units).await.unwrap(), expected);
                model.compare(&postgres).await;
                model.compare(&reference).await;
            }
        });
        Ok(())
    });
    outcome.unwrap();
}

/// Servers, callers in each, and what each caller commits.
const SERVERS: usize = 3;
const CALLERS: usize = 2;
const COMMITS: u64 = 20;
/// Records that all of them write: few, so that they meet.
const RECORDS: u64 = 6;

fn key(number: u64) -> Key {
    // Of two families, so that units lock rows of several tables.
    match number % 2 {
        0 => Key::Setting(format!("key {number}").into()),
        _ => Key::Principal(format!("key {number}").into()),
    }
}

fn record(key: &Key, value: u64) -> Record {
    let mut bytes = Vec::new();
    match key {
        Key::Principal(_) => {
            // As the first version of the record was stored.
            let mut encoder = minicbor::Encoder::new(&mut bytes);
            let done = encoder.map(3).and_then(|it| it.u8(0)?.str(&value.to_string())?.u8(1)?.array(0));
            done.and_then(|it| it.u8(2)?.bool(false)).unwrap();
            Record::from_bytes(Table::Principal, &bytes).unwrap()
        }
        _ => Record::Setting(Setting { value: value.to_string().into() }),
    }
}

fn counter() -> CounterKey {
    CounterKey::Devices { product: ProductIdBuf::new("pump").unwrap() }
}

/// Raises a few records by one, all or none, as often as it takes; says how many were written.
async fn raise(store: &PostgresStore, random: &mut fastrand::Rng, name: &str) -> BTreeMap<u64, u64> {
    let mut written = BTreeMap::new();
    for number in 0..COMMITS {
        loop {
            let mut chosen: Vec<u64> = (0..RECORDS).collect();
            random.shuffle(&mut chosen);
            let relied = chosen.pop().unwrap();
            chosen.truncate(random.usize(1..4));
            let names: Vec<Key> = chosen.iter().chain([&relied]).map(|number| key(*number)).collect();
            let found = store.load(&names).await.unwrap();
            let versions = found.iter().map(|it| it.as_ref().map(|it| it.version).unwrap_or_default());
            let mut unit = Unit {
                expects: names.iter().cloned().zip(versions).collect(),
                counters: vec![CounterChange { key: counter(), by: 1 }],
                ..Unit::default()
            };
            for ((key, version), before) in unit.expects.iter().zip(&found).take(chosen.len()) {
                let before = before.as_ref().map(|stored| stored.record.clone());
                assert_eq!(before, (version.0 > 0).then(|| record(key, version.0)), "content and version");
                let after = Some(record(key, version.0 + 1));
                unit.writes.push(Write { key: key.clone(), before, after });
            }
            if number.is_multiple_of(4) {
                unit.audit.push(AuditDraft {
                    at: Timestamp(number),
                    principal: name.into(),
                    action: "raise".into(),
                    subject: number.to_string(),
                    product: String::new(),
                    detail: "{}".into(),
                });
            }
            // A second unit of the same commit that is stale if the first succeeds, and hinders nobody.
            let second = Unit { audit: Vec::new(), ..unit.clone() };
            let outcomes = store.commit(vec![unit, second]).await.unwrap();
            if outcomes[0] == Outcome::Committed {
                assert_ne!(outcomes[1], Outcome::Committed);
                chosen.iter().for_each(|number| *written.entry(*number).or_default() += 1);
                break;
            }
            // Records that were relied on and not written are the same for both.
            assert_ne!(outcomes[1], Outcome::Committed);
        }
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_servers_at_once_lose_nothing_and_do_nothing_twice() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("several_servers");
    let first = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
    let mut servers = vec![std::sync::Arc::new(first)];
    for _ in 1..SERVERS {
        let store = PostgresStore::connect(&url, PostgresOptions::default()).await;
        servers.push(std::sync::Arc::new(store.unwrap()));
    }
    let mut callers = Vec::new();
    for caller in 0..SERVERS * CALLERS {
        let (store, mut random) = (servers[caller % SERVERS].clone(), random.fork());
        callers
            .push(tokio::spawn(async move { raise(&store, &mut random, &format!("caller {caller}")).await }));
    }
    let mut written: BTreeMap<u64, u64> = BTreeMap::new();
    for caller in callers {
        for (number, times) in caller.await.unwrap() {
            *written.entry(number).or_default() += times;
        }
    }
    let names: Vec<Key> = (0..RECORDS).map(key).collect();
    for (number, found) in (0..).zip(servers[0].load(&names).await.unwrap()) {
        let version = found.map(|stored| stored.version.0).unwrap_or_default();
        assert_eq!(version, written.get(&number).copied().unwrap_or_default(), "record {number}");
    }
    let commits = u64::try_from(SERVERS * CALLERS).unwrap() * COMMITS;
    let counted = servers[1].counters(&CounterPrefix::Devices).await.unwrap();
    assert_eq!(counted, [(counter(), i64::try_from(commits).unwrap())], "lanes add up");
    let entries = servers[2].audit(1, 10_000).await.unwrap();
    assert_eq!(entries.len() as u64, commits.div_ceil(4), "one entry for each fourth commit");
    let mut previous = AuditHash::default();
    for (sequence, entry) in (1..).zip(entries) {
        assert!(entry.is_intact() && entry.previous == previous && entry.sequence == sequence);
        previous = entry.hash;
    }
    let all = servers[0].scan(&Query::table(Table::Setting), None, 100).await.unwrap();
    assert_eq!(all.items.len() as u64, RECORDS / 2);
}

/// A unit may rely on a record's absence without writing it: two that rely on each other's absence cannot both happen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_that_is_relied_on_lasts_until_the_commit() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("absence");
    let one = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
    let other = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
    for round in 0..30 {
        let names = ["left", "right"].map(|name| Key::Setting(format!("{name} {round}").into()));
        let unit = |written: usize| {
            let after = Some(record(&names[written], 1));
            Unit {
                expects: names.iter().map(|name| (name.clone(), Default::default())).collect(),
                writes: vec![Write { key: names[written].clone(), before: None, after }],
                ..Unit::default()
            }
        };
        let (left, right) = tokio::join!(one.commit(vec![unit(0)]), other.commit(vec![unit(1)]));
        let won = [left.unwrap(), right.unwrap()].iter().filter(|it| **it == [Outcome::Committed]).count();
        assert_eq!(won, 1, "round {round}: one of two that exclude each other");
        let found = one.load(&names).await.unwrap();
        assert_eq!(found.iter().flatten().count(), 1);
    }
}
