//! The directory on the real file system, and stopped at every operation of a modelled one.

use core::cell::RefCell;
use std::os::unix::fs::symlink;

use ota_core::conformance::device_storage;
use tempfile::TempDir;

use super::model::{Luck, ModelFiles, Point};
use super::*;

const POINTS: [Point; 3] = [Point::Before, Point::Inside, Point::After];

fn target(name: &str) -> InstallTarget<'_> {
    InstallTarget::new(name).unwrap()
}

fn layout() -> DirectoryLayout {
    let capacity = ByteLength(8192);
    DirectoryLayout::new().with_target(target("app"), capacity).with_target(target("firmware"), capacity)
}

fn put<F: Files>(storage: &mut Storage<F>, area: Area<'_>, bytes: &[u8]) -> Result<(), StorageFault> {
    storage.prepare(area, ByteLength(bytes.len() as u64), ByteLength(0))?;
    for (number, part) in bytes.chunks(40).enumerate() {
        storage.write(area, ByteOffset(number as u64 * 40), part)?;
    }
    Ok(())
}

fn bytes_of<F: Files>(storage: &mut Storage<F>, area: Area<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    storage.read(area, ByteOffset(0), &mut bytes).unwrap();
    bytes
}

fn newest<F: Files>(storage: &mut Storage<F>, log: Log, newest_first: u32) -> Option<Vec<u8>> {
    let mut into = [0; 1024];
    let length = storage.record(log, newest_first, &mut into).unwrap()?;
    Some(into[..length].to_vec())
}

#[test]
fn the_model_conforms() {
    // Metadata areas as large as the formats allow take long to fill; small ones show the same.
    device_storage(
        || Storage::open(ModelFiles::default(), layout()).unwrap().into_small(),
        |storage| {
            let files = storage.files.fork();
            Storage::open(files, layout()).unwrap().into_small()
        },
    );
}

#[test]
fn the_real_one_conforms() {
    let folders: RefCell<Vec<TempDir>> = Default::default();
    device_storage(
        || {
            let folder = tempfile::tempdir().unwrap();
            let files = RealFiles::open(&folder.path().join("ota")).unwrap();
            folders.borrow_mut().push(folder);
            Storage::open(files, layout()).unwrap().into_small()
        },
        |storage| {
            drop(storage);
            let path = folders.borrow().last().unwrap().path().join("ota");
            Storage::open(RealFiles::open(&path).unwrap(), layout()).unwrap().into_small()
        },
    );
}

/// The backend with areas of at most 8 KiB: the suite fills each of them.
struct Small<F>(Storage<F>);

impl<F> core::ops::Deref for Small<F> {
    type Target = Storage<F>;
    fn deref(&self) -> &Storage<F> {
        &self.0
    }
}

impl<F> Storage<F> {
    fn into_small(self) -> Small<F> {
        Small(self)
    }
}

impl<F: Files> DeviceStorage for Small<F> {
    fn capacity(&self, area: Area<'_>) -> Option<ByteLength> {
        self.0.capacity(area).map(|capacity| capacity.min(ByteLength(8192)))
    }
    fn prepare(&mut self, area: Area<'_>, size: ByteLength, keep: ByteLength) -> Result<(), StorageFault> {
        match self.capacity(area) {
            Some(capacity) if size > capacity => Err(StorageFaultKind::Full.into()),
            _ => self.0.prepare(area, size, keep),
        }
    }
    fn write(&mut self, area: Area<'_>, offset: ByteOffset, bytes: &[u8]) -> Result<(), StorageFault> {
        self.0.write(area, offset, bytes)
    }
    fn read(&mut self, area: Area<'_>, offset: ByteOffset, into: &mut [u8]) -> Result<(), StorageFault> {
        self.0.read(area, offset, into)
    }
    fn append(&mut self, log: Log, record: &[u8]) -> Result<(), StorageFault> {
        self.0.append(log, record)
    }
    fn record(
        &mut self,
        log: Log,
        newest_first: u32,
        into: &mut [u8],
    ) -> Result<Option<usize>, StorageFault> {
        self.0.record(log, newest_first, into)
    }
}

#[test]
fn a_second_process_is_locked_out() {
    let folder = tempfile::tempdir().unwrap();
    let first = DirectoryStorage::open(folder.path(), layout()).unwrap();
    DirectoryStorage::open(folder.path(), layout()).unwrap_err();
    drop(first);
    DirectoryStorage::open(folder.path(), layout()).unwrap();
}

