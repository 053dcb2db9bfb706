//! Moving house: everything that one store holds is written into another, empty one, and compared.
//!
//! What is written is what was read, in the same order, so the audit chain of the new store has the same hashes. No
//! server may work with either store meanwhile. Versions begin again with 1, and leases are left behind: nothing of
//! a server that ended depends on them.

use std::collections::BTreeMap;

use ota_core::fleet::{
    AuditEntry, AuditHash, CounterChange, CounterKey, CounterPrefix, Cursor, FleetStore, Key, Outcome, Page,
    Query, StoreError, Stored, Table, Unit, Version, Write,
};

/// Records, counters or entries that one commit takes.
const PAGE: usize = 1024;

/// What was copied and compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Records of each table.
    pub records: BTreeMap<Table, u64>,
    /// Counters.
    pub counters: u64,
    /// Entries of the audit chain.
    pub audit: u64,
    /// The hash of the last of them.
    pub audit_end: AuditHash,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The new store has something in it. Nothing was written.
    #[error("the new store is not empty")]
    NotEmpty,
    /// The audit chain of the old store is broken at this entry. Nothing was written.
    #[error("the audit chain of the old store does not hold at entry {0}")]
    BrokenChain(u64),
    /// The new store does not hold what the old one does: somebody works with one of them.
    #[error("the stores differ in {0}; is a server working with one of them?")]
    Differs(String),
    /// A store failed.
    #[error("a store failed")]
    Store(#[from] StoreError),
}

/// Copies everything from one store to another, and compares.
///
/// If it ends before it is done, the new store holds a part: empty it and begin again.
///
/// # Errors
/// [`MoveError`].
pub async fn move_house(from: &dyn FleetStore, to: &dyn FleetStore) -> Result<Moved, MoveError> {
    if !is_empty(to).await? {
        return Err(MoveError::NotEmpty);
    }
    verify(from).await?;
    let mut groups = vec![CounterPrefix::Devices];
    for table in Table::ALL {
        let mut after = None;
        while let Some(page) = next_page(from, *table, &mut after).await? {
            groups.extend(page.items.iter().flat_map(|(key, _)| counted_by(key)));
            write(to, page.items.into_iter().map(|(key, stored)| added(key, stored)).collect()).await?;
        }
    }
    for group in &groups {
        let changes = from.counters(group).await?;
        for part in changes.chunks(PAGE) {
            let counters = part.iter().map(|(key, by)| CounterChange { key: key.clone(), by: *by });
            write(to, vec![Unit { counters: counters.collect(), ..Unit::default() }]).await?;
        }
    }
    let mut sequence = 1;
    loop {
        let entries = from.audit(sequence, PAGE).await?;
        let Some(last) = entries.last() else { break };
        sequence = last.sequence.saturating_add(1);
        let audit = entries.into_iter().map(|entry| entry.draft).collect();
        write(to, vec![Unit { audit, ..Unit::default() }]).await?;
    }
    compare(from, to, &groups).await
}

async fn is_empty(store: &dyn FleetStore) -> Result<bool, StoreError> {
    for table in Table::ALL {
        if !store.scan(&Query::table(*table), None, 1).await?.items.is_empty() {
            return Ok(false);
        }
    }
    Ok(store.audit(1, 1).await?.is_empty() && store.counters(&CounterPrefix::Devices).await?.is_empty())
}

/// Walks over the audit chain; says how many entries it has, and the hash of the last.
async fn verify(store: &dyn FleetStore) -> Result<(u64, AuditHash), MoveError> {
    let (mut sequence, mut previous) = (0_u64, AuditHash::default());
    loop {
        let entries: Vec<AuditEntry> = store.audit(sequence.saturating_add(1), PAGE).await?;
        if entries.is_empty() {
            return Ok((sequence, previous));
        }
        for entry in entries {
            sequence = sequence.saturating_add(1);
            if entry.sequence != sequence || entry.previous != previous || !entry.is_intact() {
                return Err(MoveError::BrokenChain(sequence));
            }
            previous = entry.hash;
        }
    }
}

/// The next page of a table, or `None` behind the last.
async fn next_page(
    store: &dyn FleetStore,
    table: Table,
    after: &mut Option<Option<Cursor>>,
) -> Result<Option<Page>, StoreError> {
    let cursor = match after.take() {
        None => None,
        Some(None) => return Ok(None),
        Some(cursor) => cursor,
    };
    let page = store.scan(&Query::table(table), cursor.as_ref(), PAGE).await?;
    *after = Some(page.next.clone());
    Ok(Some(page))
}

/// The groups of counters that exist because of a record.
fn counted_by(key: &Key) -> Vec<CounterPrefix> {
    match key {
        Key::Product(product) => {
            vec![CounterPrefix::Installed(product.clone()), CounterPrefix::Heard(product.clone())]
        }
        Key::Campaign(campaign) => vec![CounterPrefix::Attempts(*campaign)],
        _ => Vec::new(),
    }
}

