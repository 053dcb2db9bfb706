//! A device's storage in a folder, for devices with Linux and a file system that keeps its promises about `fsync`.
//!
//! | name in the folder | what it is |
//! |---|---|
//! | `slot-TARGET-a`, `slot-TARGET-b` | the two places of an install target |
//! | `release-body`, `root-a`, `map-0` and the like | the other areas |
//! | `trusted-NUMBER`, `sets-NUMBER`, `journal-NUMBER` | one record each: its CRC-32 and its bytes |
//! | `active` | a link to `view-a` or `view-b`, where each target's name links to its published slot |
//! | `…-new` | not finished; replaced by the next attempt |
//!
//! A record is written, synced and then renamed, and the folder synced, before it counts. The engine's log of sets
//! decides which files belong together; [`DirectoryStorage::publish`] shows that set to the applications in one step.
//! Nothing in the folder is opened through a link, and a second process is locked out.

mod files;
#[cfg(any(test, feature = "_model"))]
pub mod model;
mod records;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ota_core::device::{Area, DeviceStorage, Log, Slot, StorageFault, StorageFaultKind};
use ota_core::limits::{
    BLOCK_MAP_BYTES_MAX, ENVELOPE_BYTES_MAX, FILES_MAX, RELEASE_BODY_BYTES_MAX, ROOT_BODY_BYTES_MAX,
};
use ota_core::number::{ByteLength, ByteOffset};
use ota_core::text::{InstallTarget, InstallTargetBuf};

use self::files::{Files, RealFiles};
use self::records::Records;

/// The install targets of a device and how many bytes each of their two slots may have.
///
/// The areas for metadata are all there, as large as the formats allow.
#[derive(Debug, Clone, Default)]
pub struct DirectoryLayout {
    targets: BTreeMap<InstallTargetBuf, ByteLength>,
}

impl DirectoryLayout {
    /// No install target yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an install target with two slots of up to `capacity` bytes each.
    #[must_use]
    pub fn with_target(mut self, target: InstallTarget<'_>, capacity: ByteLength) -> Self {
        self.targets.insert(target.into(), capacity);
        self
    }

    fn capacity(&self, area: Area<'_>) -> Option<ByteLength> {
        let bytes = |length: usize| u64::try_from(length).ok().map(ByteLength);
        match area {
            Area::Slot(target, _) => self.targets.get(&InstallTargetBuf::from(target)).copied(),
            Area::ReleaseBody | Area::SetBody(_) => bytes(RELEASE_BODY_BYTES_MAX),
            Area::ReleaseEnvelope | Area::RootEnvelope => bytes(ENVELOPE_BYTES_MAX),
            Area::Root(_) => bytes(ROOT_BODY_BYTES_MAX),
            Area::BlockMap(index) => {
                (usize::from(index.0) < FILES_MAX).then_some(ByteLength(BLOCK_MAP_BYTES_MAX))
            }
        }
    }
}

/// A device's storage in a folder.
#[derive(Debug)]
pub struct DirectoryStorage {
    storage: Storage<RealFiles>,
}

impl DirectoryStorage {
    /// Opens the folder, once after each start, and makes it if it is not there.
    ///
    /// What is visible is made durable first: a process that was killed may have left names that a power cut would
    /// still take back.
    ///
    /// # Errors
    /// What the file system says; also if another process has the folder open, or if it is a link.
    pub fn open(folder: &Path, layout: DirectoryLayout) -> io::Result<Self> {
        Ok(Self { storage: Storage::open(RealFiles::open(folder)?, layout)? })
    }

