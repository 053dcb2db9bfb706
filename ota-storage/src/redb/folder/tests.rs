//! A drive in memory that forgets names and bytes that were not synced, and loses its power behind every step of a
//! compaction.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use ota_core::fleet::records::Setting;
use ota_core::fleet::{
    AuditDraft, CounterChange, CounterKey, CounterPrefix, FleetStore, Key, Outcome, Record, Unit, Version,
    Write,
};
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;
use redb::StorageBackend;

use super::*;
use crate::redb::{RedbOptions, RedbStore};

const STORE: &str = "fleet.redb";
const COMPACT: &str = "fleet.redb.compact";

/// What happened to a name since names were last made durable.
#[derive(Debug, Clone)]
enum Naming {
    Given(PathBuf, usize),
    Moved(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Given(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Moved(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Removed(name) => {
                names.remove(name);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Bytes(offset, bytes) => content[*offset..offset + bytes.len()].copy_from_slice(bytes),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct File {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// What was done since the last sync, in order.
    pending: Vec<Change>,
}

#[derive(Debug, Default)]
struct Platter {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    pending: Vec<Naming>,
    operations: u64,
    /// At which operation the store's name was given to another file.
    moved_at: Option<u64>,
    /// The operation at which the power goes.
    cut_at: Option<u64>,
}

/// A drive; clones are the same one.
#[derive(Debug, Clone, Default)]
struct Drive(Arc<Mutex<Platter>>);

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

impl Drive {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    fn is_cut(&self) -> bool {
        let platter = self.platter();
        platter.cut_at.is_some_and(|cut| platter.operations >= cut)
    }

    /// The drive for one step that changes it, unless the power is gone.
    fn change(&self) -> io::Result<MutexGuard<'_, Platter>> {
        if self.is_cut() {
            return Err(gone());
        }
        let mut platter = self.platter();
        platter.operations += 1;
        Ok(platter)
    }

    /// Everything that may be left once the power has gone: so many of the names that were given last, in their order, and of
    /// each file what was synced, with a part of what came after it, or with all of that.
    fn what_may_be_left(&self) -> Vec<Self> {
        let platter = self.platter();
        let mut left = Vec::new();
        for names_kept in 0..=platter.pending.len() {
            let mut names = platter.durable.clone();
            platter.pending.iter().take(names_kept).for_each(|naming| naming.apply(&mut names));
            let is_all_synced = platter.files.iter().all(|file| file.pending.is_empty());
            for part in if is_all_synced { 0..1 } else { 0..3 } {
                let kept = |file: &File| {
                    let mut content = file.synced.clone();
                    let count = file.pending.len() * part / 2;
                    file.pending.iter().take(count).for_each(|change| change.apply(&mut content));
                    File { written: content.clone(), synced: content, pending: Vec::new() }
                };
                let files = platter.files.iter().map(kept).collect();
                let found =
                    Platter { files, names: names.clone(), durable: names.clone(), ..Platter::default() };
                left.push(Self(Arc::new(Mutex::new(found))));
            }
        }
        left
    }
}

/// One open file of a drive.
#[derive(Debug)]
struct Handle {
    drive: Drive,
    file: usize,
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.drive.platter().files[self.file].written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.drive.is_cut() {
            return Err(gone());
        }
        let offset = usize::try_from(offset).unwrap();
        let platter = self.drive.platter();
        let content = &platter.files[self.file].written;
        out.copy_from_slice(content.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let change = Change::Length(usize::try_from(len).unwrap());
        let mut platter = self.drive.change()?;
        let file = &mut platter.files[self.file];
        change.apply(&mut file.written);
        file.pending.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.drive.change()?;
        let file = &mut platter.files[self.file];
        file.synced.clone_from(&file.written);
        file.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let change = Change::Bytes(usize::try_from(offset).unwrap(), data.to_vec());
        let mut platter = self.drive.change()?;
        let file = &mut platter.files[self.file];
        change.apply(&mut file.written);
        file.pending.push(change);
        Ok(())
    }
}

impl Folder for Drive {
    fn open(&self, file: &Path, cache_bytes: usize) -> Result<Database, Fault> {
        let known = self.platter().names.get(file).copied();
        let number = match known {
            Some(number) => number,
            None => {
                let mut platter = self.change().map_err(Fault::Open)?;
                let number = platter.files.len();
                platter.files.push(File::default());
                let naming = Naming::Given(file.into(), number);
                naming.apply(&mut platter.names);
                platter.pending.push(naming);
                number
            }
        };
        let handle = Handle { drive: self.clone(), file: number };
        Ok(Builder::new().set_cache_size(cache_bytes).create_with_backend(handle)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.change()?;
        platter.moved_at = Some(platter.operations);
        let naming = Naming::Moved(from.into(), to.into());
        naming.apply(&mut platter.names);
        platter.pending.push(naming);
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        if !self.platter().names.contains_key(file) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut platter = self.change()?;
        let naming = Naming::Removed(file.into());
        naming.apply(&mut platter.names);
        platter.pending.push(naming);
        Ok(())
    }

    fn sync(&self, _file: &Path) -> io::Result<()> {
        let mut platter = self.change()?;
        platter.durable = platter.names.clone();
        platter.pending.clear();
        Ok(())
    }

    fn length(&self, file: &Path) -> io::Result<u64> {
        let platter = self.platter();
        let number = platter.names.get(file).ok_or(io::ErrorKind::NotFound)?;
        Ok(platter.files[*number].written.len() as u64)
    }
}

fn open(drive: &Drive) -> RedbStore {
    let options = RedbOptions { cache_bytes: 1 << 20, ..RedbOptions::default() };
    RedbStore::open_in(Arc::new(drive.clone()), STORE.into(), options).expect("there is always a store")
}

fn key() -> Key {
    Key::Setting("step".into())
}

/// The unit that takes the record from this step to the next, counts it and notes it.
fn step(number: u64) -> Unit {
    let value = |number: u64| Record::Setting(Setting { value: format!("{number}").into() });
    Unit {
        expects: vec![(key(), Version(number))],
        writes: vec![Write {
            key: key(),
            before: number.checked_sub(1).map(value),
            after: Some(value(number)),
        }],
        counters: vec![CounterChange {
            key: CounterKey::Devices { product: ProductIdBuf::new("pump").unwrap() },
            by: 1,
        }],
        audit: vec![AuditDraft {
            at: Timestamp(number),
            principal: String::new(),
            action: "step".into(),
            subject: String::new(),
            product: String::new(),
            detail: String::new(),
        }],
    }
}

/// How many steps the store has done, having checked that all its parts agree.
async fn steps_done(store: &RedbStore) -> u64 {
    let found = store.load(&[key()]).await.unwrap();
    let done = found[0].as_ref().map_or(0, |stored| stored.version.0);
    let counted = store.counters(&CounterPrefix::Devices).await.unwrap();
    assert_eq!(counted.first().map_or(0, |(_, value)| *value), i64::try_from(done).unwrap());
    assert_eq!(store.audit(1, 1000).await.unwrap().len() as u64, done);
    done
}

/// Does steps until so many are done or the power is gone; says how many are acknowledged.
async fn work(store: &RedbStore, from: u64, until: u64) -> u64 {
    for number in from..until {
        match store.commit(vec![step(number)]).await {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Committed]),
            Err(_) => return number,
        }
    }
    until
}

const BEFORE: u64 = 3;
const AFTER: u64 = 2;

/// Steps, a compaction, and steps again, on a drive whose power goes at this operation of the last two.
async fn run(cut: Option<u64>) -> (Drive, u64, u64) {
    let drive = Drive::default();
    let store = open(&drive);
    assert_eq!(work(&store, 0, BEFORE).await, BEFORE);
    let first = drive.platter().operations;
    drive.platter().cut_at = cut.map(|cut| first + cut);
    let compacted = store.compact().await;
    assert!(compacted.is_ok() || drive.is_cut(), "{compacted:?}");
    let acknowledged = work(&store, BEFORE, BEFORE + AFTER).await;
    drop(store);
    (drive, first, acknowledged)
}

#[tokio::test]
async fn a_power_cut_at_any_step_of_a_compaction_leaves_the_old_store_or_the_compact_one_and_never_none() {
    let (drive, first, acknowledged) = run(None).await;
    assert_eq!(acknowledged, BEFORE + AFTER);
    let (operations, moved_at) = {
        let platter = drive.platter();
        (platter.operations - first, platter.moved_at.unwrap() - first)
    };
    let (mut with_old, mut with_new) = (0, 0);
    // While the copy is written its steps are much alike; from there on, every one is tried.
    for cut in (0..moved_at - 6).step_by(31).chain(moved_at - 6..operations) {
        let (drive, _, acknowledged) = run(Some(cut)).await;
        for left in drive.what_may_be_left() {
            let number = left.platter().names.get(Path::new(STORE)).copied();
            match number {
                Some(0) => with_old += 1,
                _ => with_new += 1,
            }
            let store = open(&left);
            let done = steps_done(&store).await;
            // The last step may have become durable without having been acknowledged.
            assert!((acknowledged..=acknowledged + 1).contains(&done), "cut {cut} of {operations}: {done}");
            assert!(!left.platter().names.contains_key(Path::new(COMPACT)), "nothing is left lying about");
            assert_eq!(work(&store, done, done + 1).await, done + 1, "it goes on");
        }
    }
    assert!(
        with_old > 10 && with_new > 10,
        "{with_old} times the old file, {with_new} times the compact one"
    );
}
