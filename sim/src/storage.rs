//! Layouts of simulated flashes: the same partition table for every geometry, as small as the format allows.

use ota_core::device::Slot;
use ota_storage::flash::{AreaRegion, FlashLayout, FlashStorage, Holds, LogRegion, segment_bytes_min_of};

use crate::flash::SimFlash;

/// How many areas [`layout`] has.
pub const AREAS: usize = 13;

/// A storage on a simulated flash.
pub type SimStorage<const WRITE: usize, const ERASE: usize, const READ: usize, const CELL: usize> =
    FlashStorage<SimFlash<WRITE, ERASE, READ>, AREAS, CELL>;

/// The partition table of a device with the install targets `app` and `firmware`: `slot_bytes` in each slot, at least
/// `metadata_bytes` in each other area, logs of `segments` segments for records of up to `record_bytes_max`.
/// Returns the blocks that the flash needs as well.
#[must_use]
pub fn layout<const WRITE: usize, const ERASE: usize, const CELL: usize>(
    slot_bytes: u32,
    metadata_bytes: u32,
    segments: u16,
    record_bytes_max: u16,
) -> (FlashLayout<AREAS>, usize) {
    let erase = ERASE as u32;
    // The first block belongs to somebody else, so that no offset is right by being zero.
    let mut offset = erase;
    let mut area = |holds, bytes: u32| {
        let region = AreaRegion { holds, offset, bytes: bytes.next_multiple_of(erase) };
        offset += region.bytes;
        region
    };
    let areas = [
        area(Holds::Slot("app", Slot::A), slot_bytes),
        area(Holds::Slot("app", Slot::B), slot_bytes),
        area(Holds::Slot("firmware", Slot::A), slot_bytes),
        area(Holds::Slot("firmware", Slot::B), slot_bytes),
        area(Holds::ReleaseBody, metadata_bytes.max(2 * erase)),
        area(Holds::ReleaseEnvelope, metadata_bytes),
        area(Holds::BlockMap(0), metadata_bytes),
        area(Holds::BlockMap(1), metadata_bytes),
        area(Holds::Root(Slot::A), metadata_bytes),
        area(Holds::Root(Slot::B), metadata_bytes),
        area(Holds::RootEnvelope, metadata_bytes),
        area(Holds::SetBody(Slot::A), metadata_bytes),
        area(Holds::SetBody(Slot::B), metadata_bytes),
    ];
    let segment_bytes = segment_bytes_min_of(record_bytes_max, WRITE as u32, erase, CELL as u32);
    let mut log = || {
        let region = LogRegion { offset, segment_bytes, segments, record_bytes_max };
        offset += segment_bytes * u32::from(segments);
        region
    };
    let layout = FlashLayout { areas, trusted: log(), sets: log(), journal: log() };
    (layout, (offset / erase) as usize)
}
