//! One transaction for many units: checked against the rows, applied in order, with one change per counter.

use std::collections::{BTreeMap, HashMap};

use ota_core::fleet::{AuditEntry, AuditHash, Outcome, PreparedUnit, Version};
use redb::{ReadableTable, Table, WriteTransaction};

use super::error::Fault;
use super::schema::{
    AUDIT, COUNTERS, PLACES, RECORDS, audit_end, audit_value, record_value, row_key, split_record_value,
};

/// The tables of a write transaction, and what is written only once at its end.
pub(super) struct Batch<'t> {
    records: Table<'t, &'static [u8], &'static [u8]>,
    places: Table<'t, &'static [u8], u16>,
    transaction: &'t WriteTransaction,
    counters: HashMap<Vec<u8>, i64>,
    audit: Vec<ota_core::fleet::AuditDraft>,
    changed: bool,
}

impl<'t> Batch<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            places: transaction.open_table(PLACES)?,
            transaction,
            counters: HashMap::new(),
            audit: Vec::new(),
            changed: false,
        })
    }

    /// Applies a unit whole, or finds a conflict and does nothing.
    pub(super) fn apply(&mut self, unit: PreparedUnit) -> Result<Outcome, Fault> {
        let PreparedUnit { expects, writes, counters, audit } = unit;
        let mut keys = Vec::with_capacity(expects.len());
        for (key, bytes, expected) in expects {
            let row = row_key(key.table().number(), &bytes);
            let found = match self.records.get(row.as_slice())? {
                Some(value) => split_record_value(value.value())?.0,
                None => Version::default(),
            };
            if found != expected {
                return Ok(Outcome::Conflict(key));
            }
            keys.push(row);
        }
        self.changed |= !(writes.is_empty() && counters.is_empty() && audit.is_empty());
        for write in writes {
            let key = &keys[write.expected];
            for place in &write.leaves {
                self.places.remove(row_key(place.index.number(), &place.sort_key).as_slice())?;
            }
            for place in &write.enters {
                let row = row_key(place.index.number(), &place.sort_key);
                let bytes = u16::try_from(place.place_bytes).map_err(|_| Fault::Row("places"))?;
                self.places.insert(row.as_slice(), bytes)?;
            }
            match write.after {
                Some(after) => {
                    self.records.insert(key.as_slice(), record_value(write.version, &after).as_slice())?
                }
                None => self.records.remove(key.as_slice())?,
            };
        }
        for change in counters {
            let sum = self.counters.entry(change.key.to_bytes()).or_default();
            *sum = sum.saturating_add(change.by);
        }
        self.audit.extend(audit);
        Ok(Outcome::Committed)
    }

    /// Writes counters and audit entries; says whether the transaction changes anything.
    pub(super) fn finish(self) -> Result<bool, Fault> {
        write_counters(self.transaction, self.counters)?;
        write_audit(self.transaction, self.audit)?;
        Ok(self.changed)
    }
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

fn write_audit(
    transaction: &WriteTransaction,
    drafts: Vec<ota_core::fleet::AuditDraft>,
) -> Result<(), Fault> {
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
