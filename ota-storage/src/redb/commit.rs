//! One transaction for many units: checked against the rows, applied in order, with one change per row and counter.
//!
//! All rows that the units expect are read first, in the order of their keys; the units are applied to what was read;
//! what is left of that is written in order again. So neighbours are met while their page is at hand, and a row that
//! many units change is written once. The medium sees nothing that a unit did which then met a conflict, because a unit
//! is checked whole before it changes anything.

use std::collections::{BTreeMap, HashMap};

use ota_core::fleet::{AuditDraft, AuditEntry, AuditHash, Outcome, PreparedUnit, Version};
use redb::{ReadableTable, WriteTransaction};

use super::copy::Touched;
use super::error::Fault;
use super::schema::{
    AUDIT, COUNTERS, PLACES, RECORDS, audit_end, audit_value, record_value, row_key, split_record_value,
};

/// What the units of a transaction have made of it so far.
pub(super) struct Batch {
    /// In the order of their keys.
    rows: Vec<Row>,
    /// What becomes of places: how many bytes of the row are the place, or nothing if the row goes.
    places: BTreeMap<Vec<u8>, Option<u16>>,
    counters: HashMap<Vec<u8>, i64>,
    audit: Vec<AuditDraft>,
    changed: bool,
}

/// A row of `records` as the next unit finds it.
struct Row {
    key: Vec<u8>,
    version: Version,
    /// What it was changed to, if it was; nothing in it if the record was removed.
    written: Option<Option<Vec<u8>>>,
}

impl Batch {
    /// Reads the versions of all records that the units expect.
    pub(super) fn read<'u>(
        transaction: &WriteTransaction,
        units: impl Iterator<Item = &'u PreparedUnit>,
    ) -> Result<Self, Fault> {
        let expected = units.flat_map(|unit| &unit.expects);
        let mut keys: Vec<Vec<u8>> =
            expected.map(|(key, bytes, _)| row_key(key.table().number(), bytes)).collect();
        keys.sort_unstable();
        keys.dedup();
        let records = transaction.open_table(RECORDS)?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let version = match records.get(key.as_slice())? {
                Some(value) => split_record_value(value.value())?.0,
                None => Version::default(),
            };
            rows.push(Row { key, version, written: None });
        }
        Ok(Self {
            rows,
            places: BTreeMap::new(),
            counters: HashMap::new(),
            audit: Vec::new(),
            changed: false,
        })
    }

    /// Applies a unit whole, or finds a conflict and does nothing. The unit is one of those that [`read`](Self::read) saw.
    pub(super) fn apply(&mut self, unit: PreparedUnit) -> Result<Outcome, Fault> {
        let PreparedUnit { expects, writes, counters, audit } = unit;
        let mut found = Vec::with_capacity(expects.len());
        for (key, bytes, expected) in expects {
            let number = key.table().number();
            let place = self.rows.binary_search_by(|row| {
                let (first, rest) = row.key.split_first().unwrap_or((&0, &[]));
                first.cmp(&number).then_with(|| rest.cmp(&bytes))
            });
            let place = place.map_err(|_| Fault::Row("records"))?;
            if self.rows[place].version != expected {
                return Ok(Outcome::Conflict(key));
            }
            found.push(place);
        }
        self.changed |= !(writes.is_empty() && counters.is_empty() && audit.is_empty());
        for write in writes {
            for place in &write.leaves {
                self.places.insert(row_key(place.index.number(), &place.sort_key), None);
            }
            for place in &write.enters {
                let bytes = u16::try_from(place.place_bytes).map_err(|_| Fault::Row("places"))?;
                self.places.insert(row_key(place.index.number(), &place.sort_key), Some(bytes));
            }
            let row = &mut self.rows[found[write.expected]];
            row.version = write.version;
            row.written = Some(write.after);
        }
        for change in counters {
            let sum = self.counters.entry(change.key.to_bytes()).or_default();
            *sum = sum.saturating_add(change.by);
        }
        self.audit.extend(audit);
        Ok(Outcome::Committed)
    }

    /// Writes what the units have left; says whether the transaction changes anything. Whoever follows the store learns
    /// which rows it touches.
    pub(super) fn finish(
        self,
        transaction: &WriteTransaction,
        followed: Option<&mut Touched>,
    ) -> Result<bool, Fault> {
        if let Some(touched) = followed {
            let written = self.rows.iter().filter(|row| row.written.is_some());
            touched.records.extend(written.map(|row| row.key.clone()));
            touched.places.extend(self.places.keys().cloned());
            touched.counters.extend(self.counters.keys().cloned());
        }
        write_rows(transaction, self.rows)?;
        write_places(transaction, self.places)?;
        write_counters(transaction, self.counters)?;
        write_audit(transaction, self.audit)?;
        Ok(self.changed)
    }
}

fn write_rows(transaction: &WriteTransaction, rows: Vec<Row>) -> Result<(), Fault> {
    let mut table = transaction.open_table(RECORDS)?;
    for row in rows {
        match row.written {
            Some(Some(after)) => {
                table.insert(row.key.as_slice(), record_value(row.version, &after).as_slice())?
            }
            Some(None) => table.remove(row.key.as_slice())?,
            None => continue,
        };
    }
    Ok(())
}

fn write_places(transaction: &WriteTransaction, places: BTreeMap<Vec<u8>, Option<u16>>) -> Result<(), Fault> {
    if places.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(PLACES)?;
    for (row, place) in places {
        match place {
            Some(bytes) => table.insert(row.as_slice(), bytes)?,
            None => table.remove(row.as_slice())?,
        };
    }
    Ok(())
}

fn write_counters(transaction: &WriteTransaction, changes: HashMap<Vec<u8>, i64>) -> Result<(), Fault> {
    // In the order of their keys, so that neighbours are changed while their page is at hand.
    let changes: BTreeMap<Vec<u8>, i64> = changes.into_iter().filter(|(_, by)| *by != 0).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(COUNTERS)?;
    for (key, by) in changes {
        let before = table.get(key.as_slice())?.map_or(0, |value| value.value());
        match before.saturating_add(by) {
            0 => table.remove(key.as_slice())?,
            after => table.insert(key.as_slice(), after)?,
        };
    }
    Ok(())
}

fn write_audit(transaction: &WriteTransaction, drafts: Vec<AuditDraft>) -> Result<(), Fault> {
    if drafts.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(AUDIT)?;
    let (mut sequence, mut previous): (u64, AuditHash) = audit_end(&table)?;
    for draft in drafts {
        sequence += 1;
        let entry = AuditEntry::chain(sequence, previous, draft);
        table.insert(sequence, audit_value(&entry).as_slice())?;
        previous = entry.hash;
    }
    Ok(())
}
