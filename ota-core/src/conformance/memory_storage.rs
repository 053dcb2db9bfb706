//! The in-memory reference of [`DeviceStorage`]: as unhelpful as the trait allows, and strict with its caller.
//!
//! Bytes never written, and bytes torn by a power cut, read differently each time; nothing that only seems to be
//! kept can go unnoticed. A caller that breaks its half of the contract (writes a byte twice) gets a panic that
//! names the sentence, since this type lives in tests.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::device::{Area, DeviceStorage, Granularity, Log, Slot, StorageFault, StorageFaultKind};
use crate::limits::{RECORD_BYTES_MAX, RECORDS_KEPT_MIN};
use crate::number::{ByteLength, ByteOffset, FileIndex};
use crate::text::InstallTarget;

/// Where in an operation the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutPoint {
    /// Before it did anything.
    Before,
    /// In the middle: what was being written or erased reads as anything; a record is not there.
    Inside,
    /// It was done, and nobody heard of it.
    After,
}

/// A device's storage in memory, with cuts and faults on demand.
///
/// Operations that change something ([`prepare`](DeviceStorage::prepare), [`write`](DeviceStorage::write),
/// [`append`](DeviceStorage::append)) are counted from 0. A clone is a snapshot.
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    granularity: Granularity,
    areas: BTreeMap<Key, Place>,
    logs: [Vec<Vec<u8>>; 3],
    operations: u64,
    cut: Option<(u64, CutPoint)>,
    fault: Option<(u64, CutPoint)>,
    powered: bool,
    noise: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Slot(String, Slot),
    ReleaseBody,
    ReleaseEnvelope,
    BlockMap(FileIndex),
    Root(Slot),
    RootEnvelope,
    SetBody(Slot),
}