#[test]
fn nothing_is_opened_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), b"theirs").unwrap();
    let inside = folder.path().join("ota");
    let mut storage = DirectoryStorage::open(&inside, layout()).unwrap();
    let area = Area::Slot(target("app"), Slot::A);
    symlink(outside.path(), inside.join("slot-app-a")).unwrap();
    assert_eq!(storage.read(area, ByteOffset(0), &mut [0; 6]), Err(StorageFaultKind::Medium.into()));
    let kept = storage.prepare(area, ByteLength(6), ByteLength(3));
    assert_eq!(kept, Err(StorageFaultKind::Medium.into()));
    // Prepared anew, the link is replaced, and what it pointed to stays.
    storage.prepare(area, ByteLength(4), ByteLength(0)).unwrap();
    storage.write(area, ByteOffset(0), b"ours").unwrap();
    assert_eq!(std::fs::read(outside.path()).unwrap(), b"theirs");
    drop(storage);
    symlink(&inside, folder.path().join("link")).unwrap();
    DirectoryStorage::open(&folder.path().join("link"), layout()).unwrap_err();
}

#[test]
fn applications_see_what_was_published_and_keep_what_they_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = DirectoryStorage::open(folder.path(), layout()).unwrap();
    let (app, firmware) = (target("app"), target("firmware"));
    let seen = || std::fs::read(folder.path().join("active/app")).unwrap();
    put(&mut directory.storage, Area::Slot(app, Slot::A), b"old").unwrap();
    put(&mut directory.storage, Area::Slot(app, Slot::B), b"new").unwrap();
    put(&mut directory.storage, Area::Slot(firmware, Slot::A), b"firmware").unwrap();
    directory.publish(&[(app, Slot::A), (firmware, Slot::A)]).unwrap();
    assert_eq!(seen(), b"old");
    let mut opened = std::fs::File::open(folder.path().join("active/app")).unwrap();
    directory.publish(&[(app, Slot::B)]).unwrap();
    assert_eq!(seen(), b"new");
    assert!(!folder.path().join("active/firmware").exists());
    put(&mut directory.storage, Area::Slot(app, Slot::A), b"newer than new").unwrap();
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut opened, &mut bytes).unwrap();
    assert_eq!(bytes, b"old");
    directory.publish(&[(app, Slot::B)]).unwrap();
    assert_eq!(seen(), b"new");
    let unknown = directory.publish(&[(target("unknown"), Slot::A)]);
    assert_eq!(unknown, Err(StorageFaultKind::NoSuchArea.into()));
    assert_eq!(seen(), b"new");
}

#[test]
fn a_rotten_record_is_a_fault_and_not_an_older_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = DirectoryStorage::open(folder.path(), layout()).unwrap();
    directory.append(Log::Trusted, b"epoch 1").unwrap();
    directory.append(Log::Trusted, b"epoch 2").unwrap();
    let newest = folder.path().join("trusted-00000000000000000002");
    for rotten in [b"\0\0\0\0epoch 2".as_slice(), b"", b"abcd", &[7; 2000]] {
        std::fs::write(&newest, rotten).unwrap();
        let found = directory.record(Log::Trusted, 0, &mut [0; 1024]);
        assert_eq!(found, Err(StorageFaultKind::Medium.into()), "{}", rotten.len());
    }
}

/// What was acknowledged, and what was begun behind it.
#[derive(Debug, Clone, Default)]
struct Known {
    records: Vec<Vec<u8>>,
    perhaps: Option<Vec<u8>>,
    shown: Option<Slot>,
    perhaps_shown: Option<Slot>,
    /// Which slots hold their bytes for sure.
    slots: [bool; 2],
}

const CONTENTS: [[u8; 100]; 2] = [[0xA0; 100], [0xB1; 100]];

/// One start of a device that installs into the slot that is not shown, commits, and shows it.
fn start(files: ModelFiles, known: &mut Known) -> Result<(), StorageFault> {
    let mut storage = Storage::open(files, layout()).map_err(medium)?;
    check(&mut storage, known);
    let slot = known.shown.map_or(Slot::A, Slot::other);
    let area = Area::Slot(target("app"), slot);
    known.slots[slot as usize] = false;
    put(&mut storage, area, &CONTENTS[slot as usize])?;
    known.slots[slot as usize] = true;
    let record = format!("{} of {slot:?}", known.records.len() + 1).into_bytes();
    known.perhaps = Some(record.clone());
    storage.append(Log::Sets, &record)?;
    known.records.push(record);
    known.perhaps = None;
    known.perhaps_shown = Some(slot);
    storage.publish(&[(target("app"), slot), (target("firmware"), slot)])?;
    known.shown = known.perhaps_shown.take();
    check(&mut storage, known);
    Ok(())
}

