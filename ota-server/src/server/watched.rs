//! The store as the server sees it: that it does not take what is written is remembered until a commit succeeds, so that
//! people are told, and begins and ends with a line in the log; and each
//! decision that a commit made durable gets its line in the log.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ota_core::fleet::{
    AuditDraft, AuditEntry, CounterKey, CounterPrefix, Cursor, FleetStore, Key, Lease, LeaseRequest, Outcome,
    Page, Query, StoreError, StoreErrorKind, Stored, Unit,
};

/// A store that is known to take what is written or not.
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

    /// Why a commit or a lease has failed since the last commit that did not; `None` if none has.
    pub(super) fn trouble(&self) -> Option<StoreErrorKind> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that something was not written.
    fn failed(&self, error: &StoreError) {
        // The caller's mistake says nothing about the store.
        if error.kind() != StoreErrorKind::Invalid
            && self.trouble.lock().unwrap_or_else(PoisonError::into_inner).replace(error.kind()).is_none()
        {
            tell_trouble(error);
        }
    }

    /// Remembers that a commit went well.
    fn worked(&self) {
        if self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tell_recovery();
        }
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

#[cfg(feature = "http")]
fn tell_trouble(error: &StoreError) {
    tracing::error!(why = crate::http::chain(error), "the store does not take what is written");
}

#[cfg(feature = "http")]
fn tell_recovery() {
    tracing::info!("the store takes what is written again");
}

/// Whoever embeds the server alone reads the audit chain, and asks with [`probe`](super::Server::probe).
#[cfg(not(feature = "http"))]
const fn tell(_: &AuditDraft) {}

#[cfg(not(feature = "http"))]
const fn tell_trouble(_: &StoreError) {}

#[cfg(not(feature = "http"))]
const fn tell_recovery() {}

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
        match &outcome {
            Ok(_) => {
                self.written.fetch_add(u64::try_from(writes).unwrap_or(u64::MAX), Ordering::Relaxed);
                self.worked();
            }
            Err(error) => self.failed(error),
        }
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
        // Where the store grants leases it writes them, every second: nobody has to come along for trouble to be noticed.
        self.store.lease(request).await.inspect_err(|error| self.failed(error))
    }

    async fn hint(&self) {
        self.store.hint().await;
    }
}
