//! A server that is killed with SIGKILL in the middle of its commits: what it was told to be durable is there, whole, and
//! the rest fits together.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ota_core::fleet::records::Setting;
use ota_core::fleet::{
    AuditDraft, AuditHash, CounterChange, CounterKey, CounterPrefix, FleetStore, Key, Outcome, Query, Record,
    Table, Unit, Version, Write,
};
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use tokio_postgres::NoTls;

use super::server::Postgres;

/// In the environment of the process that is killed: which database it works with.
const URL: &str = "OTA_TEST_POSTGRES_URL";
/// What the killed process runs: a test of this program, which does nothing without the variable.
const CHILD: &str = "crash::a_process_commits_until_it_is_killed";
const CALLERS: u64 = 4;
const ROUNDS: u64 = 6;

fn record(value: u64) -> Record {
    Record::Setting(Setting { value: value.to_string().into() })
}

fn counter() -> CounterKey {
    CounterKey::Devices { product: ProductIdBuf::new("pump").unwrap() }
}

/// Takes two records of a caller from this step to the next, counts it, and notes it.
fn step(caller: u64, number: u64) -> Unit {
    let keys = ["left", "right"].map(|side| Key::Setting(format!("{caller} {side}").into()));
    let write =
        |key| Write { key, before: (number > 0).then(|| record(number)), after: Some(record(number + 1)) };
    Unit {
        expects: keys.clone().map(|key| (key, Version(number))).into(),
        writes: keys.map(write).into(),
        counters: vec![CounterChange { key: counter(), by: 1 }],
        audit: vec![AuditDraft {
            at: Timestamp(number),
            principal: caller.to_string(),
            action: "step".into(),
            subject: number.to_string(),
            product: String::new(),
            detail: "{}".into(),
        }],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_commits_until_it_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = Arc::new(PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap());
    let callers = (0..CALLERS).map(|caller| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let key = Key::Setting(format!("{caller} left").into());
            let found = store.load(&[key]).await.unwrap();
            for number in found[0].as_ref().map_or(0, |stored| stored.version.0).. {
                let outcomes = store.commit(vec![step(caller, number)]).await.unwrap();
                assert_eq!(outcomes, [Outcome::Committed]);
                writeln!(std::io::stdout().lock(), "done {caller} {number}").unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

/// Runs a process until it has said so many steps, kills it, and notes all that it said.
fn run_and_kill(url: &str, steps: u64, acknowledged: &mut BTreeMap<u64, u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--nocapture"])
        .env(URL, url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    // What it has said before it died is heard to the end.
    while let Some(Ok(line)) = lines.next() {
        let mut words = line.split(' ');
        if words.next() != Some("done") {
            continue;
        }
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        // A line that the kill cut short is no acknowledgement.
        if let (Some(caller), Some(step)) = (number(), number()) {
            let last = acknowledged.entry(caller).or_default();
            *last = (*last).max(step + 1);
            seen += 1;
            if seen == steps {
                child.kill().unwrap();
            }
        }
    }
    assert!(seen >= steps, "it worked until it was killed, and not less than {steps} steps: {seen}");
    child.wait().unwrap();
}

/// Waits until the database has noticed that the process is gone, and ended what it was in the middle of.
async fn wait_for_the_end_of_its_sessions(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let sessions = "SELECT count(*) FROM pg_stat_activity \
                    WHERE application_name = 'ota' AND datname = current_database()";
    while client.query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) > 0 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("crash");
    let mut acknowledged = BTreeMap::new();
    for _ in 0..ROUNDS {
        let steps = random.u64(1..120);
        tokio::task::block_in_place(|| run_and_kill(&url, steps, &mut acknowledged));
        wait_for_the_end_of_its_sessions(&url).await;
        let store = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
        let mut steps = 0;
        for (caller, last) in &mut acknowledged {
            let keys = step(*caller, 0).expects.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
            let found = store.load(&keys).await.unwrap();
            assert_eq!(found[0], found[1], "both records of a unit, or neither");
            let version = found[0].as_ref().map_or(0, |stored| stored.version.0);
            assert!(version == *last || version == *last + 1, "{version} found, {last} acknowledged");
            assert_eq!(found[0].as_ref().map(|stored| &stored.record), Some(&record(version)));
            *last = version;
            steps += version;
        }
        let all = store.scan(&Query::table(Table::Setting), None, 100).await.unwrap();
        // A caller whose very first step was not heard of is there, too.
        let unheard = all.items.len() / 2 - acknowledged.len();
        let counted = store.counters(&CounterPrefix::Devices).await.unwrap();
        let unheard = u64::try_from(unheard).unwrap();
        assert_eq!(counted[0].1.cast_unsigned(), steps + unheard, "counters equal a recount");
        let mut entries = Vec::new();
        loop {
            let page = store.audit(entries.len() as u64 + 1, 1000).await.unwrap();
            if page.is_empty() {
                break;
            }
            entries.extend(page);
        }
        assert_eq!(entries.len() as u64, steps + unheard, "one entry for each step");
        let mut previous = AuditHash::default();
        for (sequence, entry) in (1..).zip(entries) {
            assert!(entry.is_intact() && entry.previous == previous && entry.sequence == sequence);
            previous = entry.hash;
        }
        // Its own sessions are not those of the next process.
        drop(store);
        wait_for_the_end_of_its_sessions(&url).await;
    }
}