/// Reads everything, compares it with what is known, and from then on knows what it saw.
fn check(storage: &mut Storage<ModelFiles>, known: &mut Known) {
    let found = newest(storage, Log::Sets, 0);
    if known.perhaps.is_some() && found == known.perhaps {
        known.records.extend(known.perhaps.take());
    }
    known.perhaps = None;
    for (newest_first, expected) in known.records.iter().rev().take(4).enumerate() {
        assert_eq!(newest(storage, Log::Sets, newest_first as u32).as_ref(), Some(expected));
    }
    for (slot, area) in [Slot::A, Slot::B].map(|slot| (slot, Area::Slot(target("app"), slot))) {
        if known.slots[slot as usize] {
            assert_eq!(bytes_of(storage, area), CONTENTS[slot as usize]);
        }
    }
    let link = storage.files.read_link(ACTIVE).unwrap();
    let shown = link.map(|view| {
        let links = storage.links(&view).unwrap();
        let slot = |name: &str| match links.get(name).map(String::as_str) {
            Some(target) if target.ends_with("-a") => Slot::A,
            Some(_) => Slot::B,
            None => panic!("{name} is missing in the set that is shown"),
        };
        assert_eq!(slot("app"), slot("firmware"), "a mixture of two sets is shown");
        slot("app")
    });
    assert!(shown == known.shown || shown == known.perhaps_shown, "{shown:?} is shown");
    (known.shown, known.perhaps_shown) = (shown, None);
    if let Some(slot) = shown {
        assert_eq!(storage.files.follow("app").as_deref(), Some(&CONTENTS[slot as usize][..]));
    }
}

/// Goes through every cut of one start, and through every cut of what follows, as deep as there are lucks.
fn sweep(files: &ModelFiles, known: &Known, lucks: &[&[Luck]], counts: &mut [u64]) {
    let Some((lucks, deeper)) = lucks.split_first() else { return };
    let Some((count, deeper_counts)) = counts.split_first_mut() else { return };
    let whole = files.fork();
    let first = whole.operations();
    start(whole.clone(), &mut known.clone()).unwrap();
    for operation in first..whole.operations() {
        for point in POINTS {
            let stopped = files.fork();
            stopped.cut_at(operation, point);
            let mut left = known.clone();
            start(stopped.clone(), &mut left).unwrap_err();
            assert!(stopped.stopped(), "this cut never happened");
            for luck in *lucks {
                let (files, mut known) = (stopped.fork(), left.clone());
                files.restart(*luck);
                *count += 1;
                if !deeper.is_empty() {
                    sweep(&files, &known, deeper, deeper_counts);
                } else {
                    start(files, &mut known).unwrap();
                }
            }
        }
    }
}

#[test]
fn every_cut_leaves_the_old_set_or_the_new_one() {
    let mut counts = [0; 2];
    for starts in [0, 1, 6] {
        let (files, mut known) = (ModelFiles::default(), Known::default());
        for _ in 0..starts {
            start(files.clone(), &mut known).unwrap();
        }
        // Where the longest run is swept, everything that is not synced has its turn.
        let lucks = if starts == 6 { &Luck::ALL[..] } else { &Luck::ALL[..2] };
        sweep(&files, &known, &[lucks, &[Luck::Nothing, Luck::Names]], &mut counts);
    }
    println!("{} single cuts, {} nested", counts[0], counts[1]);
    assert!(counts[0] > 700 && counts[1] > 100_000, "the sweep was too short: {counts:?}");
}

#[test]
fn every_fault_is_told_and_loses_nothing() {
    let mut faults = 0;
    for starts in [0, 1, 6] {
        let (files, mut known) = (ModelFiles::default(), Known::default());
        for _ in 0..starts {
            start(files.clone(), &mut known).unwrap();
        }
        let whole = files.fork();
        start(whole.clone(), &mut known.clone()).unwrap();
        for operation in files.operations()..whole.operations() {
            for point in POINTS {
                let (failing, mut known) = (files.fork(), known.clone());
                failing.fail_at(operation, point);
                // Removing what need not be kept is the only thing that may fail in silence.
                let told = start(failing.clone(), &mut known);
                assert!(failing.stopped(), "this fault never happened");
                assert!(told.is_err() || starts == 6, "operation {operation} failed in silence");
                failing.mend();
                faults += 1;
                for luck in [None, Some(Luck::Nothing), Some(Luck::Everything), Some(Luck::Names)] {
                    let (files, mut known) = (failing.fork(), known.clone());
                    if let Some(luck) = luck {
                        files.restart(luck);
                    }
                    start(files.clone(), &mut known).unwrap();
                    start(files, &mut known).unwrap();
                }
            }
        }
    }
    println!("{faults} faults");
    assert!(faults > 100);
}
