//! Copies of the store, made while it serves: backups, and the compact file that takes the place of the present one.
//!
//! A copy is written from one read transaction, row by row in the order of their keys, so it is of one moment and
//! wastes little room. The table `meta` comes last: what a crash leaves of a copy is never taken for a store. What is
//! committed meanwhile is followed by its keys ([`Touched`]) and copied again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, Key, ReadTransaction, ReadableTable, TableDefinition, Value};

use super::error::Fault;
use super::folder::{Folder, clear};
use super::schema::{AUDIT, COUNTERS, LEASES, META, PLACES, RECORDS};

/// How many rows of a copy one transaction writes: what it holds in memory, and how often it waits for the medium.
const ROWS_PER_COMMIT: usize = 50_000;
/// Memory for pages of a copy, in bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// More changes than these are not followed: a copy that falls so far behind is given up.
const TOUCHED_MAX: usize = 1_000_000;

/// Rows that have changed since somebody began to follow.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) records: BTreeSet<Vec<u8>>,
    pub(super) places: BTreeSet<Vec<u8>>,
    pub(super) counters: BTreeSet<Vec<u8>>,
}

impl Touched {
    /// How many rows that are.
    pub(super) fn len(&self) -> usize {
        self.records.len() + self.places.len() + self.counters.len()
    }

    /// Whether there are too many to be kept.
    pub(super) fn is_too_much(&self) -> bool {
        self.len() > TOUCHED_MAX
    }
}

/// A copy that is being made, in a file of its own. Dropping it removes the file.
pub(super) struct CopyFile {
    database: Option<Database>,
    folder: Arc<dyn Folder>,
    path: PathBuf,
}

impl CopyFile {
    /// Copies all rows into a new file; what was at this path is removed.
    pub(super) fn of(from: &ReadTransaction, folder: Arc<dyn Folder>, path: PathBuf) -> Result<Self, Fault> {
        let made = || {
            clear(&*folder, &path)?;
            let database = folder.open(&path, CACHE_BYTES)?;
            let copy = Self { database: Some(database), folder, path };
            copy.whole(from)?;
            Ok(copy)
        };
        made().map_err(Fault::of_a_copy)
    }

    fn database(&self) -> Result<&Database, Fault> {
        self.database.as_ref().ok_or(Fault::Closed)
    }

    fn whole(&self, from: &ReadTransaction) -> Result<(), Fault> {
        let to = self.database()?;
        copy_table(from, to, RECORDS)?;
        copy_table(from, to, PLACES)?;
        copy_table(from, to, COUNTERS)?;
        copy_table(from, to, AUDIT)?;
        copy_table(from, to, LEASES)?;
        copy_table(from, to, META)
    }

    /// Gives back what writing in several transactions has left empty. Nobody waits for this file.
    pub(super) fn pack(&mut self) -> Result<(), Fault> {
        let mut packed = || {
            let database = self.database.as_mut().ok_or(Fault::Closed)?;
            while database.compact()? {}
            Ok(())
        };
        packed().map_err(Fault::of_a_copy)
    }

    /// Copies the rows again that have changed, as they are now, and all that was added to the audit chain.
    pub(super) fn catch_up(&self, from: &ReadTransaction, touched: &Touched) -> Result<(), Fault> {
        let caught_up = || {
            let mut transaction = self.database()?.begin_write()?;
            transaction.set_quick_repair(true);
            copy_rows(from, &transaction, RECORDS, &touched.records)?;
            copy_rows(from, &transaction, PLACES, &touched.places)?;
            copy_rows(from, &transaction, COUNTERS, &touched.counters)?;
            {
                let mut leases = transaction.open_table(LEASES)?;
                for row in from.open_table(LEASES)?.iter()? {
                    let (name, token) = row?;
                    leases.insert(name.value(), token.value())?;
                }
                let mut audit = transaction.open_table(AUDIT)?;
                let last = audit.last()?.map_or(0, |(sequence, _)| sequence.value());
                for row in from.open_table(AUDIT)?.range(last.saturating_add(1)..)? {
                    let (sequence, entry) = row?;
                    audit.insert(sequence.value(), entry.value())?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        caught_up().map_err(Fault::of_a_copy)
    }

    /// Closes the copy and moves it to `to`, over what may be there. The new name is not yet durable.
    pub(super) fn take_the_place_of(mut self, to: &Path) -> Result<(), Fault> {
        drop(self.database.take());
        self.folder.rename(&self.path, to).map_err(|error| Fault::of_a_copy(Fault::Open(error)))
    }
}

impl Drop for CopyFile {
    fn drop(&mut self) {
        drop(self.database.take());
        // One that has moved is not there any more; what cannot be removed now is removed by the next copy.
        let _ = clear(&*self.folder, &self.path);
    }
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &Database,
    definition: TableDefinition<'_, K, V>,
) -> Result<(), Fault> {
    let source = from.open_table(definition)?;
    let mut rows = source.iter()?.peekable();
    loop {
        let mut transaction = to.begin_write()?;
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(definition)?;
            for row in rows.by_ref().take(ROWS_PER_COMMIT) {
                let (key, value) = row?;
                table.insert(key.value(), value.value())?;
            }
        }
        transaction.commit()?;
        if rows.peek().is_none() {
            return Ok(());
        }
    }
}

fn copy_rows<V: Value + 'static>(
    from: &ReadTransaction,
    to: &redb::WriteTransaction,
    definition: TableDefinition<'_, &'static [u8], V>,
    keys: &BTreeSet<Vec<u8>>,
) -> Result<(), Fault> {
    let (source, mut table) = (from.open_table(definition)?, to.open_table(definition)?);
    for key in keys {
        match source.get(key.as_slice())? {
            Some(value) => {
                table.insert(key.as_slice(), value.value())?;
            }
            None => {
                table.remove(key.as_slice())?;
            }
        }
    }
    Ok(())
}
