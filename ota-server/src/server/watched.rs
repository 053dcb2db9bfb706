//! The store as the server sees it: what fails is remembered until a commit succeeds, so that people are told; and each
//! decision that a commit made durable gets its line in the log.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ota_core::fleet::{
    AuditDraft, AuditEntry, CounterKey, CounterPrefix, Cursor, FleetStore, Key, Lease, LeaseRequest, Outcome,
    Page, Query, StoreError, StoreErrorKind, Stored, Unit,
};

/// A store whose last commit is known to have gone well or not.
pub(super) struct WatchedStore {
    store: Arc<dyn FleetStore>,
    trouble: Mutex<Option<StoreErrorKind>>,
    /// How many records were written.
    written: AtomicU64,
}

impl WatchedStore {
    pub(super) const fn new(store: Arc<dyn FleetStore>) -> Self {
        Self { store, trouble: Mutex::new(None), written: AtomicU64::new(0) }
    }

    /// How many records were written since the start: whether anybody is at work.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Why the last commit failed; `None` if it did not.
    pub(super) fn trouble(&self) -> Option<StoreErrorKind> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line for each decision of a person or of a campaign's own plan: what the audit chain has of it.
#[cfg(feature = "http")]
fn tell(draft: &AuditDraft) {
    tracing::info!(
        action = draft.action,
        subject = draft.subject,
        product = draft.product,
        by = draft.principal,
        detail = draft.detail,
        "decided"
    );
}

/// Whoever embeds the server alone reads the audit chain.
#[cfg(not(feature = "http"))]
const fn tell(_: &AuditDraft) {}

#[async_trait]
impl FleetStore for WatchedStore {
    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        let writes: usize = units.iter().map(|unit| unit.writes.len()).sum();
        let decided: Vec<Vec<AuditDraft>> = units.iter().map(|unit| unit.audit.clone()).collect();
        let outcome = self.store.commit(units).await;
        if let Ok(outcomes) = &outcome {
            let committed = outcomes.iter().zip(&decided).filter(|(one, _)| **one == Outcome::Committed);
            committed.flat_map(|(_, drafts)| drafts).for_each(tell);
        }
        let trouble = match &outcome {
            Ok(_) => {
                self.written.fetch_add(u64::try_from(writes).unwrap_or(u64::MAX), Ordering::Relaxed);
                None
            }
            // The caller's mistake says nothing about the store.
            Err(error) if error.kind() == StoreErrorKind::Invalid => self.trouble(),
            Err(error) => Some(error.kind()),
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        outcome
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.store.load(keys).await
    }

    async fn scan(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.store.scan(query, after, limit).await
    }

    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        self.store.counters(of).await
    }

    async fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.store.audit(from, limit).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        self.store.lease(request).await
    }

    async fn hint(&self) {
        self.store.hint().await;
    }
}
