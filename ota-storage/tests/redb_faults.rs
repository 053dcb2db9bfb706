//! A medium that fails at every possible operation: nothing acknowledged is lost, nothing is torn, and the store works
//! again by itself once the medium does.
#![cfg(feature = "redb")]

use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::sync::{Arc, Mutex};

use ota_core::fleet::records::Setting;
use ota_core::fleet::{
    AuditDraft, AuditHash, CounterChange, CounterKey, CounterPrefix, FleetStore, Key, Outcome, Record,
    StoreErrorKind, Unit, Version, Write,
};
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;
use ota_storage::redb::{RedbOptions, RedbStore};
use redb::StorageBackend;

/// A medium in memory that keeps what was synced apart from what was only written.
#[derive(Debug, Default)]
struct Disk {
    written: Mutex<Vec<u8>>,
    synced: Mutex<Vec<u8>>,
    operations: AtomicU64,
    /// The operation at which it begins to fail, and for how many it does.
    fails: Mutex<Option<(u64, u64)>>,
    failed: AtomicU64,
}

#[derive(Debug, Clone)]
struct Faulty(Arc<Disk>);

impl Disk {
    /// Counts an operation that changes the medium, and fails it if it is its turn: as a full disk does.
    fn change(&self) -> io::Result<()> {
        let operation = self.operations.fetch_add(1, Ordering::Relaxed);
        let fails =
            self.fails.lock().unwrap().is_some_and(|(from, count)| (from..from + count).contains(&operation));
        if fails {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.written.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.0.written.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let found = written.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.change()?;
        self.0.written.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.change()?;
        let written = self.0.written.lock().unwrap().clone();
        *self.0.synced.lock().unwrap() = written;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let fault = self.0.change();
        let offset = usize::try_from(offset).unwrap();
        // A write that fails may have done half of its work.
        let data = if fault.is_err() { &data[..data.len() / 2] } else { data };
        self.0.written.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
        fault
    }
}

fn options() -> RedbOptions {
    RedbOptions { cache_bytes: 1024 * 1024, ..RedbOptions::default() }
}

fn open(disk: &Arc<Disk>) -> RedbStore {
    let disk = Arc::clone(disk);
    RedbStore::open_on(move || Faulty(Arc::clone(&disk)), options()).expect("the store opens")
}

fn keys() -> [Key; 2] {
    ["left", "right"].map(|name| Key::Setting(name.into()))
}

fn counter() -> CounterKey {
    CounterKey::Devices { product: ProductIdBuf::new("pump").unwrap() }
}

/// The unit that takes both records from this step to the next, counts it and notes it.
fn step(number: u64) -> Unit {
    // Of a length that changes, so that pages split and merge.
    let value = |number: u64| {
        let length = usize::try_from(number * 37 % 900).unwrap();
        Record::Setting(Setting { value: format!("{number} {}", "x".repeat(length)).into() })
    };
    Unit {
        expects: keys().map(|key| (key, Version(number))).into(),
        writes: keys()
            .map(|key| Write { key, before: number.checked_sub(1).map(value), after: Some(value(number)) })
            .into(),
        counters: vec![CounterChange { key: counter(), by: 1 }],
        audit: vec![AuditDraft {
            at: Timestamp(number),
            principal: String::new(),
            action: "step".into(),
            subject: number.to_string(),
            product: String::new(),
            detail: String::new(),
        }],
    }
}

/// How many steps the store has done, having checked that all its parts agree.
async fn steps_done(store: &RedbStore) -> u64 {
    let found = store.load(&keys()).await.unwrap();
    let versions = [0, 1].map(|index| found[index].as_ref().map_or(0, |stored| stored.version.0));
    assert_eq!(versions[0], versions[1], "both records of a unit, or neither");
    assert_eq!(
        found[0].as_ref().map(|stored| &stored.record),
        step(versions[0]).writes[0].before.as_ref(),
        "the content belongs to the version"
    );
    let counted = store.counters(&CounterPrefix::Devices).await.unwrap();
    assert_eq!(counted.first().map_or(0, |(_, value)| *value), i64::try_from(versions[0]).unwrap());
    let entries = store.audit(1, 1_000_000).await.unwrap();
    assert_eq!(entries.len() as u64, versions[0]);
    let mut previous = AuditHash::default();
    for entry in entries {
        assert!(entry.is_intact() && entry.previous == previous);
        previous = entry.hash;
    }
    versions[0]
}

/// Does steps until so many are done, trying again after each fault as a server would.
async fn work(store: &RedbStore, until: u64) -> u64 {
    let mut faults = 0;
    let mut next = None;
    loop {
        let number = match next {
            Some(number) => number,
            None => match store.load(&keys()[..1]).await {
                Ok(found) => found[0].as_ref().map_or(0, |stored| stored.version.0),
                Err(error) => {
                    assert_ne!(error.kind(), StoreErrorKind::Invalid);
                    faults += 1;
                    tokio::task::yield_now().await;
                    continue;
                }
            },
        };
        if number == until {
            return faults;
        }
        match store.commit(vec![step(number)]).await {
            Ok(outcomes) => {
                assert_eq!(outcomes, [Outcome::Committed]);
                next = Some(number + 1);
            }
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, StoreErrorKind::Full | StoreErrorKind::Unavailable), "{error:?}");
                faults += 1;
                // Whether it happened shows when it is loaded.
                next = None;
                tokio::task::yield_now().await;
            }
        }
    }
}

