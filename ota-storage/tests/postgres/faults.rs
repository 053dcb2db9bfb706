//! What a database does to a store that is in the middle of its work, and what the store says about it.

use core::time::Duration;

use ota_core::fleet::records::Setting;
use ota_core::fleet::{
    CounterChange, CounterKey, CounterPrefix, FleetStore, Key, LeaseRequest, Outcome, Record, StoreError,
    StoreErrorKind, Unit, Version, Write,
};
use ota_core::text::ProductIdBuf;
use ota_core::time::Millis;
use ota_storage::postgres::{PostgresOptions, PostgresStore, Upgrade};
use tokio_postgres::{Client, NoTls};

use super::server::Postgres;

/// Short, so that what is refused is refused soon.
fn impatient() -> PostgresOptions {
    PostgresOptions { patience: Duration::from_millis(400), ..PostgresOptions::default() }
}

async fn connect(url: &str) -> PostgresStore {
    PostgresStore::connect(url, impatient()).await.unwrap()
}

/// A connection beside the store's own.
async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn key(name: &str) -> Key {
    Key::Setting(name.into())
}

fn record(value: u64) -> Record {
    Record::Setting(Setting { value: value.to_string().into() })
}

fn counter() -> CounterKey {
    CounterKey::Devices { product: ProductIdBuf::new("pump").unwrap() }
}

/// Takes a record from this version to the next, and counts it.
fn step(name: &str, version: u64) -> Unit {
    let before = (version > 0).then(|| record(version));
    Unit {
        expects: vec![(key(name), Version(version))],
        writes: vec![Write { key: key(name), before, after: Some(record(version + 1)) }],
        counters: vec![CounterChange { key: counter(), by: 1 }],
        audit: vec![],
    }
}

/// The error and all that is behind it.
fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = core::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn assert_told(error: &StoreError, kind: StoreErrorKind, words: &[&str]) {
    let text = told(error);
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} in {text:?}");
    }
}

