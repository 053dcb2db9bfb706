//! Plain bytes in regions: erased block by block just ahead of what is written, never written twice.

use embedded_storage::nor_flash::NorFlash;
use ota_core::device::{StorageFault, StorageFaultKind};
use ota_core::number::{ByteLength, ByteOffset};

use super::layout::AreaRegion;
use super::narrow;

/// What was prepared since the device started; nothing at first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Prepared {
    /// What was kept, in bytes.
    from: u32,
    /// The size, in bytes.
    size: u32,
    /// How far the region has been erased since: a multiple of the erase size, at least `from`.
    erased: u32,
}

/// Erasing a whole slot at once would stop the device for seconds, so it is put off until a write needs the room.
pub(super) fn prepare(
    region: AreaRegion,
    prepared: &mut Prepared,
    erase_size: u32,
    size: ByteLength,
    keep: ByteLength,
) -> Result<(), StorageFault> {
    let size =
        u32::try_from(size.0).ok().filter(|size| *size <= region.bytes).ok_or(StorageFaultKind::Full)?;
    let keep = u32::try_from(keep.0)
        .ok()
        .filter(|keep| *keep <= size && keep.is_multiple_of(erase_size))
        .ok_or(StorageFaultKind::OutOfBounds)?;
    *prepared = Prepared { from: keep, size, erased: keep };
    Ok(())
}

pub(super) fn write<F: NorFlash, const CELL: usize>(
    flash: &mut F,
    region: AreaRegion,
    prepared: &mut Prepared,
    offset: ByteOffset,
    bytes: &[u8],
) -> Result<(), StorageFault> {
    let start = u32::try_from(offset.0).map_err(|_| StorageFaultKind::OutOfBounds)?;
    let end = start.checked_add(narrow(bytes.len())).ok_or(StorageFaultKind::OutOfBounds)?;
    let write_size = narrow(F::WRITE_SIZE);
    let whole = start.is_multiple_of(write_size) && (end.is_multiple_of(write_size) || end == prepared.size);
    if start < prepared.from || end > prepared.size || !whole {
        return Err(StorageFaultKind::OutOfBounds.into());
    }
    let outcome = program::<F, CELL>(flash, region, prepared, start, end, bytes);
    if outcome.is_err() {
        // Some of it may be written: only an erase makes it writable again.
        *prepared = Prepared::default();
    }
    outcome.map_err(|_| StorageFaultKind::Medium.into())
}

fn program<F: NorFlash, const CELL: usize>(
    flash: &mut F,
    region: AreaRegion,
    prepared: &mut Prepared,
    start: u32,
    end: u32,
    bytes: &[u8],
) -> Result<(), F::Error> {
    let erase_size = narrow(F::ERASE_SIZE);
    while prepared.erased < end {
        let from = region.offset.saturating_add(prepared.erased);
        flash.erase(from, from.saturating_add(erase_size))?;
        prepared.erased = prepared.erased.saturating_add(erase_size);
    }
    let address = region.offset.saturating_add(start);
    let rest = bytes.len().checked_rem(F::WRITE_SIZE).unwrap_or_default();
    let (whole, last) = bytes.split_at(bytes.len().saturating_sub(rest));
    if !whole.is_empty() {
        flash.write(address, whole)?;
    }
    if !last.is_empty() {
        let mut padded = [0xFF; CELL];
        padded.iter_mut().zip(last).for_each(|(target, byte)| *target = *byte);
        let padded = padded.get(..F::WRITE_SIZE).unwrap_or_default();
        flash.write(address.saturating_add(narrow(whole.len())), padded)?;
    }
    Ok(())
}

pub(super) fn read<F: NorFlash, const CELL: usize>(
    flash: &mut F,
    region: AreaRegion,
    offset: ByteOffset,
    into: &mut [u8],
) -> Result<(), StorageFault> {
    let length = u64::try_from(into.len()).map_err(|_| StorageFaultKind::OutOfBounds)?;
    if !offset.fits(ByteLength(length), ByteLength(region.bytes.into())) {
        return Err(StorageFaultKind::OutOfBounds.into());
    }
    let start = u32::try_from(offset.0).map_err(|_| StorageFaultKind::OutOfBounds)?;
    let address = region.offset.saturating_add(start);
    read_any::<F, CELL>(flash, address, into).map_err(|_| StorageFaultKind::Medium.into())
}

/// Reads from any address in any length: what the flash's read size does not allow goes through a small buffer.
fn read_any<F: NorFlash, const CELL: usize>(
    flash: &mut F,
    mut address: u32,
    mut into: &mut [u8],
) -> Result<(), F::Error> {
    let read_size = narrow(F::READ_SIZE);
    while !into.is_empty() {
        let within = address.checked_rem(read_size).unwrap_or_default();
        let whole = into.len().checked_rem(F::READ_SIZE).map_or(0, |rest| into.len().saturating_sub(rest));
        if within == 0 && whole > 0 {
            let (front, rest) = into.split_at_mut(whole);
            flash.read(address, front)?;
            address = address.saturating_add(narrow(whole));
            into = rest;
            continue;
        }
        let mut buffer = [0; CELL];
        let buffer = buffer.get_mut(..F::READ_SIZE).unwrap_or_default();
        flash.read(address.saturating_sub(within), buffer)?;
        let skip = usize::try_from(within).unwrap_or_default();
        let found = buffer.get(skip..).unwrap_or_default();
        let (front, rest) = into.split_at_mut(found.len().min(into.len()));
        front.iter_mut().zip(found).for_each(|(target, byte)| *target = *byte);
        address = address.saturating_add(narrow(front.len()));
        into = rest;
    }
    Ok(())
}
