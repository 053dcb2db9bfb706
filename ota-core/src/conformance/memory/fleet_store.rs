//! A fleet store in ordered maps: the shortest code that keeps the promises of [`FleetStore`].
//!
//! Records rest in their stored form, so that one which does not read back is found here and not on a disk. What a
//! write says was there before is compared with what is there, because other stores may believe it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use crate::fleet::{
    AuditEntry, AuditHash, CounterKey, CounterPrefix, Cursor, FleetStore, Index, Key, Lease, LeaseRequest,
    Outcome, Page, PreparedUnit, Query, Record, StoreError, StoreErrorKind, Stored, Table, Unit, Version,
};
use crate::limits;
use crate::time::Millis;

/// A [`FleetStore`] that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryFleetStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Table, BTreeMap<Vec<u8>, Row>>,
    /// Sort keys, and how many of their bytes are the place.
    places: BTreeMap<Index, BTreeMap<Vec<u8>, usize>>,
    /// None of them is zero.
    counters: BTreeMap<CounterKey, i64>,
    audit: Vec<AuditEntry>,
    leases: BTreeMap<String, HeldLease>,
}

#[derive(Debug)]
struct Row {
    version: Version,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct HeldLease {
    holder: String,
    token: u64,
    until: Instant,
}

impl MemoryFleetStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No call leaves the state half-changed: a panic elsewhere does no harm to it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl FleetStore for MemoryFleetStore {
    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        if units.len() > limits::COMMIT_UNITS_MAX {
            return Err(StoreErrorKind::Invalid.into());
        }
        let mut state = self.state();
        state.compare_with_what_was_there(&units)?;
        let units: Vec<PreparedUnit> = units.into_iter().map(PreparedUnit::new).collect::<Result<_, _>>()?;
        Ok(units.into_iter().map(|unit| state.apply(unit)).collect())
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        let state = self.state();
        keys.iter()
            .map(|key| state.row(key.table(), &key.to_bytes()).map(|row| row.read(key.table())).transpose())
            .collect()
    }

    async fn scan(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let bounds = query.bounds(after)?;
        if limit == 0 {
            return Err(StoreErrorKind::Invalid.into());
        }
        let state = self.state();
        // One more than wanted shows whether anything follows.
        let wanted = limit.saturating_add(1);
        let mut found: Vec<(Table, &[u8], &[u8])> = match query {
            Query::Table { table, .. } => {
                let rows = state.records.get(table).into_iter().flat_map(|rows| rows.range(bounds.clone()));
                rows.take(wanted).map(|(key, _)| (*table, key.as_slice(), key.as_slice())).collect()
            }
            Query::Index { from, .. } => {
                let table = from.index.table();
                let places = state.places.get(&from.index).into_iter();
                let places = places.flat_map(|places| places.range(bounds.clone())).take(wanted);
                places.map(|(sort_key, place)| (table, sort_key.as_slice(), &sort_key[*place..])).collect()
            }
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(_, sort_key, _)| query.cursor(sort_key));
        let items =
            found.into_iter().map(|(table, _, key)| state.item(table, key)).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        let state = self.state();
        Ok(state
            .counters
            .iter()
            .filter(|(key, _)| of.covers(key))
            .map(|(key, value)| (key.clone(), *value))
            .collect())
    }

    async fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.state().audit.iter().filter(|entry| entry.sequence >= from).take(limit).cloned().collect())
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        Ok(self.state().lease(request, Instant::now()))
    }
}

impl State {
    fn row(&self, table: Table, key: &[u8]) -> Option<&Row> {
        self.records.get(&table)?.get(key)
    }

    fn item(&self, table: Table, bytes: &[u8]) -> Result<(Key, Stored), StoreError> {
        let key = Key::from_bytes(table, bytes).ok_or(StoreErrorKind::Corrupt)?;
        let row = self.row(table, bytes).ok_or(StoreErrorKind::Corrupt)?;
        Ok((key, row.read(table)?))
    }

    /// Finds the caller's mistake that other stores may not see.
    fn compare_with_what_was_there(&self, units: &[Unit]) -> Result<(), StoreError> {
        let mut written = BTreeSet::new();
        for unit in units {
            for write in &unit.writes {
                // What an earlier unit of the call leaves is not there yet.
                if !written.insert(&write.key) {
                    continue;
                }
                let expected = unit.expects.iter().find(|(key, _)| *key == write.key);
                let row = self.row(write.key.table(), &write.key.to_bytes());
                let row = row.filter(|row| expected.is_some_and(|(_, version)| *version == row.version));
                let Some(row) = row else { continue };
                if write.before.as_ref().map(Record::to_bytes).as_ref() != Some(&row.bytes) {
                    return Err(StoreError::new(StoreErrorKind::Invalid, BeforeDiffers(write.key.clone())));
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, unit: PreparedUnit) -> Outcome {
        for (key, bytes, version) in &unit.expects {
            let found = self.row(key.table(), bytes).map(|row| row.version).unwrap_or_default();
            if found != *version {
                return Outcome::Conflict(key.clone());
            }
        }
        for write in unit.writes {
            let Some((key, bytes, _)) = unit.expects.get(write.expected) else { continue };
            for place in &write.leaves {
                self.places.entry(place.index).or_default().remove(&place.sort_key);
            }
            for place in write.enters {
                self.places.entry(place.index).or_default().insert(place.sort_key, place.place_bytes);
            }
            let rows = self.records.entry(key.table()).or_default();
            match write.after {
                Some(after) => rows.insert(bytes.clone(), Row { version: write.version, bytes: after }),
                None => rows.remove(bytes),
            };
        }
        for change in unit.counters {
            let value = self.counters.entry(change.key.clone()).or_default();
            *value = value.saturating_add(change.by);
            if *value == 0 {
                self.counters.remove(&change.key);
            }
        }
        for draft in unit.audit {
            let (sequence, previous) =
                self.audit.last().map_or((0, AuditHash::default()), |entry| (entry.sequence, entry.hash));
            self.audit.push(AuditEntry::chain(sequence.saturating_add(1), previous, draft));
        }
        Outcome::Committed
    }

    fn lease(&mut self, request: &LeaseRequest, now: Instant) -> Option<Lease> {
        let held = self.leases.get(&request.name);
        let token = held.map_or(0, |lease| lease.token);
        let holder = held.filter(|lease| lease.until > now).map(|lease| lease.holder.as_str());
        let token = match holder {
            Some(holder) if holder != request.holder => return None,
            Some(_) => token,
            None => token.saturating_add(1),
        };
        if request.duration == Millis(0) {
            if let Some(lease) = self.leases.get_mut(&request.name) {
                lease.until = now;
            }
            return None;
        }
        let until = now.checked_add(Duration::from_millis(request.duration.0))?;
        let lease = HeldLease { holder: request.holder.clone(), token, until };
        self.leases.insert(request.name.clone(), lease);
        Some(Lease { token, left: request.duration, now: None })
    }
}

impl Row {
    fn read(&self, table: Table) -> Result<Stored, StoreError> {
        let record = Record::from_bytes(table, &self.bytes)
            .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error))?;
        Ok(Stored { version: self.version, record })
    }
}

/// The caller's record from before the write is not the stored one.
#[derive(Debug, thiserror::Error)]
#[error("what was there before the write of {0} is something else")]
struct BeforeDiffers(Key);

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use super::super::super::futures::poll_once;
    use super::*;

    #[test]
    fn the_reference_conforms_and_never_waits() {
        let suite = crate::conformance::fleet_store(async || MemoryFleetStore::new());
        assert!(poll_once(pin!(suite)));
    }
}
