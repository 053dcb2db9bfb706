//! What an operator may ask the database directly.

use ota_core::fleet::records::{Device, DeviceStatus, Installed, Interned};
use ota_core::fleet::{
    AuditDraft, CounterChange, CounterKey, FleetStore, Key, LeaseRequest, Outcome, Record, Unit, Version,
    Write,
};
use ota_core::number::CampaignId;
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::server::Postgres;

fn added(key: Key, record: Record) -> Unit {
    Unit {
        expects: vec![(key.clone(), Version(0))],
        writes: vec![Write { key, before: None, after: Some(record) }],
        ..Unit::default()
    }
}

fn device(product: &ProductIdBuf, id: &DeviceIdBuf) -> Device {
    Device {
        product: product.clone(),
        ordinal: 7,
        bucket: Device::bucket_of(id),
        registered: Timestamp(1_790_000_000_000),
        heard: Timestamp(0),
        status: DeviceStatus::Quarantined,
        hardware: 3,
        installed: vec![Installed { file: 1, revision: 300 }],
        tags: vec!["site=süd".into()],
        attempt: Some(CampaignId(u64::MAX)),
        epoch: None,
        dialect: None,
        credential: None,
        claimed: None,
        failures: None,
        claimed_hardware: None,
        metadata_bytes_max: None,
        evidence_key: Some(vec![1, 2]),
        evidence_seen: Some((1, 2)),
        waits_with: None,
        pinned: None,
    }
}

async fn filled(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url, PostgresOptions::default()).await.unwrap();
    let (product, id) = (ProductIdBuf::new("pump").unwrap(), DeviceIdBuf::new("gerät-7").unwrap());
    let name = |number, text: &str| {
        added(Key::Interned(product.clone(), number), Record::Interned(Interned { text: text.into() }))
    };
    let count = |key| CounterChange { key, by: 5 };
    let mut unit = added(Key::Device(id.clone()), Record::Device(device(&product, &id)));
    let attempts = CounterKey::Attempts { campaign: CampaignId(u64::MAX), stage: 258, phase: 8, cause: 300 };
    unit.counters = vec![
        count(CounterKey::Devices { product: product.clone() }),
        count(CounterKey::Installed { product: product.clone(), file: 1, revision: 300 }),
        count(CounterKey::Heard { product: product.clone(), hour: 497_222 }),
        count(attempts),
    ];
    unit.audit = vec![AuditDraft {
        at: Timestamp(1_790_000_000_000),
        principal: "ann".into(),
        action: "device.add".into(),
        subject: "with a \0 zero".into(),
        product: "pump".into(),
        detail: "{}".into(),
    }];
    let units = vec![name(1, "app"), name(300, "1.2"), unit];
    assert_eq!(store.commit(units).await.unwrap(), vec![Outcome::Committed; 3]);
    let request = LeaseRequest { name: "sweeper".into(), holder: "one".into(), duration: Millis(3_600_000) };
    store.lease(&request).await.unwrap();
    store
}

#[tokio::test]
async fn views_say_what_the_program_would() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("views");
    let _store = filled(&url).await;
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET TIME ZONE 'UTC'").await.unwrap();
    let largest = u64::MAX;
    let campaign = largest.to_string();
    for (query, expected) in [
        (
            "SELECT id, product, ordinal, registered, heard, status, installed, tags, campaign \
             FROM ota_view.device WHERE key = 'ger\\303\\244t-7'",
            format!(
                "gerät-7|pump|7|2026-09-21 14:13:20+00|-|quarantined|[[1, 300]]|[\"site=süd\"]|{campaign}"
            ),
        ),
        ("SELECT product, devices FROM ota_view.devices_of_product", "pump|5".to_owned()),
        (
            "SELECT campaign, stage, phase, cause, devices FROM ota_view.progress",
            format!("{campaign}|258|rolled back|300|5"),
        ),
        ("SELECT product, file, revision, devices FROM ota_view.installed", "pump|app|1.2|5".to_owned()),
        ("SELECT product, hour, devices FROM ota_view.heard", "pump|2026-09-21 14:00:00+00|5".to_owned()),
        (
            "SELECT sequence, at, principal, subject FROM ota_view.audit",
            "1|2026-09-21 14:13:20+00|ann|with a \\000 zero".to_owned(),
        ),
        ("SELECT name, holder, token, is_held FROM ota_view.lease", "sweeper|one|1|t".to_owned()),
    ] {
        let rows = client.simple_query(query).await.unwrap();
        let rows: Vec<String> = rows
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    let columns = (0..row.len()).map(|column| row.get(column).unwrap_or("-"));
                    Some(columns.collect::<Vec<_>>().join("|"))
                }
                _ => None,
            })
            .collect();
        assert_eq!(rows, [expected], "{query}");
    }
}

#[tokio::test]
async fn every_view_can_be_read_by_somebody_who_may_not_touch_the_tables() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("readers");
    let _store = filled(&url).await;
    let (owner, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let opened = "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA ota_view TO reader; \
                  GRANT SELECT ON ALL TABLES IN SCHEMA ota_view TO reader";
    owner.batch_execute(opened).await.unwrap();
    let (reader, connection) =
        tokio_postgres::connect(&url.replace("user=ota", "user=reader"), NoTls).await.unwrap();
    tokio::spawn(connection);
    let names = "SELECT viewname::text FROM pg_views WHERE schemaname = 'ota_view'";
    let views = owner.query(names, &[]).await.unwrap();
    assert!(views.len() > 10);
    for view in views {
        let name: &str = view.get(0);
        reader.simple_query(&format!("SELECT * FROM ota_view.{name}")).await.expect(name);
    }
    assert!(reader.simple_query("SELECT * FROM ota.device").await.is_err());
}
