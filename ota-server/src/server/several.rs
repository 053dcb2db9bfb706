//! Several servers on one store: each reads anew what the others may have changed, and one of them at a time does what is
//! due for all.
//!
//! Nothing here is needed for being right: whatever a server decides from an old view is refused by the store, and what
//! two do at once is committed once. It is needed for being in time, and for not doing everything several times.

use std::sync::{MutexGuard, PoisonError};

use ota_core::fleet::{Key, LeaseRequest, Query, StoreError, Table};
use ota_core::time::{Millis, Timestamp};

use super::Server;
use crate::engine::catalog::scan_all;

/// What is leased by the server that does what is due.
const TICK: &str = "tick";
/// For how long. A server that ends without a word holds the others up for so long.
const TICK_LEASE: Millis = Millis(10_000);

impl Server {
    /// Whether other servers may work on the same store.
    fn has_neighbours(&self) -> bool {
        self.inner.config.refresh_every.0 > 0
    }

    /// Whether this server is the one that does what is due for all.
    pub(super) async fn is_the_one(&self) -> Result<bool, StoreError> {
        if !self.has_neighbours() {
            return Ok(true);
        }
        let request =
            LeaseRequest { name: TICK.to_owned(), holder: self.inner.name.clone(), duration: TICK_LEASE };
        Ok(self.inner.store.lease(&request).await?.is_some())
    }

    /// Reads anew what other servers may have changed, every so often.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        if !self.has_neighbours() || !self.is_refresh_due(self.now()) {
            return Ok(());
        }
        self.load_keyring().await?;
        self.inner.catalog.refresh().await;
        for (key, _) in scan_all(&self.inner.store, &Query::table(Table::Product)).await? {
            if let Key::Product(product) = key {
                self.inner.catalog.product(&product).await?;
            }
        }
        *self.refreshed() = self.now();
        Ok(())
    }

    fn is_refresh_due(&self, now: Timestamp) -> bool {
        now.since(*self.refreshed()) >= self.inner.config.refresh_every
    }

    fn refreshed(&self) -> MutexGuard<'_, Timestamp> {
        self.inner.refreshed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