fn added(key: Key, stored: Stored) -> Unit {
    Unit {
        expects: vec![(key.clone(), Version(0))],
        writes: vec![Write { key, before: None, after: Some(stored.record) }],
        ..Unit::default()
    }
}

async fn write(to: &dyn FleetStore, units: Vec<Unit>) -> Result<(), MoveError> {
    for outcome in to.commit(units).await? {
        if let Outcome::Conflict(key) = outcome {
            return Err(MoveError::Differs(key.to_string()));
        }
    }
    Ok(())
}

async fn compare(
    from: &dyn FleetStore,
    to: &dyn FleetStore,
    groups: &[CounterPrefix],
) -> Result<Moved, MoveError> {
    let mut moved = Moved::default();
    for table in Table::ALL {
        let (mut old, mut new) = (Walk::new(from, *table), Walk::new(to, *table));
        let mut count = 0_u64;
        loop {
            match (old.next().await?, new.next().await?) {
                (None, None) => break,
                (Some((key, old)), Some((other, new))) if key == other && old.record == new.record => {
                    count = count.saturating_add(1);
                }
                (Some((key, _)), _) | (None, Some((key, _))) => {
                    return Err(MoveError::Differs(key.to_string()));
                }
            }
        }
        moved.records.insert(*table, count);
    }
    for group in groups {
        let (old, new): (Vec<(CounterKey, i64)>, _) =
            (from.counters(group).await?, to.counters(group).await?);
        if old != new {
            return Err(MoveError::Differs(format!("the counters {group:?}")));
        }
        moved.counters = moved.counters.saturating_add(u64::try_from(old.len()).unwrap_or(u64::MAX));
    }
    let end = verify(from).await?;
    if end != verify(to).await? {
        return Err(MoveError::Differs("the audit chain".to_owned()));
    }
    (moved.audit, moved.audit_end) = end;
    Ok(moved)
}

/// Records of a table one by one.
struct Walk<'s> {
    store: &'s dyn FleetStore,
    table: Table,
    page: std::vec::IntoIter<(Key, Stored)>,
    after: Option<Option<Cursor>>,
}

impl<'s> Walk<'s> {
    fn new(store: &'s dyn FleetStore, table: Table) -> Self {
        Self { store, table, page: Vec::new().into_iter(), after: None }
    }

    async fn next(&mut self) -> Result<Option<(Key, Stored)>, StoreError> {
        loop {
            if let Some(item) = self.page.next() {
                return Ok(Some(item));
            }
            match next_page(self.store, self.table, &mut self.after).await? {
                Some(page) => self.page = page.items.into_iter(),
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ota_core::conformance::memory::MemoryFleetStore;
    use ota_core::fleet::records::Setting;
    use ota_core::fleet::{AuditDraft, Record};
    use ota_core::text::ProductIdBuf;
    use ota_core::time::Timestamp;

    use super::*;

    fn unit(number: u64) -> Unit {
        let record = |value: u64| Record::Setting(Setting { value: value.to_string().into() });
        let mut unit = added(
            Key::Setting(format!("{number:05}").into()),
            Stored { version: Version(1), record: record(number) },
        );
        unit.counters.push(CounterChange {
            key: CounterKey::Devices { product: ProductIdBuf::new(format!("p{}", number % 7)).unwrap() },
            by: 1,
        });
        unit.audit.push(AuditDraft {
            at: Timestamp(number),
            principal: "ann".into(),
            action: "set".into(),
            subject: number.to_string(),
            product: String::new(),
            detail: "{}".into(),
        });
        unit
    }

    async fn filled(units: u64) -> MemoryFleetStore {
        let store = MemoryFleetStore::new();
        store.commit((0..units).map(unit).collect()).await.unwrap();
        store
    }

    #[tokio::test]
    async fn all_of_a_store_is_in_the_other_one_and_the_chain_has_the_same_end() {
        let units = u64::try_from(PAGE * 2 + 5).unwrap();
        let (from, to) = (filled(units).await, MemoryFleetStore::new());
        let moved = move_house(&from, &to).await.unwrap();
        assert_eq!((moved.records[&Table::Setting], moved.counters, moved.audit), (units, 7, units));
        let last = from.audit(units, 1).await.unwrap();
        assert_eq!(moved.audit_end, last[0].hash);
        assert_eq!(to.audit(units, 1).await.unwrap(), last);
        let back = MemoryFleetStore::new();
        assert_eq!(move_house(&to, &back).await.unwrap(), moved, "and back again");
    }

    #[tokio::test]
    async fn a_store_that_holds_something_is_left_alone() {
        let (from, to) = (filled(3).await, filled(1).await);
        assert!(matches!(move_house(&from, &to).await, Err(MoveError::NotEmpty)));
        assert_eq!(to.audit(1, 9).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_difference_is_named() {
        let (from, to) = (filled(3).await, filled(3).await);
        to.commit(vec![unit(3)]).await.unwrap();
        let error = compare(&from, &to, &[CounterPrefix::Devices]).await.unwrap_err();
        assert!(error.to_string().contains("setting 00003"), "{error}");
    }
}
