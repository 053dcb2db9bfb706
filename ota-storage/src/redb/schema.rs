//! The tables, how rows are written, and which version of that a file has.
//!
//! | table | key | value |
//! |---|---|---|
//! | `records` | table number, key | version (CBOR), record (CBOR) |
//! | `places` | index number, place, key | how many bytes the place has |
//! | `counters` | counter key | value |
//! | `audit` | sequence | entry (CBOR array) |
//! | `leases` | name | last token |
//! | `meta` | name | number |
//!
//! A place holds its record's key only as the end of its own, and a value of fixed width, because redb spends four
//! bytes on each part of a row whose width varies.

use minicbor::{Decoder, Encoder};
use ota_core::fleet::{AuditDraft, AuditEntry, AuditHash, Record, Stored, Table, Version};
use ota_core::time::Timestamp;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableHandle, WriteTransaction};

use super::error::Fault;

pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
pub(super) const PLACES: TableDefinition<'_, &[u8], u16> = TableDefinition::new("places");
pub(super) const COUNTERS: TableDefinition<'_, &[u8], i64> = TableDefinition::new("counters");
pub(super) const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");
pub(super) const LEASES: TableDefinition<'_, &str, u64> = TableDefinition::new("leases");
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In `meta`: the version of the schema.
const SCHEMA_KEY: &str = "schema";
/// The version of the schema that this code writes.
pub(super) const SCHEMA: u64 = 1;

/// A step from one version of the schema to the next, inside the transaction that raises the number.
type Migration = fn(&WriteTransaction) -> Result<(), Fault>;

/// The first leads from version 1 to 2. They are only ever added to.
const MIGRATIONS: [Migration; 0] = [];

const _: () = assert!(MIGRATIONS.len() as u64 + 1 == SCHEMA);

/// Makes the tables in an empty database, brings an older one up to date, and refuses what it does not know.
pub(super) fn prepare(database: &redb::Database) -> Result<(), Fault> {
    if found(database)? == Some(SCHEMA) {
        return Ok(());
    }
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    match found(database)? {
        None => {
            transaction.open_table(RECORDS)?;
            transaction.open_table(PLACES)?;
            transaction.open_table(COUNTERS)?;
            transaction.open_table(AUDIT)?;
            transaction.open_table(LEASES)?;
        }
        Some(older) => {
            // Versions begin with 1: what is not below this code's own was refused by `found`.
            let done = usize::try_from(older.saturating_sub(1)).unwrap_or(usize::MAX);
            for migration in MIGRATIONS.iter().skip(done) {
                migration(&transaction)?;
            }
        }
    }
    transaction.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
    transaction.commit()?;
    Ok(())
}

/// The version of the schema in a database, or nothing if it is empty.
fn found(database: &redb::Database) -> Result<Option<u64>, Fault> {
    let transaction = database.begin_read()?;
    let names: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
    if names.is_empty() {
        return Ok(None);
    }
    if !names.iter().any(|name| name == META.name()) {
        return Err(Fault::Foreign);
    }
    let version = transaction.open_table(META)?.get(SCHEMA_KEY)?.map(|value| value.value());
    match version {
        Some(known) if (1..=SCHEMA).contains(&known) => Ok(Some(known)),
        Some(found) => Err(Fault::Schema { found, known: SCHEMA }),
        None => Err(Fault::Foreign),
    }
}

/// A number and what follows it: the key of a row in `records` or `places`.
pub(super) fn row_key(number: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(number);
    key.extend_from_slice(rest);
    key
}

/// A value in `records`.
pub(super) fn record_value(version: Version, record: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(5 + record.len());
    // Writing to a vector cannot fail.
    let _ = Encoder::new(&mut value).u64(version.0);
    value.extend_from_slice(record);
    value
}

/// The version that a value in `records` begins with, and the rest of it.
pub(super) fn split_record_value(value: &[u8]) -> Result<(Version, &[u8]), Fault> {
    let mut decoder = Decoder::new(value);
    let version = decoder.u64().map_err(|_| Fault::Row("records"))?;
    Ok((Version(version), &value[decoder.position()..]))
}

pub(super) fn stored(table: Table, value: &[u8]) -> Result<Stored, Fault> {
    let (version, record) = split_record_value(value)?;
    Ok(Stored { version, record: Record::from_bytes(table, record).map_err(Fault::Record)? })
}

pub(super) fn audit_value(entry: &AuditEntry) -> Vec<u8> {
    let mut value = Vec::new();
    let mut encoder = Encoder::new(&mut value);
    let draft = &entry.draft;
    let texts = [&draft.principal, &draft.action, &draft.subject, &draft.product, &draft.detail];
    let written = (|| {
        encoder.array(8)?.u64(draft.at.0)?;
        for text in texts {
            encoder.str(text)?;
        }
        encoder.bytes(&entry.previous.0)?.bytes(&entry.hash.0)?.ok()
    })();
    // Writing to a vector cannot fail.
    debug_assert!(written.is_ok(), "an audit entry is written to a vector");
    value
}

pub(super) fn audit_entry(sequence: u64, value: &[u8]) -> Result<AuditEntry, Fault> {
    let mut decoder = Decoder::new(value);
    let mut read = || -> Result<AuditEntry, minicbor::decode::Error> {
        decoder.array()?;
        let at = Timestamp(decoder.u64()?);
        let mut text = || decoder.str().map(str::to_owned);
        let draft = AuditDraft {
            at,
            principal: text()?,
            action: text()?,
            subject: text()?,
            product: text()?,
            detail: text()?,
        };
        let mut hash = || -> Result<AuditHash, minicbor::decode::Error> {
            let bytes = decoder.bytes()?.try_into();
            bytes.map(AuditHash).map_err(|_| minicbor::decode::Error::message("a hash has another length"))
        };
        Ok(AuditEntry { sequence, draft, previous: hash()?, hash: hash()? })
    };
    read().map_err(|_| Fault::Row("audit"))
}

/// The number and the hash of the last entry of the chain; zeros before the first.
pub(super) fn audit_end(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<(u64, AuditHash), Fault> {
    let Some((sequence, value)) = table.last()? else { return Ok((0, AuditHash::default())) };
    let entry = audit_entry(sequence.value(), value.value())?;
    Ok((entry.sequence, entry.hash))
}
