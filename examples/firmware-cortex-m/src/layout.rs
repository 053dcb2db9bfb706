//! Which bytes of the flash hold what. Shared with the program on the host that plays factory and bootloader.

use ota_core::device::Slot;
use ota_storage::flash::{AreaRegion, FlashLayout, Holds, LogRegion, segment_bytes_min};

/// Length of the flash, in bytes.
pub(crate) const FLASH_BYTES: usize = 512 * 1024;
/// What is erased at once, in bytes.
pub(crate) const ERASE_BYTES: usize = 4096;
/// What is written at once, in bytes.
pub(crate) const WRITE_BYTES: usize = 4;

const ERASE: u32 = 4096;
const WRITE: u32 = 4;
/// The longest record of the engine's logs, in bytes.
const RECORD_BYTES_MAX: u16 = 1024;
const SEGMENT: u32 = segment_bytes_min(RECORD_BYTES_MAX, WRITE, ERASE);

/// One erase block at the end belongs to the bootloader: see `boot.rs`.
pub(crate) const BOOT_OFFSET: u32 = 512 * 1024 - ERASE;

const fn area(holds: Holds, block: u32, blocks: u32) -> AreaRegion {
    AreaRegion { holds, offset: block * ERASE, bytes: blocks * ERASE }
}

const fn log(block: u32) -> LogRegion {
    LogRegion {
        offset: block * ERASE,
        segment_bytes: SEGMENT,
        segments: 2,
        record_bytes_max: RECORD_BYTES_MAX,
    }
}

const LOG_BLOCKS: u32 = 2 * SEGMENT / ERASE;
const LOGS_FROM: u32 = 83;
const _: () = assert!((LOGS_FROM + 3 * LOG_BLOCKS) * ERASE <= BOOT_OFFSET);

/// The partition table: firmware of up to 128 KiB, a certificate, a configuration, metadata, logs.
pub(crate) const LAYOUT: FlashLayout<13> = FlashLayout {
    areas: [
        area(Holds::Slot("firmware", Slot::A), 0, 32),
        area(Holds::Slot("firmware", Slot::B), 32, 32),
        area(Holds::Slot("certificate", Slot::A), 64, 1),
        area(Holds::Slot("certificate", Slot::B), 65, 1),
        area(Holds::Slot("configuration", Slot::A), 66, 2),
        area(Holds::Slot("configuration", Slot::B), 68, 2),
        area(Holds::ReleaseBody, 70, 2),
        area(Holds::ReleaseEnvelope, 72, 1),
        area(Holds::Root(Slot::A), 73, 1),
        area(Holds::Root(Slot::B), 74, 1),
        area(Holds::RootEnvelope, 75, 1),
        area(Holds::SetBody(Slot::A), 76, 1),
        area(Holds::SetBody(Slot::B), 77, 1),
    ],
    trusted: log(LOGS_FROM),
    sets: log(LOGS_FROM + LOG_BLOCKS),
    journal: log(LOGS_FROM + 2 * LOG_BLOCKS),
};
