//! The flash backend keeps every promise of the trait, on every geometry; the simulated flash finds its misuse.

use ota_core::conformance::device_storage;
use ota_core::limits::RECORD_BYTES_MAX;
use ota_sim::flash::{Luck, SimFlash};
use ota_sim::storage::{SimStorage, layout};
use ota_storage::flash::FlashStorage;

fn conforms<const WRITE: usize, const ERASE: usize, const READ: usize, const CELL: usize>(segments: u16) {
    let slot = (2 * ERASE as u32).max(1024);
    let (layout, blocks) = layout::<WRITE, ERASE, CELL>(slot, 1024, segments, RECORD_BYTES_MAX as u16);
    let fresh = || {
        let mut storage: SimStorage<WRITE, ERASE, READ, CELL> =
            FlashStorage::new(SimFlash::new(blocks), layout).unwrap();
        storage.format().unwrap();
        storage
    };
    let reopen = |storage: SimStorage<WRITE, ERASE, READ, CELL>| {
        let mut flash = storage.into_flash();
        flash.restart(Luck::Untouched);
        FlashStorage::new(flash, layout).unwrap()
    };
    device_storage(fresh, reopen);
}

#[test]
fn with_pages_of_4_kib_and_bytes_as_units() {
    conforms::<1, 4096, 1, 64>(2);
}

#[test]
fn with_pages_of_1_kib_and_words_as_units() {
    conforms::<4, 1024, 1, 64>(2);
    conforms::<4, 1024, 4, 32>(3);
}

#[test]
fn with_pages_of_2_kib_and_double_words_as_units() {
    conforms::<8, 2048, 8, 64>(4);
}

#[test]
fn with_large_units_of_error_correction() {
    conforms::<32, 8192, 1, 64>(2);
    conforms::<64, 8192, 16, 128>(2);
}

#[test]
fn with_pages_as_units() {
    conforms::<256, 4096, 1, 256>(2);
}

#[test]
fn with_blocks_smaller_than_a_record() {
    conforms::<4, 256, 1, 64>(2);
}
