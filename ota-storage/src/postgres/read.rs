//! Reads: each is one statement, so that everything it returns is of the same state.

use core::ops::Bound;

use ota_core::fleet::{
    AuditDraft, AuditEntry, AuditHash, CounterKey, CounterPrefix, Key, Page, Query, ScanBounds, Stored,
};
use ota_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::error::Fault;
use super::schema::{AUDIT, COUNTERS, Family, LOAD, PAGE_BYTES_MAX, part_of, stored};
use super::session::Session;

/// Most records in a page, however many were asked for.
const PAGE_RECORDS_MAX: usize = 10_000;

pub(super) async fn load(session: &Session, keys: &[Key]) -> Result<Vec<Option<Stored>>, Fault> {
    let mut positions: [Vec<i32>; 3] = Default::default();
    let mut parts: [Vec<i16>; 3] = Default::default();
    let mut names: [Vec<Vec<u8>>; 3] = Default::default();
    for (position, key) in (0..).zip(keys) {
        let family = Family::of(key.table()).position();
        positions[family].push(position);
        parts[family].push(part_of(key));
        names[family].push(key.to_bytes());
    }
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(9);
    for ((positions, parts), names) in positions.iter().zip(&parts).zip(&names) {
        parameters.extend([positions as &(dyn ToSql + Sync), parts, names]);
    }
    let statement = session.prepare_cached(LOAD).await?;
    let mut found = vec![None; keys.len()];
    for row in session.query(&statement, &parameters).await? {
        let position = usize::try_from(row.try_get::<_, i32>(0)?).map_err(|_| Fault::Row("load"))?;
        let (key, place) = keys.get(position).zip(found.get_mut(position)).ok_or(Fault::Row("load"))?;
        *place = Some(stored(key.table(), row.try_get(1)?, row.try_get(2)?)?);
    }
    Ok(found)
}

pub(super) async fn scan(
    session: &Session,
    query: &Query,
    (start, end): ScanBounds,
    limit: usize,
) -> Result<Page, Fault> {
    let (table, number, statements) = match query {
        Query::Table { table, .. } => {
            let statements = Family::of(*table).statements();
            (*table, i16::from(table.number()), [statements.walk, statements.walk_until])
        }
        Query::Index { from, .. } => {
            let table = from.index.table();
            let statements = Family::of(table).statements();
            (table, from.index.number().into(), [statements.walk_places, statements.walk_places_until])
        }
    };
    let limit = limit.min(PAGE_RECORDS_MAX);
    // One more than wanted shows whether anything follows.
    let wanted = i64::try_from(limit + 1).map_err(|_| Fault::Row("limit"))?;
    let start = match start {
        Bound::Included(start) => start,
        // What follows at once behind a text of bytes is the same with a zero behind it.
        Bound::Excluded(mut start) => {
            start.push(0);
            start
        }
        Bound::Unbounded => Vec::new(),
    };
    let rows = match end {
        Bound::Unbounded => {
            let statement = session.prepare_cached(statements[0]).await?;
            session.query(&statement, &[&number, &start, &wanted]).await?
        }
        Bound::Excluded(end) | Bound::Included(end) => {
            let statement = session.prepare_cached(statements[1]).await?;
            session.query(&statement, &[&number, &start, &wanted, &end]).await?
        }
    };
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
    for row in rows.iter().take(limit) {
        let sort_key: &[u8] = row.try_get(0)?;
        let place_bytes = usize::try_from(row.try_get::<_, i16>(1)?).map_err(|_| Fault::Row("places"))?;
        let key = sort_key.get(place_bytes..).ok_or(Fault::Row("places"))?;
        let key = Key::from_bytes(table, key).ok_or(Fault::Row("keys"))?;
        let version: Option<i64> = row.try_get(2)?;
        let body: Option<&[u8]> = row.try_get(3)?;
        let (version, body) = version.zip(body).ok_or(Fault::Dangling)?;
        items.push((key, stored(table, version, body)?));
        bytes += body.len();
        last = Some(sort_key);
    }
    let more = rows.len() > limit || bytes >= PAGE_BYTES_MAX;
    Ok(Page { items, next: last.filter(|_| more).map(|last| query.cursor(last)) })
}

pub(super) async fn counters(session: &Session, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, Fault> {
    let start = of.to_bytes();
    // Behind every key of the group: no name holds a byte of ones, and no numbers in a row have so many.
    let end = [start.as_slice(), &[0xff; 80]].concat();
    let statement = session.prepare_cached(COUNTERS).await?;
    let rows = session.query(&statement, &[&start, &end]).await?;
    rows.iter().map(counter).collect()
}

fn counter(row: &Row) -> Result<(CounterKey, i64), Fault> {
    let key = CounterKey::from_bytes(row.try_get(0)?).ok_or(Fault::Row("counters"))?;
    Ok((key, row.try_get(1)?))
}

pub(super) async fn audit(session: &Session, from: u64, limit: usize) -> Result<Vec<AuditEntry>, Fault> {
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit.min(PAGE_RECORDS_MAX)).unwrap_or(i64::MAX);
    let statement = session.prepare_cached(AUDIT).await?;
    let rows = session.query(&statement, &[&from, &limit]).await?;
    rows.iter().map(audit_entry).collect()
}

fn audit_entry(row: &Row) -> Result<AuditEntry, Fault> {
    let text = |column: usize| -> Result<String, Fault> {
        String::from_utf8(row.try_get(column)?).map_err(|_| Fault::Row("audit"))
    };
    Ok(AuditEntry {
        sequence: row.try_get::<_, i64>(0)?.cast_unsigned(),
        draft: AuditDraft {
            at: Timestamp(row.try_get::<_, i64>(1)?.cast_unsigned()),
            principal: text(2)?,
            action: text(3)?,
            subject: text(4)?,
            product: text(5)?,
            detail: text(6)?,
        },
        previous: hash(row, 7)?,
        hash: hash(row, 8)?,
    })
}

pub(super) fn hash(row: &Row, column: usize) -> Result<AuditHash, Fault> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map(AuditHash).map_err(|_| Fault::Row("audit"))
}
