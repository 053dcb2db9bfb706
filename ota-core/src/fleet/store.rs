//! The store of the fleet: many small changes, one durable commit.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use async_trait::async_trait;

use super::{
    AuditDraft, AuditEntry, CounterChange, CounterKey, CounterPrefix, Key, Query, Record, StoreError,
};
use crate::time::{Millis, Timestamp};

/// How often a record has been written. 0 means that it is not there; one that comes back after its removal begins
/// again with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

/// A record and its version.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its version.
    pub version: Version,
    /// The record.
    pub record: Record,
}

/// What belongs together: one device's changes, or one person's command. All of it happens or none of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Unit {
    /// Records that must still have these versions, whether they are written or only relied on.
    pub expects: Vec<(Key, Version)>,
    /// Records to write. The key of each must be among `expects`; no key comes twice, here or there.
    pub writes: Vec<Write>,
    /// Counters to change.
    pub counters: Vec<CounterChange>,
    /// Entries for the audit chain.
    pub audit: Vec<AuditDraft>,
}

/// One written record. The former record tells the store which places in indexes are no longer true.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Which record.
    pub key: Key,
    /// What was there, exactly as it was loaded at the expected version; `None` if nothing was.
    ///
    /// A store may refuse something else, or believe it and keep places that are not true.
    pub before: Option<Record>,
    /// What is to be there; `None` removes it.
    pub after: Option<Record>,
}

/// What became of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable. Each written record now has the version it was expected at plus one, each removed one has 0.
    Committed,
    /// This record had another version than expected; nothing of the unit was done.
    Conflict(Key),
}

/// Where a scan goes on: behind the last record it returned, whether that is still there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// A part of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Records in the order of the query.
    pub items: Vec<(Key, Stored)>,
    /// Where to go on, or `None` at the end. A page may be short although more follows.
    pub next: Option<Cursor>,
}

/// Asks for a lease, or for more time with one that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// What is leased.
    pub name: String,
    /// Who asks; asking again while it is held prolongs.
    pub holder: String,
    /// For how long from now on, by the clock of the store; 0 gives it back.
    pub duration: Millis,
}

/// A lease that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Rises whenever the lease is taken by one who did not hold it at that moment, and never falls, whatever crashes:
    /// what an earlier holder still tries can be told by it.
    pub token: u64,
    /// How long it still lasts, by the clock of the store.
    pub left: Millis,
    /// What the clock of the store shows, if it is one that servers on different machines share.
    pub now: Option<Timestamp>,
}

/// The store of the fleet.
///
/// Every read sees a state between two commits, and every commit that was acknowledged before it began.
#[async_trait]
pub trait FleetStore: Send + Sync + 'static {
    /// Commits units durably, and says of each what became of it, in order.
    ///
    /// Each unit is atomic; one that conflicts does not hinder the others. Units see each other's writes in order,
    /// so that of two units expecting the same version of a record the first wins. When this returns, committed
    /// units survive any crash. When the call is cancelled or fails, each unit has happened whole or not at all.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](super::StoreErrorKind::Invalid) if one of them breaks a rule of [`Unit`] or a limit:
    /// none of them happened. Any other [`StoreError`]: none of the units was acknowledged; whether they happened
    /// shows when they are loaded.
    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError>;

    /// Loads records, in the order of the keys, all from the same state.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError>;

    /// Walks over records in the order of the query, at most `limit` of them, from behind `after` on.
    ///
    /// Each page is true of one state. A walk over several pages finds every record that keeps its place during the
    /// walk exactly once, whatever else is written meanwhile.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](super::StoreErrorKind::Invalid) for a cursor of another query or a limit of 0;
    /// other [`StoreError`]s.
    async fn scan(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError>;

    /// The counters of a group that are not zero, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError>;

    /// At most `limit` entries of the audit chain from this number on; the first has number 1.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Takes, prolongs or gives back a lease; `None` while somebody else holds it, and once it is given back.
    ///
    /// A lease whose time has run out is held by nobody. A restart of a store that only one process can open may end
    /// all leases; the token survives.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError>;

    /// Waits until somebody has added to the audit chain, in this process or another one: what servers keep in memory of
    /// campaigns, releases and keys may have changed.
    ///
    /// A hint, to look sooner than by the clock: several may come as one, one may come for nothing, and one may be lost.
    /// A store that has none, as by default, waits for ever. Dropping the future loses nothing.
    async fn hint(&self) {
        core::future::pending().await
    }
}

#[async_trait]
impl<S: FleetStore + ?Sized> FleetStore for Arc<S> {
    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        (**self).commit(units).await
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        (**self).load(keys).await
    }

    async fn scan(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        (**self).scan(query, after, limit).await
    }

    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        (**self).counters(of).await
    }

    async fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        (**self).audit(from, limit).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        (**self).lease(request).await
    }

    async fn hint(&self) {
        (**self).hint().await
    }
}