const STEPS: u64 = 8;

/// How many operations the undisturbed work needs.
async fn operations() -> u64 {
    let disk = Arc::new(Disk::default());
    let store = open(&disk);
    let before = disk.operations.load(Ordering::Relaxed);
    work(&store, STEPS).await;
    disk.operations.load(Ordering::Relaxed) - before
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_operation_costs_nothing_acknowledged() {
    let operations = operations().await;
    assert!(operations > 30, "{operations} operations are worth a sweep");
    let mut seen = 0;
    for at in 0..operations {
        for lasting in [1, 3] {
            let disk = Arc::new(Disk::default());
            let store = open(&disk);
            let first = disk.operations.load(Ordering::Relaxed);
            *disk.fails.lock().unwrap() = Some((first + at, lasting));
            seen += work(&store, STEPS).await;
            assert_eq!(steps_done(&store).await, STEPS, "it went on by itself");
            assert!(disk.failed.load(Ordering::Relaxed) > 0, "the fault was met");
            drop(store);
            assert_eq!(steps_done(&open(&disk)).await, STEPS);
        }
    }
    assert!(seen > operations, "{seen} faults were seen by callers");
}

#[tokio::test]
async fn a_power_cut_behind_any_operation_keeps_what_was_acknowledged() {
    let operations = operations().await;
    for at in 0..operations {
        let disk = Arc::new(Disk::default());
        let store = open(&disk);
        let first = disk.operations.load(Ordering::Relaxed);
        // From here on nothing reaches the medium any more.
        *disk.fails.lock().unwrap() = Some((first + at, u64::MAX - first - at));
        let mut acknowledged = 0;
        while store.commit(vec![step(acknowledged)]).await.is_ok() {
            acknowledged += 1;
        }
        drop(store);
        // Neither what was synced nor what was written since may tear a unit.
        for survivor in [&disk.synced, &disk.written] {
            let image = survivor.lock().unwrap().clone();
            let after = Arc::new(Disk {
                written: Mutex::new(image.clone()),
                synced: Mutex::new(image),
                ..Disk::default()
            });
            let store = open(&after);
            let done = steps_done(&store).await;
            assert!(
                done == acknowledged || done == acknowledged + 1,
                "{acknowledged} acknowledged, {done} found"
            );
            work(&store, STEPS + 2).await;
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    std::fs::write(&path, vec![0x5a; 200_000]).unwrap();
    let error = RedbStore::open(&path, options()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");

    let path = folder.path().join("foreign");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = RedbStore::open(&path, options()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema, "{error:?}");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(RedbStore::open(&path, options()).unwrap());
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(redb::TableDefinition::<&str, u64>::new("meta"))
        .unwrap()
        .insert("schema", 9)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = RedbStore::open(&path, options()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    let source = core::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("schema 9") && source.contains("up to 1"), "{source}");
}

#[tokio::test]
async fn a_second_process_is_told_that_the_store_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let _first = RedbStore::open(&path, options()).unwrap();
    let error = RedbStore::open(&path, options()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_compacted_and_backed_up_while_it_serves_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Arc::new(RedbStore::open(&path, options()).unwrap());
    work(&store, 60).await;
    // A caller that goes on all the time: what it is told to be durable has to be there in the new file.
    let ends = Arc::new(AtomicU64::new(0));
    let busy = tokio::spawn({
        let (store, ends) = (Arc::clone(&store), Arc::clone(&ends));
        async move {
            let mut number = 60;
            while ends.load(Ordering::Relaxed) == 0 {
                assert_eq!(store.commit(vec![step(number)]).await.unwrap(), [Outcome::Committed]);
                assert!(store.load(&keys()).await.is_ok(), "readers never notice");
                number += 1;
            }
            number
        }
    });
    let mut backups = Vec::new();
    for number in 0..2 {
        store.compact().await.unwrap();
        let backup = folder.path().join(format!("backup-{number}"));
        store.back_up(&backup).await.unwrap();
        let error = store.back_up(&backup).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "a backup is never overwritten: {error:?}");
        backups.push(backup);
    }
    ends.store(1, Ordering::Relaxed);
    let done = busy.await.unwrap();
    assert_eq!(steps_done(&store).await, done);
    drop(store);
    assert_eq!(steps_done(&RedbStore::open(&path, options()).unwrap()).await, done);
    let mut last = 60;
    for backup in backups {
        let found = steps_done(&RedbStore::open(backup, options()).unwrap()).await;
        assert!((last..=done).contains(&found), "{found} is a state between {last} and {done}");
        last = found;
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "nothing is left of the copies: {left:?}");
}

#[tokio::test]
async fn a_compaction_gives_room_back_and_a_cut_off_one_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = RedbStore::open(&path, options()).unwrap();
    let unit = |number: usize, version, before: Option<&str>, after: Option<&str>| {
        let key = Key::Setting(format!("{number}").into());
        let record = |value: &str| Record::Setting(Setting { value: value.into() });
        Unit {
            expects: vec![(key.clone(), Version(version))],
            writes: vec![Write { key, before: before.map(record), after: after.map(record) }],
            ..Unit::default()
        }
    };
    let text = "x".repeat(1000);
    let many: Vec<Unit> = (0..4000).map(|number| unit(number, 0, None, Some(&text))).collect();
    store.commit(many).await.unwrap();
    let gone: Vec<Unit> = (1..4000).map(|number| unit(number, 1, Some(&text), None)).collect();
    store.commit(gone).await.unwrap();
    // What a process that was killed in the middle of it has left.
    drop(store);
    let cut_off = folder.path().join("store.compact");
    std::fs::write(&cut_off, [0; 100]).unwrap();
    let store = RedbStore::open(&path, options()).unwrap();
    assert!(!cut_off.exists());
    let compacted = store.compact().await.unwrap();
    assert!(compacted.after_bytes * 2 < compacted.before_bytes, "{compacted:?}");
    assert_eq!(compacted.after_bytes, std::fs::metadata(&path).unwrap().len());
    let kept = store.load(&[Key::Setting("0".into()), Key::Setting("1".into())]).await.unwrap();
    assert!(kept[0].is_some() && kept[1].is_none());
    // A copy that was cut off is not taken for a store.
    let mut half = std::fs::read(&path).unwrap();
    half.truncate(half.len() / 2);
    std::fs::write(&cut_off, half).unwrap();
    assert!(RedbStore::open(&cut_off, options()).is_err());
}

#[tokio::test]
async fn a_store_on_a_medium_of_its_own_says_that_its_file_cannot_be_replaced() {
    let store = open(&Arc::new(Disk::default()));
    assert_eq!(store.compact().await.unwrap_err().kind(), StoreErrorKind::Invalid);
    assert_eq!(work(&store, 2).await, 0, "it goes on");
}
