//! The redb store keeps every promise of the trait, in a file and across opening.
#![cfg(feature = "redb")]

use ota_core::conformance::{fleet_store, fleet_store_reopened};
use ota_storage::redb::{RedbOptions, RedbStore};

#[tokio::test]
async fn redb_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let number = core::cell::Cell::new(0);
    fleet_store(async || {
        number.set(number.get() + 1);
        RedbStore::open(folder.path().join(number.get().to_string()), RedbOptions::default()).unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redb_conforms_on_several_threads_with_a_tiny_queue() {
    let options = RedbOptions { cache_bytes: 0, queue_bytes: 1, batch_units_max: 1 };
    fleet_store(async || RedbStore::open_on(redb::backends::InMemoryBackend::new, options).unwrap()).await;
}

#[tokio::test]
async fn redb_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fleet_store_reopened(async || RedbStore::open(&path, RedbOptions::default()).unwrap()).await;
}
