//! A rolling upgrade: this version and the one before it serve the same database side by side.
//!
//! The one before it is saved in `former/`: the database as it left it, and what it said to it. A release adds the files
//! of its own newest migration; a migration that breaks what is saved here breaks servers that still run.

use std::collections::BTreeMap;

use ota_core::fleet::records::Setting;
use ota_core::fleet::{
    AuditDraft, AuditEntry, AuditHash, CounterChange, CounterKey, CounterPrefix, FleetStore, Key,
    LeaseRequest, Outcome, Record, Unit, Version, Write,
};
use ota_core::text::ProductIdBuf;
use ota_core::time::{Millis, Timestamp};
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};

use super::server::Postgres;

/// The newest migration that the former version knew.
const FORMER: i32 = 1;

/// A server of the version before, as far as the database sees it.
struct Former {
    client: Client,
    statements: BTreeMap<&'static str, Statement>,
}

impl Former {
    /// Connects and prepares all that it may ever say.
    async fn connect(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut statements = BTreeMap::new();
        for line in include_str!("former/0001-statements.txt").lines().skip(1) {
            let (name, sql) = line.split_once(": ").unwrap();
            let statement = client.prepare(sql).await.unwrap_or_else(|why| panic!("{name}: {why:?}"));
            statements.insert(name, statement);
        }
        Self { client, statements }
    }

    async fn say(&self, name: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.client.query(&self.statements[name], parameters).await.unwrap()
    }

    async fn change(&self, name: &str, parameters: &[&(dyn ToSql + Sync)]) -> u64 {
        self.client.execute(&self.statements[name], parameters).await.unwrap()
    }

    /// Whether it would start on this database.
    async fn may_start(&self) -> bool {
        self.say("schema", &[]).await[0].get::<_, i32>(1) <= FORMER
    }

    /// Takes the record from one version to the next, if it has that one, and counts it.
    async fn step(&self, version: i64) -> bool {
        let kind = [i16::from(key().table().number())].to_vec();
        let (names, body) = (vec![key().to_bytes()], record(version.unsigned_abs() + 1).to_bytes());
        let (after, bodies) = (vec![version + 1], vec![body]);
        self.client.batch_execute("BEGIN").await.unwrap();
        let done = match version {
            0 => self.change("add record", &[&kind, &names, &after, &bodies]).await,
            _ => self.change("update record", &[&kind, &names, &vec![version], &after, &bodies]).await,
        };
        if done == 1 {
            assert_eq!(self.change("count", &[&vec![counter().to_bytes()], &vec![1_i64]]).await, 1);
        }
        self.client.batch_execute("COMMIT").await.unwrap();
        done == 1
    }

    /// Adds an entry to the audit chain.
    async fn decide(&self) {
        self.client.batch_execute("BEGIN").await.unwrap();
        let end = &self.say("audit end", &[]).await[0];
        let (sequence, previous) = (end.get::<_, i64>(0) + 1, end.get::<_, &[u8]>(1).try_into().unwrap());
        let entry = AuditEntry::chain(sequence.unsigned_abs(), AuditHash(previous), draft("former"));
        let texts = |text: &str| vec![text.as_bytes().to_vec()];
        let AuditDraft { at, principal, action, subject, product, detail } = &entry.draft;
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &vec![sequence],
            &vec![at.0.cast_signed()],
            &texts(principal),
            &texts(action),
            &texts(subject),
            &texts(product),
            &texts(detail),
            &vec![previous.to_vec()],
            &vec![entry.hash.0.to_vec()],
        ];
        assert_eq!(self.change("audit add", &parameters).await, 1);
        assert_eq!(self.change("audit move end", &[&sequence, &entry.hash.0.to_vec()]).await, 1);
        self.client.batch_execute("COMMIT").await.unwrap();
    }

    /// Whether it holds the lease now, for a minute.
    async fn leases(&self) -> bool {
        let (name, holder) = (b"tick".to_vec(), b"former".to_vec());
        !self.say("lease take", &[&name, &holder, &60.0_f64]).await.is_empty()
    }
}

fn key() -> Key {
    Key::Setting("shared".into())
}

fn record(value: u64) -> Record {
    Record::Setting(Setting { value: value.to_string().into() })
}

fn counter() -> CounterKey {
    CounterKey::Devices { product: ProductIdBuf::new("pump").unwrap() }
}

fn draft(by: &str) -> AuditDraft {
    AuditDraft {
        at: Timestamp(1),
        principal: by.into(),
        action: "campaign.pause".into(),
        subject: "1".into(),
        product: "pump".into(),
        detail: String::new(),
    }
}

/// What this version does at the same time.
async fn step(store: &PostgresStore, version: u64) -> bool {
    let unit = Unit {
        expects: vec![(key(), Version(version))],
        writes: vec![Write {
            key: key(),
            before: (version > 0).then(|| record(version)),
            after: Some(record(version + 1)),
        }],
        counters: vec![CounterChange { key: counter(), by: 1 }],
        audit: vec![draft("present")],
    };
    store.commit(vec![unit]).await.unwrap() == [Outcome::Committed]
}

#[tokio::test]
async fn this_version_and_the_one_before_it_serve_the_same_database() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("former");
    postgres.sql("former", include_str!("former/0001.sql"));
    let former = Former::connect(&url).await;
    assert!(former.step(0).await, "it has served this database alone");
    former.decide().await;

    let present = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
    assert!(former.say("schema", &[]).await[0].get::<_, i32>(0) > FORMER, "it is brought up to date");
    assert!(former.may_start().await, "and not too far for the one before");
    // One that runs, and one that is started again after the upgrade.
    for former in [former, Former::connect(&url).await] {
        let mut found = present.load(&[key()]).await.unwrap().remove(0).unwrap();
        for round in 0..10 {
            let version = found.version.0;
            // They take turns, and whoever comes from something old is refused.
            let (by_former, by_present) = match round % 2 {
                0 => (former.step(version.cast_signed()).await, step(&present, version).await),
                _ => {
                    let by_present = step(&present, version).await;
                    (former.step(version.cast_signed()).await, by_present)
                }
            };
            assert_eq!((by_former, by_present), (round % 2 == 0, round % 2 == 1));
            former.decide().await;
            found = present.load(&[key()]).await.unwrap().remove(0).unwrap();
            assert_eq!((found.version.0, found.record), (version + 1, record(version + 1)));
        }
        let take = LeaseRequest { name: "tick".into(), holder: "present".into(), duration: Millis(60_000) };
        assert!(former.leases().await);
        assert_eq!(present.lease(&take).await.unwrap(), None, "one of them does what is due");
        former.change("lease give back", &[&b"tick".to_vec(), &b"former".to_vec()]).await;
        assert!(present.lease(&take).await.unwrap().is_some() && !former.leases().await);
        present.lease(&LeaseRequest { duration: Millis(0), ..take }).await.unwrap();
    }
    let version = present.load(&[key()]).await.unwrap().remove(0).unwrap().version.0;
    let prefix = CounterPrefix::Devices;
    assert_eq!(present.counters(&prefix).await.unwrap(), [(counter(), version.cast_signed())]);
    let entries = present.audit(1, 1000).await.unwrap();
    assert_eq!(entries.len(), 1 + 20 + 10, "both have added to one chain");
    let mut previous = AuditHash([0; 32]);
    for entry in entries {
        assert_eq!(entry, AuditEntry::chain(entry.sequence, previous, entry.draft.clone()));
        previous = entry.hash;
    }
}