impl From<Area<'_>> for Key {
    fn from(area: Area<'_>) -> Self {
        match area {
            Area::Slot(target, slot) => Self::Slot(target.as_str().into(), slot),
            Area::ReleaseBody => Self::ReleaseBody,
            Area::ReleaseEnvelope => Self::ReleaseEnvelope,
            Area::BlockMap(index) => Self::BlockMap(index),
            Area::Root(slot) => Self::Root(slot),
            Area::RootEnvelope => Self::RootEnvelope,
            Area::SetBody(slot) => Self::SetBody(slot),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Place {
    capacity: u64,
    /// `None` reads as anything: never written since it was prepared, or torn.
    bytes: Vec<Option<u8>>,
    /// Where writing may begin, from the last `prepare` since the device started.
    prepared_from: Option<u64>,
    /// Pieces written since then, to find bytes that are written twice.
    written: Vec<bool>,
}

enum Fate {
    Done,
    Stopped(CutPoint),
}

impl MemoryStorage {
    /// A storage without any area, with three empty logs.
    #[must_use]
    pub fn new(granularity: Granularity) -> Self {
        Self {
            granularity,
            areas: BTreeMap::new(),
            logs: Default::default(),
            operations: 0,
            cut: None,
            fault: None,
            powered: true,
            noise: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// A storage with these install targets of `capacity` bytes in each slot, and every other area, those for block
    /// maps for the first `files` files.
    #[must_use]
    pub fn with_targets(
        granularity: Granularity,
        targets: &[&str],
        capacity: ByteLength,
        files: u16,
    ) -> Self {
        let mut storage = Self::new(granularity);
        for slot in [Slot::A, Slot::B] {
            for target in targets {
                let target = InstallTarget::new(target).expect("the name of an install target");
                storage.add(Area::Slot(target, slot), capacity);
            }
            storage.add(Area::Root(slot), ByteLength(crate::limits::ROOT_BODY_BYTES_MAX as u64));
            storage.add(Area::SetBody(slot), ByteLength(crate::limits::RELEASE_BODY_BYTES_MAX as u64));
        }
        storage.add(Area::ReleaseBody, ByteLength(crate::limits::RELEASE_BODY_BYTES_MAX as u64));
        storage.add(Area::ReleaseEnvelope, ByteLength(crate::limits::ENVELOPE_BYTES_MAX as u64));
        storage.add(Area::RootEnvelope, ByteLength(crate::limits::ENVELOPE_BYTES_MAX as u64));
        for file in 0..files {
            storage.add(Area::BlockMap(FileIndex(file)), ByteLength(64 * 1024));
        }
        storage
    }

    /// Gives it an area, or another capacity.
    pub fn add(&mut self, area: Area<'_>, capacity: ByteLength) {
        self.areas.entry(area.into()).or_default().capacity = capacity.0;
    }

    /// How many operations that change something were begun.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// Takes the power away at the operation with this number: it and all later calls give
    /// [`StorageFaultKind::Medium`] until [`restart`](Self::restart).
    pub const fn cut_at(&mut self, operation: u64, point: CutPoint) {
        self.cut = Some((operation, point));
    }

    /// Lets the operation with this number fail with [`StorageFaultKind::Medium`], and no other.
    pub const fn fail_at(&mut self, operation: u64, point: CutPoint) {
        self.fault = Some((operation, point));
    }

    /// Whether the power is gone. A sweep asserts this: otherwise its cut never happened.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        !self.powered
    }

    /// Starts the device again, with or without a cut before: nobody remembers what was prepared.
    pub fn restart(&mut self) {
        self.powered = true;
        self.cut = None;
        for place in self.areas.values_mut() {
            place.prepared_from = None;
        }
    }

    /// How many records a log holds; a real backend drops old ones, this one never does.
    #[must_use]
    pub fn records(&self, log: Log) -> usize {
        self.logs[index(log)].len()
    }

    fn begin(&mut self) -> Result<Fate, StorageFault> {
        self.alive()?;
        let operation = self.operations;
        self.operations += 1;
        if let Some((at, point)) = self.cut
            && at == operation
        {
            self.powered = false;
            return Ok(Fate::Stopped(point));
        }
        match self.fault {
            Some((at, point)) if at == operation => Ok(Fate::Stopped(point)),
            _ => Ok(Fate::Done),
        }
    }

    fn alive(&self) -> Result<(), StorageFault> {
        if self.powered { Ok(()) } else { Err(StorageFaultKind::Medium.into()) }
    }

    fn place(&mut self, area: Area<'_>) -> Result<&mut Place, StorageFault> {
        self.areas.get_mut(&Key::from(area)).ok_or_else(|| StorageFaultKind::NoSuchArea.into())
    }
}

impl DeviceStorage for MemoryStorage {
    fn capacity(&self, area: Area<'_>) -> Option<ByteLength> {
        self.areas.get(&Key::from(area)).map(|place| ByteLength(place.capacity))
    }

    fn prepare(&mut self, area: Area<'_>, size: ByteLength, keep: ByteLength) -> Result<(), StorageFault> {
        self.alive()?;
        let erase = u64::from(self.granularity.erase);
        let place = self.place(area)?;
        if size.0 > place.capacity {
            return Err(StorageFaultKind::Full.into());
        }
        if keep.0 > size.0 || !keep.0.is_multiple_of(erase) {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        let fate = self.begin()?;
        if matches!(fate, Fate::Stopped(CutPoint::Before)) {
            return Err(StorageFaultKind::Medium.into());
        }
        let place = self.place(area)?;
        place.bytes.truncate(keep.0 as usize);
        place.bytes.resize(size.0 as usize, None);
        place.written = alloc::vec![false; size.0 as usize];
        place.prepared_from = match fate {
            Fate::Done => Some(keep.0),
            Fate::Stopped(_) => None,
        };
        done_or_stopped(&fate)
    }

    fn write(&mut self, area: Area<'_>, offset: ByteOffset, bytes: &[u8]) -> Result<(), StorageFault> {
        self.alive()?;
        let granule = u64::from(self.granularity.write);
        let length = bytes.len() as u64;
        let place = self.place(area)?;
        let size = place.bytes.len() as u64;
        let from = place.prepared_from.ok_or(StorageFaultKind::OutOfBounds)?;
        let aligned = offset.0.is_multiple_of(granule)
            && (length.is_multiple_of(granule) || offset.0.checked_add(length) == Some(size));
        if offset.0 < from || !offset.fits(ByteLength(length), ByteLength(size)) || !aligned {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        let fate = self.begin()?;
        let place = self.place(area)?;
        for (at, byte) in (offset.0 as usize..).zip(bytes) {
            assert!(!place.written[at], "byte {at} of {area:?} is written twice after prepare");
            match fate {
                Fate::Stopped(CutPoint::Before) => continue,
                Fate::Stopped(CutPoint::Inside) => place.bytes[at] = None,
                Fate::Stopped(CutPoint::After) | Fate::Done => place.bytes[at] = Some(*byte),
            }
            place.written[at] = true;
        }
        done_or_stopped(&fate)
    }

    fn read(&mut self, area: Area<'_>, offset: ByteOffset, into: &mut [u8]) -> Result<(), StorageFault> {
        self.alive()?;
        let mut noise = self.noise;
        let place = self.place(area)?;
        let size = ByteLength(place.bytes.len() as u64);
        if !offset.fits(ByteLength(into.len() as u64), size) {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        for (target, kept) in into.iter_mut().zip(&place.bytes[offset.0 as usize..]) {
            noise = noise.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            *target = kept.unwrap_or((noise >> 56) as u8);
        }
        self.noise = noise;
        Ok(())
    }

    fn append(&mut self, log: Log, record: &[u8]) -> Result<(), StorageFault> {
        self.alive()?;
        if record.is_empty() || record.len() > RECORD_BYTES_MAX {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        let fate = self.begin()?;
        if matches!(fate, Fate::Done | Fate::Stopped(CutPoint::After)) {
            let records = &mut self.logs[index(log)];
            records.push(record.to_vec());
            // Only what is promised is kept: nobody comes to rely on more.
            let surplus = records.len().saturating_sub(RECORDS_KEPT_MIN as usize);
            records.drain(..surplus);
        }
        done_or_stopped(&fate)
    }

    fn record(
        &mut self,
        log: Log,
        newest_first: u32,
        into: &mut [u8],
    ) -> Result<Option<usize>, StorageFault> {
        self.alive()?;
        let Some(record) = self.logs[index(log)].iter().rev().nth(newest_first as usize) else {
            return Ok(None);
        };
        let front = into.get_mut(..record.len()).ok_or(StorageFaultKind::OutOfBounds)?;
        front.copy_from_slice(record);
        Ok(Some(record.len()))
    }

    fn granularity(&self) -> Granularity {
        self.granularity
    }
}

const fn index(log: Log) -> usize {
    match log {
        Log::Trusted => 0,
        Log::Sets => 1,
        Log::Journal => 2,
    }
}

fn done_or_stopped(fate: &Fate) -> Result<(), StorageFault> {
    match fate {
        Fate::Done => Ok(()),
        Fate::Stopped(_) => Err(StorageFaultKind::Medium.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::device_storage;

    fn storage(granularity: Granularity) -> MemoryStorage {
        MemoryStorage::with_targets(granularity, &["app", "firmware"], ByteLength(64 * 1024), 2)
    }

    #[test]
    fn the_reference_conforms() {
        let flash_like = Granularity { write: 8, erase: 2048 };
        for granularity in [Granularity::BYTES, flash_like] {
            device_storage(
                || storage(granularity),
                |mut storage| {
                    storage.restart();
                    storage
                },
            );
        }
    }

    #[test]
    fn a_cut_stops_everything_until_the_restart() {
        let mut storage = storage(Granularity::BYTES);
        let mut into = [0; 4];
        storage.append(Log::Sets, b"old").unwrap();
        storage.cut_at(1, CutPoint::Inside);
        assert!(!storage.is_cut());
        assert_eq!(storage.append(Log::Sets, b"new"), Err(StorageFaultKind::Medium.into()));
        assert!(storage.is_cut());
        assert_eq!(storage.record(Log::Sets, 0, &mut into), Err(StorageFaultKind::Medium.into()));
        storage.restart();
        assert_eq!(storage.record(Log::Sets, 0, &mut into), Ok(Some(3)));
        assert_eq!(&into[..3], b"old");
    }

    #[test]
    fn torn_bytes_read_differently_each_time() {
        let mut storage = storage(Granularity::BYTES);
        let area = Area::ReleaseBody;
        storage.prepare(area, ByteLength(64), ByteLength(0)).unwrap();
        storage.cut_at(1, CutPoint::Inside);
        storage.write(area, ByteOffset(0), &[7; 64]).unwrap_err();
        storage.restart();
        let (mut first, mut second) = ([0; 64], [0; 64]);
        storage.read(area, ByteOffset(0), &mut first).unwrap();
        storage.read(area, ByteOffset(0), &mut second).unwrap();
        assert_ne!(first, second);
    }

    #[test]
    #[should_panic(expected = "written twice")]
    fn a_byte_written_twice_is_the_callers_mistake() {
        let mut storage = storage(Granularity::BYTES);
        storage.prepare(Area::ReleaseBody, ByteLength(64), ByteLength(0)).unwrap();
        storage.write(Area::ReleaseBody, ByteOffset(0), &[7; 8]).unwrap();
        let _ = storage.write(Area::ReleaseBody, ByteOffset(7), &[7; 8]);
    }
}