/// Steps until a number is reached, whatever the database does meanwhile; says how many commits failed.
async fn work(store: &PostgresStore, name: &str, until: u64, mut at: impl FnMut(u64)) -> u64 {
    let (mut version, mut failed) = (0, 0);
    while version < until {
        at(version);
        match store.commit(vec![step(name, version)]).await {
            Ok(outcomes) => {
                assert_eq!(outcomes, [Outcome::Committed], "nobody else writes {name}");
                version += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", told(&error));
                failed += 1;
                // Whether it happened shows when it is loaded.
                version = loop {
                    match store.load(&[key(name)]).await {
                        Ok(found) => {
                            let found = found[0].as_ref().map_or(0, |stored| stored.version.0);
                            assert!(found == version || found == version + 1, "{found} after {version}");
                            break found;
                        }
                        Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
                    }
                };
            }
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_costs_nothing_acknowledged_and_comes_back_by_itself() {
    let Some(mut postgres) = Postgres::start() else { return };
    let store = std::sync::Arc::new(connect(&postgres.url("postgres")).await);
    let mut callers = Vec::new();
    for caller in 0..4 {
        let store = store.clone();
        callers.push(tokio::spawn(async move { work(&store, &format!("{caller}"), 400, |_| ()).await }));
    }
    for round in 0..3 {
        // In the middle of the work, as its own first caller sees it.
        let goal = (round + 1) * 90;
        while store.load(&[key("0")]).await.unwrap()[0].as_ref().map_or(0, |it| it.version.0) < goal {}
        tokio::task::block_in_place(|| {
            postgres.kill();
            postgres.start_again();
        });
        while store.load(&[key("0")]).await.is_err() {}
    }
    let mut failed = 0;
    for caller in callers {
        failed += caller.await.unwrap();
    }
    assert!(failed > 0, "the restarts were met");
    assert_eq!(store.counters(&CounterPrefix::Devices).await.unwrap(), [(counter(), 1600)], "a recount");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named_with_its_reason() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("unusable");
    let open = async |url: &str, options: PostgresOptions| {
        PostgresStore::connect(url, options).await.map(drop).expect_err("it cannot be used")
    };
    let error = open("host=127.0.0.1 port=1 user=ota dbname=postgres", impatient()).await;
    assert_told(&error, StoreErrorKind::Unavailable, &["refused"]);
    let error = open(&postgres.url("elsewhere"), impatient()).await;
    assert_told(&error, StoreErrorKind::Unavailable, &["\"elsewhere\" does not exist"]);
    let error = open("host=127.0.0.1 prot=1", impatient()).await;
    assert_told(&error, StoreErrorKind::Invalid, &["prot"]);
    let error = open(&format!("{url} sslmode=require"), impatient()).await;
    assert_told(&error, StoreErrorKind::Unavailable, &["TLS"]);
    let by_hand = PostgresOptions { upgrade: Upgrade::ByHand, ..impatient() };
    let error = open(&url, by_hand.clone()).await;
    assert_told(&error, StoreErrorKind::Schema, &["schema 0", "may not"]);

    let owner = client(&url).await;
    owner.batch_execute("CREATE ROLE guest LOGIN").await.unwrap();
    let other = postgres.database("other");
    let guest = other.replace("user=ota", "user=guest");
    let error = open(&guest, impatient()).await;
    assert_told(&error, StoreErrorKind::Unavailable, &["permission denied"]);
    drop(PostgresStore::connect(&other, impatient()).await.unwrap());
    let error = open(&guest, by_hand.clone()).await;
    assert_told(&error, StoreErrorKind::Unavailable, &["permission denied"]);
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_used_as_long_as_it_may_be() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("newer");
    let store = connect(&url).await;
    let owner = client(&url).await;
    let numbers = "INSERT INTO ota.schema (number, usable_from) VALUES";
    owner.batch_execute(&format!("{numbers} (1000, 1)")).await.unwrap();
    let neighbour = connect(&url).await;
    neighbour.commit(vec![step("a", 0)]).await.unwrap();
    store.commit(vec![step("a", 1)]).await.unwrap();
    owner.batch_execute(&format!("{numbers} (1001, 1001)")).await.unwrap();
    let error = PostgresStore::connect(&url, impatient()).await.unwrap_err();
    assert_told(&error, StoreErrorKind::Schema, &["schema 1001", "up to"]);

    let foreign = postgres.database("foreign_one");
    client(&foreign)
        .await
        .batch_execute("CREATE SCHEMA ota; CREATE TABLE ota.device (id int)")
        .await
        .unwrap();
    let error = PostgresStore::connect(&foreign, impatient()).await.unwrap_err();
    assert_told(&error, StoreErrorKind::Schema, &["another program"]);
}

#[tokio::test]
async fn servers_that_start_together_make_the_tables_once() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("together");
    let opens = (0..4).map(|_| PostgresStore::connect(&url, PostgresOptions::default()));
    for store in futures::future::join_all(opens).await {
        store.unwrap().load(&[key("a")]).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_that_somebody_keeps_is_an_error_in_time_and_nothing_is_half_written() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("locked");
    let options = PostgresOptions { readers_max: 1, ..impatient() };
    let store = PostgresStore::connect(&url, options).await.unwrap();
    store.commit(vec![step("a", 0)]).await.unwrap();
    let other = client(&url).await;
    other.batch_execute("BEGIN; SELECT * FROM ota.record FOR UPDATE").await.unwrap();
    let error = store.commit(vec![step("b", 0), step("a", 1)]).await.unwrap_err();
    assert_told(&error, StoreErrorKind::Unavailable, &["timeout"]);
    other.batch_execute("ROLLBACK").await.unwrap();
    let found = store.load(&[key("a"), key("b")]).await.unwrap();
    assert_eq!(found[0].as_ref().map(|it| it.version), Some(Version(1)));
    assert_eq!(found[1], None, "all of the batch was rolled back");

    other.batch_execute("BEGIN; LOCK TABLE ota.record").await.unwrap();
    let (first, second) = [key("a"), key("b")].into();
    let (first, second) = ([first], [second]);
    let (first, second) = tokio::join!(store.load(&first), store.load(&second));
    assert_told(&first.unwrap_err(), StoreErrorKind::Unavailable, &["timeout"]);
    assert_told(&second.unwrap_err(), StoreErrorKind::Unavailable, &["1 connections were in use"]);
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.commit(vec![step("b", 0), step("a", 1)]).await.unwrap(), vec![Outcome::Committed; 2]);
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_commits_go_on_when_there_is_room() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("full");
    let store = connect(&url).await;
    store.commit(vec![step("a", 0)]).await.unwrap();
    // What Postgres itself raises when it cannot make a file longer (class 53 of its errors), at the last statement.
    let other = client(&url).await;
    let full = "CREATE FUNCTION ota.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$; \
                CREATE TRIGGER full_disk BEFORE INSERT ON ota.counter EXECUTE FUNCTION ota.full()";
    other.batch_execute(full).await.unwrap();
    let error = store.commit(vec![step("a", 1), step("b", 0)]).await.unwrap_err();
    assert_told(&error, StoreErrorKind::Full, &["No space left on device"]);
    let found = store.load(&[key("a"), key("b")]).await.unwrap();
    assert_eq!(found[0].as_ref().map(|it| it.version), Some(Version(1)), "reads go on");
    assert_eq!(found[1], None, "nothing is half-written");
    other.batch_execute("DROP TRIGGER full_disk ON ota.counter").await.unwrap();
    assert_eq!(store.commit(vec![step("a", 1), step("b", 0)]).await.unwrap(), vec![Outcome::Committed; 2]);
}

#[tokio::test]
async fn a_database_that_only_reads_is_told_as_such_and_is_left_for_one_that_writes() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("reads");
    let store = connect(&url).await;
    store.commit(vec![step("a", 0)]).await.unwrap();
    let other = client(&url).await;
    // As behind a name that leads to a standby after a failover: connections are made, and read.
    let reads = "ALTER DATABASE reads SET default_transaction_read_only = on; \
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'ota' AND datname = current_database()";
    other.batch_execute(reads).await.unwrap();
    let lease = LeaseRequest { name: "a".into(), holder: "b".into(), duration: Millis(1_000) };
    let connections = impatient().readers_max + impatient().writers_max;
    let error = async || {
        // Each connection that the restart has closed is found out by somebody.
        for _ in 0..=connections {
            let error = store.commit(vec![step("a", 1)]).await.unwrap_err();
            if told(&error).contains("read-only") {
                return error;
            }
        }
        panic!("it is never said");
    };
    assert_told(
        &error().await,
        StoreErrorKind::Unavailable,
        &["cannot execute", "in a read-only transaction"],
    );
    assert!(store.lease(&lease).await.is_err());
    assert!(store.load(&[key("a")]).await.unwrap()[0].is_some(), "reads go on");
    let writes = "SET default_transaction_read_only = off; \
                  ALTER DATABASE reads SET default_transaction_read_only = off";
    other.batch_execute(writes).await.unwrap();
    let mut tries = 0;
    while store.commit(vec![step("a", 1)]).await.is_err() {
        tries += 1;
        assert!(tries <= connections, "connections that only read are kept");
    }
}

#[tokio::test]
async fn sessions_that_commit_count_in_lanes_of_their_own() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("lanes");
    let stores = [connect(&url).await, connect(&url).await];
    for (store, name) in stores.iter().zip(["a", "b"]) {
        store.commit(vec![step(name, 0)]).await.unwrap();
    }
    let lanes = "SELECT array_agg(lane ORDER BY lane) FROM ota.counter";
    let lanes: Vec<i16> = client(&url).await.query_one(lanes, &[]).await.unwrap().get(0);
    assert_eq!(lanes, [0, 1], "neither waits for the other's disk");
    let counted = stores[1].counters(&CounterPrefix::Devices).await.unwrap();
    assert_eq!(counted, [(counter(), 2)]);
}

