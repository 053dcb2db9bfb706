//! Reads: each on one read transaction, so that everything it returns is of the same state.

use core::ops::Bound;

use ota_core::fleet::{AuditEntry, CounterKey, CounterPrefix, Key, Page, Query, ScanBounds, Stored, Table};
use redb::ReadTransaction;

use super::error::Fault;
use super::schema::{AUDIT, COUNTERS, PLACES, RECORDS, audit_entry, row_key, stored};

/// A page ends here even if more records were asked for, so that large records do not make large pages.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) fn load(transaction: &ReadTransaction, keys: &[Key]) -> Result<Vec<Option<Stored>>, Fault> {
    let records = transaction.open_table(RECORDS)?;
    let one = |key: &Key| {
        let row = row_key(key.table().number(), &key.to_bytes());
        records.get(row.as_slice())?.map(|value| stored(key.table(), value.value())).transpose()
    };
    keys.iter().map(one).collect()
}

pub(super) fn scan(
    transaction: &ReadTransaction,
    query: &Query,
    bounds: ScanBounds,
    limit: usize,
) -> Result<Page, Fault> {
    match query {
        Query::Table { table, .. } => scan_table(transaction, query, *table, bounds, limit),
        Query::Index { from, .. } => {
            let rows = transaction.open_table(PLACES)?;
            let records = transaction.open_table(RECORDS)?;
            let table = from.index.table();
            let (start, end) = row_bounds(from.index.number(), bounds);
            let mut page = PageBuilder::new(query, limit);
            for row in rows.range::<&[u8]>((as_slice(&start), as_slice(&end)))? {
                let (row, place_bytes) = row?;
                if page.is_full() {
                    page.more = true;
                    break;
                }
                let sort_key = row.value().get(1..).ok_or(Fault::Row("places"))?;
                let key = sort_key.get(usize::from(place_bytes.value())..).ok_or(Fault::Row("places"))?;
                let value = records.get(row_key(table.number(), key).as_slice())?.ok_or(Fault::Dangling)?;
                page.push(table, key, sort_key, value.value())?;
            }
            Ok(page.finish())
        }
    }
}

fn scan_table(
    transaction: &ReadTransaction,
    query: &Query,
    table: Table,
    bounds: ScanBounds,
    limit: usize,
) -> Result<Page, Fault> {
    let records = transaction.open_table(RECORDS)?;
    let (start, end) = row_bounds(table.number(), bounds);
    let mut page = PageBuilder::new(query, limit);
    for row in records.range::<&[u8]>((as_slice(&start), as_slice(&end)))? {
        let (row, value) = row?;
        if page.is_full() {
            page.more = true;
            break;
        }
        let key = row.value().get(1..).ok_or(Fault::Row("records"))?;
        page.push(table, key, key, value.value())?;
    }
    Ok(page.finish())
}

/// The counters of a group; `None` if they are more than `most`.
pub(super) fn counters(
    transaction: &ReadTransaction,
    of: &CounterPrefix,
    most: usize,
) -> Result<Option<Vec<(CounterKey, i64)>>, Fault> {
    let counters = transaction.open_table(COUNTERS)?;
    let prefix = of.to_bytes();
    let mut found = Vec::new();
    for row in counters.range::<&[u8]>(prefix.as_slice()..)? {
        let (key, value) = row?;
        if !key.value().starts_with(&prefix) {
            break;
        }
        if found.len() == most {
            return Ok(None);
        }
        let key = CounterKey::from_bytes(key.value()).ok_or(Fault::Row("counters"))?;
        found.push((key, value.value()));
    }
    Ok(Some(found))
}

pub(super) fn audit(
    transaction: &ReadTransaction,
    from: u64,
    limit: usize,
) -> Result<Vec<AuditEntry>, Fault> {
    let entries = transaction.open_table(AUDIT)?;
    let mut found = Vec::new();
    for row in entries.range(from..)?.take(limit) {
        let (sequence, value) = row?;
        found.push(audit_entry(sequence.value(), value.value())?);
    }
    Ok(found)
}

struct PageBuilder<'q> {
    query: &'q Query,
    limit: usize,
    bytes: usize,
    items: Vec<(Key, Stored)>,
    last: Vec<u8>,
    more: bool,
}

impl<'q> PageBuilder<'q> {
    fn new(query: &'q Query, limit: usize) -> Self {
        Self { query, limit, bytes: 0, items: Vec::new(), last: Vec::new(), more: false }
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.limit || self.bytes >= PAGE_BYTES_MAX
    }

    fn push(&mut self, table: Table, key: &[u8], sort_key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let key = Key::from_bytes(table, key).ok_or(Fault::Row("records"))?;
        self.items.push((key, stored(table, value)?));
        self.bytes += value.len();
        self.last.clear();
        self.last.extend_from_slice(sort_key);
        Ok(())
    }

    fn finish(self) -> Page {
        let next = self.more.then(|| self.query.cursor(&self.last));
        Page { items: self.items, next }
    }
}

/// Bounds among the rows of one table or index.
fn row_bounds(number: u8, (start, end): ScanBounds) -> ScanBounds {
    let start = match start {
        Bound::Included(start) => Bound::Included(row_key(number, &start)),
        Bound::Excluded(start) => Bound::Excluded(row_key(number, &start)),
        Bound::Unbounded => Bound::Included(vec![number]),
    };
    let end = match end {
        Bound::Included(end) => Bound::Included(row_key(number, &end)),
        Bound::Excluded(end) => Bound::Excluded(row_key(number, &end)),
        // No number reaches 255, which would leave the last table without an end.
        Bound::Unbounded => Bound::Excluded(vec![number.saturating_add(1)]),
    };
    (start, end)
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(bytes) => Bound::Included(bytes.as_slice()),
        Bound::Excluded(bytes) => Bound::Excluded(bytes.as_slice()),
        Bound::Unbounded => Bound::Unbounded,
    }
}