    /// Shows the applications these files, all at once: below the folder, `active/TARGET` is then the file in the
    /// slot that is given for it.
    ///
    /// Call it when the engine says that a set was activated, and after each start: calling it again with the same
    /// set does nothing. A power cut leaves the set that was published before, or this one. An application that has
    /// a file open goes on reading what it opened, also when the slot is filled anew.
    ///
    /// # Errors
    /// [`StorageFaultKind::NoSuchArea`] for an unknown target; [`StorageFaultKind::Medium`], after which the old or
    /// the new set is shown.
    pub fn publish(&mut self, set: &[(InstallTarget<'_>, Slot)]) -> Result<(), StorageFault> {
        self.storage.publish(set)
    }
}

impl DeviceStorage for DirectoryStorage {
    fn capacity(&self, area: Area<'_>) -> Option<ByteLength> {
        self.storage.capacity(area)
    }

    fn prepare(&mut self, area: Area<'_>, size: ByteLength, keep: ByteLength) -> Result<(), StorageFault> {
        self.storage.prepare(area, size, keep)
    }

    fn write(&mut self, area: Area<'_>, offset: ByteOffset, bytes: &[u8]) -> Result<(), StorageFault> {
        self.storage.write(area, offset, bytes)
    }

    fn read(&mut self, area: Area<'_>, offset: ByteOffset, into: &mut [u8]) -> Result<(), StorageFault> {
        self.storage.read(area, offset, into)
    }

    fn append(&mut self, log: Log, record: &[u8]) -> Result<(), StorageFault> {
        self.storage.append(log, record)
    }

    fn record(
        &mut self,
        log: Log,
        newest_first: u32,
        into: &mut [u8],
    ) -> Result<Option<usize>, StorageFault> {
        self.storage.record(log, newest_first, into)
    }
}

/// The storage over any file system, so that tests can stop it anywhere.
#[derive(Debug)]
struct Storage<F> {
    files: F,
    layout: DirectoryLayout,
    logs: [Records; 3],
    /// What was prepared since the device started: what was kept, and the size.
    prepared: BTreeMap<String, (u64, u64)>,
}

const ACTIVE: &str = "active";
const ACTIVE_NEW: &str = "active-new";
const VIEWS: [&str; 2] = ["view-a", "view-b"];

impl<F: Files> Storage<F> {
    fn open(mut files: F, layout: DirectoryLayout) -> io::Result<Self> {
        files.sync_folder("")?;
        let names = files.names("")?;
        let logs = [Log::Trusted, Log::Sets, Log::Journal].map(|log| Records::find(log, &names));
        Ok(Self { files, layout, logs, prepared: BTreeMap::new() })
    }

    fn publish(&mut self, set: &[(InstallTarget<'_>, Slot)]) -> Result<(), StorageFault> {
        let mut wanted = BTreeMap::new();
        for (target, slot) in set {
            self.capacity(Area::Slot(*target, *slot)).ok_or(StorageFaultKind::NoSuchArea)?;
            wanted
                .insert(target.as_str().to_owned(), format!("../{}", file_name(Area::Slot(*target, *slot))));
        }
        self.show(&wanted).map_err(medium)
    }

    fn show(&mut self, wanted: &BTreeMap<String, String>) -> io::Result<()> {
        let current = self.files.read_link(ACTIVE)?;
        if let Some(view) = current.as_deref().filter(|view| VIEWS.contains(view))
            && self.links(view)? == *wanted
        {
            // It may have been shown by a call that failed at the last step.
            return self.files.sync_folder("");
        }
        let view = if current.as_deref() == Some(VIEWS[0]) { VIEWS[1] } else { VIEWS[0] };
        self.files.make_folder(view)?;
        for name in self.files.names(view)? {
            self.files.remove(&format!("{view}/{name}"))?;
        }
        for (name, target) in wanted {
            self.files.link(target, &format!("{view}/{name}"))?;
        }
        self.files.sync_folder(view)?;
        self.files.sync_folder("")?;
        self.files.remove(ACTIVE_NEW)?;
        self.files.link(view, ACTIVE_NEW)?;
        self.files.rename(ACTIVE_NEW, ACTIVE)?;
        self.files.sync_folder("")
    }

    /// The links in a view; a foreign name in it makes it another set than any that is wanted.
    fn links(&mut self, view: &str) -> io::Result<BTreeMap<String, String>> {
        let mut links = BTreeMap::new();
        for name in self.files.names(view)? {
            let target = self.files.read_link(&format!("{view}/{name}"))?;
            links.insert(name, target.unwrap_or_default());
        }
        Ok(links)
    }

    fn begin(&mut self, area: Area<'_>, size: u64, keep: u64) -> io::Result<()> {
        let name = file_name(area);
        if keep > 0
            && let Some(file) = self.files.open(&name)?
        {
            self.files.resize(&file, keep, size)?;
            return self.files.sync(&file);
        }
        // A new file takes the place of the old one, for the sake of applications that have that one open.
        let new = format!("{name}-new");
        let file = self.files.create(&new)?;
        self.files.resize(&file, 0, size)?;
        self.files.sync(&file)?;
        self.files.rename(&new, &name)?;
        self.files.sync_folder("")
    }

    fn log(&mut self, log: Log) -> (&mut Records, &mut F) {
        let [trusted, sets, journal] = &mut self.logs;
        let records = match log {
            Log::Trusted => trusted,
            Log::Sets => sets,
            Log::Journal => journal,
        };
        (records, &mut self.files)
    }
}

impl<F: Files> DeviceStorage for Storage<F> {
    fn capacity(&self, area: Area<'_>) -> Option<ByteLength> {
        self.layout.capacity(area)
    }

    fn prepare(&mut self, area: Area<'_>, size: ByteLength, keep: ByteLength) -> Result<(), StorageFault> {
        let capacity = self.capacity(area).ok_or(StorageFaultKind::NoSuchArea)?;
        if size > capacity {
            return Err(StorageFaultKind::Full.into());
        }
        if keep > size {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        let name = file_name(area);
        self.prepared.remove(&name);
        self.begin(area, size.0, keep.0).map_err(medium)?;
        self.prepared.insert(name, (keep.0, size.0));
        Ok(())
    }

    fn write(&mut self, area: Area<'_>, offset: ByteOffset, bytes: &[u8]) -> Result<(), StorageFault> {
        self.capacity(area).ok_or(StorageFaultKind::NoSuchArea)?;
        let name = file_name(area);
        let (keep, size) = *self.prepared.get(&name).ok_or(StorageFaultKind::OutOfBounds)?;
        if offset.0 < keep || !offset.fits(length(bytes)?, ByteLength(size)) {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        let outcome = self.files.open(&name).and_then(|file| {
            let file = file.ok_or(io::ErrorKind::NotFound)?;
            self.files.write_at(&file, offset.0, bytes)?;
            self.files.sync(&file)
        });
        if outcome.is_err() {
            self.prepared.remove(&name);
        }
        outcome.map_err(medium)
    }

    fn read(&mut self, area: Area<'_>, offset: ByteOffset, into: &mut [u8]) -> Result<(), StorageFault> {
        self.capacity(area).ok_or(StorageFaultKind::NoSuchArea)?;
        let file = self.files.open(&file_name(area)).map_err(medium)?.ok_or(StorageFaultKind::OutOfBounds)?;
        let size = self.files.length(&file).map_err(medium)?;
        if !offset.fits(length(into)?, ByteLength(size)) {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        match self.files.read_at(&file, offset.0, into).map_err(medium)? {
            count if count == into.len() => Ok(()),
            _ => Err(StorageFaultKind::Medium.into()),
        }
    }

    fn append(&mut self, log: Log, record: &[u8]) -> Result<(), StorageFault> {
        let (records, files) = self.log(log);
        records.append(files, log, record)
    }

    fn record(
        &mut self,
        log: Log,
        newest_first: u32,
        into: &mut [u8],
    ) -> Result<Option<usize>, StorageFault> {
        let (records, files) = self.log(log);
        records.record(files, log, newest_first, into)
    }
}

/// The name of the file of an area: names of targets are one component, and no two areas have the same.
fn file_name(area: Area<'_>) -> String {
    let letter = |slot: Slot| match slot {
        Slot::A => 'a',
        Slot::B => 'b',
    };
    match area {
        Area::Slot(target, slot) => format!("slot-{target}-{}", letter(slot)),
        Area::ReleaseBody => "release-body".into(),
        Area::ReleaseEnvelope => "release-envelope".into(),
        Area::BlockMap(index) => format!("map-{}", index.0),
        Area::Root(slot) => format!("root-{}", letter(slot)),
        Area::RootEnvelope => "root-envelope".into(),
        Area::SetBody(slot) => format!("set-{}", letter(slot)),
    }
}

fn length(bytes: &[u8]) -> Result<ByteLength, StorageFault> {
    u64::try_from(bytes.len()).map(ByteLength).map_err(|_| StorageFaultKind::OutOfBounds.into())
}

fn medium(error: io::Error) -> StorageFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageFaultKind::Full.into(),
        _ => StorageFaultKind::Medium.into(),
    }
}
