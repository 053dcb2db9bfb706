//! A device's storage on NOR flash: any [`NorFlash`], without std and without an allocator.
//!
//! A constant [`FlashLayout`] says which bytes hold what. Areas are plain bytes, erased just ahead of what is
//! written. Logs are rings of segments made of cells with a check each; `docs/flash-format.md` has every byte and
//! argues why no power cut, nor a torn word that reads differently each time, can take back what was acknowledged
//! or bring back what was not. No unit is written twice between two erases, wear is spread over the segments, and
//! RAM holds a few words per area and log, and two cells on the stack.
//!
//! Whoever builds the device calls [`FlashStorage::format`] once, at the factory.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::as_conversions
    )
)]

mod areas;
mod cell;
mod layout;
mod log;

use embedded_storage::nor_flash::NorFlash;
use ota_core::device::{Area, DeviceStorage, Granularity, Log, StorageFault, StorageFaultKind};
use ota_core::number::{ByteLength, ByteOffset};

pub use self::layout::{
    AreaRegion, FlashLayout, Holds, LayoutError, LogRegion, segment_bytes_min, segment_bytes_min_of,
};

use self::areas::Prepared;
use self::layout::LOGS;
use self::log::{LogAccess, Stand};

/// The length of a cell unless said otherwise, in bytes.
pub const CELL_BYTES: u32 = 64;

/// A device's storage on a NOR flash with `AREAS` areas.
///
/// `CELL` is how many bytes of a log are written at once: at least 32, a multiple of the flash's write and read
/// size, and a divisor of its erase size. It is part of the format: a device keeps it for life.
#[derive(Debug)]
pub struct FlashStorage<F, const AREAS: usize, const CELL: usize = 64> {
    flash: F,
    layout: FlashLayout<AREAS>,
    prepared: [Prepared; AREAS],
    stands: [Option<Stand>; LOGS],
}

impl<F: NorFlash, const AREAS: usize, const CELL: usize> FlashStorage<F, AREAS, CELL> {
    /// Takes a flash, once after each start of the device. Does not access it.
    ///
    /// # Errors
    /// [`LayoutError`] if the layout does not fit this flash; nothing is wrong with the flash then.
    pub fn new(flash: F, layout: FlashLayout<AREAS>) -> Result<Self, LayoutError> {
        let [write, read, erase] = [F::WRITE_SIZE, F::READ_SIZE, F::ERASE_SIZE].map(narrow);
        layout.check(write, read, erase, narrow(CELL), narrow(flash.capacity()))?;
        Ok(Self { flash, layout, prepared: [Prepared::default(); AREAS], stands: [None; LOGS] })
    }

    /// Empties all logs. For the factory: a device in the field would forget what it trusts.
    ///
    /// A power cut leaves logs that have to be formatted again, from the beginning.
    ///
    /// # Errors
    /// [`StorageFaultKind::Medium`].
    pub fn format(&mut self) -> Result<(), StorageFault> {
        [Log::Trusted, Log::Sets, Log::Journal].into_iter().try_for_each(|log| self.log(log).format())
    }

    /// The flash itself, for a bootloader that shares it. Regions of the layout are not to be written to.
    pub const fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }

    fn find(&self, area: Area<'_>) -> Result<(usize, AreaRegion), StorageFault> {
        let (index, region) = self.layout.find(area).ok_or(StorageFaultKind::NoSuchArea)?;
        Ok((index, *region))
    }

    fn log(&mut self, log: Log) -> LogAccess<'_, F, CELL> {
        let [trusted, sets, journal] = &mut self.stands;
        let stand = match log {
            Log::Trusted => trusted,
            Log::Sets => sets,
            Log::Journal => journal,
        };
        LogAccess::new(&mut self.flash, *self.layout.log(log), log, stand)
    }
}

impl<F: NorFlash, const AREAS: usize, const CELL: usize> DeviceStorage for FlashStorage<F, AREAS, CELL> {
    fn capacity(&self, area: Area<'_>) -> Option<ByteLength> {
        self.layout.find(area).map(|(_, region)| ByteLength(region.bytes.into()))
    }

    fn prepare(&mut self, area: Area<'_>, size: ByteLength, keep: ByteLength) -> Result<(), StorageFault> {
        let (index, region) = self.find(area)?;
        let prepared = self.prepared.get_mut(index).ok_or(StorageFaultKind::NoSuchArea)?;
        areas::prepare(region, prepared, narrow(F::ERASE_SIZE), size, keep)
    }

    fn write(&mut self, area: Area<'_>, offset: ByteOffset, bytes: &[u8]) -> Result<(), StorageFault> {
        let (index, region) = self.find(area)?;
        let prepared = self.prepared.get_mut(index).ok_or(StorageFaultKind::NoSuchArea)?;
        areas::write::<F, CELL>(&mut self.flash, region, prepared, offset, bytes)
    }

    fn read(&mut self, area: Area<'_>, offset: ByteOffset, into: &mut [u8]) -> Result<(), StorageFault> {
        let (_, region) = self.find(area)?;
        areas::read::<F, CELL>(&mut self.flash, region, offset, into)
    }

    fn append(&mut self, log: Log, record: &[u8]) -> Result<(), StorageFault> {
        self.log(log).append(record)
    }

    fn record(
        &mut self,
        log: Log,
        newest_first: u32,
        into: &mut [u8],
    ) -> Result<Option<usize>, StorageFault> {
        self.log(log).record(newest_first, into)
    }

    fn granularity(&self) -> Granularity {
        Granularity { write: narrow(F::WRITE_SIZE), erase: narrow(F::ERASE_SIZE) }
    }
}

/// Flashes have sizes that fit 32 bits; one that does not fails the check of the layout.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
