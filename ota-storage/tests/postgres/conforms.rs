//! The suites of the trait.

use ota_core::conformance::{fleet_store, fleet_store_reopened};
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use tokio_postgres::NoTls;

use super::server::Postgres;

/// Connects to a database after emptying it.
pub(super) async fn emptied(url: &str, options: &PostgresOptions) -> PostgresStore {
    let store = PostgresStore::connect(url, options.clone()).await.unwrap();
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client
        .batch_execute(
            "DELETE FROM ota.record; DELETE FROM ota.record_place; DELETE FROM ota.device; \
             DELETE FROM ota.device_place; DELETE FROM ota.attempt; DELETE FROM ota.attempt_place; \
             DELETE FROM ota.counter; DELETE FROM ota.audit; DELETE FROM ota.lease; \
             UPDATE ota.audit_end SET sequence = 0, hash = decode(repeat('00', 32), 'hex')",
        )
        .await
        .unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    store
}

#[tokio::test]
async fn postgres_conforms() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("conforms");
    fleet_store(async || emptied(&url, &PostgresOptions::default()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_conforms_on_several_threads_with_tiny_batches() {
    let Some(postgres) = Postgres::shared() else { return };
    let options = PostgresOptions {
        readers_max: 1,
        writers_max: 4,
        batch_units_max: 1,
        queue_bytes: 1,
        ..PostgresOptions::default()
    };
    let url = postgres.database("conforms_on_several_threads");
    fleet_store(async || emptied(&url, &options).await).await;
}

#[tokio::test]
async fn postgres_keeps_what_it_acknowledged() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("reopened");
    fleet_store_reopened(async || PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap())
        .await;
}
