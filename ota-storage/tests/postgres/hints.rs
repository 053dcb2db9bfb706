//! Hints that somebody has decided something.

use core::time::Duration;

use ota_core::fleet::{AuditDraft, FleetStore, Unit};
use ota_core::time::Timestamp;
use ota_storage::postgres::{PostgresOptions, PostgresStore};

use super::server::Postgres;

/// Far more than a hint takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn decision() -> Unit {
    let audit = AuditDraft {
        at: Timestamp(1),
        principal: "otto".into(),
        action: "campaign.pause".into(),
        subject: "1".into(),
        product: "pump".into(),
        detail: String::new(),
    };
    Unit { expects: vec![], writes: vec![], counters: vec![], audit: vec![audit] }
}

async fn hinted(store: &PostgresStore) {
    tokio::time::timeout(PATIENCE, store.hint()).await.expect("a hint");
}

#[tokio::test]
async fn what_one_server_decides_is_hinted_to_the_others_also_after_a_restart_of_the_database() {
    let Some(mut postgres) = Postgres::start() else { return };
    let url = postgres.database("hints");
    let connect = || PostgresStore::connect(&url, PostgresOptions::default());
    let (one, other) = (connect().await.unwrap(), connect().await.unwrap());
    // Whoever begins to listen is told that something may have been missed.
    hinted(&other).await;
    one.commit(vec![decision()]).await.unwrap();
    hinted(&other).await;
    postgres.kill();
    postgres.start_again();
    hinted(&other).await;
    one.commit(vec![decision()]).await.unwrap();
    hinted(&other).await;
}
