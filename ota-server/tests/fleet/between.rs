//! What tests put between a server and its store. It passes everything on that a test does not care about.

use core::ops::Deref;

use async_trait::async_trait;
use ota_core::conformance::memory::MemoryFleetStore;
use ota_core::fleet::{
    AuditEntry, CounterKey, CounterPrefix, Cursor, FleetStore, Key, Lease, LeaseRequest, Outcome, Page,
    Query, StoreError, Stored, Unit,
};

/// What happens on the way to a store.
#[async_trait]
pub(crate) trait Between: Send + Sync + 'static {
    fn store(&self) -> &MemoryFleetStore;

    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        self.store().commit(units).await
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.store().load(keys).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        self.store().lease(request).await
    }

    async fn hint(&self) {
        self.store().hint().await;
    }
}

/// The store as the server sees it.
pub(crate) struct Through<B>(pub(crate) B);

impl<B> Deref for Through<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.0
    }
}

#[async_trait]
impl<B: Between> FleetStore for Through<B> {
    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        self.0.commit(units).await
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.0.load(keys).await
    }

    async fn scan(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.0.store().scan(query, after, limit).await
    }

    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        self.0.store().counters(of).await
    }

    async fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.0.store().audit(from, limit).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        self.0.lease(request).await
    }

    async fn hint(&self) {
        self.0.hint().await;
    }
}