#[tokio::test]
async fn a_server_that_stopped_in_a_transaction_does_not_keep_its_locks() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("stopped");
    let store = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
    store.commit(vec![step("a", 0)]).await.unwrap();
    let stopped = client(&url).await;
    // What every session of a store is told when it is made.
    stopped.batch_execute("SET idle_in_transaction_session_timeout = 500").await.unwrap();
    stopped.batch_execute("BEGIN; SELECT * FROM ota.record FOR UPDATE").await.unwrap();
    assert_eq!(store.commit(vec![step("a", 1)]).await.unwrap(), [Outcome::Committed]);
    assert!(stopped.batch_execute("COMMIT").await.is_err());
}

#[tokio::test]
async fn cancelled_requests_leave_neither_transactions_nor_connections() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("cancelled");
    let store = connect(&url).await;
    for round in 0..100 {
        let (name, keys) = (format!("{round}"), [key("a")]);
        tokio::select! {
            biased;
            _ = store.commit(vec![step(&name, 0)]) => {}
            _ = store.load(&keys) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    // What was handed over before is decided by now.
    store.commit(vec![step("last", 0)]).await.unwrap();
    let other = client(&url).await;
    let sessions = "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%') \
                    FROM pg_stat_activity WHERE application_name = 'ota' AND datname = current_database()";
    let row = other.query_one(sessions, &[]).await.unwrap();
    // One more listens for hints.
    let most = i64::try_from(impatient().readers_max + impatient().writers_max + 1).unwrap();
    assert!(row.get::<_, i64>(0) <= most, "the pools have their limits");
    assert_eq!(row.get::<_, i64>(1), 0, "no transaction is left open");
    let counted = store.counters(&CounterPrefix::Devices).await.unwrap();
    assert_eq!(counted, [(counter(), 101)], "what was handed over was carried out");
}

#[tokio::test]
async fn an_acknowledged_commit_is_synced_whatever_the_database_was_told() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("synced");
    let owner = client(&url).await;
    owner.batch_execute("ALTER DATABASE synced SET synchronous_commit = off").await.unwrap();
    let store = connect(&url).await;
    // A trigger sees what holds inside the store's own session.
    owner
        .batch_execute(
            "CREATE TABLE public.seen (setting text); \
             CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
             CREATE TRIGGER note AFTER INSERT ON ota.record EXECUTE FUNCTION public.note()",
        )
        .await
        .unwrap();
    store.commit(vec![step("a", 0)]).await.unwrap();
    let row = owner.query_one("SELECT string_agg(setting, ' ') FROM public.seen", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "on");
}

#[tokio::test]
async fn leases_of_several_servers_run_by_the_clock_of_the_database() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("leases");
    let (one, other) = (connect(&url).await, connect(&url).await);
    let ask =
        |holder: &str, duration| LeaseRequest { name: "sweeper".into(), holder: holder.into(), duration };
    let first = one.lease(&ask("one", Millis(3_600_000))).await.unwrap().unwrap();
    assert_eq!(other.lease(&ask("other", Millis(1000))).await.unwrap(), None);
    // An hour passes for the database alone.
    let clock = client(&url).await;
    clock.batch_execute("UPDATE ota.lease SET until = until - interval '1 hour'").await.unwrap();
    let second = other.lease(&ask("other", Millis(3_600_000))).await.unwrap().unwrap();
    assert!(second.token > first.token);
    assert_eq!(one.lease(&ask("one", Millis(1000))).await.unwrap(), None, "the former holder is told");
    // Giving back what one no longer holds changes nothing.
    one.lease(&ask("one", Millis(0))).await.unwrap();
    assert_eq!(one.lease(&ask("one", Millis(1000))).await.unwrap(), None);
}
