//! A unit as bytes: checked, encoded and compared once, on the task of the caller, the same way for every backend.
//!
//! What a backend is given here keeps the promises about units that need no look at the store: every written record
//! is expected, no key comes twice, and nothing exceeds its limit.

use alloc::vec::Vec;

use super::{
    AuditDraft, CounterChange, Index, IndexEntry, Key, Record, StoreError, StoreErrorKind, Unit, Version,
    Write,
};
use crate::limits;

/// Why a unit was refused before the store was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// A key is expected or written twice.
    #[error("a key comes twice")]
    KeyTwice,
    /// A written record is not among the expected ones.
    #[error("a written record is not among the expected ones")]
    Unexpected,
    /// The record before the write is missing although a version is expected, or there although none is.
    #[error("the record before the write does not fit the expected version")]
    Before,
    /// A record is of another table than its key.
    #[error("a record is of another table than its key")]
    Table,
    /// A key, a record, an entry or the unit itself is longer than its limit.
    #[error("something is longer than its limit")]
    TooLong,
}

impl From<UnitError> for StoreError {
    fn from(error: UnitError) -> Self {
        Self::new(StoreErrorKind::Invalid, error)
    }
}

/// A place in an index as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which index.
    pub index: Index,
    /// The place, then the key of the record.
    pub sort_key: Vec<u8>,
    /// How many bytes of the sort key are the place.
    pub place_bytes: usize,
}

impl Place {
    fn new(entry: &IndexEntry, key: &Key) -> Self {
        Self { index: entry.index, sort_key: entry.sort_key(key), place_bytes: entry.place.len() }
    }
}

/// A [`Unit`] that was checked and encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedUnit {
    /// The expected records: key, its bytes, version.
    pub expects: Vec<(Key, Vec<u8>, Version)>,
    /// The written ones.
    pub writes: Vec<PreparedWrite>,
    /// Counters to change.
    pub counters: Vec<CounterChange>,
    /// Entries for the audit chain.
    pub audit: Vec<AuditDraft>,
}

/// A [`Write`] that was checked and encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedWrite {
    /// Which of the expected records.
    pub expected: usize,
    /// What is to be there, or `None` if it is removed.
    pub after: Option<Vec<u8>>,
    /// The version it has after the write; 0 if it is removed.
    pub version: Version,
    /// The places where it is no longer found.
    pub leaves: Vec<Place>,
    /// The places where it is found from now on.
    pub enters: Vec<Place>,
}

impl PreparedUnit {
    /// Checks and encodes a unit.
    ///
    /// # Errors
    /// [`UnitError`]: the unit breaks a rule of [`Unit`], whatever the store holds.
    pub fn new(unit: Unit) -> Result<Self, UnitError> {
        let too_many = |count: usize| count > limits::UNIT_PARTS_MAX;
        if too_many(unit.expects.len()) || too_many(unit.counters.len()) || too_many(unit.audit.len()) {
            return Err(UnitError::TooLong);
        }
        let mut expects = Vec::with_capacity(unit.expects.len());
        for (key, version) in unit.expects {
            let bytes = key.to_bytes();
            if bytes.len() > limits::RECORD_KEY_BYTES_MAX {
                return Err(UnitError::TooLong);
            }
            expects.push((key, bytes, version));
        }
        let mut places: Vec<(&Key, usize, Version)> =
            expects.iter().zip(0..).map(|((key, _, version), place)| (key, place, *version)).collect();
        places.sort_unstable();
        let is_twice =
            |pair: &[(&Key, usize, Version)]| matches!(pair, [(one, ..), (other, ..)] if one == other);
        if places.windows(2).any(is_twice) {
            return Err(UnitError::KeyTwice);
        }
        let mut writes: Vec<PreparedWrite> = Vec::with_capacity(unit.writes.len());
        for write in unit.writes {
            let found = places.binary_search_by(|(key, ..)| (*key).cmp(&write.key)).ok();
            let found = found.and_then(|found| places.get(found));
            let Some((_, expected, version)) = found else { return Err(UnitError::Unexpected) };
            writes.push(PreparedWrite::new(&write, *expected, *version)?);
        }
        let mut written: Vec<usize> = writes.iter().map(|write| write.expected).collect();
        written.sort_unstable();
        if written.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(UnitError::KeyTwice);
        }
        if unit.audit.iter().any(|draft| entry_bytes(draft) > limits::AUDIT_ENTRY_BYTES_MAX) {
            return Err(UnitError::TooLong);
        }
        Ok(Self { expects, writes, counters: unit.counters, audit: unit.audit })
    }
}

impl PreparedWrite {
    fn new(write: &Write, expected: usize, version: Version) -> Result<Self, UnitError> {
        if write.before.is_some() != (version != Version::default()) {
            return Err(UnitError::Before);
        }
        let before = entries(&write.key, write.before.as_ref())?;
        let wanted = entries(&write.key, write.after.as_ref())?;
        // Both are sorted: what is in both stays where it is, as all of it does in most writes.
        let only_in = |some: &[IndexEntry], others: &[IndexEntry]| {
            let entries = some.iter().filter(|entry| others.binary_search(entry).is_err());
            entries.map(|entry| Place::new(entry, &write.key)).collect::<Vec<_>>()
        };
        let (leaves, enters) = (only_in(&before, &wanted), only_in(&wanted, &before));
        let after = write.after.as_ref().map(Record::to_bytes);
        if after.as_ref().is_some_and(|bytes| bytes.len() > limits::STORED_RECORD_BYTES_MAX) {
            return Err(UnitError::TooLong);
        }
        let version = match after {
            Some(_) => Version(version.0.checked_add(1).ok_or(UnitError::TooLong)?),
            None => Version::default(),
        };
        Ok(Self { expected, after, version, leaves, enters })
    }
}

/// The places of a record, sorted.
fn entries(key: &Key, record: Option<&Record>) -> Result<Vec<IndexEntry>, UnitError> {
    let Some(record) = record else { return Ok(Vec::new()) };
    if record.table() != key.table() {
        return Err(UnitError::Table);
    }
    let mut entries = record.places(key);
    if entries.iter().any(|entry| entry.place.len() > limits::INDEX_PLACE_BYTES_MAX) {
        return Err(UnitError::TooLong);
    }
    entries.sort_unstable();
    entries.dedup();
    Ok(entries)
}

fn entry_bytes(draft: &AuditDraft) -> usize {
    let texts = [&draft.principal, &draft.action, &draft.subject, &draft.product, &draft.detail];
    texts.iter().fold(0_usize, |sum, text| sum.saturating_add(text.len()))
}
