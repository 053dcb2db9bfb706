//! Random operations: the redb store and the in-memory reference answer alike, and both as a list of all that was ever
//! done would.
#![cfg(feature = "redb")]

mod model;

use ota_core::conformance::memory::MemoryFleetStore;
use ota_core::fleet::FleetStore;
use ota_storage::redb::{RedbOptions, RedbStore};
use proptest::prelude::*;

use model::{Commit, Model, units};

#[derive(Debug, Clone)]
enum Operation {
    Commit(Commit),
    Compact,
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => units().prop_map(Operation::Commit),
        1 => Just(Operation::Compact),
        1 => Just(Operation::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn redb_and_the_reference_do_what_the_model_does(
        operations in prop::collection::vec(operation(), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store");
            let options = RedbOptions { cache_bytes: 64 * 1024, ..RedbOptions::default() };
            let mut redb = RedbStore::open(&path, options).unwrap();
            let reference = MemoryFleetStore::new();
            let mut model = Model::default();
            for operation in operations {
                match operation {
                    Operation::Commit(units) => {
                        let (units, expected) = model.commit(&units);
                        assert_eq!(reference.commit(units.clone()).await.unwrap(), expected);
                        assert_eq!(redb.commit(units).await.unwrap(), expected);
                    }
                    Operation::Compact => drop(redb.compact().await.unwrap()),
                    Operation::Reopen => {
                        drop(redb);
                        redb = RedbStore::open(&path, options).unwrap();
                    }
                }
                model.compare(&redb).await;
                model.compare(&reference).await;
            }
        });
    }
}
